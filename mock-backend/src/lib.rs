//! A small HTTP service that stands in for the servers behind the gateway.
//!
//! Run as a program it is something to point a gateway at by hand; as a library it is a backend on a free port
//! inside a test, with a log of what reached it. It speaks HTTP/1.1 and HTTP/2 without TLS on the same port.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /users`, `GET /users/{id}`, `POST /users` | users as JSON; a post is validated but not stored |
//! | `GET /data` | sample data with a timestamp |
//! | `GET /health`, `POST /health/good`, `POST /health/bad` | 200 or 503, by the switch |
//! | any method `/echo`, `/echo/*` | what was received, as JSON |
//! | `GET /stream?chunks=5&interval=100ms` | text in chunks |
//! | `GET /sse?events=5&interval=100ms` | server-sent events, endless without `events` |
//! | `GET /ws` | a WebSocket that echoes |
//! | any method `/status/{code}` | that status, 200 to 999 |
//! | `GET /bytes/{n}` | `n` bytes |
//! | any method `/upload` | the length of the body |
//!
//! Each takes `?delay=200ms` (wait before answering) and `?fail=0.1` (answer 500 that often). Every response
//! names its server in `X-Backend`. It is no example of a hardened server: it has no limits on connections or
//! time.
//!
//! ```
//! let backend = mock_backend::MockBackend::builder().name("b1").start_blocking()?;
//! assert_eq!(backend.requests(), []);
//! println!("http://{}/users", backend.addr());
//! backend.stop_blocking();
//! # Ok::<(), std::io::Error>(())
//! ```

mod backend;
mod data;
mod duration;
mod echo;
mod faults;
mod health;
mod name;
mod payload;
mod problem;
mod record;
mod routes;
mod server;
mod state;
mod status;
mod stream;
mod users;
mod websocket;

pub use backend::{Builder, MockBackend};
pub use name::{InvalidName, Name};
pub use record::Received;
pub use server::serve;
