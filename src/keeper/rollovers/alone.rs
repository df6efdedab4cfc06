//! Certificates that are ordered for hosts without TLSA of ours, such as those of a web server: no cache holds anything of them, so each is
//! installed as soon as it lies in its folder, and the hook is run.
//!
//! A host that has TLSA of ours, or had them once, is led by its machine, and never comes here. One that others may publish TLSA of keeps
//! the key that is installed: nobody here knows what caches hold.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::disk::Candidate;
use crate::act::{hook, install};
use crate::dane::Chain;
use crate::dane::certificate::{Certificate, KeyType};
use crate::dane::rollover::Version;
use crate::dns::{Name, Rtype, Timestamp};
use crate::keeper::Keeper;
use crate::observe::deployed;
use crate::store;
use crate::zone::tree::Node;

/// What the hook has been run for, one for each host, in the store.
const KIND: &str = "installed";
/// The form of that.
const VERSION: u32 = 1;
/// A hook that failed is run again after so many seconds, then twice that, at most.
const AGAIN: (u64, u64) = (60, 3600);

/// One host.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// The version that stands where its server reads.
    live: Option<String>,
    /// The version that the hook has been run for.
    told: Option<String>,
    /// The version that it runs for.
    running: Option<String>,
    /// It is run again then.
    due: Timestamp,
    tries: u32,
    /// Why it can't be installed.
    uninstalled: Option<String>,
    /// Why the hook failed.
    failed: Option<String>,
}

impl Keeper {
    /// Installs what is new, where certificates are looked at, and runs the hooks that are due. When to look again, if nothing happens
    /// before.
    pub(in crate::keeper) fn install_alone(&mut self, look: bool, now: Timestamp) -> Option<Timestamp> {
        let ordered = self.config.ordered.iter().map(|one| (one.host.clone(), one.key_types.clone()));
        let hosts: BTreeMap<Name, Vec<KeyType>> = ordered.filter(|(host, _)| self.is_alone(host)).collect();
        self.rollovers.alone.retain(|host, _| hosts.contains_key(host));
        let due = |(host, types): (Name, Vec<KeyType>)| self.look_alone(&host, &types, look, now);
        hosts.into_iter().filter_map(due).min()
    }

    /// Whether nothing is published of a host by danelaw.
    fn is_alone(&self, host: &Name) -> bool {
        let has_owner = || self.plans.of_host(host).iter().any(|planned| planned.zone.is_some());
        !self.ephemeral && !self.rollovers.hosts.contains_key(host) && !has_owner()
    }

    /// Why it can't be told whether something is published of a host; none: it can.
    fn what_is_unknown(&self) -> Option<String> {
        let zone = self.zones.values().find(|zone| zone.contents.is_none())?;
        Some(format!(
            "its certificate is not installed as long as {} has no good version: that may name it as a mail server, and nothing is \
             known of its TLSA",
            zone.origin.to_host()
        ))
    }

    /// Where others publish TLSA of a host, or may.
    fn published_by_others(&self, host: &Name) -> Option<String> {
        let by_hand = self.zones.values().filter_map(|zone| zone.contents.as_ref()).find_map(|contents| {
            let is_tlsa = |owner: &Name| contents.has(owner, Rtype::TLSA);
            contents.at_or_below(host).map(Node::owner).find(is_tlsa)
        });
        let elsewhere = || {
            let planned = self.plans.of_host(host).iter().find(|planned| planned.zone.is_none())?;
            Some(format!("whoever serves the zone of {} may publish TLSA there", planned.owner.to_host()))
        };
        by_hand.map(|owner| format!("TLSA stand in the zone file at {}", owner.to_host())).or_else(elsewhere)
    }

    fn look_alone(&mut self, host: &Name, types: &[KeyType], look: bool, now: Timestamp) -> Option<Timestamp> {
        let mut alone = self.rollovers.alone.remove(host).unwrap_or_default();
        if look {
            let installed = self.put_in_place(host, types, &mut alone);
            if let Ok(Some(version)) = &installed {
                let text = format!(
                    "certificate {version}: danelaw publishes no TLSA of this host, so no cache was waited for"
                );
                info!("{}: installed: {text}", host.to_host());
                self.events(now, vec![("certificate-installed", host.to_host(), text)]);
            }
            alone.uninstalled = installed.err();
        }
        self.tell_server(host, &mut alone, now);
        let is_told = alone.live == alone.told || alone.running.is_some();
        let due = (!is_told).then_some(alone.due.max(now + 1));
        self.rollovers.alone.insert(host.clone(), alone);
        due
    }

    /// `types`: which key types its certificates are to have. Gives what was installed; none: nothing new is there.
    fn put_in_place(&self, host: &Name, types: &[KeyType], alone: &mut Alone) -> Result<Option<String>, String> {
        let staged = self.candidates(host, true);
        if staged.is_empty() {
            return Ok(None);
        }
        let version = Version::of(staged.iter().map(|(_, found)| &found.chain)).id;
        let folder = &self.config.rollover.deployed;
        if alone.live.is_none() {
            let stored = self.store.load(KIND, &key(host)).map_err(|error| error.to_string())?;
            alone.told = stored.map(|(_, version)| version);
        }
        let there = deployed::read(folder, host).map_err(|error| error.to_string())?;
        let is_new = there.as_ref().and_then(|there| there.id.as_ref()) != Some(&version);
        if is_new {
            let installed: Vec<&Certificate> = there.iter().flat_map(|there| &there.chains).map(Chain::leaf).collect();
            self.may_be_installed(host, &staged, &installed, types)?;
            self.stage(host, &staged)?;
            let not_kept = install::install(folder, host, &version).map_err(|error| error.to_string())?;
            not_kept.iter().for_each(|file| warn!("{}: {file}", host.to_host()));
        }
        if alone.live.as_ref() != Some(&version) {
            (alone.live, alone.due, alone.tries) = (Some(version.clone()), 0, 0);
            for old in install::staged(folder, host).unwrap_or_default() {
                if old != version
                    && let Err(error) = install::retire(folder, host, &old)
                {
                    warn!("{}: an old certificate stays: {error}", host.to_host());
                }
            }
        }
        Ok(is_new.then_some(version))
    }

    /// Whether what lies in the folder may take the place of what is installed; an error: why not, and what to do.
    fn may_be_installed(
        &self,
        host: &Name,
        staged: &[Candidate<'_>],
        installed: &[&Certificate],
        types: &[KeyType],
    ) -> Result<(), String> {
        let leaves = || staged.iter().map(|(_, found)| found.chain.leaf());
        // Of two that are installed together one may be out of sight for a while.
        let is_missing = |of: &KeyType| types.contains(of) && leaves().all(|leaf| leaf.key_type != *of);
        if let Some(missing) = installed.iter().map(|leaf| leaf.key_type).find(is_missing) {
            return Err(format!(
                "no certificate with an {missing} key lies in its folder, and one is installed: what is installed stays"
            ));
        }
        if let Some(why) = self.what_is_unknown() {
            return Err(why);
        }
        let has_key = |leaf: &Certificate| installed.iter().any(|other| other.spki() == leaf.spki());
        match self.published_by_others(host).filter(|_| !installed.is_empty() && !leaves().all(has_key)) {
            None => Ok(()),
            Some(why) => {
                let link = self.config.rollover.deployed.join(host.to_host());
                Err(format!(
                    "its new certificate has another key, and is not installed, since {why}: let them have its record (`danelaw tlsa \
                     {}`), wait until caches have it, and remove {}; with `reuse-key = true` renewals keep the key",
                    staged.first().map(|(_, found)| found.path.display().to_string()).unwrap_or_default(),
                    link.display()
                ))
            }
        }
    }

    fn tell_server(&mut self, host: &Name, alone: &mut Alone, now: Timestamp) {
        let Some(version) = alone.live.clone().filter(|live| alone.told.as_ref() != Some(live)) else { return };
        if alone.running.is_some() || now < alone.due {
            return;
        }
        let (commands, limit) = self.config.rollover.hooks(host);
        let (commands, limit) = (commands.to_vec(), Duration::from_secs(limit));
        if commands.is_empty() {
            return self.is_told(host, alone, version);
        }
        let Some(orders) = &self.rollovers.orders else { return };
        let order = hook::Order { host: host.clone(), version: version.clone(), commands, limit };
        alone.running = orders.hooks.try_send(order).is_ok().then_some(version);
    }

    /// The hook of a host has ended. Whether it is one of these.
    pub(super) fn hook_ended_alone(
        &mut self,
        host: &Name,
        version: &str,
        outcome: &Result<hook::Output, hook::HookError>,
        now: Timestamp,
    ) -> bool {
        let Some(mut alone) = self.rollovers.alone.remove(host) else { return false };
        alone.running = None;
        match outcome {
            Ok(_) => {
                info!("{}: the hook has run", host.to_host());
                self.is_told(host, &mut alone, version.to_owned());
            }
            Err(error) => {
                alone.tries = alone.tries.saturating_add(1);
                alone.due = now + (AGAIN.0 << alone.tries.saturating_sub(1).min(10)).min(AGAIN.1);
                alone.failed = Some(format!("the hook failed, and is run again: {error}"));
            }
        }
        self.rollovers.alone.insert(host.clone(), alone);
        true
    }

    fn is_told(&mut self, host: &Name, alone: &mut Alone, version: String) {
        let state = store::State { kind: KIND.to_owned(), key: key(host), version: VERSION, json: version.clone() };
        if let Err(error) = self.store.save(&state) {
            // It is run once more after a restart.
            warn!("{}: that the hook has run can't be stored: {error}", host.to_host());
        }
        (alone.told, alone.failed) = (Some(version), None);
    }

    /// What is wrong with them, a line each.
    pub(in crate::keeper) fn alone_problems(&self) -> Vec<String> {
        let each = self.rollovers.alone.iter();
        let problems = each.flat_map(|(host, alone)| [&alone.uninstalled, &alone.failed].map(|why| (host, why)));
        problems.filter_map(|(host, why)| Some(format!("{}: {}", host.to_host(), why.as_ref()?))).collect()
    }
}

/// What the store knows a host by.
fn key(host: &Name) -> String {
    host.to_lowercase().to_string()
}
