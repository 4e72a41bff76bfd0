//! A request and its answer, as Pingora's proxy reads and writes them, over every protocol.
//!
//! It is one of Pingora's sessions "for other protocols": the gateway reads requests and delimits bodies itself, so that a request is read
//! as it was checked, and so that a client can be watched while the proxy waits for something else. What all protocols have in common is
//! here; the rest is a [`Wire`]. Pingora does not document its trait for such sessions, so a new version may change it; the compiler will
//! report that.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};

use super::date;
use super::retry_buffer::RetryBuffer;
use crate::proxy::connection::{Connection, Ending};
use crate::proxy::is_interim;
use crate::proxy::own_fields::{OwnField, OwnFields};

/// One request and its answer in a protocol.
pub(super) trait Wire: Send + Sync + Unpin + 'static {
    /// Waits for a piece of the body; `None` is its end.
    fn read_body(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Waits until the client does not want the answer any more. The error says why.
    fn idle(&mut self) -> impl Future<Output = Box<Error>> + Send;

    /// Whether all of the request has been read.
    fn is_body_done(&self) -> bool;

    /// Writes a head, the final or an interim one, in the form of the protocol. `false` if this protocol has no such head.
    fn write_head(
        &mut self,
        request: &RequestHeader,
        head: &mut ResponseHeader,
        end: bool,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Writes a piece of the body. Returns how much of it belongs to the answer.
    fn write_piece(&mut self, data: Bytes, end: bool) -> impl Future<Output = Result<usize>> + Send;

    /// Writes trailers, where the client takes any, and ends the answer.
    fn write_trailers(&mut self, trailers: HeaderMap) -> impl Future<Output = Result<()>> + Send;

    /// Ends the answer, if it has begun and has not ended.
    fn end(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Sends everything that was written.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// Whether nothing more can be written.
    fn is_answered(&self) -> bool;

    /// Breaks the answer off, so that the client sees that it is not whole.
    fn abandon(&mut self);
}

/// One request of a client, and the answer to it.
pub(super) struct Exchange<W> {
    wire: W,
    request: RequestHeader,
    bodiless: bool,
    body_read: usize,
    retry: RetryBuffer,
    written: Option<Box<ResponseHeader>>,
    body_sent: usize,
    upgraded: bool,
}

impl<W: Wire> Exchange<W> {
    /// The exchange of a request whose head has been checked. Its body is still to be read.
    pub(super) fn new(wire: W, request: RequestHeader) -> Self {
        Self {
            bodiless: wire.is_body_done(),
            wire,
            request,
            body_read: 0,
            retry: RetryBuffer::default(),
            written: None,
            body_sent: 0,
            upgraded: false,
        }
    }

    /// The head of the request.
    pub(super) fn request(&self) -> &RequestHeader {
        &self.request
    }

    /// The head of the request, to change what is sent to the upstream.
    pub(super) fn request_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    /// How many bytes of the answer's body have been sent.
    pub(super) fn sent(&self) -> usize {
        self.body_sent
    }

    /// Answers the request with all of this.
    pub(super) async fn answer(&mut self, head: ResponseHeader, body: Bytes) -> Result<()> {
        self.write_head(Box::new(head), body.is_empty()).await?;
        if !body.is_empty() {
            self.write_piece(body, true).await?;
        }
        self.wire.end().await
    }

    /// Breaks the answer off, so that the client sees that it is not whole.
    pub(super) fn abandon(&mut self) {
        self.wire.abandon();
    }

    /// Whether the final head has been written.
    fn has_answered(&self) -> bool {
        self.written.as_ref().is_some_and(|head| !is_interim(head.status))
    }

    async fn write_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.has_answered() {
            return Error::e_explain(ErrorType::WriteError, "the answer has begun already");
        }
        if self.wire.write_head(&self.request, &mut head, end).await? {
            self.upgraded = head.status == StatusCode::SWITCHING_PROTOCOLS;
            self.written = Some(head);
        }
        Ok(())
    }

    async fn write_piece(&mut self, data: Bytes, end: bool) -> Result<()> {
        if !self.has_answered() {
            return Error::e_explain(ErrorType::WriteError, "there is no answer that the body belongs to");
        }
        self.body_sent += self.wire.write_piece(data, end).await?;
        Ok(())
    }
}

/// The fields of the gateway's own for the answer with this head, which is no interim one.
pub(super) fn own_fields(connection: &Connection, head: &ResponseHeader) -> OwnFields {
    let mut own = connection.take_own_fields();
    if head.status != StatusCode::SWITCHING_PROTOCOLS
        && own.get(OwnField::Date).is_none()
        && !head.headers.contains_key(header::DATE)
    {
        own.push(OwnField::Date, date::now());
    }
    own
}

/// Runs an exchange to its end, or until `poll_end` is ready. Then the exchange is to be dropped, whatever it waits for, with all that it
/// holds.
///
/// It stays where it is, since it is large: moving it from future to future takes a thousand instructions.
pub(super) async fn watch(
    mut exchange: Pin<&mut impl Future>,
    connection: &Connection,
    mut poll_end: impl FnMut(&mut Context<'_>) -> Poll<Ending>,
) -> Option<Ending> {
    let ending = poll_fn(|cx| match exchange.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => poll_end(cx).map(Some),
    })
    .await;
    // The ending is noted before the exchange is dropped, since it is logged then.
    ending.inspect(|ending| connection.set_ending(*ending))
}

#[async_trait]
impl<W: Wire> Session for Exchange<W> {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        let piece = self.wire.read_body().await?;
        if let Some(piece) = &piece {
            self.body_read += piece.len();
            self.retry.keep(piece);
        }
        Ok(piece)
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        while self.read_body_bytes().await?.is_some() {}
        Ok(())
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(head, end).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(head.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.write_piece(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.wire.write_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut ended = false;
        for task in tasks {
            ended |= match task {
                HttpTask::Header(head, end) => {
                    self.write_head(head, end).await.map_err(Error::into_down)?;
                    end
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    if let Some(data) = data.filter(|data| !data.is_empty()) {
                        self.write_piece(data, end).await.map_err(Error::into_down)?;
                    }
                    end
                }
                HttpTask::Trailer(trailers) => {
                    if let Some(trailers) = trailers {
                        self.wire.write_trailers(*trailers).await.map_err(Error::into_down)?;
                    }
                    true
                }
                HttpTask::Done => true,
                HttpTask::Failed(error) => {
                    // What the upstream has sent is sent on, so that the client gets the beginning of the answer.
                    self.wire.flush().await.map_err(Error::into_down)?;
                    return Err(error);
                }
            };
        }
        if ended {
            self.wire.end().await.map_err(Error::into_down)?;
        }
        Ok(ended || (self.has_answered() && self.wire.is_answered()))
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.wire.is_body_done() {
            return Err(self.wire.idle().await);
        }
        self.read_body_bytes().await
    }

    async fn finish(&mut self) -> Result<()> {
        self.wire.end().await
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.wire.abandon();
    }

    fn is_body_done(&mut self) -> bool {
        self.wire.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.bodiless && !self.upgraded
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    fn request_summary(&self) -> String {
        format!("{} {}", self.request.method, self.request.uri)
    }

    fn body_bytes_sent(&self) -> usize {
        self.body_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.body_read
    }

    fn enable_retry_buffering(&mut self) {
        self.retry.enable();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.retry.is_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.retry.bytes()
    }

    /// Whether the request switches protocols, by Pingora's own predicate, so that both sides of the exchange agree.
    fn is_upgrade_req(&self) -> bool {
        self.request.version == http::Version::HTTP_11 && self.request.headers.contains_key(header::UPGRADE)
    }

    fn was_upgraded(&self) -> bool {
        self.upgraded
    }

    // Pingora asks for this to make subrequests, which the gateway does not.
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        None
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        None
    }

    // The connection has deadlines of its own instead of these.

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

    // There are no messages beside requests and answers.

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
