//! Parameters of a query that carry a credential: read, taken out, masked.
//!
//! Servers read a query differently: names may be percent-encoded, and some servers take `;` for a separator as well as `&`.

use std::borrow::Cow;

/// What stands in the place of a value that must not be shown.
const MASK: &[u8] = b"***";

/// The values of a parameter, decoded, as most servers read the query.
pub fn values<'a>(query: &'a [u8], name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    form_urlencoded::parse(query).filter(move |(key, _)| key == name).map(|(_, value)| value)
}

/// Whether a server that takes `;` for a separator too might find a parameter that others do not find, or another value of it.
pub fn is_read_in_two_ways(query: &[u8], name: &str) -> bool {
    if memchr::memchr(b';', query).is_none() {
        return false;
    }
    let split = query.split(|&byte| byte == b';').flat_map(|part| values(part, name));
    !split.eq(values(query, name))
}

/// The query without a parameter, whatever the spelling of its name; `None` if it does not have it.
pub fn without(query: &[u8], name: &str) -> Option<Vec<u8>> {
    let pairs = || query.split(|&byte| byte == b'&');
    pairs()
        .any(|pair| is_named(pair, name))
        .then(|| pairs().filter(|pair| !is_named(pair, name)).collect::<Vec<_>>().join(&b'&'))
}

/// The query with a mask for the value of a parameter, wherever some server might find it, in whatever case its name is written; `None` if
/// it does not have it.
pub fn masked(query: &[u8], name: &str) -> Option<Vec<u8>> {
    let is_separator = |byte: u8| matches!(byte, b'&' | b';');
    let (mut out, mut found, mut rest) = (Vec::with_capacity(query.len()), false, query);
    loop {
        let end = rest.iter().position(|&byte| is_separator(byte)).unwrap_or(rest.len());
        let (pair, after) = rest.split_at(end);
        match memchr::memchr(b'=', pair)
            .filter(|_| has_name(pair, |written| written.eq_ignore_ascii_case(name)))
        {
            Some(equals) => {
                found = true;
                out.extend_from_slice(&pair[..=equals]);
                out.extend_from_slice(MASK);
            }
            None => out.extend_from_slice(pair),
        }
        let Some((separator, after)) = after.split_first() else { return found.then_some(out) };
        out.push(*separator);
        rest = after;
    }
}

/// Whether a pair of name and value has this name.
fn is_named(pair: &[u8], name: &str) -> bool {
    has_name(pair, |written| written == name)
}

/// Whether the decoded name of a pair of name and value is one of these.
fn has_name(pair: &[u8], is_meant: impl Fn(&str) -> bool) -> bool {
    form_urlencoded::parse(pair).next().is_some_and(|(name, _)| is_meant(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(query: Option<Vec<u8>>) -> Option<String> {
        query.map(|query| String::from_utf8(query).unwrap())
    }

    #[test]
    fn a_parameter_is_found_in_every_spelling() {
        for (query, read, rest, shown) in [
            ("key=a", &["a"][..], Some(""), Some("key=***")),
            ("x=1&k%65y=%61&y=2", &["a"], Some("x=1&y=2"), Some("x=1&k%65y=***&y=2")),
            ("%6b%65%79=a&key=b", &["a", "b"], Some(""), Some("%6b%65%79=***&key=***")),
            ("x=1", &[], None, None),
            ("", &[], None, None),
            ("keys=1&mykey=2", &[], None, None),
            ("KEY=3", &[], None, Some("KEY=***")),
            ("key", &[""], Some(""), None),
            ("x=1;key=a", &[], None, Some("x=1;key=***")),
            ("key=a;b&c", &["a;b"], Some("c"), Some("key=***;b&c")),
        ] {
            assert_eq!(values(query.as_bytes(), "key").collect::<Vec<_>>(), read, "{query}");
            assert_eq!(text(without(query.as_bytes(), "key")).as_deref(), rest, "{query}");
            assert_eq!(text(masked(query.as_bytes(), "key")).as_deref(), shown, "{query}");
        }
    }

    #[test]
    fn two_readings_of_a_query_are_told_from_one() {
        for query in ["key=a;b", "x=1;key=a", "key=a&x;key=b"] {
            assert!(is_read_in_two_ways(query.as_bytes(), "key"), "{query}");
        }
        for query in ["key=a", "key=a&x=1;y=2", "x;y", ""] {
            assert!(!is_read_in_two_ways(query.as_bytes(), "key"), "{query}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_left_of_a_parameter_that_is_taken_out(query in "[key%=&;+56 79]{0,24}") {
            let rest = without(query.as_bytes(), "key").unwrap_or_else(|| query.clone().into_bytes());
            prop_assert_eq!(values(&rest, "key").count(), 0);
            let others = |query: &[u8]| form_urlencoded::parse(query).filter(|(key, _)| key != "key").count();
            prop_assert_eq!(others(&rest), others(query.as_bytes()));
        }
    }
}
