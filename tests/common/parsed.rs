//! A message as values that can be compared: names written out in their own case, records in their order.

use danelaw::dns::Rtype;
use danelaw::dns::rtype::Field;

/// A record with its names written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rr {
    pub owner: Vec<u8>,
    pub rtype: Rtype,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

/// A message with its names written out; equal where the meaning is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Identifier and flags, as they stand.
    pub head: [u8; 4],
    pub question: Vec<u8>,
    /// Answer, authority, additional without OPT.
    pub sections: [Vec<Rr>; 3],
    pub opt: Option<Rr>,
}

impl Parsed {
    pub fn rcode(&self) -> u16 {
        let high = self.opt.as_ref().map_or(0, |opt| (opt.ttl >> 24) as u16);
        high << 4 | u16::from(self.head[3] & 0xf)
    }

    pub fn authoritative(&self) -> bool {
        self.head[2] & 4 != 0
    }

    pub fn truncated(&self) -> bool {
        self.head[2] & 2 != 0
    }

    /// The types of a section, each once, in order.
    pub fn types(&self, section: usize) -> Vec<Rtype> {
        let mut types: Vec<Rtype> = self.sections[section].iter().map(|rr| rr.rtype).collect();
        types.dedup();
        types
    }
}

/// Reads a message, by danelaw's table of types alone.
pub fn parse(message: &[u8]) -> Parsed {
    let (parsed, end) = parse_to_end(message);
    assert_eq!(end, message.len(), "nothing stands after the last record");
    parsed
}

/// Reads a message; gives where its last record ends, too.
pub fn parse_to_end(message: &[u8]) -> (Parsed, usize) {
    let count = |index: usize| u16::from_be_bytes([message[4 + 2 * index], message[5 + 2 * index]]);
    let mut at = 12;
    for _ in 0..count(0) {
        name(message, &mut at);
        at += 4;
    }
    let question = message[12..at].to_vec();
    let mut sections = [1, 2, 3].map(|index| (0..count(index)).map(|_| record(message, &mut at)).collect::<Vec<_>>());
    let opt = sections[2].iter().position(|rr| rr.rtype == Rtype::OPT).map(|index| sections[2].remove(index));
    (Parsed { head: message[..4].try_into().unwrap(), question, sections, opt }, at)
}

fn record(message: &[u8], at: &mut usize) -> Rr {
    let owner = name(message, at);
    let head = &message[*at..*at + 10];
    let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (rtype, class) = (Rtype(u16_at(0)), u16_at(2));
    let ttl = u32::from(u16_at(4)) << 16 | u32::from(u16_at(6));
    *at += 10;
    let end = *at + usize::from(u16_at(8));
    let mut rdata = Vec::new();
    for field in rtype.info().map_or(&[][..], |info| info.fields) {
        match field {
            Field::Name { .. } => rdata.extend(name(message, at)),
            Field::U16 => {
                rdata.extend_from_slice(&message[*at..*at + 2]);
                *at += 2;
            }
            _ => break,
        }
    }
    rdata.extend_from_slice(&message[*at..end]);
    *at = end;
    Rr { owner, rtype, class, ttl, rdata }
}

fn name(message: &[u8], at: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut place = *at;
    let mut jumped = false;
    loop {
        let octet = usize::from(message[place]);
        if octet >= 0xc0 {
            if !jumped {
                *at = place + 2;
            }
            jumped = true;
            place = (octet & 0x3f) << 8 | usize::from(message[place + 1]);
            continue;
        }
        out.extend_from_slice(&message[place..=place + octet]);
        place += 1 + octet;
        if octet == 0 {
            break;
        }
    }
    if !jumped {
        *at = place;
    }
    out
}
