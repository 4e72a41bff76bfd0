//! The warnings that have been found, and the places of what they are about.

use super::super::document::{Entry, Node};
use super::super::problem::{Sink, Span};
use super::super::{Lint, Warning};

/// The warnings that have been found in a file.
pub(super) struct Findings<'a> {
    root: &'a Node,
    found: Vec<(Lint, Span, String)>,
}

impl<'a> Findings<'a> {
    /// No warnings yet of this file.
    pub(super) fn new(root: &'a Node) -> Self {
        Self { root, found: Vec::new() }
    }

    /// Adds a warning. `place` is that of a value which the file has.
    pub(super) fn add(&mut self, lint: Lint, place: Option<&Span>, message: String) {
        self.found.push((lint, place.cloned().unwrap_or_default(), message));
    }

    /// A section, such as `[server]`.
    pub(super) fn section(&self, key: &str) -> Option<&'a Node> {
        Some(&self.root.entry(key)?.node)
    }

    /// The sections of `[limits.*]` or `[upstreams.*]`, in the order in which the configuration has them.
    pub(super) fn named(&self, key: &str) -> &'a [Entry] {
        self.section(key).map_or(&[], Node::entries)
    }

    /// The routes, in the order in which the configuration has them.
    pub(super) fn routes(&self) -> &'a [Node] {
        self.section("routes").map_or(&[], Node::list)
    }

    /// The warnings, in the order of the file.
    pub(super) fn warnings(mut self, file: &str, sink: &Sink<'_>) -> Vec<Warning> {
        self.found.sort_by_key(|(_, span, _)| span.start);
        let warning = |(lint, span, message): (Lint, Span, String)| {
            let located = sink.locate(&span);
            let file = located.file.map_or_else(|| file.to_owned(), |file| file.to_string());
            Warning { lint, file, place: Some((located.span, located.place)), message }
        };
        self.found.into_iter().map(warning).collect()
    }
}

/// The place of the value of a key.
pub(super) fn value<'a>(table: &'a Node, key: &str) -> Option<&'a Span> {
    Some(&table.entry(key)?.node.span)
}
