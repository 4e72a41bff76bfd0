//! An upstream that breaks at every byte of its answer, in every way: the client gets a whole answer, or one that
//! ends with its connection where it can see that it is not whole; never a mixture of two.

use std::collections::BTreeMap;

use crate::support::gateway::Gateway;
use crate::support::http::{self, Response};
use crate::support::upstream::{Exchange, RawUpstream};
use crate::support::{before_servers, http2};

const BODY: &str = "0123456789abcdef";

/// The answers that are broken, by the way their body ends.
const ANSWERS: [(&str, &str); 3] = [
    ("length", "HTTP/1.1 200 OK\r\nX-From: first\r\nContent-Length: 16\r\n\r\n0123456789abcdef"),
    (
        "chunks",
        "HTTP/1.1 200 OK\r\nX-From: first\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nB\r\n56789abcdef\r\n0\r\n\r\n",
    ),
    ("close", "HTTP/1.1 200 OK\r\nX-From: first\r\nConnection: close\r\n\r\n0123456789abcdef"),
];

/// What the other server says, always.
const OTHER: &str = "HTTP/1.1 200 OK\r\nX-From: other\r\nContent-Length: 5\r\n\r\nOTHER";

/// What stands in place of the rest when an answer is corrupted.
const GARBAGE: &str = "\0\r\n\r\n\x01HTTP/1.1 200 OK\r\nX-From: garbage\r\nContent-Length: 7\r\n\r\nGARBAGE";

/// How an answer breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Close,
    Reset,
    Stall,
    Corrupt,
}

/// One way to break an answer: the target of a request says it, so that one upstream does for all.
#[derive(Clone, Copy, Debug)]
struct Case {
    answer: usize,
    /// So many bytes of it are sent.
    sent: usize,
    how: How,
}

impl Case {
    /// Every way to break every answer: at every byte, but for stalls, which take their time, at every seventeenth.
    fn all() -> impl Iterator<Item = Self> {
        (0..ANSWERS.len()).flat_map(|answer| {
            (0..=ANSWERS[answer].1.len()).flat_map(move |sent| {
                let hows = [How::Close, How::Reset, How::Corrupt, How::Stall];
                let hows = hows.into_iter().filter(move |how| *how != How::Stall || sent % 17 == 0);
                hows.map(move |how| Self { answer, sent, how })
            })
        })
    }

    fn target(self) -> String {
        format!("/{}/{}/{:?}", self.answer, self.sent, self.how)
    }

    /// Breaks the answer to a request for a target.
    fn play(exchange: &mut Exchange) {
        while exchange.read_head() {
            let target = exchange.target();
            let mut parts = target.split('/').skip(1);
            let mut number = || parts.next().unwrap().parse::<usize>().unwrap();
            let (answer, sent) = (ANSWERS[number()].1, number());
            exchange.write(&answer[..sent]);
            match parts.next().unwrap() {
                "Close" => return,
                "Reset" => return exchange.reset(),
                "Corrupt" => exchange.write(GARBAGE),
                // Whoever has sent all of it waits for the next request.
                _ if sent == answer.len() => {}
                _ => return exchange.wait_for_close(),
            }
        }
    }

    fn text(self) -> &'static str {
        ANSWERS[self.answer].1
    }

    fn head_length(self) -> usize {
        self.text().find("\r\n\r\n").unwrap() + 4
    }

    /// The bytes of the body that the upstream sends, as far as they are in order; what is corrupt comes after.
    fn body_sent(self) -> usize {
        let sent = &self.text()[..self.sent];
        let body = sent.get(self.head_length()..).unwrap_or_default();
        match ANSWERS[self.answer].0 {
            "chunks" => BODY.chars().filter(|digit| body_has(body, *digit)).count(),
            _ => body.len(),
        }
    }

    fn is_whole(self) -> bool {
        match ANSWERS[self.answer].0 {
            // Nobody can tell that more was to come.
            "close" => self.sent >= self.head_length() && self.how == How::Close,
            _ => self.sent == self.text().len(),
        }
    }
}

/// Whether this digit of [`BODY`] is in what was sent of a chunked body.
fn body_has(sent: &str, digit: char) -> bool {
    sent.lines().skip(1).step_by(2).any(|chunk| chunk.contains(digit))
}

/// What a client was told.
#[derive(Debug)]
struct Told {
    status: u16,
    from: String,
    body: String,
    /// Whether it can tell that the answer is whole.
    whole: bool,
}

impl Told {
    /// What has been read until the connection was closed.
    fn of(head: &Response, rest: &[u8]) -> Self {
        let rest = String::from_utf8_lossy(rest).into_owned();
        let (body, whole) = match head.header("content-length") {
            Some(length) => (rest.clone(), rest.len() == length.parse::<usize>().unwrap()),
            None => unchunked(&rest),
        };
        Self { status: head.status, from: head.header("x-from").unwrap_or("gateway").to_owned(), body, whole }
    }

    /// Checks that it is what a client may be told in this case.
    #[track_caller]
    fn is_right(&self, case: Case, method: &str) {
        let context = format!("{method} {case:?}: {self:?}");
        match (self.from.as_str(), self.status) {
            ("first", 200) => {
                assert!(case.sent >= case.head_length(), "{context}");
                let sent = &BODY[..case.body_sent()];
                match case.how {
                    How::Corrupt => {
                        assert!(self.body.starts_with(sent) || sent.starts_with(&self.body), "{context}");
                    }
                    // A reset may overtake what was sent before it.
                    How::Reset => assert!(sent.starts_with(&self.body), "{context}"),
                    How::Close | How::Stall => assert_eq!(self.body, sent, "{context}"),
                }
                assert!(!self.body.contains("OTHER"), "{context}");
                if !case.is_whole() && case.how != How::Corrupt {
                    assert!(!self.whole, "{context}");
                }
            }
            ("other", 200) => {
                assert_eq!((self.body.as_str(), self.whole), ("OTHER", true), "{context}");
                assert!(case.sent < case.head_length() || case.how == How::Reset, "{context}");
                assert!(matches!(case.how, How::Close | How::Reset) && method == "GET", "{context}");
            }
            ("gateway", 502 | 504) => {
                assert!(self.whole, "{context}");
                let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
                assert_eq!(problem["status"], self.status, "{context}");
                assert_eq!(self.status == 504, case.how == How::Stall, "{context}");
            }
            _ => panic!("{context}"),
        }
    }
}

/// A chunked body without its framing, and whether it is whole.
fn unchunked(mut rest: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, after == "\r\n");
        }
        let Some(chunk) = after.get(..size) else {
            return (body + after, false);
        };
        body.push_str(chunk);
        rest = after[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    (body, false)
}

/// A gateway before the server that breaks, and the one that does not, which gets one request in a thousand and what
/// is sent again.
fn start() -> (Gateway, RawUpstream, RawUpstream) {
    let first = RawUpstream::start(Case::play);
    let other = RawUpstream::start(|exchange| {
        while exchange.read_head() {
            exchange.write(OTHER);
        }
    });
    let heavy = format!("{{ address = \"{}\", weight = 1000 }}", first.address());
    let settings = "response_timeout = \"400ms\"\nread_timeout = \"400ms\"";
    let servers = [heavy, format!("\"{}\"", other.address())];
    (Gateway::start(&before_servers(&servers, settings)), first, other)
}

#[test]
fn an_answer_is_whole_or_seen_to_be_broken() {
    let (gateway, first, _other) = start();
    let mut seen = BTreeMap::<_, u32>::new();
    for case in Case::all() {
        for method in ["GET", "POST"] {
            let before = first.received().len();
            let mut connection = gateway.connect();
            connection.send(http::request(method, &case.target(), &[("Connection", "close")], ""));
            let head = connection.response_head();
            let told = Told::of(&head, &connection.rest());
            if first.received().len() == before {
                assert_eq!(told.body, "OTHER", "it was the other one's turn");
                continue;
            }
            told.is_right(case, method);
            *seen.entry((told.from, told.status, told.whole)).or_default() += 1;
        }
    }
    for told in [("first", 200, true), ("first", 200, false), ("other", 200, true), ("gateway", 502, true)] {
        let (from, status, whole) = told;
        assert!(seen.contains_key(&(from.to_owned(), status, whole)), "{told:?} is not in {seen:?}");
    }
}

#[test]
fn a_client_of_http2_sees_it_too() {
    let (gateway, first, _other) = start();
    let mut connection = http2::Connection::open(gateway.address());
    for case in Case::all().filter(|case| case.how != How::Stall && case.sent % 3 == 0) {
        let before = first.received().len();
        let answer = connection.try_send(http2::request("GET", &case.target(), &[]), "");
        if first.received().len() == before {
            continue;
        }
        match answer {
            Ok(response) => {
                let from = response.header("x-from").unwrap_or("gateway").to_owned();
                let (status, body) = (response.status, response.text());
                Told { status, from, body, whole: true }.is_right(case, "GET");
            }
            Err(reset) => assert!(reset.is_reset() && !case.is_whole(), "{case:?}: {reset}"),
        }
    }
}
