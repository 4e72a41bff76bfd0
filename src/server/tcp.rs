//! A client's TCP socket, which can be watched for a reset while it is not being read.
//!
//! A reset is an error condition of the socket, and the kernel reports it whether or not unread data is waiting. So an abandoned request is
//! also noticed while its body is not being read, or while unread bytes follow it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connected socket.
pub(super) struct Tcp {
    stream: Arc<TcpStream>,
    /// Waits for an error on the socket. It is made when the socket is first watched, and kept until the connection ends.
    broken: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    is_broken: bool,
}

impl Tcp {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Arc::new(stream), broken: None, is_broken: false }
    }

    /// Waits for the first byte, without reading it. The end of the stream is an error.
    pub(super) async fn first_byte(&self) -> io::Result<u8> {
        let mut first = [0];
        match self.stream.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }

    /// Waits until the peer has reset the connection, or the kernel has given it up.
    pub(super) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_broken {
            return Poll::Ready(());
        }
        let broken = self.broken.get_or_insert_with(|| {
            let stream = self.stream.clone();
            Box::pin(async move {
                // An error here means that the runtime has ended.
                let _ = stream.ready(Interest::ERROR).await;
            })
        });
        ready!(broken.as_mut().poll(cx));
        self.is_broken = true;
        Poll::Ready(())
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let room = buf.remaining();
            let mut read = None;
            let tried = self.stream.try_io(Interest::READABLE, || {
                let count = self.stream.try_read_buf(buf)?;
                read = Some(count);
                // A read that does not fill the buffer has read all there was, so the next one waits without a system call.
                if (1..room).contains(&count) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match (read, tried) {
                (Some(_), _) | (None, Ok(())) => return Poll::Ready(Ok(())),
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write(data) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_write_vectored(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}
