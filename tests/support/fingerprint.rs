//! Fingerprints of clients, for tests of the tables that are found by them.

use gateway::client::ClientId;
use gateway::limit::key::{Fingerprint, Inputs, Key, KeyPart, MissingKey, Secret};
use http::{HeaderMap, Method};

/// The fingerprint of a client of this name.
pub(crate) fn fingerprint(client: &str) -> Fingerprint {
    let key = Key { parts: vec![KeyPart::ClientIp], missing: MissingKey::Shared, ipv6_prefix: 64 };
    let inputs = Inputs {
        client: &ClientId::Opaque(client.to_owned()),
        caller: None,
        method: &Method::GET,
        host: "",
        path: "/",
        query: None,
        route: "",
        headers: &HeaderMap::new(),
    };
    // One secret for all, so that the same client has the same fingerprint.
    thread_local!(static SECRET: Secret = Secret::random());
    SECRET.with(|secret| key.fingerprint(&inputs, secret)).unwrap()
}
