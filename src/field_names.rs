//! Which fields of a request go any further, by their names.
//!
//! Servers that make variables of fields (CGI, WSGI, PHP) read `X_Api_Key`, `X.Api.Key` and `X-Api-Key` as one. A name with
//! anything but letters, digits and `-` is therefore dropped, as nginx does, unless the configuration lets such names pass; and
//! even then not one that folds into a name that the gateway goes by. What is dropped is dropped before anybody reads it, so that
//! nothing is counted by a field that the upstream does not get.

use std::borrow::Cow;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, header};
use smallvec::SmallVec;

/// What a client says of whom it speaks for, and what only a trusted proxy may say.
const CLAIM_PREFIX: &str = "x-forwarded-";
const CLAIMS: [&str; 3] = ["forwarded", "x-real-ip", "x-request-id"];

/// Other fields that the gateway reads or sets, or that say where a message ends.
const OWN: [&str; 15] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
];

/// Options of `Connection` that are none of an end-to-end field; what becomes of these fields is decided elsewhere.
const HOP_BY_HOP: [&str; 9] = [
    "close",
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A `Connection` with more options than this is none that anybody needs. The proxy behind this takes no more either.
const MAX_OPTIONS: usize = 9;

/// CGI hands it on as `HTTP_PROXY`, which programs take for the proxy that they are to use (httpoxy, CVE-2016-5385).
static PROXY: HeaderName = HeaderName::from_static("proxy");

/// A few names of fields.
pub type Names = SmallVec<[HeaderName; 4]>;

/// Which fields of requests go any further.
#[derive(Clone, Debug, Default)]
pub struct FieldNames {
    /// Whether names with other characters than letters, digits and `-` do.
    underscores: bool,
    /// By its folded form, how a name is spelt by which requests are counted.
    spelt: HashMap<String, HeaderName>,
    /// Whether one of those has such characters.
    odd: bool,
}

impl FieldNames {
    /// What goes any further where limits and upstreams go by these fields.
    pub fn new<'a>(underscores: bool, counted_by: impl Iterator<Item = &'a HeaderName>) -> Self {
        let mut names = Self { underscores, ..Self::default() };
        for name in counted_by {
            names.odd |= !is_plain(name);
            names.spelt.entry(folded(name.as_str()).into_owned()).or_insert_with(|| name.clone());
        }
        names
    }

    /// The fields that are dropped for their names.
    pub fn dropped(&self, headers: &HeaderMap) -> Names {
        headers.keys().filter(|name| self.is_dropped(name)).cloned().collect()
    }

    fn is_dropped(&self, name: &HeaderName) -> bool {
        let plain = is_plain(name);
        if plain && !self.odd {
            return *name == PROXY;
        }
        if !plain && !self.underscores {
            return true;
        }
        let form = folded(name.as_str());
        let spelt_otherwise = self.spelt.get(&*form).map(|spelling| spelling != name);
        spelt_otherwise.unwrap_or_else(|| *name == PROXY || (!plain && is_own(&form)))
    }
}

/// Whether a field of this name, or of one that folds into it, means something to the gateway or delimits a message.
pub fn is_of_the_gateway(name: &HeaderName) -> bool {
    let form = folded(name.as_str());
    is_own(&form) || HOP_BY_HOP.contains(&&*form)
}

/// Whether a name has letters, digits and `-` only.
pub fn is_plain(name: &HeaderName) -> bool {
    name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The form in which names are compared that servers may take for each other.
pub fn folded(name: &str) -> Cow<'_, str> {
    let other = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    if name.contains(other) { Cow::Owned(name.replace(other, "-")) } else { Cow::Borrowed(name) }
}

/// Whether servers may take these names for each other.
pub fn folds_alike(one: &HeaderName, other: &HeaderName) -> bool {
    // Folding keeps the length.
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    let fold = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| fold(*one) == fold(*other))
}

/// The fields of a request that servers may take for the one with this name; `name` itself is one.
pub fn alike(headers: &HeaderMap, name: &HeaderName) -> Names {
    headers.keys().filter(|other| folds_alike(other, name)).cloned().collect()
}

/// What a peer claims that is not a trusted proxy: nobody believes it, so it goes no further.
pub fn claims(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    headers.keys().filter(|name| is_claim(name.as_str())).cloned()
}

/// Whether a key by this field would count by what never goes upstream.
pub fn never_goes_upstream(name: &HeaderName) -> bool {
    const ANSWERS: [&str; 2] = ["proxy-authorization", "proxy-authenticate"];
    let name = name.as_str();
    name != "close" && HOP_BY_HOP.contains(&name) || ANSWERS.contains(&name) || name == "proxy"
}

/// The end-to-end fields that `Connection` names: they are not sent on (RFC 9110, section 7.6.1).
///
/// # Errors
/// When it names what a request is read, counted or attributed by: a sender must not, and the gateway would have read one
/// request and the upstream another.
pub fn named_in_connection(headers: &HeaderMap) -> Result<Names, &'static str> {
    let options = headers.get_all(header::CONNECTION).into_iter();
    let options =
        options.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let mut named = Names::new();
    for (count, option) in options.filter(|option| !option.is_empty()).enumerate() {
        if count >= MAX_OPTIONS {
            return Err("the Connection field has too many options");
        }
        let name = HeaderName::from_bytes(option).ok().filter(|name| name.as_str().bytes().all(is_tchar));
        let name = name.ok_or("the Connection field has an option that is no token")?;
        if HOP_BY_HOP.contains(&name.as_str()) {
            continue;
        }
        let form = folded(name.as_str());
        if is_claim(&form) || is_own(&form) {
            return Err("the Connection field names a field that is not the connection's");
        }
        named.push(name);
    }
    Ok(named)
}

fn is_claim(name: &str) -> bool {
    name.starts_with(CLAIM_PREFIX) || CLAIMS.contains(&name)
}

fn is_own(form: &str) -> bool {
    is_claim(form) || OWN.contains(&form)
}

/// RFC 9110, section 5.6.2.
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(names: &[&str]) -> HeaderMap {
        let field =
            |name: &&str| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("1"));
        names.iter().map(field).collect()
    }

    fn dropped(names: &FieldNames, given: &[&str]) -> Vec<String> {
        let mut dropped: Vec<_> = names.dropped(&headers(given)).iter().map(ToString::to_string).collect();
        dropped.sort_unstable();
        dropped
    }

    #[test]
    fn a_name_that_folds_is_dropped_unless_it_may_pass() {
        let given = ["x-a", "x_a", "x.a", "x|a", "proxy", "host", "cookie"];
        let strict = FieldNames::new(false, std::iter::empty());
        assert_eq!(dropped(&strict, &given), ["proxy", "x.a", "x_a", "x|a"]);
        let lenient = FieldNames::new(true, std::iter::empty());
        assert_eq!(dropped(&lenient, &given), ["proxy"]);
    }

    #[test]
    fn what_the_gateway_goes_by_has_one_spelling() {
        let given =
            ["x-api-key", "x_api_key", "x_forwarded_for", "x_forwarded-any", "content_length", "x_other"];
        let key = [HeaderName::from_static("x-api-key")];
        let lenient = FieldNames::new(true, key.iter());
        assert_eq!(
            dropped(&lenient, &given),
            ["content_length", "x_api_key", "x_forwarded-any", "x_forwarded_for"]
        );
        let odd = [HeaderName::from_static("x_api_key")];
        let lenient = FieldNames::new(true, odd.iter());
        assert_eq!(
            dropped(&lenient, &given),
            ["content_length", "x-api-key", "x_forwarded-any", "x_forwarded_for"]
        );
    }

    #[test]
    fn connection_names_what_is_the_connections_alone() {
        let named = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, HeaderValue::from_static(value));
            named_in_connection(&headers)
                .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(named("close, X-Hop ,te,, Upgrade").unwrap(), ["x-hop"]);
        assert_eq!(named("").unwrap(), [""; 0]);
        for value in [
            "cookie",
            "X_Forwarded_For",
            "X-Forwarded-Any",
            "Host",
            "a b",
            "\"x\"",
            ":path",
            "a,b,c,d,e,f,g,h,i,j",
        ] {
            assert!(named(value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_folds_into_nothing_that_was_counted(name in "[a-z_.-]{1,12}") {
            let key = HeaderName::from_static("x-a");
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            for underscores in [false, true] {
                let names = FieldNames::new(underscores, std::iter::once(&key));
                let passes = !names.is_dropped(&name);
                prop_assert!(!passes || name == key || folded(name.as_str()) != "x-a");
            }
        }
    }
}
