//! What a gateway asks the store about a bucket, and what the store answers.

use std::sync::Arc;

use crate::limit::bucket::Wait;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;

/// What a gateway asks the store about one bucket. The asks of one call are granted all together, or none of them is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The name of the limit.
    pub limit: Arc<str>,
    /// The client.
    pub client: Fingerprint,
    /// The quota of the client's bucket.
    pub quota: Quota,
    /// The tokens that the call is about: they are all granted, or the answer says how long until there are enough. They are spent
    /// at once, unless they are `kept`. Zero only tells and asks how things stand.
    pub need: u32,
    /// The needed tokens stay with the gateway for now: they are held, like those ahead.
    pub kept: bool,
    /// The tokens that the gateway would like to hold beyond those, if the need is granted and the bucket has as many.
    pub ahead: u32,
    /// The tokens that the gateway still holds of this bucket, without those that it gives back.
    pub held: u32,
    /// The tokens that the gateway held and gives back.
    pub back: u32,
    /// The tokens that the gateway has let pass beyond those that it held: the bucket may come to owe them.
    pub debt: u32,
}

/// What the store answers to an [`Ask`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the bucket had the needed tokens, and if not, how long until it has them if nobody takes any. A bucket may have
    /// enough and yet nothing be granted, if another one of the same call had too little.
    pub verdict: Result<(), Wait>,
    /// The tokens that the gateway holds from now on beyond the needed ones and those that it held.
    pub ahead: u32,
    /// What the bucket holds after that. Tokens that gateways hold are not in it.
    pub level: SharedLevel,
    /// How many of the tokens that the ask said were held the store still has down as held. It is less if the time for which they
    /// were held is over, or if the store has lost its memory: the gateway must not spend the others.
    pub confirmed: u32,
}

/// What a bucket in the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedLevel {
    /// Whole tokens, rounded down; negative if the bucket owes some.
    pub tokens: i64,
    /// How much of the next token has been refilled: so many of `parts_per_token` parts.
    pub parts: u64,
    /// At least one.
    pub parts_per_token: u64,
}
