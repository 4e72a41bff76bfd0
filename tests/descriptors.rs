//! A process that runs out of descriptors: nobody else is blamed for it.

use crate::support::gateway::Gateway;
use crate::support::http::Connection;
use crate::support::upstream::RawUpstream;
use crate::support::{eventually, to_upstream};

/// Few enough to be used up by a test.
const DESCRIPTORS: usize = 64;

const SETTINGS: &str = "---
outlier = { consecutive_failures = 1, eject_for = \"1h\" }
health = { path = \"/health\", interval = \"20ms\", unhealthy_after = 1 }";

/// A server that closes each connection after its answer, so that the next request needs another one.
fn upstream() -> RawUpstream {
    RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

#[test]
fn a_gateway_without_descriptors_blames_no_server() {
    let upstream = upstream();
    let gateway = Gateway::with_descriptors(DESCRIPTORS, &to_upstream(upstream.address(), SETTINGS));
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    // Those that are not accepted any more wait, and are accepted as soon as anything is free.
    let idle: Vec<_> = (0..DESCRIPTORS).map(|_| Connection::open(gateway.address())).collect();
    gateway.wait_for_log_line("accepts no connections for a moment");
    gateway.wait_for_log_line("its servers cannot be checked just now");
    for client in &mut clients {
        // A check that has just ended leaves a descriptor for a moment.
        let refused = eventually("nothing is left", || {
            let response = client.get("/");
            (response.status != 200).then_some(response)
        });
        refused.is_problem(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    drop(idle);
    // The very next one is answered: nothing was noted against the server.
    assert_eq!(gateway.get("/").status, 200);
    let errors = |kind: &str| {
        gateway.metric(&format!(r#"gateway_upstream_errors_total{{kind="{kind}",upstream="main"}}"#))
    };
    assert_eq!((errors("local"), errors("bad_response"), errors("connect")), (4.0, 0.0, 0.0));
    let log = gateway.log();
    for blame in ["unhealthy", "gets no requests"] {
        assert!(!log.contains(blame), "{blame}");
    }
}
