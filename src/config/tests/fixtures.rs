//! What is said about each kind of invalid file, and of file that is probably not meant as it is written.
//!
//! `tests/fixtures/config/NAME.toml` is an invalid file, and `NAME.expected` what is printed about it. So are those in
//! `tests/fixtures/warnings`, which are valid, and whose names are those of the warnings. After a change of wording,
//! `UPDATE_EXPECTED=1 cargo test` writes the `.expected` files anew: read the difference.

use std::collections::BTreeSet;
use std::fs;

use super::{Config, Lint, env, file};

#[test]
fn every_config_error_says_what_is_wrong_and_what_would_be_right() {
    let seen = compare("tests/fixtures/config", |name, text| match Config::parse(name, text, &env) {
        Ok(config) => panic!("{name} is valid: {}", config.summary()),
        Err(problems) => format!("{problems}\n"),
    });
    assert!(seen.len() >= 40, "only {} fixtures", seen.len());
}

#[test]
fn every_warning_says_what_is_odd_and_what_to_do() {
    let seen = compare("tests/fixtures/warnings", |name, text| {
        let config = Config::parse(name, text, &env).unwrap_or_else(|problems| panic!("{problems}"));
        let lint = name.trim_end_matches(".toml");
        let others = config.advice.iter().find(|warning| warning.lint.name() != lint);
        assert!(others.is_none(), "{others:?} in the file of {lint}");
        config.advice.iter().map(|warning| format!("{warning}\n")).collect()
    });
    let of_files = [Lint::WritableFile, Lint::ReplaceableFile, Lint::ReadableKey, Lint::ReadableSecret];
    let of_text = Lint::ALL.iter().filter(|lint| !of_files.contains(lint));
    let names: BTreeSet<_> = of_text.map(|lint| format!("{}.toml", lint.name())).collect();
    assert_eq!(seen, names);
}

/// Compares what is printed about each file of a folder with its `.expected`. Returns the names of the files.
fn compare(folder: &str, printed: impl Fn(&str, &str) -> String) -> BTreeSet<String> {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let (mut seen, mut differences) = (BTreeSet::new(), String::new());
    for entry in fs::read_dir(file(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let printed = printed(&name, &fs::read_to_string(&path).unwrap());
        seen.insert(name.clone());
        let expected_path = path.with_extension("expected");
        if update {
            fs::write(&expected_path, printed).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        differences.push_str(&difference(&name, &expected, &printed));
    }
    assert!(
        differences.is_empty(),
        "\n{differences}if the new text is better, run again with UPDATE_EXPECTED=1"
    );
    seen
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
