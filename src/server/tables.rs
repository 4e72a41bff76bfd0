//! Looks after the tables of the limits: says so in the log when one keeps fewer buckets than there are clients in debt, and
//! drops what came before a reload when nobody there owes anything any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::gateway::Gateway;

/// How often the counts are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How many looks a limit is silent for after it was warned of.
const SILENCE: u32 = 60;

/// What was seen of a limit.
#[derive(Default)]
struct Seen {
    overflowed: u64,
    silent_for: u32,
}

/// How many looks there are between two at former tables, which take longer.
const SELDOM: u32 = 60;

/// Warns of each limit whose clients share overflow buckets, at most once a minute, and drops former tables.
pub(super) async fn look_after(gateway: Arc<Gateway>) {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in (1..=SELDOM).cycle() {
        ticks.tick().await;
        let gateway = gateway.clone();
        let looked = spawn_blocking(move || {
            self::look(&gateway, &mut seen, look == SELDOM);
            seen
        });
        // A look that panicked has said so, and the next one begins anew.
        seen = looked.await.unwrap_or_default();
    }
}

/// Looks once. A table may be large, so this is not for a thread that serves anybody.
fn look(gateway: &Gateway, seen: &mut HashMap<String, Seen>, drop_former: bool) {
    for limit in gateway.live().limiter.limits() {
        let Some(table) = limit.table() else { continue };
        if drop_former {
            table.tidy_predecessors(gateway.clock.now());
        }
        let seen = seen.entry(limit.rule().name.clone()).or_default();
        if let Some(more) = seen.look(table.overflowed()) {
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
    /// How many more there are than when last told, if it is time to tell.
    fn look(&mut self, overflowed: u64) -> Option<u64> {
        self.silent_for = self.silent_for.saturating_sub(1);
        if self.silent_for > 0 || overflowed == self.overflowed {
            return None;
        }
        // There are fewer if the limit began anew.
        let more = overflowed.checked_sub(self.overflowed).unwrap_or(overflowed);
        *self = Self { overflowed, silent_for: SILENCE };
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_a_minute_and_nothing_is_left_out() {
        let mut seen = Seen::default();
        assert_eq!(seen.look(0), None);
        assert_eq!(seen.look(3), Some(3));
        let told: Vec<_> = (4..200).filter_map(|count| seen.look(count)).collect();
        assert_eq!(told, [60, 60, 60]);
    }
}
