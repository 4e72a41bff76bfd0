//! A line in the combined format of Apache and nginx.

use std::io::Write as _;

use super::entry::Entry;
use super::plain::is_plain;
use super::second::{SecondText, Time};
use super::{number, truncate};
use crate::client::ClientId;
use crate::config::LogFormat;

/// How the time is written at which a request ended, in UTC.
pub(super) const SECOND: &str = "%d/%b/%Y:%H:%M:%S +0000";

/// Ends a field whose rest is left out. A backslash that a client sends is `\x5C`.
const CUT: &[u8] = b"\\...";

/// Appends the line of a request, without its end.
pub(super) fn write(entry: &Entry<'_>, second: &mut SecondText, line: &mut Vec<u8>) {
    match entry.client {
        ClientId::Address(address) => number::address(*address, line),
        // Without a space in it: the fields before the quotes are told apart by spaces.
        client @ ClientId::Opaque(_) => field(&truncate::displayed(client), Spaces::Escaped, line),
    }
    line.extend_from_slice(b" - ");
    field(entry.consumer.unwrap_or("-"), Spaces::Escaped, line);
    line.extend_from_slice(b" [");
    line.extend_from_slice(second.of(Time::from(entry.time)));
    line.extend_from_slice(b"] \"");
    field(entry.method, Spaces::Kept, line);
    line.push(b' ');
    field(entry.path, Spaces::Kept, line);
    line.push(b' ');
    field(entry.protocol, Spaces::Kept, line);
    line.extend_from_slice(b"\" ");
    number::integer(entry.status, line);
    line.push(b' ');
    number::integer(entry.bytes_out, line);
    line.extend_from_slice(b" \"");
    field(or_dash(&entry.referer), Spaces::Kept, line);
    line.extend_from_slice(b"\" \"");
    field(or_dash(&entry.user_agent), Spaces::Kept, line);
    line.push(b'"');
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// What becomes of spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spaces {
    Kept,
    Escaped,
}

/// A field as it fits: quotes, backslashes, and what is no printable ASCII become `\xHH`, as with nginx.
fn field(text: &str, spaces: Spaces, line: &mut Vec<u8>) {
    let beginning = truncate::beginning(text, LogFormat::Combined);
    let bytes = beginning.unwrap_or(text).as_bytes();
    if spaces == Spaces::Kept && is_plain(bytes) {
        line.extend_from_slice(bytes);
    } else {
        escaped(bytes, spaces, line);
    }
    if beginning.is_some() {
        line.extend_from_slice(CUT);
    }
}

fn escaped(text: &[u8], spaces: Spaces, line: &mut Vec<u8>) {
    for &byte in text {
        let is_kept = match byte {
            b'"' | b'\\' => false,
            b' ' => spaces == Spaces::Kept,
            byte => matches!(byte, b'!'..=b'~'),
        };
        if is_kept {
            line.push(byte);
        } else {
            // Appending to a `Vec` cannot fail.
            let _ = write!(line, "\\x{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::access_log::arbitrary::parts;

    fn expected(entry: &Entry<'_>) -> String {
        let cut = |text: &str| {
            let beginning = truncate::beginning(text, LogFormat::Combined);
            let escaped = |byte: u8| match byte {
                b'"' | b'\\' | ..b' ' | 0x7f.. => format!("\\x{byte:02X}"),
                _ => char::from(byte).to_string(),
            };
            let text: String = beginning.unwrap_or(text).bytes().map(escaped).collect();
            text + beginning.map_or("", |_| "\\...")
        };
        let client = cut(&entry.client.to_string()).replace(' ', "\\x20");
        let consumer = cut(entry.consumer.unwrap_or("-")).replace(' ', "\\x20");
        let time = entry.time.to_zoned_datetime(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
        let [method, path, protocol] = [entry.method, entry.path, entry.protocol].map(cut);
        let [referer, user_agent] =
            [&entry.referer, &entry.user_agent].map(|text| cut(if text.is_empty() { "-" } else { text }));
        let (status, bytes) = (entry.status, entry.bytes_out);
        format!(
            "{client} - {consumer} [{time}] \"{method} {path} {protocol}\" {status} {bytes} \"{referer}\" \"{user_agent}\""
        )
    }

    proptest! {
        #[test]
        fn a_line_is_written_as_by_std(parts in parts()) {
            let entry = parts.entry();
            let mut line = Vec::new();
            write(&entry, &mut SecondText::new(SECOND), &mut line);
            prop_assert_eq!(String::from_utf8(line).unwrap(), expected(&entry));
        }
    }
}
