//! Lays a published zone out as wire bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::hashed::HashedChain;
use super::{Additional, LayoutError, NONE, Node, QUESTION_POINTER, RRSET_MAX, Set, ZoneSnapshot, apex_pointer, hash};
use crate::dns::header::CLASS_IN;
use crate::dns::rdata::Span;
use crate::dns::rtype::Field;
use crate::dns::{Name, RRset, Rdata, Rtype, name, rdata};
use crate::zone::denial::{Denial, nsec3};
use crate::zone::serial;
use crate::zone::sign::{Published, SignedSet};

pub(super) fn build(zone: &Published) -> Result<ZoneSnapshot, LayoutError> {
    Layout::new(zone).build(zone)
}

/// A snapshot under construction.
struct Layout {
    arena: Vec<u8>,
    origin: Name,
    nodes: Vec<Node>,
    sets: Vec<Set>,
    pointers: Vec<u16>,
    additional: Vec<Additional>,
    indices: BTreeMap<Name, u32>,
}

impl Layout {
    fn new(zone: &Published) -> Layout {
        let mut names: BTreeMap<Name, u32> = BTreeMap::new();
        for owner in zone.nodes.keys() {
            names.insert(owner.clone(), 0);
            let between = owner.ancestors().take_while(|above| above.is_below(&zone.origin));
            for above in between {
                if names.insert(above, 0).is_some() {
                    break;
                }
            }
        }
        for (index, value) in names.values_mut().enumerate() {
            *value = index as u32;
        }
        Layout {
            arena: Vec::new(),
            origin: zone.origin.clone(),
            nodes: Vec::with_capacity(names.len()),
            sets: Vec::new(),
            pointers: Vec::new(),
            additional: Vec::new(),
            indices: names,
        }
    }

    fn build(mut self, zone: &Published) -> Result<ZoneSnapshot, LayoutError> {
        let indices = std::mem::take(&mut self.indices);
        let mut chain = Vec::new();
        let mut cut: Option<(&Name, u32)> = None;
        for (owner, &index) in &indices {
            if cut.is_some_and(|(above, _)| !owner.is_below(above)) {
                cut = None;
            }
            let node = zone.nodes.get(owner);
            if cut.is_none() && *owner != zone.origin && node.is_some_and(|node| node.contains_key(&Rtype::NS)) {
                cut = Some((owner, index));
            }
            let name = self.append(owner.as_wire());
            let first = self.sets.len() as u32;
            for (rtype, set) in node.into_iter().flatten() {
                let set = self.append_set(owner, set, *rtype, &indices)?;
                self.sets.push(set);
            }
            let nsec = cut.is_none_or(|(at, _)| at == owner);
            if nsec && node.is_some_and(|node| node.contains_key(&Rtype::NSEC)) {
                chain.push(index);
            }
            let wildcard = owner.prepend(b"*").ok().and_then(|name| indices.get(&name)).copied().unwrap_or(NONE);
            self.nodes.push(Node {
                name,
                sets: first..self.sets.len() as u32,
                cut: cut.map_or(NONE, |(_, index)| index),
                wildcard,
                proofs: NONE,
            });
        }
        let hashed = match &zone.denial {
            Denial::Nsec3(parameters) => Some(self.append_hashed(zone, parameters, &indices)?),
            Denial::Nsec => None,
        };
        let negative_soa = self.append_negative_soa(zone, &indices)?;
        if u32::try_from(self.arena.len()).is_err() {
            return Err(LayoutError::LargeZone);
        }
        let index = index_of(&self.arena, &self.nodes);
        let Layout { arena, origin, nodes, sets, pointers, additional, .. } = self;
        let serial = zone.serial;
        Ok(ZoneSnapshot {
            arena,
            origin,
            serial,
            expires_at: zone.expires_at,
            nodes,
            index,
            sets,
            pointers,
            additional,
            chain,
            hashed,
            negative_soa,
        })
    }

    /// The NSEC3 RRsets of one chain; a zone that changes its salt may hold the records of another one beside it.
    fn append_hashed(
        &mut self,
        zone: &Published,
        parameters: &nsec3::Parameters,
        indices: &BTreeMap<Name, u32>,
    ) -> Result<HashedChain, LayoutError> {
        let mut chain = HashedChain::new(parameters.clone());
        for (owner, set) in &zone.nsec3 {
            let fields = set.rrset.rdatas.first().and_then(|rdata| nsec3::Fields::parse(rdata));
            let Some(hash) = nsec3::hash_in(owner, &zone.origin) else { continue };
            if fields.is_some_and(|fields| fields.is_of(parameters)) {
                let name = self.append(owner.as_wire());
                chain.push(hash, name, self.append_set(owner, set, Rtype::NSEC3, indices)?);
            }
        }
        let Layout { arena, nodes, .. } = self;
        for (index, node) in nodes.iter_mut().enumerate() {
            if node.cut == NONE || node.cut == index as u32 {
                node.proofs = chain.prove(&arena[node.name.start as usize..node.name.end as usize]);
            }
        }
        Ok(chain)
    }

    fn append_negative_soa(&mut self, zone: &Published, indices: &BTreeMap<Name, u32>) -> Result<Set, LayoutError> {
        let apex = zone.nodes.get(&zone.origin).ok_or(LayoutError::NoSoa)?;
        let mut soa = apex.get(&Rtype::SOA).ok_or(LayoutError::NoSoa)?.clone();
        let minimum = soa.rrset.rdatas.first().and_then(|rdata| serial::minimum_of_soa(rdata));
        soa.rrset.ttl = soa.rrset.ttl.min(minimum.ok_or(LayoutError::NoSoa)?);
        self.append_set(&zone.origin, &soa, Rtype::SOA, indices)
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        start..self.arena.len() as u32
    }

    fn append_set(
        &mut self,
        owner: &Name,
        set: &SignedSet,
        rtype: Rtype,
        indices: &BTreeMap<Name, u32>,
    ) -> Result<Set, LayoutError> {
        let SignedSet { rrset, rrsigs } = set;
        let start = self.arena.len();
        let first_pointer = self.pointers.len() as u32;
        let first_additional = self.additional.len() as u32;
        let too_large = || LayoutError::LargeRRset { owner: owner.clone(), rtype };
        for rdata in &rrset.rdatas {
            let spans = rdata::fields(rtype, rdata);
            let spans = spans.ok_or_else(|| LayoutError::Malformed { owner: owner.clone(), rtype })?;
            self.append_record(start, owner, (rrset, rdata), spans, indices);
            if self.arena.len() - start > RRSET_MAX {
                return Err(too_large());
            }
        }
        let records = start as u32..self.arena.len() as u32;
        for rrsig in rrsigs {
            self.append_head(Rtype::RRSIG, rrset.ttl);
            self.arena.extend_from_slice(&(rrsig.len() as u16).to_be_bytes());
            self.arena.extend_from_slice(rrsig);
        }
        if self.arena.len() - start > RRSET_MAX {
            return Err(too_large());
        }
        Ok(Set {
            rtype,
            count: rrset.rdatas.len() as u16,
            rrsig_count: rrsigs.len() as u16,
            rrsigs: records.end..self.arena.len() as u32,
            records,
            pointers: first_pointer..self.pointers.len() as u32,
            additional: first_additional..self.additional.len() as u32,
        })
    }

    fn append_head(&mut self, rtype: Rtype, ttl: u32) {
        self.arena.extend_from_slice(&QUESTION_POINTER.to_be_bytes());
        self.arena.extend_from_slice(&rtype.0.to_be_bytes());
        self.arena.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.arena.extend_from_slice(&ttl.to_be_bytes());
    }

    fn append_record(
        &mut self,
        set_start: usize,
        owner: &Name,
        (rrset, rdata): (&RRset, &Rdata),
        spans: Vec<Span>,
        indices: &BTreeMap<Name, u32>,
    ) {
        self.append_head(rrset.rtype, rrset.ttl);
        let length_at = self.arena.len();
        self.arena.extend_from_slice(&[0, 0]);
        let mut done = 0;
        for (field, span) in spans {
            let Field::Name { compress, .. } = field else { continue };
            self.arena.extend_from_slice(&rdata[done..span.start]);
            done = span.end;
            let wire = &rdata[span];
            if has_addresses(rrset.rtype)
                && let Some(node) = Name::from_wire(wire).ok().and_then(|target| indices.get(&target))
            {
                let offset = (self.arena.len() - set_start) as u16;
                self.additional.push(Additional { offset, node: *node });
            }
            self.append_name(set_start, owner, wire, compress);
        }
        self.arena.extend_from_slice(&rdata[done..]);
        let length = (self.arena.len() - length_at - 2) as u16;
        self.arena[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Labels below the apex and a pointer to the apex, where the name is in the zone and may be compressed.
    fn append_name(&mut self, set_start: usize, owner: &Name, wire: &[u8], compress: bool) {
        let apex = self.origin.as_wire();
        if !compress || self.origin.is_root() || !name::is_at_or_below(wire, apex) {
            self.arena.extend_from_slice(wire);
            return;
        }
        let below = wire.len() - apex.len();
        self.arena.extend_from_slice(&wire[..below]);
        self.pointers.push((self.arena.len() - set_start) as u16);
        let pointer = apex_pointer(owner.as_wire().len(), apex.len());
        self.arena.extend_from_slice(&pointer.to_be_bytes());
    }
}

/// Types whose target's addresses go into the additional section (RFC 1035 section 3.3, RFC 2782, RFC 9460 section 4.2).
fn has_addresses(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::NS | Rtype::MX | Rtype::SRV | Rtype::SVCB | Rtype::HTTPS)
}

fn index_of(arena: &[u8], nodes: &[Node]) -> Box<[u32]> {
    let mut index = vec![0u32; (nodes.len() * 2).next_power_of_two()].into_boxed_slice();
    let mask = index.len() - 1;
    for (number, node) in nodes.iter().enumerate() {
        let mut place = hash(&arena[node.name.start as usize..node.name.end as usize]) as usize & mask;
        while index[place] != 0 {
            place = (place + 1) & mask;
        }
        index[place] = number as u32 + 1;
    }
    index
}
