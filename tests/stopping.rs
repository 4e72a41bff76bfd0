//! The way out: what is running is finished, nothing new is begun, and then the process ends.

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};

/// A client whose request is being answered, and will be until it reads on.
fn with_a_request_running(gateway: &Gateway, target: &str) -> Connection {
    let mut connection = gateway.connect();
    connection.send(request("GET", target, &[], ""));
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
    connection
}

#[test]
fn an_idle_gateway_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let (mut gateway, _backend) = forwarding("");
        let mut idle = gateway.connect();
        assert_eq!(idle.get("/users").status, 200);
        gateway.signal(signal);
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
        assert!(idle.is_closed());
    }
}

#[test]
fn a_request_that_is_running_is_finished() {
    let (mut gateway, _backend) = forwarding("");
    let mut running = with_a_request_running(&gateway, "/users?delay=1s");
    gateway.signal("TERM");
    gateway.wait_for_log("draining");
    let ready = gateway.admin_get("/ready");
    assert_eq!((ready.status, ready.text().as_str()), (503, "draining\n"));
    assert_eq!(gateway.admin_get("/health").status, 200);
    assert_eq!(gateway.metric(r#"gateway_requests_in_flight{route="all"}"#), 1.0);
    let response = running.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(running.is_closed());
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(gateway.access_log(1)[0]["status"], 200);
}

#[test]
fn new_connections_are_refused_while_draining() {
    let (mut gateway, _backend) = forwarding("");
    let mut running = with_a_request_running(&gateway, "/users?delay=1s");
    gateway.signal("TERM");
    gateway.wait_for_log("draining");
    crate::support::eventually("connections are refused", || {
        std::net::TcpStream::connect(gateway.address()).is_err().then_some(())
    });
    assert_eq!(running.response().status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_reload_that_comes_too_late_is_told_so() {
    let backend = mock_backend::MockBackend::start_blocking().unwrap();
    let config = crate::support::to_upstream(backend.addr(), "");
    let mut gateway = Gateway::start_with_admin(&config, "token = \"t\"");
    let mut running = with_a_request_running(&gateway, "/users?delay=1s");
    gateway.signal("TERM");
    gateway.wait_for_log("draining");
    assert_eq!(gateway.post_reload(&crate::support::gateway::TOKEN).status, 503);
    assert_eq!(running.response().status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_drain_waits_no_longer_than_the_config_says() {
    let (mut gateway, _backend) = forwarding("drain_timeout = \"200ms\"");
    let mut running = with_a_request_running(&gateway, "/sse?interval=10ms");
    assert_eq!(running.response_head().status, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().contains("cut off"), "{}", gateway.log());
    running.rest();
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let (mut gateway, _backend) = forwarding("drain_timeout = \"1h\"");
    let _running = with_a_request_running(&gateway, "/sse?interval=10ms");
    gateway.signal("INT");
    gateway.wait_for_log("draining");
    gateway.signal("INT");
    assert_eq!(gateway.wait().code(), Some(130));
}
