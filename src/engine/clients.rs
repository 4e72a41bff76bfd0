//! One client of a limit, as operators name it: to read its bucket, or to fill it.

use super::Engine;
use crate::clock::Timestamp;
use crate::limit::key::text::TextError;
use crate::limit::key::{Fingerprint, KeyPart};
use crate::limit::{Limit, Remaining};
use crate::shared_store::StoreError;

/// A client of a limit.
pub struct NamedClient<'a> {
    limit: &'a Limit,
    client: Fingerprint,
    /// The plan of its consumer.
    plan: Option<usize>,
    shown: Vec<String>,
}

impl<'a> NamedClient<'a> {
    /// The limit.
    pub fn limit(&self) -> &'a Limit {
        self.limit
    }

    /// The value of the limit's key, as it may be shown.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }
}

impl Engine {
    /// The limit of this name.
    pub fn limit(&self, name: &str) -> Option<&Limit> {
        self.limiter.limits().iter().find(|limit| limit.rule().name == name)
    }

    /// The client of a limit whose key has these values, one for each part.
    ///
    /// # Errors
    /// When no request could have such a key.
    pub fn client_of<'a>(&self, limit: &'a Limit, values: &[String]) -> Result<NamedClient<'a>, TextError> {
        let (rule, secret) = (limit.rule(), self.limiter.secret());
        let shown = rule.key.shown_texts(values, secret, rule.show_keys);
        let client = rule.key.fingerprint_of(values, limit.secret())?;
        let mut parts = rule.key.parts.iter().zip(values);
        let consumer = parts.find(|(part, _)| **part == KeyPart::Consumer).map(|(_, name)| name);
        let plan = consumer.and_then(|name| self.config.consumers.named(name)?.plan());
        Ok(NamedClient { limit, client, plan, shown })
    }

    /// The client at this address whose requests lack the header, cookie or parameter that the limit goes by.
    ///
    /// # Errors
    /// When the limit has no such clients.
    pub fn client_without_key<'a>(
        &self,
        limit: &'a Limit,
        address: &str,
    ) -> Result<NamedClient<'a>, TextError> {
        let client = limit.rule().key.fingerprint_of_stand_in(address, limit.secret())?;
        Ok(NamedClient { limit, client, plan: None, shown: vec![address.to_owned()] })
    }

    /// What a client has left; `None` if it is never limited. Of a shared limit the store is asked; while it does not answer, this is
    /// what is known here.
    pub async fn peek(&self, client: &NamedClient<'_>, now: Timestamp) -> Option<Remaining> {
        let now = match (&self.ledger, client.limit.shared_quota(client.client, client.plan)) {
            (Some(ledger), Some(quota)) => ledger.look(client.limit, client.client, quota).await,
            _ => now,
        };
        client.limit.remaining(client.client, client.plan, now)
    }

    /// Fills the bucket of a client; `false` if it has none.
    ///
    /// # Errors
    /// When the limit is shared, and the store does not answer.
    pub async fn reset(&self, client: &NamedClient<'_>, now: Timestamp) -> Result<bool, StoreError> {
        if let (Some(ledger), Some(quota)) =
            (&self.ledger, client.limit.shared_quota(client.client, client.plan))
        {
            let name = &client.limit.rule().name;
            ledger.store.reset(name, client.client, *quota).await?;
        }
        Ok(client.limit.reset(client.client, client.plan, now))
    }
}
