//! Who a client is: by its address, or through proxies that are trusted.

use serde_json::Value;

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::get;

const LIMIT: &str = "[limits.l]\nrate = \"1/h\"\n---\n---\nlimits = [\"l\"]";

/// A gateway that believes its peer, with a limit of one request for each client.
fn behind_a_proxy() -> (Gateway, mock_backend::MockBackend) {
    forwarding(&format!("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\n{LIMIT}"))
}

/// What the upstream received in a field.
fn received<'a>(echo: &'a Value, name: &str) -> Option<&'a str> {
    let fields = echo["headers"].as_array().unwrap();
    let mut values = fields.iter().filter(|field| field[0] == name).map(|field| field[1].as_str().unwrap());
    values.next().filter(|_| values.next().is_none())
}

#[test]
fn an_untrusted_peer_cannot_claim_to_be_another() {
    let (gateway, _backend) = forwarding(LIMIT);
    assert_eq!(gateway.get_with("/users", &[("X-Forwarded-For", "1.1.1.1")]).status, 200);
    for claim in ["2.2.2.2", "127.0.0.1", "unknown"] {
        assert_eq!(gateway.get_with("/users", &[("X-Forwarded-For", claim)]).status, 429);
        assert_eq!(gateway.get_with("/users", &[("Forwarded", &format!("for={claim}"))]).status, 429);
    }
    assert!(gateway.access_log(7).iter().all(|line| line["client"] == "127.0.0.1"));
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let (gateway, _backend) = behind_a_proxy();
    let mut connection = gateway.connect();
    let mut ask = |name: &str, value: &str| connection.get_with("/users", &[(name, value)]).status;
    assert_eq!(ask("X-Forwarded-For", "203.0.113.1"), 200);
    assert_eq!(ask("X-Forwarded-For", "203.0.113.2"), 200);
    // What stands left of the nearest untrusted address is hearsay.
    assert_eq!(ask("X-Forwarded-For", "6.6.6.6, 203.0.113.1"), 429);
    assert_eq!(ask("X-Forwarded-For", "203.0.113.1, 10.1.2.3"), 429);
    assert_eq!(ask("Forwarded", "for=6.6.6.6, for=203.0.113.2;proto=https"), 429);
    // An address that is none is somebody, but nobody who has an address.
    assert_eq!(ask("X-Forwarded-For", "203.0.113.1, garbage"), 200);
    assert_eq!(ask("X-Forwarded-For", "203.0.113.99, garbage"), 429);
    let clients: Vec<_> = gateway.access_log(7).iter().map(|line| line["client"].clone()).collect();
    assert_eq!(clients[2], "203.0.113.1");
    assert_eq!(clients[4], "203.0.113.2");
    assert_eq!(clients[6], "garbage");
}

#[test]
fn a_client_cannot_become_its_proxy() {
    let limit = "[limits.l]\nrate = \"1/h\"\nexempt = [\"127.0.0.0/8\"]\n[limits.l.overrides]\n\
                 \"127.0.0.1\" = \"unlimited\"\n---\n---\nlimits = [\"l\"]";
    let (gateway, backend) = forwarding(&format!("trusted_proxies = [\"127.0.0.1\"]\n{limit}"));
    let ask = |fields: &[(&str, &str)]| gateway.get_with("/users", fields);
    let own = ("X-Forwarded-For", "203.0.113.9");
    assert_eq!(ask(&[own]).status, 200);
    assert_eq!(ask(&[own]).status, 429);
    for forwarded in ["for=1.2.3.4", "for=127.0.0.1", "for=unknown", "proto=https", ""] {
        let answer = ask(&[own, ("Forwarded", forwarded)]);
        answer.is_problem(400);
        assert!(answer.text().contains("different clients"), "{}", answer.text());
    }
    assert_eq!(ask(&[own, ("Forwarded", "for=203.0.113.9")]).status, 429);
    assert_eq!(backend.count(), 1);
    // Who is not named is unknown, whatever the number of its port.
    assert_eq!(ask(&[("X-Forwarded-For", "")]).status, 200);
    for fields in [
        [("X-Forwarded-For", " , ")],
        [("X-Forwarded-For", "unknown")],
        [("Forwarded", "for=\"unknown:4711\"")],
        [("Forwarded", "proto=https")],
    ] {
        assert_eq!(ask(&fields).status, 429, "{fields:?}");
    }
    // The proxy itself, of which nobody says anything, is who it is.
    assert_eq!([ask(&[]).status, ask(&[]).status], [200, 200]);
    gateway.metric_becomes(r#"gateway_requests_total{code="400",method="GET",route=""}"#, 5.0);
    // Connections end on several threads, so that the lines may come in another order than the requests.
    let lines = gateway.access_log(15);
    let refused: Vec<_> =
        lines.iter().filter(|line| line["status"] == 400).map(|line| &line["client"]).collect();
    assert_eq!(refused, ["127.0.0.1"; 5]);
}

#[test]
fn an_ipv6_client_is_its_network() {
    let (gateway, _backend) = behind_a_proxy();
    let ask = |client: &str| gateway.get_with("/users", &[("X-Forwarded-For", client)]).status;
    assert_eq!(ask("2001:db8::1"), 200);
    assert_eq!(ask("2001:db8::ffff:2"), 429);
    assert_eq!(ask("[2001:db8:0:0:1::]:4711"), 429);
    assert_eq!(ask("2001:db8:0:1::1"), 200);
    assert_eq!(ask("::ffff:203.0.113.1"), 200);
    assert_eq!(ask("203.0.113.1"), 429);
}

#[test]
fn what_a_trusted_proxy_says_goes_on_upstream() {
    let (gateway, _backend) = forwarding("trusted_proxies = [\"127.0.0.1\"]");
    let fields = [
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "shop.example"),
        ("X-Request-Id", "from-the-edge"),
    ];
    let response = gateway.get_with("/echo", &fields);
    let echo = response.json();
    assert_eq!(received(&echo, "x-forwarded-for"), Some("6.6.6.6, 203.0.113.1, 127.0.0.1"));
    assert_eq!(received(&echo, "x-forwarded-proto"), Some("https"));
    assert_eq!(received(&echo, "x-forwarded-host"), Some("shop.example"));
    assert_eq!(received(&echo, "x-request-id"), Some("from-the-edge"));
    assert_eq!(response.header("x-request-id"), Some("from-the-edge"));
    let log = gateway.access_log(1);
    assert_eq!((&log[0]["request_id"], &log[0]["client"]), (&"from-the-edge".into(), &"203.0.113.1".into()));
    // An id that could do harm in a log is replaced, whoever sent it.
    let response = gateway.get_with("/echo", &[("X-Request-Id", "a b")]);
    assert_eq!(response.header("x-request-id").map(str::len), Some(32));
}

#[test]
fn a_gateway_listens_on_ipv6_and_takes_both_kinds_of_client() {
    let backend = mock_backend::MockBackend::start_blocking().unwrap();
    let config = crate::support::to_upstream(backend.addr(), LIMIT);
    let gateway = Gateway::listening_on("[::]:0", &config);
    let port = gateway.address().port();
    assert_eq!(get(([127, 0, 0, 1], port).into(), "/users", &[]).status, 200);
    assert_eq!(get(([127, 0, 0, 1], port).into(), "/users", &[]).status, 429);
    assert_eq!(get((std::net::Ipv6Addr::LOCALHOST, port).into(), "/users", &[]).status, 200);
    let mut clients: Vec<_> = gateway.access_log(3).iter().map(|line| line["client"].to_string()).collect();
    clients.sort();
    assert_eq!(clients, ["\"127.0.0.1\"", "\"127.0.0.1\"", "\"::1\""]);
}

#[test]
fn one_field_of_a_trusted_proxy_names_the_client() {
    let settings = "trusted_proxies = [\"127.0.0.1\"]\nclient_ip_header = \"X-Real-IP\"";
    let (gateway, _backend) = forwarding(settings);
    let fields = [("X-Real-IP", "203.0.113.1"), ("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=7.7.7.7")];
    let echo = gateway.get_with("/echo", &fields).json();
    assert_eq!(received(&echo, "x-real-ip"), Some("203.0.113.1"));
    assert_eq!(received(&echo, "x-forwarded-for"), Some("6.6.6.6, 127.0.0.1"));
    let echo = gateway.get_with("/echo", &fields[..1]).json();
    assert_eq!(received(&echo, "x-forwarded-for"), Some("203.0.113.1, 127.0.0.1"));
    let refused = gateway.get_with("/echo", &[("X-Real-IP", "203.0.113.1"), ("X-Real-IP", "203.0.113.2")]);
    refused.is_problem(400);
    // The lines of several connections may come in another order than the requests.
    let lines = gateway.access_log(3);
    let clients: Vec<_> =
        lines.iter().map(|line| (line["status"].as_u64(), line["client"].as_str())).collect();
    assert!(clients.contains(&(Some(400), Some("127.0.0.1"))), "{clients:?}");
    assert_eq!(
        clients.iter().filter(|&&line| line == (Some(200), Some("203.0.113.1"))).count(),
        2,
        "{clients:?}"
    );
}

#[test]
fn nobody_else_names_the_client_in_that_field() {
    let settings = "trusted_proxies = [\"10.0.0.0/8\"]\nclient_ip_header = \"CF-Connecting-IP\"\nunderscores_in_headers = true";
    let (gateway, _backend) = forwarding(settings);
    let fields = [("CF-Connecting-IP", "203.0.113.1"), ("cf_connecting_ip", "203.0.113.1"), ("X-Other", "1")];
    let echo = gateway.get_with("/echo", &fields).json();
    assert_eq!(received(&echo, "x-other"), Some("1"));
    let names = echo["headers"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap());
    assert!(!names.into_iter().any(|name| name.starts_with("cf")), "{echo}");
    assert_eq!(gateway.access_log(1)[0]["client"], "127.0.0.1");
}
