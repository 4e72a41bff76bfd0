//! What holds for every route: the server's name, HEAD, refusals, and both versions of HTTP.

use axum::http::{Request, Version};
use mock_backend::MockBackend;
use serde_json::{Value, json};

use crate::support::{Connection, get, send, start};

#[test]
fn every_response_names_its_server() {
    let backend = MockBackend::builder().name("b-7").start_blocking().unwrap();
    for target in
        ["/users", "/users/x", "/nowhere", "/health/bad", "/status/204", "/data?fail=1", "/sse?events=0"]
    {
        assert_eq!(get(backend.addr(), target).header("x-backend"), Some("b-7"), "{target}");
    }
}

#[test]
fn head_is_get_without_the_body() {
    let backend = start();
    for target in ["/users", "/users/1", "/users/99", "/health", "/bytes/1000", "/stream", "/sse", "/nowhere"]
    {
        let mut connection = Connection::open(backend.addr());
        connection.write("HEAD", target, &[], b"");
        let head = connection.read("HEAD");
        // The connection goes on with the next response, so there was no body.
        connection.write("GET", "/health", &[], b"");
        assert_eq!(connection.read("GET").status, 200, "{target}");

        let mut connection = Connection::open(backend.addr());
        connection.write("GET", target, &[], b"");
        let full = connection.read_head();
        assert_eq!(head.status, full.status, "{target}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), full.header(name), "{target}");
        }
    }
}

#[test]
fn unknown_paths_and_wrong_methods_are_told_apart() {
    let backend = start();
    for target in ["/", "/users/", "/users/1/2", "/USERS", "//users", "*"] {
        get(backend.addr(), target).assert_problem(404);
    }
    for (method, target, allow) in [
        ("DELETE", "/users", "GET,HEAD,POST"),
        ("POST", "/users/1", "GET,HEAD"),
        ("GET", "/health/bad", "POST"),
        ("POST", "/bytes/1", "GET,HEAD"),
    ] {
        let response = send(backend.addr(), method, target, &[], b"");
        response.assert_problem(405);
        assert_eq!(response.header("allow"), Some(allow), "{target}");
    }
}

#[tokio::test]
async fn a_websocket_opens_over_http2() {
    let backend = MockBackend::start().await.unwrap();
    let addr = backend.addr();
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    // The server's settings, which allow the method, come before its answer to anything.
    let mut client = client.ready().await.unwrap();
    let health = Request::builder().uri(format!("http://{addr}/health")).body(()).unwrap();
    client.send_request(health, true).unwrap().0.await.unwrap();

    let connect = Request::builder()
        .method("CONNECT")
        .uri(format!("http://{addr}/ws"))
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    let (response, mut sending) = client.send_request(connect, false).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    // A masked text frame with a mask of zeros, and the same unmasked.
    sending.send_data(b"\x81\x82\0\0\0\0hi"[..].into(), false).unwrap();
    assert_eq!(&response.body_mut().data().await.unwrap().unwrap()[..], b"\x81\x02hi");
    driver.abort();
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    let backend = MockBackend::start().await.unwrap();
    let addr = backend.addr();
    let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);

    let uri = format!("http://{addr}/echo/two?x=%2F");
    let request = Request::builder().version(Version::HTTP_2).uri(uri).body(()).unwrap();
    let (response, _) = client.ready().await.unwrap().send_request(request, true).unwrap();
    let mut response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-backend"], "mock");
    let mut body = Vec::new();
    while let Some(piece) = response.body_mut().data().await {
        body.extend_from_slice(&piece.unwrap());
    }
    let echo: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(echo["version"], "HTTP/2.0");
    assert_eq!(echo["target"], "/echo/two?x=%2F");
    assert_eq!(echo["authority"], json!(addr.to_string()));
    assert_eq!(backend.requests()[0].path(), "/echo/two");

    drop(response);
    driver.abort();
    backend.stop().await;
}
