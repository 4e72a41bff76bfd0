//! The other gateways at the store: how many there are, and which buckets they reset.

use std::sync::{Mutex, PoisonError};

use redis::{ErrorKind, RedisError, RedisResult, Value};

use super::connection::Connection;
use super::script::Script;
use crate::limit::key::Fingerprint;

/// What a gateway tells the others, and hears of them.
#[derive(Debug)]
pub(super) struct Peers {
    gateway: String,
    gateways: Script,
    resets: Script,
    /// The key of the set of gateways.
    gateways_key: [String; 1],
    /// The key of the set of resets.
    resets_key: [String; 1],
    /// Until when resets were heard of, by the clock of the store; empty before the first time.
    heard: Mutex<String>,
}

/// What a heartbeat brings.
pub(super) struct News {
    /// How many gateways there are; at least one.
    pub(super) gateways: u32,
    /// The buckets that were reset since the last heartbeat: the limit and the client.
    pub(super) resets: Vec<(String, Fingerprint)>,
}

impl Peers {
    pub(super) fn new(prefix: &str, gateway: String) -> Self {
        Self {
            gateway,
            gateways: Script::new(include_str!("gateways.lua")),
            resets: Script::new(include_str!("resets.lua")),
            gateways_key: [format!("{prefix}:1:gateways")],
            resets_key: [format!("{prefix}:1:resets")],
            heard: Mutex::default(),
        }
    }

    /// Tells that this gateway is there, and hears what is new.
    pub(super) async fn beat(&self, connection: &Connection) -> RedisResult<News> {
        let myself = [self.gateway.clone()];
        let gateways = self.gateways.run(connection, &self.gateways_key, &myself).await?;
        let Value::Int(gateways) = gateways else { return Err(unexpected()) };
        let since = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.resets.run(connection, &self.resets_key, &[since, String::new()]).await?;
        let (heard, resets) = read_resets(&answer).ok_or_else(unexpected)?;
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
        Ok(News { gateways: u32::try_from(gateways).unwrap_or(u32::MAX).max(1), resets })
    }

    /// Tells all gateways that a bucket was reset. They hear of it with their next heartbeats.
    pub(super) async fn tell_reset(
        &self,
        connection: &Connection,
        limit: &str,
        client: Fingerprint,
    ) -> RedisResult<()> {
        let reset = format!("{limit}:{:032x}", client.bits());
        self.resets.run(connection, &self.resets_key, &[String::new(), reset]).await.map(|_| ())
    }
}

/// The error of an answer that the scripts cannot have given.
fn unexpected() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the script answered something else").into()
}

/// Reads the time until which resets were heard of, and the resets. Those of a version with other names are left out.
fn read_resets(answer: &Value) -> Option<(String, Vec<(String, Fingerprint)>)> {
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    let Value::Array(parts) = answer else { return None };
    let [heard, Value::Array(resets)] = parts.as_slice() else { return None };
    let reset = |value: &Value| {
        let text = text(value)?;
        let (limit, client) = text.rsplit_once(':')?;
        Some((limit.to_owned(), Fingerprint::from_bits(u128::from_str_radix(client, 16).ok()?)))
    };
    Some((text(heard)?, resets.iter().filter_map(reset).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_read() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let resets =
            Value::Array(vec![bulk("a.b:0000000000000000000000000000000f"), bulk("x"), bulk("a:zz")]);
        let answer = Value::Array(vec![bulk("17"), resets]);
        let read = read_resets(&answer).unwrap();
        assert_eq!(read, ("17".to_owned(), vec![("a.b".to_owned(), Fingerprint::from_bits(15))]));
        assert_eq!(read_resets(&Value::Array(vec![bulk("17")])), None);
    }
}
