//! What a newcomer types first: a file to start from, a gateway without a file, and reloading and stopping it by its name.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use crate::support::gateway::Gateway;
use crate::support::program::run_in;
use crate::support::upstream::RawUpstream;

const ANSWER: &str = "[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

#[test]
fn without_a_file_it_is_said_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run_in(folder.path(), &[], &[]);
    assert_eq!(outcome.code, Some(64));
    for hint in ["cannot read the config file gateway.toml", "gateway init", "gateway proxy --to :3000"] {
        assert!(outcome.stderr.contains(hint), "{}", outcome.stderr);
    }
}

#[test]
fn a_first_file_is_written_once_and_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run_in(folder.path(), &["init"], &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stdout.starts_with("wrote gateway.toml\n"), "{}", outcome.stdout);
    let outcome = run_in(folder.path(), &["check", "--deny", "warnings"], &[]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let before = fs::read(folder.path().join("gateway.toml")).unwrap();
    let outcome = run_in(folder.path(), &["init"], &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("is there already"), "{}", outcome.stderr);
    assert_eq!(fs::read(folder.path().join("gateway.toml")).unwrap(), before);
    let outcome = run_in(folder.path(), &["--config", "none/gateway.toml", "init"], &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("cannot write none/gateway.toml"), "{}", outcome.stderr);
}

#[test]
fn a_command_line_is_served_without_a_file() {
    let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    let to = upstream.address().to_string();
    command.args(["proxy", "--to", &to, "--from", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--rate", "1/h", "--burst", "3"]);
    let gateway = Gateway::run(command, folder);
    let statuses: Vec<u16> = (0..5).map(|_| gateway.get("/users").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert!(gateway.admin_get("/metrics").text().contains("gateway_limit_decisions_total"));
    // There is no file to read again, so a reload keeps everything as it is.
    gateway.signal("HUP");
    gateway.wait_for_log_line("reloaded gateway proxy: 1 route, 1 limit, 1 upstream");
    assert_eq!(gateway.get("/users").status, 429);
}

#[test]
fn what_a_command_line_says_wrongly_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run_in(folder.path(), &["proxy", "--to", ":3000", "--rate", "10"], &[]);
    assert_eq!(outcome.code, Some(64), "{outcome:?}");
    assert!(
        outcome.stdout.contains("[upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n"),
        "{}",
        outcome.stdout
    );
    assert!(outcome.stderr.contains("did you mean \"10/s\"?"), "{}", outcome.stderr);
    let outcome = run_in(folder.path(), &["proxy", "--to", "http://app/path"], &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("a host and a port are enough"), "{}", outcome.stderr);
}

#[test]
fn a_running_gateway_is_reloaded_and_says_how_it_went() {
    let gateway = Gateway::start(ANSWER);
    let ask = || run_in(&gateway.folder(), &["reload"], &[]);
    let outcome = ask();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, "reloaded gateway.toml: 1 route, 0 limits, 0 upstreams\n");
    gateway.write_file("[server\n");
    let outcome = ask();
    assert_eq!(outcome.code, Some(64), "{outcome:?}");
    assert!(outcome.stderr.contains("gateway.toml:1:8: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("what was in force still is"), "{}", outcome.stderr);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_running_gateway_is_stopped_and_waited_for() {
    let mut gateway = Gateway::start(ANSWER);
    let folder = gateway.folder();
    let number = gateway.id().to_string();
    let stopping = thread::spawn(move || run_in(&folder, &["stop"], &[]));
    assert!(gateway.wait().success());
    let outcome = stopping.join().unwrap();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, format!("stopped: process {number}\n"));
    for command in ["stop", "reload"] {
        let outcome = run_in(&gateway.folder(), &[command], &[]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(
            outcome.stderr.contains("no gateway of this user runs with gateway.toml"),
            "{}",
            outcome.stderr
        );
    }
}
