//! Closing a connection so that the client gets to read the answer.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::socket::Socket;

/// How long a client may take to notice that it has been answered.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much of what it still sends is read.
const MOST: u64 = 1024 * 1024;

/// Says that nothing more will come, and reads what the client still sends until it closes, or long enough.
///
/// To close while unread data is waiting would make the kernel reset the connection, and the client's kernel
/// would then throw the answer away (RFC 9112, section 9.6).
pub(super) async fn linger(mut socket: Socket) {
    let discard = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut (&mut socket).take(MOST), &mut tokio::io::sink()).await?;
        io::Result::Ok(())
    };
    // However it ends, the connection is closed now.
    let _ = timeout(PATIENCE, discard).await;
}
