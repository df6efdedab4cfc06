//! What a message says, and what is said of one that says nothing: rule by rule, and with octets that are nothing at all.

use std::slice::from_ref;

use proptest::prelude::*;

use super::super::{Grant, decide};
use super::*;
use crate::zone::Contents;

const ZONE: &[u8] = b"\x07example\0";
/// `mail.example.`, its end a pointer to the zone's name.
const MAIL: &[u8] = b"\x04mail\xc0\x0c";
const OUTSIDE: &[u8] = b"\x04mail\0";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn record(owner: &[u8], rtype: Rtype, class: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let length = (rdata.len() as u16).to_be_bytes();
    [owner, &rtype.0.to_be_bytes(), &class.to_be_bytes(), &ttl.to_be_bytes(), &length, rdata].concat()
}

fn question(rtype: Rtype, class: u16) -> Vec<u8> {
    [ZONE, &rtype.0.to_be_bytes(), &class.to_be_bytes()].concat()
}

fn message(zones: &[Vec<u8>], prerequisites: &[Vec<u8>], updates: &[Vec<u8>], additional: &[Vec<u8>]) -> Vec<u8> {
    let sections = [zones, prerequisites, updates, additional];
    let mut out = vec![0, 7, UPDATE, 0];
    sections.iter().for_each(|section| out.extend_from_slice(&(section.len() as u16).to_be_bytes()));
    sections.iter().for_each(|section| out.extend(section.concat()));
    out
}

fn request(prerequisites: &[Vec<u8>], updates: &[Vec<u8>]) -> Result<Request, Rcode> {
    Request::read(&message(&[question(Rtype::SOA, CLASS_IN)], prerequisites, updates, &[]))
}

fn set(rtype: Rtype, rdatas: &[&[u8]]) -> RRset {
    RRset { rtype, ttl: 0, rdatas: rdatas.iter().map(|rdata| (*rdata).into()).collect() }
}

#[test]
fn every_form_of_prerequisite_is_read() {
    let read = request(
        &[
            record(MAIL, Rtype::TXT, CLASS_IN, 0, b"\x01b"),
            record(MAIL, Rtype::ANY, CLASS_ANY, 0, &[]),
            record(MAIL, Rtype::MX, CLASS_ANY, 0, &[]),
            record(ZONE, Rtype::ANY, CLASS_NONE, 0, &[]),
            record(ZONE, Rtype(65_400), CLASS_NONE, 0, &[]),
            record(MAIL, Rtype::MX, CLASS_IN, 0, b"\0\x0a\x04Mail\xc0\x0c"),
            record(b"\x04MAIL\x07EXAMPLE\0", Rtype::TXT, CLASS_IN, 0, b"\x01a"),
            record(MAIL, Rtype::TXT, CLASS_IN, 0, b"\x01a"),
        ],
        &[],
    )
    .unwrap();
    assert_eq!((read.zone, read.updates), (name("example."), Vec::new()));
    let mail = name("mail.example.");
    assert_eq!(
        read.prerequisites,
        [
            Prerequisite::InUse(mail.clone()),
            Prerequisite::Exists(mail.clone(), Rtype::MX),
            Prerequisite::NotInUse(name("example.")),
            Prerequisite::ExistsNot(name("example."), Rtype(65_400)),
            Prerequisite::Equals(mail.clone(), set(Rtype::MX, &[b"\0\x0a\x04Mail\x07example\0"])),
            Prerequisite::Equals(mail, set(Rtype::TXT, &[b"\x01a", b"\x01b"])),
        ]
    );
}

#[test]
fn every_form_of_update_is_read() {
    let read = request(
        &[],
        &[
            record(MAIL, Rtype::CNAME, CLASS_IN, 300, b"\xc0\x0c"),
            record(MAIL, Rtype::A, CLASS_ANY, 0, &[]),
            record(MAIL, Rtype::ANY, CLASS_ANY, 0, &[]),
            record(MAIL, Rtype::A, CLASS_NONE, 0, &[192, 0, 2, 1]),
            record(ZONE, Rtype(65_400), CLASS_IN, 1 << 31, &[]),
        ],
    )
    .unwrap();
    let mail = name("mail.example.");
    let add = |owner: &str, ttl, rtype, rdata: &[u8]| {
        Change::Add(Record { owner: name(owner), ttl, rtype, rdata: rdata.into() })
    };
    assert_eq!(
        read.updates,
        [
            add("mail.example.", 300, Rtype::CNAME, ZONE),
            Change::DeleteRrset(mail.clone(), Rtype::A),
            Change::DeleteName(mail.clone()),
            Change::Delete(mail, Rtype::A, [192, 0, 2, 1].into()),
            add("example.", 0, Rtype(65_400), &[]),
        ]
    );
}

#[test]
fn the_zone_section_is_one_soa_of_class_in() {
    // RFC 2136 section 3.1.1.
    let soa = question(Rtype::SOA, CLASS_IN);
    let read = |zones: &[Vec<u8>]| Request::read(&message(zones, &[], &[], &[])).map(|request| request.zone);
    assert_eq!(read(from_ref(&soa)), Ok(name("example.")));
    assert_eq!(read(&[]), Err(Rcode::FormErr));
    assert_eq!(read(&[soa.clone(), soa]), Err(Rcode::FormErr));
    assert_eq!(read(&[question(Rtype::NS, CLASS_IN)]), Err(Rcode::FormErr));
    // Section 3.1.2: there is no such zone here.
    assert_eq!(read(&[question(Rtype::SOA, 3)]), Err(Rcode::NotAuth));
}

#[test]
fn a_message_is_whole_and_an_update() {
    let good = message(
        &[question(Rtype::SOA, CLASS_IN)],
        &[],
        &[record(MAIL, Rtype::TXT, CLASS_IN, 0, b"\x01a")],
        &[record(b"\0", Rtype::OPT, 1232, 0, &[]), record(b"\x03key\0", Rtype::TSIG, CLASS_ANY, 0, &[1; 40])],
    );
    assert!(Request::read(&good).is_ok());
    for length in 0..good.len() {
        assert_eq!(Request::read(&good[..length]), Err(Rcode::FormErr), "cut to {length} octets");
    }
    assert_eq!(Request::read(&[&good[..], &[0]].concat()), Err(Rcode::FormErr));
    for opcode in [0, 4 << 3, QR | UPDATE] {
        let mut other = good.clone();
        other[2] = opcode;
        assert_eq!(Request::read(&other), Err(Rcode::FormErr));
    }
}

#[test]
fn prerequisites_are_checked_as_section_3_2_5_says() {
    for (expected, prerequisite) in [
        (Rcode::FormErr, record(MAIL, Rtype::ANY, CLASS_ANY, 1, &[])),
        (Rcode::FormErr, record(MAIL, Rtype::ANY, CLASS_NONE, 1, &[])),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, CLASS_IN, 1, b"\x01a")),
        (Rcode::FormErr, record(OUTSIDE, Rtype::TXT, CLASS_IN, 1, b"\x01a")),
        (Rcode::NotZone, record(OUTSIDE, Rtype::TXT, CLASS_IN, 0, b"\x01a")),
        (Rcode::NotZone, record(b"\x08xexample\0", Rtype::ANY, CLASS_ANY, 0, &[])),
        (Rcode::NotZone, record(OUTSIDE, Rtype::ANY, 3, 0, &[])),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, CLASS_ANY, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::ANY, CLASS_NONE, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, 3, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::A, CLASS_IN, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::A, CLASS_IN, 0, &[])),
    ] {
        assert_eq!(request(from_ref(&prerequisite), &[]), Err(expected), "{prerequisite:x?}");
    }
}

#[test]
fn updates_are_checked_as_section_3_4_1_3_says() {
    let metas = [0, 41, 128, 249, 250, 251, 252, 253, 254].map(Rtype);
    for (expected, update) in [
        (Rcode::NotZone, record(OUTSIDE, Rtype::ANY, CLASS_ANY, 1, &[])),
        (Rcode::NotZone, record(OUTSIDE, Rtype::TXT, CLASS_IN, 0, b"\x01a")),
        (Rcode::NotZone, record(OUTSIDE, Rtype::TXT, CLASS_NONE, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::ANY, CLASS_IN, 0, &[])),
        (Rcode::FormErr, record(MAIL, Rtype::ANY, CLASS_NONE, 0, &[])),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, CLASS_ANY, 1, &[])),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, CLASS_ANY, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, CLASS_NONE, 1, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::TXT, 3, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::A, CLASS_IN, 0, b"\x01a")),
        (Rcode::FormErr, record(MAIL, Rtype::A, CLASS_NONE, 0, b"\x01a")),
    ] {
        assert_eq!(request(&[], from_ref(&update)), Err(expected), "{update:x?}");
    }
    for (rtype, class) in metas.into_iter().flat_map(|rtype| [CLASS_IN, CLASS_ANY, CLASS_NONE].map(|c| (rtype, c))) {
        assert_eq!(request(&[], &[record(MAIL, rtype, class, 0, &[])]), Err(Rcode::FormErr), "{rtype} {class}");
    }
}

#[test]
fn the_first_fault_is_the_one_that_is_told() {
    let outside = record(OUTSIDE, Rtype::TXT, CLASS_IN, 0, b"\x01a");
    let malformed = record(MAIL, Rtype::TXT, 3, 0, b"\x01a");
    assert_eq!(request(from_ref(&outside), from_ref(&malformed)), Err(Rcode::NotZone));
    assert_eq!(request(from_ref(&malformed), from_ref(&outside)), Err(Rcode::FormErr));
    assert_eq!(request(&[], &[outside, malformed]), Err(Rcode::NotZone));
}

/// A good message to change octets of.
fn whole() -> Vec<u8> {
    message(
        &[question(Rtype::SOA, CLASS_IN)],
        &[record(MAIL, Rtype::ANY, CLASS_ANY, 0, &[]), record(MAIL, Rtype::MX, CLASS_IN, 0, b"\0\x0a\x04mail\xc0\x0c")],
        &[
            record(MAIL, Rtype::NAPTR, CLASS_IN, 300, b"\0\x01\0\x02\x01S\x07SIP+D2U\0\xc0\x0c"),
            record(ZONE, Rtype::HTTPS, CLASS_NONE, 0, b"\x00\x01\x00\x00\x04\x00\x04\x7f\x00\x00\x01"),
            record(MAIL, Rtype::ANY, CLASS_ANY, 0, &[]),
        ],
        &[record(b"\0", Rtype::OPT, 1232, 0, &[])],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mangled_message_is_refused_or_means_something(
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xc0), 0..64u8]), 1..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut message = whole();
        for (index, octet) in changes {
            let at = index.index(message.len());
            message[at] = octet;
        }
        if cut {
            message.truncate(length.index(message.len()));
        }
        if let Ok(request) = Request::read(&message) {
            let everything = Grant::default();
            let contents = Contents::new(request.zone.clone());
            let _ = decide(&request, &contents, &[&everything].into_iter().collect(), &|_, _| false);
            for change in &request.updates {
                let (owner, rtype) = match change {
                    Change::Add(record) => (&record.owner, record.rtype),
                    Change::DeleteRrset(owner, rtype) | Change::Delete(owner, rtype, _) => (owner, *rtype),
                    Change::DeleteName(owner) => (owner, Rtype::A),
                };
                prop_assert!(owner.is_at_or_below(&request.zone) && !rtype.is_meta());
            }
        }
    }

    #[test]
    fn octets_that_are_no_message_are_refused(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Request::read(&octets);
    }
}
