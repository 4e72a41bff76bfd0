//! `/bytes/{n}` and `/upload`: bodies of any length, out and in, in constant memory.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::problem::Problem;

/// What the body of `/bytes/{n}` repeats. Its length is no power of two, so that a proxy that loses or
/// repeats a buffer shifts the pattern.
static PATTERN: [u8; 61 * 1024] = pattern();

const fn pattern() -> [u8; 61 * 1024] {
    let mut bytes = [0; 61 * 1024];
    let mut at = 0;
    while at < bytes.len() {
        // 61 characters: 0-9, A-Z, a-y.
        bytes[at] = match (at % 61) as u8 {
            n @ 0..10 => b'0' + n,
            n @ 10..36 => b'A' + (n - 10),
            n => b'a' + (n - 36),
        };
        at += 1;
    }
    bytes
}

pub(crate) async fn bytes(
    length: Result<Path<u64>, PathRejection>,
) -> Result<([(HeaderName, HeaderValue); 2], Body), Problem> {
    let Path(length) = length?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
    ];
    let pieces = stream::unfold(length, |left| async move {
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(PATTERN.len());
        let bytes = Bytes::from_static(&PATTERN).slice(..piece);
        (piece > 0).then(|| (Ok::<_, Infallible>(bytes), left - piece as u64))
    });
    Ok((headers, Body::from_stream(pieces)))
}

pub(crate) async fn upload(body: Body) -> Result<Json<Value>, Problem> {
    let mut pieces = body.into_data_stream();
    let mut length = 0u64;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            Problem::new(StatusCode::BAD_REQUEST, format!("the body broke off after {length} bytes: {error}"))
        })?;
        length += piece.len() as u64;
    }
    Ok(Json(json!({ "length": length })))
}
