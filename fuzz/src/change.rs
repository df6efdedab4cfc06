//! Versions of a zone, a form feed between them: reading, signing and laying out what changed gives what doing it from nothing gives.

use std::sync::Arc;

use danelaw::answer::{Context, Transport};
use danelaw::dns::{Name, Rtype};
use danelaw::zone::print::published;
use danelaw::zone::sign::{Policy, SignedSet};
use danelaw::zone::tree::Inserted;
use danelaw::zone::{
    Contents, Denial, Draft, Marks, NoIncludes, Parsed, Published, Reread, Snapshot, ZoneSnapshot, parse, reread,
};

use super::exchange::{answer, query};
use super::signing::{NOW, Stamp, built, denials, with_key};

/// Stands before each version.
const HEAD: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n";
/// Versions with more records take long, and show nothing that small ones don't.
const RECORDS: usize = 120;
const VERSIONS: usize = 5;
/// Of so many RRsets is asked that are new, and that are gone.
const ASKED: usize = 12;

struct Version {
    contents: Contents,
    signed: Published,
    laid_out: Arc<ZoneSnapshot>,
}

/// Goes through the versions that are zones: as texts, and signed with the kind of chain that the length picks.
pub fn check(input: &[u8]) {
    let origin = Name::parse("example.org.", None).unwrap();
    let texts = input.split(|&octet| octet == 0x0c).take(VERSIONS);
    let texts: Vec<Vec<u8>> = texts.map(|text| [HEAD.as_bytes(), text].concat()).collect();
    let mut marked: Option<(Contents, Marks, &[u8])> = None;
    let mut versions = Vec::new();
    for text in &texts {
        let Parsed { contents, marks, .. } = parse(&origin, "zone", text, &mut NoIncludes);
        let found = marked.as_ref().and_then(|(old, old_marks, before)| reread_as(old, old_marks, before, text));
        if let Some((changed, _)) = &found {
            assert_eq!(Some(changed), contents.as_ref(), "\"{}\"", text.escape_ascii());
        }
        let Some(contents) = contents else { continue };
        marked = found.map(|(_, marks)| marks).or(marks).map(|marks| (contents.clone(), marks, &text[..]));
        versions.extend(Some(contents).filter(|zone| zone.record_count() <= RECORDS));
    }
    let denial = &denials()[input.len() % 3];
    let mut before = None;
    for (serial, contents) in (1..).zip(&versions) {
        let Some(version) = next(before.take(), with_key(contents, &Stamp), serial, denial) else { break };
        before = Some(version);
    }
}

/// What the old contents become by what changed in their text; none where the whole has to be read.
fn reread_as(contents: &Contents, marks: &Marks, old: &[u8], new: &[u8]) -> Option<(Contents, Marks)> {
    let Reread { removed, added, marks } = reread(marks.clone(), old, new)?;
    let mut contents = contents.clone();
    for record in removed {
        let mut rrset = contents.rrset(&record.owner, record.rtype).unwrap();
        assert_eq!(rrset.ttl, record.ttl);
        let place = rrset.rdatas.iter().position(|rdata| *rdata == record.rdata).unwrap();
        rrset.rdatas.remove(place);
        contents.replace(&record.owner, rrset);
    }
    added.into_iter().all(|record| contents.insert(record) == Inserted::New).then_some((contents, marks))
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
    let was =
        |owner: &Name, set: &SignedSet| last.is_some_and(|last| last.set(owner, set.rrset.rtype).as_ref() == Some(set));
    let is = |owner: &Name, set: &SignedSet| signed.set(owner, set.rrset.rtype).is_some();
    let new = signed.sets().filter(|(owner, set)| !was(owner, set)).take(ASKED);
    let gone = last.into_iter().flat_map(Published::sets).filter(|(owner, set)| !is(owner, set)).take(ASKED);
    let owners: Vec<(Name, Rtype)> = new.chain(gone).map(|(owner, set)| (owner, set.rrset.rtype)).collect();
    same_answers(&laid_out, &built(&signed), &owners);
    Some(Version { contents, signed, laid_out })
}

/// About what is new and what is gone.
fn same_answers(one: &Arc<ZoneSnapshot>, other: &Arc<ZoneSnapshot>, owners: &[(Name, Rtype)]) {
    let [one, other] = [one, other].map(|zone| Snapshot::new([zone.clone()], []));
    let context = Context::new([192, 0, 2, 1].into(), Transport::Tcp, NOW);
    for (owner, rtype) in owners {
        let below = owner.prepend(b"x").unwrap_or_else(|_| owner.clone());
        for query in [query(owner, *rtype, true), query(&below, Rtype::A, true)] {
            let [said, expected] = [&one, &other].map(|zones| answer(zones, &context, &query));
            assert!(said == expected, "{owner} {rtype}: {said:?} and {expected:?}");
        }
    }
}
