//! A client's connection, from accepting to closing: one request after the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, Method, StatusCode};
use pingora::apps::HttpServerApp as _;
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::net::TcpStream;

use super::doorman::Doorman;
use super::socket::Socket;
use super::stream::{Beginning, ClientStream, HeadLimits, NoRequest};
use super::tls::Acceptor;
use super::until_draining;
use crate::access_log::Entry;
use crate::clock::wall_clock;
use crate::gateway::Gateway;
use crate::metrics::{ListenerMetrics, Running};
use crate::proxy::Proxy;
use crate::proxy::admission::new_request_id;
use crate::proxy::connection::Connection;
use crate::proxy::reply::Reply;

/// What serving the connections of a listener takes.
pub(super) struct Serving {
    pub(super) gateway: Arc<Gateway>,
    pub(super) proxy: Arc<HttpProxy<Proxy>>,
    pub(super) metrics: ListenerMetrics,
    /// Whether connections begin with the PROXY protocol.
    pub(super) proxy_protocol: bool,
    /// `None` where no TLS is spoken.
    pub(super) tls: Option<Arc<Acceptor>>,
    /// Whoever lets clients in.
    pub(super) doorman: Arc<Doorman>,
    /// Whether connections close after the request that is running.
    pub(super) closing: Arc<AtomicBool>,
    /// Whether those between requests stay open for one more.
    pub(super) patient: Arc<AtomicBool>,
    /// Becomes true when the listener drains.
    pub(super) draining: ShutdownWatch,
}

impl Serving {
    /// Serves a connection until it closes.
    pub(super) async fn serve(self: &Arc<Self>, mut socket: TcpStream, peer: SocketAddr) {
        let _running = Running::start(&self.metrics.connections);
        // Small answers are not to wait for the client's acknowledgement. A socket that cannot be set is dead.
        if socket.set_nodelay(true).is_err() {
            return;
        }
        let (peer, _entry) = if self.proxy_protocol {
            let Some(client) = self.introduce(&mut socket, peer).await else { return };
            let Some(entry) = self.doorman.admit(&socket, client, self) else { return };
            (client, Some(entry))
        } else {
            (peer, None)
        };
        let socket = match &self.tls {
            Some(acceptor) => match acceptor.accept(socket, peer, self).await {
                Some(stream) => Socket::Tls(Box::new(stream)),
                None => return,
            },
            None => Socket::Plain(socket),
        };
        let connection = Arc::new(Connection::new(peer, self.tls.is_some(), self.closing.clone()));
        let live = self.gateway.live();
        let server = &live.config.server;
        let limits = HeadLimits {
            idle_timeout: server.idle_timeout,
            header_timeout: server.header_timeout,
            max_size: server.max_header_size,
        };
        let clock = self.gateway.clock.clone();
        let negotiated_http2 = socket.negotiated_http2();
        let mut stream = Box::new(ClientStream::new(socket, connection.clone(), clock, limits));
        if negotiated_http2 == Some(true) {
            connection.set_deadline(Some(self.gateway.clock.now().after(limits.header_timeout)));
            return self.serve_http2(stream, &connection).await;
        }
        let mut http2_may_begin = self.tls.is_none();
        let mut left = server.max_requests_per_connection;
        let drained = until_draining(self.draining.clone());
        tokio::pin!(drained);
        let mut heeds_drain = true;
        loop {
            let head = tokio::select! {
                biased;
                head = stream.next_head(http2_may_begin) => head,
                // Nothing is lost with a connection between requests.
                () = &mut drained, if heeds_drain && stream.is_idle() => {
                    if !self.patient.load(Ordering::Acquire) {
                        return;
                    }
                    heeds_drain = false;
                    continue;
                }
            };
            let head = match head {
                Ok(Beginning::Head(head)) => head,
                Ok(Beginning::Http2) => return self.serve_http2(stream, &connection).await,
                Err(NoRequest::Gone) => return,
                Err(no_request) => return self.refuse(*stream, &connection, no_request).await,
            };
            http2_may_begin = false;
            if let Some(left) = &mut left {
                *left -= 1;
                if *left == 0 {
                    connection.close_after_this();
                }
            }
            let mut session = ServerSession::new_http1(stream);
            session.set_pipelined_prefix(head);
            session.set_connection_user_context(Some(Box::new(connection.clone())));
            let Some(reused) = self.proxy.process_new_http(session, &self.draining).await else { return };
            let (returned, _) = reused.consume();
            stream = match returned.into_any().downcast::<ClientStream>() {
                Ok(stream) => stream,
                // It is the very stream that was handed in.
                Err(_) => return,
            };
        }
    }

    /// Answers a head that is not passed on, and closes.
    async fn refuse(&self, stream: ClientStream, connection: &Connection, no_request: NoRequest) {
        let reply = match no_request {
            NoRequest::Gone => return,
            NoRequest::TimedOut => {
                Reply::problem(StatusCode::REQUEST_TIMEOUT, "the request head did not arrive in time")
            }
            NoRequest::Refused(refusal) => Reply::problem(refusal.status, refusal.detail),
        };
        let request_id = new_request_id();
        self.log(connection, &reply, &request_id);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&wall_clock());
        let date = date.ok().and_then(|date| HeaderValue::from_str(&date).ok());
        let mut fields = vec![("X-Request-Id", request_id.clone())];
        fields.extend(date.map(|date| ("Date", date)));
        fields.extend(self.gateway.live().config.server.server_header.clone().map(|name| ("Server", name)));
        stream.answer_and_close(&reply.to_http1(&fields, &request_id)).await;
    }

    /// Counts and logs a request that never became one: nothing of what was sent is known to mean anything.
    pub(super) fn log(&self, connection: &Connection, reply: &Reply, request_id: &HeaderValue) {
        let live = self.gateway.live();
        let unknown = Method::from_bytes(b"OTHER").unwrap_or_default();
        live.traffic.route(None).requests.count(&unknown, reply.status());
        if let Some(log) = &live.outputs.access_log {
            log.write(&Entry {
                request_id: request_id.to_str().unwrap_or_default(),
                client: &connection.peer.ip().to_canonical(),
                status: reply.status().as_u16(),
                error: Some(reply.detail().to_owned()),
                ..Entry::unread(wall_clock())
            });
        }
    }
}
