//! The decision about each request, as lines of JSON.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

use super::fate::{Fate, Verdict};
use super::record::Record;
use crate::engine::Engine;

/// Where decisions are written.
pub(super) struct Decisions(Box<dyn Write>);

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    /// When the request began, by the log.
    time: String,
    client: String,
    method: &'a str,
    host: Cow<'a, str>,
    path: Cow<'a, str>,
    route: &'a str,
    decision: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused_by: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    would_refuse: Vec<&'a str>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<f64>,
    /// What the log says of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

impl Decisions {
    /// Decisions are written to this file, or to standard output if it is `-`.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        Ok(Self(match path.as_os_str() == "-" {
            true => Box::new(BufWriter::new(io::stdout().lock())),
            false => Box::new(BufWriter::new(File::create(path)?)),
        }))
    }

    /// Writes the decision of an engine about a request.
    ///
    /// # Errors
    /// When no more can be written.
    pub(super) fn write(&mut self, engine: &Engine, record: &Record, fate: &Fate) -> io::Result<()> {
        let names = |indices: &[usize]| -> Vec<&str> {
            indices.iter().map(|index| engine.config().limits[*index].name.as_str()).collect()
        };
        let (decision, retry_after) = match fate.verdict {
            Verdict::Admitted => ("admitted", None),
            Verdict::Refused(wait) => ("refused", Some(wait.as_secs_f64())),
            Verdict::WithoutRoute => ("without_route", None),
            Verdict::NotAsked => ("not_asked", None),
        };
        let line = Line {
            time: record.began().rfc_3339(),
            client: record.client.to_string(),
            method: record.method.as_str(),
            host: record
                .headers
                .get(http::header::HOST)
                .map_or(Cow::Borrowed(""), |host| String::from_utf8_lossy(host.as_bytes())),
            path: String::from_utf8_lossy(&record.target),
            route: fate.route.map_or("", |route| engine.route(route).name.as_str()),
            decision,
            refused_by: names(&fate.refused_by),
            would_refuse: names(&fate.would_refuse),
            retry_after,
            status: record.status.map(|status| status.as_u16()),
        };
        serde_json::to_writer(&mut self.0, &line)?;
        self.0.write_all(b"\n")
    }

    /// Writes what is still held back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
