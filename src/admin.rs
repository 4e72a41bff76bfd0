//! The side port: metrics for Prometheus, health for whoever orchestrates, numbers for people.

mod config;
mod connections;
mod failure;
mod guard;
mod limits;
mod stats;
mod token;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::runtime::Builder;

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
    let serve = move || {
        runtime.block_on(async {
            tokio::select! {
                () = handed_over => {}
                () = connections::serve(listener, router(gateway)) => {}
            }
        });
    };
    thread::Builder::new().name("admin".to_owned()).spawn(serve).map(drop)
}

fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/stats", get(async |State(gateway): State<Arc<Gateway>>| Json(stats::collect(&gateway))))
        .route("/config", get(config::show))
        .route("/reload", post(config::reload))
        .route("/limits", get(limits::all))
        .route("/limits/{limit}/clients/{*key}", get(limits::client).delete(limits::reset))
        .layer(from_fn_with_state(gateway.clone(), guard::guard))
        .with_state(gateway)
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let (live, now) = (gateway.live(), gateway.clock.now());
    for (index, upstream) in live.upstreams.iter().enumerate() {
        let any_up = |endpoints: &[Arc<Endpoint>]| endpoints.iter().any(|e| e.standing(now).is_up());
        let up = upstream.servers().into_iter().map(|(_, endpoints)| any_up(&endpoints));
        live.traffic.set_servers_up(index, up);
    }
    match gateway.metrics.render(&live.limiter, now) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
