//! The rollovers of the hosts whose certificates are installed here: facts go to each host's machine, what it says is stored, and
//! then done.
//!
//! A host is led by its machine from the first certificate with a key that a staged folder has for it, and for good: what it knows
//! of caches and mail servers is not known anywhere else.

mod act;
mod alone;
#[cfg(test)]
mod alone_tests;
mod disk;
mod facts;
mod report;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::error;

use super::Keeper;
use super::nameservers::{Nameservers, Ours, Place};
use super::updates::TOGETHER;
use crate::act::hook;
use crate::dane::Chain;
use crate::dane::led::{Led, LedHosts};
use crate::dane::prerequisites::Fact;
use crate::dane::rollover::{Action, Event, Reading, State, state, step};
use crate::dns::{Name, Timestamp};
use crate::observe::{nameservers, presented};
use crate::store::{self, StoreError};

pub use report::{AddressReport, NameserverReport, RolloverReport};

use alone::Alone;
use facts::Told;

/// The kind of the machines' states in the store, one for each host.
const KIND: &str = "rollover";
/// Every machine sees the clocks after so many seconds at the latest: what jumps in between is lost to a wait.
const CLOCKS: u64 = 60;
/// What a machine has seen of the clocks is stored after so many seconds at the latest: after a boot it counts from there.
const STORED: u64 = 3600;
/// So many times what was done is told at once; what is left waits for a second.
const ROUNDS: usize = 16;

/// What the edges tell.
#[derive(Debug)]
pub enum RolloverNews {
    /// Of nameservers.
    Nameserver(nameservers::News),
    /// Of mail servers.
    Presented(presented::News),
    /// Of hooks.
    Hook(hook::News),
}

/// Where news comes from.
#[derive(Debug)]
pub struct RolloverEdges {
    /// Of nameservers.
    pub nameservers: mpsc::Receiver<nameservers::News>,
    /// Of mail servers.
    pub presented: mpsc::Receiver<presented::News>,
    /// Of hooks.
    pub hooks: mpsc::Receiver<hook::News>,
}

impl RolloverEdges {
    /// What comes next; none when nothing ever does.
    pub async fn recv(&mut self) -> Option<RolloverNews> {
        tokio::select! {
            Some(news) = self.nameservers.recv() => Some(RolloverNews::Nameserver(news)),
            Some(news) = self.presented.recv() => Some(RolloverNews::Presented(news)),
            Some(news) = self.hooks.recv() => Some(RolloverNews::Hook(news)),
            else => None,
        }
    }

    /// What has come already besides.
    fn waiting(&mut self) -> Option<RolloverNews> {
        let mut nameserver = || self.nameservers.try_recv().ok().map(RolloverNews::Nameserver);
        let presented = || self.presented.try_recv().ok().map(RolloverNews::Presented);
        nameserver().or_else(presented).or_else(|| self.hooks.try_recv().ok().map(RolloverNews::Hook))
    }

    /// It and what waits behind it: of a thousand hosts as much is stored and published at once as has come meanwhile.
    pub(super) fn gather(&mut self, first: RolloverNews) -> Vec<RolloverNews> {
        std::iter::once(first).chain(std::iter::from_fn(|| self.waiting())).take(TOGETHER).collect()
    }
}

/// Where orders go.
#[derive(Clone, Debug)]
pub struct RolloverOrders {
    /// Ask nameservers.
    pub nameservers: mpsc::Sender<nameservers::Order>,
    /// Ask mail servers.
    pub presented: mpsc::Sender<presented::Order>,
    /// Run hooks.
    pub hooks: mpsc::Sender<hook::Order>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Rollovers {
    hosts: BTreeMap<Name, Driven>,
    /// What they say of their hosts.
    led: LedHosts,
    nameservers: Nameservers,
    orders: Option<RolloverOrders>,
    clocks: Option<fn() -> Reading>,
    /// When a machine is to step next, by the boot-time clock; none: all of them.
    due: Option<u64>,
    /// What the clocks said when it was looked last.
    seen: Reading,
    /// When all states were stored last, by the boot-time clock.
    stored: u64,
    /// The hosts of which probes tell something else than before.
    probed: BTreeSet<Name>,
    /// Hosts that have no TLSA here.
    alone: BTreeMap<Name, Alone>,
}

/// One host.
#[derive(Debug, Default)]
struct Driven {
    state: State,
    /// What it was told since the start.
    told: Told,
    /// When it is to step, by the boot-time clock.
    due: u64,
    /// A hook of this version runs.
    hook: Option<String>,
    /// What stands where mail servers read.
    live: Vec<Chain>,
    /// Why the newest certificate can't be taken over, or what is installed can't be read.
    problems: BTreeSet<String>,
    /// Why something that it asked for failed last.
    failures: BTreeMap<&'static str, String>,
    /// By the operator's word the source may lack a key type from now on.
    takes_less: bool,
    /// What became of asking each address.
    probes: BTreeMap<String, Result<(), String>>,
    /// Why nameservers do not show anything.
    unshown: BTreeMap<String, String>,
}

impl Rollovers {
    /// What is stored of them.
    pub(super) fn load(store: &store::Store) -> Result<Rollovers, StoreError> {
        let unusable = |why: String| StoreError::State { kind: KIND.to_owned(), why };
        let mut rollovers = Rollovers::default();
        for store::State { key, json, .. } in store.load_all(KIND)? {
            let host: Name = key.parse().map_err(|error| unusable(format!("{key}: {error}")))?;
            let state: State = serde_json::from_str(&json).map_err(|error| unusable(format!("{key}: {error}")))?;
            rollovers.led.insert(host.clone(), Arc::new(Led::new(&state, String::new(), Vec::new())));
            rollovers.hosts.insert(host, Driven { state, ..Driven::default() });
        }
        Ok(rollovers)
    }

    /// What each says of its host.
    pub(super) fn led(&self) -> &LedHosts {
        &self.led
    }

    /// The files that certificates were taken over from.
    pub(super) fn source_files(&self) -> impl Iterator<Item = &String> {
        self.hosts.values().filter_map(|driven| driven.told.source()).flat_map(|source| &source.files)
    }

    /// What probes tell of a host; none of one whose certificate is not installed here.
    pub(super) fn probed(&self, host: &Name) -> Option<Fact> {
        let driven = self.hosts.get(host)?;
        let labels: Vec<&str> = driven.state.addresses().map(|(label, _)| label).collect();
        let outcomes = || labels.iter().map(|label| (label, driven.probes.get(*label)));
        let failed = outcomes().find_map(|(label, outcome)| Some((label, outcome?.as_ref().err()?)));
        Some(match failed {
            Some((label, why)) => {
                Fact::unknown(format!("{label}: {why}"), "let the mail server offer STARTTLS to everybody there")
            }
            None if labels.is_empty() || outcomes().any(|(_, outcome)| outcome.is_none()) => {
                Fact::not_checked("not every address of the host was asked yet")
            }
            None => Fact::held(format!("TLS 1.2 or later at {}", labels.join(", "))),
        })
    }

    /// The hosts of which probes tell something else than when they were planned last.
    pub(super) fn newly_probed(&self) -> impl Iterator<Item = Name> {
        self.probed.iter().cloned()
    }

    /// They are planned.
    pub(super) fn planned(&mut self) {
        self.probed.clear();
    }

    /// A nameserver was looked up.
    pub(super) fn resolved(&mut self, host: &Name, found: &Result<Vec<IpAddr>, String>, now: Timestamp) {
        self.nameservers.resolved(host, found, now);
    }

    /// Where each of a zone's nameservers is asked. An error: a host whose address is not known yet.
    pub(super) fn servers_of(&mut self, ours: &Ours<'_>, zone: &Name) -> Result<BTreeSet<Place>, Name> {
        self.nameservers.asked(ours, zone)
    }

    /// The nameservers to look up by now.
    pub(super) fn lookups(&mut self, now: Timestamp) -> Vec<Name> {
        self.nameservers.due(now)
    }

    pub(super) fn next_lookup(&self) -> Option<Timestamp> {
        self.nameservers.next()
    }

    pub(super) fn reading(&self, now: Timestamp) -> Reading {
        let wall_alone = Reading { wall: now, boot: now, boot_id: 1, synchronised: true };
        self.clocks.map_or(wall_alone, |clocks| clocks())
    }

    /// Whether a machine is to step, whether it was told something or not.
    fn is_due(&self, reading: Reading) -> bool {
        let since = |now: u64, before: u64| i128::from(now) - i128::from(before);
        let jumped = since(reading.wall, self.seen.wall) - since(reading.boot, self.seen.boot);
        self.due.is_none_or(|due| due <= reading.boot) || !(-2..=2).contains(&jumped)
    }
}

/// Events for hosts, in their order.
type Events = Vec<(Name, Event)>;

impl Keeper {
    /// The clocks that waits go by. Without them the wall clock is all there is.
    pub fn read_clocks(&mut self, clocks: fn() -> Reading) {
        self.rollovers.clocks = Some(clocks);
    }

    /// From now on what takes time is done, too.
    pub fn drive(&mut self, orders: RolloverOrders) {
        self.rollovers.orders = Some(orders);
    }

    /// Whether there is a rollover to be driven every second.
    pub fn has_rollovers(&self) -> bool {
        !self.rollovers.hosts.is_empty()
    }

    /// Tells every machine what has changed, and does what they ask for. Whether any says something else of its host than before.
    /// `look`: what stands on the disk is looked at, too.
    pub(super) fn roll(&mut self, look: bool, now: Timestamp) -> bool {
        if self.rollovers.hosts.is_empty() {
            return false;
        }
        let events = self.new_facts(look);
        self.step_rollovers(events, now)
    }

    /// Whether a second that has gone by matters to any machine.
    pub fn is_tick_due(&self, now: Timestamp) -> bool {
        self.rollovers.is_due(self.rollovers.reading(now))
    }

    /// A second has gone by. Whether anything has to be decided anew: what a machine says of its host has changed, or the wall clock has
    /// leapt, so that signatures may have run out or not begun.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        let reading = self.rollovers.reading(now);
        if !self.rollovers.is_due(reading) {
            return false;
        }
        let leapt = reading.wall.abs_diff(self.rollovers.seen.wall) > 2 * CLOCKS;
        let jumped = self.rollovers.due.is_none_or(|due| due > reading.boot);
        let due = self.rollovers.hosts.iter().filter(|(_, driven)| jumped || driven.due <= reading.boot);
        let events = due.map(|(host, _)| (host.clone(), Event::Tick)).collect();
        self.step_rollovers(events, now) | leapt
    }

    /// Edges have said something. Whether anything has to be decided anew.
    pub fn hear_rollovers(&mut self, news: Vec<RolloverNews>, now: Timestamp) -> bool {
        let events = news.into_iter().flat_map(|news| self.events_of(news, now)).collect();
        self.step_rollovers(events, now) | !self.rollovers.probed.is_empty()
    }

    /// The operator's word, to the machine of a host.
    pub(super) fn say_to_rollover(&mut self, host: &Name, event: Event, now: Timestamp) -> Result<(), String> {
        if !self.rollovers.hosts.contains_key(host) {
            return Err(self.is_not_led(host));
        }
        let reading = self.rollovers.reading(now);
        let mut steps = Steps::default();
        self.step_one(host, event, reading, &mut steps);
        let refused = steps.refused.take();
        self.finish_steps(steps, reading, now);
        match (&self.store_problem, refused) {
            (Some(problem), _) => Err(problem.clone()),
            (None, Some(why)) => Err(format!("{}: {why}", host.to_host())),
            (None, None) => Ok(()),
        }
    }

    fn is_not_led(&self, host: &Name) -> String {
        let is_alone = self.rollovers.alone.contains_key(host);
        let host = host.to_host();
        if is_alone {
            return format!(
                "{host}: danelaw publishes no TLSA of it, so its certificate is installed without a rollover: see \
                 `danelaw certificate list {host}`"
            );
        }
        format!(
            "{host}: no certificate of it is installed by danelaw: that takes a [[certificates]] folder that is not \
             observed, with a certificate of {host} and its key; `danelaw status` lists the hosts that have one"
        )
    }

    fn step_rollovers(&mut self, events: Events, now: Timestamp) -> bool {
        let reading = self.rollovers.reading(now);
        let mut steps = Steps::default();
        for (host, event) in events {
            self.step_one(&host, event, reading, &mut steps);
        }
        self.finish_steps(steps, reading, now)
    }

    fn step_one(&mut self, host: &Name, event: Event, reading: Reading, steps: &mut Steps) {
        let Some(driven) = self.rollovers.hosts.get_mut(host) else { return };
        steps.before.entry(host.clone()).or_insert_with(|| driven.state.clone());
        let (state, actions) = step(std::mem::take(&mut driven.state), event, reading);
        driven.state = state;
        steps.take(host, actions);
    }

    /// Stores what machines have become, does what they ask for, and tells them what came of it, until nothing comes of it.
    fn finish_steps(&mut self, mut steps: Steps, reading: Reading, now: Timestamp) -> bool {
        let mut changed = false;
        for round in 1..=ROUNDS {
            let (actions, before) = (std::mem::take(&mut steps.actions), std::mem::take(&mut steps.before));
            let hosts: Vec<Name> = before.keys().cloned().collect();
            self.say(&actions, now);
            if !self.store_rollovers(before, reading) {
                break;
            }
            changed |= hosts.iter().fold(false, |changed, host| self.lead(host) | changed);
            self.plan_ticks(&hosts, reading);
            let events = self.act(actions);
            // What is not told now is asked for again.
            if events.is_empty() || round == ROUNDS {
                break;
            }
            for (host, event) in events {
                self.step_one(&host, event, reading, &mut steps);
            }
        }
        self.rollovers.seen = reading;
        self.rollovers.due = self.rollovers.hosts.values().map(|driven| driven.due).min();
        changed
    }

    /// Stores the states that are others than before. Whether that was done: otherwise they are as before, and nothing follows.
    fn store_rollovers(&mut self, before: BTreeMap<Name, State>, reading: Reading) -> bool {
        let hourly = reading.boot >= self.rollovers.stored + STORED || reading.boot < self.rollovers.stored;
        let mut states = Vec::new();
        for (host, driven) in &self.rollovers.hosts {
            let is_other = || before.get(host).is_some_and(|before| !driven.state.is_same_but_for_clock(before));
            if !hourly && !is_other() {
                continue;
            }
            // The state is maps of names and values: it is always written.
            let Ok(json) = serde_json::to_string(&driven.state) else { continue };
            let key = host.to_lowercase().to_string();
            states.push(store::State { kind: KIND.to_owned(), key, version: state::VERSION, json });
        }
        if states.is_empty() {
            return true;
        }
        crate::crash::point("rollover: before its state is stored");
        if let Err(error) = self.store.together(|store| store.save_all(&states, &[])) {
            error!("what rollovers have come to can't be stored, so nothing of it is done: {error}");
            self.store_problem = Some(format!("store: {error}"));
            for (host, state) in before {
                let Some(driven) = self.rollovers.hosts.get_mut(&host) else { continue };
                driven.state = state;
                // What it was told is told again.
                driven.told = Told::default();
            }
            return false;
        }
        crate::crash::point("rollover: after its state is stored");
        if hourly {
            self.rollovers.stored = reading.boot;
        }
        true
    }

    /// Puts what a machine wants where plans read it. Whether it is otherwise.
    fn lead(&mut self, host: &Name) -> bool {
        let Some(driven) = self.rollovers.hosts.get(host) else { return false };
        let (file, chains) = match (&driven.live[..], driven.told.source()) {
            ([], Some(source)) => (source.files.join(", "), source.chains.clone()),
            (live, _) => (self.config.rollover.deployed.join(host.to_host()).display().to_string(), live.to_vec()),
        };
        let led = Led::new(&driven.state, file, chains);
        let changed = self.rollovers.led.get(host).is_none_or(|before| **before != led);
        if changed {
            self.rollovers.led.insert(host.clone(), Arc::new(led));
        }
        changed
    }

    fn plan_ticks(&mut self, hosts: &[Name], reading: Reading) {
        for host in hosts {
            let Some(driven) = self.rollovers.hosts.get_mut(host) else { continue };
            let next = driven.state.next().map_or(CLOCKS, |next| next.saturating_sub(reading.wall));
            driven.due = reading.boot.saturating_add(next.clamp(1, CLOCKS));
        }
    }

    /// Whose addresses are still wanted.
    pub(super) fn retain_rollover_nameservers(&mut self) {
        let zones: BTreeSet<Name> = self.led_zones().into_values().chain(self.proofs().into_keys()).collect();
        let ours = Ours { config: &self.config, zones: &self.zones };
        self.rollovers.nameservers.retain(&ours, zones.iter());
    }
}

/// Steps that are not stored yet.
#[derive(Default)]
struct Steps {
    before: BTreeMap<Name, State>,
    actions: Vec<(Name, Action)>,
    /// Why the operator's word can't be followed.
    refused: Option<String>,
}

impl Steps {
    fn take(&mut self, host: &Name, actions: Vec<Action>) {
        use crate::dane::rollover::Notice;
        for action in actions {
            match action {
                Action::Tell(Notice::Refused(why)) => self.refused = Some(why),
                action => self.actions.push((host.clone(), action)),
            }
        }
    }
}
