//! What a call that fails is answered.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// A status, and why.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: Error,
}

/// Why a call has failed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Error {
    error: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: Error { error: error.into() } }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = Json(self.error);
        match self.status {
            StatusCode::UNAUTHORIZED => {
                (self.status, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response()
            }
            status => (status, body).into_response(),
        }
    }
}
