//! Lingering close: closes a connection in such a way that the client can read the answer.
//!
//! The task that serves the connection waits for it here, so that the connection counts as open, as its client's, and as one to wait for
//! when the gateway drains.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;

use super::socket::Socket;

/// How long a client may take to notice that it has been answered.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How much of an unread body is discarded so that the connection can stay open.
pub(super) const MOST_DRAINED: usize = 1 << 20;

/// How much is read at a time.
const PIECE: usize = 16 << 10;

/// Closes the connection for writing, and discards what the client still sends, until it closes or [`PATIENCE`] is over.
///
/// To close while unread data is waiting would make the kernel reset the connection, and the client's kernel would then drop the answer
/// (RFC 9112, section 9.6). The bound is one of time: with a bound in bytes, a fast upload would lose the answer.
pub(super) async fn linger(socket: &mut Socket) {
    let discard = async {
        socket.shutdown().await?;
        while poll_fn(|cx| poll_discard(socket, cx)).await? > 0 {}
        io::Result::Ok(())
    };
    // The result does not matter: the connection is closed now.
    let _ = timeout(PATIENCE, discard).await;
}

/// Reads into memory on the stack, since many clients may be waited for at a time.
fn poll_discard(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); PIECE];
    let mut space = ReadBuf::uninit(&mut space);
    ready!(Pin::new(socket).poll_read(cx, &mut space))?;
    Poll::Ready(Ok(space.filled().len()))
}
