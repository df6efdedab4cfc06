//! Zones as secondaries take them: whole (AXFR, RFC 5936) or as differences (IXFR, RFC 1995), a message at a time.
//!
//! A [`Stream`] goes through one version of a zone while newer ones are served, and holds one message of it, never the zone. Who may
//! have a zone, signatures and sockets are others' business.

pub mod incoming;
mod names;
pub mod notify;
pub mod refresh;
mod request;
mod writer;

use std::sync::Arc;

use crate::dns::header::POINTER_MAX;
use crate::dns::{Name, Rtype};
use crate::zone::tree::NodeRecord;
use crate::zone::{Condensed, Difference, ZoneSnapshot, serial};

pub use request::Request;
use writer::Writer;

/// Messages are this long where no record is longer: as far as names can be pointed to (RFC 1035 section 4.1.4), further ones would only
/// be less compressed.
const MESSAGE: usize = POINTER_MAX;
/// Differences of more octets than this are not condensed for a datagram, which hardly has room for what is left.
const DATAGRAM: usize = 1 << 18;

/// What a request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The whole zone.
    Whole,
    /// What changed since the client's version, condensed (RFC 1995 section 5).
    Differences,
    /// The SOA alone: the client has what there is, or should ask again over a stream (RFC 1995 section 2).
    SoaOnly,
}

/// The messages of one transfer.
pub struct Stream {
    zone: Arc<ZoneSnapshot>,
    kind: Kind,
    differences: Condensed,
    stage: Stage,
    writer: Writer,
    records: u64,
}

/// How far a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is written.
    First,
    /// What stands here is next.
    Within(Place),
    /// The SOA at the end is next.
    Last,
    /// All is written.
    Done,
}

/// A place in a zone, page, node and record; or in differences, which record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    part: usize,
    node: usize,
    record: usize,
}

/// A record that can't be put into any message beside what has to be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record does not fit into a message")]
pub struct TooLong;

impl Stream {
    /// What answers `request` for this version of the zone. `head` is the header and question of the response and `opt` its OPT record or
    /// nothing; `limit` is how long a message may be.
    pub fn new(zone: &Arc<ZoneSnapshot>, request: &Request<'_>, head: &[u8], opt: &[u8], limit: usize) -> Stream {
        let (kind, differences) = choose(zone, request);
        let mut stream = Stream::of(zone, kind, differences, (head, opt), limit);
        if request.over_datagram && kind == Kind::Differences && !stream.is_one_message() {
            stream = Stream::of(zone, Kind::SoaOnly, Condensed::default(), (head, opt), limit);
        }
        stream
    }

    fn of(
        zone: &Arc<ZoneSnapshot>,
        kind: Kind,
        differences: Condensed,
        (head, opt): (&[u8], &[u8]),
        limit: usize,
    ) -> Stream {
        let writer = Writer::new(head, opt, limit);
        Stream { zone: Arc::clone(zone), kind, differences, stage: Stage::First, writer, records: 0 }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The zone's apex.
    pub fn zone(&self) -> &Name {
        self.zone.origin()
    }

    /// The serial that it brings the client to.
    pub fn serial(&self) -> u32 {
        self.zone.serial()
    }

    /// Records written until now.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether there is nothing more.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The next message; none after the last.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, TooLong> {
        if self.stage == Stage::Done {
            return Ok(None);
        }
        self.writer.begin();
        self.fill();
        self.records += u64::from(self.writer.count());
        if self.writer.count() == 0 { Err(TooLong) } else { Ok(Some(self.writer.finish())) }
    }

    /// Whether all of it fits into its first message. Starts from the beginning again.
    fn is_one_message(&mut self) -> bool {
        let fits = self.next_message().is_ok() && self.is_done();
        self.stage = Stage::First;
        self.records = 0;
        self.writer.restart();
        fits
    }

    /// Writes as much as fits into a message.
    fn fill(&mut self) {
        let Stream { zone, kind, differences, stage, writer, .. } = self;
        if *stage == Stage::First {
            if !put_soa(zone, writer) {
                return;
            }
            *stage = if *kind == Kind::SoaOnly { Stage::Done } else { Stage::Within(Place::default()) };
        }
        if let Stage::Within(place) = stage {
            let is_through = match kind {
                Kind::Whole => put_zone(zone, place, writer),
                _ => put_differences(differences, place, writer),
            };
            if is_through {
                *stage = Stage::Last;
            }
        }
        if *stage == Stage::Last && put_soa(zone, writer) {
            *stage = Stage::Done;
        }
    }
}

/// What a request gets: differences where they are remembered and less than the zone, else the whole (RFC 1995 sections 2 and 4).
/// Condensed they are never more than one after the other, and to find out costs little beside sending them.
fn choose(zone: &ZoneSnapshot, request: &Request<'_>) -> (Kind, Condensed) {
    let Some(theirs) = request.serial else { return (Kind::Whole, Condensed::default()) };
    if theirs == zone.serial() || serial::is_after(theirs, zone.serial()) {
        return (Kind::SoaOnly, Condensed::default());
    }
    let octets = |differences: &[Arc<Difference>]| differences.iter().map(|one| one.octets().len()).sum::<usize>();
    let since = zone.history().since(theirs);
    let since = since.filter(|since| !request.over_datagram || octets(since) <= DATAGRAM);
    match since.and_then(Condensed::of) {
        Some(differences) if differences.octets() < zone.octets() => (Kind::Differences, differences),
        // What does not fit into a datagram is to be asked for over a stream.
        _ if request.over_datagram => (Kind::SoaOnly, Condensed::default()),
        _ => (Kind::Whole, Condensed::default()),
    }
}

fn put_soa(zone: &ZoneSnapshot, writer: &mut Writer) -> bool {
    let node = zone.published().tree.apex_node();
    let soa = node.records().find(|record| record.rtype == Rtype::SOA);
    soa.is_some_and(|NodeRecord { rtype, ttl, rdata }| writer.put(node.name(), rtype, ttl, &rdata))
}

/// Writes the zone from a place on, without its SOA; whether that was all.
fn put_zone(zone: &ZoneSnapshot, from: &mut Place, writer: &mut Writer) -> bool {
    let begin = *from;
    let apex_len = zone.origin().as_wire().len();
    for ((part, node), owner) in zone.published().tree.placed(begin.part) {
        if part == begin.part && node < begin.node {
            continue;
        }
        let done = if (part, node) == (begin.part, begin.node) { begin.record } else { 0 };
        *from = Place { part, node, record: done };
        let is_apex = owner.name().len() == apex_len;
        for NodeRecord { rtype, ttl, rdata } in owner.records().skip(done) {
            let is_soa = is_apex && rtype == Rtype::SOA;
            if !is_soa && !writer.put(owner.name(), rtype, ttl, &rdata) {
                return false;
            }
            from.record += 1;
        }
    }
    true
}

/// Writes differences from a place on; whether that was all.
fn put_differences(differences: &Condensed, from: &mut Place, writer: &mut Writer) -> bool {
    while let Some(changed) = differences.record(from.record) {
        if !writer.put(changed.owner, changed.rtype, changed.ttl, changed.rdata) {
            return false;
        }
        from.record += 1;
    }
    true
}
