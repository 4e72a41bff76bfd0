//! A client's connection, from accepting to closing: one request after the other.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderValue, StatusCode};
use pingora::apps::HttpServerApp as _;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use socket2::{Domain, SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::yield_now;

use super::connection_limit::{Admitted, ConnectionLimit, reset};
use super::drain::until_draining;
use super::exchange::{Exchange, Wire, watch};
use super::head::Refusal;
use super::open_connections::Registration;
use super::socket::Socket;
use super::stream::{Beginning, ClientStream, HeadLimits, NoRequest, Shared, lock};
use super::tcp::Tcp;
use super::tls::{Acceptor, Shaken};
use super::{date, http1};
use crate::client::ClientId;
use crate::client_certificate::ClientCertificate;
use crate::clock::wall_clock;
use crate::gateway::Gateway;
use crate::log_throttle::LogThrottle;
use crate::metrics::{ListenerMetrics, ProxyProtocolError};
use crate::proxy::Proxy;
use crate::proxy::context::{Context, hand_over};
use crate::proxy::door::Door;
use crate::proxy::own_fields::{OwnField, OwnFields};
use crate::proxy::request_id::new_request_id;
use crate::upstream::reason;

use crate::engine::{Exchange as Record, Peer, Reply};
use crate::proxy::connection::{Connection, Ending};

/// A client that disappears without closing its connection is noticed after two minutes, also at the end of a tunnel.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// How many bytes of an answer the kernel takes before they can be sent.
#[cfg(target_os = "linux")]
const MOST_UNSENT: u32 = 128 << 10;

/// What the connections of a listener share.
pub(super) struct Serving {
    pub(super) gateway: Arc<Gateway>,
    pub(super) door: Arc<Door>,
    pub(super) proxy: Arc<HttpProxy<Proxy>>,
    pub(super) metrics: ListenerMetrics,
    /// Whether connections begin with the PROXY protocol.
    pub(super) proxy_protocol: bool,
    /// `None` where no TLS is spoken.
    pub(super) tls: Option<Arc<Acceptor>>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    /// For errors of the PROXY protocol.
    pub(super) proxy_error_log: Arc<LogThrottle>,
    /// Whether connections close after the request that is running.
    pub(super) closing: Arc<AtomicBool>,
    /// Whether connections without a request stay open for one more.
    pub(super) patient: Arc<AtomicBool>,
    /// Becomes true when the listener drains.
    pub(super) draining: ShutdownWatch,
}

impl Serving {
    /// Admits a connection that was accepted, or resets it. Where the PROXY protocol is spoken, only trusted proxies are admitted.
    pub(super) fn admit(&self, socket: &impl AsFd, peer: SocketAddr) -> Option<(Admitted, Registration)> {
        if self.proxy_protocol && !self.gateway.active().engine.trusts(peer.ip()) {
            reset(socket);
            self.count_proxy_protocol_error(ProxyProtocolError::Untrusted, peer);
            return None;
        }
        let limit = &self.connection_limit;
        let admitted = limit.admit(socket, Peer::at(peer), &self.gateway, &self.metrics)?;
        Some((admitted, limit.register(socket, &self.gateway, &self.metrics)?))
    }

    /// Serves a connection until it closes.
    pub(super) async fn serve(
        self: &Arc<Self>,
        mut socket: TcpStream,
        peer: SocketAddr,
        registration: &Registration,
    ) {
        // A socket that cannot be set up has been closed.
        if set_up(&socket).is_err() {
            return;
        }
        let (peer, _admitted) = if self.proxy_protocol {
            let Some(client) = self.proxied_client(&mut socket, peer).await else { return };
            let admitted = self.connection_limit.admit(&socket, client, &self.gateway, &self.metrics);
            let Some(admitted) = admitted else { return };
            (client, Some(admitted))
        } else {
            (Peer::at(peer), None)
        };
        let Some((socket, mistaken)) = self.transport(Tcp::new(socket), peer.address).await else { return };
        // The handshake has read it before.
        let certificate = socket.client_certificate().and_then(|der| ClientCertificate::parse(der).ok());
        let connection =
            Connection::new(peer, self.tls.is_some(), self.closing.clone(), self.gateway.clone());
        let connection = Arc::new(connection.showing(certificate.map(Arc::new)));
        let (limits, max_requests) = self.limits();
        let clock = self.gateway.clock.clone();
        let negotiated_http2 = socket.negotiated_http2();
        let stream = ClientStream::new(socket, connection.clone(), clock, limits);
        if mistaken {
            let refusal = Refusal::bad("this port speaks HTTPS, and the request came in the clear");
            if let Some(answer) = self.refuse(&connection, NoRequest::Refused(refusal)) {
                stream.answer_and_close(&answer).await;
            }
            return;
        }
        if negotiated_http2 == Some(true) {
            connection.set_deadline(Some(self.gateway.clock.now().after(limits.header_timeout)));
            // Boxed, so that the task of a connection of HTTP/1 has no room for it.
            return Box::pin(self.serve_http2(stream, &connection, registration)).await;
        }
        self.serve_http1(stream, &connection, max_requests, registration).await;
    }

    /// What holds for a connection that is accepted now. The configuration is not kept: a connection may outlive it by days.
    pub(super) fn limits(&self) -> (HeadLimits, Option<u64>) {
        let active = self.gateway.active();
        let server = &active.config().server;
        let limits = HeadLimits {
            idle_timeout: server.idle_timeout,
            header_timeout: server.header_timeout,
            max_size: server.max_header_size,
            body_timeout: server.body_timeout,
            tunnel_timeout: server.tunnel_timeout,
        };
        (limits, server.max_requests_per_connection)
    }

    /// The transport of a connection, after the handshake if TLS is spoken, and whether the client has spoken HTTP without TLS by mistake;
    /// `None` if the handshake has failed.
    async fn transport(&self, socket: Tcp, peer: SocketAddr) -> Option<(Socket, bool)> {
        let Some(acceptor) = &self.tls else { return Some((Socket::Plain(socket), false)) };
        let draining = self.draining.clone();
        match acceptor.accept(socket, peer, &self.gateway, &self.metrics, draining).await {
            Shaken::Hands(stream) => Some((Socket::Tls(stream), false)),
            Shaken::PlainHttp(socket) => Some((Socket::Plain(socket), true)),
            Shaken::Nothing => None,
        }
    }

    /// Serves one request after the other until the connection closes, or HTTP/2 begins on it.
    async fn serve_http1(
        self: &Arc<Self>,
        stream: ClientStream,
        connection: &Arc<Connection>,
        mut left: Option<u64>,
        registration: &Registration,
    ) {
        let mut http2_may_begin = self.tls.is_none();
        let drained = until_draining(self.draining.clone());
        tokio::pin!(drained);
        let mut heeds_drain = true;
        let mut shared = Arc::new(Mutex::new(stream));
        // Between two exchanges there is no other reference.
        while let Some(stream) = Arc::get_mut(&mut shared) {
            let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
            let is_idle = stream.is_idle();
            registration.end_request(self.gateway.clock.now());
            let head = tokio::select! {
                biased;
                head = stream.next_head(http2_may_begin) => head,
                // A connection without a request can be closed without loss.
                () = &mut drained, if heeds_drain && is_idle => {
                    if !self.patient.load(Ordering::Acquire) {
                        return;
                    }
                    heeds_drain = false;
                    continue;
                }
            };
            if !registration.begin_request() {
                return;
            }
            http2_may_begin = false;
            let exchange = match head {
                Ok(Beginning::Request(request)) => {
                    count_request(&mut left, connection);
                    http1::begin(&shared, connection, request)
                }
                Ok(Beginning::Http2) => {
                    let Some(stream) = alone(shared) else { return };
                    return Box::pin(self.serve_http2(stream, connection, registration)).await;
                }
                Err(no_request) => {
                    return answer_and_close(shared, self.refuse(connection, no_request)).await;
                }
            };
            let ending = {
                // It is in memory of its own, which is freed with it: an idle connection would keep it in its task.
                let mut exchange = Box::pin(self.exchange(exchange, connection));
                watch(exchange.as_mut(), connection, |cx| lock(&shared).poll_end(cx)).await
            };
            match self.after_exchange(&mut shared, ending, connection).await {
                After::NextRequest => {}
                After::Close => break,
                After::Drop => return,
                After::Answer(answer) => return answer_and_close(shared, Some(answer)).await,
            }
        }
        if let Some(stream) = alone(shared) {
            stream.close().await;
        }
    }

    /// Decides what becomes of the connection after an exchange, which has been ended early if there is an `ending`.
    async fn after_exchange(
        &self,
        shared: &mut Shared,
        ending: Option<Ending>,
        connection: &Connection,
    ) -> After {
        let Some(stream) = Arc::get_mut(shared) else { return After::Drop };
        let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
        match ending {
            None if connection.may_go_on() && (stream.is_body_done() || stream.drain_body().await) => {
                if !stream.is_idle() {
                    // The next request is there already. Other tasks of this worker run first.
                    yield_now().await;
                }
                After::NextRequest
            }
            None => After::Close,
            Some(Ending::Late) if !connection.has_begun_answer() => {
                After::Answer(self.text_of(&Reply::late(), &new_request_id()))
            }
            Some(_) => After::Drop,
        }
    }

    /// Has a request answered: by the gateway itself, or through Pingora by an upstream.
    pub(super) async fn exchange<W: Wire>(&self, mut exchange: Exchange<W>, connection: &Arc<Connection>) {
        let mut context = Context::new(exchange.request(), connection);
        match self.door.admit(exchange.request_mut(), &mut context).await {
            Ok(()) => {
                let session = ServerSession::new_custom(Box::new(exchange));
                let forwarding = self.proxy.process_new_http(session, &self.draining);
                hand_over(context, forwarding).await;
            }
            Err(reply) => {
                let answered = match self.door.finished(&reply, exchange.request(), &mut context) {
                    Ok((head, body)) => exchange.answer(head, body).await,
                    Err(error) => Err(error),
                };
                if answered.is_err() {
                    exchange.abandon();
                }
                context.note_sent(exchange.sent());
                context.finish(match answered {
                    Ok(()) => reply.problem_for_the_record().map(str::to_owned),
                    Err(error) => Some(reason(&error)),
                });
            }
        }
    }

    /// Counts and logs a head that is not passed on. Returns the answer, unless the client has gone.
    fn refuse(&self, connection: &Connection, no_request: NoRequest) -> Option<BytesMut> {
        let reply = match no_request {
            NoRequest::Gone => return None,
            NoRequest::TimedOut => {
                Reply::problem(StatusCode::REQUEST_TIMEOUT, "the request head did not arrive in time")
            }
            NoRequest::Refused(refusal) => Reply::problem(refusal.status, refusal.detail),
        };
        let request_id = new_request_id();
        self.log(connection, &reply, &request_id);
        Some(self.text_of(&reply, &request_id))
    }

    /// An answer after which the connection closes, as HTTP/1.
    fn text_of(&self, reply: &Reply, request_id: &HeaderValue) -> BytesMut {
        let active = self.gateway.active();
        let everywhere = &active.config().server.response_headers.set;
        http1::answer::closing(reply, &self.own_fields(request_id.clone()), everywhere, request_id)
    }

    /// The fields of an answer to a request that did not get through the door, or whose exchange has been ended.
    pub(super) fn own_fields(&self, request_id: HeaderValue) -> OwnFields {
        let mut own = OwnFields::default();
        own.push(OwnField::RequestId, request_id);
        own.push(OwnField::Date, date::now());
        if let Some(name) = &self.gateway.active().config().server.server_header {
            own.push(OwnField::Server, name.clone());
        }
        own
    }

    /// Counts and logs a request whose head could not be read. Nothing of what the client sent is logged.
    pub(super) fn log(&self, connection: &Connection, reply: &Reply, request_id: &HeaderValue) {
        let exchange = Record::unread(
            ClientId::Address(connection.peer.address.ip().to_canonical()),
            request_id.clone(),
            reply.status(),
            reply.detail().to_owned(),
            wall_clock(),
        );
        self.gateway.active().record(&self.gateway.metrics, None, &exchange);
    }
}

/// Sets up a socket, so that small answers do not wait for the client's acknowledgement, and so that it is seen whether a slow client
/// takes something, which it is not if the kernel buffers megabytes for it.
fn set_up(socket: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if socket.domain()? == Domain::UNIX {
        // A Unix socket has no packets, and its peer cannot disappear.
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(MOST_UNSENT)?;
    Ok(())
}

/// Counts a request against those that a connection has `left`. After the last one the connection closes.
fn count_request(left: &mut Option<u64>, connection: &Connection) {
    if let Some(left) = left {
        *left -= 1;
        if *left == 0 {
            connection.close_after_this();
        }
    }
}

/// What becomes of a connection after an exchange.
enum After {
    /// It waits for the next request.
    NextRequest,
    /// It is closed, so that the client can read the answer.
    Close,
    /// It is dropped at once.
    Drop,
    /// It gets this answer, and is closed.
    Answer(BytesMut),
}

/// Sends an answer, if there is one, and closes the connection.
async fn answer_and_close(shared: Shared, answer: Option<BytesMut>) {
    if let (Some(answer), Some(stream)) = (answer, alone(shared)) {
        stream.answer_and_close(&answer).await;
    }
}

/// A connection without other references.
fn alone(shared: Shared) -> Option<ClientStream> {
    Some(Arc::into_inner(shared)?.into_inner().unwrap_or_else(PoisonError::into_inner))
}
