//! `gateway replay`: reads the logs, tries the configurations, writes the report.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Args;
use super::decisions::Decisions;
use super::html;
use super::log::{Failure, Format, Log, Options, WINDOW, Wanted};
use super::notes::{self, notes};
use super::record::{Record, Stamp};
use super::report::{ConfigPart, LogPart, Report, RunPart, SpreadPart};
use super::scenario::{BATCH, Scenario};
use super::settings::{Setting, SettingError};
use super::spread::Spread;
use super::trial::Trial;
use crate::clock::Timestamp;
use crate::config::{self, Config, LoadError};
use crate::limit::key::KeyPart;
use crate::route::Source;

/// What the demands of clients may take of memory, in bytes.
const DEMANDS: usize = 24 << 20;

/// The progress is told again after about so many requests.
const STEP: u64 = 1 << 14;

/// Why nothing was reported.
#[derive(Debug)]
pub enum ReplayError {
    /// A configuration is wrong.
    Config(LoadError),
    /// A value cannot be set.
    Setting(SettingError),
    /// A log cannot be read.
    Log(Failure),
    /// What was found cannot be written.
    Output(PathBuf, io::Error),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Setting(error) => error.fmt(f),
            Self::Log(error) => error.fmt(f),
            Self::Output(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for ReplayError {}

/// Replays logs under the configuration at `path`.
///
/// # Errors
/// When a configuration is wrong, a log cannot be read, or the report cannot be written.
pub fn run(path: &Path, args: &Args) -> Result<(), ReplayError> {
    let paths: Vec<&Path> = std::iter::once(path).chain(args.compare.as_deref()).collect();
    let mut configs = Vec::with_capacity(paths.len());
    for (index, path) in paths.iter().enumerate() {
        // What is set is set in the first: the second is there to be compared with.
        configs.push(load(path, if index == 0 { &args.set } else { &[] })?);
    }
    let mut log = open(args, &configs)?;
    let formats: Vec<Format> = log.formats().into_iter().collect();
    let mut trials = trials(configs, &formats, log.wanted());
    let mut decisions = match &args.decisions {
        Some(path) => Some(Decisions::to(path).map_err(|error| ReplayError::Output(path.clone(), error))?),
        None => None,
    };
    let unwritten = |error| ReplayError::Output(args.decisions.clone().unwrap_or_default(), error);
    let mut facts = notes::Facts::default();
    let (mut requests, mut last) = (0, Timestamp::default());
    let progress = progress(log.size());
    let mut failure = None;
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.clear();
        if failure.is_none() {
            failure = fill(&mut batch, &mut log).err();
        }
        let Some((now, _)) = batch.last() else { break };
        if requests == 0
            && let Some(start) = log.start()
        {
            trials.iter().for_each(|trial| trial.begin(start));
        }
        last = *now;
        batch.iter().for_each(|(_, record)| facts.count(record));
        trials.iter_mut().for_each(|trial| trial.requests(&batch));
        if let (Some(decisions), Some(Trial { told, .. })) = (&mut decisions, trials.first()) {
            for ((_, record), fate) in batch.iter().zip(told.fates()) {
                match decisions.write(told.engine(), record, fate) {
                    // Whoever reads them has read enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                    written => written.map_err(unwritten)?,
                }
            }
        }
        let before = requests;
        requests += batch.len() as u64;
        if before / STEP != requests / STEP {
            progress.set_position(log.bytes_read());
        }
    }
    progress.finish_and_clear();
    trials.iter_mut().for_each(Trial::finish);
    let report = report(&log, args, &trials, requests, last, facts);
    if let Some(decisions) = decisions {
        match decisions.finish() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(unwritten)?,
        }
    }
    // What was read before a failure is worth telling.
    if failure.is_none() || requests > 0 {
        write(&report, args)?;
    }
    failure.map_or(Ok(()), |failure| Err(ReplayError::Log(failure)))
}

/// The configuration at a path, with what is set.
fn load(path: &Path, set: &[Setting]) -> Result<(String, Config), ReplayError> {
    let text = config::read(path).map_err(ReplayError::Config)?;
    let text = match Setting::apply(set, &text) {
        // The place of what is wrong with the file is told when it is read as it is.
        Err(SettingError::BadFile) => text,
        changed => changed.map_err(ReplayError::Setting)?,
    };
    let file = path.display().to_string();
    let config = Config::parse(&file, &text, &config::variable)
        .map_err(|p| ReplayError::Config(LoadError::Invalid(p)))?;
    let name = set.iter().fold(file, |name, setting| format!("{name} --set {setting}"));
    Ok((name, config))
}

fn open(args: &Args, configs: &[(String, Config)]) -> Result<Log, ReplayError> {
    let limits = configs.iter().flat_map(|(_, config)| &config.limits);
    let parts = limits.flat_map(|rule| &rule.key.parts).cloned();
    let requirements =
        configs.iter().flat_map(|(_, config)| &config.routes).flat_map(|route| &route.requirements);
    let parts: Vec<KeyPart> =
        parts.chain(requirements.map(|requirement| part_of(&requirement.source))).collect();
    let wanted = Wanted::new(&parts, args.map.clone(), args.host.clone());
    let options = Options { format: args.format, wanted, window: WINDOW };
    Log::open(&args.logs, options).map_err(ReplayError::Log)
}

/// What a route asks for, as the part of a key that has the same value.
fn part_of(source: &Source) -> KeyPart {
    match source {
        Source::Header(name) => KeyPart::Header(name.clone()),
        Source::Query(name) => KeyPart::Query(name.clone()),
    }
}

fn trials(configs: Vec<(String, Config)>, formats: &[Format], wanted: &Wanted) -> Vec<Trial> {
    let has_whole_seconds = formats.iter().any(|format| format.has_whole_seconds());
    let bytes = DEMANDS / configs.len().max(1);
    let knows = |part: &_| formats.iter().all(|format| wanted.knows(*format, part));
    let tells = |source: &_| formats.iter().all(|format| wanted.tells(*format, &part_of(source)));
    let trial = |(name, config): (String, Config)| {
        let told = Scenario::new(config, knows, tells, bytes);
        let spread = has_whole_seconds.then(|| Spread::new(told.engine().limiter()));
        Trial { name, told, spread }
    };
    configs.into_iter().map(trial).collect()
}

/// Takes requests of the log until there are [`BATCH`], or it is over.
fn fill(batch: &mut Vec<(Timestamp, Box<Record>)>, log: &mut Log) -> Result<(), Failure> {
    while batch.len() < BATCH
        && let Some(request) = log.next()?
    {
        batch.push(request);
    }
    Ok(())
}

/// A bar on a terminal that shows how much of the files has been read; nothing elsewhere.
fn progress(size: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr());
    let template = match size {
        Some(_) => "{wide_bar} {bytes} of {total_bytes}, {eta} left",
        None => "{spinner} {bytes}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn report(
    log: &Log,
    args: &Args,
    trials: &[Trial],
    requests: u64,
    last: Timestamp,
    facts: notes::Facts,
) -> Report {
    let summary = log.summary();
    let after = |start: Stamp| Stamp(start.0.saturating_add(i64::try_from(last.nanos()).unwrap_or(i64::MAX)));
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let seconds = |nanos: i64| nanos as f64 / 1e9;
    let part = LogPart {
        files: args.logs.iter().map(|path| path.display().to_string()).collect(),
        formats: summary.records.keys().map(|format| format.name().to_owned()).collect(),
        first: summary.start.map(Stamp::rfc_3339),
        last: summary.start.map(|start| after(start).rfc_3339()),
        seconds: seconds(i64::try_from(last.nanos()).unwrap_or(i64::MAX)),
        began: summary.start.map_or(0.0, |start| seconds(start.0)),
        lines: summary.lines,
        requests,
        unreadable: summary.unreadable,
        unreadable_lines: summary
            .first_unreadable
            .iter()
            .map(|bad| format!("{}:{}: {}: {}", bad.file, bad.number, bad.reason, bad.beginning))
            .collect(),
        late: summary.late,
        clock_changes: summary.clock_changes,
    };
    let has_own_log = summary.records.contains_key(&Format::Gateway);
    let configs: Vec<_> = trials
        .iter()
        .map(|trial| ConfigPart {
            name: trial.name.clone(),
            run: RunPart::of(&trial.told, has_own_log),
            spread: trial.spread.as_ref().map(SpreadPart::of),
        })
        .collect();
    let scenarios: Vec<_> = trials.iter().map(|trial| &trial.told).collect();
    let notes = notes(&part, facts, &configs, &scenarios);
    Report { log: part, configs, notes }
}

fn write(report: &Report, args: &Args) -> Result<(), ReplayError> {
    if let Some(path) = &args.html {
        let page = File::create(path).and_then(|file| {
            let mut file = BufWriter::new(file);
            html::write(report, &mut file)?;
            file.flush()
        });
        page.map_err(|error| ReplayError::Output(path.clone(), error))?;
    }
    if args.decisions.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    let written = match args.json {
        true => serde_json::to_writer_pretty(&mut out, report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
        false => write!(out, "{report}"),
    };
    match written {
        // Whoever reads the report has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| ReplayError::Output("standard output".into(), error)),
    }
}
