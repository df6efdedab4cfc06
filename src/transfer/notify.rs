//! Whom to tell of a new version of a zone, and when again (RFC 1996): values in, values out; time is an argument.
//!
//! ```text
//!   served            answered                  shows the serial
//!  -------> Waiting ------------> Transferring -----------------> Current
//!            |  ^ told again,       |  ^ looked at again,
//!            |  | later and later   |  | later and later
//!            +--+                   +--+
//!            +----------------------+---> Silent, until another version is served
//! ```
//! Who refuses is told again in the same way, and is Refusing meanwhile. What a secondary was seen to take makes it Current once it
//! was told.
//!
//! A version that comes while another is told of takes its place: nobody is told of what is old.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::dns::{Name, Timestamp};
use crate::zone::serial;

/// Seconds between two NOTIFYs to one secondary about one zone, if the zone changes as often.
pub const APART: u64 = 1;
/// Seconds until a NOTIFY that is not answered is sent again; each time twice as many.
pub const RETRY: u64 = 3;
/// So often it is sent again, before the secondary is left to its refresh timer (RFC 1996 section 3.6).
pub const RETRIES: u32 = 5;
/// So many are sent together: a start with thousands of zones is no flood.
pub const TOGETHER: usize = 100;

/// A secondary's copy of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copy {
    /// The zone.
    pub zone: Name,
    /// The secondary.
    pub secondary: SocketAddr,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The serial that it is told of.
    pub serial: u32,
    /// How far that is.
    pub state: State,
    /// When it was told last.
    pub told_at: Option<Timestamp>,
    /// The serial that it was seen to have, and when.
    pub seen: Option<(u32, Timestamp)>,
}

/// How far a secondary is with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It will be told, for the first time or once more.
    Waiting {
        /// When.
        at: Timestamp,
        /// How often it was told and did not answer.
        tries: u32,
    },
    /// It has answered; its serial is looked at until it is this one.
    Transferring {
        /// When next.
        at: Timestamp,
        /// How often it was looked at.
        looks: u32,
    },
    /// It has the version.
    Current,
    /// It does not answer, or does not take the version over, and is left to its refresh timer until there is another.
    Silent,
    /// It answers a NOTIFY with this response code: it does not know us, or not the zone. It may have the zone soon, from a catalog, and is
    /// told again as if it had not answered.
    Refusing {
        /// The code.
        rcode: u8,
        /// When again; none when that was in vain often enough.
        at: Option<Timestamp>,
        /// How often it was told.
        tries: u32,
    },
}

impl State {
    /// When there is something to be sent.
    fn due(self) -> Option<Timestamp> {
        match self {
            State::Waiting { at, .. } | State::Transferring { at, .. } => Some(at),
            State::Refusing { at, .. } => at,
            State::Current | State::Silent => None,
        }
    }
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// A NOTIFY with the serial as a hint (RFC 1996 section 3.7).
    Notify(Copy, u32),
    /// A question for the SOA.
    Soa(Copy),
}

/// Who is told of what.
#[derive(Clone, Debug, Default)]
pub struct Notifier {
    copies: BTreeMap<Copy, Told>,
    due: BTreeSet<(Timestamp, Copy)>,
}

impl Notifier {
    /// A version is served: those who have copies are told. Copies elsewhere are forgotten.
    pub fn served(&mut self, zone: &Name, serial: u32, secondaries: &[SocketAddr], now: Timestamp) {
        let there = |copy: &Copy| secondaries.contains(&copy.secondary);
        let gone: Vec<Copy> = self.of(zone).map(|(copy, _)| copy).filter(|copy| !there(copy)).cloned().collect();
        gone.iter().for_each(|copy| self.forget(copy));
        for secondary in secondaries {
            let copy = Copy { zone: zone.clone(), secondary: *secondary };
            let before = self.copies.get(&copy);
            if before.is_some_and(|told| told.serial == serial) {
                continue;
            }
            let told_at = before.and_then(|told| told.told_at);
            let at = told_at.map_or(now, |at| now.max(at + APART));
            let seen = before.and_then(|told| told.seen);
            self.set(copy, Told { serial, state: State::Waiting { at, tries: 0 }, told_at, seen });
        }
    }

    /// Only these zones are still served.
    pub fn retain(&mut self, is_served: impl Fn(&Name) -> bool) {
        let gone: Vec<Copy> = self.copies.keys().filter(|copy| !is_served(&copy.zone)).cloned().collect();
        gone.iter().for_each(|copy| self.forget(copy));
    }

    /// What has to be sent by now, [`TOGETHER`] at most.
    pub fn due(&mut self, now: Timestamp) -> Vec<Send> {
        let due: Vec<Copy> =
            self.due.iter().take_while(|(at, _)| *at <= now).take(TOGETHER).map(|(_, copy)| copy.clone()).collect();
        due.into_iter().filter_map(|copy| self.send(copy, now)).collect()
    }

    fn send(&mut self, copy: Copy, now: Timestamp) -> Option<Send> {
        let mut told = *self.copies.get(&copy)?;
        let (send, state) = match told.state {
            State::Waiting { tries, .. } if tries > RETRIES => (None, State::Silent),
            State::Waiting { tries, .. } => {
                told.told_at = Some(now);
                (
                    Some(Send::Notify(copy.clone(), told.serial)),
                    State::Waiting { at: now + (RETRY << tries), tries: tries + 1 },
                )
            }
            State::Transferring { looks, .. } if looks > RETRIES => (None, State::Silent),
            State::Transferring { looks, .. } => {
                (Some(Send::Soa(copy.clone())), State::Transferring { at: now + (RETRY << looks), looks: looks + 1 })
            }
            State::Refusing { rcode, tries, .. } if tries > RETRIES => {
                (None, State::Refusing { rcode, at: None, tries })
            }
            State::Refusing { rcode, tries, .. } => {
                told.told_at = Some(now);
                (
                    Some(Send::Notify(copy.clone(), told.serial)),
                    State::Refusing { rcode, at: Some(now + (RETRY << tries)), tries: tries + 1 },
                )
            }
            State::Current | State::Silent => (None, told.state),
        };
        self.set(copy, Told { state, ..told });
        send
    }

    /// The NOTIFY of a version was answered, with this response code. One of an older version says nothing of the one that took its place.
    pub fn answered(&mut self, copy: &Copy, serial: u32, rcode: u8, now: Timestamp) {
        if let Some(told) = self.copies.get(copy)
            && told.serial == serial
            && matches!(told.state, State::Waiting { .. } | State::Silent | State::Refusing { .. })
            && told.told_at.is_some()
        {
            let has_it = told.seen.is_some_and(|(seen, _)| is_at_least(seen, told.serial));
            let state = match told.state {
                _ if rcode == 0 && has_it => State::Current,
                _ if rcode == 0 => State::Transferring { at: now + 1, looks: 0 },
                State::Waiting { at, tries } => State::Refusing { rcode, at: Some(at), tries },
                State::Refusing { at, tries, .. } => State::Refusing { rcode, at, tries },
                _ => State::Refusing { rcode, at: None, tries: RETRIES + 1 },
            };
            let told = Told { state, ..*told };
            self.set(copy.clone(), told);
        }
    }

    /// A version was transferred to the secondary's address. It may have been by another than its server: it is told all the same.
    pub fn took(&mut self, copy: &Copy, serial: u32, now: Timestamp) {
        match self.copies.get(copy) {
            Some(told) if matches!(told.state, State::Waiting { .. }) => {
                let told = Told { seen: Some((serial, now)), ..*told };
                self.set(copy.clone(), told);
            }
            _ => self.shows(copy, serial, now),
        }
    }

    /// The secondary was seen to have a serial, by its SOA.
    pub fn shows(&mut self, copy: &Copy, serial: u32, now: Timestamp) {
        if let Some(told) = self.copies.get(copy) {
            let state = if is_at_least(serial, told.serial) { State::Current } else { told.state };
            let told = Told { state, seen: Some((serial, now)), ..*told };
            self.set(copy.clone(), told);
        }
    }

    /// When something has to be sent next.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is known of all copies.
    pub fn copies(&self) -> impl Iterator<Item = (&Copy, &Told)> {
        self.copies.iter()
    }

    /// What is known of a zone's copies.
    pub fn of(&self, zone: &Name) -> impl Iterator<Item = (&Copy, &Told)> {
        let zone = zone.clone();
        let from = Copy { zone: zone.clone(), secondary: SocketAddr::new([0, 0, 0, 0].into(), 0) };
        self.copies.range(from..).take_while(move |(copy, _)| copy.zone == zone)
    }

    fn set(&mut self, copy: Copy, told: Told) {
        self.forget(&copy);
        if let Some(at) = told.state.due() {
            self.due.insert((at, copy.clone()));
        }
        self.copies.insert(copy, told);
    }

    fn forget(&mut self, copy: &Copy) {
        if let Some(told) = self.copies.remove(copy)
            && let Some(at) = told.state.due()
        {
            self.due.remove(&(at, copy.clone()));
        }
    }
}

fn is_at_least(serial: u32, wanted: u32) -> bool {
    serial::compare(serial, wanted).is_some_and(std::cmp::Ordering::is_ge)
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
