//! A client's connection, as the proxy and the socket beneath it both see it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::HeaderValue;

use super::own_fields::OwnFields;
use crate::client_certificate::ClientCertificate;
use crate::clock::Timestamp;
use crate::engine::Peer;
use crate::gateway::{Gateway, MemoryPressure};

/// No deadline: the end of time.
const NEVER: u64 = u64::MAX;

/// What is known of a client's connection, and what the proxy asks of it.
///
/// One task at a time works on a connection, so its atomics order nothing: they are there because the two
/// sides hold it together.
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The certificate that the client has shown in the handshake, which has verified it.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What it belongs to. Requests go by this reference, so that threads do not contend for its count with every request.
    pub gateway: Arc<Gateway>,
    /// Of its listener: connections close after the request that is running.
    closing: Arc<AtomicBool>,
    head_at: AtomicU64,
    deadline: AtomicU64,
    whole: AtomicU64,
    silence: AtomicU64,
    silent: AtomicBool,
    tunnel: AtomicBool,
    /// It has carried as many requests as it may.
    spent: AtomicBool,
    /// The client of the current request wants it to stay open.
    keep_alive_wanted: AtomicBool,
    /// The answer says that it stays open.
    keep_alive: AtomicBool,
    /// The answer has begun.
    begun: AtomicBool,
    /// The answer is out, all of it.
    answered: AtomicBool,
    /// Fields of the gateway's own for the answer that is written next.
    own_fields: Mutex<OwnFields>,
    /// The address of the peer as text, once it has been asked for.
    peer_text: OnceLock<HeaderValue>,
    /// Why the exchange was ended from outside: an [`Ending`], or zero.
    ending: AtomicU8,
}

/// Why an exchange was ended by whoever watched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has left.
    Left = 1,
    /// The deadline has passed while the upstream took nothing of the request.
    Late = 2,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(peer: Peer, tls: bool, closing: Arc<AtomicBool>, gateway: Arc<Gateway>) -> Self {
        Self {
            peer,
            tls,
            certificate: None,
            gateway,
            closing,
            head_at: AtomicU64::new(0),
            deadline: AtomicU64::new(NEVER),
            whole: AtomicU64::new(NEVER),
            silence: AtomicU64::new(NEVER),
            silent: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            spent: AtomicBool::new(false),
            keep_alive_wanted: AtomicBool::new(false),
            keep_alive: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            own_fields: Mutex::default(),
            peer_text: OnceLock::new(),
            ending: AtomicU8::new(0),
        }
    }

    /// The same, whose client has shown this certificate.
    #[must_use]
    pub fn showing(self, certificate: Option<Arc<ClientCertificate>>) -> Self {
        Self { certificate, ..self }
    }

    /// How scarce memory is for what waits for its client.
    pub fn pressure(&self) -> &MemoryPressure {
        &self.gateway.pressure
    }

    /// The address of the peer, without its port, as a field value.
    pub(super) fn peer_as_value(&self) -> HeaderValue {
        let value = self.peer_text.get_or_init(|| {
            // An address is always a valid value.
            let address = self.peer.address.ip().to_canonical().to_string();
            HeaderValue::from_str(&address).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        });
        value.clone()
    }

    /// Keeps fields for the answer that is written next.
    pub(crate) fn set_own_fields(&self, fields: OwnFields) {
        *self.own_fields.lock().unwrap_or_else(PoisonError::into_inner) = fields;
    }

    /// The fields that were kept for the answer that is written now.
    pub(crate) fn take_own_fields(&self) -> OwnFields {
        std::mem::take(&mut *self.own_fields.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it is to close after the request that is running.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.spent.load(Ordering::Relaxed)
    }

    /// It takes no request after the one that is running.
    pub fn close_after_this(&self) {
        self.spent.store(true, Ordering::Relaxed);
    }

    /// Notes when the head of the current request was whole.
    pub fn set_head_at(&self, at: Timestamp) {
        self.head_at.store(at.nanos(), Ordering::Relaxed);
    }

    /// When the head of the current request was whole.
    pub fn head_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.head_at.load(Ordering::Relaxed))
    }

    /// From `deadline` on, reading and writing fail with [`std::io::ErrorKind::TimedOut`].
    pub fn set_deadline(&self, deadline: Option<Timestamp>) {
        self.deadline.store(deadline.map_or(NEVER, Timestamp::nanos), Ordering::Relaxed);
    }

    /// The deadline, if there is one.
    pub fn deadline(&self) -> Option<Timestamp> {
        let nanos = self.deadline.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Timestamp::from_nanos(nanos))
    }

    /// The whole exchange must be over by then: a body that is still coming is waited for no longer.
    pub fn set_whole_deadline(&self, deadline: Option<Timestamp>) {
        self.whole.store(deadline.map_or(NEVER, Timestamp::nanos), Ordering::Relaxed);
    }

    /// When the whole exchange must be over, if there is a bound.
    pub fn whole_deadline(&self) -> Option<Timestamp> {
        let nanos = self.whole.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Timestamp::from_nanos(nanos))
    }

    /// From now on, waiting for more of an answer fails with [`std::io::ErrorKind::TimedOut`] when nothing has come for
    /// so long.
    pub fn set_silence(&self, longest: Option<Duration>) {
        let nanos = longest.map_or(NEVER, |longest| u64::try_from(longest.as_nanos()).unwrap_or(NEVER));
        self.silence.store(nanos, Ordering::Relaxed);
        self.silent.store(false, Ordering::Relaxed);
    }

    /// How long the upstream may send nothing in the middle of its answer, if there is a bound.
    pub fn silence(&self) -> Option<Duration> {
        let nanos = self.silence.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Duration::from_nanos(nanos))
    }

    /// Notes that the upstream has sent nothing for too long.
    pub fn note_silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// The connection has been handed to another protocol: nothing on it is a request any more, and no deadline of one holds.
    pub fn become_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
        self.set_deadline(None);
        self.set_silence(None);
    }

    /// Whether it has been handed to another protocol.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Relaxed)
    }

    /// An exchange begins, and its client wants the connection to stay open after it, or not.
    pub fn begin_exchange(&self, keep_alive_wanted: bool) {
        self.keep_alive_wanted.store(keep_alive_wanted, Ordering::Relaxed);
        self.keep_alive.store(false, Ordering::Relaxed);
        self.whole.store(NEVER, Ordering::Relaxed);
        self.begun.store(false, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
    }

    /// Whether the client wants it to stay open.
    pub fn wants_keep_alive(&self) -> bool {
        self.keep_alive_wanted.load(Ordering::Relaxed)
    }

    /// Notes that the answer has begun, and whether the client is told that the connection stays open.
    pub fn begin_answer(&self, keep_alive: bool) {
        self.begun.store(true, Ordering::Relaxed);
        self.keep_alive.store(keep_alive, Ordering::Relaxed);
    }

    /// Whether the answer has begun.
    pub fn has_begun_answer(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// The connection closes after this exchange, whatever the client was told.
    pub fn forbid_keep_alive(&self) {
        self.keep_alive.store(false, Ordering::Relaxed);
    }

    /// Notes that the answer is out.
    pub fn note_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether another request may follow: the answer is out, and said so.
    pub fn may_go_on(&self) -> bool {
        self.answered.load(Ordering::Relaxed) && self.keep_alive.load(Ordering::Relaxed)
    }

    /// The exchange is being ended from outside.
    pub fn set_ending(&self, ending: Ending) {
        self.ending.store(ending as u8, Ordering::Relaxed);
    }

    /// Why the exchange was ended from outside, if it was.
    pub fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Relaxed) {
            1 => Some(Ending::Left),
            2 => Some(Ending::Late),
            _ => None,
        }
    }
}
