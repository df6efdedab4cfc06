//! SOA serials: they grow by RFC 1982's arithmetic and never go back.

use std::cmp::Ordering;

use crate::dns::header::CLASS_IN;
use crate::dns::{Name, Rtype, uncompress, walk};

/// Compares two serials (RFC 1982 section 3.2). None where the RFC leaves it undefined: exactly 2^31 apart.
pub fn compare(left: u32, right: u32) -> Option<Ordering> {
    match left.wrapping_sub(right) {
        0 => Some(Ordering::Equal),
        1..0x8000_0000 => Some(Ordering::Greater),
        0x8000_0000 => None,
        _ => Some(Ordering::Less),
    }
}

/// Whether `left` comes after `right`.
pub fn is_after(left: u32, right: u32) -> bool {
    compare(left, right) == Some(Ordering::Greater)
}

/// The serial of a changed zone: the file's where that is ahead of what was served, else one more than was served. 0 is passed
/// over, since some secondaries take it for "none".
pub fn next(served: Option<u32>, file: u32) -> u32 {
    match served {
        None => file.max(1),
        Some(served) if is_after(file, served) => file.max(1),
        Some(served) => served.wrapping_add(1).max(1),
    }
}

/// The serial in an SOA's RDATA.
pub fn of_soa(rdata: &[u8]) -> Option<u32> {
    soa_u32(rdata, 20)
}

/// The serial that a section of a message shows of a zone: 1 for the answer, 2 for the authority of a negative one.
pub fn shown(message: &[u8], section: u8, zone: &Name) -> Option<u32> {
    let is_soa = |record: &walk::Walked<'_>| {
        let owner = || uncompress::name(message, record.start).map(|(owner, _)| owner);
        (record.section, record.rtype, record.class) == (section, Rtype::SOA, CLASS_IN)
            && owner().as_ref() == Some(zone)
    };
    walk::records(message).find(is_soa).and_then(|soa| of_soa(soa.rdata))
}

/// MINIMUM in an SOA's RDATA, seconds.
pub fn minimum_of_soa(rdata: &[u8]) -> Option<u32> {
    soa_u32(rdata, 4)
}

/// REFRESH, RETRY and EXPIRE in an SOA's RDATA, seconds.
pub fn timers_of_soa(rdata: &[u8]) -> Option<[u32; 3]> {
    Some([soa_u32(rdata, 16)?, soa_u32(rdata, 12)?, soa_u32(rdata, 8)?])
}

fn soa_u32(rdata: &[u8], from_end: usize) -> Option<u32> {
    let at = rdata.len().checked_sub(from_end)?;
    Some(u32::from_be_bytes(rdata.get(at..at + 4)?.try_into().ok()?))
}

/// An SOA's RDATA with another serial; one that is too short for an SOA stays as it is.
pub fn with_serial(rdata: &[u8], serial: u32) -> Box<[u8]> {
    let mut out: Box<[u8]> = rdata.into();
    if let Some(at) = out.len().checked_sub(20) {
        out[at..at + 4].copy_from_slice(&serial.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_grow_over_the_wrap_and_follow_a_file_that_is_ahead() {
        assert_eq!(next(None, 2026112401), 2026112401);
        assert_eq!(next(Some(7), 7), 8);
        assert_eq!(next(Some(7), 3), 8);
        assert_eq!(next(Some(7), 9), 9);
        assert_eq!(next(Some(u32::MAX), u32::MAX), 1);
        assert_eq!(compare(0, u32::MAX), Some(Ordering::Greater));
        assert_eq!(compare(0, 0x8000_0000), None);
        assert_eq!(next(Some(0), 0x8000_0000), 1);
    }
}
