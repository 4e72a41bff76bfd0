//! The CORS protocol of the Fetch standard: which scripts of other origins may use a route.
//!
//! The fields are made when the configuration is read.

mod origins;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

pub use self::origins::Named;

/// What scripts of other origins may do on a route.
#[derive(Clone, Debug)]
pub struct Cors {
    /// The origins that are allowed.
    pub origins: Origins,
    /// Whether requests may carry cookies and the like; not together with [`Origins::Any`].
    pub credentials: bool,
    /// The methods that they may use: `Access-Control-Allow-Methods`.
    pub methods: HeaderValue,
    /// The header fields that they may send: `Access-Control-Allow-Headers`, if there are any.
    pub headers: Option<HeaderValue>,
    /// The header fields of an answer that they may read: `Access-Control-Expose-Headers`.
    pub expose: HeaderValue,
    /// For how many seconds a browser may keep a permission: `Access-Control-Max-Age`.
    pub max_age: HeaderValue,
}

/// Origins that are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every one.
    Any,
    /// These.
    Named(Named),
}

/// The method of the request that a browser asks permission for; `None` if this request is no preflight.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()
}

impl Cors {
    /// The fields that answer a preflight.
    pub fn permission(&self, origin: Option<&HeaderValue>) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields: Vec<_> = self.admission(origin).collect();
        if !fields.is_empty() {
            fields.push((header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone()));
            let headers = self.headers.clone();
            fields.extend(headers.map(|headers| (header::ACCESS_CONTROL_ALLOW_HEADERS, headers)));
            fields.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        }
        fields
    }

    /// The fields that let a script read an answer.
    pub fn disclosure(
        &self,
        origin: Option<&HeaderValue>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let admitted = self.admitted(origin).is_some();
        let expose = (header::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        self.admission(origin).chain(admitted.then_some(expose))
    }

    /// Whether what is sent depends on the origin, so that a cache must know.
    pub fn varies(&self) -> bool {
        self.origins != Origins::Any
    }

    /// The fields that allow an origin, if it is allowed.
    fn admission(
        &self,
        origin: Option<&HeaderValue>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let admitted = self.admitted(origin);
        let credentials = (admitted.is_some() && self.credentials)
            .then_some((header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        admitted.map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)).into_iter().chain(credentials)
    }

    /// The value of `Access-Control-Allow-Origin`, if this origin is allowed.
    fn admitted(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.origins {
            // A cache may reuse the answer for a request that has an origin.
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::Named(named) => origin.filter(|origin| named.contains(origin.as_bytes())).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: HeaderValue = HeaderValue::from_static("https://app.example");

    fn cors(origins: Origins, credentials: bool) -> Cors {
        let field = HeaderValue::from_static;
        Cors {
            origins,
            credentials,
            methods: field("GET, PUT"),
            headers: Some(field("x-a")),
            expose: field("RateLimit"),
            max_age: field("600"),
        }
    }

    fn text(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> String {
        let line = |(name, value): (HeaderName, HeaderValue)| {
            format!("{}={} ", name.as_str().trim_start_matches("access-control-"), value.to_str().unwrap())
        };
        fields.into_iter().map(line).collect()
    }

    #[test]
    fn only_an_origin_that_is_named_is_let_in() {
        let cors = cors(Origins::Named(["https://app.example".to_owned()].into_iter().collect()), true);
        let all = "allow-origin=https://app.example allow-credentials=true ";
        assert_eq!(text(cors.disclosure(Some(&APP))), format!("{all}expose-headers=RateLimit "));
        assert_eq!(
            text(cors.permission(Some(&APP))),
            format!("{all}allow-methods=GET, PUT allow-headers=x-a max-age=600 ")
        );
        for other in ["https://app.example.evil", "https://APP.example", "null", "*", ""] {
            let other = HeaderValue::from_static(other);
            assert_eq!(text(cors.disclosure(Some(&other))) + &text(cors.permission(Some(&other))), "");
        }
        assert_eq!(text(cors.disclosure(None)), "");
        assert!(cors.varies());
    }

    #[test]
    fn any_origin_is_the_same_for_all() {
        let cors = cors(Origins::Any, false);
        assert_eq!(text(cors.disclosure(None)), "allow-origin=* expose-headers=RateLimit ");
        assert_eq!(text(cors.disclosure(Some(&APP))), text(cors.disclosure(None)));
        assert!(!cors.varies());
    }

    #[test]
    fn a_preflight_names_its_origin_and_the_method_to_come() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        assert_eq!(preflight(&Method::OPTIONS, &headers), None);
        headers.insert(header::ORIGIN, APP);
        assert_eq!(preflight(&Method::OPTIONS, &headers), Some(Method::PUT));
        assert_eq!(preflight(&Method::GET, &headers), None);
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("P T"));
        assert_eq!(preflight(&Method::OPTIONS, &headers), None);
    }
}
