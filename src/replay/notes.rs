//! What a log does not know, and what that means for the numbers: said in the report, so that nobody takes them for more than they are.

use http::StatusCode;
use http::header::HOST;

use super::record::Record;
use super::report::{ConfigPart, LogPart, RunPart};
use super::scenario::Scenario;
use crate::limit::Rule;
use crate::limit::key::KeyPart;
use crate::route::Source;

/// What is to be told beside what the report's own parts say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Requests of which the log names no host.
    pub without_host: u64,
    /// Requests of which the log does not tell how long they took.
    pub without_duration: u64,
    /// Requests that the log itself says were refused.
    pub refused_in_log: u64,
    /// Requests that stand for others like them, which the log does not have.
    pub sampled: u64,
    /// How many requests these stand for, themselves included.
    pub of_sample: f64,
}

impl Facts {
    /// Counts a request.
    pub(super) fn count(&mut self, record: &Record) {
        self.without_host += u64::from(!record.headers.contains_key(HOST));
        self.without_duration += u64::from(record.took.is_none());
        if let Some(share) = record.own.as_ref().and_then(|own| own.sample) {
            self.sampled += 1;
            self.of_sample += 1.0 / share;
        }
        self.refused_in_log += u64::from(record.status == Some(StatusCode::TOO_MANY_REQUESTS));
    }
}

/// The notes of a report.
pub(super) fn notes(
    log: &LogPart,
    facts: Facts,
    configs: &[ConfigPart],
    scenarios: &[&Scenario],
) -> Vec<String> {
    let mut notes = Vec::new();
    if log.requests == 0 {
        return notes;
    }
    notes.push("Buckets are full when the replay begins. What clients had used up before the log began is not known.".to_owned());
    if configs.iter().any(|config| config.spread.is_some()) {
        notes.push(
            "The log tells whole seconds. Where two numbers stand, one is with all requests of a second at its beginning, the other with \
             them spread evenly over it; what really happened lies between them, or close to them. Pictures, lists and bursts are of the first, so a burst may be larger than \
             it must be."
                .to_owned(),
        );
    }
    if facts.without_duration == log.requests {
        notes.push("The log does not tell how long requests took. Each is taken to begin, and to end, when its line was written.".to_owned());
    } else {
        notes.push("A line is written when a request ends. Its beginning, at which limits decide, is that time less its duration.".to_owned());
    }
    if configs.iter().any(|config| config.run.totals.refused > 0) {
        notes.push(
            "A client that is refused comes back, or does not. The replay lets it do what it did when the log was written.".to_owned(),
        );
    }
    if facts.refused_in_log > 0 {
        notes.push(format!(
            "{} of the requests were refused when the log was written. Where the replay admits one, what its answer would have cost is not \
             known: it counts as an answer with the logged status.",
            facts.refused_in_log
        ));
    }
    if facts.sampled > 0 {
        notes.push(format!(
            "The log has a sample of the requests that succeeded (access_log.sample): {} of them stand for about {:.0}. The replay takes each once, \
             so limits have less to count than they had, and refuse fewer. Rates and bursts that it tells are too low.",
            facts.sampled, facts.of_sample
        ));
    }
    for name in scenarios.iter().flat_map(|scenario| not_logged(scenario)) {
        let note = format!(
            "The route {name} has access_log = false: a gateway with this configuration has not logged its requests, so limits that count them \
             have less to count here."
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    if facts.without_host > 0 && scenarios.iter().any(|scenario| has_hosts(scenario)) {
        notes.push(format!(
            "{} requests name no host, so they take no route that has `hosts`. --host NAME says which host was asked for.",
            facts.without_host
        ));
    }
    for unjudged in scenarios.iter().flat_map(|scenario| scenario.unjudged()) {
        let note = format!(
            "The limit {} cannot be judged, since the log does not tell {}. --map {}=FIELD says which of its fields stands for it.",
            unjudged.limit, unjudged.part, unjudged.part
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    for rule in scenarios.iter().flat_map(|scenario| &scenario.engine().config().limits) {
        let note = format!(
            "The limit {} is a quota by the calendar. It has no burst, so there is no table of rates and bursts, and its clients are not counted. \
             In the window in which the log begins, clients may have used up more than the log tells.",
            rule.name
        );
        if rule.calendar().is_some() && !notes.contains(&note) {
            notes.push(note);
        }
    }
    for untaken in scenarios.iter().flat_map(|scenario| scenario.untaken()) {
        let note = format!(
            "The route {} cannot be judged, since the log does not tell the {} that it asks for: its requests take the route that they would \
             take without it, or none.{}",
            untaken.route,
            untaken.source,
            match &untaken.source {
                Source::Header(name) =>
                    format!(" --map header:{name}=FIELD says which field of the log stands for it."),
                Source::Query(_) => String::new(),
            }
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    if configs.iter().any(|config| config.run.agreement.is_some()) {
        for rule in scenarios.iter().flat_map(|scenario| &scenario.engine().config().limits) {
            let note = format!(
                "The limit {} has overrides. The log tells its keys as hashes, in which their values cannot be recognised: with show_keys = true \
                 it tells them plainly.",
                rule.name
            );
            if is_hashed(rule) && !rule.overrides.is_empty() && !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    for name in scenarios.iter().flat_map(|scenario| scenario.shared()) {
        let note = format!(
            "The limit {name} is shared by several gateways. The replay counts it as a single gateway would: what it says holds if the logs of \
             all of them are replayed together."
        );
        if !notes.contains(&note) {
            notes.push(note);
        }
    }
    for (name, one_of) in configs.iter().flat_map(|config| sampled(&config.run)) {
        notes.push(format!(
            "There were more clients of the limit {name} than are kept: its numbers about clients, and its bursts, are of a sample of one \
             client in {one_of}. Requests are counted exactly."
        ));
    }
    if log.late > 0 {
        notes.push(format!(
            "{} requests began before one that had come already, further back than lines are sorted. They were taken at the time of the \
             latter.",
            log.late
        ));
    }
    if log.clock_changes > 0 {
        notes.push(format!(
            "The clock of the log was set back {} times. From there on the replay's own time goes on from where it was.",
            log.clock_changes
        ));
    }
    notes
}

/// Whether the gateway's own log tells the key of a limit as a hash.
fn is_hashed(rule: &Rule) -> bool {
    !rule.show_keys && rule.key.parts.iter().any(KeyPart::is_in_fields)
}

fn has_hosts(scenario: &Scenario) -> bool {
    scenario.engine().config().routes.iter().any(|route| !route.hosts.is_empty())
}

/// The routes whose requests are not logged although limits count them.
fn not_logged(scenario: &Scenario) -> impl Iterator<Item = &str> {
    let routes = scenario.engine().config().routes.iter();
    routes.filter(|route| !route.is_logged && !route.limits.is_empty()).map(|route| route.name.as_str())
}

fn sampled(run: &RunPart) -> impl Iterator<Item = (&str, u64)> {
    run.limits
        .iter()
        .filter(|limit| limit.one_client_of > 1)
        .map(|limit| (limit.name.as_str(), limit.one_client_of))
}
