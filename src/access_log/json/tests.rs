//! A line is what serde_json writes, whatever is in it.

use std::io::{self, Write};
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::*;
use crate::access_log::arbitrary::parts;

/// The line as serde_json writes it.
fn by_serde(entry: &Entry<'_>) -> String {
    let mut line = Vec::new();
    Whole(entry).serialize(&mut serde_json::Serializer::with_formatter(&mut line, Ascii)).unwrap();
    String::from_utf8(line).unwrap()
}

struct Whole<'a, 'b>(&'a Entry<'b>);

impl Serialize for Whole<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = self.0;
        let mut cut = Vec::new();
        let mut fit = |name, text: &str| {
            let beginning = truncate::beginning(text, LogFormat::Json);
            cut.extend(beginning.map(|_| name));
            beginning.unwrap_or(text).to_owned()
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &format!("{:.6}", entry.time))?;
        map.serialize_entry("request_id", &fit("request_id", entry.request_id))?;
        map.serialize_entry("client", &fit("client", &entry.client.to_string()))?;
        if let Some(consumer) = entry.consumer {
            map.serialize_entry("consumer", &fit("consumer", consumer))?;
        }
        if let Some(plan) = entry.plan {
            map.serialize_entry("plan", plan)?;
        }
        map.serialize_entry("method", &fit("method", entry.method))?;
        map.serialize_entry("host", &fit("host", &entry.host))?;
        map.serialize_entry("path", &fit("path", entry.path))?;
        map.serialize_entry("protocol", entry.protocol)?;
        map.serialize_entry("route", entry.route)?;
        map.serialize_entry("status", &entry.status)?;
        map.serialize_entry("bytes_in", &entry.bytes_in)?;
        map.serialize_entry("bytes_out", &entry.bytes_out)?;
        map.serialize_entry("duration_ms", &milliseconds(entry.duration))?;
        if let Some(address) = entry.upstream {
            map.serialize_entry("upstream", &address.to_string())?;
        }
        if let Some(duration) = entry.upstream_duration {
            map.serialize_entry("upstream_ms", &milliseconds(duration))?;
        }
        if !entry.limits.is_empty() {
            map.serialize_entry("limits", &Map(&entry.limits))?;
        }
        if !entry.keys.is_empty() {
            map.serialize_entry("keys", &Map(&entry.keys))?;
        }
        if !entry.costs.is_empty() {
            map.serialize_entry("costs", &Map(&entry.costs))?;
        }
        if let Some(after) = entry.settled {
            map.serialize_entry("settled_ms", &milliseconds(after))?;
        }
        for (name, names) in [("refused_by", &entry.refused_by), ("would_refuse", &entry.would_refuse)] {
            if !names.is_empty() {
                map.serialize_entry(name, names.as_slice())?;
            }
        }
        if let Some(error) = entry.error {
            map.serialize_entry("error", &fit("error", error))?;
        }
        if let Some(id) = entry.trace_id {
            map.serialize_entry("trace_id", &format!("{id:032x}"))?;
        }
        for (name, text) in [("referer", &entry.referer), ("user_agent", &entry.user_agent)] {
            if !text.is_empty() {
                map.serialize_entry(name, &fit(name, text))?;
            }
        }
        if let Some(share) = entry.sample {
            map.serialize_entry("sample", &share)?;
        }
        if !cut.is_empty() {
            map.serialize_entry("cut", &cut)?;
        }
        map.end()
    }
}

fn milliseconds(duration: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "durations of requests are far below 2^53 microseconds")]
    let microseconds = duration.as_micros() as f64;
    microseconds / 1000.0
}

struct Map<'a, T>(&'a [(&'a str, T)]);

impl<T: Copy + Serialize> Serialize for Map<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// JSON in ASCII. What JSON itself has escaped never comes this way.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_line_is_what_serde_json_writes(parts in parts(), next in 0..2_000_000_000_i64) {
        let mut entry = parts.entry();
        let mut second = SecondText::new(SECOND);
        // The second line is of the same second or of another.
        for _ in 0..2 {
            let mut line = Vec::new();
            write(&entry, Members::ALL, &mut second, &mut line);
            prop_assert_eq!(String::from_utf8(line).unwrap(), by_serde(&entry));
            entry.time += SignedDuration::from_nanos(next);
        }
    }
    #[test]
    fn a_line_with_some_members_has_those_and_no_others(parts in parts(), chosen in prop::collection::vec(any::<bool>(), Member::ALL.len())) {
        let entry = parts.entry();
        let chosen: Vec<_> = Member::ALL.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(member, _)| *member).collect();
        let mut line = Vec::new();
        let members = Members::of(chosen.iter().map(|(_, member)| *member));
        write(&entry, members, &mut SecondText::new(SECOND), &mut line);
        let has = |name: &str| matches!(name, "time" | "sample") || chosen.iter().any(|(chosen, _)| *chosen == name);
        let mut whole: serde_json::Map<_, _> = serde_json::from_str(&by_serde(&entry)).unwrap();
        whole.retain(|name, _| has(name) || name == "cut");
        if let Some(serde_json::Value::Array(cut)) = whole.get_mut("cut") {
            cut.retain(|name| has(name.as_str().unwrap()));
        }
        whole.retain(|name, value| name != "cut" || *value != serde_json::json!([]));
        prop_assert_eq!(serde_json::from_slice::<serde_json::Map<_, _>>(&line).unwrap(), whole);
    }
}
