//! Many zones at once, as at a start: those that are not signed here are served as they are read, and those that somebody asks for
//! are read first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Keeper;
use super::publish::{Due, Sealed, publish_batch};
use super::zone::{Finished, Keys, Zone};
use crate::config::SigningMode;
use crate::dns::{Name, Timestamp};

/// So many zones are read before it is looked who asks for what.
const TOGETHER: usize = 64;
/// So many are served together, where nobody waits for one of them.
const SERVED_TOGETHER: usize = 512;
/// So many questions are kept.
const MAX_WANTED: usize = 64;

/// Names that were asked for while their zones may be unread. Who answers never waits for it.
#[derive(Debug, Default)]
pub struct Wanted {
    is_open: AtomicBool,
    /// In wire form.
    names: Mutex<Vec<Box<[u8]>>>,
}

impl Wanted {
    /// Notes that a name, in wire form, could not be answered. Does nothing where no zones are being read, or many were noted.
    pub fn note(&self, name: &[u8]) {
        if self.is_open.load(Ordering::Relaxed)
            && let Ok(mut names) = self.names.try_lock()
            && names.len() < MAX_WANTED
        {
            names.push(name.into());
        }
    }

    fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
        self.take();
    }

    fn take(&self) -> Vec<Name> {
        let names = self.names.lock().map(|mut names| std::mem::take(&mut *names)).unwrap_or_default();
        names.iter().filter_map(|wire| Name::from_wire(wire).ok()).collect()
    }
}

/// Zones that are to be read, in canonical order.
struct Queue<'a> {
    zones: Vec<(&'a Name, Option<&'a mut Zone>)>,
    next: usize,
}

impl<'a> Queue<'a> {
    /// Those that are asked for, if there are any; else the next ones.
    fn take(&mut self, wanted: &[Name]) -> (bool, Vec<&'a mut Zone>) {
        let asked: Vec<&mut Zone> = wanted.iter().filter_map(|name| self.take_zone_of(name)).collect();
        if !asked.is_empty() {
            return (true, asked);
        }
        let mut zones = Vec::new();
        while zones.len() < TOGETHER && self.next < self.zones.len() {
            zones.extend(self.zones[self.next].1.take());
            self.next += 1;
        }
        (false, zones)
    }

    fn take_zone_of(&mut self, name: &Name) -> Option<&'a mut Zone> {
        let mut above = std::iter::once(name.clone()).chain(name.ancestors());
        let place = above.find_map(|apex| self.zones.binary_search_by(|(origin, _)| (*origin).cmp(&apex)).ok())?;
        self.zones[place].1.take()
    }
}

impl Keeper {
    /// Where names are noted that could not be answered.
    pub fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted)
    }

    /// Reads the files of many zones where they changed since they were read, and serves those that are not signed here: nothing that is
    /// decided later is in them. Gives those that were read.
    pub(super) fn read_many(
        &mut self,
        only: Option<&BTreeSet<Name>>,
        finished: &Finished,
        now: Timestamp,
    ) -> Vec<Name> {
        let Keeper { zones, config, store, ephemeral, published, wanted, said, sealed, .. } = self;
        let images = store.images().cloned();
        let is_meant = |origin: &Name| only.is_none_or(|only| only.contains(origin));
        let unread = zones.iter_mut().filter(|(origin, zone)| is_meant(origin) && zone.missing_since.is_none());
        let mut queue = Queue { zones: unread.map(|(origin, zone)| (origin, Some(zone))).collect(), next: 0 };
        wanted.open(true);
        let (mut fresh, mut ready): (Vec<Name>, Vec<Due<'_>>) = (Vec::new(), Vec::new());
        loop {
            let (asked, zones) = queue.take(&wanted.take());
            let is_last = zones.is_empty();
            let read = |zone: &'_ mut Zone| -> bool {
                zone.hurried = true;
                zone.read(config.signing(&zone.origin).mode, images.as_ref(), finished, now)
            };
            for (is_fresh, zone) in super::spread::spread(zones, |zone| (read(zone), zone)) {
                let signing = config.signing(&zone.origin);
                fresh.extend(is_fresh.then(|| zone.origin.clone()));
                if is_fresh && signing.mode != SigningMode::Csk && zone.contents.is_some() {
                    zone.take_keys(Keys::Unsigned);
                    ready.push(Due::new(zone, signing, &[]));
                }
            }
            if !ready.is_empty() && (asked || is_last || ready.len() >= SERVED_TOGETHER) {
                let Sealed(states) = publish_batch(std::mem::take(&mut ready), store, *ephemeral, published, said, now);
                sealed.0.extend(states);
            }
            if is_last {
                break;
            }
        }
        wanted.open(false);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_noted_while_zones_are_read() {
        let wanted = Wanted::default();
        let name: Name = "www.example.org.".parse().unwrap();
        wanted.note(name.as_wire());
        assert_eq!(wanted.take(), []);
        wanted.open(true);
        (0..2 * MAX_WANTED).for_each(|_| wanted.note(name.as_wire()));
        wanted.note(b"\x05short");
        assert_eq!(wanted.take(), vec![name.clone(); MAX_WANTED]);
        wanted.note(name.as_wire());
        wanted.open(false);
        assert_eq!(wanted.take(), []);
    }
}
