//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{check, explain, quick, replay};

/// A config-file-driven, rate-limiting API gateway.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit status: 0 after a drain or a successful check, 64 for a bad \
configuration, 1 for a failure at start (such as a port in use), 2 for a wrong command line."
)]
pub struct Args {
    /// The configuration file.
    #[arg(
        short,
        long,
        global = true,
        env = "GATEWAY_CONFIG",
        default_value = "gateway.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,

    /// Check the configuration and exit, like `gateway check`.
    #[arg(long)]
    pub check: bool,

    /// Take over from the gateway that runs with this configuration: its listening sockets and its buckets.
    #[arg(long, conflicts_with = "check")]
    pub upgrade: bool,

    /// What to do; without a command, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve without a file: forward what comes in to a service, and limit each client.
    Proxy(quick::Args),
    /// Write a configuration file to start from.
    Init,
    /// Have the running gateway read its configuration again, and tell how it went.
    Reload,
    /// Stop the running gateway: it answers the requests that it has, and ends.
    Stop,
    /// Check the configuration: print a line of summary, or every problem with its place in the file.
    Check(check::Args),
    /// Print a JSON Schema of the configuration file, for editors.
    Schema,
    /// Replay access logs through the limits, and report whom they would have refused.
    Replay(replay::Args),
    /// Ask the running gateway whether it lives: exit status 0 if it does.
    Healthcheck {
        /// Ask whether it is ready: whether each upstream has a usable server, and it does not drain.
        #[arg(long)]
        ready: bool,
    },
    /// Explain what becomes of a request, without sending it: its route, its client, its limits, and what the upstream receives.
    Explain(explain::command::Args),
    /// Make API keys.
    #[command(subcommand)]
    Key(Key),
    /// Print the script by which a shell completes this command line.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the page of the manual.
    Man,
}

/// What to do with API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Key {
    /// Make a new key: print it, and the hash that the configuration stores of it.
    New,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
