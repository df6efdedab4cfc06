//! Which TLSA goes into each zone: what changed is planned, what was decided is written down, and only then published.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{error, info};

use super::served::ServedZones;
use super::{Keeper, RESCAN, messages, publish};
use crate::dane;
use crate::dane::explain::Explanation;
use crate::dane::plan::{Input, Planned};
use crate::dane::plans::{Plans, Replanned, Step, Touched};
use crate::dane::state::{HostState, State as DaneState, VERSION};
use crate::dns::{Name, RRset, Rtype, Timestamp};
use crate::observe::certificates;
use crate::store::{State, Store, StoreError};
use crate::zone::Contents;

/// The RRsets to put into each zone, by apex: owner and records, in canonical order.
pub(super) type Synthesised = BTreeMap<Name, Vec<(Name, RRset)>>;

/// The kind of the DANE room's states in the store, one for each host.
const HOST: &str = "dane-host";
/// Kind and key of the one document that they once were in.
const DOCUMENT: (&str, &str) = ("dane", "all");

/// What the zones were like when they were looked at for a plan.
#[derive(Debug)]
pub(super) struct PlannedFrom {
    contents: BTreeMap<Name, Option<Contents>>,
    lagging: Option<BTreeSet<Name>>,
}

/// The DANE room's state.
pub(super) fn load(store: &mut Store) -> Result<DaneState, StoreError> {
    let unusable = |why: String| StoreError::State { kind: HOST.to_owned(), why };
    let mut state = match store.load(DOCUMENT.0, DOCUMENT.1)? {
        Some((_, json)) => {
            let state: DaneState = serde_json::from_str(&json).map_err(|error| unusable(error.to_string()))?;
            store.together(|store| {
                save(store, state.hosts.iter())?;
                store.remove(DOCUMENT.0, DOCUMENT.1)
            })?;
            return Ok(state);
        }
        None => DaneState::default(),
    };
    for State { key, json, .. } in store.load_all(HOST)? {
        let host: Name = key.parse().map_err(|error| unusable(format!("{key}: {error}")))?;
        let of_host: HostState = serde_json::from_str(&json).map_err(|error| unusable(format!("{key}: {error}")))?;
        state.put(&host, of_host);
    }
    Ok(state)
}

fn save<'a>(store: &mut Store, hosts: impl Iterator<Item = (&'a Name, &'a HostState)>) -> Result<(), StoreError> {
    let (mut states, mut gone) = (Vec::new(), Vec::new());
    for (host, state) in hosts {
        let (kind, key) = (HOST.to_owned(), host.to_lowercase().to_string());
        if state.is_empty() {
            gone.push(key);
            continue;
        }
        let json = serde_json::to_string(state)
            .map_err(|error| StoreError::State { kind: HOST.to_owned(), why: error.to_string() })?;
        states.push(State { kind, key, version: VERSION, json });
    }
    store.save_all(&states, &[])?;
    gone.iter().try_for_each(|key| store.remove(HOST, key).map(drop))
}

impl Keeper {
    /// Decides on every TLSA. When that can't be stored, nothing of it counts: what was decided before stays. Gives when to decide again.
    pub(super) fn decide_tlsa(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.store_problem = None;
        if self.has_nothing_to_decide() {
            self.outside.planned(self.planned_from.is_some());
            (self.plans, self.planned_from) = (Plans::default(), None);
            self.tlsa.clear();
            return None;
        }
        let touched = self.touched();
        let mut step = self.plan(&touched, now);
        let planned = step.hosts.iter().map(|(host, replanned)| (host, &replanned.plan.owners[..]));
        if self.take_lead(planned, now) {
            step = self.plan(&touched, now);
        }
        // Stored together, so that what is published is told, and once.
        let told = self.messages.after(self.publications(&step, now), &self.config, now);
        let changed = || step.hosts.iter().filter(|(_, replanned)| replanned.is_new_state);
        let states = changed().map(|(host, replanned)| (host, &replanned.plan.state));
        if changed().next().is_some()
            && let Err(error) = self.store.together(|store| {
                save(store, states)?;
                store.save(&messages::stored(&told)?)
            })
        {
            error!("the TLSA decisions can't be stored, so none of them is published: {error}");
            self.store_problem = Some(format!("store: {error}"));
            return Some(now + RESCAN);
        }
        self.messages.state = told;
        for (host, replanned) in changed() {
            self.dane.put(host, replanned.plan.state.clone());
        }
        self.say_changes(&step, now);
        self.put_tlsa(&step);
        let contents = self.zones.iter().map(|(origin, zone)| (origin.clone(), zone.contents.clone()));
        self.planned_from = Some(PlannedFrom { contents: contents.collect(), lagging: self.lagging.clone() });
        let next = step.next;
        let is_same = |(host, replanned): (&Name, &Replanned)| self.plans.of_host(host) == replanned.plan.owners;
        let is_other = step.is_whole() || !step.hosts.iter().all(is_same);
        self.plans.take(step, now);
        self.rollovers.planned();
        self.outside.planned(is_other);
        next
    }

    fn plan(&self, touched: &Touched, now: Timestamp) -> Step {
        self.with_input(now, |input| {
            let step = self.plans.step(input, &self.dane, touched);
            debug_assert!(self.plans.is_as_anew(&step, input, &self.dane), "a host was not planned again: {touched:?}");
            step
        })
    }

    /// What may be otherwise than when it was planned last.
    fn touched(&self) -> Touched {
        let Some(before) = &self.planned_from else { return Touched::all() };
        let (Some(lagged), Some(lagging)) = (&before.lagging, &self.lagging) else { return Touched::all() };
        if !before.contents.keys().eq(self.zones.keys()) {
            return Touched::all();
        }
        let mut names: BTreeSet<Name> = lagged
            .symmetric_difference(lagging)
            .cloned()
            .chain(self.rollovers.newly_probed())
            .chain(self.outside.newly_probed())
            .collect();
        for (old, zone) in before.contents.values().zip(self.zones.values()) {
            let (old, new) = match (old, &zone.contents) {
                (Some(old), Some(new)) => (old, new),
                (None, None) => continue,
                _ => return Touched::all(),
            };
            for one in old.tree().differences(new.tree()) {
                let has = |rtype| [one.old, one.new].map(|node| node.is_some_and(|node| node.has(rtype)));
                // What is ours to serve below it.
                if [Rtype::NS, Rtype::DNAME].map(has).iter().any(|[before, after]| before != after) {
                    return Touched::all();
                }
                names.insert(one.owner);
            }
        }
        Touched { names, everything: false }
    }

    /// No certificate was ever seen and none can come: zones are served as their files have them.
    fn has_nothing_to_decide(&self) -> bool {
        self.config.certificates.is_empty()
            && self.dane_config.services.is_empty()
            && self.dane == DaneState::default()
            && !self.has_rollovers()
    }

    fn with_input<T>(&self, now: Timestamp, work: impl FnOnce(Input<'_>) -> T) -> T {
        let served = ServedZones::new(&self.zones, self.lagging.as_ref(), &self.rollovers, &self.outside);
        let mut certificates = certificates::sightings(&self.scans);
        certificates.seen.extend(self.presented_all_the_same());
        work(Input {
            served: &served,
            config: &self.dane_config,
            certificates: &certificates,
            led: self.rollovers.led(),
            dkim_ok: &dkim_ok,
            now,
        })
    }

    /// Why each TLSA is served or not. Where there is nothing to decide it is worked out when somebody asks.
    pub(super) fn explained(&self, now: Timestamp) -> Vec<Explanation> {
        if self.has_nothing_to_decide() {
            let plan = self.with_input(now, |input| dane::plan(input, self.dane.clone()));
            return plan.owners.into_iter().map(|planned| planned.explanation).collect();
        }
        let mut explanations: Vec<_> = self.plans.owners().map(|planned| planned.explanation.clone()).collect();
        explanations.sort_by(|left, right| left.owner.cmp(&right.owner));
        explanations
    }

    /// Publishes the TLSA that were decided.
    pub(super) fn publish_as_decided(&mut self, now: Timestamp) -> Option<Timestamp> {
        let tlsa = std::mem::take(&mut self.tlsa);
        // There are proofs for minutes in a month.
        let with_proofs = self.with_proofs(&tlsa);
        let all = with_proofs.as_ref().unwrap_or(&tlsa);
        let refresh = self.publish_zones(all, now);
        self.lagging = Some(self.not_served(all));
        self.tlsa = tlsa;
        refresh
    }

    /// Publishes the zones with the TLSA that are in them.
    pub(super) fn publish_as_served(&mut self, now: Timestamp) -> Option<Timestamp> {
        let tlsa = self.zones.iter().map(|(origin, zone)| (origin.clone(), zone.synthesised.clone())).collect();
        let refresh = self.publish_zones(&tlsa, now);
        self.lagging = Some(self.not_served(&tlsa));
        refresh
    }

    /// The TLSA owners where what is served is not what was decided.
    fn not_served(&self, tlsa: &Synthesised) -> BTreeSet<Name> {
        let mut lagging = BTreeSet::new();
        for (origin, zone) in &self.zones {
            let wanted = tlsa.get(origin).map(Vec::as_slice).unwrap_or_default();
            if *wanted == *zone.synthesised {
                continue;
            }
            let there = |all: &[(Name, RRset)], one: &(Name, RRset)| {
                all.binary_search_by(|(owner, _)| owner.cmp(&one.0)).is_ok_and(|place| all[place] == *one)
            };
            let mut differ = |left: &[(Name, RRset)], right: &[(Name, RRset)]| {
                lagging.extend(left.iter().filter(|one| !there(right, one)).map(|(owner, _)| owner.clone()));
            };
            differ(wanted, &zone.synthesised);
            differ(&zone.synthesised, wanted);
        }
        lagging
    }

    /// Puts the planned RRsets in the place of those that the same hosts had.
    fn put_tlsa(&mut self, step: &Step) {
        if step.is_whole() {
            self.tlsa.clear();
        }
        for (host, replanned) in &step.hosts {
            let before = self.plans.of_host(host).iter().map(|planned| (planned, false));
            for (planned, is_new) in before.chain(replanned.plan.owners.iter().map(|planned| (planned, true))) {
                let (Some(zone), Some(rrset)) = (&planned.zone, &planned.rrset) else { continue };
                let zone = self.tlsa.entry(zone.clone()).or_default();
                match (zone.binary_search_by(|(owner, _)| owner.cmp(&planned.owner)), is_new) {
                    (Ok(place), true) => zone[place] = (planned.owner.clone(), rrset.clone()),
                    (Err(place), true) => zone.insert(place, (planned.owner.clone(), rrset.clone())),
                    (Ok(place), false) => drop(zone.remove(place)),
                    (Err(_), false) => {}
                }
            }
        }
    }

    /// Tells the log and the event list what became of certificates and publications.
    fn say_changes(&mut self, step: &Step, now: Timestamp) {
        let mut events = Vec::new();
        let mut turned: Vec<&Planned> = Vec::new();
        for (host, replanned) in &step.hosts {
            let were = self.plans.of_host(host);
            let status = |planned: &Planned| {
                let before = were.iter().find(|before| before.owner == planned.owner);
                before.is_some_and(|before| before.explanation.status == planned.explanation.status)
            };
            turned.extend(replanned.plan.owners.iter().filter(|planned| !status(planned)));
            let (host, changes) = (host.to_host(), &replanned.plan.changes);
            for (kind, fingerprints, text) in [
                ("certificate-new", &changes.added, "a new certificate; its record is published beside the old ones"),
                ("certificate-replaced", &changes.replaced, "replaced; its record stays until no cache can need it"),
                ("certificate-returned", &changes.returned, "an old certificate is back"),
                ("certificate-dropped", &changes.dropped, "its record is no longer needed by any cache"),
            ] {
                for fingerprint in fingerprints {
                    info!("{host}: certificate {}: {text}", &fingerprint[..16]);
                    events.push((kind, host.clone(), format!("{fingerprint}: {text}")));
                }
            }
        }
        if turned.len() > publish::MANY {
            let text = format!("{} TLSA owners turned; `danelaw status` lists them", turned.len());
            info!("{text}");
            events.push(("tlsa", String::new(), text));
        } else {
            for Planned { owner, explanation, .. } in turned {
                info!("{owner} TLSA {}", explanation.status);
                events.push(("tlsa", owner.to_string(), explanation.status.to_string()));
            }
        }
        self.events(now, events);
    }

    /// Takes another state of some hosts, by the operator's word, once it is stored.
    pub(super) fn change_state(&mut self, hosts: BTreeSet<Name>, state: DaneState) -> Result<(), StoreError> {
        let empty = HostState::default();
        let of_hosts = hosts.iter().map(|host| (host, state.hosts.get(host).unwrap_or(&empty)));
        self.store.together(|store| save(store, of_hosts))?;
        self.dane = state;
        hosts.iter().for_each(|host| self.plans.disturb(host));
        Ok(())
    }
}

fn dkim_ok(txt: &[u8]) -> Result<(), String> {
    match crate::dns::mailtext::Dkim::parse(txt) {
        Ok(key) if key.is_revoked() => Err("the key is revoked: p= is empty".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
