//! Bounds what a field takes of a line, as it is written: what is escaped takes up to twelve bytes a character, so a bound on
//! what clients send would not do.

use std::fmt::{self, Write as _};

use crate::config::LogFormat;

/// The most bytes that a field takes of a line.
pub(super) const MOST: usize = 4096;

/// What one character takes at most in either format.
const WORST: usize = 12;

/// The beginning of a text that fits into a line; `None` if all of it does.
pub(super) fn beginning(text: &str, format: LogFormat) -> Option<&str> {
    if text.len() <= MOST / WORST {
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

/// The beginning of what is displayed, which fits; `None` if all of it does.
pub(super) fn beginning_of(value: &dyn fmt::Display, format: LogFormat) -> Option<String> {
    // As good as always there is nothing to cut, and this is done for each line.
    if write!(Short(0), "{value}").is_ok() {
        return None;
    }
    let mut start = Start::default();
    // It fails when there is enough of it.
    let _ = write!(start, "{value}");
    beginning(&start.0, format).map(str::to_owned)
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

/// Takes a text that fits in any case.
struct Short(usize);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        if self.0 <= MOST / WORST { Ok(()) } else { Err(fmt::Error) }
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
                assert_eq!(beginning_of(&long, format), Some(whole), "{text:?}");
            }
        }
        assert_eq!(beginning_of(&"192.0.2.1", LogFormat::Json), None);
    }
}
