//! Every route and option over real sockets, and the program as a process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod echo;
mod faults;
mod health;
mod lifecycle;
mod payload;
mod program;
mod protocol;
mod status;
mod stream;
mod support;
mod users;
mod websocket;
