//! What came by dynamic update (RFC 2136), as a layer over what a zone's source says: record by record what is added and what is taken away.
//!
//! The rule: the source's records come first, and the layer adds to them and takes from them. A record that the source has too is no longer
//! the layer's to add, and one that the source no longer has is no longer the layer's to take away: it has gone into the source, by
//! `zone export` or by hand. Where both can't stand together (a CNAME beside other data, two CNAMEs), the source wins, and what the layer
//! says there is set aside until they can. What danelaw synthesises comes over both and is none of this.

use std::collections::BTreeMap;

use super::contents::Contents;
use crate::dns::rdata::canonical;
use crate::dns::{Name, RRset, Rdata, Rtype};

/// What a layer says of one RRset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Its TTL in seconds, where records come or the source's have another one.
    pub ttl: Option<u32>,
    /// The records that come.
    pub added: Vec<Rdata>,
    /// The source's records that go.
    pub gone: Vec<Rdata>,
}

/// What came by update to one zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer(BTreeMap<(Name, Rtype), Touched>);

fn is_among(rtype: Rtype, rdata: &Rdata, all: &[Rdata]) -> bool {
    let wanted = canonical(rtype, rdata);
    all.iter().any(|other| canonical(rtype, other) == wanted)
}

/// The RDATAs that only the first of two has.
fn only_in(rtype: Rtype, first: &[Rdata], second: &[Rdata]) -> Vec<Rdata> {
    first.iter().filter(|rdata| !is_among(rtype, rdata, second)).cloned().collect()
}

impl Touched {
    /// What makes `wanted` of what the source says.
    fn between(said: Option<&RRset>, wanted: &RRset) -> Touched {
        let there = said.map_or(&[][..], |said| &said.rdatas);
        let rtype = wanted.rtype;
        let (added, gone) = (only_in(rtype, &wanted.rdatas, there), only_in(rtype, there, &wanted.rdatas));
        let ttl = Some(wanted.ttl).filter(|_| !wanted.rdatas.is_empty());
        Touched { ttl, added, gone }.with_its_own_ttl(said)
    }

    /// A TTL is said where records are added, or where the source's have another one.
    fn with_its_own_ttl(self, said: Option<&RRset>) -> Touched {
        let is_left = said.is_some_and(|said| said.rdatas.len() > self.gone.len());
        let is_other = |ttl: &u32| is_left && said.is_some_and(|said| said.ttl != *ttl);
        let ttl = self.ttl.filter(|ttl| !self.added.is_empty() || is_other(ttl));
        Touched { ttl, ..self }
    }

    /// What becomes of the RRset that the source has.
    fn over(&self, rtype: Rtype, said: Option<RRset>) -> RRset {
        let mut rrset = said.unwrap_or(RRset { rtype, ttl: 0, rdatas: Vec::new() });
        rrset.rdatas.retain(|rdata| !is_among(rtype, rdata, &self.gone));
        for rdata in &self.added {
            rrset.insert(rdata.clone());
        }
        rrset.ttl = self.ttl.unwrap_or(rrset.ttl);
        rrset
    }

    /// The same without what has gone into the source.
    fn settled(&self, rtype: Rtype, said: Option<&RRset>) -> Touched {
        let there = said.map_or(&[][..], |said| &said.rdatas);
        let added = only_in(rtype, &self.added, there);
        let gone: Vec<Rdata> = self.gone.iter().filter(|rdata| is_among(rtype, rdata, there)).cloned().collect();
        Touched { ttl: self.ttl, added, gone }.with_its_own_ttl(said)
    }

    /// Whether a record comes by it.
    pub fn adds(&self, rtype: Rtype, rdata: &Rdata) -> bool {
        is_among(rtype, rdata, &self.added)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.ttl.is_none() && self.added.is_empty() && self.gone.is_empty()
    }
}

impl Layer {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it says, by owner in canonical order.
    pub fn sets(&self) -> impl Iterator<Item = (&Name, Rtype, &Touched)> {
        self.0.iter().map(|((owner, rtype), touched)| (owner, *rtype, touched))
    }

    /// What it says of one RRset.
    pub fn of(&self, owner: &Name, rtype: Rtype) -> Option<&Touched> {
        self.0.get(&(owner.clone(), rtype))
    }

    /// Puts in what it says of one RRset.
    pub fn put(&mut self, owner: &Name, rtype: Rtype, touched: Touched) {
        let place = (owner.clone(), rtype);
        if touched.is_empty() {
            self.0.remove(&place);
        } else {
            self.0.insert(place, touched);
        }
    }

    /// From now on an RRset is this, whatever the source says of it today.
    pub fn want(&mut self, said: &Contents, owner: &Name, wanted: &RRset) {
        let touched = Touched::between(said.rrset(owner, wanted.rtype).as_ref(), wanted);
        self.put(owner, wanted.rtype, touched);
    }

    /// Forgets what has gone into the source; gives the RRsets of which it says something else now.
    pub fn settle(&mut self, said: &Contents) -> Vec<(Name, Rtype)> {
        let settled = self.sets().map(|(owner, rtype, touched)| {
            let now = touched.settled(rtype, said.rrset(owner, rtype).as_ref());
            (owner.clone(), rtype, now != *touched, now)
        });
        let changed: Vec<_> = settled.filter(|(_, _, is_other, _)| *is_other).collect();
        let put = |(owner, rtype, _, touched): (Name, Rtype, bool, Touched)| {
            self.put(&owner, rtype, touched);
            (owner, rtype)
        };
        changed.into_iter().map(put).collect()
    }

    /// The zone, and the RRsets of the layer that can't stand beside what the source says.
    pub fn over(&self, said: &Contents) -> (Contents, Vec<(Name, Rtype)>) {
        let (mut zone, mut aside) = (said.clone(), Vec::new());
        // What goes makes room for what comes.
        for (owner, rtype, touched) in self.sets().filter(|(_, _, touched)| touched.added.is_empty()) {
            zone.replace(owner, touched.over(rtype, said.rrset(owner, rtype)));
        }
        for (owner, rtype, touched) in self.sets().filter(|(_, _, touched)| !touched.added.is_empty()) {
            let rrset = touched.over(rtype, said.rrset(owner, rtype));
            if can_stand(&zone, owner, &rrset) {
                zone.replace(owner, rrset);
            } else {
                aside.push((owner.clone(), rtype));
            }
        }
        (zone, aside)
    }
}

/// Whether an RRset may stand in a zone beside what its owner has (RFC 1034 section 3.6.2, RFC 6672 section 2.4).
fn can_stand(zone: &Contents, owner: &Name, rrset: &RRset) -> bool {
    let is_single = matches!(rrset.rtype, Rtype::CNAME | Rtype::DNAME);
    let others = zone.node(owner).into_iter().flat_map(|node| node.sets()).map(|set| set.rtype);
    let is_cname = |rtype| rtype == Rtype::CNAME;
    let clashes = |other: Rtype| other != rrset.rtype && (is_cname(rrset.rtype) || is_cname(other));
    let is_alone = !others.into_iter().any(clashes);
    is_alone && (rrset.rdatas.len() == 1 || !is_single)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zone::{NoIncludes, parse};

    const SOA: &str = "@ 60 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n";

    fn zone(text: &str) -> Contents {
        let origin = "example.org.".parse().unwrap();
        let text = format!("{SOA}{text}");
        let parsed = parse(&origin, "zone", text.as_bytes(), &mut NoIncludes);
        parsed.contents.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics))
    }

    fn set(text: &str, owner: &str, rtype: Rtype) -> RRset {
        zone(text).rrset(&name(owner), rtype).unwrap()
    }

    fn name(owner: &str) -> Name {
        format!("{owner}.example.org.").parse().unwrap()
    }

    /// A layer that makes the second zone of the first.
    fn between(said: &Contents, wanted: &Contents) -> Layer {
        let mut layer = Layer::default();
        for node in said.nodes().chain(wanted.nodes()) {
            for set in node.sets() {
                let empty = RRset { rtype: set.rtype, ttl: 0, rdatas: Vec::new() };
                layer.want(said, &node.owner(), &wanted.rrset(&node.owner(), set.rtype).unwrap_or(empty));
            }
        }
        layer
    }

    #[test]
    fn records_come_and_go_one_by_one_and_the_sources_changes_show() {
        let said = zone("a 60 IN A 192.0.2.1\na 60 IN A 192.0.2.2\nb 60 IN TXT x\n");
        let mut layer = Layer::default();
        layer.want(&said, &name("a"), &set("a 60 IN A 192.0.2.2\na 60 IN A 192.0.2.3\n", "a", Rtype::A));
        layer.want(&said, &name("b"), &RRset { rtype: Rtype::TXT, ttl: 0, rdatas: Vec::new() });
        assert_eq!(layer.over(&said), (zone("a 60 IN A 192.0.2.2\na 60 IN A 192.0.2.3\n"), vec![]));
        let later = zone("a 60 IN A 192.0.2.1\na 60 IN A 192.0.2.4\nb 60 IN TXT x\nb 60 IN TXT y\n");
        let expected = zone("a 60 IN A 192.0.2.3\na 60 IN A 192.0.2.4\nb 60 IN TXT y\n");
        assert_eq!(layer.over(&later), (expected, vec![]));
    }

    #[test]
    fn what_has_gone_into_the_source_is_the_sources() {
        let said = zone("a 60 IN A 192.0.2.1\n");
        let mut layer = Layer::default();
        layer.want(&said, &name("a"), &set("a 30 IN A 192.0.2.2\n", "a", Rtype::A));
        let taken_over = zone("a 30 IN A 192.0.2.2\n");
        assert_eq!(layer.over(&taken_over).0, taken_over);
        assert_eq!(layer.settle(&said), []);
        assert_eq!(layer.settle(&taken_over), [(name("a"), Rtype::A)]);
        assert!(layer.is_empty());
        assert_eq!(layer.over(&said).0, said, "and the source may have it again");
    }

    #[test]
    fn a_ttl_alone_is_a_change_too() {
        let said = zone("a 60 IN A 192.0.2.1\n");
        let mut layer = Layer::default();
        layer.want(&said, &name("a"), &set("a 30 IN A 192.0.2.1\n", "a", Rtype::A));
        assert_eq!(layer.over(&said).0, zone("a 30 IN A 192.0.2.1\n"));
        assert_eq!(
            layer.settle(&zone("")),
            [(name("a"), Rtype::A)],
            "of a record that is gone there is nothing to say"
        );
        assert!(layer.is_empty());
    }

    #[test]
    fn where_both_cannot_stand_the_source_wins() {
        let empty = zone("");
        for (wanted, owner, rtype, later) in [
            ("c 60 IN CNAME ns\n", "c", Rtype::CNAME, "c 60 IN A 192.0.2.9\n"),
            ("c 60 IN A 192.0.2.9\n", "c", Rtype::A, "c 60 IN CNAME ns\n"),
            ("c 60 IN CNAME ns\n", "c", Rtype::CNAME, "c 60 IN CNAME other\n"),
        ] {
            let mut layer = Layer::default();
            layer.want(&empty, &name(owner), &set(wanted, owner, rtype));
            assert_eq!(layer.over(&empty), (zone(wanted), vec![]));
            let later = zone(later);
            assert_eq!(layer.over(&later), (later.clone(), vec![(name(owner), rtype)]));
            assert_eq!(layer.settle(&later), [], "it is set aside, not forgotten");
        }
        let said = zone("c 60 IN A 192.0.2.9\n");
        let layer = between(&said, &zone("c 60 IN CNAME ns\n"));
        assert_eq!(layer.over(&said), (zone("c 60 IN CNAME ns\n"), vec![]), "what an update took away makes room");
    }

    fn any_zone() -> impl Strategy<Value = Contents> {
        let record = (0..3u8, 0..4u8, prop_oneof![Just("A"), Just("TXT")]);
        (proptest::collection::vec(record, 0..8), 1..3u32).prop_map(|(records, ttl)| {
            let line = |(owner, value, rtype): &(u8, u8, &str)| match *rtype {
                "A" => format!("o{owner} {} IN A 192.0.2.{value}\n", ttl * 60),
                _ => format!("o{owner} 60 IN TXT {value}\n"),
            };
            let mut lines: Vec<String> = records.iter().map(line).collect();
            lines.sort();
            lines.dedup();
            zone(&lines.concat())
        })
    }

    proptest! {
        #[test]
        fn a_layer_makes_of_the_source_what_was_wanted(said in any_zone(), wanted in any_zone(), later in any_zone()) {
            let mut layer = between(&said, &wanted);
            prop_assert_eq!(layer.over(&said), (wanted.clone(), vec![]));
            let before = layer.over(&later).0;
            layer.settle(&later);
            prop_assert_eq!(layer.over(&later).0, before, "settling changes nothing that is served");
            layer.settle(&wanted);
            prop_assert!(layer.over(&wanted).0 == wanted);
        }
    }
}
