//! Tokens as proof of who is calling: what is believed, what is not, and where the keys come from.

pub(crate) mod issuer;
pub(crate) mod key_server;

use std::fs;
use std::path::PathBuf;
use std::thread;

use mock_backend::MockBackend;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::issuer::{Issuer, KID, base64url, claims, message, now, with_secret};
use self::key_server::{Answer, KeyServer};
use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::Response;
use crate::support::program::run;
use crate::support::tls::{self, certificates};
use crate::support::{eventually, to_upstream};

const ALICE: &str = "[plans.free]\n[plans.pro]\n[consumers.alice]\nplan = \"pro\"\n[consumers.bob]\n";

/// The issuer and the audience that [`claims`] say.
const RULES: &str = "issuer = \"https://issuer.example\"\naudience = \"gateway\"\n";

/// A file beside the tests.
fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jwt").join(name)
}

/// A gateway, whom it asks, and the folder of its keys.
struct World {
    gateway: Gateway,
    _backend: MockBackend,
    _folder: TempDir,
}

/// A gateway that believes tokens of this issuer, whose keys are in a file. `server` are keys of `[server]`, `jwt` of `[auth.jwt]`.
fn believing(issuer: &Issuer, server: &str, jwt: &str, route: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, issuer.jwks()).unwrap();
    world(server, &format!("jwks = {file:?}\n{jwt}"), route, folder)
}

/// A gateway with these settings, and `[server]` that asks for tokens on every route.
fn world(server: &str, jwt: &str, route: &str, folder: TempDir) -> World {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = Gateway::with_file(&with_admin(&config(&backend, server, jwt, route), "token = \"t\""));
    World { gateway, _backend: backend, _folder: folder }
}

fn config(backend: &MockBackend, server: &str, jwt: &str, route: &str) -> String {
    let settings = format!("auth = [\"jwt\"]\n{server}\n{ALICE}[auth.jwt]\n{jwt}\n---\n---\n{route}");
    to_upstream(backend.addr(), &settings)
}

/// A gateway that fetches its keys from this server.
fn fetching(server: &KeyServer, jwt: &str) -> World {
    let jwt = format!("jwks = \"{}\"\n{RULES}{jwt}", server.url());
    world("", &jwt, "", tempfile::tempdir().unwrap())
}

impl World {
    fn ask(&self, token: &str) -> Response {
        self.gateway.get_with("/echo", &[("Authorization", &format!("Bearer {token}"))])
    }

    fn status(&self, token: &str) -> u16 {
        self.ask(token).status
    }
}

/// The values of a field that the upstream received.
fn received(response: &Response, name: &str) -> Vec<String> {
    let echo = response.json();
    let fields = echo["headers"].as_array().unwrap().iter();
    let alike = fields.filter(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name));
    alike.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_token_says_who_is_asking() {
    let issuer = Issuer::new(1);
    let world = believing(&issuer, "", RULES, "");
    let alice = issuer.token(&claims("alice"));
    // The second time it is remembered.
    for _ in 0..2 {
        let answer = world.ask(&alice);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(received(&answer, "x-consumer"), ["alice"]);
        assert_eq!(received(&answer, "x-plan"), ["pro"]);
        assert_eq!(received(&answer, "authorization"), [""; 0], "the upstream does not get the token");
    }
    let answer = world.ask(&issuer.token(&claims("auth0|carol smith")));
    assert_eq!(received(&answer, "x-consumer"), ["auth0|carol smith"], "the file need not name her");
    assert_eq!(received(&answer, "x-plan"), [""; 0]);
    let nobody = world.gateway.get("/echo");
    nobody.is_problem(401);
    assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"gateway\""));
    let wrong = world.ask(&format!("{alice}A"));
    wrong.is_problem(401);
    assert_eq!(
        wrong.header("www-authenticate"),
        Some(
            "Bearer realm=\"gateway\", error=\"invalid_token\", error_description=\"the signature of the token is wrong\""
        )
    );
    let log = world.gateway.access_log(5);
    assert_eq!(log.iter().filter(|line| line["consumer"] == "alice").count(), 2);
    let parts: Vec<&str> = alice.split('.').collect();
    let told = format!("{log:?}{}{}", world.gateway.log(), wrong.text());
    assert!(parts.iter().all(|part| !told.contains(part)), "{told}");
}

#[test]
fn tokens_of_another_implementation_are_verified() {
    let tokens: Value = serde_json::from_slice(&fs::read(fixture("tokens.json")).unwrap()).unwrap();
    let tokens = tokens.as_object().unwrap();
    assert_eq!(tokens.len(), 12);
    let jwks = format!("jwks = {:?}\n{RULES}", fixture("jwks.json"));
    let from_set = world("", &jwks, "", tempfile::tempdir().unwrap());
    for (algorithm, token) in tokens {
        let token = token.as_str().unwrap();
        let answer = from_set.ask(token);
        assert_eq!(answer.status, 200, "{algorithm}: {}", answer.text());
        assert_eq!(received(&answer, "x-consumer"), ["alice"], "{algorithm}");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        assert_eq!(from_set.status(&format!("{message}.{other}{}", &signature[1..])), 401, "{algorithm}");
    }
    let keys = format!(
        "keys = [{{ kid = \"RS256\", algorithm = \"RS256\", public_key = {:?} }}, {{ algorithm = \"ES256\", public_key = {:?} }}, \
         {{ kid = \"EdDSA\", algorithm = \"EdDSA\", public_key = {:?} }}, {{ kid = \"HS256\", algorithm = \"HS256\", secret = \"${{S}}\" }}]\n{RULES}",
        fixture("rsa.pem"),
        fixture("ec.pem"),
        fixture("ed25519.pem"),
    );
    let backend = MockBackend::start_blocking().unwrap();
    let secret = "h".repeat(32);
    let gateway = Gateway::start_with(&config(&backend, "", &keys, ""), &[("S", &secret)]);
    for (algorithm, status) in
        [("RS256", 200), ("ES256", 200), ("EdDSA", 200), ("HS256", 200), ("PS256", 401)]
    {
        let token = format!("Bearer {}", tokens[algorithm].as_str().unwrap());
        assert_eq!(gateway.get_with("/echo", &[("Authorization", &token)]).status, status, "{algorithm}");
    }
    let shown = gateway.admin_get("/config").text();
    assert!(!shown.contains(&secret) && shown.contains("issuer.example"), "{shown}");
    assert!(!gateway.log().contains(&secret));
}

#[test]
fn a_token_has_one_place() {
    let issuer = Issuer::new(2);
    let world = believing(&issuer, "", RULES, "");
    let alice = issuer.token(&claims("alice"));
    let ask = |target: &str, fields: &[(&str, &str)]| world.gateway.get_with(target, fields);
    for (value, status) in [
        (format!("Bearer {alice}"), 200),
        (format!("bEARER {alice}"), 200),
        (format!("Bearer   {alice} "), 200),
        (format!("Bearer{alice}"), 401),
        (format!("Bearer\t{alice}"), 401),
        (format!("Basic {alice}"), 401),
        (format!("Bearer {alice}, Bearer {alice}"), 401),
        (format!("Bearer {alice} x"), 401),
        (alice.clone(), 401),
        ("Bearer".to_owned(), 401),
        ("Bearer ".to_owned(), 401),
    ] {
        assert_eq!(ask("/echo", &[("Authorization", &value)]).status, status, "{value}");
    }
    let bearer = format!("Bearer {alice}");
    let twice = [("Authorization", &*bearer), ("authorization", &*bearer)];
    ask("/echo", &twice).is_problem(400);
    ask("/echo", &[("Authorization", &bearer), ("Authorization", "Basic eDp5")]).is_problem(400);
    ask(&format!("/echo?access_token={alice}"), &[]).is_problem(401);
    // Another field, and a route that also takes strangers: a wrong token is none of them.
    let jwt = format!("{RULES}header = \"X-Token\"\nkeep = true");
    let world = believing(&issuer, "", &jwt, "auth_required = false");
    for value in [&alice, &bearer] {
        let answer = world.gateway.get_with("/echo", &[("X-Token", value), ("Authorization", "Basic eDp5")]);
        assert_eq!(received(&answer, "x-consumer"), ["alice"]);
        assert_eq!(received(&answer, "x-token"), [value.as_str()]);
        assert_eq!(received(&answer, "authorization"), ["Basic eDp5"], "it is for the upstream");
    }
    assert_eq!(world.ask(&alice).status, 200, "a stranger");
    let wrong = world.gateway.get_with("/echo", &[("X-Token", "wrong")]);
    assert_eq!(
        (wrong.status, wrong.header("www-authenticate").unwrap().contains("header=\"x-token\"")),
        (401, true)
    );
}

#[test]
fn tokens_that_are_made_up_prove_nothing() {
    let issuer = Issuer::new(3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let fixtures: Value = serde_json::from_slice(&fs::read(fixture("jwks.json")).unwrap()).unwrap();
    let rsa = fixtures["keys"][0].clone();
    fs::write(&file, json!({"keys": [issuer.jwk(KID), rsa]}).to_string()).unwrap();
    let world = world("", &format!("jwks = {file:?}\n{RULES}"), "", folder);
    let good = claims("alice").to_string();
    let header = |members: &str| format!("{{\"alg\":\"EdDSA\",\"kid\":\"{KID}\"{members}}}");
    let signed = |members: &str| issuer.signed(&header(members), &good);
    assert_eq!(world.status(&signed("")), 200);
    assert_eq!(
        world.status(&signed(",\"jku\":\"http://127.0.0.1:1/\",\"x5u\":\"http://127.0.0.1:1/\"")),
        200,
        "never fetched"
    );
    assert_eq!(world.status(&signed(",\"typ\":\"AT+jwt\",\"x\":1")), 200);
    let alice = issuer.token(&claims("alice"));
    let (of_alice, signature) = alice.rsplit_once('.').unwrap();
    let bob = issuer.token(&claims("bob"));
    let (_, of_bob) = bob.rsplit_once('.').unwrap();
    let mallory = Issuer::new(4);
    let own = mallory.jwk(KID).to_string();
    let pem = fs::read(fixture("rsa.pem")).unwrap();
    let modulus = rsa["n"].as_str().unwrap().as_bytes();
    let confused = "{\"alg\":\"HS256\",\"kid\":\"RS256\"}";
    let unsigned =
        |alg: &str| format!("{}.", message(&format!("{{\"alg\":\"{alg}\",\"kid\":\"{KID}\"}}"), &good));
    let tokens = [
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("nOnE", unsigned("nOnE")),
        ("none without a dot", unsigned("none").trim_end_matches('.').to_owned()),
        ("none with a signature", format!("{}.{signature}", message("{\"alg\":\"none\"}", &good))),
        ("no algorithm", issuer.signed(&format!("{{\"kid\":\"{KID}\"}}"), &good)),
        ("a list of algorithms", issuer.signed(&format!("{{\"alg\":[\"EdDSA\"],\"kid\":\"{KID}\"}}"), &good)),
        ("another algorithm", issuer.signed(&format!("{{\"alg\":\"ES256\",\"kid\":\"{KID}\"}}"), &good)),
        ("the public key as secret", with_secret(confused, &good, &pem)),
        ("the modulus as secret", with_secret(confused, &good, modulus)),
        ("an empty secret", with_secret(confused, &good, b"")),
        ("an empty secret without a name", with_secret("{\"alg\":\"HS256\"}", &good, b"")),
        ("no signature", format!("{of_alice}.")),
        ("no signature and no dot", of_alice.to_owned()),
        ("another token's signature", format!("{of_alice}.{of_bob}")),
        ("half a signature", format!("{of_alice}.{}", &signature[..43])),
        ("padding", format!("{alice}==")),
        ("a part too many", format!("{alice}.{signature}")),
        ("five parts", format!("{alice}.a.b")),
        ("another issuer's key", mallory.token(&claims("alice"))),
        ("a key of its own", mallory.signed(&header(&format!(",\"jwk\":{own}")), &good)),
        ("a kid that is a path", issuer.named("../../../../dev/null", &claims("alice"))),
        ("a kid with a quote", issuer.named("' OR '1'='1", &claims("alice"))),
        ("a kid with zeros", issuer.named("ed\0", &claims("alice"))),
        ("a kid that is a number", issuer.signed("{\"alg\":\"EdDSA\",\"kid\":1}", &good)),
        ("an empty kid", issuer.named("", &claims("alice"))),
        ("a certificate of its own", mallory.signed(&header(",\"x5c\":[\"AAAA\"]"), &good)),
        ("crit", signed(",\"crit\":[\"exp\"],\"exp\":1")),
        ("an empty crit", signed(",\"crit\":[]")),
        ("a crit that is no list", signed(",\"crit\":\"b64\",\"b64\":false")),
        ("a nested token", issuer.signed(&header(",\"cty\":\"JWT\""), &alice)),
        ("claims that say they are a token", signed(",\"cty\":\"application/jwt\"")),
        ("compressed", signed(",\"zip\":\"DEF\"")),
        ("encrypted", signed(",\"enc\":\"A128GCM\"")),
        ("another type", signed(",\"typ\":\"logout+jwt\"")),
        ("two algorithms", signed(",\"alg\":\"EdDSA\"")),
        ("two names", signed(&format!(",\"kid\":\"{KID}\""))),
        ("a header that is no object", issuer.signed("[]", &good)),
        ("a header that is no JSON", issuer.signed("alg: EdDSA", &good)),
        ("claims that are a list", issuer.signed(&header(""), "[]")),
        ("claims that are no UTF-8", format!("{}.gICA.{signature}", base64url(header("").as_bytes()))),
        ("deep claims", issuer.signed(&header(""), &"[".repeat(4000))),
        ("dots", "..".to_owned()),
        ("too long", issuer.signed(&header(&format!(",\"x\":\"{}\"", "x".repeat(7000))), &good)),
    ];
    for (what, token) in tokens {
        let answer = world.ask(&token);
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{what}: {challenge}");
    }
    // The head of the request is too large before.
    let long =
        issuer.signed(&header(""), &format!("{{\"sub\":\"alice\",\"x\":\"{}\"}}", "x".repeat(1_000_000)));
    assert!([400, 413, 431].contains(&world.status(&long)));
    assert_eq!(world.status(&alice), 200, "it works all the same");
}

#[test]
fn claims_are_checked_by_the_rules() {
    let issuer = Issuer::new(5);
    let world = believing(&issuer, "", &format!("{RULES}leeway = \"60s\""), "");
    let with = |changes: &[(&str, Value)]| {
        let mut claims = claims("alice");
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        issuer.token(&claims)
    };
    let (now, mut wrong) = (now(), Vec::new());
    let mut check = |what: &str, token: &str, status: u16| {
        let answer = world.ask(token);
        if answer.status != status {
            wrong.push(format!("{what}: {} {}", answer.status, answer.text()));
        }
    };
    for (exp, status) in [
        (json!(now + 100), 200),
        (json!(now - 30), 200),
        (json!(now - 61), 401),
        (json!(now as f64 + 100.5), 200),
        (json!(4e9), 200),
        (json!(0), 401),
        (json!(1), 401),
        (json!(-1), 401),
        (json!(-1.5e300), 401),
        (json!(1e300), 401),
        (json!(i64::MAX), 401),
        (json!(u64::MAX), 401),
        (json!(i64::MIN), 401),
        (json!(3.1556952e19), 401),
        (json!("4102444800"), 401),
        (json!([4_102_444_800_i64]), 401),
        (json!(true), 401),
        (Value::Null, 401),
    ] {
        check(&format!("exp {exp}"), &with(&[("exp", exp)]), status);
    }
    // The year 10^12, what is more than a double holds, and what is no number in JSON.
    for exp in ["31556952000000000000", "1e400", "-1e400", "NaN", "Infinity", "0x7fffffff", "04102444800"] {
        let text = format!(
            "{{\"sub\":\"alice\",\"iss\":\"https://issuer.example\",\"aud\":\"gateway\",\"exp\":{exp}}}"
        );
        let header = json!({"alg": "EdDSA", "kid": KID}).to_string();
        check(exp, &issuer.signed(&header, &text), 401);
    }
    for (nbf, status) in [
        (json!(now - 100), 200),
        (json!(now + 30), 200),
        (json!(now + 600), 401),
        (json!(1e300), 401),
        (json!("0"), 401),
        (Value::Null, 401),
    ] {
        check(&format!("nbf {nbf}"), &with(&[("nbf", nbf)]), status);
    }
    check("iat in the future", &with(&[("iat", json!(now + 10_000))]), 200);
    for (name, value, status) in [
        ("iss", json!("https://issuer.example/"), 401),
        ("iss", json!(["https://issuer.example"]), 401),
        ("iss", Value::Null, 401),
        ("aud", json!(["other", "gateway"]), 200),
        ("aud", json!("other"), 401),
        ("aud", json!("Gateway"), 401),
        ("aud", json!([]), 401),
        ("aud", json!(["gateway", 1]), 401),
        ("aud", json!({"gateway": 1}), 401),
        ("aud", Value::Null, 401),
        ("sub", json!("a".repeat(256)), 200),
        ("sub", json!("a".repeat(257)), 401),
        ("sub", json!(""), 401),
        ("sub", json!(" alice"), 401),
        ("sub", json!("alice "), 401),
        ("sub", json!("al\r\nX-Plan: pro"), 401),
        ("sub", json!("al\0ice"), 401),
        ("sub", json!("älice"), 401),
        ("sub", json!(1), 401),
        ("sub", json!(["alice"]), 401),
        ("sub", Value::Null, 401),
    ] {
        check(&format!("{name} {value}"), &with(&[(name, value)]), status);
    }
    for name in ["exp", "iss", "aud", "sub"] {
        let mut claims = claims("alice");
        claims.as_object_mut().unwrap().remove(name);
        check(&format!("without {name}"), &issuer.token(&claims), 401);
    }
    let good = claims("alice").to_string();
    let header = json!({"alg": "EdDSA", "kid": KID}).to_string();
    for member in ["\"sub\":\"root\"", "\"exp\":4102444800", "\"x\":1,\"x\":1", "\"\\u0073ub\":\"root\""] {
        let twice = format!("{},{member}}}", good.trim_end_matches('}'));
        check(&format!("twice {member}"), &issuer.signed(&header, &twice), 401);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Who has no audience believes only tokens for nobody in particular (RFC 7519, section 4.1.3).
    let world = believing(&issuer, "", "", "");
    assert_eq!(world.status(&with(&[])), 401);
    let mut anyone = claims("alice");
    anyone.as_object_mut().unwrap().remove("aud");
    assert_eq!(world.status(&issuer.token(&anyone)), 200);
}

#[test]
fn a_claim_names_the_plan() {
    let issuer = Issuer::new(6);
    let jwt = format!("{RULES}consumer_claim = \"client_id\"\nplan_claim = \"plan\"");
    let world = believing(&issuer, "", &jwt, "deny = [\"consumer:mallory\"]");
    let ask = |name: &str, plan: Option<Value>| {
        let mut claims = claims("somebody else");
        claims["client_id"] = json!(name);
        if let Some(plan) = plan {
            claims["plan"] = plan;
        }
        let answer = world.ask(&issuer.token(&claims));
        match answer.status {
            200 => (received(&answer, "x-consumer").concat(), received(&answer, "x-plan").concat()),
            status => (status.to_string(), answer.json()["detail"].to_string()),
        }
    };
    let is = |consumer: &str, plan: &str| (consumer.to_owned(), plan.to_owned());
    assert_eq!(ask("alice", None), is("alice", "pro"));
    assert_eq!(ask("alice", Some(json!("free"))), is("alice", "free"));
    assert_eq!(ask("alice", Some(json!("pro"))), is("alice", "pro"));
    assert_eq!(ask("carol", Some(json!("pro"))), is("carol", "pro"));
    assert_eq!(ask("carol", None), is("carol", ""));
    for wrong in [json!("gold"), json!("Pro"), json!(""), json!(1), json!(["pro"]), Value::Null] {
        assert_eq!(ask("alice", Some(wrong.clone())).0, "401", "{wrong}");
    }
    assert_eq!(ask("mallory", None).0, "403", "the file need not name whom a route does not let in");
    assert_eq!(world.gateway.metric(r#"gateway_plan_requests_total{code="2xx",plan="free"}"#), 1.0);
}

#[test]
fn a_token_is_not_remembered_beyond_its_time() {
    let issuer = Issuer::new(7);
    let world = believing(&issuer, "", &format!("{RULES}leeway = 0"), "");
    let mut short = claims("alice");
    short["exp"] = json!(now() + 3);
    let token = issuer.token(&short);
    assert_eq!(world.status(&token), 200);
    eventually("the token has expired", || (world.status(&token) == 401).then_some(()));
    assert!(now() >= short["exp"].as_i64().unwrap());
}

#[test]
fn failed_tries_are_charged() {
    let issuer = Issuer::new(8);
    let world = believing(&issuer, "auth_failures = \"2/h\"", RULES, "");
    let alice = issuer.token(&claims("alice"));
    assert_eq!([&*alice, "a", "b.c.d", "e"].map(|token| world.status(token)), [200, 401, 401, 429]);
    assert_eq!(world.status(&alice), 429);
}

#[test]
fn guesses_that_wait_for_keys_together_are_counted() {
    let issuer = Issuer::new(31);
    let server = KeyServer::start(Answer::Keys(issuer.jwks()));
    let jwt = format!("jwks = \"{}\"\n{RULES}timeout = \"1s\"", server.url());
    let world = world("auth_failures = \"3/h\"", &jwt, "", tempfile::tempdir().unwrap());
    assert_eq!(world.status(&issuer.token(&claims("alice"))), 200);
    // It shows no keys any more, so whoever asks for them waits. Until they may be asked for again, guesses are refused at once.
    server.set(Answer::Drip);
    let unknown = Issuer::new(32).named("unknown", &claims("bob"));
    let statuses = eventually("a fetch that tokens wait for", || {
        let before = server.count();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| world.status(&unknown))).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        if server.count() > before {
            return Some(statuses);
        }
        let filled =
            crate::support::http::request("DELETE", "/limits/auth_failures/clients/127.0.0.1", &TOKEN, "");
        let mut admin = crate::support::http::Connection::open(world.gateway.admin());
        admin.send(filled);
        assert_eq!(admin.response().status, 200);
        None
    });
    let wrong = statuses.iter().filter(|status| **status == 401).count();
    // There are two workers, and each may be about to charge one.
    assert!(
        (3..=4).contains(&wrong) && statuses.iter().all(|status| [401, 429].contains(status)),
        "{statuses:?}"
    );
}

#[test]
fn keys_are_fetched_and_new_ones_are_found() {
    let (first, second) = (Issuer::new(10), Issuer::new(11));
    let server = KeyServer::start(Answer::Keys(first.jwks()));
    let world = fetching(&server, "");
    // It waits for the keys.
    assert_eq!(world.status(&first.token(&claims("alice"))), 200);
    assert_eq!(server.count(), 1);
    let both = json!({"keys": [first.jwk(KID), second.jwk("new")]}).to_string();
    server.set(Answer::Keys(both));
    let token = second.named("new", &claims("bob"));
    // So soon after a fetch nobody asks again, however many unknown keys come.
    for kid in ["new", "a", "b", "c"] {
        assert_eq!(world.status(&second.named(kid, &claims("bob"))), 401);
    }
    assert_eq!(server.count(), 1);
    eventually("the new key is believed", || (world.status(&token) == 200).then_some(()));
    assert_eq!(server.count(), 2);
    for kid in ["a", "b", "c", "d"] {
        assert_eq!(world.status(&second.named(kid, &claims("bob"))), 401);
    }
    assert_eq!(server.count(), 2, "the next one has to wait");
    assert_eq!(world.gateway.metric(r#"gateway_jwks_fetches_total{result="fetched"}"#), 2.0);
    assert_eq!(world.gateway.metric("gateway_jwks_keys"), 2.0);
    assert!(world.gateway.metric("gateway_jwks_fetched_timestamp_seconds") > 1e9);
    assert!(world.gateway.log().contains("2 keys for tokens from http://127.0.0.1"));
}

#[test]
fn many_tokens_with_unknown_keys_make_one_fetch() {
    let (first, second) = (Issuer::new(21), Issuer::new(22));
    let server = KeyServer::start(Answer::Keys(first.jwks()));
    let world = fetching(&server, "");
    assert_eq!(world.status(&first.token(&claims("alice"))), 200);
    server.set(Answer::Keys(json!({"keys": [second.jwk("new")]}).to_string()));
    // Nobody may ask before ten seconds are over. Whoever comes then waits for the same fetch.
    let unknown = second.named("unknown", &claims("bob"));
    let statuses = eventually("a fetch that a token asks for", || {
        let before = server.count();
        let statuses: Vec<u16> = thread::scope(|scope| {
            let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| world.status(&unknown))).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        (server.count() > before).then_some(statuses)
    });
    assert_eq!((statuses, server.count()), (vec![401; 20], 2));
    assert_eq!(world.status(&second.named("new", &claims("bob"))), 200);
    assert_eq!(
        world.status(&first.token(&claims("alice"))),
        401,
        "its key is withdrawn, also where it was remembered"
    );
}

#[test]
fn a_server_of_keys_proves_who_it_is() {
    let issuer = Issuer::new(23);
    let keys = issuer.jwks();
    let shown =
        format!("[[routes]]\nname = \"keys\"\npath = \"/jwks.json\"\nrespond = {{ body = '{keys}' }}\n");
    let certificate = certificates(&["localhost"]);
    let server = Gateway::speaking_tls(&format!("{certificate}\n{shown}"));
    let url = format!("jwks = \"https://localhost:{}/jwks.json\"\n{RULES}", server.address().port());
    let believing = |ca: &str| {
        let folder = tempfile::tempdir().unwrap();
        world("", &format!("{url}ca = {:?}\n", tls::file(ca)), "", folder)
    };
    let token = issuer.token(&claims("alice"));
    assert_eq!(believing("ca.pem").status(&token), 200);
    let deceived = believing("stranger.pem");
    assert_eq!(deceived.status(&token), 503);
    eventually("it says why", || {
        deceived.gateway.log().contains("no keys for tokens from https://localhost").then_some(())
    });
}

#[test]
fn without_any_keys_there_is_no_judging() {
    let issuer = Issuer::new(12);
    let server = KeyServer::start(Answer::HangUp);
    let jwt = format!("jwks = \"{}\"\n{RULES}timeout = \"1s\"", server.url());
    let world = world("auth_failures = \"1/h\"", &jwt, "", tempfile::tempdir().unwrap());
    let token = issuer.token(&claims("alice"));
    for _ in 0..3 {
        let answer = world.ask(&token);
        answer.is_problem(503);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    world.gateway.get("/echo").is_problem(401);
    assert!(world.gateway.log().contains("requests with tokens get 503"));
    server.set(Answer::Keys(issuer.jwks()));
    eventually("the keys have come", || (world.status(&token) == 200).then_some(()));
    assert!(world.gateway.metric(r#"gateway_jwks_fetches_total{result="failed"}"#) >= 1.0);
}

#[test]
fn keys_outlive_their_server_and_a_reload() {
    let issuer = Issuer::new(13);
    let server = KeyServer::start(Answer::Keys(issuer.jwks()));
    let backend = MockBackend::start_blocking().unwrap();
    let jwt = format!("jwks = \"{}\"\n{RULES}refresh = \"10s\"\n", server.url());
    let file = |jwt: &str| with_admin(&config(&backend, "", jwt, ""), "token = \"t\"");
    let gateway = Gateway::with_file(&file(&jwt));
    let world = World {
        gateway,
        _backend: MockBackend::start_blocking().unwrap(),
        _folder: tempfile::tempdir().unwrap(),
    };
    let status = |name: &str| world.status(&issuer.token(&claims(name)));
    assert_eq!(status("alice"), 200);
    server.set(Answer::HangUp);
    world.gateway.write_file(&file(&format!("{jwt}leeway = \"1s\"\n")));
    assert_eq!(world.gateway.post_reload(&TOKEN).status, 200);
    assert_eq!((status("alice"), server.count()), (200, 1), "the keys are still those");
    eventually("it has asked again", || (server.count() > 1).then_some(()));
    assert_eq!(status("bob"), 200, "they are used although the server is down");
    eventually("that is told", || world.gateway.log().contains("has shown before").then_some(()));
    // Another URL is another issuer.
    let other = Issuer::new(14);
    let elsewhere = KeyServer::start(Answer::Keys(other.jwks()));
    world.gateway.write_file(&file(&jwt.replace(&server.url(), &elsewhere.url())));
    assert_eq!(world.gateway.post_reload(&TOKEN).status, 200);
    eventually("the other issuer's keys have come", || {
        (world.status(&other.token(&claims("alice"))) == 200).then_some(())
    });
    assert_eq!(status("alice"), 401);
}

#[test]
fn servers_that_show_no_keys_do_no_harm() {
    let issuer = Issuer::new(15);
    let token = issuer.token(&claims("alice"));
    let elsewhere = KeyServer::start(Answer::Keys(issuer.jwks()));
    let location: &'static str = format!("Location: {}", elsewhere.url()).leak();
    let secret = json!({"keys": [{"kty": "oct", "k": base64url(&[7; 32]), "alg": "HS256", "kid": "s"}]});
    let same = json!({"keys": [issuer.jwk("same"), Issuer::new(16).jwk("same")]});
    for (what, answer) in [
        ("100 MB", Answer::Huge),
        ("a drip", Answer::Drip),
        ("a redirect", Answer::Status(302, location)),
        ("an error", Answer::Status(500, "X: y")),
        ("no content", Answer::Status(204, "X: y")),
        ("no JSON", Answer::Keys("<html>".to_owned())),
        ("deep JSON", Answer::Keys("[".repeat(200_000))),
        ("no set", Answer::Keys("{\"keys\": {}}".to_owned())),
        ("no keys", Answer::Keys("{\"keys\": []}".to_owned())),
        ("a secret", Answer::Keys(secret.to_string())),
        ("two keys of a name", Answer::Keys(same.to_string())),
    ] {
        let server = KeyServer::start(answer);
        let world = fetching(&server, "timeout = \"1s\"");
        eventually(what, || {
            let failed = world.gateway.metric(r#"gateway_jwks_fetches_total{result="failed"}"#);
            (failed >= 1.0).then_some(())
        });
        assert_eq!(world.status(&token), 503, "{what}");
        assert_eq!(world.gateway.metric("gateway_jwks_keys"), 0.0, "{what}");
    }
    assert_eq!(elsewhere.count(), 0, "a redirect is not followed");
}

#[test]
fn keys_that_cannot_be_used_are_left_out() {
    let issuer = Issuer::new(17);
    let keys = [
        issuer.jwk(KID),
        issuer.jwk(KID),
        json!({"kty": "unheard-of", "kid": "x"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "short"}),
        json!({"kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB", "kid": "small"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": 5, "kid": "number"}),
        json!({"kty": "oct", "k": base64url(&[7; 32]), "alg": "HS256", "kid": "s"}),
        json!(7),
    ];
    let mut for_encryption = Issuer::new(18).jwk("enc");
    for_encryption["use"] = json!("enc");
    let set = json!({"keys": keys.into_iter().chain([for_encryption]).collect::<Vec<_>>()});
    let server = KeyServer::start(Answer::Keys(set.to_string()));
    let world = fetching(&server, "");
    assert_eq!(world.status(&issuer.token(&claims("alice"))), 200);
    assert_eq!(world.gateway.metric("gateway_jwks_keys"), 1.0);
    assert_eq!(world.status(&Issuer::new(18).named("enc", &claims("alice"))), 401);
    let known = "{\"alg\":\"HS256\",\"kid\":\"s\"}";
    assert_eq!(world.status(&with_secret(known, &claims("alice").to_string(), &[7; 32])), 401);
    assert!(world.gateway.log().contains("other keys from http://127.0.0.1"), "{}", world.gateway.log());
}

#[test]
fn an_explanation_judges_a_token() {
    let issuer = Issuer::new(19);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    fs::write(&file, issuer.jwks()).unwrap();
    let backend = MockBackend::start_blocking().unwrap();
    let explain = |jwks: &str, token: &str| {
        let config = format!("[server]\n{}", config(&backend, "", &format!("jwks = {jwks}\n{RULES}"), ""));
        let told = run(&config, &["explain", "-H", &format!("Authorization: Bearer {token}"), "GET", "/a"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        told.stdout
    };
    let alice = issuer.token(&claims("alice"));
    let told = explain(&format!("{file:?}"), &alice);
    assert!(told.contains("alice, plan pro") && !told.contains(&alice), "{told}");
    let told = explain(&format!("{file:?}"), &issuer.named("other", &claims("alice")));
    assert!(told.contains("401") && told.contains("unknown key"), "{told}");
    let told = explain("\"http://127.0.0.1:9/\"", &alice);
    assert!(told.contains("503") && told.contains("have not been fetched"), "{told}");
}
