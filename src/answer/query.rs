//! Reads a query: header, one question, the OPT record. Strict, since what can't be read can't be answered rightly.

use super::edns::Asked;
use crate::dns::Rtype;
use crate::dns::header::{CLASS_ANY, CLASS_CH, CLASS_IN, DO, HEADER, OPCODE, QR};
use crate::dns::name;
use crate::dns::tsig;
use crate::zone::snapshot::HashedName;

/// A query as far as it could be read.
pub struct Query<'a> {
    /// The header's twelve octets.
    pub header: &'a [u8],
    /// The question in wire form, name, type and class; empty where it could not be read.
    pub question: &'a [u8],
    /// The question's name; the root where it could not be read.
    pub name: HashedName<'a>,
    /// The question's type.
    pub qtype: Rtype,
    /// The question's class.
    pub class: u16,
    /// What the OPT record says, if there is one.
    pub edns: Option<Edns<'a>>,
    /// Whether there is a TSIG record, wherever it stands. What it is good for is not looked at here.
    pub signed: bool,
    /// Why it is not looked up; what was read before the fault still stands.
    pub fault: Option<Fault>,
}

/// The OPT record of a query (RFC 6891 section 6.1).
#[derive(Clone, Copy)]
pub struct Edns<'a> {
    /// The requestor's UDP payload size in octets.
    pub payload: u16,
    /// Whether signatures are wanted.
    pub dnssec_ok: bool,
    /// Its options.
    pub asked: Asked<'a>,
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
    /// Class CH: not of any zone, and not looked up in one.
    Chaos,
    /// No question, but a cookie (RFC 7873 section 5.4).
    CookieOnly,
    /// AXFR or IXFR.
    Transfer,
}

/// Reads a query. None: don't answer, it is a response or less than a header.
pub fn parse(packet: &[u8]) -> Option<Query<'_>> {
    let header = packet.get(..HEADER)?;
    if header[2] & QR != 0 {
        return None;
    }
    let mut query = Query {
        header,
        question: &[],
        name: HashedName::ROOT,
        qtype: Rtype(0),
        class: CLASS_IN,
        edns: None,
        signed: false,
        fault: None,
    };
    query.fault = read(&mut query, packet).err();
    if matches!(query.fault, Some(Fault::Malformed | Fault::Opcode)) {
        // It was not read to its end, perhaps.
        query.signed = tsig::is_signed(packet);
    }
    Some(query)
}

/// The question's name, where there is one, whatever else the query may be.
pub fn name(packet: &[u8]) -> Option<HashedName<'_>> {
    let body = packet.get(HEADER..)?;
    let len = name::wire_len(body)?;
    Some(HashedName::new(&body[..len]))
}

fn read<'a>(query: &mut Query<'a>, packet: &'a [u8]) -> Result<(), Fault> {
    let count = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if packet[2] & OPCODE != 0 {
        read_other(query, packet);
        return Err(Fault::Opcode);
    }
    // RFC 9619: a query has one question, or with a cookie none.
    let has_question = match count(4) {
        0 => false,
        1 => true,
        _ => return Err(Fault::Malformed),
    };
    if has_question {
        read_question(query, &packet[HEADER..]).ok_or(Fault::Malformed)?;
    }
    let mut rest = &packet[HEADER + query.question.len()..];
    let mut version = 0;
    // Nothing is an answer in a query; an IXFR has its SOA in the authority section.
    let well_formed = count(6) == 0
        && (0..count(8))
            .all(|_| skip_record(&mut rest).is_some_and(|(rtype, _)| !matches!(rtype, Rtype::OPT | Rtype::TSIG)))
        && read_additional(query, &mut rest, count(10), &mut version).is_some()
        && rest.is_empty();
    match query.qtype {
        _ if !well_formed => Err(Fault::Malformed),
        _ if version > 0 => Err(Fault::Version),
        _ if !has_question && query.edns.is_some_and(|edns| edns.asked.cookie.is_some()) => Err(Fault::CookieOnly),
        _ if !has_question => Err(Fault::Malformed),
        _ if query.class == CLASS_CH => Err(Fault::Chaos),
        _ if query.class != CLASS_IN && query.class != CLASS_ANY => Err(Fault::Class),
        Rtype::OPT | Rtype(0) => Err(Fault::Malformed),
        Rtype::AXFR | Rtype::IXFR => Err(Fault::Transfer),
        _ => Ok(()),
    }
}

/// A message of another opcode: its question and OPT as far as its sections look like a query's. What they mean is nobody's business here.
fn read_other<'a>(query: &mut Query<'a>, packet: &'a [u8]) {
    let count = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    if count(4) > 1 || (count(4) == 1 && read_question(query, &packet[HEADER..]).is_none()) {
        return;
    }
    let mut rest = &packet[HEADER + query.question.len()..];
    let before = (0..count(6)).chain(0..count(8));
    if before.into_iter().all(|_| skip_record(&mut rest).is_some()) {
        // Without OPT where it can't be read.
        let _ = read_additional(query, &mut rest, count(10), &mut 0);
    }
}

fn read_question<'a>(query: &mut Query<'a>, body: &'a [u8]) -> Option<()> {
    // No pointer may stand in a question: there is nothing before it to point to.
    let len = name::wire_len(body)?;
    let question = body.get(..len + 4)?;
    query.name = HashedName::new(&question[..len]);
    query.qtype = Rtype(u16::from_be_bytes([question[len], question[len + 1]]));
    query.class = u16::from_be_bytes([question[len + 2], question[len + 3]]);
    query.question = question;
    Some(())
}

fn read_additional<'a>(query: &mut Query<'a>, rest: &mut &'a [u8], count: u16, version: &mut u8) -> Option<()> {
    for _ in 0..count {
        let at_root = rest.first() == Some(&0);
        let (rtype, body) = skip_record(rest)?;
        if rtype != Rtype::OPT {
            query.signed |= rtype == Rtype::TSIG;
            continue;
        }
        // RFC 6891 section 6.1.1: one OPT, at the root; a second one is FORMERR.
        if !at_root || query.edns.is_some() {
            return None;
        }
        *version = body[5];
        let payload = u16::from_be_bytes([body[2], body[3]]);
        let edns = query.edns.insert(Edns { payload, dnssec_ok: body[6] & DO != 0, asked: Asked::default() });
        // What an option means in a later version is not known.
        if *version == 0 {
            edns.asked = Asked::read(&body[10..])?;
        }
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
