//! `GET /events`: the live numbers as server-sent events, for the live page.
//!
//! One task looks once a second, and whoever follows gets the same bytes. When nobody does, only the history is kept.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};
use utoipa::ToSchema;

use super::config::ConfigStatus;
use super::connections::Place;
use super::failure::{Error, Failure};
use super::history::{History, INTERVAL, Sample};
use super::stats::{self, Stats};
use crate::clock::wall_clock;
use crate::gateway::Gateway;
use crate::metrics::latency::Summary;

/// How many may follow at a time.
const FOLLOWERS: usize = 32;

/// How many routes, limits and upstreams an event tells of.
const TOLD: usize = 200;

/// How many looks there are between two counts of the limits' clients, which visit every bucket.
const SELDOM: u32 = 5;

/// What is sent to whoever follows.
pub(super) struct Feed {
    state: Mutex<Looks>,
    events: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
}

/// What was seen so far.
#[derive(Default)]
struct Looks {
    history: History,
    clients: HashMap<String, usize>,
}

/// The data of an event.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Event<'a> {
    History(Past<'a>),
    Now(Box<Now<'a>>),
}

/// The event `history`: what happened in the last minutes.
#[derive(Serialize, ToSchema)]
#[schema(as = EventHistory)]
pub(super) struct Past<'a> {
    interval_ms: u64,
    /// The oldest first.
    #[schema(value_type = Vec<Sample>)]
    samples: &'a VecDeque<Sample>,
}

/// The event `now`, once a second.
#[derive(Serialize, ToSchema)]
#[schema(as = EventNow)]
pub(super) struct Now<'a> {
    version: &'static str,
    /// Why the gateway is not ready; `null` if it is.
    not_ready: Option<String>,
    /// The last one.
    sample: Option<&'a Sample>,
    /// Of the last minute.
    latency: Summary,
    config: ConfigStatus,
    /// As `/stats` has them, but only the busiest routes and limits where there are very many.
    stats: Stats,
    /// How many routes, limits and upstreams that leaves out.
    left_out: usize,
}

impl Feed {
    /// Nothing has been seen so far.
    pub(super) fn new(gateway: &Gateway) -> Self {
        let mut looks = Looks::default();
        looks.count_clients(gateway);
        let places = Arc::new(Semaphore::new(FOLLOWERS));
        Self { state: Mutex::new(looks), events: watch::Sender::default(), places }
    }

    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looks {
    fn count_clients(&mut self, gateway: &Gateway) {
        let (active, now) = (gateway.active(), gateway.clock.now());
        let count = |limit: &crate::limit::Limit| (limit.rule().name.clone(), limit.clients(now));
        self.clients = active.engine.limiter().limits().iter().map(count).collect();
    }

    fn past(&self) -> String {
        let interval_ms = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
        event("history", &Event::History(Past { interval_ms, samples: self.history.samples() }))
    }

    fn now(&self, gateway: &Gateway) -> String {
        let clients =
            |limit: &crate::limit::Limit| self.clients.get(&limit.rule().name).copied().unwrap_or(0);
        let mut stats = stats::collect(gateway, clients);
        let left_out = stats.cut(TOLD);
        let now = Now {
            version: env!("CARGO_PKG_VERSION"),
            not_ready: gateway.ready().err(),
            sample: self.history.samples().back(),
            latency: self.history.latency_of_late(),
            config: ConfigStatus::of(gateway),
            stats,
            left_out,
        };
        event("now", &Event::Now(Box::new(now)))
    }
}

/// An event as it is sent. JSON has no line ends, so no value can end it.
fn event(name: &str, data: &Event<'_>) -> String {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

/// Looks once a second, and tells whoever follows. Never ends.
pub(super) async fn sample(gateway: Arc<Gateway>, feed: Arc<Feed>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in (1..=SELDOM).cycle() {
        ticks.tick().await;
        let mut looks = feed.looks();
        looks.history.note(gateway.active().traffic.routes(), wall_clock().as_millisecond());
        if feed.events.receiver_count() > 0 {
            if look == SELDOM {
                looks.count_clients(&gateway);
            }
            feed.events.send_replace(looks.now(&gateway).into());
        }
    }
}

/// The live numbers as server-sent events: `history` first, then `now` at once and every second.
#[utoipa::path(get, path = "/events", tag = "numbers", responses(
    (status = 200, description = "It has no end. The data of `history` and of `now` are these as JSON.", content_type = "text/event-stream", body = Event),
    (status = 503, description = "Too many follow already.", body = Error),
))]
pub(super) async fn follow(
    State(gateway): State<Arc<Gateway>>,
    Extension(feed): Extension<Arc<Feed>>,
    Extension(place): Extension<Arc<Place>>,
) -> Result<Response, Failure> {
    let too_many = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many follow already");
    let permit = feed.places.clone().try_acquire_owned().map_err(too_many)?;
    // Followers are bounded on their own, and ask for nothing.
    place.leave();
    let mut events = feed.events.subscribe();
    events.mark_unchanged();
    let first = {
        let mut looks = feed.looks();
        looks.count_clients(&gateway);
        Bytes::from(looks.past() + &looks.now(&gateway))
    };
    let rest = stream::unfold((Some(first), events, permit), |(first, mut events, permit)| async {
        let next = match first {
            Some(first) => first,
            None => {
                events.changed().await.ok()?;
                events.borrow_and_update().clone()
            }
        };
        Some((Ok::<_, Infallible>(next), (None, events, permit)))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::from_stream(rest)).into_response())
}
