//! Request smuggling: whatever a client writes, the gateway and the upstream have one opinion of where a request ends.
//!
//! `tests/fixtures/smuggling/TOPIC.http1` has cases, each the bytes of a connection, and `TOPIC.http2` the fields and the body of a
//! stream. Behind each comes a decent request of somebody else. `TOPIC.http1.expected` has, for each, what the client got and what
//! the upstream received, to the byte; a request that it
//! has not received whole is none. `UPDATE_EXPECTED=1 cargo test --test main smuggling` writes these files anew: read the
//! difference.

mod peers;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use self::peers::Bystander;
use self::text::{cases, escape};
use crate::support::gateway::Gateway;

/// The files of one kind.
fn files(extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smuggling");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// Runs every case, and compares what happens with what is expected.
#[track_caller]
fn check(extension: &str, at_least: usize, run: impl Fn(&Gateway, &str) -> Vec<u8>) {
    let upstream = Bystander::start();
    let gateway = Gateway::start(&crate::support::to_upstream(upstream.address(), ""));
    let (mut seen, mut differences) = (0, String::new());
    for path in files(extension) {
        let mut found = String::new();
        for (name, input) in cases(&fs::read_to_string(&path).unwrap()) {
            seen += 1;
            let answer = run(&gateway, &input);
            let tidy = |bytes: &[u8]| escape(bytes, upstream.address());
            found += &format!("--- {name}\nthe client got:\n{}", tidy(&answer));
            match upstream.received().as_slice() {
                [] => found += "the upstream received no request\n",
                connections => {
                    for bytes in connections {
                        found += &format!("the upstream received:\n{}", tidy(bytes));
                    }
                }
            }
        }
        let expected_path = path.with_extension(format!("{extension}.expected"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected_path, found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            differences +=
                &format!("{} has\n{expected}\nbut this was found:\n{found}\n", expected_path.display());
        }
    }
    assert!(seen >= at_least, "only {seen} cases");
    assert!(differences.is_empty(), "{differences}if that is better, run again with UPDATE_EXPECTED=1");
}

#[test]
fn over_http1() {
    check("http1", 60, |gateway, input| peers::http1(gateway, &text::unescape(input)));
}

#[test]
fn over_http2() {
    check("http2", 20, peers::http2);
}
