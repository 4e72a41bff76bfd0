//! The control socket: a Unix socket at which a running process is asked where its side port is, to reload or to stop, or is told that
//! another process takes over; and how the other process finds it.
//!
//! Its name is in Linux' abstract namespace, where a socket needs no directory and leaves no file behind. The name is made of the
//! configuration's path and the user. In that namespace any user may take any name. So each side asks the kernel who the other is, and
//! accepts only its own user and root. If another user has taken the name, that is logged, and a socket in a directory that only this
//! user can write to is used instead. A process that takes over inherits the socket of the process before it, so that the name is never
//! free in between.
//!
//! The first byte on a connection says what is asked for. The takeover itself is in `handover`; everything else is done here.

use std::future::pending;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fmt, fs, net, process, thread};

use log::warn;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use siphasher::sip128::SipHasher13;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::gateway::{Gateway, ReloadOutcome};
use crate::log_throttle::LogThrottle;

/// The first byte on a connection: the other process takes over, asks where the side port is, or asks for a reload or a stop.
const TAKE_OVER: u8 = b't';
const SIDE_PORT: u8 = b'w';
const RELOAD: u8 = b'r';
const STOP: u8 = b's';

/// How long either side waits for the other to write.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer, in bytes, and the longest one that tells what is wrong with a configuration.
const MOST: u64 = 256;
const MOST_PROBLEMS: u64 = 1024 * 1024;

/// What the answer to a reload begins with.
const RELOADED: &str = "reloaded\n";
const NOT_RELOADED: &str = "not reloaded\n";

/// The pause after a connection could not be accepted.
const REST: Duration = Duration::from_secs(1);

/// How often a connection is tried to a socket whose queue is full, and the pause between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Why the socket cannot be in a directory either.
const NO_FOLDER: &str = "there is no directory for it that only this user can write to: set RUNTIME_DIRECTORY or \
                         XDG_RUNTIME_DIR to one";

/// The control socket of this process.
pub(super) struct ControlSocket(UnixListener);

impl ControlSocket {
    /// The socket of the process before this one, or else a new one. `None` if there can be none, which is logged.
    pub(super) fn open(config: &Path, inherited: Option<UnixListener>) -> Option<Self> {
        let opened = match inherited {
            Some(socket) => Ok(Self(socket)),
            None => Self::bind(config),
        };
        match opened.and_then(|socket| socket.0.set_nonblocking(true).map(|()| socket)) {
            Ok(socket) => Some(socket),
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
            Ok(socket) => return Ok(Self(socket)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => error,
            Err(error) => return Err(error),
        };
        let holder = match connect_checked(&address) {
            Ok(_) => return Err(io::Error::new(error.kind(), "another one runs with this configuration")),
            Err(holder) => holder,
        };
        let taken = format!("the name of the socket for that, @{name}, is taken by {holder}");
        let Some(path) = folders().next().map(|folder| beside(&folder, &name)) else {
            return Err(io::Error::new(error.kind(), format!("{taken}, and {NO_FOLDER}")));
        };
        let address = SocketAddr::from_pathname(&path)?;
        // A socket without a listener was left behind by another process.
        if path.exists() && matches!(connect_checked(&address), Err(Refusal::Nobody(_))) {
            fs::remove_file(&path)?;
        }
        let socket = UnixListener::bind_addr(&address)?;
        warn!("{taken}: {} is used instead", path.display());
        Ok(Self(socket))
    }

    /// Another descriptor of the socket, to be passed to another process.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(Into::into)
    }

    /// The same socket for the runtime. Needs a runtime.
    pub(super) fn into_tokio(self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.0)
    }
}

/// Accepts connections: answers where the side port is, and sends the connections of processes that take over to `successors`. It ends
/// when that is closed.
pub(super) async fn wait(
    socket: tokio::net::UnixListener,
    side_port: Option<net::SocketAddr>,
    gateway: Arc<Gateway>,
    successors: mpsc::Sender<UnixStream>,
) {
    let log_throttle = LogThrottle::default();
    while !successors.is_closed() {
        match socket.accept().await {
            Ok((stream, _)) => match check_peer(&stream) {
                Ok(()) => drop(tokio::spawn(serve(stream, side_port, gateway.clone(), successors.clone()))),
                // Any user can cause this line.
                Err(refusal) if log_throttle.may_log(&gateway) => warn!("{refusal} has tried to take over"),
                Err(_) => {}
            },
            Err(error) => {
                if log_throttle.may_log(&gateway) {
                    warn!("no process can take over for a moment: {error}");
                }
                sleep(REST).await;
            }
        }
    }
}

/// Does what a connection asks for. A process that closes it, or sends nothing, only wanted to know whose socket this is.
async fn serve(
    mut stream: tokio::net::UnixStream,
    side_port: Option<net::SocketAddr>,
    gateway: Arc<Gateway>,
    successors: mpsc::Sender<UnixStream>,
) {
    match timeout(PATIENCE, stream.read_u8()).await {
        Ok(Ok(TAKE_OVER)) => {
            if let Ok(stream) = stream.into_std() {
                // A process that comes while another takes over waits; when that is done, this process ends.
                let _ = successors.send(stream).await;
            }
        }
        Ok(Ok(SIDE_PORT)) => {
            let answer = side_port.map_or_else(String::new, |address| address.to_string());
            let _ = timeout(PATIENCE, stream.write_all(answer.as_bytes())).await;
        }
        Ok(Ok(RELOAD)) => {
            // A process on its way out answers nothing.
            let Some(outcome) = gateway.reloads.ask().await else { return };
            let answer = match outcome {
                Ok(summary) => format!("{RELOADED}{summary}"),
                Err(problems) => format!("{NOT_RELOADED}{}", problems.join("\n")),
            };
            let _ = timeout(PATIENCE, stream.write_all(answer.as_bytes())).await;
        }
        Ok(Ok(STOP)) => {
            let number = format!("{}\n", process::id());
            let _ = timeout(PATIENCE, stream.write_all(number.as_bytes())).await;
            // The same way as by a signal from elsewhere.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM);
            // The connection ends with the process: that tells the other side that it is over.
            let _stream = stream;
            pending::<()>().await;
        }
        _ => {}
    }
}

/// Asks the process that runs with this configuration where its side port is; `None` if it has none.
///
/// # Errors
/// When there is no process of this user or root, or it does not answer.
pub(super) fn side_port(config: &Path) -> io::Result<Option<net::SocketAddr>> {
    let mut stream = find(config)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[SIDE_PORT])?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    match &*answer {
        "" => Ok(None),
        address => address.parse().map(Some).map_err(io::Error::other),
    }
}

/// Asks the process that runs with this configuration to read it again, and waits for what comes of it.
///
/// # Errors
/// When there is no process of this user or root, or it does not answer, since it is on its way out.
pub(super) fn reload(config: &Path) -> io::Result<ReloadOutcome> {
    let mut stream = find(config)?;
    stream.write_all(&[RELOAD])?;
    let mut answer = String::new();
    stream.take(MOST_PROBLEMS).read_to_string(&mut answer)?;
    if let Some(summary) = answer.strip_prefix(RELOADED) {
        return Ok(Ok(summary.to_owned()));
    }
    match answer.strip_prefix(NOT_RELOADED) {
        Some(problems) => Ok(Err(problems.lines().map(str::to_owned).collect())),
        None => Err(io::Error::new(ErrorKind::UnexpectedEof, "it is on its way out")),
    }
}

/// Asks the process that runs with this configuration to stop, and waits until it has. Returns its number.
///
/// # Errors
/// When there is no process of this user or root, or it does not answer.
pub(super) fn stop(config: &Path) -> io::Result<u32> {
    let mut stream = find(config)?;
    stream.write_all(&[STOP])?;
    let mut answer = String::new();
    // The connection ends with the process.
    stream.take(MOST).read_to_string(&mut answer)?;
    answer.trim_end().parse().map_err(io::Error::other)
}

/// Tells the process that runs with this configuration that this one takes over.
///
/// # Errors
/// When there is none that this user may take over from: says why.
pub(super) fn take_over(config: &Path) -> io::Result<UnixStream> {
    let mut stream = find(config)?;
    stream.write_all(&[TAKE_OVER])?;
    Ok(stream)
}

/// Connects to the process that runs with this configuration.
///
/// # Errors
/// When there is none of this user or root: says why.
fn find(config: &Path) -> io::Result<UnixStream> {
    let name = name(config)?;
    let refusal = match connect_checked(&SocketAddr::from_abstract_name(&name)?) {
        Ok(stream) => return Ok(stream),
        Err(refusal) => refusal,
    };
    for folder in folders() {
        if let Ok(stream) = connect_checked(&SocketAddr::from_pathname(beside(&folder, &name))?) {
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
fn check_peer(stream: impl AsFd) -> Result<(), Refusal> {
    let peer = socket_peercred(stream).map_err(|error| Refusal::Silent(error.into()))?;
    match peer.uid == rustix::process::geteuid() || peer.uid.is_root() {
        true => Ok(()),
        false => Err(Refusal::Other { user: peer.uid.as_raw() }),
    }
}

/// Why a socket is not that of a process to take over from.
#[derive(Debug)]
enum Refusal {
    /// There is no socket, or no process listens at it.
    Nobody(io::Error),
    /// The socket is another user's.
    Other { user: u32 },
    /// A process has the socket, and accepts no connections.
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

/// Connects to a socket, and checks whose it is. It never waits for an answer.
fn connect_checked(address: &SocketAddr) -> Result<UnixStream, Refusal> {
    let address = match (address.as_abstract_name(), address.as_pathname()) {
        (Some(name), _) => SocketAddrUnix::new_abstract_name(name),
        (None, Some(path)) => SocketAddrUnix::new(path),
        (None, None) => return Err(Refusal::Nobody(ErrorKind::NotFound.into())),
    };
    let address = address.map_err(|error| Refusal::Nobody(error.into()))?;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    for _ in 0..TRIES {
        let socket = socket().map_err(|error| Refusal::Silent(error.into()))?;
        match connect(&socket, &address).map_err(io::Error::from) {
            Ok(()) => {
                check_peer(&socket)?;
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false).map_err(Refusal::Silent)?;
                return Ok(stream);
            }
            // The queue of the socket is full.
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
