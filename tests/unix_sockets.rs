//! Servers of an upstream that listen on Unix sockets.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::gateway::Gateway;
use crate::support::http2::Upstream;
use crate::support::{before_servers, eventually};

/// Serves requests without a body at a socket, and answers with the `Host` of each. How many connections it has taken.
fn serve(path: &Path) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(path).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
                loop {
                    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                    let Some(host) = head.iter().find_map(|line| line.strip_prefix("Host: ")) else { return };
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len());
                    if (&socket).write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    taken
}

fn before(path: &Path, settings: &str) -> Gateway {
    Gateway::start(&before_servers(&[format!("\"unix:{}\"", path.display())], settings))
}

#[test]
fn a_server_may_be_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let taken = serve(&path);
    let gateway = before(&path, "");
    let mut client = gateway.connect();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "localhost");
    }
    assert_eq!(taken.load(Ordering::SeqCst), 1, "a connection is used again");
    // A client of HTTP/1.0 names no host.
    assert_eq!(gateway.raw("GET / HTTP/1.0\r\n\r\n").text(), "localhost");
    let name = format!("unix:{}", path.display());
    assert_eq!(gateway.access_log(6)[0]["upstream"], name.as_str());
    let stats = gateway.admin_get("/stats").json();
    let server = &stats["upstreams"]["main"]["servers"][0];
    assert_eq!((&server["server"], &server["address"]), (&name.clone().into(), &name.clone().into()));
    let up = format!(r#"gateway_upstream_server_up{{server="{name}",upstream="main"}}"#);
    gateway.metric_becomes(&up, 1.0);
}

#[test]
fn a_socket_is_checked_and_may_come_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let gateway = before(
        &path,
        "health = { path = \"/\", interval = \"20ms\", unhealthy_after = 1, healthy_after = 1, body = \"localhost\" }",
    );
    gateway.wait_for_log_line("unhealthy: No such file or directory");
    gateway.get("/").is_problem(503);
    serve(&path);
    eventually("it is used", || (gateway.get("/").status == 200).then_some(()));
}

#[test]
fn a_socket_that_nobody_serves_is_a_server_that_takes_no_connections() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let gateway = before(&path, "");
    let response = gateway.get("/");
    response.is_problem(502);
    assert!(!response.text().contains("app.sock"), "{}", response.text());
    gateway.metric_becomes(r#"gateway_upstream_errors_total{kind="connect",upstream="main"}"#, 1.0);
}

#[test]
fn http2_is_spoken_at_a_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let _upstream = Upstream::at_socket(&path);
    let gateway = before(&path, "http2 = true");
    for _ in 0..3 {
        let response = gateway.get("/echo");
        assert_eq!(response.header("x-seen"), Some("GET http://localhost/echo te=none host=none"));
    }
}
