//! What the handlers of one server share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::name::Name;
use crate::record::Log;
use crate::users;

pub(crate) struct State {
    pub(crate) name: Name,
    /// `None` in the program: nobody reads the log there, and it would cost a lock and a copy for each request.
    pub(crate) log: Option<Log>,
    healthy: AtomicBool,
    next_user: AtomicU64,
}

// Relaxed in this file: neither value guards other memory, each stands for itself.
impl State {
    pub(crate) fn new(name: Name, log: Option<Log>) -> Self {
        Self { name, log, healthy: AtomicBool::new(true), next_user: AtomicU64::new(users::FIRST_FREE_ID) }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    pub(crate) fn next_user_id(&self) -> u64 {
        self.next_user.fetch_add(1, Ordering::Relaxed)
    }
}
