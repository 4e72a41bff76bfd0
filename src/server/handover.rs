//! A new process takes over from a running one: first it gets the listening sockets, then, when it is ready, the buckets.
//!
//! The running process waits on its control socket, and passes that socket too. Sockets are passed as file descriptors. Connections that
//! come meanwhile wait in the kernel's queue, which both processes share, so none is refused. Then the new process says that it is ready,
//! the old one stops accepting and writes its buckets as to a snapshot, and the new one begins.
//!
//! Until the new process has said so, nothing changes for the old one.

use std::future::pending;
use std::io::{self, BufWriter, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_blocking};

use super::control_socket::{self, ControlSocket};
use super::snapshot::moment;
use crate::clock::Clock;
use crate::config;
use crate::gateway::Gateway;
use crate::limit::snapshot::{self, Snapshot};

/// How long the new process may take to get ready, and the old one to write its buckets.
const PATIENCE: Duration = Duration::from_secs(60);

/// The byte that the new process sends when it is ready.
const READY: u8 = b'r';

/// The most sockets that are passed: the kernel takes no more in one message.
const MOST: usize = 253;

/// The use of a socket that is passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Label {
    /// As in the configuration.
    address: String,
    tls: bool,
    proxy_protocol: bool,
    side_port: bool,
    /// Whether it is the control socket. Older versions do not send this field, which has the name that they know.
    #[serde(default, rename = "door")]
    control: bool,
}

impl Label {
    /// The label of a listener for clients.
    pub(super) fn of(listener: &config::Listener) -> Self {
        let config::Listener { address, tls, proxy_protocol, .. } = listener;
        Self {
            address: address.to_string(),
            tls: *tls,
            proxy_protocol: *proxy_protocol,
            side_port: false,
            control: false,
        }
    }

    /// The label of the side port.
    pub(super) fn of_side_port(address: SocketAddr) -> Self {
        Self { side_port: true, ..Self::of(&config::Listener::plain(address)) }
    }

    /// The label of the control socket.
    fn of_control_socket() -> Self {
        let nowhere = config::Listener::plain((std::net::Ipv4Addr::UNSPECIFIED, 0).into());
        Self { control: true, ..Self::of(&nowhere) }
    }
}

/// The process that is to take over, once there is one. Dropping this closes the control socket.
pub(super) struct Successor {
    coming: mpsc::Receiver<UnixStream>,
    /// The task that waits at the control socket.
    waiting: Option<AbortHandle>,
    /// The control socket, to be passed on; `None` if the system did not give another descriptor.
    to_give: Option<OwnedFd>,
}

impl Successor {
    /// Waits at the control socket, and answers where the side port is. Needs a runtime.
    pub(super) fn wait(
        control: Option<ControlSocket>,
        side_port: Option<SocketAddr>,
        gateway: &Arc<Gateway>,
    ) -> Self {
        let (successors, coming) = mpsc::channel(1);
        let to_give = control.as_ref().and_then(|control| control.try_clone().ok());
        let control = control.map(ControlSocket::into_tokio).transpose().unwrap_or_else(|error| {
            warn!("no process can take over from this one: {error}");
            None
        });
        let wait = |control| {
            tokio::spawn(control_socket::wait(control, side_port, gateway.clone(), successors)).abort_handle()
        };
        Self { coming, waiting: control.map(wait), to_give }
    }

    /// Waits for a process that may take over.
    pub(super) async fn comes(&mut self) -> UnixStream {
        match self.coming.recv().await {
            Some(stream) => stream,
            None => pending().await,
        }
    }

    /// Passes it the sockets, and waits until it is ready to begin; `None` if it does not get ready. When it is ready, this process does not
    /// wait at the control socket any more, since the new one does.
    pub(super) async fn gets_ready(
        &mut self,
        stream: UnixStream,
        mut sockets: Vec<(Label, OwnedFd)>,
    ) -> Option<UnixStream> {
        let control = self.to_give.as_ref().and_then(|control| control.try_clone().ok());
        sockets.extend(control.map(|control| (Label::of_control_socket(), control)));
        let giving = spawn_blocking(move || give_sockets(&stream, &sockets).map(|()| stream)).await;
        match giving {
            Ok(Ok(stream)) => {
                self.close();
                Some(stream)
            }
            Ok(Err(error)) => {
                warn!("a process was to take over, but has not: {error}");
                None
            }
            Err(_) => None, // The panic of the task has been logged.
        }
    }

    fn close(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        self.to_give = None;
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.close();
    }
}

/// Passes sockets to a new process, and waits until it is ready to begin. Blocks.
///
/// # Errors
/// When the new process ends before that, or takes too long.
fn give_sockets(mut to: &UnixStream, sockets: &[(Label, OwnedFd)]) -> io::Result<()> {
    to.set_nonblocking(false)?;
    to.set_read_timeout(Some(PATIENCE))?;
    to.set_write_timeout(Some(PATIENCE))?;
    let labels = serde_json::to_vec(&sockets.iter().map(|(label, _)| label).collect::<Vec<_>>())?;
    let length = u32::try_from(labels.len()).map_err(io::Error::other)?.to_le_bytes();
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other(format!("there are more than {MOST} sockets")));
    }
    // The descriptors are sent with the first byte.
    let sent = rustix::net::sendmsg(to, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
    to.write_all(&length[sent..])?;
    to.write_all(&labels)?;
    let mut answer = [0];
    to.read_exact(&mut answer)?;
    match answer == [READY] {
        true => Ok(()),
        false => Err(io::Error::other("the new process speaks another language")),
    }
}

/// Gives the buckets to a new process that has said it is ready. Blocks.
///
/// # Errors
/// When it is gone.
pub(super) fn give_buckets(to: &UnixStream, gateway: &Gateway) -> io::Result<()> {
    gateway.active().engine.limiter().save(moment(&gateway.clock), BufWriter::with_capacity(1 << 16, to))
}

/// The sockets that a running process has passed to this one.
pub(super) struct Inherited {
    stream: UnixStream,
    sockets: Vec<(Label, OwnedFd)>,
}

impl Inherited {
    /// Takes the sockets of the process that runs with this configuration.
    ///
    /// # Errors
    /// When there is none, or it is ending, or it is another user's.
    pub(super) fn take(config: &Path) -> io::Result<Self> {
        let mut stream = control_socket::take_over(config)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::net::recvmsg(
            &stream,
            &mut [IoSliceMut::new(&mut length)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let of_rights = |message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        };
        let descriptors: Vec<OwnedFd> = ancillary.drain().filter_map(of_rights).flatten().collect();
        stream.read_exact(&mut length[received.bytes..])?;
        let mut labels = Vec::new();
        (&stream).take(u32::from_le_bytes(length).into()).read_to_end(&mut labels)?;
        let labels: Vec<Label> = serde_json::from_slice(&labels)?;
        if labels.len() != descriptors.len() {
            return Err(io::Error::other("not every socket has come over"));
        }
        let sockets = labels.into_iter().zip(descriptors).collect();
        Ok(Self { stream, sockets })
    }

    /// The sockets with this label, in their order. A listener of systemd may have several.
    pub(super) fn sockets(&mut self, label: &Label) -> Vec<OwnedFd> {
        let labelled = |(other, _): &mut (Label, OwnedFd)| other == label;
        self.sockets.extract_if(.., labelled).map(|(_, socket)| socket).collect()
    }

    /// The socket with this label, if there was one.
    pub(super) fn socket(&mut self, label: &Label) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(other, _)| other == label)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Says that this process is ready to begin, and takes the buckets and the control socket. From here on the other process accepts no
    /// connections, so this one begins in any case.
    pub(super) fn begin(mut self, clock: &Clock) -> (Option<Snapshot>, Option<UnixListener>) {
        let control = self.socket(&Label::of_control_socket()).map(Into::into);
        (self.buckets(clock), control)
    }

    fn buckets(mut self, clock: &Clock) -> Option<Snapshot> {
        let mut receive = || {
            self.stream.write_all(&[READY])?;
            let mut file = Vec::new();
            self.stream.read_to_end(&mut file)?;
            snapshot::check(&*file, file.len() as u64)?;
            Snapshot::read(&*file, moment(clock))
        };
        receive().map_err(|error| warn!("the buckets have not come over, all are full: {error}")).ok()
    }
}
