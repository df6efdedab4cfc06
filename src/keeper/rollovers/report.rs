//! What `status` and `rollover status` show of a host's rollover.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Driven;
use crate::config::CertificateMode;
use crate::dane::rollover::timeline::{self, Assumptions, Moment};
use crate::dane::rollover::{Event, Phase};
use crate::dane::{Chain, deployed};
use crate::dns::{Name, Timestamp};
use crate::keeper::Keeper;
use crate::observe::deployed as observed;
use crate::serve::control::Word;
use crate::store;
use crate::tell::{Kind, Notice};

/// How long it takes nameservers to show a new version, in seconds: as a plan takes it.
const LAG: u64 = 60;

/// One host's rollover. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloverReport {
    /// The host.
    pub host: Name,
    /// How its certificates come: `staged`, `next key`, `stable key`, `observed`.
    pub mode: String,
    /// Where it stands.
    pub phase: Phase,
    /// The operator said `hold`.
    pub held: bool,
    /// What mail servers read.
    pub live: Option<String>,
    /// What is on its way in.
    pub next: Option<String>,
    /// What waits behind it.
    pub queued: Option<String>,
    /// What is on its way out.
    pub leaving: Vec<String>,
    /// When it goes on, if nothing happens before; none when it waits for somebody.
    pub goes_on: Option<Timestamp>,
    /// The zone's nameservers, and what each was seen to have.
    pub nameservers: Vec<NameserverReport>,
    /// Where mail servers are asked, and what each presents.
    pub addresses: Vec<AddressReport>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// A nameserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NameserverReport {
    /// Its address, or `this server`.
    pub name: String,
    /// How it stands: `current`, `behind`, `unreachable`, `not asked yet`.
    pub state: String,
}

/// A mail server's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddressReport {
    /// Address and port.
    pub address: String,
    /// The SHA-256 of the certificate that it presented last.
    pub presents: Option<String>,
    /// The version that this is of; none where it is not known here.
    pub version: Option<String>,
    /// The operator vouches for it, and it is not asked.
    pub vouched: bool,
    /// Why it can't be asked.
    pub problem: Option<String>,
}

impl Keeper {
    /// All hosts', in canonical order.
    pub(in crate::keeper) fn rollover_reports(&self) -> Vec<RolloverReport> {
        self.rollovers.hosts.iter().map(|(host, driven)| self.rollover_report(host, driven)).collect()
    }

    /// One host's, or all.
    pub fn rollovers(&self, host: Option<&Name>) -> Result<Vec<RolloverReport>, String> {
        match host {
            None => Ok(self.rollover_reports()),
            Some(host) => match self.rollovers.hosts.get_key_value(host) {
                Some((host, driven)) => Ok(vec![self.rollover_report(host, driven)]),
                None => Err(self.is_not_led(host)),
            },
        }
    }

    /// The operator's word on a host's rollover.
    pub fn rollover(&mut self, host: &Name, word: Word, now: Timestamp) -> Result<(), String> {
        let (event, said) = match word {
            Word::Start => (Event::Start, "start"),
            Word::Hold => (Event::Hold, "hold"),
            Word::Resume => (Event::Resume, "resume"),
            Word::Abort => (Event::Abort, "abort"),
        };
        let is_waiting = word == Word::Start && self.is_waiting_for_word(host);
        match (self.say_to_rollover(host, event, now), self.rollovers.hosts.get_mut(host)) {
            (_, Some(driven)) if is_waiting => driven.takes_less = true,
            (said, _) => said?,
        }
        match word {
            Word::Hold => self.tell(Notice::new(now, Kind::RolloverHeld, &host.to_host(), "by the operator"), now),
            _ => self.events(now, vec![("rollover", host.to_host(), format!("{said} by the operator"))]),
        }
        Ok(())
    }

    /// What a host's rollover will do and when; or the next one, where none is under way.
    pub fn timeline(&self, host: &Name, now: Timestamp) -> Result<Vec<Moment>, String> {
        let driven = self.rollovers.hosts.get(host).ok_or_else(|| self.is_not_led(host))?;
        let assumptions = Assumptions { lag: LAG, hook: 1, ..Assumptions::default() };
        Ok(timeline::plan(&driven.state, self.rollovers.reading(now), &assumptions))
    }

    /// What happened last, newest first; to one host, zone or owner, or at all.
    pub fn log(&self, subject: Option<&str>, limit: u32) -> Result<Vec<store::Event>, String> {
        self.store.events(limit, subject).map_err(|error| error.to_string())
    }

    /// The chain that a host's rollover has installed, and the files of chain and key.
    pub(in crate::keeper) fn deployed_files(&self, host: &Name) -> Option<(Chain, PathBuf, PathBuf)> {
        let driven = self.rollovers.hosts.get(host).filter(|_| self.mode_of(host) != CertificateMode::Observed)?;
        let chain = driven.live.first()?.clone();
        let folder = self.config.rollover.deployed.join(deployed::host_name(host)?);
        let file = |what| folder.join(deployed::file_name(what, None));
        Some((chain, file(deployed::FULL_CHAIN), file(deployed::KEY)))
    }

    /// Why a certificate counts as one that a server presents still; none: it doesn't.
    pub(in crate::keeper) fn presents(&self, fingerprint: &str) -> Option<String> {
        let has = |chains: &[Chain]| chains.iter().any(|chain| chain.leaf().fingerprint() == fingerprint);
        let installed = |host: &Name| format!("it is installed for {} still", host.to_host());
        let mut hosts = self.rollovers.hosts.iter();
        if let Some((host, _)) = hosts.find(|(_, driven)| has(&driven.live)) {
            return Some(installed(host));
        }
        self.rollovers.alone.keys().find_map(|host| match observed::read(&self.config.rollover.deployed, host) {
            Ok(found) => found.filter(|found| has(&found.chains)).map(|_| installed(host)),
            Err(error) => Some(format!("whether it is installed still can't be told: {error}")),
        })
    }

    fn rollover_report(&self, host: &Name, driven: &Driven) -> RolloverReport {
        let state = &driven.state;
        let (next, queued) = state.coming();
        let vouched = self.is_declared(host);
        let addresses = state.addresses().map(|(address, presents)| AddressReport {
            address: address.to_owned(),
            presents: presents.map(str::to_owned),
            version: presents.and_then(|chain| state.version_of(chain)).map(str::to_owned),
            vouched,
            problem: driven.probes.get(address).and_then(|probe| probe.as_ref().err().cloned()),
        });
        let nameservers = state
            .nameservers()
            .map(|(name, standing)| NameserverReport { name: name.to_owned(), state: standing.to_string() });
        RolloverReport {
            host: host.clone(),
            mode: self.mode_of(host).to_string(),
            phase: state.phase(),
            held: state.is_held(),
            live: state.live().map(str::to_owned),
            next: next.map(str::to_owned),
            queued: queued.map(str::to_owned),
            leaving: state.leaving().map(str::to_owned).collect(),
            goes_on: state.goes_on(),
            nameservers: nameservers.collect(),
            addresses: addresses.collect(),
            problems: self.problems_of_rollover(host, driven),
        }
    }

    /// How a host's certificates come: as the folder says that its newest one is in.
    fn mode_of(&self, host: &Name) -> CertificateMode {
        let staged = self.candidates(host, true);
        let observed = || self.candidates(host, false);
        match staged.first() {
            Some((folder, _)) => folder.mode,
            None if observed().is_empty() => CertificateMode::Staged,
            None => CertificateMode::Observed,
        }
    }

    /// What is wrong with any rollover.
    pub(in crate::keeper) fn rollover_problems(&self) -> Vec<String> {
        let unknown = self.rollovers.nameservers.failures().map(|(host, why)| {
            format!("nameserver {}: its address can't be looked up: {why}; rollovers that need it wait", host.to_host())
        });
        let of_hosts = self.rollovers.hosts.iter().flat_map(|(host, driven)| self.problems_of_rollover(host, driven));
        of_hosts.chain(unknown).chain(self.unguarded()).collect()
    }

    /// Certificates in staged folders that can't be installed from there, of hosts that no rollover leads: their renewals are
    /// published as those of observed folders.
    fn unguarded(&self) -> impl Iterator<Item = String> {
        let folders = self.config.certificates.iter().zip(&self.scans);
        let staged = folders.filter(|(folder, _)| folder.mode != CertificateMode::Observed && !self.ephemeral);
        let keyless = staged.flat_map(|(_, scan)| &scan.certificates).filter(|found| !found.key_checked);
        keyless.filter_map(|found| {
            let key = found.key.as_ref()?;
            let mut hosts = self.plans.owners().filter(|planned| planned.zone.is_some());
            let host = hosts.find(|planned| found.chain.covers(&planned.explanation.host))?.explanation.host.clone();
            (!self.rollovers.hosts.contains_key(&host)).then(|| {
                format!(
                    "{}: its private key {} can't be read, so danelaw can't install it, and a renewal is not held back for its record: \
                     let danelaw's user read the key (chown, chmod), or say that the folder is \"observed\"",
                    found.path.display(),
                    key.display()
                )
            })
        })
    }
}
