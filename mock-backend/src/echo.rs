//! `/echo`: what reached this server, as JSON.
//!
//! Header names come in lower case, for that is how the HTTP library stores them, and all values of one name
//! stand together where the first of them was.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, request};
use serde::Serialize;

use crate::problem::Problem;
use crate::record::Received;

/// The longest body that is echoed, in bytes.
pub(crate) const BODY_MAX: usize = 16 * 1024 * 1024;

#[derive(Serialize)]
pub(crate) struct Echo {
    method: String,
    target: String,
    version: String,
    authority: Option<String>,
    headers: Vec<(String, String)>,
    body_length: usize,
    #[serde(flatten)]
    body: Text,
}

/// The body under the key that says how it is written.
#[derive(Serialize)]
enum Text {
    #[serde(rename = "body")]
    Utf8(String),
    #[serde(rename = "body_hex")]
    Hex(String),
}

pub(crate) async fn echo(
    parts: request::Parts,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Echo>, Problem> {
    let body = body?;
    let received = Received::new(&parts);
    Ok(Json(Echo {
        method: received.method.to_string(),
        target: received.target,
        version: format!("{:?}", received.version),
        authority: received.authority,
        headers: pairs(&received.headers),
        body_length: body.len(),
        body: match str::from_utf8(&body) {
            Ok(text) => Text::Utf8(text.to_owned()),
            Err(_) => Text::Hex(hex(&body)),
        },
    }))
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), lossy(value.as_bytes()))).collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
