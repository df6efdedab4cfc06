//! The loop: look at the world, decide, write down, publish. One keeper, one thread, one owner of the store.
//!
//! A [`Keeper::cycle`] is told the time and does everything that is due: it may be run at any moment and as often as one
//! likes. What was decided is stored before it is served.

mod presented;
mod publish;
mod report;
mod run;
mod served;
mod zone;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::dane::explain::{Explanation, Status};
use crate::dane::keyset::Keyset;
use crate::dane::state::State as DaneState;
use crate::dane::{self, DaneConfig};
use crate::dns::{Name, RRset, Timestamp};
use crate::observe::{certificates, zone_keys, zones};
use crate::serve::encrypted::Presented;
use crate::store::{State, Store, StoreError};
use crate::zone::Snapshot;

pub use report::{CertificateReport, StatusReport, ZoneReport, explain};
pub use run::{Message, Surroundings, now, run};
use served::ServedZones;
use zone::Zone;
pub use zone::{Beneath, Finished};

/// A zone file that is gone is missed for so long, in seconds, before its zone goes: editors and deployments replace files in steps.
const VANISHED: u64 = 10;
/// The longest time between two cycles, in seconds: what no notice tells (network file systems, lost events) is seen by then.
pub const RESCAN: u64 = 60;

/// What a daemon serves and all that it knows of it.
pub struct Keeper {
    config: Config,
    /// Why the file's configuration is not the one in force.
    config_problem: Option<String>,
    dane_config: DaneConfig,
    store: Store,
    ephemeral: bool,
    started: Timestamp,
    zones: BTreeMap<Name, Zone>,
    dane: DaneState,
    explanations: Vec<Explanation>,
    lagging: Option<BTreeSet<Name>>,
    scans: Vec<certificates::Scan>,
    key_problems: Vec<zone_keys::KeyProblem>,
    problems: BTreeSet<String>,
    /// The set of zones, or one of them, is not what is published.
    dirty: bool,
    published: Arc<ArcSwap<Snapshot>>,
    presented: Presented,
    /// The file that it was read from.
    presented_from: Option<PathBuf>,
}

/// When to look again, and what to watch besides the folders of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Seconds since 1970.
    pub next: Timestamp,
    /// The folders of the zone files and of what they include.
    pub watch: BTreeSet<PathBuf>,
}

impl Keeper {
    /// A keeper over a store. It serves nothing until its first cycle.
    pub fn new(config: Config, store: Store, ephemeral: bool, now: Timestamp) -> Result<Keeper, StoreError> {
        let dane = match store.load(DANE.0, DANE.1)? {
            Some((_, json)) => read_state(&json)?,
            None => DaneState::default(),
        };
        for warning in config.warnings() {
            warn!("{warning}");
        }
        Ok(Keeper {
            dane_config: config.dane_rules(),
            config,
            config_problem: None,
            store,
            ephemeral,
            started: now,
            zones: BTreeMap::new(),
            dane,
            explanations: Vec::new(),
            lagging: None,
            scans: Vec::new(),
            key_problems: Vec::new(),
            problems: BTreeSet::new(),
            dirty: true,
            published: Arc::default(),
            presented: Presented::default(),
            presented_from: None,
        })
    }

    /// What is served: swapped whole, never changed.
    pub fn published(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.published)
    }

    /// Takes another configuration from the next cycle on.
    pub fn configure(&mut self, config: Config) {
        for warning in config.warnings() {
            warn!("{warning}");
        }
        self.config_problem = None;
        self.dane_config = config.dane_rules();
        self.config = config;
    }

    /// The file can't be used: the configuration before stays in force, and the problem is told as long as it lasts.
    pub fn keep_configuration(&mut self, problem: String) {
        self.config_problem = Some(problem);
    }

    /// The operator's `withdraw` or `restore` of a host; gives the TLSA owners that it is about.
    pub fn command(&mut self, host: &Name, withdraw: bool, now: Timestamp) -> Result<Vec<Name>, String> {
        let mut dane = self.dane.clone();
        let owners = if withdraw { dane.withdraw(host) } else { dane.restore(host) };
        if owners.is_empty() {
            return Err(format!("{} has no TLSA here; `danelaw status` lists the hosts that have", host.to_host()));
        }
        self.save_dane(&dane).map_err(|error| error.to_string())?;
        self.dane = dane;
        let word = if withdraw { "withdraw" } else { "restore" };
        for owner in &owners {
            self.event(now, word, &owner.to_string(), &format!("{word} by the operator"));
        }
        Ok(owners)
    }

    /// The operator's word that a certificate will never be presented again, though no replacement was seen. `certificate` is the
    /// beginning of its fingerprint.
    pub fn forget_certificate(&mut self, host: &Name, certificate: &str, now: Timestamp) -> Result<(), String> {
        let mut dane = self.dane.clone();
        let known =
            dane.keysets.get_mut(host).ok_or_else(|| format!("no certificate of {} is known", host.to_host()))?;
        let fingerprints = known.known.iter().map(|known| known.chain.leaf().fingerprint());
        let matching: Vec<String> = fingerprints.filter(|fingerprint| fingerprint.starts_with(certificate)).collect();
        let [fingerprint] = &matching[..] else {
            return Err(format!(
                "{certificate}: {} certificates of {} begin so; `danelaw explain {}` shows them",
                matching.len(),
                host.to_host(),
                host.to_host()
            ));
        };
        if known.known.iter().any(|known| known.present && known.chain.leaf().fingerprint() == *fingerprint) {
            return Err(format!("{fingerprint} is in its file still: take the file away first"));
        }
        known.forget(fingerprint);
        self.save_dane(&dane).map_err(|error| error.to_string())?;
        self.dane = dane;
        self.event(now, "certificate-forgotten", &host.to_string(), &format!("{fingerprint}: by the operator"));
        Ok(())
    }

    /// The operator's word that a DNSSEC key is lost for good. `key` is its algorithm and tag, `013+55648`.
    pub fn forget_key(&mut self, zone: &Name, key: &str, now: Timestamp) -> Result<(), String> {
        let known = self.store.known_keys(zone).map_err(|error| error.to_string())?;
        let names = |known: &crate::store::KnownKey| format!("{:03}+{:05}", known.algorithm, known.tag);
        let Some(known) = known.iter().find(|known| names(known) == key) else {
            let all: Vec<String> = known.iter().map(names).collect();
            return Err(format!("{} has no key {key}; known are: {}", zone.to_host(), all.join(", ")));
        };
        if self.config.keys.join(&known.file).exists() {
            return Err(format!("{} is in the key folder: it is not lost", known.file));
        }
        self.store.forget_key(zone, &known.file).map_err(|error| error.to_string())?;
        self.event(now, "key-forgotten", &zone.to_string(), &format!("{key}: by the operator"));
        Ok(())
    }

    /// Looks, decides, writes down, publishes. `finished`: which files are known to be wholly written.
    pub fn cycle(&mut self, finished: &Finished, now: Timestamp) -> Cycle {
        let before = std::mem::take(&mut self.problems);
        self.problems.extend(self.config_problem.clone());
        self.look_at_zones(finished, now);
        self.look_at_keys(now);
        self.look_at_certificates();
        let (tlsa, dane_next) = self.decide_tlsa(now);
        let refresh = self.publish_zones(&tlsa, now);
        // After its record.
        self.look_at_presented(now);
        self.lagging = Some(self.not_served(&tlsa));
        self.say_problems(&before);
        let next = [dane_next, refresh, self.vanishing(), self.settling()]
            .into_iter()
            .flatten()
            .fold(now + RESCAN, Timestamp::min);
        Cycle { next: next.max(now + 1), watch: self.folders() }
    }

    fn look_at_certificates(&mut self) {
        self.scans = self.config.certificates.iter().map(certificates::scan).collect();
        for problem in self.scans.iter().flat_map(|scan| &scan.problems) {
            let path = problem.path.display().to_string();
            let in_force =
                self.dane.keysets.values().flat_map(Keyset::current).any(|known| is_at(&path, &known.source));
            let is_note = problem.severity == certificates::Severity::Note;
            let found = self.scans.iter().flat_map(|scan| &scan.certificates).any(|found| found.path == problem.path);
            // A stray file in a plain folder is nobody's business, one that a certificate in force came from is.
            if is_note && (found || !in_force) {
                continue;
            }
            let help = if problem.help.is_empty() || is_note { String::new() } else { format!(" ({})", problem.help) };
            let meanwhile = if in_force { "; the last good certificate stays in force" } else { "" };
            self.problems.insert(format!("{path}: {}{help}{meanwhile}", problem.message));
        }
    }

    /// What the DANE room wants in each zone. When its state can't be stored, nothing new is published: what was served stays.
    fn decide_tlsa(&mut self, now: Timestamp) -> (Synthesised, Option<Timestamp>) {
        let sightings = certificates::sightings(&self.scans);
        let served = ServedZones { zones: &self.zones, lagging: self.lagging.as_ref() };
        let plan = dane::plan(
            dane::plan::Input {
                served: &served,
                config: &self.dane_config,
                certificates: &sightings,
                dkim_ok: &dkim_ok,
                now,
            },
            self.dane.clone(),
        );
        if plan.state != self.dane
            && let Err(error) = self.save_dane(&plan.state)
        {
            error!("the TLSA decisions can't be stored, so none of them is published: {error}");
            self.problems.insert(format!("store: {error}"));
            return (self.tlsa_as_served(), Some(now + RESCAN));
        }
        self.say_changes(&plan, now);
        self.dane = plan.state;
        let mut wanted = Synthesised::new();
        self.explanations.clear();
        for planned in plan.owners {
            if let (Some(zone), Some(rrset)) = (planned.zone, planned.rrset) {
                wanted.entry(zone).or_default().push((planned.owner, rrset));
            }
            for problem in &planned.explanation.problems {
                self.problems.insert(problem.clone());
            }
            self.explanations.push(planned.explanation);
        }
        (wanted, plan.next)
    }

    fn tlsa_as_served(&self) -> Synthesised {
        self.zones.iter().map(|(origin, zone)| (origin.clone(), zone.synthesised.clone())).collect()
    }

    /// The TLSA owners where what is served is not what was decided.
    fn not_served(&self, tlsa: &Synthesised) -> BTreeSet<Name> {
        let mut lagging = BTreeSet::new();
        for (origin, zone) in &self.zones {
            let wanted = tlsa.get(origin).map(Vec::as_slice).unwrap_or_default();
            let differ = |left: &[(Name, RRset)], right: &[(Name, RRset)]| -> Vec<Name> {
                left.iter().filter(|one| !right.contains(one)).map(|(owner, _)| owner.clone()).collect()
            };
            lagging.extend(differ(wanted, &zone.synthesised));
            lagging.extend(differ(&zone.synthesised, wanted));
        }
        lagging
    }

    /// Tells the log and the event list what became of certificates and publications.
    fn say_changes(&mut self, plan: &dane::Plan, now: Timestamp) {
        for (host, changes) in &plan.changes {
            let host = host.to_host();
            for (kind, fingerprints, text) in [
                ("certificate-new", &changes.added, "a new certificate; its record is published beside the old ones"),
                ("certificate-replaced", &changes.replaced, "replaced; its record stays until no cache can need it"),
                ("certificate-returned", &changes.returned, "an old certificate is back"),
                ("certificate-dropped", &changes.dropped, "its record is no longer needed by any cache"),
            ] {
                for fingerprint in fingerprints {
                    info!("{host}: certificate {}: {text}", &fingerprint[..16]);
                    self.event(now, kind, &host, &format!("{fingerprint}: {text}"));
                }
            }
        }
        let were: BTreeMap<Name, Status> =
            self.explanations.iter().map(|one| (one.owner.clone(), one.status.clone())).collect();
        for planned in &plan.owners {
            let status = &planned.explanation.status;
            if were.get(&planned.owner) != Some(status) {
                info!("{} TLSA {status}", planned.owner);
                self.event(now, "tlsa", &planned.owner.to_string(), &status.to_string());
            }
        }
    }

    fn say_problems(&self, before: &BTreeSet<String>) {
        for problem in self.problems.difference(before) {
            warn!("{problem}");
        }
        for solved in before.difference(&self.problems) {
            info!("solved: {}", solved.lines().next().unwrap_or_default());
        }
    }

    fn save_dane(&mut self, state: &DaneState) -> Result<(), StoreError> {
        let json = serde_json::to_string(state)
            .map_err(|error| StoreError::State { kind: DANE.0.to_owned(), why: error.to_string() })?;
        let version = state.version;
        self.store.save(&State { kind: DANE.0.to_owned(), key: DANE.1.to_owned(), version, json })
    }

    /// Events are for people; one that can't be stored is logged and changes nothing.
    fn event(&mut self, now: Timestamp, kind: &str, subject: &str, text: &str) {
        if let Err(error) = self.store.log(now, kind, subject, text) {
            error!("an event can't be stored ({kind} {subject}: {text}): {error}");
        }
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        self.zones.values().flat_map(Zone::folders).collect()
    }

    /// A zone as it is served, as a zone file.
    pub fn dump(&self, zone: &Name) -> Result<String, String> {
        let zone = self.zones.get(zone).ok_or_else(|| format!("{} is not a zone served here", zone.to_host()))?;
        let published = zone.published.as_ref();
        published.map(crate::zone::print::published).ok_or_else(|| {
            format!("{} has no good version: {}", zone.origin.to_host(), zone.stale().unwrap_or_default())
        })
    }

    /// Shuts down cleanly: leased serials go back.
    pub fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }
}

/// The RRsets to put into each zone, by apex: owner and records.
type Synthesised = BTreeMap<Name, Vec<(Name, RRset)>>;

/// Kind and key of the DANE room's state in the store.
const DANE: (&str, &str) = ("dane", "all");

/// Whether a file is this one or lies in this folder.
fn is_at(path: &str, file: &str) -> bool {
    Path::new(file).starts_with(path)
}

fn read_state(json: &str) -> Result<DaneState, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::State { kind: DANE.0.to_owned(), why: error.to_string() })
}

fn dkim_ok(txt: &[u8]) -> Result<(), String> {
    match crate::dns::mailtext::Dkim::parse(txt) {
        Ok(key) if key.is_revoked() => Err("the key is revoked: p= is empty".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

impl Keeper {
    fn look_at_zones(&mut self, finished: &Finished, now: Timestamp) {
        let named: Vec<(Name, PathBuf)> =
            self.config.overrides.iter().filter_map(|zone| Some((zone.origin.clone(), zone.file.clone()?))).collect();
        let found = match zones::find(&self.config.zones, &named) {
            Ok(found) => found,
            Err(problem) => {
                // A folder that can't be read says nothing about its zones.
                self.problems.insert(problem.to_string());
                return;
            }
        };
        self.problems.extend(found.problems.iter().map(ToString::to_string));
        if found.files.is_empty() && self.hold_remembered() {
            return;
        }
        let mut there: BTreeSet<Name> = found.problems.into_iter().filter_map(|problem| problem.origin).collect();
        for file in found.files {
            let origin = file.origin.clone();
            // A file named in the configuration may be missing: its zone is ours all the same.
            if !file.named || file.path.exists() {
                there.insert(origin.clone());
            }
            let mode = self.config.zone(&origin).signing.mode;
            let dirty = &mut self.dirty;
            let zone = self.zones.entry(origin).or_insert_with(|| {
                *dirty = true;
                Zone::new(file.clone())
            });
            zone.file = file;
            zone.read(mode, &self.store, finished, now);
            self.problems.extend(zone.problem());
        }
        for (origin, zone) in &mut self.zones {
            zone.missing_since = if there.contains(origin) { None } else { zone.missing_since.or(Some(now)) };
        }
        self.remove_vanished(now);
    }

    /// No zone file at all, where there were some: a volume that is not mounted, more likely than a farewell. What was served last stays,
    /// from before the start too. False where nothing was ever served.
    fn hold_remembered(&mut self) -> bool {
        let remembered = match self.store.load_all(zone::LAST_GOOD) {
            Ok(remembered) => remembered,
            Err(error) => {
                self.problems.insert(format!("store: {error}"));
                return !self.zones.is_empty();
            }
        };
        if remembered.is_empty() && self.zones.is_empty() {
            return false;
        }
        self.problems.insert(format!(
            "{}: no zone file at all, where there were some; their last good versions stay in service. Put the files back (is the \
             volume mounted?), or give danelaw an empty state folder if they are to go",
            self.config.zones.display()
        ));
        for state in remembered {
            let Ok(origin) = Name::parse(&state.key, None) else { continue };
            if !self.zones.contains_key(&origin) {
                let path = self.config.zones.join(format!("{}.zone", origin.to_host()));
                let mut zone = Zone::new(zones::ZoneFile { origin: origin.clone(), path, named: false });
                zone.recall(self.config.zone(&origin).signing.mode, &self.store);
                self.zones.insert(origin, zone);
                self.dirty = true;
            }
        }
        true
    }

    fn remove_vanished(&mut self, now: Timestamp) {
        let is_gone = |zone: &Zone| zone.missing_since.is_some_and(|since| now.saturating_sub(since) >= VANISHED);
        let gone: Vec<Name> =
            self.zones.values().filter(|zone| is_gone(zone)).map(|zone| zone.origin.clone()).collect();
        for origin in gone {
            self.zones.remove(&origin);
            self.dirty = true;
            if let Err(error) = self.store.remove(zone::LAST_GOOD, &origin.to_string()) {
                error!("{origin}: its last good version stays in the store: {error}");
            }
            warn!("{origin} is no longer served: its file has been gone for {VANISHED} s");
            self.event(now, "zone-removed", &origin.to_string(), "its file is gone");
        }
    }

    fn settling(&self) -> Option<Timestamp> {
        self.zones.values().filter_map(Zone::settles_at).min()
    }

    fn vanishing(&self) -> Option<Timestamp> {
        self.zones.values().filter_map(|zone| Some(zone.missing_since? + VANISHED)).min()
    }
}
