//! `include`: files whose routes, limits and other named tables are a part of the configuration.
//!
//! The text of an included file stands behind that of the file that includes it, as far as places go, and what it says becomes a part of
//! that file's tree. So whoever reads the tree need not know that there is more than one file.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::document::{self, Entry, Node, Value};
use super::env::Env;
use super::glob::{self, Found};
use super::item::Item;
use super::problem::{Checked, Fault, Sink, Span, quoted};
use super::suggest;
use super::text;
use super::validate;

/// The key.
pub(super) const KEY: &str = "include";

/// The largest included file, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// What an included file may have: tables of named tables, and routes.
const MERGED: [&str; 6] = ["limits", "upstreams", "plans", CONSUMERS, "errors", ROUTES];
const CONSUMERS: &str = "consumers";
const ROUTES: &str = "routes";

/// A file that is included.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) text: String,
    /// Its tree, with places in its own text.
    pub(super) root: Node,
}

/// Reads the files that `root` includes, which was read from the file at `main`.
pub(super) fn read(root: &Node, main: &Path, sink: &Sink<'_>, env: Env<'_>) -> Checked<Vec<Part>> {
    let mut parts = Vec::new();
    let Some(entry) = root.entry(KEY) else { return Ok(parts) };
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut known = HashSet::new();
    let mut complete = Ok(());
    for item in Item::of(entry, sink).one_or_list() {
        let Ok(pattern) = item.parse("a pattern of files such as \"routes/*.toml\"", pattern) else {
            complete = Err(sink.already_reported());
            continue;
        };
        let found = glob::find(folder, &pattern);
        found.folders.iter().for_each(|folder| item.note_file(folder));
        if let Err(reported) = check(&found, &item) {
            complete = Err(reported);
            continue;
        }
        if found.files.is_empty() {
            // A folder that is not there at the moment must not take its routes, and what they ask of callers, out of force.
            let fault = Fault::new(format!("{} matches no file", item.shown()));
            complete = Err(item.report(fault.hint("a pattern begins in the folder of the file that has it")));
        }
        for path in found.files {
            if known.insert(path.clone()) {
                match part(&path, main, &item, env) {
                    Ok(part) => parts.push(part),
                    Err(reported) => complete = Err(reported),
                }
            }
        }
    }
    complete.map(|()| parts)
}

fn pattern(text: &str) -> Result<String, Fault> {
    let hint = "such as \"routes/*.toml\"; * is any text in a name, and ? any character";
    match text {
        "" => Err(Fault::new("an empty pattern names no file").hint(hint)),
        _ if text.ends_with('/') => {
            Err(Fault::new(format!("{} names a folder", quoted(text)))
                .hint(format!("write \"{text}*.toml\"")))
        }
        _ if text.contains("**") => {
            Err(Fault::new(format!("{} has `**`, which is no wildcard here", quoted(text)))
                .hint("* is any text in a name, and ? any character"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Reports what is wrong with what a pattern has found.
fn check(found: &Found, item: &Item<'_>) -> Checked<()> {
    let mut result = Ok(());
    for (folder, why) in &found.failures {
        let fault = Fault::new(format!("cannot read the folder {}: {why}", folder.display()));
        result = Err(item.report(fault.hint(text::unreadable(folder, why))));
    }
    if found.files.len() > glob::MOST {
        let fault = Fault::new(format!("{} matches more than {} files", item.shown(), glob::MOST));
        return Err(item.report(fault.hint("write more into each of them")));
    }
    result
}

/// Reads a file. What is wrong with its TOML is reported where it stands in that file.
fn part(path: &Path, main: &Path, item: &Item<'_>, env: Env<'_>) -> Checked<Part> {
    item.note_file(path);
    let name = path.display().to_string();
    if name.chars().any(|char| char.is_control() || is_format(char)) {
        let fault =
            Fault::new(format!("the name of the included file {} has a control character", quoted(&name)));
        return Err(item.report(fault.hint("give it another name")));
    }
    if is_same(path, main) {
        let fault = Fault::new(format!("{} matches the file that it stands in", item.shown()));
        return Err(item.report(fault.hint("put the included files into a folder of their own")));
    }
    let text = text::read_at_most(path, MAX_FILE).map_err(|why| {
        let fault = Fault::new(format!("cannot read the included file {}: {why}", path.display()));
        item.report(fault.hint(match why.kind() {
            io::ErrorKind::PermissionDenied => text::unreadable(path, &why),
            _ => "a pattern begins in the folder of the file that has it",
        }))
    })?;
    let text = text::without_mark(&text).to_owned();
    let sink = Sink::new(&text);
    let root = document::read(&text, env, &sink);
    item.sink.adopt(&name, &sink);
    Ok(Part { name, root: root?, text })
}

/// Whether a character changes how others are shown, as a line separator and the marks of direction do.
fn is_format(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether two paths lead to the same file. Only files of one name are looked at.
fn is_same(path: &Path, other: &Path) -> bool {
    let canonical = |path: &Path| -> Option<PathBuf> { fs::canonicalize(path).ok() };
    path.file_name() == other.file_name()
        && canonical(path).is_some_and(|path| canonical(other) == Some(path))
}

/// Makes what the files say a part of `root`. Reports what stands twice, and what does not belong into an included file.
pub(super) fn merge(root: &mut Node, parts: Vec<Part>, sink: &Sink<'_>) {
    let mut names: HashMap<(&'static str, String), Span> = HashMap::new();
    if !parts.is_empty() {
        for key in MERGED {
            let of_root = root.entry(key).map_or(&[][..], |entry| entry.node.entries());
            names.extend(of_root.iter().map(|entry| ((key, entry.name.clone()), entry.span.clone())));
        }
    }
    for Part { name, text, root: mut part } in parts {
        part.move_behind(sink.include(&name, text));
        let Value::Table(entries) = part.value else { continue };
        for entry in entries {
            match MERGED.into_iter().find(|key| *key == entry.name) {
                Some(key) => add(root, key, entry, &mut names, sink),
                None => refuse(&entry, sink),
            }
        }
    }
}

/// Reports a key that an included file cannot have.
fn refuse(entry: &Entry, sink: &Sink<'_>) {
    let name = entry.written().escape_debug();
    if validate::FILE.names().any(|known| known == entry.name) {
        let fault = Fault::new(format!("`{name}` cannot stand in an included file"));
        sink.report(&entry.span, fault.hint("write it in the file that includes this one"));
        return;
    }
    let fault = Fault::new(format!("unknown key `{name}` in this file"));
    sink.report(&entry.span, fault.hint(suggest::hint(&entry.name, &MERGED, "the keys here are")));
}

/// Adds what a file says under a key to what the others say there.
fn add(
    root: &mut Node,
    key: &'static str,
    mut entry: Entry,
    names: &mut HashMap<(&'static str, String), Span>,
    sink: &Sink<'_>,
) {
    if let Value::Table(new) = &mut entry.node.value {
        new.retain(|new| match names.get(&(key, new.name.clone())) {
            Some(there) => {
                let place = sink.line_seen_from(new.span.start, there.start);
                let fault = Fault::new(format!(
                    "`{}` stands in `{key}` for the second time: {place} has it",
                    new.written().escape_debug()
                ));
                sink.report(&new.span, fault.hint("keep one of the two, or give it another name"));
                false
            }
            None => {
                names.insert((key, new.name.clone()), new.span.clone());
                true
            }
        });
    }
    let Value::Table(of_root) = &mut root.value else { return };
    let Some(there) = of_root.iter_mut().find(|there| there.name == key) else {
        of_root.push(entry);
        return;
    };
    let is_of_kind = match key {
        ROUTES => matches!(entry.node.value, Value::List(_)),
        _ => matches!(entry.node.value, Value::Table(_)),
    };
    if !is_of_kind {
        let (expected, hint) = match key {
            ROUTES => ("a list of tables", "write [[routes]], in double brackets".to_owned()),
            _ => ("a table", format!("write [{key}.NAME] and its keys below")),
        };
        // What is broken has been reported.
        Item::of(&entry, sink).mismatch(expected, Some(hint.into()));
        return;
    }
    match (&mut there.node.value, &mut entry.node.value) {
        (Value::Table(there), Value::Table(new)) => there.append(new),
        (Value::List(there), Value::List(new)) if key == ROUTES => there.append(new),
        // `consumers = "consumers.toml"`
        (Value::Text { .. } | Value::List(_), Value::Table(_)) if key == CONSUMERS => {
            let fault = Fault::new("the consumers are in a file of their own already");
            sink.report(&entry.span, fault.hint("write these into that file"));
        }
        // What stands there is of another kind, which is reported when the whole is read.
        _ => {}
    }
}

impl Node {
    /// Moves all places so many bytes on.
    fn move_behind(&mut self, bytes: usize) {
        let moved = |span: &mut Span| *span = span.start + bytes..span.end + bytes;
        moved(&mut self.span);
        match &mut self.value {
            Value::List(list) => list.iter_mut().for_each(|node| node.move_behind(bytes)),
            Value::Table(entries) => {
                for entry in entries {
                    moved(&mut entry.span);
                    entry.node.move_behind(bytes);
                }
            }
            _ => {}
        }
    }
}
