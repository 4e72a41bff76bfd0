//! A client's connection over which HTTP/2 is spoken: many requests at a time.
//!
//! Frames, flow control and header compression are the h2 crate's; which bounds hold is decided here. Each stream is a task of
//! its own on the worker of its connection, and goes through the proxy as an HTTP/1 request does. It ends when its client takes
//! the request back, whatever it waits for just then, and when the connection ends.

mod conduct;
mod pending_heads;
mod request;
mod stall;
mod stream;

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Ping, Reason, RecvStream};
use http::{HeaderValue, Method, Request, StatusCode};
use pingora::http::RequestHeader;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::conduct::{Conduct, Misdeed};
use self::pending_heads::{MonitoredStream, RefusalReason};
use self::stream::{Http2, Shared, Stream, lock};
use super::connection::Serving;
use super::exchange::{Exchange, watch};
use super::head::Refusal;
use super::open_connections::Registration;
use super::stream::ClientStream;
use super::until_draining;
use crate::engine::Reply;
use crate::engine::exchange::client_left;
use crate::proxy::connection::{Connection, Ending};
use crate::proxy::grpc;
use crate::proxy::request_id::new_request_id;

/// Requests that a client may have running on a connection. There are never more tasks than that for one.
const MAX_STREAMS: u32 = 128;

/// What a client may send of a body before somebody has read it. With half of it, a client that does not set TCP_NODELAY waits
/// for an acknowledgement with every half of that.
const STREAM_WINDOW: u32 = 128 << 10;

/// The same of all bodies on a connection: one that nobody reads is not to hold up the others.
const CONNECTION_WINDOW: u32 = MAX_STREAMS * STREAM_WINDOW;

/// What is kept of an answer that the client has not taken yet.
const SEND_BUFFER: usize = 32 << 10;

/// A client that sends so many requests on a connection that HTTP/2 itself forbids is sent away.
const MAX_MALFORMED: usize = 32;

/// Streams that were reset and are remembered for a while, since more of them may be on its way. The default of h2 is so small
/// that a few malformed requests end the connection.
const RESETS_REMEMBERED: usize = 256;

/// How long a client may take to notice that a connection without requests is being closed.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often a client with requests is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(30);

/// What a client gets that begins with anything but the preface: empty settings, and to go away for a protocol error (RFC 9113,
/// sections 3.4 and 6.8).
const NOT_HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01";

fn options(max_header_size: usize) -> Builder {
    let mut options = Builder::new();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(max_header_size).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .max_local_error_reset_streams(Some(MAX_MALFORMED));
    options
}

/// A request as the h2 crate gives it, with the way to answer it.
type Accepted = (Request<RecvStream>, SendResponse<Bytes>);

/// What decides in which form a client gets an answer of the gateway's own.
struct Caller {
    method: Method,
    grpc: bool,
}

impl Serving {
    /// Serves a connection until it closes. Its deadline is that of the preface.
    pub(super) async fn serve_http2(
        self: &Arc<Self>,
        stream: ClientStream,
        connection: &Arc<Connection>,
        registration: &Registration,
    ) {
        let (limits, max_requests) = self.limits();
        let clock = &self.gateway.clock;
        let stream = match stream.expect_preface().await {
            Ok(stream) => stream,
            Err(stream) => {
                if let Some(stream) = stream {
                    stream.answer_and_close(NOT_HTTP2).await;
                }
                return;
            }
        };
        let heads = pending_heads::Shared::default();
        let stream = MonitoredStream::new(stream, heads.clone());
        let Ok(mut http2) = options(limits.max_size).handshake::<_, Bytes>(stream).await else {
            return;
        };
        connection.set_deadline(None);
        let mut pings = http2.ping_pong();
        let mut running = JoinSet::new();
        let mut conduct = Conduct::default();
        let (mut accepted, mut closing, mut sent_away) = (0_u64, false, false);
        let drained = until_draining(self.draining.clone());
        tokio::pin!(drained);
        let alive = async {
            // Only one asks for it.
            match &mut pings {
                Some(pings) => until_silent(pings).await,
                None => pending().await,
            }
        };
        tokio::pin!(alive);
        loop {
            if closing {
                let goodbye = running.is_empty().then(|| clock.now().after(GOODBYE));
                connection.set_deadline(goodbye);
            }
            if running.is_empty() {
                registration.end_request(clock.now());
            }
            let (is_idle, may_come) = (running.is_empty(), running.len() < MAX_STREAMS as usize);
            tokio::select! {
                biased;
                () = &mut drained, if !closing => {
                    http2.graceful_shutdown();
                    closing = true;
                }
                () = &mut alive => break,
                Some(ended) = running.join_next() => {
                    if let Ok(Some(misdeed)) = ended {
                        conduct.note(misdeed, clock.now());
                    }
                }
                next = next_request(&mut http2, &heads, may_come) => match next {
                    Some(Ok(request)) => {
                        if !registration.begin_request() {
                            break;
                        }
                        accepted += 1;
                        conduct.note_request(clock.now());
                        self.begin(request, connection, &mut running);
                    }
                    Some(Err(reason)) => {
                        conduct.note_request(clock.now());
                        if reason != RefusalReason::TooMany {
                            conduct.note(Misdeed::Malformed, clock.now());
                        }
                        self.log_refused(connection, reason);
                    }
                    // The client, or the deadline, has ended it.
                    None => break,
                },
                // Only who waits here reads the clock.
                () = async { sleep(limits.idle_timeout).await }, if is_idle && !closing => {
                    http2.abrupt_shutdown(Reason::NO_ERROR);
                    closing = true;
                }
            }
            if !closing && max_requests.is_some_and(|most| accepted >= most) {
                // What is on its way by now is answered all the same.
                http2.graceful_shutdown();
                closing = true;
            }
            if !closing && conduct.is_unbearable() {
                http2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                (closing, sent_away) = (true, true);
            }
        }
        drop(http2);
        for reason in pending_heads::lock(&heads).rest(sent_away) {
            self.log_refused(connection, reason);
        }
        // With the connection everything ends that was done for it.
        running.shutdown().await;
    }

    /// Counts and logs a head whose request was not accepted.
    fn log_refused(&self, connection: &Connection, reason: RefusalReason) {
        let Refusal { status, detail } = match reason {
            RefusalReason::Malformed => Refusal::bad("the request head is malformed"),
            RefusalReason::TooLarge => Refusal::TOO_LARGE,
            RefusalReason::TooMany => Refusal {
                status: StatusCode::TOO_MANY_REQUESTS,
                detail: "the client has more requests running than a connection may have",
            },
            RefusalReason::Broken => {
                Refusal::bad("the client has broken the rules of HTTP/2 on this connection")
            }
            RefusalReason::Left => {
                Refusal { status: client_left(), detail: "the client left before its request was read" }
            }
        };
        self.log(connection, &Reply::problem(status, detail), &new_request_id());
    }

    /// Begins an exchange.
    fn begin(
        self: &Arc<Self>,
        (request, respond): Accepted,
        connection: &Connection,
        running: &mut JoinSet<Option<Misdeed>>,
    ) {
        let active = self.gateway.active();
        let clock = &self.gateway.clock;
        let certificate = connection.certificate.clone();
        let connection =
            Connection::new(connection.peer, connection.tls, self.closing.clone(), self.gateway.clone());
        let connection = Arc::new(connection.showing(certificate));
        connection.set_head_at(clock.now());
        let (head, body) = request.into_parts();
        let server = &active.config().server;
        let stream = Stream::new(
            body,
            respond,
            connection.clone(),
            clock.clone(),
            server.body_timeout,
            server.idle_timeout,
        );
        let serving = self.clone();
        running.spawn(
            async move { serving.answer(head.into(), Arc::new(Mutex::new(stream)), connection).await },
        );
    }

    /// Answers one request. Says what speaks against its client, if anything does.
    async fn answer(
        &self,
        mut request: RequestHeader,
        stream: Shared,
        connection: Arc<Connection>,
    ) -> Option<Misdeed> {
        let caller = Caller { method: request.method.clone(), grpc: grpc::is_call(&request) };
        if let Err(refusal) = request::prepare(&mut request) {
            let reply = Reply::problem(refusal.status, refusal.detail);
            let request_id = new_request_id();
            self.log(&connection, &reply, &request_id);
            self.reply(&stream, &caller, &reply, &request_id);
            return Some(Misdeed::Malformed);
        }
        {
            let mut stream = lock(&stream);
            let announced = request::take_length(&mut request, stream.is_body_done());
            stream.announce(announced);
        }
        let ending = {
            let exchange = Exchange::new(Http2::new(stream.clone()), request);
            let exchange = pin!(self.exchange(exchange, &connection));
            watch(exchange, &connection, |cx| lock(&stream).poll_end(cx)).await
        };
        if ending.is_none() {
            stream::see_off(&stream).await;
        }
        if ending == Some(Ending::Late) && !lock(&stream).has_answered() {
            self.reply(&stream, &caller, &Reply::late(), &new_request_id());
        }
        lock(&stream).was_taken_back().then_some(Misdeed::TakenBack)
    }

    /// Writes an answer of the gateway's own to a request that never became one, or is one no more.
    fn reply(&self, stream: &Shared, caller: &Caller, reply: &Reply, request_id: &HeaderValue) {
        let write = || -> pingora::Result<()> {
            let mut own = self.own_fields(request_id.clone());
            let (mut head, body) = crate::proxy::reply::build(reply, None, Some(request_id), &mut own)?;
            let active = self.gateway.active();
            crate::proxy::reply::set_everywhere(&active.config().server.response_headers, None, &mut head)?;
            own.replace_in(&mut head);
            let body = if caller.grpc { grpc::answer(reply, &mut head, &mut own, body)? } else { body };
            lock(stream).write_reply(&caller.method, &mut head, own, body)
        };
        // A client that is gone needs no answer.
        let _ = write();
    }
}

/// Waits for the next request, or for a head that the h2 crate refuses; if there may be no request just now, for the end of
/// the connection. Does meanwhile what the connection has to do. `None` if it has ended.
async fn next_request(
    http2: &mut h2::server::Connection<MonitoredStream, Bytes>,
    heads: &pending_heads::Shared,
    may_come: bool,
) -> Option<Result<Accepted, RefusalReason>> {
    if !may_come {
        // Whether it ended well or not, it has ended.
        let _ = poll_fn(|cx| http2.poll_closed(cx)).await;
        return None;
    }
    let mut accepting = pin!(http2.accept());
    poll_fn(|cx| match accepting.as_mut().poll(cx) {
        Poll::Ready(Some(Ok(request))) => {
            pending_heads::lock(heads).accept(request.1.stream_id().as_u32());
            Poll::Ready(Some(Ok(request)))
        }
        Poll::Ready(_) => Poll::Ready(None),
        // No request waits to be accepted.
        Poll::Pending => match pending_heads::lock(heads).refused() {
            Some(reason) => Poll::Ready(Some(Err(reason))),
            None => Poll::Pending,
        },
    })
    .await
}

/// Waits until the peer does not answer a ping any more: it has gone without a word.
async fn until_silent(pings: &mut h2::PingPong) {
    loop {
        sleep(PING_EVERY).await;
        if !matches!(timeout(PING_PATIENCE, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// The check of a request, for the fuzz targets.
#[cfg(any(fuzzing, test))]
pub(super) fn prepare(request: &mut RequestHeader) -> Result<(), Refusal> {
    request::prepare(request)
}
