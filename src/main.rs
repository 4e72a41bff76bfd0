//! The `gateway` program: parse, load, validate, serve.

use std::process::ExitCode;

use clap::Parser as _;
use gateway::cli::{Args, Command};
use gateway::config::Config;
use gateway::{healthcheck, logging, server};
use log::error;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of `sysexits.h`: the configuration is wrong.
const BAD_CONFIG: u8 = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    match args.command {
        None if !args.check => serve(config, &args),
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

fn serve(config: Config, args: &Args) -> ExitCode {
    logging::start();
    match server::run(config, &args.config, args.upgrade) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
    }
}
