//! The lines of a text, and the places in it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// A range of bytes of the config file.
pub type Span = Range<usize>;

/// A place in a file. Lines and columns are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// The place of a text in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first character.
    pub start: Position,
    /// The character behind its last one.
    pub end: Position,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A text, and where its lines begin.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: Cow<'a, str>,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// The lines of a text.
    pub(super) fn new(text: Cow<'a, str>) -> Self {
        let breaks = text.bytes().enumerate().filter(|&(_, byte)| byte == b'\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks).collect();
        Self { text, starts }
    }

    /// The length of the text, in bytes.
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at)
    }

    /// The text of a line, counted from 1, without its end.
    pub(super) fn text_of_line(&self, line: usize) -> &str {
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index));
        start.and_then(|&start| self.text.get(start..)?.lines().next()).unwrap_or_default()
    }

    fn position(&self, at: usize) -> Position {
        let line = self.line(at);
        let start = self.starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.as_bytes().get(start..at.min(self.text.len())).unwrap_or_default();
        // A character of UTF-8 has one byte that does not continue another.
        let characters = before.iter().filter(|&&byte| byte & 0b1100_0000 != 0b1000_0000).count();
        Position { line, column: characters + 1 }
    }

    /// The place of a range of bytes.
    pub(super) fn place(&self, span: &Span) -> Place {
        Place { start: self.position(span.start), end: self.position(span.end.max(span.start)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a\nöö = 1\r\n\nend";
        let lines = Lines::new(text.into());
        for (needle, line, column) in [("a", 1, 1), ("= 1", 2, 4), ("end", 4, 1)] {
            assert_eq!(lines.position(text.find(needle).unwrap()), Position { line, column });
        }
        assert_eq!(lines.position(text.len()), Position { line: 4, column: 4 });
        assert_eq!(lines.position(usize::MAX).line, 4);
        assert_eq!(lines.text_of_line(2), "öö = 1");
    }
}
