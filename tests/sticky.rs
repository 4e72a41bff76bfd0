//! The cookie by which a client comes back to the server that answered it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, Response};
use crate::support::tls::{Client, certificates};
use crate::support::upstream::{Exchange, RawUpstream};
use crate::support::{backends, before_servers, http2, quoted};

const STICKY: &str = "sticky = { cookie = \"gw\", secret = \"0123456789abcdef\" }";

fn start(servers: &[String], settings: &str) -> Gateway {
    Gateway::start_with_admin(&before_servers(servers, settings), "token = \"t\"")
}

/// What an answer sets the cookie to, with its attributes; `None` if it does not set it.
#[track_caller]
fn set(response: &Response) -> Option<&str> {
    let mut fields = response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let field = fields.find(|(_, value)| value.starts_with("gw="));
    assert!(!fields.any(|(_, value)| value.starts_with("gw=")), "it is set once at most");
    field.map(|(_, value)| value.as_str())
}

/// The same, as a browser sends it.
#[track_caller]
fn given(response: &Response) -> String {
    let field = set(response).unwrap_or_else(|| panic!("no cookie in {:?}", response.headers));
    field.split_once(';').unwrap().0.to_owned()
}

fn server(response: &Response) -> &str {
    assert_eq!(response.status, 200);
    response.header("x-backend").unwrap()
}

/// The cookies that the server received.
fn received(response: &Response) -> Vec<String> {
    let echo = response.json();
    let fields = echo["headers"].as_array().unwrap().iter();
    let cookies = fields.filter(|field| field[0] == "cookie");
    cookies.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_client_comes_back_to_its_server() {
    let backends = backends(3);
    let servers: Vec<_> = backends.iter().map(|backend| quoted(backend.addr())).collect();
    let gateway = start(&servers, STICKY);
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let first = gateway.get_with("/echo", &[("Cookie", "a=b")]);
        assert_eq!(received(&first), ["a=b"]);
        let cookie = given(&first);
        let attributes = set(&first).unwrap().strip_prefix(&cookie);
        assert_eq!(attributes, Some("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"));
        for cookies in [&*cookie, &format!("a=b; {cookie}; c=d"), &format!("{cookie};a=b")] {
            let again = gateway.get_with("/echo", &[("Cookie", cookies)]);
            assert_eq!((server(&again), set(&again)), (server(&first), None), "{cookies}");
            assert!(
                received(&again).iter().all(|cookies| !cookies.contains("gw=")),
                "{:?}",
                received(&again)
            );
        }
        let several = gateway.get_with("/echo", &[("Cookie", "a=b"), ("Cookie", &cookie), ("Cookie", "c=d")]);
        assert_eq!((server(&several), received(&several)), (server(&first), vec!["a=b; c=d".to_owned()]));
        // HTTP/2 has each cookie in a field of its own.
        let mut client = http2::Connection::open(gateway.address());
        let fields = [("cookie", "a=b"), ("cookie", &*cookie)];
        let over_http2 = client.send(http2::request("GET", "/echo", &fields), "");
        assert_eq!((server(&over_http2), set(&over_http2)), (server(&first), None));
        assert_eq!(received(&over_http2), ["a=b"]);
        seen.insert(cookie);
    }
    assert_eq!(seen.len(), 3, "each server has a cookie of its own");
    for backend in &backends {
        let address = backend.addr().to_string();
        assert!(seen.iter().all(|cookie| !cookie.contains(&address)));
    }
    assert!(!gateway.admin_get("/config").text().contains("0123456789abcdef"));
    assert!(!gateway.log().contains("0123456789abcdef"));
    // Other gateways with the secret know the servers by the same values, in whatever order they name them.
    let reversed: Vec<_> = servers.iter().rev().cloned().collect();
    let [other, stranger] =
        [STICKY.to_owned(), STICKY.replace('f', "x")].map(|settings| start(&reversed, &settings));
    for cookie in &seen {
        let here = gateway.get_with("/echo", &[("Cookie", cookie)]);
        let there = other.get_with("/echo", &[("Cookie", cookie)]);
        assert_eq!((server(&here), set(&there)), (server(&there), None));
        assert!(!seen.contains(&given(&stranger.get_with("/echo", &[("Cookie", cookie)]))));
    }
}

#[test]
fn what_is_no_value_or_two_is_ignored_and_set_anew() {
    let backends = backends(2);
    let gateway = start(&[quoted(backends[0].addr()), quoted(backends[1].addr())], STICKY);
    let [one, two] = [(), ()].map(|()| given(&gateway.get("/echo")));
    assert_ne!(one, two);
    for cookies in
        ["gw=", "gw=127.0.0.1:80", &format!("{one}; {two}"), &format!("{one}; {one}"), &format!("{one}0")]
    {
        let answers: Vec<_> = (0..2).map(|_| gateway.get_with("/echo", &[("Cookie", cookies)])).collect();
        let servers: BTreeSet<_> = answers.iter().map(server).collect();
        assert_eq!(servers.len(), 2, "{cookies}: they take turns");
        assert!(
            answers.iter().all(|answer| set(answer).is_some() && received(answer).is_empty()),
            "{cookies}"
        );
    }
}

#[test]
fn the_cookie_is_that_of_the_server_that_answered() {
    let mut backends = backends(2);
    let gateway = start(&[quoted(backends[0].addr()), quoted(backends[1].addr())], STICKY);
    let first = gateway.get("/echo");
    let (gone, cookie) = (server(&first).to_owned(), given(&first));
    let at = usize::from(gone == "b");
    backends.remove(at).stop_blocking();
    let mut connection = gateway.connect();
    let next = connection.get_with("/echo", &[("Cookie", &cookie)]);
    assert_ne!(server(&next), gone);
    assert_ne!(given(&next), cookie);
    let stays = connection.get_with("/echo", &[("Cookie", &given(&next))]);
    assert_eq!((server(&stays), set(&stays)), (server(&next), None));

    // An answer that is not passed on sets no cookie either; what the server itself sets stays.
    let busy = RawUpstream::start(|exchange: &mut Exchange| {
        while exchange.read_head_text().is_some() {
            exchange.write("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let other = RawUpstream::start(|exchange: &mut Exchange| {
        while exchange.read_head_text().is_some() {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nSet-Cookie: own=1\r\n\r\n");
        }
    });
    let gateway =
        start(&[quoted(busy.address()), quoted(other.address())], &format!("{STICKY}\nretry_on = [503]"));
    let answers = [(), ()].map(|()| gateway.get("/"));
    assert_eq!(given(&answers[0]), given(&answers[1]));
    for answer in &answers {
        let own = ("set-cookie".to_owned(), "own=1".to_owned());
        let fields = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
        assert_eq!((answer.status, fields.filter(|field| *field == own).count()), (200, 1));
    }
}

#[test]
fn the_cookie_goes_by_https_where_the_client_came_by_it() {
    let backend = &backends(1)[0];
    let behind_proxy =
        format!("trusted_proxies = [\"127.0.0.1\"]\n{}", before_servers(&[quoted(backend.addr())], STICKY));
    let is_secure = |response: &Response| set(response).unwrap().ends_with("; SameSite=Lax; Secure");
    let proto = [("X-Forwarded-Proto", "https")];
    let trusting = Gateway::start(&behind_proxy);
    assert!(is_secure(&trusting.get_with("/echo", &proto)) && !is_secure(&trusting.get("/echo")));
    let gateway = start(&[quoted(backend.addr())], STICKY);
    assert!(!is_secure(&gateway.get_with("/echo", &proto)), "nobody vouches for it");
    let settings = certificates(&["localhost"]) + &before_servers(&[quoted(backend.addr())], STICKY);
    let encrypted = Gateway::speaking_tls(&settings);
    let mut connection = Connection::open_tls(encrypted.address(), Client::new("localhost")).unwrap();
    assert!(is_secure(&connection.get("/echo")));
}

#[test]
fn a_new_secret_begins_anew_and_explain_shows_what_the_server_receives() {
    let backends = backends(2);
    let servers = [quoted(backends[0].addr()), quoted(backends[1].addr())];
    let gateway = start(&servers, STICKY);
    let cookie = given(&gateway.get("/echo"));
    let explained: Value = gateway
        .admin_get(&format!("/explain?url=/echo&header=Cookie:a=b;{}", cookie.replace('=', "%3D")))
        .json();
    let choice = explained["upstream"]["choice"].as_str().unwrap();
    assert!(choice.starts_with("the one that the cookie `gw` asks for"), "{choice}");
    let fields = explained["sent"]["fields"].as_array().unwrap();
    let sent =
        fields.iter().find(|field| field["name"].as_str().unwrap().eq_ignore_ascii_case("cookie")).unwrap();
    assert_eq!(sent["value"], "a=b");
    let changed = before_servers(&servers, &STICKY.replace("0123", "4567"));
    gateway.write_file(&with_admin(&changed, "token = \"t\""));
    assert_eq!(gateway.post_reload(&TOKEN).status, 200);
    assert_ne!(given(&gateway.get_with("/echo", &[("Cookie", &cookie)])), cookie);
}
