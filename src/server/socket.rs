//! The transport of a client's connection: TCP, or TLS upon it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::tcp::Tcp;

/// A connected socket.
pub(super) enum Socket {
    /// Bytes go as they are.
    Plain(Tcp),
    /// Bytes are encrypted. What is written leaves with a flush, at the latest.
    Tls(Box<TlsStream<Tcp>>),
}

impl Socket {
    /// Whether the client has chosen HTTP/2 in its handshake (ALPN); `None` if it said nothing of protocols there.
    pub(super) fn negotiated_http2(&self) -> Option<bool> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"h2"),
        }
    }

    /// Whether what was written leaves with a flush only.
    pub(super) fn keeps_what_it_is_given(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Waits until the peer has reset the connection, or the network has given it up.
    pub(super) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(socket) => socket.poll_broken(cx),
            Self::Tls(stream) => stream.get_mut().0.poll_broken(cx),
        }
    }

    /// Tells a peer that speaks TLS that nothing more will come, if the socket takes that at once: it could not tell an end from a
    /// connection that somebody else has cut off.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Tls(stream) = self {
            // A connection that is broken needs no word.
            let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
