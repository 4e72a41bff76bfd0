//! HTTP/2 connections to upstreams, which many clients share: what one client breaks off ends nobody else's requests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::http::request;
use crate::support::{PATIENCE, forwarding};

/// Connects as another client than the rest of the tests.
fn connect_from_elsewhere(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// What goes wrong for innocent clients while others do this `times`.
fn innocents_beside(times: usize, abort: impl Fn(SocketAddr) + Sync) -> Vec<String> {
    let (gateway, _backend) = forwarding("---\nhttp2 = true");
    let (left, over) = (AtomicUsize::new(times), AtomicBool::new(false));
    let take = || left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
    thread::scope(|scope| {
        let innocents: Vec<_> = ["/users", "/bytes/100000", "/stream?chunks=10&interval=20ms", "POST"]
            .into_iter()
            .map(|what| {
                let (gateway, over) = (&gateway, &over);
                scope.spawn(move || {
                    let (mut faults, mut requests) = (Vec::new(), 0);
                    while !over.load(Ordering::SeqCst) || requests < 5 {
                        let response = match what {
                            "POST" => gateway.raw(request("POST", "/upload", &[], "some text")),
                            target => gateway.get(target),
                        };
                        requests += 1;
                        if response.status != 200 {
                            faults.push(format!("{what}: {} {}", response.status, response.text()));
                        }
                    }
                    faults
                })
            })
            .collect();
        let aborting: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while take() {
                        abort(gateway.address());
                    }
                })
            })
            .collect();
        aborting.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Ordering::SeqCst);
        innocents.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn downloads_that_are_broken_off_end_no_others() {
    let faults = innocents_beside(6000, |address| {
        let mut socket = connect_from_elsewhere(address);
        socket.write_all(request("GET", "/bytes/1000000", &[], "").as_bytes()).unwrap();
        let _ = socket.read(&mut [0; 1024]);
    });
    assert!(faults.is_empty(), "{} of the innocent: {:?}", faults.len(), faults.first());
}

#[test]
fn uploads_that_are_broken_off_end_no_others() {
    let faults = innocents_beside(10_000, |address| {
        let mut socket = connect_from_elsewhere(address);
        let _ = socket.write_all(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nab");
    });
    assert!(faults.is_empty(), "{} of the innocent: {:?}", faults.len(), faults.first());
}
