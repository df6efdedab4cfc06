//! Dynamic updates one after the other, two octets of length before each: what is allowed of them makes a zone that can be printed, read
//! again, signed and laid out, and the layer that keeps it makes the same of the zone's source.

use std::sync::LazyLock;

use danelaw::dns::{Name, Rtype};
use danelaw::update::{Grant, Request, decide, is_never_updated};
use danelaw::zone::sign::Policy;
use danelaw::zone::{Contents, Draft, Layer, NoIncludes, ZoneSnapshot, parse, print};

use super::signing::{NOW, Stamp, with_key, zone};

/// What is updated.
static SAID: LazyLock<Contents> = LazyLock::new(|| {
    let corners = include_str!("../../zones/corners.example.zone");
    zone("corners.example", corners)
});
/// More of them show nothing that a few don't.
const UPDATES: usize = 6;
/// Nobody else's, in a way that the requests can meet.
const SYNTHESISED: &[u8] = b"\x03_25\x04_tcp\x04mail\x07corners\x07example\x00";

/// Does them.
pub fn check(input: &[u8]) {
    let grant = Grant::default();
    let synthesised = Name::from_wire(SYNTHESISED).unwrap();
    let (mut contents, mut layer) = (SAID.clone(), Layer::default());
    for message in messages(input).take(UPDATES) {
        let Ok(request) = Request::read(message) else { continue };
        if request.zone != *SAID.origin() {
            continue;
        }
        let grants = [&grant].into_iter().collect();
        let is_synthesised = |owner: &Name, _| synthesised.is_at_or_below(owner) && owner.is_below(SAID.origin());
        let Ok(wanted) = decide(&request, &contents, &grants, &is_synthesised) else { continue };
        for (owner, rrset) in &wanted {
            let at_apex = owner == SAID.origin() && matches!(rrset.rtype, Rtype::SOA | Rtype::NS);
            let is_foreign = !owner.is_at_or_below(SAID.origin()) || *owner == synthesised;
            assert!(!at_apex && !is_foreign && !is_never_updated(rrset.rtype), "{owner} {}", rrset.rtype);
            assert_ne!(contents.rrset(owner, rrset.rtype).unwrap_or(empty(rrset.rtype)), *rrset, "{owner}: no change");
            layer.want(&SAID, owner, rrset);
            contents.replace(owner, rrset.clone());
        }
        let (composed, aside) = layer.over(&SAID);
        assert!(aside.is_empty(), "{aside:?}");
        same(&composed, &contents);
    }
    let text = print::print(&contents);
    let parsed = parse(SAID.origin(), "zone", text.as_bytes(), &mut NoIncludes);
    let read = parsed.contents.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    same(&read, &contents);
    let signers = [&Stamp as _];
    let contents = with_key(&contents, &Stamp);
    let draft = Draft::signed(&contents, &signers, None, Policy::default(), NOW).unwrap();
    ZoneSnapshot::build(&draft.finish(2).unwrap()).unwrap();
}

fn empty(rtype: Rtype) -> danelaw::dns::RRset {
    danelaw::dns::RRset { rtype, ttl: 0, rdatas: Vec::new() }
}

#[track_caller]
fn same(one: &Contents, other: &Contents) {
    let [one, other] = [one, other].map(|zone| print::print(zone).to_ascii_lowercase());
    assert!(one == other, "{one}\n{other}");
}

fn messages(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = input.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (message, rest) = rest.split_at(length);
        input = rest;
        Some(message)
    })
}
