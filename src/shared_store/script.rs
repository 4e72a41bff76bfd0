//! A script that the store runs.

use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value, cmd};

use super::connection::Connection;

/// A script, which is called by its hash.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    /// The SHA-1 of the source, in hexadecimal digits.
    hash: String,
}

impl Script {
    pub(super) fn new(source: &'static str) -> Self {
        Self { source, hash: redis::Script::new(source).get_hash().to_owned() }
    }

    /// Has the store keep the script, so that a call need not bring it.
    pub(super) async fn load(&self, connection: &Connection) -> RedisResult<()> {
        connection.call(cmd("SCRIPT").arg("LOAD").arg(self.source)).await.map(|_| ())
    }

    /// Runs the script. That is one round trip; a store that does not have the script, since it was started anew, takes a second one, in
    /// which it gets it.
    pub(super) async fn run(
        &self,
        connection: &Connection,
        keys: &[String],
        arguments: &[String],
    ) -> RedisResult<Value> {
        let call = |how: &str, script: &str| -> Cmd {
            let mut command = cmd(how);
            command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
            command
        };
        match connection.call(&call("EVALSHA", &self.hash)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.call(&call("EVAL", self.source)).await
            }
            answer => answer,
        }
    }
}
