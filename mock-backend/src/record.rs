//! The log of received requests, and the layer that writes it and signs every response.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderName, Method, Uri, Version, header, request};
use axum::middleware::Next;
use axum::response::Response;

use crate::state::State;

const X_BACKEND: HeaderName = HeaderName::from_static("x-backend");

/// How many requests a log keeps; the oldest go first.
const KEPT: usize = 10_000;

/// The head of a request as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// The target as it stood in the request line, or `:path` in HTTP/2: nothing decoded or normalised.
    pub target: String,
    /// The protocol.
    pub version: Version,
    /// The host the request was meant for: `:authority` in HTTP/2, else the one in the target or the `Host` header.
    pub authority: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
}

impl Received {
    pub(crate) fn new(parts: &request::Parts) -> Self {
        Self {
            method: parts.method.clone(),
            target: target(&parts.uri, parts.version),
            version: parts.version,
            authority: authority(&parts.uri, &parts.headers),
            headers: parts.headers.clone(),
        }
    }

    /// The target up to the `?`.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The first value of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The target as received. HTTP/2 sends scheme, authority and path apart, so only the path counts there.
fn target(uri: &Uri, version: Version) -> String {
    match uri.path_and_query() {
        Some(path) if version >= Version::HTTP_2 => path.to_string(),
        _ => uri.to_string(),
    }
}

fn authority(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    match uri.authority() {
        Some(authority) => Some(authority.to_string()),
        None => headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned()),
    }
}

/// The last requests, and how many there have been.
#[derive(Default)]
pub(crate) struct Log(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    count: u64,
    kept: VecDeque<Received>,
}

impl Log {
    pub(crate) fn push(&self, request: Received) {
        let mut entries = self.lock();
        entries.count += 1;
        if entries.kept.len() == KEPT {
            entries.kept.pop_front();
        }
        entries.kept.push_back(request);
    }

    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    pub(crate) fn requests(&self) -> Vec<Received> {
        self.lock().kept.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs the request as it arrives, whatever becomes of it, and puts the server's name on the response.
pub(crate) async fn layer(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let request = match &state.log {
        Some(log) => {
            let (parts, body) = request.into_parts();
            log.push(Received::new(&parts));
            Request::from_parts(parts, body)
        }
        None => request,
    };
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_BACKEND, state.name.header());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: String) -> Received {
        let (parts, ()) = axum::http::Request::builder().uri(target).body(()).unwrap().into_parts();
        Received::new(&parts)
    }

    #[test]
    fn the_log_keeps_the_last_requests_and_counts_them_all() {
        let log = Log::default();
        for n in 0..KEPT + 3 {
            log.push(request(format!("/{n}")));
        }
        let kept = log.requests();
        assert_eq!(log.count(), KEPT as u64 + 3);
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].target, "/3");
        assert_eq!(kept[KEPT - 1].target, format!("/{}", KEPT + 2));
    }

    #[test]
    fn the_path_ends_at_the_query() {
        assert_eq!(request("/a%20b?c=/d?e".to_owned()).path(), "/a%20b");
        assert_eq!(request("/a".to_owned()).path(), "/a");
    }
}
