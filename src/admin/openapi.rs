//! `GET /openapi.json` and `GET /docs`: the side port described, and a page to try it on.
//!
//! The description is made of what stands beside each call, and the router of the same calls, so none can be missing.

use std::sync::{Arc, LazyLock};

use axum::extract::{Extension, Path};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::Config;

use super::failure::Failure;

/// The description, as it is sent.
#[derive(Clone)]
pub(super) struct Document(Arc<str>);

/// The page. Swagger UI's own has no way back and is not made for a phone.
const HTML: &str = include_str!("page/docs.html");

/// The page sets styles on its elements, and its icons are in its text. It still loads and calls nothing but what is here.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What the page goes by. Its own validator would ask a stranger.
static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config =
        Config::from("../openapi.json").validator_url("none").try_it_out_enabled(true).use_base_layout();
    Arc::new(config.default_models_expand_depth(0).persist_authorization(false))
});

/// The description of a side port without calls.
pub(super) fn empty() -> OpenApi {
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("`token` of `[admin]` in the configuration."));
    let info = InfoBuilder::new()
        .title("The side port of a gateway")
        .description(Some(env!("CARGO_PKG_DESCRIPTION")))
        .license(Some(
            LicenseBuilder::new()
                .name(env!("CARGO_PKG_LICENSE"))
                .identifier(Some(env!("CARGO_PKG_LICENSE")))
                .build(),
        ))
        .version(env!("CARGO_PKG_VERSION"));
    let components =
        ComponentsBuilder::new().security_scheme("token", SecurityScheme::Http(token.build())).build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

impl Document {
    /// The description, with paths as OpenAPI writes them: it knows no parameter that goes over several segments.
    ///
    /// # Errors
    /// When it is no JSON, which is a defect of this module.
    pub(super) fn new(mut api: OpenApi) -> serde_json::Result<Self> {
        api.paths.paths =
            api.paths.paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
        api.to_json().map(|json| Self(json.into()))
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "pages", responses((status = 200, description = "The description.", content_type = "application/json", body = Object)))]
pub(super) async fn openapi(Extension(document): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.0.to_string()).into_response()
}

/// A page to read this description and try the calls on.
#[utoipa::path(get, path = "/docs", tag = "pages", responses((status = 303, description = "It is at `/docs/`.")))]
pub(super) async fn docs() -> Response {
    // Relative, so that it leads there from behind a proxy too.
    (StatusCode::SEE_OTHER, [(header::LOCATION, "docs/")]).into_response()
}

/// The page itself.
pub(super) async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(HTML)).into_response()
}

/// What the page is made of.
pub(super) async fn file(Path(path): Path<String>) -> Result<Response, Failure> {
    serve(&path)
}

fn serve(path: &str) -> Result<Response, Failure> {
    let missing = || Failure::new(StatusCode::NOT_FOUND, "there is no such file");
    let file = utoipa_swagger_ui::serve(path, PAGE.clone()).ok().flatten().ok_or_else(missing)?;
    let fields = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    let kind = [(header::CONTENT_TYPE, file.content_type)];
    let coding = file.gzpipped.then_some([(header::CONTENT_ENCODING, "gzip")]);
    let body = file.bytes.into_owned();
    Ok(match coding {
        Some(coding) => (fields, kind, coding, body).into_response(),
        None => (fields, kind, body).into_response(),
    })
}
