//! The Unix socket at which a process waits for the one that takes over from it, and how that one finds it.
//!
//! Its name is in Linux' abstract namespace, where it needs no directory, leaves nothing behind, and is made of the
//! configuration's path and the user. In that namespace anybody may take any name. So each side asks the kernel who the
//! other is, and believes only its own user and root; a name that somebody else has taken is told of, and a socket in a
//! directory that only this user can write to takes its place. A process that has taken over goes on with the very socket of
//! the one before it, so that from one to the next the name is never free to be taken.
//!
//! What is said through it is the business of `handover`.

use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;
use std::{env, fmt, fs, thread};

use log::warn;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};
use siphasher::sip128::SipHasher13;

/// What whoever only looks says, before it leaves.
const LOOK: u8 = b'l';

/// How often a socket is knocked at whose queue is full, and the pause between.
const KNOCKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no other place for a socket.
const NO_FOLDER: &str = "there is no directory for it that only this user can write to: set RUNTIME_DIRECTORY or \
                         XDG_RUNTIME_DIR to one";

/// A socket that waits for a process to take over.
pub(super) struct Door(UnixListener);

impl Door {
    /// That of the process before this one, or else a new one. `None` if there can be none, which has been told.
    pub(super) fn open(config: &Path, inherited: Option<UnixListener>) -> Option<Self> {
        let opened = match inherited {
            Some(door) => Ok(Self(door)),
            None => Self::bind(config),
        };
        match opened.and_then(|door| door.0.set_nonblocking(true).map(|()| door)) {
            Ok(door) => Some(door),
            Err(error) => {
                warn!("no process can take over from this one: {error}");
                None
            }
        }
    }

    fn bind(config: &Path) -> io::Result<Self> {
        let name = name(config)?;
        let address = SocketAddr::from_abstract_name(&name)?;
        let error = match UnixListener::bind_addr(&address) {
            Ok(door) => return Ok(Self(door)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => error,
            Err(error) => return Err(error),
        };
        let holder = match knock(&address) {
            Ok(mut other) => {
                // If it has gone meanwhile, nobody needs to know.
                let _ = other.write_all(&[LOOK]);
                return Err(io::Error::new(error.kind(), "another one runs with this configuration"));
            }
            Err(holder) => holder,
        };
        let taken = format!("the name of the socket for that, @{name}, is taken by {holder}");
        let Some(path) = folders().next().map(|folder| beside(&folder, &name)) else {
            return Err(io::Error::new(error.kind(), format!("{taken}, and {NO_FOLDER}")));
        };
        let address = SocketAddr::from_pathname(&path)?;
        // One that nobody listens at was left behind.
        if path.exists() && matches!(knock(&address), Err(Refusal::Nobody(_))) {
            fs::remove_file(&path)?;
        }
        let door = UnixListener::bind_addr(&address)?;
        warn!("{taken}: {} is used instead", path.display());
        Ok(Self(door))
    }

    /// The same socket again, to be given away.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(Into::into)
    }

    /// Needs a runtime.
    pub(super) fn into_tokio(self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.0)
    }
}

/// Connects to the process that runs with this configuration.
///
/// # Errors
/// When there is none that this user may take over from: says why.
pub(super) fn find(config: &Path) -> io::Result<UnixStream> {
    let name = name(config)?;
    let refusal = match knock(&SocketAddr::from_abstract_name(&name)?) {
        Ok(stream) => return Ok(stream),
        Err(refusal) => refusal,
    };
    for folder in folders() {
        if let Ok(stream) = knock(&SocketAddr::from_pathname(beside(&folder, &name))?) {
            return Ok(stream);
        }
    }
    Err(match refusal {
        Refusal::Nobody(error) => error,
        refusal => io::Error::other(format!(
            "the name of the socket at which it would wait, @{name}, is taken by {refusal}"
        )),
    })
}

/// Whether the process at the other end of a connection is this user's, or root's.
///
/// # Errors
/// The user that it is, or what the kernel says.
pub(super) fn check_peer(stream: impl AsFd) -> Result<(), Refusal> {
    let peer = socket_peercred(stream).map_err(|error| Refusal::Silent(error.into()))?;
    match peer.uid == rustix::process::geteuid() || peer.uid.is_root() {
        true => Ok(()),
        false => Err(Refusal::Other { user: peer.uid.as_raw() }),
    }
}

/// Whether whoever has connected only wanted to know whose socket it is.
pub(super) fn only_looks(stream: impl AsFd) -> bool {
    let mut said = [0];
    let received = recv(stream, &mut said, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(received, Ok((_, 1))) && said == [LOOK]
}

/// Why a socket is not that of a process to take over from.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody has a socket there, or nobody listens at it.
    Nobody(io::Error),
    /// It is another user's.
    Other { user: u32 },
    /// Somebody has it, and does not let anybody in.
    Silent(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(error) => write!(f, "a process that does not listen at it ({error})"),
            Self::Other { user } => write!(f, "a process of another user ({user})"),
            Self::Silent(error) => write!(f, "a process that lets nobody in ({error})"),
        }
    }
}

/// Connects to a socket, and checks whose it is. It never waits for somebody who does not answer.
fn knock(address: &SocketAddr) -> Result<UnixStream, Refusal> {
    let address = match (address.as_abstract_name(), address.as_pathname()) {
        (Some(name), _) => SocketAddrUnix::new_abstract_name(name),
        (None, Some(path)) => SocketAddrUnix::new(path),
        (None, None) => return Err(Refusal::Nobody(ErrorKind::NotFound.into())),
    };
    let address = address.map_err(|error| Refusal::Nobody(error.into()))?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    for _ in 0..KNOCKS {
        let socket = socket().map_err(|error| Refusal::Silent(error.into()))?;
        match connect(&socket, &address).map_err(io::Error::from) {
            Ok(()) => {
                check_peer(&socket)?;
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false).map_err(Refusal::Silent)?;
                return Ok(stream);
            }
            // Its queue is full.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Err(Refusal::Nobody(error));
            }
            Err(error) => return Err(Refusal::Silent(error)),
        }
    }
    Err(Refusal::Silent(ErrorKind::WouldBlock.into()))
}

/// The name of the socket for a configuration.
fn name(config: &Path) -> io::Result<String> {
    let path = absolute(config)?;
    let hash = SipHasher13::new().hash(path.as_os_str().as_encoded_bytes()).as_u128();
    let user = rustix::process::geteuid().as_raw();
    Ok(format!("gateway-{user}-{hash:032x}"))
}

fn beside(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.sock"))
}

/// The directories for a socket that exist and that only this user can write to.
fn folders() -> impl Iterator<Item = PathBuf> {
    let user = rustix::process::geteuid();
    // systemd separates several by colons.
    let first = |value: String| value.split(':').next().map(PathBuf::from);
    let named = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"];
    let named = named.into_iter().filter_map(move |name| env::var(name).ok().and_then(first));
    let usual = [PathBuf::from(format!("/run/user/{}", user.as_raw())), PathBuf::from("/run")];
    named.chain(usual).filter(move |folder| {
        let private =
            |data: fs::Metadata| data.is_dir() && data.uid() == user.as_raw() && data.mode() & 0o022 == 0;
        folder.is_absolute() && fs::metadata(folder).is_ok_and(private)
    })
}
