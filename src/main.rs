//! The `gateway` program: parse, load, validate, serve.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use gateway::cli::{Args, Command, Key};
use gateway::config::{Config, LoadError, Source};
use gateway::explain::command::Unexplained;
use gateway::replay::ReplayError;
use gateway::server::StartError;
use gateway::{check, explain, healthcheck, init, logging, manual, new_key, quick, replay, server};
use log::error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of `sysexits.h`: the configuration is wrong.
const BAD_CONFIG: u8 = 64;

/// What clap exits with for a wrong command line.
const BAD_COMMAND_LINE: u8 = 2;

/// What helps whoever has no configuration file yet.
const NO_FILE: &str = "  gateway init                           writes one to start from\n  \
                       gateway proxy --to :3000 --rate 10/s   serves without one\n  \
                       gateway --config FILE                  serves another one";

fn main() -> ExitCode {
    let args = Args::parse();
    match &args.command {
        None if !args.check => serve(&Source::File(args.config.clone()), args.upgrade),
        None => check(&args.config, &check::Args::default()),
        Some(Command::Proxy(with)) => proxy(with),
        Some(Command::Init) => match init::write(&args.config) {
            Ok(told) => print(|out| out.write_all(told.as_bytes())),
            Err(error) => failed(&error),
        },
        Some(Command::Reload) => reload(&args.config),
        Some(Command::Stop) => match server::stop(&args.config) {
            Ok(number) => print(|out| writeln!(out, "stopped: process {number}")),
            Err(error) => not_running(&args.config, &error),
        },
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

/// Serves what the command line says.
fn proxy(with: &quick::Args) -> ExitCode {
    let source = match with.source() {
        Ok(source) => source,
        Err(reason) => {
            eprintln!("gateway: {reason}");
            return ExitCode::from(BAD_COMMAND_LINE);
        }
    };
    if let Source::Text { text, .. } = &source {
        // Nobody may be there to read it.
        let _ = writeln!(io::stdout(), "{text}");
    }
    serve(&source, false)
}

fn reload(config: &Path) -> ExitCode {
    match server::reload(config) {
        Ok(Ok(summary)) => print(|out| writeln!(out, "reloaded {}: {summary}", config.display())),
        Ok(Err(problems)) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            eprintln!("{} is not reloaded: what was in force still is", config.display());
            ExitCode::from(BAD_CONFIG)
        }
        Err(error) => not_running(config, &error),
    }
}

/// Tells that no gateway could be asked.
fn not_running(config: &Path, error: &io::Error) -> ExitCode {
    failed(&format_args!("no gateway of this user runs with {}: {error}", config.display()))
}

fn failed(reason: &dyn Display) -> ExitCode {
    eprintln!("gateway: {reason}");
    ExitCode::FAILURE
}

fn serve(source: &Source, upgrade: bool) -> ExitCode {
    logging::start();
    match server::run(source, upgrade) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Config(problems)) => {
            if matches!(&problems, LoadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound) {
                eprintln!("{problems}\n{NO_FILE}");
                return ExitCode::from(BAD_CONFIG);
            }
            bad(&problems)
        }
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
