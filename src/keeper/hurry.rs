//! Many zones at once, as at a start: those that are not signed here are served as they are read, and those that somebody asks for
//! are read first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::Keeper;
use super::history::Past;
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
    /// Notes that a name, in wire form, could not be answered, unless many were noted. Gives whether zones are being read, which it may be
    /// in.
    pub fn note(&self, name: &[u8]) -> bool {
        let is_open = self.is_open.load(Ordering::Relaxed);
        if is_open
            && let Ok(mut names) = self.names.try_lock()
            && names.len() < MAX_WANTED
        {
            names.push(name.into());
        }
        is_open
    }

    /// Zones are being read, or all are.
    pub(super) fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
        if !is_open {
            self.take();
        }
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
        let mut queue = Queue { zones: unread.map(|(origin, zone)| (origin, Some(&mut **zone))).collect(), next: 0 };
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
                    let past = Past::of(zone, config.is_remembered(&zone.origin), store);
                    ready.push(Due::new(zone, signing, &[], past));
                }
            }
            if !ready.is_empty() && (asked || is_last || ready.len() >= SERVED_TOGETHER) {
                let Sealed(served) = publish_batch(std::mem::take(&mut ready), store, *ephemeral, published, said, now);
                sealed.0.extend(served);
            }
            if is_last {
                break;
            }
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::Config;
    use crate::observe::zones::ZoneFile;
    use crate::store::Store;

    const NOW: Timestamp = 1_800_000_000;
    const ZONES: usize = 150;
    const SEALED: &str = "@ 300 RRSIG SOA 13 2 300 20400101000000 20200101000000 1 @ AAAA\n";

    fn put(folder: &Path, number: usize, serial: u32) {
        let sealed = if number.is_multiple_of(2) { SEALED } else { "" };
        let text = format!("$TTL 300\n@ SOA ns h {serial} 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n{sealed}");
        fs::write(folder.join(format!("zones/z{number}.test.zone")), text).unwrap();
    }

    fn keeper(folder: &Path) -> Keeper {
        let zones: String = (0..ZONES).map(|n| format!("[zone.\"z{n}.test\"]\nsigning = \"none\"\n")).collect();
        let config = Config::parse(&format!("certificates = []\n{zones}"), "danelaw.toml", folder).unwrap();
        let store = Store::open(&folder.join("state")).unwrap();
        let mut keeper = Keeper::new(config, store, false, NOW).unwrap();
        keeper.begin(NOW);
        keeper
    }

    fn serials(keeper: &Keeper) -> BTreeMap<String, u32> {
        let published = keeper.published.load();
        published.zones().map(|zone| (zone.origin().to_string(), zone.serial())).collect()
    }

    fn events(keeper: &Keeper) -> Vec<String> {
        keeper.store.events(100, None).unwrap().into_iter().map(|event| event.kind).collect()
    }

    #[test]
    fn many_zones_are_served_as_they_are_read_and_are_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("zones")).unwrap();
        (0..ZONES).for_each(|number| put(folder.path(), number, 7));
        let mut first = keeper(folder.path());
        assert_eq!(first.read_many(None, &Finished::All, NOW).len(), ZONES);
        let before = serials(&first);
        assert_eq!((before.len(), before["z0.test."], before["z1.test."]), (ZONES, 7, 7));
        first.cycle(&Finished::All, NOW);
        assert_eq!((serials(&first), events(&first)), (before.clone(), vec!["zones-published".to_owned()]));
        first.close(NOW).unwrap();

        put(folder.path(), 4, 9);
        put(folder.path(), 5, 9);
        let mut second = keeper(folder.path());
        second.cycle(&Finished::All, NOW);
        let changed = |serials: &BTreeMap<String, u32>| -> Vec<String> {
            serials.iter().filter(|(_, serial)| **serial == 9).map(|(zone, _)| zone.clone()).collect()
        };
        let after = serials(&second);
        assert_eq!((after.len(), changed(&after)), (ZONES, vec!["z4.test.".to_owned(), "z5.test.".to_owned()]));
        assert_eq!(events(&second), ["zone-published", "zone-published", "zones-published"]);
    }

    #[test]
    fn zones_that_are_asked_for_come_first_and_once() {
        let origins: Vec<Name> = (0..200).map(|number| format!("z{number:03}.test.").parse().unwrap()).collect();
        let file = |origin: &Name| ZoneFile { origin: origin.clone(), path: PathBuf::new(), named: false };
        let mut zones: Vec<Zone> = origins.iter().map(|origin| Zone::new(file(origin))).collect();
        let zones = origins.iter().zip(zones.iter_mut().map(Some)).collect();
        let mut queue = Queue { zones, next: 0 };
        let mut take = |wanted: &[&str]| -> (bool, Vec<String>) {
            let wanted: Vec<Name> = wanted.iter().map(|name| name.parse().unwrap()).collect();
            let (asked, zones) = queue.take(&wanted);
            (asked, zones.iter().map(|zone| zone.origin.to_string()).collect())
        };
        let (asked, zones) = take(&["www.Z150.test.", "z003.test.", "other.test.", "z003.test."]);
        assert_eq!((asked, zones), (true, vec!["z150.test.".to_owned(), "z003.test.".to_owned()]));
        let mut seen = 2;
        loop {
            let (asked, zones) = take(&["z003.test."]);
            assert!(!asked && zones.iter().all(|zone| !["z150.test.", "z003.test."].contains(&zone.as_str())));
            seen += zones.len();
            if zones.is_empty() {
                break;
            }
        }
        assert_eq!(seen, 200);
    }

    #[test]
    fn what_is_asked_for_is_noted_while_zones_are_read() {
        let wanted = Wanted::default();
        let name: Name = "www.example.org.".parse().unwrap();
        assert!(!wanted.note(name.as_wire()));
        assert_eq!(wanted.take(), []);
        wanted.open(true);
        (0..2 * MAX_WANTED).for_each(|_| assert!(wanted.note(name.as_wire())));
        wanted.note(b"\x05short");
        assert_eq!(wanted.take(), vec![name.clone(); MAX_WANTED]);
        wanted.note(name.as_wire());
        wanted.open(false);
        assert_eq!(wanted.take(), []);
    }
}
