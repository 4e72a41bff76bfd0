//! Answers that are compressed on their way to the client.

use std::io::Read as _;

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::http2;
use crate::support::upstream::RawUpstream;
use crate::support::{forwarding, to_upstream};

const ON: &str = "---\n---\ncompression = true";
const GZIP: (&str, &str) = ("Accept-Encoding", "gzip");

/// An upstream that answers with this head and body.
fn answering(head: &str, body: &[u8]) -> RawUpstream {
    RawUpstream::answering([head.as_bytes(), b"\r\n\r\n", body].concat())
}

fn text(length: usize) -> Vec<u8> {
    "all work and no play makes jack a dull boy ".bytes().cycle().take(length).collect()
}

fn gateway(upstream: &RawUpstream) -> Gateway {
    Gateway::start(&to_upstream(upstream.address(), ON))
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "zstd" => zstd::Decoder::new(body).unwrap().read_to_end(&mut out).unwrap(),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut out).unwrap(),
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut out).unwrap(),
        other => panic!("{other}"),
    };
    out
}

fn check(response: &Response, coding: &str, body: &[u8]) {
    assert_eq!(response.header("content-encoding"), Some(coding), "{:?}", response.headers);
    assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    assert_eq!(response.header("content-length"), None);
    assert_eq!(decoded(coding, &response.body), body);
    assert!(response.body.len() < body.len() / 4);
}

#[test]
fn the_client_chooses_the_coding_whatever_delimits_the_answer() {
    let body = text(200_000);
    let chunked: Vec<u8> = body
        .chunks(3000)
        .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
        .chain(*b"0\r\n\r\n")
        .collect();
    let length = format!("\r\nContent-Length: {}", body.len());
    for (framing, sent) in
        [(length.as_str(), &body), ("\r\nTransfer-Encoding: chunked", &chunked), ("", &body)]
    {
        let upstream =
            answering(&format!("HTTP/1.1 200 OK\r\nContent-Type: application/json{framing}"), sent);
        let gateway = gateway(&upstream);
        for (accept, coding) in
            [("gzip", "gzip"), ("gzip, br", "br"), ("*", "zstd"), ("br;q=0.1, gzip;q=0.9, zstd;q=0", "gzip")]
        {
            let mut connection = gateway.connect();
            for _ in 0..2 {
                let response = connection.get_with("/", &[("Accept-Encoding", accept)]);
                check(&response, coding, &body);
            }
            let mut connection = http2::Connection::open(gateway.address());
            let request = http2::request("GET", "/", &[("accept-encoding", accept)]);
            check(&connection.send(request, ""), coding, &body);
        }
        let response = gateway.get("/");
        assert_eq!((response.header("content-encoding"), response.body.len()), (None, body.len()));
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    }
}

#[test]
fn what_was_true_of_the_bytes_is_not_said_of_others() {
    let body = text(2000);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2000\r\nETag: \"a\"\r\nVary: Origin\r\n\
        Accept-Ranges: bytes\r\nContent-Digest: sha-256=:x:\r\nX-Kept: 1";
    let upstream = answering(head, &body);
    let gateway = gateway(&upstream);
    let response = gateway.get_with("/", &[GZIP]);
    assert_eq!(decoded("gzip", &response.body), body);
    assert_eq!(response.header("etag"), Some("W/\"a\""));
    assert_eq!((response.header("accept-ranges"), response.header("content-digest")), (None, None));
    let vary = response.headers.iter().filter(|(name, _)| name == "vary").map(|(_, value)| value.as_str());
    assert_eq!(vary.collect::<Vec<_>>(), ["Origin", "Accept-Encoding"]);
    let response = gateway.get("/");
    assert_eq!((response.header("etag"), response.header("accept-ranges")), (Some("\"a\""), Some("bytes")));
    // HEAD is told what GET would be.
    let mut connection = gateway.connect();
    connection.send(request("HEAD", "/", &[GZIP], ""));
    let head = connection.response_head();
    assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some("gzip"), None));
    assert_eq!(connection.get_with("/", &[GZIP]).status, 200, "nothing stands between the two");
}

#[test]
fn what_is_not_to_be_changed_is_not() {
    let body = text(2000);
    for head in [
        "200 OK\r\nContent-Type: image/png",
        "200 OK",
        "200 OK\r\nContent-Type: text/html\r\nContent-Encoding: br",
        "200 OK\r\nContent-Type: text/html\r\nCache-Control: no-transform",
        "206 Partial Content\r\nContent-Type: text/html\r\nContent-Range: bytes 0-1999/9999",
    ] {
        let upstream = answering(&format!("HTTP/1.1 {head}\r\nContent-Length: 2000"), &body);
        let response = gateway(&upstream).get_with("/", &[GZIP]);
        assert_eq!(response.body, body, "{head}");
        assert_eq!(response.header("vary"), None);
    }
    let upstream =
        answering("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1023", &text(1023));
    assert_eq!(gateway(&upstream).get_with("/", &[GZIP]).body.len(), 1023);
    let upstream = answering("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2000", &body);
    let response = gateway(&upstream).raw("GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(
        (response.body, response.headers.iter().any(|(name, _)| name == "vary")),
        (body.clone(), true)
    );
    let off = Gateway::start(&to_upstream(upstream.address(), ""));
    assert_eq!(off.get_with("/", &[GZIP]).body, body);
}

#[test]
fn events_do_not_wait_for_one_another() {
    for coding in ["zstd", "br", "gzip"] {
        let upstream = RawUpstream::start(|exchange| {
            exchange.read_head();
            exchange.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            // The second comes when the first has been read.
            exchange.wait_for_close();
        });
        let gateway = gateway(&upstream);
        let mut connection = gateway.connect();
        connection.send(request("GET", "/", &[("Accept-Encoding", coding)], ""));
        assert_eq!(connection.response_head().header("content-encoding"), Some(coding));
        let size = usize::from_str_radix(&connection.line(), 16).unwrap();
        let compressed = connection.take(size);
        let mut event = [0; 9];
        let mut decoder: Box<dyn std::io::Read> = match coding {
            "zstd" => Box::new(zstd::Decoder::new(&compressed[..]).unwrap()),
            "br" => Box::new(brotli::Decompressor::new(&compressed[..], 4096)),
            _ => Box::new(flate2::read::GzDecoder::new(&compressed[..])),
        };
        decoder.read_exact(&mut event).unwrap();
        assert_eq!(&event, b"data: 1\n\n");
    }
}

#[test]
fn an_answer_that_breaks_off_is_not_made_to_look_whole() {
    let upstream =
        answering("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5000", &text(3000));
    let gateway = gateway(&upstream);
    let mut connection = gateway.connect();
    connection.send(request("GET", "/", &[GZIP], ""));
    assert_eq!(connection.response_head().status, 200);
    assert!(!connection.rest().ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_websocket_passes() {
    let (gateway, _backend): (Gateway, MockBackend) = forwarding(ON);
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        GZIP,
    ];
    assert_eq!(gateway.get_with("/ws", &fields).status, 101);
}

#[test]
fn a_304_carries_what_the_answer_carried_that_it_stands_for() {
    let upstream = answering("HTTP/1.1 304 Not Modified\r\nETag: \"a\"", b"");
    let gateway = gateway(&upstream);
    for (asked, etag) in [("W/\"a\"", "W/\"a\""), ("\"a\"", "\"a\"")] {
        let response = gateway.get_with("/", &[GZIP, ("If-None-Match", asked)]);
        assert_eq!(response.status, 304);
        assert_eq!((response.header("etag"), response.header("vary")), (Some(etag), Some("Accept-Encoding")));
    }
}
