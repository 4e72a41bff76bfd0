//! Accepts connections at a listener, and gives them to the workers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Serving;
use super::drain::until_draining;
use super::listener::Listener;
use super::listening_socket::ListeningSocket;
use super::workers::Dispatcher;
use crate::config::Address;
use crate::log_throttle::LogThrottle;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket that accepts.
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn new(socket: ListeningSocket) -> io::Result<Self> {
        match socket {
            ListeningSocket::Tcp(socket) => tokio::net::TcpListener::from_std(socket).map(Self::Tcp),
            ListeningSocket::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    /// The next connection: a stream of bytes with a descriptor, and whom it is from. One through a Unix socket is from this
    /// machine.
    async fn accept(&self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // It was registered with this thread's runtime; the worker's is to wake it.
                Ok((stream.into_std()?, peer))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                // What is done with a connection is the same for both: the type stands for any connected socket, and what
                // only TCP has is not asked of this one.
                Ok((OwnedFd::from(stream.into_std()?).into(), LOCAL))
            }
        }
    }
}

/// Whom a connection through a Unix socket is from.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Accepts connections and deals them out, until the listener drains. Those that are waiting then still count.
pub(super) async fn accept(
    listener: Listener,
    serving: Arc<Serving>,
    workers: Dispatcher,
    alive: mpsc::Sender<()>,
) {
    let deal = |(socket, peer): (std::net::TcpStream, SocketAddr)| {
        let Some((admitted, registration)) = serving.admit(&socket, peer) else {
            return;
        };
        let (serving, alive) = (serving.clone(), alive.clone());
        workers.spawn(async move {
            if let Ok(socket) = TcpStream::from_std(socket) {
                tokio::select! {
                    biased;
                    () = serving.serve(socket, peer, &registration) => {}
                    // It waits for a request, and makes room for another.
                    () = registration.evicted() => {}
                }
            }
            drop((admitted, registration));
            drop(alive);
        });
    };
    let socket = match Accepting::new(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return warn!("{} cannot be served: {error}", listener.address),
    };
    let log_throttle = LogThrottle::default();
    let drained = until_draining(serving.draining.clone());
    tokio::pin!(drained);
    loop {
        tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    deal(accepted);
                    serving.connection_limit.wait_for_evicted().await;
                }
                Err(error) => pause_after(&error, &listener.address, &log_throttle, &serving).await,
            },
        }
    }
    loop {
        tokio::select! {
            biased;
            Ok(accepted) = socket.accept() => deal(accepted),
            () = std::future::ready(()) => return,
        }
    }
}

/// A connection that was gone before it was accepted is nothing; anything else will not pass at once.
async fn pause_after(error: &io::Error, address: &Address, log_throttle: &LogThrottle, serving: &Serving) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        if log_throttle.may_log(&serving.gateway) {
            warn!(
                "{address} accepts no connections for a moment: {error}; for a minute, this is not told again"
            );
        }
        sleep(PAUSE).await;
    }
}
