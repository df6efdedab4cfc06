//! Catalog zones as a producer writes them (RFC 9432, version 2): a zone whose records say which zones there are.
//!
//! A member's label is made of its name alone, so it is the same in every catalog and at any time: a member that goes over to another
//! catalog keeps its state at consumers (section 4.3.1).

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::contents::{Builder, Contents};
use crate::dns::name::NameError;
use crate::dns::{Name, Record, Rtype};

/// The TTL of everything in it, in seconds: nobody caches it.
const TTL: u32 = 0;
/// Refresh, retry, expire and minimum, in seconds. What is not refreshed must not expire with all its members (RFC 9432 section 5.4).
const TIMERS: [u32; 4] = [3600, 600, i32::MAX as u32, 0];

/// What a catalog says of a zone besides its being there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// How consumers are to configure it (section 4.3.2), in the order that it is written in.
    pub groups: Vec<String>,
    /// The catalog that it may go over to (section 4.3.1).
    pub coo: Option<Name>,
    /// Another text gives another label, at which consumers begin anew with the zone (section 5.5).
    pub reset: String,
}

/// The zones of a catalog.
pub type Members = BTreeMap<Name, Member>;

/// A whole catalog with this serial. An error where its name leaves no room for members'.
pub fn contents(origin: &Name, serial: u32, members: &Members) -> Result<Contents, NameError> {
    let mut builder = Builder::new(origin.clone());
    let head = [
        record(origin, Rtype::SOA, soa(serial)?),
        record(origin, Rtype::NS, invalid()?.as_wire().into()),
        record(&origin.prepend(b"version")?, Rtype::TXT, text("2")),
    ];
    for one in head.iter().chain(&records_of_all(origin, members)?) {
        builder.insert(&one.owner, one.ttl, one.rtype, &one.rdata);
    }
    Ok(builder.finish())
}

/// The catalog with its `new` members in the place of the `old`, at the cost of what differs. None where it did not have those.
pub fn change(catalog: &Contents, old: &Members, new: &Members) -> Option<Contents> {
    let differs = |one: &Members, other: &Members| -> Members {
        let differs = |(zone, member): &(&Name, &Member)| other.get(*zone) != Some(member);
        one.iter().filter(differs).map(|(zone, member)| (zone.clone(), member.clone())).collect()
    };
    let records = |members: Members| records_of_all(catalog.origin(), &members).ok();
    let (removed, added) = (records(differs(old, new))?, records(differs(new, old))?);
    catalog.with(&removed, &added)
}

fn records_of_all(origin: &Name, members: &Members) -> Result<Vec<Record>, NameError> {
    let zones = origin.prepend(b"zones")?;
    let mut records = Vec::with_capacity(members.len());
    for (zone, member) in members {
        let owner = zones.prepend(label(zone, &member.reset).as_bytes())?;
        records.push(record(&owner, Rtype::PTR, zone.to_lowercase().as_wire().into()));
        if !member.groups.is_empty() {
            let owner = owner.prepend(b"group")?;
            records.extend(member.groups.iter().map(|group| record(&owner, Rtype::TXT, text(group))));
        }
        if let Some(coo) = &member.coo {
            records.push(record(&owner.prepend(b"coo")?, Rtype::PTR, coo.to_lowercase().as_wire().into()));
        }
    }
    Ok(records)
}

/// A member's label: 160 bits of a hash, since names don't fit into one label.
fn label(zone: &Name, reset: &str) -> String {
    let digest = Sha256::new().chain_update(zone.to_lowercase().as_wire()).chain_update(reset).finalize();
    data_encoding::BASE32HEX_NOPAD.encode(&digest[..20]).to_ascii_lowercase()
}

fn record(owner: &Name, rtype: Rtype, rdata: Box<[u8]>) -> Record {
    Record { owner: owner.clone(), ttl: TTL, rtype, rdata }
}

/// One character-string; what is longer than 255 octets is cut.
fn text(text: &str) -> Box<[u8]> {
    let octets = &text.as_bytes()[..text.len().min(255)];
    [&[octets.len() as u8], octets].concat().into()
}

/// Nobody asks a catalog's nameservers anything (section 4.1).
fn invalid() -> Result<Name, NameError> {
    Name::parse("invalid.", None)
}

fn soa(serial: u32) -> Result<Box<[u8]>, NameError> {
    let invalid = invalid()?;
    let numbers = [[serial].as_slice(), &TIMERS].concat();
    let numbers: Vec<u8> = numbers.into_iter().flat_map(u32::to_be_bytes).collect();
    Ok([invalid.as_wire(), invalid.as_wire(), &numbers].concat().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zone::print;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_catalog_says_what_rfc_9432_wants() {
        let member = Member {
            groups: vec!["signed".to_owned(), "a b".to_owned()],
            coo: Some(name("next.example")),
            ..Member::default()
        };
        let members = Members::from([(name("Example.org"), member), (name("example.net"), Member::default())]);
        let printed = print::print(&contents(&name("catalog.example"), 7, &members).unwrap());
        let lines: Vec<String> =
            printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let label = |zone: &str| label(&name(zone), "");
        let (org, net) = (label("example.org"), label("example.net"));
        assert_eq!(org, label("EXAMPLE.ORG"), "whoever writes it, and in whatever catalog");
        let mut expected = vec![
            "catalog.example. 0 IN SOA invalid. invalid. 7 3600 600 2147483647 0".to_owned(),
            "catalog.example. 0 IN NS invalid.".to_owned(),
            "version.catalog.example. 0 IN TXT \"2\"".to_owned(),
            format!("{org}.zones.catalog.example. 0 IN PTR example.org."),
            format!("{net}.zones.catalog.example. 0 IN PTR example.net."),
            format!("coo.{org}.zones.catalog.example. 0 IN PTR next.example."),
            format!("group.{org}.zones.catalog.example. 0 IN TXT \"a b\""),
            format!("group.{org}.zones.catalog.example. 0 IN TXT \"signed\""),
        ];
        let mut lines: Vec<String> = lines.into_iter().filter(|line| line.contains(" IN ")).collect();
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_reset_is_another_label() {
        let owners = |reset: &str| {
            let member = Member { reset: reset.to_owned(), ..Member::default() };
            let catalog = contents(&name("c."), 1, &Members::from([(name("a.test"), member)])).unwrap();
            catalog.nodes().map(|node| node.owner()).collect::<Vec<_>>()
        };
        assert_eq!(owners("1"), owners("1"));
        assert_ne!(owners("1"), owners("2"));
        assert_ne!(owners("1"), owners(""));
    }

    #[test]
    fn a_name_that_leaves_no_room_is_an_error() {
        let long = ["x".repeat(60), "y".repeat(60), "z".repeat(60), "w".repeat(40)].join(".");
        let members = Members::from([(name("a.test"), Member::default())]);
        assert!(contents(&name(&long), 1, &members).is_err() && contents(&name(&long), 1, &Members::new()).is_ok());
    }

    fn members() -> impl Strategy<Value = Members> {
        let groups = prop::sample::subsequence(vec!["a", "b", "c"], 0..3);
        let coo = prop::option::of(prop::sample::select(vec!["x.example", "y.example"]));
        let member = (groups, coo, prop::sample::select(vec!["", "1", "2"])).prop_map(|(groups, coo, reset)| Member {
            groups: groups.into_iter().map(str::to_owned).collect(),
            coo: coo.map(name),
            reset: reset.to_owned(),
        });
        prop::collection::btree_map((0..30u8).prop_map(|number| name(&format!("z{number}.test"))), member, 0..20)
    }

    proptest! {
        #[test]
        fn a_change_makes_what_writing_it_anew_makes(old in members(), new in members()) {
            let origin = name("catalog.example");
            let before = contents(&origin, 7, &old).unwrap();
            let after = contents(&origin, 7, &new).unwrap();
            let changed = change(&before, &old, &new).unwrap();
            prop_assert_eq!(print::print(&changed), print::print(&after));
            prop_assert!(change(&after, &new, &new).unwrap() == after);
            if old != new {
                prop_assert!(change(&after, &old, &new).is_none(), "what it is changed from has to be there");
            }
        }
    }
}
