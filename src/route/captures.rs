//! What a pattern captured of a path: ranges into it, so that a match allocates nothing.

use std::ops::Range;

use super::pattern::MAX_PARAMETERS;

/// What a pattern captured of the path that it matched. It is a value of fixed size and holds no text: ask it
/// with the path that was matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures {
    parameters: [Range<u32>; MAX_PARAMETERS],
    count: usize,
    /// Where the rest starts, when there is one.
    rest: Option<u32>,
}

impl Captures {
    pub(super) fn none() -> Self {
        Self { parameters: [const { 0..0 }; MAX_PARAMETERS], count: 0, rest: None }
    }

    /// The segment that the parameter of this index matched, counted from 0, left to right.
    pub fn parameter<'a>(&self, path: &'a str, index: usize) -> Option<&'a str> {
        let range = self.parameters[..self.count].get(index)?;
        path.get(range.start as usize..range.end as usize)
    }

    /// What the pattern's `*` matched, without its leading slash. `None` if the path ended before the `*`:
    /// `/users/*` has no rest in `/users`, an empty one in `/users/`, and `7/x` in `/users/7/x`.
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.get(self.rest? as usize..)
    }

    /// Adds a parameter. A pattern that was parsed has no more of them than fit.
    pub(super) fn push(&mut self, segment: Range<usize>) {
        if let Some(slot) = self.parameters.get_mut(self.count) {
            *slot = offset(segment.start)..offset(segment.end);
            self.count += 1;
        }
    }

    /// The number of parameters so far.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Forgets all but the first `len` parameters.
    pub(super) fn truncate(&mut self, len: usize) {
        self.count = self.count.min(len);
    }

    pub(super) fn set_rest(&mut self, start: Option<usize>) {
        self.rest = start.map(offset);
    }
}

/// A request head of 4 GiB is refused long before this.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_read_from_the_path_that_was_matched() {
        let path = "/users/7/x/y";
        let mut captures = Captures::none();
        captures.push(7..8);
        captures.set_rest(Some(9));
        assert_eq!(captures.parameter(path, 0), Some("7"));
        assert_eq!(captures.parameter(path, 1), None);
        assert_eq!(captures.rest(path), Some("x/y"));
        captures.truncate(0);
        captures.set_rest(None);
        assert_eq!(captures, Captures { parameters: captures.parameters.clone(), ..Captures::none() });
    }

    #[test]
    fn another_path_or_too_many_parameters_do_not_panic() {
        let mut captures = Captures::none();
        for at in 0..=MAX_PARAMETERS {
            captures.push(at * 10..at * 10 + 5);
        }
        captures.set_rest(Some(usize::MAX));
        assert_eq!(captures.len(), MAX_PARAMETERS);
        assert_eq!(captures.parameter("/é", 15), None);
        assert_eq!(captures.parameter("/é", 16), None);
        assert_eq!(captures.rest("/é"), None);
    }
}
