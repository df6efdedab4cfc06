//! What is kept of a plan is what planning anew gives, under any order of changes; and a change costs what it concerns.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::world::{World, stored};
use super::{name, pem};
use crate::dane::config::{DomainDane, ServiceConfig};
use crate::dane::plans::{Plans, Step, Touched};
use crate::dane::prerequisites::{Fact, Resolved, SignedState, Verdict};
use crate::dane::state::State;
use crate::dane::tlsa::Service;
use crate::dane::{Protocol, Tlsa};
use crate::dns::{Name, Rtype};

const START: u64 = 1_800_000_000;
const DOMAINS: [&str; 4] = ["example.org", "a.example.org", "mail.example.org", "example.net"];
const ELSEWHERE: [&str; 3] = ["example.net", "a.example.org", "example.com"];
const HOSTS: [&str; 4] = ["mail.example.org", "Mx.example.org", "www.example.net", "mail.example.com"];
const ADDRESSES: [[u8; 4]; 2] = [super::world::OURS, [192, 0, 2, 2]];
const FILES: [&str; 3] = ["certs/a.pem", "certs/b/b.pem", "certs/b/c.pem"];
const PEMS: [&str; 6] =
    [pem!("p256"), pem!("p256-next"), pem!("p256-renewed"), pem!("rsa"), pem!("wildcard"), pem!("other-host")];
const WAITING: [&str; 3] = ["certs/a.pem", "certs/b", "certs"];
const SIGNED: [SignedState; 2] = [SignedState::Signed, SignedState::Unsigned];

/// A world and what is kept of its plans.
struct Kept {
    world: World,
    now: u64,
    state: State,
    plans: Plans,
    /// The records and the lagging owners of the last plan that was taken.
    before: Option<(World, BTreeSet<Name>)>,
}

#[derive(Clone, Debug)]
enum Event {
    Write(usize, usize),
    Remove(usize),
    Waiting(usize, bool),
    Mx(usize, usize),
    NullMx(usize),
    NoMx(usize),
    Address(usize, Option<usize>),
    Cname(usize, bool),
    Dkim(usize, Option<bool>),
    DkimCname(usize, usize),
    HandWritten(usize, bool),
    Lags(usize, bool),
    Signed(usize),
    Presigned(bool),
    Enabled(bool),
    Ttl(u32),
    Service(bool),
    Cut(bool),
    Zone(bool),
    Elsewhere(usize, Option<usize>),
    Resolved(usize, usize),
    Withdraw(usize, bool),
    Clock(u64),
    Wait(u64),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let (domain, host, file) = (0..DOMAINS.len(), 0..HOSTS.len(), 0..FILES.len());
    let of_host = || (0..HOSTS.len(), any::<bool>());
    prop_oneof![
        4 => (file.clone(), 0..PEMS.len()).prop_map(|(file, pem)| Event::Write(file, pem)),
        2 => file.prop_map(Event::Remove),
        1 => (0..WAITING.len(), any::<bool>()).prop_map(|(path, is)| Event::Waiting(path, is)),
        4 => (domain.clone(), host).prop_map(|(domain, host)| Event::Mx(domain, host)),
        1 => domain.clone().prop_map(Event::NullMx),
        1 => domain.clone().prop_map(Event::NoMx),
        3 => (0..HOSTS.len(), proptest::option::of(0..2usize)).prop_map(|(host, which)| Event::Address(host, which)),
        1 => of_host().prop_map(|(host, is)| Event::Cname(host, is)),
        2 => (domain.clone(), proptest::option::of(any::<bool>())).prop_map(|(domain, is)| Event::Dkim(domain, is)),
        1 => (domain.clone(), domain).prop_map(|(domain, other)| Event::DkimCname(domain, other)),
        1 => of_host().prop_map(|(host, is)| Event::HandWritten(host, is)),
        1 => of_host().prop_map(|(host, is)| Event::Lags(host, is)),
        1 => (0..SIGNED.len()).prop_map(Event::Signed),
        1 => any::<bool>().prop_map(Event::Presigned),
        1 => any::<bool>().prop_map(Event::Enabled),
        1 => (1u32..9000).prop_map(Event::Ttl),
        1 => any::<bool>().prop_map(Event::Service),
        1 => any::<bool>().prop_map(Event::Cut),
        1 => any::<bool>().prop_map(Event::Zone),
        1 => (0..ELSEWHERE.len(), proptest::option::of(0..HOSTS.len()))
            .prop_map(|(domain, host)| Event::Elsewhere(domain, host)),
        2 => (0..ELSEWHERE.len(), 0..3usize).prop_map(|(domain, how)| Event::Resolved(domain, how)),
        2 => of_host().prop_map(|(host, is)| Event::Withdraw(host, is)),
        1 => (0u64..6_000_000_000).prop_map(Event::Clock),
        6 => (0u64..700).prop_map(Event::Wait),
        1 => Just(Event::Restart),
    ]
}

/// Changes what the zones have; false where the event is about something else.
fn change_records(world: &mut World, event: &Event) -> bool {
    let set = |world: &mut World, owner: &str, rtype: Rtype, rdata: Option<&[u8]>| {
        world.records.remove(&(name(owner), rtype));
        rdata.into_iter().for_each(|rdata| world.put(owner, rtype, rdata));
    };
    let selector = |domain: usize| format!("s1._domainkey.{}", DOMAINS[domain]);
    match *event {
        Event::Mx(domain, host) => world.mx(DOMAINS[domain], HOSTS[host]),
        Event::NullMx(domain) => set(world, DOMAINS[domain], Rtype::MX, Some(&[0, 0, 0])),
        Event::NoMx(domain) => set(world, DOMAINS[domain], Rtype::MX, None),
        Event::Address(host, which) => {
            set(world, HOSTS[host], Rtype::A, which.map(|which| &ADDRESSES[which][..]));
        }
        Event::Cname(host, is) => {
            set(world, HOSTS[host], Rtype::CNAME, is.then(|| name(HOSTS[0])).as_ref().map(Name::as_wire));
        }
        Event::Dkim(domain, good) => {
            set(world, &selector(domain), Rtype::TXT, None);
            if let Some(good) = good {
                world.txt(&selector(domain), if good { "v=DKIM1; p=AAAA" } else { "v=DKIM1; p=" });
            }
        }
        Event::DkimCname(domain, other) => {
            let target = name(&selector(other));
            set(world, &selector(domain), Rtype::CNAME, (domain != other).then(|| target.as_wire()));
        }
        Event::HandWritten(host, is) => {
            let tlsa = Tlsa::from_chain(&super::chain(PEMS[0]), Default::default()).expect("one").rdata();
            set(world, &format!("_25._tcp.{}", HOSTS[host]), Rtype::TLSA, is.then_some(&tlsa[..]));
        }
        _ => return false,
    }
    true
}

/// Changes what is neither of records nor of the state. True where it can be about everything.
fn change_others(world: &mut World, event: &Event) -> bool {
    let forget = |world: &mut World, file: usize| {
        world.certificates.seen.retain(|sighting| sighting.source != FILES[file]);
    };
    match *event {
        Event::Write(file, pem) => world.see(PEMS[pem], FILES[file]),
        Event::Remove(file) => forget(world, file),
        Event::Waiting(path, true) => drop(world.certificates.waiting.insert(WAITING[path].to_owned())),
        Event::Waiting(path, false) => drop(world.certificates.waiting.remove(WAITING[path])),
        Event::Lags(host, true) => drop(world.lagging.insert(owner(host))),
        Event::Lags(host, false) => drop(world.lagging.remove(&owner(host))),
        Event::Signed(which) => world.signed = SIGNED[which].clone(),
        Event::Presigned(is) => world.presigned = is,
        Event::Enabled(is) => world.config.server.enabled = is,
        Event::Ttl(ttl) => world.config.server.ttl = ttl,
        Event::Service(is) => {
            let host = name("www.example.net");
            let service = ServiceConfig { host, port: 443, protocol: Protocol::Tcp, parameters: None, ttl: None };
            world.config.services = is.then_some(service).into_iter().collect();
        }
        Event::Cut(is) => world.cuts = is.then(|| name("a.example.org")).into_iter().collect(),
        Event::Zone(is) => {
            world.zones = ["example.org", "example.net"][..1 + usize::from(is)].iter().map(|zone| name(zone)).collect();
        }
        Event::Elsewhere(domain, host) => {
            world.config.elsewhere.remove(&name(ELSEWHERE[domain]));
            let hosts = host.map(|host| DomainDane { hosts: vec![name(HOSTS[host])], ..DomainDane::default() });
            world.config.elsewhere.extend(hosts.map(|hosts| (name(ELSEWHERE[domain]), hosts)));
        }
        Event::Resolved(domain, how) => {
            let fact = [Fact::held("seen"), Fact::not_checked("why"), Fact::new(Verdict::Missing, "not there", "")];
            let mx = Ok(vec![name(HOSTS[how])]);
            let resolved = Resolved { mx, dnssec: fact[0].clone(), dkim: fact[how].clone() };
            world.resolved.insert(name(ELSEWHERE[domain]), resolved);
        }
        _ => {}
    }
    matches!(event, Event::Enabled(_) | Event::Ttl(_) | Event::Service(_) | Event::Cut(_) | Event::Zone(_))
        || matches!(event, Event::Elsewhere(..))
}

fn owner(host: usize) -> Name {
    Service::smtp(name(HOSTS[host])).owner().expect("short")
}

fn copy(world: &World) -> World {
    World {
        zones: Vec::new(),
        cuts: Vec::new(),
        records: world.records.clone(),
        signed: SignedState::Signed,
        presigned: false,
        lagging: BTreeSet::new(),
        config: Default::default(),
        certificates: Default::default(),
        led: Default::default(),
        resolved: world.resolved.clone(),
        whole: true,
    }
}

impl Kept {
    fn new() -> Kept {
        let mut world = World::new();
        world.zones.push(name("example.net"));
        Kept { world, now: START, state: State::default(), plans: Plans::default(), before: None }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Clock(time) => self.now = *time,
            Event::Wait(seconds) => self.now += seconds,
            Event::Withdraw(host, is) => {
                let host = name(HOSTS[*host]);
                let owners = if *is { self.state.withdraw(&host) } else { self.state.restore(&host) };
                if !owners.is_empty() {
                    self.plans.disturb(&host);
                }
            }
            Event::Restart => {
                (self.state, self.plans, self.before) = (stored(&self.state), Plans::default(), None);
            }
            _ => {
                if !change_records(&mut self.world, event) && change_others(&mut self.world, event) {
                    self.before = None;
                }
            }
        }
    }

    fn touched(&self) -> Touched {
        let Some((before, lagged)) = &self.before else { return Touched::all() };
        let (old, new) = (&before.records, &self.world.records);
        let differ = old.iter().filter(|(key, rrset)| new.get(*key) != Some(*rrset));
        let differ = differ.chain(new.iter().filter(|(key, _)| !old.contains_key(*key)));
        let names = differ.map(|((owner, _), _)| owner).chain(lagged.symmetric_difference(&self.world.lagging));
        let seen =
            self.world.resolved.iter().filter(|(domain, resolved)| before.resolved.get(*domain) != Some(*resolved));
        let names = names.chain(seen.map(|(domain, _)| domain));
        Touched { names: names.cloned().collect(), everything: false }
    }

    fn step(&self) -> Step {
        self.plans.step(self.world.input(self.now), &self.state, &self.touched())
    }

    fn is_as_anew(&self, step: &Step) -> bool {
        self.plans.is_as_anew(step, self.world.input(self.now), &self.state)
    }

    fn take(&mut self, step: Step) {
        step.hosts.iter().for_each(|(host, replanned)| {
            if replanned.is_new_state {
                self.state.put(host, replanned.plan.state.clone());
            }
        });
        self.before = Some((copy(&self.world), self.world.lagging.clone()));
        self.plans.take(step, self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_kept_is_what_planning_anew_gives(
        events in proptest::collection::vec((event(), proptest::bool::weighted(0.7), proptest::bool::weighted(0.9)), 1..60),
    ) {
        let mut kept = Kept::new();
        for (event, is_planned, is_stored) in events {
            kept.apply(&event);
            if is_planned {
                let step = kept.step();
                prop_assert!(kept.is_as_anew(&step), "{event:?}: {:?}", step.hosts.keys());
                // What can't be stored is not taken.
                if is_stored {
                    kept.take(step);
                }
            }
        }
    }
}

/// Planned until nothing is planned any more.
fn calm() -> Kept {
    let mut kept = Kept::new();
    for domain in [DOMAINS[0], DOMAINS[1], DOMAINS[3]] {
        kept.world.mx(domain, &format!("mail.{domain}"));
        kept.world.put(&format!("mail.{domain}"), Rtype::A, &ADDRESSES[0]);
    }
    kept.world.see(PEMS[0], FILES[0]);
    for _ in 0..3 {
        kept.take(kept.step());
    }
    assert!(kept.step().hosts.is_empty());
    kept
}

fn hosts(step: &Step) -> Vec<String> {
    step.hosts.keys().map(Name::to_host).collect()
}

#[test]
fn a_change_costs_what_it_concerns() {
    let mut kept = calm();
    kept.now += 60;
    kept.apply(&Event::Address(0, Some(1)));
    assert_eq!(hosts(&kept.step()), ["mail.example.org"]);
    kept.take(kept.step());
    kept.take(kept.step());
    kept.apply(&Event::Write(0, 1));
    assert_eq!(hosts(&kept.step()), ["mail.example.org"]);
    let mut kept = calm();
    kept.apply(&Event::Dkim(3, Some(true)));
    assert_eq!(hosts(&kept.step()), ["mail.example.net"]);
    kept.take(kept.step());
    kept.take(kept.step());
    kept.apply(&Event::Mx(3, 1));
    assert_eq!(hosts(&kept.step()), ["mail.example.net", "Mx.example.org"]);
}

#[test]
fn the_check_of_what_is_kept_can_fail() {
    let mut kept = calm();
    kept.apply(&Event::Address(0, Some(1)));
    assert!(kept.is_as_anew(&kept.step()));
    let unaware = kept.plans.step(kept.world.input(kept.now), &kept.state, &Touched::default());
    assert!(!kept.is_as_anew(&unaware));
}
