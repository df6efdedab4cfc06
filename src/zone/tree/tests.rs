//! A tree against a map of maps, under changes that meet.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn apex() -> Name {
    name("example.")
}

/// Few labels, so that names meet.
fn names() -> impl Strategy<Value = Name> {
    let label =
        prop_oneof![Just("a"), Just("b"), Just("B"), Just("*"), Just("aaaaaaaaaa"), Just("aaaaaaaaab"), Just("\\000")];
    prop::collection::vec(label, 0..4).prop_map(|labels| {
        let text: String = labels.iter().map(|label| format!("{label}.")).collect();
        name(&format!("{text}example."))
    })
}

fn rtypes() -> impl Strategy<Value = Rtype> {
    prop_oneof![Just(Rtype::A), Just(Rtype::TXT), Just(Rtype::NSEC), Just(Rtype::NS)]
}

fn rdata(rtype: Rtype, variant: u8) -> Vec<u8> {
    match rtype {
        Rtype::A => vec![192, 0, 2, variant],
        Rtype::TXT => vec![1, variant],
        Rtype::NS => name(&format!("ns{variant}.a.example.")).as_wire().to_vec(),
        _ => [name("b.example.").as_wire(), &[0, 1, variant | 1]].concat(),
    }
}

/// A record put in, or an RRset taken away.
#[derive(Clone, Debug)]
struct Step(Name, Rtype, Option<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (names(), rtypes(), prop::option::weighted(0.7, 0u8..4));
    prop::collection::vec(step.prop_map(|(name, rtype, variant)| Step(name, rtype, variant)), 0..60)
}

type Model = BTreeMap<Name, BTreeMap<Rtype, BTreeSet<Vec<u8>>>>;

fn model(steps: &[Step]) -> Model {
    let mut model = Model::new();
    for Step(owner, rtype, variant) in steps {
        let node = model.entry(owner.clone()).or_default();
        match variant {
            Some(variant) => {
                node.entry(*rtype).or_default().insert(rdata(*rtype, *variant));
            }
            None => {
                node.remove(rtype);
            }
        }
        if node.is_empty() {
            model.remove(owner);
        }
    }
    model
}

fn tree(steps: &[Step]) -> Tree {
    let mut tree = Tree::new(apex());
    for Step(owner, rtype, variant) in steps {
        match variant {
            Some(variant) => drop(tree.insert(owner, 300, *rtype, &rdata(*rtype, *variant))),
            None => tree.change(owner, &[(*rtype, None)]),
        }
    }
    tree
}

fn check(tree: &Tree, model: &Model) {
    let mut expected: BTreeSet<Name> = model.keys().cloned().collect();
    expected.insert(apex());
    for owner in model.keys() {
        expected.extend(owner.ancestors().take_while(|above| above.is_at_or_below(&apex())));
    }
    let found: Vec<Name> = tree.nodes().map(Node::owner).collect();
    assert_eq!(found, expected.iter().cloned().collect::<Vec<_>>());
    assert_eq!(tree.totals().nodes, found.len());
    for owner in &expected {
        let node = tree.node(owner.as_wire()).expect("it is there");
        let sets: Vec<(Rtype, BTreeSet<Vec<u8>>)> =
            node.sets().map(|set| (set.rtype, set.rdatas().map(|rdata| rdata.to_vec()).collect())).collect();
        let wanted: Vec<_> = model.get(owner).into_iter().flatten().map(|(rtype, set)| (*rtype, set.clone())).collect();
        assert_eq!(sets, wanted, "{owner}");
        let from: Vec<Name> = tree.nodes_from(owner.as_wire()).map(Node::owner).collect();
        assert_eq!(from, expected.range(owner..).cloned().collect::<Vec<_>>());
    }
    let records: usize = model.values().flat_map(BTreeMap::values).map(BTreeSet::len).sum();
    let is_barrier = |(owner, node): &(&Name, &BTreeMap<Rtype, _>)| **owner != apex() && node.contains_key(&Rtype::NS);
    let barriers = model.iter().filter(is_barrier).count();
    assert_eq!((tree.totals().records, tree.totals().barriers), (records, barriers));
}

proptest! {
    #[test]
    fn a_tree_holds_what_was_put_in(steps in steps(), wanted in names()) {
        let (tree, model) = (tree(&steps), model(&steps));
        check(&tree, &model);
        let covering = model.range(..=&wanted).rev().find(|(_, node)| node.contains_key(&Rtype::NSEC));
        prop_assert_eq!(tree.covering(wanted.as_wire()).map(Node::owner), covering.map(|(owner, _)| owner.clone()));
        let above = wanted.ancestors().take_while(|above| above.is_below(&apex()));
        let barrier = above.filter(|above| model.get(above).is_some_and(|node| node.contains_key(&Rtype::NS))).last();
        prop_assert_eq!(tree.barrier_above(wanted.as_wire()).map(Node::owner), barrier);
    }

    #[test]
    fn a_builder_takes_records_in_any_order(steps in steps()) {
        let steps: Vec<Step> = steps.into_iter().filter(|step| step.2.is_some()).collect();
        let mut builder = Builder::new(apex());
        for Step(owner, rtype, variant) in &steps {
            builder.insert(owner.as_wire(), 300, *rtype, &rdata(*rtype, variant.unwrap_or_default()));
        }
        let built = builder.finish();
        check(&built, &model(&steps));
        prop_assert!(built == tree(&steps));
    }
}

#[test]
fn a_large_tree_splits_its_pages_and_a_change_copies_one() {
    let mut numbers: Vec<u32> = (0..5000).collect();
    // Any order that is not the canonical one.
    numbers.sort_by_key(|number| number.wrapping_mul(2_654_435_761));
    let owner = |number: u32| name(&format!("host{number:05}.example."));
    let mut tree = Tree::new(apex());
    for &number in &numbers {
        tree.insert(&owner(number), 300, Rtype::TXT, &[1, number as u8]);
    }
    let mut builder = Builder::new(apex());
    for number in 0..5000 {
        builder.insert(owner(number).as_wire(), 300, Rtype::TXT, &[1, number as u8]);
    }
    let built = builder.finish();
    assert!(built == tree);
    assert!(built.pages().len() > 70, "{}", built.pages().len());
    let mut changed = built.clone();
    changed.change(&owner(2500), &[(Rtype::TXT, None)]);
    assert!(changed.node(owner(2500).as_wire()).is_none());
    assert!(built.node(owner(2500).as_wire()).is_some());
    let same = built.pages().iter().zip(changed.pages()).filter(|(one, other)| one.is(other)).count();
    assert_eq!(same, built.pages().len() - 1);
    for number in 0..5000 {
        if number != 2500 {
            changed.change(&owner(number), &[(Rtype::TXT, None)]);
        }
    }
    assert!(changed == Tree::new(apex()));
}

#[test]
fn an_rrsig_stands_beside_what_it_covers() {
    let mut tree = Tree::new(apex());
    let rrsig = |covered: Rtype, last: u8| [&covered.0.to_be_bytes()[..], &[13, 1, 0, 0, 1, 44], &[last; 12]].concat();
    let owner = name("a.example.");
    tree.insert(&owner, 300, Rtype::RRSIG, &rrsig(Rtype::A, 1));
    assert!(!tree.node(owner.as_wire()).expect("a node").has(Rtype::A));
    tree.insert(&owner, 300, Rtype::A, &[192, 0, 2, 1]);
    assert_eq!(tree.insert(&owner, 300, Rtype::RRSIG, &rrsig(Rtype::A, 1)), Inserted::Duplicate);
    assert_eq!(tree.insert(&owner, 300, Rtype::RRSIG, &rrsig(Rtype::A, 2)), Inserted::New);
    let set = tree.node(owner.as_wire()).expect("a node").set(Rtype::A).expect("a set");
    assert_eq!((set.count, set.rrsig_count, set.signatures().count()), (1, 2, 2));
}
