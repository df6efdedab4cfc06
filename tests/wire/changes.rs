//! A change that is signed at its own cost gives what signing the whole gives, and an index that is mended finds what a new one finds.

use danelaw::dns::dnssec::{Algorithm, Signer};
use danelaw::dns::{Name, RRset, Rtype};
use danelaw::keys::{self, ZoneKey};
use danelaw::zone::sign::Policy;
use danelaw::zone::tree::key;
use danelaw::zone::{Contents, Draft, Published, ZoneSnapshot};
use proptest::prelude::*;

use super::common::{name, zone};

const NOW: u64 = 1_800_000_000;
const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n*.w TXT x\na.b.ent A 192.0.2.2\n\
                    cut NS ns.cut\nns.cut A 192.0.2.3\nds NS ns\n DS 1 13 2 \
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
                    tree DNAME elsewhere.test.\n";

/// Few names, some of them below the cut and the DNAME, some between others.
fn owners() -> impl Strategy<Value = Name> {
    let texts = [
        "@", "ns", "a", "b.ent", "a.b.ent", "c.b.ent", "ent", "*.w", "w", "zz", "x.cut", "ns.cut", "x.tree", "ds", "M",
    ];
    prop::sample::select(texts.to_vec()).prop_map(|text| match text {
        "@" => name("example.test"),
        text => name(&format!("{text}.example.test")),
    })
}

fn rtypes() -> impl Strategy<Value = Rtype> {
    prop_oneof![4 => Just(Rtype::A), 3 => Just(Rtype::TXT), 1 => Just(Rtype::NS), 1 => Just(Rtype::DNAME)]
}

/// An RRset that is put in, or one that is taken away.
type Edit = (Name, Rtype, Option<u8>);

fn apply(contents: &mut Contents, (owner, rtype, variant): &Edit) {
    let rdata = |variant: u8| -> Box<[u8]> {
        match *rtype {
            Rtype::A => [192, 0, 2, variant].into(),
            Rtype::TXT => [1, variant].into(),
            _ => name(&format!("ns{variant}.elsewhere.test")).as_wire().into(),
        }
    };
    let rdatas: Vec<_> = variant.map(rdata).into_iter().collect();
    // The apex keeps its NS.
    if !(rdatas.is_empty() && *rtype == Rtype::NS) {
        contents.replace(owner, RRset { rtype: *rtype, ttl: 300, rdatas });
    }
}

fn finish(draft: Draft<'_>) -> Published {
    let serial = draft.file_serial() + 1;
    draft.finish(serial).unwrap()
}

fn check_index(snapshot: &ZoneSnapshot) {
    for node in snapshot.published().tree.nodes() {
        let found = snapshot.find(node.name(), key::hash(node.name()));
        assert!(found.is_some_and(|found| found.is(node)), "{:?}", node.owner());
    }
    for text in ["q", "a.a", "ent.ent", "*"] {
        let absent = name(&format!("{text}.example.test"));
        assert!(snapshot.find(absent.as_wire(), key::hash(absent.as_wire())).is_none());
    }
}

/// Goes through the versions; gives how many of them were signed at their own cost.
fn go_through(changes: &[Vec<Edit>]) -> usize {
    // Ed25519 signs the same with the same.
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let signers: [&dyn Signer; 1] = [&key];
    let mut contents = zone("example.test", TEXT);
    for rrset in keys::apex_rrsets(&name("example.test"), &signers, 3600, true) {
        contents.replace(&name("example.test"), rrset);
    }
    let policy = Policy::default();
    let mut published = finish(Draft::signed(&contents, &signers, None, policy.clone(), NOW).unwrap());
    let mut snapshot = ZoneSnapshot::build(&published).unwrap();
    let mut at_own_cost = 0;
    for (step, edits) in changes.iter().enumerate() {
        let mut next = contents.clone();
        edits.iter().for_each(|edit| apply(&mut next, edit));
        let now = NOW + 100 * (step as u64 + 1);
        let whole = Draft::signed(&next, &signers, Some(&published), policy.clone(), now).unwrap();
        let change =
            Draft::changed((&contents, &next), &signers, &published, policy.clone(), now).unwrap().inspect(|change| {
                at_own_cost += 1;
                assert_eq!(change.digest(), whole.digest());
            });
        let whole = finish(whole);
        if let Some(change) = change.map(finish) {
            assert_eq!(change.tree, whole.tree, "{edits:?}");
            assert!(change.expires_at <= whole.expires_at && change.begins_at >= whole.begins_at);
            published = change;
        } else {
            published = whole;
        }
        snapshot = ZoneSnapshot::after(Some(&snapshot), &published).unwrap();
        check_index(&snapshot);
        contents = next;
    }
    at_own_cost
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_change_signed_at_its_own_cost_is_what_the_whole_is(
        changes in prop::collection::vec(
            prop::collection::vec((owners(), rtypes(), prop::option::weighted(0.6, 1u8..5)), 1..4),
            1..6,
        )
    ) {
        go_through(&changes);
    }
}

#[test]
fn usual_changes_are_signed_at_their_own_cost() {
    let edit = |owner: &str, rtype, variant| (name(&format!("{owner}.example.test")), rtype, variant);
    let changes = [
        vec![edit("new", Rtype::A, Some(1))],
        vec![edit("new", Rtype::TXT, Some(1)), edit("a.b.ent", Rtype::A, None)],
        vec![edit("new", Rtype::A, None), edit("new", Rtype::TXT, None)],
        vec![edit("x.cut", Rtype::A, Some(9))],
        vec![edit("ns", Rtype::A, Some(4))],
    ];
    assert_eq!(go_through(&changes), changes.len());
    assert_eq!(go_through(&[vec![edit("deleg", Rtype::NS, Some(1))]]), 0, "a new zone cut is more than its own matter");
}
