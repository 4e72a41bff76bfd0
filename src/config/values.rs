//! The values of a list, as far as they can be read.

use super::item::Item;
use super::problem::{Checked, Fault};

/// Values of a list, each with its item. What could not be read is left out, and `complete` says so.
#[derive(Debug)]
pub(super) struct Values<'a, T> {
    pub(super) list: Vec<(T, Item<'a>)>,
    pub(super) complete: Checked<()>,
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
    pub(super) fn each_once(mut self, same: impl Fn(&T, &T) -> bool) -> Self {
        for (index, (value, item)) in self.list.iter().enumerate() {
            if self.list[..index].iter().any(|(earlier, _)| same(earlier, value)) {
                let what = if item.is_table() { "this entry".to_owned() } else { item.shown() };
                let message = format!("{what} is in this list twice");
                self.complete = Err(item.report(Fault::new(message).hint("keep one of the two")));
            }
        }
        self
    }

    /// What can be read of some items.
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
