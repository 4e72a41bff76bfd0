//! What a route asks of the header fields and the query of a request.
//!
//! A field or parameter that a request has more than once has no single value: some servers take the first, others the last, or both. Such a
//! request neither meets a requirement nor fails it, and is refused where the route hangs on it.

use std::fmt;

use http::{HeaderMap, HeaderName, Method};

use crate::query;

/// A field or parameter that a request must have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    /// Where its value stands.
    pub source: Source,
    /// The value, which is not empty; `None` for any that is not empty.
    pub value: Option<String>,
}

/// Where the value stands that a route asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// In the header field of this name.
    Header(HeaderName),
    /// In the query parameter of this name, decoded.
    Query(String),
}

/// What a request says beside its host and path.
#[derive(Clone, Copy, Debug)]
pub struct Particulars<'a> {
    /// The method.
    pub method: &'a Method,
    /// The header fields; `None` is none.
    pub headers: Option<&'a HeaderMap>,
    /// What follows the `?`.
    pub query: Option<&'a [u8]>,
}

/// A request has the field or parameter more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubled;

/// How specific requirements are, to compare: first their number, then the number of those that ask for one value.
pub type Rank = (usize, usize);

impl<'a> From<&'a Method> for Particulars<'a> {
    /// A request of this method without header fields and query.
    fn from(method: &'a Method) -> Self {
        Self { method, headers: None, query: None }
    }
}

impl Requirement {
    /// Whether a request meets it. Spaces around the value of a field do not count, since they get lost on the way.
    ///
    /// # Errors
    /// When the request has the field or parameter more than once, or servers read its query in two ways.
    pub fn is_met(&self, request: &Particulars<'_>) -> Result<bool, Doubled> {
        match &self.source {
            Source::Header(name) => {
                let mut values = request.headers.into_iter().flat_map(|headers| headers.get_all(name));
                let value = values.next();
                if values.next().is_some() {
                    return Err(Doubled);
                }
                Ok(value.is_some_and(|value| self.takes(value.as_bytes().trim_ascii())))
            }
            Source::Query(name) => {
                let Some(query) = request.query else { return Ok(false) };
                if query::is_read_in_two_ways(query, name) {
                    return Err(Doubled);
                }
                let mut values = query::values(query, name);
                let value = values.next();
                if values.next().is_some() {
                    return Err(Doubled);
                }
                Ok(value.is_some_and(|value| self.takes(value.as_bytes())))
            }
        }
    }

    /// Whether it takes this value.
    fn takes(&self, value: &[u8]) -> bool {
        self.value.as_ref().map_or(!value.is_empty(), |wanted| wanted.as_bytes() == value)
    }
}

/// How specific these requirements are.
pub fn rank(requirements: &[Requirement]) -> Rank {
    (requirements.len(), requirements.iter().filter(|requirement| requirement.value.is_some()).count())
}

/// Whether a request meets all of these. One that surely fails another need not be told how a doubled field is meant.
///
/// # Errors
/// The first field or parameter that the request has more than once, if all others are met.
pub(super) fn are_met<'a>(
    requirements: &'a [Requirement],
    request: &Particulars<'_>,
) -> Result<bool, &'a Source> {
    let mut doubled = None;
    for requirement in requirements {
        match requirement.is_met(request) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(Doubled) => doubled = doubled.or(Some(&requirement.source)),
        }
    }
    doubled.map_or(Ok(true), Err)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header field {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
        }
    }
}

impl fmt::Display for Requirement {
    /// As in `header field x-version "2"`, or `query parameter beta` for any value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} {value:?}", self.source),
            None => self.source.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn requirement(source: Source, value: Option<&str>) -> Requirement {
        Requirement { source, value: value.map(str::to_owned) }
    }

    fn header(value: Option<&str>) -> Requirement {
        requirement(Source::Header(HeaderName::from_static("x-v")), value)
    }

    fn parameter(value: Option<&str>) -> Requirement {
        requirement(Source::Query("b".into()), value)
    }

    #[test]
    fn a_field_has_one_value_or_is_doubled() {
        for (values, any, two) in [
            (&[][..], Ok(false), Ok(false)),
            (&["2"], Ok(true), Ok(true)),
            (&[" 2\t"], Ok(true), Ok(true)),
            (&["3"], Ok(true), Ok(false)),
            (&["2, 2"], Ok(true), Ok(false)),
            (&["", " "][..1], Ok(false), Ok(false)),
            (&["2", "3"], Err(Doubled), Err(Doubled)),
            (&["2", "2"], Err(Doubled), Err(Doubled)),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-v", HeaderValue::from_static(value));
            }
            let request = Particulars { headers: Some(&headers), ..(&Method::GET).into() };
            let met = (header(None).is_met(&request), header(Some("2")).is_met(&request));
            assert_eq!(met, (any, two), "{values:?}");
        }
    }

    #[test]
    fn a_parameter_is_decoded_and_read_in_one_way() {
        for (query, any, one) in [
            ("", Ok(false), Ok(false)),
            ("b=1", Ok(true), Ok(true)),
            ("%62=%31&c=2", Ok(true), Ok(true)),
            ("b", Ok(false), Ok(false)),
            ("b=2", Ok(true), Ok(false)),
            ("B=1", Ok(false), Ok(false)),
            ("b=1&b=1", Err(Doubled), Err(Doubled)),
            ("b=1;x", Err(Doubled), Err(Doubled)),
            ("x;b=1", Err(Doubled), Err(Doubled)),
        ] {
            let request = Particulars { query: Some(query.as_bytes()), ..(&Method::GET).into() };
            let met = (parameter(None).is_met(&request), parameter(Some("1")).is_met(&request));
            assert_eq!(met, (any, one), "{query}");
        }
    }

    #[test]
    fn a_requirement_that_surely_fails_settles_it() {
        let request = Particulars { query: Some(b"b=1&b=2"), ..(&Method::GET).into() };
        let (both, doubled) = ([parameter(None), header(None)], [parameter(None)]);
        assert_eq!(are_met(&both, &request), Ok(false));
        assert_eq!(are_met(&doubled, &request), Err(&Source::Query("b".into())));
        assert_eq!(are_met(&[], &request), Ok(true));
    }

    #[test]
    fn more_requirements_are_more_specific_and_so_is_a_value() {
        let (one, any) = ([header(Some("1"))], [header(None)]);
        assert!(rank(&[header(None), parameter(None)]) > rank(&one) && rank(&one) > rank(&any));
    }
}
