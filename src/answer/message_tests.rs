//! Where an RRset begins in a message decides what it can point to.

use hickory_proto::op::Message as Decoded;

use super::*;
use crate::answer::query;
use crate::dns::{Name, Rtype};
use crate::zone::file::{NoIncludes, parse};
use crate::zone::sign::Draft;

const ZONE: &str = "\
@      IN SOA ns.example.org. host.example.org. 1 2 3 4 300
@      IN NS  ns.example.org.
fill   IN A 192.0.2.1
a.b    IN MX  1 mail.b.example.org.
a.b    IN MX  2 x.a.b.example.org.
a.b    IN MX  3 one.mail.example.net.
a.b    IN MX  4 two.mail.example.net.
a.b    IN MX  5 example.org.
a.b    IN MX  6 .
*.b    IN MX  1 other.b.example.org.
";

fn zone() -> ZoneSnapshot {
    let origin: Name = "example.org.".parse().unwrap();
    let parsed = parse(&origin, "zone", ZONE.as_bytes(), &mut NoIncludes);
    let published = Draft::unsigned(&parsed.contents.unwrap()).unwrap().finish(1).unwrap();
    ZoneSnapshot::build(&published).unwrap()
}

fn find<'a>(zone: &'a ZoneSnapshot, name: &str, rtype: Rtype) -> Set<'a> {
    let name: Name = name.parse().unwrap();
    zone.published().tree.node(name.as_wire()).unwrap().set(rtype).unwrap()
}

/// The last records of a message whose MX RRset begins at `start` or a little later, under an owner given in two ways; and its length.
fn written(zone: &ZoneSnapshot, start: usize, set: &str, owner: Option<&str>) -> (Vec<String>, usize) {
    let question: Name = "a.b.example.org.".parse().unwrap();
    let packet = [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], question.as_wire(), &[0, 15, 0, 1]].concat();
    let query = query::parse(&packet).unwrap();
    let mut out = vec![0; 65_535];
    let mut message = Message::begin(&mut out, &query, Given::default());
    let place =
        Place { zone, apex: 0xc000 | (HEADER + question.as_wire().len() - zone.origin().as_wire().len()) as u16 };
    let fill = find(zone, "fill.example.org.", Rtype::A);
    while message.len() < start {
        assert!(message.put(
            Section::Answer,
            place,
            fill,
            Owner::at(QUESTION_POINTER, question.as_wire().len()),
            false
        ));
    }
    let name: Option<Name> = owner.map(|owner| owner.parse().unwrap());
    let owner = match &name {
        None => Owner::at(QUESTION_POINTER, question.as_wire().len()),
        Some(name) => Owner {
            labels: &name.as_wire()[..name.as_wire().len() - zone.origin().as_wire().len()],
            pointer: place.apex,
            len: name.as_wire().len(),
        },
    };
    let before = message.len();
    assert!(message.put(Section::Authority, place, find(zone, set, Rtype::MX), owner, false));
    let octets = message.len() - before;
    let len = message.finish();
    let decoded = Decoded::from_vec(&out[..len]).unwrap();
    (decoded.authorities.iter().map(|record| format!("{} {}", record.name, record.data)).collect(), octets)
}

#[test]
fn names_in_rdata_are_whole_wherever_the_rrset_begins() {
    let zone = zone();
    let targets = [
        "1 mail.b.example.org.",
        "2 x.a.b.example.org.",
        "3 one.mail.example.net.",
        "4 two.mail.example.net.",
        "5 example.org.",
        "6 .",
    ];
    let expected: Vec<String> = targets.iter().map(|target| format!("a.b.example.org. {target}")).collect();
    let near = written(&zone, 0, "a.b.example.org.", None);
    let far = written(&zone, POINTER_MAX + 1, "a.b.example.org.", None);
    assert!(near.1 < far.1, "{near:?} {far:?}");
    let near_the_ends = [0, REACH - 150, POINTER_MAX - 150].into_iter().flat_map(|from| (from..from + 200).step_by(16));
    for start in near_the_ends.chain([60_000]) {
        for owner in [None, Some("a.b.example.org.")] {
            let (records, _) = written(&zone, start, "a.b.example.org.", owner);
            assert_eq!(records, expected, "from {start} on, {owner:?}");
        }
        // A wildcard's records have other owners, of other lengths.
        for (owner, made) in [(None, "a.b"), (Some("long-label.c.b.example.org."), "long-label.c.b")] {
            let (records, _) = written(&zone, start, "*.b.example.org.", owner);
            assert_eq!(records, [format!("{made}.example.org. 1 other.b.example.org.")], "from {start} on");
        }
    }
}

#[test]
fn what_does_not_fit_leaves_no_trace() {
    let zone = zone();
    let packet = [&[0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x07example\x03org\0", &[0, 15, 0, 1]].concat();
    let query = query::parse(&packet).unwrap();
    let (place, fill) = (Place { zone: &zone, apex: QUESTION_POINTER }, find(&zone, "fill.example.org.", Rtype::A));
    let mut out = vec![0; POINTER_MAX + 400];
    let mut message = Message::begin(&mut out, &query, Given::default());
    while message.put(Section::Answer, place, fill, Owner::at(QUESTION_POINTER, 13), false) {}
    let before = message.len();
    let set = find(&zone, "a.b.example.org.", Rtype::MX);
    let owner = Owner { labels: b"\x01a\x01b", pointer: QUESTION_POINTER, len: 17 };
    assert!(!message.put(Section::Authority, place, set, owner, false));
    assert_eq!(message.len(), before);
}
