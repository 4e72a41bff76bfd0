//! `GET /`: the live page, and what it is made of. All of it is in the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::failure::Failure;

const HTML: &str = include_str!("page/index.html");

/// The files that the live page and the page of the API load from `/page/`. A script imports others by their names.
const FILES: [(&str, &str); 21] = [
    ("cards.js", include_str!("page/cards.js")),
    ("certificates.js", include_str!("page/certificates.js")),
    ("charts.js", include_str!("page/charts.js")),
    ("docs.css", include_str!("page/docs.css")),
    ("docs.js", include_str!("page/docs.js")),
    ("elements.js", include_str!("page/elements.js")),
    ("empty.js", include_str!("page/empty.js")),
    ("finder.js", include_str!("page/finder.js")),
    ("limits.js", include_str!("page/limits.js")),
    ("page.css", include_str!("page/page.css")),
    ("page.js", include_str!("page/page.js")),
    ("problems.js", include_str!("page/problems.js")),
    ("routes.js", include_str!("page/routes.js")),
    ("store.js", include_str!("page/store.js")),
    ("text.js", include_str!("page/text.js")),
    ("theme.js", include_str!("page/theme.js")),
    ("tiles.js", include_str!("page/tiles.js")),
    ("told.js", include_str!("page/told.js")),
    ("upstreams.js", include_str!("page/upstreams.js")),
    ("uPlot.iife.min.js", include_str!("page/uplot/uPlot.iife.min.js")),
    ("uPlot.min.css", include_str!("page/uplot/uPlot.min.css")),
];

/// The live page.
#[utoipa::path(get, path = "/", operation_id = "page", tag = "pages", responses(
    (status = 200, description = "The page.", content_type = "text/html", body = String),
))]
pub(super) async fn show() -> Html<&'static str> {
    Html(HTML)
}

/// What the page is made of.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Failure> {
    let missing = || Failure::new(StatusCode::NOT_FOUND, "there is no such file");
    let (name, text) = FILES.into_iter().find(|(known, _)| *known == name).ok_or_else(missing)?;
    let kind = if name.ends_with(".css") { "text/css" } else { "text/javascript" };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
