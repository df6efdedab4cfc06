//! What the operator is told: notices become messages, a digest rather than a flood. A machine without a clock, a socket or
//! a file: events go in, messages to send come out, and the state is stored in between.
//!
//! ```text
//!   notice ──▶ told within a day, and not cleared since? ── yes ─▶ nothing
//!                  │ no
//!                  ▼ of each channel
//!              waiting ── gathered for a while, and not so soon after the message before ──▶ one message
//!                                                                                              │
//!      sent: forgotten  ◀── acknowledged ─────────────────────────────── sent ◀───────────────┤
//!                                                                          │ failed            │
//!      given up after days: the next message tells how many ◀──────────────┴── later, and later still
//! ```
//!
//! A channel is one recipient or the webhook, and each goes on alone. A message keeps its id over every try, so that who
//! got it twice can drop one: it comes at least once. Only a tick sends, so the state can be stored before.

pub mod message;
pub mod notice;
pub mod state;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::dns::Timestamp;

pub use message::Message;
pub use notice::{Condition, Kind, Notice, Stands, Topic};
pub use state::{Channel, State};

use state::Outgoing;

/// Times of the machine, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// What comes within this time goes out together; an urgent notice waits a sixth of it.
    pub gather: u64,
    /// The least between two messages of a channel; a tenth of it for an urgent notice.
    pub pause: u64,
    /// Before the second try; each later one waits twice as long, up to an hour.
    pub retry: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { gather: 60, pause: 600, retry: 60 }
    }
}

impl Timing {
    /// How long a notice waits for others.
    fn gathers(self, urgent: bool) -> u64 {
        if urgent { self.gather / 6 } else { self.gather }
    }

    /// How long it waits after the message before.
    fn pauses(self, urgent: bool) -> u64 {
        if urgent { self.pause / 10 } else { self.pause }
    }
}

/// The notices of one message; what is more is counted.
pub const TOGETHER: usize = 100;
/// The same notice is not told again within this time, in seconds.
const REPEAT: u64 = 86_400;
/// So many notices are remembered as told.
const SAID_MAX: usize = 4096;
/// The longest wait between two tries, in seconds.
const RETRY_MAX: u64 = 3600;
/// A message is tried for so many seconds.
const GIVE_UP: u64 = 3 * 86_400;
/// No try takes longer: who is silent for so many seconds has failed.
const ANSWER: u64 = 300;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The channels and times as they are configured. A new channel begins with what is told from now on.
    Configured(BTreeSet<String>, Timing),
    /// Something to tell.
    Happened(Vec<Notice>),
    /// A message was taken.
    Sent {
        /// By which channel.
        channel: String,
        /// Which message.
        id: String,
    },
    /// It was not.
    Failed {
        /// By which channel.
        channel: String,
        /// Which message.
        id: String,
        /// Why.
        why: String,
    },
    /// Time has gone by.
    Tick,
}

/// A message to send. The state must be stored before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Through which channel.
    pub channel: String,
    /// What.
    pub message: Message,
}

/// One step. Total: every state takes every event at any time. Only [`Event::Tick`] sends.
pub fn step(mut state: State, event: Event, now: Timestamp) -> (State, Vec<Send>) {
    state.clamp(now);
    let mut sends = Vec::new();
    match event {
        Event::Configured(channels, timing) => {
            state.timing = timing;
            state.channels.retain(|name, _| channels.contains(name));
            if channels.is_empty() {
                // Who is to be told one day is told what stands then.
                state.standing.clear();
                state.said.clear();
            }
            for name in channels {
                state.channels.entry(name).or_default();
            }
        }
        Event::Happened(notices) => notices.into_iter().for_each(|notice| happened(&mut state, notice, now)),
        Event::Sent { channel, id } => {
            if let Some(channel) = state.channels.get_mut(&channel) {
                channel.sent(&id, now);
            }
        }
        Event::Failed { channel, id, why } => failed(&mut state, &channel, &id, why, now),
        Event::Tick => tick(&mut state, &mut sends, now),
    }
    (state, sends)
}

fn happened(state: &mut State, notice: Notice, now: Timestamp) {
    if state.channels.is_empty() {
        return;
    }
    if let Some(opposite) = notice.kind.opposite() {
        state.said.remove(&notice.key_as(opposite));
    }
    let key = notice.key();
    if state.said.get(&key).is_some_and(|at| now - *at < REPEAT) {
        return;
    }
    state.said.retain(|_, at| now - *at < REPEAT);
    if state.said.len() >= SAID_MAX
        && let Some(oldest) = state.said.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
    {
        state.said.remove(&oldest);
    }
    state.said.insert(key, now);
    state.channels.values_mut().for_each(|channel| channel.add(notice.clone(), now));
}

/// All conditions of these kinds that can be looked at: gives what is to tell of those that begin to stand, and of those that no
/// longer do. One that nothing is heard of any more is forgotten, and over where absence says so. None: nothing changed.
pub fn look(
    state: &State,
    kinds: &BTreeSet<Kind>,
    conditions: Vec<Condition>,
    now: Timestamp,
) -> Option<(State, Vec<Notice>)> {
    let mut standing = BTreeSet::new();
    let mut over = BTreeSet::new();
    let mut notices = Vec::new();
    for Condition { notice, stands } in conditions {
        let key = (notice.kind, notice.subject.clone(), notice.text.clone());
        match (stands, state.standing.contains(&key)) {
            (Stands::Yes | Stands::Unknown, true) => drop(standing.insert(key)),
            (Stands::Yes, false) => {
                if standing.insert(key) {
                    notices.push(notice);
                }
            }
            (Stands::No, true) => {
                if over.insert(key) {
                    notices.extend(notice.over(now));
                }
            }
            (Stands::No | Stands::Unknown, false) => {}
        }
    }
    let looked_at: BTreeSet<_> = standing.union(&over).cloned().collect();
    for key in state.standing.difference(&looked_at) {
        let (kind, subject, text) = key;
        if !kinds.contains(kind) {
            standing.insert(key.clone());
        } else if kind.is_over_when_gone() {
            notices.extend(Notice::new(now, *kind, subject, text).over(now));
        }
    }
    (standing != state.standing).then(|| (State { standing, ..state.clone() }, notices))
}

fn failed(state: &mut State, channel: &str, id: &str, why: String, now: Timestamp) {
    let retry = state.timing.retry;
    if let Some(channel) = state.channels.get_mut(channel) {
        channel.failed(id, why, retry, now);
    }
}

fn tick(state: &mut State, sends: &mut Vec<Send>, now: Timestamp) {
    let timing = state.timing;
    for (name, channel) in &mut state.channels {
        if let Some(outgoing) = &channel.outgoing
            && outgoing.asked.is_some_and(|asked| now >= asked.saturating_add(ANSWER))
        {
            let id = outgoing.message.id.clone();
            channel.failed(&id, format!("no answer within {ANSWER} s"), timing.retry, now);
        }
        if channel.outgoing.is_none() && channel.due(timing).is_some_and(|due| due <= now) {
            state.sequence += 1;
            channel.compose(format!("{now}.{}", state.sequence), now);
        }
        if let Some(outgoing) = &mut channel.outgoing
            && outgoing.asked.is_none()
            && outgoing.next_try <= now
        {
            outgoing.asked = Some(now);
            sends.push(Send { channel: name.clone(), message: outgoing.message.clone() });
        }
    }
}

impl State {
    /// Of what conditions of a kind stand.
    pub fn subjects(&self, kind: Kind) -> BTreeSet<&str> {
        let of_kind = self.standing.iter().filter(|(other, ..)| *other == kind);
        of_kind.map(|(_, subject, _)| subject.as_str()).collect()
    }

    /// When a tick has something to do; none when nothing waits.
    pub fn next(&self) -> Option<Timestamp> {
        let of_channel = |channel: &Channel| match &channel.outgoing {
            Some(Outgoing { asked: Some(asked), .. }) => Some(asked.saturating_add(ANSWER)),
            Some(outgoing) => Some(outgoing.next_try),
            None => channel.due(self.timing),
        };
        self.channels.values().filter_map(of_channel).min()
    }
}
