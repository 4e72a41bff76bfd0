//! `gateway`: a reverse proxy that reads its routes and token-bucket limits from a TOML file.
//!
//! Arrows point down only: `server` puts everything together; `proxy` and `admin` are what answers on its ports;
//! below them, `route`, `limit`, `client`, `cors`, `compression`, `upstream`, `metrics`, `access_log` and `trace` know nothing of each other's
//! work; at the bottom are `clock`, `crowd` and `networks`. `config` turns what the user wrote into plain types that all of them take.
//! Only `server`, `proxy` and `upstream` know Pingora, so that policy is tested without sockets.

pub mod access_log;
pub mod admin;
pub mod cli;
pub mod client;
pub mod clock;
pub mod compression;
pub mod config;
pub mod cors;
mod crowd;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod gateway;
pub mod healthcheck;
pub mod limit;
pub mod logging;
pub mod metrics;
pub mod networks;
pub mod proxy;
mod quiet;
pub mod route;
pub mod server;
pub mod tls;
pub mod trace;
pub mod upstream;
