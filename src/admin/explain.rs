//! `GET /explain`: what would become of a request just now.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;

use super::failure::{Error, Failure};
use crate::explain::{Asked, Explanation, Question, explain};
use crate::gateway::Gateway;

/// What would become of a request just now. Nothing is taken from any limit.
#[utoipa::path(get, path = "/explain", operation_id = "explain", tag = "limits",
    params(
        ("method" = Option<String>, Query, description = "The method; left out, it is `GET`."),
        ("url" = String, Query, description = "A URL, or a path."),
        ("host" = Option<String>, Query, description = "The host, where the URL is only a path; left out, it is `localhost`."),
        ("header" = Option<Vec<String>>, Query, description = "A header field as `Name: value`; may be given several times."),
        ("from" = Option<String>, Query, description = "The address that the request comes from; left out, it is `127.0.0.1`."),
        ("body_size" = Option<u64>, Query, description = "The length of its body."),
    ),
    responses(
        (status = 200, description = "What becomes of it.", body = Explanation),
        (status = 400, description = "What is asked for is no request.", body = Error),
    ),
)]
pub(super) async fn show(
    State(gateway): State<Arc<Gateway>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Explanation>, Failure> {
    let bad = |reason: String| Failure::new(StatusCode::BAD_REQUEST, reason);
    let question = asked(&query.unwrap_or_default()).and_then(|asked| Question::new(&asked)).map_err(bad)?;
    let active = gateway.active();
    let mut explanation = explain(&active.engine, &question, gateway.clock.now(), false).await;
    explanation.note_state(&active.upstreams, gateway.clock.now());
    Ok(Json(explanation))
}

/// The request that a query asks for.
fn asked(query: &str) -> Result<Asked, String> {
    let mut asked = Asked { method: "GET".to_owned(), ..Asked::default() };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "method" => asked.method = value,
            "url" => asked.url = value,
            "host" => asked.host = value,
            "header" => asked.fields.push(value),
            "from" => asked.from = value,
            "body_size" => {
                let size = value.parse().map_err(|_| format!("{value:?} is no number of bytes"))?;
                asked.body_size = Some(size);
            }
            _ => {
                return Err(format!(
                    "{name:?} is no parameter: there are method, url, host, header, from and body_size"
                ));
            }
        }
    }
    Ok(asked)
}
