//! What is said about each kind of invalid file.
//!
//! `tests/fixtures/config/NAME.toml` is an invalid file, and `NAME.expected` what is printed about it. After a
//! change of wording, `UPDATE_EXPECTED=1 cargo test` writes the `.expected` files anew: read the difference.

use std::fs;

use super::{Config, env, file};

#[test]
fn every_config_error_says_what_is_wrong_and_what_would_be_right() {
    let folder = file("tests/fixtures/config");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let (mut seen, mut differences) = (0, String::new());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let printed = match Config::parse(&name, &fs::read_to_string(&path).unwrap(), &env) {
            Ok(config) => panic!("{name} is valid: {}", config.summary()),
            Err(problems) => format!("{problems}\n"),
        };
        let expected_path = path.with_extension("expected");
        if update {
            fs::write(&expected_path, printed).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        differences.push_str(&difference(&name, &expected, &printed));
    }
    assert!(seen >= 40, "only {seen} fixtures in {}", folder.display());
    assert!(
        differences.is_empty(),
        "\n{differences}if the new text is better, run again with UPDATE_EXPECTED=1"
    );
}

/// The lines in which two texts differ.
fn difference(name: &str, expected: &str, printed: &str) -> String {
    let only_in = |sign: char, lines: &str, other: &str| -> String {
        let others: Vec<&str> = other.lines().collect();
        lines.lines().filter(|line| !others.contains(line)).map(|line| format!("  {sign} {line}\n")).collect()
    };
    match expected == printed {
        true => String::new(),
        false => format!(
            "{name} (- expected, + printed):\n{}{}",
            only_in('-', expected, printed),
            only_in('+', printed, expected)
        ),
    }
}
