//! How far a route that does not take a request would: to tell people which routes they may have meant.
//!
//! Host, path and method are asked one by one, each of a table that has this one condition, so that they are matched as in the table of
//! all routes.

use http::Method;

use super::pattern::{PathPattern, Segment, Tail};
use super::requirement::{Particulars, Requirement};
use super::table::{Conditions, Match, Table};

/// Texts that are longer are not compared for their spelling.
const MAX_COMPARED: usize = 256;

/// How alike two paths are spelt at least, of 1, that may be meant for each other.
const ALIKE: f64 = 0.75;

/// How the conditions of a route agree with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Whether the host matches.
    pub host: bool,
    /// Whether the method matches.
    pub method: bool,
    /// Whether the path matches.
    pub path: PathAgreement,
    /// The header fields and parameters that are not as the route asks for.
    pub unmet: Vec<Requirement>,
}

/// How a path agrees with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathAgreement {
    /// It has little in common with it.
    No,
    /// So many segments from the left match.
    Begins(usize),
    /// It is spelt alike.
    Alike,
    /// It lies below the one path that the pattern matches.
    Below,
    /// It would match with another ending.
    Ending,
    /// It would match in another case.
    Case,
    /// It would match without its slash at the end.
    WithoutSlash,
    /// It would match with a slash at its end.
    WithSlash,
    /// It matches.
    Yes,
}

impl Conditions<'_> {
    /// How they agree with a request for this host and path, as in [`Table::find`].
    pub fn agreement(&self, host: &str, path: &str, request: &Particulars<'_>) -> Agreement {
        let everything = PathPattern { segments: Vec::new(), tail: Tail::All };
        let any = Conditions { hosts: &[], path: &everything, methods: &[], requirements: &[] };
        let unmet = self.requirements.iter().filter(|requirement| requirement.is_met(request) != Ok(true));
        Agreement {
            host: found(Conditions { hosts: self.hosts, ..any }, host, "/", &Method::GET),
            method: found(Conditions { methods: self.methods, ..any }, "", "/", request.method),
            unmet: unmet.cloned().collect(),
            path: path_agreement(self.path, path, &|pattern, path| {
                found(Conditions { path: pattern, ..any }, "", path, &Method::GET)
            }),
        }
    }
}

/// Whether a route with these conditions would take a request.
fn found(conditions: Conditions<'_>, host: &str, path: &str, method: &Method) -> bool {
    matches!(Table::new([conditions]).find(host, path, method), Match::Found { .. })
}

fn path_agreement(
    pattern: &PathPattern,
    path: &str,
    matches: &dyn Fn(&PathPattern, &str) -> bool,
) -> PathAgreement {
    if matches(pattern, path) {
        return PathAgreement::Yes;
    }
    if path.strip_suffix('/').is_some_and(|path| matches(pattern, path)) {
        return PathAgreement::WithoutSlash;
    }
    if !path.ends_with('/') && matches(pattern, &format!("{path}/")) {
        return PathAgreement::WithSlash;
    }
    if path.len() <= MAX_COMPARED && matches(&in_lower_case(pattern), &path.to_ascii_lowercase()) {
        return PathAgreement::Case;
    }
    let with_tail = |tail: Tail| PathPattern { segments: pattern.segments.clone(), tail };
    if matches!(pattern.tail, Tail::Ending(_)) && matches(&with_tail(Tail::All), path) {
        return PathAgreement::Ending;
    }
    let begins = begins_alike(pattern, path);
    if pattern.tail == Tail::None && begins > 0 && begins == pattern.segments.len() {
        return PathAgreement::Below;
    }
    let text = with_tail(Tail::None).to_string();
    let depth = pattern.segments.len();
    let as_deep = path
        .match_indices('/')
        .nth(depth)
        .filter(|_| pattern.tail.is_some())
        .map_or(path, |(at, _)| &path[..at]);
    if depth > 0
        && text.len().max(as_deep.len()) <= MAX_COMPARED
        && strsim::normalized_damerau_levenshtein(&text, as_deep) >= ALIKE
    {
        return PathAgreement::Alike;
    }
    if begins > 0 { PathAgreement::Begins(begins) } else { PathAgreement::No }
}

/// How many segments of a path match those of a pattern, from the left.
fn begins_alike(pattern: &PathPattern, path: &str) -> usize {
    let segments = path.split('/').skip(1);
    let alike = |(pattern, segment): &(&Segment, &str)| match pattern {
        Segment::Literal(text) => !text.is_empty() && text == segment,
        Segment::Parameter(_) => !segment.is_empty(),
    };
    let begins: Vec<_> = pattern.segments.iter().zip(segments).take_while(alike).collect();
    // A parameter takes anything, so it says nothing.
    if begins.iter().any(|(pattern, _)| matches!(pattern, Segment::Literal(_))) { begins.len() } else { 0 }
}

fn in_lower_case(pattern: &PathPattern) -> PathPattern {
    let lower = |segment: &Segment| match segment {
        Segment::Literal(text) => Segment::Literal(text.to_ascii_lowercase()),
        Segment::Parameter(name) => Segment::Parameter(name.clone()),
    };
    let tail = match &pattern.tail {
        Tail::Ending(ending) => Tail::Ending(ending.to_ascii_lowercase()),
        other => other.clone(),
    };
    PathPattern { segments: pattern.segments.iter().map(lower).collect(), tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(pattern: &str, path: &str) -> PathAgreement {
        let path_pattern: PathPattern = pattern.parse().unwrap();
        Conditions { hosts: &[], path: &path_pattern, methods: &[], requirements: &[] }
            .agreement("", path, &(&Method::GET).into())
            .path
    }

    #[test]
    fn a_path_that_nearly_matches_says_what_is_missing() {
        for (pattern, asked, agreement) in [
            ("/users/*", "/users/7", PathAgreement::Yes),
            ("/users", "/users/", PathAgreement::WithoutSlash),
            ("/users/", "/users", PathAgreement::WithSlash),
            ("/users/{id}", "/Users/7", PathAgreement::Case),
            ("/users", "/users/7", PathAgreement::Below),
            ("/users/{id}/orders", "/users/7/basket", PathAgreement::Begins(2)),
            ("/users/*", "/usrs/7", PathAgreement::Alike),
            ("/users/*", "/shop/7", PathAgreement::No),
            ("/assets/*.js", "/assets/a/b.js", PathAgreement::Yes),
            ("/assets/*.js", "/assets/a.css", PathAgreement::Ending),
            ("/assets/*.js", "/assets/a.JS", PathAgreement::Case),
            ("/assets/*.js", "/shop/a.js", PathAgreement::No),
            ("/{id}", "/a/b", PathAgreement::No),
        ] {
            assert_eq!(path(pattern, asked), agreement, "{pattern} {asked}");
        }
    }

    #[test]
    fn host_and_method_are_asked_by_themselves() {
        let (hosts, pattern) = (["*.example.com".parse().unwrap()], "/a".parse().unwrap());
        let conditions =
            Conditions { hosts: &hosts, path: &pattern, methods: &[Method::GET], requirements: &[] };
        let agreement = |host, method: Method| {
            let Agreement { host, method, .. } = conditions.agreement(host, "/b", &(&method).into());
            (host, method)
        };
        assert_eq!(agreement("a.example.com", Method::HEAD), (true, true));
        assert_eq!(agreement("example.com", Method::PUT), (false, false));
    }
}
