//! `gateway explain`.

use std::path::Path;

use tokio::runtime::Builder;

use super::answer;
use super::question::{Asked, Question};
use super::text::Text;
use crate::clock::Clock;
use crate::config::{Config, LoadError};
use crate::engine::Engine;
use crate::limit::Limiter;
use crate::limit::key::Secret;

/// What is asked on the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The method.
    pub method: String,

    /// A URL, such as https://api.example.com/users/7, or a path.
    #[allow(rustdoc::bare_urls, reason = "`--help` shows it as it is")]
    pub url: String,

    /// A header field, as "Name: value"; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    pub headers: Vec<String>,

    /// The host, where the URL is only a path; left out, it is localhost.
    #[arg(long)]
    pub host: Option<String>,

    /// The address that the request comes from.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub from: String,

    /// The request has a body of so many bytes.
    #[arg(short = 'd', long, value_name = "BYTES")]
    pub body_size: Option<u64>,

    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Show the values of fields that the configuration sets in requests, which may be secrets.
    #[arg(long)]
    pub show_secrets: bool,
}

/// Why there is no explanation.
#[derive(Debug)]
pub enum Unexplained {
    /// The configuration has problems.
    Config(LoadError),
    /// The command line asks for what is no request.
    Question(String),
    /// The system does not let it work.
    System(std::io::Error),
}

/// Explains a request by the configuration at this path, with every bucket full.
///
/// # Errors
/// When the configuration has problems, or what is asked for is no request.
pub fn run(path: &Path, args: &Args) -> Result<String, Unexplained> {
    let question = Question::new(&Asked {
        method: args.method.clone(),
        url: args.url.clone(),
        host: args.host.clone().unwrap_or_default(),
        fields: args.headers.clone(),
        from: args.from.clone(),
        body_size: args.body_size,
    })
    .map_err(Unexplained::Question)?;
    let config = Config::load(path).map_err(Unexplained::Config)?;
    let limiter = Limiter::new(config.limits.clone(), Secret::random());
    let clock = Clock::monotonic();
    limiter.wall().set(clock.now_and_wall());
    let engine = Engine::new(config, limiter);
    let runtime = Builder::new_current_thread().enable_time().build().map_err(Unexplained::System)?;
    let now = clock.now();
    let explanation = runtime.block_on(answer::explain(&engine, &question, now, args.show_secrets));
    if args.json {
        let json = serde_json::to_string_pretty(&explanation).map_err(std::io::Error::other);
        return json.map(|json| json + "\n").map_err(Unexplained::System);
    }
    let file = path.display().to_string();
    Ok(Text { explanation: &explanation, file: &file }.to_string())
}
