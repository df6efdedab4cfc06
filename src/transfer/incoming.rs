//! A zone as a primary sends it, a message at a time: whole (RFC 5936) or as differences (RFC 1995), however it is cut into messages.
//!
//! Nothing is taken over before all of it is here. What does not fit the version that we have is refused: then the whole zone is asked for.

use std::collections::BTreeSet;

use crate::dns::header::{CLASS_IN, HEADER, Rcode, TC};
use crate::dns::question::is_response;
use crate::dns::walk::{self, Walked};
use crate::dns::{Name, Question, Record, Rtype, rdata, uncompress};
use crate::zone::contents::Builder;
use crate::zone::tree::{Inserted, NodeRecord, Tree};
use crate::zone::{Contents, clash, serial};

/// What a transfer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A version of the zone that we have not.
    New {
        /// All of it.
        contents: Contents,
        /// Whether it came whole, and not as differences.
        whole: bool,
    },
    /// Differences were asked for, and there are none (RFC 1995 section 2).
    Nothing,
}

/// Why a transfer comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message or a record can't be read.
    #[error("a message can't be read")]
    Malformed,
    /// A message is no response to the request.
    #[error("a message answers something else")]
    NotAsked,
    /// The primary refuses, or fails.
    #[error("the response code is {0}")]
    Rcode(u8),
    /// It does not begin with the zone's SOA.
    #[error("it does not begin with the zone's SOA")]
    NoSoa,
    /// It ends with another SOA than it began with: the zone changed meanwhile.
    #[error("it ends with another SOA than it began with")]
    OtherSoa,
    /// There is more behind its end.
    #[error("there are records behind its end")]
    Beyond,
    /// A record is not of this zone.
    #[error("{0} is outside of the zone")]
    Outside(Name),
    /// A record that is in no zone: of another class, of a type for queries, or with RDATA that its type can't have.
    #[error("the {1} record of {0} can't be in a zone")]
    Unfit(Name, Rtype),
    /// Differences were asked for, and the primary has not gone on since.
    #[error("its serial, {0}, is not after ours")]
    NotNewer(u32),
    /// The differences do not go on from the version that we have, or not from each other.
    #[error("the differences go on from serial {0}, which is not the one before them")]
    Gap(u32),
    /// What a difference takes away is not there.
    #[error("the differences take a {1} record of {0} away that is not there")]
    NotThere(Name, Rtype),
    /// What a difference brings has another TTL than what is there of its RRset.
    #[error("the differences bring a {1} record of {0} with another TTL than what is there")]
    OtherTtl(Name, Rtype),
    /// Longer than a zone may be.
    #[error("it is longer than {0} octets")]
    TooLong(u64),
    /// What came is no zone.
    #[error("{0}")]
    NoZone(String),
}

/// A transfer that is coming in.
pub struct Incoming {
    id: u16,
    question: Question,
    zone: Name,
    /// The version that we have, where differences are asked for, and its serial.
    ours: Option<(Contents, u32)>,
    /// The SOA that it began with, and its serial.
    newest: Option<(Record, u32)>,
    stage: Stage,
    is_first: bool,
    /// So many octets may come, and have come.
    limit: u64,
    octets: u64,
}

/// What comes next.
enum Stage {
    /// The first SOA.
    First,
    /// Any record; it tells whole zones from differences.
    Second,
    /// A record of the whole zone, or the SOA at its end.
    Whole(Box<Builder>),
    /// A record that goes, or the SOA of the version without.
    Going(Changing),
    /// A record that comes, the SOA of the next difference, or the one at the end.
    Coming(Changing),
    /// Nothing.
    Done(Received),
}

/// A version on its way to the next one.
struct Changing {
    tree: Tree,
    serial: u32,
    /// The owners that changed.
    owners: BTreeSet<Name>,
}

impl Incoming {
    /// What answers the request with this identifier: for the zone, or for what changed in it since `ours`. More than `limit` octets are
    /// not taken.
    pub fn new(id: u16, zone: &Name, ours: Option<&Contents>, limit: u64) -> Incoming {
        let ours = ours.and_then(|ours| Some((ours.clone(), serial::of_soa(ours.soa()?.rdatas.first()?)?)));
        let qtype = if ours.is_some() { Rtype::IXFR } else { Rtype::AXFR };
        let question = Question::new(zone, qtype);
        let (zone, newest, stage) = (zone.clone(), None, Stage::First);
        Incoming { id, question, zone, ours, newest, stage, is_first: true, limit, octets: 0 }
    }

    /// The request, unsigned.
    pub fn request(&self) -> Vec<u8> {
        let mut request = self.question.message(self.id, 0);
        request[9] = u8::from(self.ours.is_some());
        // RFC 1995 section 3: the SOA of the version that we have.
        for rdata in self.ours.iter().filter_map(|(ours, _)| ours.soa()).flat_map(|soa| soa.rdatas) {
            request.extend_from_slice(&[0xc0, HEADER as u8]);
            request.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
            request.extend_from_slice(&CLASS_IN.to_be_bytes());
            request.extend_from_slice(&[0; 4]);
            request.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            request.extend_from_slice(&rdata);
        }
        request
    }

    /// Octets until now.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Takes the next message; gives what it all came to with the last one. After an error it is over.
    pub fn take(&mut self, message: &[u8]) -> Result<Option<Received>, Fault> {
        self.octets += message.len() as u64;
        if self.octets > self.limit {
            return Err(Fault::TooLong(self.limit));
        }
        self.look_at_head(message)?;
        let mut count = 0;
        for walked in walk::records(message).filter(|walked| walked.section == 1) {
            let record = self.read(message, &walked)?;
            self.take_record(record)?;
            count += 1;
        }
        match (&self.stage, &self.ours, &self.newest) {
            (Stage::First, ..) => return Err(Fault::NoSoa),
            (Stage::Second, Some((_, ours)), Some((_, newest))) if !serial::is_after(*newest, *ours) => {
                self.stage = Stage::Done(Received::Nothing);
            }
            _ if count == 0 => return Err(Fault::Malformed),
            _ => {}
        }
        self.is_first = false;
        match std::mem::replace(&mut self.stage, Stage::First) {
            Stage::Done(received) => Ok(Some(received)),
            stage => {
                self.stage = stage;
                Ok(None)
            }
        }
    }

    /// Each message's header; the question too, which those after the first need not have (RFC 5936 section 2.2.1).
    fn look_at_head(&self, message: &[u8]) -> Result<(), Fault> {
        let head = message.first_chunk::<HEADER>().ok_or(Fault::Malformed)?;
        if !is_response(message, self.id, 0) {
            return Err(Fault::NotAsked);
        }
        let rcode = head[3] & 0xf;
        if rcode != Rcode::NoError as u8 {
            return Err(Fault::Rcode(rcode));
        }
        if head[2] & TC != 0 || !walk::is_whole(message) {
            return Err(Fault::Malformed);
        }
        let has_none = head[4..6] == [0, 0];
        let is_asked = self.question.stands_in(message) || has_none && !self.is_first;
        if is_asked { Ok(()) } else { Err(Fault::NotAsked) }
    }

    /// A record of the zone.
    fn read(&self, message: &[u8], walked: &Walked<'_>) -> Result<Record, Fault> {
        let (owner, _) = uncompress::name(message, walked.start).ok_or(Fault::Malformed)?;
        if !owner.is_at_or_below(&self.zone) {
            return Err(Fault::Outside(owner));
        }
        let rtype = walked.rtype;
        let fits = walked.class == CLASS_IN && !rtype.is_meta() && (rtype != Rtype::SOA || owner == self.zone);
        let Some(rdata) = uncompress::rdata(message, walked).filter(|_| fits) else {
            return Err(Fault::Unfit(owner, rtype));
        };
        Ok(Record { owner, ttl: walked.lifetime(), rtype, rdata })
    }

    fn take_record(&mut self, record: Record) -> Result<(), Fault> {
        let soa = if record.rtype == Rtype::SOA { serial::of_soa(&record.rdata) } else { None };
        let stage = std::mem::replace(&mut self.stage, Stage::First);
        self.stage = match (stage, soa) {
            (Stage::First, Some(serial)) => {
                self.newest = Some((record, serial));
                Stage::Second
            }
            (Stage::First, None) => return Err(Fault::NoSoa),
            (Stage::Second, soa) => self.second(record, soa)?,
            (Stage::Whole(mut zone), None) => {
                zone.insert(&record.owner, record.ttl, record.rtype, &record.rdata);
                Stage::Whole(zone)
            }
            (Stage::Whole(zone), Some(_)) => {
                self.ends_with(&record)?;
                let contents = sound(zone.finish(), None)?;
                Stage::Done(Received::New { contents, whole: true })
            }
            (Stage::Going(mut changing), None) => {
                changing.take(&record)?;
                Stage::Going(changing)
            }
            (Stage::Going(changing), Some(serial)) => Stage::Coming(changing.up_to(&record, serial)?),
            (Stage::Coming(mut changing), None) => {
                changing.insert(&record)?;
                Stage::Coming(changing)
            }
            (Stage::Coming(changing), Some(_)) if self.is_newest(changing.serial) => {
                self.ends_with(&record)?;
                let contents = sound(changing.tree.into(), Some(&changing.owners))?;
                Stage::Done(Received::New { contents, whole: false })
            }
            (Stage::Coming(changing), Some(serial)) => Stage::Going(changing.from(&record, serial)?),
            (Stage::Done(_), _) => return Err(Fault::Beyond),
        };
        Ok(())
    }

    /// Differences begin with the SOA of the version that we have, a whole zone with anything else (RFC 1995 section 4).
    fn second(&self, record: Record, soa: Option<u32>) -> Result<Stage, Fault> {
        let Some((newest, newest_serial)) = &self.newest else { return Err(Fault::NoSoa) };
        if let Some((ours, our_serial)) = &self.ours {
            if !serial::is_after(*newest_serial, *our_serial) {
                return Err(Fault::NotNewer(*newest_serial));
            }
            if let Some(from) = soa.filter(|serial| serial != newest_serial) {
                let changing = Changing {
                    tree: ours.tree().clone(),
                    serial: *our_serial,
                    owners: BTreeSet::from([self.zone.clone()]),
                };
                return Ok(Stage::Going(changing.from(&record, from)?));
            }
        }
        let mut zone = Box::new(Builder::new(self.zone.clone()));
        zone.insert(&newest.owner, newest.ttl, newest.rtype, &newest.rdata);
        match soa {
            Some(_) => {
                self.ends_with(&record)?;
                Ok(Stage::Done(Received::New { contents: sound(zone.finish(), None)?, whole: true }))
            }
            None => {
                zone.insert(&record.owner, record.ttl, record.rtype, &record.rdata);
                Ok(Stage::Whole(zone))
            }
        }
    }

    fn is_newest(&self, serial: u32) -> bool {
        self.newest.as_ref().is_some_and(|(_, newest)| *newest == serial)
    }

    fn ends_with(&self, soa: &Record) -> Result<(), Fault> {
        let canonical = |soa: &Record| rdata::canonical(Rtype::SOA, &soa.rdata).into_owned();
        let is_same = |first: &Record| first.ttl == soa.ttl && canonical(first) == canonical(soa);
        if self.newest.as_ref().is_some_and(|(first, _)| is_same(first)) { Ok(()) } else { Err(Fault::OtherSoa) }
    }
}

impl Changing {
    /// A difference begins: it takes the SOA away that is there.
    fn from(mut self, soa: &Record, serial: u32) -> Result<Changing, Fault> {
        if serial != self.serial {
            return Err(Fault::Gap(serial));
        }
        self.take(soa)?;
        Ok(self)
    }

    /// All that goes is gone: the next version's SOA comes.
    fn up_to(mut self, soa: &Record, serial: u32) -> Result<Changing, Fault> {
        if !serial::is_after(serial, self.serial) {
            return Err(Fault::Gap(serial));
        }
        self.serial = serial;
        self.insert(soa)?;
        Ok(self)
    }

    fn take(&mut self, record: &Record) -> Result<(), Fault> {
        if !self.tree.take(&record.owner, record.rtype, &record.rdata) {
            return Err(Fault::NotThere(record.owner.clone(), record.rtype));
        }
        self.owners.insert(record.owner.clone());
        Ok(())
    }

    fn insert(&mut self, record: &Record) -> Result<(), Fault> {
        let is_fit = match self.tree.insert(&record.owner, record.ttl, record.rtype, &record.rdata) {
            Inserted::New => true,
            Inserted::TtlDiffers => false,
            // NSD brings what stands at a changed owner once more.
            Inserted::Duplicate => self.ttl_of(record) == Some(record.ttl),
        };
        self.owners.insert(record.owner.clone());
        if is_fit { Ok(()) } else { Err(Fault::OtherTtl(record.owner.clone(), record.rtype)) }
    }

    /// The TTL of the record's RRset, or of the one that it covers.
    fn ttl_of(&self, record: &Record) -> Option<u32> {
        let node = self.tree.node(record.owner.as_wire())?;
        let wanted = rdata::canonical(record.rtype, &record.rdata);
        let is_it =
            |one: &NodeRecord<'_>| one.rtype == record.rtype && rdata::canonical(one.rtype, &one.rdata) == wanted;
        Some(node.records().find(is_it)?.ttl)
    }
}

/// The contents, if they are a zone; of differences only the owners that they touched are looked at.
fn sound(contents: Contents, touched: Option<&BTreeSet<Name>>) -> Result<Contents, Fault> {
    let origin = contents.origin();
    let missing = [Rtype::SOA, Rtype::NS].into_iter().find(|rtype| !contents.has(origin, *rtype));
    let found = match (missing, touched) {
        (Some(rtype), _) => Some(format!("the zone has no {rtype} record at its apex")),
        (None, Some(owners)) => owners.iter().filter_map(|owner| contents.node(owner)).find_map(clash),
        (None, None) => contents.nodes().find_map(clash),
    };
    found.map_or(Ok(contents), |why| Err(Fault::NoZone(why)))
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
