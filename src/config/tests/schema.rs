//! The schema for editors and the code that reads the file are of one mind, where a schema can say it.
//!
//! After a change of a table, `UPDATE_EXPECTED=1 cargo test` writes `config/gateway.schema.json` anew.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::Value as Json;

use super::*;

const SCHEMA: &str = "config/gateway.schema.json";

fn validator() -> Validator {
    jsonschema::validator_for(&serde_json::from_str(&Config::schema()).unwrap()).unwrap()
}

/// What the schema has against a text; `None` if it is no TOML.
fn faults(validator: &Validator, text: &str) -> Option<Vec<String>> {
    let file: Json = toml::from_str(text).ok()?;
    Some(validator.iter_errors(&file).map(|error| format!("{}: {error}", error.instance_path())).collect())
}

#[test]
fn the_schema_of_the_repository_is_what_the_program_prints() {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(file(SCHEMA), Config::schema()).unwrap();
    }
    let stored = fs::read_to_string(file(SCHEMA)).unwrap_or_default();
    assert!(
        stored == Config::schema(),
        "{SCHEMA} is not what `gateway schema` prints: run UPDATE_EXPECTED=1 cargo test"
    );
}

/// Those of the invalid files in which the schema finds nothing, since the mistake concerns two values, other files, the environment or a
/// number in a text.
const UNSEEN: &[&str] = &[
    "access_log_combined",
    "admin_listen_is_the_default_of_the_server",
    "auth_basic_missing",
    "auth_client_certificate_missing",
    "auth_client_certificate_nobody",
    "auth_client_certificate_twice",
    "auth_consumer",
    "auth_failures_answers",
    "auth_failures_by_key",
    "auth_failures_slots",
    "auth_failures_taken",
    "auth_failures_unknown",
    "auth_fields",
    "auth_forward_fields",
    "auth_forward_missing",
    "auth_forward_twice",
    "env_malformed",
    "env_unset",
    "env_value_does_not_fit",
    "include",
    "jwt_file",
    "jwt_no_ca",
    "jwt_no_keys",
    "jwt_place",
    "jwt_same_names",
    "jwt_scheme",
    "jwt_undescribed",
    "limit_key_underscore",
    "limiter_shared_cluster",
    "limiter_shared_url",
    "limiter_shared_urls",
    "limiter_shared_urls_differ",
    "route_ambiguous",
    "route_dangling_nothing_there",
    "route_ignored_without_upstream",
    "route_names",
    "route_requirements_ambiguous",
    "route_rewrite",
    "route_strip_prefix_and_rewrite",
    "server_client_ip_header",
    "server_client_ip_header_known",
    "server_client_ip_header_marks",
    "server_client_ip_header_other",
    "server_https_port",
    "server_https_redirect",
    "server_https_redirect_useless",
    "server_limits",
    "server_listen_is_the_default_side_port",
    "server_listen_is_the_side_port",
    "server_listen_twice",
    "upstream_servers_twice",
];

#[test]
fn the_schema_refuses_what_check_refuses_as_far_as_it_can() {
    let validator = validator();
    let mut unseen = BTreeSet::new();
    for entry in fs::read_dir(file("tests/fixtures/config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let faults = faults(&validator, &fs::read_to_string(&path).unwrap());
            if faults.is_some_and(|faults| faults.is_empty()) {
                unseen.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let expected: BTreeSet<String> = UNSEEN.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(unseen, expected);
}

#[test]
fn the_schema_accepts_what_check_accepts() {
    let validator = validator();
    let accepts = |name: &str, text: &str| {
        valid(text);
        assert_eq!(faults(&validator, text).unwrap(), [""; 0], "{name}\n{text}");
    };
    for entry in fs::read_dir(file("tests/fixtures/warnings")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            accepts(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
        }
    }
    let text = fs::read_to_string(file("config/gateway.toml")).unwrap();
    accepts("shipped", &text);
    accepts("every key", &shipped::everything(&text));
}

/// Values that are valid, among them odd ones, for keys whose values have patterns.
const VALUES: &[(&str, &[&str])] = &[
    (
        "[server]\nlisten = ",
        &[
            "\"[::]:1\"",
            "[\"127.0.0.1:0\", { address = \"unix:/a\", mode = \"0007\" }]",
            "\"systemd:a b\"",
            "\"${NONE:-127.0.0.1:1}\"",
        ],
    ),
    (
        "[server]\ndrain_timeout = ",
        &["0", "\"0\"", "\"366d\"", "\"007ms\"", "\"${NONE:-1s}\"", "\"1${NONE:-}s\""],
    ),
    ("[server]\nmax_body_size = ", &["5", "\"0\"", "\"10kB\"", "\"${NUMBER}\""]),
    ("[server]\nmax_memory = ", &["\"auto\"", "0", "\"1GB\""]),
    ("[server]\nthreads = ", &["1_0", "\"${NUMBER}\"", "0x10"]),
    ("[server]\ntrusted_proxies = ", &["[\"10.0.0.0/8\", \"::1\", \"2001:db8::/32\"]"]),
    (
        "[server]\ntrusted_proxies = [\"::1\"]\nhttps_redirect = ",
        &["true", "false", "301", "308", "\"${TRUTH}\"", "\"${NONE:-307}\""],
    ),
    ("[server]\nserver_header = ", &["\"\"", "\"a$$b\""]),
    ("[tracing]\nendpoint = ", &["\"off\"", "\"http://[::1]:4318/a/\""]),
    ("[tracing]\nsample_ratio = ", &["0", "1", "0.5", "1e-3", "\"${NONE:-0.5}\""]),
    ("[admin]\nlisten = ", &["\"off\"", "\"[::1]:1\""]),
    ("[admin]\nhosts = ", &["[\"a.example\", \"*.b.example.\", \"[::1]\"]"]),
    (
        "[limits.l]\nrate = ",
        &["\"1/s\"", "\"01/2weeks\"", "\"3/10secs\"", "\"1/100ms\"", "\"5/hour\"", "\"${NUMBER}/min\""],
    ),
    (
        "[limits.l]\nrate = \"1/s\"\nkey = ",
        &["\"header:X-A\"", "[\"cookie:__Host-a!\", \"query:a b&c\"]", "\"global\""],
    ),
    ("[limits.l]\nrate = \"1/s\"\nmethods = ", &["[\"M-SEARCH\", \"*\"]"]),
    (
        "[limits.l]\nmax_in_flight = 1\noverrides = ",
        &["{ \"192.0.2.1\" = \"unlimited\", \"::1\" = { max_in_flight = \"${NUMBER}\" } }"],
    ),
    ("[limits.l]\nrate = \"1/s\"\nmode = ", &["\"dry_run\"", "\"${NONE:-enforce}\""]),
    ("[limits.l]\nrate = \"1/s\"\nfields = ", &["false", "\"${TRUTH}\""]),
    (
        "[upstreams.u]\nservers = ",
        &[
            "[\"a_b:01\", \"[::1]:1\", \"unix:/\", { address = \"A.b.:65535\", weight = 1000 }]",
            "[\"${BACKEND}\"]",
        ],
    ),
    (
        "[upstreams.u]\nservers = [\"a:1\"]\nbalance = ",
        &["\"hash:client_ip\"", "\"hash:query:a b\"", "\"random\""],
    ),
    ("[upstreams.u]\nservers = [\"a:1\"]\ntls = ", &["true", "{ insecure = true }", "\"${TRUTH}\""]),
    (
        "[upstreams.u]\nservers = [\"a:1\"]\nhealth = ",
        &["{ path = \"/h?a=%20\", method = \"HEAD\", host = \"a:1\", statuses = [200] }"],
    ),
];

#[test]
fn odd_values_are_valid_in_an_editor_too() {
    let validator = validator();
    for (key, values) in VALUES {
        for value in *values {
            let text = format!("{key}{value}\n{ONE_ROUTE}");
            valid(&text);
            assert_eq!(faults(&validator, &text).unwrap(), [""; 0], "{text}");
        }
    }
    for keys in [
        "path = \"/{a}/*\"\nupstream = \"u\"\nrewrite = \"/${NONE:-x}/{a}\"\ntimeout = 0",
        "path = \"/\"\nredirect = { to = \"HTTPS://a.example:1\", status = 302 }",
        "path = \"/é b\"\nhosts = [\"A_b.example\"]\nrespond = {}\nresponse_headers = { set = { X-A = \"\" }, remove = [\"x_b\"] }",
        "path = \"${NONE:-/a}\"\nupstream = \"u\"\ncompression = [\"gzip\", \"${NONE:-br}\"]",
        "path = \"/\"\nrespond = { status = \"${NONE:-204}\" }",
        "path = \"/\"\nrespond = {}\ncors = { origins = \"*\", max_age = 0, headers = [\"*\"] }",
        "path = \"/\"\nrespond = {}\ncors = { origins = [\"app+x://[::1]:1\", \"https://*.a.example\"], methods = [\"PUT\"] }",
    ] {
        let text = format!("[upstreams.u]\nservers = [\"a:1\"]\n[[routes]]\nname = \"ö\"\n{keys}");
        valid(&text);
        assert_eq!(faults(&validator, &text).unwrap(), [""; 0], "{text}");
    }
}

/// Tables with defaults: what is before them in a file, and where they are in the schema.
const TABLES: &[(&str, &str)] = &[
    ("[server]", "/properties/server"),
    (
        "[server]\nlisten = [{ address = \"127.0.0.1:8443\", tls = true }]\n[server.tls]\n\
         certificates = [{ cert = \"tests/fixtures/tls/localhost.pem\", key = \"tests/fixtures/tls/localhost.key\" }]",
        "/properties/server/properties/tls",
    ),
    ("[admin]", "/properties/admin"),
    ("[access_log]", "/properties/access_log"),
    ("[tracing]", "/properties/tracing"),
    ("[auth]", "/properties/auth"),
    ("[auth.api_key]", "/properties/auth/properties/api_key"),
    ("[auth.basic]\nhtpasswd = \"tests/fixtures/htpasswd/users\"", "/properties/auth/properties/basic"),
    ("[auth.jwt]\njwks = \"http://[::1]/\"", "/properties/auth/properties/jwt"),
    ("[auth.forward]\nurl = \"http://a\"", "/properties/auth/properties/forward"),
    ("[auth.client_certificate]", "/properties/auth/properties/client_certificate"),
    ("[limiter]\nsnapshot = \"/a\"", "/properties/limiter"),
    (
        "[limiter.shared]\nurl = \"redis://a\"\nsecret = \"0123456789abcdef\"",
        "/properties/limiter/properties/shared",
    ),
    ("[limits.l]\nrate = \"1/s\"", "/properties/limits/additionalProperties"),
    ("[upstreams.u]\nservers = [\"a:1\"]", "/properties/upstreams/additionalProperties"),
    (
        "[upstreams.u]\nservers = [\"a:1\"]\n[upstreams.u.health]\npath = \"/\"",
        "/properties/upstreams/additionalProperties/properties/health",
    ),
    (
        "[upstreams.u]\nservers = [\"a:1\"]\n[upstreams.u.sticky]\ncookie = \"gw\"\nsecret = \"sixteen characters\"",
        "/properties/upstreams/additionalProperties/properties/sticky",
    ),
    (
        "[upstreams.u]\nservers = [\"a:1\"]\n[upstreams.u.outlier]",
        "/properties/upstreams/additionalProperties/properties/outlier",
    ),
    (
        "[upstreams.u]\nservers = [\"a:1\"]\n[[routes]]\nname = \"r\"\npath = \"/\"\nupstream = \"u\"",
        "/properties/routes/items",
    ),
    (
        "[[routes]]\nname = \"r\"\npath = \"/\"\n[routes.respond]",
        "/properties/routes/items/properties/respond",
    ),
    (
        "[[routes]]\nname = \"r\"\npath = \"/\"\n[routes.redirect]\nto = \"/a\"",
        "/properties/routes/items/properties/redirect",
    ),
    (
        "[[routes]]\nname = \"r\"\npath = \"/\"\nrespond = {}\n[routes.cors]\norigins = \"*\"",
        "/properties/routes/items/properties/cors",
    ),
];

/// A store for limits.
const STORE: &str = "[limiter.shared]\nurl = \"redis://a\"\nsecret = \"sixteen characters\"";

#[test]
fn a_default_of_the_schema_is_the_default() {
    let schema: Json = serde_json::from_str(&Config::schema()).unwrap();
    let meaning = |text: &str| {
        let config =
            Config { shown: Json::Null, advice: Vec::new(), ..valid(&format!("{text}\n{ONE_ROUTE}")) };
        format!("{config:?}")
    };
    let mut seen = 0;
    for (before, place) in TABLES {
        let settings = schema.pointer(place).unwrap()["properties"].as_object().unwrap();
        for (name, setting) in settings {
            // A list of failures goes with a `charge` that is not the default, and what happens without a store with a store.
            let before = match &**name {
                "failures" => format!("{before}\ncharge = \"on_failure\""),
                "on_error" if before.starts_with("[limits") => format!("{STORE}\n{before}\nshared = true"),
                _ => (*before).to_owned(),
            };
            if let Some(default) = setting.get("default") {
                // A route knows its line, so both have as many.
                assert_eq!(
                    meaning(&format!("{before}\n")),
                    meaning(&format!("{before}\n{name} = {default}")),
                    "{place} {name}"
                );
                seen += 1;
            }
        }
    }
    // Those of an entry of `listen`, of `servers` and of `tls` are not looked at.
    assert_eq!(seen, schema.to_string().matches("\"default\":").count() - SMALL);
}

/// The defaults in tables that stand in lists, or in place of another value: `listen` has two such tables of two, `servers` and `tls` one each.
const SMALL: usize = 6;
