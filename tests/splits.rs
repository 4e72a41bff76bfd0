//! Shares of the traffic: which of several upstreams a request goes to, and what is said of it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};

use mock_backend::MockBackend;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::Response;
use crate::support::upstream::dead_address;
use crate::support::{converse, http2};

const BY_CLIENT: &str = "split_by = \"client_ip\"";
const BY_TENANT: &str = "split_by = \"header:X-Tenant\"";
const EVEN: &str = "{ stable = 1, canary = 1 }";

/// A server of the upstream `stable` and one of `canary`, which say so in `X-Backend`.
fn two() -> [MockBackend; 2] {
    ["stable", "canary"].map(|name| MockBackend::builder().name(name).start_blocking().unwrap())
}

fn addresses(backends: &[MockBackend; 2]) -> [SocketAddr; 2] {
    backends.each_ref().map(MockBackend::addr)
}

/// A configuration of these two upstreams, with this `upstream` and another setting of the route.
fn config([stable, canary]: [SocketAddr; 2], shares: &str, of_route: &str) -> String {
    format!(
        r#"
        trusted_proxies = ["127.0.0.0/8"]
        [upstreams.stable]
        servers = ["{stable}"]
        [upstreams.canary]
        servers = ["{canary}"]
        [[routes]]
        name = "all"
        path = "/*"
        upstream = {shares}
        {of_route}
        "#
    )
}

fn start(config: &str) -> Gateway {
    Gateway::start_with_admin(config, "token = \"t\"")
}

#[track_caller]
fn reload(gateway: &Gateway, config: &str) {
    gateway.write_file(&with_admin(config, "token = \"t\""));
    let response = gateway.post_reload(&TOKEN);
    assert_eq!(response.status, 200, "{}", response.text());
}

#[track_caller]
fn upstream_of(response: &Response) -> String {
    assert_eq!(response.status, 200);
    response.header("x-backend").unwrap().to_owned()
}

/// The upstream of each of many clients, in one connection of a trusted proxy.
fn upstreams_of_clients(gateway: &Gateway, fields: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut connection = gateway.connect();
    let clients = (0..2).flat_map(|network| (0..250).map(move |host| format!("198.51.{network}.{host}")));
    clients
        .map(|client| {
            let fields = [&[("X-Forwarded-For", client.as_str())], fields].concat();
            let upstream = upstream_of(&connection.get_with("/echo", &fields));
            (client, upstream)
        })
        .collect()
}

#[test]
fn a_client_stays_where_it_is_and_a_growing_share_only_takes() {
    let backends = two();
    let gateway = start(&config(addresses(&backends), "{ stable = 95, canary = 5 }", BY_CLIENT));
    let before = upstreams_of_clients(&gateway, &[]);
    // A cookie does not change it.
    assert_eq!(upstreams_of_clients(&gateway, &[("Cookie", "a=b")]), before);
    let canaries = |all: &BTreeMap<String, String>| all.values().filter(|name| *name == "canary").count();
    // The hash is fixed, so these are the same in every run.
    assert!((12..40).contains(&canaries(&before)), "{}", canaries(&before));
    // Another gateway agrees, whatever the order of the upstreams.
    let other = start(&config(addresses(&backends), "{ canary = 5, stable = 95 }", BY_CLIENT));
    assert_eq!(upstreams_of_clients(&other, &[]), before);
    reload(&gateway, &config(addresses(&backends), "{ stable = 90, canary = 10 }", BY_CLIENT));
    let after = upstreams_of_clients(&gateway, &[]);
    assert!((30..70).contains(&canaries(&after)), "{}", canaries(&after));
    let moved = before.iter().filter(|(client, upstream)| after[*client] != **upstream);
    assert!(moved.clone().all(|(_, upstream)| upstream == "stable") && moved.count() > 5);
    reload(&gateway, &config(addresses(&backends), "{ stable = 1, canary = 0 }", BY_CLIENT));
    assert_eq!(canaries(&upstreams_of_clients(&gateway, &[])), 0);
}

#[test]
fn without_a_key_chance_decides_about_every_request() {
    let backends = two();
    let gateway = start(&config(addresses(&backends), "{ stable = 80, canary = 20 }", ""));
    let mut connection = gateway.connect();
    let names = (0..2000).map(|_| upstream_of(&connection.get("/echo")));
    let canaries = names.filter(|name| name == "canary").count();
    // The mean, and eight standard deviations.
    assert!((400 - 143..=400 + 143).contains(&canaries), "{canaries}");
}

#[test]
fn what_is_told_of_a_request_is_the_upstream_that_it_went_to() {
    let backends = two();
    let gateway = start(&config(addresses(&backends), EVEN, BY_TENANT));
    for tenant in 0..20 {
        let (client, tenant) = (format!("198.51.100.{tenant}"), format!("t{tenant}"));
        let fields = [("X-Forwarded-For", &*client), ("X-Tenant", &*tenant)];
        let went = upstream_of(&gateway.get_with("/echo", &fields));
        let explained = gateway.admin_get(&format!("/explain?url=/echo&header=X-Tenant:{tenant}")).json();
        assert_eq!(explained["upstream"]["name"], *went, "{explained}");
        let shares = explained["upstream"]["shares"].as_str().unwrap();
        assert!(
            shares.starts_with("of \"stable\" 50 %, \"canary\" 50 %: the same one for every"),
            "{shares}"
        );
    }
    let log = gateway.access_log(20);
    for (index, backend) in backends.iter().enumerate() {
        let name = ["stable", "canary"][index];
        let address = backend.addr().to_string();
        let logged = log.iter().filter(|line| line["upstream"] == *address).count();
        assert!(logged > 3);
        assert_eq!(logged as u64, backend.count());
        let series =
            format!(r#"gateway_upstream_requests_total{{code="2xx",server="{address}",upstream="{name}"}}"#);
        gateway.metric_becomes(&series, logged as f64);
        let labels = format!(r#"server="{address}",upstream="{name}""#);
        for series in [
            format!(r#"gateway_upstream_duration_seconds_count{{upstream="{name}"}}"#),
            format!("gateway_upstream_request_duration_seconds_count{{{labels}}}"),
        ] {
            gateway.metric_becomes(&series, logged as f64);
        }
        let slow = format!("gateway_upstream_request_duration_seconds_sum{{{labels}}}");
        assert!(gateway.metric(&slow) > 0.0);
    }
}

#[test]
fn a_share_without_a_usable_server_is_not_sent_elsewhere() {
    let stable = MockBackend::start_blocking().unwrap();
    let (dead, _held) = dead_address();
    let config = |shares: &str| config([stable.addr(), dead], shares, BY_TENANT);
    let gateway = start(&config(EVEN));
    let mut statuses = BTreeMap::new();
    for tenant in 0..20 {
        let status = gateway.get_with("/echo", &[("X-Tenant", &format!("t{tenant}"))]).status;
        *statuses.entry(status).or_insert(0) += 1;
    }
    let answered = statuses.remove(&200).unwrap();
    assert_eq!(stable.count(), answered, "retries stay in the upstream, too");
    assert!(
        statuses.keys().all(|status| matches!(status, 502 | 503)) && !statuses.is_empty(),
        "{statuses:?}"
    );
    assert_eq!(gateway.admin_get("/ready").status, 503);
    // Drained, it does not matter.
    reload(&gateway, &config("{ stable = 1, canary = 0 }"));
    assert_eq!(gateway.admin_get("/ready").status, 200);
    assert!((0..20).all(|n| gateway.get_with("/echo", &[("X-Tenant", &format!("t{n}"))]).status == 200));
}

#[test]
fn upstreams_of_a_split_may_differ_in_all_they_speak() {
    let backends = two();
    let config = config(addresses(&backends), EVEN, BY_TENANT);
    let gateway = start(&config.replace("[upstreams.canary]", "[upstreams.canary]\nhttp2 = true"));
    // Clients of HTTP/1.1 and of HTTP/2 with the same tenant go to the same upstream.
    let mut client = http2::Connection::open(gateway.address());
    let mut seen = BTreeMap::new();
    for tenant in 0..12 {
        let tenant = format!("t{tenant}");
        let fields = [("x-tenant", &*tenant)];
        let over_http1 = upstream_of(&gateway.get_with("/echo", &fields));
        let over_http2 = client.send(http2::request("GET", "/echo", &fields), "");
        assert_eq!(over_http2.header("x-backend"), Some(&*over_http1));
        seen.insert(over_http1, tenant);
    }
    assert_eq!(seen.len(), 2);
    // A WebSocket goes where HTTP/1.1 is spoken.
    let url = format!("ws://{}/ws", gateway.address()).parse().unwrap();
    let request = tungstenite::ClientRequestBuilder::new(url).with_header("X-Tenant", &*seen["stable"]);
    let socket = TcpStream::connect(gateway.address()).unwrap();
    converse(tungstenite::client(request, socket).unwrap().0);
}
