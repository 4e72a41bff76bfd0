//! Asks servers that answer as they please.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::tests::{file, identity};
use crate::tls::{ServerTls, read_authorities};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), max_body: 1000 };
const SOON: Duration = Duration::from_millis(300);

/// A server of one test.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// What a server does after it has read a head.
#[derive(Clone, Copy)]
enum After {
    /// Reads the next head.
    Reads,
    /// Closes the connection.
    Closes,
    /// Waits until the client closes it.
    Waits,
    /// Sends this again and again, as long as the client takes it.
    Repeats(&'static str),
}

impl Server {
    /// Answers each request with this.
    async fn start(answer: String, after: After) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, answer.clone(), after));
            }
        });
        Self { address, connections }
    }

    async fn ask(&self, limits: Limits) -> Result<Response<Bytes>, FetchError> {
        client().ask(question(&format!("http://{}/a?b", self.address)), limits).await
    }
}

async fn serve(mut socket: TcpStream, answer: String, after: After) -> io::Result<()> {
    let mut head = Vec::new();
    loop {
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).await?;
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"GET /a?b HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
        head.clear();
        socket.write_all(answer.as_bytes()).await?;
        match after {
            After::Reads => {}
            After::Closes => return Ok(()),
            After::Waits => {
                return socket.read(&mut byte).await.map(drop);
            }
            After::Repeats(text) => loop {
                socket.write_all(text.as_bytes()).await?;
            },
        }
    }
}

fn client() -> Client {
    Client::new(&Authorities::from([])).unwrap()
}

fn question(url: &str) -> Request<()> {
    Request::get(url).body(()).unwrap()
}

fn with_body(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_answer_is_whole_and_its_connection_is_used_again() {
    let server = Server::start(with_body("hello"), After::Reads).await;
    let (client, url) = (client(), format!("http://{}/a?b", server.address));
    for _ in 0..3 {
        let answer = client.ask(question(&url), LIMITS).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"hello"[..]));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_answer_may_end_with_its_connection_or_be_in_pieces() {
    let pieces =
        "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n";
    for (answer, body) in [("HTTP/1.0 404 No\r\n\r\nall of it", "all of it"), (pieces, "abcde")] {
        let server = Server::start(answer.to_owned(), After::Closes).await;
        let answer = server.ask(LIMITS).await.unwrap();
        assert_eq!(answer.body(), body);
        assert!(answer.status().as_u16() >= 404);
    }
}

#[tokio::test]
async fn interim_responses_are_skipped_and_redirects_are_answers() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(3);
    let server = Server::start(
        interim + "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
        After::Reads,
    );
    let answer = server.await.ask(LIMITS).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].as_bytes()), (302, &b"/b"[..]));
    let server = Server::start(String::new(), After::Repeats("HTTP/1.1 100 Continue\r\n\r\n")).await;
    let limits = Limits { timeout: SOON, ..LIMITS };
    assert_eq!(
        server.ask(limits).await.unwrap_err(),
        FetchError::TimedOut,
        "no interim response is the last"
    );
}

#[tokio::test]
async fn reading_stops_at_the_largest_body() {
    let server = Server::start(with_body(&"x".repeat(1000)), After::Reads).await;
    assert_eq!(server.ask(LIMITS).await.unwrap().body().len(), 1000);
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, after) in [
        (with_body(&"x".repeat(1001)), After::Reads),
        ("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551614\r\n\r\n".to_owned(), After::Waits),
        (endless.to_owned(), After::Repeats("a\r\n0123456789\r\n")),
        ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), After::Repeats("0123456789")),
    ] {
        let server = Server::start(answer, after).await;
        assert_eq!(server.ask(LIMITS).await.unwrap_err(), FetchError::TooLarge);
    }
}

#[tokio::test]
async fn heads_are_bounded_and_have_one_reading() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    let server = Server::start(head(&format!("A: {}\r\n", "x".repeat(MAX_HEAD))), After::Waits).await;
    assert_eq!(server.ask(LIMITS).await.unwrap_err(), FetchError::TooLarge);
    let server = Server::start("HTTP/1.1 200 OK\r\n".to_owned(), After::Repeats("A: b\r\n")).await;
    assert_eq!(server.ask(LIMITS).await.unwrap_err(), FetchError::TooLarge);
    for wrong in [
        head(&"A: b\r\n".repeat(MAX_FIELDS)),
        head("A: b\r\n c\r\n"),
        head("A: b\0\r\n"),
        head("A: b\rc\r\n"),
        head("A : b\r\n"),
        head("Content-Length: 1\r\n"),
        "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
    ] {
        let server = Server::start(wrong.clone(), After::Waits).await;
        let error = server.ask(LIMITS).await.unwrap_err();
        assert!(matches!(error, FetchError::Broken(_) | FetchError::TooLarge), "{wrong:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_cut_off_is_no_answer() {
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\nA",
        &with_body("hello")[..40],
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let server = Server::start(cut.to_owned(), After::Closes).await;
        let error = server.ask(LIMITS).await.unwrap_err();
        assert!(matches!(error, FetchError::Broken(_)), "{cut:?}: {error:?}");
    }
}

#[tokio::test]
async fn there_is_one_deadline_for_the_whole() {
    for begun in ["", "HTTP/1.1 200 OK\r\nA", &with_body("hello")[..40]] {
        let server = Server::start(begun.to_owned(), After::Waits).await;
        let limits = Limits { timeout: SOON, ..LIMITS };
        assert_eq!(server.ask(limits).await.unwrap_err(), FetchError::TimedOut, "{begun:?}");
    }
    // Connecting too: a server that does not answer the handshake of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/a?b", listener.local_addr().unwrap());
    let limits = Limits { timeout: SOON, ..LIMITS };
    assert_eq!(client().ask(question(&url), limits).await.unwrap_err(), FetchError::TimedOut);
}

#[tokio::test]
async fn nobody_waits_for_a_body_that_nobody_wants() {
    let endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, after) in [
        (with_body("hello")[..40].to_owned(), After::Waits),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".to_owned(), After::Repeats("0123456789")),
        (endless.to_owned(), After::Repeats("a\r\n0123456789\r\n")),
    ] {
        let server = Server::start(answer, after).await;
        let url = format!("http://{}/a?b", server.address);
        assert_eq!(client().ask_for_head(question(&url), LIMITS.timeout).await.unwrap().status(), 200);
    }
    // What is short is read, so that its connection can be used again.
    let server = Server::start(with_body("hello"), After::Reads).await;
    let (client, url) = (client(), format!("http://{}/a?b", server.address));
    client.ask_for_head(question(&url), LIMITS.timeout).await.unwrap();
    while server.connections.load(Ordering::SeqCst) < 10 {
        let before = server.connections.load(Ordering::SeqCst);
        tokio::task::yield_now().await;
        client.ask_for_head(question(&url), LIMITS.timeout).await.unwrap();
        if server.connections.load(Ordering::SeqCst) == before {
            return;
        }
    }
    panic!("no connection was used again");
}

#[tokio::test]
async fn an_error_says_that_nobody_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    for url in [&url, "http://name.invalid/", "http://[::ffff:127.0.0.1]:1/"] {
        let error = client().ask(question(url), LIMITS).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable(_)), "{url}: {error:?}");
    }
    // What has no scheme or another one is no question that can be asked.
    for url in ["/a", "ftp://a.example/"] {
        client().ask(question(url), LIMITS).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_service_over_https_is_believed_for_its_certificate() {
    let tls =
        ServerTls { identities: vec![identity("localhost")], client_authorities: None, strangers: false };
    let acceptor = TlsAcceptor::from(Arc::new(tls.server_config().unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut socket) = acceptor.accept(socket).await {
                let _ = socket.write_all(with_body("hello").as_bytes()).await;
                let _ = socket.read(&mut [0; 1000]).await;
            }
        }
    });
    let trusting = Client::new(&read_authorities(&file("ca.pem")).unwrap()).unwrap();
    let url = format!("https://localhost:{port}/a?b");
    assert_eq!(trusting.ask(question(&url), LIMITS).await.unwrap().body(), "hello");
    let unknown = client().ask(question(&url), LIMITS).await.unwrap_err();
    assert!(matches!(&unknown, FetchError::Unreachable(why) if why.contains("UnknownIssuer")), "{unknown:?}");
    let other_name = trusting.ask(question(&format!("https://127.0.0.2:{port}/")), LIMITS).await.unwrap_err();
    assert!(matches!(other_name, FetchError::Unreachable(_)), "{other_name:?}");
}
