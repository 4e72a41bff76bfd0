//! A timer that is cheap when deadlines are put off before they pass, as nearly all are.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Sleep, sleep};

use crate::clock::{Clock, Timestamp};

/// Wakes a task when a deadline has passed.
///
/// A deadline that is put off does not change the timer: it wakes the task at the old time, finds that the deadline has not passed, and is
/// set anew. So a connection with a request every millisecond sets the timer once in each timeout, not each millisecond.
pub(super) struct Timer {
    clock: Clock,
    sleep: Option<Pin<Box<Sleep>>>,
    /// When the timer wakes the task.
    set_for: Timestamp,
}

impl Timer {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, sleep: None, set_for: Timestamp::default() }
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether the deadline has passed. If not, the task is woken when it has.
    pub(super) fn poll_passed(&mut self, deadline: Option<Timestamp>, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = deadline else { return false };
        if self.sleep.is_none() || self.set_for > deadline {
            self.set(deadline);
        }
        while let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(cx) == Poll::Pending {
                return false;
            }
            if self.clock.now() >= deadline {
                return true;
            }
            self.set(deadline);
        }
        false
    }

    fn set(&mut self, deadline: Timestamp) {
        self.set_for = deadline;
        self.sleep = Some(Box::pin(sleep(deadline.since(self.clock.now()))));
    }
}
