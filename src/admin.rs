//! The side port: metrics for Prometheus, health for whoever orchestrates, numbers for people.

mod config;
mod connections;
mod events;
mod explain;
mod failure;
mod guard;
mod history;
mod limits;
mod openapi;
mod page;
mod request_counts;
mod route_errors;
mod routes;
mod stats;
mod token;
mod token_attempts;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime::Builder;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::events::Feed;
use self::openapi::Document;
use self::route_errors::RouteErrors;
use self::token_attempts::TokenAttempts;
use crate::gateway::Gateway;
use crate::metrics;
use crate::upstream::Endpoint;

/// Serves the side port on a thread of its own, so that it answers however busy the workers are, until another process
/// answers there.
///
/// # Errors
/// When the system gives no thread or does not take the socket.
pub fn start(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    handed_over: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let errors = Arc::<RouteErrors>::default();
    let feed = Arc::new(Feed::new(&gateway, errors.clone()));
    let router = router(gateway.clone(), feed.clone(), errors)?;
    let serve = move || {
        runtime.block_on(async {
            tokio::select! {
                () = handed_over => {}
                () = events::sample(gateway.clone(), feed) => {}
                () = connections::serve(listener, router, &gateway) => {}
            }
        });
    };
    thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
}

fn router(gateway: Arc<Gateway>, feed: Arc<Feed>, errors: Arc<RouteErrors>) -> serde_json::Result<Router> {
    let (router, api) = calls().split_for_parts();
    Ok(router
        .route("/docs/", get(openapi::page))
        .route("/docs/{*file}", get(openapi::file))
        .route("/page/{file}", get(page::file))
        .layer(Extension(feed))
        .layer(Extension(errors))
        .layer(Extension(Arc::new(TokenAttempts::default())))
        .layer(Extension(Document::new(api)?))
        .layer(from_fn_with_state(gateway.clone(), guard::guard))
        .with_state(gateway))
}

/// Every call, with its description.
fn calls() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::with_openapi(openapi::empty())
        .routes(routes!(metrics))
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(stats::show))
        .routes(routes!(config::show))
        .routes(routes!(config::reload))
        .routes(routes!(limits::all))
        .routes(routes!(limits::client, limits::reset))
        .routes(routes!(explain::show))
        .routes(routes!(events::follow))
        .routes(routes!(page::show))
        .routes(routes!(openapi::openapi))
        .routes(routes!(openapi::docs))
}

/// The metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "numbers", responses((status = 200, description = "The metrics.", content_type = "text/plain", body = String)))]
async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let (active, now) = (gateway.active(), gateway.clock.now());
    for (index, upstream) in active.upstreams.iter().enumerate() {
        let any_up = |endpoints: &[Arc<Endpoint>]| endpoints.iter().any(|e| e.health(now).is_usable());
        let up = upstream.servers().into_iter().map(|(_, endpoints)| any_up(&endpoints));
        active.traffic.set_servers_up(index, up);
    }
    match gateway.metrics.render(&active.engine, now) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// Whether the process lives.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, description = "It does.", content_type = "text/plain", body = String)))]
async fn health() -> &'static str {
    "ok\n"
}

/// Whether it can do its work.
#[utoipa::path(get, path = "/ready", tag = "health", responses(
    (status = 200, description = "It can.", content_type = "text/plain", body = String),
    (status = 503, description = "Why it cannot: it drains, or an upstream has no usable server.", content_type = "text/plain", body = String),
))]
async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
