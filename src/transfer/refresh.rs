//! When to look whether a primary has a newer version of a zone, and when ours has expired (RFC 1034 section 4.3.5, RFC 1035 section 3.3.13,
//! RFC 1996): values in, values out; time is an argument.
//!
//! ```text
//!            due, or NOTIFY          its serial is newer
//!   Waiting ----------------> Checking ----------------> Transferring
//!    ^  ^                      |    |                        |    |
//!    |  +---- refresh ---------+----|------ refresh ---------+    |  ours is confirmed, or there is a newer one
//!    +------- at once: the next primary; retry: behind the last --+  it came to nothing
//! ```
//! Of one zone there is never more than one check or transfer under way, with one primary [`WITH_ONE`], and of all together [`AT_ONCE`]: a
//! primary that is slow or silent keeps nobody else's zones waiting.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dns::{Name, Timestamp};
use crate::zone::serial;

/// So many zones are checked or transferred at a time.
pub const AT_ONCE: usize = 50;
/// Of these so many with one primary: what BIND (`transfers-in`) has for all.
pub const WITH_ONE: usize = 10;
/// Seconds after which a check is over, or never will be.
pub const CHECK: u64 = 60;
/// The same of a check with its transfer: a little more than whoever does it has.
pub const TRANSFER: u64 = 7500;
/// Seconds between two checks at least, however many NOTIFYs come.
const APART: u64 = 1;
/// What SOAs may say, seconds: no less than Knot has, and no more than BIND.
const REFRESH: (u64, u64) = (2, 28 * 86_400);
const RETRY: (u64, u64) = (1, 14 * 86_400);
const EXPIRE: u64 = 3;
/// Primaries that do not answer are asked later and later, seconds, however short RETRY is; more so for a zone of which we have nothing.
const BACKOFF: (u64, u64) = (1, 60);
const BACKOFF_WITHOUT: (u64, u64) = (5, 600);

/// An SOA's timers, seconds, within their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// From one check to the next.
    pub refresh: u64,
    /// To the next one after a check that came to nothing.
    pub retry: u64,
    /// So long after it was confirmed last a version holds.
    pub expire: u64,
}

impl Timers {
    /// Of an SOA's RDATA.
    pub fn of_soa(rdata: &[u8]) -> Option<Timers> {
        let [refresh, retry, expire] = serial::timers_of_soa(rdata)?.map(u64::from);
        Some(Timers {
            refresh: refresh.clamp(REFRESH.0, REFRESH.1),
            retry: retry.clamp(RETRY.0, RETRY.1),
            expire: expire.max(EXPIRE),
        })
    }
}

/// The version of a zone that we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its serial at the primary.
    pub serial: u32,
    /// Its SOA's timers.
    pub timers: Timers,
}

/// What has to outlive a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// When a primary confirmed our version last: it is the newest.
    pub confirmed: Timestamp,
}

/// What is done about a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, until then.
    Waiting(Timestamp),
    /// A primary is asked for its serial; until then at the latest.
    Checking(Timestamp),
    /// The zone comes in from it; until then at the latest.
    Transferring(Timestamp),
}

/// What a check has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The primary has another version, and it comes in.
    Newer(u32),
    /// It has the one that we have, or we have the one that came in.
    Current(Held),
    /// Nothing that helps, and why.
    Nothing(String),
}

/// A check that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Of this zone.
    pub zone: Name,
    /// With this one of its primaries, counted from 0.
    pub primary: usize,
    /// What comes of it carries this.
    pub number: u64,
}

/// One zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// What is done about it.
    pub state: State,
    /// The version that we have.
    pub held: Option<Held>,
    /// When it was confirmed last.
    pub confirmed: Option<Timestamp>,
    /// The serial that a primary showed last.
    pub shown: Option<u32>,
    /// When something came of a check last, with which primary, and why it was nothing that helps.
    pub checked: Option<(Timestamp, usize, Option<String>)>,
    /// Which primary was the last to come to nothing, and why, where all of them did the last time.
    pub failing: Option<(usize, String)>,
    /// So many times in a row they did.
    failures: u32,
    primaries: Vec<IpAddr>,
    /// The one that was asked first this time, and how many were asked.
    first: usize,
    asked: usize,
    /// The check under way, or the last one.
    number: u64,
    /// The one that said meanwhile that there is something new.
    again: Option<usize>,
}

impl Refresh {
    /// When the version that we have is no longer to be served (RFC 1035 section 3.3.13, EXPIRE).
    pub fn expires_at(&self) -> Option<Timestamp> {
        Some(self.confirmed?.saturating_add(self.held?.timers.expire))
    }

    /// Whether that was before.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at().is_some_and(|at| at <= now)
    }

    /// Which primary is asked, or is asked next.
    pub fn primary(&self) -> usize {
        let begun = usize::from(!matches!(self.state, State::Waiting(_)));
        (self.first + self.asked.saturating_sub(begun)) % self.primaries.len().max(1)
    }

    fn address(&self) -> Option<IpAddr> {
        self.primaries.get(self.primary()).copied()
    }

    /// Seconds until primaries that all came to nothing are asked again.
    fn retry(&self) -> u64 {
        let (least, most) = if self.held.is_some() { BACKOFF } else { BACKOFF_WITHOUT };
        let backoff = (least << self.failures.saturating_sub(1).min(16)).min(most);
        self.held.map_or(backoff, |held| held.timers.retry.max(backoff))
    }
}

/// What is to be asked of one primary.
#[derive(Clone, Debug, Default)]
struct Queue {
    waiting: BTreeSet<(Timestamp, Name)>,
    busy: usize,
}

/// The zones that have primaries.
#[derive(Clone, Debug, Default)]
pub struct Refreshes {
    zones: BTreeMap<Name, Refresh>,
    /// By the primary that is asked next.
    queues: BTreeMap<Option<IpAddr>, Queue>,
    busy: BTreeSet<(Timestamp, Name)>,
    numbers: u64,
    seed: u64,
    /// When it was asked last what is due.
    latest: Timestamp,
}

impl Refreshes {
    /// None yet. `seed` is what decides how far apart zones are checked that came at the same time.
    pub fn new(seed: u64) -> Refreshes {
        Refreshes { seed, ..Refreshes::default() }
    }

    /// A zone has primaries, at least one: it is checked at once where it is new, or they are others. `held` is what we have of it from before,
    /// and `kept` what is known of that.
    pub fn begin(
        &mut self,
        zone: &Name,
        primaries: Vec<IpAddr>,
        held: Option<Held>,
        kept: Option<Kept>,
        now: Timestamp,
    ) {
        let confirmed = held.map(|_| kept.map_or(now, |kept| kept.confirmed));
        self.zones.entry(zone.clone()).or_insert_with(|| {
            self.queues.entry(primaries.first().copied()).or_default().waiting.insert((now, zone.clone()));
            Refresh {
                state: State::Waiting(now),
                held,
                confirmed,
                shown: None,
                checked: None,
                failing: None,
                failures: 0,
                primaries,
                first: 0,
                asked: 0,
                number: 0,
                again: None,
            }
        });
    }

    /// A zone has other primaries, or none any more: what was under way comes to nothing.
    pub fn end(&mut self, zone: &Name) {
        self.forget(zone);
        self.zones.remove(zone);
    }

    /// What is known of a zone.
    pub fn of(&self, zone: &Name) -> Option<&Refresh> {
        self.zones.get(zone)
    }

    /// What is known of all zones.
    pub fn zones(&self) -> impl Iterator<Item = (&Name, &Refresh)> {
        self.zones.iter()
    }

    /// When something is to be done next.
    pub fn next(&self) -> Option<Timestamp> {
        [self.first(), self.busy.first()].into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Which zone is to be checked next, where there is room for it.
    fn first(&self) -> Option<&(Timestamp, Name)> {
        let queues = self.queues.values().filter(|queue| queue.busy < WITH_ONE && self.busy.len() < AT_ONCE);
        queues.filter_map(|queue| queue.waiting.first()).min()
    }

    /// The checks that are to be made by now.
    pub fn due(&mut self, now: Timestamp) -> Vec<Check> {
        if now + CHECK < self.latest {
            self.set_back(now);
        }
        self.latest = now;
        while let Some((_, zone)) = self.busy.first().filter(|(until, _)| *until <= now).cloned() {
            let number = self.zones.get(&zone).map_or(0, |refresh| refresh.number);
            self.heard(&zone, number, Shown::Nothing("it takes too long".to_owned()), now);
        }
        let mut checks = Vec::new();
        while let Some((_, zone)) = self.first().filter(|(at, _)| *at <= now).cloned() {
            self.numbers += 1;
            let number = self.numbers;
            let asked = self.set(&zone, |refresh| {
                let primary = refresh.primary();
                refresh.asked += 1;
                refresh.number = number;
                refresh.state = State::Checking(now + CHECK);
                primary
            });
            checks.extend(asked.map(|primary| Check { zone, primary, number }));
        }
        checks
    }

    /// A clock that was set back would put everything off: whoever waits is checked now.
    fn set_back(&mut self, now: Timestamp) {
        let zones: Vec<Name> = self.zones.keys().cloned().collect();
        for zone in zones {
            self.set(&zone, |refresh| {
                refresh.confirmed = refresh.confirmed.map(|confirmed| confirmed.min(now));
                refresh.checked = refresh.checked.take().map(|(at, primary, why)| (at.min(now), primary, why));
                if matches!(refresh.state, State::Waiting(_)) {
                    refresh.state = State::Waiting(now);
                }
            });
        }
    }

    /// Something came of a check; what came of others than the one that is under way is not heard. Gives whether it was.
    pub fn heard(&mut self, zone: &Name, number: u64, shown: Shown, now: Timestamp) -> bool {
        let seed = self.shake();
        let earlier = |interval: u64| (interval - interval / 1000 * (seed % 100)).max(1);
        let is_awaited = |refresh: &Refresh| refresh.number == number && !matches!(refresh.state, State::Waiting(_));
        if !self.zones.get(zone).is_some_and(is_awaited) {
            return false;
        }
        self.set(zone, |refresh| {
            let primary = refresh.primary();
            let why = match shown {
                Shown::Newer(serial) => {
                    refresh.shown = Some(serial);
                    refresh.state = State::Transferring(now + TRANSFER);
                    return;
                }
                Shown::Current(held) => {
                    (refresh.held, refresh.confirmed, refresh.shown) = (Some(held), Some(now), Some(held.serial));
                    refresh.state = State::Waiting(now + earlier(held.timers.refresh));
                    (refresh.first, refresh.asked, refresh.failures) = (0, 0, 0);
                    refresh.failing = None;
                    None
                }
                Shown::Nothing(why) if refresh.asked < refresh.primaries.len() => {
                    refresh.state = State::Waiting(now);
                    Some(why)
                }
                Shown::Nothing(why) => {
                    (refresh.first, refresh.asked) = (0, 0);
                    refresh.failures = refresh.failures.saturating_add(1);
                    refresh.failing = Some((primary, why.clone()));
                    refresh.state = State::Waiting(now + earlier(refresh.retry()));
                    Some(why)
                }
            };
            refresh.checked = Some((now, primary, why));
            if let Some(primary) = refresh.again.filter(|_| refresh.asked == 0) {
                (refresh.again, refresh.first) = (None, primary);
                refresh.state = State::Waiting(now + APART);
            }
        });
        true
    }

    /// A primary says that there is something new, and perhaps which serial it has (RFC 1996 section 3.7): it is asked first.
    pub fn notified(&mut self, zone: &Name, primary: usize, serial: Option<u32>, now: Timestamp) {
        self.set(zone, |refresh| {
            let is_had = |held: Held| serial.is_some_and(|serial| !serial::is_after(serial, held.serial));
            if refresh.held.is_some_and(is_had) && !refresh.is_expired(now) {
                return;
            }
            match refresh.state {
                State::Waiting(at) if refresh.asked == 0 => {
                    let after = refresh.checked.as_ref().map_or(0, |(checked, ..)| checked + APART);
                    refresh.first = primary % refresh.primaries.len().max(1);
                    refresh.state = State::Waiting(at.min(after.max(now)));
                }
                // The next one is asked right now.
                State::Waiting(_) => {}
                State::Checking(_) | State::Transferring(_) => {
                    refresh.again = Some(primary % refresh.primaries.len().max(1))
                }
            }
        });
    }

    fn shake(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    /// Changes what is known of a zone, and when something is to be done about it.
    fn set<T>(&mut self, zone: &Name, change: impl FnOnce(&mut Refresh) -> T) -> Option<T> {
        self.forget(zone);
        let refresh = self.zones.get_mut(zone)?;
        let changed = change(refresh);
        let queue = self.queues.entry(refresh.address()).or_default();
        match refresh.state {
            State::Waiting(at) => {
                queue.waiting.insert((at, zone.clone()));
            }
            State::Checking(until) | State::Transferring(until) => {
                queue.busy += 1;
                self.busy.insert((until, zone.clone()));
            }
        }
        Some(changed)
    }

    fn forget(&mut self, zone: &Name) {
        let Some(refresh) = self.zones.get(zone) else { return };
        let Some(queue) = self.queues.get_mut(&refresh.address()) else { return };
        match refresh.state {
            State::Waiting(at) => {
                queue.waiting.remove(&(at, zone.clone()));
            }
            State::Checking(until) | State::Transferring(until) => {
                queue.busy -= usize::from(self.busy.remove(&(until, zone.clone())));
            }
        }
        if queue.busy == 0 && queue.waiting.is_empty() {
            self.queues.remove(&refresh.address());
        }
    }
}

#[cfg(test)]
#[path = "refresh_tests.rs"]
mod tests;
