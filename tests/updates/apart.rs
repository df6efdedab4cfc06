//! Where danelaw and BIND differ, which rule is kept; and what is left out of the generated requests since both do the same in a way of
//! their own.

use std::collections::BTreeSet;
use std::slice::from_ref;

use danelaw::dns::{Name, Rtype};
use danelaw::zone::Contents;

use super::bind::Bind;
use super::common;
use super::common::wire::Rr;
use super::generate::{TEXT, ZONE, zone};
use super::message::{ANY, IN, Message, NONE, Raw};
use super::sequences::{apply, records};

const NOERROR: u8 = 0;
const FORMERR: u8 = 1;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const NXRRSET: u8 = 8;
const NOTZONE: u8 = 10;

/// The same zone at both.
struct Both {
    bind: Bind,
    contents: Contents,
    id: u16,
}

impl Both {
    fn start() -> Both {
        Both { bind: Bind::start(&zone(), TEXT), contents: common::zone(ZONE, TEXT), id: 0 }
    }

    /// What danelaw and BIND answer.
    fn send(&mut self, prerequisites: &[Raw], updates: &[Raw]) -> (u8, u8) {
        let mut message = Message::new(&zone(), prerequisites.to_vec(), updates.to_vec());
        self.id += 1;
        message.id = self.id;
        let octets = message.octets();
        (apply(&mut self.contents, &octets).0, self.bind.update(&octets))
    }

    /// The serial at danelaw and at BIND, once all else is the same.
    fn serials(&self) -> (u32, u32) {
        let split = |records: BTreeSet<Rr>| {
            let (soa, rest): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.rtype == 6);
            let serial = soa[0].rdata[soa[0].rdata.len() - 20..].first_chunk().unwrap();
            (u32::from_be_bytes(*serial), rest)
        };
        let ((ours, our_rest), (theirs, their_rest)) = (split(records(&self.contents)), split(self.bind.zone()));
        assert_eq!(our_rest, their_rest);
        (ours, theirs)
    }
}

fn raw(owner: &str, rtype: Rtype, class: u16, ttl: u32, rdata: &[u8]) -> Raw {
    let owner = Name::parse(owner, Some(&zone())).unwrap();
    Raw { owner, rtype: rtype.0, class, ttl, rdata: rdata.to_vec() }
}

fn add(owner: &str, rtype: Rtype, rdata: &[u8]) -> Raw {
    raw(owner, rtype, IN, 300, rdata)
}

fn delete(owner: &str, rtype: Rtype) -> Raw {
    raw(owner, rtype, ANY, 0, &[])
}

/// RFC 2136 section 3.4.2.2 has rules for changes of the apex's SOA and NS, and BIND follows them. Here they come from the zone file and
/// the signer alone.
#[test]
fn the_apex_soa_and_ns_are_not_for_updates() {
    let mut both = Both::start();
    let ns = common::name("ns2.elsewhere.test.");
    let soa = [ns.as_wire(), ns.as_wire(), &[0, 0, 1, 0], &[0; 16]].concat();
    let old_ns = common::name("ns.elsewhere.test.");
    for (change, bind) in [
        (delete("@", Rtype::SOA), NOERROR),
        (delete("@", Rtype::NS), NOERROR),
        (raw("@", Rtype::NS, NONE, 0, old_ns.as_wire()), NOERROR),
        (raw("@", Rtype::SOA, NONE, 0, &soa), NOERROR),
        (add("@", Rtype::NS, ns.as_wire()), NOERROR),
        (add("@", Rtype::SOA, &soa), NOERROR),
    ] {
        let before = both.contents.clone();
        assert_eq!(both.send(&[], from_ref(&change)), (REFUSED, bind), "{change:?}");
        assert_eq!(both.contents, before);
    }
}

/// RFC 2136 section 3.4.2.3.
#[test]
fn deleting_all_at_the_apex_leaves_soa_and_ns_at_both() {
    let mut both = Both::start();
    assert_eq!(both.send(&[], &[delete("@", Rtype::ANY)]), (NOERROR, NOERROR));
    assert_eq!(both.serials(), (2, 2));
    let left: Vec<Rtype> = both.contents.node(&zone()).unwrap().sets().map(|set| set.rtype).collect();
    assert_eq!(left, [Rtype::NS, Rtype::SOA]);
}

/// Of the types of DNSSEC BIND refuses what an update of a signed zone can't mean; danelaw, which has the keys, all of them.
#[test]
fn what_signing_is_made_of_is_not_for_updates() {
    let mut both = Both::start();
    let types = [
        (Rtype::NSEC, &b"\x01a\0\0\x01\x40"[..], REFUSED),
        (Rtype::NSEC3, b"\x01\0\0\0\0\x14aaaaaaaaaabbbbbbbbbb\0\x01\x40", REFUSED),
        (Rtype::RRSIG, b"\0\x01\x0d\x02\0\0\0\x09\x7f\0\0\0\x60\0\0\0\0\x01\x01a\0s", REFUSED),
        (Rtype::NSEC3PARAM, b"\x01\0\0\0\0", NOERROR),
        (Rtype::DNSKEY, b"\x01\x01\x03\x0dkey", NOERROR),
        (Rtype::CDNSKEY, b"\x01\x01\x03\x0dkey", NOERROR),
        (Rtype::CDS, b"\0\x01\x0d\x02aaaaaaaabbbbbbbbccccccccdddddddd", NOERROR),
    ];
    // One that an NSEC3 record could have: BIND reads no other.
    let owner = "0123456789abcdefghijklmnopqrstuv";
    for (rtype, rdata, bind) in types {
        assert_eq!(both.send(&[], &[delete(owner, rtype)]), (REFUSED, bind), "{rtype}");
        let before = both.contents.clone();
        let (ours, _) = both.send(&[], &[add(owner, rtype, rdata), add(owner, Rtype::TXT, b"\x01x")]);
        assert_eq!((ours, &both.contents), (REFUSED, &before), "{rtype}: all or nothing");
    }
}

/// RFC 2136 section 3.2.3: a set has each record once. BIND counts them.
#[test]
fn a_record_that_is_twice_in_the_prerequisites_is_in_the_set_once() {
    let mut both = Both::start();
    let there = raw("mail", Rtype::A, IN, 0, &[192, 0, 2, 1]);
    assert_eq!(both.send(from_ref(&there), &[]), (NOERROR, NOERROR));
    assert_eq!(both.send(&[there.clone(), there], &[]), (NOERROR, NXRRSET));
}

/// RFC 2136 section 3.2 checks one prerequisite after the other. Here what is malformed is told first, wherever it stands; BIND does so
/// with the update section alone, and RFC 2136 section 3.4.1 with none.
#[test]
fn a_fault_is_told_before_what_does_not_hold() {
    let mut both = Both::start();
    let fails = delete("nowhere", Rtype::ANY);
    let outside = raw("elsewhere.test.", Rtype::ANY, ANY, 0, &[]);
    assert_eq!(both.send(from_ref(&fails), &[]), (NXDOMAIN, NXDOMAIN));
    assert_eq!(both.send(from_ref(&fails), from_ref(&outside)), (NOTZONE, NOTZONE));
    assert_eq!(both.send(&[fails, outside], &[]), (NOTZONE, NXDOMAIN));
}

/// RFC 2181 section 8. BIND keeps it as it comes.
#[test]
fn a_ttl_with_the_top_bit_set_is_zero() {
    let mut both = Both::start();
    assert_eq!(both.send(&[], &[raw("c", Rtype::TXT, IN, 0x8000_0001, b"\x01x")]), (NOERROR, NOERROR));
    let ttl = |records: BTreeSet<Rr>| records.into_iter().find(|record| record.owner.starts_with("c.")).unwrap().ttl;
    assert_eq!((ttl(records(&both.contents)), ttl(both.bind.zone())), (0, 0x8000_0001));
}

/// RFC 4035 section 2.4: DS stands at delegations. Both take it away elsewhere, BIND with a new serial for no change.
#[test]
fn ds_records_come_and_go_with_a_delegation() {
    let mut both = Both::start();
    let ds = [&[0, 7, 13, 2][..], &[7; 32]].concat();
    assert_eq!(both.send(&[], &[add("c", Rtype::DS, &ds)]), (NOERROR, NOERROR));
    assert_eq!(both.serials(), (1, 2));
    assert_eq!(both.send(&[], &[add("@", Rtype::DS, &ds)]), (NOERROR, NOERROR));
    assert_eq!(both.serials(), (1, 2), "RFC 4035 section 2.4: nor at the apex");
    let server = common::name("ns.elsewhere.test.");
    let delegated = [add("c", Rtype::DS, &ds), add("c", Rtype::NS, server.as_wire())];
    assert_eq!(both.send(&[], &delegated), (NOERROR, NOERROR));
    assert!(both.contents.has(&common::name("c.update.example."), Rtype::DS));
    assert_eq!(both.serials(), (2, 3));
    assert_eq!(both.send(&[], &[delete("c", Rtype::NS)]), (NOERROR, NOERROR));
    assert!(both.contents.node(&common::name("c.update.example.")).is_none());
    assert_eq!(both.serials(), (3, 4));
}

/// RFC 4343 section 4: names are the same in any case. BIND takes over how an owner is written now, with a new serial.
#[test]
fn an_owner_in_another_case_is_no_change() {
    let mut both = Both::start();
    assert_eq!(both.send(&[], &[add("MAIL", Rtype::A, &[192, 0, 2, 1])]), (NOERROR, NOERROR));
    assert_eq!(both.serials(), (1, 2));
}

/// Below a delegation is glue; below a DNAME is nothing that anybody sees (RFC 6672 section 5.2). RFC 2136 section 3.4.1.2 asks whether
/// a name is in the zone, and takes both for it.
#[test]
fn what_a_cut_or_a_dname_hides_is_in_the_zone() {
    let mut both = Both::start();
    let changes = [
        add("ns.cut", Rtype::AAAA, &[1; 16]),
        add("deep.ns.cut", Rtype::TXT, b"\x01x"),
        add("under.dn", Rtype::TXT, b"\x01x"),
        add("z", Rtype::DNAME, b"\x01x\0"),
    ];
    assert_eq!(both.send(&[], &changes), (NOERROR, NOERROR));
    assert_eq!(both.serials(), (2, 2));
    let below = Name::parse("y.z", Some(&zone())).unwrap();
    assert!(both.contents.has(&below, Rtype::A), "a DNAME hides, and takes nothing away");
    assert_eq!(both.send(&[delete("under.dn", Rtype::TXT)], &[delete("under.dn", Rtype::ANY)]), (NOERROR, NOERROR));
    assert_eq!(both.serials(), (3, 3));
}

/// What can be no record where it would come is passed over (RFC 2136 section 3.4.2.2), what can be none anywhere is an error.
#[test]
fn every_type_meets_the_same_fate_at_both() {
    let mut both = Both::start();
    // Unknown types to both of them, and what is no type of records.
    for rtype in (110..=255).chain(262..=300).chain([1234, 65_279, 65_400]).map(Rtype) {
        let (ours, theirs) = both.send(&[], &[delete("c", rtype)]);
        let expected = if rtype == Rtype::ANY || !rtype.is_meta() { NOERROR } else { FORMERR };
        assert_eq!((ours, theirs), (expected, expected), "{rtype}");
        let (ours, theirs) = both.send(&[], &[add("c", rtype, &[0; 3])]);
        let expected = if rtype.is_meta() { FORMERR } else { NOERROR };
        assert_eq!((ours, theirs), (expected, expected), "{rtype}");
    }
    both.serials();
    for rtype in [3, 4].map(Rtype) {
        assert_eq!(both.send(&[], &[add("y.z", rtype, b"\x01x\0")]), (NOERROR, NOERROR), "RFC 1123 section 6.1.2");
    }
    both.serials();
}
