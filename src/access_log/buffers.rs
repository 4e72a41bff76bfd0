//! The buffers that workers fill with lines and the writer empties.

use std::hash::RandomState;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;

use super::fair_share::FairShare;
use super::formatter::Formatter;
use crate::config::AccessLog;

/// What workers and the writer share.
pub(super) struct Shared {
    pub(super) buffers: Box<[Buffer]>,
    pub(super) dropped: IntCounter,
    pub(super) reopen: AtomicBool,
    pub(super) closing: AtomicBool,
    /// The secret of the hashes in `fair_share`.
    pub(super) secret: RandomState,
}

/// The lines of one worker. Buffers are apart from each other, so that workers do not meet at a cache line.
#[repr(align(128))]
pub(super) struct Buffer(Mutex<Lines>);

pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) formatter: Formatter,
    pub(super) fair_share: FairShare,
}

impl Buffer {
    pub(super) fn new(config: &AccessLog) -> Self {
        let (formatter, fair_share) = (Formatter::new(config.format, config.members), FairShare::default());
        Self(Mutex::new(Lines { bytes: Vec::new(), formatter, fair_share }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lines> {
        // A panic under the lock leaves lines that can be written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
