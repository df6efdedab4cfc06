//! A change that is signed at its own cost gives what signing the whole gives, and an index that is mended finds what a new one finds.

use std::sync::atomic::{AtomicUsize, Ordering};

use danelaw::dns::dnssec::{Algorithm, SignError, Signer};
use danelaw::dns::{Name, RRset, Rtype};
use danelaw::keys::{self, ZoneKey};
use danelaw::zone::denial::nsec3::{self, Parameters};
use danelaw::zone::sign::Policy;
use danelaw::zone::tree::{Page, key};
use danelaw::zone::{Contents, Denial, Draft, Published, ZoneSnapshot};
use proptest::prelude::*;

use super::common::{self, name, zone};

const NOW: u64 = 1_800_000_000;
const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n*.w TXT x\na.b.ent A 192.0.2.2\n\
                    cut NS ns.cut\nns.cut A 192.0.2.3\nx.below.cut TXT x\nds NS ns\n DS 1 13 2 \
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
                    tree DNAME elsewhere.test.\nc.y.tree A 192.0.2.5\nx.deep NS ns\nz.y.deep NS ns\nM A 192.0.2.6\n";

/// Few names, some of them below the cuts and the DNAME, some between others, some that hashes make too.
fn owners() -> impl Strategy<Value = Name> {
    let mut names: Vec<Name> = [
        "ns",
        "a",
        "b.ent",
        "a.b.ent",
        "c.b.ent",
        "ent",
        "*.w",
        "w",
        "zz",
        "cut",
        "x.cut",
        "ns.cut",
        "x.below.cut",
        "below.cut",
        "tree",
        "x.tree",
        "c.y.tree",
        "y.tree",
        "ds",
        "x.ds",
        "x.deep",
        "z.y.deep",
        "q.y.deep",
        "y.deep",
        "deep",
        "M",
        "m",
    ]
    .map(|text| name(&format!("{text}.example.test")))
    .to_vec();
    names.push(name("example.test"));
    for hashed in ["a.example.test", "b.ent.example.test"] {
        let hash = Parameters::default().hash(name(hashed).as_wire());
        let owner = nsec3::owner(&hash, &name("example.test")).unwrap();
        names.extend([name(&owner.to_string().to_uppercase()), owner.prepend(b"x").unwrap(), owner]);
    }
    prop::sample::select(names)
}

fn rtypes() -> impl Strategy<Value = Rtype> {
    prop_oneof![
        4 => Just(Rtype::A), 3 => Just(Rtype::TXT), 3 => Just(Rtype::NS), 2 => Just(Rtype::DS), 2 => Just(Rtype::DNAME)
    ]
}

fn denials() -> impl Strategy<Value = Denial> {
    let opt_out = Parameters { opt_out: true, ..Parameters::default() };
    let [.., (_, deprecated)] = common::denials();
    prop::sample::select(vec![Denial::Nsec, Denial::Nsec3(Parameters::default()), Denial::Nsec3(opt_out), deprecated])
}

/// An RRset that is put in, or one that is taken away.
type Edit = (Name, Rtype, Option<u8>);

fn apply(contents: &mut Contents, (owner, rtype, variant): &Edit) {
    let rdata = |variant: u8| -> Box<[u8]> {
        match *rtype {
            Rtype::A => [192, 0, 2, variant].into(),
            Rtype::TXT => [1, variant].into(),
            Rtype::DS => [&[0, 1, 13, 2][..], &[variant; 32]].concat().into(),
            _ => name(&format!("ns{variant}.elsewhere.test")).as_wire().into(),
        }
    };
    let rdatas: Vec<_> = variant.map(rdata).into_iter().collect();
    // The apex keeps its NS.
    if !(rdatas.is_empty() && *rtype == Rtype::NS && owner == contents.origin()) {
        contents.replace(owner, RRset { rtype: *rtype, ttl: 300, rdatas });
    }
}

fn finish(draft: Draft<'_>) -> Published {
    let serial = draft.file_serial() + 1;
    draft.finish(serial).unwrap()
}

fn check_index(snapshot: &ZoneSnapshot) {
    let tree = &snapshot.published().tree;
    for node in tree.nodes() {
        // An NSEC3's owner is nobody's name (RFC 5155 section 7.2.8), but for an empty non-terminal that looks like one.
        let has_own = node.is_empty() || node.sets().any(|set| set.rtype != Rtype::NSEC3);
        let found = snapshot.find(node.name(), key::hash(node.name()));
        assert_eq!(found.is_some(), has_own || tree.has_below(node.name()), "{:?}", node.owner());
        assert!(found.is_none_or(|found| found.is(node)), "{:?}", node.owner());
    }
    for text in ["q", "a.a", "ent.ent", "*"] {
        let absent = name(&format!("{text}.example.test"));
        assert!(snapshot.find(absent.as_wire(), key::hash(absent.as_wire())).is_none());
    }
}

/// A zone's contents with the records of its keys.
fn with_keys(mut contents: Contents, signers: &[&dyn Signer]) -> Contents {
    let origin = contents.origin().clone();
    for rrset in keys::apex_rrsets(&origin, signers, 3600, true) {
        contents.replace(&origin, rrset);
    }
    contents
}

/// Goes through the versions, each of which is signed at its own cost and as a whole.
fn go_through(denial: &Denial, changes: &[Vec<Edit>]) {
    // Ed25519 signs the same with the same.
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let signers: [&dyn Signer; 1] = [&key];
    let mut contents = with_keys(zone("example.test", TEXT), &signers);
    let policy = Policy { denial: denial.clone(), ..Policy::default() };
    let mut published = finish(Draft::signed(&contents, &signers, None, policy.clone(), NOW).unwrap());
    let mut snapshot = ZoneSnapshot::build(&published).unwrap();
    for (step, edits) in changes.iter().enumerate() {
        let mut next = contents.clone();
        edits.iter().for_each(|edit| apply(&mut next, edit));
        let now = NOW + 100 * (step as u64 + 1);
        let whole = Draft::signed(&next, &signers, Some(&published), policy.clone(), now).unwrap();
        let change = Draft::changed((&contents, &next), &signers, &published, policy.clone(), now).unwrap();
        let change = change.expect("single owners");
        assert_eq!(change.digest(), whole.digest(), "{edits:?}");
        let (change, whole) = (finish(change), finish(whole));
        let texts = |zone: &Published| -> Vec<_> { zone.sets().map(|(owner, set)| (owner.to_string(), set)).collect() };
        assert_eq!(texts(&change), texts(&whole), "{edits:?}");
        assert_eq!(change.tree, whole.tree, "{edits:?}");
        assert!(change.expires_at <= whole.expires_at && change.begins_at >= whole.begins_at);
        snapshot = ZoneSnapshot::after(Some(&snapshot), &change).unwrap();
        check_index(&snapshot);
        (published, contents) = (change, next);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_change_signed_at_its_own_cost_is_what_the_whole_is(
        denial in denials(),
        changes in prop::collection::vec(
            prop::collection::vec((owners(), rtypes(), prop::option::weighted(0.6, 1u8..5)), 1..5),
            1..6,
        )
    ) {
        go_through(&denial, &changes);
    }
}

#[test]
fn what_a_cut_or_a_dname_hides_comes_back_with_it() {
    let edit = |owner: &str, rtype, variant| (name(&format!("{owner}.example.test")), rtype, variant);
    let changes = [
        vec![edit("cut", Rtype::NS, None)],
        vec![edit("cut", Rtype::DNAME, Some(1)), edit("cut", Rtype::NS, Some(2))],
        vec![edit("cut", Rtype::NS, None)],
        vec![edit("y.tree", Rtype::NS, Some(1))],
        vec![edit("tree", Rtype::DNAME, None)],
        vec![edit("tree", Rtype::NS, Some(3)), edit("y.tree", Rtype::DS, Some(1))],
        vec![edit("tree", Rtype::NS, None), edit("ent", Rtype::DNAME, Some(1))],
        vec![(name("example.test"), Rtype::DNAME, Some(1))],
        vec![(name("example.test"), Rtype::DNAME, None)],
    ];
    common::denials().iter().for_each(|(_, denial)| go_through(denial, &changes));
}

#[test]
fn a_delegation_turns_secure_and_back() {
    let edit = |owner: &str, variant| vec![(name(&format!("{owner}.example.test")), Rtype::DS, variant)];
    let changes = [
        edit("z.y.deep", Some(1)),
        edit("x.deep", Some(1)),
        edit("z.y.deep", None),
        edit("x.deep", None),
        edit("ds", None),
    ];
    common::denials().iter().for_each(|(_, denial)| go_through(denial, &changes));
}

#[test]
fn a_name_that_looks_like_a_hash_is_a_name_of_its_own() {
    // The hashes of an empty non-terminal, and of a name that comes and goes.
    for (hashed, comes) in [("b.ent.example.test", "zz.example.test"), ("a.example.test", "a.example.test")] {
        let hash = Parameters::default().hash(name(hashed).as_wire());
        let lower = nsec3::owner(&hash, &name("example.test")).unwrap();
        let (upper, below) = (name(&lower.to_string().to_uppercase()), lower.prepend(b"x").unwrap());
        let a = |owner: &Name, variant| (owner.clone(), Rtype::A, variant);
        let changes = [
            vec![a(&upper, Some(1)), a(&name(comes), Some(1))],
            vec![a(&upper, None)],
            vec![a(&upper, Some(1)), a(&name(comes), None)],
            vec![a(&lower, Some(2)), a(&below, Some(1)), a(&name(comes), Some(1))],
            vec![a(&lower, None), (lower.clone(), Rtype::NS, Some(1))],
            vec![(lower.clone(), Rtype::NS, None)],
            vec![a(&below, None)],
        ];
        common::denials().iter().for_each(|(_, denial)| go_through(denial, &changes));
    }
}

/// Counts the signatures that it makes.
struct Counting(ZoneKey, AtomicUsize);

impl Counting {
    fn made(&self) -> usize {
        self.1.swap(0, Ordering::Relaxed)
    }
}

impl Signer for Counting {
    fn dnskey(&self) -> &[u8] {
        self.0.dnskey()
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.sign(data)
    }
}

/// Signatures made and pages written for one change of a large zone.
fn cost(
    signer: &Counting,
    denial: &Denial,
    contents: &Contents,
    published: &Published,
    edits: &[Edit],
) -> (usize, usize) {
    let signers: [&dyn Signer; 1] = [signer];
    let policy = Policy { denial: denial.clone(), ..Policy::default() };
    let mut next = contents.clone();
    edits.iter().for_each(|edit| apply(&mut next, edit));
    let change = Draft::changed((contents, &next), &signers, published, policy.clone(), NOW + 100).unwrap();
    let change = change.expect("single owners").finish(9).unwrap();
    let made = signer.made();
    let is_kept =
        |(number, page): &(usize, &Page)| published.tree.pages().get(*number).is_some_and(|before| before.is(page));
    let pages = change.tree.pages();
    (made, pages.len() - pages.iter().enumerate().filter(is_kept).count())
}

#[test]
fn a_change_of_a_large_zone_costs_what_it_changes() {
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let signer = Counting(key, AtomicUsize::new(0));
    let mut text = TEXT.to_owned();
    for number in 0..3000 {
        text += &format!("customer-{number:04} A 192.0.2.1\n");
        if number % 100 == 0 {
            text += &format!("x.customer-{number:04} TXT x\n_25._tcp.customer-{number:04} TXT x\n");
        }
    }
    let contents = with_keys(zone("example.test", &text), &[&signer]);
    let edit = |owner: &str, rtype, variant| (name(&format!("{owner}.example.test")), rtype, variant);
    for (label, denial) in common::denials() {
        let policy = Policy { denial: denial.clone(), ..Policy::default() };
        let published = finish(Draft::signed(&contents, &[&signer], None, policy, NOW).unwrap());
        assert!(signer.made() > 6000 && published.tree.pages().len() > 45);
        let cost = |edits: &[Edit]| cost(&signer, &denial, &contents, &published, edits);
        let is_nsec = denial == Denial::Nsec;
        // The RRset and the SOA.
        assert_eq!(cost(&[edit("customer-1000", Rtype::A, Some(9))]).0, 2, "{label}");
        // Beside them the name's NSEC or NSEC3.
        assert_eq!(cost(&[edit("customer-1000", Rtype::TXT, Some(9))]).0, 3, "{label}");
        // Beside them the one before it.
        assert_eq!(cost(&[edit("new", Rtype::A, Some(9))]).0, 4, "{label}");
        // What was before it, and the SOA.
        assert_eq!(cost(&[edit("customer-1001", Rtype::A, None)]).0, 2, "{label}");
        // Three NSEC3s and those before them: the empty non-terminals have some too.
        let (made, pages) = cost(&[edit("a.b.new", Rtype::A, Some(9))]);
        assert_eq!(made, if is_nsec { 4 } else { 8 }, "{label}");
        assert!(pages <= 10, "{label}: {pages}");
        // A cut comes above two names: its DS, its own NSEC or NSEC3, and the NSEC3s before the three hashes that go.
        let (made, pages) =
            cost(&[edit("customer-0100", Rtype::NS, Some(9)), edit("customer-0100", Rtype::DS, Some(1))]);
        assert_eq!(made, if is_nsec { 3 } else { 6 }, "{label}");
        assert!(pages <= 10, "{label}: {pages}");
        // A DNAME goes: what it hid has a signature and a place in the chain, and its own NSEC3 is an empty non-terminal's now.
        let (made, pages) = cost(&[edit("tree", Rtype::DNAME, None)]);
        assert_eq!(made, if is_nsec { 4 } else { 7 }, "{label}");
        assert!(pages <= 12, "{label}: {pages}");
    }
}
