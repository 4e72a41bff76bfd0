//! The bound on the memory of the process: whoever takes nothing of its answer is cut off, and others are served.

use std::io::Write as _;
use std::net::TcpStream;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::http2::{Frames, WINDOW_UPDATE};
use crate::support::{eventually, forwarding};

const IN_FLIGHT: &str = r#"gateway_requests_in_flight{route="all"}"#;

/// A request for more than every buffer on its way has room for.
const MUCH: &str = "/bytes/20000000";

#[test]
fn clients_that_take_nothing_are_cut_off_when_memory_is_scarce() {
    let (gateway, _backend) = forwarding("max_memory = \"64MiB\"\nidle_timeout = \"1h\"");
    let stalled: Vec<TcpStream> = (0..400)
        .map(|_| {
            let mut socket = TcpStream::connect(gateway.address()).unwrap();
            socket.write_all(request("GET", MUCH, &[], "").as_bytes()).unwrap();
            socket
        })
        .collect();
    gateway.wait_for_log_line("it refuses requests (503)");
    // Somebody is cut off, and others are served again.
    eventually("there is memory again", || {
        let memory = gateway.metric("process_resident_memory_bytes");
        (gateway.metric("gateway_memory_scarce") == 0.0 && memory < 64e6).then_some(())
    });
    eventually("requests are served", || (gateway.get("/users").status == 200).then_some(()));
    assert!(gateway.metric(IN_FLIGHT) < 400.0);
    drop(stalled);
}

#[test]
fn streams_of_http2_are_cut_off_too() {
    let (gateway, _backend) = forwarding("max_memory = \"64MiB\"\nidle_timeout = \"1h\"");
    let connections: Vec<Frames> = (0..4).map(|_| asking_for_much(&gateway)).collect();
    gateway.wait_for_log_line("it refuses requests (503)");
    eventually("there is memory again", || (gateway.metric("gateway_memory_scarce") == 0.0).then_some(()));
    eventually("requests are served", || (gateway.get("/users").status == 200).then_some(()));
    drop(connections);
}

/// The streams that a connection may have.
const STREAMS: std::ops::Range<u32> = 1..256;

/// A connection all of whose streams ask for much and take nothing of it.
fn asking_for_much(gateway: &Gateway) -> Frames {
    let target = [(":method", "GET"), (":scheme", "http"), (":path", MUCH), (":authority", "a")];
    let mut frames = Frames::open(gateway.address());
    // Room on the connection, and none on any stream.
    frames.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    for stream in STREAMS.step_by(2) {
        frames.send_headers(stream, &target, true);
    }
    frames
}
