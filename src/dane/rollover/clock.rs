//! How much time has gone by, out of clocks that may be wrong: min(wall, boot-time clock) within a boot; across boots the
//! wall clock, and only between two readings that were synchronised.
//!
//! Everything in the machine is measured in [`Age`]: the seconds credited so far. A clock that jumps ahead credits what the
//! other one says; one that steps back credits nothing for that step and takes nothing away. After a boot, the time that
//! the machine was off is credited when the wall clock is synchronised again.

use serde::{Deserialize, Serialize};

use crate::dns::Timestamp;

use super::guard::{Guard, Guards};

/// Seconds credited since the machine began.
pub type Age = u64;

/// The two clocks may differ by this many seconds from one step to the next before it is told.
const JUMP: u64 = 60;

/// What the clocks say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Seconds since boot, suspended ones too.
    pub boot: u64,
    /// A number that another boot has not.
    pub boot_id: u64,
    /// Whether the wall clock is synchronised.
    pub synchronised: bool,
}

/// The credited time, and what it is credited from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Clock {
    age: Age,
    last: Option<Reading>,
    /// Since this reading both clocks have run on; the age then.
    anchor: Option<Mark>,
    /// The last synchronised reading of a boot before, until this boot's clock is synchronised.
    before: Option<Mark>,
}

/// A reading, and the age then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Mark {
    reading: Reading,
    age: Age,
}

impl Clock {
    /// The age by the last reading.
    pub fn age(&self) -> Age {
        self.age
    }

    /// When the wall clock will show that an age is reached, if nothing happens to it.
    pub fn wall_at(&self, age: Age) -> Timestamp {
        self.last.map_or(0, |last| last.wall).saturating_add(age.saturating_sub(self.age))
    }

    /// Takes a reading. Gives the seconds by which the wall clock jumped, where it did.
    pub(super) fn read(&mut self, now: Reading, guards: Guards) -> Option<i64> {
        let mut jump = None;
        let anchor = match (self.anchor, self.last) {
            (Some(anchor), Some(last)) if last.boot_id == now.boot_id => {
                let (wall, boot) = (difference(now.wall, last.wall), difference(now.boot, last.boot));
                jump = Some(wall.saturating_sub(boot)).filter(|jump| jump.unsigned_abs() > JUMP);
                let (wall_since, boot_since) =
                    (now.wall.saturating_sub(anchor.reading.wall), now.boot.saturating_sub(anchor.reading.boot));
                let since = if guards.on(Guard::BootClock) { wall_since.min(boot_since) } else { wall_since };
                self.age = self.age.max(anchor.age.saturating_add(since));
                if wall < 0 || boot < 0 { self.mark(now) } else { anchor }
            }
            (_, last) => {
                let synchronised = last.filter(|last| last.synchronised || !guards.on(Guard::Synchronised));
                self.before = synchronised.map(|reading| Mark { reading, age: self.age }).or(self.before);
                self.mark(now)
            }
        };
        self.anchor = Some(anchor);
        if (now.synchronised || !guards.on(Guard::Synchronised))
            && let Some(before) = self.before.take()
        {
            let gone = now.wall.saturating_sub(before.reading.wall);
            self.age = self.age.max(before.age.saturating_add(gone));
            self.anchor = Some(self.mark(now));
        }
        self.last = Some(now);
        jump
    }

    fn mark(&self, reading: Reading) -> Mark {
        Mark { reading, age: self.age }
    }
}

fn difference(left: u64, right: u64) -> i64 {
    i64::try_from(i128::from(left) - i128::from(right)).unwrap_or(if left > right { i64::MAX } else { i64::MIN })
}
