use serde_json::json;

use crate::support::{Connection, get, send, start};

#[test]
fn bytes_come_in_the_number_asked_for() {
    let backend = start();
    for n in [0, 1, 61 * 1024 - 1, 61 * 1024, 61 * 1024 + 1, 5_000_000] {
        let response = get(backend.addr(), &format!("/bytes/{n}"));
        assert_eq!(response.status, 200);
        assert_eq!(response.header("content-length"), Some(n.to_string().as_str()));
        assert_eq!(response.header("transfer-encoding"), None);
        let cycle = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxy";
        assert!(response.body.iter().eq(cycle.iter().cycle().take(n)), "{n}");
    }
    for n in ["x", "-1", "18446744073709551616"] {
        get(backend.addr(), &format!("/bytes/{n}")).assert_problem(400);
    }
}

#[test]
fn an_upload_is_measured() {
    let backend = start();
    for length in [0, 1, 20_000_000] {
        let response = send(backend.addr(), "PUT", "/upload", &[], &vec![7; length]);
        assert_eq!((response.status, response.json()), (200, json!({ "length": length })));
    }
}

#[test]
fn an_upload_in_chunks_is_measured() {
    let backend = start();
    let mut connection = Connection::open(backend.addr());
    connection.write("POST", "/upload", &[("Transfer-Encoding", "chunked")], b"");
    connection.write_raw(b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n");
    assert_eq!(connection.read("POST").json(), json!({ "length": 8 }));
}

#[test]
fn an_upload_with_broken_chunks_is_refused() {
    let backend = start();
    let mut connection = Connection::open(backend.addr());
    connection.write("POST", "/upload", &[("Transfer-Encoding", "chunked")], b"");
    connection.write_raw(b"3\r\nabc\r\nno\r\n");
    connection.read("POST").assert_problem(400);
}
