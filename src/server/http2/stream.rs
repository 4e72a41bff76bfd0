//! A stream of HTTP/2 on the wire: a request's body as it comes, and an answer as it is written.
//!
//! What is waited for, the next piece of the body, room for a piece of the answer or the end of the client's interest, fails with
//! `TimedOut` when the deadline of the exchange has passed, and leaves the proxy able to answer. The stream is shared with whoever
//! watches the client meanwhile.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr as _, Result};

use super::super::deadline::Timer;
use super::super::exchange::{Wire, own_fields};
use super::super::linger;
use super::stall::Stall;
use crate::clock::{Clock, Timestamp};
use crate::gateway::Wait;
use crate::proxy::connection::{Connection, Ending};
use crate::proxy::own_fields::OwnFields;

/// What is given to the connection of an answer at a time.
const PIECE: usize = 16 << 10;

/// Fields that HTTP/2 does not have (RFC 9113, section 8.2.2).
static OF_A_CONNECTION: [HeaderName; 5] = [
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A stream that an exchange and whoever watches it hold together. They run in one task, so nobody ever waits for the lock.
pub(super) type Shared = Arc<Mutex<Stream>>;

/// Locks a stream. What a panic under the lock leaves behind ends with the stream.
pub(super) fn lock(stream: &Shared) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream of HTTP/2.
pub(super) struct Stream {
    body: RecvStream,
    /// How many bytes of the body are still to come, if its length was announced.
    announced: Option<u64>,
    /// The piece with which the announced length has come, while more may follow all the same.
    last_piece: Option<Bytes>,
    respond: SendResponse<Bytes>,
    /// Where the body of the answer goes, once its head is written.
    answer: Option<SendStream<Bytes>>,
    /// Whether the answer is out, all of it.
    ended: bool,
    /// Whether the client has taken the request back, or left, before that.
    left: bool,
    timer: Timer,
    connection: Arc<Connection>,
    /// Since when an exchange has waited for more of the body.
    awaited: Option<Timestamp>,
    /// How long the client may send nothing of its body.
    body_timeout: Duration,
    /// How long the client may take nothing of its answer.
    idle_timeout: Duration,
    /// Has the task woken when memory becomes scarce while the client takes nothing.
    wait: Wait,
}

impl Stream {
    pub(super) fn new(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        connection: Arc<Connection>,
        clock: Clock,
        body_timeout: Duration,
        idle_timeout: Duration,
    ) -> Self {
        Self {
            body,
            announced: None,
            last_piece: None,
            respond,
            answer: None,
            ended: false,
            left: false,
            timer: Timer::new(clock),
            connection,
            awaited: None,
            body_timeout,
            idle_timeout,
            wait: Wait::default(),
        }
    }

    /// Whether all of the body has come and been read.
    pub(super) fn is_body_done(&self) -> bool {
        self.last_piece.is_none() && self.body.is_end_stream()
    }

    /// Notes which length was announced for the body.
    pub(super) fn announce(&mut self, length: Option<u64>) {
        self.announced = length;
    }

    /// Whether an answer has begun.
    pub(super) fn has_answered(&self) -> bool {
        self.answer.is_some()
    }

    /// Waits until an exchange is to be ended from outside, while it waits for something else than the client.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.poll_left(cx).is_ready() {
            return Poll::Ready(Ending::Left);
        }
        // Who waits for the client has a deadline of its own: it is not the upstream that is late.
        let deadline = self.connection.deadline().filter(|_| self.awaited.is_none());
        match self.timer.poll_passed(deadline, cx) {
            true => Poll::Ready(Ending::Late),
            false => Poll::Pending,
        }
    }

    /// Waits until the client has taken the request back, or left.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            // It may go as it likes.
            return Poll::Pending;
        }
        let reset = match &mut self.answer {
            Some(answer) => answer.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        self.left |= reset.is_ready();
        reset.map(|_| ())
    }

    /// Whether the client has taken the request back before anything of an answer was there.
    pub(super) fn was_taken_back(&self) -> bool {
        self.left && self.answer.is_none()
    }

    /// Whether the deadline, or `latest`, has passed.
    fn poll_passed(&mut self, latest: Option<Timestamp>, cx: &mut Context<'_>) -> bool {
        let deadline = self.connection.deadline();
        self.timer.poll_passed(deadline.into_iter().chain(latest).min(), cx)
    }

    /// Waits for a piece of the body; `None` is its end.
    ///
    /// The h2 crate compares the body with the announced length, but says what is wrong only when it comes to it. An upstream that
    /// goes by the length would have the whole request by then: so it does not get the last piece before the stream has ended.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Ready(None) => return Poll::Ready(Ok(self.last_piece.take())),
                Poll::Ready(Some(Ok(piece))) => {
                    // A window that is larger than the protocol allows is not possible: it is what was taken before.
                    let _ = self.body.flow_control().release_capacity(piece.len());
                    // Frames without data are no progress.
                    if !piece.is_empty() {
                        self.awaited = None;
                    }
                    let Some(left) = &mut self.announced else { return Poll::Ready(Ok(Some(piece))) };
                    *left = left.saturating_sub(piece.len() as u64);
                    if *left > 0 || self.body.is_end_stream() {
                        return Poll::Ready(Ok(Some(self.last_piece.take().unwrap_or(piece))));
                    }
                    self.last_piece.get_or_insert(piece);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(left(error))),
                Poll::Pending => {
                    let clock = self.timer.clock();
                    let since = *self.awaited.get_or_insert_with(|| clock.now());
                    let patience = since.after(self.body_timeout);
                    let whole = self.connection.whole_deadline();
                    return match self.timer.poll_passed(whole.into_iter().chain([patience]).min(), cx) {
                        true => Poll::Ready(Err(late(ErrorType::ReadError))),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    fn poll_idle(&mut self, silent_until: &mut Option<Timestamp>, cx: &mut Context<'_>) -> Poll<Box<Error>> {
        if self.poll_left(cx).is_ready() {
            return Poll::Ready(Error::explain(ErrorType::H2Error, "the client has taken its request back"));
        }
        if let (Some(longest), None) = (self.connection.silence(), &silent_until) {
            *silent_until = Some(self.timer.clock().now().after(longest));
        }
        if !self.poll_passed(*silent_until, cx) {
            return Poll::Pending;
        }
        let deadline = self.connection.deadline();
        if silent_until.is_some_and(|until| deadline.is_none_or(|deadline| until < deadline)) {
            self.connection.note_silence();
        }
        Poll::Ready(late(ErrorType::ReadError))
    }

    /// Gives the connection what there is room for of a piece. Ready when all of it is given.
    fn poll_write(
        &mut self,
        data: &mut Bytes,
        end: bool,
        stall: &mut Option<Stall>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let no_answer =
            || Error::explain(ErrorType::WriteError, "there is no answer that the body belongs to");
        loop {
            let answer = self.answer.as_mut().ok_or_else(no_answer)?;
            answer.reserve_capacity(data.len().min(PIECE));
            match answer.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => {
                    let room = room.min(data.len());
                    if let Some(stall) = stall {
                        stall.take(room, self.timer.clock().now());
                        self.connection.pressure().forget(&mut self.wait);
                    }
                    let piece = data.split_to(room);
                    let is_last = data.is_empty();
                    answer
                        .send_data(piece, end && is_last)
                        .or_err(ErrorType::WriteError, "while answering")?;
                    if is_last {
                        self.ended |= end;
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(left(error))),
                Poll::Ready(None) => {
                    return Poll::Ready(Error::e_explain(ErrorType::H2Error, "the client has left"));
                }
                Poll::Pending => {
                    let stall = *stall.get_or_insert_with(|| Stall::begin(self.timer.clock().now()));
                    self.connection.pressure().wake_when_it_shrinks(&mut self.wait, cx);
                    let cut_off = self.connection.pressure().cut_off(stall.slow_since);
                    let latest = cut_off.into_iter().chain([stall.since.after(self.idle_timeout)]).min();
                    return match self.poll_passed(latest, cx) {
                        true => Poll::Ready(Err(late(ErrorType::WriteError))),
                        false => Poll::Pending,
                    };
                }
            }
        }
    }

    /// Writes a head, the last or an interim one.
    pub(super) fn write_head(
        &mut self,
        method: &Method,
        head: &mut ResponseHeader,
        end: bool,
    ) -> Result<bool> {
        for name in &OF_A_CONNECTION {
            head.remove_header(name);
        }
        let bodiless = method == Method::HEAD
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if head.status == StatusCode::NO_CONTENT || head.status.is_informational() {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        if head.status.is_informational() {
            // A client may not switch protocols on a stream (RFC 9113, section 8.6).
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Error::e_explain(ErrorType::InvalidHTTPHeader, "HTTP/2 does not switch protocols");
            }
            let interim = Response::from_parts(head.as_owned_parts(), ());
            return self.respond.send_informational(interim).map(|()| true).map_err(left);
        }
        let end = end || bodiless;
        let own = own_fields(&self.connection, head);
        // The fields go into the answer. Of a head that has been written nobody asks more than its status.
        let written = ResponseHeader::build_no_case(head.status, Some(0))?;
        let mut answer = Response::from_parts(mem::replace(head, written).into(), ());
        for (field, value) in own.iter() {
            answer.headers_mut().insert(field.name(), value.clone());
        }
        self.answer = Some(self.respond.send_response(answer, end).map_err(left)?);
        self.ended |= end;
        Ok(true)
    }

    /// Ends the answer, if it has begun and has not ended.
    fn end(&mut self) -> Result<()> {
        if let (Some(answer), false) = (&mut self.answer, self.ended) {
            answer.send_data(Bytes::new(), true).map_err(left)?;
            self.ended = true;
        }
        Ok(())
    }

    /// Ends the answer with trailers.
    fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if let (Some(answer), false) = (&mut self.answer, self.ended) {
            answer.send_trailers(trailers).map_err(left)?;
            self.ended = true;
        }
        Ok(())
    }

    /// Writes all of a short answer of the gateway's own.
    pub(super) fn write_reply(
        &mut self,
        method: &Method,
        head: &mut ResponseHeader,
        own: OwnFields,
        body: Bytes,
    ) -> Result<()> {
        self.connection.set_own_fields(own);
        self.write_head(method, head, body.is_empty())?;
        match (&mut self.answer, self.ended) {
            (Some(answer), false) => {
                answer.send_data(body, true).map_err(left)?;
                self.ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Takes the rest of a body that nobody wants, for a while, when its request has been answered: a client whose stream is reset
/// while it sends may not look at the answer.
pub(super) async fn see_off(stream: &Shared) {
    let unread = {
        let stream = lock(stream);
        let deadline = stream.timer.clock().now().after(linger::PATIENCE);
        stream.connection.set_whole_deadline(Some(deadline));
        stream.ended && !stream.left && !stream.is_body_done()
    };
    // The end of the body, or of patience.
    while unread && matches!(poll_fn(|cx| lock(stream).poll_body(cx)).await, Ok(Some(_))) {}
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.pressure().forget(&mut self.wait);
    }
}

fn left(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::H2Error, "the client's stream has ended", error)
}

fn late(kind: ErrorType) -> Box<Error> {
    Error::because(kind, "the deadline has passed", io::Error::from(io::ErrorKind::TimedOut))
}

/// A request over HTTP/2, and its answer.
pub(super) struct Http2 {
    stream: Shared,
}

impl Http2 {
    pub(super) fn new(stream: Shared) -> Self {
        Self { stream }
    }
}

impl Wire for Http2 {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| lock(&self.stream).poll_body(cx)).await
    }

    async fn idle(&mut self) -> Box<Error> {
        let mut silent_until = None;
        poll_fn(|cx| lock(&self.stream).poll_idle(&mut silent_until, cx)).await
    }

    fn is_body_done(&self) -> bool {
        lock(&self.stream).is_body_done()
    }

    async fn write_head(
        &mut self,
        request: &RequestHeader,
        head: &mut ResponseHeader,
        end: bool,
    ) -> Result<bool> {
        lock(&self.stream).write_head(&request.method, head, end)
    }

    async fn write_piece(&mut self, mut data: Bytes, end: bool) -> Result<usize> {
        let length = data.len();
        if lock(&self.stream).ended {
            return Ok(0);
        }
        if data.is_empty() {
            if end {
                lock(&self.stream).end()?;
            }
            return Ok(0);
        }
        let mut stall = None;
        poll_fn(|cx| lock(&self.stream).poll_write(&mut data, end, &mut stall, cx)).await?;
        Ok(length)
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        lock(&self.stream).write_trailers(trailers)
    }

    async fn end(&mut self) -> Result<()> {
        lock(&self.stream).end()
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn is_answered(&self) -> bool {
        lock(&self.stream).ended
    }

    fn abandon(&mut self) {
        let mut stream = lock(&self.stream);
        if !stream.ended {
            stream.respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}
