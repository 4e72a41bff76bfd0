//! `/users`: a short list, and a form to be refused by. Nothing posted is stored, so that every server behind
//! a balancer answers the same and none grows.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem::Problem;
use crate::state::State;

/// The id of the first user to be posted.
pub(crate) const FIRST_FREE_ID: u64 = USERS.len() as u64 + 1;

const NAME_MAX_CHARS: usize = 100;

const USERS: [User<'static>; 3] = [
    User { id: 1, name: "Ada Lovelace", email: "ada@example.com" },
    User { id: 2, name: "Alan Turing", email: "alan@example.com" },
    User { id: 3, name: "Grace Hopper", email: "grace@example.com" },
];

#[derive(Serialize)]
pub(crate) struct User<'a> {
    id: u64,
    name: &'a str,
    email: &'a str,
}

pub(crate) async fn list() -> Json<[User<'static>; 3]> {
    Json(USERS)
}

pub(crate) async fn one(id: Result<Path<u64>, PathRejection>) -> Result<Json<User<'static>>, Problem> {
    let Path(id) = id?;
    match USERS.into_iter().find(|user| user.id == id) {
        Some(user) => Ok(Json(user)),
        None => Err(Problem::new(StatusCode::NOT_FOUND, format!("no user {id}"))),
    }
}

pub(crate) async fn create(
    Shared(state): Shared<Arc<State>>,
    body: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    Ok(match validate(&body) {
        Ok((name, email)) => {
            (StatusCode::CREATED, Json(User { id: state.next_user_id(), name, email })).into_response()
        }
        Err(wrong) => {
            let answer = json!({ "error": "the user is not valid", "errors": wrong });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(answer)).into_response()
        }
    })
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Wrong {
    field: &'static str,
    message: &'static str,
}

/// The name and the email, or everything that is wrong with them.
fn validate(body: &Value) -> Result<(&str, &str), Vec<Wrong>> {
    let name = body["name"].as_str().filter(|name| (1..=NAME_MAX_CHARS).contains(&name.chars().count()));
    let email = body["email"].as_str().filter(|email| email.contains('@'));
    if let (Some(name), Some(email)) = (name, email) {
        return Ok((name, email));
    }
    let mut wrong = Vec::new();
    if name.is_none() {
        wrong.push(Wrong { field: "name", message: "must be a string of 1 to 100 characters" });
    }
    if email.is_none() {
        wrong.push(Wrong { field: "email", message: "must be a string with an @ in it" });
    }
    Err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_fields(body: &Value) -> Vec<&'static str> {
        validate(body).err().unwrap_or_default().into_iter().map(|wrong| wrong.field).collect()
    }

    #[test]
    fn a_name_has_1_to_100_characters_not_bytes() {
        for (name, expected) in
            [("", vec!["name"]), ("é", vec![]), (&"é".repeat(100), vec![]), (&"é".repeat(101), vec!["name"])]
        {
            assert_eq!(wrong_fields(&json!({ "name": name, "email": "a@b" })), expected, "{name}");
        }
    }

    #[test]
    fn everything_wrong_is_listed() {
        for body in [json!({}), json!([]), json!(null), json!("x"), json!({ "name": 1, "email": "a" })] {
            assert_eq!(wrong_fields(&body), ["name", "email"], "{body}");
        }
    }
}
