//! The log: lines on standard error.

use env_logger::Env;

/// What is logged unless the environment says otherwise. Pingora and rustls log much that clients and upstreams do to
/// them; the gateway says that itself, once, where it knows what it means.
const DEFAULT: &str =
    "info,pingora=off,pingora_core=off,pingora_proxy=off,pingora_cache=off,pingora_pool=off,rustls=off";

/// Starts logging, filtered by the environment variable `GATEWAY_LOG` (`error`, `warn`, `info`, …).
pub fn start() {
    env_logger::Builder::from_env(Env::new().filter_or("GATEWAY_LOG", DEFAULT)).format_target(false).init();
}
