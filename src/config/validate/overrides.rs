//! `[limits.NAME.overrides]`: the terms of single clients.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, quoted, together};
use super::super::table::{Setting, Table};
use super::names::Names;
use super::quota::{IN_FLIGHT, by_calendar, in_flight, quota};
use super::shared::{QUOTA, RATE, TOKENS};
use crate::limit::key::{Key, KeyPart};
use crate::limit::{Measure, Override, Terms};

/// What an override may have, whatever the limit counts.
pub(super) static OVERRIDE: Table = Table::new(
    "The terms of one client, or of one plan.",
    &[OF_RATE[0], OF_RATE[1], OF_QUOTA[0], OF_IN_FLIGHT[0]],
)
.with_one_of(&["rate", "max_in_flight", "quota"]);

const OF_RATE: [Setting; 2] = [
    Setting::new("rate", RATE, "How fast the bucket is refilled.").example(r#""100/s""#),
    Setting::new(
        "burst",
        TOKENS,
        "How many tokens the bucket holds. Without this key it is the count in `rate`.",
    )
    .example("200"),
];

const OF_QUOTA: [Setting; 1] = [Setting::new(
    "quota",
    QUOTA,
    "How many requests are admitted in each period, which is that of the limit itself.",
)
.example(r#""5000/day""#)];

const OF_IN_FLIGHT: [Setting; 1] =
    [Setting::new("max_in_flight", IN_FLIGHT, "How many requests may run at a time.").example("100")];

static OVERRIDE_OF_RATE: Table = Table::new("The rate of one client.", &OF_RATE);
static OVERRIDE_OF_QUOTA: Table = Table::new("The quota of one client.", &OF_QUOTA);
static OVERRIDE_OF_IN_FLIGHT: Table = Table::new("The requests of one client.", &OF_IN_FLIGHT);

/// Reads the overrides of a limit that counts `measure` by `key`; `routes` are the names of the routes.
pub(super) fn all(
    item: &Item<'_>,
    measure: &Checked<Measure>,
    key: &Checked<Key>,
    routes: &Names<'_>,
) -> Checked<Vec<Override>> {
    let items = item.named("\"203.0.113.7\" = \"unlimited\" below [limits.NAME.overrides]")?;
    let (measure, key) = (measure.as_ref().map_err(|e| *e)?, key.as_ref().map_err(|e| *e)?);
    let [part] = &*key.parts else {
        return Err(item.report_key(
            Fault::new(format!(
                "overrides are by the value of one key, and this limit goes by {} together",
                key.parts.len()
            ))
            .hint("give those clients a route or a limit of their own"),
        ));
    };
    if *part == KeyPart::Global {
        return Err(item.report_key(
            Fault::new("`global` is one bucket for everybody: nobody has another")
                .hint("leave out `overrides`, or choose another `key`"),
        ));
    }
    let mut known = HashSet::new();
    together(items.iter().map(|(value, item)| {
        let value = client(value, part, key.ipv6_prefix, routes)
            .and_then(|value| value.map_err(|fault| item.report_key(fault)));
        let terms = terms(item, measure, "this override");
        let value = value?;
        if !known.insert(value.clone()) {
            let fault = match part.is_secret() {
                true => Fault::new("another override is for the same value"),
                false => Fault::new(format!("another override is for {} too", quoted(&value))),
            };
            return Err(item.report_key(fault.hint("keep one of the two")));
        }
        Ok(Override { value, terms: terms? })
    }))
}

/// The value of the key, in the form in which it is compared.
fn client(text: &str, part: &KeyPart, ipv6_prefix: u8, routes: &Names<'_>) -> Checked<Result<String, Fault>> {
    Ok(match part {
        _ if text.is_empty() => Err(Fault::new("an override needs the value of the key")
            .hint("such as \"203.0.113.7\" = \"unlimited\"")),
        KeyPart::ClientIp => address(text, ipv6_prefix),
        KeyPart::Route => routes.index(text)?.map(|_| text.to_owned()),
        part => Ok(part.normal(text).into_owned()),
    })
}

/// An address, or the network of an IPv6 address.
fn address(text: &str, ipv6_prefix: u8) -> Result<String, Fault> {
    let address = match text.parse::<IpAddr>() {
        Ok(address) => address.to_canonical(),
        Err(_) if text.parse::<IpNet>().is_ok() => {
            return Err(Fault::new(format!(
                "{} is a network, and an override is for one client",
                quoted(text)
            ))
            .hint("`exempt` takes networks"));
        }
        Err(_) => {
            return Err(Fault::new(format!(
                "{} is not an IP address, by which this limit goes",
                quoted(text)
            ))
            .hint("such as \"203.0.113.7\" or \"2001:db8::1\""));
        }
    };
    let prefix = if address.is_ipv6() { ipv6_prefix } else { 32 };
    Ok(IpNet::new(address, prefix).map_or(address, |network| network.trunc().addr()).to_string())
}

/// Reads the terms of one client, or of the consumers of a plan.
pub(super) fn terms(item: &Item<'_>, measure: &Measure, title: &str) -> Checked<Terms> {
    let example = match measure {
        Measure::Rate(_) => "{ rate = \"100/s\", burst = 200 }",
        Measure::Quota(..) => "{ quota = \"5000/day\" }",
        Measure::InFlight(_) => "{ max_in_flight = 100 }",
    };
    if !item.is_table() {
        return match item.text(&format!("\"unlimited\" or a table such as {example}"))? {
            "unlimited" => Ok(Terms::Unlimited),
            _ => Err(item.expected(&format!("\"unlimited\" or a table such as {example}"))),
        };
    }
    let table = match measure {
        Measure::Rate(_) => &OVERRIDE_OF_RATE,
        Measure::Quota(..) => &OVERRIDE_OF_QUOTA,
        Measure::InFlight(_) => &OVERRIDE_OF_IN_FLIGHT,
    };
    let section = item.section(table, title.into(), example)?;
    let terms = match measure {
        Measure::Rate(rate) => quota(&section).and_then(|quota| match rate.cost > quota.burst() {
            true => Err(section.report(
                Fault::new(format!(
                    "a request costs {}, and this bucket holds {}: nobody would be admitted",
                    rate.cost,
                    quota.burst()
                ))
                .hint("raise its `burst`, or lower the `cost` of the limit"),
            )),
            false => Ok(Terms::Rate(quota)),
        }),
        Measure::Quota(rate, calendar) => by_calendar(&section).and_then(|(quota, period)| {
            let fault = if period != calendar.period {
                let of_limit = calendar.period.name();
                Fault::new(format!("the quota of the limit is one by the {of_limit}, and this is one by the {}", period.name()))
                    .hint("all clients of a limit are counted anew at the same time: give them a limit of their own, or the same period")
            } else if rate.cost > quota.burst() {
                Fault::new(format!(
                    "a request costs {}, and this quota is {}: nobody would be admitted",
                    rate.cost,
                    quota.burst()
                ))
                .hint("raise the quota, or lower the `cost` of the limit")
            } else {
                return Ok(Terms::Rate(quota));
            };
            Err(section.report(fault))
        }),
        Measure::InFlight(_) => section
            .required("max_in_flight", "max_in_flight = 100", |item| in_flight(&item))
            .map(Terms::InFlight),
    };
    section.finish();
    terms
}
