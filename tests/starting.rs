//! Signals while the gateway is still starting: none is lost, and none kills it halfway.
//!
//! A configuration that is a pipe holds a start up for as long as a test likes, and says when it has come so far.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::eventually;
use crate::support::gateway::Gateway;

const CONFIG: &str = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"off\"\n[access_log]\npath = \"off\"\n\
                      [[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

fn spawn(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("GATEWAY_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Waits until somebody reads the pipe.
fn when_it_is_read(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

/// What it says until it ends.
fn log_of(child: &mut Child) -> String {
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    log
}

#[test]
fn a_hang_up_during_the_start_leads_to_one_reload_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("gateway.toml");
    pipe(&config);
    let mut child = spawn(folder.path(), &[]);
    let mut writing = when_it_is_read(&config);
    for _ in 0..3 {
        signal(&child, "HUP");
    }
    writing.write_all(CONFIG.as_bytes()).unwrap();
    // What the reload will read.
    fs::write(folder.path().join("kept"), CONFIG).unwrap();
    fs::rename(folder.path().join("kept"), &config).unwrap();
    drop(writing);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let until_reloaded: Vec<_> = lines.by_ref().take_while(|line| !line.contains("reloaded ")).collect();
    assert!(until_reloaded.iter().any(|line| line.ends_with("ready")), "{until_reloaded:?}");
    signal(&child, "TERM");
    let rest: Vec<_> = lines.collect();
    assert!(!rest.iter().any(|line| line.contains("reloaded ")), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_stop_during_the_start_ends_it_at_once() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("gateway.toml");
        pipe(&config);
        let mut child = spawn(folder.path(), &[]);
        let _held = when_it_is_read(&config);
        signal(&child, name);
        let status = eventually("the gateway ends", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(log_of(&mut child).contains("stopped before it was ready"));
    }
}

#[test]
fn a_stop_during_an_upgrade_leaves_the_process_that_runs_as_it_was() {
    let gateway = Gateway::with_file(&CONFIG.replace("\"off\"", "\"127.0.0.1:0\""));
    let config = gateway.folder().join("gateway.toml");
    fs::remove_file(&config).unwrap();
    pipe(&config);
    for name in ["TERM", "INT"] {
        let mut child = spawn(&gateway.folder(), &["--upgrade"]);
        let _held = when_it_is_read(&config);
        signal(&child, name);
        assert_eq!(eventually("the new process ends", || child.try_wait().unwrap()).code(), Some(0));
        assert_eq!(gateway.get("/").status, 200);
    }
}

#[test]
fn a_hang_up_during_an_upgrade_leads_to_a_reload_by_the_new_process() {
    let mut gateway = Gateway::with_file(CONFIG);
    let config = gateway.folder().join("gateway.toml");
    fs::rename(&config, config.with_extension("kept")).unwrap();
    pipe(&config);
    let mut child = spawn(&gateway.folder(), &["--upgrade"]);
    let mut writing = when_it_is_read(&config);
    signal(&child, "HUP");
    writing.write_all(CONFIG.as_bytes()).unwrap();
    fs::rename(config.with_extension("kept"), &config).unwrap();
    drop(writing);
    assert_eq!(gateway.wait().code(), Some(0));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("reloaded ")));
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
