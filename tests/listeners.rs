//! Listeners that are no addresses: Unix sockets, and sockets that the service manager passes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::gateway::{Gateway, TOKEN};
use crate::support::program::run_in;

const ROUTE: &str = "[[routes]]\nname = \"a\"\npath = \"/*\"\nrespond = { status = 200, body = \"hello\" }\n";

/// A file that listens there, beside an address, or on `more` of its own.
fn config(listen: &str) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\", {listen}]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"t\"\n[access_log]\npath = \"access.log\"\n{ROUTE}"
    )
}

fn ask(mut stream: impl std::io::Read + std::io::Write, fields: &str) -> String {
    write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn is_well(path: &Path) -> bool {
    ask(UnixStream::connect(path).unwrap(), "").ends_with("hello")
}

#[test]
fn a_unix_socket_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listen = format!("{{ address = \"unix:{}\", mode = \"0660\" }}", path.display());
    let gateway = Gateway::with_file(&config(&listen));
    gateway.wait_for_log_line(&format!("listening on http://unix:{}", path.display()));
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert!(is_well(&path));
    // Whoever is there is on this machine, and speaks for others if 127.0.0.1 does.
    ask(UnixStream::connect(&path).unwrap(), "X-Forwarded-For: 203.0.113.7\r\n");
    let log = gateway.access_log(2);
    assert_eq!(
        (log[0]["client"].as_str(), log[1]["client"].as_str()),
        (Some("127.0.0.1"), Some("203.0.113.7"))
    );
    let series = format!("gateway_connections{{listener=\"unix:{}\"}}", path.display());
    let _open = UnixStream::connect(&path).unwrap();
    gateway.metric_becomes(&series, 1.0);
    // Nobody takes it away from a gateway that lives.
    let second = tempfile::tempdir().unwrap();
    fs::write(second.path().join("gateway.toml"), config(&listen)).unwrap();
    let outcome = run_in(second.path(), &[], &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("cannot listen on unix:"), "{}", outcome.stderr);
    assert!(is_well(&path));
    // One that was killed leaves its file behind, which is no obstacle.
    gateway.signal("KILL");
    drop(gateway);
    assert!(path.exists());
    let gateway = Gateway::with_file(&config(&listen));
    assert!(is_well(&path));
    let next = gateway.upgrade();
    assert!(is_well(&path));
    assert_eq!(next.post_reload(&TOKEN).status, 200);
    next.write_file(&config("\"127.0.0.1:0\"").replace(", \"127.0.0.1:0\"]", "]"));
    assert_eq!(next.post_reload(&TOKEN).status, 200);
    crate::support::eventually("nobody listens there", || UnixStream::connect(&path).is_err().then_some(()));
}

/// A gateway that was passed sockets, killed when it is dropped.
struct Passed(Child);

impl Drop for Passed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one as systemd does, with two sockets: `web`, of TCP, and `local`, of Unix. What it says until it is ready.
fn start(folder: &Path, listen: &str) -> (Passed, String) {
    let config = format!(
        "[server]\nlisten = {listen}\n[admin]\nlisten = \"off\"\n[access_log]\npath = \"off\"\n{ROUTE}"
    );
    fs::write(folder.join("gateway.toml"), config).unwrap();
    let script = "use IO::Socket::INET; use IO::Socket::UNIX; use POSIX; $^F = 255; \
        my $web = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1:0') or die; \
        my $local = IO::Socket::UNIX->new(Listen => 5, Local => 'local.sock') or die; \
        my @high = map { fcntl($_, F_DUPFD, 20) } ($web, $local); close $web; close $local; \
        for my $n (0, 1) { POSIX::dup2($high[$n], 3 + $n); POSIX::close($high[$n]) } \
        $ENV{LISTEN_FDS} = 2; $ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDNAMES} = 'web:local'; exec @ARGV or die";
    let mut child = Command::new("perl")
        .args(["-MFcntl", "-e", script, env!("CARGO_BIN_EXE_gateway")])
        .current_dir(folder)
        .env_remove("GATEWAY_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut log = String::new();
    while stderr.read_line(&mut log).unwrap() > 0 && !log.ends_with("ready\n") {}
    (Passed(child), log)
}

/// The address that it says it listens on.
fn address(log: &str) -> SocketAddr {
    let (_, rest) = log.split_once("listening on http://127.0.0.1:").unwrap_or_else(|| panic!("{log}"));
    format!("127.0.0.1:{}", rest.lines().next().unwrap()).parse().unwrap()
}

#[test]
fn sockets_of_systemd_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, log) = start(folder.path(), "\"systemd\"");
    assert!(ask(TcpStream::connect(address(&log)).unwrap(), "").ends_with("hello"));
    assert!(is_well(&folder.path().join("local.sock")));
}

#[test]
fn sockets_of_systemd_are_told_apart_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, log) = start(folder.path(), "[\"systemd\", { address = \"systemd:web\" }]");
    assert!(ask(TcpStream::connect(address(&log)).unwrap(), "").ends_with("hello"));
    assert!(is_well(&folder.path().join("local.sock")));
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, log) = start(folder.path(), "\"systemd:local\"");
    assert!(log.contains("has passed 1 sockets that `listen` does not name"), "{log}");
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, log) = start(folder.path(), "\"systemd:other\"");
    assert!(
        log.contains("cannot listen on systemd:other: the service manager has passed no such socket"),
        "{log}"
    );
}

#[test]
fn without_a_socket_of_systemd_there_is_no_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("gateway.toml"),
        format!("[server]\nlisten = \"systemd\"\n[admin]\nlisten = \"off\"\n{ROUTE}"),
    )
    .unwrap();
    let outcome = run_in(folder.path(), &[], &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stderr.contains("cannot listen on systemd: the service manager has passed no such socket"),
        "{}",
        outcome.stderr
    );
}
