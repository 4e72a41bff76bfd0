use serde_json::json;

use crate::support::{get, send, start};

#[test]
fn the_status_is_the_one_asked_for() {
    let backend = start();
    for code in [200, 201, 301, 400, 404, 418, 429, 500, 503, 599, 600, 999] {
        for method in ["GET", "PUT", "DELETE"] {
            let response = send(backend.addr(), method, &format!("/status/{code}"), &[], b"");
            assert_eq!((response.status, response.json()), (code, json!({ "status": code })));
        }
    }
}

#[test]
fn some_statuses_have_no_body() {
    let backend = start();
    for code in [204, 205, 304] {
        let response = get(backend.addr(), &format!("/status/{code}"));
        assert_eq!((response.status, response.text()), (code, ""));
        assert_eq!(response.header("content-type"), None);
    }
}

#[test]
fn what_no_response_can_end_with_is_refused() {
    let backend = start();
    for code in ["100", "101", "103", "199", "0", "99", "1000", "65536", "-200", "ok", "2e2"] {
        get(backend.addr(), &format!("/status/{code}")).assert_problem(400);
    }
}
