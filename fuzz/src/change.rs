//! Versions of a zone, a form feed between them: signing and laying out what changed gives what doing it from nothing gives.

use std::sync::Arc;

use danelaw::answer::{Context, Transport};
use danelaw::dns::{Name, Rtype};
use danelaw::zone::print::published;
use danelaw::zone::sign::Policy;
use danelaw::zone::{Contents, Denial, Draft, NoIncludes, Published, Snapshot, ZoneSnapshot, parse};

use super::exchange::{ask, query};
use super::signing::{NOW, Stamp, built, denials, with_key};

/// Stands before each version.
const HEAD: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n";
/// Versions with more records take long, and show nothing that small ones don't.
const RECORDS: usize = 300;
const VERSIONS: usize = 8;
/// Of so many owners is asked.
const ASKED: usize = 40;

struct Version {
    contents: Contents,
    signed: Published,
    laid_out: Arc<ZoneSnapshot>,
}

/// Goes through the versions that are zones, once with each kind of chain.
pub fn check(input: &[u8]) {
    let origin = Name::parse("example.org.", None).unwrap();
    let texts = input.split(|&octet| octet == 0x0c).take(VERSIONS);
    let read = |text| parse(&origin, "zone", &[HEAD.as_bytes(), text].concat(), &mut NoIncludes).contents;
    let versions: Vec<Contents> = texts.filter_map(read).filter(|zone| zone.record_count() <= RECORDS).collect();
    for denial in denials() {
        let mut before = None;
        for (serial, contents) in (1..).zip(&versions) {
            let Some(version) = next(before.take(), with_key(contents, &Stamp), serial, &denial) else { break };
            before = Some(version);
        }
    }
}

/// None where no message can carry the zone.
fn next(before: Option<Version>, contents: Contents, serial: u32, denial: &Denial) -> Option<Version> {
    let (signers, policy) = ([&Stamp as _], || Policy { denial: denial.clone(), ..Policy::default() });
    let last = before.as_ref().map(|before| &before.signed);
    let whole = Draft::signed(&contents, &signers, last, policy(), NOW).unwrap();
    let changed = before.as_ref().and_then(|before| {
        Draft::changed((&before.contents, &contents), &signers, &before.signed, policy(), NOW).unwrap()
    });
    let digest = whole.digest();
    let mut signed = whole.finish(serial).unwrap();
    if let Some(draft) = changed {
        assert_eq!(draft.digest(), digest);
        let changed = draft.finish(serial).unwrap();
        assert_eq!(published(&changed), published(&signed));
        assert!(changed.tree == signed.tree && changed.window(NOW) == signed.window(NOW));
        signed = changed;
    }
    ZoneSnapshot::build(&signed).ok()?;
    let laid_out = ZoneSnapshot::after(before.as_ref().map(|before| &*before.laid_out), &signed);
    let laid_out = Arc::new(laid_out.unwrap_or_else(|error| panic!("{error}")));
    let owners = before.iter().flat_map(|before| before.signed.sets()).chain(signed.sets());
    let owners: Vec<(Name, Rtype)> = owners.map(|(owner, set)| (owner, set.rrset.rtype)).collect();
    same_answers(&laid_out, &built(&signed), &owners);
    Some(Version { contents, signed, laid_out })
}

/// About all that was and all that is.
fn same_answers(one: &Arc<ZoneSnapshot>, other: &Arc<ZoneSnapshot>, owners: &[(Name, Rtype)]) {
    let [one, other] = [one, other].map(|zone| Snapshot::new([zone.clone()], []));
    let context = Context::new([192, 0, 2, 1].into(), Transport::Tcp, NOW);
    for (owner, rtype) in owners.iter().take(ASKED) {
        let below = owner.prepend(b"x").unwrap_or_else(|_| owner.clone());
        for query in [query(owner, *rtype, true), query(&below, Rtype::A, true)] {
            let [said, expected] = [&one, &other].map(|zones| ask(zones, &context, &query, &|_| false));
            assert_eq!(said, expected, "{owner} {rtype}");
        }
    }
}
