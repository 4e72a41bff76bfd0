//! What a decision takes.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use gateway::clock::Clock;

use crate::contenders::{Contender, Governor, OneLook, Ours, Sketch, Terms};

/// Turns of each contender.
const TURNS: usize = 7;

/// Decisions in a turn of a thread.
const DECISIONS: u32 = 1_000_000;

/// Admitted always, and every bucket stays in debt while the benchmark runs.
const ADMITTED: Terms = Terms { period: Duration::from_secs(60), burst: 1_000_000 };

/// Refused from the second on.
const REFUSED: Terms = Terms { period: Duration::from_secs(86_400), burst: 1 };

/// Which clients come.
#[derive(Clone, Copy)]
enum Keys {
    /// Any of so many, in no order that a cache could guess.
    Uniform(u32),
    /// The same one, always.
    Hot,
}

impl Keys {
    fn count(self) -> u32 {
        match self {
            Self::Uniform(count) => count,
            Self::Hot => 1,
        }
    }
}

/// Numbers in no order that a cache could guess (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, count: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((u64::from(count) * (self.0 >> 32)) >> 32).unwrap()
    }
}

/// Nanoseconds: lowest, median, highest.
#[derive(Clone, Copy)]
struct Figure {
    lowest: f64,
    median: f64,
    highest: f64,
}

/// Compares with each number of clients, or with this one only.
pub(crate) fn run(only: Option<u32>) {
    let cores = u32::try_from(thread::available_parallelism().unwrap().get()).unwrap();
    println!(
        "nanoseconds for a decision: median (lowest–highest) of {TURNS} turns of {DECISIONS} decisions a thread"
    );
    println!(
        "| clients | threads | answer | limits | gateway | governor | pingora Rate | one look | gateway : governor |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let wanted = |clients: &u32| only.is_none_or(|only| only == *clients);
    for clients in [1_000, 1_000_000, 10_000_000].into_iter().filter(wanted) {
        let keys = Keys::Uniform(clients);
        for threads in [1, cores] {
            compare(keys, threads, 1, ADMITTED, "admitted");
        }
        compare(keys, 1, 1, REFUSED, "refused");
    }
    if wanted(&1) {
        for threads in [1, cores] {
            compare(Keys::Hot, threads, 1, ADMITTED, "admitted");
        }
        compare(Keys::Hot, 1, 1, REFUSED, "refused");
    }
    for clients in [1_000, 1_000_000].into_iter().filter(wanted) {
        compare(Keys::Uniform(clients), 1, 4, ADMITTED, "admitted");
    }
}

fn compare(keys: Keys, threads: u32, limits: usize, terms: Terms, answer: &str) {
    let room = usize::try_from(keys.count()).unwrap();
    let contenders: Vec<Box<dyn Contender>> = match limits {
        1 => vec![
            Box::new(Ours::new(1, room, terms)),
            Box::new(Governor::new(terms)),
            Box::new(Sketch::new(terms)),
            Box::new(OneLook::new(room)),
        ],
        // The others know one limit at a time.
        _ => vec![Box::new(Ours::new(limits, room, terms))],
    };
    for contender in &contenders {
        let mut decide = contender.user();
        for client in 0..keys.count() {
            black_box(decide(client, 0));
        }
    }
    let mut turns = vec![Vec::new(); contenders.len()];
    for turn in 0..TURNS {
        for (contender, times) in contenders.iter().zip(&mut turns) {
            times.push(turn_of(contender.as_ref(), keys, threads, turn));
        }
    }
    let figures: Vec<_> = turns.into_iter().map(figure).collect();
    let cell = |index: usize| {
        let figure = figures.get(index);
        figure.map_or("–".to_owned(), |f| format!("{:.0} ({:.0}–{:.0})", f.median, f.lowest, f.highest))
    };
    let ratio = figures
        .get(1)
        .map_or("–".to_owned(), |governor| format!("{:.2}", figures[0].median / governor.median));
    let clients = match keys {
        Keys::Uniform(count) => count.to_string(),
        Keys::Hot => "1, hot".to_owned(),
    };
    println!(
        "| {clients} | {threads} | {answer} | {limits} | {} | {} | {} | {} | {ratio} |",
        cell(0),
        cell(1),
        cell(2),
        cell(3)
    );
}

/// Nanoseconds for a decision, over all threads: with two threads that do not hinder each other it is half.
fn turn_of(contender: &dyn Contender, keys: Keys, threads: u32, turn: usize) -> f64 {
    let (clock, barrier) = (Clock::monotonic(), Barrier::new(usize::try_from(threads).unwrap()));
    let work = |thread: u32| {
        let mut decide = contender.user();
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (u64::from(thread + 1) << 32) ^ turn as u64);
        barrier.wait();
        let start = clock.now();
        for n in 0..DECISIONS {
            // A microsecond between one and the next.
            black_box(decide(random.below(keys.count()), u64::from(n) * 1000));
        }
        clock.now().since(start)
    };
    let longest = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    });
    longest.as_secs_f64() * 1e9 / f64::from(DECISIONS) / f64::from(threads)
}

fn figure(mut turns: Vec<f64>) -> Figure {
    turns.sort_by(f64::total_cmp);
    Figure { lowest: turns[0], median: turns[turns.len() / 2], highest: turns[turns.len() - 1] }
}
