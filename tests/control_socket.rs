//! The socket through which a process takes over, and strangers who are there first or knock at it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};
use siphasher::sip128::SipHasher13;
use tempfile::TempDir;

const CONFIG: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"off\"\n[access_log]\npath = \"off\"\n\
                      [[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

/// Some user who is neither root nor this one.
const STRANGER: u32 = 65534;

/// Where a process with this configuration waits, as docs/install.md says.
fn name(folder: &Path) -> String {
    let path = folder.join("gateway.toml");
    let hash = SipHasher13::new().hash(path.as_os_str().as_encoded_bytes()).as_u128();
    format!("gateway-{}-{hash:032x}", rustix::process::geteuid().as_raw())
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), CONFIG).unwrap();
    folder
}

/// A gateway, killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(folder: &Path, private: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(arguments).current_dir(folder).env_remove("GATEWAY_CONFIG");
    command.env_remove("RUNTIME_DIRECTORY").env("XDG_RUNTIME_DIR", private);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Starts one, and gives what it says until it is ready.
fn start(
    folder: &Path,
    private: &Path,
    arguments: &[&str],
) -> (Running, Vec<String>, BufReader<ChildStderr>) {
    let mut child = command(folder, private, arguments).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let (mut log, mut line) = (Vec::new(), String::new());
    while stderr.read_line(&mut line).unwrap() > 0 {
        let ready = line.trim_end().ends_with("ready");
        log.push(std::mem::take(&mut line));
        if ready {
            break;
        }
    }
    (Running(child), log, stderr)
}

/// Has a stranger run some Perl, and waits until it says that it has; `None` where that cannot be done.
fn stranger(perl: &str, name: &str) -> Option<(Running, ChildStdout)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let script = format!(
        "use Socket; $| = 1; my $a = pack('S a*', AF_UNIX, \"\\0$ARGV[0]\"); \
         sub new {{ socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; $s }} {perl}; print \"x\\n\"; sleep 60"
    );
    let mut command = Command::new("perl");
    command.args(["-e", &script, name]).uid(STRANGER).current_dir("/").stdout(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdout = child.stdout.take()?;
    stdout.read_exact(&mut [0]).unwrap();
    Some((Running(child), stdout))
}

#[test]
fn a_name_that_is_taken_is_told_and_upgrades_go_on_another_way() {
    let (folder, private) = (folder(), tempfile::tempdir().unwrap());
    let name = name(folder.path());
    let taken = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&taken, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
    let (mut former, log, _stderr) = start(folder.path(), private.path(), &[]);
    let told = format!("@{name}, is taken by a process that does not listen at it");
    assert!(log.iter().any(|line| line.contains("WARN") && line.contains(&told)), "{log:?}");
    for _ in 0..2 {
        let (next, log, _stderr) = start(folder.path(), private.path(), &["--upgrade"]);
        assert!(log.last().is_some_and(|line| line.trim_end().ends_with("ready")), "{log:?}");
        assert_eq!(former.0.wait().unwrap().code(), Some(0));
        former = next;
    }
}

#[test]
fn the_socket_of_a_stranger_is_not_trusted_and_that_is_told() {
    let (folder, private) = (folder(), tempfile::tempdir().unwrap());
    let name = name(folder.path());
    let Some(_squatter) = stranger("my $s = new; bind($s, $a) or die; listen($s, 1) or die", &name) else {
        return;
    };
    let output = command(folder.path(), private.path(), &["--upgrade"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("@{name}, is taken by a process of another user ({STRANGER})")), "{log}");
    let (_gateway, log, _stderr) = start(folder.path(), private.path(), &[]);
    let told = format!("is taken by a process of another user ({STRANGER})");
    assert!(log.iter().any(|line| line.contains("WARN") && line.contains(&told)), "{log:?}");
    // It is no obstacle either.
    let (_next, log, _stderr) = start(folder.path(), private.path(), &["--upgrade"]);
    assert!(log.last().is_some_and(|line| line.trim_end().ends_with("ready")), "{log:?}");
}

#[test]
fn a_stranger_who_knocks_is_told_of_once_and_keeps_nobody_out() {
    let (folder, private) = (folder(), tempfile::tempdir().unwrap());
    let (mut former, _, mut stderr) = start(folder.path(), private.path(), &[]);
    let knocks = "my @s = map { my $s = new; connect($s, $a) or die; $s } 1..50";
    let Some(_stranger) = stranger(knocks, &name(folder.path())) else { return };
    let (_next, log, _stderr) = start(folder.path(), private.path(), &["--upgrade"]);
    assert!(log.last().is_some_and(|line| line.trim_end().ends_with("ready")), "{log:?}");
    assert_eq!(former.0.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert_eq!(log.matches(&format!("another user ({STRANGER}) has tried to take over")).count(), 1, "{log}");
}

#[test]
fn a_second_process_with_the_same_file_does_not_disturb_the_first() {
    let (folder, private) = (folder(), tempfile::tempdir().unwrap());
    let (mut first, _, mut stderr) = start(folder.path(), private.path(), &[]);
    let (_second, log, _stderr) = start(folder.path(), private.path(), &[]);
    assert!(log.iter().any(|line| line.contains("another one runs with this configuration")), "{log:?}");
    let (_next, _, _stderr) = start(folder.path(), private.path(), &["--upgrade"]);
    assert_eq!(first.0.wait().unwrap().code(), Some(0));
    let mut log = String::new();
    stderr.read_to_string(&mut log).unwrap();
    assert!(!log.contains("was to take over, but has not"), "{log}");
}
