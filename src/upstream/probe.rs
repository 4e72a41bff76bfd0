//! One health check: a request, and whether its answer is as the configuration says.

use http::{Method, StatusCode, Uri, header};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _, Result};

use crate::config::Health;

/// The `User-Agent` of health checks.
const USER_AGENT: &str = concat!("gateway/", env!("CARGO_PKG_VERSION"), " (health check)");

/// How much of a body is read.
const MOST: usize = 64 << 10;

/// The answer of a server.
pub(super) struct Answer {
    status: StatusCode,
    /// The beginning of its body, where the configuration says what the body must contain.
    body: Vec<u8>,
}

impl Answer {
    /// What is wrong with it, if anything is.
    pub(super) fn fault(&self, health: &Health) -> Option<String> {
        let expected = match health.statuses.is_empty() {
            true => self.status.is_success() || self.status.is_redirection(),
            false => health.statuses.contains(&self.status),
        };
        if !expected {
            return Some(format!("status {}", self.status.as_u16()));
        }
        let wanted = health.body.as_bytes();
        let found = wanted.is_empty() || self.body.windows(wanted.len()).any(|piece| piece == wanted);
        (!found).then(|| format!("{:?} is not in its answer", health.body))
    }
}

/// Sends the request of a check, with this `host`.
pub(super) async fn ask(
    connector: &Connector,
    peer: &HttpPeer,
    host: &str,
    health: &Health,
) -> Result<Answer> {
    let mut request = RequestHeader::build(health.method.clone(), health.path.as_bytes(), None)?;
    request.insert_header(header::HOST, host)?;
    request.insert_header(header::USER_AGENT, USER_AGENT)?;
    let (mut session, _) = connector.get_http_session(peer).await?;
    match session {
        HttpSession::H2(_) => {
            let scheme = if peer.is_tls() { "https" } else { "http" };
            let uri = Uri::try_from(format!("{scheme}://{host}{}", health.path));
            request.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "not the URI of a server")?);
        }
        _ => {
            request.insert_header(header::CONNECTION, "close")?;
            if matches!(health.method, Method::POST | Method::PUT | Method::PATCH) {
                request.insert_header(header::CONTENT_LENGTH, "0")?;
            }
        }
    }
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    let status = loop {
        session.read_response_header().await?;
        let status = session.response_header().map(|response| response.status);
        let status =
            status.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "an answer without a head"))?;
        // The final answer is still to come (RFC 9110, section 15.2).
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            break status;
        }
    };
    let mut answer = Answer { status, body: Vec::new() };
    while !health.body.is_empty() && answer.body.len() < MOST && answer.fault(health).is_some() {
        let Some(piece) = session.read_response_body().await? else { break };
        answer.body.extend_from_slice(&piece[..piece.len().min(MOST - answer.body.len())]);
    }
    Ok(answer)
}
