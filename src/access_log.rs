//! The access log: a line for each request, formatted where the request ends, written by a thread of its own.
//!
//! A request never waits for the log. When lines come faster than they can be written, or cannot be written,
//! they are dropped and counted. What clients send is escaped: nobody can forge a line.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::warn;
use prometheus::IntCounter;
use serde::{Serialize, Serializer};

use crate::config::{self, LogFormat, LogTarget};

/// Lines that may wait to be written.
const QUEUE: usize = 8192;

/// An open access log. Dropping it writes out what waits.
pub struct AccessLog {
    format: LogFormat,
    lines: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    dropped: IntCounter,
}

/// A request that has been answered.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<'a> {
    /// When it ended.
    #[serde(serialize_with = "microseconds")]
    pub time: Timestamp,
    /// Its name.
    pub request_id: &'a str,
    /// Who asked.
    pub client: String,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for, as it was sent.
    pub host: &'a str,
    /// The request target, as it was sent.
    pub path: &'a str,
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
    pub upstream: Option<SocketAddr>,
    /// How long its response head took.
    #[serde(
        rename = "upstream_ms",
        serialize_with = "milliseconds_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub upstream_duration: Option<Duration>,
    /// The limits that refused it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused_by: Vec<&'a str>,
    /// The limits on trial that would have refused it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_refuse: Vec<&'a str>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `Referer`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub referer: &'a str,
    /// `User-Agent`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: &'a str,
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

impl Entry<'_> {
    /// Of a request that could not be read.
    pub fn unread(time: Timestamp) -> Self {
        Self {
            time,
            request_id: "",
            client: String::new(),
            method: "-",
            host: "",
            path: "-",
            protocol: "-",
            route: "",
            status: 400,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            upstream: None,
            upstream_duration: None,
            refused_by: Vec::new(),
            would_refuse: Vec::new(),
            error: None,
            referer: "",
            user_agent: "",
        }
    }

    fn format(&self, format: LogFormat) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        match format {
            LogFormat::Json => {
                // Text and numbers always have a form in JSON, and a Vec takes it.
                let _ = serde_json::to_writer(&mut line, self);
            }
            LogFormat::Combined => self.format_combined(&mut line),
        }
        line.push(b'\n');
        line
    }

    fn format_combined(&self, line: &mut Vec<u8>) {
        let time = self.time.to_zoned_datetime(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
        let dash = |text| if str::is_empty(text) { "-" } else { text };
        // Writing to a Vec cannot fail.
        let _ = write!(
            line,
            "{} - - [{time}] \"{} {} {}\" {} {} \"{}\" \"{}\"",
            self.client,
            Escaped(self.method),
            Escaped(self.path),
            self.protocol,
            self.status,
            self.bytes_out,
            Escaped(dash(self.referer)),
            Escaped(dash(self.user_agent)),
        );
    }
}

/// Text in quotes, as nginx writes it: what could end the quotes or the line becomes `\xHH`.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' | 0..=0x1f | 0x7f.. => write!(f, "\\x{byte:02X}")?,
                _ => f.write_char(char::from(byte))?,
            }
        }
        Ok(())
    }
}

impl AccessLog {
    /// Opens the log. `dropped` counts the lines that are not written.
    ///
    /// # Errors
    /// When its file cannot be opened, or its thread not be started.
    pub fn open(config: &config::AccessLog, dropped: IntCounter) -> io::Result<Self> {
        let output: Box<dyn Write + Send> = match &config.target {
            LogTarget::Stdout => Box::new(io::stdout()),
            LogTarget::File(path) => Box::new(open_file(path)?),
        };
        let (lines, waiting) = sync_channel(QUEUE);
        let lost = dropped.clone();
        let writer = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&waiting, BufWriter::new(output), &lost))?;
        Ok(Self { format: config.format, lines: Some(lines), writer: Some(writer), dropped })
    }

    /// Logs a request, or drops the line if too many are waiting.
    pub fn write(&self, entry: &Entry<'_>) {
        let line = entry.format(self.format);
        if self.lines.as_ref().is_none_or(|lines| lines.try_send(line).is_err()) {
            self.dropped.inc();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        // Without a sender the writer ends after the last line.
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
    }
}

fn open_file(path: &Path) -> io::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes lines until there is nobody left to send any; flushes whenever none is waiting.
fn write_lines(lines: &Receiver<Vec<u8>>, mut output: impl Write, lost: &IntCounter) {
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut pending = 0;
        let mut result = Ok(());
        while let Some(line) = next {
            pending += 1;
            result = result.and_then(|()| output.write_all(&line));
            next = lines.try_recv().ok();
        }
        result = result.and_then(|()| output.flush());
        match &result {
            Ok(()) => failing = false,
            Err(error) => {
                lost.inc_by(pending);
                if !failing {
                    warn!("the access log cannot be written: {error}");
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            time: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(),
            request_id: "id",
            client: "192.0.2.1".to_owned(),
            method: "GET",
            host: "a.example",
            path: "/a?b",
            protocol: "HTTP/1.1",
            route: "r",
            status: 429,
            bytes_in: 1,
            bytes_out: 2,
            duration: Duration::from_micros(1500),
            upstream: None,
            upstream_duration: Some(Duration::from_millis(1)),
            refused_by: vec!["l"],
            would_refuse: Vec::new(),
            error: None,
            referer: "",
            user_agent: "curl\"\\\n\u{e9}",
        }
    }

    fn line(format: LogFormat) -> String {
        String::from_utf8(entry().format(format)).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_whatever_clients_send() {
        let line = line(LogFormat::Json);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["time"], "2023-11-14T22:13:20.000001Z");
        assert_eq!(value["duration_ms"], 1.5);
        assert_eq!(value["upstream_ms"], 1.0);
        assert_eq!(value["refused_by"], serde_json::json!(["l"]));
        assert_eq!(value["user_agent"], "curl\"\\\n\u{e9}");
        assert!(value.get("upstream").is_none());
    }

    #[test]
    fn a_combined_line_cannot_be_forged() {
        assert_eq!(
            line(LogFormat::Combined),
            "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b HTTP/1.1\" 429 2 \"-\" \
             \"curl\\x22\\x5C\\x0A\\xC3\\xA9\"\n"
        );
    }

    fn dropped() -> IntCounter {
        IntCounter::new("d", "d").unwrap()
    }

    #[test]
    fn dropping_the_log_writes_out_what_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let config = config::AccessLog { target: LogTarget::File(path.clone()), format: LogFormat::Combined };
        for _ in 0..2 {
            let log = AccessLog::open(&config, dropped()).unwrap();
            (0..100).for_each(|_| log.write(&entry()));
        }
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 200);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let config = config::AccessLog {
            target: LogTarget::File("/no/such/folder/a".into()),
            format: LogFormat::Json,
        };
        assert!(AccessLog::open(&config, dropped()).is_err());
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let config =
            config::AccessLog { target: LogTarget::File("/dev/full".into()), format: LogFormat::Json };
        let dropped = dropped();
        let log = AccessLog::open(&config, dropped.clone()).unwrap();
        log.write(&entry());
        drop(log);
        assert_eq!(dropped.get(), 1);
    }
}
