//! The certificates known for a host, remembered over restarts: which are current, which are old and until when.
//!
//! Each is kept as its whole chain, so that records under any parameters can be made for an old one too. The rules:
//! - What is seen and new is current at once, beside what was current before.
//! - A current one becomes old only when its replacement is seen: another chain in the same file, or a newer one of the
//!   same key type that covers all of its names. A file that is gone, unreadable or half-written replaces nothing.
//! - An old one is dropped when the retention has elapsed since (RFC 7671 section 8.1: the old record stays until no
//!   cache holds an RRset without the new one), by the clock rule of [`Elapsed`].
//! - One that is seen again is current again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::dns::Timestamp;

use super::certificate::Chain;
use super::elapsed::Elapsed;

/// A chain that was seen in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The chain.
    pub chain: Chain,
    /// The file that it comes from: the path as the layout names it, the same after a renewal.
    pub source: String,
    /// It counts only since the mail server presents it: it takes the place of none.
    pub presented: bool,
}

/// All that was seen in the watched directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    /// The chains that count.
    pub seen: Vec<Sighting>,
    /// Sources that exist and can't be used now: half-written, mismatched, unreadable; files or folders.
    pub waiting: BTreeSet<String>,
}

/// A chain that is known for a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Known {
    /// The chain.
    pub chain: Chain,
    /// The file that it was seen in last.
    pub source: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// Whether the last step saw it. A current one that isn't seen is kept: its file is gone or can't be used.
    pub present: bool,
    /// Since it is old; none while it is current.
    pub old: Option<Old>,
}

/// Since when a chain is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Old {
    /// When its replacement was seen: for people.
    pub since: Timestamp,
    /// How long that is: for the rule.
    pub elapsed: Elapsed,
}

/// The chains known for one host, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keyset {
    /// They.
    pub known: Vec<Known>,
}

/// What a step changed, each as the leaf's fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Seen for the first time.
    pub added: Vec<String>,
    /// Replaced: old from now on.
    pub replaced: Vec<String>,
    /// Old, and current again.
    pub returned: Vec<String>,
    /// Retention over: no longer known.
    pub dropped: Vec<String>,
}

impl Keyset {
    /// The chains that the host may present now.
    pub fn current(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.old.is_none())
    }

    /// Whether a sighting is this host's: by its names, or because its file held a current chain of this host before.
    /// The latter keeps a certificate that lost the name in its renewal from being presented without a record.
    pub fn claims_source(&self, source: &str) -> bool {
        self.current().any(|known| known.source == source)
    }

    /// Forgets a chain by the fingerprint of its leaf, on the operator's word. Whether there was one.
    pub fn forget(&mut self, fingerprint: &str) -> bool {
        let before = self.known.len();
        self.known.retain(|known| known.chain.leaf().fingerprint() != fingerprint);
        self.known.len() < before
    }

    /// When to step again though nothing is seen to change.
    pub fn next(&self, retention: u64) -> Option<Timestamp> {
        self.known.iter().filter_map(|known| known.old?.elapsed.next(retention)).min()
    }
}

/// One step: `seen` are the sightings of this host. `retention` is in seconds, and runs only while what was decided last is really
/// served; none: it is not, and no cache can have the new record yet.
pub fn step(
    mut keyset: Keyset,
    seen: &[&Sighting],
    waiting: &BTreeSet<String>,
    retention: Option<u64>,
    now: Timestamp,
) -> (Keyset, Changes) {
    let mut changes = Changes::default();
    for known in &mut keyset.known {
        known.present = false;
    }
    for sighting in seen {
        match keyset.known.iter_mut().find(|known| known.chain == sighting.chain) {
            Some(known) => {
                // Two files may hold the same chain; the first one named stays its source.
                if !known.present {
                    known.source.clone_from(&sighting.source);
                }
                known.present = true;
                known.chain.clone_from(&sighting.chain);
                if known.old.take().is_some() {
                    changes.returned.push(known.chain.leaf().fingerprint());
                }
            }
            None => {
                changes.added.push(sighting.chain.leaf().fingerprint());
                keyset.known.push(Known {
                    chain: sighting.chain.clone(),
                    source: sighting.source.clone(),
                    first_seen: now,
                    present: true,
                    old: None,
                });
            }
        }
    }
    for known in &mut keyset.known {
        if let Some(old) = &mut known.old {
            match retention {
                Some(_) => old.elapsed.credit(now),
                None => old.elapsed.pause(now),
            }
        } else if !known.present
            && !is_waiting(waiting, &known.source)
            && seen.iter().any(|new| !new.presented && replaces(new, known))
        {
            known.old = Some(Old { since: now, elapsed: Elapsed::start(now) });
            changes.replaced.push(known.chain.leaf().fingerprint());
        }
    }
    let is_over =
        |known: &Known| known.old.zip(retention).is_some_and(|(old, retention)| old.elapsed.left(retention) == 0);
    changes
        .dropped
        .extend(keyset.known.iter().filter(|known| is_over(known)).map(|known| known.chain.leaf().fingerprint()));
    keyset.known.retain(|known| !is_over(known));
    (keyset, changes)
}

/// Whether what is seen stands in the place of what was known.
fn replaces(new: &Sighting, known: &Known) -> bool {
    let (leaf, old) = (new.chain.leaf(), known.chain.leaf());
    let renews = leaf.key_type == old.key_type
        && leaf.not_before >= old.not_before
        && old.dns_names.iter().all(|name| leaf.dns_names.contains(name));
    new.source == known.source || renews
}

/// Whether a source can't be used now: it is waited for itself, or a folder above it is.
pub fn is_waiting(waiting: &BTreeSet<String>, source: &str) -> bool {
    let is_above =
        |path: &String| source.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    waiting.iter().any(is_above)
}
