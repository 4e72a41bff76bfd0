//! HTTP/2 connections to upstreams, which many clients share: what one client breaks off ends nobody else's requests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::gateway::{Gateway, with_admin};
use crate::support::http::request;
use crate::support::http2::HaltingUpstream;
use crate::support::{PATIENCE, eventually, forwarding, to_upstream};

/// Connects as another client than the rest of the tests.
fn connect_from_elsewhere(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// So many requests are broken off one after the other by each of the threads that do this.
const TOGETHER: usize = 50;

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
                    while (0..TOGETHER).filter(|_| take()).map(|_| abort(gateway.address())).count() > 0 {
                        // It is answered when the gateway has accepted all of them. Otherwise the system's queue of connections is
                        // full for good, and the innocent wait in front of it.
                        let mut socket = connect_from_elsewhere(gateway.address());
                        socket.write_all(request("GET", "/users", &[], "").as_bytes()).unwrap();
                        let _ = socket.read(&mut [0; 1024]);
                    }
                })
            })
            .collect();
        aborting.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Ordering::SeqCst);
        let faults: Vec<_> = innocents.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        if !faults.is_empty() {
            eprintln!("{}", gateway.log());
        }
        faults
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

/// Begins an upload of its own client, which is on its way when this returns.
fn begin_upload(gateway: &Gateway, client: u8) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 1, client], 0)).into()).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    let mut socket: TcpStream = socket.into();
    socket.write_all(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nab").unwrap();
    socket
}

/// What comes of requests that are running when these clients break uploads off, those of a list together. The upstream looks at none of
/// the uploads.
#[track_caller]
fn innocents_beside_uploads(of_clients: &[Vec<u8>]) -> Vec<u16> {
    const INNOCENTS: usize = 3;
    let upstream = HaltingUpstream::start();
    let config = with_admin(&to_upstream(upstream.address(), "---\nhttp2 = true"), "");
    // One thread, so that all of them would share a connection.
    let gateway = Gateway::with_file(&config.replace("threads = 2", "threads = 1"));
    let in_flight =
        |count: usize| gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, count as f64);
    thread::scope(|scope| {
        let innocents: Vec<_> = (1..=INNOCENTS)
            .map(|count| {
                let innocent = scope.spawn(|| gateway.raw(request("POST", "/", &[], "once")).status);
                // Requests that came together before there is a connection would each have one of their own.
                eventually("the upstream has it", || (upstream.taken() == count).then_some(()));
                innocent
            })
            .collect();
        upstream.stand_still();
        for clients in of_clients {
            let uploads: Vec<_> = clients.iter().map(|client| begin_upload(&gateway, *client)).collect();
            in_flight(INNOCENTS + clients.len());
            drop(uploads);
            in_flight(INNOCENTS);
        }
        upstream.go_on();
        innocents.into_iter().map(|innocent| innocent.join().unwrap()).collect()
    })
}

#[test]
fn no_connection_has_more_resets_than_servers_allow() {
    let one_by_one: Vec<_> = (1..=60).map(|client| vec![client]).collect();
    assert_eq!(innocents_beside_uploads(&one_by_one), [200, 200, 200]);
}

#[test]
fn no_connection_has_more_resets_than_servers_allow_when_they_come_together() {
    assert_eq!(innocents_beside_uploads(&[(1..=60).collect()]), [200, 200, 200]);
}

#[test]
fn no_connection_has_more_resets_than_servers_allow_when_they_are_more_than_all_may_have() {
    // Of one client, and of many.
    assert_eq!(innocents_beside_uploads(&[vec![1; 900]]), [200, 200, 200]);
    assert_eq!(
        innocents_beside_uploads(&[(0..900).map(|n| u8::try_from(1 + n % 250).unwrap()).collect()]),
        [200, 200, 200]
    );
}
