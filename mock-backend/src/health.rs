//! `/health` and its switch.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::state::State;

pub(crate) async fn health(Shared(state): Shared<Arc<State>>) -> (StatusCode, Json<Value>) {
    if state.is_healthy() {
        (StatusCode::OK, Json(json!({ "status": "ok" })))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "bad" })))
    }
}

pub(crate) async fn good(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    state.set_healthy(true);
    Json(json!({ "status": "ok" }))
}

/// Turns `/health` bad. Nothing else changes: the other routes go on answering.
pub(crate) async fn bad(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    state.set_healthy(false);
    Json(json!({ "status": "bad" }))
}
