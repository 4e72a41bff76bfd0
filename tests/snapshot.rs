//! Buckets that outlive the process.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::{eventually, forwarding};

/// A route under a limit of ten, whose buckets are kept in this file.
fn config(snapshot: &Path, interval: &str) -> String {
    format!(
        "[limiter]\nsnapshot = \"{}\"\nsnapshot_interval = \"{interval}\"\n[limits.l]\nrate = \"1/h\"\nburst = 10\n\
         [[routes]]\nname = \"a\"\npath = \"/*\"\nrespond = {{ status = 200 }}\nlimits = [\"l\"]",
        snapshot.display()
    )
}

fn left(gateway: &Gateway) -> u64 {
    gateway.admin_get("/limits/l/clients/127.0.0.1").json()["tokens"].as_u64().unwrap()
}

#[test]
fn a_restart_refills_no_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buckets");
    let mut first = Gateway::start(&config(&file, "1h"));
    (0..4).for_each(|_| assert_eq!(first.get("/").status, 200));
    assert!(!file.exists());
    first.signal("TERM");
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let second = Gateway::start(&config(&file, "1h"));
    second.wait_for_log_line("buckets restored from ");
    assert_eq!(left(&second), 6);
    // Under another limit each has its share.
    let third = Gateway::start(&config(&file, "1h").replace("burst = 10", "burst = 100\nmax_clients = 70"));
    assert_eq!(left(&third), 60);
}

#[test]
fn what_is_killed_has_written_its_buckets_not_long_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buckets");
    for round in 0..5 {
        let gateway = Gateway::start(&config(&file, "10ms"));
        assert_eq!(left(&gateway), 10 - round);
        assert_eq!(gateway.get("/").status, 200);
        let seen = fs::metadata(&file).and_then(|data| data.modified()).ok();
        eventually("two more snapshots", || {
            let now = fs::metadata(&file).and_then(|data| data.modified()).ok();
            (now > seen).then_some(())
        });
        // It may have been begun before the request was admitted; the next one was not.
        let seen = fs::metadata(&file).and_then(|data| data.modified()).ok();
        eventually("another snapshot", || {
            let now = fs::metadata(&file).and_then(|data| data.modified()).ok();
            (now > seen).then_some(())
        });
        // Dropping it kills it, perhaps in the middle of writing.
        drop(gateway);
    }
}

#[test]
fn buckets_are_written_during_a_drain_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buckets");
    let limiter = format!(
        "drain_timeout = \"1h\"\n[limiter]\nsnapshot = \"{}\"\nsnapshot_interval = \"10ms\"\n\
         [limits.l]\nrate = \"1/h\"\nburst = 10\n---\n---\nlimits = [\"l\"]",
        file.display()
    );
    let (gateway, _backend) = forwarding(&limiter);
    let mut running = gateway.connect();
    running.send(request("GET", "/sse?interval=10ms", &[], ""));
    assert_eq!(running.response_head().status, 200);
    gateway.signal("TERM");
    gateway.wait_for_log("draining");
    let written = || fs::metadata(&file).and_then(|data| data.modified()).ok();
    // The first of them may have been begun before.
    for _ in 0..3 {
        let seen = written();
        eventually("another snapshot", || (written() > seen).then_some(()));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buckets");
    let mut first = Gateway::start(&config(&file, "1h"));
    assert_eq!(first.get("/").status, 200);
    first.signal("TERM");
    first.wait();
    let whole = fs::read(&file).unwrap();
    let mut older = whole.clone();
    older[7] = 0;
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("torn", whole[..whole.len() / 2].to_vec()),
        ("foreign", b"[server]\nlisten = \"0.0.0.0:8000\"\n".to_vec()),
        ("of another version", older),
    ] {
        fs::write(&file, bytes).unwrap();
        let gateway = Gateway::start(&config(&file, "1h"));
        gateway.wait_for_log_line("is no snapshot that can be used, all buckets are full: ");
        assert_eq!(left(&gateway), 10, "{what}");
    }
}

#[test]
fn a_full_disk_leaves_the_last_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("buckets");
    let full = folder.path().join("buckets.new");
    let mut first = Gateway::start(&config(&file, "1h"));
    (0..4).for_each(|_| assert_eq!(first.get("/").status, 200));
    first.signal("TERM");
    first.wait();
    let before = fs::read(&file).unwrap();
    symlink("/dev/full", &full).unwrap();
    let mut second = Gateway::start(&config(&file, "1h"));
    assert_eq!(second.get("/").status, 200);
    second.signal("TERM");
    assert_eq!(second.wait().code(), Some(0));
    second.wait_for_log_line("cannot be written: No space left on device");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(!full.exists() && fs::read_link(&full).is_err(), "what was begun takes no room");
    assert_eq!(left(&Gateway::start(&config(&file, "1h"))), 6);
}

#[test]
fn a_place_that_cannot_be_written_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(&config(&folder.path().join("missing/buckets"), "10ms"));
    gateway.wait_for_log_line("cannot be written: ");
    assert_eq!(gateway.get("/").status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}
