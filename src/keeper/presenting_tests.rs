//! What each address of a mail server presents keeps its record there, and nothing that can't be asked keeps any for ever.

use std::net::IpAddr;

use super::outside_tests::{HOST, chain, hear, sees_at};
use super::tests::{CONFIG, DAY, NOW, Place, ZONE, name, tlsa};
use super::*;
use crate::dane::Chain;
use crate::dane::certificate::KeyType;
use crate::outside::{Failure, Fault, Seen};
use crate::store::State;

const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 25));
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25));
const BOTH: &str = "mail A 192.0.2.25\nmail AAAA 2001:db8::25\n";
const APART: u64 = 600;
/// For longer than a record stays.
const LOOKS: u64 = (DAY + 3600) / APART;

type Said = (IpAddr, u16, Option<KeyType>, Result<Chain, Fault>);

struct World {
    place: Place,
    config: String,
    keeper: Keeper,
    now: Timestamp,
}

impl World {
    /// A mail server at both addresses, whose first certificate is known and presented at one.
    fn new() -> (World, Chain) {
        let place = Place::new();
        place.zone("example.test", &ZONE.replace("mail A 192.0.2.25\n", BOTH));
        let config = format!("{CONFIG}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n")
            .replace("\"declared\"", "\"probed\"");
        let keeper = place.keeper(&config, NOW);
        let first = chain(&place, "mail.pem");
        let mut world = World { place, config, keeper, now: NOW };
        world.look(sees_at([(V4, 25, None, Ok(first.clone()))]));
        assert_eq!(tlsa(&world.keeper), 1);
        (world, first)
    }

    fn renewed(&mut self) -> Chain {
        self.place.certificate("mail.pem");
        self.now += 60;
        self.keeper.cycle(&Finished::All, self.now);
        chain(&self.place, "mail.pem")
    }

    fn look(&mut self, seen: Result<Seen, Failure>) {
        self.now += APART;
        hear(&mut self.keeper, seen, self.now);
    }

    /// The same is seen for so long; so many records are there then.
    fn looks(&mut self, seen: &Result<Seen, Failure>) -> usize {
        (0..LOOKS).for_each(|_| self.look(seen.clone()));
        tlsa(&self.keeper)
    }

    fn sees<const N: usize>(&mut self, said: [Said; N]) -> usize {
        self.looks(&sees_at(said))
    }

    fn stored(&self) -> Vec<State> {
        self.keeper.store.load_all("presented").unwrap()
    }

    fn restarted(self) -> World {
        let World { place, config, keeper, now } = self;
        keeper.close(now).unwrap();
        World { keeper: place.keeper(&config, now), place, config, now }
    }
}

fn incomplete(seen: Result<Seen, Failure>) -> Result<Seen, Failure> {
    let Ok(Seen::Host(mut host)) = seen else { panic!("{seen:?}") };
    host.incomplete = Some("why".to_owned());
    Ok(Seen::Host(host))
}

#[test]
fn an_address_that_no_way_leads_to_and_a_port_that_nobody_speaks_at_keep_no_record() {
    let (mut world, _) = World::new();
    for number in 0..4 {
        let new = world.renewed();
        assert_eq!(tlsa(&world.keeper), 2, "renewal {number}");
        let no_way = |port| (V6, port, None, Err(Fault::NoWayFromHere));
        let not_spoken = (V4, 5432, None, Err(Fault::NotSpokenHere));
        assert_eq!(world.sees([(V4, 25, None, Ok(new)), no_way(25), not_spoken, no_way(5432)]), 1, "{number}");
        world = world.restarted();
        assert_eq!(tlsa(&world.keeper), 1);
    }
}

#[test]
fn an_address_goes_when_the_zones_here_don_t_have_it_either() {
    let (mut world, old) = World::new();
    world.look(sees_at([(V4, 25, None, Ok(old.clone())), (V6, 25, None, Ok(old))]));
    let new = world.renewed();
    assert_eq!(world.sees([(V4, 25, None, Ok(new.clone())), (V6, 25, None, Err(Fault::NoWayFromHere))]), 2);
    assert_eq!(world.sees([(V4, 25, None, Ok(new.clone()))]), 2, "somebody leaves it out");
    world = world.restarted();
    world.place.zone("example.test", ZONE);
    let less = sees_at([(V4, 25, None, Ok(new))]);
    assert_eq!(world.looks(&incomplete(less.clone())), 2);
    assert_eq!(world.looks(&less), 1);
}

#[test]
fn a_certificate_of_the_other_key_type_goes_when_it_is_not_presented_to_who_asks_for_it() {
    let (mut world, old) = World::new();
    let both = |one: &Chain, other: &Chain| {
        sees_at([(V4, 25, None, Ok(one.clone())), (V4, 25, Some(KeyType::Rsa), Ok(other.clone()))])
    };
    let new = world.renewed();
    assert_eq!(world.looks(&both(&new, &old)), 2);
    let one = sees_at([(V4, 25, None, Ok(new))]);
    assert_eq!(world.looks(&incomplete(one.clone())), 2, "nobody knows whether it was asked for");
    assert_eq!(world.looks(&one), 1);
}

#[test]
fn certificates_that_nobody_here_knows_are_not_kept_and_take_none_away() {
    let (mut world, old) = World::new();
    let stored = world.stored();
    world.renewed();
    for _ in 0..LOOKS {
        let other = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let other = Chain::presented(&[other.cert.der()]).unwrap();
        world.look(sees_at([(V4, 25, None, Ok(other))]));
    }
    assert_eq!(tlsa(&world.keeper), 2);
    assert_eq!(world.stored(), stored);
    assert_eq!(stored.len(), 1);
    assert!(stored[0].json.contains(&old.leaf().fingerprint()), "{stored:?}");
}

#[test]
fn what_was_stored_without_where_goes_when_everything_was_seen() {
    let (mut world, old) = World::new();
    let new = world.renewed();
    world.look(sees_at([(V4, 25, None, Ok(new.clone()))]));
    let json = serde_json::to_string(&[old.leaf().fingerprint(), "00".repeat(32)]).unwrap();
    let key = name(HOST).to_string();
    world.keeper.store.save(&State { kind: "presented".to_owned(), key, version: 1, json }).unwrap();
    world = world.restarted();
    let one = || (V4, 25, None, Ok(new.clone()));
    assert_eq!(world.sees([one(), (V6, 25, None, Err(Fault::Refused))]), 2);
    world = world.restarted();
    assert_eq!(world.sees([one()]), 2, "where else it may be is not said");
    assert_eq!(world.sees([one(), (V6, 25, None, Ok(new.clone()))]), 1);
}
