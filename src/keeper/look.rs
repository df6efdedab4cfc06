//! Which zones there are, what their files say, and how much of the world a notice of changed files makes us look at.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{error, info, warn};

use super::publish::{MANY, SERVED};
use super::spread::spread;
use super::zone::{Finished, Source, Zone};
use super::{Keeper, VANISHED};
use crate::config::Config;
use crate::dns::{Name, Timestamp};
use crate::observe::watch::Changed;
use crate::observe::zones::{self, FoundZones, ZoneFile};
use crate::zone::{Contents, Snapshot, ZoneSnapshot};

/// Of more zones than this at a time the warnings are looked for when all are served.
const HURRIED: usize = 100;

/// So many zones' images are taken away in one cycle.
const IMAGES: usize = 200;

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

    /// No file at all: what came otherwise is decided on and published.
    pub fn nothing() -> Scope {
        Scope { zones: Some(BTreeSet::new()), keys: false, certificates: false }
    }
}

impl Keeper {
    /// What changed files can be about. A path that nobody knows is about everything.
    pub(super) fn scope(&self, changed: &Changed) -> Scope {
        let mut zones = BTreeSet::new();
        let mut scope = Scope { zones: None, keys: false, certificates: false };
        if changed.rescan {
            return Scope::everything();
        }
        let known = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let certificates = self.config.certificates.iter();
        let certificates: Vec<PathBuf> = certificates
            .flat_map(|folder| std::iter::once(&folder.path).chain(&folder.roots))
            .chain([&self.config.rollover.deployed])
            .map(|path| known(path))
            .collect();
        let (keys, zones_folder) = (known(&self.config.keys), known(&self.config.zones));
        let is_there = |origin: &Name| self.zones.get(origin).is_some_and(|zone| zone.missing_since.is_none());
        for path in &changed.paths {
            // Its folder is gone.
            let Some(path) = Finished::key(path) else { return Scope::everything() };
            match self.readers.get(&path) {
                Some(origins) if path.exists() && origins.iter().all(is_there) => zones.extend(origins.iter().cloned()),
                None if certificates.iter().any(|folder| path.starts_with(folder)) => scope.certificates = true,
                None if path.starts_with(&keys) => scope.keys = true,
                None if self.is_passing(&path, &zones_folder) => {}
                _ => return Scope::everything(),
            }
        }
        scope.zones = Some(zones);
        scope
    }

    /// What editors and deployments put beside a zone file while they write it: files alone, since a folder or a symlink can be what
    /// others are read through.
    fn is_passing(&self, path: &Path, zones: &Path) -> bool {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let is_file = path.symlink_metadata().map_or_else(|error| error.kind() == NotFound, |found| found.is_file());
        let hidden = name.starts_with('.') && path.parent() == Some(zones);
        let beside = |other: Option<PathBuf>| other.is_some_and(|other| self.readers.contains_key(&other));
        let backup = name.strip_suffix('~').map(|name| path.with_file_name(name));
        is_file && (hidden || beside(backup) || beside(Some(path.with_extension(""))))
    }

    /// Finds the zones, for the first cycle to read, and publishes that they are ours: until then they are answered SERVFAIL, not
    /// REFUSED.
    pub fn begin(&mut self, now: Timestamp) {
        self.found = Some(self.find_zones(now));
        self.wanted.open(true);
    }

    /// Finds the zones and publishes that they are ours. Gives whether the zones folder could be looked at.
    pub(super) fn find_zones(&mut self, now: Timestamp) -> bool {
        let mut come = self.find_transferred(now);
        let mut found = match zones::find(&self.config.zones, &self.config.named_files()) {
            Ok(found) => found,
            // Who has no files needs no folder for them.
            Err(_) if come_from_elsewhere_alone(&self.config) => FoundZones::default(),
            Err(problem) => {
                // A folder that can't be read says nothing about its zones.
                self.zone_problems = vec![problem.to_string()];
                return false;
            }
        };
        self.zone_problems = found.problems.iter().map(ToString::to_string).collect();
        let (transferred, files) =
            found.files.into_iter().partition(|file| self.config.primaries(&file.origin).is_some());
        found.files = files;
        self.zone_problems.extend(transferred.iter().map(|file: &ZoneFile| {
            format!("{}: not read, since the zone has a `primary`; take one of them away", file.path.display())
        }));
        if found.files.is_empty() && self.hold_remembered() {
            return false;
        }
        let mut there: HashSet<Name> = found.problems.into_iter().filter_map(|problem| problem.origin).collect();
        there.extend(self.config.transferred().map(|(origin, _)| origin.clone()));
        for file in found.files {
            // A file named in the configuration may be missing: its zone is ours all the same, and that it can't be read is a problem.
            there.insert(file.origin.clone());
            come |= self.take_file(file);
        }
        for (origin, zone) in &mut self.zones {
            let is_there = match &zone.source {
                Source::File(_) => there.contains(origin),
                Source::Primaries(_) => self.config.primaries(origin).is_some(),
                Source::Given(_) => true,
            };
            zone.missing_since = if is_there { None } else { zone.missing_since.or(Some(now)) };
        }
        if self.remove_vanished(now) || come {
            self.publish_membership();
        }
        self.set_keys_aside(&there, now);
        true
    }

    /// Whether its zone is a new one.
    fn take_file(&mut self, file: ZoneFile) -> bool {
        if let Some(zone) = self.zones.get_mut(&file.origin) {
            zone.source = Source::File(file);
            return false;
        }
        self.adopt(Zone::new(file));
        true
    }

    /// Reads the files of these zones, or of all, where they changed since they were read.
    pub(super) fn read_zones(&mut self, only: Option<&BTreeSet<Name>>, finished: &Finished, now: Timestamp) {
        let count = only.map_or(self.zones.len(), BTreeSet::len);
        let fresh =
            if count > HURRIED { self.read_many(only, finished, now) } else { self.read_few(only, finished, now) };
        match &fresh[..] {
            [] => {}
            [origin] => {
                let zone = self.zones.get(origin);
                let records = zone.and_then(|zone| zone.contents.as_ref()).map_or(0, Contents::record_count);
                info!("{origin}: {records} records were read");
            }
            _ => info!("{} zones were read", fresh.len()),
        }
        self.settle_layers(&fresh, now);
        // Most zones lie in the folder of the zone before.
        let mut folder: Option<(PathBuf, PathBuf)> = None;
        for origin in fresh {
            let Some(zone) = self.zones.get(&origin) else { continue };
            for path in zone.files() {
                let Some(key) = key_in(&mut folder, path) else { continue };
                let origins = self.readers.entry(key).or_default();
                if !origins.contains(&origin) {
                    origins.push(origin.clone());
                }
            }
        }
    }

    fn read_few(&mut self, only: Option<&BTreeSet<Name>>, finished: &Finished, now: Timestamp) -> Vec<Name> {
        let Keeper { zones, config, store, .. } = self;
        let images = store.images();
        let wanted = |origin: &Name| only.is_none_or(|only| only.contains(origin));
        // One whose file is gone keeps what was read of it until it is gone itself.
        let work = zones.iter_mut().filter(|(origin, zone)| wanted(origin) && zone.missing_since.is_none());
        let read = |(origin, zone): (&Name, &mut Box<Zone>)| {
            zone.hurried = false;
            zone.read(config.signing(origin).mode, images, finished, now).then(|| origin.clone())
        };
        spread(work.collect(), read).into_iter().flatten().collect()
    }

    /// No zone file at all, where there were some: a volume that is not mounted, more likely than a farewell. What was served last stays,
    /// from before the start too. False where nothing was ever served.
    fn hold_remembered(&mut self) -> bool {
        let remembered = match self.store.load_all(SERVED) {
            Ok(remembered) => remembered,
            Err(error) => {
                self.zone_problems.push(format!("store: {error}"));
                return !self.zones.is_empty();
            }
        };
        let images = self.store.images().cloned();
        let mut come = false;
        for state in remembered {
            let Ok(origin) = Name::parse(&state.key, None) else { continue };
            if self.zones.contains_key(&origin) {
                continue;
            }
            let Some(images) = images.as_ref().filter(|images| images.exists(&origin)) else { continue };
            let path = self.config.zones.join(format!("{}.zone", origin.to_host()));
            let mut zone = Zone::new(ZoneFile { origin: origin.clone(), path, named: false });
            zone.recall(self.config.signing(&origin).mode, images);
            self.adopt(zone);
            come = true;
        }
        if !self.zones.values().any(|zone| zone.source.file().is_some()) {
            return false;
        }
        if come {
            self.publish_membership();
        }
        self.zone_problems.push(format!(
            "{}: no zone file at all, where there were some; their last good versions stay in service. Put the files back (is the \
             volume mounted?), or give danelaw an empty state folder if they are to go",
            self.config.zones.display()
        ));
        true
    }

    fn remove_vanished(&mut self, now: Timestamp) -> bool {
        let is_gone = |zone: &Zone| zone.missing_since.is_some_and(|since| now.saturating_sub(since) >= VANISHED);
        let why = |zone: &Zone| match zone.source.file() {
            Some(file) if file.named => "it is no longer in the configuration",
            Some(_) => "its file is gone",
            None => "it is no longer in the configuration",
        };
        let gone = self.zones.values().filter(|zone| is_gone(zone));
        let gone: Vec<(Name, &str)> = gone.map(|zone| (zone.origin.clone(), why(zone))).collect();
        if gone.is_empty() {
            return false;
        }
        for (origin, why) in &gone {
            self.let_go(origin);
            if gone.len() <= MANY {
                warn!("{origin} is no longer served: for {VANISHED} s {why}");
            }
        }
        self.left_images.extend(gone.iter().map(|(origin, _)| origin.clone()));
        let origins: BTreeSet<&Name> = gone.iter().map(|(origin, _)| origin).collect();
        self.readers.retain(|_, readers| {
            readers.retain(|origin| !origins.contains(origin));
            !readers.is_empty()
        });
        if gone.len() > MANY {
            let text = format!("{} zones are no longer served: their files are gone", gone.len());
            warn!("{text}");
            self.events(now, vec![("zones-removed", String::new(), text)]);
        } else {
            let event = |(origin, why): &(Name, &str)| ("zone-removed", origin.to_string(), (*why).to_owned());
            self.events(now, gone.iter().map(event).collect());
        }
        true
    }

    /// Takes away what was kept for a restart of zones that are gone, some at a time: a file system takes milliseconds for each. Gives when
    /// there is more to do.
    pub(super) fn remove_images(&mut self, now: Timestamp) -> Option<Timestamp> {
        let batch = self.left_images.split_off(self.left_images.len().saturating_sub(IMAGES));
        for origin in batch.iter().filter(|origin| !self.zones.contains_key(origin)) {
            if let Some(Err(error)) = self.store.images().map(|images| images.remove(origin)) {
                error!("{origin}: its last good version stays in the state folder: {error}");
            }
        }
        (!self.left_images.is_empty()).then_some(now + 1)
    }

    /// Publishes which zones are ours, with what was published of them.
    pub(super) fn publish_membership(&self) {
        let good = |zone: &Zone| zone.snapshot.clone().filter(|_| !zone.expired);
        let served: Vec<Arc<ZoneSnapshot>> = self.zones.values().filter_map(|zone| good(zone)).collect();
        let broken = self.zones.values().filter(|zone| good(zone).is_none()).map(|zone| zone.origin.clone());
        let stale = self.published.load().stale().to_vec();
        self.published.store(Arc::new(Snapshot::new(served, broken).with_stale(stale)));
    }

    /// Lets answers say which zones are served in their last good version.
    pub(super) fn publish_stale(&self) {
        let is_stale = |zone: &Zone| zone.snapshot.is_some() && !zone.expired && zone.stale().is_some();
        let stale: Vec<Name> =
            self.zones.values().filter(|zone| is_stale(zone)).map(|zone| zone.origin.clone()).collect();
        let published = self.published.load();
        if stale != published.stale() {
            self.published.store(Arc::new(Snapshot::clone(&published).with_stale(stale)));
        }
    }

    pub(super) fn settling(&self) -> Option<Timestamp> {
        self.zones.values().filter_map(|zone| zone.settles_at()).min()
    }

    pub(super) fn vanishing(&self) -> Option<Timestamp> {
        self.zones.values().filter_map(|zone| Some(zone.missing_since? + VANISHED)).min()
    }
}

/// Whether the zones folder is not there, and zones come from other servers.
fn come_from_elsewhere_alone(config: &Config) -> bool {
    !config.zones.exists() && config.transferred().next().is_some()
}

/// [`Finished::key`], where the folder is often the one before.
fn key_in(before: &mut Option<(PathBuf, PathBuf)>, path: &Path) -> Option<PathBuf> {
    let (parent, name) = (path.parent()?, path.file_name()?);
    if let Some((folder, canonical)) = before
        && folder == parent
    {
        return Some(canonical.join(name));
    }
    let key = Finished::key(path)?;
    *before = Some((parent.to_owned(), key.parent()?.to_owned()));
    Some(key)
}
