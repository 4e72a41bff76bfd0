//! The values of a list, as far as they can be read.

use std::collections::HashSet;
use std::hash::Hash;

use super::item::Item;
use super::problem::{Checked, Fault};

/// Values of a list, each with its item. Values that could not be read are left out; then `complete` is an error.
#[derive(Debug)]
pub(super) struct Values<'a, T> {
    pub(super) list: Vec<(T, Item<'a>)>,
    pub(super) complete: Checked<()>,
}

impl<'a> Item<'a> {
    /// The values of a list.
    pub(super) fn values<T>(&self, of: &str, read: impl FnMut(Self) -> Checked<T>) -> Values<'a, T> {
        match self.list(of) {
            Ok(items) => Values::read(items, read),
            Err(reported) => Values { list: Vec::new(), complete: Err(reported) },
        }
    }
}

impl<'a, T> Values<'a, T> {
    /// No values.
    pub(super) fn empty() -> Self {
        Self { list: Vec::new(), complete: Ok(()) }
    }

    /// The values, if all could be read.
    pub(super) fn all(self) -> Checked<Vec<T>> {
        self.complete?;
        Ok(self.list.into_iter().map(|(value, _)| value).collect())
    }

    /// Reports each value that is there for the second time.
    pub(super) fn each_once(self) -> Self
    where
        T: Clone + Eq + Hash,
    {
        self.each_once_by(T::clone)
    }

    /// Reports each value with the same `essence` as an earlier one. It takes linear time, since a list may have 100,000 values.
    pub(super) fn each_once_by<K: Eq + Hash>(mut self, essence: impl Fn(&T) -> K) -> Self {
        let mut known = HashSet::with_capacity(self.list.len());
        for (value, item) in &self.list {
            if !known.insert(essence(value)) {
                let what = if item.is_table() { "this entry".to_owned() } else { item.shown() };
                let message = format!("{what} is in this list twice");
                self.complete = Err(item.report(Fault::new(message).hint("keep one of the two")));
            }
        }
        self
    }

    /// The values of the items that can be read.
    pub(super) fn read(items: Vec<Item<'a>>, mut read: impl FnMut(Item<'a>) -> Checked<T>) -> Self {
        let mut values = Self { list: Vec::with_capacity(items.len()), complete: Ok(()) };
        for item in items {
            match read(item) {
                Ok(value) => values.list.push((value, item)),
                Err(reported) => values.complete = Err(reported),
            }
        }
        values
    }
}
