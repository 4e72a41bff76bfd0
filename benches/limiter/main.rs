//! What a decision of the limiter costs, in time and memory, and how right it is, beside two crates that one might use
//! instead: `governor`, whose keyed limiter is a concurrent map, and `pingora-limits`, whose `Rate` is a sketch.
//!
//! `make bench-limiter` runs it. All contenders decide about the same keys in the same run, in turns; each figure is
//! the median of several turns, with the lowest and the highest. Memory is measured in processes of their own.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends when something is wrong, and prints"
)]

mod accuracy;
mod contenders;
mod memory;
mod speed;

use std::env;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // What `memory` runs in a process of its own.
        ["resident", contender, clients] => memory::resident(contender, clients.parse().unwrap()),
        ["resident-of-a-flood"] => memory::resident_of_a_flood(),
        [] => {
            speed::run(None);
            memory::run();
            accuracy::run();
        }
        ["speed"] => speed::run(None),
        ["speed", clients] => speed::run(Some(clients.parse().unwrap())),
        ["memory"] => memory::run(),
        ["accuracy"] => accuracy::run(),
        other => panic!(
            "unknown: {other:?}; leave it out, or name speed (and a number of clients), memory or accuracy"
        ),
    }
}
