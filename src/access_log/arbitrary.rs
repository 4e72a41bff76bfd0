//! Requests with anything in them, for the tests.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::entry::Entry;
use crate::address::Address;
use crate::client::ClientId;

/// What an entry is made of.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    time: Timestamp,
    client: ClientId,
    consumer: Option<String>,
    plan: Option<String>,
    /// Method, host, path, route, referer, user agent.
    texts: [String; 6],
    error: Option<String>,
    upstream: Option<Address>,
    durations: (Duration, Option<Duration>, Option<Duration>),
    numbers: (u16, u64, u64),
    limits: Vec<(String, Option<u32>)>,
    keys: Vec<(String, Option<String>)>,
    costs: Vec<(String, u32)>,
    refused_by: Vec<String>,
    would_refuse: Vec<String>,
    trace_id: Option<u128>,
}

impl Parts {
    pub(super) fn entry(&self) -> Entry<'_> {
        let [method, host, path, route, referer, user_agent] = &self.texts;
        let (duration, upstream_duration, settled) = self.durations;
        let (status, bytes_in, bytes_out) = self.numbers;
        Entry {
            time: self.time,
            // It is never too long: nobody gives a request a name of more than 128 bytes.
            request_id: "24cacd763f77051875f0bc375c06c9a5",
            client: &self.client,
            consumer: self.consumer.as_deref(),
            plan: self.plan.as_deref(),
            method,
            host: host.into(),
            path,
            protocol: "HTTP/1.1",
            route,
            status,
            bytes_in,
            bytes_out,
            duration,
            upstream: self.upstream.as_ref(),
            upstream_duration,
            limits: self.limits.iter().map(|(name, left)| (&**name, *left)).collect(),
            keys: self.keys.iter().map(|(part, value)| (&**part, value.as_deref())).collect(),
            costs: self.costs.iter().map(|(limit, cost)| (&**limit, *cost)).collect(),
            settled,
            refused_by: self.refused_by.iter().map(|name| &**name).collect(),
            would_refuse: self.would_refuse.iter().map(|name| &**name).collect(),
            error: self.error.as_deref(),
            trace_id: self.trace_id,
            referer: referer.into(),
            user_agent: user_agent.into(),
            sample: (bytes_in % 2 == 1).then_some(0.25),
        }
    }
}

/// Any request.
pub(super) fn parts() -> impl Strategy<Value = Parts> {
    let names = || prop::collection::vec(text(), 0..6);
    let by_limits = (
        prop::collection::vec((text(), any::<Option<u32>>()), 0..6),
        prop::collection::vec((text(), prop::option::of(text())), 0..3),
        prop::collection::vec((text(), any::<u32>()), 0..3),
    );
    let said = (
        prop::array::uniform6(text_of_any_length()),
        prop::option::of(text_of_any_length()),
        prop::option::of(upstream()),
    );
    let measured = (
        (duration(), prop::option::of(duration()), prop::option::of(duration())),
        any::<(u16, u64, u64)>(),
        any::<Option<u128>>(),
    );
    let who =
        (client(text_of_any_length()), prop::option::of(text_of_any_length()), prop::option::of(text()));
    (time(), who, said, measured, by_limits, names(), names()).prop_map(
        |(
            time,
            (client, consumer, plan),
            (texts, error, upstream),
            (durations, numbers, trace_id),
            (limits, keys, costs),
            refused_by,
            would_refuse,
        )| Parts {
            time,
            client,
            consumer,
            plan,
            texts,
            error,
            upstream,
            durations,
            numbers,
            limits,
            keys,
            costs,
            refused_by,
            would_refuse,
            trace_id,
        },
    )
}

/// Characters of every width and every way in which they are escaped.
const CHARACTERS: &[char] = &[
    'a',
    ' ',
    '~',
    '"',
    '\\',
    '/',
    '\0',
    '\u{8}',
    '\t',
    '\n',
    '\u{c}',
    '\r',
    '\u{1f}',
    '\u{7f}',
    '\u{80}',
    '\u{85}',
    '\u{e9}',
    '\u{2028}',
    '\u{2029}',
    '\u{feff}',
    '\u{fffd}',
    '\u{1d11e}',
    '\u{10ffff}',
];

fn odd_text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(CHARACTERS), 0..40).prop_map(String::from_iter)
}

/// Text of every kind that fits into a line.
pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof![2 => "[ -~]{0,80}", 1 => any::<String>(), 1 => odd_text()]
}

/// The same, or text that is too long, or almost.
fn text_of_any_length() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => text(),
        1 => (odd_text(), 1..300_usize).prop_map(|(text, times)| text.repeat(times)),
        1 => (4090..4100_usize).prop_map(|length| "a".repeat(length)),
    ]
}

pub(super) fn client(name: impl Strategy<Value = String>) -> impl Strategy<Value = ClientId> {
    prop_oneof![any::<IpAddr>().prop_map(ClientId::Address), name.prop_map(ClientId::Opaque)]
}

fn upstream() -> impl Strategy<Value = Address> {
    prop_oneof![
        any::<SocketAddr>().prop_map(Address::Network),
        text().prop_map(|path| Address::Socket(path.into()))
    ]
}

/// Up to ten years, and often a round number of milliseconds.
fn duration() -> impl Strategy<Value = Duration> {
    let most = 10 * 365 * 24 * 3600 * 1_000_000_u64;
    let scaled = |unit: u64| (0..most / unit).prop_map(move |count| Duration::from_micros(count * unit));
    prop_oneof![
        (0..most * 1000).prop_map(Duration::from_nanos),
        (0..3_000_000_u64).prop_map(Duration::from_micros),
        scaled(10),
        scaled(100),
        scaled(1000),
    ]
}

/// From 1900 to 2200, to the nanosecond.
fn time() -> impl Strategy<Value = Timestamp> {
    let nanosecond = |second: i64, nanosecond| Timestamp::new(second, nanosecond).unwrap();
    prop_oneof![
        (-2_208_988_800..7_258_118_400_i64, 0..1_000_000_000).prop_map(move |(s, n)| nanosecond(s, n)),
        (-3..3_i64, prop_oneof![Just(0), Just(1), Just(999), Just(1000), Just(999_999_999)])
            .prop_map(move |(s, n)| nanosecond(s, n)),
    ]
}
