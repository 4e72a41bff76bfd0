//! Which path and method goes where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::routing::{any, get, post};

use crate::problem::Problem;
use crate::state::State;
use crate::{data, echo, faults, health, payload, record, status, stream, users, websocket};

pub(crate) fn router(state: &Arc<State>) -> Router {
    Router::new()
        .route("/users", get(users::list).post(users::create))
        .route("/users/{id}", get(users::one))
        .route("/data", get(data::data))
        .route("/health", get(health::health))
        .route("/health/good", post(health::good))
        .route("/health/bad", post(health::bad))
        // A wildcard does not match nothing, so the bare path has to be written twice.
        .route("/echo", any(echo::echo))
        .route("/echo/", any(echo::echo))
        .route("/echo/{*rest}", any(echo::echo))
        .route("/stream", get(stream::text))
        .route("/sse", get(stream::events))
        .route("/ws", get(websocket::upgrade).connect(websocket::upgrade))
        .route("/status/{code}", any(status::status))
        .route("/bytes/{n}", get(payload::bytes))
        .route("/upload", any(payload::upload))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        // Of the handlers that hold a body in memory; an upload is not held.
        .layer(DefaultBodyLimit::max(echo::BODY_MAX))
        .layer(middleware::from_fn(faults::layer))
        .layer(middleware::from_fn_with_state(Arc::clone(state), record::layer))
        .with_state(Arc::clone(state))
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("no {method} at {}", uri.path()))
}
