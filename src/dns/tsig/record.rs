//! The TSIG record itself: where it stands, what is in it, what is digested, and how one is written (RFC 8945 section 4).

use ring::hmac;

use super::key::{Algorithm, Key, Mac, is_equal};
use crate::dns::header::{CLASS_ANY, HEADER};
use crate::dns::name::{MAX_NAME, wire_len};
use crate::dns::{Name, Rtype, walk};

/// Type, class, TTL and length before the RDATA.
const FIXED: usize = 10;
/// The RDATA without algorithm, MAC and other data.
const FIXED_RDATA: usize = 16;

/// What is wrong with a message that should be signed. The numbers are those of the TSIG record's error field (RFC 8945 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Fault {
    /// The record is where it may not be, or can't be read: FORMERR, and no TSIG error.
    Malformed = 0,
    /// The MAC is not that of the key.
    BadSig = 16,
    /// No such key, or another algorithm.
    BadKey = 17,
    /// Signed too long ago, or in the future.
    BadTime = 18,
    /// The MAC is right, and shorter than is taken here.
    BadTrunc = 22,
}

impl Fault {
    pub(super) fn from_code(code: u16) -> Option<Fault> {
        [Fault::BadSig, Fault::BadKey, Fault::BadTime, Fault::BadTrunc].into_iter().find(|fault| *fault as u16 == code)
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Fault::Malformed => "FORMERR",
            Fault::BadSig => "BADSIG",
            Fault::BadKey => "BADKEY",
            Fault::BadTime => "BADTIME",
            Fault::BadTrunc => "BADTRUNC",
        })
    }
}

/// The message can't be walked to its end, or its TSIG record is none.
pub(super) struct Malformed;

/// The TSIG record of a message.
pub(super) struct Found<'m> {
    /// Where it begins: the message without it ends there.
    pub start: usize,
    /// Its owner: the key's name.
    pub name: Name,
    /// The algorithm's name, in wire form.
    pub algorithm: &'m [u8],
    /// When it was signed.
    pub signed: u64,
    /// How many seconds before and after it is good.
    pub fudge: u16,
    pub mac: &'m [u8],
    /// The ID that was digested, whatever a forwarder has put into the header.
    pub original_id: [u8; 2],
    pub error: u16,
    pub other: &'m [u8],
}

/// Whether a message has a TSIG record anywhere.
pub fn is_signed(message: &[u8]) -> bool {
    walk::records(message).any(|record| record.rtype == Rtype::TSIG)
}

/// Finds the TSIG record: one, the last of the additional section, class ANY, TTL 0 (RFC 8945 sections 4.2 and 5.2).
pub(super) fn find(message: &[u8]) -> Result<Option<Found<'_>>, Malformed> {
    let counts = message.get(6..HEADER).ok_or(Malformed)?;
    let counts = counts.chunks_exact(2).map(|count| usize::from(u16::from_be_bytes([count[0], count[1]])));
    let mut left: usize = counts.sum();
    let mut end = walk::after_questions(message).ok_or(Malformed)?;
    let mut found = None;
    for record in walk::records(message) {
        left -= 1;
        end = record.end;
        if record.rtype == Rtype::TSIG {
            if left > 0 || record.section != 3 || record.class != CLASS_ANY || record.ttl != 0 {
                return Err(Malformed);
            }
            found = Some(read(message, record.start, record.rdata).ok_or(Malformed)?);
        }
    }
    if left > 0 || end != message.len() { Err(Malformed) } else { Ok(found) }
}

fn read<'m>(message: &[u8], start: usize, rdata: &'m [u8]) -> Option<Found<'m>> {
    let (algorithm, rest) = rdata.split_at(wire_len(rdata)?);
    let (head, rest) = rest.split_first_chunk::<FIXED>()?;
    let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (mac, rest) = rest.split_at_checked(usize::from(u16_at(8)))?;
    let (tail, other) = rest.split_first_chunk::<6>()?;
    if other.len() != usize::from(u16::from_be_bytes([tail[4], tail[5]])) {
        return None;
    }
    Some(Found {
        start,
        name: owner(message, start)?,
        algorithm,
        signed: u64::from_be_bytes([0, 0, head[0], head[1], head[2], head[3], head[4], head[5]]),
        fudge: u16_at(6),
        mac,
        original_id: [tail[0], tail[1]],
        error: u16::from_be_bytes([tail[2], tail[3]]),
        other,
    })
}

/// The name at an offset, pointers followed: each leads further to the front, so that there is an end.
fn owner(message: &[u8], mut at: usize) -> Option<Name> {
    let mut wire = [0; MAX_NAME];
    let (mut length, mut before) = (0, at);
    loop {
        match *message.get(at)? {
            0 if length < MAX_NAME => return Name::from_wire(&wire[..=length]).ok(),
            label @ 1..=63 => {
                let octets = message.get(at..=at + usize::from(label))?;
                wire.get_mut(length..length + octets.len())?.copy_from_slice(octets);
                length += octets.len();
                at += octets.len();
            }
            pointer @ 192..=255 => {
                let target = usize::from(pointer & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                if target < HEADER || target >= before {
                    return None;
                }
                (at, before) = (target, target);
            }
            _ => return None,
        }
    }
}

/// What a TSIG record says besides its MAC.
pub(super) struct Said<'a> {
    pub name: &'a [u8],
    pub algorithm: &'a [u8],
    pub signed: u64,
    pub fudge: u16,
    pub error: u16,
    pub other: &'a [u8],
}

impl Said<'_> {
    /// What is digested of a first message's (RFC 8945 section 4.3.3); `name` and `algorithm` are in lower case.
    pub(super) fn digest_variables(&self, digest: &mut hmac::Context) {
        digest.update(self.name);
        digest.update(&[0, CLASS_ANY as u8, 0, 0, 0, 0]);
        digest.update(self.algorithm);
        self.digest_timers(digest);
        digest.update(&self.error.to_be_bytes());
        digest.update(&(self.other.len() as u16).to_be_bytes());
        digest.update(self.other);
    }

    /// What is digested of a later message's in a stream (section 5.3.1).
    pub(super) fn digest_timers(&self, digest: &mut hmac::Context) {
        digest.update(&self.signed.to_be_bytes()[2..]);
        digest.update(&self.fudge.to_be_bytes());
    }

    /// Puts the record behind the message of `length` octets in `out`, whose ID is the original one; gives the length with it. None, with
    /// nothing changed, where there is no room for it.
    pub(super) fn write(&self, out: &mut [u8], length: usize, mac: &[u8]) -> Option<usize> {
        let count = u16::from_be_bytes([*out.get(10)?, *out.get(11)?]).checked_add(1)?;
        let rdlength = self.algorithm.len() + FIXED_RDATA + mac.len() + self.other.len();
        let end = length + self.name.len() + FIXED + rdlength;
        if end > out.len() {
            return None;
        }
        let id = [out[0], out[1]];
        let mut at = length;
        let mut put = |octets: &[u8]| {
            out[at..at + octets.len()].copy_from_slice(octets);
            at += octets.len();
        };
        put(self.name);
        put(&Rtype::TSIG.0.to_be_bytes());
        put(&[0, CLASS_ANY as u8, 0, 0, 0, 0]);
        put(&(rdlength as u16).to_be_bytes());
        put(self.algorithm);
        put(&self.signed.to_be_bytes()[2..]);
        put(&self.fudge.to_be_bytes());
        put(&(mac.len() as u16).to_be_bytes());
        put(mac);
        put(&id);
        put(&self.error.to_be_bytes());
        put(&(self.other.len() as u16).to_be_bytes());
        put(self.other);
        out[10..12].copy_from_slice(&count.to_be_bytes());
        Some(end)
    }
}

/// The octets that a record takes.
pub(super) fn length(name: &[u8], algorithm: &[u8], mac: usize, other: usize) -> usize {
    name.len() + FIXED + algorithm.len() + FIXED_RDATA + mac + other
}

/// A digest that goes on from another message's MAC (RFC 8945 section 4.3.1).
pub(super) fn digest_after(key: &Key, prior: &Mac) -> hmac::Context {
    let mut digest = key.digest();
    let prior = prior.octets();
    digest.update(&(prior.len() as u16).to_be_bytes());
    digest.update(prior);
    digest
}

impl Found<'_> {
    /// Whether key and algorithm are these.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.name == *key.name() && Algorithm::from_wire(self.algorithm) == Some(key.algorithm())
    }

    /// Whether the MAC may be as long as it is (RFC 8945 section 5.2.2.1).
    pub(super) fn is_fit(&self, algorithm: Algorithm) -> bool {
        (algorithm.mac_least()..=algorithm.mac_length()).contains(&self.mac.len())
    }

    /// Digests the message as it was before it was signed (section 4.3.2).
    pub(super) fn digest_message(&self, message: &[u8], digest: &mut hmac::Context) {
        let additional = u16::from_be_bytes([message[10], message[11]]) - 1;
        digest.update(&self.original_id);
        digest.update(&message[2..10]);
        digest.update(&additional.to_be_bytes());
        digest.update(&message[HEADER..self.start]);
    }

    /// What it says, under the names that are digested: those of the key.
    pub(super) fn said<'a>(&'a self, key: &'a Key) -> Said<'a> {
        Said {
            name: key.name().as_wire(),
            algorithm: key.algorithm().as_wire(),
            signed: self.signed,
            fudge: self.fudge,
            error: self.error,
            other: self.other,
        }
    }

    /// Whether the MAC is this, as far as it goes.
    pub(super) fn matches(&self, digest: hmac::Context) -> bool {
        let tag = digest.sign();
        tag.as_ref().get(..self.mac.len()).is_some_and(|expected| is_equal(expected, self.mac))
    }

    /// Whether it holds at this time (section 5.2.3).
    pub(super) fn is_timely(&self, now: u64) -> bool {
        now.abs_diff(self.signed) <= u64::from(self.fudge)
    }
}
