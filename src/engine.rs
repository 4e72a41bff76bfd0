//! The life of a request, as steps that know neither sockets nor Pingora.
//!
//! ```text
//! Facts        what a request says of itself, and which client it is attributed to
//!   │ encrypted  a client that came in the clear is sent to HTTPS, if it should be
//!   │ locate     → Located: the route, and what the route's pattern captured
//!   │ identify   → Principal: the caller, and what the caller proved            (may wait)
//!   │ let_in     the route lets this caller in
//!   │ claims     → Claims: what each limit wants, and from which client's bucket
//!   │ reserve    → Reservation: every limit got what it wants, or none did      (may wait)
//!   │ conclude   → Forward, or the answer that the configuration has for the route
//!   │ ... the door forwards the request, or sends the reply ...
//!   │ settle     → what the answer costs, where a limit goes by answers
//! Exchange     the whole of it: read by the access log, the metrics and the spans
//! ```
//!
//! Each step up to `reserve` takes the value that the step before it made, so a limit cannot be asked before a route and a principal are known.
//! A step that refuses the request returns the [`Reply`] that the client gets. [`Engine::decide`] runs all steps up to the point
//! where the request is forwarded or answered.
//!
//! A door (`proxy/door.rs`, which the server asks before Pingora sees the request; in the tests a table of requests) makes the facts, runs the steps, and sends what they
//! say. The engine reads no clock, a door passes the time in, and it draws random numbers for a split without `split_by` alone. Only tokens go by the wall clock, which `identify` reads.

mod claims;
mod clients;
mod conclude;
mod decide;
mod encrypt;
pub mod exchange;
mod facts;
mod foresee;
mod gate;
mod identify;
mod key_values;
mod ledger;
mod locate;
mod policy;
pub mod reply;
mod reserve;
#[cfg(test)]
mod tests;

pub use self::clients::NamedClient;
pub use self::conclude::{Course, Forward, Preference, body_too_large};
pub use self::decide::Decision;
pub use self::exchange::{Exchange, UpstreamError};
pub use self::facts::{Facts, Peer, Sender};
pub use self::foresee::{Foreseen, ForeseenLimit};
pub use self::identify::Principal;
pub use self::identify::forward::{LATENCY_BOUNDS, Numbers, Service, Told};
pub use self::key_values::KeyValues;
pub use self::locate::Located;
pub use self::policy::Engine;
pub use self::reply::Reply;
