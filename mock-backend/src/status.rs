//! `/status/{code}`: any status a response can end with.

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::problem::Problem;

pub(crate) async fn status(code: Result<Path<u16>, PathRejection>) -> Result<Response, Problem> {
    let Path(code) = code?;
    let status = StatusCode::from_u16(code).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, format!("{code} is not a status: 200 to 999 are"))
    })?;
    if status.is_informational() {
        // The server would drop the connection rather than send it as the answer.
        let message = format!("{code} only announces an answer and cannot be one: ask for 200 to 999");
        return Err(Problem::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(match status {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => {
            status.into_response()
        }
        _ => (status, Json(json!({ "status": code }))).into_response(),
    })
}
