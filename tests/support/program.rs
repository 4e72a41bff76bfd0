//! The program, run to its end.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the gateway with these arguments in a folder that has this `gateway.toml`.
#[track_caller]
pub(crate) fn run(config: &str, arguments: &[&str]) -> Outcome {
    run_with(config, arguments, &[])
}

/// The same, with environment variables.
#[track_caller]
pub(crate) fn run_with(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
    run_in(folder.path(), arguments, environment)
}

/// Runs the gateway with these arguments and environment variables in a folder.
#[track_caller]
pub(crate) fn run_in(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("GATEWAY_CONFIG")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Outcome::of(&output)
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}
