//! `GET /config` and `POST /reload`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::failure::Failure;
use super::token;
use crate::gateway::{Gateway, Outcome};

/// The configuration in force, and how the last reload went.
#[derive(Debug, Serialize)]
pub(super) struct Loaded {
    loaded_at: Timestamp,
    last_reload: Option<LastReload>,
    config: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct LastReload {
    at: Timestamp,
    #[serde(flatten)]
    outcome: Reloaded,
}

/// What came of a reload.
#[derive(Debug, Serialize)]
struct Reloaded {
    outcome: &'static str,
    /// What the configuration has; `None` if it has problems.
    summary: Option<String>,
    problems: Vec<String>,
}

impl From<Outcome> for Reloaded {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(summary) => Self { outcome: "success", summary: Some(summary), problems: Vec::new() },
            Err(problems) => Self { outcome: "failure", summary: None, problems },
        }
    }
}

/// `GET /config`
pub(super) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Loaded> {
    let history = gateway.reloads.history();
    Json(Loaded {
        loaded_at: history.loaded_at,
        last_reload: history.last.map(|(at, outcome)| LastReload { at, outcome: outcome.into() }),
        config: gateway.live().config.shown.clone(),
    })
}

/// `POST /reload`: 200 when the configuration is in force, 422 when it has problems.
pub(super) async fn reload(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    token::check(&gateway, &headers)?;
    let outcome = gateway.reloads.ask().await;
    let leaving = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is on its way out");
    let reloaded = Reloaded::from(outcome.ok_or_else(leaving)?);
    let status = match reloaded.problems.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Ok((status, Json(reloaded)).into_response())
}
