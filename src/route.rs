//! Routes: which of them a request's host, path, method, header fields and query lead to, and where they lead.
//!
//! In the order of use: [`host_of`] and [`normalise`] bring what the client sent into one form, [`Table::find`]
//! names the most specific route, [`rewrite()`] builds the path that goes upstream. All of it works on strings alone, without I/O. Nothing
//! that a client sends can cause a panic, and the common request allocates nothing.
//!
//! The action of a route is not here.

mod agreement;
mod captures;
mod hash;
mod host;
pub mod path;
pub mod pattern;
mod requirement;
mod rewrite;
mod shares;
mod table;
mod target;
mod trie;

pub use self::agreement::{Agreement, PathAgreement};
pub use self::captures::Captures;
pub use self::host::{host_of, is_same_authority};
pub use self::path::{Unsafe, normalise, normalise_keeping_slashes};
pub use self::requirement::{Doubled, Particulars, Rank, Requirement, Source, rank};
pub use self::rewrite::{Rewrite, rewrite};
pub use self::shares::{Share, Shares};
pub use self::table::{Allow, Conditions, Match, Table};
pub use self::target::encode;
pub use self::trie::RouteId;
