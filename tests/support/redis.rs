//! A Redis server of its own for a test.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::eventually;

/// A server that listens on a socket in a folder of its own, so that it depends on no port. Dropping it kills it.
pub(crate) struct Redis {
    child: Option<Child>,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts a server, and waits until it answers.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same, with more arguments.
    #[track_caller]
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server =
            Self { child: None, folder, arguments: arguments.iter().map(|&text| text.to_owned()).collect() };
        server.restart();
        server
    }

    /// Starts a server that listens on a free port of 127.0.0.1 as well, with arguments that may name one more free port, and waits
    /// until it answers. Returns the server and the ports.
    #[track_caller]
    pub(crate) fn start_at_ports(arguments: impl Fn([u16; 2]) -> Vec<String>) -> (Self, [u16; 2]) {
        eventually("a server has its ports", || {
            let ports = [free_port(), free_port()];
            let mut all = ["--bind", "127.0.0.1", "--port"].map(str::to_owned).to_vec();
            all.push(ports[0].to_string());
            all.extend(arguments(ports));
            let folder = tempfile::tempdir().unwrap();
            let mut server = Self { child: None, folder, arguments: all };
            // Somebody may have taken a port in the meantime.
            server.begins().then_some((server, ports))
        })
    }

    /// Ends the server if it runs, and starts it with nothing in its memory.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        assert!(self.begins(), "redis-server has ended: does it know {:?}?", self.arguments);
    }

    /// Starts the server anew: whether it runs.
    #[track_caller]
    fn begins(&mut self) -> bool {
        self.stop();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(self.socket());
        command.arg("--dir").arg(self.folder.path()).args(&self.arguments);
        self.child = Some(spawn(&mut command));
        eventually("the server answers, or has ended", || {
            match self.child.as_mut().unwrap().try_wait().unwrap() {
                Some(_) => Some(false),
                None => UnixStream::connect(self.socket()).ok().map(|_| true),
            }
        })
    }

    /// Ends the server.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    /// Lets the server do nothing, with its connections open, or go on.
    pub(crate) fn pause(&self, pause: bool) {
        let child = self.child.as_ref().unwrap();
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        kill_process(pid, if pause { Signal::STOP } else { Signal::CONT }).unwrap();
    }

    /// The folder of the server.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// A connection with it, for the test.
    #[track_caller]
    pub(crate) fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    /// The same, if it wants a password.
    ///
    /// # Errors
    /// When it does not take connections just now.
    pub(crate) fn connect_as(&self, password: &str) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(format!("{}?pass={password}", self.url()))?.get_connection()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port that nobody uses.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Starts a program of Redis.
///
/// # Panics
/// When it is not installed.
#[track_caller]
pub(crate) fn spawn(command: &mut Command) -> Child {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!(
            "{program} is not installed, and this test needs it: run `make test`, or apt-get install redis-server"
        ),
        _ => panic!("{program} does not start: {error}"),
    })
}
