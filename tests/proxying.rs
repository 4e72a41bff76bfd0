//! What passes through the gateway, and how.

use crate::support::gateway::Gateway;
use mock_backend::MockBackend;

/// A gateway in front of a mock backend, everything forwarded.
fn forwarding() -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let config = format!(
        r#"
        [upstreams.mock]
        servers = ["{}"]
        [[routes]]
        name = "all"
        path = "/*"
        upstream = "mock"
        "#,
        backend.addr()
    );
    (Gateway::start(&config), backend)
}

#[test]
fn a_request_is_forwarded_and_its_answer_comes_back() {
    let (gateway, backend) = forwarding();
    let response = gateway.get("/users");
    assert_eq!(response.status, 200);
    assert!(response.json().is_array());
    assert_eq!(response.header("server"), Some("gateway"));
    assert_eq!(backend.count(), 1);
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 1.0);
}
