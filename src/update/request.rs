//! An UPDATE message becomes a value, or the response code of what is wrong with it, whatever zone it is for.
//!
//! The update section's format is looked at before any prerequisite (RFC 2136 section 3.4.1 would do so after them): what is malformed
//! says so, and not first whether something exists. BIND does it in this order, too.

use std::collections::BTreeMap;

use crate::dns::header::{CLASS_ANY, CLASS_IN, HEADER, OPCODE, QR, Rcode, UPDATE};
use crate::dns::walk::{self, Walked};
use crate::dns::{Name, RRset, Rdata, Record, Rtype, uncompress};

/// Class NONE (RFC 2136 section 2.4).
const CLASS_NONE: u16 = 254;

/// A request to change a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The zone's apex.
    pub zone: Name,
    /// What has to hold, in the message's order; what has to be there with these very values comes last (RFC 2136 section 3.2.3).
    pub prerequisites: Vec<Prerequisite>,
    /// What to do, in the message's order.
    pub updates: Vec<Change>,
}

/// What has to hold before anything is done (RFC 2136 section 2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prerequisite {
    /// An owner has records, of whatever type (section 2.4.4).
    InUse(Name),
    /// It has none (section 2.4.5).
    NotInUse(Name),
    /// It has records of a type (section 2.4.1).
    Exists(Name, Rtype),
    /// It has none of that type (section 2.4.3).
    ExistsNot(Name, Rtype),
    /// It has these and no other records of that type; the TTL is not compared (section 2.4.2).
    Equals(Name, RRset),
}

/// One change (RFC 2136 section 2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A record comes (section 2.5.1).
    Add(Record),
    /// An RRset goes (section 2.5.2).
    DeleteRrset(Name, Rtype),
    /// All RRsets of an owner go (section 2.5.3).
    DeleteName(Name),
    /// A record goes (section 2.5.4).
    Delete(Name, Rtype, Rdata),
}

impl Request {
    /// Reads a whole message. What stands in its additional section is another's matter. FORMERR and NOTZONE are those of RFC 2136
    /// sections 3.1.1, 3.2 and 3.4.1; NOTAUTH is for a zone that is not of class IN (section 3.1.2).
    pub fn read(message: &[u8]) -> Result<Request, Rcode> {
        let records = records(message).ok_or(Rcode::FormErr)?;
        let mut request = Request { zone: zone(message)?, prerequisites: Vec::new(), updates: Vec::new() };
        let mut values = BTreeMap::new();
        for record in records {
            match record.section {
                1 => request.read_prerequisite(message, &record, &mut values)?,
                2 => request.read_update(message, &record)?,
                _ => {}
            }
        }
        let equal = values.into_iter().map(|((owner, _), rrset)| Prerequisite::Equals(owner, rrset));
        request.prerequisites.extend(equal);
        Ok(request)
    }

    /// Whether a prerequisite says which SOA the zone has.
    pub fn asks_for_soa(&self) -> bool {
        let is_soa = |one: &Prerequisite| matches!(one, Prerequisite::Equals(_, rrset) if rrset.rtype == Rtype::SOA);
        self.prerequisites.iter().any(is_soa)
    }

    /// RFC 2136 section 3.2.5.
    fn read_prerequisite(
        &mut self,
        message: &[u8],
        record: &Walked<'_>,
        values: &mut BTreeMap<(Name, Rtype), RRset>,
    ) -> Result<(), Rcode> {
        let Walked { rtype, class, ttl, .. } = *record;
        let owner = owner(message, record)?;
        if ttl != 0 {
            return Err(Rcode::FormErr);
        }
        self.is_inside(&owner)?;
        let prerequisite = match (class, rtype) {
            (CLASS_ANY | CLASS_NONE, _) if !record.rdata.is_empty() => return Err(Rcode::FormErr),
            (CLASS_ANY, Rtype::ANY) => Prerequisite::InUse(owner),
            (CLASS_ANY, _) => Prerequisite::Exists(owner, rtype),
            (CLASS_NONE, Rtype::ANY) => Prerequisite::NotInUse(owner),
            (CLASS_NONE, _) => Prerequisite::ExistsNot(owner, rtype),
            (CLASS_IN, _) => {
                let rdata = rdata(message, record)?;
                let empty = || RRset { rtype, ttl: 0, rdatas: Vec::new() };
                // One that stands there twice is in the set once (section 3.2.3).
                values.entry((owner, rtype)).or_insert_with(empty).insert(rdata);
                return Ok(());
            }
            _ => return Err(Rcode::FormErr),
        };
        self.prerequisites.push(prerequisite);
        Ok(())
    }

    /// RFC 2136 section 3.4.1.3.
    fn read_update(&mut self, message: &[u8], record: &Walked<'_>) -> Result<(), Rcode> {
        let Walked { rtype, class, ttl, .. } = *record;
        let owner = owner(message, record)?;
        self.is_inside(&owner)?;
        let change = match class {
            CLASS_IN if !rtype.is_meta() => {
                // RFC 2181 section 8: a TTL with the top bit set is 0.
                let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
                Change::Add(Record { owner, ttl, rtype, rdata: rdata(message, record)? })
            }
            CLASS_ANY if ttl == 0 && record.rdata.is_empty() => match rtype {
                Rtype::ANY => Change::DeleteName(owner),
                _ if rtype.is_meta() => return Err(Rcode::FormErr),
                _ => Change::DeleteRrset(owner, rtype),
            },
            CLASS_NONE if ttl == 0 && !rtype.is_meta() => Change::Delete(owner, rtype, rdata(message, record)?),
            _ => return Err(Rcode::FormErr),
        };
        self.updates.push(change);
        Ok(())
    }

    fn is_inside(&self, owner: &Name) -> Result<(), Rcode> {
        if owner.is_at_or_below(&self.zone) { Ok(()) } else { Err(Rcode::NotZone) }
    }
}

/// All records of an UPDATE message; none where it is another, or not whole.
fn records(message: &[u8]) -> Option<Vec<Walked<'_>>> {
    let header = message.first_chunk::<HEADER>()?;
    let promised: usize = [6, 8, 10].map(|at| usize::from(header[at]) << 8 | usize::from(header[at + 1])).iter().sum();
    let records: Vec<Walked<'_>> = walk::records(message).collect();
    let end = records.last().map_or(walk::after_questions(message)?, |record| record.end);
    let is_whole = records.len() == promised && end == message.len();
    (is_whole && header[2] & (QR | OPCODE) == UPDATE).then_some(records)
}

/// The zone section: one record, of type SOA (RFC 2136 section 3.1.1).
fn zone(message: &[u8]) -> Result<Name, Rcode> {
    let (zone, after) = uncompress::name(message, HEADER).ok_or(Rcode::FormErr)?;
    let question = message.get(after..after + 4).ok_or(Rcode::FormErr)?;
    let [rtype, class] = [0, 2].map(|at| u16::from_be_bytes([question[at], question[at + 1]]));
    if message.get(4..6) != Some(&[0, 1]) || Rtype(rtype) != Rtype::SOA {
        return Err(Rcode::FormErr);
    }
    if class == CLASS_IN { Ok(zone) } else { Err(Rcode::NotAuth) }
}

fn owner(message: &[u8], record: &Walked<'_>) -> Result<Name, Rcode> {
    uncompress::name(message, record.start).map(|(owner, _)| owner).ok_or(Rcode::FormErr)
}

fn rdata(message: &[u8], record: &Walked<'_>) -> Result<Rdata, Rcode> {
    uncompress::rdata(message, record).ok_or(Rcode::FormErr)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
