use serde_json::{Value, json};

use crate::support::{Connection, get, send, start};

#[test]
fn the_request_comes_back_as_it_was_sent() {
    let target = "/echo/a%2Fb//c/../d?x=%zz&&y=1+2";
    let headers = [("B", "2"), ("A", "1"), ("b", "3")];
    let response = send(start().addr(), "PURGE", target, &headers, b"gr\xc3\xbc\xc3\x9fe");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.json(),
        json!({
            "method": "PURGE",
            "target": target,
            "version": "HTTP/1.1",
            "authority": "test",
            "headers": [["host", "test"], ["b", "2"], ["b", "3"], ["a", "1"], ["content-length", "7"]],
            "body_length": 7,
            "body": "grüße",
        })
    );
}

#[test]
fn any_path_below_and_any_method_is_echoed() {
    let backend = start();
    for target in ["/echo", "/echo/", "/echo?", "/echo//", "/echo/%ff", "http://other/echo/x"] {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "X-OWN"] {
            let echo = send(backend.addr(), method, target, &[], b"").json();
            assert_eq!((&echo["method"], &echo["target"]), (&json!(method), &json!(target)));
        }
    }
    get(backend.addr(), "/echoes").assert_problem(404);
}

#[test]
fn bytes_that_are_not_text_are_written_another_way() {
    let backend = start();
    let mut connection = Connection::open(backend.addr());
    connection.write_raw(b"POST /echo HTTP/1.0\r\nX: \xffy\r\nContent-Length: 3\r\n\r\n\xff\x00\x1a");
    let echo = connection.read("POST").json();
    assert_eq!(echo["version"], "HTTP/1.0");
    assert_eq!(echo["headers"][0], json!(["x", "\u{fffd}y"]));
    assert_eq!(echo["authority"], Value::Null);
    assert_eq!((&echo["body"], &echo["body_hex"]), (&Value::Null, &json!("ff001a")));
}

#[test]
fn a_body_may_have_16_mib_but_no_more() {
    let backend = start();
    let max = vec![b'x'; 16 * 1024 * 1024];
    let echo = send(backend.addr(), "POST", "/echo", &[], &max);
    assert_eq!((echo.status, &echo.json()["body_length"]), (200, &json!(max.len())));
    let over = [max, vec![b'x']].concat();
    send(backend.addr(), "POST", "/echo", &[], &over).assert_problem(413);
}
