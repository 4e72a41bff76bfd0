//! Starting and stopping in a test, and the log.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};

use mock_backend::MockBackend;

use crate::support::{Connection, eventually, get, send, start};

/// A server whose port no other test takes when it is released: the address is for the one test with this
/// number, where there is more than one loopback address.
fn start_apart(number: u8) -> MockBackend {
    let last = if cfg!(target_os = "linux") { number } else { 1 };
    MockBackend::builder().listen(SocketAddr::from(([127, 0, 0, last], 0))).start_blocking().unwrap()
}

fn assert_released(addr: SocketAddr) {
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    TcpListener::bind(addr).unwrap();
}

/// A connection in the middle of a response that does not end.
fn open_stream(addr: SocketAddr) -> Connection {
    let mut connection = Connection::open(addr);
    connection.write("GET", "/sse?interval=600s", &[], b"");
    connection.read_head();
    connection.read_chunk().unwrap();
    connection
}

#[test]
fn requests_are_logged_as_they_arrive() {
    let backend = start();
    assert_eq!((backend.count(), backend.requests().len()), (0, 0));
    get(backend.addr(), "/users?fail=1&x=%20");
    send(backend.addr(), "POST", "/nowhere", &[("X-Key", "k")], b"abc");
    let mut waiting = Connection::open(backend.addr());
    waiting.write("GET", "/data?delay=600s", &[], b"");
    eventually("the third request is logged before its answer", || backend.count() == 3);

    let requests = backend.requests();
    assert_eq!(requests.len(), 3);
    assert_eq!((requests[0].method.as_str(), requests[0].target.as_str()), ("GET", "/users?fail=1&x=%20"));
    assert_eq!(requests[0].path(), "/users");
    assert_eq!((requests[1].method.as_str(), requests[1].header("x-key")), ("POST", Some("k")));
    assert_eq!(requests[1].authority.as_deref(), Some("test"));
    assert_eq!(requests[2].path(), "/data");
}

#[test]
fn each_server_has_its_own_port_and_log() {
    let (one, two) = (start(), start());
    assert_ne!(one.addr(), two.addr());
    get(one.addr(), "/users");
    assert_eq!((one.count(), two.count()), (1, 0));
}

#[test]
fn stopping_releases_the_port_for_the_next() {
    let backend = start_apart(2);
    let addr = backend.addr();
    get(addr, "/users");
    let _idle = Connection::open(addr);
    backend.stop_blocking();
    assert_released(addr);
    let again = MockBackend::builder().listen(addr).start_blocking().unwrap();
    assert_eq!(again.addr(), addr);
    assert_eq!(get(addr, "/users").status, 200);
}

#[test]
fn stopping_lets_a_request_in_flight_end() {
    let backend = start();
    let mut connection = Connection::open(backend.addr());
    connection.write("GET", "/users?delay=50ms", &[], b"");
    eventually("the request has arrived", || backend.count() == 1);
    backend.stop_blocking();
    assert_eq!(connection.read("GET").status, 200);
}

#[test]
fn stopping_does_not_wait_for_an_endless_stream() {
    let backend = start_apart(3);
    let addr = backend.addr();
    let connection = open_stream(addr);
    backend.stop_blocking();
    connection.assert_cut_off();
    assert_released(addr);
}

#[test]
fn dropping_cuts_everything_off() {
    let backend = start_apart(4);
    let addr = backend.addr();
    let connection = open_stream(addr);
    drop(backend);
    assert_released(addr);
    connection.assert_cut_off();
}

#[tokio::test]
async fn async_code_can_start_stop_and_drop() {
    assert!(MockBackend::start().await.unwrap().addr().ip().is_loopback());
    let backend = start_apart(5);
    let addr = backend.addr();
    backend.stop().await;
    assert_released(addr);
    let backend = MockBackend::builder().listen(addr).start().await.unwrap();
    drop(backend);
    assert_released(addr);
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let taken = start();
    let error = MockBackend::builder().listen(taken.addr()).start_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    for name in ["", "a b", "é", "a\r\nX: y"] {
        let error = MockBackend::builder().name(name).start_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name:?}");
    }
}
