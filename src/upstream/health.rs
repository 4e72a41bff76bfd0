//! Health checks: every address is asked again and again, whether or not there are requests for it.
//!
//! A check goes the way that requests go, on a connection of its own, and passes when it is answered in time with a
//! status from 200 to 399.

use std::sync::Arc;

use http::{StatusCode, Uri, header};
use log::{info, warn};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr as _, Result};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Upstream;
use super::endpoint::Endpoint;
use super::reason::reason;
use super::tls::NO_AUTHORITIES;
use crate::config::Health;

/// Connections that a connector would keep for other checks, of which there are none.
const SPARE: usize = 1;

/// What the checks call themselves.
const USER_AGENT: &str = concat!("gateway/", env!("CARGO_PKG_VERSION"), " (health check)");

impl Upstream {
    /// Checks its servers for ever, if that is wanted.
    pub(super) async fn keep_checked(&self) {
        let Some(health) = &self.config.health else { return };
        let mut options = ConnectorOptions::new(SPARE);
        options.ca_file = Some(NO_AUTHORITIES.to_owned());
        let connector = Arc::new(Connector::new(Some(options)));
        let mut rounds = interval(health.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let mut checks = JoinSet::new();
            for endpoint in &self.pool.load().endpoints {
                let (connector, endpoint, health) = (connector.clone(), endpoint.clone(), health.clone());
                let mut peer = self.peer(&endpoint, health.timeout);
                // Each check has its connection to itself.
                peer.options.max_h2_streams = 1;
                let host = self.config.servers[endpoint.server].to_string();
                checks.spawn(async move {
                    let check = ask(&connector, &peer, &host, &health.path);
                    let outcome = timeout(health.timeout, check).await.unwrap_or_else(|_| {
                        Err(Error::explain(ErrorType::ReadTimedout, "no answer in time"))
                    });
                    (endpoint, outcome)
                });
            }
            while let Some(check) = checks.join_next().await {
                // A check that panicked has said so already.
                if let Ok((endpoint, outcome)) = check {
                    self.note_check(&endpoint, outcome, health);
                }
            }
        }
    }
}

impl Upstream {
    fn note_check(&self, endpoint: &Endpoint, outcome: Result<StatusCode>, health: &Health) {
        let fault = match outcome {
            Ok(status) if status.is_success() || status.is_redirection() => None,
            Ok(status) => Some(format!("status {}", status.as_u16())),
            Err(error) => Some(reason(&error)),
        };
        if endpoint.checked(fault.is_none(), health) {
            let (name, address) = (self.name(), endpoint.address);
            match fault {
                Some(fault) => warn!("upstream {name:?}, server {address}: unhealthy: {fault}"),
                None => info!("upstream {name:?}, server {address}: healthy again, to be tried"),
            }
        }
    }
}

/// Asks a server, and says what status it answers with.
async fn ask(connector: &Connector, peer: &HttpPeer, host: &str, path: &str) -> Result<StatusCode> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    request.insert_header(header::HOST, host)?;
    request.insert_header(header::USER_AGENT, USER_AGENT)?;
    let (mut session, _) = connector.get_http_session(peer).await?;
    match session {
        HttpSession::H2(_) => {
            let scheme = if peer.is_tls() { "https" } else { "http" };
            let uri = Uri::try_from(format!("{scheme}://{host}{path}"));
            request.set_uri(uri.or_err(ErrorType::InvalidHTTPHeader, "not the URI of a server")?);
        }
        _ => request.insert_header(header::CONNECTION, "close")?,
    }
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let response = session.response_header();
    let status = response.map(|response| response.status);
    status.ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "an answer without a head"))
}
