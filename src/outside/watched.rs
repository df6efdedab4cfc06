//! What is looked at from outside, what was found of each, and when it is to be looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{Area, Check, Failure, Fault, Level, Seen, Subject, TO_REACH, Wanted, chain, host, judge};
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dns::{Name, Timestamp};

/// Seconds until what is well is looked at again, what is not, and what has to be confirmed.
const AGAIN: u64 = 3600;
const SOON: u64 = 300;
const CONFIRM: u64 = 30;
/// What is wrong is looked at again after one part in so many of the time for which the same has been wrong: after five minutes in the
/// first hour, and after an hour from half a day on. So what is mended after a day is seen to be within the hour. That holds for what a
/// gate waits for too: no mail is lost by one that opens late, caches keep for up to three hours that there is no DS (RFC 2308
/// section 5), and `danelaw reload` looks at everything at once. What may close a gate is always looked at soon: see [`is_losing`].
const PART: u64 = 12;
/// Seconds until an answer that never came is asked for again: what waits in the queue is not lost.
const PATIENCE: u64 = 900;

/// When a fault counts, and when it is over: in between it flaps, and nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hysteresis {
    /// Seen so often in a row, it stands.
    pub confirm: u32,
    /// Not seen for so many seconds, it no longer does.
    pub calm: u64,
}

impl Default for Hysteresis {
    fn default() -> Hysteresis {
        Hysteresis { confirm: 2, calm: 3 * 3600 }
    }
}

/// What is looked at from outside, what was found, and when each is due again.
#[derive(Debug, Default)]
pub struct Watched {
    subjects: BTreeMap<Subject, Entry>,
    /// All of them in the order in which they are due.
    queue: BTreeSet<(Turn, Subject)>,
    hysteresis: Hysteresis,
    /// A connection to port 25 of another machine came about once.
    is_let_out: bool,
}

#[derive(Debug)]
struct Entry {
    wanted: Arc<Wanted>,
    found: Option<Found>,
    tracks: BTreeMap<Key, Track>,
    due: Timestamp,
    /// When it was asked for; none since it was heard of.
    asked: Option<Timestamp>,
    /// What was asked then is not what is wanted to be known now.
    again: bool,
}

/// When a subject is due, and when it was looked at last: who asks for everything again and again does not keep the last ones waiting.
type Turn = (Timestamp, Option<Timestamp>);

/// One fault: what it is, and of what.
type Key = (Fault, String);

/// A fault over time.
#[derive(Clone, Debug)]
struct Track {
    check: Check,
    since: Timestamp,
    /// When it was seen last, and how often in a row.
    last: Timestamp,
    streak: u32,
    stands: bool,
}

/// What was found of a subject.
#[derive(Clone, Debug)]
pub struct Found {
    /// When.
    pub at: Timestamp,
    /// Since when the same was found.
    pub since: Timestamp,
    /// What is to be said of it.
    pub checks: Vec<Check>,
    /// Of a zone: its place in the chain of trust, for the gate.
    pub chain: Option<Fact>,
    /// What was seen last, and when; none where nothing ever could be validated.
    pub seen: Option<(Seen, Timestamp)>,
}

impl Watched {
    /// From now on faults count by this.
    pub fn configure(&mut self, hysteresis: Hysteresis) {
        self.hysteresis = hysteresis;
    }

    /// These are looked at, and no others. What is wanted of otherwise than before is due at once, or soon where only the zone's
    /// version is another.
    pub fn want(&mut self, all: Vec<Wanted>, now: Timestamp) {
        let mut before = std::mem::take(&mut self.subjects);
        self.queue.clear();
        for wanted in all {
            let subject = wanted.subject();
            let new = || Entry {
                wanted: Arc::new(wanted.clone()),
                found: None,
                tracks: BTreeMap::new(),
                due: 0,
                asked: None,
                again: false,
            };
            let mut entry = before.remove(&subject).unwrap_or_else(new);
            entry.want(wanted, now);
            self.queue.insert((entry.turn(), subject.clone()));
            self.subjects.insert(subject, entry);
        }
    }

    /// Something that is looked at is wanted otherwise than before, likewise; what is not is not.
    pub fn want_otherwise(&mut self, wanted: Wanted, now: Timestamp) {
        self.change(&wanted.subject(), |entry| entry.want(wanted, now));
    }

    /// All that is looked at.
    pub fn wants(&self) -> impl Iterator<Item = &Wanted> {
        self.subjects.values().map(|entry| &*entry.wanted)
    }

    /// What to look at now, so many at most.
    pub fn due(&mut self, now: Timestamp, room: usize) -> Vec<Arc<Wanted>> {
        let due = self.queue.iter().take_while(|((due, _), _)| *due <= now).take(room);
        let due: Vec<Subject> = due.map(|(_, subject)| subject.clone()).collect();
        let ask = |entry: &mut Entry| {
            (entry.asked, entry.again) = (Some(now), false);
            Arc::clone(&entry.wanted)
        };
        due.iter().filter_map(|subject| self.change(subject, ask)).collect()
    }

    /// All are due now: the operator has changed something.
    pub fn hurry(&mut self) {
        self.subjects.values_mut().for_each(|entry| entry.hurry(0));
        self.queue = self.subjects.iter().map(|(subject, entry)| (entry.turn(), subject.clone())).collect();
    }

    /// Changes what is kept of a subject, and its place in the queue with it.
    fn change<T>(&mut self, subject: &Subject, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.subjects.get_mut(subject)?;
        let before = entry.turn();
        let changed = change(entry);
        let after = entry.turn();
        if before != after
            && let Some((_, subject)) = self.queue.take(&(before, subject.clone()))
        {
            self.queue.insert((after, subject));
        }
        Some(changed)
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|((due, _), _)| *due)
    }

    /// Something was looked at. Whether that says something else than before.
    pub fn seen(&mut self, wanted: &Wanted, mut seen: Result<Seen, Failure>, now: Timestamp) -> bool {
        if let Ok(Seen::Host(host)) = &mut seen {
            self.is_let_out |= host.is_let_out;
            host.is_let_out = self.is_let_out;
        }
        let (subject, hysteresis) = (wanted.subject(), self.hysteresis);
        self.change(&subject, |entry| entry.seen(&subject, seen, hysteresis, now)).unwrap_or(false)
    }

    /// What is wanted of a subject; none: it is not looked at.
    pub fn wanted(&self, subject: &Subject) -> Option<&Arc<Wanted>> {
        Some(&self.subjects.get(subject)?.wanted)
    }

    /// What was found of a subject.
    pub fn found(&self, subject: &Subject) -> Option<&Found> {
        self.subjects.get(subject)?.found.as_ref()
    }

    /// What was found of each.
    pub fn all(&self) -> impl Iterator<Item = (&Subject, &Found)> {
        self.subjects.iter().filter_map(|(subject, entry)| Some((subject, entry.found.as_ref()?)))
    }

    /// The faults that stand: each with the time since which it does.
    pub fn standing(&self) -> impl Iterator<Item = (&Subject, &Check, Timestamp)> {
        self.subjects.iter().flat_map(|(subject, entry)| {
            let stand = entry.tracks.values().filter(|track| track.stands);
            stand.map(move |track| (subject, &track.check, track.since))
        })
    }

    /// Whether anything critical of an area stands of a subject; none of what nobody has looked at.
    pub fn is_wrong(&self, subject: &Subject, area: Area) -> Option<bool> {
        let entry = self.subjects.get(subject).filter(|entry| entry.found.is_some())?;
        let is_it = |check: &Check| check.level == Level::Critical && check.area == area;
        Some(entry.tracks.values().any(|track| track.stands && is_it(&track.check)))
    }

    /// Whether everything was looked at, and nothing waits to be confirmed.
    pub fn is_settled(&self) -> bool {
        let is_settled = |entry: &Entry| entry.found.is_some() && entry.tracks.values().all(|track| track.stands);
        self.subjects.values().all(is_settled)
    }

    /// What was asked is not what is to be known now: it is due again.
    pub fn unasked(&mut self, subject: &Subject) {
        self.change(subject, |entry| (entry.asked, entry.again, entry.due) = (None, false, 0));
    }

    /// What is known of a zone's place in the chain of trust, and since when.
    pub fn fact(&self, apex: &Name) -> Option<(&Fact, Timestamp)> {
        let found = self.found(&Subject::Zone(apex.clone()))?;
        Some((found.chain.as_ref()?, found.at))
    }
}

impl Entry {
    /// When it is due: what waits for an answer isn't, unless that never comes.
    fn due_at(&self) -> Timestamp {
        self.asked.map_or(self.due, |asked| asked + PATIENCE)
    }

    fn turn(&self) -> Turn {
        (self.due_at(), self.found.as_ref().map(|found| found.at))
    }

    fn want(&mut self, wanted: Wanted, now: Timestamp) {
        if *self.wanted == wanted {
            return;
        }
        match is_other_version(&self.wanted, &wanted) {
            true => self.due = self.due.min(now + SOON),
            false => self.hurry(now),
        }
        self.wanted = Arc::new(wanted);
    }

    fn hurry(&mut self, to: Timestamp) {
        (self.due, self.again) = (self.due.min(to), self.asked.is_some());
    }

    /// It was looked at. Whether that says something else than before.
    fn seen(&mut self, subject: &Subject, seen: Result<Seen, Failure>, hysteresis: Hysteresis, now: Timestamp) -> bool {
        let (checks, chain) = match &seen {
            // What is wanted now counts, not what was when the question went out.
            Ok(seen) => (judge(&self.wanted, seen, now), chain_of(&self.wanted, seen)),
            Err(failure) => (vec![failure.check(subject)], chain_unseen(&self.wanted, failure)),
        };
        self.track(&checks, seen.is_ok(), hysteresis, now);
        let before = self.found.take();
        let is_other = before.as_ref().is_none_or(|before| (&before.checks, &before.chain) != (&checks, &chain));
        let since = before.as_ref().filter(|before| wrong(&before.checks) == wrong(&checks));
        let since = since.map_or(now, |before| before.since);
        // What can't be seen now was there a moment ago.
        let seen = seen.ok().map(|seen| (seen, now)).or_else(|| before.and_then(|before| before.seen));
        let found = Found { at: now, since, checks, chain, seen };
        let due = now + spread(subject, self.patience(&found));
        self.due = if self.again { now } else { due.min(self.wanted.over(now).unwrap_or(due)) };
        (self.asked, self.again, self.found) = (None, false, Some(found));
        is_other
    }

    /// Follows each fault. Where nothing could be seen, nothing that stood is over.
    fn track(&mut self, checks: &[Check], could_see: bool, hysteresis: Hysteresis, now: Timestamp) {
        let mut there: BTreeSet<Key> = BTreeSet::new();
        for check in checks {
            let Some(fault) = check.fault else { continue };
            let key = (fault, check.subject.clone());
            there.insert(key.clone());
            let new = || Track { check: check.clone(), since: now, last: now, streak: 0, stands: false };
            let track = self.tracks.entry(key).or_insert_with(new);
            track.check.clone_from(check);
            (track.last, track.streak) = (now, track.streak.saturating_add(1));
            track.stands |= track.streak >= hysteresis.confirm;
        }
        if !could_see {
            return;
        }
        self.tracks.retain(|key, track| {
            if there.contains(key) {
                return true;
            }
            track.streak = 0;
            track.stands && now.saturating_sub(track.last) < hysteresis.calm
        });
    }

    /// How long until it is looked at again.
    fn patience(&self, found: &Found) -> u64 {
        let mut pressing = self.tracks.values().filter(|track| is_pressing(&track.check)).peekable();
        let is_any = pressing.peek().is_some();
        match found.checks.iter().any(is_pressing) {
            _ if pressing.any(|track| !track.stands) => CONFIRM,
            true if is_losing(&self.wanted, found) => SOON,
            true => (found.at.saturating_sub(found.since) / PART).clamp(SOON, AGAIN),
            // Whether it is over is seen by looking often.
            false if is_any => SOON,
            false => AGAIN,
        }
    }
}

fn is_pressing(check: &Check) -> bool {
    check.level >= Level::Unknown || check.fault == Some(Fault::SerialBehind)
}

/// What is wrong, whatever the evidence.
fn wrong(checks: &[Check]) -> BTreeSet<(Area, Option<Fault>, &str)> {
    checks.iter().filter(|check| is_pressing(check)).map(|check| (check.area, check.fault, &*check.subject)).collect()
}

/// Whether a gate may close by it, and a TLSA RRset go that there is: not by what was so an hour ago.
fn is_losing(wanted: &Wanted, found: &Found) -> bool {
    match wanted {
        Wanted::Zone { expected, .. } => {
            let is_missing = found.chain.as_ref().is_some_and(|fact| fact.verdict == Verdict::Missing);
            is_missing && expected.tlsa.values().any(|tlsa| !tlsa.is_empty())
        }
        Wanted::Host { .. } => {
            let seen = found.seen.as_ref().map(|(seen, _)| seen);
            let has_tlsa = matches!(seen, Some(Seen::Host(seen)) if seen.services.values().any(|seen| !seen.tlsa.found.is_empty()));
            has_tlsa && found.checks.iter().filter_map(|check| check.fault).any(|fault| host::PROVABLE.contains(&fault))
        }
        Wanted::Domain { .. } | Wanted::Reports { .. } => false,
    }
}

fn chain_of(wanted: &Wanted, seen: &Seen) -> Option<Fact> {
    match (wanted, seen) {
        (Wanted::Zone { apex, expected, .. }, Seen::Zone(seen)) => {
            Some(chain::judge(apex, &expected.keys, &seen.chain).fact)
        }
        _ => None,
    }
}

fn chain_unseen(wanted: &Wanted, failure: &Failure) -> Option<Fact> {
    let fact = || Fact::unknown(format!("resolvers can't be asked: {}", failure.why), TO_REACH);
    matches!(wanted, Wanted::Zone { .. }).then(fact)
}

/// Whether a zone changed, and nothing in how it is signed: that happens all the time.
fn is_other_version(before: &Wanted, after: &Wanted) -> bool {
    match (before, after) {
        (Wanted::Zone { owners, expected, .. }, Wanted::Zone { owners: now, expected: then, .. }) => {
            (owners, &expected.keys) == (now, &then.keys)
        }
        _ => false,
    }
}

/// Thousands are not asked about in the same second: up to a quarter later, each always alike.
fn spread(subject: &Subject, seconds: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    subject.hash(&mut hasher);
    seconds + hasher.finish() % (seconds / 4)
}
