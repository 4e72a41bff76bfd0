//! Texts that nobody would write: they are refused, not tripped over.

use std::fs;

use proptest::prelude::*;

use super::{Config, env, file};

/// Whatever the text: no panic, and every problem is at a place in the file.
fn parses_without_panic(text: &str) {
    if let Err(problems) = Config::parse("f", text, &env) {
        let lines = text.split('\n').count();
        assert!(problems.iter().count() > 0);
        for (place, _) in problems.iter() {
            let position = place.start;
            assert!((1..=lines).contains(&position.line), "{position} of {lines} lines");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*") {
        parses_without_panic(&text);
    }

    #[test]
    fn anything_like_toml_is_read_without_a_panic(
        tokens in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\n", "\"", "'", "\"\"\"", "#", " ", "1", "-", "_", "0x",
                "server", "limits", "routes", "upstreams", "a", "b", "rate", "\"10/s\"", "listen", "name", "path",
                "\"/a/*\"", "\"${\"", "true", "1979-05-27", "é", "\u{0}", "\r", "\\",
            ]),
            0..60,
        )
    ) {
        parses_without_panic(&tokens.concat());
    }

    #[test]
    fn a_damaged_config_is_read_without_a_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, "\\PC{0,6}"), 1..4)
    ) {
        let mut text: Vec<char> = fs::read_to_string(file("config/gateway.toml")).unwrap().chars().collect();
        for (at, removed, inserted) in damage {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, inserted.chars());
        }
        parses_without_panic(&text.into_iter().collect::<String>());
    }
}
