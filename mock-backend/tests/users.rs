use serde_json::{Value, json};

use crate::support::{Response, get, send, start};

fn create(body: &str) -> Response {
    let headers = [("Content-Type", "application/json")];
    send(start().addr(), "POST", "/users", &headers, body.as_bytes())
}

fn wrong_fields(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 422, "{response:?}");
    response.json()["errors"].as_array().unwrap().iter().map(|wrong| wrong["field"].clone()).collect()
}

#[test]
fn each_listed_user_has_a_page() {
    let backend = start();
    let list = get(backend.addr(), "/users");
    assert_eq!(list.status, 200);
    let users = list.json();
    assert_eq!(users.as_array().unwrap().len(), 3);
    for user in users.as_array().unwrap() {
        let page = get(backend.addr(), &format!("/users/{}", user["id"]));
        assert_eq!((page.status, &page.json()), (200, user));
    }
}

#[test]
fn an_unknown_id_is_404_and_one_that_is_no_number_400() {
    let backend = start();
    get(backend.addr(), "/users/4711").assert_problem(404);
    for id in ["abc", "-1", "1.0", "99999999999999999999", "%ff", "%31x"] {
        get(backend.addr(), &format!("/users/{id}")).assert_problem(400);
    }
}

#[test]
fn a_valid_user_comes_back_with_an_id() {
    let response = create(r#"{"name": "Edsger", "email": "e@example.com"}"#);
    assert_eq!(response.status, 201);
    assert_eq!(response.json(), json!({ "id": 4, "name": "Edsger", "email": "e@example.com" }));
}

#[test]
fn an_invalid_user_is_told_all_that_is_wrong() {
    assert_eq!(wrong_fields(&create("{}")), ["name", "email"]);
    assert_eq!(wrong_fields(&create(r#"{"name": "", "email": "a@b"}"#)), ["name"]);
    assert_eq!(wrong_fields(&create(r#"{"name": "x", "email": "ab"}"#)), ["email"]);
    assert_eq!(wrong_fields(&create(r#"{"name": ["x"], "email": 1}"#)), ["name", "email"]);
}

#[test]
fn what_is_not_json_is_refused() {
    create("{").assert_problem(400);
    send(start().addr(), "POST", "/users", &[], b"{}").assert_problem(415);
}

#[test]
fn data_has_a_timestamp() {
    let backend = start();
    let first = get(backend.addr(), "/data");
    assert_eq!(first.status, 200);
    let timestamp = first.json()["timestamp"].as_str().unwrap().to_owned();
    assert!(timestamp.ends_with('Z') && timestamp.contains('T'), "{timestamp}");
}
