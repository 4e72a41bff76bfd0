//! A config file as a tree of values, each with its place: parsed, and its environment variables replaced.
//!
//! Serde stops at the first error; a tree can be read to its end. A value that was reported while the tree was made is
//! [`Value::Broken`] in it, and is not reported again.

use std::collections::HashSet;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

use super::env::{Env, expand};
use super::problem::{Checked, Fault, Reported, Sink, Span};
use super::syntax::{self, Damage};

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug)]
pub(super) enum Value {
    /// A string, and the text of the file if a variable was replaced in it.
    Text { text: String, written: Option<String> },
    /// A whole number (none if it does not fit), as it is written.
    Integer { value: Option<i128>, written: String },
    /// A number with a fraction or an exponent, as it is written.
    Float(String),
    /// A truth value.
    Boolean(bool),
    /// A date or a time, as it is written.
    Datetime(String),
    /// An array.
    List(Vec<Node>),
    /// A table, in the order of the file.
    Table(Vec<Entry>),
    /// A value that has been reported.
    Broken(Reported),
}

/// A key of a table and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// The key, with its variables replaced.
    pub(super) name: String,
    /// The key in the file, if a variable was replaced in it.
    pub(super) written: Option<String>,
    pub(super) span: Span,
    pub(super) node: Node,
}

impl Entry {
    /// The key as it is written in the file. A variable may hold a secret, so messages have this one.
    pub(super) fn written(&self) -> &str {
        self.written.as_ref().unwrap_or(&self.name)
    }
}

impl Node {
    /// The keys and values of a table; none if it is no table.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a table with this key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.name == key)
    }

    /// The values of a list; none if it is no list.
    pub(super) fn list(&self) -> &[Self] {
        match &self.value {
            Value::List(nodes) => nodes,
            _ => &[],
        }
    }

    /// The text of a string, with its variables replaced.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether a variable was replaced in it.
    pub(super) fn has_variables(&self) -> bool {
        matches!(&self.value, Value::Text { written: Some(_), .. })
    }

    /// A whole number that is not negative, perhaps from a variable.
    pub(super) fn integer(&self) -> Option<u128> {
        match &self.value {
            Value::Integer { value, .. } => value.and_then(|value| u128::try_from(value).ok()),
            Value::Text { text, .. } => text.trim().parse().ok(),
            _ => None,
        }
    }
}

/// Parses `text`. Fails when its structure cannot be trusted.
pub(super) fn read(text: &str, env: Env<'_>, sink: &Sink<'_>) -> Checked<Node> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut scalars = Vec::new();
    scalars_of_table(root.get_ref(), &mut scalars);
    scalars.sort_by_key(|span| span.start);
    let damage = syntax::report(&errors, text, &scalars, sink);
    let maker = Maker { env, sink, damage };
    if maker.damage.is_structural() {
        return Err(sink.already_reported());
    }
    Ok(Node { span: 0..0, value: maker.table(root.get_ref()) })
}

fn scalars_of_table(table: &DeTable<'_>, scalars: &mut Vec<Span>) {
    table.values().for_each(|value| scalars_of(value, scalars));
}

fn scalars_of(value: &Spanned<DeValue<'_>>, scalars: &mut Vec<Span>) {
    match value.get_ref() {
        DeValue::Table(table) => scalars_of_table(table, scalars),
        DeValue::Array(list) => list.iter().for_each(|value| scalars_of(value, scalars)),
        _ => scalars.push(value.span()),
    }
}

struct Maker<'a> {
    env: Env<'a>,
    sink: &'a Sink<'a>,
    damage: Damage,
}

impl Maker<'_> {
    fn table(&self, table: &DeTable<'_>) -> Value {
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let span = key.span();
            let node = match self.damage.touches(&span) {
                true => Node { span: span.clone(), value: Value::Broken(self.sink.already_reported()) },
                false => self.node(value),
            };
            let Value::Text { text: name, written } = self.text(key.get_ref(), &span) else { return None };
            Some(Entry { name, written, span, node })
        };
        let mut entries: Vec<Entry> = table.iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| entry.span.start);
        self.report_equal_keys(&entries);
        Value::Table(entries)
    }

    /// Reports keys that are the same when their variables are replaced. TOML knows only those that are written alike.
    fn report_equal_keys(&self, entries: &[Entry]) {
        if entries.iter().all(|entry| entry.written.is_none()) {
            return;
        }
        let mut known = HashSet::new();
        for entry in entries.iter().filter(|entry| !known.insert(&entry.name)) {
            let fault = Fault::new("this key stands here twice, when its variables are replaced");
            self.sink.report(&entry.span, fault.hint("keep one of the two"));
        }
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let span = value.span();
        let value = match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(list) => Value::List(list.iter().map(|value| self.node(value)).collect()),
            _ if self.damage.touches(&span) => Value::Broken(self.sink.already_reported()),
            DeValue::String(text) => self.text(text, &span),
            DeValue::Integer(integer) => integer_value(integer),
            DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        };
        Node { span, value }
    }

    fn text(&self, text: &str, span: &Span) -> Value {
        let note = |file: &Path| {
            self.sink.note_file(file);
            self.sink.note_secret(file);
        };
        match expand(text, self.env, &note) {
            Ok(expanded) => {
                Value::Text { text: expanded.text, written: expanded.substituted.then(|| text.to_owned()) }
            }
            Err(faults) => {
                for fault in faults {
                    self.sink.report(span, fault);
                }
                Value::Broken(self.sink.already_reported())
            }
        }
    }
}

fn integer_value(integer: &DeInteger<'_>) -> Value {
    let value = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
    Value::Integer { value, written: integer.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::Config;

    const ROUTE: &str =
        "[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\nlimits = [\"l\"]\n";

    fn env(name: &str) -> Option<String> {
        match name {
            "PRO" | "SAME" => Some("192.0.2.1".to_owned()),
            "KEY" => Some("hunter2".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_in_keys_are_replaced_and_not_shown() {
        let limit = "[limits.l]\nrate = \"1/s\"\noverrides = { \"${PRO}\" = \"unlimited\" }\n";
        let config = Config::parse("a.toml", &format!("{limit}{ROUTE}"), &env).unwrap();
        assert_eq!(config.limits[0].overrides[0].value, "192.0.2.1");
        assert_eq!(config.shown["limits"]["l"]["overrides"], json!({"${PRO}": "unlimited"}));
    }

    #[test]
    fn keys_that_become_the_same_are_reported_and_so_are_unset_variables() {
        let problems = |limit: &str| {
            Config::parse("a.toml", &format!("[limits.l]\nrate = \"1/s\"\n{limit}\n{ROUTE}"), &env)
                .unwrap_err()
                .to_string()
        };
        let twice = problems("overrides = { \"${PRO}\" = \"unlimited\", \"192.0.2.1\" = \"unlimited\" }");
        assert!(twice.starts_with("a.toml:3:39: this key stands here twice"), "{twice}");
        let unset = problems("overrides = { \"${NONE}\" = \"unlimited\" }");
        assert!(unset.starts_with("a.toml:3:15: the environment variable `NONE` is not set"), "{unset}");
        // A secret that went into a key is not told.
        let unknown = problems("\"${KEY}\" = 1");
        assert!(unknown.contains("unknown key `${KEY}`") && !unknown.contains("hunter2"), "{unknown}");
    }
}
