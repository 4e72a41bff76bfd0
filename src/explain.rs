//! What becomes of a request that nobody sends: `gateway explain`, and `GET /explain` of the side port.
//!
//! A [`Question`] is such a request. The engine that serves takes it through the same steps and takes nothing from any limit, and
//! [`explain`] makes an [`Explanation`] of what it says: a value, of which text and JSON are made.

mod answer;
pub mod command;
mod explanation;
mod head;
mod limits;
mod near;
mod question;
mod route;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use self::answer::explain;
pub use self::explanation::Explanation;
pub use self::question::{Asked, Question};
