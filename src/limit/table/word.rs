//! The content of a slot: the client whose bucket it is, and when that will be full again, in one word of 128 bits.
//!
//! ```text
//! 127        80  79        78                             0
//! | tag (48) | pending (1) | full at, in ticks (79)       |
//! ```
//!
//! Both are replaced by one compare-and-exchange, so a slot is never charged for its former owner. The tag is part of a keyed hash of the
//! client, and the rest of the hash chooses the few groups in which the client's slot may be. So two clients share a bucket only if both
//! parts are the same. With ten million clients, whose tags are compared with at most sixteen others each, the chance of that is one in a
//! million for the whole table, and a client cannot choose such keys without the secret.

use crate::limit::key::Fingerprint;
use crate::limit::quota::MAX_TICKS;

const TAG_SHIFT: u32 = 80;
const PENDING: u128 = 1 << 79;

/// The client that a slot belongs to. It is never zero, so that a slot that was never used belongs to no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    /// The tag of a client: the upper 48 bits of its fingerprint.
    pub(super) fn of(client: Fingerprint) -> Self {
        Self(upper(client.bits()).max(1))
    }

    fn bits(self) -> u128 {
        u128::from(self.0) << TAG_SHIFT
    }
}

/// The bits of a tag.
fn upper(bits: u128) -> u64 {
    (bits >> TAG_SHIFT) as u64
}

/// The content of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limit) struct Word(u128);

impl Word {
    /// No client's.
    pub(in crate::limit) const FREE: Self = Self(0);

    /// A client's bucket. A later time than [`MAX_TICKS`] is that.
    pub(super) fn bucket(tag: Tag, full_at: u128) -> Self {
        Self(tag.bits() | full_at.min(MAX_TICKS))
    }

    /// A slot that a thread is about to take for a client, with a number that no other attempt has.
    pub(super) fn pending(tag: Tag, number: u128) -> Self {
        Self(tag.bits() | PENDING | (number & MAX_TICKS))
    }

    /// The same bucket, which will be full at another time; free if that is zero.
    pub(in crate::limit) fn with_full_at(self, full_at: impl Fn(u128) -> u128) -> Self {
        match full_at(self.full_at()) {
            0 => Self::FREE,
            full_at => Self::bucket(Tag(upper(self.0)), full_at),
        }
    }

    pub(in crate::limit) fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(in crate::limit) fn bits(self) -> u128 {
        self.0
    }

    /// Whether it belongs to this client, or is about to.
    pub(super) fn is_of(self, tag: Tag) -> bool {
        upper(self.0) == tag.0
    }

    /// Whether it is this client's bucket.
    pub(super) fn is_bucket_of(self, tag: Tag) -> bool {
        self.is_of(tag) && !self.is_pending()
    }

    /// Whether a thread is about to take it.
    pub(super) fn is_pending(self) -> bool {
        self.0 & PENDING != 0
    }

    /// When the bucket will be full again, in ticks.
    pub(super) fn full_at(self) -> u128 {
        self.0 & MAX_TICKS
    }

    /// Whether it can be given to another client: the bucket in it is full, which is the same as none.
    pub(super) fn is_free(self, now: u128) -> bool {
        self.0 & (PENDING | MAX_TICKS) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::fingerprint_of;

    #[test]
    fn the_parts_of_a_word_do_not_touch() {
        let tag = Tag::of(fingerprint_of(1));
        let word = Word::bucket(tag, MAX_TICKS);
        assert!(word.is_of(tag) && !word.is_pending());
        assert_eq!(word.full_at(), MAX_TICKS);
        assert_eq!(Word::bucket(tag, u128::MAX), word);
        assert!(!word.is_of(Tag::of(fingerprint_of(2))));
    }

    #[test]
    fn a_slot_is_free_when_its_bucket_is_full() {
        let tag = Tag::of(fingerprint_of(1));
        assert!(Word::FREE.is_free(0));
        assert!(!Word::FREE.is_of(tag));
        assert!(Word::bucket(tag, 5).is_free(5));
        assert!(!Word::bucket(tag, 5).is_free(4));
        // Not even at the end of time is a slot free that a thread is about to take.
        assert!(!Word::pending(tag, 0).is_free(MAX_TICKS));
        assert!(Word::pending(tag, u128::MAX).is_of(tag));
    }
}
