//! `[auth.forward]`: a service that is asked about each caller.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, Uri};

use crate::tls::Authorities;

/// A service that is asked about each caller, and what it is told.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardAuth {
    /// What is asked: http or https, with a host.
    pub url: Uri,
    /// Who may vouch for the service; none where it is asked without TLS.
    pub authorities: Authorities,
    /// The fields of a request that the service gets.
    pub request_headers: Vec<HeaderName>,
    /// The fields of its answer that upstreams get. Nobody else's field of such a name gets there.
    pub response_headers: Vec<HeaderName>,
    /// The field of its answer that names the consumer.
    pub consumer_header: HeaderName,
    /// The field of its answer that names the plan.
    pub plan_header: HeaderName,
    /// The longest that a request waits for the answer.
    pub timeout: Duration,
    /// What becomes of a request when there is no answer.
    pub on_error: WithoutAnswer,
    /// The longest that an answer is remembered, whatever it says of that; zero remembers none.
    pub max_cache: Duration,
    /// Whether upstreams get the fields that the service got.
    pub keep: bool,
}

/// What becomes of a request about which the service says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutAnswer {
    /// It is answered with 503.
    Refuse,
    /// It is let in as that of a stranger.
    Allow,
}

impl fmt::Debug for ForwardAuth {
    /// Without the authorities, of whom there may be hundreds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardAuth")
            .field("url", &self.url)
            .field("request_headers", &self.request_headers)
            .field("response_headers", &self.response_headers)
            .field("consumer_header", &self.consumer_header)
            .field("plan_header", &self.plan_header)
            .field("timeout", &self.timeout)
            .field("on_error", &self.on_error)
            .field("max_cache", &self.max_cache)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}
