//! Reads a query: header, one question, the OPT record. Strict, since what can't be read can't be answered rightly.

use crate::dns::Rtype;
use crate::dns::header::{CLASS_ANY, CLASS_IN, DO, HEADER, OPCODE, QR};
use crate::dns::name::{self, MAX_NAME};

/// A query as far as it could be read.
pub struct Query<'a> {
    /// The header's twelve octets.
    pub header: &'a [u8],
    /// The question in wire form, name, type and class; empty where it could not be read.
    pub question: &'a [u8],
    /// The question's name in lower case.
    pub name: LowerName,
    /// The question's type.
    pub qtype: Rtype,
    /// What the OPT record says, if there is one.
    pub edns: Option<Edns>,
    /// Why it is not looked up; what was read before the fault still stands.
    pub fault: Option<Fault>,
}

/// The OPT record of a query (RFC 6891 section 6.1).
#[derive(Clone, Copy)]
pub struct Edns {
    /// The requestor's UDP payload size in octets.
    pub payload: u16,
    /// Whether signatures are wanted.
    pub dnssec_ok: bool,
}

/// Why a query is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It can't be read.
    Malformed,
    /// An opcode other than QUERY.
    Opcode,
    /// An EDNS version above 0.
    Version,
    /// A class other than IN and ANY.
    Class,
    /// AXFR or IXFR.
    Transfer,
}

/// A wire-form name in lower case, on the stack.
#[derive(Clone, Copy)]
pub struct LowerName {
    octets: [u8; MAX_NAME],
    len: u8,
}

impl LowerName {
    /// Takes a whole wire-form name.
    pub fn new(wire: &[u8]) -> LowerName {
        let mut octets = [0; MAX_NAME];
        octets[..wire.len()].copy_from_slice(wire);
        octets[..wire.len()].make_ascii_lowercase();
        LowerName { octets, len: wire.len() as u8 }
    }

    /// The wire form.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// Reads a query. None: don't answer, it is a response or less than a header.
pub fn parse(packet: &[u8]) -> Option<Query<'_>> {
    let header = packet.get(..HEADER)?;
    if header[2] & QR != 0 {
        return None;
    }
    let mut query =
        Query { header, question: &[], name: LowerName::new(&[0]), qtype: Rtype(0), edns: None, fault: None };
    query.fault = read(&mut query, packet).err();
    Some(query)
}

fn read<'a>(query: &mut Query<'a>, packet: &'a [u8]) -> Result<(), Fault> {
    let count = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if packet[2] & OPCODE != 0 {
        return Err(Fault::Opcode);
    }
    // RFC 9619: a query has one question.
    if count(4) != 1 {
        return Err(Fault::Malformed);
    }
    let class = read_question(query, &packet[HEADER..]).ok_or(Fault::Malformed)?;
    let mut rest = &packet[HEADER + query.question.len()..];
    let mut version = 0;
    // Nothing is an answer in a query; an IXFR has its SOA in the authority section.
    let well_formed = count(6) == 0
        && (0..count(8)).all(|_| skip_record(&mut rest).is_some_and(|(rtype, _)| rtype != Rtype::OPT))
        && read_additional(query, &mut rest, count(10), &mut version).is_some()
        && rest.is_empty();
    match query.qtype {
        _ if !well_formed => Err(Fault::Malformed),
        _ if version > 0 => Err(Fault::Version),
        _ if class != CLASS_IN && class != CLASS_ANY => Err(Fault::Class),
        Rtype::OPT | Rtype(0) => Err(Fault::Malformed),
        Rtype::AXFR | Rtype::IXFR => Err(Fault::Transfer),
        _ => Ok(()),
    }
}

/// Gives the question's class.
fn read_question<'a>(query: &mut Query<'a>, body: &'a [u8]) -> Option<u16> {
    // No pointer may stand in a question: there is nothing before it to point to.
    let len = name::wire_len(body)?;
    let question = body.get(..len + 4)?;
    query.name = LowerName::new(&question[..len]);
    query.qtype = Rtype(u16::from_be_bytes([question[len], question[len + 1]]));
    query.question = question;
    Some(u16::from_be_bytes([question[len + 2], question[len + 3]]))
}

fn read_additional(query: &mut Query<'_>, rest: &mut &[u8], count: u16, version: &mut u8) -> Option<()> {
    for _ in 0..count {
        let at_root = rest.first() == Some(&0);
        let (rtype, body) = skip_record(rest)?;
        if rtype != Rtype::OPT {
            continue;
        }
        // RFC 6891 section 6.1.1: one OPT, at the root; a second one is FORMERR.
        if !at_root || query.edns.is_some() || !options_fit(&body[10..]) {
            return None;
        }
        *version = body[5];
        query.edns = Some(Edns { payload: u16::from_be_bytes([body[2], body[3]]), dnssec_ok: body[6] & DO != 0 });
    }
    Some(())
}

/// Passes over a record; gives its type and what follows its owner: type, class, TTL, length, RDATA.
fn skip_record<'a>(rest: &mut &'a [u8]) -> Option<(Rtype, &'a [u8])> {
    let mut at = 0;
    loop {
        match *rest.get(at)? {
            0 => {
                at += 1;
                break;
            }
            len @ 1..=63 => at += 1 + usize::from(len),
            192..=255 => {
                at += 2;
                break;
            }
            _ => return None,
        }
    }
    let body = rest.get(at..)?;
    let length = usize::from(u16::from_be_bytes([*body.get(8)?, *body.get(9)?]));
    let record = body.get(..10 + length)?;
    *rest = &body[10 + length..];
    Some((Rtype(u16::from_be_bytes([record[0], record[1]])), record))
}

fn options_fit(mut options: &[u8]) -> bool {
    while !options.is_empty() {
        let Some(head) = options.get(..4) else { return false };
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        match options.get(4 + length..) {
            Some(after) => options = after,
            None => return false,
        }
    }
    true
}
