//! What one request carries from phase to phase.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::connection::Connection;
use super::reply::Reply;
use super::retry::Tries;
use crate::client::ClientId;
use crate::clock::Timestamp;
use crate::compression::Encoder;
use crate::gateway::Current;
use crate::limit::Tally;
use crate::limit::key::Fingerprint;
use crate::metrics::{Running, UpstreamError};
use crate::route::Captures;
use crate::trace::Trace;
use crate::upstream::Hold;

/// What is known of a request so far.
pub struct Context {
    /// The configuration that was in force when it came: it goes by that to its end.
    pub(super) live: Current,
    /// The client's connection.
    pub(super) connection: Option<Arc<Connection>>,
    /// When its head was whole.
    pub(super) started: Timestamp,
    /// Names it in logs, here and upstream.
    pub(super) request_id: Option<HeaderValue>,
    /// Who is asking.
    pub(super) client: Option<ClientId>,
    /// Whether the peer is a trusted proxy.
    pub(super) peer_trusted: bool,
    /// Its place in a trace, where requests are traced.
    pub(super) trace: Option<Trace>,
    /// The normalised path, where it is not the path that the client sent.
    pub(super) path: Option<String>,
    /// The index of the route.
    pub(super) route: Option<usize>,
    /// What the route's pattern captured of the path.
    pub(super) captures: Captures,
    /// What the limits made of it, and what it holds of them.
    pub(super) tally: Tally,
    /// When the whole exchange must be over.
    pub(super) deadline: Option<Timestamp>,
    /// The bytes of its body so far.
    pub(super) body_bytes: u64,
    /// What decides which server it goes to, where the upstream goes by a key.
    pub(super) key: Option<Fingerprint>,
    /// The attempt to have it answered upstream.
    pub(super) attempt: Option<Attempt>,
    /// What has been tried so far.
    pub(super) tries: Tries,
    /// The server to try next.
    pub(super) next: Option<Hold>,
    /// Compresses its answer.
    pub(super) encoder: Option<Encoder>,
    /// What went wrong upstream.
    pub(super) upstream_error: Option<UpstreamError>,
    /// An answer of the gateway's own that a phase decided on when it failed.
    pub(super) reply: Option<Reply>,
    /// Counts it as running, however it ends.
    pub(super) running: Option<Running>,
}

impl Context {
    /// Nothing is known of a request but what it goes by.
    pub(super) fn new(live: Current) -> Self {
        Self {
            live,
            connection: None,
            started: Timestamp::default(),
            request_id: None,
            client: None,
            peer_trusted: false,
            trace: None,
            path: None,
            route: None,
            captures: Captures::default(),
            tally: Tally::default(),
            deadline: None,
            body_bytes: 0,
            key: None,
            attempt: None,
            tries: Tries::default(),
            next: None,
            encoder: None,
            upstream_error: None,
            reply: None,
            running: None,
        }
    }

    /// Whether the whole exchange should be over by now.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// An attempt to have a request answered upstream.
pub(super) struct Attempt {
    /// The index of the upstream.
    pub(super) upstream: usize,
    /// The server.
    pub(super) server: Hold,
    /// When the server was chosen.
    pub(super) started: Timestamp,
    /// Whether the upstream has been sent the whole head.
    pub(super) head_sent: bool,
    /// How long the response head took, once it is there.
    pub(super) took: Option<Duration>,
}
