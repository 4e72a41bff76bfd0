//! A stream of an HTTP/2 connection, as the proxy reads and writes it.
//!
//! It is Pingora's session with the deadlines that an HTTP/1 connection keeps (`server/stream.rs`): what the proxy waits
//! for, the next piece of the body or the end of the client's interest, fails with `TimedOut` when the deadline of the
//! exchange has passed, and leaves the proxy able to answer. Pingora's own session waits for ever.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::http::v2::server::HttpSession;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{ErrorType, OrErr as _, Result};

use super::super::deadline::Timer;
use crate::clock::Clock;
use crate::proxy::connection::Connection;

/// One request of a client, and the answer to it.
pub(super) struct Stream {
    session: HttpSession,
    deadline: Deadline,
    /// How often the client has taken back a request, on all of its connection.
    cancelled: Arc<AtomicU32>,
}

/// How long the client may take.
struct Deadline {
    timer: Timer,
    connection: Arc<Connection>,
    /// To take a piece of the answer.
    idle_timeout: Duration,
}

impl Stream {
    pub(super) fn new(
        session: HttpSession,
        connection: Arc<Connection>,
        clock: Clock,
        idle_timeout: Duration,
        cancelled: Arc<AtomicU32>,
    ) -> Self {
        let deadline = Deadline { timer: Timer::new(clock), connection, idle_timeout };
        Self { session, deadline, cancelled }
    }

    /// Its request.
    pub(super) fn request_mut(&mut self) -> &mut RequestHeader {
        self.session.req_header_mut()
    }

    /// What the proxy is to know of it as a connection.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.deadline.connection
    }

    /// The proxy finds that in the request.
    pub(super) fn hand_over_connection(&mut self) {
        let connection = self.connection().clone();
        self.request_mut().extensions_mut().insert(connection);
    }
}

impl Deadline {
    /// Waits for `work`, until the deadline, and no longer than `longest`.
    async fn bound<T>(&mut self, longest: Longest, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        let mut latest = None;
        let bound = match longest {
            Longest::Deadline => None,
            Longest::Idle => Some(self.idle_timeout),
            Longest::Silence => self.connection.silence(),
        };
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            if let (Some(bound), None) = (bound, latest) {
                latest = Some(self.timer.clock().now().after(bound));
            }
            let deadline = self.connection.deadline();
            if !self.timer.poll_passed(deadline.into_iter().chain(latest).min(), cx) {
                return Poll::Pending;
            }
            if matches!(longest, Longest::Silence)
                && latest.is_some_and(|latest| deadline.is_none_or(|d| latest < d))
            {
                self.connection.note_silence();
            }
            let late = Err(io::Error::from(io::ErrorKind::TimedOut));
            Poll::Ready(late.or_err(ErrorType::ReadError, "the deadline has passed"))
        })
        .await
    }
}

/// What bounds a wait, besides the deadline of the exchange.
#[derive(Clone, Copy)]
enum Longest {
    /// Nothing.
    Deadline,
    /// How long the client may take nothing of its answer.
    Idle,
    /// How long the upstream may send nothing more of it.
    Silence,
}

#[async_trait]
impl Session for Stream {
    fn req_header(&self) -> &RequestHeader {
        self.session.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.session.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.deadline.bound(Longest::Deadline, self.session.read_body_bytes()).await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.deadline.bound(Longest::Deadline, self.session.drain_request_body()).await
    }

    async fn write_response_header(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.session.write_response_header(response, end)
    }

    async fn write_response_header_ref(&mut self, response: &ResponseHeader, end: bool) -> Result<()> {
        self.session.write_response_header_ref(response, end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.deadline.bound(Longest::Idle, self.session.write_body(data, end)).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.session.write_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.deadline.bound(Longest::Idle, self.session.response_duplex_vec(tasks)).await
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let mut left = false;
        let reading = async {
            let read = self.session.read_body_or_idle(no_body_expected).await;
            left = read.is_err();
            read
        };
        // While the client still sends, an upstream that says nothing may be waiting for that.
        let longest = if no_body_expected { Longest::Silence } else { Longest::Deadline };
        let read = self.deadline.bound(longest, reading).await;
        if left {
            // Relaxed: it is only counted.
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        read
    }

    async fn finish(&mut self) -> Result<()> {
        self.session.finish()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.session.shutdown();
    }

    fn is_body_done(&mut self) -> bool {
        self.session.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.session.is_body_empty()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.session.response_written()
    }

    fn request_summary(&self) -> String {
        self.session.request_summary()
    }

    fn body_bytes_sent(&self) -> usize {
        self.session.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.session.body_bytes_read()
    }

    fn enable_retry_buffering(&mut self) {
        self.session.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.session.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.session.get_retry_buffer()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.session.pseudo_raw_h1_request_header()
    }

    fn digest(&self) -> Option<&Digest> {
        self.session.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.session.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.session.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.session.server_addr()
    }

    // The deadline stands for these.

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _timeout: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    // HTTP/2 has no messages beside requests and responses.

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}
