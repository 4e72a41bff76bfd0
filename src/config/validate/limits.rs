//! `[limiter]` and `[limits.*]`.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use super::super::Limiter;
use super::super::item::Item;
use super::super::problem::{Checked, Fault, together};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::header_name;
use super::super::value::{key, quantity};
use super::names::Names;
use super::plans::Plans;
use super::quota::{self, IN_FLIGHT, by_calendar, in_flight};
use super::shared::{
    DURATION, FIELD, FILE, METHOD, NETWORKS, QUOTA, RATE, TOKENS, UTC_OFFSET, methods, networks, status,
};
use super::{overrides, plans, shared_store};
use crate::limit::calendar::Calendar;
use crate::limit::key::{Key, KeyPart, MissingKey, Secret};
use crate::limit::lease::{LeaseTerms, OnError};
use crate::limit::quota::{MAX_TOKENS, Quota};
use crate::limit::{Charge, Measure, Mode, Rate, Rule};

/// The buckets of a limit where the file does not say.
const DEFAULT_MAX_CLIENTS: usize = 1_000_000;

/// The statuses that count as failures by default: those of a client that guesses credentials or paths.
const DEFAULT_FAILURES: [StatusCode; 3] =
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];

pub(super) static LIMITER: Table = Table::new(
    "Settings for the buckets of all limits.",
    &[
        Setting::new(
            "max_clients",
            MAX_CLIENTS,
            "How many buckets each limit has, unless it sets its own number. The memory for them is fixed.",
        )
        .example("10_000_000")
        .or("1_000_000"),
        Setting::new("snapshot", FILE, "A file that keeps the buckets over a restart.")
            .example(r#""/var/lib/gateway/buckets""#),
        Setting::new(
            "snapshot_interval",
            DURATION,
            "How often the snapshot is written. It is also written at a stop.",
        )
        .example(r#""10s""#)
        .or("\"60s\""),
        Setting::new(
            "shared",
            Kind::Table(&shared_store::SHARED),
            "The store in which several gateways keep limits together: Redis from 6.2 on, or Valkey. Without this \
             table each gateway counts by itself.",
        ),
    ],
);

const MAX_CLIENTS: Kind = Kind::Integer(1, 1_000_000_000);

const PART: Kind = Kind::Pattern(&[key::PART]);

pub(super) static LIMIT: Table = Table::new(
    "A limit. If several routes name it, a client has one bucket for all of them together.",
    &[
        Setting::new(
            "rate",
            RATE,
            "How fast a bucket is refilled.",
        )
        .example(r#""10/s""#),
        Setting::new(
            "max_in_flight",
            IN_FLIGHT,
            "How many requests of one client may run at a time, instead of a rate. `burst`, `cost`, `charge` and \
             `max_clients` do not go with it.",
        )
        .example("20"),
        Setting::new(
            "quota",
            QUOTA,
            "How many requests of one client are admitted in each `hour`, `day`, `week` or `month` of the calendar, \
             instead of a rate. `burst` does not go with it, and the limit cannot be `shared` yet.",
        )
        .example(r#""1000/day""#),
        Setting::new(
            "utc_offset",
            UTC_OFFSET,
            "The time zone in which the periods of a `quota` begin: the difference from UTC, at most 14 \
             hours, without summer time. Without this key it is UTC.",
        )
        .example(r#""+02:00""#),
        Setting::new(
            "burst",
            TOKENS,
            "How many tokens a bucket holds. Without this key it is the count in `rate`.",
        )
        .example("20"),
        Setting::new(
            "cost",
            TOKENS,
            "How many tokens a request takes, at most `burst` or the quota.",
        )
        .example("5").or("1"),
        Setting::new(
            "charge",
            Kind::Word(&["always", "on_failure"]),
            "Whether every request takes tokens, or only one whose answer has a status in `failures`.",
        ).or("\"always\""),
        Setting::new(
            "failures",
            Kind::List(&Kind::Integer(100, 599), 1),
            "The statuses that take tokens with `charge = \"on_failure\"`.",
        )
        .example("[401, 403]").or("[401, 403, 404]"),
        Setting::new(
            "cost_header",
            FIELD,
            "A field of the upstream's answer that tells the true cost of the request.",
        )
        .example(r#""X-Request-Cost""#),
        Setting::new(
            "max_cost",
            TOKENS,
            "The most that `cost_header` can tell; a higher number costs this much. Without this key it is ten \
             times `burst` or the quota.",
        )
        .example("1000"),
        Setting::new(
            "max_clients",
            MAX_CLIENTS,
            "How many buckets this limit has. Without this key it is `limiter.max_clients`.",
        )
        .example("10_000_000"),
        Setting::new(
            "shared",
            Kind::Boolean,
            "Whether all gateways with the same `[limiter.shared]` keep this limit together.",
        ).or("false"),
        Setting::new(
            "lease",
            Kind::Integer(1, MAX_TOKENS as u64),
            "For how many requests of a client a gateway takes tokens at most when it asks the store. \
             With `1` it asks the store about every request. Without this key the number follows the \
             client's demand.",
        )
        .example("1"),
        Setting::new(
            "on_error",
            Kind::Word(&["local", "allow", "refuse"]),
            "What a shared limit does while the store does not answer: `local` enforces this gateway's share, \
             `allow` counts nobody, `refuse` answers 503.",
        ).or("\"local\""),
        Setting::new(
            "key",
            Kind::Either(&[PART, Kind::List(&PART, 1)]),
            "Whose requests share a bucket: `client_ip`, `consumer`, `header:NAME`, `cookie:NAME`, `query:NAME`, \
             `route`, `host`, `path`, `global`, or a list of them.",
        )
        .example(r#""header:X-Api-Key""#)
        .or("\"client_ip\""),
        Setting::new(
            "missing_key",
            Kind::Word(&["client_ip", "reject", "shared"]),
            "What happens to a request that lacks the key: it is counted by its address, it is rejected with 400, \
             or all such requests share one bucket.",
        ).or("\"client_ip\""),
        Setting::new(
            "ipv6_prefix",
            Kind::Integer(1, 128),
            "How many bits of an IPv6 address identify the client.",
        )
        .example("56").or("64"),
        Setting::new(
            "overrides",
            Kind::Named(".+", &Kind::Either(&[
                Kind::Word(&["unlimited"]),
                Kind::Table(&overrides::OVERRIDE),
            ])),
            "Other terms for single values of the key, by value: `\"unlimited\"`, or a table.",
        )
        .example(r#"{ gold-customer = { rate = "100/s", burst = 200 }, our-batch = "unlimited" }"#),
        Setting::new(
            "plans",
            Kind::Named(".+", &Kind::Either(&[
                Kind::Word(&["unlimited"]),
                Kind::Table(&overrides::OVERRIDE),
            ])),
            "Other terms for the consumers of a plan, by plan: `\"unlimited\"`, or a table. The key of the limit \
             is `consumer`.",
        )
        .example(r#"{ pro = { rate = "600/min" }, internal = "unlimited" }"#),
        Setting::new(
            "methods",
            Kind::List(&METHOD, 0),
            "The methods of the requests that this limit counts. An empty list is all methods.",
        )
        .example(r#"["POST"]"#).or("[]"),
        Setting::new(
            "exempt",
            NETWORKS,
            "Networks whose clients are never limited.",
        )
        .example(r#"["10.0.0.0/8"]"#).or("[]"),
        Setting::new(
            "mode",
            Kind::Word(&["enforce", "dry_run"]),
            "Whether the limit refuses requests, or only decides, counts and logs (`dry_run`).",
        ).or("\"enforce\""),
        Setting::new(
            "status",
            Kind::Integer(400, 599),
            "The status of a refusal.",
        )
        .example("503").or("429"),
        Setting::new(
            "fields",
            Kind::Boolean,
            "Whether answers carry the `RateLimit` and `RateLimit-Policy` fields of this limit.",
        ).or("true"),
        Setting::new(
            "legacy_headers",
            Kind::Boolean,
            "Whether answers carry `X-RateLimit-*` fields as well.",
        ).or("false"),
        Setting::new(
            "show_keys",
            Kind::Boolean,
            "Whether the side port shows the values of header fields, cookies and parameters. Otherwise it shows \
             a short hash of each.",
        ).or("false"),
    ],
)
.with_one_of(&["rate", "max_in_flight", "quota"]);

/// The defaults of `[limiter]`.
pub(super) fn default_limiter() -> Limiter {
    Limiter {
        max_clients: DEFAULT_MAX_CLIENTS,
        snapshot: None,
        snapshot_interval: Duration::from_secs(60),
        shared: None,
    }
}

/// Reads `[limiter]`.
pub(super) fn limiter(item: Item<'_>) -> Checked<Limiter> {
    let default = default_limiter();
    let section =
        item.section(&LIMITER, "[limiter]".into(), "[limiter] once, in single brackets, and its keys below")?;
    let max_clients = section.or("max_clients", default.max_clients, max_clients);
    let snapshot = section.optional("snapshot", |item| {
        item.parse("the path of a file", |text| match text {
            "" => Err(Fault::new("an empty path names no file").hint("leave out `snapshot` to keep none")),
            path => Ok(PathBuf::from(path)),
        })
    });
    let interval = section.optional("snapshot_interval", |item| item.duration());
    let shared = section.optional("shared", shared_store::shared_store);
    let useless = match section.get("snapshot") {
        Some(_) => Ok(()),
        None => section.useless(&["snapshot_interval"], "without `snapshot`", "add that, or leave it out"),
    };
    section.finish();
    useless?;
    Ok(Limiter {
        max_clients: max_clients?,
        snapshot: snapshot?,
        snapshot_interval: interval?.unwrap_or(default.snapshot_interval),
        shared: shared?,
    })
}

fn max_clients(item: Item<'_>) -> Checked<usize> {
    let clients = item.integer(1..=1_000_000_000)?;
    Ok(usize::try_from(clients).unwrap_or(usize::MAX))
}

/// Reads `[limits.*]`; `routes` are the names of the routes.
pub(super) fn all(
    items: &Checked<Vec<(&str, Item<'_>)>>,
    limiter: &Checked<Limiter>,
    routes: &Names<'_>,
    plans: &Plans<'_>,
    underscores: bool,
) -> Checked<Vec<Rule>> {
    let items = items.as_ref().map_err(|reported| *reported)?;
    together(items.iter().map(|(name, item)| limit(name, item, limiter, routes, plans, underscores)))
}

fn limit(
    name: &str,
    item: &Item<'_>,
    limiter: &Checked<Limiter>,
    routes: &Names<'_>,
    plans: &Plans<'_>,
    underscores: bool,
) -> Checked<Rule> {
    let title = format!("[limits.{}]", name.escape_debug());
    let example = "[limits.NAME] with a name of its own for each limit, and its keys below";
    let section = item.section(&LIMIT, title, example)?;
    let max_clients = limiter.as_ref().map_or(DEFAULT_MAX_CLIENTS, |limiter| limiter.max_clients);
    let measure = measure(&section, max_clients);
    let shared = shared(&section, limiter, &measure);
    let key = key(&section, underscores);
    let overrides = section.optional("overrides", |item| overrides::all(&item, &measure, &key, routes));
    let plans = section.optional("plans", |item| plans::all(&item, &measure, &key, plans));
    let methods = section.or("methods", Vec::new(), methods);
    let exempt = section.or("exempt", Vec::new(), networks);
    let mode = section.or("mode", Mode::Enforce, |item| {
        item.word(&[("enforce", Mode::Enforce), ("dry_run", Mode::DryRun)])
    });
    let status = section.or("status", StatusCode::TOO_MANY_REQUESTS, |item| status(&item, 400, 599));
    let fields = section.or("fields", true, |item| item.boolean());
    let legacy_headers = section.or("legacy_headers", false, |item| item.boolean());
    let show_keys = section.or("show_keys", false, |item| item.boolean());
    section.finish();
    Ok(Rule {
        name: name.to_owned(),
        key: key?,
        measure: measure?,
        shared: shared?,
        overrides: overrides?.unwrap_or_default(),
        plans: plans?.unwrap_or_default(),
        methods: methods?,
        exempt: exempt?,
        mode: mode?,
        status: status?,
        fields: fields?,
        legacy_headers: legacy_headers?,
        show_keys: show_keys?,
    })
}

/// Reads `shared`, `lease` and `on_error`.
fn shared(
    section: &Section<'_>,
    limiter: &Checked<Limiter>,
    measure: &Checked<Measure>,
) -> Checked<Option<LeaseTerms>> {
    let shared = section.or("shared", false, |item| item.boolean());
    let lease = section.optional("lease", |item| item.integer(1..=u64::from(MAX_TOKENS)));
    let on_error = section.or("on_error", OnError::Local, |item| {
        item.word(&[("local", OnError::Local), ("allow", OnError::Allow), ("refuse", OnError::Refuse)])
    });
    if !shared? {
        section.useless(&["lease", "on_error"], "without `shared = true`", "add that, or leave it out")?;
        return Ok(None);
    }
    let (lease, on_error) = (lease?, on_error?);
    let report = |fault: Fault| match section.get("shared") {
        Some(item) => item.report(fault),
        None => section.report(fault),
    };
    if let Ok(Measure::InFlight(_)) = measure {
        return Err(report(Fault::new("a limit with `max_in_flight` cannot be shared").hint(
            "each gateway counts its own running requests: leave out `shared`, and divide the maximum",
        )));
    }
    if let Ok(Measure::Quota(..)) = measure {
        return Err(report(
            Fault::new("a limit with `quota` cannot be shared yet")
                .hint("each gateway counts what passes through it: leave out `shared`, and divide the quota"),
        ));
    }
    // If `[limiter]` cannot be read, that has been reported.
    let Ok(Limiter { shared: store, .. }) = limiter else { return Ok(None) };
    let Some(store) = store else {
        return Err(report(
            Fault::new("there is no store in which gateways could share this limit")
                .hint("add [limiter.shared] with a `url` such as \"redis://127.0.0.1:6379\" and a `secret`"),
        ));
    };
    let cost = match measure {
        Ok(Measure::Rate(rate)) => rate.cost,
        _ => 1,
    };
    // The first request of a lease is the one that asks for it.
    let most_ahead = |lease: u64| u32::try_from((lease - 1) * u64::from(cost)).unwrap_or(u32::MAX);
    Ok(Some(LeaseTerms {
        most_ahead: lease.map(most_ahead),
        lease_time: store.lease_time,
        on_error,
        secret: Secret::of_text(&store.secret),
    }))
}

/// The keys that need `rate`.
const WITH_RATE: [&str; 7] =
    ["burst", "cost", "charge", "failures", "cost_header", "max_cost", "max_clients"];

/// The default of `max_cost`, as a multiple of the burst. It bounds how long a client may have to wait after one answer.
const DEFAULT_MAX_COST: u32 = 10;

/// Reads what the limit counts: `rate`, `quota` or `max_in_flight`, and what goes with it.
fn measure(section: &Section<'_>, default_max_clients: usize) -> Checked<Measure> {
    const HINT: &str = "make two limits of it, and name both in the routes: every one must admit";
    let [rate, quota, max_in_flight] = ["rate", "quota", "max_in_flight"].map(|key| section.get(key));
    let twice = match (&rate, &quota, &max_in_flight) {
        (Some(rate), _, Some(_)) => Some((rate, "a limit has either `rate` or `max_in_flight`")),
        (Some(_), Some(quota), None) => Some((quota, "a limit has either `rate` or `quota`")),
        (None, Some(quota), Some(_)) => Some((quota, "a limit has either `max_in_flight` or `quota`")),
        _ => None,
    };
    if let Some((item, fault)) = twice {
        return Err(section.sink.report(item.key_span(), Fault::new(fault).hint(HINT)));
    }
    if quota.is_some() {
        return calendar_quota(section, default_max_clients);
    }
    let of_quota = section.useless(
        &["utc_offset"],
        "without a `quota`",
        "only a quota goes by the calendar: leave it out",
    );
    let Some(max_in_flight) = max_in_flight else {
        let measure = match rate.is_none() && section.misspells(&["max_in_flight", "quota"]) {
            // The misspelling is reported, and the keys of a rate are not checked then.
            true => Err(section.sink.reported_later()),
            false => self::rate(section, quota::quota(section), default_max_clients).map(Measure::Rate),
        };
        return of_quota.and(measure);
    };
    let useless = section.useless(
        &WITH_RATE,
        "in a limit with `max_in_flight`",
        "it is for a limit with a `rate`: leave it out",
    );
    let max = in_flight(&max_in_flight);
    of_quota.and(useless)?;
    Ok(Measure::InFlight(max?))
}

/// Reads `quota` and what goes with it.
fn calendar_quota(section: &Section<'_>, default_max_clients: usize) -> Checked<Measure> {
    let read = by_calendar(section);
    let useless = section.useless(
        &["burst"],
        "in a limit with `quota`",
        "all of the quota may be used at once: leave it out, or let a limit with a `rate` stand beside this one",
    );
    let utc_offset_minutes = section.or("utc_offset", 0, |item| {
        item.parse("a distance from UTC such as \"+02:00\"", quantity::utc_offset)
    });
    let rate = rate(section, read.map(|(quota, _)| quota), default_max_clients);
    let ((_, period), utc_offset_minutes) = (read?, utc_offset_minutes?);
    useless?;
    Ok(Measure::Quota(rate?, Calendar { period, utc_offset_minutes }))
}

/// Reads what goes with a rate or a quota.
fn rate(section: &Section<'_>, quota: Checked<Quota>, default_max_clients: usize) -> Checked<Rate> {
    let cost = section.or("cost", 1, |item| cost(&item, quota));
    let charge = charge(section, quota, cost);
    let max_clients = section.or("max_clients", default_max_clients, max_clients);
    Ok(Rate { quota: quota?, cost: cost?, charge: charge?, max_clients: max_clients? })
}

/// Reads `charge`, `failures`, `cost_header` and `max_cost`.
fn charge(section: &Section<'_>, quota: Checked<Quota>, cost: Checked<u32>) -> Checked<Charge> {
    let on_failure =
        section.or("charge", false, |item| item.word(&[("always", false), ("on_failure", true)]));
    let header = section.optional("cost_header", |item| {
        item.parse("the name of a header field such as \"X-Request-Cost\"", header_name)
    });
    if on_failure? {
        let hint = "a limit that counts failures counts each as its `cost`: leave it out";
        let useless = section.useless(&["cost_header", "max_cost"], "with `charge = \"on_failure\"`", hint);
        let failures = section.or("failures", DEFAULT_FAILURES.to_vec(), failures);
        useless?;
        return Ok(Charge::OnFailure(failures?));
    }
    section.useless(&["failures"], "without `charge = \"on_failure\"`", "add that, or leave it out")?;
    if section.get("cost_header").is_none() {
        section.useless(&["max_cost"], "without `cost_header`", "add that, or leave it out")?;
        return Ok(Charge::Always);
    }
    let max = section.optional("max_cost", |item| max_cost(&item, cost));
    let (header, max) = (header?, max?);
    let default = || quota.map(|quota| quota.burst().saturating_mul(DEFAULT_MAX_COST).min(MAX_TOKENS));
    let max = max.map_or_else(default, Ok)?;
    Ok(header.map_or(Charge::Always, |name| Charge::Header { name, max }))
}

/// Reads `max_cost`, which is at least the cost of the limit.
fn max_cost(item: &Item<'_>, cost: Checked<u32>) -> Checked<u32> {
    let max = u32::try_from(item.integer(1..=u64::from(MAX_TOKENS))?).unwrap_or(u32::MAX);
    match cost {
        Ok(cost) if max < cost => Err(item.report(
            Fault::new(format!("a request costs {cost} before it is answered, which is more than this"))
                .hint("raise `max_cost`, or lower `cost`"),
        )),
        _ => Ok(max),
    }
}

fn failures(item: Item<'_>) -> Checked<Vec<StatusCode>> {
    let failures = item.values("statuses", |item| status(&item, 100, 599)).each_once().all()?;
    match failures.is_empty() {
        true => Err(item.report(
            Fault::new("with an empty list no answer would ever be charged")
                .hint("such as [401, 403, 404], which is what it is without `failures`"),
        )),
        false => Ok(failures),
    }
}

/// Reads `cost`, which is at most the burst or the quota.
fn cost(item: &Item<'_>, quota: Checked<Quota>) -> Checked<u32> {
    let cost = u32::try_from(item.integer(1..=u64::from(MAX_TOKENS))?).unwrap_or(u32::MAX);
    match quota {
        Ok(quota) if cost > quota.burst() && quota.is_by_window() => Err(item.report(
            Fault::new(format!("a cost of {cost} is more than the quota: nobody would be admitted"))
                .hint(format!("the quota is {}: raise it, or lower the cost", quota.burst())),
        )),
        Ok(quota) if cost > quota.burst() => Err(item.report(
            Fault::new(format!("a cost of {cost} is more than the bucket holds: nobody would be admitted"))
                .hint(format!("the burst is {}: raise it, or lower the cost", quota.burst())),
        )),
        _ => Ok(cost),
    }
}

/// Reads `key`, `missing_key` and `ipv6_prefix`.
fn key(section: &Section<'_>, underscores: bool) -> Checked<Key> {
    let parts = section.or("key", vec![KeyPart::ClientIp], |item| parts(item, underscores));
    let missing = section.or("missing_key", MissingKey::ClientIp, |item| {
        item.word(&[
            ("client_ip", MissingKey::ClientIp),
            ("reject", MissingKey::Reject),
            ("shared", MissingKey::Shared),
        ])
    });
    let ipv6_prefix = section.or("ipv6_prefix", 64, |item| item.integer(1..=128));
    let (parts, missing, ipv6_prefix) = (parts?, missing?, ipv6_prefix?);
    Ok(Key { parts, missing, ipv6_prefix: u8::try_from(ipv6_prefix).unwrap_or(u8::MAX) })
}

fn parts(item: Item<'_>, underscores: bool) -> Checked<Vec<KeyPart>> {
    const KEY: &str = "a key such as \"client_ip\"";
    if !item.is_list() {
        return Ok(vec![
            item.parse(&format!("{KEY}, or a list of keys"), |text| key::part(text, underscores))?,
        ]);
    }
    let parts = item.values("keys", |item| item.parse(KEY, |text| key::part(text, underscores))).each_once();
    let global = parts.list.iter().find(|(part, _)| *part == KeyPart::Global).map(|(_, item)| *item);
    let several = parts.list.len() > 1;
    let parts = parts.all()?;
    match global {
        _ if parts.is_empty() => Err(item.report(
            Fault::new("an empty list says nobody's bucket")
                .hint("write \"global\" for one bucket for everybody"),
        )),
        Some(global) if several => Err(global.report(
            Fault::new("`global` is one bucket for everybody, and the other keys split it")
                .hint("leave out `global`, or the others"),
        )),
        _ => Ok(parts),
    }
}
