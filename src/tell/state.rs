//! What is remembered of messages over restarts. Stored as it is serialised; it carries a version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use super::{GIVE_UP, Kind, Message, Notice, RETRY_MAX, TOGETHER, Timing, message};
use crate::dns::Timestamp;

/// The version that this danelaw writes, and the highest that it reads.
pub const VERSION: u32 = 1;

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// The version; another one is refused.
    #[serde(deserialize_with = "version")]
    pub version: u32,
    /// The messages composed so far: a part of their ids.
    pub(super) sequence: u64,
    /// By name.
    pub channels: BTreeMap<String, Channel>,
    /// What was told, and when: not again within a day.
    pub(super) said: BTreeMap<String, Timestamp>,
    /// The conditions that were told and still stand.
    pub(super) standing: BTreeSet<(Kind, String, String)>,
    #[serde(skip)]
    pub(super) timing: Timing,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(format!(
            "version {other}, and this danelaw knows {VERSION}: it was written by a newer one"
        ))),
    }
}

impl Default for State {
    fn default() -> State {
        State {
            version: VERSION,
            sequence: 0,
            channels: BTreeMap::new(),
            said: BTreeMap::new(),
            standing: BTreeSet::new(),
            timing: Timing::default(),
        }
    }
}

/// One recipient, or the webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Channel {
    /// What is in no message yet, at most as many as go together.
    pub(super) waiting: Vec<Notice>,
    /// So many more.
    pub(super) more: usize,
    /// When the first of them came; and the first urgent one.
    since: Option<Timestamp>,
    urgent_since: Option<Timestamp>,
    /// The message that is being sent.
    pub(super) outgoing: Option<Outgoing>,
    /// When the last one was done with.
    last: Option<Timestamp>,
    /// Notices in messages that were given up since one was taken.
    undelivered: usize,
    /// When a message was taken last.
    pub last_success: Option<Timestamp>,
    /// When and why one was not; none since one was taken.
    pub last_failure: Option<(Timestamp, String)>,
    /// When one was given up last.
    pub given_up: Option<Timestamp>,
}

/// A message that is being sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Outgoing {
    pub(super) message: Message,
    /// How often it failed.
    pub(super) tries: u32,
    /// For how many seconds it was tried, by the rule that a clock which leaps counts for one wait only.
    tried_for: u64,
    last_failed: Option<Timestamp>,
    pub(super) next_try: Timestamp,
    /// A try is under way since; not known after a restart, so it is made again.
    #[serde(skip)]
    pub(super) asked: Option<Timestamp>,
}

impl State {
    /// After a clock that stepped back nothing lies in the future, and no wait gets longer than it is.
    pub(super) fn clamp(&mut self, now: Timestamp) {
        self.said.values_mut().for_each(|at| *at = now.min(*at));
        for channel in self.channels.values_mut() {
            for at in [&mut channel.since, &mut channel.urgent_since, &mut channel.last].into_iter().flatten() {
                *at = now.min(*at);
            }
            if let Some(outgoing) = &mut channel.outgoing {
                outgoing.next_try = outgoing.next_try.min(now.saturating_add(RETRY_MAX));
                for at in [&mut outgoing.last_failed, &mut outgoing.asked].into_iter().flatten() {
                    *at = now.min(*at);
                }
            }
        }
    }
}

impl Channel {
    /// How many notices are not taken yet.
    pub fn unsent(&self) -> usize {
        let outgoing = self.outgoing.as_ref().map_or(0, |outgoing| outgoing.message.count());
        self.waiting.len() + self.more + outgoing
    }

    /// How many were given up since a message was taken.
    pub fn undelivered(&self) -> usize {
        self.undelivered
    }

    /// When the message that failed is tried again.
    pub fn next_try(&self) -> Option<Timestamp> {
        self.outgoing.as_ref().filter(|outgoing| outgoing.tries > 0).map(|outgoing| outgoing.next_try)
    }

    /// Of too many the urgent ones stay, and of those the first.
    pub(super) fn add(&mut self, notice: Notice, now: Timestamp) {
        self.since.get_or_insert(now);
        if notice.urgent {
            self.urgent_since.get_or_insert(now);
        }
        if self.waiting.len() < TOGETHER {
            self.waiting.push(notice);
            return;
        }
        self.more += 1;
        if notice.urgent
            && let Some(last) = self.waiting.iter().rposition(|waiting| !waiting.urgent)
        {
            self.waiting.remove(last);
            self.waiting.push(notice);
        }
    }

    /// When what waits goes out; none when nothing does.
    pub(super) fn due(&self, timing: Timing) -> Option<Timestamp> {
        let due = |since: Option<Timestamp>, urgent: bool| {
            let gathered = since?.saturating_add(timing.gathers(urgent));
            Some(self.last.map_or(gathered, |last| gathered.max(last.saturating_add(timing.pauses(urgent)))))
        };
        [due(self.since, false), due(self.urgent_since, true)].into_iter().flatten().min()
    }

    /// What waits becomes a message.
    pub(super) fn compose(&mut self, id: String, now: Timestamp) {
        let notices = std::mem::take(&mut self.waiting);
        let (more, undelivered) = (std::mem::take(&mut self.more), self.undelivered);
        (self.since, self.urgent_since) = (None, None);
        let message = Message { version: message::VERSION, id, at: now, notices, more, undelivered };
        let (tries, tried_for, last_failed, next_try, asked) = (0, 0, None, now, None);
        self.outgoing = Some(Outgoing { message, tries, tried_for, last_failed, next_try, asked });
    }

    fn take(&mut self, id: &str) -> Option<Outgoing> {
        self.outgoing.take_if(|outgoing| outgoing.message.id == id)
    }

    pub(super) fn sent(&mut self, id: &str, now: Timestamp) {
        let Some(outgoing) = self.take(id) else { return };
        self.undelivered = self.undelivered.saturating_sub(outgoing.message.undelivered);
        self.last = Some(now);
        self.last_success = Some(now);
        (self.last_failure, self.given_up) = (None, None);
    }

    pub(super) fn failed(&mut self, id: &str, why: String, retry: u64, now: Timestamp) {
        let Some(mut outgoing) = self.take(id) else { return };
        self.last_failure = Some((now, why));
        let since = outgoing.last_failed.unwrap_or(outgoing.message.at);
        outgoing.tried_for += now.saturating_sub(since).min(2 * RETRY_MAX);
        if outgoing.tried_for >= GIVE_UP {
            self.undelivered += outgoing.message.count();
            (self.last, self.given_up) = (Some(now), Some(now));
            return;
        }
        let wait = retry.saturating_mul(1 << outgoing.tries.min(20)).min(RETRY_MAX);
        outgoing.tries = outgoing.tries.saturating_add(1);
        outgoing.next_try = now.saturating_add(wait);
        (outgoing.last_failed, outgoing.asked) = (Some(now), None);
        self.outgoing = Some(outgoing);
    }
}
