//! Lines of a config file as they may be shown on a terminal: without secrets.
//!
//! What is not known to be harmless is masked. Values are masked as on the side port, and more of them: every field that is set, in answers
//! too, and every name below a limit whose key may be a credential. Comments are left out, since old tokens live on in them. Of a file
//! that is no TOML nothing is shown.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use toml::de::DeTable;

use super::document::{Node, Value};
use super::problem::{Span, quoted};
use super::secrets::{MASK, is_telling, without_credentials};
use super::shown;

/// So many bytes of a line are shown before a place, and so many behind its beginning.
const BEFORE: usize = 80;
const BEHIND: usize = 160;

/// The texts of a config file and those that it includes, and what of them may be shown.
#[derive(Debug)]
pub struct Excerpts<'a> {
    /// By the names of the files.
    files: HashMap<String, FileExcerpts<'a>>,
}

/// The text of a file, and what of it may be shown.
#[derive(Debug)]
struct FileExcerpts<'a> {
    text: Cow<'a, str>,
    /// The keys and values, in order; none if nothing may be shown.
    pieces: Vec<(Span, Shown)>,
    /// The keys that may be shown wherever they are.
    names: HashSet<String>,
}

/// What is shown of a key or a value.
#[derive(Debug)]
enum Shown {
    AsWritten,
    Instead(String),
}

/// A part of a line, and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text.
    pub text: String,
    /// The place, in bytes of the text.
    pub place: Range<usize>,
}

impl<'a> Excerpts<'a> {
    /// Those of the file called `name`, whose `text` was read as `root`.
    pub(super) fn new(name: &str, text: &'a str, root: Option<&Node>) -> Self {
        Self { files: HashMap::from([(name.to_owned(), FileExcerpts::new(text.into(), root))]) }
    }

    /// Adds those of another file.
    pub(super) fn add(&mut self, name: &str, text: String, root: &Node) {
        self.files.insert(name.to_owned(), FileExcerpts::new(text.into(), Some(root)));
    }

    /// The line of a file in which a place begins, or a part of it; none if it may not be shown.
    pub fn around(&self, file: &str, place: &Span) -> Option<Excerpt> {
        self.files.get(file)?.around(place)
    }
}

impl<'a> FileExcerpts<'a> {
    fn new(text: Cow<'a, str>, root: Option<&Node>) -> Self {
        let is_whole = DeTable::parse(&text).is_ok();
        let mut excerpts = Self { text, pieces: Vec::new(), names: HashSet::new() };
        // The tree of a damaged file does not have all of its values.
        if let (Some(root), true) = (root, is_whole) {
            excerpts.value(root, false);
            excerpts.pieces.sort_by_key(|(span, _)| span.start);
        }
        excerpts
    }

    fn value(&mut self, node: &Node, secret: bool) {
        let shown = match &node.value {
            Value::List(list) => return list.iter().for_each(|node| self.value(node, secret)),
            Value::Table(_) => return self.table(node, secret, false),
            Value::Text { text, .. } if text.is_empty() => Shown::AsWritten,
            Value::Text { written: Some(written), .. } => match shown::written(written, secret) {
                shown if shown == *written => Shown::AsWritten,
                shown => Shown::Instead(quoted(&shown)),
            },
            Value::Text { .. } if secret => Shown::Instead(quoted(MASK)),
            Value::Text { text, .. } => match without_credentials(text) {
                Cow::Borrowed(_) => Shown::AsWritten,
                Cow::Owned(shown) => Shown::Instead(quoted(&shown)),
            },
            Value::Boolean(_) => Shown::AsWritten,
            Value::Integer { .. } | Value::Float(_) | Value::Datetime(_) if !secret => Shown::AsWritten,
            // A variable without a value is broken, and its default may be a secret.
            _ => Shown::Instead(MASK.to_owned()),
        };
        self.pieces.push((node.span.clone(), shown));
    }

    /// A table, whose keys are shown unless they are `nameless`.
    fn table(&mut self, table: &Node, secret: bool, nameless: bool) {
        let by_secret = table.entry("key").is_some_and(|key| !is_public(&key.node));
        for entry in table.entries() {
            let name = match nameless {
                true => Shown::Instead(MASK.to_owned()),
                false => {
                    self.names.insert(entry.written().to_owned());
                    match &entry.written {
                        // The default of a variable may be a secret.
                        Some(written) => Shown::Instead(quoted(&shown::written(written, false))),
                        None => Shown::AsWritten,
                    }
                }
            };
            self.pieces.push((entry.span.clone(), name));
            match &entry.node.value {
                Value::Table(_) => self.table(&entry.node, secret || entry.name == "set", by_secret),
                _ => self.value(&entry.node, secret || is_telling(&entry.name)),
            }
        }
    }

    fn around(&self, place: &Span) -> Option<Excerpt> {
        let start = place.start.min(self.text.len());
        let first = self.boundary(start.saturating_sub(BEFORE));
        let last = self.boundary(start.saturating_add(BEHIND));
        let (before, behind) = (self.text.get(first..start)?, self.text.get(start..last)?);
        let begin = before.rfind('\n').map(|at| first + at + 1);
        let end = behind.find('\n').map(|at| start + at);
        let window = begin.unwrap_or(first)..end.unwrap_or(last);
        if self.pieces.is_empty() {
            return None;
        }
        let mut line = Line { text: String::new(), place, start: None, end: None };
        if begin.is_none() && first > 0 {
            line.text.push('…');
        }
        let known = self.pieces.partition_point(|(span, _)| span.end <= window.start);
        let mut at = window.start;
        let known = self.pieces.get(known..).unwrap_or_default();
        for (span, shown) in known.iter().take_while(|(span, _)| span.start < window.end) {
            if span.start > at && self.gap(at..span.start, &mut line) {
                return Some(line.finish());
            }
            let piece = span.start.max(at)..span.end.min(window.end);
            match shown {
                Shown::AsWritten => line.copy(piece.start, self.text.get(piece)?),
                Shown::Instead(instead) => line.replace(&piece, instead),
            }
            at = at.max(span.end);
        }
        let commented = at < window.end && self.gap(at..window.end, &mut line);
        if !commented && end.is_none() && last < self.text.len() {
            line.text.push('…');
        }
        Some(line.finish())
    }

    /// What is between keys and values: marks, and keys that were there before. Returns whether a comment has begun.
    fn gap(&self, gap: Range<usize>, line: &mut Line<'_>) -> bool {
        let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'');
        let (mut at, mut rest) = (gap.start, self.text.get(gap).unwrap_or_default());
        while let Some(first) = rest.chars().next() {
            let length = match is_of_name(first) {
                _ if first == '#' => return true,
                true => rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let (word, after) = rest.split_at(length);
            match is_of_name(first) && !self.names.contains(word) {
                true => line.replace(&(at..at + length), MASK),
                false => line.copy(at, word),
            }
            (at, rest) = (at + length, after);
        }
        false
    }

    /// The first boundary of a character that is not before `at`.
    fn boundary(&self, at: usize) -> usize {
        (at..self.text.len()).find(|&at| self.text.is_char_boundary(at)).unwrap_or(self.text.len())
    }
}

/// A line that is being made, and where in it the place is.
struct Line<'a> {
    text: String,
    place: &'a Span,
    start: Option<usize>,
    end: Option<usize>,
}

impl Line<'_> {
    /// Adds a text of the file as it is, which is at this byte there.
    fn copy(&mut self, at: usize, text: &str) {
        let into = |byte: usize| byte.checked_sub(at).filter(|&offset| offset <= text.len());
        let offset = self.text.len();
        self.start = self.start.or_else(|| Some(offset + into(self.place.start)?));
        if let Some(end) = into(self.place.end) {
            self.end = Some(offset + end);
        }
        self.text.push_str(text);
    }

    /// Adds a text instead of a range of the file.
    fn replace(&mut self, range: &Range<usize>, text: &str) {
        let holds = |byte: usize| range.start <= byte && byte <= range.end;
        let offset = self.text.len();
        self.start = self.start.or_else(|| (holds(self.place.start)).then_some(offset));
        if holds(self.place.end) && self.place.end > range.start {
            self.end = Some(offset + text.len());
        }
        self.text.push_str(text);
    }

    fn finish(self) -> Excerpt {
        let text = self.text.trim_end().to_owned();
        let start = self.start.unwrap_or(text.len()).min(text.len());
        let end = self.end.unwrap_or(text.len()).clamp(start, text.len());
        Excerpt { place: start..end, text }
    }
}

/// Whether no value of this key of a limit is a credential.
fn is_public(key: &Node) -> bool {
    match &key.value {
        Value::Text { text, .. } => ["client_ip", "route", "host", "path", "global"].contains(&&**text),
        Value::List(list) => list.iter().all(is_public),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    /// The excerpt at the first place of `needle` in a text.
    fn at(text: &str, needle: &str) -> Option<Excerpt> {
        let start = text.find(needle).unwrap();
        Config::inspect("f", text, &|_| None).1.around("f", &(start..start + needle.len()))
    }

    /// The line, and what the place has in it.
    fn shown(text: &str, needle: &str) -> (String, String) {
        let excerpt = at(text, needle).unwrap();
        let marked = excerpt.text[excerpt.place].to_owned();
        (excerpt.text, marked)
    }

    #[test]
    fn a_line_is_shown_with_its_place() {
        let text = "a = 1 # no\n  b = { c = [\"é\", 2], d.e = true }\r\n[x.y]\n";
        for (needle, line, marked) in [
            ("a", "a = 1", "a"),
            ("1", "a = 1", "1"),
            ("\"é\"", "  b = { c = [\"é\", 2], d.e = true }", "\"é\""),
            (
                "{ c = [\"é\", 2], d.e = true }",
                "  b = { c = [\"é\", 2], d.e = true }",
                "{ c = [\"é\", 2], d.e = true }",
            ),
            ("[x.y]", "[x.y]", "[x.y]"),
            ("1 # no\n  b", "a = 1", "1"),
        ] {
            assert_eq!(shown(text, needle), (line.to_owned(), marked.to_owned()), "{needle}");
        }
    }

    #[test]
    fn secrets_are_not_in_a_line() {
        for (text, needle, line, marked) in [
            ("token = \"hunter2\" # hunter2", "token", "token = \"***\"", "token"),
            ("token = \"hunter2\"", "\"hunter2\"", "token = \"***\"", "\"***\""),
            ("token = 'hunter2'", "hunter", "token = \"***\"", "\"***\""),
            ("token = '''\nhunter2'''", "token", "token = \"***\"", "token"),
            ("token = '''\nhunter2'''", "hunter2", "\"***\"", "\"***\""),
            ("a = \"${NONE:-hunter2}\"", "a", "a = \"${NONE:-***}\"", "a"),
            ("a = \"${NONE}hunter2\"", "a", "a = ***", "a"),
            ("a = \"http://u:hunter2@h/\"", "a", "a = \"http://***@h/\"", "a"),
            ("a.set = { X-Y = \"hunter2\", Z = 5 }", "X-Y", "a.set = { X-Y = \"***\", Z = *** }", "X-Y"),
            ("key = \"cookie:a\"\n[overrides]\nhunter2 = { rate = 1 }", "{", "*** = { rate = 1 }", "{"),
            ("key = \"odd\"\noverrides.\"hunter2\" = 1", "\"hunter2\"", "overrides.*** = 1", "***"),
            (
                "key = \"odd\"\n[overrides]\nhunter2.rate = 1\nhunter2.burst = 2",
                "burst",
                "***.burst = 2",
                "burst",
            ),
            ("key = \"odd\"\n[overrides]\nh.rate = 1\n\"h\" .burst = 2", "burst", "*** .burst = 2", "burst"),
            ("key = \"route\"\n[overrides]\nr = { rate = 1 }", "r =", "r = { rate = 1 }", "r ="),
        ] {
            assert_eq!(shown(text, needle), (line.to_owned(), marked.to_owned()), "{text}");
        }
    }

    #[test]
    fn nothing_is_shown_of_what_is_no_toml() {
        for text in
            ["a = hunter2", "token = \"a\"\ntoken = \"hunter2\"", "a = \"hunter2", "a = \"\\hunter2\""]
        {
            assert_eq!(at(text, "hunter2"), None, "{text}");
        }
    }

    #[test]
    fn of_a_long_line_a_part_is_shown() {
        let text = format!("a = [{}\"here\"{}]\n", "\"é\", ".repeat(100), ", \"ö\"".repeat(100));
        let (line, marked) = shown(&text, "\"here\"");
        assert_eq!(marked, "\"here\"");
        assert!(line.starts_with('…') && line.ends_with('…') && line.len() < 300, "{line}");
        let secret = format!("token = \"{}\"", "hunter2 ".repeat(100));
        assert_eq!(shown(&secret, "hunter2").0, "token = \"***\"…");
        let end = secret.len() - 20;
        let excerpt = Config::inspect("f", &secret, &|_| None).1.around("f", &(end..end + 2)).unwrap();
        assert_eq!(excerpt.text, "…\"***\"");
    }
}
