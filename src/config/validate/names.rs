//! Names that sections are given, and that other sections refer to.

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
}

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
            let fault = if kind == "limit" { limit_name(name) } else { label(kind, name) };
            if let Err(fault) = fault {
                sink.report(item.key_span(), fault);
            }
        }
    }
    let known = items.as_ref().map_err(|reported| *reported).map(|items| {
        let names: Vec<&str> = items.iter().map(|(name, _)| *name).collect();
        let indices = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
        (names, indices)
    });
    (items, Names { kind, header, known })
}

impl Names<'_> {
    /// The index of the section that `item` names.
    pub(super) fn find(&self, item: &Item<'_>) -> Checked<usize> {
        let name = item.text(&format!("the name of a {}", self.kind).replace("a u", "an u"))?;
        let (names, indices) = self.known.as_ref().map_err(|reported| *reported)?;
        indices.get(name).copied().ok_or_else(|| {
            let fault = Fault::new(format!("there is no {} {}", self.kind, quoted(name)));
            item.report(match names.is_empty() {
                true => fault.hint(format!("this file has none: write {} and its keys", self.header)),
                false => fault.hint(suggest::hint(name, names, &format!("the {}s are", self.kind))),
            })
        })
    }
}

/// Checks the name of a limit, which goes into header fields as it is.
fn limit_name(name: &str) -> Result<(), Fault> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Fault::new(format!("{} cannot be the name of a limit", quoted(name)))
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
