//! Walks the records of any message without taking it apart: what a carrier of messages has to know of them.

use super::header::HEADER;
use super::rtype::Rtype;

/// A record in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked<'m> {
    /// 1 for the answer section, 2 for authority, 3 for additional.
    pub section: u8,
    /// Where it begins in the message, with its owner.
    pub start: usize,
    /// Where what follows it begins.
    pub end: usize,
    /// The record's type.
    pub rtype: Rtype,
    /// Its class; of OPT, the payload size.
    pub class: u16,
    /// Its TTL in seconds as it stands there.
    pub ttl: u32,
    /// Its RDATA; names in it may be compressed.
    pub rdata: &'m [u8],
}

impl Walked<'_> {
    /// Its TTL in seconds as it counts: one with the top bit set is 0 (RFC 2181 section 8).
    pub fn lifetime(&self) -> u32 {
        if self.ttl > i32::MAX as u32 { 0 } else { self.ttl }
    }
}

/// The records of a message in their order, up to the first that can't be read.
pub fn records(message: &[u8]) -> impl Iterator<Item = Walked<'_>> {
    let count = |at: usize| message.get(at..at + 2).map_or(0, |octets| u16::from_be_bytes([octets[0], octets[1]]));
    let mut at = after_questions(message).unwrap_or(message.len());
    let sections = [(1, count(6)), (2, count(8)), (3, count(10))];
    let all = sections.into_iter().flat_map(|(section, count)| std::iter::repeat_n(section, usize::from(count)));
    all.map_while(move |section| {
        let start = at;
        let body = message.get(skip_name(message, at)?..)?;
        let length = usize::from(u16::from_be_bytes([*body.get(8)?, *body.get(9)?]));
        let rdata = body.get(10..10 + length)?;
        at = message.len() - body.len() + 10 + length;
        let rtype = Rtype(u16::from_be_bytes([body[0], body[1]]));
        let class = u16::from_be_bytes([body[2], body[3]]);
        let ttl = u32::from_be_bytes([body[4], body[5], body[6], body[7]]);
        Some(Walked { section, start, end: at, rtype, class, ttl, rdata })
    })
}

/// Where the first record of a message begins, or would; none where its questions can't be read.
pub fn after_questions(message: &[u8]) -> Option<usize> {
    let count = message.get(4..6)?;
    let end = (0..u16::from_be_bytes([count[0], count[1]])).try_fold(HEADER, |at, _| Some(skip_name(message, at)? + 4));
    end.filter(|end| *end <= message.len())
}

/// Whether there is nothing in a message but its header, its questions and as many records as it says.
pub fn is_whole(message: &[u8]) -> bool {
    let Some(counts) = message.get(6..HEADER) else { return false };
    let count: usize = counts.chunks_exact(2).map(|count| usize::from(u16::from_be_bytes([count[0], count[1]]))).sum();
    let (mut walked, mut end) = (0, after_questions(message));
    records(message).for_each(|record| (walked, end) = (walked + 1, Some(record.end)));
    walked == count && end == Some(message.len())
}

fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
}

/// For how many seconds a response may be kept (RFC 8484 section 5.1): the least TTL of the answer section, and of a
/// negative answer's SOA the lesser of TTL and MINIMUM (RFC 2308 section 5). 0 where nothing says so, or on failure.
pub fn lifetime(response: &[u8]) -> u32 {
    let lasting = response.get(3).is_some_and(|octet| matches!(octet & 0x0f, 0 | 3));
    let lives = records(response).filter_map(|record| match (record.section, record.rtype) {
        (1, _) => Some(record.lifetime()),
        (2, Rtype::SOA) => {
            let minimum = record.rdata.last_chunk::<4>().map_or(0, |minimum| u32::from_be_bytes(*minimum));
            Some(record.lifetime().min(minimum))
        }
        _ => None,
    });
    lives.min().filter(|_| lasting).unwrap_or(0)
}

/// Whether a message's OPT record has an option (RFC 6891 section 6.1.2).
pub fn has_option(message: &[u8], code: u16) -> bool {
    let opt = records(message).find(|record| record.section == 3 && record.rtype == Rtype::OPT);
    let mut options = opt.map_or(&[][..], |opt| opt.rdata);
    while let [code_high, code_low, high, low, rest @ ..] = options {
        if u16::from_be_bytes([*code_high, *code_low]) == code {
            return true;
        }
        options = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or(&[]);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(rcode: u8, counts: [u8; 3], records: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![0, 0, 0x80, rcode, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        message.extend_from_slice(&[1, b'a', 0, 0, 1, 0, 1]);
        records.iter().for_each(|record| message.extend_from_slice(record));
        message
    }

    fn record(rtype: u8, ttl: u32, rdata: &[u8]) -> Vec<u8> {
        [&[0xc0, 12, 0, rtype, 0, 1][..], &ttl.to_be_bytes(), &[0, rdata.len() as u8], rdata].concat()
    }

    #[test]
    fn a_response_lives_as_long_as_its_shortest_answer() {
        let (a, long) = (record(1, 300, &[1; 4]), record(46, 900, &[0; 20]));
        assert_eq!(lifetime(&message(0, [2, 0, 0], &[&long, &a])), 300);
        assert_eq!(lifetime(&message(2, [2, 0, 0], &[&long, &a])), 0, "SERVFAIL");
        let soa = record(6, 3600, &[0, 0, 0, 0, 0, 60]);
        assert_eq!(lifetime(&message(3, [0, 1, 0], &[&soa])), 60, "MINIMUM");
        assert_eq!(lifetime(&message(0, [1, 1, 0], &[&a, &soa])), 60, "a CNAME to nothing");
        assert_eq!(lifetime(&message(0, [0, 1, 0], &[&record(2, 500, &[0])])), 0, "a referral");
        assert_eq!(lifetime(&message(0, [1, 0, 0], &[&record(1, u32::MAX, &[])])), 0);
    }

    #[test]
    fn options_are_found_and_broken_messages_end_the_walk() {
        let opt = record(41, 0, &[0, 10, 0, 2, 7, 7, 0, 11, 0, 0]);
        let whole = message(0, [0, 0, 1], &[&opt]);
        assert!(has_option(&whole, 10) && has_option(&whole, 11) && !has_option(&whole, 12));
        for length in 0..whole.len() {
            assert!(!has_option(&whole[..length], 11), "cut to {length} octets");
            lifetime(&whole[..length]);
        }
        assert!(!has_option(&message(0, [0, 0, 1], &[&record(41, 0, &[0, 10, 0xff, 0xff])]), 11));
    }
}
