//! The clients that try it, and an upstream that writes down what it receives.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::support::gateway::Gateway;
use crate::support::http2::{DATA, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM};
use crate::support::{PATIENCE, eventually};

/// What somebody else sends on the same connection.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: next\r\nConnection: close\r\n\r\n";

/// The bytes that come back on a connection for these, until it is closed.
pub(super) fn http1(gateway: &Gateway, input: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(gateway.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(&[input, NEXT.as_bytes()].concat()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    answer
}

/// What comes back on a stream with these fields, a line each, and after an empty line a body.
pub(super) fn http2(gateway: &Gateway, input: &str) -> Vec<u8> {
    let (fields, body) = input.split_once("\n\n").unwrap_or((input.trim_end(), ""));
    let body = super::text::unescape(body);
    let fields: Vec<_> = fields.lines().map(super::text::unescape).collect();
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|line| {
            let line = std::str::from_utf8(line).unwrap();
            // The name of a pseudo-field begins with a colon.
            let colon = line[1..].find(": ").unwrap() + 1;
            (&line[..colon], &line[colon + 2..])
        })
        .collect();
    let mut frames = Frames::open(gateway.address());
    frames.send_headers(1, &fields, body.is_empty());
    if !body.is_empty() {
        frames.send(DATA, END_STREAM, 1, &body);
    }
    let mut answer = Vec::new();
    while let Some(frame) = frames.next_of(&[HEADERS, DATA, RST_STREAM, GOAWAY]) {
        match frame.kind {
            HEADERS => answer.extend(format!("status {}\r\n", status(&frame.payload)).into_bytes()),
            DATA => answer.extend_from_slice(&frame.payload),
            RST_STREAM => answer.extend(format!("reset, code {}", frame.payload[3]).into_bytes()),
            _ => answer.extend(format!("sent away, code {}", frame.payload[7]).into_bytes()),
        }
        // A frame that ends the connection, or the stream, by its kind or by its flag.
        if !matches!(frame.kind, HEADERS | DATA) || frame.flags & END_STREAM != 0 {
            break;
        }
    }
    answer
}

/// The status, as far as HPACK's static table has it.
fn status(block: &[u8]) -> String {
    match block[0] {
        0x88 => "200".to_owned(),
        0x8c => "400".to_owned(),
        0x8d => "404".to_owned(),
        _ => format!("{:02x?}", &block[..5]),
    }
}

/// An upstream that takes one request a connection, answers, and writes down what it receives until the connection is closed.
pub(super) struct Bystander {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connections: Vec<Vec<u8>>,
    open: usize,
}

impl Bystander {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let log = seen.clone();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let mut now = lock(&log);
                let index = now.connections.len();
                now.connections.push(Vec::new());
                now.open += 1;
                drop(now);
                let log = log.clone();
                thread::spawn(move || {
                    serve(socket, &log, index);
                    lock(&log).open -= 1;
                });
            }
        });
        Self { address, seen }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has been received since the last time, connection by connection, once all are closed. How far a request has come
    /// that is broken off is a matter of luck, so those are left out.
    pub(super) fn received(&self) -> Vec<Vec<u8>> {
        let mut received = eventually("the upstream's connections are closed", || {
            let mut seen = lock(&self.seen);
            (seen.open == 0).then(|| std::mem::take(&mut seen.connections))
        });
        received.retain(|bytes| is_whole(bytes));
        received
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap()
}

fn serve(mut socket: TcpStream, log: &Mutex<Seen>, index: usize) {
    let (mut answered, mut buffer) = (false, [0; 4096]);
    while let Ok(count @ 1..) = socket.read(&mut buffer) {
        let mut seen = lock(log);
        let bytes = &mut seen.connections[index];
        bytes.extend_from_slice(&buffer[..count]);
        let switches = bytes.starts_with(b"GET /switch ");
        let (whole, over) = (is_whole(bytes), bytes.ends_with(NEXT.as_bytes()));
        drop(seen);
        if whole && !answered {
            answered = true;
            let answer = match switches {
                true => {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                }
                false => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            };
            // That the gateway is gone by now is its business.
            let _ = socket.write_all(answer.as_bytes());
        }
        if switches && over {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Whether a request is there with all of its body, as an upstream reads it.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    match length {
        _ if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        length => body.len() >= length.unwrap_or(0),
    }
}
