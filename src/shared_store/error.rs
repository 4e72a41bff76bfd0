//! Why the store has not answered.

use std::fmt;

use redis::RedisError;

/// Why a call of the store has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// There was none within the time that the call may take.
    TimedOut,
    /// The store refused, or the connection is lost: why.
    Failed(String),
    /// The store was not asked, since it has not answered lately.
    Down,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Failed(why) => f.write_str(why),
            Self::Down => f.write_str("the store is not asked until it answers a probe"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The longest text of an error, in characters. A server chooses the text.
const LONGEST: usize = 200;

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        Self::Failed(text.chars().take(LONGEST).flat_map(char::escape_debug).collect())
    }
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;

    #[test]
    fn the_text_of_a_server_stays_on_a_line_of_the_log() {
        let text = format!("a\nb\x1b[1m{}", "x".repeat(1000));
        let StoreError::Failed(why) = RedisError::from((ErrorKind::Extension, "told", text)).into() else {
            panic!("not a failure");
        };
        assert!(!why.contains(['\n', '\x1b']) && why.len() < 300, "{why}");
    }
}
