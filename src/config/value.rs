//! The notations of single values: each parser takes a string and says what would be right when it is wrong.

pub(super) mod address;
pub(super) mod http;
pub(super) mod key;
pub(super) mod quantity;
