//! What machines ask for, done: at once where it is a matter of files, by order where it takes time.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{info, warn};

use super::Events;
use super::facts::{HERE, called};
use super::words::{HOOK, INSTALLATION};
use crate::act::hook;
use crate::act::install::{self, InstallError};
use crate::dane::rollover::{Action, Event, Phase, Version};
use crate::dns::Name;
use crate::keeper::Keeper;
use crate::observe::{deployed, nameservers, presented};

impl Keeper {
    /// Does it; gives what came of it at once.
    pub(super) fn act(&mut self, actions: Vec<(Name, Action)>) -> Events {
        let mut events = Events::new();
        for (host, action) in actions {
            match action {
                // What is wanted is read where zones are published.
                Action::Publish { .. } => {}
                Action::AskServers { servers, .. } => events.extend(self.ask_servers(&host, &servers)),
                Action::Probe { addresses, .. } => events.extend(self.probe(&host, &addresses)),
                Action::Install { version } => events.extend(self.install(&host, &version)),
                Action::RunHook { version } => self.run_hook(&host, version),
                Action::Retire { .. } => self.clean_up(&host),
                // That was said before.
                Action::Alarm(_) | Action::Cleared(_) | Action::Tell(_) => {}
            }
        }
        events
    }

    /// Asks nameservers; this server is seen from here.
    fn ask_servers(&mut self, host: &Name, servers: &[String]) -> Events {
        let zone = self.zone_of(self.plans.of_host(host)).map(|zone| zone.origin.clone());
        let Some(zone) = zone else { return Events::new() };
        let owners: Vec<Name> = self
            .plans
            .of_host(host)
            .iter()
            .filter(|planned| planned.zone.as_ref() == Some(&zone))
            .map(|planned| planned.owner.clone())
            .collect();
        let mut events = Events::new();
        for label in servers {
            if label == HERE {
                let owners = self.plans.of_host(host);
                let shown = self.zone_of(owners).and_then(|zone| super::facts::shown(zone, owners));
                let event = shown.map(|(serial, records, ttl)| {
                    let server = HERE.to_owned();
                    Event::Shows { server, serial, records, ttl }
                });
                events.extend(event.map(|event| (host.clone(), event)));
            } else if let Some(server) = called(label) {
                let (host, label, zone, owners) = (host.clone(), label.clone(), zone.clone(), owners.clone());
                let order = nameservers::Order { host, label, server, zone, owners };
                // What finds no room is asked for again.
                if let Some(orders) = &self.rollovers.orders {
                    drop(orders.nameservers.try_send(order));
                }
            }
        }
        events
    }

    /// Asks mail servers; where the operator vouches for them, they present what is deployed and told them.
    fn probe(&mut self, host: &Name, addresses: &[String]) -> Events {
        let known = self.probed(host);
        let declared = self.is_declared(host);
        let mut events = Events::new();
        for label in addresses {
            match known.get(label) {
                _ if declared => {
                    let driven = self.rollovers.hosts.get(host);
                    let state = driven.map(|driven| &driven.state);
                    let chain =
                        state.filter(|state| state.phase() != Phase::Reloading).and_then(|state| state.vouched());
                    let chain = chain.map(|chain| chain.fingerprint.clone());
                    let event = chain.map(|chain| Event::Presents { address: label.clone(), chain });
                    events.extend(event.map(|event| (host.clone(), event)));
                }
                Some(&(address, key_type)) => {
                    let greeting = presented::Greeting::of(address.port());
                    let (host, label) = (host.clone(), label.clone());
                    let order = presented::Order { host, label, address, greeting, key_type };
                    if let Some(orders) = &self.rollovers.orders {
                        drop(orders.presented.try_send(order));
                    }
                }
                None => events.push((host.clone(), Event::Unasked { address: label.clone() })),
            }
        }
        events
    }

    fn install(&mut self, host: &Name, version: &str) -> Events {
        let deployed = &self.config.rollover.deployed;
        let installed = install::install(deployed, host, version);
        let chains = installed.is_ok().then(|| deployed::read(deployed, host).ok().flatten()).flatten();
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return Events::new() };
        let version = version.to_owned();
        match installed {
            Ok(lost) => {
                lost.iter().for_each(|not_kept| warn!("{}: {not_kept}", host.to_host()));
                driven.failures.remove(INSTALLATION);
                if let Some(chains) = chains {
                    driven.live = chains.chains;
                }
                driven.told.forget_deployed();
                vec![(host.clone(), Event::Installed { version })]
            }
            Err(InstallError::Missing { .. })
                if driven.told.source().is_some_and(|source| Version::of(&source.chains).id != version) =>
            {
                vec![(host.clone(), Event::Lost { version })]
            }
            Err(error) => {
                driven.failures.insert(INSTALLATION, error.to_string());
                driven.told.forget_source();
                vec![(host.clone(), Event::InstallFailed { version })]
            }
        }
    }

    /// One at a time.
    fn run_hook(&mut self, host: &Name, version: String) {
        let (commands, limit) = self.config.rollover.hooks(host);
        let (commands, limit) = (commands.to_vec(), Duration::from_secs(limit));
        let Some(orders) = self.rollovers.orders.clone() else { return };
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return };
        if driven.hook.is_none() {
            let order = hook::Order { host: host.clone(), version: version.clone(), commands, limit };
            crate::crash::point("rollover: before the hook");
            driven.hook = orders.hooks.try_send(order).is_ok().then_some(version);
        }
    }

    /// A hook has ended.
    pub(super) fn hook_ended(
        &mut self,
        host: Name,
        version: String,
        outcome: Result<hook::Output, hook::HookError>,
    ) -> Events {
        crate::crash::point("rollover: after the hook");
        let Some(driven) = self.rollovers.hosts.get_mut(&host) else { return Events::new() };
        driven.hook = None;
        let event = match outcome {
            Ok(output) => {
                driven.failures.remove(HOOK);
                info!("{}: the hook has run{}", host.to_host(), last_line(&output.text));
                Event::HookDone { version }
            }
            Err(error) => {
                driven.failures.insert(HOOK, error.to_string());
                Event::HookFailed { version }
            }
        };
        vec![(host, event)]
    }

    /// A nameserver was asked. Why it shows nothing is shown.
    pub(super) fn note_nameserver(&mut self, host: &Name, label: &str, why: Option<String>) {
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return };
        match why {
            None => drop(driven.unshown.remove(label)),
            Some(why) => drop(driven.unshown.insert(label.to_owned(), why)),
        }
    }

    /// A mail server was asked. What became of it is shown, and part of what a first publication needs.
    pub(super) fn note_probe(&mut self, host: &Name, label: &str, outcome: Result<(), String>) {
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return };
        let is_known = driven.state.addresses().any(|(address, _)| address == label);
        if is_known && driven.probes.get(label) != Some(&outcome) {
            driven.probes.insert(label.to_owned(), outcome);
            self.rollovers.probed.insert(host.clone());
        }
    }

    /// Takes away what nothing needs any more: what was retired, and what never came to be installed.
    pub(super) fn clean_up(&self, host: &Name) {
        let deployed = &self.config.rollover.deployed;
        let Some(driven) = self.rollovers.hosts.get(host) else { return };
        let needed: BTreeSet<&str> = driven.state.needed().collect();
        let there = install::staged(deployed, host).unwrap_or_default();
        for id in there.iter().filter(|id| !needed.contains(id.as_str())) {
            match install::retire(deployed, host, id) {
                // What somebody else put in place is theirs.
                Ok(()) | Err(InstallError::Live(_)) => {}
                Err(error) => warn!("{}: an old certificate stays: {error}", host.to_host()),
            }
        }
    }
}

fn last_line(text: &str) -> String {
    text.trim_end().lines().last().map_or(String::new(), |line| format!(": {line}"))
}
