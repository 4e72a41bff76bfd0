//! What a client takes: the resident memory of a process of its own, before and after.

use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use gateway::clock::Timestamp;
use gateway::limit::Reservation;

use crate::contenders::{Contender, Governor, Ours, Sketch, Terms};

const TERMS: Terms = Terms { period: Duration::from_secs(3600), burst: 10 };

/// Distinct addresses of the flood.
const FLOOD: u32 = 50_000_000;

pub(crate) fn run() {
    println!("\nresident memory, measured from the process: bytes for each of the clients, all in debt");
    println!("| clients | gateway | without a slot of their own | governor | pingora Rate |");
    println!("| --- | --- | --- | --- | --- |");
    for clients in ["1000000", "10000000"] {
        let of = |contender| child(&["resident", contender, clients]);
        println!("| {clients} | {} | {} | {} |", of("gateway"), of("governor"), of("pingora Rate"));
    }
    println!(
        "\n{FLOOD} distinct addresses against a limit made for 1000000: {}",
        child(&["resident-of-a-flood"])
    );
}

fn child(arguments: &[&str]) -> String {
    let output = Command::new(env::current_exe().unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Prints what the clients take.
pub(crate) fn resident(contender: &str, clients: u32) {
    let before = resident_bytes();
    let per_client = |after: u64| format!("{:.1}", (after - before) as f64 / f64::from(clients));
    let bring = |contender: &dyn Contender| {
        let mut decide = contender.user();
        (0..clients).for_each(|client| assert!(decide(client, 0)));
        per_client(resident_bytes())
    };
    match contender {
        "gateway" => {
            let ours = Ours::new(1, usize::try_from(clients).unwrap(), TERMS);
            println!("{} | {} of {clients}", bring(&ours), ours.overflowed());
        }
        "governor" => println!("{}", bring(&Governor::new(TERMS))),
        _ => {
            // It refuses the innocent, so nobody asks what it says.
            let sketch = Sketch::new(TERMS);
            let mut decide = sketch.user();
            for client in 0..clients {
                let _: bool = decide(client, 0);
            }
            println!("{}", per_client(resident_bytes()));
        }
    }
}

/// Prints the memory after the first address, after as many as there is room for, and after all.
pub(crate) fn resident_of_a_flood() {
    let ours = Ours::new(1, 1_000_000, TERMS);
    let mut reservation = Reservation::default();
    let mut mebibytes = Vec::new();
    for client in 0..FLOOD {
        // A thousand new addresses a millisecond.
        ours.decide_at(client, Timestamp::from_nanos(u64::from(client) * 1000), &mut reservation);
        if [1, 1_000_000, FLOOD].contains(&(client + 1)) {
            mebibytes.push(format!(
                "{:.1} MiB after {}",
                resident_bytes() as f64 / f64::from(1 << 20),
                client + 1
            ));
        }
    }
    println!("{}", mebibytes.join(", "));
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
