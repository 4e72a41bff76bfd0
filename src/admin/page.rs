//! `GET /`: the live page, and what it is made of. All of it is in the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::failure::Failure;

const HTML: &str = include_str!("page/index.html");
const CSS: (&str, &str) = ("text/css", include_str!("page/page.css"));
const JS: (&str, &str) = ("text/javascript", include_str!("page/page.js"));
const UPLOT_CSS: (&str, &str) = ("text/css", include_str!("page/uplot/uPlot.min.css"));
const UPLOT_JS: (&str, &str) = ("text/javascript", include_str!("page/uplot/uPlot.iife.min.js"));

/// The live page.
#[utoipa::path(get, path = "/", operation_id = "page", tag = "pages", responses(
    (status = 200, description = "The page.", content_type = "text/html", body = String),
))]
pub(super) async fn show() -> Html<&'static str> {
    Html(HTML)
}

/// What the page is made of.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Failure> {
    let (kind, text) = match name.as_str() {
        "page.css" => CSS,
        "page.js" => JS,
        "uPlot.min.css" => UPLOT_CSS,
        "uPlot.iife.min.js" => UPLOT_JS,
        _ => return Err(Failure::new(StatusCode::NOT_FOUND, "there is no such file")),
    };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
