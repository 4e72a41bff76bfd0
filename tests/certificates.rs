//! Who is asking, by the certificate that a client shows: in its handshake, or to a trusted proxy, which says so.

use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, Response, request};
use crate::support::http2;
use crate::support::program::run;
use crate::support::tls::{Client, certificates, chain, file};
use crate::support::to_upstream;

/// A consumer who lists the name of its certificate, and a plan for it.
const ALICE: &str = "[plans.pro]\n[consumers.alice]\nplan = \"pro\"\n";

/// A gateway that asks its clients for certificates of the authority of clients. The settings are as for [`to_upstream`].
#[track_caller]
fn asking(listener: &str, settings: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let tls =
        format!("{}\ntls.client_ca = {:?}\n{listener}", certificates(&["localhost"]), file("clients_ca.pem"));
    (Gateway::speaking_tls(&to_upstream(backend.addr(), &format!("{tls}\n{settings}"))), backend)
}

fn client() -> Client {
    Client::new("localhost")
}

/// The answer to a request on a new connection; `None` if the handshake fails, on either side.
fn ask(gateway: &Gateway, client: Client, fields: &[(&str, &str)]) -> Option<Response> {
    let mut connection = Connection::open_tls(gateway.address(), client).ok()?;
    connection.try_send(request("GET", "/echo", fields, "")).ok()?;
    connection.try_response()
}

/// What an upstream was told of the consumer, and then of its plan.
fn told(answer: &Response) -> [Option<String>; 2] {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let echo = answer.json();
    ["x-consumer", "x-plan"].map(|name| {
        let fields = echo["headers"].as_array().unwrap().iter();
        let mut found = fields.filter(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name));
        found.next().map(|field| field[1].as_str().unwrap().to_owned())
    })
}

#[test]
fn a_name_in_a_certificate_says_who_is_asking() {
    for name in [
        "spiffe://example.org/ns/x/sa/alice",
        "dns:alice.EXAMPLE.org",
        "email:Alice@example.org",
        "subject:CN=alice,O=Example\\\\, Inc.",
    ] {
        let consumer = format!("{ALICE}certificates = [\"{name}\"]\n");
        let (gateway, backend) = asking("", &format!("{consumer}---\n---\nauth = [\"client_certificate\"]"));
        let answer = ask(&gateway, client().showing("alice"), &[]).unwrap();
        assert_eq!(told(&answer), [Some("alice".to_owned()), Some("pro".to_owned())], "{name}");
        let mut http2 =
            http2::Connection::open_tls(gateway.address(), client().showing("alice").speaking(&["h2"]));
        for _ in 0..2 {
            assert_eq!(told(&http2.get("/echo"))[0].as_deref(), Some("alice"), "over HTTP/2");
        }
        let unknown = ask(&gateway, client().showing("bob"), &[]).unwrap();
        unknown.is_problem(401);
        assert_eq!(unknown.header("www-authenticate"), None);
        // No certificate, one of another authority, and one that has expired.
        for client in [client(), client().showing("client"), client().showing("alice_expired")] {
            assert!(ask(&gateway, client, &[]).is_none());
        }
        assert_eq!(backend.count(), 3);
    }
}

#[test]
fn a_certificate_may_bring_the_name_of_its_consumer() {
    for (from, alice, plan) in [
        ("san_uri", "spiffe://example.org/ns/x/sa/alice", None),
        // The certificate has two, of which one is a wildcard.
        ("san_dns", "alice.example.org", None),
        ("san_email", "Alice@example.org", None),
        ("subject_cn", "alice", Some("pro".to_owned())),
    ] {
        let auth = format!("{ALICE}[auth.client_certificate]\nname_from = \"{from}\"\n");
        let (gateway, _backend) = asking("", &format!("{auth}---\n---\nauth = [\"client_certificate\"]"));
        let answer = ask(&gateway, client().showing("alice"), &[]).unwrap();
        assert_eq!(told(&answer), [Some(alice.to_owned()), plan], "{from}");
    }
    // Two names could be two consumers.
    let bob = "[consumers.bob]\ncertificates = [\"dns:bob.example.org\"]\n";
    for (consumers, both) in [
        ("certificates = [\"dns:alice.example.org\"]\n".to_owned(), 200),
        (format!("certificates = [\"dns:alice.example.org\"]\n{bob}"), 401),
        (String::new(), 401),
    ] {
        let auth = "[auth.client_certificate]\nname_from = \"san_dns\"\n";
        let (gateway, _backend) =
            asking("", &format!("{ALICE}{consumers}{auth}---\n---\nauth = [\"client_certificate\"]"));
        assert_eq!(ask(&gateway, client().showing("both"), &[]).unwrap().status, both, "{consumers}");
    }
}

#[test]
fn certificates_may_be_asked_for_by_routes_only() {
    let auth = format!("{ALICE}certificates = [\"spiffe://example.org/ns/x/sa/alice\"]\n");
    let optional = "tls.client_certificates = \"optional\"";
    let (gateway, _backend) = asking(optional, &format!("{auth}---\n---\nauth = [\"client_certificate\"]"));
    ask(&gateway, client(), &[]).unwrap().is_problem(401);
    assert_eq!(ask(&gateway, client().showing("alice"), &[]).unwrap().status, 200);
    assert!(ask(&gateway, client().showing("client"), &[]).is_none(), "a wrong one is none");
    let route = "auth = [\"client_certificate\"]\nauth_required = false";
    let (gateway, _backend) = asking(optional, &format!("{auth}---\n---\n{route}"));
    assert_eq!(told(&ask(&gateway, client(), &[]).unwrap())[0], None);
}

/// `Client-Cert` for a certificate of the fixtures.
fn said(name: &str) -> String {
    format!(":{}:", STANDARD.encode(&chain(name)[0]))
}

#[test]
fn a_trusted_proxy_says_which_certificate_it_has_seen() {
    let alice = format!("{ALICE}certificates = [\"spiffe://example.org/ns/x/sa/alice\"]\n");
    let proxied = |server: &str, from_proxy: bool, route: &str| {
        let auth = format!("[auth.client_certificate]\nname_from = \"san_uri\"\nfrom_proxy = {from_proxy}\n");
        let backend = MockBackend::start_blocking().unwrap();
        let config = to_upstream(backend.addr(), &format!("{server}\n{alice}{auth}---\n---\n{route}"));
        (Gateway::start(&config), backend)
    };
    let trusting = "trusted_proxies = [\"127.0.0.1\"]";
    let route = "auth = [\"client_certificate\"]\nauth_required = false";
    let (alice_said, bob_said) = (said("alice"), said("bob"));
    let (gateway, _backend) = proxied(trusting, true, route);
    let get = |fields: &[(&str, &str)]| gateway.get_with("/echo", fields);
    let answer = get(&[("Client-Cert", &alice_said), ("Client-Cert-Chain", &bob_said)]);
    assert_eq!(told(&answer), [Some("alice".to_owned()), Some("pro".to_owned())]);
    assert!(!answer.text().to_lowercase().contains("client-cert"), "{}", answer.text());
    let bob = Some("spiffe://example.org/ns/x/sa/bob".to_owned());
    assert_eq!(told(&get(&[("client-cert", &bob_said)]))[0], bob);
    assert_eq!(told(&get(&[]))[0], None);
    // In another spelling it is nobody's word.
    let other =
        get(&[("Client_Cert", &alice_said), ("client.cert", &alice_said), ("Client_Cert_Chain", "x")]);
    assert_eq!(told(&other)[0], None);
    assert!(!other.text().to_lowercase().contains("cert"), "{}", other.text());
    for twice in [[&alice_said, &alice_said], [&alice_said, &bob_said]] {
        get(&twice.map(|value| ("Client-Cert", value.as_str()))).is_problem(400);
    }
    let unpadded = alice_said.trim_matches(':').trim_end_matches('=').to_owned();
    for wrong in [
        "",
        "::",
        ":",
        "alice",
        alice_said.trim_matches(':'),
        &format!("{alice_said};a=1"),
        &format!("{alice_said}, {bob_said}"),
        &format!(":{}:", &unpadded[..unpadded.len() - 3]),
        ":AAAA:",
        ":!:",
    ] {
        get(&[("Client-Cert", wrong)]).is_problem(400);
    }
    // Who is no trusted proxy says nothing, nor does a proxy that is not believed about this; on no route.
    for (server, from_proxy) in [("", true), (trusting, false)] {
        for (route, underscores) in [(route, ""), ("", ""), (route, "underscores_in_headers = true")] {
            // Without this the file would have a way that nobody can go.
            if !from_proxy && !route.is_empty() {
                continue;
            }
            let (gateway, _backend) = proxied(&format!("{server}\n{underscores}"), from_proxy, route);
            let fields =
                ["Client-Cert", "Client_Cert", "client.cert", "Client-Cert-Chain", "CLIENT_CERT_CHAIN"];
            let answer = gateway.get_with("/echo", &fields.map(|name| (name, alice_said.as_str())));
            assert_eq!(told(&answer)[0], None);
            assert!(!answer.text().to_lowercase().contains("cert"), "{}", answer.text());
        }
    }
}

#[test]
fn the_certificate_of_a_proxy_is_not_that_of_its_clients() {
    let auth = "[auth.client_certificate]\nname_from = \"subject_cn\"\nfrom_proxy = true\n";
    let route = "auth = [\"client_certificate\"]\nauth_required = false";
    let (gateway, _backend) =
        asking("trusted_proxies = [\"127.0.0.1\"]", &format!("{ALICE}{auth}---\n---\n{route}"));
    let proxy = || client().showing("bob");
    assert_eq!(told(&ask(&gateway, proxy(), &[]).unwrap())[0], None);
    let answer = ask(&gateway, proxy(), &[("Client-Cert", &said("alice"))]).unwrap();
    assert_eq!(told(&answer)[0].as_deref(), Some("alice"));
}

#[test]
fn an_explanation_reads_what_a_proxy_says() {
    let auth = format!("{ALICE}[auth.client_certificate]\nname_from = \"subject_cn\"\nfrom_proxy = true\n");
    let config = to_upstream(
        "127.0.0.1:9".parse().unwrap(),
        &format!(
            "[server]\ntrusted_proxies = [\"10.0.0.1\"]\n{auth}---\n---\nauth = [\"client_certificate\"]"
        ),
    );
    let field = format!("Client-Cert: {}", said("alice"));
    let explain = |from: &str| {
        let explained = run(&config, &["explain", "--from", from, "-H", &field, "GET", "/a"]);
        assert_eq!(explained.code, Some(0), "{explained:?}");
        explained.stdout
    };
    assert!(explain("10.0.0.1").contains("x-consumer: alice"));
    let stranger = explain("10.0.0.2");
    assert!(stranger.contains("401") && stranger.contains("only a trusted proxy may say it"), "{stranger}");
}

/// A client that is made of another TLS library.
#[test]
fn openssl_shows_a_certificate() {
    let is_there = Command::new("openssl").arg("version").stdout(Stdio::null()).status();
    if !is_there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: openssl is not installed");
        return;
    }
    let auth =
        "[auth.client_certificate]\nname_from = \"san_uri\"\n---\n---\nauth = [\"client_certificate\"]";
    let (gateway, backend) = asking("", auth);
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("request");
    fs::write(&asked, "GET /users HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let output = Command::new("openssl")
            .args(["s_client", "-quiet", version, "-connect", &gateway.address().to_string()])
            .args(["-servername", "localhost", "-ign_eof"])
            .arg("-cert")
            .arg(file("alice.pem"))
            .arg("-key")
            .arg(file("alice.key"))
            .stdin(fs::File::open(&asked).unwrap())
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}{}", String::from_utf8_lossy(&output.stderr));
    }
    let told: Vec<_> =
        backend.requests().iter().map(|request| request.header("x-consumer").map(str::to_owned)).collect();
    assert_eq!(told, [(); 2].map(|()| Some("spiffe://example.org/ns/x/sa/alice".to_owned())));
}
