//! The config file that comes with the program.

use super::*;

#[test]
fn the_shipped_config_is_valid() {
    let text = fs::read_to_string(file("config/gateway.toml")).unwrap();
    let config = Config::parse("config/gateway.toml", &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.advice, []);
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

#[test]
fn the_config_of_gateways_that_share_limits_is_valid() {
    let text = fs::read_to_string(file("config/shared/gateway.toml")).unwrap();
    // As in compose.shared.yml.
    let env = |name: &str| match name {
        "STORE_URL" => Some("redis://gateway:password@valkey:6379/0".to_owned()),
        "GATEWAY_SECRET" => Some("0123456789abcdef".to_owned()),
        _ => None,
    };
    let config = Config::parse("config/shared/gateway.toml", &text, &env).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(config.advice, []);
    let shared: Vec<_> = config.limits.iter().filter(|limit| limit.shared.is_some()).collect();
    assert_eq!(shared.iter().map(|limit| &limit.name).collect::<Vec<_>>(), ["per_client", "logins"]);
    assert!(config.limiter.shared.is_some());
    assert!(config.server.listen[0].proxy_protocol, "the load balancer says who the client is");
}

/// A line without its `# `, if a key and its default stand behind that: `# threads = 0   # …`.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix("# ") {
        Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
        _ => line,
    }
}

/// The shipped file with every key that it shows in a comment.
pub(super) fn everything(shipped: &str) -> String {
    shipped.lines().map(|line| format!("{}\n", uncommented(line))).collect()
}

/// A key that nobody means in each table there can be, so that each says which keys it has.
const UNKNOWN_EVERYWHERE: &str = r#"
zzzzzz = 1
[server]
zzzzzz = 1
listen = [{ address = "127.0.0.1:1", zzzzzz = 1 }]
[server.tls]
zzzzzz = 1
certificates = [{ zzzzzz = 1 }]
[admin]
zzzzzz = 1
[access_log]
zzzzzz = 1
[tracing]
zzzzzz = 1
[limiter]
zzzzzz = 1
[limiter.shared]
zzzzzz = 1
[plans.a]
zzzzzz = 1
[auth]
zzzzzz = 1
[auth.api_key]
zzzzzz = 1
[auth.basic]
htpasswd = "tests/fixtures/htpasswd/users"
zzzzzz = 1
[auth.jwt]
zzzzzz = 1
keys = [{ zzzzzz = 1 }]
[auth.forward]
zzzzzz = 1
[auth.client_certificate]
zzzzzz = 1
[consumers.a]
zzzzzz = 1
[limits.a]
rate = "1/s"
zzzzzz = 1
[limits.a.overrides]
"192.0.2.1" = { rate = "1/s", zzzzzz = 1 }
[upstreams.a]
servers = [{ address = "127.0.0.1:1", zzzzzz = 1 }]
zzzzzz = 1
[upstreams.a.tls]
zzzzzz = 1
[upstreams.a.health]
zzzzzz = 1
[upstreams.a.outlier]
zzzzzz = 1
[errors.404]
zzzzzz = 1
[[routes]]
name = "a"
path = "/a"
upstream = "a"
zzzzzz = 1
request_headers = { zzzzzz = 1 }
response_headers = { zzzzzz = 1 }
cors = { zzzzzz = 1 }
[[routes]]
name = "b"
path = "/b"
respond = { zzzzzz = 1 }
[[routes]]
name = "c"
path = "/c"
redirect = { zzzzzz = 1 }
"#;

/// The keys of all tables, as the code that reads them knows them.
pub(super) fn every_key() -> Vec<String> {
    let problems = Config::parse("f", UNKNOWN_EVERYWHERE, &env).unwrap_err();
    let problems: String = problems.iter().map(|(_, problem)| format!("{problem}\n")).collect();
    let lists = problems.lines().filter_map(|line| Some(line.split_once("the keys here are: ")?.1));
    let mut keys: Vec<_> = lists.flat_map(|list| list.split(", ")).map(str::to_owned).collect();
    keys.sort();
    keys.dedup();
    let tables = UNKNOWN_EVERYWHERE.matches("zzzzzz").count();
    assert_eq!(problems.matches("the keys here are: ").count(), tables, "{problems}");
    keys
}

#[test]
fn the_shipped_config_names_every_key_with_its_default() {
    let text = fs::read_to_string(file("config/gateway.toml")).unwrap();
    let everything = everything(&text);
    let shipped = Config::parse("config/gateway.toml", &text, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let spelled_out =
        Config::parse("config/gateway.toml", &everything, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let meaning = |config: Config| {
        format!("{:?}", Config { shown: serde_json::Value::Null, advice: Vec::new(), ..config })
    };
    assert_eq!(meaning(shipped), meaning(spelled_out), "a default in a comment is not the default");
    for key in every_key() {
        let names = |line: &str| {
            line.contains(&format!("[{key}"))
                || line.contains(&format!(".{key}]"))
                || line.contains(&format!("{key} = "))
                || line.contains(&format!("{key}  = "))
        };
        assert!(everything.lines().any(names), "`{key}` is not in config/gateway.toml");
    }
}
