//! An HTTP/1.1 client that sends what it is told, also what no proper client would.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};

use super::{PATIENCE, tls};

/// A connection. What was read beyond an answer waits for the next one.
pub(crate) struct Connection {
    transport: Transport,
    read: Vec<u8>,
}

enum Transport {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Transport {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    fn stream(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Tcp(socket) => socket,
            Self::Tls(stream) => stream,
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

#[track_caller]
fn connected(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// `GET`s a target on a new connection.
#[track_caller]
pub(crate) fn get(address: SocketAddr, target: &str, fields: &[(&str, &str)]) -> Response {
    let mut connection = Connection::open(address);
    connection.send(request("GET", target, fields, ""));
    connection.response()
}

/// The text of a request. `Host` is `localhost` unless it is among the fields; a body has a `Content-Length`.
pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: localhost\r\n");
    }
    for (name, value) in fields {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    if !body.is_empty() {
        write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    text + "\r\n" + body
}

impl Connection {
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self { transport: Transport::Tcp(connected(address)), read: Vec::new() }
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// When the handshake fails; with TLS 1.3, what the server makes of it shows with the first answer only.
    #[track_caller]
    pub(crate) fn open_tls(address: SocketAddr, client: tls::Client) -> std::io::Result<Self> {
        Self::open_tls_behind(address, b"", client)
    }

    /// The same, after these bytes.
    #[track_caller]
    pub(crate) fn open_tls_behind(
        address: SocketAddr,
        before: &[u8],
        client: tls::Client,
    ) -> std::io::Result<Self> {
        let mut socket = connected(address);
        socket.write_all(before)?;
        let mut stream = StreamOwned::new(client.start(), socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { transport: Transport::Tls(Box::new(stream)), read: Vec::new() })
    }

    /// What the server has shown of itself, if it speaks TLS.
    pub(crate) fn tls(&self) -> &ClientConnection {
        match &self.transport {
            Transport::Tcp(_) => panic!("this connection is not encrypted"),
            Transport::Tls(stream) => &stream.conn,
        }
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends as much as the other side takes.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.transport.stream().write_all(bytes.as_ref())
    }

    /// Whether the other side sends something, or closes, within this time.
    pub(crate) fn has_something_within(&mut self, time: Duration) -> bool {
        let socket = self.transport.socket();
        socket.set_read_timeout(Some(time)).unwrap();
        let peeked = socket.peek(&mut [0]);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        peeked.is_ok()
    }

    /// Sends a `GET` and reads its answer.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.get_with(target, &[])
    }

    /// The same, with header fields.
    #[track_caller]
    pub(crate) fn get_with(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        self.send(request("GET", target, fields, ""));
        self.response()
    }

    /// Reads an answer; `None` if the other side breaks off instead.
    pub(crate) fn try_response(&mut self) -> Option<Response> {
        let mut first = [0];
        let count = self.transport.stream().read(&mut first).ok()?;
        self.read.extend_from_slice(&first[..count]);
        (count > 0).then(|| self.response())
    }

    /// Reads an answer, that of a `HEAD` request excepted.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        let mut response = self.response_head();
        response.body = match (response.status, response.header("transfer-encoding"), response.length()) {
            (100..=199 | 204 | 304, _, _) => Vec::new(),
            (_, Some("chunked"), _) => self.chunks(),
            (_, None, Some(length)) => self.take(length),
            _ => self.rest(),
        };
        response
    }

    /// Reads the head of an answer.
    #[track_caller]
    pub(crate) fn response_head(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill(), "closed before a whole head: {:?}", String::from_utf8_lossy(&self.read));
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut parsed = httparse::Response::new(&mut fields);
        assert!(parsed.parse(&head).unwrap().is_complete());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Response {
            status: parsed.code.unwrap(),
            headers: parsed.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect(),
            body: Vec::new(),
        }
    }

    /// Reads a line, without its end.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.read.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.fill(), "closed before a whole line");
        }
    }

    /// Reads exactly this many bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.fill(), "closed after {} of {count} bytes", self.read.len());
        }
        self.read.drain(..count).collect()
    }

    /// Reads until the other side closes; a reset is a close.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.read)
    }

    /// Whether the other side closes without sending another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    #[track_caller]
    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                while !self.line().is_empty() {}
                return body;
            }
            body.extend(self.take(size));
            assert_eq!(self.line(), "");
        }
    }

    /// Reads something more; false if the other side has closed.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.transport.stream().read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // A read with a timeout is not resumed after the process was stopped for a while.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.fill(),
            Err(error) => {
                panic!("nothing to read: {error}; so far {:?}", String::from_utf8_lossy(&self.read))
            }
        }
    }
}

impl Response {
    /// The value of a header field; `None` unless there is exactly one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// Checks that it is an answer of the gateway's own with this status, and that it says so itself.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{problem}");
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length").map(|length| length.parse().unwrap())
    }
}
