//! What a request for a transfer says.

use crate::dns::header::{CLASS_IN, HEADER};
use crate::dns::{Rtype, name, walk};
use crate::zone::serial;

/// A request for a zone, AXFR or IXFR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The zone's apex in wire form.
    pub zone: &'a [u8],
    /// The serial of the version that the client has, where it asks for differences.
    pub serial: Option<u32>,
    /// Whether the response has to be one message.
    pub over_datagram: bool,
}

impl<'a> Request<'a> {
    /// Reads a query; none where it asks for something else, or for differences without saying since when (RFC 1995 section 3).
    pub fn read(query: &'a [u8], over_datagram: bool) -> Option<Request<'a>> {
        let body = query.get(HEADER..)?;
        let zone = &body[..name::wire_len(body)?];
        let question = body[zone.len()..].first_chunk::<4>()?;
        let (rtype, class) =
            (Rtype(u16::from_be_bytes([question[0], question[1]])), u16::from_be_bytes([question[2], question[3]]));
        let serial = match rtype {
            _ if class != CLASS_IN => return None,
            Rtype::AXFR => None,
            Rtype::IXFR => {
                let soa = walk::records(query).find(|record| record.section == 2 && record.rtype == Rtype::SOA)?;
                Some(serial::of_soa(soa.rdata)?)
            }
            _ => return None,
        };
        Some(Request { zone, serial, over_datagram })
    }
}
