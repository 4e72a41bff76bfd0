//! Routes.
pub mod captures;
pub mod path;
pub mod pattern;
