//! The catalog zones that this server produces (RFC 9432): they follow the zones that are served, and only secondaries get them.
//!
//! They are no zones of the index that answers, have no file, no key and no image, and nothing that looks at zones looks at them. They
//! change only when the zones folder could be looked at, and after a start not before files that vanish for a moment would be back: a
//! member that goes takes its zone away at every consumer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::history::Past;
use super::publish::{Due, not_published, publish_batch, served_last};
use super::zone::{Keys, Source, Zone};
use super::{Keeper, Policy, VANISHED};
use crate::config::{CatalogConfig, SigningMode};
use crate::dns::{Name, Timestamp};
use crate::store::Store;
use crate::zone::catalog::{self, Members};
use crate::zone::{Contents, Snapshot};

/// What is produced at the moment.
#[derive(Default)]
pub(super) struct Catalogs {
    zones: BTreeMap<Name, Catalog>,
    published: ArcSwap<Snapshot>,
}

struct Catalog {
    zone: Zone,
    members: Members,
}

/// One catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CatalogReport {
    /// Its apex.
    pub catalog: Name,
    /// Its serial.
    pub serial: Option<u32>,
    /// How many zones it tells of.
    pub members: usize,
}

impl Catalogs {
    /// A catalog as it is served.
    pub(super) fn get(&self, origin: &Name) -> Option<&Zone> {
        self.zones.get(origin).map(|catalog| &catalog.zone)
    }

    /// The catalogs with their serials.
    pub(super) fn serials(&self) -> impl Iterator<Item = (&Name, u32)> {
        self.zones.iter().filter_map(|(origin, catalog)| Some((origin, catalog.zone.published()?.serial)))
    }

    /// Why any are not what they should be.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let zones = self.zones.values().map(|catalog| &catalog.zone);
        zones.filter_map(|zone| Some(not_published(zone, zone.failure.as_ref()?)))
    }

    pub(super) fn reports(&self) -> Vec<CatalogReport> {
        let report = |(origin, Catalog { zone, members }): (&Name, &Catalog)| CatalogReport {
            catalog: origin.clone(),
            serial: zone.published().map(|published| published.serial),
            members: members.len(),
        };
        self.zones.iter().map(report).collect()
    }

    /// Takes a catalog's members; at a start not those of one that was served before.
    fn take(
        &mut self,
        config: &CatalogConfig,
        members: Members,
        store: &Store,
        (now, is_start): (Timestamp, bool),
    ) -> Result<(), String> {
        let origin = &config.origin;
        let before = self.zones.get(origin).map(|catalog| (&catalog.members, catalog.zone.contents.as_ref()));
        let changed: Option<Contents> = match before {
            Some((old, Some(_))) if *old == members => None,
            Some((old, Some(contents))) => catalog::change(contents, old, &members),
            _ => {
                let last = served_last(store, origin)?;
                if is_start && last.is_some() {
                    return Ok(());
                }
                let serial = last.unwrap_or(now as u32);
                Some(catalog::contents(origin, serial, &members).map_err(|error| format!("{origin}: {error}"))?)
            }
        };
        let new =
            || Catalog { zone: Zone::of(origin.clone(), Source::Given("catalog".to_owned())), members: Members::new() };
        let Catalog { zone, members: held } = self.zones.entry(origin.clone()).or_insert_with(new);
        if let Some(contents) = changed {
            zone.take(contents, SigningMode::None);
            zone.take_keys(Keys::Unsigned);
            *held = members;
        }
        Ok(())
    }
}

impl Keeper {
    /// When those are looked at that wait for the start's end.
    pub(super) fn catalogs_at(&self, now: Timestamp) -> Option<Timestamp> {
        let ready = self.started + VANISHED;
        (now < ready && !self.config.catalogs.is_empty()).then_some(ready)
    }

    /// Lets the catalogs follow the zones that are ours.
    pub(super) fn look_at_catalogs(&mut self, now: Timestamp) {
        let Keeper { catalogs, config, zones, store, ephemeral, catalog_problems, .. } = self;
        catalog_problems.clear();
        let ready = self.started + VANISHED;
        let count = catalogs.zones.len();
        let is_produced = |origin: &Name| {
            config.catalogs.iter().any(|catalog| catalog.origin == *origin) && !zones.contains_key(origin)
        };
        catalogs.zones.retain(|origin, _| is_produced(origin));
        if catalogs.zones.len() < count {
            let left = catalogs.zones.values().filter_map(|catalog| catalog.zone.snapshot.clone());
            let left: Vec<_> = left.collect();
            catalogs.published.store(Arc::new(Snapshot::new(left, [])));
        }
        for catalog in &config.catalogs {
            if !is_produced(&catalog.origin) {
                let text = format!("{}: a zone of this name is served, and so no catalog", catalog.origin);
                catalog_problems.push(text);
            } else if let Err(why) = catalogs.take(catalog, catalog.members(zones.keys()), store, (now, now < ready)) {
                catalog_problems.push(why);
            }
        }
        let mut batch = Vec::new();
        for (origin, Catalog { zone, .. }) in &mut catalogs.zones {
            if zone.changed || zone.failure.is_some() {
                let past = Past::of(zone, config.is_taken(origin), store);
                batch.push(Due::new(zone, config.signing(origin), &[], past));
            }
        }
        let mut said = Vec::new();
        if !batch.is_empty() {
            publish_batch(batch, store, *ephemeral, &catalogs.published, &mut said, now);
        }
        let (published, policy) = (catalogs.published.load_full(), self.policy.load_full());
        if !Arc::ptr_eq(&policy.catalogs, &published) {
            self.policy.store(Arc::new(Policy { catalogs: published, ..Policy::clone(&policy) }));
        }
        self.note_versions(&said, now);
        self.say_published(said, now);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::keeper::Finished;

    const NOW: Timestamp = 1_800_000_000;
    const CONFIG: &str = "certificates = []\n[signing]\nalgorithm = \"ed25519\"\n[secondary.ns2]\naddresses = [\"192.0.2.1\"]\n\
                          [catalog.\"catalog.test\"]\n[catalog.\"catalog.test\".groups]\nsome = [\"z1.test\"]\n";

    fn put(folder: &Path, zone: &str) {
        let text = "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n";
        fs::write(folder.join(format!("zones/{zone}.zone")), text).unwrap();
    }

    fn keeper(folder: &Path, config: &str, now: Timestamp) -> Keeper {
        let config = Config::parse(config, "danelaw.toml", folder).unwrap();
        let mut keeper = Keeper::new(config, Store::open(&folder.join("state")).unwrap(), false, now).unwrap();
        keeper.begin(now);
        keeper.cycle(&Finished::All, now);
        keeper
    }

    fn report(keeper: &Keeper) -> (u32, usize) {
        let [report] = &keeper.catalogs.reports()[..] else { panic!("one catalog") };
        (report.serial.unwrap(), report.members)
    }

    #[test]
    fn a_catalog_follows_the_zones_and_is_no_zone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("zones")).unwrap();
        ["z1.test", "z2.test"].iter().for_each(|zone| put(folder.path(), zone));
        let mut first = keeper(folder.path(), CONFIG, NOW);
        assert_eq!(report(&first), (NOW as u32, 2));
        put(folder.path(), "z3.test");
        first.cycle(&Finished::All, NOW + 1);
        first.cycle(&Finished::All, NOW + 2);
        assert_eq!(report(&first), (NOW as u32 + 1, 3));
        let history = |keeper: &Keeper| {
            let zone = keeper.catalogs.get(&"catalog.test".parse().unwrap()).unwrap();
            zone.snapshot
                .as_ref()
                .unwrap()
                .history()
                .differences()
                .iter()
                .map(|one| one.records().count())
                .sum::<usize>()
        };
        assert_eq!(history(&first), 3, "two SOAs and the new member");
        assert!(first.published.load().zones().all(|zone| zone.origin().to_string() != "catalog.test."));
        assert_eq!(first.policy.load().catalogs.zones().count(), 1);
        assert!(first.notices_of("catalog.test.") == 1 && first.problems.is_empty(), "{:?}", first.problems);
        first.close(NOW + 3).unwrap();

        // A restart changes nothing; a folder that can't be looked at takes no member away.
        let mut second = keeper(folder.path(), CONFIG, NOW + 10);
        assert_eq!((second.catalogs.reports(), second.catalogs_at(NOW + 10)), (vec![], Some(NOW + 20)));
        second.cycle(&Finished::All, NOW + 20);
        assert_eq!((report(&second), history(&second)), ((NOW as u32 + 1, 3), 3));
        fs::rename(folder.path().join("zones"), folder.path().join("away")).unwrap();
        for later in 21..100 {
            second.cycle(&Finished::All, NOW + later);
        }
        assert_eq!(report(&second), (NOW as u32 + 1, 3));
        second.close(NOW + 100).unwrap();
        let mut third = keeper(folder.path(), CONFIG, NOW + 200);
        third.cycle(&Finished::All, NOW + 220);
        assert_eq!(third.catalogs.reports(), [], "nobody hears of an empty one");
        third.close(NOW + 200).unwrap();
        fs::rename(folder.path().join("away"), folder.path().join("zones")).unwrap();
        fs::remove_file(folder.path().join("zones/z2.test.zone")).unwrap();
        let mut fourth = keeper(folder.path(), CONFIG, NOW + 300);
        fourth.cycle(&Finished::All, NOW + 310);
        assert_eq!(report(&fourth), (NOW as u32 + 2, 2));
        let other =
            CONFIG.replace("[catalog.\"catalog.test\"]\n[catalog.\"catalog.test\".groups]\nsome = [\"z1.test\"]\n", "");
        fourth.configure(Config::parse(&other, "danelaw.toml", folder.path()).unwrap());
        fourth.cycle(&Finished::All, NOW + 320);
        assert_eq!((fourth.catalogs.reports(), fourth.policy.load().catalogs.zones().count()), (vec![], 0));
        assert_eq!(fourth.notices_of("catalog.test."), 0);
    }

    #[test]
    fn a_zone_of_the_same_name_comes_first_and_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("zones")).unwrap();
        put(folder.path(), "catalog.test");
        let keeper = keeper(folder.path(), CONFIG, NOW);
        assert_eq!(keeper.catalogs.reports(), []);
        assert!(keeper.problems.iter().any(|problem| problem.contains("and so no catalog")), "{:?}", keeper.problems);
    }

    impl Keeper {
        fn notices_of(&self, zone: &str) -> usize {
            self.copy_reports().iter().filter(|copy| copy.zone.to_string() == zone).count()
        }
    }
}
