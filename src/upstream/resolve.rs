//! Resolves the names of servers at intervals, so that no request waits for that.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Address, Upstream, known_address};
use crate::config::{ServerAddress, UpstreamServer};

/// How often a name is looked up. The system's resolver does not tell the TTL of an answer.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often a name is looked up that has no address yet.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// How long one look-up may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Upstream {
    /// Looks up the names of its servers once, all at the same time. Names that are not found are looked up again by
    /// [`look_after`](super::look_after).
    pub async fn find_servers(self: &Arc<Self>) {
        let mut names = JoinSet::new();
        for (index, server) in self.config.servers.iter().enumerate() {
            if known_address(server).is_none() {
                let upstream = self.clone();
                names.spawn(async move {
                    if let Ok(found) = look_up(&upstream.config.servers[index]).await {
                        upstream.note_addresses(index, &found);
                    }
                });
            }
        }
        names.join_all().await;
    }

    /// Looks up the names of its servers at intervals, each in a task of its own, so that one that hangs does not delay others.
    /// A name that stops resolving keeps the addresses that it had.
    pub(super) async fn keep_resolved(self: &Arc<Self>) {
        let mut names = JoinSet::new();
        for (server, config) in self.config.servers.iter().enumerate() {
            if known_address(config).is_none() {
                let upstream = self.clone();
                names.spawn(async move { upstream.keep_server_resolved(server).await });
            }
        }
        names.join_all().await;
    }

    async fn keep_server_resolved(&self, index: usize) {
        let server = &self.config.servers[index];
        let mut failing = false;
        loop {
            match look_up(server).await {
                Ok(found) => {
                    failing = false;
                    self.note_addresses(index, &found);
                }
                Err(error) => {
                    if !failing {
                        warn!("upstream {:?}: cannot resolve {:?}: {error}", self.name(), server.host());
                    }
                    failing = true;
                }
            }
            let unresolved = self.pool.load().addresses(index).next().is_none();
            sleep(if unresolved { FIRST_INTERVAL } else { INTERVAL }).await;
        }
    }

    fn note_addresses(&self, index: usize, found: &[Address]) {
        if !self.pool.load().addresses(index).eq(found.iter().cloned()) {
            let addresses = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            info!("upstream {:?}: {} is at [{addresses}]", self.name(), self.config.servers[index]);
            self.set_addresses(index, found);
        }
    }
}

/// The addresses of a server, at least one.
async fn look_up(server: &UpstreamServer) -> io::Result<Vec<Address>> {
    if let Some(address) = known_address(server) {
        return Ok(vec![address]);
    }
    let ServerAddress::Network { host, port } = &server.address else { return Ok(Vec::new()) };
    let mut found: Vec<_> = timeout(PATIENCE, lookup_host((&**host, *port))).await??.collect();
    found.sort_unstable();
    found.dedup();
    match found.is_empty() {
        true => Err(io::Error::other("the name has no address")),
        false => Ok(found.into_iter().map(Address::from).collect()),
    }
}
