//! How a client's bucket is found, charged, and given a slot, by many threads at once and without a lock.
//!
//! A client has a few slots in which its bucket may be. If it is in one of them, charging it is one
//! compare-and-exchange. If it is in none, its bucket is full, and it gets a slot whose own bucket is full. There two
//! threads could each give the same client a slot, and it would have two buckets. So a slot is taken in three steps:
//!
//! 1. a free slot is marked as *pending* for this client, with a number that no other attempt has;
//! 2. all slots of the client are read again. The marks of other threads for this client are removed; if it has a bucket by now,
//!    the own mark is removed, and that bucket is charged;
//! 3. the mark is replaced by the charged bucket, which fails if another thread has removed the mark: then it starts anew.
//!
//! So a client never has two buckets. If threads A and B both passed step 3, each read before the other's mark was there (or it had
//! removed that mark). But A marked before it read, and B too: A marked, A read, B marked, B read, A marked: a circle, which no order
//! can have that all threads agree on. That takes sequential consistency, since no thread's read may overtake its own mark.
//!
//! Threads never wait for each other: a thread that finds a mark of another gives it a moment, and then removes it.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::word::{Tag, Word};
use crate::limit::key::Fingerprint;

/// Slots that many threads read and replace, in an order that all of them agree on.
pub(super) trait Slots {
    /// How often a thread reads another's mark before it removes it.
    const PATIENCE: u32;

    /// How many slots a group has: those from `group * GROUP` on.
    const GROUP: usize;

    /// A group in which a client's bucket may be.
    fn group(&self, client: Fingerprint, which: Which) -> usize;

    /// What a slot holds.
    fn load(&self, at: usize) -> Word;

    /// The first slot of a group that belongs to this client, or is about to.
    fn owned(&self, group: usize, tag: Tag) -> Option<usize> {
        let mut slots = group * Self::GROUP..(group + 1) * Self::GROUP;
        slots.find(|&at| self.load(at).is_of(tag))
    }

    /// Replaces what a slot holds; false if it does not hold `old` any more.
    fn replace(&self, at: usize, old: Word, new: Word) -> bool;

    /// Notes that the slots of last resort are in use. From then on every look covers them.
    fn open_reserve(&self);

    /// Whether the slots of last resort may be in use.
    fn is_reserve_open(&self) -> bool;
}

/// The groups in which a client's bucket may be: two, and two of last resort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
    FirstReserve,
    SecondReserve,
}

const ORDINARY: [Which; 2] = [Which::First, Which::Second];
const RESERVE: [Which; 2] = [Which::FirstReserve, Which::SecondReserve];

/// The result of charging a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge<E> {
    /// The bucket was charged, and will be full at this time.
    Paid(u128),
    /// The bucket holds too little, and will be full at this time.
    Refused(u128, E),
    /// All slots of the client hold buckets of others that are not full, or it was not admitted.
    NoRoom,
}

/// Searches for the bucket of a client.
pub(super) struct Search<'a, S> {
    pub(super) slots: &'a S,
    pub(super) client: Fingerprint,
    /// The time, in ticks.
    pub(super) now: u128,
}

/// Charges a client's bucket if it is in its first group, as nearly all are, and holds enough. Otherwise returns `None`, and nothing
/// has changed.
#[inline(always)]
pub(super) fn charge_first(
    slots: &impl Slots,
    client: Fingerprint,
    pay: impl Fn(u128) -> Option<u128>,
) -> Option<u128> {
    let tag = Tag::of(client);
    let at = slots.owned(slots.group(client, Which::First), tag)?;
    let word = slots.load(at);
    if !word.is_bucket_of(tag) {
        return None;
    }
    let full_at = pay(word.full_at())?;
    slots.replace(at, word, Word::bucket(tag, full_at)).then_some(full_at)
}

enum Found {
    /// The client's bucket.
    Bucket(usize, Word),
    /// A slot that another thread is about to take for the client.
    Pending(usize, Word),
    /// The client has no bucket, and this slot can be taken.
    Room(usize, Word),
    NoRoom,
}

impl<S: Slots> Search<'_, S> {
    /// When the client's bucket will be full, or zero if it has none; `None` if there is no room for one, or it would not be
    /// admitted there. Changes nothing.
    pub(super) fn look(&self, admitted: impl FnOnce() -> bool) -> Option<u128> {
        match self.find() {
            Found::Bucket(_, word) => Some(word.full_at()),
            Found::Pending(..) => Some(0),
            Found::Room(..) => admitted().then_some(0),
            Found::NoRoom => None,
        }
    }

    /// Charges the client's bucket: `pay` gets the time at which it will be full, and returns that time after the charge.
    /// A client without a bucket gets one if there is room, and it is admitted. `number` returns another number each time.
    pub(super) fn charge<E>(
        &self,
        number: impl Fn() -> u128,
        admit: impl Fn() -> bool,
        pay: impl Fn(u128) -> Result<u128, E>,
    ) -> Charge<E> {
        let mut patience = S::PATIENCE;
        loop {
            match self.find() {
                Found::Bucket(at, word) => {
                    if let Some(charge) = self.charge_bucket(at, word, &pay) {
                        return charge;
                    }
                }
                Found::Pending(..) if patience > 0 => {
                    patience -= 1;
                    std::hint::spin_loop();
                }
                Found::Pending(at, word) => drop(self.slots.replace(at, word, Word::FREE)),
                Found::Room(at, word) => match pay(0) {
                    Err(error) => return Charge::Refused(0, error),
                    Ok(_) if !admit() => return Charge::NoRoom,
                    Ok(full_at) => {
                        if self.take(at, word, Word::pending(self.tag(), number()), full_at) {
                            return Charge::Paid(full_at);
                        }
                    }
                },
                Found::NoRoom => return Charge::NoRoom,
            }
        }
    }

    /// Charges the bucket that a slot held; `None` if the slot holds something else by now.
    fn charge_bucket<E>(
        &self,
        at: usize,
        word: Word,
        pay: impl Fn(u128) -> Result<u128, E>,
    ) -> Option<Charge<E>> {
        match pay(word.full_at()) {
            Err(error) => Some(Charge::Refused(word.full_at(), error)),
            Ok(full_at) => {
                let new = Word::bucket(self.tag(), full_at);
                self.slots.replace(at, word, new).then_some(Charge::Paid(full_at))
            }
        }
    }

    /// Changes the client's bucket: `change` gets the time at which it will be full, and returns that time after the change. Returns
    /// what the time was before; `None` if the client has no bucket.
    pub(super) fn adjust(&self, change: impl Fn(u128) -> u128) -> Option<u128> {
        while let Found::Bucket(at, word) = self.find() {
            if self.slots.replace(at, word, Word::bucket(self.tag(), change(word.full_at()))) {
                return Some(word.full_at());
            }
        }
        None
    }

    /// Takes a slot that holds `old`; false if another thread has changed it.
    fn take(&self, at: usize, old: Word, mark: Word, full_at: u128) -> bool {
        if RESERVE.iter().any(|&which| self.slots.group(self.client, which) == at / S::GROUP) {
            self.slots.open_reserve();
        }
        if !self.slots.replace(at, old, mark) {
            return false;
        }
        if !self.is_alone(at) {
            // Another thread may have removed the mark already.
            self.slots.replace(at, mark, Word::FREE);
            return false;
        }
        self.slots.replace(at, mark, Word::bucket(self.tag(), full_at))
    }

    /// Removes the marks of other threads for this client; false if the client has a bucket.
    fn is_alone(&self, own: usize) -> bool {
        self.all().filter(|&at| at != own).all(|at| {
            loop {
                let word = self.slots.load(at);
                if !word.is_of(self.tag()) {
                    return true;
                }
                if !word.is_pending() {
                    return false;
                }
                if self.slots.replace(at, word, Word::FREE) {
                    return true;
                }
            }
        })
    }

    /// All slots in which the client's bucket may be by now.
    fn all(&self) -> impl Iterator<Item = usize> {
        let reserve: &[Which] = if self.slots.is_reserve_open() { &RESERVE } else { &[] };
        ORDINARY.iter().chain(reserve).flat_map(|&which| self.slots_of(which))
    }

    fn find(&self) -> Found {
        self.find_in(Which::First).unwrap_or_else(|| self.find_elsewhere())
    }

    /// Finds the bucket of a client that has none in its first group.
    #[cold]
    #[inline(never)]
    fn find_elsewhere(&self) -> Found {
        if let Some(found) = self.find_in(Which::Second) {
            return found;
        }
        let room = self.room(ORDINARY);
        if (room.is_none() || self.slots.is_reserve_open())
            && let Some(found) = RESERVE.iter().find_map(|&which| self.find_in(which))
        {
            return found;
        }
        let room = room.or_else(|| self.room(RESERVE));
        room.map_or(Found::NoRoom, |(at, word)| Found::Room(at, word))
    }

    fn find_in(&self, which: Which) -> Option<Found> {
        let group = self.slots.group(self.client, which);
        loop {
            let at = self.slots.owned(group, self.tag())?;
            // The slot may hold something else by now, and another slot the client's bucket.
            if let Some(found) = self.owned(at, self.slots.load(at)) {
                return Some(found);
            }
        }
    }

    /// What a slot is to the client, if it is its own.
    fn owned(&self, at: usize, word: Word) -> Option<Found> {
        match (word.is_of(self.tag()), word.is_pending()) {
            (false, _) => None,
            (true, false) => Some(Found::Bucket(at, word)),
            (true, true) => Some(Found::Pending(at, word)),
        }
    }

    /// The first free slot in these groups.
    fn room(&self, groups: [Which; 2]) -> Option<(usize, Word)> {
        let slots = groups.into_iter().flat_map(|which| self.slots_of(which));
        slots.map(|at| (at, self.slots.load(at))).find(|(_, word)| word.is_free(self.now))
    }

    fn slots_of(&self, which: Which) -> Range<usize> {
        let first = self.slots.group(self.client, which) * S::GROUP;
        first..first + S::GROUP
    }

    fn tag(&self) -> Tag {
        Tag::of(self.client)
    }
}
