//! `[access_log]`: which requests have a line, and what is in it.

use std::path::PathBuf;

/// `[access_log]`
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// The format of a line.
    pub format: LogFormat,
    /// The members of a line of JSON.
    pub members: Members,
    /// The share of requests without any trouble that have a line, above 0 and below 1; `None` is all of them.
    pub sample: Option<f64>,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// The format of an access log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Each line is a JSON object.
    Json,
    /// The "combined" format of Apache and nginx.
    Combined,
}

/// A member of a line of JSON that may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "docs/operations.md says what each is")]
pub enum Member {
    RequestId,
    Client,
    Consumer,
    Plan,
    Method,
    Host,
    Path,
    Protocol,
    Route,
    Status,
    BytesIn,
    BytesOut,
    DurationMs,
    Upstream,
    UpstreamMs,
    Limits,
    Keys,
    Costs,
    SettledMs,
    RefusedBy,
    WouldRefuse,
    Error,
    TraceId,
    Referer,
    UserAgent,
}

impl Member {
    /// All of them, each with its name in a line.
    pub const ALL: [(&'static str, Self); 25] = [
        ("request_id", Self::RequestId),
        ("client", Self::Client),
        ("consumer", Self::Consumer),
        ("plan", Self::Plan),
        ("method", Self::Method),
        ("host", Self::Host),
        ("path", Self::Path),
        ("protocol", Self::Protocol),
        ("route", Self::Route),
        ("status", Self::Status),
        ("bytes_in", Self::BytesIn),
        ("bytes_out", Self::BytesOut),
        ("duration_ms", Self::DurationMs),
        ("upstream", Self::Upstream),
        ("upstream_ms", Self::UpstreamMs),
        ("limits", Self::Limits),
        ("keys", Self::Keys),
        ("costs", Self::Costs),
        ("settled_ms", Self::SettledMs),
        ("refused_by", Self::RefusedBy),
        ("would_refuse", Self::WouldRefuse),
        ("error", Self::Error),
        ("trace_id", Self::TraceId),
        ("referer", Self::Referer),
        ("user_agent", Self::UserAgent),
    ];
}

/// Some members of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members(u32);

impl Members {
    /// All of them.
    pub const ALL: Self = Self((1 << Member::ALL.len()) - 1);

    /// These.
    pub fn of(members: impl IntoIterator<Item = Member>) -> Self {
        Self(members.into_iter().fold(0, |bits, member| bits | bit(member)))
    }

    /// Whether this is one of them.
    pub const fn has(self, member: Member) -> bool {
        self.0 & bit(member) != 0
    }
}

const fn bit(member: Member) -> u32 {
    1 << member as u32
}

impl AccessLog {
    /// A log of all requests, with all members of a line.
    pub const fn whole(target: LogTarget, format: LogFormat) -> Self {
        Self { target, format, members: Members::ALL, sample: None }
    }
}
