//! The loop: look at the world, decide, write down, publish. One keeper, one thread, one owner of the store.
//!
//! A [`Keeper::cycle`] is told the time and does everything that is due: it may be run at any moment and as often as one
//! likes. What was decided is stored before it is served.

mod catalogs;
mod conditions;
mod decide;
mod heap;
mod history;
mod hurry;
mod images;
mod keys_aside;
mod layered;
mod look;
mod messages;
mod nameservers;
mod notices;
mod orders;
mod outside;
mod policy;
mod presented;
mod primaries;
mod problems;
mod publish;
mod reading;
mod report;
mod rollovers;
mod run;
mod served;
mod spread;
mod tsig_keys;
mod updates;
mod zone;
mod zone_keys;

#[cfg(test)]
mod gathered_tests;
#[cfg(test)]
mod outside_tests;
#[cfg(test)]
mod presenting_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tracing::{error, warn};

use crate::config::Config;
use crate::dane::DaneConfig;
use crate::dane::plans::Plans;
use crate::dane::state::State as DaneState;
use crate::dane::tlsa::Service;
use crate::dns::tsig::Key;
use crate::dns::{Name, Timestamp};
use crate::observe::certificates::{CertificateScanner, Scan};
use crate::observe::covering::Covering;
use crate::observe::watch::Changed;
use crate::observe::zone_keys::{KeyProblem, KeyScanner, REMOVED};
use crate::serve::encrypted::Presented;
use crate::store::{Store, StoreError};
use crate::zone::print::{self, Layers};
use crate::zone::{Layer, Snapshot};

pub use crate::observe::stamps::{Stamp, stamp};
pub use catalogs::CatalogReport;
use decide::{PlannedFrom, Synthesised};
pub use hurry::Wanted;
use look::Scope;
pub use messages::{ChannelReport, TestReport};
pub use notices::{CopyReport, CopyState};
pub use orders::{OrderNews, OrderOrders, OrderReport};
pub use outside::{FoundReport, OutsideReport};
pub use policy::Policy;
pub use primaries::{PrimaryReport, PrimaryState};
pub use report::{Answering, CertificateReport, EncryptedReport, Explained, StatusReport, ZoneReport, explain};
pub use rollovers::{AddressReport, NameserverReport, RolloverEdges, RolloverNews, RolloverOrders, RolloverReport};
pub use run::{Message, Surroundings, now, run};
use zone::Zone;
pub use zone::{Beneath, Finished};

/// A zone file that is gone is missed for so long, in seconds, before its zone goes: editors and deployments replace files in steps.
const VANISHED: u64 = 10;
/// The longest time between two cycles, in seconds: what no notice tells (network file systems, lost events) is seen by then.
pub const RESCAN: u64 = 60;

/// So many times what rollovers want is published in one cycle; what is left waits for the next one.
const ROUNDS: usize = 4;

/// What a daemon serves and all that it knows of it.
pub struct Keeper {
    config: Config,
    /// Why the file's configuration is not the one in force.
    config_problem: Option<String>,
    dane_config: DaneConfig,
    store: Store,
    ephemeral: bool,
    started: Timestamp,
    /// Boxed, since a tree of so many octets in a node has half of them free.
    zones: BTreeMap<Name, Box<Zone>>,
    dane: DaneState,
    plans: Plans,
    /// What they were made from; none when everything is to be planned.
    planned_from: Option<PlannedFrom>,
    /// The TLSA RRsets that they put into each zone.
    tlsa: Synthesised,
    lagging: Option<BTreeSet<Name>>,
    scanner: CertificateScanner,
    scans: Vec<Scan>,
    /// What they found, by host.
    covering: Covering,
    key_scanner: KeyScanner,
    key_problems: Vec<KeyProblem>,
    /// Keys of removed zones that can't be kept aside.
    aside_problems: Vec<KeyProblem>,
    /// Why the keys folder can't be looked at.
    key_folder_problem: Option<String>,
    /// What is wrong in the zones folder besides what the zones' own files say.
    zone_problems: Vec<String>,
    /// Some zones' warnings are being looked for.
    linting: Option<reading::Linting>,
    /// Why TLSA decisions can't be stored.
    store_problem: Option<String>,
    problems: BTreeSet<String>,
    /// When everything was looked at last.
    looked_at_all: Timestamp,
    watched: BTreeSet<PathBuf>,
    /// Zones that are gone, and whose images may still be there.
    left_images: Vec<Name>,
    /// Which zones are read from a file, by its path.
    readers: HashMap<PathBuf, SmallVec<[Name; 1]>>,
    published: Arc<ArcSwap<Snapshot>>,
    wanted: Arc<Wanted>,
    /// Zones were found at the beginning; whether the folder could be looked at.
    found: Option<bool>,
    /// What was published and is to be told.
    said: Vec<(Name, u32)>,
    notices: notices::Notices,
    messages: messages::Messages,
    catalogs: catalogs::Catalogs,
    /// Why any of them can't be.
    catalog_problems: Vec<String>,
    /// What came by update to zones that are not here now.
    layers: HashMap<Name, Layer>,
    /// The zones that take no updates, by the operator's word.
    frozen: BTreeSet<Name>,
    primaries: primaries::Transferred,
    /// Those that lead hosts.
    rollovers: rollovers::Rollovers,
    outside: outside::Outside,
    /// Certificates of danelaw's own.
    orders: orders::Orders,
    /// What was served and is to be stored.
    sealed: publish::Sealed,
    policy: Arc<ArcSwap<Policy>>,
    /// Why the policy is not what the configuration says.
    policy_problem: Option<String>,
    /// The TSIG keys in force of each file.
    tsig_keys: HashMap<PathBuf, Vec<Arc<Key>>>,
    /// Why they are not those that the configuration says.
    tsig_problems: Vec<String>,
    presented: Presented,
    /// The file that it was read from.
    presented_from: Option<PathBuf>,
    /// Why no better certificate is presented.
    presented_problem: Option<String>,
}

/// A zone as [`Keeper::export`] gives it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exported {
    /// A zone file.
    pub text: String,
    /// The one that the zone is read from, if it is.
    pub file: Option<PathBuf>,
    /// How that looked when it was read.
    pub stamp: Option<Stamp>,
    /// Why the text is not what is in it now.
    pub problem: Option<String>,
    /// In so many RRsets it is otherwise than that.
    pub updated: usize,
    /// Whether it takes no updates.
    pub frozen: bool,
}

/// When to look again, and what to watch besides the folders of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Seconds since 1970.
    pub next: Timestamp,
    /// The folders of the zone files and of what they include.
    pub watch: BTreeSet<PathBuf>,
    /// Whether they may be others than those of the cycle before.
    pub new_folders: bool,
}

impl Keeper {
    /// A keeper over a store. It serves nothing until its first cycle.
    pub fn new(config: Config, mut store: Store, ephemeral: bool, now: Timestamp) -> Result<Keeper, StoreError> {
        let dane = decide::load(&mut store)?;
        let messages = messages::Messages::load(&store)?;
        let rollovers = rollovers::Rollovers::load(&store)?;
        let orders = orders::Orders::load(&store)?;
        for warning in config.warnings() {
            warn!("{warning}");
        }
        let outside = outside::Outside::load(&store, &dane, &config.outside)?;
        let mut keeper = Keeper {
            dane_config: config.dane_rules(),
            config,
            config_problem: None,
            store,
            ephemeral,
            started: now,
            zones: BTreeMap::new(),
            dane,
            plans: Plans::default(),
            planned_from: None,
            tlsa: Synthesised::new(),
            lagging: None,
            scanner: CertificateScanner::default(),
            scans: Vec::new(),
            covering: Covering::default(),
            key_scanner: KeyScanner::default(),
            key_problems: Vec::new(),
            aside_problems: Vec::new(),
            key_folder_problem: None,
            zone_problems: Vec::new(),
            store_problem: None,
            linting: None,
            problems: BTreeSet::new(),
            looked_at_all: now,
            watched: BTreeSet::new(),
            left_images: Vec::new(),
            readers: HashMap::new(),
            published: Arc::default(),
            wanted: Arc::default(),
            found: None,
            said: Vec::new(),
            notices: notices::Notices::default(),
            messages,
            catalogs: catalogs::Catalogs::default(),
            catalog_problems: Vec::new(),
            layers: HashMap::new(),
            frozen: BTreeSet::new(),
            primaries: primaries::Transferred::new(now),
            rollovers,
            outside,
            orders,
            sealed: publish::Sealed::default(),
            policy: Arc::default(),
            policy_problem: None,
            tsig_keys: HashMap::new(),
            tsig_problems: Vec::new(),
            presented: Presented::default(),
            presented_from: None,
            presented_problem: None,
        };
        keeper.load_layers()?;
        keeper.look_at_policy(now);
        keeper.look_at_tsig_keys();
        Ok(keeper)
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
        self.planned_from = None;
        self.outside.configure(&config.outside);
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
        let hosts = owners.iter().filter_map(Service::from_owner).map(|service| service.host);
        self.change_state(hosts.collect(), dane).map_err(|error| error.to_string())?;
        let word = if withdraw { "withdraw" } else { "restore" };
        let text = format!("{word} by the operator");
        self.events(now, owners.iter().map(|owner| (word, owner.to_string(), text.clone())).collect());
        Ok(owners)
    }

    /// The operator's word that a certificate will never be presented again, though no replacement was seen. `certificate` is the
    /// beginning of its fingerprint.
    pub fn forget_certificate(&mut self, host: &Name, certificate: &str, now: Timestamp) -> Result<(), String> {
        if self.rollovers.led().contains_key(host) {
            let host = host.to_host();
            return Err(format!(
                "{host}: a rollover knows what is presented and lets records go by itself; `danelaw rollover status {host}` shows \
                 what it waits for"
            ));
        }
        let mut dane = self.dane.clone();
        let known = dane.hosts.get_mut(host).ok_or_else(|| format!("no certificate of {} is known", host.to_host()))?;
        let known = &mut known.keyset;
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
        let mut found = self.scans.iter().flat_map(|scan| scan.certificates.iter().chain(&scan.older));
        if found.any(|found| found.chain.leaf().fingerprint() == *fingerprint) {
            return Err(format!("{fingerprint} is in its file still: take the file away first"));
        }
        known.forget(fingerprint);
        let fingerprint = fingerprint.clone();
        self.change_state(BTreeSet::from([host.clone()]), dane).map_err(|error| error.to_string())?;
        self.outside.forgotten.insert(fingerprint.clone());
        self.events(now, vec![("certificate-forgotten", host.to_string(), format!("{fingerprint}: by the operator"))]);
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
        let folders = [self.config.keys.clone(), self.config.keys.join(REMOVED)];
        if let Some(folder) = folders.iter().find(|folder| folder.join(&known.file).exists()) {
            return Err(format!("{} is in {}: it is not lost", known.file, folder.display()));
        }
        self.store.forget_key(zone, &known.file).map_err(|error| error.to_string())?;
        if let Some(zone) = self.zones.get_mut(zone) {
            zone.remembered = None;
        }
        self.events(now, vec![("key-forgotten", zone.to_string(), format!("{key}: by the operator"))]);
        Ok(())
    }

    /// Looks at everything, decides, writes down, publishes. `finished`: which files are known to be wholly written.
    pub fn cycle(&mut self, finished: &Finished, now: Timestamp) -> Cycle {
        self.run_cycle(&Scope::everything(), finished, now)
    }

    /// The same after the writes of some files were finished: what did not change is not looked at.
    pub fn cycle_after(&mut self, changed: &Changed, now: Timestamp) -> Cycle {
        let finished = Finished::told(changed);
        let scope = self.scope(changed);
        self.run_cycle(&scope, &finished, now)
    }

    fn run_cycle(&mut self, scope: &Scope, finished: &Finished, now: Timestamp) -> Cycle {
        let mut found = false;
        self.configure_messages(now);
        match &scope.zones {
            Some(only) => self.read_zones(Some(only), finished, now),
            None => {
                self.looked_at_all = now;
                self.look_at_policy(now);
                found = self.found.take().unwrap_or_else(|| self.find_zones(now));
                if found {
                    self.read_zones(None, finished, now);
                }
            }
        }
        if scope.keys {
            self.look_at_tsig_keys();
            self.look_at_keys(now);
        }
        self.look_at_orders(now);
        if scope.certificates {
            self.scans = self.scanner.scan(&self.config.certificates);
            self.covering = Covering::new(&self.scans);
        }
        let expires = self.look_at_expiry(now);
        let (mut dane_next, mut refresh) = self.decide_and_publish(now);
        // What a rollover wants may follow from what is published.
        let mut rounds = 0;
        while rounds < ROUNDS && self.roll(scope.certificates && rounds == 0, now) {
            (dane_next, refresh) = self.decide_and_publish(now);
            rounds += 1;
        }
        let unfinished = (rounds == ROUNDS).then_some(now + 1);
        let alone = self.install_alone(scope.certificates, now);
        // What is published is what others are to see.
        self.watch_from_outside(now);
        let asked = self.look_for_proofs(now).then_some(now + 1);
        self.zones.values_mut().for_each(|zone| zone.before = None);
        // After its record.
        self.look_at_presented(now);
        self.publish_stale();
        let linting = self.look_for_warnings().then_some(now + 1);
        if found {
            self.look_at_catalogs(now);
        }
        if scope.zones.is_none() {
            self.note_all_versions(now);
            self.retain_rollover_nameservers();
            self.check_messages();
        }
        self.tell_problems(now);
        self.look_at_messages(now);
        // Changes that come all the time don't put the look at everything off.
        let rescan = self.looked_at_all + RESCAN;
        let later = [self.vanishing(), self.settling(), self.catalogs_at(now), self.remove_images(now)];
        let next = [dane_next, refresh, expires, linting, unfinished, asked, alone]
            .into_iter()
            .chain(later)
            .flatten()
            .fold(rescan, Timestamp::min);
        let watch = self.folders();
        let new_folders = scope.zones.is_none() || watch != self.watched;
        self.watched.clone_from(&watch);
        self.wanted.open(false);
        if scope.zones.is_none() {
            heap::give_back();
        }
        Cycle { next: next.max(now + 1), watch, new_folders }
    }

    fn decide_and_publish(&mut self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        let mut dane_next = self.decide_tlsa(now);
        if self.store_problem.is_none() && self.tell_withheld(now) {
            dane_next = self.decide_tlsa(now);
        }
        let refresh = match self.store_problem {
            None => self.publish_as_decided(now),
            Some(_) => self.publish_as_served(now),
        };
        (dane_next, refresh)
    }

    /// Events are for people; those that can't be stored are logged and change nothing.
    fn events(&mut self, now: Timestamp, events: Vec<(&str, String, String)>) {
        if events.is_empty() {
            return;
        }
        let stored = self
            .store
            .together(|store| events.iter().try_for_each(|(kind, subject, text)| store.log(now, kind, subject, text)));
        if let Err(error) = stored {
            error!("{} events can't be stored, the first is {:?}: {error}", events.len(), events[0]);
        }
    }

    fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        let mut last: Option<&Path> = None;
        for folder in self.zones.values().flat_map(|zone| zone.files()).filter_map(Path::parent) {
            // Most zones lie in the folder of the zone before.
            if last.replace(folder) != Some(folder) {
                folders.insert(folder.to_owned());
            }
        }
        folders
    }

    /// A zone as it is served, as a zone file; where that is wanted, with a word behind each record on where it comes from.
    pub fn dump(&self, zone: &Name, with_origins: bool) -> Result<String, String> {
        let zone = self.served(zone)?;
        let published = zone.published().ok_or_else(|| zone.has_no_good_version())?;
        Ok(match &zone.said {
            Some(said) if with_origins => {
                let is_signed_here = !zone.keys.held().is_empty();
                let layers = Layers { said, layer: &zone.layer, synthesised: &zone.synthesised, is_signed_here };
                print::with_origins(published, &layers)
            }
            _ => print::published(published),
        })
    }

    /// What a zone's source says and what came by update, as a zone file; and the file that it can be put into.
    pub fn export(&self, zone: &Name) -> Result<Exported, String> {
        let frozen = self.frozen.contains(zone);
        let zone = self.served(zone)?;
        let contents = zone.contents.as_ref().ok_or_else(|| zone.has_no_good_version())?;
        let file = zone.source.file().and_then(|file| std::path::absolute(&file.path).ok());
        let updated = zone.layer.sets().count() - zone.aside.len();
        let (text, stamp, problem) = (print::print(contents), zone.file_stamp(), zone.problem());
        Ok(Exported { text, file, stamp, problem, updated, frozen })
    }

    fn served(&self, zone: &Name) -> Result<&Zone, String> {
        let found = self.zones.get(zone).map(|zone| &**zone).or_else(|| self.catalogs.get(zone));
        let found = found.ok_or_else(|| format!("{} is not a zone served here", zone.to_host()))?;
        Ok(found)
    }

    /// Shuts down cleanly: what is to be kept over a restart is written, leased serials go back.
    pub fn close(mut self, now: Timestamp) -> Result<(), StoreError> {
        self.write_images(true, now);
        self.store.close()
    }
}
