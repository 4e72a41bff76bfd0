//! Every order in which threads can meet at the slots of a client.

use super::*;
use crate::limit::key::fingerprint_of;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

/// Slots whose every access is a step that loom may put before or after those of other threads. So many are a group.
struct Model<const GROUP: usize> {
    slots: Vec<Mutex<Word>>,
    reserve_open: AtomicBool,
}

impl<const GROUP: usize> Model<GROUP> {
    fn new(words: &[Word]) -> Self {
        let slots = words.iter().map(|word| Mutex::new(*word)).collect();
        Self { slots, reserve_open: AtomicBool::new(false) }
    }
}

impl<const GROUP: usize> Slots for Model<GROUP> {
    const PATIENCE: u32 = 0;
    const GROUP: usize = GROUP;

    // Two groups, and a reserve of one group, which is both of its groups.
    fn group(&self, _: Fingerprint, which: Which) -> usize {
        match which {
            Which::First => 0,
            Which::Second => 1,
            Which::FirstReserve | Which::SecondReserve => 2,
        }
    }

    fn load(&self, at: usize) -> Word {
        *self.slots[at].lock().unwrap()
    }

    fn replace(&self, at: usize, old: Word, new: Word) -> bool {
        let mut slot = self.slots[at].lock().unwrap();
        let same = *slot == old;
        if same {
            *slot = new;
        }
        same
    }

    fn open_reserve(&self) {
        self.reserve_open.store(true, Ordering::SeqCst);
    }

    fn is_reserve_open(&self) -> bool {
        self.reserve_open.load(Ordering::SeqCst)
    }
}

const NOW: u128 = 100;
const COST: u128 = 10;

fn tag(client: u64) -> Tag {
    Tag::of(fingerprint_of(client))
}

/// Lets a client pay, from a bucket that holds `tokens`; the number is the thread's own.
fn pay<const GROUP: usize>(slots: &Model<GROUP>, client: u64, number: u128, tokens: u128) -> Charge<()> {
    let attempts = std::cell::Cell::new(number * 1000);
    let client = fingerprint_of(client);
    let pay = |full_at: u128| {
        let new = full_at.max(NOW) + COST;
        if new <= NOW + tokens * COST { Ok(new) } else { Err(()) }
    };
    match charge_first(slots, client, |full_at| pay(full_at).ok()) {
        Some(full_at) => Charge::Paid(full_at),
        None => {
            Search { slots, client, now: NOW }.charge(|| attempts.replace(attempts.get() + 1), || true, pay)
        }
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// What the buckets of a client come to: how many there are, and what they owe.
fn owed<const GROUP: usize>(slots: &Model<GROUP>, client: u64) -> (usize, u128) {
    let words = slots.slots.iter().map(|slot| *slot.lock().unwrap());
    let own: Vec<_> = words.filter(|word| word.is_of(tag(client))).collect();
    assert!(own.iter().all(|word| !word.is_pending()), "nobody is at work any more");
    (own.len(), own.iter().map(|word| word.full_at().saturating_sub(NOW)).sum())
}

/// Two threads bring the same new client at once.
#[test]
fn a_newcomer_of_two_threads_gets_one_bucket() {
    check(|| {
        let slots = Arc::new(Model::<1>::new(&[Word::FREE; 3]));
        let other = slots.clone();
        let thread = thread::spawn(move || pay(&other, 1, 1, 1));
        let charges = [pay(&slots, 1, 2, 1), thread.join().unwrap()];
        assert_eq!(charges.iter().filter(|charge| matches!(charge, Charge::Paid(_))).count(), 1);
        assert_eq!(owed(&slots, 1), (1, COST));
    });
}

/// Two threads bring the same new client, while the first slot, which was taken, becomes free: they may well choose different
/// slots.
fn a_newcomer_gets_one_bucket<const GROUP: usize>(words: &[Word]) {
    let slots = Arc::new(Model::<GROUP>::new(words));
    let (one, two) = (slots.clone(), slots.clone());
    let freeing = thread::spawn(move || {
        one.replace(0, Word::bucket(tag(9), NOW + 5), Word::bucket(tag(9), NOW));
    });
    let paying = thread::spawn(move || pay(&two, 1, 1, 2));
    let charges = [pay(&slots, 1, 2, 2), paying.join().unwrap()];
    freeing.join().unwrap();
    assert!(charges.iter().all(|charge| matches!(charge, Charge::Paid(_))), "{charges:?}");
    assert_eq!(owed(&slots, 1), (1, 2 * COST));
}

#[test]
fn a_newcomer_gets_one_bucket_while_slots_become_free() {
    let taken = Word::bucket(tag(9), NOW + 5);
    check(move || a_newcomer_gets_one_bucket::<1>(&[taken, Word::FREE, Word::FREE]));
}

#[test]
fn a_newcomer_gets_one_bucket_in_a_group_of_several_slots() {
    let taken = Word::bucket(tag(9), NOW + 5);
    check(move || {
        a_newcomer_gets_one_bucket::<2>(&[taken, Word::FREE, Word::FREE, taken, taken, taken]);
    });
}

/// Two clients, new both, and one slot for them besides the reserve.
#[test]
fn two_newcomers_share_no_slot() {
    check(|| {
        let taken = Word::bucket(tag(9), NOW + 5);
        let slots = Arc::new(Model::<1>::new(&[taken, Word::FREE, Word::FREE]));
        let other = slots.clone();
        let thread = thread::spawn(move || pay(&other, 1, 1, 1));
        let charges = [pay(&slots, 2, 2, 1), thread.join().unwrap()];
        assert!(charges.iter().all(|charge| matches!(charge, Charge::Paid(_))), "{charges:?}");
        assert_eq!((owed(&slots, 1), owed(&slots, 2)), ((1, COST), (1, COST)));
        assert_eq!(slots.load(0), taken);
    });
}

/// A slot whose bucket is full changes its owner while its former owner comes back.
#[test]
fn a_slot_that_changes_its_owner_is_never_charged_for_the_other() {
    check(|| {
        let taken = Word::bucket(tag(9), NOW + 5);
        let slots = Arc::new(Model::<1>::new(&[Word::bucket(tag(1), NOW), taken, Word::FREE]));
        let other = slots.clone();
        let thread = thread::spawn(move || pay(&other, 2, 1, 1));
        let charges = [pay(&slots, 1, 2, 1), thread.join().unwrap()];
        assert!(charges.iter().all(|charge| matches!(charge, Charge::Paid(_))), "{charges:?}");
        assert_eq!((owed(&slots, 1), owed(&slots, 2)), ((1, COST), (1, COST)));
    });
}

/// Two threads at the last token of a bucket.
#[test]
fn the_last_token_is_taken_once() {
    check(|| {
        let slots = Arc::new(Model::<1>::new(&[Word::bucket(tag(1), NOW + COST), Word::FREE, Word::FREE]));
        let other = slots.clone();
        let thread = thread::spawn(move || pay(&other, 1, 1, 2));
        let charges = [pay(&slots, 1, 2, 2), thread.join().unwrap()];
        assert_eq!(charges.iter().filter(|charge| matches!(charge, Charge::Paid(_))).count(), 1);
        assert_eq!(owed(&slots, 1), (1, 2 * COST));
    });
}

#[test]
fn a_mark_that_nobody_completes_is_thrown_out() {
    loom::model(|| {
        let slots = Model::<1>::new(&[Word::pending(tag(1), 5), Word::bucket(tag(9), NOW + 5), Word::FREE]);
        assert_eq!(pay(&slots, 1, 1, 1), Charge::Paid(NOW + COST));
        assert_eq!(owed(&slots, 1), (1, COST));
    });
}

#[test]
fn the_reserve_is_used_last_and_then_there_is_no_room() {
    loom::model(|| {
        let slots = Model::<1>::new(&[Word::FREE; 3]);
        for client in 1..=3 {
            assert_eq!(pay(&slots, client, client.into(), 1), Charge::Paid(NOW + COST));
            assert_eq!(slots.is_reserve_open(), client == 3);
        }
        assert_eq!(pay(&slots, 4, 4, 1), Charge::NoRoom);
        for client in 1..=3 {
            assert_eq!(pay(&slots, client, client.into(), 1), Charge::Refused(NOW + COST, ()));
        }
    });
}
