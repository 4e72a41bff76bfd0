//! The head that the upstream would receive.

use std::convert::Infallible;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use super::explanation::{Field, Sent};
use super::question::Question;
use crate::config::Route;
use crate::consumer::Consumer;
use crate::engine::{Engine, Forward, Peer, Sender};
use crate::trace::TraceContext;
use crate::upstream_head::{Head, Known, TracePlace, given_request_id, prepare};

/// What is shown instead of a value that the configuration sets, which may be a secret.
const HIDDEN: &str = "***";

/// How fields are spelt in HTTP/1 that are added.
const TITLED: [&str; 4] = ["Connection", "Content-Length", "Transfer-Encoding", "Upgrade"];

/// Fields that concern one connection: Pingora takes them from every request over HTTP/1 (`sanitize_h1_upstream_request`).
const HOP_BY_HOP: [HeaderName; 10] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// A head that is only shown.
struct ShownHead<'a> {
    method: &'a Method,
    version: Version,
    target: Vec<u8>,
    headers: HeaderMap,
    spelt: Vec<String>,
}

impl Head for ShownHead<'_> {
    type Error = Infallible;

    fn method(&self) -> &Method {
        self.method
    }

    fn version(&self) -> Version {
        self.version
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn set_target(&mut self, target: &[u8]) -> Result<(), Infallible> {
        target.clone_into(&mut self.target);
        Ok(())
    }

    fn insert(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Infallible> {
        self.headers.insert(name, value);
        Ok(())
    }

    fn insert_spelt(&mut self, name: &'static str, value: HeaderValue) -> Result<(), Infallible> {
        self.spelt.insert(0, name.to_owned());
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            self.headers.insert(name, value);
        }
        Ok(())
    }

    fn remove(&mut self, name: &HeaderName) {
        self.headers.remove(name);
    }
}

/// The head that the upstream receives. `headers` are the fields that the door has left. Values that the configuration sets are
/// shown if `plainly`.
pub(super) fn sent(
    question: &Question,
    mut headers: HeaderMap,
    (sender, consumer): (&Sender, Option<&Consumer>),
    forward: &Forward,
    route: &Route,
    engine: &Engine,
    plainly: bool,
) -> Sent {
    let config = engine.config();
    let upstream = &config.upstreams[forward.upstream];
    let chunked = headers.contains_key(header::TRANSFER_ENCODING);
    let websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let upgrades = !upstream.http2 && headers.get(header::UPGRADE).is_some_and(websocket);
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    if upgrades {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let address = question.peer.ip().to_canonical().to_string();
    let known = Known {
        peer: Peer::at(question.peer),
        peer_text: HeaderValue::try_from(address).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        tls: question.tls,
        sender,
        takes_http2_trailers: false,
        bodiless: !chunked && headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0"),
        request_id: given_request_id(&question.headers, sender.peer_is_trusted())
            .cloned()
            .unwrap_or_else(|| HeaderValue::from_static("(a new one)")),
        trace: config.tracing.as_ref().map(|_| trace_place(&headers)),
        consumer,
        told: None,
        server: None,
        sticky: upstream.sticky.as_ref(),
    };
    let mut head = ShownHead {
        method: &question.method,
        version: if upstream.http2 { Version::HTTP_2 } else { Version::HTTP_11 },
        target: question.target.clone().into_bytes(),
        headers,
        spelt: question.spelt.clone(),
    };
    let Ok(()) = prepare(&mut head, known, forward.target.as_deref(), route, engine);
    if chunked && !upstream.http2 {
        head.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let set = &route.request_headers.set;
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        let hidden = !plainly && set.iter().any(|(set, _)| set == name);
        let spelt = head.spelt.iter().map(String::as_str).chain(TITLED);
        let spelt = spelt.filter(|_| !upstream.http2).find(|spelt| spelt.eq_ignore_ascii_case(name.as_str()));
        Field {
            name: spelt.unwrap_or(name.as_str()).to_owned(),
            value: if hidden {
                HIDDEN.to_owned()
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            },
        }
    };
    Sent {
        method: question.method.to_string(),
        target: engine.shown_target(&String::from_utf8_lossy(&head.target)).into_owned(),
        version: if upstream.http2 { "HTTP/2" } else { "HTTP/1.1" },
        fields: head.headers.iter().map(field).collect(),
    }
}

/// The place of a request in its trace, as far as it is known before it comes.
fn trace_place(headers: &HeaderMap) -> TracePlace {
    let given = TraceContext::of(headers);
    let text = match given {
        Some(TraceContext { trace_id, .. }) => format!("00-{trace_id:032x}-(a new span)"),
        None => "00-(a new trace)".to_owned(),
    };
    TracePlace {
        traceparent: HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")),
        is_continued: given.is_some(),
    }
}
