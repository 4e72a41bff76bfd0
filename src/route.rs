//! Routes: which of them a request's host, path and method lead to, and where they lead.

mod captures;
mod hash;
pub mod path;
pub mod pattern;
mod table;
mod trie;

pub use self::captures::Captures;
pub use self::path::{Unsafe, normalise};
pub use self::table::{Allow, Match, RouteId, Table};
