//! The socket of a client, as the proxy or HTTP/2 reads and writes it.
//!
//! It hands out one request at a time: first its head, then its body and not a byte more; what the client sent
//! beyond that waits for its turn. It keeps the deadlines, also while the proxy waits for the upstream, because
//! the proxy watches its client all the while: a read that fails with `TimedOut` ends the exchange, and leaves
//! the proxy able to answer. Small writes are gathered, so that a head and a short body are one packet.

mod described;

use std::future::poll_fn;
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::deadline::Timer;
use super::framing::Framing;
use super::head::{self, Refusal};
use super::linger::linger;
use super::socket::Socket;
use crate::clock::{Clock, Timestamp};
use crate::proxy::connection::Connection;

/// What is read from the socket at a time.
const READ_SIZE: usize = 4096;

/// Writes up to this size are gathered.
const WRITE_SIZE: usize = 4096;

/// The socket of a client.
pub(super) struct ClientStream {
    socket: Option<Socket>,
    connection: Arc<Connection>,
    timer: Timer,
    /// What was read beyond what has been handed out.
    surplus: BytesMut,
    /// What is still to come of the current request.
    framing: Framing,
    ended: bool,
    written: Vec<u8>,
    /// Whether what is gathered goes out as soon as the proxy waits again.
    overdue: bool,
    /// Whether the socket may keep to itself what it was given.
    unflushed: bool,
    /// Since when the client has taken nothing of what is to be written.
    stalled: Option<Timestamp>,
    /// Since when the proxy has had nothing to write, as far as it has waited.
    silent: Option<Timestamp>,
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
}

/// What a client begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The head of an HTTP/1 request.
    Head(BytesMut),
    /// The preface of HTTP/2, which is still to be read.
    Http2,
}

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
            socket: Some(socket),
            connection,
            timer: Timer::new(clock),
            surplus: BytesMut::new(),
            framing: Framing::length(0),
            ended: false,
            written: Vec::new(),
            overdue: false,
            unflushed: false,
            stalled: None,
            silent: None,
            limits,
        }
    }

    /// Whether nothing of a request has arrived.
    pub(super) fn is_idle(&self) -> bool {
        self.surplus.is_empty()
    }

    /// From now on all bytes belong to HTTP/2.
    pub(super) fn become_http2(&mut self) {
        self.framing = Framing::Tunnel;
    }

    /// Waits for the next request's head, checks it, and returns its bytes. What follows is its body. HTTP/2 may
    /// begin instead if `http2_may_begin`.
    ///
    /// # Errors
    /// When there is none that could be proxied: see [`NoRequest`].
    pub(super) async fn next_head(&mut self, http2_may_begin: bool) -> Result<Beginning, NoRequest> {
        self.framing = Framing::length(0);
        let limits = self.limits;
        let clock = self.timer.clock().clone();
        if self.surplus.is_empty() {
            self.connection.set_deadline(Some(clock.now().after(limits.idle_timeout)));
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
        if http2_may_begin && self.surplus[..end] == *PREFACE_HEAD {
            return Ok(Beginning::Http2);
        }
        let head = head::check(&self.surplus[..end]).map_err(NoRequest::Refused)?;
        let bytes = self.surplus.split_to(end);
        self.framing = head.framing;
        self.connection.set_deadline(None);
        // A head that came in one piece is dated by the clock that was read for it.
        self.connection.set_head_at(if seen == 0 { started } else { clock.now() });
        Ok(Beginning::Head(head.in_origin_form.unwrap_or(bytes)))
    }

    /// Writes `answer` and sees the client off.
    pub(super) async fn answer_and_close(mut self, answer: &[u8]) {
        self.connection.set_deadline(None);
        if let Some(mut socket) = self.socket.take()
            && socket.write_all(answer).await.is_ok()
            && socket.flush().await.is_ok()
        {
            linger(socket).await;
        }
    }

    /// Reads at least one byte more into the surplus.
    async fn more(&mut self) -> io::Result<()> {
        match poll_fn(|cx| self.poll_fill(cx, self.connection.deadline())).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads into the surplus, which takes no memory while it is empty.
    fn poll_fill(&mut self, cx: &mut Context<'_>, deadline: Option<Timestamp>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); READ_SIZE];
        let mut space = ReadBuf::uninit(&mut space);
        ready!(self.poll_socket(cx, deadline, |socket, cx| socket.poll_read(cx, &mut space)))?;
        self.ended |= space.filled().is_empty();
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
        let Some(socket) = &mut self.socket else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let polled = poll(Pin::new(socket), cx);
        if polled.is_pending() && self.timer.poll_passed(deadline, cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }

    /// Writes to the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.unflushed = true;
        self.poll_patiently(cx, |socket, cx| socket.poll_write(cx, data))
    }

    /// Makes the socket send what it was given.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(self.poll_patiently(cx, |socket, cx| socket.poll_flush(cx)))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Polls a write to the socket, and fails when the client takes nothing for too long.
    fn poll_patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut Socket>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let sent = self.poll_socket(cx, self.send_deadline(), poll);
        if sent.is_ready() {
            self.stalled = None;
        } else if self.stalled.is_none() {
            self.stalled = Some(self.timer.clock().now());
            if self.timer.poll_passed(self.send_deadline(), cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        sent
    }

    /// Until when the client must have taken something.
    fn send_deadline(&self) -> Option<Timestamp> {
        let stalled = self.stalled.map(|stalled| stalled.after(self.limits.idle_timeout));
        stalled.into_iter().chain(self.connection.deadline()).min()
    }

    /// Waits for the end of the client's interest, which is all that the proxy wants to know when the request is
    /// whole. What the client has sent beyond it is kept; while there is some, it is there.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let deadline = self.connection.deadline();
        let silence = self.connection.silence().map(|longest| {
            let clock = self.timer.clock();
            self.silent.get_or_insert_with(|| clock.now()).after(longest)
        });
        let latest = silence.into_iter().chain(deadline).min();
        let watched = loop {
            if self.ended {
                break Poll::Ready(Ok(()));
            }
            if !self.surplus.is_empty() {
                break match self.timer.poll_passed(latest, cx) {
                    true => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    false => Poll::Pending,
                };
            }
            match self.poll_fill(cx, latest) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        if let Poll::Ready(Err(error)) = &watched
            && error.kind() == io::ErrorKind::TimedOut
            && silence.is_some()
            && silence == latest
        {
            self.connection.note_silence();
        }
        watched
    }

    /// Follows the framing through bytes of the body: how many belong to it.
    fn follow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let malformed = |_| io::Error::new(io::ErrorKind::InvalidData, "the chunked body is malformed");
        self.framing.advance(bytes).map_err(malformed)
    }

    /// Hands out bytes of the body that have been read already.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let surplus = mem::take(&mut self.surplus);
        let taken = self.follow(&surplus[..surplus.len().min(buf.remaining())]);
        self.surplus = surplus;
        buf.put_slice(&self.surplus[..*taken.as_ref().unwrap_or(&0)]);
        self.surplus.advance(taken?);
        Ok(())
    }

    /// Sends what is gathered when the proxy has nothing to add to it: it waits for the client, which it does while
    /// it waits for the upstream too. Without this the head of an answer whose body is slow would wait for it.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.written.is_empty() && !self.unflushed {
            return Ok(());
        }
        if mem::replace(&mut self.overdue, true) {
            return match self.poll_write_out(cx) {
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
            };
        }
        // The body may be there already, and only not have been passed on yet.
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.poll_overdue(cx)?;
        if this.connection.is_tunnel() {
            this.framing = Framing::Tunnel;
        }
        if this.framing.is_done() {
            return this.poll_watch(cx);
        }
        if !this.surplus.is_empty() {
            return Poll::Ready(this.hand_out(buf));
        }
        let before = buf.filled().len();
        let deadline = this.connection.deadline();
        ready!(this.poll_socket(cx, deadline, |socket, cx| socket.poll_read(cx, buf)))?;
        let taken = this.follow(&buf.filled()[before..])?;
        this.ended |= buf.filled().len() == before;
        this.surplus.extend_from_slice(&buf.filled()[before + taken..]);
        buf.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.silent = None;
        if this.written.len() + data.len() > WRITE_SIZE {
            // With nothing gathered there is nothing to flush, which would pass for a client that takes something.
            if !this.written.is_empty() {
                ready!(this.poll_write_out(cx))?;
            }
            if data.len() >= WRITE_SIZE {
                return this.poll_send(cx, data);
            }
        }
        this.written.extend_from_slice(data);
        this.overdue = false;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_write_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_write_out(cx))?;
        let deadline = this.connection.deadline();
        this.poll_socket(cx, deadline, |socket, cx| socket.poll_shutdown(cx))
    }
}

impl Drop for ClientStream {
    /// What is still gathered goes out if the socket takes it at once.
    ///
    /// A request may have been answered before its body had come: closing now would reset the connection, and take
    /// the answer from the client. So the socket is seen off by a task of its own.
    fn drop(&mut self) {
        // A client that does not take it is cut off all the same.
        let _ = self.poll_write_out(&mut Context::from_waker(Waker::noop()));
        let Some(socket) = self.socket.take() else { return };
        let all_read = self.framing.is_done() && self.surplus.is_empty();
        let unread = !(all_read || self.ended || self.connection.is_tunnel());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if unread => drop(runtime.spawn(linger(socket))),
            _ => socket.close(),
        }
    }
}
