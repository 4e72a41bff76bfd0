//! The transport of a client's connection: TCP, or TLS upon it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::tcp::Tcp;

/// A connected socket.
pub(super) enum Socket {
    /// Without encryption.
    Plain(Tcp),
    /// With TLS. Data that was written may be sent with the next flush only.
    Tls(Box<TlsStream<Tcp>>),
}

impl Socket {
    /// Whether the client has chosen HTTP/2 in its handshake (ALPN); `None` if it named no protocols.
    pub(super) fn negotiated_http2(&self) -> Option<bool> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"h2"),
        }
    }

    /// The certificate that the client has shown, and with which the handshake was content.
    pub(super) fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }

    /// Whether written data may wait for a flush.
    pub(super) fn keeps_what_it_is_given(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Waits until the peer has reset the connection, or the kernel has given it up.
    pub(super) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Plain(socket) => socket.poll_broken(cx),
            Self::Tls(stream) => stream.get_mut().0.poll_broken(cx),
        }
    }

    /// Sends a peer that speaks TLS the end of the stream (`close_notify`), if the socket takes it at once. Without it the peer could not
    /// tell the end from a connection that was cut.
    pub(super) fn say_goodbye(&mut self) {
        if let Self::Tls(stream) = self {
            // An error does not matter: the connection is broken then.
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
