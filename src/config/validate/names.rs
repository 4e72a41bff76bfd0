//! The names of sections, and references to them.

use std::cell::Cell;
use std::collections::HashMap;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Sink, quoted};
use super::super::suggest;

/// The names of one kind of section, each with its index.
#[derive(Debug)]
pub(super) struct Names<'a> {
    kind: &'static str,
    header: &'static str,
    /// In the order of the file; an error when the sections could not even be named.
    known: Checked<(Vec<&'a str>, HashMap<&'a str, usize>)>,
    /// How many more comparisons there may be to suggest names for unknown ones. Without a bound, a file with 100,000 routes that refer to
    /// unknown limits would compare each reference with all limits.
    comparisons: Cell<usize>,
}

/// The bound on these comparisons, which take well under a second.
const COMPARISONS: usize = 1_000_000;

/// The sections below `item`, such as those of `[limits.*]`, and their names.
pub(super) fn named<'a>(
    item: Option<Item<'a>>,
    kind: &'static str,
    header: &'static str,
    sink: &Sink<'_>,
) -> (Checked<Vec<(&'a str, Item<'a>)>>, Names<'a>) {
    let items =
        item.map_or_else(|| Ok(Vec::new()), |item| item.named(&format!("{header} and its keys below")));
    if let Ok(items) = &items {
        for (name, item) in items {
            let fault =
                if matches!(kind, "limit" | "plan") { plain_name(kind, name) } else { label(kind, name) };
            if let Err(fault) = fault {
                sink.report(item.key_span(), fault);
            }
        }
    }
    let known = items
        .as_ref()
        .map_err(|reported| *reported)
        .map(|items| items.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    (items, Names::new(kind, header, known))
}

impl<'a> Names<'a> {
    /// The names of the sections of a kind, each of which begins with `header`.
    pub(super) fn new(kind: &'static str, header: &'static str, names: Checked<Vec<&'a str>>) -> Self {
        let known = names.map(|names| {
            let indices = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
            (names, indices)
        });
        Self { kind, header, known, comparisons: Cell::new(COMPARISONS) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.known.as_ref().map_or(0, |(names, _)| names.len())
    }

    /// The index of the section that `item` names.
    pub(super) fn find(&self, item: &Item<'_>) -> Checked<usize> {
        let name = item.text(&format!("the name of a {}", self.kind).replace("a u", "an u"))?;
        self.index(name)?.map_err(|fault| item.report(fault))
    }

    /// The index of the section of this name, or that there is none.
    pub(super) fn index(&self, name: &str) -> Checked<Result<usize, Fault>> {
        let (names, indices) = self.known.as_ref().map_err(|reported| *reported)?;
        Ok(indices.get(name).copied().ok_or_else(|| {
            let fault = Fault::new(format!("there is no {} {}", self.kind, quoted(name)));
            match names.is_empty() {
                true => fault.hint(format!("this file has none: write {} and its keys", self.header)),
                false => fault.hint(self.suggestion(name, names)),
            }
        }))
    }

    fn suggestion(&self, name: &str, names: &[&str]) -> String {
        let all = format!("the {}s are", self.kind);
        match self.comparisons.get().checked_sub(names.len()) {
            Some(left) => {
                self.comparisons.set(left);
                suggest::hint(name, names, &all)
            }
            None => suggest::list(names, &all),
        }
    }
}

/// Checks the name of a limit or a plan, which goes into header fields as it is.
fn plain_name(kind: &str, name: &str) -> Result<(), Fault> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Fault::new(format!("{} cannot be the name of a {kind}", quoted(name)))
        .hint("a name is 1 to 64 letters, digits, and _ . - without spaces: it goes into header fields"))
}

/// Checks a name that goes into metrics and logs.
pub(super) fn label(kind: &str, name: &str) -> Result<(), Fault> {
    if (1..=128).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let a = if kind == "upstream" { "an" } else { "a" };
    Err(Fault::new(format!("{} cannot be the name of {a} {kind}", quoted(name)))
        .hint("a name is 1 to 128 printable characters"))
}
