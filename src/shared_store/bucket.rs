//! Asks the store about buckets: the arguments of the script, and what its answers mean.

use std::sync::Arc;
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult, Value};
use smallvec::SmallVec;

use super::connection::Connection;
use super::script::Script;
use super::terms::Terms;
use crate::config::SharedStore;
use crate::limit::bucket::Wait;
use crate::limit::key::Fingerprint;
use crate::limit::lease::{Answer, Ask, SharedLevel};
use crate::limit::quota::Quota;

/// Answers, in the order of the asks.
pub type Answers = SmallVec<[Answer; 2]>;

/// More tokens than a bucket can lack.
const ALL: u64 = 1 << 42;

/// The buckets in the store.
#[derive(Debug)]
pub(super) struct Buckets {
    script: Script,
    /// What every key begins with.
    prefix: String,
    /// The first arguments of the script: the gateway, and how long it holds tokens.
    head: [String; 2],
}

/// What a call does beside what its asks say.
#[derive(Clone, Copy, Debug, Default)]
struct Extra {
    /// Tokens that are put in, as far as there is room.
    add: u64,
    /// Whether nothing is granted to anybody.
    look: bool,
}

impl Buckets {
    /// The buckets as this gateway asks about them.
    pub(super) fn new(settings: &SharedStore, gateway: &str) -> Self {
        // The gateway itself stops to spend tokens after the lease time, counted from before it asked.
        let held_for = settings.lease_time + settings.lease_time / 10;
        Self {
            script: Script::new(include_str!("bucket.lua")),
            prefix: format!("{}:1", settings.prefix),
            head: [gateway.to_owned(), held_for.as_micros().to_string()],
        }
    }

    /// Has the store keep the script.
    pub(super) async fn load(&self, connection: &Connection) -> RedisResult<()> {
        self.script.load(connection).await
    }

    /// Asks about buckets, all at once. In a Cluster they must be one.
    pub(super) async fn ask(&self, connection: &Connection, asks: &[Ask]) -> RedisResult<Answers> {
        self.run(connection, asks, Extra::default()).await
    }

    /// Asks how a bucket stands, and tells what the ask tells. Nothing is granted.
    pub(super) async fn look(&self, connection: &Connection, ask: &Ask) -> RedisResult<Answers> {
        self.run(connection, std::slice::from_ref(ask), Extra { add: 0, look: true }).await
    }

    /// Puts back what was granted and not kept.
    pub(super) async fn put_back(&self, connection: &Connection, ask: &Ask) -> RedisResult<()> {
        let add = ask.need.into();
        let ask = nothing(ask.limit.clone(), ask.client, ask.quota);
        self.run(connection, &[ask], Extra { add, look: false }).await.map(|_| ())
    }

    /// Fills a bucket, up to the tokens that gateways hold.
    pub(super) async fn fill(
        &self,
        connection: &Connection,
        limit: &str,
        client: Fingerprint,
        quota: Quota,
    ) -> RedisResult<()> {
        let ask = nothing(limit.into(), client, quota);
        self.run(connection, &[ask], Extra { add: ALL, look: false }).await.map(|_| ())
    }

    async fn run(&self, connection: &Connection, asks: &[Ask], extra: Extra) -> RedisResult<Answers> {
        let keys: Vec<String> = asks.iter().map(|ask| self.key(&ask.limit, ask.client)).collect();
        let mut arguments: Vec<String> = self.head.to_vec();
        // The clock is the server's.
        arguments.push(String::new());
        for ask in asks {
            let terms = Terms::from(ask.quota);
            let numbers = [
                terms.tokens,
                terms.period,
                terms.burst,
                ask.need.into(),
                ask.kept.into(),
                ask.ahead.into(),
                ask.held.into(),
                ask.back.into(),
                ask.debt.into(),
                extra.add,
                extra.look.into(),
            ];
            arguments.extend(numbers.iter().map(u64::to_string));
        }
        let answer = self.script.run(connection, &keys, &arguments).await?;
        let answers = match &answer {
            Value::Array(list) if list.len() == asks.len() => {
                list.iter().zip(asks).map(|(value, ask)| read(value, ask.quota)).collect()
            }
            _ => None,
        };
        answers.ok_or_else(unexpected)
    }

    fn key(&self, limit: &str, client: Fingerprint) -> String {
        format!("{}:{limit}:{:032x}", self.prefix, client.bits())
    }
}

/// An ask that takes nothing, and leaves what the gateway holds as it is.
fn nothing(limit: Arc<str>, client: Fingerprint, quota: Quota) -> Ask {
    Ask { limit, client, quota, need: 0, kept: false, ahead: 0, held: u32::MAX, back: 0, debt: 0 }
}

/// Reads the answer about one bucket.
fn read(value: &Value, quota: Quota) -> Option<Answer> {
    let Value::Array(numbers) = value else { return None };
    let [enough, ahead, tokens, parts, confirmed, wait] = numbers.as_slice() else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let wait = u64::try_from(number(wait)?).ok()?;
    let verdict = match number(enough)? {
        1 => Ok(()),
        _ => Err(Wait(Duration::from_micros(wait))),
    };
    Some(Answer {
        verdict,
        ahead: u32::try_from(number(ahead)?).ok()?,
        level: SharedLevel {
            tokens: number(tokens)?,
            parts: u64::try_from(number(parts)?).ok()?,
            parts_per_token: Terms::from(quota).period,
        },
        confirmed: u32::try_from(number(confirmed)?).ok()?,
    })
}

/// The error of an answer that the script cannot have given.
fn unexpected() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "the script answered something else").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(numbers: &[i64]) -> Value {
        Value::Array(numbers.iter().copied().map(Value::Int).collect())
    }

    #[test]
    fn an_answer_is_read_or_refused() {
        let quota = Quota::new(10, Duration::from_secs(1), 20).unwrap();
        let level = SharedLevel { tokens: -3, parts: 99_999, parts_per_token: 100_000 };
        let answer = Answer { verdict: Err(Wait(Duration::from_micros(7))), ahead: 0, level, confirmed: 2 };
        assert_eq!(read(&ints(&[0, 0, -3, 99_999, 2, 7]), quota), Some(answer));
        let granted = Answer { verdict: Ok(()), ahead: 4, ..answer };
        assert_eq!(read(&ints(&[1, 4, -3, 99_999, 2, 0]), quota), Some(granted));
        for odd in [
            Value::Nil,
            ints(&[1, 4, -3, 99_999, 2]),
            ints(&[1, -4, -3, 99_999, 2, 0]),
            ints(&[1, 4, -3, -1, 2, 0]),
            ints(&[1, 4, -3, 1, i64::MAX, 0]),
            Value::Array(vec![Value::Nil; 6]),
        ] {
            assert_eq!(read(&odd, quota), None, "{odd:?}");
        }
    }
}
