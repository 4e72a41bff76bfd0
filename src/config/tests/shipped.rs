//! The config file that comes with the program.

use super::*;

#[test]
fn the_shipped_config_is_valid() {
    let text = fs::read_to_string(file("config/gateway.toml")).unwrap();
    let config = Config::parse("config/gateway.toml", &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let users = config.routes.iter().find(|route| route.name == "users").unwrap();
    assert_eq!(users.path.to_string(), "/users/*");
    assert_eq!(users.limits.len(), 1);
    let limit = &config.limits[users.limits[0]];
    assert_eq!(limit.name, "per_client");
    assert_eq!(limit.rate().unwrap().quota, Quota::new(10, Duration::from_secs(1), 20).unwrap());
    assert_eq!(limit.key.parts, [KeyPart::ClientIp]);
    assert_eq!(config.server.listen, [Listener::plain("0.0.0.0:8000".parse().unwrap())]);
    let admin = config.admin.unwrap();
    assert_eq!((admin.listen, admin.token), ("127.0.0.1:8001".parse().unwrap(), None));
    let servers = |config: &Config| config.upstreams[0].servers.clone();
    let server = |host: &str| UpstreamServer::named(host, 9000);
    assert_eq!(config.upstreams[0].servers, [server("127.0.0.1")]);
    let in_compose = Config::parse("gateway.toml", &text, &env).unwrap();
    assert_eq!(servers(&in_compose), [server("backend")]);
}

/// A line without its `# `, if a key and its default stand behind that: `# threads = 0   # …`.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix("# ") {
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
        _ => line,
    }
}

#[test]
fn the_shipped_config_names_every_key_with_its_default() {
    let text = fs::read_to_string(file("config/gateway.toml")).unwrap();
    let everything = text.lines().map(|line| format!("{}\n", uncommented(line))).collect::<String>();
    let shipped = Config::parse("config/gateway.toml", &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let spelled_out =
        Config::parse("config/gateway.toml", &everything, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let meaning = |config: Config| format!("{:?}", Config { shown: serde_json::Value::Null, ..config });
    assert_eq!(meaning(shipped), meaning(spelled_out), "a default in a comment is not the default");
    for key in [
        "listen",
        "threads",
        "trusted_proxies",
        "drain_timeout",
        "header_timeout",
        "body_timeout",
        "tunnel_timeout",
        "max_memory",
        "idle_timeout",
        "max_header_size",
        "max_body_size",
        "proxy_protocol",
        "max_connections",
        "max_connections_per_client",
        "max_requests_per_connection",
        "server_header",
        "limits",
        "tls",
        "certificates",
        "cert",
        "key",
        "client_ca",
        "token",
        "path",
        "format",
        "endpoint",
        "sample_ratio",
        "service_name",
        "max_clients",
        "max_in_flight",
        "charge",
        "cost_header",
        "show_keys",
        "rate",
        "burst",
        "key",
        "ipv6_prefix",
        "missing_key",
        "cost",
        "methods",
        "exempt",
        "mode",
        "status",
        "fields",
        "legacy_headers",
        "servers",
        "balance",
        "http2",
        "ca",
        "server_name",
        "insecure",
        "connect_timeout",
        "response_timeout",
        "read_timeout",
        "retries",
        "max_connections",
        "interval",
        "unhealthy_after",
        "healthy_after",
        "consecutive_failures",
        "eject_for",
        "name",
        "hosts",
        "upstream",
        "redirect",
        "respond",
        "timeout",
        "strip_prefix",
        "encoded_slashes",
        "rewrite",
        "request_headers",
        "response_headers",
        "content_type",
        "compression",
        "origins",
        "headers",
        "expose",
        "credentials",
        "max_age",
        "weight",
        "set",
        "remove",
        "to",
        "body",
        "address",
    ] {
        let names = |line: &str| line.contains(&format!("{key} = ")) || line.contains(&format!("{key}  = "));
        assert!(everything.lines().any(names), "`{key}` is not in config/gateway.toml");
    }
}
