//! What a deployment reads beside the gateway's own configuration: the alerts and the dashboard under `config/` ask for
//! metrics that the gateway has, by labels that they have. `make check-stack` has Prometheus itself look at them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mock_backend::MockBackend;
use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::http::Connection;
use crate::support::tls::{Client, certificates};
use crate::support::to_upstream;

/// Labels that Prometheus adds to every series.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

/// The names of metrics, each with the names of its labels.
type Metrics = BTreeMap<String, BTreeSet<String>>;

/// What a PromQL expression asks for.
#[derive(Debug, Default)]
struct Query {
    metrics: Metrics,
    /// The labels that it groups and matches by.
    grouping: BTreeSet<String>,
}

impl Query {
    /// Picks the names out of an expression. Whether it is one at all is for Prometheus to say.
    fn of(expression: &str) -> Self {
        let mut query = Self::default();
        let words = words(expression);
        let mut rest = words.as_slice();
        while let [word, more @ ..] = rest {
            rest = match (*word, more.first()) {
                ("by" | "without" | "on" | "ignoring" | "group_left" | "group_right", Some(&"(")) => {
                    let (labels, more) = until(")", &more[1..]);
                    query.grouping.extend(names(labels));
                    more
                }
                ("[", _) => until("]", more).1,
                ("and" | "or" | "unless" | "bool" | "offset", _) | (_, Some(&("(" | "by" | "without"))) => {
                    more
                }
                (name, Some(&"{")) if is_name(name) => {
                    let (labels, more) = until("}", &more[1..]);
                    query.metrics.entry(name.to_owned()).or_default().extend(names(labels));
                    more
                }
                (name, _) if is_name(name) => {
                    query.metrics.entry(name.to_owned()).or_default();
                    more
                }
                _ => more,
            };
        }
        query
    }

    fn check(&self, exposed: &Metrics, place: &str) {
        let mut known = BTreeSet::from(OF_PROMETHEUS.map(str::to_owned));
        for (metric, labels) in &self.metrics {
            let Some(of_metric) = exposed.get(metric) else { panic!("{place}: the gateway has no {metric}") };
            known.extend(of_metric.iter().cloned());
            let unknown: Vec<_> = labels.difference(&known).collect();
            assert!(unknown.is_empty(), "{place}: {metric} has no {unknown:?}");
        }
        let unknown: Vec<_> = self.grouping.difference(&known).collect();
        assert!(unknown.is_empty(), "{place}: nothing there has {unknown:?}");
        assert!(!self.metrics.is_empty(), "{place}: no metric at all");
    }
}

/// Names, strings, numbers and durations each in one piece, everything else a character at a time.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => rest[1..].find('"').unwrap() + 2,
            c if c.is_ascii_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn names(words: &[&str]) -> impl Iterator<Item = String> {
    words.iter().filter(|word| is_name(word)).map(|word| (*word).to_owned())
}

fn until<'a, 'b>(end: &str, words: &'b [&'a str]) -> (&'b [&'a str], &'b [&'a str]) {
    let at = words.iter().position(|word| *word == end).unwrap();
    (&words[..at], &words[at + 1..])
}

/// The metrics that a gateway exposes after some traffic, and `up`, which Prometheus has of everything.
fn exposed() -> Metrics {
    let backend = MockBackend::start_blocking().unwrap();
    let settings = "trusted_proxies = [\"127.0.0.1\"]\n".to_owned()
        + &certificates(&["localhost"])
        + "\n[limits.l]\nrate = \"1/h\"\ncost_header = \"X-Cost\"\n"
        + "[limiter.shared]\nurl = \"redis+unix:///nonexistent/redis.sock\"\nsecret = \"0123456789abcdef\"\n"
        + "[auth.forward]\nurl = \"http://127.0.0.1:1/\"\n[auth.jwt]\njwks = \"http://127.0.0.1:1/\"\n"
        + "[limits.together]\nrate = \"1/h\"\nshared = true\n---\n---\nlimits = [\"l\", \"together\"]";
    let config = to_upstream(backend.addr(), &settings);
    let gateway = Gateway::with_listener("tls = true, proxy_protocol = true", &config);
    let client = Client::new("localhost");
    Connection::open_tls_behind(gateway.address(), b"PROXY UNKNOWN\r\n", client).unwrap().get("/users");
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 1.0);
    let mut metrics = Metrics::from([("up".to_owned(), BTreeSet::new())]);
    for line in gateway.admin_get("/metrics").text().lines().filter(|line| !line.starts_with('#')) {
        // A series is an expression too.
        let (series, _value) = line.rsplit_once(' ').unwrap();
        metrics.extend(Query::of(series).metrics);
    }
    metrics
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn names_are_picked_out_of_expressions() {
    let query =
        Query::of(r#"a / on (x) sum by (y, z) (rate(b_total{c=~"d(e)", f="g"}[5m])) > 0.5 or vector(1e3)"#);
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(query.metrics.keys().cloned().collect::<BTreeSet<_>>(), set(&["a", "b_total"]));
    assert_eq!(query.metrics["b_total"], set(&["c", "f"]));
    assert_eq!(query.grouping, set(&["x", "y", "z"]));
}

#[test]
fn the_alerts_ask_for_what_there_is() {
    let exposed = exposed();
    let (alerts, tests) = (read("config/alerts.yml"), read("tests/alerts.yml"));
    let expressions: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(expressions.len(), names.len(), "an expression is on a line of its own");
    for (name, expression) in names.iter().zip(expressions) {
        Query::of(expression).check(&exposed, name);
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} never fires in tests/alerts.yml");
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let exposed = exposed();
    let dashboard: Value = serde_json::from_str(&read("config/grafana/dashboard.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let Some(targets) = panel["targets"].as_array() else { continue };
        for target in targets {
            let query = Query::of(target["expr"].as_str().unwrap());
            query.check(&exposed, title);
            shown.extend(query.metrics.into_keys());
        }
    }
    // A histogram is shown by its buckets.
    let own = exposed.keys().filter(|name| name.starts_with("gateway_"));
    let own = own.filter(|name| !name.ends_with("_seconds_sum") && !name.ends_with("_seconds_count"));
    let hidden: Vec<_> = own.filter(|name| !shown.contains(*name)).collect();
    assert!(hidden.is_empty(), "the dashboard does not show {hidden:?}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        // `label_values(SELECTOR, LABEL)`
        let Some(query) = variable["definition"].as_str() else { continue };
        let inner = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')).unwrap();
        let (selector, label) = inner.rsplit_once(", ").unwrap();
        Query::of(&format!("sum by ({label}) ({selector})")).check(&exposed, query);
    }
}
