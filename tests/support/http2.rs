//! HTTP/2 clients, the h2 crate's and one that writes frames itself, also what no proper client would; and an upstream.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::http::Response;
use super::{PATIENCE, tls};

/// A connection.
pub(crate) struct Connection {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    driver: Option<JoinHandle<Result<(), h2::Error>>>,
}

/// A request that is being made.
pub(crate) struct Exchange {
    pub(crate) response: ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

/// A request for a target, without a body.
pub(crate) fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://localhost{target}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

impl Connection {
    /// Connects, and knows that HTTP/2 is spoken there.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        let runtime = runtime();
        let socket = runtime.block_on(tokio::net::TcpStream::connect(address)).unwrap();
        Self::over(runtime, socket)
    }

    /// Connects, and chooses HTTP/2 in the handshake.
    #[track_caller]
    pub(crate) fn open_tls(address: SocketAddr, client: tls::Client) -> Self {
        let runtime = runtime();
        let connector = TlsConnector::from(Arc::new(client.speaking(&["h2", "http/1.1"]).config()));
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpStream::connect(address).await.unwrap();
            connector.connect(client.host(), socket).await.unwrap()
        });
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(runtime, stream)
    }

    #[track_caller]
    fn over(runtime: Runtime, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        // The windows that HTTP/2 begins with are too small for a fair share of what tests send.
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(16 << 20);
        let (send, connection) = runtime.block_on(builder.handshake(io)).unwrap();
        let driver = Some(runtime.spawn(connection));
        Self { runtime, send, driver }
    }

    /// Waits for something.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        let waited = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, what).await });
        waited.unwrap_or_else(|_| panic!("still not after {PATIENCE:?}"))
    }

    /// Begins a request.
    #[track_caller]
    pub(crate) fn start(&mut self, request: Request<()>, end: bool) -> Exchange {
        self.send = self.wait(self.send.clone().ready()).unwrap();
        let (response, body) = self.send.send_request(request, end).unwrap();
        Exchange { response, body }
    }

    /// How many requests the server takes at a time, as far as it has said.
    pub(crate) fn max_streams(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// Whether the server has not told it to go away.
    pub(crate) fn is_usable(&self) -> bool {
        self.wait(self.send.clone().ready()).is_ok()
    }

    /// `GET`s a target.
    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(request("GET", target, &[]), "")
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub(crate) fn send(&mut self, request: Request<()>, body: impl Into<Bytes>) -> Response {
        self.try_send(request, body).unwrap()
    }

    /// The same, if there is a whole answer.
    #[track_caller]
    pub(crate) fn try_send(
        &mut self,
        request: Request<()>,
        body: impl Into<Bytes>,
    ) -> Result<Response, h2::Error> {
        let body = body.into();
        let mut exchange = self.start(request, body.is_empty());
        if !body.is_empty() {
            // The h2 crate keeps it until the windows open.
            exchange.body.send_data(body, true)?;
        }
        self.wait(exchange.answer())
    }

    /// Waits until the server has closed the connection: why it said that it did.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> Option<Reason> {
        match self.ended() {
            Ok(()) => None,
            Err(error) => Some(error.reason().unwrap_or_else(|| panic!("{error}"))),
        }
    }

    /// Waits until the server has closed the connection. A client that is still writing may see the end before the reason.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Result<(), h2::Error> {
        let driver = self.driver.take().expect("this is waited for once");
        self.wait(driver).unwrap()
    }
}

impl Exchange {
    /// Waits for the whole answer.
    pub(crate) async fn answer(self) -> Result<Response, h2::Error> {
        let (head, body) = self.response.await?.into_parts();
        let (body, trailers) = rest(body).await?;
        let fields = head.headers.iter().chain(trailers.iter());
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = fields.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        Ok(Response { status: head.status.as_u16(), headers, body })
    }
}

/// The rest of a body, and its trailers.
async fn rest(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut read = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        read.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok((read, body.trailers().await?.unwrap_or_default()))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A connection whose frames the test writes itself.
pub(crate) struct Frames {
    socket: TcpStream,
    /// What has been read and not been asked for yet.
    ahead: VecDeque<Frame>,
}

/// A frame: its type, its stream, and what it carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Fields, uncompressed and as they are.
pub(crate) fn block(fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend_from_slice(text);
        }
    }
    block
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

impl Frames {
    /// Connects, and sends the preface and empty settings.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::open_behind(address, b"")
    }

    /// The same, after what a proxy sends before.
    #[track_caller]
    pub(crate) fn open_behind(address: SocketAddr, before: &[u8]) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut frames = Self { socket, ahead: VecDeque::new() };
        frames.socket.write_all(&[before, PREFACE].concat()).unwrap();
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Takes a connection of the gateway's to an upstream, and reads its preface.
    #[track_caller]
    pub(crate) fn accept(socket: &TcpStream) -> Self {
        let mut socket = socket.try_clone().unwrap();
        let mut preface = [0; PREFACE.len()];
        socket.read_exact(&mut preface).unwrap();
        assert_eq!(preface, PREFACE);
        let mut frames = Self { socket, ahead: VecDeque::new() };
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Sends a frame; that the gateway has closed by now is its business.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.send_raw(&frame);
    }

    /// Sends bytes.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Sends a request's fields, uncompressed and as they are.
    pub(crate) fn send_headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields));
    }

    /// Waits until the gateway has read all that was sent so far.
    #[track_caller]
    pub(crate) fn round_trip(&mut self) {
        let sent = *b"the last";
        self.send(PING, 0, 0, &sent);
        loop {
            let frame = self.read_frame().expect("the connection goes on");
            if frame.kind == PING {
                assert_eq!((frame.flags, &frame.payload[..]), (ACK, &sent[..]));
                return;
            }
            self.ahead.push_back(frame);
        }
    }

    /// The next frame; `None` when the connection is closed.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Frame> {
        self.ahead.pop_front().or_else(|| self.read_frame())
    }

    fn read_frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of this kind.
    #[track_caller]
    pub(crate) fn next_of(&mut self, kinds: &[u8]) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| kinds.contains(&frame.kind))
    }

    /// The status that a request gets; `None` if its stream is reset or the connection closed instead.
    #[track_caller]
    pub(crate) fn status(&mut self) -> Option<u16> {
        let frame = self.next_of(&[HEADERS, RST_STREAM, GOAWAY]).filter(|frame| frame.kind == HEADERS)?;
        let mut fields = Vec::new();
        // The status comes first: in HPACK's static table, or as a value of three bytes.
        Some(match frame.payload[0] {
            0x88 => 200,
            0x89 => 204,
            0x8c => 400,
            0x8d => 404,
            _ => {
                fields.extend_from_slice(&frame.payload[1..8]);
                panic!("not a status that is expected here: {fields:?}")
            }
        })
    }
}

/// An upstream that speaks HTTP/2. What it does with a request depends on the path:
/// `/echo` sends the body back as it comes, and then trailers; `/refuse` answers with trailers alone; `/drop` resets the
/// stream, and `/reset` does so in the middle of an answer, when the body ends; `/wait` never answers; `/busy` refuses the first request.
pub(crate) struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Upstream {
    /// Starts one, with TLS or in the clear.
    #[track_caller]
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let busy = Arc::new(AtomicBool::new(true));
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let busy = busy.clone();
                match tls.clone().map(TlsAcceptor::from) {
                    None => drop(tokio::spawn(serve(socket, busy))),
                    Some(acceptor) => drop(tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(socket).await {
                            serve(stream, busy).await;
                        }
                    })),
                }
            }
        });
        Self { address, connections, _runtime: runtime }
    }

    /// Starts one at a Unix socket, in the clear. It ends with the runtime that is given along.
    #[track_caller]
    pub(crate) fn at_socket(path: &std::path::Path) -> Runtime {
        let runtime = runtime();
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(path) }).unwrap();
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                drop(tokio::spawn(serve(socket, Arc::new(AtomicBool::new(true)))));
            }
        });
        runtime
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An upstream that speaks HTTP/2 with the h2 crate, which looks at no request while it stands still. It answers when it goes on.
pub(crate) struct HaltingUpstream {
    address: SocketAddr,
    stands_still: watch::Sender<bool>,
    taken: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl HaltingUpstream {
    /// Starts one that takes requests, and keeps their answers until it goes on.
    #[track_caller]
    pub(crate) fn start() -> Self {
        let runtime = runtime();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stands_still, state) = watch::channel(false);
        let taken = Arc::new(AtomicUsize::new(0));
        let counter = taken.clone();
        runtime.spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve_haltingly(socket, state.clone(), counter.clone()));
            }
        });
        Self { address, stands_still, taken, _runtime: runtime }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has looked at.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// From now on it looks at no request.
    pub(crate) fn stand_still(&self) {
        self.stands_still.send_replace(true);
    }

    /// It looks at requests again, and answers.
    pub(crate) fn go_on(&self) {
        self.stands_still.send_replace(false);
    }
}

async fn serve_haltingly(
    socket: tokio::net::TcpStream,
    mut stands_still: watch::Receiver<bool>,
    taken: Arc<AtomicUsize>,
) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    loop {
        if *stands_still.borrow_and_update() {
            // Frames are read all the same, as long as it lasts.
            tokio::select! {
                _ = std::future::poll_fn(|cx| connection.poll_closed(cx)) => return,
                _ = stands_still.changed() => continue,
            }
        }
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            _ = stands_still.changed() => continue,
        };
        let Some(Ok((request, mut respond))) = accepted else { return };
        taken.fetch_add(1, Ordering::SeqCst);
        let mut stands_still = stands_still.clone();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(_)) = body.data().await {}
            // It has stood still and goes on.
            let stood_still = stands_still.wait_for(|still| *still).await.is_ok();
            if stood_still && stands_still.wait_for(|still| !*still).await.is_ok() {
                let _ = respond.send_response(http::Response::new(()), true);
            }
        });
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, busy: Arc<AtomicBool>) {
    // Bodies that it does not read hold up no others on the same connection, of which there may be one or several.
    let mut server = h2::server::Builder::new();
    let Ok(mut connection) = server.initial_connection_window_size(64 << 20).handshake(io).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let busy = busy.clone();
        tokio::spawn(async move {
            // However it ends, the client will notice.
            let _ = answer(request, respond, &busy).await;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    busy: &AtomicBool,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let field = |name: &str| head.headers.get(name).map_or("none", |value| value.to_str().unwrap());
    let response = |status: u16| {
        let response = http::Response::builder().status(status).header("content-type", "application/grpc");
        response.header(
            "x-seen",
            format!("{} {} te={} host={}", head.method, head.uri, field("te"), field("host")),
        )
    };
    match head.uri.path() {
        "/refuse" => {
            let refusal = response(200).header("grpc-status", "7").body(()).unwrap();
            respond.send_response(refusal, true)?;
        }
        "/drop" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/reset" => {
            let mut send = respond.send_response(response(200).body(()).unwrap(), false)?;
            send.send_data(Bytes::from("half"), false)?;
            while let Some(Ok(_)) = body.data().await {}
            send.send_reset(Reason::INTERNAL_ERROR);
        }
        "/busy" if busy.swap(false, Ordering::SeqCst) => respond.send_reset(Reason::REFUSED_STREAM),
        "/wait" => std::future::pending().await,
        _ => {
            let mut send = respond.send_response(response(200).body(()).unwrap(), false)?;
            while let Some(piece) = body.data().await {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                send.send_data(piece, false)?;
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            send.send_trailers(trailers)?;
        }
    }
    Ok(())
}
