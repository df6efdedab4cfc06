//! One node as octets: a name, and the RRsets at it with their signatures, ready to be copied into a message.
//!
//! ```text
//! 0  octets in all, u32      8  the name
//! 4  octets of the name, u8     a head for each RRset
//! 6  RRsets, u16                for each RRset its records, its RRSIGs, its notes
//! ```
//! A record begins with a pointer to the question's name, and a name in its RDATA that a message may compress ends in a pointer: to the
//! apex or what else it shares with the owner, or to a name in a record before it. The notes tell where these pointers stand and what
//! they stand for, and which names' addresses belong beside the RRset.

use std::borrow::Cow;

use crate::dns::header::HEADER;
use crate::dns::{Name, RRset, Rtype};

/// Where a pointer to the question's name points.
pub const QUESTION_POINTER: u16 = 0xc000 | HEADER as u16;
/// What a record has before its RDATA: a pointer, type, class, TTL and the RDATA's length.
pub const RECORD_HEAD: usize = 12;

const NODE_HEAD: usize = 8;
pub(super) const SET_HEAD: usize = 24;

/// How far into a set's records its pointers reach: a message that has room for so much has room for what they point to.
pub const SHARED_MAX: usize = 4096;
/// What a note of a pointer has: where it stands, and what it stands for.
pub(super) const POINTER_NOTE: usize = 4;
/// The bit that tells a place in the records from a number of the owner's octets.
const IN_RECORDS: u16 = 0x8000;

/// What a compressed name in RDATA ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// So many of the owner's last octets: the apex, or a name between it and the owner.
    Owner(usize),
    /// The name that begins here in the set's records, below [`SHARED_MAX`].
    Records(usize),
}

impl Tail {
    pub(super) fn to_note(self) -> u16 {
        match self {
            Tail::Owner(octets) => octets as u16,
            Tail::Records(at) => IN_RECORDS | at as u16,
        }
    }

    fn from_note(note: u16) -> Tail {
        match note & IN_RECORDS {
            0 => Tail::Owner(usize::from(note)),
            _ => Tail::Records(usize::from(note & !IN_RECORDS)),
        }
    }
}

/// A node of a zone: an owner, or an empty non-terminal.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    bytes: &'a [u8],
}

/// An RRset: `count` records, then `rrsig_count` RRSIGs, each record beginning with a two-octet owner pointer.
#[derive(Clone, Copy)]
pub struct Set<'a> {
    /// Its type.
    pub rtype: Rtype,
    /// How many records. There are none where only signatures are left of it.
    pub count: u16,
    /// How many signatures.
    pub rrsig_count: u16,
    /// The records.
    pub records: &'a [u8],
    /// The signatures.
    pub rrsigs: &'a [u8],
    pointers: &'a [u8],
    targets: &'a [u8],
    place: SetPlace<'a>,
}

/// A record of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeRecord<'a> {
    /// Its type.
    pub rtype: Rtype,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its RDATA, names uncompressed.
    pub rdata: Cow<'a, [u8]>,
}

/// Where an RRset is to be had: as much as is needed to keep one in mind.
#[derive(Clone, Copy)]
pub struct SetPlace<'a> {
    node: Node<'a>,
    /// Where in the node its head begins.
    head: u32,
}

/// A name in an RRset's RDATA whose addresses go into the additional section.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Where in the set's records the name begins; 0 for the owner's.
    pub offset: u16,
    /// Its [`super::key::hash`].
    pub hash: u64,
    /// The name in wire form.
    pub name: &'a [u8],
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl<'a> Node<'a> {
    /// The node that begins here.
    pub(super) fn at(bytes: &'a [u8]) -> Node<'a> {
        Node { bytes }
    }

    /// All its octets.
    pub fn as_bytes(self) -> &'a [u8] {
        &self.bytes[..u32_at(self.bytes, 0) as usize]
    }

    /// Whether this is the very same node, and not one that looks like it.
    pub fn is(self, other: Node<'_>) -> bool {
        std::ptr::eq(self.bytes.as_ptr(), other.bytes.as_ptr())
    }

    /// The name in wire form.
    pub fn name(self) -> &'a [u8] {
        &self.bytes[NODE_HEAD..NODE_HEAD + usize::from(self.bytes[4])]
    }

    /// The name.
    pub fn owner(self) -> Name {
        Name::from_wire(self.name()).unwrap_or_else(|_| Name::root())
    }

    /// Whether it has no RRsets: an empty non-terminal.
    pub fn is_empty(self) -> bool {
        u16_at(self.bytes, 6) == 0
    }

    /// Its RRsets, by type; those of which only signatures are left among them.
    pub fn sets(self) -> impl Iterator<Item = Set<'a>> {
        let heads = NODE_HEAD + usize::from(self.bytes[4]);
        (0..usize::from(u16_at(self.bytes, 6))).map(move |index| self.set_at(heads + index * SET_HEAD))
    }

    /// Its RRset of a type, with at least one record.
    pub fn set(self, rtype: Rtype) -> Option<Set<'a>> {
        let heads = NODE_HEAD + usize::from(self.bytes[4]);
        let count = usize::from(u16_at(self.bytes, 6));
        let (sets, _) = self.bytes[heads..heads + count * SET_HEAD].as_chunks::<SET_HEAD>();
        let index = sets.iter().position(|head| u16_at(head, 0) == rtype.0 && u16_at(head, 2) > 0)?;
        Some(self.set_at(heads + index * SET_HEAD))
    }

    /// Its records one by one, the signatures of each RRset behind it.
    pub fn records(self) -> impl Iterator<Item = NodeRecord<'a>> {
        self.sets().flat_map(|set| {
            let (rtype, ttl) = (set.rtype, set.ttl());
            let records = set.rdatas().map(move |rdata| NodeRecord { rtype, ttl, rdata });
            let rrsigs = set.signatures().map(Cow::Borrowed);
            records.chain(rrsigs.map(move |rdata| NodeRecord { rtype: Rtype::RRSIG, ttl, rdata }))
        })
    }

    /// Whether it has an RRset of a type.
    pub fn has(self, rtype: Rtype) -> bool {
        self.set(rtype).is_some()
    }

    /// How many records it has, signatures among them.
    pub(super) fn record_count(self) -> usize {
        let heads = NODE_HEAD + usize::from(self.bytes[4]);
        let count = usize::from(u16_at(self.bytes, 6));
        let (sets, _) = self.bytes[heads..heads + count * SET_HEAD].as_chunks::<SET_HEAD>();
        sets.iter().map(|head| usize::from(u16_at(head, 2)) + usize::from(u16_at(head, 4))).sum()
    }

    fn set_at(self, head: usize) -> Set<'a> {
        let place = SetPlace { node: self, head: head as u32 };
        let head = &self.bytes[head..head + SET_HEAD];
        let start = u32_at(head, 8) as usize;
        let (records, rrsigs) = (u32_at(head, 12) as usize, u32_at(head, 16) as usize);
        let (pointers, targets) = (POINTER_NOTE * usize::from(u16_at(head, 20)), usize::from(u16_at(head, 22)));
        let body = &self.bytes[start..start + records + rrsigs + pointers + targets];
        let (records, body) = body.split_at(records);
        let (rrsigs, body) = body.split_at(rrsigs);
        let (pointers, targets) = body.split_at(pointers);
        let (rtype, count, rrsig_count) = (Rtype(u16_at(head, 0)), u16_at(head, 2), u16_at(head, 4));
        Set { rtype, count, rrsig_count, records, rrsigs, pointers, targets, place }
    }
}

impl<'a> SetPlace<'a> {
    /// The RRset.
    pub fn set(self) -> Set<'a> {
        self.node.set_at(self.head as usize)
    }

    /// Whether this is the very same RRset, and not one that looks like it.
    pub fn is(self, other: SetPlace<'_>) -> bool {
        self.head == other.head && self.node.is(other.node)
    }
}

impl<'a> Set<'a> {
    /// Where it is to be had.
    pub fn place(self) -> SetPlace<'a> {
        self.place
    }

    /// Whether this is the very same RRset.
    pub fn is(self, other: Set<'_>) -> bool {
        self.place.is(other.place)
    }

    /// The TTL in seconds.
    pub fn ttl(self) -> u32 {
        let head = if self.records.is_empty() { self.rrsigs } else { self.records };
        u32::from_be_bytes([head[6], head[7], head[8], head[9]])
    }

    /// Where in the records pointers stand, ascending, and what for.
    pub fn pointers(self) -> impl Iterator<Item = (usize, Tail)> + 'a {
        let notes = self.pointers.chunks_exact(POINTER_NOTE);
        notes.map(|note| (usize::from(u16_at(note, 0)), Tail::from_note(u16_at(note, 2))))
    }

    /// Whether a pointer stands for more than the owner's last `octets`.
    pub fn shares_more_than(self, octets: usize) -> bool {
        self.pointers().any(|(_, tail)| tail != Tail::Owner(octets))
    }

    /// A tail in full, piece by piece, but for the owner's last `apex` octets where it ends in them: then this gives true.
    pub fn spell(self, mut tail: Tail, apex: usize, mut put: impl FnMut(&'a [u8])) -> bool {
        loop {
            let start = match tail {
                Tail::Owner(octets) => {
                    let owner = self.place.node.name();
                    put(&owner[owner.len() - octets..owner.len() - apex]);
                    return true;
                }
                Tail::Records(start) => start,
            };
            let mut end = start;
            while (1..0xc0).contains(&self.records[end]) {
                end += 1 + usize::from(self.records[end]);
            }
            if self.records[end] == 0 {
                put(&self.records[start..=end]);
                return false;
            }
            put(&self.records[start..end]);
            // A pointer points back, so this ends.
            match self.pointers().find(|(at, _)| *at == end) {
                Some((_, next)) => tail = next,
                None => return false,
            }
        }
    }

    /// The names whose addresses go into the additional section; each once.
    pub fn targets(self) -> impl Iterator<Item = Target<'a>> {
        let mut rest = self.targets;
        std::iter::from_fn(move || {
            let (head, after) = rest.split_at_checked(11)?;
            let (name, after) = after.split_at_checked(usize::from(head[2]))?;
            rest = after;
            let hash = u64::from_le_bytes([head[3], head[4], head[5], head[6], head[7], head[8], head[9], head[10]]);
            Some(Target { offset: u16_at(head, 0), hash, name })
        })
    }

    /// The RDATAs in canonical order, their names uncompressed.
    pub fn rdatas(self) -> impl Iterator<Item = Cow<'a, [u8]>> {
        let mut pointers = self.pointers().peekable();
        records(self.records).map(move |(at, rdata)| {
            let end = at + rdata.len();
            let mut whole: Option<Vec<u8>> = None;
            let mut done = at;
            while let Some((pointer, tail)) = pointers.next_if(|(pointer, _)| *pointer < end) {
                let out = whole.get_or_insert_default();
                out.extend_from_slice(&self.records[done..pointer]);
                self.spell(tail, 0, |piece| out.extend_from_slice(piece));
                done = pointer + 2;
            }
            match whole {
                Some(mut out) => {
                    out.extend_from_slice(&self.records[done..end]);
                    Cow::Owned(out)
                }
                None => Cow::Borrowed(rdata),
            }
        })
    }

    /// The first RDATA as it stands, which is whole where its type has no names that a message may compress.
    pub fn first_rdata(self) -> Option<&'a [u8]> {
        records(self.records).next().map(|(_, rdata)| rdata)
    }

    /// The RDATAs of its signatures.
    pub fn signatures(self) -> impl Iterator<Item = &'a [u8]> {
        records(self.rrsigs).map(|(_, rdata)| rdata)
    }

    /// The records as an RRset of their own.
    pub fn rrset(self) -> RRset {
        RRset { rtype: self.rtype, ttl: self.ttl(), rdatas: self.rdatas().map(|rdata| rdata.into()).collect() }
    }

    /// A digest of owner, records and signatures: it tells versions apart, and does not hold against forgers.
    pub fn digest(self, owner: &[u8]) -> u128 {
        super::key::digest(&[owner, self.records, self.rrsigs])
    }

    /// Whether records and signatures are the same octets.
    pub fn is_same(self, other: Set<'_>) -> bool {
        self.rtype == other.rtype && self.records == other.records && self.rrsigs == other.rrsigs
    }
}

/// The RDATAs of records that follow each other, and where they begin.
fn records(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = bytes.get(at + RECORD_HEAD - 2..at + RECORD_HEAD)?;
        let start = at + RECORD_HEAD;
        at = start + usize::from(u16::from_be_bytes([len[0], len[1]]));
        Some((start, &bytes[start..at]))
    })
}

/// The pointer to the apex inside a question whose name has `question_len` octets.
pub fn apex_pointer(question_len: usize, apex_len: usize) -> u16 {
    0xc000 | (HEADER + question_len - apex_len) as u16
}
