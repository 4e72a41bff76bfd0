//! Serving until told to stop.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::name::Name;
use crate::routes;
use crate::state::State;

/// How long requests in flight are given to end in a graceful stop.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Serves on `listener` until `stop` is ready, then takes no more connections and gives those that are open a
/// second to end. What is still open after that lives on in the runtime: drop the runtime to cut it off.
pub async fn serve(listener: TcpListener, name: Name, stop: impl Future<Output = ()>) {
    let stop = async {
        stop.await;
        GRACE
    };
    run(listener, &Arc::new(State::new(name, None)), stop).await;
}

/// [`serve`] with a state of the caller's. `stop` says how long requests in flight are given to end.
pub(crate) async fn run(listener: TcpListener, state: &Arc<State>, stop: impl Future<Output = Duration>) {
    // Without this the small pieces of a stream wait for the peer's acknowledgements.
    let listener = listener.tap_io(|socket| {
        // It fails for a connection that is gone already, which will show.
        let _ = socket.set_nodelay(true);
    });
    let (begin_stop, stopping) = oneshot::channel::<()>();
    let serving = axum::serve(listener, routes::router(state)).with_graceful_shutdown(async {
        let _ = stopping.await;
    });
    let mut serving = pin!(serving.into_future());

    let grace = tokio::select! {
        // It ends only when told to.
        _ = &mut serving => return,
        grace = stop => grace,
    };
    drop(begin_stop);
    // Both outcomes are fine: all ended in time, or the time is up.
    let _ = tokio::time::timeout(grace, serving).await;
}
