//! Header fields that two readers could take for different ones: what a limit counts is what the upstream receives, and
//! what is malformed gets no further.

use std::collections::HashSet;

use serde_json::Value;

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::http2;

const BY_KEY: &str = "[limits.l]\nrate = \"1/h\"\nkey = \"header:X-Api-Key\"\n---\n---\nlimits = [\"l\"]";

/// A gateway with a limit of one request for each value of this key.
fn limited_by(key: &str, more: &str) -> (Gateway, mock_backend::MockBackend) {
    forwarding(&format!("[limits.l]\nrate = \"1/h\"\nkey = \"{key}\"\n{more}\n---\n---\nlimits = [\"l\"]"))
}

/// The names of what an upstream received that a server might take for this one.
fn alike(response: &Response, name: &str) -> Vec<(String, String)> {
    let echo: Value = response.json();
    let fold = |name: &str| name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let fields = echo["headers"].as_array().unwrap_or_else(|| panic!("{echo}")).iter();
    let pair = |field: &Value| (field[0].as_str().unwrap().to_owned(), field[1].as_str().unwrap().to_owned());
    fields.map(pair).filter(|(field, _)| fold(field) == fold(name)).collect()
}

/// The answers to the same request in HTTP/1 and HTTP/2.
fn both(gateway: &Gateway, target: &str, fields: &[(&str, &str)]) -> [Response; 2] {
    let mut http2 = http2::Connection::open(gateway.address());
    [gateway.get_with(target, fields), http2.send(http2::request("GET", target, fields), "")]
}

#[test]
fn a_field_value_with_outer_space_is_refused_over_http2() {
    let (gateway, backend) = forwarding(BY_KEY);
    let mut connection = http2::Connection::open(gateway.address());
    for value in [" k1", "k1 ", "\tk1", "k1\t", " ", "  \t "] {
        for name in ["x-api-key", "cookie", "x-other"] {
            let answer = connection.send(http2::request("GET", "/users", &[(name, value)]), "");
            answer.is_problem(400);
        }
    }
    assert_eq!(backend.count(), 0);
    let logged = gateway.access_log(18);
    assert!(logged[0]["error"].as_str().unwrap().contains("space"), "{}", logged[0]);
    gateway.metric_becomes(r#"gateway_requests_total{code="400",method="OTHER",route=""}"#, 18.0);
    assert_eq!(connection.send(http2::request("GET", "/users", &[("x-api-key", "k1")]), "").status, 200);
}

#[test]
fn the_spaces_around_an_http1_value_are_no_part_of_it() {
    let (gateway, _backend) = forwarding(BY_KEY);
    assert_eq!(gateway.get_with("/users", &[("X-Api-Key", "k1")]).status, 200);
    for value in [" k1", "\tk1 \t", "k1  "] {
        assert_eq!(gateway.get_with("/users", &[("X-Api-Key", value)]).status, 429, "{value:?}");
    }
}

#[test]
fn what_connection_names_is_gone_before_a_limit_counts_by_it() {
    let (gateway, _backend) = limited_by("header:X-Api-Key", "missing_key = \"reject\"");
    let fields = [("X-Api-Key", "k1"), ("Connection", "X-Api-Key")];
    gateway.get_with("/users", &fields).is_problem(400);
    let (gateway, _backend) = forwarding(BY_KEY);
    let get =
        |key: &str| gateway.get_with("/echo", &[("X-Api-Key", key), ("Connection", "x-api-key, close")]);
    let first = get("k1");
    assert_eq!((first.status, alike(&first, "x-api-key")), (200, vec![]));
    assert_eq!(get("k2").status, 429, "without a key both are counted by their address");
    assert_eq!(gateway.get_with("/users", &[("X-Api-Key", "k1")]).status, 200);
}

#[test]
fn connection_cannot_name_what_a_request_is_read_by() {
    let (gateway, backend) = forwarding("trusted_proxies = [\"127.0.0.1\"]");
    let names = [
        "Cookie",
        "cookie",
        "Authorization",
        "Host",
        "Content-Length",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Real-IP",
        "X-Request-Id",
        "Traceparent",
        "\"X-Api-Key\"",
        ":path",
        "X Y",
        "a,b,c,d,e,f,g,h,i,j,k,l",
    ];
    for named in names {
        let answer = gateway.get_with("/users", &[("Connection", named), ("Cookie", "sid=1")]);
        answer.is_problem(400);
    }
    assert_eq!(backend.count(), 0);
    let log = gateway.access_log(names.len());
    assert!(log.iter().all(|line| line["status"] == 400), "{log:?}");
    for fine in ["close", "keep-alive, TE", "Keep-Alive,, Upgrade", "", "X-Hop", "Proxy-Connection"] {
        assert_eq!(gateway.get_with("/users", &[("Connection", fine)]).status, 200, "{fine}");
    }
}

#[test]
fn a_cookie_is_the_same_however_it_is_written() {
    let (gateway, _backend) = limited_by("cookie:sid", "");
    assert_eq!(gateway.get_with("/users", &[("Cookie", "sid=zz")]).status, 200);
    for cookie in [
        "sid= zz",
        "sid =zz",
        "a=1;sid=zz ;b=2",
        "sid=\"zz\"",
        "sid= \"zz\" ;b=2",
        "sid=%7az",
        "s%69d=zz",
        "sid=zz; sid=zz",
    ] {
        for answer in both(&gateway, "/users", &[("Cookie", cookie)]) {
            assert_eq!(answer.status, 429, "{cookie}");
        }
    }
    assert_eq!(gateway.get_with("/users", &[("Cookie", "sid=z")]).status, 200);
}

#[test]
fn a_key_that_is_given_twice_differently_is_refused() {
    for (key, target, fields) in [
        ("header:X-Api-Key", "/users", vec![("X-Api-Key", "a"), ("X-Api-Key", "b")]),
        (
            "header:Authorization",
            "/users",
            vec![("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
        ),
        ("cookie:sid", "/users", vec![("Cookie", "sid=a; sid=b")]),
        ("query:user", "/users?user=a&us%65r=b", vec![]),
        ("query:user", "/users?user=a;user=b", vec![]),
        ("query:user", "/users?a=1;user=b", vec![]),
    ] {
        for missing in ["client_ip", "shared", "reject"] {
            let (gateway, backend) = limited_by(key, &format!("missing_key = \"{missing}\""));
            for answer in both(&gateway, target, &fields) {
                answer.is_problem(400);
                assert!(answer.text().contains("one "), "{}", answer.text());
            }
            assert_eq!(backend.count(), 0, "{key}");
        }
    }
}

#[test]
fn a_scheme_in_another_case_is_the_same_authorization() {
    let (gateway, _backend) = limited_by("header:Authorization", "");
    assert_eq!(gateway.get_with("/users", &[("Authorization", "Bearer k1")]).status, 200);
    for value in ["bearer k1", "BEARER   k1", "Bearer\tk1"] {
        assert_eq!(gateway.get_with("/users", &[("Authorization", value)]).status, 429, "{value}");
    }
    assert_eq!(gateway.get_with("/users", &[("Authorization", "Bearer K1")]).status, 200);
}

#[test]
fn a_claim_that_is_dropped_is_not_counted_by() {
    for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-User"] {
        let (gateway, _backend) = limited_by(&format!("header:{name}"), "");
        assert_eq!(gateway.get_with("/users", &[(name, "a")]).status, 200);
        assert_eq!(gateway.get_with("/users", &[(name, "b")]).status, 429, "{name}");
    }
}

/// Names that servers make the same variable of as they do of others.
const FOLDING: [&str; 9] = [
    "X_Forwarded_For",
    "X.Forwarded.For",
    "X-Forwarded_For",
    "X_Real_IP",
    "X.Real.IP",
    "X_Request_Id",
    "X_Api_Key",
    "X.Debug",
    "Content_Length",
];

#[test]
fn names_that_fold_into_others_are_dropped() {
    let (gateway, _backend) = forwarding("");
    for name in FOLDING {
        for answer in both(&gateway, "/echo", &[(name, "6.6.6.6")]) {
            let received = alike(&answer, name);
            assert!(!received.iter().any(|(_, value)| value == "6.6.6.6"), "{name}: {received:?}");
        }
    }
    gateway.metric_becomes("gateway_request_fields_dropped_total", 18.0);
    gateway.wait_for_log_line("dropped the field");
}

#[test]
fn names_that_fold_pass_where_the_config_lets_them_but_for_those_the_gateway_goes_by() {
    let settings = "underscores_in_headers = true\ntrusted_proxies = [\"127.0.0.1\"]\n[limits.l]\nrate = \"1000/s\"\n\
                    key = \"header:X-Api-Key\"\n---\n---\nlimits = [\"l\"]\n\
                    request_headers = { set = { X-Env = \"prod\" }, remove = [\"X-Debug\"] }";
    let (gateway, _backend) = forwarding(settings);
    for name in FOLDING.into_iter().chain(["X_Env", "Trace_Parent_", "X_Forwarded_User", "Transfer_Encoding"])
    {
        for answer in both(&gateway, "/echo", &[(name, "6")]) {
            let received = alike(&answer, name);
            let passes = name == "Trace_Parent_";
            assert_eq!(received.iter().any(|(_, value)| value == "6"), passes, "{name}: {received:?}");
        }
    }
    for answer in both(&gateway, "/echo", &[("my_own.field", "6")]) {
        assert_eq!(alike(&answer, "my_own.field"), [("my_own.field".to_owned(), "6".to_owned())]);
    }
}

#[test]
fn a_route_that_sets_or_removes_a_folding_name_means_its_likes_too() {
    let settings = "---\n---\nrequest_headers = { set = { X_Env = \"prod\" }, remove = [\"X_Debug\"] }";
    let (gateway, _backend) = forwarding(settings);
    for answer in both(&gateway, "/echo", &[("X-Env", "forged"), ("X-Debug", "1"), ("X_Debug", "1")]) {
        assert_eq!(alike(&answer, "x-env"), [("x_env".to_owned(), "prod".to_owned())]);
        assert_eq!(alike(&answer, "x-debug"), []);
    }
}

#[test]
fn a_limit_by_a_folding_name_has_it_where_the_config_lets_it() {
    let settings = "underscores_in_headers = true\n[limits.l]\nrate = \"1/h\"\nkey = \"header:X_Api_Key\"\n---\n---\n\
                    limits = [\"l\"]";
    let (gateway, _backend) = forwarding(settings);
    let get = |name: &str, value: &str| gateway.get_with("/echo", &[(name, value)]);
    assert_eq!(get("X_Api_Key", "a").status, 200);
    assert_eq!(get("X_Api_Key", "a").status, 429);
    assert_eq!(get("X_Api_Key", "b").status, 200);
    let other = get("X-Api-Key", "c");
    assert_eq!(
        (other.status, alike(&other, "x-api-key")),
        (200, vec![]),
        "what is not counted is not sent on"
    );
    assert_eq!(get("X-Api-Key", "d").status, 429);
}

#[test]
fn proxy_is_no_field_of_a_request() {
    let (gateway, _backend) = forwarding("underscores_in_headers = true");
    for answer in both(&gateway, "/echo", &[("Proxy", "http://6.6.6.6:1")]) {
        assert_eq!(alike(&answer, "proxy"), []);
    }
}

#[test]
fn a_body_is_not_framed_by_a_field_that_only_looks_like_it() {
    let (gateway, _backend) = forwarding("");
    let answer = gateway.raw(request("POST", "/echo", &[("Content_Length", "99")], "hello"));
    let names: HashSet<_> = alike(&answer, "content-length").into_iter().map(|(name, _)| name).collect();
    assert_eq!((answer.status, names), (200, HashSet::from(["content-length".to_owned()])));
}
