//! A line as an object of JSON.
//!
//! It is written here and not by serde_json, which takes several times as long: see "A line of the access log is formatted in place" in
//! docs/design.md. The tests compare it with what serde_json writes.

use super::entry::{Entry, Names};
use super::plain::is_plain;
use super::second::{SecondText, Time};
use super::{number, truncate};
use crate::address::Address;
use crate::client::ClientId;
use crate::config::{LogFormat, Member, Members};

/// How the second is written in which a request ended.
pub(super) const SECOND: &str = "%Y-%m-%dT%H:%M:%S";

/// What stands between two members that are texts: the end of the one before, the name, and the beginning of the text.
macro_rules! key {
    ($name:literal) => {
        concat!("\",\"", $name, "\":\"")
    };
}

/// Appends the object of a request, with these members.
pub(super) fn write(entry: &Entry<'_>, members: Members, second: &mut SecondText, line: &mut Vec<u8>) {
    // Where all are wanted, nothing is asked for each.
    match members == Members::ALL {
        true => write_those(entry, |_| true, second, line),
        false => write_those(entry, |member| members.has(member), second, line),
    }
}

fn write_those(entry: &Entry<'_>, has: impl Fn(Member) -> bool, second: &mut SecondText, line: &mut Vec<u8>) {
    let time = Time::from(entry.time);
    line.extend_from_slice(b"{\"time\":\"");
    line.extend_from_slice(second.of(time));
    line.push(b'.');
    number::microseconds(time.microseconds, line);
    line.push(b'Z');
    let mut cut = Names::new();
    let mut object = Object { line, in_text: true, cut: &mut cut };
    if has(Member::RequestId) {
        object.text(key!("request_id"), entry.request_id);
    }
    if has(Member::Client) {
        match entry.client {
            ClientId::Address(address) => number::address(*address, object.begin_text(key!("client"))),
            client @ ClientId::Opaque(_) => object.text(key!("client"), &truncate::displayed(client)),
        }
    }
    if let Some(consumer) = entry.consumer
        && has(Member::Consumer)
    {
        object.text(key!("consumer"), consumer);
    }
    if let Some(plan) = entry.plan
        && has(Member::Plan)
    {
        escape(plan, object.begin_text(key!("plan")));
    }
    if has(Member::Method) {
        object.text(key!("method"), entry.method);
    }
    if has(Member::Host) {
        object.text(key!("host"), &entry.host);
    }
    if has(Member::Path) {
        object.text(key!("path"), entry.path);
    }
    if has(Member::Protocol) {
        object.begin_text(key!("protocol")).extend_from_slice(entry.protocol.as_bytes());
    }
    if has(Member::Route) {
        escape(entry.route, object.begin_text(key!("route")));
    }
    if has(Member::Status) {
        number::integer(entry.status, object.begin_value(key!("status")));
    }
    if has(Member::BytesIn) {
        number::integer(entry.bytes_in, object.begin_value(key!("bytes_in")));
    }
    if has(Member::BytesOut) {
        number::integer(entry.bytes_out, object.begin_value(key!("bytes_out")));
    }
    if has(Member::DurationMs) {
        number::milliseconds(entry.duration, object.begin_value(key!("duration_ms")));
    }
    if let Some(address) = entry.upstream
        && has(Member::Upstream)
    {
        upstream(address, object.begin_text(key!("upstream")));
    }
    if let Some(duration) = entry.upstream_duration
        && has(Member::UpstreamMs)
    {
        number::milliseconds(duration, object.begin_value(key!("upstream_ms")));
    }
    if !entry.limits.is_empty() && has(Member::Limits) {
        self::object(&entry.limits, object.begin_value(key!("limits")), number_or_null);
    }
    if !entry.keys.is_empty() && has(Member::Keys) {
        self::object(&entry.keys, object.begin_value(key!("keys")), text_or_null);
    }
    if !entry.costs.is_empty() && has(Member::Costs) {
        self::object(&entry.costs, object.begin_value(key!("costs")), |cost, line| {
            number::integer(cost, line);
        });
    }
    if let Some(after) = entry.settled
        && has(Member::SettledMs)
    {
        number::milliseconds(after, object.begin_value(key!("settled_ms")));
    }
    if !entry.refused_by.is_empty() && has(Member::RefusedBy) {
        names(&entry.refused_by, object.begin_value(key!("refused_by")));
    }
    if !entry.would_refuse.is_empty() && has(Member::WouldRefuse) {
        names(&entry.would_refuse, object.begin_value(key!("would_refuse")));
    }
    if let Some(error) = entry.error
        && has(Member::Error)
    {
        object.text(key!("error"), error);
    }
    if let Some(id) = entry.trace_id
        && has(Member::TraceId)
    {
        number::hexadecimal(id.to_be_bytes(), object.begin_text(key!("trace_id")));
    }
    if !entry.referer.is_empty() && has(Member::Referer) {
        object.text(key!("referer"), &entry.referer);
    }
    if !entry.user_agent.is_empty() && has(Member::UserAgent) {
        object.text(key!("user_agent"), &entry.user_agent);
    }
    if let Some(share) = entry.sample {
        number::displayed(&share, object.begin_value(key!("sample")));
    }
    object.end();
}

/// An object that has been begun and has a member.
struct Object<'a> {
    line: &'a mut Vec<u8>,
    /// The last member is a text, and the quote at its end is still to be written: it is appended together with what comes next.
    in_text: bool,
    /// The members whose ends are left out. Elsewhere, so that the compiler knows `in_text` where it is used.
    cut: &'a mut Names<'static>,
}

/// Everything is inlined, so that keys are copied as constants.
impl Object<'_> {
    /// Begins a member that is no text. Whoever calls it appends the value.
    #[inline(always)]
    fn begin_value(&mut self, key: &'static str) -> &mut Vec<u8> {
        let without_quote = &key[..key.len() - 1];
        self.begin(without_quote)
    }

    /// Begins a member that is a text. Whoever calls it appends the text, as it is between quotes.
    #[inline(always)]
    fn begin_text(&mut self, key: &'static str) -> &mut Vec<u8> {
        self.begin(key);
        self.in_text = true;
        self.line
    }

    #[inline(always)]
    fn begin(&mut self, key: &'static str) -> &mut Vec<u8> {
        if std::mem::take(&mut self.in_text) {
            self.line.extend_from_slice(key.as_bytes());
        } else {
            self.line.extend_from_slice(&key.as_bytes()[1..]);
        }
        self.line
    }

    /// A text of which the beginning is written if all of it does not fit.
    #[inline(always)]
    fn text(&mut self, key: &'static str, text: &str) {
        let beginning = truncate::beginning(text, LogFormat::Json);
        if beginning.is_some() {
            self.cut.push(&key[3..key.len() - 3]);
        }
        escape(beginning.unwrap_or(text), self.begin_text(key));
    }

    #[inline(always)]
    fn end(&mut self) {
        if !self.cut.is_empty() {
            let cut = std::mem::take(self.cut);
            names(&cut, self.begin_value(key!("cut")));
        }
        if self.in_text {
            self.line.push(b'"');
        }
        self.line.push(b'}');
    }
}

fn upstream(address: &Address, line: &mut Vec<u8>) {
    match address {
        Address::Network(address) => number::socket_address(*address, line),
        Address::Socket(path) => {
            line.extend_from_slice(b"unix:");
            escape(path, line);
        }
    }
}

/// An array of at least one name.
fn names(names: &[&str], line: &mut Vec<u8>) {
    let mut before = b'[';
    for name in names {
        line.extend_from_slice(&[before, b'"']);
        escape(name, line);
        line.push(b'"');
        before = b',';
    }
    line.push(b']');
}

/// An object of at least one member, of which `value` appends the value.
fn object<T: Copy>(members: &[(&str, T)], line: &mut Vec<u8>, value: impl Fn(T, &mut Vec<u8>)) {
    let mut before = b'{';
    for (name, of) in members {
        line.extend_from_slice(&[before, b'"']);
        escape(name, line);
        line.extend_from_slice(b"\":");
        value(*of, line);
        before = b',';
    }
    line.push(b'}');
}

fn number_or_null(number: Option<u32>, line: &mut Vec<u8>) {
    match number {
        Some(number) => number::integer(number, line),
        None => line.extend_from_slice(b"null"),
    }
}

fn text_or_null(text: Option<&str>, line: &mut Vec<u8>) {
    match text {
        Some(text) => {
            line.push(b'"');
            escape(text, line);
            line.push(b'"');
        }
        None => line.extend_from_slice(b"null"),
    }
}

/// What stands for a text between quotes, in ASCII.
fn escape(text: &str, line: &mut Vec<u8>) {
    if is_plain(text.as_bytes()) {
        line.extend_from_slice(text.as_bytes());
    } else {
        escape_each(text, line);
    }
}

#[cold]
fn escape_each(text: &str, line: &mut Vec<u8>) {
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b'"' | b'\\')) => line.extend_from_slice(&[b'\\', byte]),
            Ok(b'\n') => line.extend_from_slice(b"\\n"),
            Ok(b'\r') => line.extend_from_slice(b"\\r"),
            Ok(b'\t') => line.extend_from_slice(b"\\t"),
            Ok(0x08) => line.extend_from_slice(b"\\b"),
            Ok(0x0c) => line.extend_from_slice(b"\\f"),
            Ok(byte @ b' '..=b'~') => line.push(byte),
            _ => {
                line.extend_from_slice(b"\\u");
                number::hexadecimal(unit.to_be_bytes(), line);
            }
        }
    }
}

#[cfg(test)]
mod tests;
