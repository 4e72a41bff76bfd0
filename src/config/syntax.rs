//! Reports errors in a file's TOML, in words that need no knowledge of the TOML specification.
//!
//! The parser recovers from an error and goes on. If the error is inside one value, the rest of the file is read correctly and is checked
//! too. If the structure is broken (a key without a value, an array without its end), the parser can only guess how to read the rest, so
//! only syntax errors are reported.

use toml::de::Error;

use super::problem::{Fault, Sink, Span};

/// The syntax errors of a file.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// The places of the errors, in order.
    at: Vec<usize>,
    /// Whether the file's structure cannot be trusted.
    structural: bool,
}

impl Damage {
    /// Whether the file's structure cannot be trusted.
    pub(super) fn is_structural(&self) -> bool {
        self.structural
    }

    /// Whether an error lies in these bytes, or right behind them.
    pub(super) fn touches(&self, span: &Span) -> bool {
        let first = self.at.partition_point(|&at| at < span.start);
        self.at.get(first).is_some_and(|&at| at <= span.end)
    }
}

/// Reports the syntax errors of `text`, whose parser found these `scalars` (in order).
pub(super) fn report(errors: &[Error], text: &str, scalars: &[Span], sink: &Sink<'_>) -> Damage {
    let mut errors: Vec<(Span, &str)> =
        errors.iter().map(|error| (error.span().unwrap_or_default(), error.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let is_structural = |(span, message): &(Span, &str)| !is_local(span, message, scalars, sink);
    let structural = errors.iter().any(is_structural);
    if structural {
        // A multi-line string without its end takes in the rest of the file, so only this error is reported.
        let endless = |message: &str| message.starts_with("invalid multi-line") && is_unterminated(message);
        if let Some((span, message)) = errors.iter().find(|(_, message)| endless(message)) {
            let (end, message) = (span.start, *message);
            let start = scalar_before(end, scalars).map_or(end, |scalar| scalar.start);
            errors.retain(|(span, _)| span.start < start);
            errors.push((start..start, message));
        }
        // The text after an array without its end is read as its elements, so only the first error is reported.
        let runs_on = |message: &str| {
            ["unclosed array,", "unclosed inline table"].iter().any(|m| message.starts_with(m))
        };
        if errors.iter().any(|(_, message)| runs_on(message)) {
            let first = errors.iter().position(is_structural).unwrap_or_default();
            errors.truncate(first + 1);
        }
        errors.dedup_by_key(|(span, _)| sink.line(span.start));
    }
    for (span, message) in &errors {
        sink.report(span, fault(span, message, text, sink));
    }
    Damage { at: errors.iter().map(|(span, _)| span.start).collect(), structural }
}

/// Whether the parser lost no more than one value or key.
fn is_local(span: &Span, message: &str, scalars: &[Span], sink: &Sink<'_>) -> bool {
    if is_duplicate(message) {
        return true;
    }
    // A string over several lines may have taken in the lines after it.
    scalar_before(span.start, scalars).is_some_and(|scalar| {
        span.start <= scalar.end && sink.line(scalar.start) == sink.line(scalar.end.min(span.start))
    })
}

/// The last scalar that begins at or before a byte.
fn scalar_before(at: usize, scalars: &[Span]) -> Option<&Span> {
    let after = scalars.partition_point(|scalar| scalar.start <= at);
    scalars.get(after.checked_sub(1)?)
}

fn is_unterminated(message: &str) -> bool {
    message.starts_with("invalid ")
        && (message.ends_with(" string, expected `\"`") || message.ends_with(" string, expected `'`"))
}

fn is_duplicate(message: &str) -> bool {
    message == "duplicate key" || message.starts_with("cannot extend value")
}

/// The text of the file is not repeated: in a file that is no TOML it is not known what is a secret.
fn fault(span: &Span, message: &str, text: &str, sink: &Sink<'_>) -> Fault {
    let there = text.get(span.clone()).unwrap_or_default();
    let line = sink.text_of_line(sink.line(span.start)).trim_start();
    if line.starts_with("//") || line.starts_with(';') {
        return Fault::new("this line is not TOML").hint("a comment starts with #");
    }
    if is_duplicate(message) {
        return Fault::new("this key is here for the second time").hint("keep one of the two");
    }
    if there == ":" {
        return Fault::new("`:` where `=` belongs").hint("write key = value");
    }
    if message.starts_with("string values must be quoted") {
        return match there.trim() {
            "" => Fault::new("a value is missing here").hint("write key = value"),
            _ => Fault::new("this is not a TOML value").hint("a string needs its quotes, such as \"10/s\""),
        };
    }
    if message.starts_with("invalid boolean") {
        return Fault::new("this is not a TOML value")
            .hint("true and false are in small letters; a string needs its quotes");
    }
    if is_unterminated(message) && message.starts_with("invalid multi-line") {
        let quotes = if message.contains("literal") { "'''" } else { "\"\"\"" };
        return Fault::new("this string does not end").hint(format!("close it with {quotes}"));
    }
    if is_unterminated(message) {
        let quote = if message.contains("literal") { '\'' } else { '"' };
        return Fault::new("this string does not end on its line").hint(format!("close it with {quote}"));
    }
    if message.starts_with("missing escaped value") {
        return Fault::new("a `\\` that escapes nothing")
            .hint(r"write \\ for a backslash, or 'single quotes' around the string");
    }
    if message.starts_with("unclosed table") || message.starts_with("unclosed array table") {
        return Fault::new("the header of this section has no end").hint("close it with ]");
    }
    if message.starts_with("key with no value") {
        return Fault::new("a key without a value").hint("write key = value");
    }
    if message.starts_with("missing comma between array elements") {
        return Fault::new("a `,` is missing before this element, or a `]` after the last one")
            .hint("write [\"a\", \"b\"]");
    }
    if message.starts_with("missing comma between key-value pairs") {
        return Fault::new("a `,` is missing before this key, or a `}` after the last one")
            .hint("write { a = 1, b = 2 }");
    }
    match message.split_once(", expected ") {
        Some((what, "nothing")) => Fault::new(what.to_owned()),
        Some((what, expected)) => Fault::new(what.to_owned()).hint(format!("expected {expected}")),
        None => Fault::new(message.to_owned()),
    }
}
