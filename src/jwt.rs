//! Signed JSON Web Tokens (RFC 7519, RFC 7515): the keys that verify them, and what a token proves.
//!
//! An example: a token says that it is signed with RS256 and the key `2026-11`. Here the key of this name is looked up, and the token is
//! verified with the algorithm of the key. What the token says of its algorithm only has to agree. Then its times, its issuer and its
//! audience are checked, and one of its claims names the consumer.
//!
//! The crate `jsonwebtoken` reads tokens and keys; `provider` gives it the cryptography of `ring`. Times and claims are checked here,
//! against a time that the caller passes, so that nothing of this module reads a clock, opens a file or a connection.

mod claims;
mod key;
mod key_set;
mod provider;
mod remote;
#[cfg(test)]
mod tests;
mod token;

pub use jsonwebtoken::Algorithm;

pub use self::claims::{Proved, Rules, Valid};
pub use self::key::{Key, UnusableKey};
pub use self::key_set::{KeySet, MAX_KEYS, NoKeys, Trust};
pub use self::remote::{Fetched, Numbers, Remote};
pub use self::token::{MAX_TOKEN, Refused, verify};
