use std::ops::Range;

use super::*;

fn pattern(text: &str) -> PathPattern {
    text.parse().unwrap()
}

fn captures(parameter: Option<Range<usize>>, rest: Option<usize>) -> Captures {
    let mut captures = Captures::none();
    if let Some(range) = parameter {
        captures.push(range);
    }
    captures.set_rest(rest);
    captures
}

#[test]
fn a_template_is_literals_and_what_was_captured() {
    let pieces = Template::parse("/v2/{id}/x-{name}.json", &pattern("/{name}/{id}")).unwrap().pieces;
    let literal = |text: &str| Piece::Literal(text.to_owned());
    assert_eq!(
        pieces,
        [literal("/v2/"), Piece::Parameter(1), literal("/x-"), Piece::Parameter(0), literal(".json")]
    );
}

#[test]
fn a_template_is_filled_in_from_the_path() {
    let users = captures(Some(7..8), Some(9));
    for (text, expected) in [
        ("/v2/{id}", "/v2/7"),
        ("/v2/{id}/", "/v2/7/"),
        ("/%7e{id}/a b", "/~7/a%20b"),
        ("/{id}{id}", "/77"),
        ("/new/*", "/new/x/y"),
        ("/*", "/x/y"),
        ("/", "/"),
    ] {
        let template = Template::parse(text, &pattern("/users/{id}/*")).unwrap();
        assert_eq!(template.apply("/users/7/x/y", &users), expected, "{text}");
    }
}

#[test]
fn the_slash_before_a_rest_that_is_not_there_goes_too() {
    for (text, without, empty) in [
        ("/new/*", "/new", "/new/"),
        ("/*", "/", "/"),
        ("https://example.com/*", "https://example.com/", "https://example.com/"),
        ("https://example.com/new/*", "https://example.com/new", "https://example.com/new/"),
    ] {
        let template = Template::parse_location(text, &pattern("/old/*")).unwrap();
        assert_eq!(template.apply("/old", &captures(None, None)), without, "{text}");
        assert_eq!(template.apply("/old/", &captures(None, Some(5))), empty, "{text}");
    }
}

#[test]
fn a_location_may_be_a_url() {
    for (text, expected) in [
        ("/new", "/new"),
        ("https://Other.example", "https://other.example/"),
        ("HTTP://other.example:8080/{id}", "http://other.example:8080/7"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("https://[::1]", "https://[::1]/"),
    ] {
        let template = Template::parse_location(text, &pattern("/users/{id}")).unwrap();
        assert_eq!(template.apply("/users/7", &captures(Some(7..8), None)), expected, "{text}");
    }
    assert!(Template::parse("https://other.example/", &pattern("/")).is_err());
}

#[test]
fn what_cannot_be_filled_in_is_refused_with_what_would_be_right() {
    for (text, part) in [
        ("", "neither a path nor a URL"),
        ("new", "neither a path nor a URL"),
        ("ftp://example.com/", "neither a path nor a URL"),
        ("javascript:alert(1)", "neither a path nor a URL"),
        ("//example.com/", "no scheme"),
        ("/{nobody}", "parameter `{nobody}`"),
        ("/{id", "not closed"),
        ("/id}", "not opened"),
        ("/{}", "a name is"),
        ("/*", "does not end in `/*`"),
        ("/*/x", "wrong place"),
        ("/x*", "wrong place"),
        ("/a//b", "double slash"),
        ("/a/../b", "dot segments"),
        ("/a/.{id}", "right before a parameter"),
        ("/a/%2e.{id}", "right before a parameter"),
        ("/a/..;{id}", "right before a parameter"),
        ("/a/%2{id}", "two hexadecimal digits"),
        ("/a%2fb", "encoded slash"),
        ("/a\r\nX-Y: 1", "control"),
        ("/a%0d%0aX-Y: 1", "control"),
        ("/a?b", "query"),
        ("/a#b", "fragment"),
        ("https://{id}/", "anybody could choose"),
        ("https://example.com{id}", "anybody could choose"),
        ("https://*.example.com/", "anybody could choose"),
        ("https://", "host"),
        ("https://user@example.com/", "user name"),
        ("https://example.com:/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:+80/", "port"),
        ("https://bücher.example/", "punycode"),
        ("https://example.com/a//b", "double slash"),
    ] {
        let error = Template::parse_location(text, &pattern("/users/{id}")).expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}
