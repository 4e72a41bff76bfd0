//! The connections to the side port: bounded in number and in what they may wait for.
//!
//! When there are as many as there may be, a new one takes the place of the one that has asked for nothing for the longest
//! time. So whoever asks is answered, however many connections somebody else holds open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use log::warn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;

use super::token::Peer;
use crate::gateway::Gateway;
use crate::log_throttle::LogThrottle;

/// Connections at a time, beside those that follow the events.
const MOST: usize = 256;

/// How long a connection may take to ask for something. A scraper that comes every minute keeps its own.
const IDLE: Duration = Duration::from_secs(75);

/// How long a client may take nothing of what it is sent.
const STUCK: Duration = Duration::from_secs(10);

/// The largest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// How long no connection is accepted after that has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, and serves each. Needs a runtime; never ends.
pub(super) async fn serve(listener: TcpListener, router: Router, gateway: &Gateway) {
    let log_throttle = LogThrottle::default();
    let open = Arc::new(Mutex::new(Open::default()));
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                let place = Arc::new(Place { open: open.clone(), order: Mutex::new(0), lost: Notify::new() });
                place.renew();
                tokio::spawn(converse(socket, Peer(peer.ip()), place, router.clone()));
            }
            Err(error) => {
                if log_throttle.may_log(gateway) {
                    warn!(
                        "the side port accepts no connections for a moment: {error}; for a minute, this is not told again"
                    );
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection until it closes, or loses its place.
async fn converse(socket: TcpStream, peer: Peer, place: Arc<Place>, router: Router) {
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(STUCK));
    let lost = place.clone();
    let router = TowerToHyperService::new(router);
    let answer = service_fn(|mut request: Request<Incoming>| {
        place.renew();
        request.extensions_mut().insert(place.clone());
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(Box::pin(socket)), answer);
    tokio::select! {
        // A client that breaks off is no news.
        _ = connection => {}
        () = lost.lost.notified() => {}
    }
    lost.leave();
}

/// The connections that are open, in the order in which they last asked for something.
#[derive(Default)]
struct Open {
    asked: u64,
    places: BTreeMap<u64, Weak<Place>>,
}

/// The place of a connection among those that are open.
pub(super) struct Place {
    open: Arc<Mutex<Open>>,
    order: Mutex<u64>,
    lost: Notify,
}

impl Place {
    /// The connection has asked for something: it comes last, and if there are too many, the first has to go.
    fn renew(self: &Arc<Self>) {
        let (mut open, mut order) = (lock(&self.open), lock(&self.order));
        open.places.remove(&order);
        open.asked += 1;
        *order = open.asked;
        open.places.insert(*order, Arc::downgrade(self));
        if open.places.len() > MOST
            && let Some((_, first)) = open.places.pop_first()
            && let Some(first) = first.upgrade()
        {
            first.lost.notify_one();
        }
    }

    /// The connection does not count any more, until it asks for something again.
    pub(super) fn leave(&self) {
        lock(&self.open).places.remove(&lock(&self.order));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
