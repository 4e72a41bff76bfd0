//! Limits whose cost depends on the answer.

use serde_json::json;

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::upstream::RawUpstream;
use crate::support::{eventually, to_upstream};

fn left(response: &Response) -> &str {
    response.header("ratelimit").unwrap()
}

#[test]
fn only_failures_use_up_a_limit_on_failures() {
    let limits = "[limits.logins]\nrate = \"1/h\"\nburst = 3\ncharge = \"on_failure\"";
    let (gateway, backend) = forwarding(&format!("{limits}\n---\n---\nlimits = [\"logins\"]"));
    let mut connection = gateway.connect();
    for path in ["/users", "/status/204", "/status/500", "/status/400"] {
        for _ in 0..5 {
            assert_eq!(left(&connection.get(path)), r#""logins";r=3"#, "{path} is no failure by default");
        }
    }
    for (status, rest) in
        [(401, r#""logins";r=2;t=3600"#), (403, r#""logins";r=1;t=3600"#), (404, r#""logins";r=0;t=3600"#)]
    {
        let failed = connection.get(&format!("/status/{status}"));
        assert_eq!((failed.status, left(&failed)), (status, rest));
    }
    let sent = backend.count();
    for path in ["/status/401", "/users"] {
        let refused = connection.get(path);
        refused.is_problem(429);
        assert_eq!(refused.header("retry-after"), Some("3600"));
    }
    assert_eq!(backend.count(), sent);
}

#[test]
fn a_list_says_what_a_failure_is() {
    let limits = "[limits.l]\nrate = \"1/h\"\nburst = 2\ncharge = \"on_failure\"\nfailures = [418, 500]";
    let (gateway, _backend) = forwarding(&format!("{limits}\n---\n---\nlimits = [\"l\"]"));
    let statuses =
        ["401", "418", "404", "500", "200"].map(|code| gateway.get(&format!("/status/{code}")).status);
    assert_eq!(statuses, [401, 418, 404, 500, 429]);
}

#[test]
fn guesses_that_come_at_once_are_no_more_than_the_burst() {
    let limits = "[limits.logins]\nrate = \"1/h\"\nburst = 3\ncharge = \"on_failure\"";
    let (gateway, backend) = forwarding(&format!("{limits}\n---\n---\nlimits = [\"logins\"]"));
    // None is answered before all have come.
    let mut guesses: Vec<_> = (0..6).map(|_| gateway.connect()).collect();
    for guess in &mut guesses {
        guess.send(request("GET", "/status/401?delay=300ms", &[], ""));
    }
    let mut statuses: Vec<_> = guesses.iter_mut().map(|guess| guess.response().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429]);
    assert_eq!(backend.count(), 3);
}

/// A gateway in front of a server that names this cost.
fn costing(cost: &'static str) -> (Gateway, RawUpstream) {
    let upstream = RawUpstream::start(move |exchange| {
        while exchange.read_head() {
            exchange.write(format!("HTTP/1.1 200 OK\r\nX-Cost: {cost}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let limits = "[limits.l]\nrate = \"1/h\"\nburst = 10\ncost = 2\ncost_header = \"X-Cost\"";
    let settings =
        format!("{limits}\n---\n---\nlimits = [\"l\"]\nresponse_headers = {{ remove = [\"X-Cost\"] }}");
    (Gateway::start(&to_upstream(upstream.address(), &settings)), upstream)
}

#[test]
fn the_upstream_names_what_a_request_costs() {
    for (cost, first) in
        [("1", "9;t=3600"), ("0", "10"), ("7", "3;t=3600"), ("2.5", "8;t=3600"), ("-1", "8;t=3600")]
    {
        let (gateway, _upstream) = costing(cost);
        let response = gateway.get("/");
        assert_eq!(left(&response), format!(r#""l";r={first}"#), "{cost}");
        assert_eq!(response.header("x-cost"), None, "what a route removes is read before");
    }
}

#[test]
fn a_cost_beyond_what_is_left_becomes_a_debt() {
    let (gateway, _upstream) = costing("15");
    assert_eq!(
        gateway.get("/").header("ratelimit"),
        Some(r#""l";r=0;t=21600"#),
        "five are owed, and then one"
    );
    let refused = gateway.get("/");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("25200")),
        "and another for the two"
    );
}

#[test]
fn an_upstream_cannot_price_a_client_out() {
    for (cost, tokens, kind) in [
        // The most is ten times the burst, unless the limit says otherwise.
        ("4294967295", -92, Some("too_large")),
        ("4294967296", -92, Some("too_large")),
        ("99999999999999999999999999", -92, Some("too_large")),
        ("100", -92, None),
        ("1\r\nX-Cost: 1", 6, Some("malformed")),
        ("-1", 6, Some("malformed")),
        ("+1", 6, Some("malformed")),
        ("", 6, Some("malformed")),
        ("1 1", 6, Some("malformed")),
    ] {
        let (gateway, _upstream) = costing(cost);
        assert_eq!(gateway.get("/").status, 200);
        let next = gateway.get("/");
        match tokens {
            6 => assert_eq!((next.status, left(&next)), (200, r#""l";r=6;t=3600"#), "{cost:?}"),
            _ => {
                let wait: u64 = next.header("retry-after").unwrap().parse().unwrap();
                assert_eq!((next.status, wait), (429, 3600 * 92), "{cost:?}");
            }
        }
        let of = |kind: &str| format!(r#"gateway_limit_cost_errors_total{{kind="{kind}",limit="l"}}"#);
        for other in ["malformed", "too_large"] {
            let requests = if other == "malformed" { 2.0 } else { 1.0 };
            gateway.metric_becomes(&of(other), if kind == Some(other) { requests } else { 0.0 });
        }
        if kind.is_some() {
            gateway.wait_for_log_line("names a cost that is");
            assert_eq!(gateway.log().matches("names a cost").count(), 1);
        }
    }
}

#[test]
fn who_leaves_before_the_cost_is_known_pays_that_of_the_limit() {
    let limits = "[limits.l]\nrate = \"1/h\"\nburst = 10\ncost = 4\ncost_header = \"X-Cost\"";
    let (gateway, backend) = forwarding(&format!("{limits}\n---\n---\nlimits = [\"l\"]"));
    let mut connection = gateway.connect();
    connection.send(request("GET", "/users?delay=30s", &[], ""));
    eventually("it is upstream", || (backend.count() == 1).then_some(()));
    drop(connection);
    eventually("it is charged", || {
        let client = gateway.admin_get("/limits/l/clients/127.0.0.1").json();
        let stats = gateway.admin_get("/stats").json();
        (stats["total"]["requests"] == 1 && client["tokens"] == json!(6)).then_some(())
    });
}
