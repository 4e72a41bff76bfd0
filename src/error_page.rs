//! Pages that the gateway sends in the place of its own words: texts with placeholders, found by the status of the answer.
//!
//! A page is parsed when the configuration is read, so an answer costs the copies of its pieces, or none if it has no placeholder.

mod accept;
mod escape;
mod page;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

pub use self::accept::prefers_html;
pub use self::page::{Filling, MAX_FILLED, Page, PageError, Placeholder};

/// Pages by the status of the answer, or its class.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// The key is a status, or the first digit of one.
    pages: BTreeMap<u16, Arc<Page>>,
}

impl Layer {
    /// Adds the page of a status from 100 on, or of the class with this first digit.
    pub fn add(&mut self, status_or_class: u16, page: Arc<Page>) {
        self.pages.insert(status_or_class, page);
    }

    fn find(&self, status: StatusCode) -> Option<&Page> {
        let status = status.as_u16();
        self.pages.get(&status).or_else(|| self.pages.get(&(status / 100))).map(|page| &**page)
    }
}

/// The pages that hold somewhere: on a route, its own before those of the whole file.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    layers: Vec<Arc<Layer>>,
}

impl Pages {
    /// The pages of these layers, of which the first that has one for a status gives it.
    pub fn new(layers: Vec<Arc<Layer>>) -> Self {
        Self { layers }
    }

    /// The page for an answer with this status, if there is one.
    pub fn find(&self, status: StatusCode) -> Option<&Page> {
        self.layers.iter().find_map(|layer| layer.find(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn page(text: &str) -> Arc<Page> {
        Arc::new(Page::parse(text, HeaderValue::from_static("text/plain")).unwrap())
    }

    #[test]
    fn a_status_goes_before_its_class_and_a_route_before_the_file() {
        let (mut of_file, mut of_route) = (Layer::default(), Layer::default());
        of_file.add(503, page("file 503"));
        of_file.add(5, page("file 5xx"));
        of_file.add(404, page("file 404"));
        of_route.add(5, page("route 5xx"));
        let of_file = Arc::new(of_file);
        let words = |pages: &Pages, status: u16| {
            let page = pages.find(StatusCode::from_u16(status).unwrap())?;
            let filling = Filling {
                status: StatusCode::OK,
                detail: "",
                retry_after: None,
                request_id: None,
                limits: &[],
            };
            Some(String::from_utf8(page.filled(&filling).to_vec()).unwrap())
        };
        let general = Pages::new(vec![of_file.clone()]);
        let own = Pages::new(vec![Arc::new(of_route), of_file]);
        for (status, general_words, own_words) in [
            (503, Some("file 503"), Some("route 5xx")),
            (502, Some("file 5xx"), Some("route 5xx")),
            (404, Some("file 404"), Some("file 404")),
            (429, None, None),
        ] {
            assert_eq!(words(&general, status).as_deref(), general_words);
            assert_eq!(words(&own, status).as_deref(), own_words);
        }
        assert_eq!(words(&Pages::default(), 503), None);
    }
}
