//! Limits that several gateways keep together: tokens that a gateway takes ahead from a bucket in a store, and spends by itself.
//!
//! A gateway that asked the store about every request would wait for it every time, and a store that is away would stop it. So a gateway
//! takes some tokens of a client ahead, a *lease*: the store deducts them from the client's bucket beforehand, and the gateway spends
//! them without asking (see Gray and Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency",
//! 1989, for the name and for the use of time).
//!
//! The store remembers how many tokens each gateway holds of a bucket, and until when. A bucket is not refilled above its burst without
//! the tokens that are held of it. So in any span of time, all gateways together admit at most the burst and what the rate brings in that
//! span, as one gateway would.
//!
//! Nothing here waits or knows what the store is: the files say what to ask, and what follows from an answer.

mod ask;
mod kept;
#[expect(clippy::module_inception, reason = "a lease is what the module is about")]
mod lease;
mod leases;
mod share;
mod terms;
#[cfg(test)]
mod tests;

pub use self::ask::{Answer, Ask, SharedLevel};
pub use self::kept::KeptTokens;
pub use self::lease::{Lot, Taken};
pub use self::leases::{Call, Leases, Sharing, TokenCounts};
pub(super) use self::share::Share;
pub use self::terms::{LeaseTerms, OnError};
