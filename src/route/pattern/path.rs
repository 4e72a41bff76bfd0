//! Reading a path pattern: `/users`, `/users/`, `/users/*`, `/users/{id}/orders`, `/assets/*.js`.

use std::str::FromStr;

use super::{PathPattern, PatternError, Segment, Tail};
use crate::route::path::{Dots, Unsafe, dots, normalise_characters};

/// The most parameters in a pattern: what a match captures has a fixed size.
pub const MAX_PARAMETERS: usize = 16;

/// The most segments in a pattern: a match looks that deep at most.
pub const MAX_SEGMENTS: usize = 64;

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        read(text).map_err(|why| PatternError(format!("path `{}` {why}", text.escape_debug())))
    }
}

impl PathPattern {
    /// The pattern without the names of its parameters. Two patterns match exactly the same paths if their shapes are the same.
    pub fn shape(&self) -> (&Tail, Vec<Option<&str>>) {
        let segments = self.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => Some(literal.as_str()),
            Segment::Parameter(_) => None,
        });
        (&self.tail, segments.collect())
    }

    /// The names of the parameters, from left to right.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }
}

/// Reads a pattern. The error is the end of a sentence that begins with "path `…`".
fn read(text: &str) -> Result<PathPattern, String> {
    let Some(path) = text.strip_prefix('/') else {
        return Err("does not start with `/`: write it like `/users/*`".to_owned());
    };
    check_path(path)?;
    let (before, last) = path.rsplit_once('/').map_or((None, path), |(before, last)| (Some(before), last));
    let (path, tail) = match last.strip_prefix('*') {
        Some(ending) => (before, read_tail(ending)?),
        None => (Some(path), Tail::None),
    };
    let mut segments = Vec::new();
    for part in path.into_iter().flat_map(|path| path.split('/')) {
        let segment = read_segment(part)?;
        if let Segment::Parameter(name) = &segment
            && segments.contains(&segment)
        {
            return Err(format!("has two parameters named `{name}`: give each its own name"));
        }
        segments.push(segment);
    }
    if segments.len() > MAX_SEGMENTS {
        return Err("is too long: a pattern has at most 64 segments, end it with `/*` sooner".to_owned());
    }
    let pattern = PathPattern { segments, tail };
    if pattern.parameter_names().count() > MAX_PARAMETERS {
        return Err("has too many parameters: a pattern has at most 16, end it with `/*` sooner".to_owned());
    }
    Ok(pattern)
}

/// The tail of a pattern, by what follows its `*`.
fn read_tail(ending: &str) -> Result<Tail, String> {
    if ending.is_empty() {
        return Ok(Tail::All);
    }
    if ending.contains(['*', '{', '}']) {
        return Err(format!(
            "has `*{ending}` as its last segment: after a `*` there may be an ending of literal characters, as in `/assets/*.js`"
        ));
    }
    read_literal(ending).map(Tail::Ending)
}

/// Refuses what neither a pattern nor a template may have, in what follows its first slash.
pub(super) fn check_path(tail: &str) -> Result<(), String> {
    if tail.chars().any(char::is_control) {
        return Err("has a control character: no path has one, take it out".to_owned());
    }
    if tail.contains('?') {
        return Err("has a `?`: write the path alone, without a query".to_owned());
    }
    if tail.contains('#') {
        return Err("has a `#`: write the path alone, without a fragment".to_owned());
    }
    if tail.starts_with('/') || tail.contains("//") {
        return Err("has a double slash: paths are used with single ones, write one".to_owned());
    }
    Ok(())
}

/// The normal form of a literal.
pub(super) fn read_literal(text: &str) -> Result<String, String> {
    normalise_characters(text.as_bytes()).map_err(|error| match error {
        Unsafe::BadEscape => {
            "has a `%` that is not followed by two hexadecimal digits: write `%25` for a percent sign"
                .to_owned()
        }
        Unsafe::EncodedSlash => {
            "has an encoded slash, which no literal matches: write a parameter such as `{name}` for the whole segment, and \
             `encoded_slashes = \"keep\"` in the route"
                .to_owned()
        }
        Unsafe::Backslash => {
            "has a backslash: a path with one is always refused, so write `/` instead".to_owned()
        }
        Unsafe::Control => "has an escaped control character: no path has one, take it out".to_owned(),
        other => format!("is no path, since {other}: write it like `/users/7`"),
    })
}

/// Refuses a segment that no normal path has.
pub(super) fn check_dots(segment: &str) -> Result<(), String> {
    match dots(segment) {
        Dots::None => Ok(()),
        Dots::Here | Dots::Up => Err(format!(
            "has the segment `{segment}`: paths are used with dot segments resolved, write it without"
        )),
        Dots::WithParameter => {
            Err(format!("has the segment `{segment}`: a path with it is always refused, so write it without"))
        }
    }
}

/// The name inside `{name}`.
pub(super) fn read_name(name: &str) -> Result<&str, String> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if starts_well && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(name);
    }
    Err(format!("has the parameter `{{{name}}}`: a name is letters, digits and `_`, as in `{{user_id}}`"))
}

fn read_segment(text: &str) -> Result<Segment, String> {
    if let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'))
        && !name.contains(['{', '}'])
    {
        return read_name(name).map(|name| Segment::Parameter(name.to_owned()));
    }
    if text.contains(['{', '}']) {
        return Err(format!(
            "has `{text}` between slashes: a parameter is a whole segment, as in `/users/{{id}}/orders`"
        ));
    }
    if text.contains('*') {
        return Err("has `*` in the wrong place: the last segment may begin with it, as in `/users/*` and `/assets/*.js`".to_owned());
    }
    let literal = read_literal(text)?;
    check_dots(&literal)?;
    Ok(Segment::Literal(literal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> PathPattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    fn parameter(name: &str) -> Segment {
        Segment::Parameter(name.to_owned())
    }

    #[test]
    fn a_pattern_is_literals_parameters_and_perhaps_all_below() {
        let ending = |text: &str| Tail::Ending(text.to_owned());
        for (text, segments, tail) in [
            ("/", vec![literal("")], Tail::None),
            ("/*", vec![], Tail::All),
            ("/users", vec![literal("users")], Tail::None),
            ("/users/", vec![literal("users"), literal("")], Tail::None),
            ("/users/*", vec![literal("users")], Tail::All),
            ("/{a}", vec![parameter("a")], Tail::None),
            ("/users/{id}/orders", vec![literal("users"), parameter("id"), literal("orders")], Tail::None),
            ("/{_a1}/*", vec![parameter("_a1")], Tail::All),
            ("/*.php", vec![], ending(".php")),
            ("/a/{b}/*.tar.gz", vec![literal("a"), parameter("b")], ending(".tar.gz")),
        ] {
            assert_eq!(pattern(text), PathPattern { segments, tail }, "{text}");
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn a_literal_is_normalised_as_a_request_path_is() {
        for (text, expected) in [
            ("/%61dmin", "/admin"),
            ("/a b", "/a%20b"),
            ("/é/%c3%a9", "/%C3%A9/%C3%A9"),
            ("/.well-known/*", "/.well-known/*"),
            ("/a[1]", "/a%5B1%5D"),
            ("/a/*.%6as", "/a/*.js"),
            ("/a/*é", "/a/*%C3%A9"),
        ] {
            assert_eq!(pattern(text).to_string(), expected);
        }
    }

    #[test]
    fn what_no_request_could_match_is_refused_with_what_would_be_right() {
        for (text, part) in [
            ("", "start with `/`"),
            ("users", "start with `/`"),
            ("*", "start with `/`"),
            ("https://example.com/", "start with `/`"),
            ("//", "double slash"),
            ("/a//b", "double slash"),
            ("/a//*", "double slash"),
            ("/a/./b", "dot segments"),
            ("/a/%2e%2e/b", "dot segments"),
            ("/a/..", "dot segments"),
            ("/..;x", "always refused"),
            ("/a?b=c", "query"),
            ("/a#b", "fragment"),
            ("/a\nb", "control"),
            ("/a\u{85}b", "control"),
            ("/a%0ab", "control"),
            ("/a%2fb", "encoded slash"),
            ("/a\\b", "backslash"),
            ("/100%", "`%25`"),
            ("/*/a", "wrong place"),
            ("/a*", "wrong place"),
            ("/a/**", "literal characters"),
            ("/*/", "wrong place"),
            ("/*.js/a", "wrong place"),
            ("/a/*.{b}", "literal characters"),
            ("/a/*.a*", "literal characters"),
            ("/a/*%2f", "encoded slash"),
            ("/user-{id}", "whole segment"),
            ("/{a}{b}", "whole segment"),
            ("/{id", "whole segment"),
            ("/{}", "a name is"),
            ("/{1a}", "a name is"),
            ("/{a-b}", "a name is"),
            ("/{a}/{b}/{a}", "its own name"),
        ] {
            let error = text.parse::<PathPattern>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let parameters: String = (0..17).map(|i| format!("/{{p{i}}}")).collect();
        assert!(parameters.parse::<PathPattern>().unwrap_err().to_string().contains("at most 16"));
        assert!("/a".repeat(65).parse::<PathPattern>().unwrap_err().to_string().contains("at most 64"));
        assert!("/a".repeat(64).parse::<PathPattern>().is_ok());
    }

    #[test]
    fn patterns_match_the_same_paths_when_only_names_differ() {
        assert_eq!(pattern("/a/{x}").shape(), pattern("/a/{y}").shape());
        assert_eq!(pattern("/%61").shape(), pattern("/a").shape());
        for (one, other) in [
            ("/a", "/a/"),
            ("/a", "/a/*"),
            ("/{x}", "/x"),
            ("/a/*", "/a/{x}"),
            ("/*", "/*.a"),
            ("/*.b", "/*.a"),
        ] {
            assert_ne!(pattern(one).shape(), pattern(other).shape());
        }
    }

    #[test]
    fn parameter_names_are_in_order() {
        assert_eq!(pattern("/{b}/x/{a}/*").parameter_names().collect::<Vec<_>>(), ["b", "a"]);
    }
}
