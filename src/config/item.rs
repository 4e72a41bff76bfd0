//! Reads one value of the file as the type that is expected of it.
//!
//! The caller says what is expected. If the value is something else, the report is made here, so that all such reports read alike.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::document::{Entry, Node, Value};
use super::problem::{Checked, Fault, Reported, Sink, Span, any_of, quoted};
use super::secrets::{MASK, is_telling};
use super::shown;
use super::suggest;
use super::value::quantity;

/// A value of the file, and its name in messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) node: &'a Node,
    key_span: &'a Span,
    name: Name<'a>,
    /// Whether the value is secret, and may not be shown.
    secret: bool,
    pub(super) sink: &'a Sink<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Name<'a> {
    /// The value of this key.
    Key(&'a str),
    /// An entry of the list that this key holds.
    EntryOf(&'a str),
}

impl<'a> Item<'a> {
    /// The value of a key.
    pub(super) fn of(entry: &'a Entry, sink: &'a Sink<'a>) -> Self {
        let (name, secret) = (Name::Key(&entry.name), is_telling(&entry.name));
        Self { node: &entry.node, key_span: &entry.span, name, secret, sink }
    }

    /// The same value, as a secret.
    pub(super) fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// The place of the value.
    pub(super) fn span(&self) -> &'a Span {
        &self.node.span
    }

    /// The place of its key.
    pub(super) fn key_span(&self) -> &'a Span {
        self.key_span
    }

    /// Notes that the value names another file.
    pub(super) fn note_file(&self, path: &Path) {
        self.sink.note_file(path);
    }

    /// Notes that this file has a private key.
    pub(super) fn note_key(&self, path: &Path) {
        self.sink.note_key(path);
    }

    /// Notes that this file has another secret, or hashes of passwords.
    pub(super) fn note_secret(&self, path: &Path) {
        self.sink.note_secret(path);
    }

    /// Reports a problem of its key.
    pub(super) fn report_key(&self, fault: Fault) -> Reported {
        self.sink.report(self.key_span, fault)
    }

    /// Reports a problem of the value.
    ///
    /// A problem is printed, logged, and shown on the side port. So the value of a variable is never repeated, nor is the value of a
    /// secret key; the text of the file is repeated instead.
    pub(super) fn report(&self, fault: Fault) -> Reported {
        let fault = match (&self.node.value, self.hidden()) {
            (Value::Text { text, written }, Some(shown)) => {
                let mut fault = fault.hiding(text, &shown);
                if written.is_some() {
                    fault.message.to_mut().push_str(match text.is_empty() {
                        true => " (with its variables replaced it is empty)",
                        false => " (with its variables replaced, whose values are not shown)",
                    });
                }
                fault
            }
            _ => fault,
        };
        self.sink.report(&self.node.span, fault)
    }

    /// The text that is shown instead of the value, if the value may not be shown.
    fn hidden(&self) -> Option<String> {
        match &self.node.value {
            Value::Text { written: Some(written), .. } => Some(quoted(&shown::written(written, self.secret))),
            Value::Text { .. } if self.secret => Some(quoted(MASK)),
            _ => None,
        }
    }

    /// Reports that the value is not of the right type.
    pub(super) fn expected(&self, expected: &str) -> Reported {
        self.mismatch(expected, None)
    }

    /// Reports that the value is not of the right type, perhaps with a hint.
    pub(super) fn mismatch(&self, expected: &str, hint: Option<Cow<'static, str>>) -> Reported {
        if let Value::Broken(reported) = self.node.value {
            return reported;
        }
        let name = match self.name {
            Name::Key(key) => format!("`{}`", key.escape_debug()),
            Name::EntryOf(key) => format!("every entry of `{}`", key.escape_debug()),
        };
        self.report(Fault {
            message: format!("{name} must be {expected}, but this is {}", self.shown()).into(),
            hint,
        })
    }

    /// The value, in a message.
    pub(super) fn shown(&self) -> String {
        match &self.node.value {
            Value::Text { text, .. } => self.hidden().unwrap_or_else(|| quoted(text)),
            Value::Integer { .. } | Value::Float(_) if self.secret => "a number".to_owned(),
            Value::Integer { written, .. } | Value::Float(written) => format!("the number {written}"),
            Value::Boolean(value) => format!("{value}"),
            Value::Datetime(_) if self.secret => "a date or time".to_owned(),
            Value::Datetime(written) => format!("the date or time {written}"),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Broken(_) => "broken".to_owned(),
        }
    }

    /// Whether it is a table.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }

    /// Whether it is `true` or `false`.
    pub(super) fn is_boolean(&self) -> bool {
        matches!(self.node.value, Value::Boolean(_))
    }

    /// Whether it is a number.
    pub(super) fn is_number(&self) -> bool {
        match &self.node.value {
            Value::Integer { .. } | Value::Float(_) => true,
            Value::Text { text, written: Some(_) } => text.trim().parse::<u64>().is_ok(),
            _ => false,
        }
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.value, Value::List(_))
    }

    /// A string; `expected` is what the value should be in a report of another type: `a string`.
    pub(super) fn text(&self, expected: &str) -> Checked<&'a str> {
        match &self.node.value {
            Value::Text { text, .. } => Ok(text),
            _ => Err(self.expected(expected)),
        }
    }

    /// A string that is parsed.
    pub(super) fn parse<T>(
        &self,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Result<T, Fault>,
    ) -> Checked<T> {
        parse(self.text(expected)?).map_err(|fault| self.report(fault))
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Checked<T> {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let all = any_of(&known.iter().map(|word| quoted(word)).collect::<Vec<_>>());
        let text = self.text(&all)?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(*value),
            None => {
                let hint = suggest::nearest(text, known)
                    .map(|near| format!("did you mean {}?", quoted(near)).into());
                Err(self.mismatch(&all, hint))
            }
        }
    }

    /// A whole number.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Checked<u64> {
        self.integer_within(&range, &range)
    }

    /// A whole number in `range`, where messages name the range `told`. The caller reports numbers that are only in `range`.
    pub(super) fn integer_within(
        &self,
        range: &RangeInclusive<u64>,
        told: &RangeInclusive<u64>,
    ) -> Checked<u64> {
        let expected = format!("a whole number from {} to {}", told.start(), told.end());
        let (value, hint) = match &self.node.value {
            Value::Integer { value, .. } => (*value, None),
            Value::Text { text, written: Some(_) } => (text.trim().parse().ok(), None),
            Value::Text { text, .. } if text.parse::<u64>().is_ok_and(|value| range.contains(&value)) => {
                (None, Some(format!("write {text} without quotes").into()))
            }
            _ => (None, None),
        };
        let value = value.and_then(|value| u64::try_from(value).ok()).filter(|value| range.contains(value));
        value.ok_or_else(|| self.mismatch(&expected, hint))
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&self) -> Checked<f64> {
        let example = Cow::Borrowed("such as 0.1 for one in ten");
        let (value, hint) = match &self.node.value {
            Value::Integer { written, .. } | Value::Float(written) => {
                (written.replace('_', "").parse().ok(), example)
            }
            Value::Text { text, written: Some(_) } => (text.trim().parse().ok(), example),
            Value::Text { text, .. } if text.parse::<f64>().is_ok() => {
                (None, format!("write {text} without quotes").into())
            }
            _ => (None, example),
        };
        let value = value.filter(|value| (0.0..=1.0).contains(value));
        value.ok_or_else(|| self.mismatch("a number from 0 to 1", Some(hint)))
    }

    /// A truth value.
    pub(super) fn boolean(&self) -> Checked<bool> {
        self.boolean_or("")
    }

    /// A truth value, where the caller takes something else too, which messages name by `or`: `, or a list`.
    pub(super) fn boolean_or(&self, or: &str) -> Checked<bool> {
        let hint = match &self.node.value {
            Value::Boolean(value) => return Ok(*value),
            Value::Text { text, written } => match (text.trim().parse(), written) {
                (Ok(value), Some(_)) => return Ok(value),
                (Ok::<bool, _>(_), None) => Some(format!("write {} without quotes", text.trim()).into()),
                (Err(_), _) => None,
            },
            _ => None,
        };
        Err(self.mismatch(&format!("true or false{or}"), hint))
    }

    /// A duration, which may be zero.
    pub(super) fn duration_or_zero(&self) -> Checked<Duration> {
        match &self.node.value {
            Value::Integer { value: Some(0), .. } => Ok(Duration::ZERO),
            Value::Integer { written, .. } => {
                Err(self.mismatch("a duration with its unit", Some(format!("such as \"{written}s\"").into())))
            }
            _ => self.parse("a duration such as \"30s\"", quantity::duration),
        }
    }

    /// A duration longer than zero.
    pub(super) fn duration(&self) -> Checked<Duration> {
        let duration = self.duration_or_zero()?;
        if duration.is_zero() {
            return Err(self.mismatch("longer than zero", Some("such as \"30s\"".into())));
        }
        Ok(duration)
    }

    /// A number of bytes.
    pub(super) fn size(&self) -> Checked<u64> {
        match &self.node.value {
            Value::Integer { value, .. } => value
                .and_then(|value| u64::try_from(value).ok())
                .ok_or_else(|| self.expected("a number of bytes, or a size such as \"64KiB\"")),
            Value::Text { text, written: Some(_) } if text.parse::<u64>().is_ok() => {
                Ok(text.parse().unwrap_or_default())
            }
            _ => self.parse("a size such as \"64KiB\", or a number of bytes", quantity::size),
        }
    }

    /// Whether it is this word.
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.node.value, Value::Text { text, .. } if text == word)
    }

    /// The items of a list; `of` says what they are in messages: `strings`.
    pub(super) fn list(&self, of: &str) -> Checked<Vec<Self>> {
        match &self.node.value {
            Value::List(nodes) => Ok(self.entries_of(nodes)),
            Value::Text { text, written } => {
                let hint = format!("write [{}]", quoted(written.as_ref().unwrap_or(text)));
                Err(self.mismatch(&format!("a list of {of}"), Some(hint.into())))
            }
            _ => Err(self.expected(&format!("a list of {of}"))),
        }
    }

    /// The items of a list, or the value itself as the only item.
    pub(super) fn one_or_list(&self) -> Vec<Self> {
        match &self.node.value {
            Value::List(nodes) => self.entries_of(nodes),
            _ => vec![*self],
        }
    }

    fn entries_of(&self, nodes: &'a [Node]) -> Vec<Self> {
        let (Name::Key(key) | Name::EntryOf(key)) = self.name;
        let entry = |node| Self { node, name: Name::EntryOf(key), ..*self };
        nodes.iter().map(entry).collect()
    }

    /// The text that a table has under a key, if the value is a table and has such a text.
    pub(super) fn text_of(&self, key: &str) -> Option<&'a str> {
        let Value::Table(entries) = &self.node.value else { return None };
        match &entries.iter().find(|entry| entry.name == key)?.node.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The keys and values of a table whose keys are the user's.
    pub(super) fn named(&self, example: &str) -> Checked<Vec<(&'a str, Self)>> {
        let Value::Table(entries) = &self.node.value else {
            return Err(self.mismatch("a table", Some(format!("write {example}").into())));
        };
        Ok(entries.iter().map(|entry| (entry.name.as_str(), Self::of(entry, self.sink))).collect())
    }
}
