//! The buffers that workers fill with lines and the writer empties.

use std::hash::RandomState;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;

use super::fair_share::FairShare;

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
#[derive(Default)]
pub(super) struct Buffer(Mutex<Lines>);

#[derive(Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) fair_share: FairShare,
}

impl Buffer {
    pub(super) fn lock(&self) -> MutexGuard<'_, Lines> {
        // A panic under the lock leaves lines that can be written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
