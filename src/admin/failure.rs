//! What a call that fails is answered.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A status, and why.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    retry_after: Option<Duration>,
    error: Error,
}

/// Why a call has failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Error {
    error: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, retry_after: None, error: Error { error: error.into() } }
    }

    /// A call that may be tried again after this time.
    pub(super) fn later(wait: Duration, error: impl Into<String>) -> Self {
        Self { retry_after: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, error) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(self.error);
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            return (self.status, [(header::RETRY_AFTER, seconds.to_string())], body).into_response();
        }
        match self.status {
            StatusCode::UNAUTHORIZED => {
                (self.status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response()
            }
            status => (status, body).into_response(),
        }
    }
}
