//! A door without sockets: a table of requests goes in, a table of decisions comes out, on a clock that the table sets.
//!
//! A row of the table is a request and what becomes of it:
//!
//! ```text
//! time | peer | method, host, target | fields | what the engine decides | its answer and cost | what the limits say at the end
//! ```
//!
//! A decision is `-> upstream /target` where the request is forwarded, and the status of the reply otherwise. Limits are told as
//! `name=tokens left`, with `!` if the limit refused, `?` if it would have refused, `~` if another limit refused, `-` for a client
//! that it does not count.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::limit::key::Secret;
use crate::limit::{Limiter, Outcome, Report, Reservation};

const CONFIG: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
limits = ["everybody"]

[limits.everybody]
key = "global"
rate = "1000/s"

[limits.per_client]
rate = "1/s"
burst = 2
exempt = ["192.0.2.99"]

[limits.per_key]
key = "header:X-Api-Key"
missing_key = "reject"
rate = "1/h"
[limits.per_key.overrides]
gold = { rate = "10/h" }
free = "unlimited"

[limits.failures]
rate = "1/h"
charge = "on_failure"

[limits.priced]
rate = "1/h"
burst = 10
cost_header = "X-Cost"

[limits.running]
max_in_flight = 1

[limits.trial]
rate = "1/h"
mode = "dry_run"

[upstreams.users]
servers = ["127.0.0.1:1"]

[upstreams.shop]
servers = ["127.0.0.1:2"]

[[routes]]
name = "users"
path = "/users/*"
methods = ["GET", "POST"]
limits = ["per_client"]
max_body_size = "10B"
upstream = "users"
strip_prefix = "/users"
cors = { origins = ["https://app.example"] }

[[routes]]
name = "shop"
hosts = ["*.example.com"]
path = "/"
limits = ["per_key"]
upstream = "shop"

[[routes]]
name = "login"
path = "/login"
limits = ["failures"]
upstream = "users"

[[routes]]
name = "search"
path = "/search"
limits = ["priced"]
upstream = "users"

[[routes]]
name = "export"
path = "/export"
limits = ["running"]
upstream = "users"

[[routes]]
name = "new"
path = "/new"
limits = ["trial"]
upstream = "users"

[[routes]]
name = "old"
path = "/old/{id}"
redirect = { to = "/users/{id}" }

[[routes]]
name = "health"
path = "/health"
limits = ["per_client"]
respond = { body = "ok" }
"#;

/// Routing: normal forms, the most specific route, its rewrite, and who gets no route.
const ROUTING: &str = "
0s | 192.0.2.1 | GET a.example /users/7?x=1   |                | -> users /7?x=1        | 200 | everybody=999 per_client=1
0s | 192.0.2.2 | GET a.example /a/../users/7  |                | -> users /7            | 200 | everybody=998 per_client=1
0s | 192.0.2.2 | GET a.example /users/%41     |                | -> users /A            | 200 | everybody=997 per_client=0
0s | 192.0.2.3 | GET a.example /old/7?x=1     |                | 308 to /users/7?x=1    |     | everybody=996
0s | 192.0.2.3 | GET a.example /health        |                | 200                    |     | everybody=995 per_client=1
0s | 192.0.2.3 | GET a.example /nothing       |                | 404                    |     |
0s | 192.0.2.3 | PUT a.example /users/7       |                | 405 allow GET, HEAD, POST |  |
0s | 192.0.2.3 | GET a.example /users/a%2Fb   |                | 400                    |     |
0s | 192.0.2.3 | GET a.example /users/%00     |                | 400                    |     |
0s | 192.0.2.3 | GET a..b/c /users/7          |                | 400                    |     |
0s | 192.0.2.3 | OPTIONS a.example *          |                | 204 allow GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS |     |
0s | 192.0.2.3 | GET a.example /users/7       | Expect: junk   | 417                    |     |
0s | 192.0.2.3 | POST a.example /users/7      | Content-Length: 11 | 413                |     | everybody=994 per_client=0
0s | 192.0.2.4 | OPTIONS a.example /users/7   | Origin: https://app.example; Access-Control-Request-Method: GET | 204 |  |
";

/// Identity: addresses, trusted proxies, and keys that requests carry.
const IDENTITY: &str = "
0s | 192.0.2.1 | GET a.example /users/7       | X-Forwarded-For: 203.0.113.9 | -> users /7 | 200 | everybody=999 per_client=1
0s | 10.0.0.1  | GET a.example /users/7       | X-Forwarded-For: 203.0.113.9 | -> users /7 | 200 | everybody=998 per_client=1
0s | 10.0.0.2  | GET a.example /users/7       | X-Forwarded-For: 203.0.113.9 | -> users /7 | 200 | everybody=997 per_client=0
0s | 10.0.0.2  | GET a.example /users/7       | X-Forwarded-For: 203.0.113.9 | 429 after 1 | | everybody=997~ per_client=0!
0s | 10.0.0.1  | GET a.example /users/7       | X-Forwarded-For: 203.0.113.9; Forwarded: for=203.0.113.8 | 400 |  |
0s | 192.0.2.99 | GET a.example /users/7      |                   | -> users /7  | 200 | per_client- everybody=996
0s | 192.0.2.1 | GET x.example.com /          |                   | 400          |     |
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: a      | -> shop /    | 200 | everybody=995 per_key=0
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: a      | 429 after 3600 |   | everybody=995~ per_key=0!
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: b      | -> shop /    | 200 | everybody=994 per_key=0
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: gold   | -> shop /    | 200 | everybody=993 per_key=9
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: free   | -> shop /    | 200 | per_key- everybody=992
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: a; X-Api-Key: b | 400 |     |
0s | 192.0.2.1 | GET x.example.com /          | X-Api-Key: c; Connection: x-api-key | 400 | |
";

/// Limits: refusals in time, costs that are settled by answers, places that running requests hold, dry runs.
const LIMITS: &str = "
0s    | 192.0.2.1 | GET a.example /users/7    |  | -> users /7      | 200           | everybody=999 per_client=1
0s    | 192.0.2.1 | GET a.example /users/7    |  | -> users /7      | 200           | everybody=998 per_client=0
0s    | 192.0.2.1 | GET a.example /users/7    |  | 429 after 1      |               | everybody=998~ per_client=0!
0.5s  | 192.0.2.1 | GET a.example /users/7    |  | 429 after 1      |               | everybody=1000~ per_client=0!
1s    | 192.0.2.1 | GET a.example /users/7    |  | -> users /7      | 200           | everybody=999 per_client=0
1s    | 192.0.2.1 | GET a.example /login      |  | -> users /login  | 200           | everybody=998 failures=1
1s    | 192.0.2.1 | GET a.example /login      |  | -> users /login  | 401           | everybody=997 failures=0
1s    | 192.0.2.1 | GET a.example /login      |  | 429 after 3600   |               | everybody=997~ failures=0!
1s    | 192.0.2.1 | GET a.example /search     |  | -> users /search | 200 X-Cost: 7 | everybody=996 priced=3
1s    | 192.0.2.1 | GET a.example /search     |  | -> users /search | 200 X-Cost: 5 | everybody=995 priced=0
1s    | 192.0.2.1 | GET a.example /search     |  | 429 after 10800  |               | everybody=995~ priced=0!
1s    | 192.0.2.1 | GET a.example /export     |  | -> users /export | running       | everybody=994 running=0
1s    | 192.0.2.1 | GET a.example /export     |  | 429 after 1      |               | everybody=994~ running=0!
1s    | 192.0.2.2 | GET a.example /export     |  | -> users /export | 200           | everybody=993 running=0
1s    | 192.0.2.1 | GET a.example /new        |  | -> users /new    | 200           | everybody=992 trial=0
1s    | 192.0.2.1 | GET a.example /new        |  | -> users /new    | 200           | everybody=991 trial=0?
";

#[test]
fn routing() {
    Door::new(CONFIG).run(ROUTING);
}

#[test]
fn identity() {
    Door::new(CONFIG).run(IDENTITY);
}

#[test]
fn limits() {
    Door::new(CONFIG).run(LIMITS);
}

#[test]
fn what_comes_in_the_clear_is_sent_to_https() {
    Door::new(
        r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
limits = ["everybody"]
https_redirect = true
https_port = 8443
[limits.everybody]
key = "global"
rate = "9/s"
[[routes]]
name = "a"
path = "/*"
respond = {}
[[routes]]
name = "challenge"
hosts = ["proof.example"]
path = "/.well-known/acme-challenge/{token}"
respond = {}
"#,
    )
    .run(
        "
0s | 192.0.2.1 | GET A.example:80 /x%20y/../z?q=1 |                            | 308 to https://a.example:8443/x%20y/../z?q=1 | |
0s | 192.0.2.1 | POST [2001:DB8::1]:80 //evil/  |                              | 308 to https://[2001:db8::1]:8443//evil/ | |
0s | 192.0.2.1 | GET a.example /                | X-Forwarded-Proto: https     | 308 to https://a.example:8443/ | |
0s | 10.0.0.1  | GET a.example /                |                              | 308 to https://a.example:8443/ | |
0s | 10.0.0.1  | GET a.example /                | X-Forwarded-Proto: HTTPS     | 200 | | everybody=8
0s | 10.0.0.1  | GET a.example /                | X-Forwarded-Proto: https, https | 200 | | everybody=7
0s | 10.0.0.1  | GET a.example /                | X-Forwarded-Proto: https,http | 308 to https://a.example:8443/ | |
0s | 10.0.0.1  | GET a.example /                | X-Forwarded-Proto: https; X-Forwarded-Proto: http | 308 to https://a.example:8443/ | |
0s | 10.0.0.1  | GET a.example /                | X-Forwarded-Proto: httpsx    | 308 to https://a.example:8443/ | |
0s | 192.0.2.1 | GET a..b/c /                   |                              | 400 | |
0s | 192.0.2.1 | GET a.example /%00             |                              | 400 | |
0s | 192.0.2.1 | OPTIONS a.example *            |                              | 204 allow GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS | |
0s | 192.0.2.1 | GET a.example /.well-known/acme-challenge/t     |             | 308 to https://a.example:8443/.well-known/acme-challenge/t | |
0s | 192.0.2.1 | GET proof.example /.well-known/acme-challenge/t |             | 200 | | everybody=6
0s | 192.0.2.1 | GET proof.example /.well-known/acme-challenge/t/u |           | 308 to https://proof.example:8443/.well-known/acme-challenge/t/u | |
",
    );
}

#[test]
fn a_route_may_be_exempt_from_the_limits_of_the_server() {
    Door::new(
        r#"
[server]
limits = ["everybody", "own"]
[limits.everybody]
key = "global"
rate = "9/s"
[limits.own]
rate = "9/s"
[[routes]]
name = "a"
path = "/"
respond = {}
[[routes]]
name = "free"
path = "/free"
server_limits = false
respond = {}
[[routes]]
name = "own"
path = "/own"
server_limits = false
limits = ["own"]
respond = {}
"#,
    )
    .run(
        "
0s | 192.0.2.1 | GET a /     |  | 200 | | everybody=8 own=8
0s | 192.0.2.1 | GET a /free |  | 200 | |
0s | 192.0.2.1 | GET a /own  |  | 200 | | own=7
",
    );
}

#[test]
fn a_value_chooses_one_of_several_upstreams() {
    // Which value goes where is pinned here: another hash would move every client of a running deployment.
    Door::new(
        r#"
[upstreams.stable]
servers = ["127.0.0.1:1"]
[upstreams.canary]
servers = ["127.0.0.1:2"]
[upstreams.drained]
servers = ["127.0.0.1:3"]
[[routes]]
name = "a"
path = "/"
upstream = { stable = 1, canary = 1, drained = 0 }
split_by = "header:X-Tenant"
[[routes]]
name = "other"
path = "/other"
upstream = { canary = 1, stable = 1 }
split_by = "header:X-Tenant"
"#,
    )
    .run(
        "
0s | 192.0.2.1 | GET a /      | X-Tenant: a                | -> stable / | 200 |
0s | 192.0.2.2 | GET a /      | X-Tenant: a                | -> stable / | 200 |
0s | 192.0.2.1 | GET a /      | X-Tenant: b                | -> stable / | 200 |
0s | 192.0.2.1 | GET a /      | X-Tenant: c                | -> stable / | 200 |
0s | 192.0.2.1 | GET a /      | X-Tenant: e                | -> stable / | 200 |
0s | 192.0.2.1 | GET a /      | X_Tenant: a                | -> canary / | 200 |
0s | 192.0.2.1 | GET a /      |                            | -> canary / | 200 |
0s | 192.0.2.1 | GET a /      | X-Tenant: a; X-Tenant: b   | -> canary / | 200 |
0s | 192.0.2.3 | GET a /      |                            | -> canary / | 200 |
0s | 192.0.2.3 | GET a /      | X-Tenant: a; X-Tenant: b   | -> canary / | 200 |
0s | 192.0.2.4 | GET a /      |                            | -> canary / | 200 |
0s | 192.0.2.4 | GET a /      | X-Tenant: a; X-Tenant: b   | -> canary / | 200 |
0s | 192.0.2.7 | GET a /      |                            | -> stable / | 200 |
0s | 192.0.2.7 | GET a /      | X-Tenant: a; X-Tenant: b   | -> stable / | 200 |
0s | 192.0.2.1 | GET a /other | X-Tenant: a                | -> stable /other | 200 |
0s | 192.0.2.1 | GET a /other | X-Tenant: b                | -> canary /other | 200 |
0s | 192.0.2.1 | GET a /other | X-Tenant: c                | -> canary /other | 200 |
0s | 192.0.2.1 | GET a /other | X-Tenant: d                | -> canary /other | 200 |
",
    );
}

#[test]
fn one_field_of_trusted_proxies_may_name_the_client() {
    Door::new(
        r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
client_ip_header = "CF-Connecting-IP"
underscores_in_headers = true
[limits.per_client]
rate = "1/h"
[limits.per_key]
key = "header:CF-Connecting-IP"
rate = "1/h"
burst = 9
[[routes]]
name = "a"
path = "/"
limits = ["per_client"]
respond = {}
[[routes]]
name = "key"
path = "/key"
limits = ["per_key"]
respond = {}
"#,
    )
    .run(
        "
0s | 10.0.0.1  | GET a /    | CF-Connecting-IP: 203.0.113.1; X-Forwarded-For: 203.0.113.2 | 200 | | per_client=0
0s | 10.0.0.1  | GET a /    | CF-Connecting-IP: 203.0.113.1; X-Forwarded-For: 203.0.113.3 | 429 after 3600 | | per_client=0!
0s | 10.0.0.1  | GET a /    | CF-Connecting-IP: 203.0.113.4; Forwarded: for=203.0.113.5    | 200 | | per_client=0
0s | 192.0.2.1 | GET a /    | CF-Connecting-IP: 203.0.113.6                                | 200 | | per_client=0
0s | 192.0.2.1 | GET a /    | CF-Connecting-IP: 203.0.113.7                                | 429 after 3600 | | per_client=0!
0s | 192.0.2.1 | GET a /key | CF-Connecting-IP: 203.0.113.7                                | 200 | | per_key=8
0s | 192.0.2.1 | GET a /key | CF_Connecting_IP: 203.0.113.7                                | 200 | | per_key=7
0s | 10.0.0.1  | GET a /key | CF-Connecting-IP: 203.0.113.8; CF_Connecting.IP: 203.0.113.9 | 200 | | per_key=8
0s | 10.0.0.1  | GET a /    | X-Forwarded-For: 203.0.113.10                                | 200 | | per_client=0
0s | 10.0.0.2  | GET a /    | X-Forwarded-For: 203.0.113.11                                | 429 after 3600 | | per_client=0!
0s | 10.0.0.1  | GET a /    |                                                              | 200 | | per_client=0
0s | 10.0.0.1  | GET a /    | CF-Connecting-IP: 203.0.113.12; CF-Connecting-IP: 203.0.113.12 | 400 | |
0s | 10.0.0.1  | GET a /    | CF-Connecting-IP: me                                         | 400 | |
0s | 10.0.0.1  | GET a /    | CF-Connecting-IP: 203.0.113.13; Connection: cf-connecting-ip | 400 | |
",
    );
}

#[test]
fn without_an_answer_nothing_is_charged_by_answers_and_places_are_free_again() {
    Door::new(CONFIG).run(
        "
0s | 192.0.2.1 | GET a.example /login   |  | -> users /login  | gone | everybody=999 failures=1
0s | 192.0.2.1 | GET a.example /export  |  | -> users /export | gone | everybody=998 running=0
0s | 192.0.2.1 | GET a.example /export  |  | -> users /export | gone | everybody=997 running=0
",
    );
}

/// Makes the facts of requests, and has the engine decide about them.
struct Door {
    engine: Engine,
    clock: Clock,
    started: Timestamp,
    running: Vec<Reservation>,
}

/// A row of a table.
struct Row<'a> {
    at: Duration,
    peer: Peer,
    method: Method,
    host: &'a str,
    target: &'a str,
    fields: HeaderMap,
    decision: &'a str,
    answer: &'a str,
    limits: &'a str,
}

impl Door {
    fn new(config: &str) -> Self {
        let config = Config::parse("gateway.toml", config, &|_| None).unwrap_or_else(|p| panic!("{p}"));
        let limiter = Limiter::new(config.limits.clone(), Secret::random());
        let clock = Clock::manual();
        Self { engine: Engine::new(config, limiter), started: clock.now(), clock, running: vec![] }
    }

    /// Runs a table, and compares it with what comes of its requests.
    fn run(mut self, table: &str) {
        let mut wrong = String::new();
        for line in table.lines().filter(|line| !line.is_empty()) {
            let row = Row::read(line);
            let (decision, limits) = self.request(&row);
            if (&*decision, &*limits) != (row.decision, row.limits) {
                let _ = writeln!(wrong, "{line}\n    but it was: {decision} | {limits}");
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
    }

    /// What becomes of a request, and what the limits say when it is over.
    fn request(&mut self, row: &Row<'_>) -> (String, String) {
        let passed = self.clock.now().since(self.started);
        self.clock.advance(row.at.saturating_sub(passed));
        let now = self.clock.now();
        let Decision { route, mut reservation, course, .. } = self.decide(row, now);
        let decision = self.shown(&course, row);
        if let (Course::Forward(forward), Some(route)) = (&course, route) {
            assert_eq!(forward.route, route);
        }
        let mut words = row.answer.split_whitespace();
        match words.next() {
            Some("running") => {
                let limits = self.limits(reservation.reports());
                self.running.push(reservation);
                return (decision, limits);
            }
            Some("gone") | None => {}
            Some(status) => {
                let cost = words.next_back().and_then(|cost| HeaderValue::from_str(cost).ok());
                let answer = cost.map(|cost| (HeaderName::from_static("x-cost"), cost)).into_iter().collect();
                let status = StatusCode::from_bytes(status.as_bytes()).unwrap();
                let faults = self.engine.settle(&mut reservation, status, &answer, || now);
                assert!(faults.is_empty(), "{faults:?}");
            }
        }
        self.engine.close(&mut reservation, || now);
        (decision, self.limits(reservation.reports()))
    }

    /// What every door does with a head.
    fn decide(&self, row: &Row<'_>, now: Timestamp) -> Decision {
        let answered = |reply| Decision {
            keys: KeyValues::new(),
            consumer: None,
            told: None,
            route: None,
            reservation: Reservation::default(),
            course: Course::Answer(reply),
        };
        let mut headers = row.fields.clone();
        headers.insert(http::header::HOST, HeaderValue::from_str(row.host).unwrap());
        let sender = self.engine.sender(row.peer, &headers);
        let client = match sender.client() {
            Ok(client) => client,
            Err(reply) => return answered(reply),
        };
        match self.engine.stripped(&sender, &headers) {
            Ok(stripped) => {
                for name in stripped.not_forwarded.iter().chain(&stripped.dropped) {
                    headers.remove(name);
                }
            }
            Err(reply) => return answered(reply),
        }
        let facts = Facts {
            client,
            method: &row.method,
            version: Version::HTTP_11,
            tls: false,
            target: row.target.as_bytes(),
            headers: &headers,
            certificate: None,
        };
        let decided = self.engine.decide(&facts, now, |_| ()).now_or_never();
        decided.expect("with all buckets in memory, no step waits")
    }

    fn shown(&self, course: &Course, row: &Row<'_>) -> String {
        match course {
            Course::Forward(forward) => {
                let upstream = &self.engine.config().upstreams[forward.upstream].name;
                let target = forward.target.as_deref().unwrap_or(row.target.as_bytes());
                format!("-> {upstream} {}", String::from_utf8_lossy(target))
            }
            Course::Answer(reply) => {
                let words = [("Location", "to"), ("Allow", "allow"), ("Retry-After", "after")];
                let told = words.iter().flat_map(|(name, word)| {
                    let fields = reply.fields().iter().filter(move |(field, _)| field == name);
                    fields.map(move |(_, value)| format!(" {word} {}", value.to_str().unwrap()))
                });
                format!("{}{}", reply.status().as_u16(), told.collect::<String>())
            }
        }
    }

    fn limits(&self, reports: &[Report]) -> String {
        let told = reports.iter().map(|report| {
            let name = &self.engine.limiter().limits()[report.limit].rule().name;
            let left =
                report.remaining.map_or_else(String::new, |remaining| format!("={}", remaining.left()));
            let mark = match report.outcome {
                Outcome::Allowed => "",
                Outcome::Refused(_) => "!",
                Outcome::WouldRefuse => "?",
                Outcome::Spared => "~",
                Outcome::Exempt => "-",
            };
            format!("{name}{left}{mark}")
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Self {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let [at, peer, request, fields, decision, answer, limits] = *columns else { panic!("{line}") };
        let words: Vec<&str> = request.split_whitespace().collect();
        let [method, host, target] = *words else { panic!("{request}") };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.split("; ").filter_map(|field| field.split_once(": ")) {
            headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        Self {
            at: Duration::from_secs_f64(at.trim_end_matches('s').parse().unwrap()),
            peer: Peer::at((peer.parse::<std::net::IpAddr>().unwrap(), 1).into()),
            method: method.parse().unwrap(),
            host,
            target,
            fields: headers,
            decision,
            answer,
            limits,
        }
    }
}
