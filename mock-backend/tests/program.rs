//! The program as a process.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::support::{Connection, eventually, get, start};

struct Program {
    child: Child,
    stdout: BufReader<ChildStdout>,
    addr: SocketAddr,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addr =
            line.strip_prefix("mock-backend listening on http://").unwrap().trim_end().parse().unwrap();
        Self { child, stdout, addr }
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mock-backend"));
    command.args(args).env_remove("MOCK_LISTEN");
    command
}

#[test]
fn it_serves_where_it_says_under_its_name() {
    let program = Program::start(&mut command(&["--listen", "127.0.0.1:0", "--name", "b2"]));
    let response = get(program.addr, "/users");
    assert_eq!((response.status, response.header("x-backend")), (200, Some("b2")));
}

#[test]
fn the_environment_can_say_where() {
    let program = Program::start(command(&[]).env("MOCK_LISTEN", "127.0.0.1:0"));
    assert_eq!(get(program.addr, "/health").header("x-backend"), Some("mock"));
}

#[test]
fn a_taken_port_is_one_clear_line() {
    let taken = start();
    let addr = taken.addr().to_string();
    let output = command(&["--listen", &addr]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with(&format!("mock-backend: cannot listen on {addr}: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_name_that_fits_in_no_header_is_refused() {
    let output = command(&["--name", "a b"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn signals_end_it_in_order_even_with_open_streams() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::start(&mut command(&["--listen", "127.0.0.1:0"]));
        let mut connection = Connection::open(program.addr);
        connection.write("GET", "/sse?interval=600s", &[], b"");
        connection.read_head();
        connection.read_chunk().unwrap();

        program.signal(signal);
        assert_eq!(program.wait().code(), Some(0), "{signal}");
        connection.assert_cut_off();
        let mut rest = String::new();
        program.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "one line is all it prints");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn long_bodies_are_not_held_in_memory() {
    const LENGTH: usize = 200_000_000;
    let program = Program::start(&mut command(&["--listen", "127.0.0.1:0"]));
    let mut connection = Connection::open(program.addr);
    connection.write("GET", &format!("/bytes/{LENGTH}"), &[], b"");
    assert_eq!(connection.read("GET").body.len(), LENGTH);

    let mut connection = Connection::open(program.addr);
    connection.write("POST", "/upload", &[("Content-Length", &LENGTH.to_string())], b"");
    let piece = vec![b'x'; LENGTH / 100];
    for _ in 0..100 {
        connection.write_raw(&piece);
    }
    assert_eq!(connection.read("POST").json()["length"], LENGTH);

    let status = fs::read_to_string(format!("/proc/{}/status", program.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kb: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kb < 64 * 1024, "peak memory of {peak_kb} kB");
}
