//! What a rule says about keeping its limit together with other gateways.

use std::fmt;
use std::time::Duration;

use crate::limit::key::Secret;

/// How a limit is kept together with other gateways.
#[derive(Clone)]
pub struct LeaseTerms {
    /// The most tokens that are taken ahead of a client's bucket; zero asks the store about every request, `None` goes by demand.
    pub most_ahead: Option<u32>,
    /// For how long tokens are held.
    pub lease_time: Duration,
    /// What happens to requests while the store does not answer.
    pub on_error: OnError,
    /// The secret under which all gateways hash keys.
    pub secret: Secret,
}

impl fmt::Debug for LeaseTerms {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseTerms")
            .field("most_ahead", &self.most_ahead)
            .field("lease_time", &self.lease_time)
            .field("on_error", &self.on_error)
            .finish_non_exhaustive()
    }
}

/// What a shared limit does while the store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Each gateway goes on by itself, with the limit divided by the number of gateways.
    Local,
    /// Requests pass without being counted.
    Allow,
    /// Requests are answered with 503.
    Refuse,
}
