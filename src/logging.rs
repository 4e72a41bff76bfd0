//! The log: lines on standard error.

use env_logger::Env;

/// What is logged unless the environment says otherwise. Pingora logs much that its clients and upstreams do to
/// it; the gateway says that itself, once, where it knows what it means.
const DEFAULT: &str =
    "info,pingora=off,pingora_core=off,pingora_proxy=off,pingora_cache=off,pingora_pool=off";

/// Starts logging, filtered by the environment variable `GATEWAY_LOG` (`error`, `warn`, `info`, …).
pub fn start() {
    env_logger::Builder::from_env(Env::new().filter_or("GATEWAY_LOG", DEFAULT)).format_target(false).init();
}
