//! The ports of documents, each with one that is free while a test runs.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Every port that commands and files of documents use.
const SHOWN: [u16; 8] = [3000, 8000, 8001, 8002, 8443, 9000, 9001, 9100];

/// Four digits, so that lines stay as long as they are shown, and below those that the system gives away itself.
const FREE: std::ops::Range<u16> = 4100..7900;

/// Where the search for a free port begins, from the beginning of [`FREE`]; each document of this process begins elsewhere.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free port for each of [`SHOWN`].
pub(crate) struct Ports(Vec<Port>);

struct Port {
    shown: String,
    used: String,
    /// The UDP port of this number keeps other runs of the tests away. Nothing else needs it.
    _reserved: UdpSocket,
}

impl Ports {
    /// Takes free ports.
    pub(crate) fn new() -> Self {
        Self(SHOWN.map(Port::new).into())
    }

    /// The port that stands for the one that is shown.
    pub(crate) fn used(&self, shown: u16) -> &str {
        &self.0.iter().find(|port| port.shown == shown.to_string()).unwrap().used
    }

    /// A text of a document, with the ports that are used in the place of those that are shown.
    pub(crate) fn to_used(&self, text: &str) -> String {
        let alone = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "._".contains(c));
        self.0.iter().fold(text.to_owned(), |text, port| replace(&text, &port.shown, &port.used, alone))
    }

    /// What a program has printed, with the ports that are shown. Only behind a host and a colon is a number taken for a port: another
    /// number that happens to be the same stays.
    pub(crate) fn to_shown(&self, text: &str) -> String {
        let of_host = |before: &str| {
            before
                .strip_suffix(':')
                .is_some_and(|host| host.ends_with(|c: char| c.is_alphanumeric() || c == ']'))
        };
        self.0.iter().fold(text.to_owned(), |text, port| replace(&text, &port.used, &port.shown, of_host))
    }
}

impl Port {
    fn new(shown: u16) -> Self {
        // Other runs of the tests at the same time begin elsewhere too, so that few ports are tried in vain.
        let begin = u16::try_from(std::process::id() % u32::from(FREE.end - FREE.start)).unwrap();
        let candidates = std::iter::repeat_with(|| {
            FREE.start + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % (FREE.end - FREE.start)
        });
        let mut free = candidates.take(FREE.len()).filter_map(|port| {
            let reserved = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
            Some(Self { shown: shown.to_string(), used: port.to_string(), _reserved: reserved })
        });
        free.next().expect("a port is free")
    }
}

/// Replaces a number wherever it ends where it is found, and what is before it is as it should be.
fn replace(text: &str, number: &str, by: &str, fits: impl Fn(&str) -> bool) -> String {
    let mut replaced = String::new();
    let mut from = 0;
    for (at, _) in text.match_indices(number) {
        let end = at + number.len();
        let ends = !text[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
        replaced += &text[from..at];
        replaced += if ends && fits(&text[..at]) { by } else { number };
        from = end;
    }
    replaced + &text[from..]
}
