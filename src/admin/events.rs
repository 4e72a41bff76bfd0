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
use super::history::{History, INTERVAL, LatencyOfLate, Sample};
use super::route_errors::RouteErrors;
use super::stats::{self, LeftOut, Stats};
use crate::clock::wall_clock;
use crate::gateway::Gateway;

/// How many may follow at a time.
const FOLLOWERS: usize = 32;

/// How many routes, limits and upstreams an event tells of.
const TOLD: usize = 200;

/// How many looks there are between two counts of the limits' clients, which visit every bucket.
const SELDOM: u32 = 5;

/// What is sent to whoever follows.
pub(super) struct Feed {
    state: Mutex<Looks>,
    errors: Arc<RouteErrors>,
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
    latency: LatencyOfLate,
    config: ConfigStatus,
    /// As `/stats` has them, but where there are very many only those with problems and the busiest.
    stats: Stats,
    left_out: LeftOut,
}

impl Feed {
    /// Nothing has been seen so far. The errors of routes are noted there.
    pub(super) fn new(gateway: &Gateway, errors: Arc<RouteErrors>) -> Self {
        let mut looks = Looks::default();
        looks.count_clients(gateway);
        let places = Arc::new(Semaphore::new(FOLLOWERS));
        Self { state: Mutex::new(looks), errors, events: watch::Sender::default(), places }
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

    fn now(&self, gateway: &Gateway, errors: &RouteErrors) -> String {
        let clients =
            |limit: &crate::limit::Limit| self.clients.get(&limit.rule().name).copied().unwrap_or(0);
        let mut stats = stats::collect(gateway, errors, clients);
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
        let (active, at_ms) = (gateway.active(), wall_clock().as_millisecond());
        looks.history.note(active.traffic.routes(), at_ms);
        feed.errors.note(active.traffic.routes(), at_ms);
        if feed.events.receiver_count() > 0 {
            if look == SELDOM {
                looks.count_clients(&gateway);
            }
            feed.events.send_replace(looks.now(&gateway, &feed.errors).into());
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
        Bytes::from(looks.past() + &looks.now(&gateway, &feed.errors))
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
