//! Warnings, where a table of cases says more than a file of each.

use super::*;

/// The names of the warnings about routes with these limits.
fn advice(limits: &str, routes: &[&str]) -> Vec<&'static str> {
    let route = |(n, limits): (usize, &&str)| {
        format!("[[routes]]\nname = \"r{n}\"\npath = \"/{n}\"\nrespond = {{}}\nlimits = [{limits}]\n")
    };
    let routes: String = routes.iter().enumerate().map(route).collect();
    let config = valid(&format!("{routes}[limits.key]\nrate = \"1/s\"\n{limits}"));
    config.advice.iter().map(|warning| warning.lint.name()).collect()
}

#[test]
fn a_key_that_clients_make_up_wants_a_limit_by_address_beside_it() {
    let address = "\n[limits.ip]\nrate = \"9/s\"";
    for key in ["\"header:X-Key\"", "\"cookie:sid\"", "[\"client_ip\", \"query:user\"]"] {
        let told = advice(&format!("key = {key}{address}"), &["\"key\"", "\"key\", \"ip\"", "\"key\""]);
        assert_eq!(told, ["unguarded-key"], "{key}");
    }
    for key in ["\"client_ip\"", "\"route\"", "\"global\""] {
        assert!(advice(&format!("key = {key}"), &["\"key\""]).is_empty(), "{key}");
    }
}

#[test]
fn a_limit_that_lets_some_requests_by_guards_nothing() {
    let beside = |ip: &str| advice(&format!("key = \"cookie:a\"\n[limits.ip]\n{ip}"), &["\"key\", \"ip\""]);
    assert!(beside("rate = \"9/s\"").is_empty());
    for lax in ["mode = \"dry_run\"", "methods = [\"GET\"]", "key = [\"client_ip\", \"path\"]"] {
        assert_eq!(beside(&format!("rate = \"9/s\"\n{lax}")), ["unguarded-key"], "{lax}");
    }
    assert_eq!(beside("max_in_flight = 5"), ["unguarded-key"]);
}

#[test]
fn requests_at_a_time_take_no_buckets() {
    assert!(advice("[limits.n]\nmax_in_flight = 1\nkey = \"cookie:a\"", &["\"n\", \"key\""]).is_empty());
}

#[test]
fn a_store_is_open_that_is_elsewhere_and_asks_for_no_password() {
    for (url, open) in [
        ("redis://127.0.0.1:6379", false),
        ("redis://localhost", false),
        ("redis://[::1]:6379", false),
        ("redis+unix:///run/redis.sock", false),
        ("redis://:word@10.0.0.1", false),
        ("rediss://user:word@redis.internal", false),
        ("redis://10.0.0.1", true),
        ("redis://user@10.0.0.1", true),
        ("redis://[fd00::1]:6379/1", true),
        ("rediss://redis.internal", true),
    ] {
        let config = valid(&format!(
            "[limiter.shared]\nurl = \"{url}\"\nsecret = \"0123456789abcdef\"\n\
             [limits.l]\nrate = \"1/s\"\nshared = true\n\
             [[routes]]\nname = \"r\"\npath = \"/\"\nrespond = {{}}\nlimits = [\"l\"]"
        ));
        let told: Vec<_> = config.advice.iter().map(|warning| warning.lint).collect();
        assert_eq!(told, [Lint::OpenStore][..usize::from(open)], "{url}");
    }
}

#[test]
fn a_side_port_is_open_where_strangers_could_reach_it() {
    for (admin, open) in [
        ("listen = \"127.0.0.1:1\"", false),
        ("listen = \"[::1]:1\"", false),
        ("listen = \"192.168.0.1:1\"", false),
        ("listen = \"[fd00::1]:1\"", false),
        ("listen = \"0.0.0.0:1\"", true),
        ("listen = \"[::]:1\"", true),
        ("listen = \"203.0.113.7:1\"", true),
        ("listen = \"0.0.0.0:1\"\ntoken = \"t\"", false),
        ("listen = \"off\"", false),
        ("", false),
    ] {
        let config = valid(&format!("[admin]\n{admin}\n{ONE_ROUTE}"));
        let told: Vec<_> = config.advice.iter().map(|warning| warning.lint).collect();
        assert_eq!(told, [Lint::OpenSidePort][..usize::from(open)], "{admin}");
    }
}

#[test]
fn a_warning_has_its_place_and_tells_nothing_that_a_variable_holds() {
    let config = valid(&format!(
        "[limits.a]\nrate = \"${{NONE:-hunter2}}\"\nburst = 1\n[limits.a.overrides]\n\"192.0.2.1\" = {{ rate = \"9/s\", burst = 2 }}\n\
         [server]\nlimits = [\"a\"]\n{ONE_ROUTE}"
    ).replace("hunter2", "31/s"));
    let [first, second] = &config.advice[..] else { panic!("{:?}", config.advice) };
    let (span, place) = first.place.clone().unwrap();
    assert_eq!((first.location().as_str(), span.len()), ("gateway.toml:3:9", 1));
    assert_eq!((place.start.line, place.end.column), (3, 10));
    assert!(!first.message.contains("31") && second.message.contains("to 9 at least"), "{first} {second}");
}
