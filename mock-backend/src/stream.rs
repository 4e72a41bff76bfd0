//! `/stream` and `/sse`: answers that come a piece at a time. The first piece comes at once, so that a proxy
//! that holds a response back until it ends can be told from one that passes it on.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;

use crate::duration::Pause;
use crate::problem::Problem;

const INTERVAL: Pause = Pause::from_millis(100);

#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Chunks {
    chunks: u64,
    interval: Pause,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { chunks: 5, interval: INTERVAL }
    }
}

#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Events {
    events: Option<u64>,
    interval: Pause,
}

impl Default for Events {
    fn default() -> Self {
        Self { events: None, interval: INTERVAL }
    }
}

pub(crate) async fn text(
    query: Result<Query<Chunks>, QueryRejection>,
) -> Result<([(HeaderName, &'static str); 1], Body), Problem> {
    let Query(query) = query?;
    let chunks = paced(Some(query.chunks), query.interval, |n| format!("chunk {n}\n"));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(chunks)))
}

pub(crate) async fn events(
    query: Result<Query<Events>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Query(query) = query?;
    let event = |n: u64| Event::default().id(n.to_string()).data(format!("event {n}"));
    Ok(Sse::new(paced(query.events, query.interval, event)))
}

/// `count` items, or no end of them, numbered from 1, with the interval between one and the next.
fn paced<T>(
    count: Option<u64>,
    interval: Pause,
    item: impl Fn(u64) -> T,
) -> impl Stream<Item = Result<T, Infallible>> {
    stream::unfold((1u64, item), move |(n, item)| async move {
        if count.is_some_and(|count| n > count) {
            return None;
        }
        if n > 1 {
            interval.wait().await;
        }
        Some((Ok(item(n)), (n.saturating_add(1), item)))
    })
}
