//! What holds between the fields of a type, beyond what each of them is.

use super::svcb;
use crate::dns::Rtype;

/// What is wrong with an RDATA that fits its fields, and the index of the field to blame. RFC 3597's form escapes this.
pub(super) fn check(rtype: Rtype, octets: &[u8]) -> Result<(), (usize, String)> {
    match rtype {
        Rtype::SVCB | Rtype::HTTPS => svcb::check(octets).map_err(|message| (0, message)),
        Rtype::DS | Rtype::CDS => {
            let length = digest_length(octets[3]);
            let found = octets.len() - 4;
            match length.filter(|&length| length != found) {
                Some(length) => {
                    Err((3, format!("a digest of type {} has {length} octets, this one has {found}", octets[3])))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// The length of a DS digest by its type: SHA-1, SHA-256 (RFC 4509), SHA-384 (RFC 6605).
fn digest_length(kind: u8) -> Option<usize> {
    match kind {
        1 => Some(20),
        2 => Some(32),
        4 => Some(48),
        _ => None,
    }
}
