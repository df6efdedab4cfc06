//! Where names stand in a message, so that later ones can point to them (RFC 1035 section 4.1.4).
//!
//! Only what is the same in every letter's case is pointed to: a secondary gets names as the zone has them.

use crate::dns::header::POINTER_MAX;
use crate::dns::name;

/// Offsets of names and of what they end with, found by a hash of the octets.
pub(super) struct Names {
    /// 0 where there is none: a message begins with its header.
    offsets: Box<[u16; PLACES]>,
    used: usize,
}

/// A message of 16 KiB seldom has more than a thousand labels.
const PLACES: usize = 4096;
/// Where so many are taken, no more is: looking for a name has to end soon.
const FULL: usize = PLACES / 4 * 3;
/// A name has so many labels at most.
const LABELS: usize = 128;

impl Names {
    pub(super) fn new() -> Names {
        Names { offsets: Box::new([0; PLACES]), used: 0 }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.offsets.fill(0);
        self.used = 0;
    }

    /// Takes note of a name that stands in full in the message.
    pub(super) fn note(&mut self, message: &[u8], at: usize) {
        let Some(length) = message.get(at..).and_then(name::wire_len) else { return };
        let mut suffixes = [(0, 0); LABELS];
        let count = suffixes_of(&message[at..at + length], &mut suffixes);
        suffixes[..count].iter().for_each(|(start, hash)| self.remember(*hash, at + start));
    }

    /// Appends a name to the message, as short as it can be.
    pub(super) fn put(&mut self, name: &[u8], message: &mut Vec<u8>) {
        let mut suffixes = [(0, 0); LABELS];
        let count = suffixes_of(name, &mut suffixes);
        let begin = message.len();
        for (start, hash) in &suffixes[..count] {
            if let Some(offset) = self.find(&name[*start..], *hash, message) {
                message.extend_from_slice(&name[..*start]);
                message.extend_from_slice(&(0xc000 | offset).to_be_bytes());
                return self.remember_before(*start, &suffixes[..count], begin);
            }
        }
        message.extend_from_slice(name);
        self.remember_before(name.len(), &suffixes[..count], begin);
    }

    fn remember_before(&mut self, end: usize, suffixes: &[(usize, u32)], begin: usize) {
        let new = suffixes.iter().take_while(|(start, _)| *start < end);
        new.for_each(|(start, hash)| self.remember(*hash, begin + start));
    }

    fn remember(&mut self, hash: u32, offset: usize) {
        if offset > POINTER_MAX || self.used >= FULL {
            return;
        }
        if let Some(place) = places(hash).find(|place| self.offsets[*place] == 0) {
            self.offsets[place] = offset as u16;
            self.used += 1;
        }
    }

    fn find(&self, name: &[u8], hash: u32, message: &[u8]) -> Option<u16> {
        let taken = places(hash).map(|place| self.offsets[place]).take_while(|offset| *offset != 0);
        // What a record that did not fit has left behind lies beyond the end.
        taken.into_iter().find(|offset| stands_at(message, usize::from(*offset), name))
    }
}

/// The places where a hash may be noted.
fn places(hash: u32) -> impl Iterator<Item = usize> {
    (0..PLACES).map(move |step| (hash as usize + step) % PLACES)
}

/// Where each label of a name begins, and a hash of the name from there on; the root is left out. Gives their number.
fn suffixes_of(name: &[u8], suffixes: &mut [(usize, u32); LABELS]) -> usize {
    let (mut at, mut count) = (0, 0);
    while name[at] != 0 && count < LABELS {
        suffixes[count].0 = at;
        count += 1;
        at += 1 + usize::from(name[at]);
    }
    // FNV-1a, from the root upwards, a label's octets in their order.
    let (mut hash, mut end) = (0x811c_9dc5u32, at);
    for (start, place) in suffixes[..count].iter_mut().rev() {
        for octet in &name[*start..end] {
            hash = (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193);
        }
        (*place, end) = (hash ^ hash >> 15, *start);
    }
    count
}

/// Whether a message has this very name at an offset, pointers followed: each leads further to the front.
fn stands_at(message: &[u8], mut at: usize, mut name: &[u8]) -> bool {
    loop {
        match message.get(at) {
            Some(&high @ 0xc0..) => {
                let Some(&low) = message.get(at + 1) else { return false };
                let target = usize::from(high & 0x3f) << 8 | usize::from(low);
                if target >= at {
                    return false;
                }
                at = target;
            }
            Some(&length) => {
                let label = 1 + usize::from(length);
                if message.get(at..at + label) != name.get(..label) {
                    return false;
                }
                if length == 0 {
                    return true;
                }
                at += label;
                name = &name[label..];
            }
            None => return false,
        }
    }
}
