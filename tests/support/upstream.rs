//! Upstreams that misbehave: what they do with a connection is up to the test.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::PATIENCE;

/// A server that hands each connection to a function, on a thread of its own.
pub(crate) struct RawUpstream {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    thread: Option<JoinHandle<()>>,
}

/// A connection to a [`RawUpstream`].
pub(crate) struct Exchange {
    pub(crate) socket: TcpStream,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl RawUpstream {
    /// Starts a server that does this with every connection. The connection closes when the function returns.
    pub(crate) fn start(handle: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (stop, log, handle) = (stopping.clone(), received.clone(), Arc::new(handle));
        let thread = thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (handle, received) = (handle.clone(), log.clone());
                thread::spawn(move || {
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                    handle(&mut Exchange { socket, received });
                });
            }
        });
        Self { address, stopping, received, thread: Some(thread) }
    }

    /// Starts a server that reads a request head and answers with these bytes, then closes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |exchange| {
            exchange.read_head();
            exchange.write(&answer);
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request heads it has received, each as it came.
    pub(crate) fn received(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        received.iter().map(|head| String::from_utf8_lossy(head).into_owned()).collect()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread, so that it sees it is to stop.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

impl Exchange {
    /// Reads a request head; false if the connection closes before.
    pub(crate) fn read_head(&mut self) -> bool {
        self.read_head_text().is_some()
    }

    /// Reads a request head; `None` if the connection closes before.
    pub(crate) fn read_head_text(&mut self) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match self.socket.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return None,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        self.received.lock().unwrap().push(head);
        Some(text)
    }

    /// Notes something that the test has read itself among what was received.
    pub(crate) fn note(&self, read: &[u8]) {
        self.received.lock().unwrap().push(read.to_vec());
    }

    /// The target of the request whose head was read last, where requests come one after the other.
    pub(crate) fn target(&self) -> String {
        let received = self.received.lock().unwrap();
        let head = String::from_utf8_lossy(received.last().unwrap()).into_owned();
        head.split(' ').nth(1).unwrap().to_owned()
    }

    /// Reads this many bytes more; false if the connection closes before.
    pub(crate) fn read_exactly(&mut self, count: usize) -> bool {
        self.socket.read_exact(&mut vec![0; count]).is_ok()
    }

    /// Writes; that the gateway has closed by now is its business.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// Waits until the gateway closes the connection.
    pub(crate) fn wait_for_close(&mut self) {
        let mut byte = [0; 1024];
        loop {
            match self.socket.read(&mut byte) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Takes nothing and sends nothing until the test is over, when whoever has the other end drops it.
    pub(crate) fn stall(&mut self, over: &Mutex<std::sync::mpsc::Receiver<()>>) {
        let _ = over.lock().unwrap().recv();
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(&mut self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// An address at which nobody listens. The socket that holds it open is given along: keep it.
pub(crate) fn dead_address() -> (SocketAddr, HeldAddress) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // A server that is meant to listen there can, while this is held.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // Bound, so that nobody else gets it, but not listening, so that connections are refused.
    (address, HeldAddress { _socket: socket })
}

/// An address at which connections are neither taken nor refused: more are waiting there than may. What keeps it so
/// is given along: keep it.
pub(crate) fn full_address() -> (SocketAddr, Vec<socket2::Socket>) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    loop {
        let waiting = socket();
        let connected = waiting.connect_timeout(&address, std::time::Duration::from_millis(200));
        sockets.push(waiting);
        if connected.is_err() {
            return (address.as_socket().unwrap(), sockets);
        }
    }
}

/// Holds an address without listening.
pub(crate) struct HeldAddress {
    _socket: socket2::Socket,
}
