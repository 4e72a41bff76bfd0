//! A request that has been answered, and its line.
//!
//! A line is ASCII whatever clients send, and has one end: in JSON everything else is escaped (also what some readers take
//! for the end of a line, such as U+2028, and what some terminals obey), in the combined format it becomes `\xHH` as
//! with nginx. So nobody can forge a line, or a field of one. No field is longer than a bound, as it is written: what is cut off
//! is said in JSON by `cut`, which names the fields, and in the combined format by `\...` at the field's end, which no client
//! can send.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use smallvec::SmallVec;

use super::truncate;
use crate::address::Address;
use crate::config::LogFormat;

/// Names of limits. More than these are unusual, and take memory of their own.
pub type Names<'a> = SmallVec<[&'a str; 4]>;

/// Limits, and the whole tokens that are left; `None` for a client that the limit does not count.
pub type Tokens<'a> = SmallVec<[(&'a str, Option<u32>); 4]>;

/// A request that has been answered.
#[derive(Clone, Serialize)]
pub struct Entry<'a> {
    /// When it ended.
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    /// Its name.
    pub request_id: &'a str,
    /// Who asked.
    #[serde(serialize_with = "display")]
    pub client: &'a dyn Display,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for, as it was sent.
    pub host: Cow<'a, str>,
    /// The request target, as it was sent.
    pub path: Cow<'a, str>,
    /// The protocol, such as `HTTP/1.1`.
    pub protocol: &'a str,
    /// The route, or an empty text.
    pub route: &'a str,
    /// The status; 499 when the client left before it was answered.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From the whole head to the end.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
    /// The server that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a Address>,
    /// How long its response head took.
    #[serde(
        rename = "upstream_ms",
        serialize_with = "milliseconds_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub upstream_duration: Option<Duration>,
    /// The limits that applied, with the tokens that they have left for this client.
    #[serde(serialize_with = "tokens", skip_serializing_if = "SmallVec::is_empty")]
    pub limits: Tokens<'a>,
    /// The limits that refused it.
    #[serde(serialize_with = "names", skip_serializing_if = "SmallVec::is_empty")]
    pub refused_by: Names<'a>,
    /// The limits on trial that would have refused it.
    #[serde(serialize_with = "names", skip_serializing_if = "SmallVec::is_empty")]
    pub would_refuse: Names<'a>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Cow<'a, str>>,
    /// The trace that the client says it belongs to.
    #[serde(serialize_with = "trace_id", skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<u128>,
    /// `Referer`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub referer: Cow<'a, str>,
    /// `User-Agent`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: Cow<'a, str>,
    /// The fields whose ends are left out, since they are too long for a line.
    #[serde(serialize_with = "names", skip_serializing_if = "SmallVec::is_empty")]
    pub cut: Names<'a>,
}

/// Always with six digits, so that lines can be sorted by their text.
fn microseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Microseconds, of which 2^53 are 285 years.
    #[expect(clippy::cast_precision_loss, reason = "durations of requests are far below 2^53 microseconds")]
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}

fn milliseconds_if_any<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    milliseconds(&duration.unwrap_or_default(), serializer)
}

fn display<S: Serializer>(value: &&dyn Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn names<S: Serializer>(names: &Names<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    names.as_slice().serialize(serializer)
}

fn tokens<S: Serializer>(limits: &Tokens<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(limits.len()))?;
    for (name, left) in limits {
        map.serialize_entry(name, left)?;
    }
    map.end()
}

fn trace_id<S: Serializer>(id: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:032x}", id.unwrap_or_default()))
}

impl Entry<'_> {
    /// Of a request that could not be read.
    pub fn unread(time: Timestamp) -> Self {
        Self {
            time,
            request_id: "",
            client: &"",
            method: "-",
            host: Cow::Borrowed(""),
            path: Cow::Borrowed("-"),
            protocol: "-",
            route: "",
            status: 400,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            upstream: None,
            upstream_duration: None,
            limits: Tokens::new(),
            refused_by: Names::new(),
            would_refuse: Names::new(),
            error: None,
            trace_id: None,
            referer: Cow::Borrowed(""),
            user_agent: Cow::Borrowed(""),
            cut: Names::new(),
        }
    }

    /// Appends its line. Appending to a `Vec` cannot fail, and everything here has a form in JSON.
    pub(super) fn format(&self, format: LogFormat, line: &mut Vec<u8>) {
        let client = truncate::beginning_of(self.client, format);
        let _ = match self.bounded(format, client.as_ref()) {
            Some(entry) => entry.format_whole(format, line),
            None => self.format_whole(format, line),
        };
        line.push(b'\n');
    }

    fn format_whole(&self, format: LogFormat, line: &mut Vec<u8>) -> io::Result<()> {
        match format {
            LogFormat::Json => {
                let mut json = serde_json::Serializer::with_formatter(&mut *line, Ascii);
                self.serialize(&mut json).map_err(io::Error::from)
            }
            LogFormat::Combined => self.format_combined(line),
        }
    }

    /// The same with what fits into a line of what somebody else has written, `client` if that does not fit; `None` if all of
    /// it does.
    fn bounded<'a>(&'a self, format: LogFormat, client: Option<&'a String>) -> Option<Entry<'a>> {
        let mut cut = Names::new();
        let mut fit = |name, text: &'a str| match truncate::beginning(text, format) {
            Some(beginning) => {
                cut.push(name);
                beginning
            }
            None => text,
        };
        let (request_id, method) = (fit("request_id", self.request_id), fit("method", self.method));
        let (host, path) = (fit("host", &self.host), fit("path", &self.path));
        let error = self.error.as_ref().map(|error| fit("error", error));
        let (referer, user_agent) = (fit("referer", &self.referer), fit("user_agent", &self.user_agent));
        let client: &'a dyn Display = match client {
            Some(client) => {
                cut.insert(0, "client");
                client
            }
            None if cut.is_empty() => return None,
            None => self.client,
        };
        Some(Entry {
            time: self.time,
            client,
            request_id,
            method,
            host: host.into(),
            path: path.into(),
            error: error.map(Cow::Borrowed),
            referer: referer.into(),
            user_agent: user_agent.into(),
            cut,
            protocol: self.protocol,
            route: self.route,
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration: self.duration,
            upstream: self.upstream,
            upstream_duration: self.upstream_duration,
            trace_id: self.trace_id,
            limits: self.limits.iter().copied().collect(),
            refused_by: self.refused_by.iter().copied().collect(),
            would_refuse: self.would_refuse.iter().copied().collect(),
        })
    }

    fn format_combined(&self, line: &mut Vec<u8>) -> io::Result<()> {
        let time = self.time.to_zoned_datetime(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
        let dash = |text| if str::is_empty(text) { "-" } else { text };
        let mark = |name| if self.cut.contains(&name) { CUT } else { b"" };
        // Without a space in it: the fields before the quotes are told apart by spaces.
        write!(Escaping { line, spaces: true }, "{}", self.client)?;
        line.extend_from_slice(mark("client"));
        write!(line, " - - [{time}] \"")?;
        let mut quoted = Escaping { line, spaces: false };
        quoted.write_all(self.method.as_bytes())?;
        quoted.line.extend_from_slice(mark("method"));
        quoted.line.push(b' ');
        quoted.write_all(self.path.as_bytes())?;
        quoted.line.extend_from_slice(mark("path"));
        write!(quoted, " {}", self.protocol)?;
        write!(quoted.line, "\" {} {} \"", self.status, self.bytes_out)?;
        quoted.write_all(dash(&self.referer).as_bytes())?;
        quoted.line.extend_from_slice(mark("referer"));
        quoted.line.extend_from_slice(b"\" \"");
        quoted.write_all(dash(&self.user_agent).as_bytes())?;
        quoted.line.extend_from_slice(mark("user_agent"));
        quoted.line.push(b'"');
        Ok(())
    }
}

/// Ends a field in the combined format whose rest is left out. A backslash that a client sends is `\x5C`.
const CUT: &[u8] = b"\\...";

/// Writes text in the way of nginx: quotes, backslashes, and what is no printable ASCII become `\xHH`; so do spaces, if
/// asked for.
struct Escaping<'a> {
    line: &'a mut Vec<u8>,
    spaces: bool,
}

impl Write for Escaping<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        for &byte in text {
            match byte {
                b'"' | b'\\' | ..b' ' | 0x7f.. => write!(self.line, "\\x{byte:02X}")?,
                b' ' if self.spaces => self.line.extend_from_slice(b"\\x20"),
                _ => self.line.push(byte),
            }
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON in ASCII. What JSON itself has escaped never comes this way.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(text.as_bytes());
        }
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ b' '..=b'~') => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smallvec::smallvec;

    fn entry(user_agent: &str) -> Entry<'_> {
        Entry {
            client: &"192.0.2.1",
            request_id: "id",
            method: "GET",
            host: "a.example".into(),
            path: "/a?b".into(),
            protocol: "HTTP/1.1",
            route: "r",
            status: 429,
            bytes_in: 1,
            bytes_out: 2,
            duration: Duration::from_micros(1500),
            upstream_duration: Some(Duration::from_millis(1)),
            limits: smallvec![("l", Some(0)), ("m", Some(7)), ("n", None)],
            refused_by: smallvec!["l"],
            trace_id: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
            user_agent: user_agent.into(),
            ..Entry::unread(Timestamp::from_microsecond(1_700_000_000_000_001).unwrap())
        }
    }

    fn line(entry: &Entry<'_>, format: LogFormat) -> String {
        let mut line = Vec::new();
        entry.format(format, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_json_line_tells_everything() {
        let entry = entry("curl\"\\\n\u{e9}\u{1d11e}\u{7f}");
        assert_eq!(
            line(&entry, LogFormat::Json),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.000001Z","request_id":"id","client":"192.0.2.1","method":"GET","#,
                r#""host":"a.example","path":"/a?b","protocol":"HTTP/1.1","route":"r","status":429,"bytes_in":1,"#,
                r#""bytes_out":2,"duration_ms":1.5,"upstream_ms":1.0,"limits":{"l":0,"m":7,"n":null},"#,
                r#""refused_by":["l"],"trace_id":"0af7651916cd43dd8448eb211c80319c","#,
                r#""user_agent":"curl\"\\\n\u00e9\ud834\udd1e\u007f"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_combined_line_is_that_of_other_servers() {
        assert_eq!(
            line(&entry("curl\"\\\n\u{e9}"), LogFormat::Combined),
            "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b HTTP/1.1\" 429 2 \"-\" \
             \"curl\\x22\\x5C\\x0A\\xC3\\xA9\"\n"
        );
    }

    #[test]
    fn a_field_is_cut_by_what_it_takes_and_that_is_said() {
        let (agent, path, client) =
            ("\u{fffd}".repeat(60_000), format!("/{}", "a".repeat(5000)), "b".repeat(5000));
        let entry =
            Entry { path: (&*path).into(), user_agent: (&*agent).into(), client: &client, ..entry("") };
        let json = line(&entry, LogFormat::Json);
        assert!(json.len() < 13_000, "{}", json.len());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["cut"], serde_json::json!(["client", "path", "user_agent"]));
        assert_eq!(json["path"], path[..4096]);
        assert_eq!(json["user_agent"].as_str().unwrap().chars().count(), 682);
        let combined = line(&entry, LogFormat::Combined);
        assert!(combined.len() < 13_000, "{}", combined.len());
        assert!(combined.contains("b\\... - - ["), "{combined}");
        assert!(combined.contains("a\\... HTTP/1.1\" 429 2 \"-\" \"\\xEF"), "{combined}");
        assert!(combined.ends_with("\\xBD\\...\"\n"), "{combined}");
    }

    /// What `\xHH` stands for.
    fn unescaped(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, more @ ..] = rest {
            rest = more;
            match more {
                [b'x', high, low, more @ ..] if *first == b'\\' => {
                    let digits = [*high, *low];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    rest = more;
                }
                _ => bytes.push(*first),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Text of every kind, and of what is likely to do harm.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![any::<String>(), "[\"\\\\\n\r\u{85}\u{2028}\u{9b}{}, \\[\\]x20a]{0,20}"]
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line(
            client in any_text(),
            method in any_text(),
            host in any_text(),
            path in any_text(),
            referer in any_text(),
            user_agent in any_text(),
        ) {
            let entry = Entry {
                client: &client,
                method: &method,
                host: (&*host).into(),
                path: (&*path).into(),
                referer: (&*referer).into(),
                user_agent: (&*user_agent).into(),
                ..entry("")
            };
            for format in [LogFormat::Json, LogFormat::Combined] {
                let line = line(&entry, format);
                let (last, others) = line.as_bytes().split_last().unwrap();
                prop_assert_eq!(*last, b'\n');
                prop_assert!(others.iter().all(|byte| matches!(byte, b' '..=b'~')), "{}", line);
            }
            let json: serde_json::Value = serde_json::from_str(&line(&entry, LogFormat::Json)).unwrap();
            for (key, value) in [
                ("client", &client), ("method", &method), ("host", &host), ("path", &path),
            ] {
                prop_assert_eq!(json[key].as_str(), Some(value.as_str()));
            }
            let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let told = |key: &str| json[key].as_str().map(str::to_owned);
            prop_assert_eq!((told("referer"), told("user_agent")), (given(&referer), given(&user_agent)));
            prop_assert_eq!(&json["status"], 429);

            let combined = line(&entry, LogFormat::Combined);
            let parts: Vec<_> = combined.split('"').collect();
            prop_assert_eq!(parts.len(), 7, "{}", combined);
            let who = parts[0].split(' ').collect::<Vec<_>>();
            prop_assert_eq!(who.len(), 6);
            prop_assert_eq!(unescaped(who[0]), client.as_str());
            prop_assert_eq!(unescaped(parts[1]), format!("{method} {path} HTTP/1.1"));
            prop_assert_eq!(parts[2], " 429 2 ");
            let dashed = |text: &str| given(text).unwrap_or("-".to_owned());
            prop_assert_eq!(unescaped(parts[3]), dashed(&referer));
            prop_assert_eq!(unescaped(parts[5]), dashed(&user_agent));
        }
    }
}
