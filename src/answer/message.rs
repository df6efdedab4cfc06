//! Writes a response: the question copied, then RRsets from the snapshot with their two kinds of pointers patched.

use super::edns::Given;
use super::query::Query;
use crate::dns::header::{AA, CD, CLASS_ANY, DO, ExtendedError, HEADER, OPCODE, POINTER_MAX, QR, RD, Rcode, TC};
use crate::dns::name::MAX_NAME;
use crate::zone::snapshot::ZoneSnapshot;
use crate::zone::tree::{QUESTION_POINTER, RECORD_HEAD, SHARED_MAX, Set, Tail};

/// The OPT record of a response, without options.
const OPT_LEN: usize = 11;
/// Up to here an RRset can begin so that all that it points to is reached.
pub const REACH: usize = POINTER_MAX - SHARED_MAX - MAX_NAME;

/// What OPT and its options take at least.
fn reserved(query: &Query<'_>, given: &Given<'_>) -> usize {
    if query.edns.is_some() { OPT_LEN + given.len() } else { 0 }
}

/// A response under construction.
pub struct Message<'a> {
    out: &'a mut [u8],
    len: usize,
    counts: [u16; 3],
    /// `Some(DO)` where the query had an OPT record.
    edns: Option<bool>,
    given: Given<'a>,
    /// What OPT and its options take at least.
    reserved: usize,
    extended_rcode: u8,
    /// Whether AA can be set at all.
    one_class: bool,
}

/// The sections after the question.
#[derive(Clone, Copy)]
pub enum Section {
    /// Answer.
    Answer = 0,
    /// Authority.
    Authority = 1,
    /// Additional.
    Additional = 2,
}

/// The name that an RRset is written under: labels, and a pointer to where the rest of it stands in the message already.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// The labels in wire form; none where the whole name stands there.
    pub labels: &'a [u8],
    /// The pointer.
    pub pointer: u16,
    /// How many octets the whole name has.
    pub len: usize,
}

impl Owner<'_> {
    /// A name that stands in the message already, and its length.
    pub fn at(pointer: u16, len: usize) -> Owner<'static> {
        Owner { labels: &[], pointer, len }
    }
}

/// A zone, and where in this message its apex can be pointed to.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The zone.
    pub zone: &'a ZoneSnapshot,
    /// The pointer.
    pub apex: u16,
}

impl<'a> Message<'a> {
    /// Copies identifier, opcode, the question, and of a QUERY RD and CD. `out` is as long as the response may get, at least a header; `given` counts
    /// where the query had an OPT record.
    pub fn begin(out: &'a mut [u8], query: &Query<'_>, given: Given<'a>) -> Message<'a> {
        let header = query.header;
        let len = HEADER + query.question.len();
        out[..HEADER].fill(0);
        out[..2].copy_from_slice(&header[..2]);
        // RD and CD mean something in a QUERY only: of an UPDATE, for one, those bits are zero (RFC 2136 section 2.2).
        let (rd, cd) = if header[2] & OPCODE == 0 { (RD, CD) } else { (0, 0) };
        out[2] = QR | header[2] & (OPCODE | rd);
        // RFC 4035 section 3: CD must be copied (section 3.1.6 would rather have it cleared); AD is never set by an authoritative server.
        out[3] = header[3] & cd;
        out[5] = u8::from(!query.question.is_empty());
        out[HEADER..len].copy_from_slice(query.question);
        Message {
            out,
            len,
            counts: [0; 3],
            edns: query.edns.map(|edns| edns.dnssec_ok),
            given,
            reserved: reserved(query, &given),
            extended_rcode: 0,
            one_class: query.class != CLASS_ANY,
        }
    }

    /// The octets of a response with nothing in it but what has to be.
    pub fn least(query: &Query<'_>, given: &Given<'_>) -> usize {
        HEADER + query.question.len() + reserved(query, given)
    }

    /// Sets the response code.
    pub fn rcode(&mut self, rcode: Rcode) {
        let code = rcode as u16;
        self.out[3] = self.out[3] & 0xf0 | (code & 0xf) as u8;
        self.extended_rcode = (code >> 4) as u8;
    }

    /// Says why, where the client can read it and it fits.
    pub fn explain(&mut self, error: ExtendedError) {
        if self.edns.is_some() && self.given.error.is_none() && Given::ERROR <= self.room() {
            self.given.error = Some(error);
            self.reserved += Given::ERROR;
        }
    }

    /// Sets AA, but for class ANY: there may be other classes, of which we know nothing (RFC 1035 section 6.2).
    pub fn authoritative(&mut self) {
        if self.one_class {
            self.out[2] |= AA;
        }
    }

    /// Sets TC.
    pub fn truncated(&mut self) {
        self.out[2] |= TC;
    }

    /// Where the next record will stand.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The octets written so far.
    pub fn written(&self) -> &[u8] {
        &self.out[..self.len]
    }

    fn room(&self) -> usize {
        self.out.len().saturating_sub(self.len + self.reserved)
    }

    /// Writes a set's records, and its signatures if asked. False, with nothing written, when they do not fit whole.
    pub fn put(&mut self, section: Section, place: Place<'_>, set: Set<'_>, owner: Owner<'_>, signed: bool) -> bool {
        let start = self.len;
        if start > REACH && (!owner.labels.is_empty() || set.shares_more_than(place.zone.origin().as_wire().len())) {
            return self.put_in_full(section, place, set, owner, signed);
        }
        let rrsigs = if signed { set.rrsigs } else { &[] };
        let Some(records_at) = self.put_records(place, set, owner) else { return false };
        // All records but the first point to where the first one's owner stands.
        let pointer = if owner.labels.is_empty() { owner.pointer } else { 0xc000 | start as u16 };
        if rrsigs.len() > self.room() {
            self.len = start;
            return false;
        }
        let rrsigs_at = self.len;
        self.out[rrsigs_at..rrsigs_at + rrsigs.len()].copy_from_slice(rrsigs);
        self.len += rrsigs.len();
        if pointer != QUESTION_POINTER {
            let first = if records_at == start { records_at } else { self.next_record(records_at) };
            self.point_owners(first, pointer);
        }
        self.counts[section as usize] += set.count + if signed { set.rrsig_count } else { 0 };
        true
    }

    /// Writes a set's signatures alone: the answer to a question for RRSIG.
    pub fn put_rrsigs(&mut self, set: Set<'_>, owner: u16) -> bool {
        let rrsigs = set.rrsigs;
        if rrsigs.len() > self.room() {
            return false;
        }
        let start = self.len;
        self.out[start..start + rrsigs.len()].copy_from_slice(rrsigs);
        self.len += rrsigs.len();
        self.point_owners(start, owner);
        self.counts[Section::Answer as usize] += set.rrsig_count;
        true
    }

    /// Writes a CNAME at `owner` whose target is `prefix` before `suffix`, a name or a pointer to one: what a DNAME makes (RFC 6672 section 3.1).
    /// Gives the target's offset.
    pub fn put_cname(&mut self, owner: u16, ttl: u32, prefix: &[u8], suffix: &[u8]) -> Option<usize> {
        let rdata = prefix.len() + suffix.len();
        if 12 + rdata > self.room() {
            return None;
        }
        let mut head = [0u8; 12];
        head[..2].copy_from_slice(&owner.to_be_bytes());
        head[2..6].copy_from_slice(&[0, 5, 0, 1]);
        head[6..10].copy_from_slice(&ttl.to_be_bytes());
        head[10..].copy_from_slice(&(rdata as u16).to_be_bytes());
        let target = self.len + 12;
        for bytes in [&head, prefix, suffix] {
            self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        }
        self.counts[Section::Answer as usize] += 1;
        Some(target)
    }

    /// Writes a TXT record of class CH at the question's name. False, with nothing written, when it does not fit.
    pub fn put_chaos_text(&mut self, text: &[u8]) -> bool {
        let len = text.len() as u8;
        let head = [0xc0, HEADER as u8, 0, 16, 0, 3, 0, 0, 0, 0];
        let rdlength = (u16::from(len) + 1).to_be_bytes();
        if head.len() + 3 + text.len() > self.room() {
            return false;
        }
        for bytes in [&head[..], &rdlength, &[len], text] {
            self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        }
        self.counts[Section::Answer as usize] += 1;
        true
    }

    /// Writes the records with the first one's owner; gives where the first record's owner ends in a pointer: there the stored octets
    /// begin.
    fn put_records(&mut self, place: Place<'_>, set: Set<'_>, owner: Owner<'_>) -> Option<usize> {
        let (labels, records) = (owner.labels, set.records);
        if labels.len() + records.len() > self.room() {
            return None;
        }
        self.out[self.len..self.len + labels.len()].copy_from_slice(labels);
        let at = self.len + labels.len();
        self.out[at..at + records.len()].copy_from_slice(records);
        if !labels.is_empty() {
            self.out[at..at + 2].copy_from_slice(&owner.pointer.to_be_bytes());
        }
        for (offset, tail) in set.pointers() {
            let pointer = match tail {
                Tail::Owner(octets) if octets == place.zone.origin().as_wire().len() => place.apex,
                Tail::Owner(octets) => {
                    let owner_at =
                        if labels.is_empty() { usize::from(owner.pointer & 0x3fff) } else { at - labels.len() };
                    0xc000 | suffix_at(&self.out[..at + 2], owner_at, owner.len - octets)? as u16
                }
                Tail::Records(to) => 0xc000 | (at + to) as u16,
            };
            self.out[at + offset..at + offset + 2].copy_from_slice(&pointer.to_be_bytes());
        }
        self.len = at + records.len();
        Some(at)
    }

    /// [`Message::put`] where no pointer may reach any more: each record has its owner's labels itself, and the names in its RDATA have
    /// theirs. The rest of them stands in the question or an early answer, so that it can be pointed to from everywhere.
    fn put_in_full(
        &mut self,
        section: Section,
        place: Place<'_>,
        set: Set<'_>,
        owner: Owner<'_>,
        signed: bool,
    ) -> bool {
        let start = self.len;
        let mut pointers = set.pointers().peekable();
        for (part, end) in [(set.records, usize::MAX), (if signed { set.rrsigs } else { &[] }, 0)] {
            let mut rest = part;
            while !rest.is_empty() {
                let record = part.len() - rest.len();
                let (head, rdata) = rest.split_at(RECORD_HEAD);
                let (rdata, after) = rdata.split_at(usize::from(u16::from_be_bytes([head[10], head[11]])));
                rest = after;
                let end = end.min(part.len() - rest.len());
                let pointers = std::iter::from_fn(|| pointers.next_if(|(at, _)| *at < end));
                let pointers = pointers.map(|(at, tail)| (at - record - RECORD_HEAD, tail));
                if self.write_in_full(place, set, owner, (head, rdata), pointers).is_none() {
                    self.len = start;
                    return false;
                }
            }
        }
        self.counts[section as usize] += set.count + if signed { set.rrsig_count } else { 0 };
        true
    }

    fn write_in_full(
        &mut self,
        place: Place<'_>,
        set: Set<'_>,
        owner: Owner<'_>,
        (head, rdata): (&[u8], &[u8]),
        pointers: impl Iterator<Item = (usize, Tail)>,
    ) -> Option<()> {
        self.write(owner.labels)?;
        self.write(&owner.pointer.to_be_bytes())?;
        self.write(&head[2..])?;
        let start = self.len;
        let mut done = 0;
        for (pointer, tail) in pointers {
            self.write(&rdata[done..pointer])?;
            let mut fits = Some(());
            let apex_follows = set.spell(tail, place.zone.origin().as_wire().len(), |piece| {
                fits = fits.and_then(|()| self.write(piece));
            });
            fits?;
            if apex_follows {
                self.write(&place.apex.to_be_bytes())?;
            }
            done = pointer + 2;
        }
        self.write(&rdata[done..])?;
        let length = (self.len - start) as u16;
        self.out[start - 2..start].copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    /// Writes octets, where they fit.
    fn write(&mut self, octets: &[u8]) -> Option<()> {
        if octets.len() > self.room() {
            return None;
        }
        self.out[self.len..self.len + octets.len()].copy_from_slice(octets);
        self.len += octets.len();
        Some(())
    }

    fn next_record(&self, at: usize) -> usize {
        at + 12 + usize::from(u16::from_be_bytes([self.out[at + 10], self.out[at + 11]]))
    }

    fn point_owners(&mut self, mut at: usize, pointer: u16) {
        while at < self.len {
            self.out[at..at + 2].copy_from_slice(&pointer.to_be_bytes());
            at = self.next_record(at);
        }
    }

    /// Lowers the TTLs of the records from an offset on, whose owners are pointers.
    pub fn lower_ttls(&mut self, mut at: usize, ttl: u32) {
        while at < self.len {
            self.out[at + 6..at + 10].copy_from_slice(&ttl.to_be_bytes());
            at = self.next_record(at);
        }
    }

    /// Writes counts and OPT; gives the response's length.
    pub fn finish(mut self) -> usize {
        if let Some(dnssec_ok) = self.edns {
            let payload = (super::UDP_MAX as u16).to_be_bytes();
            // RFC 3225 section 3: DO is copied.
            let flags = if dnssec_ok { DO } else { 0 };
            let limit = self.out.len();
            let at = self.len + OPT_LEN;
            let options = self.given.write(&mut self.out[at..], at, limit);
            let [high, low] = (options as u16).to_be_bytes();
            let opt = [0, 0, 41, payload[0], payload[1], self.extended_rcode, 0, flags, 0, high, low];
            self.out[self.len..at].copy_from_slice(&opt);
            self.len = at + options;
            self.counts[Section::Additional as usize] += 1;
        }
        for (index, count) in self.counts.iter().enumerate() {
            self.out[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
        self.len
    }
}

/// Where the name at `at` goes on after its first `skip` octets, pointers followed.
pub fn suffix_at(message: &[u8], mut at: usize, mut skip: usize) -> Option<usize> {
    loop {
        let octet = *message.get(at)?;
        if octet >= 0xc0 {
            let target = usize::from(octet & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            if target >= at {
                return None;
            }
            at = target;
        } else if skip == 0 {
            return (at <= POINTER_MAX).then_some(at);
        } else {
            let step = 1 + usize::from(octet);
            skip = skip.checked_sub(step)?;
            at += step;
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
