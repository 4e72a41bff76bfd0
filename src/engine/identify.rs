//! The step that says who is asking. It may wait, for a service that knows callers.

use std::sync::Arc;

use super::{Engine, Facts, Located, Reply};
use crate::client::ClientId;
use crate::consumer::Consumer;
use crate::limit::key::Caller;

/// The caller, for limits and upstreams.
#[derive(Clone, Debug)]
pub struct Principal<'a> {
    /// The client that the request is attributed to.
    pub client: &'a ClientId,
    /// The consumer, if one has proved to be calling.
    pub consumer: Option<Arc<Consumer>>,
}

impl Principal<'_> {
    /// The consumer, as keys of limits and upstreams know it.
    pub fn caller(&self) -> Option<Caller<'_>> {
        self.consumer.as_ref().map(|consumer| Caller { consumer: consumer.name(), plan: consumer.plan() })
    }
}

impl Engine {
    /// The principal of a request to this route. Routes ask for no credentials, so it is the client that sent the request.
    ///
    /// # Errors
    /// The answer to a request that does not say who is asking, where its route wants to know.
    #[expect(clippy::unused_async, reason = "a way to identify callers may have to ask a service")]
    pub async fn identify<'a>(
        &self,
        _located: &Located<'_>,
        facts: &Facts<'a>,
    ) -> Result<Principal<'a>, Reply> {
        Ok(Principal { client: facts.client, consumer: None })
    }
}
