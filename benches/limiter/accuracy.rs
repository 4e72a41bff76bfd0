//! How right the decisions are: well-behaved clients beside a flood.
//!
//! Each of N clients sends at 80 % of its limit, evenly, and one more sends a hundred times as much as it may. Whoever
//! of the N is refused is innocent; whatever the flood gets beyond burst + rate · T is too much. Times are simulated
//! where the contender lets them be; the sketch goes by the system's clock, so for it the same requests are sent in real
//! time, as far as one thread can.

use std::thread;
use std::time::Duration;

use gateway::clock::Clock;

use crate::contenders::{Contender, Governor, Ours, Sketch, Terms};

/// The flood's number.
const FLOOD: u32 = u32::MAX;

/// Seconds that are played.
const SECONDS: u32 = 4;

pub(crate) fn run() {
    println!("\nN clients at 80 % of their limit beside a flood of 100 × its limit, for {SECONDS} s:");
    println!("innocents refused (requests), and the flood's requests beyond burst + rate · T");
    println!("| N | limit | gateway | governor | pingora Rate |");
    println!("| --- | --- | --- | --- | --- |");
    // Together about 400,000 requests a second, which one thread can send.
    for (clients, rate) in [(100, 5000), (1_000, 500), (10_000, 50), (100_000, 5), (1_000_000, 1)] {
        // At a million clients a real second is too short for them all: there each comes every third second.
        let per_second = if clients == 1_000_000 { 1.0 / 3.0 } else { f64::from(rate) * 0.8 };
        let terms = Terms { period: Duration::from_secs(1) / rate, burst: rate };
        let ours = Ours::new(1, usize::try_from(clients).unwrap() + 1, terms);
        let cells = [
            simulated(&ours, clients, per_second, terms),
            simulated(&Governor::new(terms), clients, per_second, terms),
            real(&Sketch::new(terms), clients, per_second, terms),
        ];
        println!("| {clients} | {rate}/s | {} | {} | {} |", cells[0], cells[1], cells[2]);
    }
}

/// The requests of all clients in the order of their times, each with its time in nanoseconds.
fn requests(clients: u32, per_second: f64, flood_per_second: u32) -> impl Iterator<Item = (u32, u64)> {
    let interval = (1e9 / per_second) as u64;
    let end = u64::from(SECONDS) * 1_000_000_000;
    // Client i starts at its share of the interval: in each interval everybody comes once, in the same order.
    let innocent = (0..end.div_ceil(interval)).flat_map(move |round| {
        (0..clients)
            .map(move |client| (client, round * interval + interval * u64::from(client) / u64::from(clients)))
    });
    let pause = 1_000_000_000 / u64::from(flood_per_second);
    let mut innocent = innocent.take_while(move |(_, at)| *at < end).peekable();
    let mut flood = (0..end / pause).map(move |n| (FLOOD, n * pause)).peekable();
    std::iter::from_fn(move || match (innocent.peek(), flood.peek()) {
        (Some((_, a)), Some((_, b))) if a <= b => innocent.next(),
        (_, Some(_)) => flood.next(),
        (_, None) => innocent.next(),
    })
}

#[derive(Default)]
struct Outcome {
    innocents: u64,
    refused: u64,
    flood_admitted: u64,
}

impl Outcome {
    fn note(&mut self, client: u32, admitted: bool) {
        match client {
            FLOOD => self.flood_admitted += u64::from(admitted),
            _ => {
                self.innocents += 1;
                self.refused += u64::from(!admitted);
            }
        }
    }

    fn tell(&self, terms: Terms, seconds: f64) -> String {
        let allowed = f64::from(terms.burst) + seconds / terms.period.as_secs_f64();
        let beyond = (self.flood_admitted as f64 - allowed).max(0.0).floor();
        format!("{} of {}; {beyond}", self.refused, self.innocents)
    }
}

fn flood_per_second(terms: Terms) -> u32 {
    100 * terms.burst.min(1000)
}

fn simulated(contender: &dyn Contender, clients: u32, per_second: f64, terms: Terms) -> String {
    let (mut outcome, mut decide) = (Outcome::default(), contender.user());
    for (client, at) in requests(clients, per_second, flood_per_second(terms)) {
        outcome.note(client, decide(client, at));
    }
    outcome.tell(terms, f64::from(SECONDS))
}

fn real(contender: &dyn Contender, clients: u32, per_second: f64, terms: Terms) -> String {
    let (mut outcome, mut decide) = (Outcome::default(), contender.user());
    let clock = Clock::monotonic();
    let start = clock.now();
    for (client, at) in requests(clients, per_second, flood_per_second(terms)) {
        let due = start.after(Duration::from_nanos(at));
        // A request is sent when it is due, or as soon after as this thread gets to it.
        let early = due.since(clock.now());
        if early > Duration::from_millis(1) {
            thread::sleep(early);
        }
        outcome.note(client, decide(client, clock.now().since(start).as_nanos() as u64));
    }
    outcome.tell(terms, clock.now().since(start).as_secs_f64())
}
