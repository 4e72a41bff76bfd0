//! Connections to upstreams by worker: each worker thread uses those again that it has opened itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::gateway::Gateway;
use crate::support::to_upstream;
use crate::support::upstream::RawUpstream;

/// An upstream that answers each request with the number of the connection on which it came.
fn numbering() -> RawUpstream {
    let connections = AtomicUsize::new(0);
    RawUpstream::start(move |exchange| {
        let number = connections.fetch_add(1, Ordering::SeqCst);
        while exchange.read_head() {
            exchange.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
        }
    })
}

#[test]
fn a_worker_uses_its_own_connections_again() {
    let upstream = numbering();
    // It has two workers, which take connections of clients in turn.
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut clients = [gateway.connect(), gateway.connect()];
    for _ in 0..10 {
        let numbers = clients.each_mut().map(|client| client.get("/").text());
        assert_eq!(numbers, ["0", "1"]);
    }
}
