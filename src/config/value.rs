//! Parsers of single values: each takes a string, and its error says what is wrong and what would be right.

pub(super) mod address;
pub(super) mod http;
pub(super) mod key;
pub(super) mod quantity;
