//! The versions that led to the one that is served: kept beside it and in the store, for zones that secondaries take.

use std::sync::Arc;

use tracing::warn;

use super::zone::Zone;
use crate::dns::Timestamp;
use crate::store::{JournalWrite, Store};
use crate::zone::{Difference, History, Published, ZoneSnapshot};

/// So many octets are remembered of the smallest zone. Of others as many as the zone has: more of them than a transfer of the whole
/// would be of no use to secondaries.
const LEAST: usize = 16 << 10;

/// What is known of a zone's past when a version of it is about to be served.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    /// Whether anybody has a use for it; else nothing is remembered.
    is_wanted: bool,
    /// What the store has of it, until something was served.
    stored: Option<Vec<Difference>>,
}

impl Past {
    /// Of a zone whose changes are to be remembered, or not.
    pub fn of(zone: &Zone, is_wanted: bool, store: &Store) -> Past {
        let is_asked_for = is_wanted && zone.snapshot.is_none();
        let stored = is_asked_for.then(|| store.journal(&zone.origin)).map(|stored| {
            stored.unwrap_or_else(|error| {
                warn!("{}: secondaries get the whole zone: its journal can't be read: {error}", zone.origin);
                Vec::new()
            })
        });
        Past { is_wanted, stored }
    }

    /// What was published last before the start, where what was kept of it is older: the journal leads there. None where it does not.
    pub fn catch_up(&self, kept: &Published, now: Timestamp) -> Option<Published> {
        let stored = self.stored.as_ref()?;
        let first = stored.iter().position(|difference| difference.from() == kept.serial)?;
        Difference::apply(&stored[first..], kept, now)
    }

    /// The history of `new`, which comes after what is served now or was before the start, and what is to be stored of it. A file that says
    /// the serial of a version that `is_sealed` may say the same one of other contents.
    pub fn lead_to(
        &self,
        zone: &Zone,
        new: &Published,
        octets: usize,
        is_sealed: bool,
    ) -> (History, Option<JournalWrite>) {
        let served = zone.snapshot.as_deref().map(ZoneSnapshot::history).cloned();
        let old = zone.before();
        let base = match (&served, old) {
            (Some(served), _) => served.clone(),
            (None, old) => {
                let serial = old.map_or(new.serial, |old| old.serial);
                History::leading_to(serial, self.stored.clone().unwrap_or_default())
            }
        };
        let history = match old {
            _ if !self.is_wanted => History::default(),
            Some(old) if old.serial == new.serial => {
                let is_same = !is_sealed || old.tree.differences(&new.tree).is_empty();
                if is_same { base.clone() } else { History::default() }
            }
            Some(old) => match Difference::between(old, new) {
                Some(difference) => base.with(difference, octets.max(LEAST)),
                None => History::default(),
            },
            None if is_sealed => History::default(),
            None => base.clone(),
        };
        let write = self.write(zone, &base, &history, served.is_none());
        (history, write)
    }

    fn write(&self, zone: &Zone, base: &History, history: &History, is_first: bool) -> Option<JournalWrite> {
        let anew = || Some(JournalWrite::Anew(zone.origin.clone(), history.clone()));
        let (before, after) = (base.differences(), history.differences());
        if is_first {
            let stored = self.stored.as_ref().map_or(0, Vec::len);
            let is_stored = after.len() == stored && after.last().map(Arc::as_ptr) == before.last().map(Arc::as_ptr);
            return if is_stored { None } else { anew() };
        }
        match after.split_last() {
            None if before.is_empty() => None,
            Some((last, _)) if before.last().is_some_and(|old| Arc::ptr_eq(old, last)) => None,
            Some((last, kept)) if !kept.is_empty() => {
                let (zone, forgotten) = (zone.origin.clone(), before.len() - kept.len());
                Some(JournalWrite::On { zone, forgotten, difference: Arc::clone(last) })
            }
            _ => anew(),
        }
    }
}
