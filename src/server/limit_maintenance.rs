//! Maintains the limits: tells those by the calendar what the wall clock says, warns when a table has fewer buckets than clients are in
//! debt, and drops a table that a reload has replaced when none of its buckets is in debt any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::Gateway;
use crate::limit::table::Table;

/// How often the tables are checked, and the wall clock is asked, which may have been set.
const EVERY: Duration = Duration::from_secs(1);

/// How many checks pass before another warning of the same limit.
const SILENCE: u32 = 60;

/// What was last seen of a limit.
#[derive(Default)]
struct Seen {
    overflowed: u64,
    silent_for: u32,
}

/// How many checks pass between two that visit former tables, since those take longer.
const SELDOM: u32 = 60;

/// Warns of each limit whose clients share overflow buckets, at most once a minute, and drops former tables.
pub(super) async fn run(gateway: Arc<Gateway>) {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for check_number in (1..=SELDOM).cycle() {
        ticks.tick().await;
        gateway.look_at_wall_clock();
        let gateway = gateway.clone();
        let checked = spawn_blocking(move || {
            check(&gateway, &mut seen, check_number == SELDOM);
            seen
        });
        // A check that panicked has logged that, and the next one begins anew.
        seen = checked.await.unwrap_or_default();
    }
}

/// Checks the tables once. That may take long, so it must not run on a thread that serves requests.
fn check(gateway: &Gateway, seen: &mut HashMap<String, Seen>, drop_former: bool) {
    for limit in gateway.active().engine.limiter().limits() {
        let Some(table) = limit.table() else { continue };
        if drop_former {
            limit.tidy(gateway.clock.now());
        }
        let seen = seen.entry(limit.rule().name.clone()).or_default();
        if let Some(more) = seen.note(limit.tables().map(Table::overflowed).sum()) {
            let (name, most) = (&limit.rule().name, table.capacity());
            warn!(
                "limit {name:?}: {more} requests shared an overflow bucket, since it keeps {most} buckets and more \
                 clients are in debt: raise its max_clients, or let a limit by client_ip stand beside it if few addresses \
                 send them"
            );
        }
    }
}

impl Seen {
    /// How many more requests overflowed since the last warning, if it is time for another.
    fn note(&mut self, overflowed: u64) -> Option<u64> {
        self.silent_for = self.silent_for.saturating_sub(1);
        if self.silent_for > 0 || overflowed == self.overflowed {
            return None;
        }
        // The number is lower if the limit began anew.
        let more = overflowed.checked_sub(self.overflowed).unwrap_or(overflowed);
        *self = Self { overflowed, silent_for: SILENCE };
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_warned_of_once_a_minute_with_all_that_overflowed() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(0), None);
        assert_eq!(seen.note(3), Some(3));
        let told: Vec<_> = (4..200).filter_map(|count| seen.note(count)).collect();
        assert_eq!(told, [60, 60, 60]);
    }
}
