//! Puts a node together from records, and writes it as `node` reads it.

use std::cmp::Ordering;

use super::node::{Node, POINTER_NOTE, QUESTION_POINTER, SET_HEAD, SHARED_MAX, Tail};
use crate::dns::header::CLASS_IN;
use crate::dns::name::is_same;
use crate::dns::rtype::Field;
use crate::dns::{Rdata, Rtype, name, rdata};

/// A node that is being put together: RRsets and signatures in any order. It keeps its memory from node to node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeBuf {
    sets: Vec<SetBuf>,
    /// How many of `sets` are in use.
    used: usize,
}

#[derive(Clone, Debug)]
struct SetBuf {
    rtype: Rtype,
    ttl: u32,
    rdatas: Spans,
    rrsigs: Spans,
}

/// Octet strings in an order of their own.
#[derive(Clone, Debug, Default)]
struct Spans {
    bytes: Vec<u8>,
    order: Vec<(u32, u32)>,
}

impl Spans {
    fn clear(&mut self) {
        self.bytes.clear();
        self.order.clear();
    }

    fn len(&self) -> usize {
        self.order.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let (start, end) = self.order[index];
        &self.bytes[start as usize..end as usize]
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    fn push(&mut self, bytes: &[u8]) {
        self.insert(self.len(), bytes);
    }

    fn insert(&mut self, index: usize, bytes: &[u8]) {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.order.insert(index, (start, self.bytes.len() as u32));
    }

    /// Where `wire` belongs among these RDATAs in canonical order; none where it is there already.
    fn place(&self, rtype: Rtype, wire: &[u8]) -> Option<usize> {
        let compare = |index: usize| (*rdata::canonical(rtype, self.get(index))).cmp(wire);
        let (mut low, mut high) = (0, self.len());
        // Most come in order.
        let mut middle = high.saturating_sub(1);
        while low < high {
            match compare(middle) {
                Ordering::Equal => return None,
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
            middle = (low + high) / 2;
        }
        Some(low)
    }
}

/// What became of a record that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is new.
    New,
    /// The same RDATA was there already.
    Duplicate,
    /// It is new, and its TTL differs from its RRset's, which keeps the lower one (RFC 2181 section 5.2).
    TtlDiffers,
}

impl NodeBuf {
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn set(&mut self, rtype: Rtype) -> &mut SetBuf {
        if let Some(index) = self.sets[..self.used].iter().position(|set| set.rtype == rtype) {
            return &mut self.sets[index];
        }
        if self.used == self.sets.len() {
            self.sets.push(SetBuf { rtype, ttl: 0, rdatas: Spans::default(), rrsigs: Spans::default() });
        }
        let set = &mut self.sets[self.used];
        self.used += 1;
        set.rtype = rtype;
        set.rdatas.clear();
        set.rrsigs.clear();
        set
    }

    /// Puts a record in, at its canonical place; an RRSIG goes to the RRset that it covers.
    pub(super) fn insert(&mut self, rtype: Rtype, ttl: u32, rdata: &[u8]) -> Inserted {
        if let (Rtype::RRSIG, [high, low, ..]) = (rtype, rdata) {
            let set = self.set(Rtype(u16::from_be_bytes([*high, *low])));
            if set.rrsigs.iter().any(|other| other == rdata) {
                return Inserted::Duplicate;
            }
            if set.rdatas.len() == 0 && set.rrsigs.len() == 0 {
                set.ttl = ttl;
            }
            set.rrsigs.push(rdata);
            return Inserted::New;
        }
        let set = self.set(rtype);
        if set.rdatas.len() == 0 {
            set.ttl = ttl;
            set.rdatas.push(rdata);
            return Inserted::New;
        }
        let differs = set.ttl != ttl;
        set.ttl = set.ttl.min(ttl);
        let wire = rdata::canonical(rtype, rdata);
        let Some(place) = set.rdatas.place(rtype, &wire) else { return Inserted::Duplicate };
        set.rdatas.insert(place, rdata);
        if differs { Inserted::TtlDiffers } else { Inserted::New }
    }

    /// Puts a whole RRset and its signatures in the place of what there was of its type.
    pub(super) fn replace(&mut self, rtype: Rtype, ttl: u32, rdatas: &[Rdata], rrsigs: &[Rdata]) {
        let set = self.set(rtype);
        set.ttl = ttl;
        set.rdatas.clear();
        set.rrsigs.clear();
        rdatas.iter().for_each(|rdata| set.rdatas.push(rdata));
        rrsigs.iter().for_each(|rrsig| set.rrsigs.push(rrsig));
    }

    /// Takes the RRset of a type away, its signatures too.
    pub(super) fn remove(&mut self, rtype: Rtype) {
        if let Some(index) = self.sets[..self.used].iter().position(|set| set.rtype == rtype) {
            self.used -= 1;
            self.sets.swap(index, self.used);
        }
    }

    /// Takes one record out, an RRSIG from beside what it covers; false where it is not there. Names in it may be written otherwise.
    pub(super) fn take(&mut self, rtype: Rtype, rdata: &[u8]) -> bool {
        let of = match (rtype, rdata) {
            (Rtype::RRSIG, [high, low, ..]) => Rtype(u16::from_be_bytes([*high, *low])),
            _ => rtype,
        };
        let Some(set) = self.sets[..self.used].iter_mut().find(|set| set.rtype == of) else { return false };
        let spans = if rtype == Rtype::RRSIG { &mut set.rrsigs } else { &mut set.rdatas };
        let wanted = rdata::canonical(rtype, rdata);
        let Some(index) = spans.iter().position(|one| rdata::canonical(rtype, one) == wanted) else { return false };
        spans.order.remove(index);
        if set.rdatas.len() == 0 && set.rrsigs.len() == 0 {
            self.remove(of);
        }
        true
    }

    /// Takes over what a node has.
    pub(super) fn load(&mut self, node: Node<'_>) {
        for set in node.sets() {
            let into = self.set(set.rtype);
            into.ttl = set.ttl();
            set.rdatas().for_each(|rdata| into.rdatas.push(&rdata));
            set.signatures().for_each(|rrsig| into.rrsigs.push(rrsig));
        }
    }

    /// Appends the node of these RRsets at `owner` to `out`.
    pub(super) fn write(&mut self, owner: &[u8], apex: &[u8], out: &mut Vec<u8>) {
        self.sets[..self.used].sort_unstable_by_key(|set| set.rtype);
        let sets = &self.sets[..self.used];
        let start = out.len();
        out.extend_from_slice(&[0, 0, 0, 0, owner.len() as u8, 0]);
        out.extend_from_slice(&(sets.len() as u16).to_le_bytes());
        out.extend_from_slice(owner);
        let heads = out.len();
        out.resize(heads + sets.len() * SET_HEAD, 0);
        let mut notes = Notes::default();
        for (index, set) in sets.iter().enumerate() {
            set.write(start, heads + index * SET_HEAD, (owner, apex), &mut notes, out);
        }
        let len = (out.len() - start) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }
}

#[derive(Default)]
struct Notes {
    pointers: Vec<u8>,
    targets: Vec<u8>,
    spelled: Vec<Spelled>,
}

/// A name in RDATA that later ones may end with.
struct Spelled {
    wire: Vec<u8>,
    /// Where in the set's records it begins, and how many of its octets stand there.
    at: usize,
    len: usize,
}

/// So many names of a set are looked at for what a name shares with them.
const SPELLED_MAX: usize = 8;

impl SetBuf {
    fn write(&self, start: usize, head: usize, names: (&[u8], &[u8]), notes: &mut Notes, out: &mut Vec<u8>) {
        notes.pointers.clear();
        notes.targets.clear();
        notes.spelled.clear();
        let records = out.len();
        for rdata in self.rdatas.iter() {
            self.write_record(records, names, rdata, notes, out);
        }
        let rrsigs = out.len();
        for rrsig in self.rrsigs.iter() {
            write_head(Rtype::RRSIG, self.ttl, out);
            out.extend_from_slice(&(rrsig.len() as u16).to_be_bytes());
            out.extend_from_slice(rrsig);
        }
        let end = out.len();
        out.extend_from_slice(&notes.pointers);
        out.extend_from_slice(&notes.targets);
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes();
        let place = |at: usize| (at as u32).to_le_bytes();
        out[head..head + 2].copy_from_slice(&self.rtype.0.to_le_bytes());
        out[head + 2..head + 4].copy_from_slice(&count(self.rdatas.len()));
        out[head + 4..head + 6].copy_from_slice(&count(self.rrsigs.len()));
        out[head + 8..head + 12].copy_from_slice(&place(records - start));
        out[head + 12..head + 16].copy_from_slice(&place(rrsigs - records));
        out[head + 16..head + 20].copy_from_slice(&place(end - rrsigs));
        out[head + 20..head + 22].copy_from_slice(&count(notes.pointers.len() / POINTER_NOTE));
        out[head + 22..head + 24].copy_from_slice(&count(notes.targets.len()));
    }

    fn write_record(
        &self,
        set_start: usize,
        (owner, apex): (&[u8], &[u8]),
        rdata: &[u8],
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) {
        write_head(self.rtype, self.ttl, out);
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        let mut done = 0;
        let names = if has_names(self.rtype) { rdata::fields(self.rtype, rdata) } else { None };
        for (field, span) in names.unwrap_or_default() {
            let Field::Name { compress, .. } = field else { continue };
            out.extend_from_slice(&rdata[done..span.start]);
            done = span.end;
            let wire = &rdata[span];
            if let Some(target) = target_of(self.rtype, owner, rdata, wire).filter(|to| name::is_at_or_below(to, apex))
            {
                let is_owner = wire == [0] && matches!(self.rtype, Rtype::SVCB | Rtype::HTTPS);
                let offset = if is_owner { 0 } else { out.len() - set_start };
                notes.target(offset, target);
            }
            let at = out.len() - set_start;
            // Beyond 64 KiB no message carries the RRset anyway.
            let fits = u16::try_from(at + wire.len()).is_ok();
            let tail = if compress && fits { notes.tail(wire, owner, apex) } else { None };
            let len = tail.map_or(wire.len(), |(len, _)| len);
            out.extend_from_slice(&wire[..len]);
            if let Some((_, tail)) = tail {
                notes.pointers.extend_from_slice(&((at + len) as u16).to_le_bytes());
                notes.pointers.extend_from_slice(&tail.to_note().to_le_bytes());
                // A message puts the pointer there that it needs.
                out.extend_from_slice(&[0xc0, 0]);
            }
            if compress && at + wire.len() <= SHARED_MAX && notes.spelled.len() < SPELLED_MAX {
                notes.spelled.push(Spelled { wire: wire.to_vec(), at, len });
            }
        }
        out.extend_from_slice(&rdata[done..]);
        let length = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }
}

impl Notes {
    /// What a name in RDATA need not say itself: how many octets come before that, and what it is. The longest wins, the owner's and then
    /// the first where several are as long.
    fn tail(&self, wire: &[u8], owner: &[u8], apex: &[u8]) -> Option<(usize, Tail)> {
        let mut best = None;
        let mut octets = 2;
        if apex != [0] && name::is_at_or_below(wire, apex) {
            // Beyond the apex it has to be written as in the owner, so that it is read back as it was; what a wildcard's name has of its
            // own is not in the names made from it.
            let own = if owner.starts_with(b"\x01*") { 2 } else { 0 };
            octets = apex.len().max(name::common_ancestor_as_written(wire, &owner[own..]));
            best = Some((wire.len() - octets, Tail::Owner(octets)));
        }
        for spelled in &self.spelled {
            let common = name::common_ancestor_as_written(wire, &spelled.wire);
            let start = spelled.wire.len() - common;
            if common > octets && start < spelled.len {
                octets = common;
                best = Some((wire.len() - octets, Tail::Records(spelled.at + start)));
            }
        }
        best
    }

    fn target(&mut self, offset: usize, name: &[u8]) {
        const HEAD: usize = 11;
        let mut at = 0;
        while at < self.targets.len() {
            let end = at + HEAD + usize::from(self.targets[at + 2]);
            if is_same(&self.targets[at + HEAD..end], name) {
                return;
            }
            at = end;
        }
        // More targets than this fit in no message with their RRset.
        let Ok(offset) = u16::try_from(offset) else { return };
        if self.targets.len() + HEAD + name.len() > usize::from(u16::MAX) {
            return;
        }
        self.targets.extend_from_slice(&offset.to_le_bytes());
        self.targets.push(name.len() as u8);
        self.targets.extend_from_slice(&super::key::hash(name).to_le_bytes());
        self.targets.extend_from_slice(name);
    }
}

fn write_head(rtype: Rtype, ttl: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&QUESTION_POINTER.to_be_bytes());
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
}

/// Whether names in RDATA of this type matter here: a message may compress them, or their addresses go along.
fn has_names(rtype: Rtype) -> bool {
    let compressed = |field: &Field| matches!(field, Field::Name { compress: true, .. });
    matches!(rtype, Rtype::SRV | Rtype::SVCB | Rtype::HTTPS)
        || rtype.info().is_some_and(|info| info.fields.iter().any(compressed))
}

/// The name whose addresses go into the additional section (RFC 1035 section 3.3, RFC 2782, RFC 9460 section 4.1), from a name in RDATA.
fn target_of<'a>(rtype: Rtype, owner: &'a [u8], rdata: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    match rtype {
        // RFC 9460 section 2.5: "." in AliasMode is no service; in ServiceMode it is the owner. A wildcard's owner is not yet known.
        Rtype::SVCB | Rtype::HTTPS if name == [0] => {
            (rdata[..2] != [0, 0] && !owner.starts_with(b"\x01*")).then_some(owner)
        }
        // RFC 7505 and RFC 2782: "." is no host.
        Rtype::MX | Rtype::SRV if name == [0] => None,
        Rtype::NS | Rtype::MX | Rtype::SRV | Rtype::SVCB | Rtype::HTTPS => Some(name),
        _ => None,
    }
}
