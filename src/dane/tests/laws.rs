//! The laws under any order of events: certificates that come, change and go, prerequisites that flap, clocks that jump,
//! a restart between any two steps.

use proptest::prelude::*;

use super::world::World;
use super::{chain, name, pem};
use crate::dane::explain::Status;
use crate::dane::prerequisites::SignedState;
use crate::dane::publication::Reason;
use crate::dane::state::State;
use crate::dane::{Chain, Tlsa};
use crate::dns::{RRset, Rtype};

const FILES: [&str; 2] = ["certs/a.pem", "certs/b.pem"];
const PEMS: [&str; 5] = [pem!("p256"), pem!("p256-next"), pem!("p256-renewed"), pem!("rsa"), pem!("ed25519")];

#[derive(Clone, Debug)]
enum Event {
    Write(usize, usize),
    Remove(usize),
    HalfWritten(usize),
    Mx(bool),
    Dkim(bool),
    Checkable(bool),
    Clock(u64),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..FILES.len(), 0..PEMS.len()).prop_map(|(file, pem)| Event::Write(file, pem)),
        1 => (0..FILES.len()).prop_map(Event::Remove),
        1 => (0..FILES.len()).prop_map(Event::HalfWritten),
        1 => any::<bool>().prop_map(Event::Mx),
        1 => any::<bool>().prop_map(Event::Dkim),
        1 => any::<bool>().prop_map(Event::Checkable),
        1 => (0u64..4_000_000_000).prop_map(Event::Clock),
        4 => (1u64..700).prop_map(Event::Wait),
    ]
}

fn apply(world: &mut World, event: &Event, now: &mut u64) {
    let forget = |world: &mut World, file: &str| {
        world.certificates.seen.retain(|sighting| sighting.source != file);
        world.certificates.waiting.remove(file);
    };
    match event {
        Event::Write(file, pem) => {
            forget(world, FILES[*file]);
            world.see(PEMS[*pem], FILES[*file]);
        }
        Event::Remove(file) => forget(world, FILES[*file]),
        Event::HalfWritten(file) => {
            forget(world, FILES[*file]);
            world.certificates.waiting.insert(FILES[*file].to_owned());
        }
        Event::Mx(there) => {
            world.records.remove(&(name("example.org"), Rtype::MX));
            if *there {
                world.mx("example.org", "mail.example.org");
            }
        }
        Event::Dkim(there) => {
            world.records.remove(&(name("s1._domainkey.example.org"), Rtype::TXT));
            if *there {
                world.txt("s1._domainkey.example.org", "v=DKIM1; p=AAAA");
            }
        }
        Event::Checkable(is) => {
            world.signed = if *is { SignedState::Signed } else { SignedState::Unknown("no keys".to_owned()) };
        }
        Event::Clock(time) => *now = *time,
        Event::Wait(seconds) => *now += seconds,
    }
}

/// RFC 7671 section 8, by the letter.
fn validates(rrset: &RRset, chain: &Chain) -> bool {
    let records: Vec<Tlsa> = rrset.rdatas.iter().filter_map(|rdata| Tlsa::from_rdata(rdata)).collect();
    records.iter().all(|one| records.iter().any(|other| other.parameters == one.parameters && other.matches(chain)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn the_laws_hold_under_any_order_of_events(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        world.config.server.parameters = ["3 1 1", "3 0 2"].map(|text| text.parse().expect(text)).to_vec();
        let (mut state, mut now) = (State::default(), 1_800_000_000);
        let mut served: Option<RRset> = None;
        let mut presented: Vec<Chain> = Vec::new();
        let mut lost_for = 0;
        for event in events {
            let before = now;
            apply(&mut world, &event, &mut now);
            let holds = world.rrset_exists("example.org", Rtype::MX)
                && world.rrset_exists("s1._domainkey.example.org", Rtype::TXT);
            lost_for = if holds { 0 } else { lost_for + now.saturating_sub(before) };
            let plan = world.plan(&state, now);
            let planned = plan.owners.iter().find(|planned| planned.owner == name("_25._tcp.mail.example.org"));
            let rrset = planned.and_then(|planned| planned.rrset.clone());
            if let Some(rrset) = &rrset {
                // Law 1: what is seen now, and what was seen just before, matches under each parameter set.
                let seen = world.certificates.seen.iter().map(|sighting| &sighting.chain);
                for chain in seen.chain(served.iter().flat_map(|_| &presented)) {
                    prop_assert!(validates(rrset, chain), "{event:?}: {chain:?}");
                }
            } else if served.is_some() {
                // Law 2: only a proven loss that lasted takes it away.
                let status = planned.map(|planned| planned.explanation.status.clone());
                prop_assert_eq!(status, Some(Status::Withheld(Reason::Lost)), "{:?}", event);
                prop_assert!(lost_for >= 3600, "{event:?}: {lost_for}");
            }
            presented = world.certificates.seen.iter().map(|sighting| sighting.chain.clone()).collect();
            (served, state) = (rrset, plan.state);
        }
    }
}

#[test]
fn the_check_of_the_laws_can_fail() {
    let rrset =
        RRset::new(Rtype::TLSA, 60, Tlsa::from_chain(&chain(PEMS[0]), Default::default()).expect("one").rdata());
    assert!(validates(&rrset, &chain(PEMS[0])) && validates(&rrset, &chain(PEMS[2])));
    assert!(!validates(&rrset, &chain(PEMS[1])));
}
