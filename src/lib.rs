//! `gateway`: a reverse proxy that reads its routes and token-bucket limits from a TOML file.
//!
//! Each module uses only modules below it here (`tests/arrows.rs` checks that, and what follows):
//!
//! | level | modules |
//! | --- | --- |
//! | programs | `cli`, `new_key`, `init`, `quick`, `manual`, `check`, `healthcheck`, `replay`, `fuzzing` |
//! | puts everything together | `server` |
//! | answer on the ports | `proxy`, `admin` |
//! | what the ports share | `log_throttle`, `gateway` |
//! | tell of requests, and forward them | `metrics`, `access_log`, `explain`, `upstream_head`, `trace`, `upstream` |
//! | the life of a request | `engine` |
//! | where limits are kept together, other services | `shared_store`, `fetch` |
//! | what the user wrote, as plain values | `config` |
//! | policy, without input or output | `route`, `limit`, `client`, `consumer`, `sticky`, `password`, `client_certificate`, `cors`, `compression`, `tls`, `jwt`, `error_page` |
//! | tools | `address`, `clock`, `concurrency`, `field_names`, `networks`, `prehashed`, `query`, `regular_file`, `logging` |
//!
//! Inside a module the files form no circle either. A file uses another one if it names something that the other defines; a parent that
//! only declares or re-exports its children does not use them.
//!
//! A request comes in through `server`, which reads it, and `proxy`, which asks `engine` about it and has an upstream answer it; see the
//! head of `engine` for the steps. Only `server`, `proxy` and `upstream` know Pingora, so that everything else is tested without sockets.

pub mod access_log;
pub mod address;
pub mod admin;
pub mod check;
pub mod cli;
pub mod client;
pub mod client_certificate;
pub mod clock;
pub mod compression;
mod concurrency;
pub mod config;
pub mod consumer;
pub mod cors;
pub mod engine;
pub mod error_page;
pub mod explain;
pub mod fetch;
pub mod field_names;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod gateway;
pub mod healthcheck;
pub mod init;
pub mod jwt;
pub mod limit;
mod log_throttle;
pub mod logging;
pub mod manual;
pub mod metrics;
pub mod networks;
pub mod new_key;
pub mod password;
mod prehashed;
pub mod proxy;
pub mod query;
pub mod quick;
pub mod regular_file;
pub mod replay;
pub mod route;
pub mod server;
pub mod shared_store;
pub mod sticky;
pub mod tls;
pub mod trace;
pub mod upstream;
pub mod upstream_head;
