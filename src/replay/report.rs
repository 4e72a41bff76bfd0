//! What a replay found, as one value: the texts, the page and the JSON are made from it.

use serde::Serialize;

use super::agreement::Counts;
use super::fate::Totals;
use super::frontier::Frontier;
use super::scenario::Scenario;
use super::spread::Spread;
use super::tally::{Outcomes, Tally};
use super::timeline::Timeline;
use crate::limit::key::Key;
use crate::limit::{Charge, Limit, Measure, Mode, Rate, Rule};

/// The shares of clients in a frontier, in parts of a thousand.
pub const SHARES: [u32; 3] = [0, 1, 10];

/// The clients that are named of each limit.
const HARDEST: usize = 10;

/// What a replay found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was read.
    pub log: LogPart,
    /// What each configuration would have done.
    pub configs: Vec<ConfigPart>,
    /// What the log does not know, and what that means for the numbers.
    pub notes: Vec<String>,
}

/// What was read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LogPart {
    /// The files.
    pub files: Vec<String>,
    /// Their formats.
    pub formats: Vec<String>,
    /// When the first request began, in RFC 3339.
    pub first: Option<String>,
    /// When the last request began, in RFC 3339.
    pub last: Option<String>,
    /// The time between them, in seconds.
    pub seconds: f64,
    /// When the first request began, in seconds since 1970.
    pub began: f64,
    /// The lines.
    pub lines: u64,
    /// The requests.
    pub requests: u64,
    /// The lines that could not be read.
    pub unreadable: u64,
    /// The first of them: where, why, and how they begin.
    pub unreadable_lines: Vec<String>,
    /// The requests that came after one that began later, further apart than lines are sorted.
    pub late: u64,
    /// How often the clock of the writer was set back.
    pub clock_changes: u64,
}

/// What a configuration would have done.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigPart {
    /// Its file, and what was changed of it.
    pub name: String,
    /// What it would have done, with all requests of a second at its beginning where the log tells whole seconds.
    #[serde(flatten)]
    pub run: RunPart,
    /// What it would have done with the requests of a second spread over it; only where the log tells whole seconds.
    pub spread: Option<SpreadPart>,
}

/// What a configuration would have done with the requests of each second spread over it: the numbers that differ.
#[derive(Clone, Debug, Serialize)]
pub struct SpreadPart {
    /// All requests.
    pub totals: Totals,
    /// Each limit.
    pub limits: Vec<SpreadLimitPart>,
}

/// What a limit would have done with the requests of each second spread over it.
#[derive(Clone, Debug, Serialize)]
pub struct SpreadLimitPart {
    /// Its name.
    pub name: String,
    /// What it would have made of the requests that it counted.
    #[serde(flatten)]
    pub outcomes: Outcomes,
}

/// What a configuration would have done with requests at certain times.
#[derive(Clone, Debug, Serialize)]
pub struct RunPart {
    /// All requests.
    pub totals: Totals,
    /// How many decisions are those of the log; only for the gateway's own log.
    pub agreement: Option<Counts>,
    /// Each limit.
    pub limits: Vec<LimitPart>,
}

/// What a limit would have done.
#[derive(Clone, Debug, Serialize)]
pub struct LimitPart {
    /// Its name.
    pub name: String,
    /// Its key, as the configuration spells it.
    pub key: String,
    /// What it allows, in words.
    pub allows: String,
    /// It only counts what it would refuse.
    pub dry_run: bool,
    /// The part of its key that the log does not tell: the limit was not asked.
    pub unjudged: Option<String>,
    /// The requests that it counted.
    pub asked: u64,
    /// What it would have made of them.
    #[serde(flatten)]
    pub outcomes: Outcomes,
    /// Those of clients that are never limited.
    pub exempt: u64,
    /// The clients that it counted; an estimate, if `one_client_of` is more than one.
    pub clients: Option<u64>,
    /// Those that were refused at least once.
    pub clients_refused: Option<u64>,
    /// Of so many clients one was kept for the numbers about clients and for the frontier.
    pub one_client_of: u64,
    /// When.
    pub timeline: Timeline,
    /// The clients that were refused most.
    pub hardest: Vec<HitPart>,
    /// The numbers of `hardest` may be too low by this.
    pub hardest_missed: u64,
    /// Rate against burst. Empty where the limit counts running requests, or charges by answers.
    pub frontier: Vec<FrontierRow>,
    /// The burst of the configuration.
    pub burst: Option<u32>,
}

/// A client that was refused.
#[derive(Clone, Debug, Serialize)]
pub struct HitPart {
    /// The client.
    pub client: String,
    /// How often it was refused.
    pub refused: u64,
    /// Its requests, if they were counted.
    pub asked: Option<u64>,
    /// The longest that it was told to wait, in seconds.
    pub longest_wait: f64,
}

/// A rate, and the smallest bursts.
#[derive(Clone, Debug, Serialize)]
pub struct FrontierRow {
    /// The rate, as the configuration spells it.
    pub rate: String,
    /// The same in tokens a second.
    pub per_second: f64,
    /// It is the rate of the configuration.
    pub configured: bool,
    /// The smallest bursts at which none, 0.1 %, 1 % of the clients are ever refused.
    pub bursts: Vec<u32>,
}

impl SpreadPart {
    /// What was counted, when the log is over.
    pub fn of(spread: &Spread) -> Self {
        let limit = |(limit, outcomes): (&Limit, &Outcomes)| SpreadLimitPart {
            name: limit.rule().name.clone(),
            outcomes: *outcomes,
        };
        let limits = spread.limits().map(limit).collect();
        Self { totals: *spread.totals(), limits }
    }
}

impl RunPart {
    /// What a scenario found, when its log is over. `has_own_log`: the log tells decisions to compare with.
    pub fn of(scenario: &Scenario, has_own_log: bool) -> Self {
        let agreement = has_own_log.then(|| scenario.agreement());
        let rules = &scenario.engine().config().limits;
        let unjudged = |name: &str| {
            let found = scenario.unjudged().iter().find(|unjudged| unjudged.limit == name);
            found.map(|unjudged| unjudged.part.to_string())
        };
        let limits = rules.iter().zip(scenario.tallies());
        let limits = limits.map(|(rule, tally)| limit(rule, tally, unjudged(&rule.name))).collect();
        Self { totals: *scenario.totals(), agreement, limits }
    }

    /// The limit of this name.
    pub fn limit(&self, name: &str) -> Option<&LimitPart> {
        self.limits.iter().find(|limit| limit.name == name)
    }
}

fn limit(rule: &Rule, tally: &Tally, unjudged: Option<String>) -> LimitPart {
    let frontier = tally.frontier.as_ref().filter(|_| tally.asked > 0);
    let asked = |fingerprint| frontier.and_then(|f| f.client(fingerprint)).map(|client| client.asked.into());
    let hit = |(fingerprint, hit): (_, &super::hardest::Hit)| HitPart {
        client: hit.client.join(", "),
        refused: hit.refused,
        asked: asked(fingerprint),
        longest_wait: hit.longest_wait.as_secs_f64(),
    };
    LimitPart {
        name: rule.name.clone(),
        key: key_in_words(&rule.key),
        allows: allows(rule),
        dry_run: rule.mode == Mode::DryRun,
        unjudged,
        asked: tally.asked,
        outcomes: tally.outcomes,
        exempt: tally.exempt,
        clients: frontier.map(Frontier::clients),
        clients_refused: frontier.map(Frontier::clients_refused),
        one_client_of: frontier.map_or(1, Frontier::one_of),
        timeline: tally.timeline.clone(),
        hardest: tally.hardest.worst(HARDEST).into_iter().map(hit).collect(),
        hardest_missed: tally.hardest.missed(),
        frontier: frontier.map(|frontier| frontier_rows(rule, frontier)).unwrap_or_default(),
        burst: match &rule.measure {
            Measure::Rate(rate) => Some(rate.quota.burst()),
            Measure::Quota(..) | Measure::InFlight(_) => None,
        },
    }
}

fn frontier_rows(rule: &Rule, frontier: &Frontier) -> Vec<FrontierRow> {
    let configured = rule.rate().map(|rate| rate.quota.rate_in_words());
    let row = |row: super::frontier::Row| {
        let rate = row.rate.rate_in_words();
        FrontierRow {
            configured: Some(&rate) == configured.as_ref(),
            rate,
            per_second: row.rate.tokens_per_second(),
            bursts: row.bursts,
        }
    };
    frontier.rows(&SHARES).into_iter().map(row).collect()
}

/// What a limit allows, such as `10/s, burst 20`.
fn allows(rule: &Rule) -> String {
    match &rule.measure {
        Measure::Rate(rate) => {
            format!("{}, burst {}{}", rate.quota.rate_in_words(), rate.quota.burst(), costs(rate))
        }
        Measure::Quota(rate, calendar) => calendar.in_words(rate.quota.burst()) + &costs(rate),
        Measure::InFlight(max) => format!("{max} requests at a time"),
    }
}

/// What a request costs, as the rest of a sentence; nothing if it is one token.
fn costs(rate: &Rate) -> String {
    let mut text = match rate.cost {
        1 => String::new(),
        cost => format!(", {cost} tokens a request"),
    };
    match &rate.charge {
        Charge::Always => {}
        Charge::OnFailure(_) => text += ", charged on failures",
        Charge::Header { name, .. } => text += &format!(", charged as {name} says"),
    }
    text
}

fn key_in_words(key: &Key) -> String {
    key.parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
}

impl LimitPart {
    /// The frontier in one sentence, for the rate of the configuration.
    pub fn advice(&self) -> Option<String> {
        let row = self.frontier.iter().find(|row| row.configured)?;
        let burst = self.burst?;
        let (all, most) = (*row.bursts.first()?, *row.bursts.get(1)?);
        if burst >= all {
            return Some(format!("At {} a burst of {all} refuses nobody; the burst is {burst}.", row.rate));
        }
        Some(match most == all {
            true => {
                format!("At {} it takes a burst of {all} to refuse nobody; the burst is {burst}.", row.rate)
            }
            false => format!(
                "At {} a burst of {most} refuses nobody in 99.9 % of the clients, and {all} nobody at all; the burst is {burst}.",
                row.rate
            ),
        })
    }
}
