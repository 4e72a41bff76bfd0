//! A running gateway.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tempfile::TempDir;

use super::http::{self, Connection, Response};
use super::{PATIENCE, eventually};

/// A gateway of its own for a test. Dropping it kills it; when the test has failed, its log is printed.
pub(crate) struct Gateway {
    child: Child,
    folder: Arc<TempDir>,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    ended: bool,
}

/// The sections that every test's configuration begins with: ports that the system chooses, and no access log.
const PREAMBLE: &str = r#"
[admin]
listen = "127.0.0.1:0"
[access_log]
path = "access.log"
"#;

/// The field that shows the token `t`.
pub(crate) const TOKEN: [(&str, &str); 1] = [("Authorization", "Bearer t")];

/// The file of a gateway with this configuration, and more keys in `[admin]`.
pub(crate) fn with_admin(config: &str, admin: &str) -> String {
    let preamble = PREAMBLE.replace("[access_log]", &format!("{admin}\n[access_log]"));
    format!("[server]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n{config}\n{preamble}")
}

impl Gateway {
    /// Starts a gateway with this configuration, and waits until it is ready. `[server]` keys come first in
    /// `config`; `[admin]` and `[access_log]` are written for it.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        Self::listening_on("127.0.0.1:0", config)
    }

    /// The same, of one that speaks TLS.
    #[track_caller]
    pub(crate) fn speaking_tls(config: &str) -> Self {
        Self::with_listener("tls = true", config)
    }

    /// The same, of one whose listener has these switches.
    #[track_caller]
    pub(crate) fn with_listener(switches: &str, config: &str) -> Self {
        let listen = format!("{{ address = \"127.0.0.1:0\", {switches} }}");
        Self::spawn(&format!("[server]\nlisten = {listen}\nthreads = 2\n{config}\n{PREAMBLE}"))
    }

    /// The same, on another address.
    #[track_caller]
    pub(crate) fn listening_on(address: &str, config: &str) -> Self {
        Self::spawn(&format!("[server]\nlisten = \"{address}\"\nthreads = 2\n{config}\n{PREAMBLE}"))
    }

    /// The same, with environment variables.
    #[track_caller]
    pub(crate) fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let config = format!("[server]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n{config}\n{PREAMBLE}");
        Self::spawn_with(&config, environment)
    }

    /// The same, with more keys in `[admin]`.
    #[track_caller]
    pub(crate) fn start_with_admin(config: &str, admin: &str) -> Self {
        Self::spawn(&with_admin(config, admin))
    }

    /// Starts a gateway of this file.
    #[track_caller]
    pub(crate) fn with_file(text: &str) -> Self {
        Self::spawn(text)
    }

    /// The same, with environment variables.
    #[track_caller]
    pub(crate) fn with_file_and(text: &str, environment: &[(&str, &str)]) -> Self {
        Self::spawn_with(text, environment)
    }

    /// Starts a gateway whose configuration says itself what becomes of the side port and the access log.
    #[track_caller]
    pub(crate) fn without_preamble(config: &str) -> Self {
        Self::spawn(&format!("[server]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n{config}"))
    }

    /// The same as [`start`](Self::start), of one that may have no more than this many descriptors.
    #[track_caller]
    pub(crate) fn with_descriptors(most: usize, config: &str) -> Self {
        Self::after(&format!("ulimit -n {most}"), config)
    }

    /// The same, of one that must raise that bound before it may have more.
    #[track_caller]
    pub(crate) fn with_soft_descriptors(most: usize, config: &str) -> Self {
        Self::after(&format!("ulimit -S -n {most}"), config)
    }

    /// Starts a gateway with this configuration from a shell that has done this before.
    #[track_caller]
    fn after(preparation: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("[server]\nlisten = \"127.0.0.1:0\"\nthreads = 2\n{config}\n{PREAMBLE}");
        std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        let mut command = Command::new("sh");
        let script = format!("{preparation} && exec {}", env!("CARGO_BIN_EXE_gateway"));
        command.args(["-c", &script]);
        Self::run(command, Arc::new(folder))
    }

    #[track_caller]
    fn spawn(config: &str) -> Self {
        Self::spawn_with(config, &[])
    }

    #[track_caller]
    fn spawn_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.envs(environment.iter().copied());
        Self::run(command, Arc::new(folder))
    }

    /// Starts a process that takes over from this one, and waits until it has.
    #[track_caller]
    pub(crate) fn upgrade(&self) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.arg("--upgrade");
        Self::run(command, self.folder.clone())
    }

    /// Starts the gateway by this command in a folder, and waits until it is ready.
    #[track_caller]
    pub(crate) fn run(mut command: Command, folder: Arc<TempDir>) -> Self {
        let mut child = command
            .current_dir(folder.path())
            .env_remove("GATEWAY_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reading = log.clone();
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| reading.push(line));
            reading.end();
        });
        let log_of_start = log.wait_for("ready").unwrap_or_else(|| {
            // The start failed; what is said of it is in the log.
            let _ = child.kill();
            let _ = child.wait();
            panic!("the gateway did not start:\n{}", log.text());
        });
        let address = |prefix: &str| -> Option<SocketAddr> {
            let line = log_of_start.iter().find_map(|line| line.split_once(prefix))?;
            Some(line.1.trim().parse().unwrap())
        };
        let admin = address(" side port on http://");
        let address = address(" listening on http://")
            .or_else(|| address(" listening on https://"))
            .expect("the gateway logs its addresses");
        Self { child, folder, address, admin, log }
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The side port.
    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin.expect("this gateway has a side port")
    }

    /// Writes another text into its config file.
    pub(crate) fn write_file(&self, text: &str) {
        std::fs::write(self.folder.path().join("gateway.toml"), text).unwrap();
    }

    /// The address that it began to listen on last.
    #[track_caller]
    pub(crate) fn last_address(&self) -> SocketAddr {
        let log = self.log();
        let (_, line) = log.rsplit_once(" listening on http://").unwrap();
        line.lines().next().unwrap().trim().parse().unwrap()
    }

    /// The folder it runs in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Connects to it.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address)
    }

    /// `GET`s a target on a new connection.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        http::get(self.address, target, &[])
    }

    /// `GET`s a target on a new connection, with header fields.
    #[track_caller]
    pub(crate) fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        http::get(self.address, target, fields)
    }

    /// Sends bytes on a new connection, and reads one answer.
    #[track_caller]
    pub(crate) fn raw(&self, request: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect();
        connection.send(request);
        connection.response()
    }

    /// `GET`s a target of the side port.
    #[track_caller]
    pub(crate) fn admin_get(&self, target: &str) -> Response {
        http::get(self.admin(), target, &[])
    }

    /// `POST`s to `/reload`, with header fields such as [`TOKEN`].
    #[track_caller]
    pub(crate) fn post_reload(&self, fields: &[(&str, &str)]) -> Response {
        let mut connection = Connection::open(self.admin());
        connection.send(http::request("POST", "/reload", fields, ""));
        connection.response()
    }

    /// The value of a series of `/metrics`, such as `gateway_requests_total{code="200",method="GET",route="a"}`;
    /// zero if there is no such series.
    #[track_caller]
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let metrics = self.admin_get("/metrics").text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a series of `/metrics` has this value: the gateway counts a request just after answering it.
    #[track_caller]
    pub(crate) fn metric_becomes(&self, series: &str, value: f64) {
        eventually(&format!("{series} is {value}"), || (self.metric(series) == value).then_some(()));
    }

    /// The objects in its access log, once there are this many.
    #[track_caller]
    pub(crate) fn access_log(&self, lines: usize) -> Vec<serde_json::Value> {
        let path = self.folder.path().join("access.log");
        eventually(&format!("{lines} lines in the access log"), || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let complete: Vec<_> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
            (complete.len() >= lines)
                .then(|| complete.iter().map(|l| serde_json::from_str(l).unwrap()).collect())
        })
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until it logs a line that has this text in it.
    #[track_caller]
    pub(crate) fn wait_for_log_line(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    /// Waits until it logs a line that ends in this text.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str) {
        assert!(self.log.wait_for(text).is_some(), "the gateway ended before it logged {text:?}");
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Bounds the descriptors that it may have open.
    pub(crate) fn limit_descriptors(&self, most: u32) {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &self.child.id().to_string(), &format!("--nofile={most}:{most}")]);
        assert!(command.status().unwrap().success());
    }

    /// Waits until it ends.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the gateway ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the gateway\n{}---", self.log.text());
        }
    }
}

impl Log {
    fn push(&self, line: String) {
        self.state.lock().unwrap().lines.push(line);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap().ended = true;
        self.changed.notify_all();
    }

    fn text(&self) -> String {
        self.state.lock().unwrap().lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// All lines, once one of them ends in this text; `None` if the log ends before.
    #[track_caller]
    fn wait_for(&self, text: &str) -> Option<Vec<String>> {
        let seen = |state: &LogState| state.lines.iter().any(|line| line.ends_with(text));
        let state = self.state.lock().unwrap();
        let waiting = |state: &mut LogState| !state.ended && !seen(state);
        let (state, timeout) = self.changed.wait_timeout_while(state, PATIENCE, waiting).unwrap();
        assert!(!timeout.timed_out(), "still not logged after {PATIENCE:?}: {text}");
        seen(&state).then(|| state.lines.clone())
    }
}
