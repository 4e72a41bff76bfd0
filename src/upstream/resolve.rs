//! Names of servers, looked up again and again, away from the requests.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::{Server, Upstream};

/// How often names are looked up. The system's resolver does not tell how long an answer holds.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often a name is looked up that has no address yet.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// How long one look-up may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks up the names of all servers, and then again for ever. A name that stops resolving keeps the
/// addresses it had.
pub async fn keep_resolved(upstreams: Arc<[Upstream]>) {
    let named = |server: &&Server| server.host.parse::<IpAddr>().is_err();
    if !upstreams.iter().flat_map(|upstream| &upstream.servers).any(|server| named(&server)) {
        return;
    }
    let mut failing = false;
    loop {
        let mut complete = true;
        for upstream in upstreams.iter() {
            for server in upstream.servers.iter().filter(named) {
                if let Err(error) = server.resolve().await {
                    complete = false;
                    if !failing {
                        warn!("upstream {:?}: cannot resolve {:?}: {error}", upstream.name, server.host);
                    }
                }
            }
        }
        failing = !complete;
        let waiting = upstreams.iter().any(|upstream| upstream.unresolved().next().is_some());
        sleep(if waiting { FIRST_INTERVAL } else { INTERVAL }).await;
    }
}

impl Server {
    async fn resolve(&self) -> std::io::Result<()> {
        let lookup = timeout(PATIENCE, lookup_host((self.host.as_str(), self.port)));
        let mut found: Vec<SocketAddr> = lookup.await??.collect();
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(std::io::Error::other("the name has no address"));
        }
        if **self.addresses.load() != found {
            info!("{}:{} is at {found:?}", self.host, self.port);
            self.addresses.store(Arc::new(found));
        }
        Ok(())
    }
}
