//! What the tests are written with.

pub(crate) mod collector;
pub(crate) mod fingerprint;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod program;
pub(crate) mod redis;
pub(crate) mod tls;
pub(crate) mod upstream;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mock_backend::MockBackend;

/// Nothing here takes this long unless it is broken, not even on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `what` gives a value.
///
/// # Panics
/// When it has not after [`PATIENCE`].
#[track_caller]
pub(crate) fn eventually<T>(description: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let pause = Duration::from_millis(10);
    for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
        if let Some(value) = what() {
            return value;
        }
        std::thread::sleep(pause);
    }
    panic!("still not after {PATIENCE:?}: {description}");
}

/// Sends messages through a WebSocket that sends them back, and closes it.
#[track_caller]
pub(crate) fn converse<S: Read + Write>(mut socket: tungstenite::WebSocket<S>) {
    for text in ["hello".to_owned(), "x".repeat(100_000)] {
        socket.send(text.as_str().into()).unwrap();
        assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), text);
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

/// A gateway with these settings in front of a mock backend: what follows `/` is forwarded.
#[track_caller]
pub(crate) fn forwarding(settings: &str) -> (gateway::Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = gateway::Gateway::start(&to_upstream(backend.addr(), settings));
    (gateway, backend)
}

/// Servers called `a`, `b` and so on.
pub(crate) fn backends(count: u8) -> Vec<MockBackend> {
    let name = |index| char::from(b'a' + index).to_string();
    (0..count).map(|index| MockBackend::builder().name(name(index)).start_blocking().unwrap()).collect()
}

/// A server as TOML.
pub(crate) fn quoted(server: SocketAddr) -> String {
    format!("\"{server}\"")
}

/// A configuration that forwards everything to these servers, given as TOML, with these settings of the upstream.
pub(crate) fn before_servers(servers: &[String], settings: &str) -> String {
    let servers = servers.join(", ");
    format!(
        r#"
        [upstreams.main]
        servers = [{servers}]
        {settings}
        [[routes]]
        name = "all"
        path = "/*"
        upstream = "main"
        "#
    )
}

/// A configuration that forwards everything to this upstream. The settings are those of `[server]`, then whole
/// sections, then, after a line `---`, those of the upstream, and after another those of the route.
pub(crate) fn to_upstream(upstream: SocketAddr, settings: &str) -> String {
    let mut parts = settings.split("---");
    let mut part = || parts.next().unwrap_or_default();
    let (sections, of_upstream, of_route) = (part(), part(), part());
    format!(
        r#"
        {sections}
        [upstreams.main]
        servers = ["{upstream}"]
        {of_upstream}
        [[routes]]
        name = "all"
        path = "/*"
        upstream = "main"
        {of_route}
        "#
    )
}
