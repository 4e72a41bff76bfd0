//! Files of every kind, read as one log.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::access_log::{AccessLog, Entry};
use crate::client::ClientId;
use crate::config::{self, LogFormat, LogTarget};

/// A line of the combined format that ended at this second.
fn line(second: u32, path: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    format!(
        "192.0.2.1 - - [10/Oct/2000:13:{minute:02}:{second:02} +0000] \"GET /{path} HTTP/1.1\" 200 1 \"-\" \"a\"\n"
    )
}

fn options(format: Option<Format>) -> Options {
    Options { format, wanted: Wanted::default(), window: WINDOW }
}

fn open(files: &[&Path]) -> Result<Log, Failure> {
    Log::open(&files.iter().map(|path| path.to_path_buf()).collect::<Vec<_>>(), options(None))
}

/// Seconds and paths, up to the end or to an error.
fn all(log: &mut Log) -> (Vec<(u64, String)>, Option<String>) {
    let mut out = Vec::new();
    loop {
        match log.next() {
            Ok(Some((time, record))) => {
                let path = String::from_utf8_lossy(&record.target[1..]).into_owned();
                out.push((time.nanos() / 1_000_000_000, path));
            }
            Ok(None) => return (out, None),
            Err(failure) => {
                assert!(log.next().unwrap().is_none(), "after an error there is nothing");
                return (out, Some(failure.to_string()));
            }
        }
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn expected(requests: &[(u64, &str)]) -> (Vec<(u64, String)>, Option<String>) {
    (requests.iter().map(|(second, path)| (*second, (*path).to_owned())).collect(), None)
}

#[test]
fn rotated_files_are_one_log_in_whichever_order_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, third] = ["log.2.zst", "log.1.gz", "log"].map(|name| folder.path().join(name));
    fs::write(&first, zstd::encode_all((line(0, "a") + &line(5, "b")).as_bytes(), 1).unwrap()).unwrap();
    fs::write(&second, [gzip(&line(7, "c")), gzip(&line(6, "d"))].concat()).unwrap();
    fs::write(&third, line(8, "e") + "\r\n- no line -\r\n" + line(9, "f").trim_end()).unwrap();
    for files in [[&*first, &second, &third], [&third, &second, &first]] {
        let mut log = open(&files).unwrap();
        assert_eq!(log.formats(), [Format::Combined].into());
        let requests = [(0, "a"), (5, "b"), (6, "d"), (7, "c"), (8, "e"), (9, "f")];
        assert_eq!(all(&mut log), expected(&requests));
        let size: u64 = files.iter().map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!((log.size(), log.bytes_read()), (Some(size), size));
        let summary = log.summary();
        assert_eq!(
            (summary.lines, summary.unreadable, summary.late, summary.clock_changes),
            (8, 1, 0, 0),
            "{summary:?}"
        );
        assert_eq!(summary.records, [(Format::Combined, 6)].into());
        assert_eq!(summary.longest_resorting, Duration::from_secs(1));
        assert_eq!(summary.start, Some(Stamp(971_182_800_000_000_000)));
        let bad = BadLine {
            file: third.display().to_string(),
            number: 3,
            reason: Unreadable::Missing("a time"),
            beginning: "- no line -".to_owned(),
        };
        assert_eq!(summary.first_unreadable, [bad]);
    }
}

#[test]
fn an_empty_file_has_no_requests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for content in ["", "\n\r\n"] {
        fs::write(&path, content).unwrap();
        let mut log = open(&[&path]).unwrap();
        assert_eq!(all(&mut log), expected(&[]));
        assert!(log.formats().is_empty());
        assert_eq!(log.summary().start, None);
    }
}

#[test]
fn a_file_in_no_format_is_an_error_that_shows_its_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let long = "b".repeat(200);
    for (content, shown) in [
        ("\n\u{1b}[31mred\nblue\n".to_owned(), "\\x1b[31mred".to_owned()),
        (long.clone(), format!("{}...", &long[..120])),
        (format!("x\n{}", "\0\n".repeat(30)), "x".to_owned()),
        // The line that would tell it comes too late.
        ("x\n".repeat(20) + &line(0, "a"), "x".to_owned()),
    ] {
        fs::write(&path, content).unwrap();
        let failure = open(&[&path]).err().unwrap().to_string();
        let start = format!(
            "{}: no format reads its first lines. The first is `{shown}`; the formats are ",
            path.display()
        );
        assert!(failure.starts_with(&start), "{failure}");
        assert!(failure.ends_with("gateway, caddy, traefik, vhost-combined, combined, common"), "{failure}");
    }
}

#[test]
fn lines_before_the_one_that_tells_the_format_are_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "x\n".repeat(19) + &line(0, "a") + "x\n").unwrap();
    let mut log = open(&[&path]).unwrap();
    assert_eq!(all(&mut log), expected(&[(0, "a")]));
    let summary = log.summary();
    assert_eq!((summary.lines, summary.unreadable, summary.first_unreadable.len()), (21, 20, 5));
    assert!(summary.first_unreadable.iter().all(|line| line.reason == Unreadable::NoFormat));
}

#[test]
fn a_binary_file_has_lines_that_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let bytes: Vec<u8> =
        (0..100_000_u32).flat_map(|number| number.wrapping_mul(number).to_le_bytes()).collect();
    fs::write(&path, &bytes).unwrap();
    for format in Format::ALL {
        let mut log = Log::open(std::slice::from_ref(&path), options(Some(format))).unwrap();
        assert_eq!(all(&mut log), expected(&[]));
        assert!(log.summary().unreadable > 100);
    }
}

#[test]
fn what_was_read_before_an_error_comes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.gz");
    let whole = gzip(&(0..3000).map(|second| line(second, &second.to_string())).collect::<String>());
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let (requests, failure) = all(&mut open(&[&path]).unwrap());
    assert!(requests.len() > 100, "{}", requests.len());
    assert!(
        requests
            .iter()
            .enumerate()
            .all(|(place, (second, path))| { (*second, path) == (place as u64, &place.to_string()) })
    );
    let failure = failure.unwrap();
    assert!(failure.starts_with(&format!("{}: ", path.display())), "{failure}");
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let failure = open(&[Path::new("/no/such/file")]).err().unwrap().to_string();
    assert!(failure.starts_with("/no/such/file: No such file"), "{failure}");
    let many = vec![PathBuf::from("/dev/null"); MOST_FILES + 1];
    let failure = Log::open(&many, options(None)).err().unwrap().to_string();
    assert_eq!(failure, "257 files are too many: at most 256 are read together");
    let mut log = Log::open(&many[1..], options(None)).unwrap();
    assert_eq!(all(&mut log), expected(&[]));
    assert_eq!(log.size(), None);
}

#[test]
fn a_clock_that_was_set_back_lets_time_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let text: String = (1000..1010).chain(100..250).map(|second| line(second, "a")).collect();
    fs::write(&path, text).unwrap();
    let mut log = open(&[&path]).unwrap();
    let seconds: Vec<_> = all(&mut log).0.into_iter().map(|(second, _)| second).collect();
    let expected: Vec<_> = (0..10).chain(9..159).collect();
    assert_eq!(seconds, expected);
    assert_eq!((log.summary().clock_changes, log.summary().late), (1, 0));
}

#[test]
fn a_line_from_long_before_is_late() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let text: String = [500, 600, 700, 510, 710].map(|second| line(second, &second.to_string())).concat();
    fs::write(&path, text).unwrap();
    let mut log = open(&[&path]).unwrap();
    let requests = [(0, "500"), (100, "600"), (100, "510"), (200, "700"), (210, "710")];
    assert_eq!(all(&mut log), expected(&requests));
    let summary = log.summary();
    assert_eq!((summary.late, summary.longest_resorting), (1, Duration::from_secs(190)));
}

/// What an access log of this format says of a request, read back.
fn written_and_read(format: LogFormat, entry: &Entry<'_>) -> (Record, BTreeSet<Format>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let config = config::AccessLog::whole(LogTarget::File(path.clone()), format);
    let log = AccessLog::open(&config, 1, prometheus::IntCounter::new("d", "d").unwrap()).unwrap();
    log.write(entry);
    log.close();
    let mut log = open(&[&path]).unwrap();
    let (_, record) = log.next().unwrap().unwrap();
    (*record, log.formats())
}

#[test]
fn what_the_access_log_writes_is_read_back() {
    for (client, name) in [
        (ClientId::Address("2001:db8::1".parse().unwrap()), None),
        (ClientId::Opaque("unknown behind 10.0.0.1".to_owned()), None),
        (ClientId::Opaque("a\"b\\".to_owned()), Some("a\\\"b\\\\")),
    ] {
        let entry = Entry {
            time: jiff::Timestamp::new(1_700_000_000, 123_456_000).unwrap(),
            request_id: "id",
            client: &client,
            consumer: Some("alice"),
            plan: Some("pro"),
            method: "POST",
            host: "a.example:80".into(),
            path: "/a\"\\%20\u{e9}?b=[c]",
            protocol: "HTTP/2",
            route: "r",
            status: 429,
            bytes_in: 1,
            bytes_out: 2,
            duration: Duration::from_micros(1_234_567),
            upstream: None,
            upstream_duration: None,
            limits: [("l", Some(1)), ("m \"", None)].into_iter().collect(),
            keys: [
                ("header:x-api-key", Some("#5f3a9c01")),
                ("cookie:sid", Some("a b")),
                ("cookie:none", None),
            ]
            .into_iter()
            .collect(),
            costs: [("l", 7)].into_iter().collect(),
            settled: Some(Duration::from_micros(1_234_000)),
            refused_by: ["m \""].into_iter().collect(),
            would_refuse: ["l"].into_iter().collect(),
            error: Some("e"),
            trace_id: None,
            referer: "r".into(),
            user_agent: "u".into(),
            sample: Some(0.25),
        };
        let read_client = name.map_or(client.clone(), |name| ClientId::Opaque(name.to_owned()));
        for (format, read) in [(LogFormat::Json, Format::Gateway), (LogFormat::Combined, Format::Combined)] {
            let (record, formats) = written_and_read(format, &entry);
            assert_eq!(formats, [read].into());
            assert_eq!((&record.client, record.method.as_str()), (&read_client, entry.method));
            assert_eq!((&*record.target, record.version), (entry.path.as_bytes(), http::Version::HTTP_2));
            assert_eq!(record.status.unwrap().as_u16(), entry.status);
            if read == Format::Combined {
                assert_eq!((record.ended, record.took), (Stamp(1_700_000_000_000_000_000), None));
                assert_eq!((record.headers.len(), record.own), (0, None));
            } else {
                assert_eq!(
                    (record.ended, record.took),
                    (Stamp(1_700_000_000_123_456_000), Some(entry.duration))
                );
                assert_eq!(record.headers["host"], "a.example:80");
                let own = record.own.unwrap();
                assert_eq!((own.consumer.as_deref(), own.plan.as_deref()), (Some("alice"), Some("pro")));
                assert_eq!(
                    (&*own.limits, &*own.refused_by),
                    (&["l".into(), "m \"".into()][..], &["m \"".into()][..])
                );
                assert_eq!((&*own.costs, own.was_not_asked), (&[("l".to_owned(), 7)][..], false));
                assert_eq!(own.settled, Some(Duration::from_micros(1_234_000)));
                assert_eq!(record.headers.len(), 3);
                assert_eq!(record.headers["x-api-key"], "#5f3a9c01");
                assert_eq!(record.headers["cookie"], "sid=a%20b");
            }
        }
    }
}
