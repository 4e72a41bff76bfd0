//! The gateway as its users meet it: the real programs, over sockets.
//!
//! One binary, a module for each behaviour. Every test starts its own gateway on ports that the system chooses,
//! so tests run side by side and in any order. Nothing sleeps for luck: what is waited for is asked for, until
//! a deadline that only a defect reaches.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

mod certificates;
mod support;

mod abandoned;
mod access_log;
mod answers;
mod arrows;
mod basic;
mod bodiless;
mod broken_answers;
mod changes;
mod charges;
mod command_line;
mod compression;
mod concurrency;
mod connections;
mod consumers;
mod control_socket;
mod cors;
mod crowds;
mod descriptors;
mod documents;
mod endings;
mod error_pages;
mod examples;
mod excerpts;
mod explain;
mod fields;
mod first_steps;
mod forward_auth;
mod health;
mod hostile_clients;
mod http2;
mod identity;
mod impostors;
mod include;
mod inspection;
mod jwt;
mod kills;
mod limits;
mod listeners;
mod manual;
mod memory;
mod messages;
mod metrics;
mod outages;
mod plots;
mod pools;
mod proxy_protocol;
mod quotas;
mod reload;
mod replay;
mod retries;
mod routing;
mod secrets;
mod shared_connections;
mod shared_limits;
mod shared_store;
mod side_port;
mod side_port_api;
mod side_port_guard;
mod side_port_page;
mod smuggling;
mod snapshot;
mod splits;
mod stack;
mod starting;
mod sticky;
mod stopping;
mod streaming;
mod supervisor;
mod timelines;
mod timeouts;
mod tls;
mod tracing;
mod unix_sockets;
mod upgrade;
mod upstream_failures;
mod upstream_protocols;
mod worker_connections;
