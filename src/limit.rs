//! Limits.
pub mod bucket;
pub mod key;
pub mod quota;
