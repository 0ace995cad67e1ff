//! What the door does when nobody asks: it removes sessions nobody came back to, where the settings say so.

use std::time::Duration;

use moongate_core::Prune;
use moongate_protocol::{SessionId, Timestamp};
use tokio::time::sleep;

use super::{NAME, Oxios, settings};
use crate::door::shared::Door;

/// How often sessions are removed.
const EVERY: Duration = Duration::from_secs(3_600);
/// How often the clock is looked at: the wall clock may be moved, and a test moves it by hand.
const TICK: Duration = Duration::from_secs(1);

/// What the settings say of sessions, at this time.
pub(super) fn prune(
    rule: settings::Prune,
    now: Timestamp,
    is_spared: &(dyn Fn(SessionId) -> bool + Sync),
) -> Prune<'_> {
    let age = Duration::from_secs(u64::from(rule.ttl_hours) * 3_600);
    let before = (rule.ttl_hours > 0).then(|| now.minus(age));
    Prune { door: NAME.into(), most: rule.max_sessions.into(), before, is_spared }
}

/// When it is time again.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    last: Timestamp,
}

impl Schedule {
    /// Whether an hour is over; the next one begins then.
    fn is_due(&mut self, now: Timestamp) -> bool {
        // A clock that was set back begins a new hour.
        let is_due = now >= self.last && now.since(self.last) >= EVERY;
        if is_due || now < self.last {
            self.last = now;
        }
        is_due
    }
}

/// Removes sessions once an hour as long as the settings say so, until the server goes away.
pub(in crate::door) async fn keep(door: Door<Oxios>) {
    let gateway = door.app().gateway();
    let closing = gateway.draining();
    loop {
        let mut schedule = Schedule { last: gateway.ids().now() };
        while door.prune().auto {
            tokio::select! {
                () = closing.cancelled() => return,
                () = sleep(TICK) => {}
            }
            let now = gateway.ids().now();
            if schedule.is_due(now) {
                let spared = |session| door.displayed.holds(session);
                match gateway.prune_everybodys(&prune(door.prune(), now, &spared)).await {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(count, "sessions nobody came back to were removed"),
                    Err(refusal) => tracing::warn!(%refusal, "old sessions could not be removed"),
                }
            }
        }
        tokio::select! {
            () = closing.cancelled() => return,
            () = door.changed.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_once_an_hour_whatever_the_clock_does() {
        let at = |secs: i64| Timestamp::from_millis((1_000_000 + secs) * 1_000);
        let mut schedule = Schedule { last: at(0) };
        assert!(!schedule.is_due(at(3_599)) && schedule.is_due(at(3_600)));
        assert!(!schedule.is_due(at(7_199)) && schedule.is_due(at(20_000)) && !schedule.is_due(at(20_001)));
        assert!(
            !schedule.is_due(at(-50_000)) && !schedule.is_due(at(-46_401)) && schedule.is_due(at(-46_400))
        );
    }
}
