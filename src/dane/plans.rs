//! What is kept of a plan for the next one, so that a change costs what it concerns and not what there is.
//!
//! A host is planned again when something may have changed that it was planned from: while a host is planned, it is
//! written down what is asked of the served zones (see [`super::asked`]), and whoever has the zones says at which owners
//! they changed. Certificates, signing states and the time are compared here. A host whose remembered state changed
//! with the last plan, or in which a stopwatch runs, is planned every time. So what is kept is what planning anew gives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::dns::{Name, Timestamp};

use super::asked::{Asked, Key, Recorder};
use super::certificate::Chain;
use super::checks;
use super::keyset::{Known, Sighting, Sightings, is_waiting};
use super::led::{Led, LedHosts};
use super::plan::{HostPlan, Input, Named, Planned, plan, plan_host, sooner};
use super::prerequisites::{Fact, Served, SignedState};
use super::state::{HostState, State};

/// What may have changed since the plan before, besides certificates, signing states and the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Which names have other records, or are probed otherwise, or are TLSA owners that lag or lag no more.
    pub names: BTreeSet<Name>,
    /// Anything: which zones there are, a zone cut, the configuration.
    pub everything: bool,
}

impl Touched {
    /// Anything may be otherwise.
    pub fn all() -> Touched {
        Touched { everything: true, ..Touched::default() }
    }
}

/// A plan that is kept.
#[derive(Clone, Debug, Default)]
pub struct Plans {
    hosts: BTreeMap<Name, Kept>,
    /// The MX hosts of each mail domain.
    domains: BTreeMap<Name, Vec<Name>>,
    named: BTreeMap<Name, Named>,
    /// The hosts that asked something.
    askers: HashMap<Key, Askers>,
    /// What was said of each zone that was asked for.
    signed: BTreeMap<Name, Signing>,
    certificates: Sightings,
    led: LedHosts,
    /// The hosts with certificates.
    chained: BTreeMap<Name, Chained>,
    /// The hosts that are planned every time.
    restless: BTreeSet<Name>,
}

#[derive(Clone, Debug)]
struct Kept {
    owners: Vec<Planned>,
    asked: Vec<Key>,
}

/// A mail domain as its zone has it, and its MX hosts.
type Domain = (Name, Vec<Name>);

/// In canonical order; most questions are one host's.
type Askers = SmallVec<[Name; 1]>;

/// What can change of a zone though none of its records does.
type Signing = (SignedState, bool, Fact);

/// Of the certificates known for a host.
#[derive(Clone, Debug)]
struct Chained {
    sources: Vec<String>,
    /// What is said of their expiry is so from the one moment until the other.
    valid: (Timestamp, Timestamp),
}

impl Chained {
    fn new(known: &[Known], current: &[Chain], now: Timestamp) -> Chained {
        let chains = || known.iter().map(|known| &known.chain).chain(current);
        let ends = || chains().map(|chain| chain.leaf().not_after);
        let from = ends().filter(|end| *end <= now).max().unwrap_or(0);
        let until = ends().filter(|end| *end > now).min().unwrap_or(Timestamp::MAX);
        Chained { sources: known.iter().map(|known| known.source.clone()).collect(), valid: (from, until) }
    }
}

/// A plan of those hosts that it had to be made for.
#[derive(Clone, Debug)]
pub struct Step {
    /// The hosts that were planned, each once.
    pub hosts: BTreeMap<Name, Replanned>,
    /// When to plan again at the latest; none when only a change of the facts can change anything.
    pub next: Option<Timestamp>,
    everything: bool,
    domains: Vec<(Name, Option<Domain>)>,
    named: BTreeMap<Name, Named>,
    signed: BTreeMap<Name, Signing>,
    certificates: Option<Sightings>,
    led: Option<LedHosts>,
}

/// A host that was planned again.
#[derive(Clone, Debug)]
pub struct Replanned {
    /// What came out.
    pub plan: HostPlan,
    /// Whether the state is another than before.
    pub is_new_state: bool,
    asked: Asked,
}

impl Step {
    /// Whether its hosts are all that there are.
    pub fn is_whole(&self) -> bool {
        self.everything
    }
}

impl Plans {
    /// Every TLSA owner as it was planned last.
    pub fn owners(&self) -> impl Iterator<Item = &Planned> {
        self.hosts.values().flat_map(|kept| &kept.owners)
    }

    /// The owners of a host as they were planned last.
    pub fn of_host(&self, host: &Name) -> &[Planned] {
        self.hosts.get(host).map(|kept| &kept.owners[..]).unwrap_or_default()
    }

    /// A host's state is another, by the operator's word: it is planned the next time.
    pub fn disturb(&mut self, host: &Name) {
        self.restless.insert(host.clone());
    }

    /// Plans what may be otherwise than before. `state` is that of the step taken before.
    pub fn step(&self, input: Input<'_>, state: &State, touched: &Touched) -> Step {
        let mut step = self.named(input, touched);
        let hosts: BTreeSet<Name> = match step.everything {
            true => step.named.keys().chain(state.hosts.keys()).chain(input.led.keys()).cloned().collect(),
            false => self.concerned(input, touched, &mut step),
        };
        step.certificates = (!same(&self.certificates, input.certificates)).then(|| input.certificates.clone());
        step.led = (self.led != *input.led).then(|| input.led.clone());
        let nothing = (Named::default(), HostState::default());
        for host in hosts {
            let kept = || self.named.get(&host).filter(|_| !step.everything);
            let named = step.named.get(&host).or_else(kept).unwrap_or(&nothing.0);
            let before = state.hosts.get(&host).unwrap_or(&nothing.1);
            let recorder = Recorder::new(input.served);
            let plan = plan_host(Input { served: &recorder, ..input }, named, before);
            let asked = recorder.asked();
            for apex in &asked.zones {
                step.signed.entry(apex.clone()).or_insert_with(|| signing(input.served, apex));
            }
            sooner(&mut step.next, plan.next);
            let is_new_state = plan.state != *before;
            step.hosts.insert(host, Replanned { plan, is_new_state, asked });
        }
        step
    }

    /// Which domain names which host, as far as that may be otherwise.
    fn named(&self, input: Input<'_>, touched: &Touched) -> Step {
        let everything = touched.everything;
        let mut step = Step {
            hosts: BTreeMap::new(),
            next: None,
            everything,
            domains: Vec::new(),
            named: BTreeMap::new(),
            signed: BTreeMap::new(),
            certificates: None,
            led: None,
        };
        if everything {
            let mut domains = input.served.mail_domains();
            domains.extend(input.config.elsewhere.keys().cloned());
            domains.sort();
            domains.dedup();
            for (domain, hosts) in domains.iter().filter_map(|domain| domain_of(input, domain)) {
                for host in &hosts {
                    let domains = &mut step.named.entry(host.clone()).or_default().domains;
                    if domains.last().is_none_or(|(last, _)| *last != domain) {
                        domains.push((domain.clone(), host.clone()));
                    }
                }
                step.domains.push((domain.clone(), Some((domain, hosts))));
            }
            for service in &input.config.services {
                step.named.entry(service.host.clone()).or_default().services.push(service.clone());
            }
            return step;
        }
        for name in &touched.names {
            let before = self.domains.get_key_value(name);
            let after = domain_of(input, name);
            for host in before.iter().flat_map(|(_, hosts)| *hosts) {
                let named = step.named.entry(host.clone()).or_insert_with(|| self.named_of(host));
                named.domains.retain(|(domain, _)| domain != name);
            }
            for host in after.iter().flat_map(|(_, hosts)| hosts) {
                let named = step.named.entry(host.clone()).or_insert_with(|| self.named_of(host));
                let place = named.domains.partition_point(|(domain, _)| domain < name);
                let domain = after.as_ref().map_or(name, |(domain, _)| domain);
                named.domains.insert(place, (domain.clone(), host.clone()));
            }
            if before.is_some() || after.is_some() {
                step.domains.push((name.clone(), after));
            }
        }
        step
    }

    fn named_of(&self, host: &Name) -> Named {
        self.named.get(host).cloned().unwrap_or_default()
    }

    /// The hosts that were planned from something that may be otherwise.
    fn concerned(&self, input: Input<'_>, touched: &Touched, step: &mut Step) -> BTreeSet<Name> {
        let mut hosts: BTreeSet<Name> = step.named.keys().chain(&self.restless).cloned().collect();
        let mut add = |key: Key| hosts.extend(self.askers.get(&key).into_iter().flatten().cloned());
        for name in &touched.names {
            add(Key::at(name));
            std::iter::once(name.clone()).chain(name.ancestors()).for_each(|above| add(Key::below(&above)));
        }
        for (apex, before) in &self.signed {
            let signing = signing(input.served, apex);
            if signing != *before {
                add(Key::zone(apex));
                step.signed.insert(apex.clone(), signing);
            }
        }
        let is_over = |chained: &Chained| !(chained.valid.0..chained.valid.1).contains(&input.now);
        hosts.extend(self.chained.iter().filter(|(_, chained)| is_over(chained)).map(|(host, _)| host.clone()));
        self.certified(input.certificates, &mut hosts);
        let is_other = |(host, led): &(&Name, &Arc<Led>), others: &LedHosts| others.get(*host) != Some(*led);
        hosts.extend(input.led.iter().filter(|one| is_other(one, &self.led)).map(|(host, _)| host.clone()));
        hosts.extend(self.led.keys().filter(|host| !input.led.contains_key(*host)).cloned());
        hosts
    }

    /// The hosts that other certificates may be about.
    fn certified(&self, now: &Sightings, hosts: &mut BTreeSet<Name>) {
        let changed = differing(&self.certificates.seen, &now.seen);
        let waiting: BTreeSet<String> = self.certificates.waiting.symmetric_difference(&now.waiting).cloned().collect();
        if changed.is_empty() && waiting.is_empty() {
            return;
        }
        for sighting in &changed {
            for name in &sighting.chain.leaf().dns_names {
                self.covered(name, sighting, hosts);
            }
        }
        let is_about =
            |source: &String| changed.iter().any(|sighting| sighting.source == *source) || is_waiting(&waiting, source);
        let held = self.chained.iter().filter(|(_, chained)| chained.sources.iter().any(is_about));
        hosts.extend(held.map(|(host, _)| host.clone()));
    }

    /// The hosts that a dNSName of a certificate may stand for.
    fn covered(&self, name: &str, sighting: &Sighting, hosts: &mut BTreeSet<Name>) {
        let text = name.strip_prefix("*.").unwrap_or(name);
        let is_plain = text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
        match text.parse::<Name>() {
            Ok(above) if is_plain && text.len() < name.len() => {
                let below = self.hosts.range(&above..).map(|(host, _)| host);
                hosts.extend(below.take_while(|host| host.is_at_or_below(&above)).cloned());
            }
            Ok(host) if is_plain => hosts.extend(self.hosts.get_key_value(&host).map(|(host, _)| host.clone())),
            // Escapes and what else may be in there: every host is compared.
            _ => hosts.extend(self.hosts.keys().filter(|host| sighting.chain.covers(host)).cloned()),
        }
    }

    /// Whether a step leads to what planning anew gives: the promise of this file.
    pub fn is_as_anew(&self, step: &Step, input: Input<'_>, state: &State) -> bool {
        let mut kept = self.clone();
        kept.take(step.clone(), input.now);
        let mut owners: Vec<&Planned> = kept.owners().collect();
        owners.sort_by(|left, right| left.owner.cmp(&right.owner));
        let mut stored = state.clone();
        step.hosts.iter().for_each(|(host, replanned)| stored.put(host, replanned.plan.state.clone()));
        let anew = plan(input, state.clone());
        owners.into_iter().eq(&anew.owners) && (&stored, step.next) == (&anew.state, anew.next)
    }

    /// Keeps what a step came to, once it is stored. `now` is the time of the step.
    pub fn take(&mut self, step: Step, now: Timestamp) {
        let Step { hosts, everything, domains, named, signed, certificates, led, .. } = step;
        if everything {
            let (certificates, led) = (std::mem::take(&mut self.certificates), std::mem::take(&mut self.led));
            *self = Plans { certificates, led, ..Plans::default() };
        }
        self.led = led.unwrap_or(std::mem::take(&mut self.led));
        for (name, domain) in domains {
            self.domains.remove(&name);
            self.domains.extend(domain);
        }
        for (host, named) in named {
            self.named.remove(&host);
            if named != Named::default() {
                self.named.insert(host, named);
            }
        }
        self.signed.extend(signed);
        self.certificates = certificates.unwrap_or(std::mem::take(&mut self.certificates));
        for (host, replanned) in hosts {
            self.keep(host, replanned, now);
        }
    }

    fn keep(&mut self, host: Name, replanned: Replanned, now: Timestamp) {
        let Replanned { plan, is_new_state, asked } = replanned;
        let before = self.hosts.remove(&host).map(|kept| kept.asked).unwrap_or_default();
        for key in before.iter().filter(|key| asked.keys.binary_search(key).is_err()) {
            let Some(askers) = self.askers.get_mut(key) else { continue };
            if let Ok(place) = askers.binary_search(&host) {
                askers.remove(place);
            }
            if askers.is_empty() {
                self.askers.remove(key);
            }
        }
        for key in asked.keys.iter().filter(|key| before.binary_search(key).is_err()) {
            let askers = self.askers.entry(*key).or_default();
            if let Err(place) = askers.binary_search(&host) {
                askers.insert(place, host.clone());
            }
        }
        match is_new_state || plan.state.is_timed() {
            true => self.restless.insert(host.clone()),
            false => self.restless.remove(&host),
        };
        let current = self.led.get(&host).map(|led| &led.current[..]).unwrap_or_default();
        match &plan.state.keyset.known[..] {
            [] if current.is_empty() => self.chained.remove(&host),
            known => self.chained.insert(host.clone(), Chained::new(known, current, now)),
        };
        if !plan.owners.is_empty() || !plan.state.is_empty() {
            self.hosts.insert(host, Kept { owners: plan.owners, asked: asked.keys });
        }
    }
}

/// A mail domain and its hosts: as its zone has them, or, where that is not served here, as the operator does.
fn domain_of(input: Input<'_>, name: &Name) -> Option<Domain> {
    if let Some((domain, elsewhere)) = input.config.elsewhere.get_key_value(name)
        && input.served.zone_of(domain).is_none()
    {
        return Some((domain.clone(), elsewhere.hosts.clone()));
    }
    let domain = input.served.mail_domain(name)?;
    let hosts = checks::mail_hosts(input.served, &domain);
    Some((domain, hosts))
}

fn signing(served: &dyn Served, apex: &Name) -> Signing {
    (served.signed(apex), served.is_presigned(apex), served.parent(apex))
}

fn is_same_sighting(one: &Sighting, other: &Sighting) -> bool {
    one.source == other.source && one.chain.is_same(&other.chain)
}

fn same(one: &Sightings, other: &Sightings) -> bool {
    one.waiting == other.waiting && differing(&one.seen, &other.seen).is_empty()
}

/// What stands between the sightings that both begin and both end with: their order counts.
fn differing<'a>(one: &'a [Sighting], other: &'a [Sighting]) -> Vec<&'a Sighting> {
    let begin = one.iter().zip(other).take_while(|(one, other)| is_same_sighting(one, other)).count();
    let (one, other) = (&one[begin..], &other[begin..]);
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| is_same_sighting(one, other)).count();
    one[..one.len() - end].iter().chain(&other[..other.len() - end]).collect()
}
