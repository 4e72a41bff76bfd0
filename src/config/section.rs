//! Reads a table key by key.
//!
//! A [`Section`] knows the keys of its [`Table`]. All other keys are unknown, and are reported when the section is finished.

use std::cell::RefCell;

use super::document::{Entry, Node, Value};
use super::item::Item;
use super::problem::{Checked, Fault, Reported, Sink, Span};
use super::suggest;
use super::table::Table;

/// A table whose keys are known beforehand.
#[derive(Debug)]
pub(super) struct Section<'a> {
    entries: &'a [Entry],
    /// Where its header is.
    pub(super) span: Span,
    /// Its name in messages: `[server]`.
    pub(super) title: String,
    pub(super) sink: &'a Sink<'a>,
    table: &'static Table,
    /// The keys that were read.
    asked: RefCell<Vec<&'static str>>,
    missing: RefCell<Vec<(&'static str, &'static str)>>,
}

impl<'a> Item<'a> {
    /// A `table` of known keys; `title` is its name in messages, `example` how it is written.
    pub(super) fn section(
        &self,
        table: &'static Table,
        title: String,
        example: &str,
    ) -> Checked<Section<'a>> {
        match &self.node.value {
            Value::Table(entries) => {
                Ok(Section::new(table, entries, self.node.span.clone(), title, self.sink))
            }
            _ => Err(self.mismatch("a table", Some(format!("write {example}").into()))),
        }
    }
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'static Table, root: &'a Node, sink: &'a Sink<'a>) -> Self {
        Self::new(table, root.entries(), root.span.clone(), "this file".into(), sink)
    }

    /// A table, whose header is at `span` and whose name in messages is `title`.
    fn new(
        table: &'static Table,
        entries: &'a [Entry],
        span: Span,
        title: String,
        sink: &'a Sink<'a>,
    ) -> Self {
        Self { entries, span, title, sink, table, asked: RefCell::default(), missing: RefCell::default() }
    }

    /// The value of a key, if it is there. The table has this key.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        debug_assert!(self.table.names().any(|name| name == key), "{} does not declare `{key}`", self.title);
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let entry = self.entries.iter().find(|entry| entry.name == key)?;
        Some(Item::of(entry, self.sink))
    }

    /// The value of a key, read; `None` if it is not there.
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Item<'a>) -> Checked<T>,
    ) -> Checked<Option<T>> {
        self.get(key).map(read).transpose()
    }

    /// The value of a key, read; the default if it is not there.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Item<'a>) -> Checked<T>,
    ) -> Checked<T> {
        Ok(self.optional(key, read)?.unwrap_or(default))
    }

    /// The value of a key that must be there, read. If it is missing, [`finish`](Self::finish) reports that.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        example: &'static str,
        read: impl FnOnce(Item<'a>) -> Checked<T>,
    ) -> Checked<T> {
        match self.get(key) {
            Some(item) => read(item),
            None => {
                self.missing.borrow_mut().push((key, example));
                Err(self.sink.reported_later())
            }
        }
    }

    /// Whether there is a key that is a misspelling of one of these, which is reported as unknown.
    pub(super) fn misspells(&self, keys: &[&str]) -> bool {
        self.unknown().any(|entry| suggest::nearest(&entry.name, keys.iter().copied()).is_some())
    }

    /// The entries whose keys the table does not have.
    fn unknown(&self) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(|entry| self.table.names().all(|name| name != entry.name))
    }

    /// Reports those of `keys` that are there, although they would do nothing: `why` ends the sentence that begins with the
    /// key.
    pub(super) fn useless(&self, keys: &[&'static str], why: &str, hint: &'static str) -> Checked<()> {
        let mut result = Ok(());
        for key in keys {
            if let Some(item) = self.get(key) {
                let fault = Fault::new(format!("`{key}` does nothing {why}")).hint(hint);
                result = Err(self.sink.report(item.key_span(), fault));
            }
        }
        result
    }

    /// Reports a problem of the section as a whole.
    pub(super) fn report(&self, fault: Fault) -> Reported {
        self.sink.report(&self.span, fault)
    }

    /// Reports the unknown keys, and those that are missing. A key that is misspelt is reported once.
    pub(super) fn finish(self) {
        let (asked, missing) = (self.asked.take(), self.missing.take());
        let known: Vec<&str> = self.table.names().collect();
        let unknown: Vec<&Entry> = self.unknown().collect();
        let has_problems = self.sink.has_problems() || !missing.is_empty() || !unknown.is_empty();
        // After a problem some keys may be left alone.
        debug_assert!(
            has_problems || known.iter().all(|key| asked.contains(key)),
            "{} declares keys that nobody reads: {known:?}, but only {asked:?}",
            self.title
        );
        for entry in &unknown {
            let name = entry.written().escape_debug();
            let fault = Fault::new(format!("unknown key `{name}` in {}", self.title));
            let hint = suggest::hint(&entry.name, &known, "the keys here are");
            self.sink.report(&entry.span, fault.hint(hint));
        }
        for (key, example) in missing {
            let is_key = |entry: &&Entry| suggest::nearest(&entry.name, known.iter().copied()) == Some(key);
            if !unknown.iter().any(is_key) {
                let fault = Fault::new(format!("`{key}` is missing in {}", self.title));
                self.report(fault.hint(format!("such as {example}")));
            }
        }
    }
}
