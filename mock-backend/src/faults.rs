//! `?delay=` and `?fail=`, on every path: a slow answer, or none that is any use.

use axum::extract::{Query, Request};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::duration::Pause;
use crate::problem::Problem;

#[derive(Deserialize)]
struct Faults {
    delay: Option<Pause>,
    fail: Option<Probability>,
}

/// From 0 to 1, both included.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Probability(f64);

impl TryFrom<f64> for Probability {
    type Error = String;

    fn try_from(value: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(format!("`{value}` is not a probability from 0 to 1"))
        }
    }
}

/// Waits, then fails or passes the request on. The body is not touched while it waits.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    match inflict(request.uri()).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn inflict(uri: &Uri) -> Result<(), Problem> {
    if uri.query().is_none() {
        return Ok(());
    }
    let Query(faults) = Query::<Faults>::try_from_uri(uri)?;
    if let Some(delay) = faults.delay {
        delay.wait().await;
    }
    match faults.fail {
        Some(Probability(p)) if rand::random_bool(p) => {
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed as asked"))
        }
        _ => Ok(()),
    }
}
