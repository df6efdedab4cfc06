//! What stands on the disk for a machine: what is deployed, what is in the source, which key comes next. Reads; writes what is
//! installed later, and puts back what is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use tracing::{debug, info};

use crate::act::install;
use crate::config::{CertificateFolder, CertificateMode};
use crate::dane::Chain;
use crate::dane::certificate::KeyType;
use crate::dane::rollover::{Chain as Records, Event, Version};
use crate::dns::Name;
use crate::keeper::Keeper;
use crate::observe::certificates::{Found, Severity};
use crate::observe::stamps::Stamps;
use crate::observe::{deployed, identity};

/// What is in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// The chains, one of each key type.
    pub(super) chains: Vec<Chain>,
    /// Their files.
    pub(super) files: Vec<String>,
}

/// What stands on the disk; none: nothing else than before, or it can't be told.
#[derive(Default)]
struct Disk {
    deployed: Option<Vec<Chain>>,
    /// How it looks, where it was read.
    looked: Option<Option<Stamps>>,
    source: Option<(Version, Source)>,
    next_keys: Option<Vec<Records>>,
    problems: BTreeSet<String>,
}

/// A certificate in a folder, and the folder.
pub(super) type Candidate<'a> = (&'a CertificateFolder, &'a Found);

impl Keeper {
    /// What is deployed, what is in the source, and which key comes next.
    pub(super) fn on_the_disk(&mut self, host: &Name) -> Vec<Event> {
        let Some(found) = self.look_at_disk(host) else { return Vec::new() };
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return Vec::new() };
        let mut events = Vec::new();
        if let Some(looked) = found.looked {
            driven.told.looked = looked;
        }
        if let Some(deployed) = found.deployed {
            events.push(Event::Deployed(Version::of(&deployed)));
            driven.live.clone_from(&deployed);
            driven.told.deployed = Some(deployed);
        }
        if let Some((version, source)) = found.source {
            events.push(Event::Source(version));
            driven.told.source = Some(source);
        }
        if let Some(next_keys) = found.next_keys.filter(|next_keys| driven.told.next_keys.as_ref() != Some(next_keys)) {
            driven.told.next_keys = Some(next_keys.clone());
            events.push(Event::NextKeys(next_keys));
        }
        driven.problems = found.problems;
        events
    }

    fn look_at_disk(&self, host: &Name) -> Option<Disk> {
        let told = &self.rollovers.hosts.get(host)?.told;
        let mut disk = Disk::default();
        let staged = self.candidates(host, true);
        // Where a staged folder can't be looked at now, nobody has turned to another one.
        let observed = if staged.is_empty() && self.are_readable() { self.candidates(host, false) } else { Vec::new() };
        let chains = |candidates: &[Candidate<'_>]| -> Vec<Chain> {
            candidates.iter().map(|(_, found)| found.chain.clone()).collect()
        };
        let folder = &self.config.rollover.deployed;
        let is_told = told.deployed.is_some() && told.looked.as_ref().is_some_and(Stamps::are_same);
        let deployed = match observed.is_empty() {
            true if is_told => Ok(None),
            true => {
                disk.looked = Some(deployed::stamps(folder, host));
                match deployed::read(folder, host) {
                    Ok(Some(found)) => Ok(Some(found.chains)),
                    Ok(None) => self.put_back(host, &staged),
                    Err(error) => Err(error.to_string()),
                }
            }
            // Mail servers read it directly: whoever writes there deploys.
            false => Ok(Some(chains(&observed))),
        };
        let is_new =
            |told: Option<&Vec<Chain>>, now: &[Chain]| !now.is_empty() && told.is_none_or(|told| !is_same(told, now));
        match deployed {
            Ok(deployed) => disk.deployed = deployed.filter(|deployed| is_new(told.deployed.as_ref(), deployed)),
            Err(error) => {
                disk.looked = Some(None);
                disk.problems.insert(format!("{}: {error}", host.to_host()));
            }
        }
        // Of what is installed the key isn't needed any more.
        let live = disk.deployed.as_ref().unwrap_or(&self.rollovers.hosts.get(host)?.live);
        let is_installed = |found: &&Found| live.iter().any(|chain| chain.is_same(&found.chain));
        let (known, unknown): (Vec<&Found>, Vec<&Found>) = self.keyless(host).partition(is_installed);
        for found in unknown {
            let file = found.path.display();
            disk.problems.insert(format!(
                "{}: {file} is not taken over, since its private key can't be read beside it: let danelaw's user read it (chown, chmod)",
                host.to_host()
            ));
        }
        let files = staged.iter().map(|(_, found)| found.path.display().to_string()).collect();
        let source = Source { chains: chains(&staged), files };
        // What comes next is decided on when it is known what is there.
        if known.is_empty()
            && disk.problems.is_empty()
            && is_new(told.source.as_ref().map(|told| &told.chains), &source.chains)
        {
            match self.is_less(host, &source.chains).map_or_else(|| self.stage(host, &staged), Err) {
                Ok(version) => disk.source = Some((version, source)),
                Err(problem) => drop(disk.problems.insert(format!("{}: {problem}", host.to_host()))),
            }
        }
        // A key that is being renewed is for a while neither the next one nor the certificate's.
        if !staged.is_empty() && disk.problems.is_empty() && !self.is_waiting_for(&staged) {
            let of = |(folder, found): &Candidate<'_>| {
                found.next_key.clone().filter(|_| folder.mode == CertificateMode::NextKey)
            };
            disk.next_keys = Some(staged.iter().filter_map(of).map(|spki| Records::of_key(&spki)).collect());
        }
        Some(disk)
    }

    /// What was installed and is gone, as after a folder was lost: put back where it can be.
    fn put_back(&self, host: &Name, staged: &[Candidate<'_>]) -> Result<Option<Vec<Chain>>, String> {
        let live = self.rollovers.hosts.get(host).and_then(|driven| driven.state.live());
        let Some(live) = live else { return Ok(None) };
        let folder = &self.config.rollover.deployed;
        let is_there = install::staged(folder, host).is_ok_and(|there| there.contains(live));
        if !is_there && Version::of(staged.iter().map(|(_, found)| &found.chain)).id == live {
            self.stage(host, staged)?;
        }
        let put_back = install::install(folder, host, live).map_err(|error| error.to_string());
        put_back.map_err(|why| {
            format!("what was installed in {} is gone, and can't be put back: {why}", folder.display())
        })?;
        info!("{}: what was installed was gone, and is put back", host.to_host());
        deployed::read(folder, host).map(|found| found.map(|found| found.chains)).map_err(|error| error.to_string())
    }

    /// Why what is in the source is not taken over: there is no certificate of a key type that is installed, as when one of two is
    /// being renewed. The operator's word makes it one that is not wanted any more.
    fn is_less(&self, host: &Name, source: &[Chain]) -> Option<String> {
        let driven = self.rollovers.hosts.get(host).filter(|driven| !driven.takes_less)?;
        let types = |chains: &[Chain]| chains.iter().map(|chain| chain.leaf().key_type).collect::<BTreeSet<_>>();
        let (live, left) = (types(&driven.live), types(source));
        // Another type in the place of one is a renewal.
        let missing = live.difference(&left).next().filter(|_| left.is_subset(&live))?;
        Some(format!(
            "no certificate with an {missing} key and its private key is in the source any more, and one is installed: what is installed \
             stays; put it back, or say `danelaw rollover start {}` to go on without it",
            host.to_host()
        ))
    }

    /// Whether it takes the operator's word to go on with what is in the source.
    pub(super) fn is_waiting_for_word(&self, host: &Name) -> bool {
        let chains: Vec<Chain> = self.candidates(host, true).iter().map(|(_, found)| found.chain.clone()).collect();
        !chains.is_empty() && self.is_less(host, &chains).is_some()
    }

    /// Whether every staged folder could be looked at whole.
    fn are_readable(&self) -> bool {
        let staged = self.config.certificates.iter().zip(&self.scans);
        let mut staged = staged.filter(|(folder, _)| folder.mode != CertificateMode::Observed);
        staged.all(|(_, scan)| scan.problems.iter().all(|problem| problem.severity == Severity::Note))
    }

    /// Whether a file beside these is half written, or can't be used now.
    fn is_waiting_for(&self, staged: &[Candidate<'_>]) -> bool {
        let folders: BTreeSet<_> = staged.iter().filter_map(|(_, found)| found.path.parent()).collect();
        let problems = self.scans.iter().flat_map(|scan| &scan.problems);
        problems
            .filter(|problem| problem.severity > Severity::Note)
            .any(|problem| problem.path.parent().is_some_and(|parent| folders.contains(parent)))
    }

    /// The certificates that count for a host, one of each key type, the newest ones: in staged folders, those with their keys; or
    /// in observed ones.
    pub(super) fn candidates(&self, host: &Name, staged: bool) -> Vec<Candidate<'_>> {
        let mut newest = self.newest(host, staged);
        newest.retain(|(_, found)| !staged || found.key_checked);
        newest
    }

    /// Those whose key can't be had.
    fn keyless(&self, host: &Name) -> impl Iterator<Item = &Found> {
        let newest = self.newest(host, true).into_iter();
        newest.filter(|(_, found)| !found.key_checked).map(|(_, found)| found)
    }

    /// Of what is ordered for a host, before any that another certificate's names cover.
    fn newest(&self, host: &Name, staged: bool) -> Vec<Candidate<'_>> {
        let own: Vec<PathBuf> = self
            .config
            .ordered
            .iter()
            .filter(|one| one.host == *host)
            .flat_map(|one| one.folders(&self.config.state))
            .collect();
        let rank = |(folder, found): &Candidate<'_>| (own.contains(&folder.path), found.chain.leaf().not_before);
        let mut best: BTreeMap<KeyType, Candidate<'_>> = BTreeMap::new();
        for (folder, found) in self.covering.of(host, &self.scans) {
            let Some(folder) = self.config.certificates.get(folder) else { continue };
            if (folder.mode != CertificateMode::Observed) != staged {
                continue;
            }
            let leaf = found.chain.leaf();
            let rival = best.entry(leaf.key_type).or_insert((folder, found));
            if rank(rival) < rank(&(folder, found)) {
                *rival = (folder, found);
            }
        }
        best.into_values().collect()
    }

    /// Writes a version where it is installed from, so that its installation needs nothing else.
    pub(super) fn stage(&self, host: &Name, certificates: &[Candidate<'_>]) -> Result<Version, String> {
        let version = Version::of(certificates.iter().map(|(_, found)| &found.chain));
        let mut pairs = Vec::new();
        for (folder, found) in certificates {
            let key = identity::key_file_of_found(folder, found).map_err(|error| error.to_string())?;
            pairs.push((key, found.chain.clone()));
        }
        let material = install::Material::new(pairs).map_err(|error| error.to_string())?;
        let staged = install::stage(&self.config.rollover.deployed, host, &version.id, &material);
        for warning in staged.map_err(|error| error.to_string())? {
            debug!("{}: {warning}", host.to_host());
        }
        Ok(version)
    }
}

fn is_same(one: &[Chain], other: &[Chain]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.is_same(other))
}
