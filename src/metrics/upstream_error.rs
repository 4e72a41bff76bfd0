//! What can go wrong with an upstream, as the metrics tell it.

/// What went wrong with an upstream: the `kind` of `gateway_upstream_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// It could not be connected to.
    Connect,
    /// Connecting took too long.
    ConnectTimeout,
    /// There was no TLS with it, or not with whom it should be.
    Tls,
    /// The response head took too long, or it took nothing of the request.
    ResponseTimeout,
    /// It sent nothing for too long in the middle of its answer.
    ReadTimeout,
    /// The whole exchange took longer than the route allows, whoever was slow.
    Timeout,
    /// It closed or reset the connection before the response was whole.
    Closed,
    /// What it sent is no HTTP response, or an ambiguous one.
    BadResponse,
    /// The gateway's own machine has no descriptor, port or memory left, or forbids the connection.
    Local,
    /// No server can be used.
    NoServer,
    /// Every server that can be used has as many requests as it may, or as many that wait for a connection.
    Full,
}

impl UpstreamError {
    pub(super) const ALL: [Self; 11] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::ResponseTimeout,
        Self::ReadTimeout,
        Self::Timeout,
        Self::Closed,
        Self::BadResponse,
        Self::Local,
        Self::NoServer,
        Self::Full,
    ];

    /// Its label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::ResponseTimeout => "response_timeout",
            Self::ReadTimeout => "read_timeout",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::BadResponse => "bad_response",
            Self::Local => "local",
            Self::NoServer => "no_server",
            Self::Full => "full",
        }
    }
}
