//! Which zones there are, what their files say, and how much of the world a notice of changed files makes us look at.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tracing::{info, warn};

use super::spread::spread;
use super::zone::Zone;
use super::{Keeper, VANISHED};
use crate::dns::{Name, Timestamp};
use crate::observe::watch::Changed;
use crate::observe::zones::{self, ZoneFile};
use crate::zone::{Snapshot, ZoneSnapshot};

/// What a cycle looks at. Deciding and publishing are done in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The zones whose files are looked at; none for the zones folder and all of them.
    pub zones: Option<BTreeSet<Name>>,
    /// Whether the keys folder is.
    pub keys: bool,
    /// Whether the certificate folders are.
    pub certificates: bool,
}

impl Scope {
    /// All there is.
    pub fn everything() -> Scope {
        Scope { zones: None, keys: true, certificates: true }
    }
}

impl Keeper {
    /// What changed files can be about. A path that nobody knows is about everything.
    pub(super) fn scope(&self, changed: &Changed) -> Scope {
        let mut scope = Scope { zones: Some(BTreeSet::new()), keys: false, certificates: false };
        if changed.rescan {
            return Scope::everything();
        }
        for path in &changed.paths {
            let in_certificates = |folder: &crate::config::CertificateFolder| {
                path.starts_with(&folder.path) || folder.roots.iter().any(|root| path.starts_with(root))
            };
            match self.readers.get(path) {
                Some(origins) if path.exists() => {
                    scope.zones.iter_mut().for_each(|zones| zones.extend(origins.iter().cloned()))
                }
                None if self.config.certificates.iter().any(in_certificates) => scope.certificates = true,
                None if path.starts_with(&self.config.keys) => scope.keys = true,
                None if self.is_passing(path) => {}
                _ => return Scope::everything(),
            }
        }
        scope
    }

    /// What editors put beside a zone file while they write it.
    fn is_passing(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        path.parent() == Some(&self.config.zones)
            && (name.starts_with(b".") || !name.ends_with(b".zone"))
            && !path.is_dir()
    }

    /// Finds the zones and publishes that they are ours: those that were not read yet are answered SERVFAIL, not REFUSED.
    /// Gives whether the zones folder could be looked at.
    pub fn find_zones(&mut self, now: Timestamp) -> bool {
        let found = match zones::find(&self.config.zones, &self.config.named_files()) {
            Ok(found) => found,
            Err(problem) => {
                // A folder that can't be read says nothing about its zones.
                self.zone_problems = vec![problem.to_string()];
                return false;
            }
        };
        self.zone_problems = found.problems.iter().map(ToString::to_string).collect();
        let mut there: BTreeSet<Name> = found.problems.into_iter().filter_map(|problem| problem.origin).collect();
        let mut come = false;
        for file in found.files {
            // A file named in the configuration may be missing: its zone is ours all the same.
            if !file.named || file.path.exists() {
                there.insert(file.origin.clone());
            }
            come |= self.take_file(file);
        }
        for (origin, zone) in &mut self.zones {
            zone.missing_since = if there.contains(origin) { None } else { zone.missing_since.or(Some(now)) };
        }
        if self.remove_vanished(now) || come {
            self.publish_membership();
        }
        true
    }

    /// Whether its zone is a new one.
    fn take_file(&mut self, file: ZoneFile) -> bool {
        if let Some(zone) = self.zones.get_mut(&file.origin) {
            zone.file = file;
            return false;
        }
        self.zones.insert(file.origin.clone(), Zone::new(file));
        true
    }

    /// Reads the files of these zones, or of all, where they changed since they were read.
    pub(super) fn read_zones(&mut self, only: Option<&BTreeSet<Name>>) {
        let Keeper { zones, config, store, readers, .. } = self;
        let images = store.images();
        let wanted = |origin: &Name| only.is_none_or(|only| only.contains(origin));
        // One whose file is gone keeps what was read of it until it is gone itself.
        let work = zones.iter_mut().filter(|(origin, zone)| wanted(origin) && zone.missing_since.is_none());
        let work: Vec<(&Name, &mut Zone)> = work.collect();
        let read = spread(work, |(origin, zone)| (zone.read(config.signing(origin).mode, images), zone));
        let fresh: Vec<&Zone> = read.into_iter().filter_map(|(read, zone)| read.then_some(&*zone)).collect();
        if let [zone] = fresh[..] {
            let contents = zone.contents.as_ref().map_or(0, |contents| contents.record_count());
            info!("{}: {contents} records in {}", zone.origin, zone.file.path.display());
        } else if !fresh.is_empty() {
            info!("{} zones were read", fresh.len());
        }
        for zone in fresh {
            for path in zone.files() {
                let origins = readers.entry(path.to_owned()).or_default();
                if !origins.contains(&zone.origin) {
                    origins.push(zone.origin.clone());
                }
            }
        }
    }

    fn remove_vanished(&mut self, now: Timestamp) -> bool {
        let is_gone = |zone: &Zone| zone.missing_since.is_some_and(|since| now.saturating_sub(since) >= VANISHED);
        let gone: Vec<Name> =
            self.zones.values().filter(|zone| is_gone(zone)).map(|zone| zone.origin.clone()).collect();
        for origin in &gone {
            self.zones.remove(origin);
            warn!("{origin} is no longer served: its file has been gone for {VANISHED} s");
        }
        for origins in self.readers.values_mut() {
            origins.retain(|origin| !gone.contains(origin));
        }
        let event = |origin: &Name| ("zone-removed", origin.to_string(), "its file is gone".to_owned());
        self.events(now, gone.iter().map(event).collect());
        !gone.is_empty()
    }

    /// Publishes which zones are ours, with what was published of them.
    fn publish_membership(&self) {
        let served: Vec<Arc<ZoneSnapshot>> = self.zones.values().filter_map(|zone| zone.snapshot.clone()).collect();
        let broken = self.zones.values().filter(|zone| zone.snapshot.is_none()).map(|zone| zone.origin.clone());
        self.published.store(Arc::new(Snapshot::new(served, broken)));
    }

    pub(super) fn vanishing(&self) -> Option<Timestamp> {
        self.zones.values().filter_map(|zone| Some(zone.missing_since? + VANISHED)).min()
    }
}
