//! `GET /config` and `POST /reload`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Error, Failure};
use super::token::Authorized;
use crate::gateway::{Gateway, ReloadOutcome};

/// The configuration in force, and how the last reload went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Loaded {
    #[serde(flatten)]
    standing: ConfigStatus,
    /// As the file says it, without secrets.
    #[schema(value_type = Object)]
    config: serde_json::Value,
}

#[derive(Debug, Serialize, ToSchema)]
struct LastReload {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    #[serde(flatten)]
    outcome: Reloaded,
}

/// What came of a reload.
#[derive(Debug, Serialize, ToSchema)]
struct Reloaded {
    /// `success` or `failure`.
    outcome: &'static str,
    /// What the configuration has; `None` if it has problems.
    summary: Option<String>,
    problems: Vec<String>,
}

/// How the configuration in force came to be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigStanding)]
pub(super) struct ConfigStatus {
    #[schema(value_type = String, format = DateTime)]
    loaded_at: Timestamp,
    last_reload: Option<LastReload>,
}

impl ConfigStatus {
    /// How it came to be.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let history = gateway.reloads.history();
        Self {
            loaded_at: history.loaded_at,
            last_reload: history.last.map(|(at, outcome)| LastReload { at, outcome: outcome.into() }),
        }
    }
}

impl From<ReloadOutcome> for Reloaded {
    fn from(outcome: ReloadOutcome) -> Self {
        match outcome {
            Ok(summary) => Self { outcome: "success", summary: Some(summary), problems: Vec::new() },
            Err(problems) => Self { outcome: "failure", summary: None, problems },
        }
    }
}

/// The configuration in force, without secrets, and how the last reload went.
#[utoipa::path(get, path = "/config", operation_id = "config", tag = "configuration", responses((status = 200, description = "What is in force.", body = Loaded)))]
pub(super) async fn show(State(gateway): State<Arc<Gateway>>) -> Json<Loaded> {
    Json(Loaded { standing: ConfigStatus::of(&gateway), config: gateway.active().config().shown.clone() })
}

/// Reads the configuration again. If it has problems, nothing changes.
#[utoipa::path(post, path = "/reload", tag = "configuration", security(("token" = [])), responses(
    (status = 200, description = "It is in force.", body = Reloaded),
    (status = 422, description = "It has problems: these.", body = Reloaded),
    (status = 401, description = "The token is missing or wrong.", body = Error),
    (status = 403, description = "No token is configured.", body = Error),
    (status = 429, description = "Too many wrong tokens were shown: try again after `Retry-After`.", body = Error),
    (status = 503, description = "The gateway is on its way out.", body = Error),
))]
pub(super) async fn reload(_: Authorized, State(gateway): State<Arc<Gateway>>) -> Result<Response, Failure> {
    let outcome = gateway.reloads.ask().await;
    let leaving = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is on its way out");
    let reloaded = Reloaded::from(outcome.ok_or_else(leaving)?);
    let status = match reloaded.problems.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Ok((status, Json(reloaded)).into_response())
}
