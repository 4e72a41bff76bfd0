//! The connection of a client: one request at a time is taken from it, or the frames of HTTP/2.
//!
//! It hands out the head of a request, then its body and not a byte more; what the client sent beyond that waits for its
//! turn. Whoever waits for the client, to send or to take something, or for the end of its interest, waits no longer than the
//! deadline that holds just then; a wait that fails with `TimedOut` leaves the connection able to answer. Small writes are
//! gathered, so that a head and a short body are one packet.
//!
//! All of it is made of polls, so that an exchange and whoever watches it ([`poll_end`](ClientStream::poll_end)) can share a
//! connection: see [`Shared`].

use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use pingora::http::RequestHeader;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::Timer;
use super::framing::Framing;
use super::head::{self, Refusal};
use super::linger;
use super::socket::Socket;
use crate::clock::{Clock, Timestamp};
use crate::gateway::Wait;
use crate::proxy::connection::{Connection, Ending};

/// What is read from the socket at a time.
const READ_SIZE: usize = 16 << 10;

/// What is read beyond a request, to see whether the client is still there.
const READ_AHEAD: usize = 16 << 10;

/// Writes up to this size are gathered.
const WRITE_SIZE: usize = 4096;

/// How long a client that has closed its half of the connection still gets its answer. One that has closed all of it looks the
/// same, until something is sent to it.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// A connection that an exchange and whoever watches it hold together. They run in one task, so nobody ever waits for the
/// lock; it is held for one poll.
pub(super) type Shared = Arc<Mutex<ClientStream>>;

/// Locks a connection. What a panic under the lock leaves behind ends with the connection.
pub(super) fn lock(stream: &Shared) -> MutexGuard<'_, ClientStream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection of a client.
pub(super) struct ClientStream {
    socket: Socket,
    connection: Arc<Connection>,
    timer: Timer,
    /// What was read beyond what has been handed out.
    surplus: BytesMut,
    /// What is still to come of the current request.
    framing: Framing,
    /// Since when the client has sent its last byte, and said so.
    ended: Option<Timestamp>,
    written: Vec<u8>,
    /// Whether what is gathered goes out as soon as the exchange waits again.
    overdue: bool,
    /// Whether the socket may keep to itself what it was given.
    unflushed: bool,
    /// Since when the client has taken nothing of what is to be written.
    stalled: Option<Timestamp>,
    /// Has the task woken when memory becomes scarce while the client takes nothing.
    wait: Wait,
    /// Since when there has been nothing to write, as far as somebody has waited for that.
    silent: Option<Timestamp>,
    /// Since when an exchange has waited for more of the body.
    awaited: Option<Timestamp>,
    /// When something last went through a tunnel, in either direction.
    active: Timestamp,
    limits: HeadLimits,
}

/// How long a client may take, and how large a request head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// Between requests, and to take something of an answer.
    pub(super) idle_timeout: Duration,
    /// From the first byte of a head to its last.
    pub(super) header_timeout: Duration,
    /// The size of a head, in bytes.
    pub(super) max_size: usize,
    /// To send more of a body.
    pub(super) body_timeout: Duration,
    /// A tunnel through which nothing goes for so long is closed.
    pub(super) tunnel_timeout: Duration,
}

/// What a client begins with.
#[expect(clippy::large_enum_variant, reason = "almost every beginning is a request")]
pub(super) enum Beginning {
    /// A request of HTTP/1, with its head checked.
    Request(RequestHeader),
    /// The preface of HTTP/2, which is still to be read.
    Http2,
}

/// Empty lines before a request are skipped (RFC 9112, section 2.2), so many of them.
const MOST_EMPTY_LINES: u32 = 4;

/// What a client of HTTP/2 begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The part of HTTP/2's preface that looks like a request (RFC 9113, section 3.4).
const PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Why there is no request to proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// The client sent nothing more, or nothing in time, or broke off: there is nobody to answer.
    Gone,
    /// The head did not arrive in time.
    TimedOut,
    /// The head is not passed on.
    Refused(Refusal),
}

impl ClientStream {
    pub(super) fn new(socket: Socket, connection: Arc<Connection>, clock: Clock, limits: HeadLimits) -> Self {
        Self {
            socket,
            connection,
            timer: Timer::new(clock),
            surplus: BytesMut::new(),
            framing: Framing::length(0),
            ended: None,
            written: Vec::new(),
            overdue: false,
            unflushed: false,
            stalled: None,
            wait: Wait::default(),
            silent: None,
            awaited: None,
            active: Timestamp::default(),
            limits,
        }
    }

    /// Whether nothing of a request has arrived: nothing at all, or what becomes an empty line.
    pub(super) fn is_idle(&self) -> bool {
        matches!(&self.surplus[..], [] | [b'\r'] | [b'\r', b'\n'])
    }

    /// From now on all bytes belong to another protocol: a tunnel, or HTTP/2.
    pub(super) fn become_tunnel(&mut self) {
        self.framing = Framing::Tunnel;
        self.active = self.timer.clock().now();
    }

    /// Nothing more is read of the current request, or of the tunnel.
    pub(super) fn stop_reading(&mut self) {
        self.framing = Framing::length(0);
    }

    /// Whether all of the current request has been read.
    pub(super) fn is_body_done(&self) -> bool {
        self.framing.is_done()
    }

    /// How many bytes of the body are still to come, if its length was told.
    pub(super) fn body_left(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(left) => Some(left),
            Framing::Chunked(_) | Framing::Tunnel | Framing::Malformed => None,
        }
    }

    /// Whether nobody knows where the next request begins.
    pub(super) fn is_malformed(&self) -> bool {
        self.framing == Framing::Malformed
    }

    /// Waits for the next request's head, and checks it. What follows is its body. HTTP/2 may begin instead if
    /// `http2_may_begin`.
    ///
    /// # Errors
    /// When there is none that could be proxied: see [`NoRequest`].
    pub(super) async fn next_head(&mut self, http2_may_begin: bool) -> Result<Beginning, NoRequest> {
        self.framing = Framing::length(0);
        let limits = self.limits;
        let clock = self.timer.clock().clone();
        let mut idle_until = None;
        let mut empty_lines = 0;
        loop {
            // Some clients send an empty line after a body. It is no part of a request: whoever sends nothing else is idle.
            while self.surplus.starts_with(b"\r\n") {
                if empty_lines == MOST_EMPTY_LINES {
                    return Err(NoRequest::Refused(Refusal::bad("there are empty lines, and no request")));
                }
                empty_lines += 1;
                self.surplus.advance(2);
            }
            if !self.is_idle() {
                break;
            }
            if idle_until.is_none() {
                idle_until = Some(clock.now().after(limits.idle_timeout));
                self.connection.set_deadline(idle_until);
            }
            self.more().await.map_err(|_| NoRequest::Gone)?;
        }
        // A request's clock starts with its first byte, as far as it has come.
        let started = clock.now();
        self.connection.set_deadline(Some(started.after(limits.header_timeout)));
        let mut seen = 0;
        let end = loop {
            if let Some(end) = head::find_end(&self.surplus, seen).map_err(NoRequest::Refused)? {
                break end;
            }
            seen = self.surplus.len();
            if seen >= limits.max_size {
                return Err(NoRequest::Refused(Refusal::TOO_LARGE));
            }
            self.more().await.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => NoRequest::TimedOut,
                _ => NoRequest::Gone,
            })?;
        };
        if end > limits.max_size {
            return Err(NoRequest::Refused(Refusal::TOO_LARGE));
        }
        if http2_may_begin && empty_lines == 0 && self.surplus[..end] == *PREFACE_HEAD {
            return Ok(Beginning::Http2);
        }
        let head = head::read(self.surplus.split_to(end).freeze()).map_err(NoRequest::Refused)?;
        self.framing = head.framing;
        self.connection.set_deadline(None);
        // A head that came in one piece is dated by the clock that was read for it.
        self.connection.set_head_at(if seen == 0 { started } else { clock.now() });
        Ok(Beginning::Request(head.request))
    }

    /// Waits for the preface of HTTP/2, which is still to be read then.
    ///
    /// # Errors
    /// When something else comes: the connection, if there is anybody to tell.
    pub(super) async fn expect_preface(mut self) -> Result<Self, Option<Self>> {
        loop {
            let seen = self.surplus.len().min(PREFACE.len());
            if self.surplus[..seen] != PREFACE[..seen] {
                return Err(Some(self));
            }
            if seen == PREFACE.len() {
                return Ok(self);
            }
            if self.more().await.is_err() {
                return Err(None);
            }
        }
    }

    /// Reads at least one byte more into the surplus.
    async fn more(&mut self) -> io::Result<()> {
        match poll_fn(|cx| self.poll_fill(cx, self.connection.deadline())).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Waits for a piece of the body; `None` is its end.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        self.poll_overdue(cx)?;
        loop {
            if self.framing.is_done() {
                return Poll::Ready(Ok(None));
            }
            if self.surplus.is_empty() {
                let deadline = self.read_deadline();
                let filled = self.poll_fill(cx, deadline);
                self.awaited = self.awaited.filter(|_| filled.is_pending());
                if ready!(filled)? == 0 {
                    if self.framing == Framing::Tunnel {
                        self.stop_reading();
                        return Poll::Ready(Ok(None));
                    }
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
            }
            let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "the chunked body is malformed");
            let (framing, data) = self.framing.take(&self.surplus).map_err(malformed)?;
            self.surplus.advance(framing);
            if data > 0 {
                let piece = self.surplus.split_to(data).freeze();
                if self.surplus.is_empty() {
                    // The piece has the memory; a connection that only waits has none.
                    self.surplus = BytesMut::new();
                }
                return Poll::Ready(Ok(Some(piece)));
            }
        }
    }

    /// Waits for the end of the client's interest when its request is whole: the error says what has ended it.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Err(error) = self.poll_overdue(cx) {
            return Poll::Ready(error);
        }
        let deadline = self.connection.deadline();
        let silence = self.connection.silence().map(|longest| {
            let clock = self.timer.clock();
            self.silent.get_or_insert_with(|| clock.now()).after(longest)
        });
        let latest = silence.into_iter().chain(deadline).min();
        if let Poll::Ready(error) = self.poll_left(cx) {
            return Poll::Ready(error);
        }
        if !self.timer.poll_passed(latest, cx) {
            return Poll::Pending;
        }
        if silence.is_some() && silence == latest {
            self.connection.note_silence();
        }
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Waits until an exchange is to be ended from outside, while it waits for something else than the client: a connection
    /// that is made, an upstream that takes nothing.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.poll_overdue(cx).is_err() || self.socket.poll_broken(cx).is_ready() {
            return Poll::Ready(Ending::Left);
        }
        if self.framing.is_done() && self.poll_left(cx).is_ready() {
            return Poll::Ready(Ending::Left);
        }
        // Who waits for the client has a deadline of its own: it is not the upstream that is late.
        let deadline = self.connection.deadline().filter(|_| self.awaited.is_none());
        match self.timer.poll_passed(deadline, cx) {
            true => Poll::Ready(Ending::Late),
            false => Poll::Pending,
        }
    }

    /// Waits until the client has left. What it sends meanwhile is kept, up to a bound.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        while self.ended.is_none() && self.surplus.len() < READ_AHEAD {
            match self.poll_fill(cx, None) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        let patience = self.ended.map(|ended| ended.after(HALF_CLOSED));
        match self.timer.poll_passed(patience, cx) {
            true => Poll::Ready(io::ErrorKind::ConnectionReset.into()),
            false => Poll::Pending,
        }
    }

    /// Until when the client must have sent something.
    fn read_deadline(&mut self) -> Option<Timestamp> {
        if self.framing == Framing::Tunnel {
            return Some(self.active.after(self.limits.tunnel_timeout));
        }
        let clock = self.timer.clock();
        let since = *self.awaited.get_or_insert_with(|| clock.now());
        let patience = since.after(self.limits.body_timeout);
        Some(self.connection.whole_deadline().map_or(patience, |whole| whole.min(patience)))
    }

    /// Reads into the surplus, which takes no memory while it is empty.
    fn poll_fill(&mut self, cx: &mut Context<'_>, deadline: Option<Timestamp>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_SIZE];
        let mut space = ReadBuf::uninit(&mut space);
        ready!(self.poll_socket(cx, deadline, |socket, cx| socket.poll_read(cx, &mut space)))?;
        let now = self.timer.clock().now();
        if space.filled().is_empty() {
            self.ended.get_or_insert(now);
        }
        self.active = now;
        self.surplus.extend_from_slice(space.filled());
        Poll::Ready(Ok(space.filled().len()))
    }

    /// Polls the socket, and fails when it is not ready and the deadline has passed.
    fn poll_socket<T>(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Timestamp>,
        poll: impl FnOnce(Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = poll(Pin::new(&mut self.socket), cx);
        if polled.is_pending() && self.timer.poll_passed(deadline, cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    /// Writes to the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.poll_patiently(cx, true, |socket, cx| socket.poll_write(cx, data))
    }

    /// Makes the socket send what it was given.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            // A socket that keeps nothing to itself has always been flushed.
            let proves_taking = self.socket.keeps_what_it_is_given();
            ready!(self.poll_patiently(cx, proves_taking, |socket, cx| socket.poll_flush(cx)))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Polls a write to the socket, and fails when the client takes nothing for too long. Success may prove that it takes
    /// something.
    fn poll_patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        proves_taking: bool,
        poll: impl FnOnce(Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let sent = self.poll_socket(cx, self.send_deadline(), poll);
        if sent.is_ready() {
            self.stalled = self.stalled.filter(|_| !proves_taking);
            if self.stalled.is_none() {
                self.connection.pressure().forget(&mut self.wait);
            }
            return sent;
        }
        self.connection.pressure().wake_when_it_shrinks(&mut self.wait, cx);
        if self.stalled.is_none() {
            self.stalled = Some(self.timer.clock().now());
            if self.timer.poll_passed(self.send_deadline(), cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        sent
    }

    /// Until when the client must have taken something.
    fn send_deadline(&self) -> Option<Timestamp> {
        let patience = self.stalled.map(|since| since.after(self.limits.idle_timeout));
        let cut_off = self.stalled.and_then(|since| self.connection.pressure().cut_off(since));
        patience.into_iter().chain(cut_off).chain(self.connection.deadline()).min()
    }

    /// Sends what is gathered when there is nothing to add to it: the exchange waits for something else. Without this the
    /// head of an answer whose body is slow would wait for it.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.written.is_empty() && !self.unflushed {
            return Ok(());
        }
        if mem::replace(&mut self.overdue, true) {
            return match self.poll_flushed(cx) {
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
            };
        }
        // The body may be there already, and only not have been passed on yet.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Gathers data or sends it: how much of it was taken.
    pub(super) fn poll_put(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.silent = None;
        if self.written.len() + data.len() > WRITE_SIZE {
            // With nothing gathered there is nothing to flush, which would pass for a client that takes something.
            if !self.written.is_empty() {
                ready!(self.poll_flushed(cx))?;
            }
            if data.len() >= WRITE_SIZE {
                let sent = ready!(self.poll_send(cx, data))?;
                if self.framing == Framing::Tunnel {
                    self.active = self.timer.clock().now();
                }
                return Poll::Ready(Ok(sent));
            }
        }
        if self.framing == Framing::Tunnel {
            self.active = self.timer.clock().now();
        }
        self.written.extend_from_slice(data);
        self.overdue = false;
        Poll::Ready(Ok(data.len()))
    }

    /// Sends what is gathered.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.written.is_empty() {
            let written = mem::take(&mut self.written);
            let sent = self.poll_send(cx, &written);
            self.written = written;
            match ready!(sent)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => drop(self.written.drain(..sent)),
            }
        }
        self.poll_sent(cx)
    }

    /// Reads the rest of a body that nobody wants, as long as it has not become too much, so that the next request can
    /// follow. Whether all of it has come.
    pub(super) async fn drain_body(&mut self) -> bool {
        let deadline = self.timer.clock().now().after(linger::PATIENCE);
        self.connection.set_whole_deadline(Some(deadline));
        let mut left = linger::MOST_DRAINED;
        loop {
            match poll_fn(|cx| self.poll_body(cx)).await {
                Ok(None) => return true,
                Ok(Some(piece)) if piece.len() <= left => left -= piece.len(),
                Ok(Some(_)) | Err(_) => return false,
            }
        }
    }

    /// Writes `answer`, which is the last word on this connection, and sees the client off.
    pub(super) async fn answer_and_close(mut self, answer: &[u8]) {
        let patience = self.timer.clock().now().after(self.limits.idle_timeout);
        self.connection.set_deadline(Some(patience));
        self.written.extend_from_slice(answer);
        if poll_fn(|cx| self.poll_flushed(cx)).await.is_ok() {
            linger::linger(&mut self.socket).await;
        }
    }

    /// Closes when an exchange has ended. What is still gathered goes out if the socket takes it at once.
    ///
    /// A request may have been answered before its body had come: closing at once would reset the connection, and take the
    /// answer from the client. So such a client is seen off.
    pub(super) async fn close(mut self) {
        // A client that does not take it is cut off all the same.
        let _ = self.poll_flushed(&mut Context::from_waker(Waker::noop()));
        let all_read = self.framing.is_done() && self.surplus.is_empty();
        if !all_read && self.ended.is_none() && self.framing != Framing::Tunnel {
            linger::linger(&mut self.socket).await;
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.connection.pressure().forget(&mut self.wait);
        self.socket.say_goodbye();
    }
}

/// The bytes of HTTP/2, which all belong to it.
impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_overdue(cx)?;
        if this.surplus.is_empty() {
            let deadline = this.connection.deadline();
            return this.poll_socket(cx, deadline, |socket, cx| socket.poll_read(cx, buf));
        }
        let taken = this.surplus.len().min(buf.remaining());
        buf.put_slice(&this.surplus[..taken]);
        this.surplus.advance(taken);
        if this.surplus.is_empty() {
            this.surplus = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_put(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flushed(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_flushed(cx))?;
        let deadline = this.connection.deadline();
        this.poll_socket(cx, deadline, |socket, cx| socket.poll_shutdown(cx))
    }
}
