//! Closing a connection so that the client gets to read the answer.

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
const PATIENCE: Duration = Duration::from_secs(2);

/// How much of what it still sends is read.
const MOST: usize = 1024 * 1024;

/// How much is read at a time.
const PIECE: usize = 4096;

/// Says that nothing more will come, and reads what the client still sends until it closes, or long enough.
///
/// To close while unread data is waiting would make the kernel reset the connection, and the client's kernel
/// would then throw the answer away (RFC 9112, section 9.6).
pub(super) async fn linger(mut socket: Socket) {
    let discard = async {
        socket.shutdown().await?;
        let mut read = 0;
        while read < MOST {
            match poll_fn(|cx| poll_discard(&mut socket, cx)).await? {
                0 => break,
                count => read += count,
            }
        }
        io::Result::Ok(())
    };
    // However it ends, the connection is closed now.
    let _ = timeout(PATIENCE, discard).await;
}

/// Reads into memory that is only there for the moment: many clients may be waited for at a time.
fn poll_discard(socket: &mut Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); PIECE];
    let mut space = ReadBuf::uninit(&mut space);
    ready!(Pin::new(socket).poll_read(cx, &mut space))?;
    Poll::Ready(Ok(space.filled().len()))
}
