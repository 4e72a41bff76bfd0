//! A question to the service, and the key by which its answer is known again.

use http::{HeaderMap, Request, Uri};
use ring::digest::{Context, SHA256};

/// The SHA-256 of all that is told in a question.
pub(super) type Key = [u8; 32];

/// A question about a request.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) request: Request<()>,
    pub(super) key: Key,
}

impl Question {
    /// The question that tells these fields.
    pub(super) fn new(url: &Uri, fields: HeaderMap) -> Self {
        let key = key(&fields);
        let mut request = Request::new(());
        request.uri_mut().clone_from(url);
        *request.headers_mut() = fields;
        Self { request, key }
    }
}

/// The SHA-256 of fields. Each name and each value has its length before it, so that no two lists of fields make the same bytes.
fn key(fields: &HeaderMap) -> Key {
    let mut context = Context::new(&SHA256);
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn other_fields_have_another_key() {
        let fields = |fields: &[(&'static str, &'static str)]| {
            let field = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            key(&fields.iter().map(field).collect())
        };
        let different = [
            &[][..],
            &[("a", "b")],
            &[("a", "")],
            &[("ab", "")],
            &[("a", "b"), ("c", "d")],
            &[("a", "bcd")],
            &[("ab", "cd")],
            &[("a", "d"), ("c", "b")],
            &[("a", "b"), ("c", "")],
            &[("a", "b"), ("cd", "")],
        ];
        let keys: HashSet<_> = different.iter().map(|each| fields(each)).collect();
        assert_eq!(keys.len(), different.len());
        assert_eq!(fields(&[("a", "b")]), fields(&[("a", "b")]));
    }
}
