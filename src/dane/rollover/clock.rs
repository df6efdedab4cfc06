//! How much time has gone by, out of clocks that may be wrong: min(wall, boot-time clock) within a boot; across boots the
//! wall clock, and only between two readings that were synchronised.
//!
//! Everything in the machine is measured in [`Age`]: the seconds credited so far. A clock that jumps ahead credits what the
//! other one says; one that steps back credits nothing for that step and takes nothing away. After a boot, the time that
//! the machine was off is credited when the wall clock is synchronised again, and only to what was waited for before the boot.

use serde::{Deserialize, Serialize};

use crate::dns::Timestamp;

use super::guard::{Guard, Guards};

/// Seconds credited since the machine began.
pub type Age = u64;

/// The two clocks may differ by this many seconds from one step to the next before it is told.
const JUMP: u64 = 60;

/// So many boots are credited.
const GAPS: usize = 16;

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
    /// What each clock is ahead of the other: wall, boot-time.
    spare: (u64, u64),
    /// The last synchronised reading of a boot before and the age at the boot, until this boot's clock is synchronised.
    before: Option<Mark>,
    /// The boots that are credited, the last ones, and their seconds.
    gaps: Vec<(Age, u64)>,
}

/// A wall clock's reading, and the age then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Mark {
    wall: Timestamp,
    age: Age,
}

impl Clock {
    /// The age by the last reading.
    pub fn age(&self) -> Age {
        self.age
    }

    /// From when on a wait counts that begins now: what is credited later of the time before is not for it.
    pub fn mark(&self) -> Age {
        self.age.saturating_add(self.spare.0.max(self.spare.1))
    }

    /// How many seconds have gone by since an age. What began in the very second of a boot is taken for later.
    pub fn elapsed(&self, since: Age) -> u64 {
        let gaps = self.gaps.iter().filter(|(at, _)| since < *at).map(|(_, seconds)| seconds);
        gaps.fold(self.age.saturating_sub(since), |sum, gap| sum.saturating_add(*gap))
    }

    /// At which age a wait is over that began at an age.
    pub fn end(&self, since: Age, wait: u64) -> Age {
        self.age.saturating_add(wait.saturating_sub(self.elapsed(since)))
    }

    /// When the wall clock will show that an age is reached, if nothing happens to it.
    pub fn wall_at(&self, age: Age) -> Timestamp {
        self.last.map_or(0, |last| last.wall).saturating_add(age.saturating_sub(self.age))
    }

    /// Takes a reading. Gives the seconds by which the wall clock jumped, where it did.
    pub fn read(&mut self, now: Reading, guards: Guards) -> Option<i64> {
        let mut jump = None;
        match self.last {
            Some(last) if last.boot_id == now.boot_id => {
                let (wall, boot) = (difference(now.wall, last.wall), difference(now.boot, last.boot));
                jump = Some(wall.saturating_sub(boot)).filter(|jump| jump.unsigned_abs() > JUMP);
                self.credit(wall, boot, guards);
            }
            last => {
                let synchronised = last.filter(|last| last.synchronised || !guards.on(Guard::Synchronised));
                self.before = synchronised.map(|reading| Mark { wall: reading.wall, age: self.age }).or(self.before);
                self.spare = (0, 0);
            }
        }
        if (now.synchronised || !guards.on(Guard::Synchronised))
            && let Some(before) = self.before.take()
        {
            let since = self.age.saturating_sub(before.age);
            let gap = now.wall.saturating_sub(before.wall).saturating_sub(since);
            self.gaps.push((before.age, gap));
            self.gaps.drain(..self.gaps.len().saturating_sub(GAPS));
        }
        self.last = Some(now);
        jump
    }

    /// Credits the lesser of both. The clocks need not tick at the same moment, so a second is carried over, and no more: what
    /// one of them leapt must not be made good by the other later.
    fn credit(&mut self, wall: i64, boot: i64, guards: Guards) {
        let (Ok(wall), Ok(boot)) = (u64::try_from(wall), u64::try_from(boot)) else {
            self.spare = (0, 0);
            return;
        };
        let (wall, boot) = (wall.saturating_add(self.spare.0), boot.saturating_add(self.spare.1));
        let credit = if guards.on(Guard::BootClock) { wall.min(boot) } else { wall };
        self.age = self.age.saturating_add(credit);
        self.spare = (wall.saturating_sub(credit).min(1), boot.saturating_sub(credit).min(1));
    }
}

fn difference(left: u64, right: u64) -> i64 {
    i64::try_from(i128::from(left) - i128::from(right)).unwrap_or(if left > right { i64::MAX } else { i64::MIN })
}
