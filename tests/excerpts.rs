//! What the documents show of the source is in the source, and the tests that they name exist.

use std::fs;
use std::path::Path;

use crate::arrows::source::{files, folder};

const DOCUMENTS: [&str; 2] = ["docs/tour.md", "docs/developing.md"];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The lines of a text, without their indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

/// What a document shows of files: the path of each, which is a comment in the first line, and the lines after it.
fn excerpts(document: &str) -> Vec<(&str, Vec<&str>)> {
    let blocks = document.split("```rust,ignore\n").skip(1);
    let shown = blocks.map(|rest| lines(rest.split_once("```").unwrap().0));
    let shown = shown.filter_map(|lines| Some((lines[0].strip_prefix("// ")?, lines)));
    shown
        .map(|(path, lines)| (path, lines.into_iter().skip(1).filter(|line| !line.is_empty()).collect()))
        .collect()
}

#[test]
fn what_documents_show_of_the_source_is_there() {
    let mut shown = 0;
    for document in DOCUMENTS {
        for (path, excerpt) in excerpts(&read(document)) {
            let source = read(path);
            let found = lines(&source).windows(excerpt.len()).any(|window| window == excerpt);
            assert!(found, "{document}: {path} does not have\n{}", excerpt.join("\n"));
            shown += 1;
        }
    }
    assert!(shown > 8, "{shown}");
}

#[test]
fn tests_that_documents_name_exist() {
    let source: String = files(&folder()).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let is_test = |code: &&str| {
        code.matches('_').count() > 3 && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let mut named = 0;
    for document in DOCUMENTS {
        for test in read(document).split('`').filter(is_test) {
            assert!(source.contains(&format!("fn {test}(")), "{document}: there is no test {test}");
            named += 1;
        }
    }
    assert!(named > 5, "{named}");
}
