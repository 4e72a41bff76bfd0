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
    if args.command.is_none() && !args.check {
        return serve(&args);
    }
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            return bad(&problems);
        }
    };
    match args.command {
        None | Some(Command::Check) => {
            for warning in config.warnings(&args.config) {
                eprintln!("warning: {warning}");
            }
            println!("{}: ok: {}", args.config.display(), config.summary());
            ExitCode::SUCCESS
        }
        Some(Command::Healthcheck) => match healthcheck::ask(&config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(reason) => {
                eprintln!("gateway: {reason}");
                ExitCode::FAILURE
            }
        },
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
