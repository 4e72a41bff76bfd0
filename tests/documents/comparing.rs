//! What a command has printed, beside what a document shows of it: `…` stands for anything, on a line of its own for any lines.

use snapbox::filter::NormalizeToExpected;
use snapbox::{Assert, Data};

/// Compares them.
///
/// # Errors
/// Where they differ: the difference for people to read, and what the document should show, with its `…` where snapbox
/// can tell that they still stand for something.
pub(crate) fn compare(shown: &str, printed: &str) -> Result<(), (String, String)> {
    // Blanks at the end of a line are not seen.
    let printed: String = printed.trim_end().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let expected = Data::text(pattern(shown));
    let assert = Assert::new().normalize_paths(false);
    assert.try_eq(Some(&"printed"), Data::text(printed.clone()), expected.clone()).map_err(|difference| {
        let normal = NormalizeToExpected::new().redact().normalize(Data::text(printed), &expected);
        (difference.to_string(), unpattern(&normal.render().unwrap()))
    })
}

/// What snapbox calls anything.
fn pattern(shown: &str) -> String {
    let line = |line: &str| match line.trim() {
        "…" => "...\n".to_owned(),
        _ => format!("{}\n", line.replace('…', "[..]")),
    };
    shown.trim_end().lines().map(line).collect()
}

fn unpattern(pattern: &str) -> String {
    let line = |line: &str| match line {
        "..." => "…\n".to_owned(),
        _ => format!("{}\n", line.replace("[..]", "…")),
    };
    pattern.lines().map(line).collect()
}

#[test]
fn anything_may_stand_for_an_ellipsis_and_nothing_else() {
    assert_eq!(compare("a … c\n…\nend", "a b c\n1\n2\nend\n"), Ok(()));
    let (difference, right) = compare("id …\n…\nb 1\n", "id 7\nmore\nb 2\n").unwrap_err();
    assert!(difference.contains("b 1") && difference.contains("b 2"), "{difference}");
    assert_eq!(right, "id …\nmore\nb 2\n");
}
