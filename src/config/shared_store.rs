//! `[limiter.shared]`: the store in which several gateways keep limits together.

use std::fmt;
use std::time::Duration;

/// A store of limits, and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedStore {
    /// What stands at the URLs.
    pub kind: StoreKind,
    /// The URLs, each of which the client of the store can parse; at least one. They may have a user and a password in them.
    pub urls: Vec<String>,
    /// The authorities, in PEM, of whom one vouches for the store; `None` leaves that to those of the system.
    pub ca: Option<Vec<u8>>,
    /// The secret under which the keys of clients are hashed, the same in all gateways; at least 16 characters.
    pub secret: String,
    /// What every key in the store begins with.
    pub prefix: String,
    /// The longest that a request waits for the store.
    pub timeout: Duration,
    /// How long tokens are held ahead.
    pub lease_time: Duration,
}

/// What stands at the URLs of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// One server.
    Single,
    /// Sentinels, which know the master that has this name.
    Sentinel(String),
    /// Nodes of a Cluster.
    Cluster,
}

impl fmt::Debug for SharedStore {
    /// Without the secret and the URLs, which may have a password in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStore")
            .field("kind", &self.kind)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("lease_time", &self.lease_time)
            .finish_non_exhaustive()
    }
}
