//! Bounds what a field takes of a line, as it is written: what is escaped takes up to twelve bytes a character, so a bound on
//! what clients send would not do.

use std::fmt::{self, Write as _};

use super::plain::is_plain;
use crate::config::LogFormat;

/// The most bytes that a field takes of a line.
pub(super) const MOST: usize = 4096;

/// What one character takes at most in either format.
const WORST: usize = 12;

/// The beginning of a text that fits into a line; `None` if all of it does.
#[inline]
pub(super) fn beginning(text: &str, format: LogFormat) -> Option<&str> {
    if text.len() <= MOST / WORST { None } else { beginning_of_long(text, format) }
}

fn beginning_of_long(text: &str, format: LogFormat) -> Option<&str> {
    if text.len() <= MOST && is_plain(text.as_bytes()) {
        return None;
    }
    let mut taken = 0;
    for (at, char) in text.char_indices() {
        taken += width(char, format);
        if taken > MOST {
            return Some(&text[..at]);
        }
    }
    None
}

/// What is displayed, but not much more of it than could fit.
pub(super) fn displayed(value: &dyn fmt::Display) -> String {
    let mut start = Start::default();
    // It fails when there is enough of it.
    let _ = write!(start, "{value}");
    start.0
}

/// What a character takes in a line.
fn width(char: char, format: LogFormat) -> usize {
    match (format, char) {
        (_, '"' | '\\') | (LogFormat::Combined, '\0'..' ' | '\x7f'..) => match format {
            LogFormat::Json => 2,
            LogFormat::Combined => 4 * char.len_utf8(),
        },
        (LogFormat::Json, '\0'..' ' | '\x7f'..) => 6 * char.len_utf16(),
        _ => 1,
    }
}

/// The beginning of a text, a little more of it than could fit.
#[derive(Default)]
struct Start(String);

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            if self.0.len() > MOST {
                return Err(fmt::Error);
            }
            self.0.push(char);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_whole_and_what_is_long_is_cut_by_what_it_takes() {
        for (text, json, combined) in [
            ("a", 4096, 4096),
            ("\"", 2048, 1024),
            ("\n", 682, 1024),
            ("\u{e9}", 682, 512),
            ("\u{fffd}", 682, 341),
            ("\u{1d11e}", 341, 256),
        ] {
            for (format, most) in [(LogFormat::Json, json), (LogFormat::Combined, combined)] {
                let long = text.repeat(most + 1);
                let whole = text.repeat(most);
                assert_eq!(beginning(&whole, format), None, "{text:?}");
                assert_eq!(beginning(&long, format), Some(&*whole), "{text:?}");
                assert_eq!(beginning(&displayed(&long), format), Some(&*whole), "{text:?}");
            }
        }
        assert_eq!(displayed(&"192.0.2.1"), "192.0.2.1");
    }
}
