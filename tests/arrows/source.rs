//! The crate's modules as files, and which file uses which.
//!
//! A file uses another one if it names something that the other file defines. A name that a file only imports or exports
//! again belongs to the file that defines it, and to declare a module is no use. Comments and tests do not count.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::circles::Graph;

/// The code of each module, by its path without `crate`: `limit::table::word`. That of `lib.rs` is empty.
pub(crate) struct Source {
    modules: BTreeMap<String, Module>,
}

/// The code of one file.
struct Module {
    /// The code without imports.
    body: String,
    imports: Vec<Import>,
}

/// One name that a file imports.
#[derive(Clone, Debug)]
struct Import {
    /// The path as it is written: `super`, `report`, `Report`.
    path: Vec<String>,
    name: String,
    is_exported: bool,
}

/// The folder of the crate's source.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files of a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    files.filter(|file| file.extension().is_some_and(|it| it == "rs")).collect()
}

impl Source {
    pub(crate) fn read() -> Self {
        let folder = folder();
        let texts = files(&folder).into_iter().filter_map(|file| {
            let path = file.strip_prefix(&folder).unwrap().with_extension("");
            let path = path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>();
            match path.as_slice() {
                ["main"] => None,
                ["lib"] => Some((String::new(), fs::read_to_string(file).unwrap())),
                path if path.contains(&"tests") => None,
                path => Some((path.join("::"), fs::read_to_string(file).unwrap())),
            }
        });
        Self::of(texts)
    }

    /// Modules with these texts.
    fn of(texts: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { modules: texts.into_iter().map(|(name, text)| (name, Module::of(&text))).collect() }
    }

    /// Which file uses which, of those that are in the same module of `lib.rs`.
    pub(crate) fn uses(&self) -> Graph {
        let uses = |name: &String| {
            let used = self.modules[name].paths(&self.children(name));
            let used = used.iter().filter_map(|path| self.definer(name, path, 0));
            used.filter(|used| used != name && top(used) == top(name)).collect()
        };
        self.modules.keys().map(|name| (name.clone(), uses(name))).collect()
    }

    /// The names of the modules directly inside this one.
    fn children(&self, module: &str) -> Vec<&str> {
        let names = self.modules.keys().filter_map(|name| name.rsplit_once("::"));
        names.filter(|(parent, _)| *parent == module).map(|(_, name)| name).collect()
    }

    /// The module that defines what a path names in a module.
    fn definer(&self, module: &str, path: &[String], depth: usize) -> Option<String> {
        assert!(depth < 10, "{module}: {path:?} is imported in a circle");
        let mut at = module.to_owned();
        for (index, part) in path.iter().enumerate() {
            match part.as_str() {
                "crate" => at.clear(),
                "super" => {
                    at = at.rsplit_once("::").map_or_else(String::new, |(parent, _)| parent.to_owned());
                }
                "self" => {}
                name => {
                    let child = if at.is_empty() { name.to_owned() } else { format!("{at}::{name}") };
                    if self.modules.contains_key(&child) {
                        at = child;
                        continue;
                    }
                    let import = self.modules.get(&at)?.imports.iter().find(|import| import.name == name);
                    return match import {
                        Some(import) if is_local(&import.path, &self.children(&at)) => {
                            let rest = &path[index + 1..];
                            self.definer(&at, &[import.path.as_slice(), rest].concat(), depth + 1)
                        }
                        _ => Some(at),
                    };
                }
            }
        }
        Some(at)
    }
}

/// Whether a path leads into the crate.
fn is_local(path: &[String], children: &[&str]) -> bool {
    let first = path[0].as_str();
    ["crate", "self", "super"].contains(&first) || children.contains(&first)
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

impl Module {
    fn of(text: &str) -> Self {
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let (mut body, mut imports) = (String::new(), Vec::new());
        let mut rest = code.as_str();
        while let Some((start, is_exported)) = next_import(rest) {
            body.push_str(&rest[..start]);
            let statement = rest[start..].split(';').next().unwrap();
            let tree = &statement[statement.find("use ").unwrap() + 4..];
            imports.extend(parse(tree).into_iter().map(|(path, name)| Import { path, name, is_exported }));
            rest = &rest[start + statement.len()..];
        }
        body.push_str(rest);
        Self { body, imports }
    }

    /// The paths by which this file uses others of the crate.
    fn paths(&self, children: &[&str]) -> Vec<Vec<String>> {
        let imported =
            self.imports.iter().filter(|import| !import.is_exported || self.mentions(&import.name));
        let mut paths: Vec<_> = imported.map(|import| import.path.clone()).collect();
        let starts = ["crate", "self", "super"].iter().chain(children);
        for start in starts {
            let start = format!("{start}::");
            let found = self.body.match_indices(&start).filter(|(at, _)| is_path_start(&self.body[..*at]));
            paths.extend(found.flat_map(|(at, _)| parse(&self.body[at..])).map(|(path, _)| path));
        }
        paths.retain(|path| is_local(path, children));
        paths
    }

    /// Whether the code names something.
    fn mentions(&self, name: &str) -> bool {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        self.body.match_indices(name).any(|(at, _)| {
            !self.body[..at].ends_with(is_name) && !self.body[at + name.len()..].starts_with(is_name)
        })
    }
}

/// Where the next import begins, and whether it is exported again.
fn next_import(code: &str) -> Option<(usize, bool)> {
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let is_exported = trimmed.starts_with("pub");
        if trimmed.starts_with("use ")
            || is_exported
                && trimmed
                    .split_once(" use ")
                    .is_some_and(|(before, _)| before == "pub" || before.ends_with(')'))
        {
            return Some((at + line.len() - trimmed.len(), is_exported));
        }
        at += line.len();
    }
    None
}

/// Whether a path begins after this code. One of a visibility does not count.
fn is_path_start(before: &str) -> bool {
    let is_inside = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    !is_inside && !before.ends_with("(in ")
}

/// The paths of a tree of imports, or the one at the start of an expression, each with the name that it is imported by.
fn parse(text: &str) -> Vec<(Vec<String>, String)> {
    let mut paths = Vec::new();
    tree(text, &[], &mut paths);
    paths
}

/// Reads one tree, and returns what comes after it.
fn tree<'a>(text: &'a str, before: &[String], paths: &mut Vec<(Vec<String>, String)>) -> &'a str {
    let mut path = before.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = inside.trim_start().trim_start_matches(',').trim_start();
                if let Some(after) = inside.strip_prefix('}') {
                    return after;
                }
                inside = tree(inside, &path, paths);
            }
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        // `self` in braces is what stands before them.
        if !name.is_empty() && (name != "self" || path.is_empty()) {
            path.push(name.to_owned());
        }
        if let Some(after) = after.strip_prefix("::").filter(|_| !name.is_empty()) {
            rest = after.trim_start();
            continue;
        }
        let mut after = after.trim_start_matches('*').trim_start();
        let mut bound = path.last().cloned().unwrap_or_default();
        if let Some(alias) = after.strip_prefix("as ") {
            let end = alias.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(alias.len());
            bound = alias[..end].to_owned();
            after = &alias[end..];
        }
        paths.push((path, bound));
        return after;
    }
}

#[cfg(test)]
fn uses(texts: &[(&str, &str)]) -> Vec<(String, String)> {
    let source = Source::of(texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    let uses = source.uses();
    uses.into_iter().flat_map(|(user, used)| used.into_iter().map(move |used| (user.clone(), used))).collect()
}

#[test]
fn a_name_belongs_to_the_file_that_defines_it() {
    let parent = "mod b;\nmod c;\npub use self::b::{B, Other as Same};\npub struct A;";
    let b = "use std::fmt;\nuse super::A;\nuse crate::x::{Y, Z};\npub struct B;";
    let c = "/// See super::A.\nfn f(_: super::B, same: super::Same) {}\n#[cfg(test)]\nmod tests {\n    use super::A;\n}";
    let arrows = uses(&[("a", parent), ("a::b", b), ("a::c", c), ("x", "")]);
    assert_eq!(arrows, [("a::b", "a"), ("a::c", "a::b")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_parent_uses_what_its_code_names() {
    let parent = "mod b;\nmod c;\nmod d;\npub use self::b::B;\npub(crate) use self::c::{\n    C,\n    D,\n};\npub(in crate::a) fn f(_: B) { d::g() }";
    let arrows = uses(&[("a", parent), ("a::b", ""), ("a::c", ""), ("a::d", "fn h() { super::d::h() }")]);
    assert_eq!(arrows, [("a", "a::b"), ("a", "a::d")].map(|(a, b)| (a.to_owned(), b.to_owned())));
}
