//! The end of a request's body, in every way in which a client can write it: what the upstream receives is one message, and the
//! next one begins where it ends.

use std::io::Read as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use crate::support::gateway::Gateway;
use crate::support::http2::{self, DATA, END_STREAM, Frames, HEADERS, RST_STREAM};
use crate::support::upstream::{Exchange, RawUpstream};
use crate::support::{PATIENCE, to_upstream};

/// Reads a body that is delimited as this head says, to the byte; `None` if the connection closes before.
fn read_body(exchange: &mut Exchange, head: &str) -> Option<String> {
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    let chunked = head.contains("transfer-encoding: chunked");
    let mut body = Vec::new();
    let mut byte = [0];
    while if chunked { !body.ends_with(b"0\r\n\r\n") } else { body.len() < length } {
        match exchange.socket.read(&mut byte) {
            Ok(1) => body.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(body).unwrap())
}

/// A server that says what it receives: of each message its method and its body as it came, and `broken` for one without an end.
fn listening() -> (RawUpstream, Receiver<String>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let upstream = RawUpstream::start(move |exchange| {
        while let Some(head) = exchange.read_head_text() {
            let body = read_body(exchange, &head);
            let method = head.split(' ').next().unwrap().to_owned();
            let seen = body.as_ref().map_or_else(|| "broken".to_owned(), |body| format!("{method} {body}"));
            tell.lock().unwrap().send(seen).unwrap();
            if body.is_none() {
                return;
            }
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (upstream, told)
}

/// Frames of a body: what they carry, and whether they are the last.
type Pieces = &'static [(&'static str, bool)];

const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

#[test]
fn from_http2_to_http1() {
    let cases: [(Pieces, &str); 6] = [
        (&[("hello", true)], "5\r\nhello\r\n0\r\n\r\n"),
        (&[("hello", false), ("", true)], "5\r\nhello\r\n0\r\n\r\n"),
        (&[("he", false), ("llo", false), ("", true)], "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (&[("he", false), ("", false), ("llo", true)], "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (&[("", true)], "0\r\n\r\n"),
        (&[("", false), ("", true)], "0\r\n\r\n"),
    ];
    for (pieces, body) in cases {
        let (upstream, told) = listening();
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let mut frames = Frames::open(gateway.address());
        frames.send_headers(1, &POST, false);
        for (data, last) in pieces {
            frames.send(DATA, if *last { END_STREAM } else { 0 }, 1, data.as_bytes());
            // Each piece is read before the next one is there.
            frames.round_trip();
        }
        let seen = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(chunks_joined(&seen), chunks_joined(&format!("POST {body}")), "{pieces:?}");
        assert_eq!(frames.status(), Some(200), "{pieces:?}");
        frames.send_headers(3, &GET, true);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "GET ", "{pieces:?}");
        assert_eq!(frames.status(), Some(200), "{pieces:?}");
    }
}

/// The same message with its data in one chunk: how it is cut does not matter.
fn chunks_joined(message: &str) -> String {
    let (method, chunks) = message.split_once(' ').unwrap();
    let lines: Vec<&str> = chunks.split("\r\n").collect();
    let data: String = lines.chunks(2).filter_map(|pair| pair.get(1).copied()).collect();
    let ends = lines.chunks(2).filter(|pair| pair[0] == "0").count();
    format!("{method} {data:?} ends {ends} times")
}

#[test]
fn trailers_end_a_body_of_http2() {
    let (upstream, told) = listening();
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut frames = Frames::open(gateway.address());
    frames.send_headers(1, &POST, false);
    frames.send(DATA, 0, 1, b"hello");
    frames.send_headers(1, &[("x-sum", "1")], true);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "POST 5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(frames.status(), Some(200));
    frames.send_headers(3, &GET, true);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "GET ");
}

#[test]
fn a_body_that_is_taken_back_has_no_end() {
    let (upstream, told) = listening();
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut frames = Frames::open(gateway.address());
    frames.send_headers(1, &POST, false);
    frames.send(DATA, 0, 1, b"hello");
    frames.round_trip();
    frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "broken");
    let mut connection = gateway.connect();
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    drop(connection);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "broken");
}

#[test]
fn from_http1_to_http1() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hello = "POST 5\r\nhello\r\n0\r\n\r\n";
    for (pieces, expected) in [
        (vec!["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"], "POST hello"),
        (vec!["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "he", "llo"], "POST hello"),
        (vec!["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"], "POST "),
        (vec![head, "5\r\nhello\r\n0\r\n\r\n"], hello),
        (vec![head, "5\r\nhello\r\n", "0\r\n\r\n"], hello),
        (vec![head, "5\r\nhello", "\r\n0\r\n", "\r\n"], hello),
        (vec![head, "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"], hello),
        (vec![head, "0\r\n\r\n"], "POST 0\r\n\r\n"),
        (vec![head, "0\r\n", "\r\n"], "POST 0\r\n\r\n"),
    ] {
        let (upstream, told) = listening();
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let mut connection = gateway.connect();
        for piece in &pieces {
            connection.send(piece);
        }
        let seen = told.recv_timeout(PATIENCE).unwrap();
        if expected.contains('\r') {
            assert_eq!(chunks_joined(&seen), chunks_joined(expected), "{pieces:?}");
        } else {
            assert_eq!(seen, expected, "{pieces:?}");
        }
        assert_eq!(connection.response().status, 200, "{pieces:?}");
        assert_eq!(connection.get("/").status, 200, "{pieces:?}");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), "GET ", "{pieces:?}");
    }
}

#[test]
fn to_http2() {
    let upstream = http2::Upstream::start(None);
    let gateway = Gateway::start(&to_upstream(upstream.address(), "---\nhttp2 = true"));
    let cases: [Pieces; 4] = [
        &[("hello", true)],
        &[("hello", false), ("", true)],
        &[("he", false), ("llo", false), ("", true)],
        &[("", true)],
    ];
    for pieces in cases {
        let mut frames = Frames::open(gateway.address());
        let mut target = POST;
        target[2].1 = "/echo";
        frames.send_headers(1, &target, false);
        for (data, last) in pieces {
            frames.send(DATA, if *last { END_STREAM } else { 0 }, 1, data.as_bytes());
            frames.round_trip();
        }
        let (mut body, mut ends) = (String::new(), 0);
        while ends == 0 {
            let frame = frames.next_of(&[DATA, HEADERS]).unwrap();
            if frame.kind == DATA {
                body += std::str::from_utf8(&frame.payload).unwrap();
            }
            ends += usize::from(frame.flags & END_STREAM != 0);
        }
        let sent: String = pieces.iter().map(|(data, _)| *data).collect();
        assert_eq!(body, sent, "{pieces:?}");
    }
    for text in [
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut connection = gateway.connect();
        connection.send(text);
        assert_eq!(connection.response().text(), "hello");
    }
    // One for each worker: no body has ended more than its stream.
    assert!(upstream.connections() <= 2, "{}", upstream.connections());
}
