//! The loop: look at the world, decide, write down, publish. One keeper, one thread, one owner of the store.
//!
//! A [`Keeper::cycle`] is told the time and does everything that is due: it may be run at any moment and as often as one
//! likes. What was decided is stored before it is served.

mod publish;
mod report;
mod run;
mod served;
mod zone;

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
use crate::store::{State, Store, StoreError};
use crate::zone::Snapshot;

pub use report::{CertificateReport, StatusReport, ZoneReport, explain};
pub use run::{Message, Surroundings, now, run};
use served::ServedZones;
pub use zone::Beneath;
use zone::Zone;

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
    scans: Vec<certificates::Scan>,
    key_problems: Vec<zone_keys::KeyProblem>,
    problems: BTreeSet<String>,
    published: Arc<ArcSwap<Snapshot>>,
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
            scans: Vec::new(),
            key_problems: Vec::new(),
            problems: BTreeSet::new(),
            published: Arc::default(),
        })
    }

    /// What is served: swapped whole, never changed.
    pub fn published(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.published)
    }

    /// Takes another configuration from the next cycle on.
    pub fn configure(&mut self, config: Config) {
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

    /// Looks, decides, writes down, publishes.
    pub fn cycle(&mut self, now: Timestamp) -> Cycle {
        let before = std::mem::take(&mut self.problems);
        self.problems.extend(self.config_problem.clone());
        self.look_at_zones(now);
        self.look_at_keys(now);
        self.look_at_certificates();
        let (tlsa, dane_next) = self.decide_tlsa(now);
        let refresh = self.publish_zones(&tlsa, now);
        self.say_problems(&before);
        let next = [dane_next, refresh, self.vanishing()].into_iter().flatten().fold(now + RESCAN, Timestamp::min);
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
        let served = ServedZones { zones: &self.zones };
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
    fn look_at_zones(&mut self, now: Timestamp) {
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
        let mut there: BTreeSet<Name> = found.problems.into_iter().filter_map(|problem| problem.origin).collect();
        for file in found.files {
            let origin = file.origin.clone();
            // A file named in the configuration may be missing: its zone is ours all the same.
            if !file.named || file.path.exists() {
                there.insert(origin.clone());
            }
            let mode = self.config.zone(&origin).signing.mode;
            let zone = self.zones.entry(origin).or_insert_with(|| Zone::new(file.clone()));
            zone.file = file;
            zone.read(mode, &self.store);
            self.problems.extend(zone.problem());
        }
        for (origin, zone) in &mut self.zones {
            zone.missing_since = if there.contains(origin) { None } else { zone.missing_since.or(Some(now)) };
        }
        self.remove_vanished(now);
    }

    fn remove_vanished(&mut self, now: Timestamp) {
        let is_gone = |zone: &Zone| zone.missing_since.is_some_and(|since| now.saturating_sub(since) >= VANISHED);
        let gone: Vec<Name> =
            self.zones.values().filter(|zone| is_gone(zone)).map(|zone| zone.origin.clone()).collect();
        for origin in gone {
            self.zones.remove(&origin);
            warn!("{origin} is no longer served: its file has been gone for {VANISHED} s");
            self.event(now, "zone-removed", &origin.to_string(), "its file is gone");
        }
    }

    fn vanishing(&self) -> Option<Timestamp> {
        self.zones.values().filter_map(|zone| Some(zone.missing_since? + VANISHED)).min()
    }
}
