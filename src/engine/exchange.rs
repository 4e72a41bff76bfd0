//! The whole of a request and its answer, once both are over. The access log, the spans, and the metrics of finished requests read
//! it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use super::{Engine, KeyValues};
use crate::address::Address;
use crate::client::ClientId;
use crate::config::Route;
use crate::consumer::Consumer;
use crate::limit::Report;
use crate::query;

/// The status of a request whose client left before it was answered, as in nginx' log.
pub fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// A request that is over, and its answer.
#[derive(Debug)]
pub struct Exchange {
    /// When it ended, by the wall clock.
    pub ended: jiff::Timestamp,
    /// How long it took, from the whole head on.
    pub took: Duration,
    /// What was asked; `None` if the head could not be read.
    pub asked: Option<Asked>,
    /// Whether the connection was encrypted.
    pub tls: bool,
    /// The name of the request in logs.
    pub request_id: HeaderValue,
    /// The client that the request is attributed to.
    pub client: ClientId,
    /// The consumer, if one has proved to be calling.
    pub consumer: Option<Arc<Consumer>>,
    /// The trace that it belongs to.
    pub trace_id: Option<u128>,
    /// The index of the route that it took.
    pub route: Option<usize>,
    /// The status of the answer; [`client_left`] when the client left before there was one.
    pub status: StatusCode,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// What each limit made of it.
    pub reports: Vec<Report>,
    /// How long after its head its costs were settled, if some depended on the answer.
    pub settled: Option<Duration>,
    /// The values by which the limits counted it.
    pub keys: KeyValues,
    /// The last attempt to have it answered by an upstream.
    pub forwarded: Option<Forwarded>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What a request asked, as far as the record of the exchange tells it.
#[derive(Debug)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// The request target, as it was sent, but for a credential in its query.
    pub target: Uri,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

/// An attempt to have a request answered by an upstream.
#[derive(Debug)]
pub struct Forwarded {
    /// The index of the upstream.
    pub upstream: usize,
    /// The server that was asked.
    pub server: Address,
    /// How long after the whole head it was asked.
    pub after: Duration,
    /// How long the head of its response took, if there was one.
    pub took: Option<Duration>,
    /// What went wrong.
    pub error: Option<UpstreamError>,
}

/// What went wrong with an upstream: the `kind` of `gateway_upstream_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// It could not be connected to.
    Connect,
    /// Connecting took too long.
    ConnectTimeout,
    /// There was no TLS with it, or its certificate was not the one expected.
    Tls,
    /// The response head took too long, or it took nothing of the request.
    ResponseTimeout,
    /// It sent nothing for too long in the middle of its answer.
    ReadTimeout,
    /// The whole exchange took longer than the route allows.
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

impl Exchange {
    /// The record of a head that could not be read.
    pub fn unread(
        client: ClientId,
        request_id: HeaderValue,
        status: StatusCode,
        error: String,
        ended: jiff::Timestamp,
    ) -> Self {
        Self {
            ended,
            took: Duration::ZERO,
            asked: None,
            tls: false,
            request_id,
            client,
            consumer: None,
            trace_id: None,
            route: None,
            status,
            bytes_in: 0,
            bytes_out: 0,
            reports: Vec::new(),
            settled: None,
            keys: KeyValues::new(),
            forwarded: None,
            error: Some(error),
        }
    }

    /// The name of the request in logs, as text.
    pub fn request_id(&self) -> &str {
        str::from_utf8(self.request_id.as_bytes()).unwrap_or_default()
    }

    /// The route that it took, in the engine that decided about it.
    pub fn route<'a>(&self, engine: &'a Engine) -> Option<&'a Route> {
        self.route.map(|route| engine.route(route))
    }
}

impl Engine {
    /// The parameter of a query that may have a credential, on whatever route.
    pub fn secret_parameter(&self) -> Option<&str> {
        self.config.auth.as_ref()?.api_key.query.as_deref()
    }

    /// A request target as it may be shown: with a mask for a credential in its query.
    pub fn shown_target<'a>(&self, target: &'a str) -> Cow<'a, str> {
        let masked = || {
            let (path, query) = target.split_once('?')?;
            let query = query::masked(query.as_bytes(), self.secret_parameter()?)?;
            Some(format!("{path}?{}", String::from_utf8_lossy(&query)))
        };
        masked().map_or(Cow::Borrowed(target), Cow::Owned)
    }
}

impl Asked {
    /// What a request with this head asks. `secret` is the parameter of its query that may have a credential.
    pub fn new(
        method: &Method,
        version: Version,
        target: &Uri,
        headers: &HeaderMap,
        secret: Option<&str>,
    ) -> Self {
        let field = |name: HeaderName| headers.get(name).cloned();
        Self {
            method: method.clone(),
            version,
            target: secret.and_then(|name| masked_target(target, name)).unwrap_or_else(|| target.clone()),
            host: field(header::HOST),
            referer: field(header::REFERER).map(|url| match secret.and_then(|name| masked_url(&url, name)) {
                Some(masked) => masked,
                None => url,
            }),
            user_agent: field(header::USER_AGENT),
        }
    }

    /// The host that was asked for, as it was sent; empty if none was.
    pub fn host(&self) -> Cow<'_, str> {
        text(self.host.as_ref())
    }

    /// `Referer`; empty if there is none.
    pub fn referer(&self) -> Cow<'_, str> {
        text(self.referer.as_ref())
    }

    /// `User-Agent`; empty if there is none.
    pub fn user_agent(&self) -> Cow<'_, str> {
        text(self.user_agent.as_ref())
    }

    /// Path and query.
    pub fn path_and_query(&self) -> &str {
        self.target.path_and_query().map_or("", |target| target.as_str())
    }

    /// The protocol and its version, such as `HTTP/1.1`.
    pub fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }
}

/// A target with a mask for the value of a parameter; `None` if it does not have it.
fn masked_target(target: &Uri, name: &str) -> Option<Uri> {
    let query = query::masked(target.query()?.as_bytes(), name)?;
    let mut parts = target.clone().into_parts();
    let masked = [target.path().as_bytes(), b"?", &query].concat();
    // What cannot be shown with a mask is shown without its query.
    let path = || PathAndQuery::try_from(target.path()).ok();
    parts.path_and_query = PathAndQuery::try_from(masked).ok().or_else(path);
    Uri::from_parts(parts).ok().or_else(|| Some(Uri::default()))
}

/// The same of a URL.
fn masked_url(url: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let at = memchr::memchr(b'?', url.as_bytes())?;
    let (before, query) = url.as_bytes().split_at(at + 1);
    let masked = [before, &query::masked(query, name)?].concat();
    Some(HeaderValue::from_bytes(&masked).unwrap_or_else(|_| HeaderValue::from_static("")))
}

fn text(field: Option<&HeaderValue>) -> Cow<'_, str> {
    let bytes = field.map_or(&b""[..], HeaderValue::as_bytes);
    // Almost every field is UTF-8, and `from_utf8_lossy` takes more than twice as long to find that out.
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

impl UpstreamError {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 11] = [
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
