//! Elapsed time out of a clock that may jump: what holds and confirmation intervals are measured with.
//!
//! The rule: time is credited from one step to the next, never from a stored start. A clock that steps back credits
//! nothing and takes nothing away; a clock that jumps ahead, a machine that slept, a daemon that was stopped credit at
//! most [`STRIDE`]. So a wrong clock can make a wait longer, never shorter than it by more than one stride, and whoever
//! waits must step at least once a stride: [`Elapsed::next`] says when.

use serde::{Deserialize, Serialize};

use crate::dns::Timestamp;

/// The most seconds that one step credits.
pub const STRIDE: u64 = 600;

/// A stopwatch that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elapsed {
    /// Seconds credited so far.
    pub credited: u64,
    /// When it was last credited.
    pub last: Timestamp,
}

impl Elapsed {
    /// A stopwatch that starts now.
    pub fn start(now: Timestamp) -> Elapsed {
        Elapsed { credited: 0, last: now }
    }

    /// Credits the time since the last step, by the rule above.
    pub fn credit(&mut self, now: Timestamp) {
        self.credited = self.credited.saturating_add(now.saturating_sub(self.last).min(STRIDE));
        self.last = now;
    }

    /// Lets the time since the last step go by uncredited.
    pub fn pause(&mut self, now: Timestamp) {
        self.last = now;
    }

    /// Seconds that are left of `wait`.
    pub fn left(&self, wait: u64) -> u64 {
        wait.saturating_sub(self.credited)
    }

    /// When to step again so that `wait` ends in time; none when it is over.
    pub fn next(&self, wait: u64) -> Option<Timestamp> {
        match self.left(wait) {
            0 => None,
            left => Some(self.last.saturating_add(left.min(STRIDE))),
        }
    }

    /// When `wait` will be over if nothing happens to the clock: for people to read.
    pub fn until(&self, wait: u64) -> Timestamp {
        self.last.saturating_add(self.left(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_takes_nothing_and_one_that_leaps_gives_one_stride() {
        let mut watch = Elapsed::start(1_000_000);
        watch.credit(1_000_300);
        assert_eq!(watch.credited, 300);
        watch.credit(0);
        assert_eq!(watch.credited, 300);
        watch.credit(1_000_400);
        assert_eq!(watch.credited, 300 + STRIDE);
        watch.credit(u64::MAX);
        assert_eq!(watch.credited, 300 + 2 * STRIDE);
        assert_eq!(watch.next(300 + 2 * STRIDE), None);
    }
}
