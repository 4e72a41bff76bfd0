//! A client's connection over which HTTP/2 is spoken: many requests at a time.
//!
//! Frames, flow control and header compression are the h2 crate's, by way of Pingora's session; which bounds hold is
//! decided here. Each stream is a task of its own on the worker of its connection, and goes through the proxy as an
//! HTTP/1 request does.

mod request;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use h2::Reason;
use http::{Method, header};
use pingora::apps::HttpServerApp as _;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::custom::server::Session as _;
use pingora::protocols::http::v2::server::{self, H2Accept, H2Options, HttpSession};
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::stream::Stream;
use super::connection::Serving;
use super::head::Refusal;
use super::stream::ClientStream;
use super::until_draining;
use crate::proxy::admission::new_request_id;
use crate::proxy::connection::Connection;
use crate::proxy::reply::Reply;

/// Requests that a client may have running on a connection.
const MAX_STREAMS: u32 = 128;

/// What a client may send of a body before somebody has read it.
const STREAM_WINDOW: u32 = 128 << 10;

/// The same of all bodies on a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;

/// What is kept of an answer that the client has not taken yet.
const SEND_BUFFER: usize = 64 << 10;

/// A client that sends so many malformed requests on a connection is sent away.
const MAX_MALFORMED: usize = 32;

/// A client may take back so many requests on a connection, or half of those that it makes, whatever is more
/// (CVE-2023-44487).
const MAX_CANCELLED: u32 = 200;

/// How long a client may take to notice that a connection without requests is being closed.
const GOODBYE: Duration = Duration::from_secs(2);

fn options(max_header_size: usize) -> H2Options {
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(max_header_size).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_local_error_reset_streams(Some(MAX_MALFORMED));
    options
}

impl Serving {
    /// Serves a connection until it closes. Its deadline is that of the preface.
    pub(super) async fn serve_http2(
        self: &Arc<Self>,
        mut stream: Box<ClientStream>,
        connection: &Arc<Connection>,
    ) {
        let live = self.gateway.live();
        let config = &live.config.server;
        let clock = &self.gateway.clock;
        stream.become_http2();
        let Ok(mut http2) = server::handshake(stream, Some(options(config.max_header_size))).await else {
            return;
        };
        connection.set_deadline(None);
        let digest = Arc::new(Digest::default());
        let mut running = JoinSet::new();
        let cancelled = Arc::new(AtomicU32::new(0));
        let (mut accepted, mut malformed, mut closing) = (0_u32, 0, false);
        let drained = until_draining(self.draining.clone());
        tokio::pin!(drained);
        loop {
            if closing {
                let goodbye = running.is_empty().then(|| clock.now().after(GOODBYE));
                connection.set_deadline(goodbye);
            }
            tokio::select! {
                biased;
                () = &mut drained, if !closing => {
                    http2.graceful_shutdown();
                    closing = true;
                }
                Some(_) = running.join_next() => {}
                next = HttpSession::from_h2_conn(&mut http2, digest.clone()) => match next {
                    Ok(Some(H2Accept::Session(session))) => {
                        accepted = accepted.saturating_add(1);
                        let connection = Connection::new(connection.peer, connection.tls, self.closing.clone());
                        connection.set_head_at(clock.now());
                        let stream = Stream::new(session, Arc::new(connection), clock.clone(), config.idle_timeout, cancelled.clone());
                        let serving = self.clone();
                        running.spawn(async move { serving.answer(stream).await });
                    }
                    Ok(Some(H2Accept::Rejected)) => malformed += 1,
                    // The client, or the deadline, has ended it.
                    Ok(None) | Err(_) => break,
                },
                // Only who waits here reads the clock.
                () = async { sleep(config.idle_timeout).await }, if running.is_empty() && !closing => {
                    http2.abrupt_shutdown(Reason::NO_ERROR);
                    closing = true;
                }
            }
            if !closing && config.max_requests_per_connection.is_some_and(|most| u64::from(accepted) >= most)
            {
                // What is on its way by now is answered all the same.
                http2.graceful_shutdown();
                closing = true;
            }
            let cancelled = cancelled.load(Ordering::Relaxed);
            if malformed > MAX_MALFORMED || (cancelled > MAX_CANCELLED && cancelled > accepted / 2) {
                http2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                closing = true;
            }
        }
        drop(http2);
        // Whoever is still at work on an answer notices that the connection is gone.
        while running.join_next().await.is_some() {}
    }

    /// Answers one request.
    async fn answer(&self, mut stream: Stream) {
        let refused = request::prepare(stream.request_mut());
        match refused {
            Ok(()) => {
                stream.hand_over_connection();
                let session = ServerSession::new_custom(Box::new(stream));
                self.proxy.process_new_http(session, &self.draining).await;
            }
            // A client that is gone needs no answer.
            Err(refusal) => drop(self.refuse_request(stream, refusal).await),
        }
    }

    /// Answers a request that is not passed on.
    async fn refuse_request(&self, mut stream: Stream, refusal: Refusal) -> pingora::Result<()> {
        let reply = Reply::problem(refusal.status, refusal.detail);
        let request_id = new_request_id();
        self.log(stream.connection(), &reply, &request_id);
        let (mut head, body) = reply.build(Some(&request_id))?;
        head.insert_header("X-Request-Id", request_id)?;
        if let Some(name) = &self.gateway.live().config.server.server_header {
            head.insert_header(header::SERVER, name.clone())?;
        }
        if stream.req_header().method == Method::HEAD {
            return stream.write_response_header(Box::new(head), true).await;
        }
        stream.write_response_header(Box::new(head), false).await?;
        stream.write_body(body, true).await
    }
}
