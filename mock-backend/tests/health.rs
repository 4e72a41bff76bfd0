use serde_json::json;

use crate::support::{get, post, start};

#[test]
fn the_switch_works_over_http_and_from_code() {
    let backend = start();
    let assert_health = |status: u16, text: &str| {
        let response = get(backend.addr(), "/health");
        assert_eq!((response.status, response.json()), (status, json!({ "status": text })));
    };
    assert_health(200, "ok");
    assert_eq!(post(backend.addr(), "/health/bad").status, 200);
    assert_health(503, "bad");
    assert_eq!(get(backend.addr(), "/users").status, 200);
    assert_eq!(post(backend.addr(), "/health/good").status, 200);
    assert_health(200, "ok");
    backend.set_healthy(false);
    assert_health(503, "bad");
    backend.set_healthy(true);
    assert_health(200, "ok");
}
