//! `gateway`: a reverse proxy that reads its routes and token-bucket limits from a TOML file.

pub mod client;
pub mod clock;
pub mod config;
pub mod limit;
pub mod route;
