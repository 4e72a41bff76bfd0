//! A reader who does what a document says: a folder, a shell, and programs that go on running.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use toml_edit::{DocumentMut, value};

use super::commands::Command;
use super::ports::Ports;
use crate::support::PATIENCE;

/// What of the repository is in the folder of a document, with the ports that are used.
const COPIED: [&str; 4] = ["Makefile", "config", "examples", "scripts/run"];

/// Folders of the system that documents name: they are below the folder of the document here.
const SYSTEM: [&str; 1] = ["/run/secrets"];

/// The line below which a file has what its document leaves out.
const ADDED: &str = "\n# The ports of the test:\n";

/// A reader of one document. Dropping it ends whatever the document has started.
pub(crate) struct Session {
    folder: TempDir,
    pub(crate) ports: Ports,
    variables: BTreeMap<String, String>,
    /// What the last command ended with, for `$?`.
    status: i32,
    /// Whether commands run on a terminal.
    terminal: bool,
    running: Vec<Program>,
}

/// A program that goes on running, in a group of processes of its own.
struct Program {
    code: String,
    group: Pid,
    output: Arc<(Mutex<Output>, Condvar)>,
    reading: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Output {
    text: String,
    ended: bool,
}

impl Session {
    /// A reader with a new folder.
    pub(crate) fn new() -> Self {
        let session = Self {
            folder: tempfile::tempdir().unwrap(),
            ports: Ports::new(),
            variables: BTreeMap::new(),
            status: 0,
            terminal: false,
            running: Vec::new(),
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in COPIED {
            session.copy(root, Path::new(name));
        }
        session.place_programs();
        // Curl shows how far it is wherever its output is no terminal.
        fs::write(session.path(".curlrc"), "no-progress-meter\n").unwrap();
        session
    }

    fn copy(&self, root: &Path, name: &Path) {
        let from = root.join(name);
        if from.is_dir() {
            for entry in fs::read_dir(&from).unwrap() {
                self.copy(root, &name.join(entry.unwrap().file_name()));
            }
        } else {
            let to = self.folder.path().join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(&to, self.to_used(&fs::read_to_string(&from).unwrap())).unwrap();
            fs::set_permissions(&to, fs::metadata(&from).unwrap().permissions()).unwrap();
        }
    }

    /// Puts the programs where documents have them: on the path, and where cargo leaves them.
    fn place_programs(&self) {
        let gateway = Path::new(env!("CARGO_BIN_EXE_gateway"));
        let backend = gateway.with_file_name("mock-backend");
        assert!(backend.exists(), "{} is not there: cargo build --package mock-backend", backend.display());
        for place in ["bin", "target/quick", "target/release"] {
            fs::create_dir_all(self.path(place)).unwrap();
            for program in [gateway, &backend] {
                symlink(program, self.path(place).join(program.file_name().unwrap())).unwrap();
            }
        }
        // What is built has been built.
        let make = self.path("bin/make");
        fs::write(&make, "#!/bin/sh\nPATH=${PATH#*:}\nexec make -o quick -o build \"$@\"\n").unwrap();
        fs::set_permissions(&make, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A text of the document with the ports and folders that are used.
    fn to_used(&self, text: &str) -> String {
        SYSTEM.iter().fold(self.ports.to_used(text), |text, folder| {
            text.replace(folder, &format!("{}{folder}", self.folder.path().display()))
        })
    }

    /// What was printed with the ports and folders that are shown.
    fn to_shown(&self, text: &str) -> String {
        let text = self.ports.to_shown(text).replace('\r', "");
        text.replace(&self.folder.path().display().to_string(), "")
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the ports that are used.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), self.to_used(text)).unwrap();
    }

    /// A configuration that listens on the ports that are used, also where it leaves that to the gateway.
    pub(crate) fn with_ports(&self, text: &str) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        let mut added = String::new();
        for (name, port) in [("server", 8000), ("admin", 8001)] {
            let listen = format!("127.0.0.1:{}", self.ports.used(port));
            match document.get_mut(name) {
                None => added += &format!("\n[{name}]\nlisten = \"{listen}\"\n"),
                Some(table) if table.get("listen").is_none() => table["listen"] = value(listen),
                Some(_) => {}
            }
        }
        format!("{document}{ADDED}{added}")
    }

    /// A file in the folder, as it is without what [`Self::with_ports`] has added.
    pub(crate) fn read(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.split(ADDED).next().unwrap_or_default().to_owned()
    }

    /// Sets a variable of the commands that come.
    pub(crate) fn set(&mut self, name: String, value: &str) {
        self.variables.insert(name, self.to_used(value));
    }

    /// Has the commands that come run on a terminal, or not.
    pub(crate) fn set_terminal(&mut self, terminal: bool) {
        self.terminal = terminal;
    }

    /// Runs a command to its end, or until it can be used if it goes on running. Returns what it has printed, and whether it went well.
    pub(crate) fn run(&mut self, command: &Command) -> (String, bool) {
        let code = command.text.trim();
        if let Some((name, value)) =
            code.strip_prefix("export ").and_then(|variable| variable.split_once('='))
        {
            self.set(name.to_owned(), value);
            return (String::new(), true);
        }
        let (printed, good) = match command.ready() {
            Some(ready) => self.start(&self.naming_ports(code), ready),
            None => {
                let code = format!("(exit {}); {code}", self.status);
                let (printed, status) = if self.terminal {
                    self.write(".code", &code);
                    self.finish("NO_COLOR=1 script --quiet --return --command 'sh .code' /dev/null", "")
                } else {
                    self.finish(&code, "")
                };
                self.status = status;
                (printed, status == 0)
            }
        };
        if code == "gateway init" {
            // What it has written has its own ports.
            let written = fs::read_to_string(self.path("gateway.toml")).unwrap();
            self.write("gateway.toml", &written);
        }
        (self.to_shown(&printed), good)
    }

    /// The command, if it serves without a file, with the ports that it would otherwise choose itself.
    fn naming_ports(&self, code: &str) -> String {
        let Some((before, after)) = code.split_once("gateway proxy ") else { return code.to_owned() };
        let mut named = String::new();
        for (option, port) in [("--from", 8000), ("--admin", 8001)] {
            if !after.contains(option) {
                named += &format!("{option} 127.0.0.1:{} ", self.ports.used(port));
            }
        }
        format!("{before}gateway proxy {named}{after}")
    }

    /// What a filter makes of a text.
    pub(crate) fn filter(&self, filter: &str, text: &str) -> String {
        let (filtered, status) = self.finish(filter, text);
        assert!(status == 0, "{filter}: {filtered}");
        filtered
    }

    /// Starts the shell with this code in a group of its own. Both outputs go to one pipe, so that they are read in their order.
    fn shell(&self, code: &str, stdin: Stdio) -> (Child, PipeReader) {
        let (output, writer) = io::pipe().unwrap();
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let child = process::Command::new("sh")
            .args(["-c", &self.to_used(code)])
            .current_dir(self.folder.path())
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("GATEWAY_CONFIG")
            .envs([("PATH", path.as_str()), ("LC_ALL", "C"), ("FIXTURES", FIXTURES)])
            .env("HOME", self.folder.path())
            .envs(&self.variables)
            .stdin(stdin)
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .process_group(0)
            .spawn()
            .unwrap();
        (child, output)
    }

    fn finish(&self, code: &str, input: &str) -> (String, i32) {
        fs::write(self.path(".input"), input).unwrap();
        let stdin = fs::File::open(self.path(".input")).unwrap().into();
        let (mut child, mut output) = self.shell(code, stdin);
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = output.read_to_end(&mut bytes);
            // Nobody waits for it any longer if it took too long.
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        });
        let Ok(printed) = receiver.recv_timeout(PATIENCE) else {
            let _ = kill_process_group(group(&child), Signal::KILL);
            let _ = child.wait();
            return (format!("it has not ended after {PATIENCE:?}"), 1);
        };
        (printed, child.wait().unwrap().code().unwrap_or(1))
    }

    fn start(&mut self, code: &str, ready: &str) -> (String, bool) {
        let code = code.trim_end().trim_end_matches('&');
        let (mut child, output) = self.shell(code, Stdio::null());
        let group = group(&child);
        let shared = Arc::<(Mutex<Output>, Condvar)>::default();
        let written = shared.clone();
        let reading = thread::spawn(move || {
            let (output_so_far, changed) = &*written;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                output_so_far.lock().unwrap().text += &(line + "\n");
                changed.notify_all();
            }
            // Whoever ends it by its number waits until nobody has that number.
            let _ = child.wait();
            output_so_far.lock().unwrap().ended = true;
            changed.notify_all();
        });
        self.running.push(Program {
            code: code.to_owned(),
            group,
            output: shared.clone(),
            reading: Some(reading),
        });
        let (output, changed) = &*shared;
        let waits = |output: &mut Output| !output.ended && !output.text.contains(ready);
        let (output, _) = changed.wait_timeout_while(output.lock().unwrap(), PATIENCE, waits).unwrap();
        (output.text.clone(), output.text.contains(ready) && !output.ended)
    }

    /// Ends what the document has started, as Ctrl-C does.
    pub(crate) fn interrupt(&mut self) {
        for mut program in self.running.drain(..) {
            program.end(Signal::INT);
        }
    }

    /// The last lines of each program that goes on running.
    pub(crate) fn printed(&self) -> String {
        let last = |program: &Program| {
            let text = program.output.0.lock().unwrap().text.clone();
            let lines: Vec<_> = text.split_inclusive('\n').collect();
            format!(
                "--- the last lines of `{}`\n{}",
                program.code,
                lines[lines.len().saturating_sub(10)..].concat()
            )
        };
        self.running.iter().map(last).collect()
    }
}

/// Certificates, keys and the like, for commands that a reader does not see.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn group(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap()).unwrap()
}

impl Program {
    /// Sends a signal to the whole group, and waits until it has ended, by force if it does not.
    fn end(&mut self, signal: Signal) {
        let Some(reading) = self.reading.take() else { return };
        // It may have ended already; then nobody has this number, as long as its output has not been read to its end.
        if !self.output.0.lock().unwrap().ended {
            let _ = kill_process_group(self.group, signal);
        }
        let (output, changed) = &*self.output;
        let running = |output: &mut Output| !output.ended;
        let (output, late) = changed.wait_timeout_while(output.lock().unwrap(), PATIENCE, running).unwrap();
        drop(output);
        if late.timed_out() {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        let _ = reading.join();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end(Signal::KILL);
    }
}
