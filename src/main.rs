//! The `gateway` program: parse, load, validate, serve.

use std::io::{self, StdoutLock, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use gateway::cli::{Args, Command, Key};
use gateway::config::{Config, LoadError};
use gateway::explain::command::Unexplained;
use gateway::replay::ReplayError;
use gateway::server::StartError;
use gateway::{check, explain, healthcheck, logging, manual, new_key, replay, server};
use log::error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of `sysexits.h`: the configuration is wrong.
const BAD_CONFIG: u8 = 64;

/// What clap exits with for a wrong command line.
const BAD_COMMAND_LINE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    match &args.command {
        None if !args.check => serve(&args),
        None => check(&args.config, &check::Args::default()),
        Some(Command::Check(with)) => check(&args.config, with),
        Some(Command::Schema) => print(|out| out.write_all(Config::schema().as_bytes())),
        Some(Command::Replay(with)) => match replay::run(&args.config, with) {
            Ok(()) => ExitCode::SUCCESS,
            Err(ReplayError::Config(problems)) => bad(&problems),
            Err(reason @ ReplayError::Setting(_)) => {
                eprintln!("gateway: {reason}");
                ExitCode::from(BAD_COMMAND_LINE)
            }
            Err(reason) => {
                eprintln!("gateway: {reason}");
                ExitCode::FAILURE
            }
        },
        Some(Command::Healthcheck { ready }) => match healthcheck::ask(&args.config, *ready) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("gateway: {reason}");
                ExitCode::FAILURE
            }
        },
        Some(Command::Explain(asked)) => explain(&args.config, asked),
        Some(Command::Key(Key::New)) => {
            print(|out| out.write_all(new_key::told(&new_key::new_key()).as_bytes()))
        }
        Some(Command::Completions { shell }) => {
            let shell = *shell;
            print(|out| manual::completions(Args::command(), shell, out))
        }
        Some(Command::Man) => print(|out| manual::page(Args::command(), out)),
    }
}

fn explain(config: &Path, asked: &explain::command::Args) -> ExitCode {
    match explain::command::run(config, asked) {
        Ok(explanation) => print(|out| out.write_all(explanation.as_bytes())),
        Err(Unexplained::Config(problems)) => bad(&problems),
        Err(Unexplained::Question(reason)) => {
            eprintln!("gateway: {reason}");
            ExitCode::from(BAD_COMMAND_LINE)
        }
        Err(Unexplained::System(error)) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output, whose reader may take no more, as `head` does.
fn print(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> ExitCode {
    match write(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(config: &Path, with: &check::Args) -> ExitCode {
    match check::run(config, with) {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(BAD_CONFIG),
    }
}

fn serve(args: &Args) -> ExitCode {
    logging::start();
    match server::run(&args.config, args.upgrade) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(problems)) => bad(&problems),
        Err(reason) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Tells what is wrong with the configuration.
fn bad(problems: &LoadError) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(BAD_CONFIG)
}
