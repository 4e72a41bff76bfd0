//! The memory of a table: slots in groups that fill a cache line, and in which groups a client's bucket may be.

use std::sync::atomic::{AtomicBool, Ordering};

use portable_atomic::AtomicU128;

use super::claim::{Slots, Which};
use super::word::{Tag, Word};
use crate::limit::key::Fingerprint;

/// Slots in a group: a cache line of 64 bytes.
pub(super) const GROUP: usize = 4;

/// Slots for each client that the table is made for. Together with the reserve a client takes 16 · (1.75 + 0.15) = 30.4 bytes. When the
/// table holds as many debts as it is made for, 94 clients in a hundred are in the cache line that is read first. When then a new client
/// comes for each that leaves, three in a hundred are in the reserve, and one in a million finds no slot.
const SLOTS_PER_CLIENT: f64 = 1.75;

/// Slots of last resort for each client.
const RESERVE_PER_CLIENT: f64 = 0.15;

/// How many groups are read to estimate how many slots are taken. That takes a few microseconds, and the error is about one in a
/// hundred.
const GROUPS_LOOKED_AT: usize = 512;

#[repr(align(64))]
struct Group([AtomicU128; GROUP]);

/// There is one overflow bucket for so many slots. Few clients need one until the table is full, and then they are to get some
/// tokens.
const SLOTS_PER_OVERFLOW: usize = 128 * GROUP;

/// How many groups a table has, and which of them are a client's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// How many groups there are, without the reserve.
    ordinary: usize,
    /// How many groups the reserve has.
    reserve: usize,
}

/// The slots of a table, allocated at once.
pub(super) struct SharedSlots {
    groups: Vec<Group>,
    layout: Layout,
    reserve_open: AtomicBool,
}

impl Layout {
    /// The layout for this many clients.
    pub(super) fn of(max_clients: usize) -> Self {
        // A client has two groups of each kind to choose from.
        let groups = |per_client: f64| (scale(max_clients, per_client).div_ceil(GROUP)).max(2);
        Self { ordinary: groups(SLOTS_PER_CLIENT), reserve: groups(RESERVE_PER_CLIENT) }
    }

    /// How many slots there are.
    pub(super) fn slots(self) -> usize {
        (self.ordinary + self.reserve) * GROUP
    }

    /// A group of a client. Which groups they are depends on 64 bits of the client's fingerprint that its tag does not have.
    #[inline(always)]
    pub(super) fn group(self, client: Fingerprint, which: Which) -> usize {
        let half = |shift: u32| u32::try_from(client.bits() >> shift & 0xffff_ffff).unwrap_or(0);
        let (a, b) = (half(0), half(32));
        // The halves are mixed, so that clients which share a group seldom share their reserve.
        let c = a.rotate_left(16) ^ b;
        match which {
            Which::First => pick(a, self.ordinary),
            Which::Second => other(pick(a, self.ordinary), b, self.ordinary),
            Which::FirstReserve => self.ordinary + pick(c, self.reserve),
            Which::SecondReserve => {
                let d = a.wrapping_mul(0x9e37_79b9) ^ b.rotate_left(7);
                self.ordinary + other(pick(c, self.reserve), d, self.reserve)
            }
        }
    }

    /// How many overflow buckets there are.
    pub(super) fn overflow_buckets(self) -> usize {
        (self.slots() / SLOTS_PER_OVERFLOW).max(1)
    }

    /// The overflow bucket of a client.
    pub(super) fn overflow_bucket(self, client: Fingerprint) -> usize {
        self.group(client, Which::First) % self.overflow_buckets()
    }
}

impl SharedSlots {
    /// Slots for this many clients.
    pub(super) fn new(max_clients: usize) -> Self {
        let layout = Layout::of(max_clients);
        let free = |_| Group([const { AtomicU128::new(0) }; GROUP]);
        Self {
            groups: (0..layout.ordinary + layout.reserve).map(free).collect(),
            layout,
            reserve_open: AtomicBool::new(false),
        }
    }

    /// Whether a slot is one of last resort.
    pub(super) fn is_reserve(&self, at: usize) -> bool {
        at / GROUP >= self.layout.ordinary
    }

    /// How many slots are no reserve.
    pub(super) fn ordinary(&self) -> usize {
        self.layout.ordinary * GROUP
    }

    /// About how many slots without the reserve are taken, estimated from some groups, of which `bits` chooses the first.
    pub(super) fn taken(&self, bits: u32, now: u128) -> usize {
        let looked_at = self.layout.ordinary.min(GROUPS_LOOKED_AT);
        let first = pick(bits, self.layout.ordinary);
        let groups = self.groups[..self.layout.ordinary].iter().cycle().skip(first).take(looked_at);
        let words =
            groups.flat_map(|group| &group.0).map(|slot| Word::from_bits(slot.load(Ordering::SeqCst)));
        let taken = words.filter(|word| !word.is_free(now)).count();
        // No overflow: there are up to two billion slots, and some thousand are read.
        taken * self.layout.ordinary / looked_at
    }

    /// The layout.
    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len() * GROUP
    }

    /// What every slot holds.
    pub(super) fn words(&self) -> impl Iterator<Item = Word> {
        self.groups.iter().flat_map(|group| &group.0).map(|slot| Word::from_bits(slot.load(Ordering::SeqCst)))
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "up to a billion clients, and a slot more or less does not matter"
)]
fn scale(clients: usize, factor: f64) -> usize {
    (clients as f64 * factor).ceil() as usize
}

/// Another number below `count` than `first`, evenly.
fn other(first: usize, bits: u32, count: usize) -> usize {
    (first + 1 + pick(bits, count - 1)) % count
}

/// A number below `count`, evenly.
pub(super) fn pick(bits: u32, count: usize) -> usize {
    usize::try_from((u64::from(bits) * count as u64) >> 32).unwrap_or(0)
}

impl Slots for SharedSlots {
    const PATIENCE: u32 = 64;
    const GROUP: usize = GROUP;

    #[inline(always)]
    fn group(&self, client: Fingerprint, which: Which) -> usize {
        self.layout.group(client, which)
    }

    // SeqCst, all of them: that no client has two buckets depends on an order on which all threads agree (see `claim`).

    #[inline(always)]
    fn load(&self, at: usize) -> Word {
        Word::from_bits(self.groups[at / GROUP].0[at % GROUP].load(Ordering::SeqCst))
    }

    // All slots of the group are compared: to stop at the right one would be a branch that the processor cannot predict, which costs
    // more than it saves.
    #[inline(always)]
    fn owned(&self, group: usize, tag: Tag) -> Option<usize> {
        let mut owned = 0_u32;
        for (index, slot) in self.groups[group].0.iter().enumerate() {
            let word = Word::from_bits(slot.load(Ordering::SeqCst));
            owned |= u32::from(word.is_of(tag)) << index;
        }
        (owned != 0).then(|| group * GROUP + owned.trailing_zeros() as usize)
    }

    #[inline(always)]
    fn replace(&self, at: usize, old: Word, new: Word) -> bool {
        let slot = &self.groups[at / GROUP].0[at % GROUP];
        slot.compare_exchange(old.bits(), new.bits(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn open_reserve(&self) {
        if !self.is_reserve_open() {
            self.reserve_open.store(true, Ordering::SeqCst);
        }
    }

    fn is_reserve_open(&self) -> bool {
        self.reserve_open.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::fingerprint_of;

    #[test]
    fn a_client_has_two_groups_of_each_kind() {
        for max_clients in [1, 64, 1000, 1_000_000] {
            let slots = SharedSlots::new(max_clients);
            assert!(slots.layout.ordinary * GROUP >= max_clients);
            for client in (0..1000).map(fingerprint_of) {
                let ordinary = [Which::First, Which::Second].map(|which| slots.group(client, which));
                let reserve =
                    [Which::FirstReserve, Which::SecondReserve].map(|which| slots.group(client, which));
                assert_ne!(ordinary[0], ordinary[1]);
                assert_ne!(reserve[0], reserve[1]);
                assert!(ordinary.iter().all(|&group| group < slots.layout.ordinary));
                assert!(
                    reserve.iter().all(|group| (slots.layout.ordinary..slots.groups.len()).contains(group))
                );
            }
        }
    }

    #[test]
    fn clients_are_spread_evenly() {
        let slots = SharedSlots::new(500);
        let mut clients = vec![0; slots.layout.ordinary];
        for client in 0..100_000 {
            clients[slots.group(fingerprint_of(client), Which::First)] += 1;
        }
        // 457 on average, and hardly ever five standard deviations from that.
        assert!(clients.iter().all(|count| (350..565).contains(count)), "{clients:?}");
    }

    #[test]
    fn a_part_tells_how_many_are_taken() {
        for max_clients in [64, 100_000] {
            let slots = SharedSlots::new(max_clients);
            for at in (0..slots.ordinary()).filter(|at| at * 7 % 10 < 3) {
                assert!(slots.replace(at, Word::FREE, Word::bucket(Tag::of(fingerprint_of(1)), 5)));
            }
            let share = |bits, now| slots.taken(bits, now) * 100 / slots.ordinary();
            assert!([0, 1 << 30, u32::MAX].iter().all(|bits| (28..=32).contains(&share(*bits, 4))));
            assert_eq!(share(0, 5), 0, "their debts are paid");
        }
    }

    #[test]
    fn a_client_takes_thirty_bytes() {
        let slots = SharedSlots::new(1_000_000);
        assert_eq!(size_of::<Group>(), GROUP * 16);
        assert!(slots.len() * 16 <= 30_500_000, "{}", slots.len());
    }
}
