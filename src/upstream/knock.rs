//! Whether a server that took no connection takes one again.
//!
//! Without this only the next request could tell, and there may be none: while no server can be used, `/ready` says so, and a load
//! balancer sends no requests.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use log::info;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use tokio::time::sleep;

use super::Upstream;
use super::endpoint::Endpoint;
use super::tls::NO_AUTHORITIES;

/// How often it is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// The size of the connector's pool. Each connection is closed at once, so nothing is taken from it.
const SPARE: usize = 1;

impl Upstream {
    /// Connects now and then to the servers that took no connection, as requests do, until they take one. It never ends.
    pub(super) async fn keep_knocking(&self) {
        let mut connector = None;
        loop {
            sleep(PAUSE).await;
            let pool = self.pool.load_full();
            let refusing: Vec<_> = pool.endpoints.iter().filter(|endpoint| endpoint.is_refusing()).collect();
            if refusing.is_empty() {
                continue;
            }
            let connector = connector.get_or_insert_with(|| {
                let mut options = ConnectorOptions::new(SPARE);
                options.ca_file = Some(NO_AUTHORITIES.to_owned());
                TransportConnector::new(Some(options))
            });
            join_all(refusing.into_iter().map(|endpoint| self.knock(connector, endpoint))).await;
        }
    }

    async fn knock(&self, connector: &TransportConnector, endpoint: &Arc<Endpoint>) {
        let Ok(peer) = self.peer_of(endpoint, self.connect_timeout()) else { return };
        if connector.new_stream(&*peer).await.is_ok() && endpoint.takes_connections() {
            info!("upstream {:?}, server {}: it takes connections again", self.name(), endpoint.address);
        }
    }
}
