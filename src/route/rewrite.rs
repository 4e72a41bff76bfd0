//! The path that an upstream receives.
//!
//! It is in normal form like the path of the request: stripping removes whole segments at the front, and a template inserts segments of a
//! normal path.

use std::borrow::Cow;

use super::captures::Captures;
use super::pattern::Template;

/// What happens to the path on its way upstream. The query is always carried over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// The normalised path as it is.
    Keep,
    /// Without this many leading literal characters (`strip_prefix`); what is left starts with `/`.
    StripPrefix(String),
    /// Built from what the route's pattern matched (`rewrite`).
    Template(Template),
}

/// The path that goes upstream, for a normalised path and what the route's pattern captured of it.
///
/// A prefix is stripped in whole segments: `/users` leaves `/7` of `/users/7`, `/` of `/users`, and `/users2` as
/// it is.
pub fn rewrite<'a>(rewrite: &Rewrite, path: &'a str, captures: &Captures) -> Cow<'a, str> {
    match rewrite {
        Rewrite::Keep => Cow::Borrowed(path),
        Rewrite::StripPrefix(prefix) => Cow::Borrowed(strip(path, prefix)),
        Rewrite::Template(template) => Cow::Owned(template.apply(path, captures)),
    }
}

fn strip<'a>(path: &'a str, prefix: &str) -> &'a str {
    match path.strip_prefix(prefix.trim_end_matches('/')) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::route::normalise;
    use crate::route::pattern::{PathPattern, Piece, Template};
    use crate::route::trie::{RouteId, Trie};

    #[test]
    fn a_prefix_is_stripped_in_whole_segments() {
        for (prefix, path, expected) in [
            ("/users", "/users/7", "/7"),
            ("/users", "/users", "/"),
            ("/users", "/users/", "/"),
            ("/users", "/users2", "/users2"),
            ("/users", "/other", "/other"),
            ("/users/", "/users/7", "/7"),
            ("/a/b", "/a/b/c/d", "/c/d"),
            ("/", "/users", "/users"),
            ("/", "/", "/"),
        ] {
            let rewritten = rewrite(&Rewrite::StripPrefix(prefix.to_owned()), path, &Captures::none());
            assert_eq!(rewritten, expected, "{prefix} {path}");
        }
    }

    /// Text made of what could turn into a separator, a dot segment or an escape.
    fn tricky(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(pieces), 0..most).prop_map(|text| text.concat())
    }

    fn pattern() -> impl Strategy<Value = PathPattern> {
        proptest::sample::select(vec!["/{a}", "/{a}/{b}", "/{a}/*", "/x/{a}/{b}/*", "/*", "/x/*", "/{a}/"])
            .prop_map(|text| text.parse().unwrap())
    }

    /// What the upstream gets of a path that the pattern matches.
    fn rewritten(pattern: &PathPattern, how: &Rewrite, path: &str) -> Option<String> {
        let mut trie = Trie::default();
        trie.insert(pattern, &[], &[], RouteId(0));
        let (_, captures) = trie.find(path, &(&Method::GET).into())?;
        Some(rewrite(how, path, &captures).into_owned())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn nothing_that_is_captured_makes_a_path_that_is_not_normal(
            pattern in pattern(),
            template in tricky(&["/", "/", ".", "..", "%2", "%", "e", "2e", ";", "%3B", "{a}", "{a}", "{b}", "x", "/*"], 8),
            path in tricky(&["/", "/", "/", "/x/", ".", "..", "...", "%2e", ";", "%3b", "%25", "2e", "2f", "B", "x", "é"], 10),
        ) {
            if let Ok(template) = Template::parse(&format!("/{template}"), &pattern)
                && let Ok(path) = normalise(format!("/{path}").as_bytes())
                && let Some(out) = rewritten(&pattern, &Rewrite::Template(template), &path)
            {
                let again = normalise(out.as_bytes());
                prop_assert_eq!(again.as_deref(), Ok(&*out));
            }
        }

        #[test]
        fn what_stripping_leaves_is_normal(
            prefix in tricky(&["/", "/x", "/.", "x", "%20"], 4),
            path in tricky(&["/", "/x", "/...", "/ ", "x", "/;"], 8),
        ) {
            if let Ok(path) = normalise(format!("/{path}").as_bytes()) {
                let out = rewrite(&Rewrite::StripPrefix(prefix), &path, &Captures::none()).into_owned();
                let again = normalise(out.as_bytes());
                prop_assert_eq!(again.as_deref(), Ok(&*out));
            }
        }

        #[test]
        fn no_client_chooses_the_host_of_a_location(
            pattern in pattern(),
            start in proptest::sample::select(vec!["/", "https://", "https://example.com", ""]),
            template in tricky(&["/", ".", ":", "8", "@", "{a}", "{b}", "x", "/*", "https://"], 6),
            path in tricky(&["/", "/", "/", "@", ":", ".", "x", "evil.example", "%40", "%3a"], 8),
        ) {
            let template = start.to_owned() + &template;
            if let Ok(path) = normalise(format!("/{path}").as_bytes())
                && let Ok(location) = Template::parse_location(&template, &pattern)
                && let Some(Piece::Literal(start)) = location.pieces.first().cloned()
                && let Some(out) = rewritten(&pattern, &Rewrite::Template(location), &path)
            {
                if template.starts_with('/') {
                    prop_assert!(out.starts_with('/') && !out.starts_with("//"));
                } else {
                    let authority = |url: &str| url.parse::<http::Uri>().unwrap().authority().cloned();
                    prop_assert!(authority(&out).is_some());
                    prop_assert_eq!(authority(&out), authority(&start));
                }
            }
        }
    }
}
