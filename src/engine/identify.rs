//! The step that says who is asking. It may wait, for a service that knows callers.

use super::{Engine, Facts, Located, Reply};
use crate::client::ClientId;

/// The caller, for limits and upstreams.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// The client that the request is attributed to.
    pub client: &'a ClientId,
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
        Ok(Principal { client: facts.client })
    }
}
