//! The command line of `gateway replay`.

use std::path::PathBuf;

use http::HeaderValue;

use super::log::{Format, Mapping};
use super::settings::Setting;

/// What to replay, under which configuration, and what to write.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The logs: files, also compressed by gzip or zstd, in any order, or `-` for standard input.
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,

    /// The format of the logs; without it, it is recognised.
    #[arg(long, value_enum)]
    pub format: Option<Format>,

    /// Change a value of the configuration, such as limits.per_client.rate=20/s. A route is named: routes.NAME.limits=[].
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<Setting>,

    /// Try another configuration beside this one.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,

    /// Say which field of the log has the value of a part of a key, such as header:X-Api-Key=user.
    #[arg(long, value_name = "PART=FIELD")]
    pub map: Vec<Mapping>,

    /// The host that was asked for, where the log does not say it.
    #[arg(long, value_name = "NAME")]
    pub host: Option<HeaderValue>,

    /// Write the report as a page, with plots, to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,

    /// Write the decision about each request to this file, as a line of JSON; `-` is standard output, without the report.
    #[arg(long, value_name = "FILE")]
    pub decisions: Option<PathBuf>,
}
