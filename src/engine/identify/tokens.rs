//! The tokens that have been verified, and the keys by which they are.
//!
//! What a token proves is remembered until it expires or the keys change. A signature is verified on the worker that has the request: it takes
//! 20 to 200 microseconds, which is less than handing it to another thread and back would be worth.
//!
//! Tokens are valid by the wall clock, since issuers go by theirs. This is the one place where the engine reads it.

use std::sync::Arc;

use super::verified::Verified;
use crate::clock::{Timestamp, wall_clock};
use crate::config::{Config, Jwt, JwtKeys};
use crate::consumer::Consumer;
use crate::jwt::{KeySet, Proved, Refused, Remote, Rules, Valid, verify};

/// How many tokens are remembered that were right.
const VERIFIED_TOKENS: usize = 10_000;

/// What verifies tokens.
pub(in crate::engine) struct Tokens {
    keys: Keys,
    verified: Verified<(Arc<Consumer>, Valid)>,
}

/// The keys that are used.
enum Keys {
    /// They are those of the configuration.
    Read(Arc<KeySet>),
    /// They are fetched.
    Shown(Arc<Remote>),
}

impl Tokens {
    /// What verifies tokens as a configuration says. No keys have been fetched yet.
    pub(in crate::engine) fn new(jwt: &Jwt) -> Self {
        let keys = match &jwt.keys {
            JwtKeys::Read(keys) => Keys::Read(keys.clone()),
            JwtKeys::Shown(jwks) => Keys::Shown(Arc::new(Remote::new(jwks.url.to_string()))),
        };
        Self { keys, verified: Verified::new(VERIFIED_TOKENS) }
    }

    /// The same, with the keys that have been fetched for another configuration, if they are those of the same URL.
    pub(in crate::engine) fn succeeding(self, before: &Self) -> Self {
        match (&self.keys, &before.keys) {
            (Keys::Shown(new), Keys::Shown(old)) if new.url() == old.url() => {
                Self { keys: Keys::Shown(old.clone()), ..self }
            }
            _ => self,
        }
    }

    /// The keys that are fetched, if they are.
    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.keys {
            Keys::Shown(remote) => Some(remote),
            Keys::Read(_) => None,
        }
    }

    /// The keys that are in force, if there are some.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        match &self.keys {
            Keys::Read(keys) => Some(keys.clone()),
            Keys::Shown(remote) => remote.keys(),
        }
    }

    /// The consumer that a token names which is verified by these keys.
    ///
    /// # Errors
    /// When the token proves nothing.
    pub(super) fn consumer(
        &self,
        token: &[u8],
        keys: &KeySet,
        rules: &Rules,
        config: &Config,
        now: Timestamp,
    ) -> Result<Arc<Consumer>, Refused> {
        let seconds = wall_clock().as_second();
        // With other keys it is another credential.
        let parts = [token, keys.fingerprint().as_slice()];
        if let Some((consumer, _)) = self.verified.get(&parts, now).filter(|(_, valid)| valid.at(seconds)) {
            return Ok(consumer);
        }
        let proved = verify(token, keys, rules, seconds)?;
        let valid = proved.valid;
        let consumer = known(proved, config)?;
        self.verified.insert(&parts, (consumer.clone(), valid), now.after(valid.left(seconds)), now);
        Ok(consumer)
    }
}

/// The consumer that a token names. One that the file does not name has no plan but that of the token.
fn known(proved: Proved, config: &Config) -> Result<Arc<Consumer>, Refused> {
    let Some(plan) = proved.plan else { return Ok(config.consumers.known_as(&proved.name, None)) };
    // That of the file would be more than the issuer has said, or less.
    let plan = config.plan(&plan).ok_or(Refused::Wrong("the token names a plan that there is not"))?;
    Ok(config.consumers.known_as(&proved.name, Some(plan)))
}
