//! Routes.
pub mod pattern;
