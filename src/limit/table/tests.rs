//! Many buckets in fixed memory.

use super::*;
use crate::limit::key::fingerprint_of as client;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn table(count: u64, burst: u64, max_clients: usize) -> Table {
    Table::new(Quota::new(count, SECOND, burst).unwrap(), max_clients)
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn admitted(answer: Answer) -> bool {
    answer.verdict.is_ok()
}

/// An origin that nobody is asked for.
fn anywhere() -> Option<Origin> {
    None
}

#[test]
fn clients_do_not_share() {
    let table = table(1, 1, 100);
    assert!(admitted(table.take(client(1), 1, at(0), anywhere)));
    assert!(!admitted(table.take(client(1), 1, at(0), anywhere)));
    assert!(admitted(table.take(client(2), 1, at(0), anywhere)));
}

#[test]
fn looking_takes_nothing_and_refusing_keeps_nothing() {
    let table = table(1, 1, 100);
    for _ in 0..3 {
        assert_eq!(table.look(client(1), at(0), anywhere), Bucket::FULL);
        assert!(!admitted(table.take(client(1), 2, at(0), anywhere)));
    }
    assert_eq!(table.clients(at(0)), 0);
    assert!(admitted(table.take(client(1), 1, at(0), anywhere)));
}

#[test]
fn threads_that_race_for_the_last_tokens_get_exactly_those() {
    let table = table(1, 1000, 100);
    let take = || (0..1000).filter(|_| admitted(table.take(client(7), 1, at(0), anywhere))).count();
    let taken: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 1000);
}

/// Fills a table with clients in debt until one finds no room; says how many found some.
fn fill(table: &Table, first: u64, now: Timestamp) -> u64 {
    let filled =
        (first..).find(|&id| table.take(client(id), 1, now, anywhere).place == Place::Overflow).unwrap();
    filled - first
}

#[test]
fn a_full_table_forgets_no_debt_and_lets_newcomers_share() {
    let table = table(1, 1, 1000);
    let own = fill(&table, 0, at(0));
    assert!(own >= 1000, "{own}");
    let shared: Vec<_> = (100_000..120_000).map(|id| table.take(client(id), 1, at(0), anywhere)).collect();
    let without_room = shared.iter().filter(|answer| answer.place == Place::Overflow).count();
    let admitted =
        shared.iter().filter(|answer| answer.place == Place::Overflow && answer.verdict.is_ok()).count();
    assert!(without_room > 19_000, "{without_room}");
    assert!(admitted < table.overflow.len(), "each overflow bucket has one token, and one is spent");
    assert_eq!(table.overflowed(), u64::try_from(without_room).unwrap() + 1);
    for id in 0..own {
        assert!(!admitted_now(&table, id), "client {id} still owes");
    }
    assert_eq!(table.slots.words().filter(|word| word.is_free(0)).count(), 0);
}

fn admitted_now(table: &Table, id: u64) -> bool {
    admitted(table.take(client(id), 1, at(0), anywhere))
}

#[test]
fn a_table_has_room_for_as_many_clients_as_it_is_made_for() {
    for max_clients in [1, 2, 10, 100, 1000, 10_000, 300_000] {
        let table = table(1, 1, max_clients);
        let clients = u64::try_from(max_clients).unwrap();
        for id in 0..clients {
            assert!(admitted(table.take(client(id), 1, at(0), anywhere)));
        }
        assert_eq!(table.overflowed(), 0, "of {max_clients}");
        assert_eq!(table.clients(at(0)), max_clients);
    }
}

#[test]
fn a_bucket_that_is_full_again_makes_room() {
    let table = table(1, 1, 1000);
    let mut next = 0;
    for second in 0..3 {
        let now = at(second * 1_000_000_000);
        assert_eq!(table.clients(now), 0);
        let own = fill(&table, next, now);
        assert!(own >= 1000, "{own}");
        next += own + 1;
    }
}

#[test]
fn memory_stays_as_it_is_whoever_comes() {
    let table = table(1, 1, 1000);
    let slots = table.slots.len();
    for id in 0..200_000 {
        table.take(client(id), 1, at(id * 1000), anywhere);
    }
    assert_eq!(table.slots.len(), slots);
    // A client is in debt for a second, in which a million come by: as many as there are slots have one.
    assert_eq!(table.clients(at(200_000_000)), slots);
}

#[test]
fn two_clients_never_have_the_same_bucket() {
    let table = table(1, 1_000_000, 2000);
    for id in 0..2000_u64 {
        table.take(client(id), u32::try_from(id).unwrap() + 1, at(0), anywhere);
    }
    for id in 0..2000_u64 {
        let left = table.look(client(id), at(0), anywhere).level(table.quota(), at(0)).tokens;
        assert_eq!(u64::from(left), 1_000_000 - id - 1);
    }
}

/// Threads bring the same new clients at once, into a table in which others come and go: each client has one
/// bucket, or more would be admitted.
#[test]
fn newcomers_who_race_for_slots_get_one_bucket_each() {
    const THREADS: usize = 4;
    for round in 0..20 {
        let table = table(1, 3, 60);
        let barrier = Barrier::new(THREADS);
        let run = |thread: usize| {
            let mut taken = vec![0; 60];
            barrier.wait();
            for step in 0..600_u64 {
                // Everybody passes by the same clients, each in another order.
                let id = step * [1, 7, 11, 13][thread] % 60;
                let answer = table.take(client(round * 1000 + id), 1, at(0), anywhere);
                if answer.place == Place::Own {
                    taken[usize::try_from(id).unwrap()] += u32::from(admitted(answer));
                }
            }
            taken
        };
        let taken: Vec<Vec<u32>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for id in 0..60 {
            assert_eq!(taken.iter().map(|taken| taken[id]).sum::<u32>(), 3, "client {id}");
        }
    }
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let table = table(1, 2, 10);
    assert!(admitted(table.take(client(1), 2, at(0), anywhere)));
    table.refund(client(1), 1, at(0), Place::Own);
    assert!(admitted(table.take(client(1), 1, at(0), anywhere)));
    assert!(!admitted(table.take(client(1), 1, at(0), anywhere)));
}

#[test]
fn what_is_taken_in_any_case_becomes_a_debt() {
    let table = table(1, 2, 10);
    table.owe(client(1), 5, at(0), anywhere);
    assert_eq!(table.look(client(1), at(0), anywhere).level(table.quota(), at(0)).full_in, 5 * SECOND);
    assert_eq!(table.take(client(1), 1, at(0), anywhere).verdict, Err(Wait(4 * SECOND)));
    assert!(admitted(table.take(client(1), 1, at(4_000_000_000), anywhere)));
}

#[test]
fn without_room_a_debt_is_shared_as_well() {
    let table = table(1, 4, 1000);
    fill(&table, 0, at(0));
    let newcomer =
        (100_000..).find(|&id| table.take(client(id), 0, at(0), anywhere).place == Place::Overflow);
    let newcomer = client(newcomer.unwrap());
    let full_in = || table.look(newcomer, at(0), anywhere).level(table.quota(), at(0)).full_in;
    let before = full_in();
    table.owe(newcomer, 9, at(0), anywhere);
    assert_eq!(full_in(), before + 9 * SECOND);
    table.refund(newcomer, 1, at(0), Place::Overflow);
    assert_eq!(full_in(), before + 8 * SECOND);
}

#[test]
fn a_table_that_succeeds_another_takes_its_debts_over() {
    let old = Arc::new(table(10, 10, 100));
    old.take(client(1), 5, at(0), anywhere);
    old.take(client(2), 10, at(0), anywhere);
    let new = Table::succeeding(Quota::new(10, SECOND, 20).unwrap(), 1000, &old, at(0));
    let left = |table: &Table, id, now| {
        table.look(client(id), at(now), anywhere).level(table.quota(), at(now)).tokens
    };
    assert_eq!([1, 2, 3].map(|id| left(&new, id, 0)), [10, 0, 20]);
    assert_eq!(
        new.take(client(2), 1, at(0), anywhere).verdict,
        Err(Wait(SECOND / 10)),
        "refused, and not brought over"
    );
    assert_eq!(new.clients(at(0)), 2);
    assert!(admitted(new.take(client(1), 4, at(0), anywhere)));
    assert_eq!((left(&new, 1, 0), left(&old, 1, 0)), (6, 10), "brought over, and left behind full");
    assert_eq!(new.clients(at(0)), 2);
    // What is full again in the new table brings nothing over twice.
    assert_eq!(left(&new, 1, 1_400_000_000), 20);
    new.owe(client(2), 1, at(0), anywhere);
    drop(old);
    new.tidy_predecessors(at(0));
    assert!(!new.predecessor.is_there());
    assert_eq!(new.take(client(2), 1, at(0), anywhere).verdict, Err(Wait(SECOND / 5)));
}

#[test]
fn what_is_charged_to_a_former_table_after_the_takeover_is_not_lost() {
    let quota = Quota::new(1, SECOND, 1000).unwrap();
    let first = Arc::new(table(1, 2000, 100));
    let second = Arc::new(Table::succeeding(Quota::new(2, SECOND, 2000).unwrap(), 100, &first, at(0)));
    let third = Table::succeeding(quota, 100, &second, at(0));
    let left = || third.look(client(1), at(0), anywhere).level(&quota, at(0)).tokens;
    assert!(admitted(second.take(client(1), 200, at(0), anywhere)));
    assert!(admitted(third.take(client(1), 1, at(0), anywhere)));
    // A debt that is brought over is rounded up, by less than a token.
    assert_eq!(left(), 898);
    // Requests that began before the reload are answered, and their answers name a cost.
    second.owe(client(1), 100, at(0), anywhere);
    first.owe(client(1), 40, at(0), anywhere);
    assert!(admitted(third.take(client(1), 1, at(0), anywhere)));
    assert_eq!(left(), 827, "50 and 20 of a thousand come over");
    assert!(admitted(third.take(client(1), 1, at(0), anywhere)));
    assert_eq!(left(), 826, "and only once");
}

#[test]
fn threads_of_both_sides_of_a_reload_lose_no_charge_and_count_none_twice() {
    const EACH: u32 = 2000;
    for _ in 0..20 {
        let old = Arc::new(table(1, 100_000, 100));
        old.owe(client(1), 100, at(0), anywhere);
        let quota = Quota::new(2, SECOND, 100_000).unwrap();
        let new = Table::succeeding(quota, 100, &old, at(0));
        let (before, start) = (&*old, &Barrier::new(4));
        thread::scope(|scope| {
            for table in [before, before, &new, &new] {
                scope.spawn(move || {
                    start.wait();
                    (0..EACH).for_each(|_| assert!(admitted(table.take(client(1), 1, at(0), anywhere))));
                });
            }
        });
        // Takes over what was charged to the old table last.
        assert!(admitted(new.take(client(1), 1, at(0), anywhere)));
        let left = new.look(client(1), at(0), anywhere).level(&quota, at(0)).tokens;
        // What is brought over is rounded up, by less than a token in all.
        let taken = 100 + 4 * EACH + 1;
        assert!([taken, taken + 1].contains(&(100_000 - left)), "{} of {taken}", 100_000 - left);
    }
}

#[test]
fn many_tables_in_a_row_keep_a_debt_and_not_each_other() {
    let mut last = Arc::new(table(1, 1000, 100));
    last.take(client(1), 1000, at(0), anywhere);
    for burst in (1..=MAX_PREDECESSORS as u64).map(|n| 1000 * n) {
        last = Arc::new(Table::succeeding(Quota::new(1, SECOND, burst).unwrap(), 100, &last, at(0)));
        assert!(!admitted(last.take(client(1), 1, at(0), anywhere)));
        // Without a debt of its own it would be dropped.
        last.take(client(burst), 1, at(0), anywhere);
    }
    assert_eq!(last.predecessor.depth(), MAX_PREDECESSORS);
    assert!(!admitted(last.take(client(2000), 32_000, at(0), anywhere)), "that of the second is still known");
    last = Arc::new(Table::succeeding(*last.quota(), 100, &last, at(0)));
    assert_eq!(last.predecessor.depth(), MAX_PREDECESSORS);
    assert!(admitted(last.take(client(1), 1, at(0), anywhere)), "the oldest is forgotten");
    assert!(!admitted(last.take(client(2000), 32_000, at(0), anywhere)), "and no other");
}

#[test]
fn a_former_table_shrinks_to_its_debts() {
    let quota = |burst| Quota::new(1, SECOND, burst).unwrap();
    let old = Arc::new(table(1, 100, 10_000));
    for id in 0..300 {
        old.take(client(id), 10 + u32::try_from(id % 40).unwrap(), at(0), anywhere);
    }
    let new = Table::succeeding(quota(200), 5000, &old, at(0));
    let room = |table: &Table| table.predecessor.room().0;
    new.tidy_predecessors(at(0));
    assert_eq!(room(&new), old.slots.len(), "a request may hold it still");
    drop(old);
    new.tidy_predecessors(at(0));
    assert_eq!(room(&new), 300);
    let left = |table: &Table, id, now| {
        table.look(client(id), at(now), anywhere).level(table.quota(), at(now)).tokens
    };
    for id in 0..300 {
        let share = 200 - 2 * (10 + u32::try_from(id % 40).unwrap());
        assert!((share - 1..=share).contains(&left(&new, id, 0)), "{id}");
    }
    assert_eq!(left(&new, 1000, 0), 200);
    // Whoever comes leaves nothing behind, and who owes nothing any more is not kept.
    for id in 0..100 {
        new.take(client(id), 1, at(0), anywhere);
    }
    assert_eq!(new.clients(at(0)), 300);
    for seconds in [25, 45] {
        new.tidy_predecessors(at(seconds * 1_000_000_000));
        assert_eq!(room(&new) as u64, (100..300).filter(|id| id % 40 + 10 > seconds).count() as u64);
    }
    new.tidy_predecessors(at(60_000_000_000));
    assert!(!new.predecessor.is_there());
}

#[test]
fn what_changes_while_a_table_shrinks_is_not_lost() {
    let old = Arc::new(table(1, 100, 1000));
    (0..20).for_each(|id| old.owe(client(id), 10, at(0), anywhere));
    let debts: Vec<_> = old.words_in_debt(at(0)).collect();
    let copy = debts.iter().copied();
    let compact =
        CompactTable::new(*old.quota(), 1000, copy, &old.overflow_words(), Predecessor::default()).unwrap();
    old.reset(client(3), at(0));
    compact.take_out(client(4), at(0));
    compact.catch_up(&debts, |slot| old.word(slot));
    let owing: Vec<u64> =
        (0..20).filter(|id| !compact.look(client(*id), at(0)).is_full(old.quota(), at(0))).collect();
    assert!(owing.len() == 18 && !owing.contains(&3) && !owing.contains(&4), "{owing:?}");
}

#[test]
fn tables_full_of_debts_do_not_pile_up() {
    let mut last = Arc::new(table(1, 1000, 1000));
    let fill = |table: &Table, round: u64| {
        for id in 0..1500 {
            table.take(client(round * 10_000 + id), 1000, at(0), anywhere);
        }
    };
    fill(&last, 0);
    for round in 1..12 {
        last = Arc::new(Table::succeeding(Quota::new(1, SECOND, 1000 + round).unwrap(), 1000, &last, at(0)));
        assert!(last.predecessor.room().0 <= MAX_ROOM * last.slots.len());
        assert!(!admitted(last.take(client((round - 1) * 10_000), 1000, at(0), anywhere)), "{round}");
        fill(&last, round);
    }
    assert_eq!(last.predecessor.depth(), MAX_ROOM);
}

#[test]
fn a_table_that_a_request_still_holds_is_not_dropped() {
    let first = Arc::new(table(1, 10, 100));
    first.take(client(1), 5, at(0), anywhere);
    let quota = |burst| Quota::new(1, SECOND, burst).unwrap();
    let held = Arc::new(Table::succeeding(quota(20), 100, &first, at(0)));
    drop(first);
    let last = Table::succeeding(quota(40), 100, &held, at(0));
    last.tidy_predecessors(at(0));
    // The request is answered, and brings the debt with it.
    held.owe(client(1), 5, at(0), anywhere);
    assert_eq!(
        last.look(client(1), at(0), anywhere).level(last.quota(), at(0)).tokens,
        10,
        "15 of 20 are missing"
    );
}

#[test]
fn a_table_without_debts_is_dropped_between_others() {
    let first = Arc::new(table(1, 10, 100));
    first.take(client(1), 5, at(0), anywhere);
    let tables = [20, 30, 40].into_iter().fold(first, |before, burst| {
        Arc::new(Table::succeeding(Quota::new(1, SECOND, burst).unwrap(), 100, &before, at(0)))
    });
    assert_eq!(tables.predecessor.depth(), 2, "the one in the middle had none when the last came");
    tables.tidy_predecessors(at(0));
    assert_eq!(tables.predecessor.depth(), 1);
    assert_eq!(
        Table::look(&tables, client(1), at(0), anywhere).level(tables.quota(), at(0)).tokens,
        20,
        "half of its bucket"
    );
    tables.tidy_predecessors(at(5_000_000_000));
    assert_eq!(tables.predecessor.depth(), 0);
    assert!(!tables.predecessor.is_there());
}

#[test]
fn a_bucket_that_is_reset_is_full() {
    let table = table(1, 2, 10);
    table.owe(client(1), 5, at(0), anywhere);
    table.reset(client(1), at(0));
    assert_eq!(table.clients(at(0)), 0);
    assert!(admitted(table.take(client(1), 2, at(0), anywhere)));
    table.reset(client(2), at(0));
    assert_eq!(table.clients(at(0)), 1);
}

/// A newcomer of an origin.
fn newcomer(table: &Table, id: u64, origin: u64, now: Timestamp) -> Place {
    table.take(client(id), 1, now, || Some(Origin::of(origin))).place
}

#[test]
fn whoever_floods_with_new_keys_leaves_room_for_others() {
    const MADE_FOR: usize = 10_000;
    for flooding in [1, 10, 100] {
        // A minute for each debt.
        let table = Table::new(Quota::new(1, 60 * SECOND, 10).unwrap(), MADE_FOR);
        let in_debt = |id| !table.look(client(id), at(0), anywhere).is_full(table.quota(), at(0));
        for id in 0..1000 {
            assert_eq!(newcomer(&table, id, 1_000_000 + id, at(0)), Place::Own);
        }
        let flood = |id: u64| newcomer(&table, 10_000 + id, id % flooding, at(id * 25_000));
        let own = (0..200_000).filter(|id| flood(*id) == Place::Own).count();
        assert!((MADE_FOR - 1000..SLOTS_LEFT_TO_FLOODS).contains(&own), "{flooding}: {own}");
        // Others come when it is at its worst: each with a key, or an office with ten.
        let later = at(5_000_000_000);
        let found_room = |id: u64| newcomer(&table, 1_000_000 + id, 2_000_000 + id / 10, later) == Place::Own;
        let without = (0..1000).filter(|id| !found_room(*id)).count();
        assert!(without <= 10, "{flooding}: {without}");
        assert!((0..1000).all(in_debt), "no debt was given up");
    }
    /// Three quarters of the slots, and what few origins may have on top.
    const SLOTS_LEFT_TO_FLOODS: usize = MADE_FOR * 7 / 4 * 3 / 4 + 2000;
}

#[test]
fn a_look_tells_what_would_become_of_a_newcomer() {
    let table = Table::new(Quota::new(1, 3600 * SECOND, 1).unwrap(), 64);
    let flood = || Some(Origin::of(1));
    let mut id = 0;
    let shared = loop {
        id += 1;
        let answer = table.take(client(id), 1, at(0), flood);
        if answer.place == Place::Overflow && !admitted(answer) {
            break client(id);
        }
    };
    assert!(!table.look(shared, at(0), flood).is_full(table.quota(), at(0)), "it would share");
    assert!(table.look(shared, at(0), || Some(Origin::of(2))).is_full(table.quota(), at(0)));
}

#[test]
fn a_debt_of_before_a_reload_holds_where_there_is_no_room() {
    let (first, now) = (Arc::new(table(1, 5, 64)), at(0));
    assert!(admitted(first.take(client(1), 5, now, anywhere)));
    let second = Table::succeeding(Quota::new(1, SECOND, 6).unwrap(), 64, &first, now);
    // Every slot is another's, and the shared bucket is full.
    let newcomers = (1000..).take_while(|&id| second.take(client(id), 1, now, anywhere).place == Place::Own);
    let filled = newcomers.count() as u64;
    for id in 2000 + filled..6000 {
        second.take(client(id), 1, now, anywhere);
    }
    for bucket in &second.overflow {
        bucket.change(|_| Bucket::FULL);
    }
    let answer = second.take(client(1), 1, now, anywhere);
    assert_eq!((answer.place, admitted(answer)), (Place::Own, false));
    assert!(!admitted(Answer {
        verdict: second.look(client(1), now, anywhere).take(second.quota(), now, 1).map(drop),
        ..answer
    }));
}
