//! The `gateway` program: parse, load, validate, serve.

use std::process::ExitCode;

use clap::Parser as _;
use gateway::cli::{Args, Command};
use gateway::config::{Config, LoadError};
use gateway::server::StartError;
use gateway::{healthcheck, logging, server};
use log::error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of `sysexits.h`: the configuration is wrong.
const BAD_CONFIG: u8 = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        None if !args.check => serve(&args),
        None | Some(Command::Check) => check(&args),
        Some(Command::Healthcheck { ready }) => match healthcheck::ask(&args.config, ready) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("gateway: {reason}");
                ExitCode::FAILURE
            }
        },
    }
}

fn check(args: &Args) -> ExitCode {
    match Config::load(&args.config) {
        Ok(config) => {
            for warning in config.warnings(&args.config) {
                let (place, name) = (warning.location(), warning.lint.name());
                eprintln!("{place}: warning: {} [{name}]", warning.message);
            }
            println!("{}: ok: {}", args.config.display(), config.summary());
            ExitCode::SUCCESS
        }
        Err(problems) => bad(&problems),
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
