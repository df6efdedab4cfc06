//! A name as octets that sort in canonical order (RFC 4034 section 6.1), and as a number to find it by.
//!
//! A sort key has the labels below the apex from the right, in lower case, each ended by a zero octet; the octets 0 and 1 in a label are
//! escaped. So names compare as octet strings do, eight at a time.

use crate::dns::name::MAX_NAME;

/// A sort key on the stack.
pub struct Key {
    octets: [u8; 2 * MAX_NAME],
    len: u16,
}

impl Key {
    /// The key of a wire-form name at or below an apex whose wire form has `apex_len` octets.
    pub fn new(name: &[u8], apex_len: usize) -> Key {
        let mut key = Key { octets: [0; 2 * MAX_NAME], len: 0 };
        let mut starts = [0u8; MAX_NAME / 2 + 1];
        let (mut count, mut at) = (0, 0);
        let end = name.len() - apex_len;
        while at < end {
            starts[count] = at as u8;
            count += 1;
            at += 1 + usize::from(name[at]);
        }
        let mut len = 0;
        for &start in starts[..count].iter().rev() {
            let start = usize::from(start);
            let label = &name[start + 1..start + 1 + usize::from(name[start])];
            let octets = &mut key.octets[len..len + label.len()];
            octets.copy_from_slice(label);
            octets.make_ascii_lowercase();
            len += match octets.iter().any(|octet| *octet <= 1) {
                true => escape(label, &mut key.octets[len..]),
                false => label.len(),
            };
            // The next label's end, or the key's.
            key.octets[len] = 0;
            len += 1;
        }
        key.len = len as u16;
        key
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// Writes a label that has octets 0 or 1; gives how many octets it takes.
#[cold]
fn escape(label: &[u8], out: &mut [u8]) -> usize {
    let mut len = 0;
    for octet in label.iter().map(u8::to_ascii_lowercase) {
        let escaped: &[u8] = match octet {
            0 => &[1, 1],
            1 => &[1, 2],
            _ => &[octet],
        };
        out[len..len + escaped.len()].copy_from_slice(escaped);
        len += escaped.len();
    }
    len
}

/// The eight octets of a key after the first `skip`, as a number that sorts as they do. What the key does not have counts as zero.
pub(super) fn prefix(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk::<8>() {
        Some(octets) => u64::from_be_bytes(*octets),
        None => rest.iter().enumerate().fold(0, |word, (at, octet)| word | u64::from(*octet) << (56 - 8 * at)),
    }
}

/// How many octets at their heads are the same.
pub(super) fn common(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// The hash of the root. A name's hash is that of the name above it, with one label [`fold`]ed in.
pub const ROOT_HASH: u64 = 0x243f_6a88_85a3_08d3;

/// The hash of a name from that of the name above it and its leftmost label, length octet included. Case makes no difference.
pub fn fold(above: u64, label: &[u8]) -> u64 {
    // Setting bit 5 of every octet folds letters; what else it joins only costs a comparison.
    absorb(above, label, 0x2020_2020_2020_2020)
}

fn absorb(mut state: u64, octets: &[u8], set: u64) -> u64 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut rest = octets;
    loop {
        let (word, after) = match rest.split_first_chunk::<8>() {
            Some((octets, after)) => (u64::from_le_bytes(*octets), after),
            None => (short(rest), &[][..]),
        };
        let product = u128::from(state ^ (word | set)) * u128::from(MULTIPLIER);
        state = product as u64 ^ (product >> 64) as u64;
        rest = after;
        if rest.is_empty() {
            return state;
        }
    }
}

/// Less than eight octets as a little-endian number. Where they are more than a half word has, it is read twice, and both halves overlap.
fn short(octets: &[u8]) -> u64 {
    let overlap = |low: u64, high: u64, half: usize| low | high << (8 * (octets.len() - half));
    if let (Some(low), Some(high)) = (octets.first_chunk(), octets.last_chunk()) {
        return overlap(u32::from_le_bytes(*low).into(), u32::from_le_bytes(*high).into(), 4);
    }
    if let (Some(low), Some(high)) = (octets.first_chunk(), octets.last_chunk()) {
        return overlap(u16::from_le_bytes(*low).into(), u16::from_le_bytes(*high).into(), 2);
    }
    octets.first().map_or(0, |octet| u64::from(*octet))
}

/// A digest of octet strings: it tells them apart as good as surely, and does not hold against forgers.
pub fn digest(parts: &[&[u8]]) -> u128 {
    let lane =
        |seed: u64| parts.iter().fold(seed, |state, part| absorb(state ^ (part.len() as u64).rotate_left(32), part, 0));
    u128::from(lane(0x1319_8a2e_0370_7344)) << 64 | u128::from(lane(0xa409_3822_299f_31d0))
}

/// The hash of a wire-form name, in any case.
pub fn hash(name: &[u8]) -> u64 {
    let mut starts = [0u8; MAX_NAME / 2 + 1];
    let (mut count, mut at) = (0, 0);
    while name[at] != 0 {
        starts[count] = at as u8;
        count += 1;
        at += 1 + usize::from(name[at]);
    }
    let labels = starts[..count].iter().rev().map(|&start| usize::from(start));
    labels.fold(ROOT_HASH, |above, start| fold(above, &name[start..start + 1 + usize::from(name[start])]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::Name;
    use crate::dns::name::canonical_cmp;

    fn names() -> impl Strategy<Value = Name> {
        let octet = prop_oneof![Just(0u8), Just(1), Just(2), Just(b'a'), Just(b'A'), Just(b'z'), any::<u8>()];
        let label = prop::collection::vec(octet, 1..6);
        prop::collection::vec(label, 0..5).prop_map(|labels| {
            labels.iter().fold("example.".parse().expect("a name"), |name: Name, label| {
                name.prepend(label).expect("short labels")
            })
        })
    }

    proptest! {
        #[test]
        fn keys_sort_as_names_do(left in names(), right in names(), skip in 0usize..4) {
            let (one, other) = (Key::new(left.as_wire(), 9), Key::new(right.as_wire(), 9));
            prop_assert_eq!(one.as_bytes().cmp(other.as_bytes()), canonical_cmp(left.as_wire(), right.as_wire()));
            if common(one.as_bytes(), other.as_bytes()) >= skip {
                let words = prefix(one.as_bytes(), skip).cmp(&prefix(other.as_bytes(), skip));
                prop_assert!(words.is_eq() || words == one.as_bytes().cmp(other.as_bytes()));
            }
        }

        #[test]
        fn short_words_are_little_endian(octets in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut whole = [0; 8];
            whole[..octets.len()].copy_from_slice(&octets);
            prop_assert_eq!(short(&octets), u64::from_le_bytes(whole));
        }

        #[test]
        fn equal_names_have_one_hash(name in names()) {
            let other = name.as_wire().to_ascii_uppercase();
            prop_assert_eq!(hash(name.as_wire()), hash(&other));
        }
    }
}
