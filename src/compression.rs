//! Which answers are compressed, and how (RFC 9110, sections 8.4 and 12.5.3).
//!
//! Policy on header fields only; [`Encoder`] does the work. An answer is left alone unless compressing it is safe, allowed and
//! worth it.

mod accept;
mod encoder;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

pub use self::accept::Coding;
pub use self::encoder::Encoder;

/// Smaller bodies fit into one packet anyway.
const MIN_SIZE: u64 = 1024;

/// Fields whose value is true of the bytes as the upstream has sent them, and of no others: they go when these change.
pub const OF_THE_BYTES: [HeaderName; 6] = [
    header::CONTENT_LENGTH,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Types that shrink, other than `text/*` and those that end in [`SUFFIXES`].
const TYPES: [&str; 12] = [
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/ndjson",
    "application/rtf",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
];

/// What types are written in.
const SUFFIXES: [&str; 3] = ["+json", "+xml", "+yaml"];

/// What is to be done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is sent as it is, to everybody.
    Keep,
    /// It is sent as it is to this client, but not to every other.
    KeepForThis,
    /// It is compressed.
    Compress(Coding),
}

/// What is to be done with an answer, where these codings are offered, the best first.
pub fn plan(offered: &[Coding], request: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> Plan {
    if !is_eligible(status, answer) {
        return Plan::Keep;
    }
    accept::best(request, offered).map_or(Plan::KeepForThis, Plan::Compress)
}

/// The validator of a compressed answer: another one than that of the same content with other bytes, so a weak one.
/// `None` if there is none that could be made of this.
pub fn weak(etag: &HeaderValue) -> Option<HeaderValue> {
    match etag.as_bytes() {
        [b'W', b'/', ..] => Some(etag.clone()),
        strong @ [b'"', ..] => HeaderValue::from_bytes(&[b"W/", strong].concat()).ok(),
        _ => None,
    }
}

/// Whether a 304 stands for an answer that may have been compressed: it carries the fields of that (RFC 9110, section 15.4.5).
/// It need not say of which type that was.
pub fn may_stand_for_compressed(answer: &HeaderMap) -> bool {
    answer.get(header::CONTENT_TYPE).is_none_or(shrinks)
        && !answer.contains_key(header::CONTENT_ENCODING)
        && !answer.get_all(header::CACHE_CONTROL).iter().any(forbids_transforming)
}

/// The validator of a 304 for a client that asked with these fields: that of the answer which it has. One that was compressed has
/// a weak one, as [`weak`] makes it.
pub fn validator_of_kept(etag: &HeaderValue, request: &HeaderMap) -> HeaderValue {
    let Some(weak) = weak(etag).filter(|weak| weak != etag) else { return etag.clone() };
    let asked = |wanted: &HeaderValue| {
        let fields = request.get_all(header::IF_NONE_MATCH).iter();
        fields
            .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
            .any(|tag| tag.trim_ascii() == wanted)
    };
    if asked(&weak) && !asked(etag) { weak } else { etag.clone() }
}

fn is_eligible(status: StatusCode, answer: &HeaderMap) -> bool {
    let is_whole = !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    let fixed =
        [header::CONTENT_ENCODING, header::CONTENT_RANGE].iter().any(|name| answer.contains_key(name));
    let length = answer.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    is_whole
        && !fixed
        && length.is_none_or(|length: u64| length >= MIN_SIZE)
        && answer.get(header::CONTENT_TYPE).is_some_and(shrinks)
        && !answer.get_all(header::CACHE_CONTROL).iter().any(forbids_transforming)
}

/// Whether bodies of this type get smaller.
fn shrinks(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let is = |name: &str| essence.eq_ignore_ascii_case(name.as_bytes());
    let ends = |suffix: &str| {
        let at = essence.len().saturating_sub(suffix.len());
        essence[at..].eq_ignore_ascii_case(suffix.as_bytes())
    };
    essence.get(..5).is_some_and(|family| family.eq_ignore_ascii_case(b"text/"))
        || TYPES.into_iter().any(is)
        || SUFFIXES.into_iter().any(ends)
}

/// RFC 9111, section 5.2.2.6.
fn forbids_transforming(cache_control: &HeaderValue) -> bool {
    cache_control
        .as_bytes()
        .split(|&byte| byte == b',')
        .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn planned(status: u16, answer: &[(&'static str, &'static str)]) -> Plan {
        let request = headers(&[("accept-encoding", "gzip")]);
        plan(&Coding::ALL, &request, StatusCode::from_u16(status).unwrap(), &headers(answer))
    }

    #[test]
    fn what_shrinks_and_may_be_changed_is_compressed() {
        let html = ("content-type", "Text/HTML; charset=utf-8");
        for fields in [
            vec![html],
            vec![html, ("content-length", "1024")],
            vec![("content-type", "application/problem+json")],
            vec![("content-type", "application/JSON;x")],
            vec![("content-type", "image/svg+xml")],
            vec![html, ("cache-control", "no-store"), ("cache-control", "max-age=1")],
        ] {
            assert_eq!(planned(200, &fields), Plan::Compress(Coding::Gzip), "{fields:?}");
        }
        assert_eq!(planned(404, &[html]), Plan::Compress(Coding::Gzip));
    }

    #[test]
    fn everything_else_is_left_alone() {
        let html = ("content-type", "text/html");
        for fields in [
            vec![],
            vec![("content-type", "image/png")],
            vec![("content-type", "application/grpc")],
            vec![("content-type", "")],
            vec![("content-type", "json")],
            vec![html, ("content-length", "1023")],
            vec![html, ("content-encoding", "br")],
            vec![html, ("content-encoding", "identity")],
            vec![html, ("content-range", "bytes 0-1/2")],
            vec![html, ("cache-control", "private, No-Transform")],
        ] {
            assert_eq!(planned(200, &fields), Plan::Keep, "{fields:?}");
        }
        for status in [101, 103, 204, 205, 206, 304] {
            assert_eq!(planned(status, &[html]), Plan::Keep, "{status}");
        }
        let request = HeaderMap::new();
        assert_eq!(
            plan(&Coding::ALL, &request, StatusCode::OK, &headers(&[html])),
            Plan::KeepForThis,
            "a cache is to know"
        );
    }

    #[test]
    fn a_304_has_the_validator_of_what_its_client_has() {
        let strong = HeaderValue::from_static("\"a\"");
        for (asked, etag) in [
            (vec![("if-none-match", "W/\"a\"")], "W/\"a\""),
            (vec![("if-none-match", "\"b\" , W/\"a\"")], "W/\"a\""),
            (vec![("if-none-match", "\"b\""), ("if-none-match", "W/\"a\"")], "W/\"a\""),
            (vec![("if-none-match", "\"a\"")], "\"a\""),
            (vec![("if-none-match", "\"a\", W/\"a\"")], "\"a\""),
            (vec![("if-none-match", "*")], "\"a\""),
            (vec![], "\"a\""),
        ] {
            assert_eq!(validator_of_kept(&strong, &headers(&asked)), etag, "{asked:?}");
        }
        let html = ("content-type", "text/html");
        assert!(may_stand_for_compressed(&headers(&[])));
        assert!(may_stand_for_compressed(&headers(&[html])));
        for fields in [
            vec![("content-type", "image/png")],
            vec![html, ("content-encoding", "br")],
            vec![html, ("cache-control", "no-transform")],
        ] {
            assert!(!may_stand_for_compressed(&headers(&fields)), "{fields:?}");
        }
    }

    #[test]
    fn a_validator_becomes_weak() {
        let weakened = |etag| weak(&HeaderValue::from_static(etag));
        assert_eq!(weakened("\"a\"").unwrap(), "W/\"a\"");
        assert_eq!(weakened("W/\"a\"").unwrap(), "W/\"a\"");
        assert_eq!(weakened("a"), None);
    }
}
