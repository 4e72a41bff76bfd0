//! The log as a whole: buffers, the writer, files that do not take what they are given.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::client::ClientId;
use crate::config::{LogFormat, LogTarget};

const CLIENT: ClientId = ClientId::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

fn entry(user_agent: &str) -> Entry<'_> {
    Entry { user_agent: user_agent.into(), ..Entry::unread(Timestamp::UNIX_EPOCH, &CLIENT) }
}

fn counter() -> IntCounter {
    IntCounter::new("d", "d").unwrap()
}

fn open(path: &Path, dropped: &IntCounter) -> AccessLog {
    let target = LogTarget::File(path.to_owned());
    AccessLog::open(&config::AccessLog::whole(target, LogFormat::Combined), 2, dropped.clone()).unwrap()
}

/// Waits until this is so.
fn until(mut what: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("still not so");
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn closing_writes_out_what_many_threads_have_logged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    for _ in 0..2 {
        let log = open(&path, &counter());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| log.write(&entry("a"))));
            }
        });
        log.close();
    }
    assert_eq!(lines(&path), 800);
}

#[test]
fn a_new_file_is_not_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    drop(open(&path, &counter()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o640, 0);
}

#[test]
fn dropping_writes_out_what_waits_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = open(&path, &counter());
    log.write(&entry("a"));
    drop(log);
    until(|| lines(&path) == 1);
}

#[test]
fn half_a_line_that_was_left_behind_stays_on_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    fs::write(&path, "whole\nhal").unwrap();
    let log = open(&path, &counter());
    log.write(&entry("a"));
    until(|| lines(&path) == 3);
    fs::write(&path, "hal").unwrap();
    log.reopen();
    until(|| !log.shared.reopen.load(Ordering::SeqCst));
    log.write(&entry("a"));
    log.close();
    assert_eq!(lines(&path), 2);
    assert!(fs::read_to_string(&path).unwrap().starts_with("hal\n192.0.2.1 "));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let config = config::AccessLog::whole(LogTarget::File("/no/such/folder/a".into()), LogFormat::Json);
    assert!(AccessLog::open(&config, 1, counter()).is_err());
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let dropped = counter();
    let log = open(Path::new("/dev/full"), &dropped);
    (0..3).for_each(|_| log.write(&entry("a")));
    log.close();
    assert_eq!(dropped.get(), 3);
}

#[test]
fn after_opening_it_again_lines_are_in_the_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = open(&path, &counter());
    log.write(&entry("a"));
    until(|| lines(&path) == 1);
    fs::rename(&path, &moved).unwrap();
    log.write(&entry("a"));
    until(|| lines(&moved) == 2);
    log.reopen();
    until(|| path.exists());
    log.write(&entry("a"));
    log.close();
    assert_eq!((lines(&moved), lines(&path)), (2, 1));
}

#[test]
fn when_it_cannot_be_opened_again_the_old_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, moved) = (folder.path().join("logs"), folder.path().join("moved"));
    fs::create_dir(&inside).unwrap();
    let log = open(&inside.join("access.log"), &counter());
    fs::rename(&inside, &moved).unwrap();
    log.reopen();
    until(|| !log.shared.reopen.load(Ordering::SeqCst));
    log.write(&entry("a"));
    log.close();
    assert_eq!(lines(&moved.join("access.log")), 1);
}

fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_reader_that_stalls_costs_lines_and_no_time_and_gets_whole_lines_when_it_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let dropped = counter();
    let log = open(&path, &dropped);
    let long = "a".repeat(1000);
    let mut sent = 0_u64;
    // Until the pipe, what the writer holds, and the buffer are all full.
    while dropped.get() == 0 {
        log.write(&entry(&long));
        sent += 1;
        assert!(sent < 10_000, "a log that takes nothing takes no end of lines");
    }
    let mut reader = OpenOptions::new().read(true).open(&path).unwrap();
    let reading = thread::spawn(move || {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        while !text.ends_with(b"\"last\"\n") {
            let count = reader.read(&mut piece).unwrap();
            text.extend_from_slice(&piece[..count]);
        }
        text
    });
    // There is room again: what is logged now arrives.
    until(|| {
        let before = dropped.get();
        log.write(&entry("last"));
        sent += 1;
        dropped.get() == before
    });
    let text = String::from_utf8(reading.join().unwrap()).unwrap();
    let (last, others) =
        text.lines().collect::<Vec<_>>().split_last().map(|(l, o)| (*l, o.to_vec())).unwrap();
    assert!(last.ends_with("\"last\""));
    assert!(
        others
            .iter()
            .all(|line| line.starts_with("192.0.2.1 - - [") && line.ends_with(&format!("\"{long}\"")))
    );
    assert_eq!(text.lines().count() as u64 + dropped.get(), sent);
}

#[test]
fn one_client_cannot_fill_a_buffer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let dropped = counter();
    let log = open(&path, &dropped);
    let long = "a".repeat(1000);
    // Until the pipe, what the writer holds, and this client's share are full, and the writer waits for the pipe.
    let is_dropped = || {
        let before = dropped.get();
        log.write(&entry(&long));
        dropped.get() > before
    };
    while !(is_dropped() && {
        thread::sleep(Duration::from_millis(100));
        is_dropped()
    }) {}
    let before = dropped.get();
    let others: Vec<_> =
        (1..=100).map(|n| ClientId::Address(Ipv4Addr::new(198, 51, 100, n).into())).collect();
    for client in &others {
        log.write(&Entry { client, ..entry(&long) });
    }
    assert_eq!(dropped.get(), before, "whoever logs little is logged");
    log.write(&entry(&long));
    assert_eq!(dropped.get(), before + 1, "whoever logs much loses lines first");
    // The reader comes at last, so that the writer ends.
    log.end();
    let mut text = Vec::new();
    File::open(&path).unwrap().take(5 << 20).read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(others.iter().all(|client| text.contains(&format!("{client} "))));
}

#[test]
fn closing_does_not_wait_for_ever_for_a_reader_that_stalls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    fifo(&path);
    let log = open(&path, &counter());
    // More than a pipe holds.
    let long = "a".repeat(4000);
    (0..100).for_each(|_| log.write(&entry(&long)));
    log.close();
    // The reader comes at last, so that the writer ends.
    drop(log);
    let mut reader = File::open(&path).unwrap();
    let mut start = [0; 10];
    reader.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"192.0.2.1 ");
}
