//! Takes compressed names out of a message: owners, and the RDATA that has names in it (RFC 1035 section 4.1.4).

use super::name::{MAX_NAME, Name};
use super::rdata::field_len;
use super::record::Rdata;
use super::rtype::Field;
use super::walk::Walked;

/// The name at an offset of a message, and where what follows it begins. None where it is cut short, longer than 255 octets, or where a
/// pointer does not point to what stands before.
pub fn name(message: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut wire = Vec::with_capacity(MAX_NAME);
    let (mut place, mut end, mut start) = (at, None, at);
    loop {
        match *message.get(place)? {
            0 => break,
            length @ 1..=63 => {
                let next = place + 1 + usize::from(length);
                wire.extend_from_slice(message.get(place..next)?);
                if wire.len() >= MAX_NAME {
                    return None;
                }
                place = next;
            }
            high @ 0xc0.. => {
                let target = usize::from(high & 0x3f) << 8 | usize::from(*message.get(place + 1)?);
                end.get_or_insert(place + 2);
                // Always further back, so this ends.
                if target >= start {
                    return None;
                }
                (place, start) = (target, target);
            }
            _ => return None,
        }
    }
    wire.push(0);
    Some((Name::from_wire(&wire).ok()?, end.unwrap_or(place + 1)))
}

/// A record's RDATA with its names written out. None where it does not fit the table of types. Of the types that RFC 3597 section 4 lets
/// nobody compress, those are taken that its readers should take: whose names canonical form folds.
pub fn rdata(message: &[u8], record: &Walked<'_>) -> Option<Rdata> {
    let Some(info) = record.rtype.info() else { return Some(record.rdata.into()) };
    let mut out = Vec::with_capacity(record.rdata.len());
    let mut at = record.end - record.rdata.len();
    for field in info.fields {
        match field {
            Field::Name { lower: true, .. } => {
                let (name, next) = name(message, at)?;
                out.extend_from_slice(name.as_wire());
                at = next;
            }
            _ => {
                let rest = message.get(at..record.end)?;
                let octets = &rest[..field_len(*field, rest)?];
                out.extend_from_slice(octets);
                at += octets.len();
            }
        }
    }
    (at == record.end && out.len() <= usize::from(u16::MAX)).then(|| out.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dns::{Rtype, rdata as table, walk};

    /// A message with `example.` at 12 as its question, and one record.
    fn message(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
        let head = [0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        let question = b"\x07example\0\0\x01\0\x01";
        let record = [&[0xc0, 12][..], &rtype.0.to_be_bytes(), &[0, 1, 0, 0, 0, 9, 0, rdata.len() as u8], rdata];
        [&head[..], question, &record.concat()].concat()
    }

    fn read(rtype: Rtype, octets: &[u8]) -> Option<Vec<u8>> {
        let message = message(rtype, octets);
        let record = walk::records(&message).next().unwrap();
        rdata(&message, &record).map(|rdata| rdata.to_vec())
    }

    #[test]
    fn names_are_written_out_in_their_place() {
        let whole = b"\x00\x0a\x04Mail\x07example\0";
        assert_eq!(read(Rtype::MX, b"\x00\x0a\x04Mail\xc0\x0c").unwrap(), whole);
        assert_eq!(read(Rtype::MX, whole).unwrap(), whole);
        assert_eq!(read(Rtype::SRV, b"\0\x01\0\x02\0\x19\xc0\x0c").unwrap(), b"\0\x01\0\x02\0\x19\x07example\0");
        let naptr = b"\0\x01\0\x02\x01S\x07SIP+D2U\0\xc0\x0c";
        assert_eq!(read(Rtype::NAPTR, naptr).unwrap(), b"\0\x01\0\x02\x01S\x07SIP+D2U\0\x07example\0");
        assert_eq!(read(Rtype(65_400), b"\xc0\x0c").unwrap(), b"\xc0\x0c", "RFC 3597 section 3: opaque");
        let owner = message(Rtype::A, &[192, 0, 2, 1]);
        assert_eq!(name(&owner, 25), Some(("example.".parse().unwrap(), 27)));
    }

    #[test]
    fn what_does_not_fit_or_points_ahead_or_in_circles_is_none() {
        for (rtype, octets) in [
            (Rtype::MX, &b"\x00\x0a\xc0\x0c\x00"[..]),
            (Rtype::MX, b"\x00\x0a\x04Mail\xc0"),
            (Rtype::MX, b"\x00\x0a\xc0\x27"),
            (Rtype::MX, b"\x00\x0a\x01a\xc0\x27"),
            (Rtype::MX, b"\x00\x0a\xc0\xff"),
            (Rtype::MX, b"\x00\x0a\x80a"),
            (Rtype::NSEC, b"\xc0\x0c\x00\x01\x40"),
            (Rtype::SVCB, b"\x00\x01\xc0\x0c"),
            (Rtype::A, b"\x01\x02\x03"),
            (Rtype::TXT, b""),
        ] {
            assert_eq!(read(rtype, octets), None, "{rtype} {octets:?}");
        }
    }

    #[test]
    fn a_name_has_at_most_255_octets_wherever_its_labels_stand() {
        let label = [&[63][..], &[b'a'; 63]].concat();
        let mut message = [&[0; 12][..], &label, &label, &label, &[0]].concat();
        let at = message.len();
        message.extend_from_slice(&[&[61][..], &[b'b'; 61], &[0xc0, 12]].concat());
        assert_eq!(name(&message, at).map(|(name, _)| name.as_wire().len()), Some(255));
        message[at] = 62;
        message.splice(at + 1..at + 1, [b'b']);
        assert_eq!(name(&message, at), None);
    }

    proptest! {
        #[test]
        fn whatever_stands_there_what_is_read_fits_the_table(
            rtype in prop_oneof![0..70u16, Just(99), Just(257)].prop_map(Rtype),
            octets in proptest::collection::vec(prop_oneof![0..16u8, Just(0xc0), any::<u8>()], 0..40),
        ) {
            if let Some(read) = read(rtype, &octets) {
                prop_assert!(table::is_well_formed(rtype, &read));
            }
        }
    }
}
