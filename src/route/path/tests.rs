use proptest::prelude::*;

use super::*;

fn normal(path: &str) -> String {
    normalise(path.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}")).into_owned()
}

#[test]
fn a_path_in_normal_form_is_borrowed() {
    for path in [
        "/",
        "/users/7",
        "/users/",
        "/.well-known/security.txt",
        "/a..b/...x/..c/...",
        "/a;b=c/d,e:f@g!$&'()*+=",
        "/%20/%25/%C3%A9/%3F%23%3B",
    ] {
        let normalised = normalise(path.as_bytes()).unwrap();
        assert_eq!(normalised, path);
        assert!(matches!(normalised, Cow::Borrowed(_)), "{path} was copied");
    }
}

#[test]
fn another_spelling_of_a_path_is_the_same_path() {
    for (path, expected) in [
        ("", "/"),
        ("//", "/"),
        ("//evil.example/x", "/evil.example/x"),
        ("/a///b//", "/a/b/"),
        ("/./a/./b/.", "/a/b/"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/..", "/"),
        ("/a/b/../../c", "/c"),
        ("/%2e/a/%2E%2e/b", "/b"),
        ("/%61dmin/%7euser", "/admin/~user"),
        ("/%c3%a9", "/%C3%A9"),
        ("/é", "/%C3%A9"),
        ("/a b\"<>^`{|}[]", "/a%20b%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
        ("/a%3f%23%3b%25", "/a%3F%23%3B%25"),
        ("/%252e%252e/x", "/%252e%252e/x"),
        ("/...;x", "/...;x"),
        ("/a..;x", "/a..;x"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
    assert_eq!(normalise(b"/\xff\x80").unwrap(), "/%FF%80");
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    for (path, error) in [
        ("users", Unsafe::NotAbsolute),
        ("*", Unsafe::NotAbsolute),
        ("/%", Unsafe::BadEscape),
        ("/%2", Unsafe::BadEscape),
        ("/%zz", Unsafe::BadEscape),
        ("/%+1", Unsafe::BadEscape),
        ("/a%00.png", Unsafe::Control),
        ("/a\0", Unsafe::Control),
        ("/a\tb", Unsafe::Control),
        ("/%0d%0aX-Y:1", Unsafe::Control),
        ("/%7f", Unsafe::Control),
        ("/a?b", Unsafe::Delimiter),
        ("/a#b", Unsafe::Delimiter),
        ("/a/..%2f..%2fetc", Unsafe::EncodedSlash),
        ("/a%2Fb", Unsafe::EncodedSlash),
        ("/a\\..\\b", Unsafe::Backslash),
        ("/a%5cb", Unsafe::Backslash),
        ("/..", Unsafe::AboveRoot),
        ("/a/../../b", Unsafe::AboveRoot),
        ("/%2e%2e/etc/passwd", Unsafe::AboveRoot),
        ("/a//../b", Unsafe::AmbiguousDots),
        ("//..", Unsafe::AmbiguousDots),
        ("/a//b/../../c", Unsafe::AmbiguousDots),
        ("/a/..;/b", Unsafe::DotParameter),
        ("/a/..;x=1/b", Unsafe::DotParameter),
        ("/a/.;x", Unsafe::DotParameter),
        ("/a/%2e%2e;/b", Unsafe::DotParameter),
        ("/a/..%3b/b", Unsafe::DotParameter),
    ] {
        assert_eq!(normalise(path.as_bytes()), Err(error), "{path}");
    }
}

#[test]
fn encoded_slashes_can_be_kept() {
    for (path, expected) in [
        ("/a%2fb", "/a%2Fb"),
        ("/projects/group%2Fproject/x", "/projects/group%2Fproject/x"),
        ("/queues/%2f/q", "/queues/%2F/q"),
        ("/%40scope%2fname", "/%40scope%2Fname"),
        ("//a%2F%2fb/./c//", "/a%2F%2Fb/c/"),
        ("/a%2Fb/x/../c", "/a%2Fb/c"),
        ("/a%252fb", "/a%252fb"),
        ("/a%2f.b/..c%2fd..", "/a%2F.b/..c%2Fd.."),
        ("/users/7", "/users/7"),
        ("", "/"),
    ] {
        assert_eq!(normalise_keeping_slashes(path.as_bytes()).as_deref(), Ok(expected), "{path}");
    }
    for (path, error) in [
        ("/a/..%2f..%2fetc", Unsafe::EncodedSlash),
        ("/a%2F..", Unsafe::EncodedSlash),
        ("/a%2F%2e%2e%2Fb", Unsafe::EncodedSlash),
        ("/.%2Fb", Unsafe::EncodedSlash),
        ("/a%2F..;x%2Fb", Unsafe::EncodedSlash),
        ("/..;%2Fb", Unsafe::DotParameter),
        ("/a%2Fb/..", Unsafe::EncodedSlash),
        ("/a%2Fb/../c", Unsafe::EncodedSlash),
        ("/a%2Fb/c/../../d", Unsafe::EncodedSlash),
        ("/a%2Fb//../c", Unsafe::AmbiguousDots),
        ("/a%2Fb%5cc", Unsafe::Backslash),
        ("/a%2Fb%00", Unsafe::Control),
        ("/a%2", Unsafe::BadEscape),
        ("a%2Fb", Unsafe::NotAbsolute),
        ("/../a%2Fb", Unsafe::AboveRoot),
    ] {
        assert_eq!(normalise_keeping_slashes(path.as_bytes()), Err(error), "{path}");
    }
}

/// Bytes that are likely to find something.
fn raw_path() -> impl Strategy<Value = Vec<u8>> {
    let tricky = vec![
        "/", "/", "/", ".", "..", "%2e", "%2E", ";", "%3b", "%3B", "%25", "a", "%61", "%c3%a9", "é", " ",
        "{", "*",
    ];
    let refused = vec!["%", "%2f", "%5C", "\\", "?", "%00"];
    let piece = prop_oneof![
        20 => proptest::sample::select(tricky).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::sample::select(refused).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 1..3),
    ];
    (proptest::bool::weighted(0.9), proptest::collection::vec(piece, 0..12)).prop_map(|(slash, pieces)| {
        let mut path = if slash { b"/".to_vec() } else { Vec::new() };
        path.extend(pieces.concat());
        path
    })
}

/// The same with many encoded slashes.
fn slashed_path() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec!["/", "%2f", "%2F", ".", "..", "%2e", ";", "%3b", "a"];
    proptest::collection::vec(proptest::sample::select(pieces), 0..12)
        .prop_map(|pieces| format!("/{}", pieces.concat()).into_bytes())
}

proptest! {
    #[test]
    fn keeping_slashes_changes_nothing_else(raw in raw_path()) {
        if let Ok(path) = normalise(&raw) {
            prop_assert_eq!(normalise_keeping_slashes(&raw), Ok(path.into_owned()));
        }
    }

    #[test]
    fn a_kept_slash_hides_no_dot_segment_from_whoever_decodes_it(raw in slashed_path()) {
        if let Ok(path) = normalise_keeping_slashes(&raw) {
            prop_assert_eq!(normalise_keeping_slashes(path.as_bytes()), Ok(path.clone()));
            let decoded = path.replace("%2F", "/");
            prop_assert!(decoded.split('/').all(|segment| dots(segment) == Dots::None));
        }
    }

    #[test]
    fn normalising_twice_changes_nothing(raw in raw_path()) {
        if let Ok(once) = normalise(&raw) {
            let twice = normalise(once.as_bytes()).unwrap();
            prop_assert_eq!(&twice, &once);
            prop_assert!(matches!(twice, Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_normal_path_has_nothing_left_to_resolve(raw in raw_path()) {
        if let Ok(path) = normalise(&raw) {
            prop_assert!(path.starts_with('/'));
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(!path.contains("//"));
            prop_assert!(path.split('/').all(|segment| dots(segment) == Dots::None));
            let lower = path.to_ascii_lowercase();
            prop_assert!(!["%2f", "%5c", "%00", "%2e", "\\", "?", "#"].iter().any(|bad| lower.contains(bad)));
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = normalise(&raw);
    }

    #[test]
    fn the_fast_path_never_lets_through_what_the_slow_one_would_change(raw in raw_path()) {
        if is_normal(&raw) {
            let slow = normalise_characters(&raw).and_then(|path| resolve_dots(&path)).unwrap();
            prop_assert_eq!(slow.as_bytes(), &raw[..]);
        }
    }
}
