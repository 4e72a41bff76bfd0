//! A server that shows keys, or does something else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// 200 with this body.
    Keys(String),
    /// This status without a body, and this field.
    Status(u16, &'static str),
    /// Hangs up.
    HangUp,
    /// 200, and a body of 100 MB.
    Huge,
    /// 200, and a byte every 50 milliseconds.
    Drip,
}

/// The server. Its thread ends with the program.
pub(crate) struct KeyServer {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    count: Arc<AtomicUsize>,
}

impl KeyServer {
    /// A server that does this.
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(answer)),
            count: Arc::default(),
        };
        let (answer, count) = (server.answer.clone(), server.count.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, count) = (answer.clone(), count.clone());
                thread::spawn(move || serve(&stream, &answer, &count));
            }
        });
        server
    }

    /// Where it shows its keys.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/jwks.json", self.address)
    }

    /// From now on it does this.
    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How many requests there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn serve(stream: &TcpStream, answer: &Mutex<Answer>, count: &AtomicUsize) {
    let mut lines = BufReader::new(stream).lines();
    if !lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
        return;
    }
    count.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().unwrap().clone();
    let mut stream = stream;
    // Whoever asks may hang up.
    let _ = match answer {
        Answer::Keys(body) => write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        Answer::Status(status, field) => {
            write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\n{field}\r\nContent-Length: 0\r\n\r\n")
        }
        Answer::HangUp => Ok(()),
        Answer::Huge => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| {
            let part = vec![b' '; 1_000_000];
            (0..100).try_for_each(|_| stream.write_all(&part))
        }),
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").and_then(|()| {
                (0..2000).try_for_each(|_| {
                    thread::sleep(Duration::from_millis(50));
                    stream.write_all(b" ")
                })
            })
        }
    };
}
