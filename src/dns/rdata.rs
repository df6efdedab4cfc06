//! Walks wire-form RDATA by the table of types: where its names are, its canonical form, whether it is well formed.

use std::borrow::Cow;
use std::ops::Range;

use super::name::{self, Name};
use super::rtype::{Field, Rtype};

/// A field of an RDATA and the octets that it takes up.
pub type Span = (Field, Range<usize>);

/// Cuts `rdata` into the fields of its type. None when it does not fit the table: too short, too long, a bad name.
/// An unknown type has no fields.
pub fn fields(rtype: Rtype, rdata: &[u8]) -> Option<Vec<Span>> {
    let Some(info) = rtype.info() else { return Some(Vec::new()) };
    let mut spans = Vec::with_capacity(info.fields.len());
    let mut at = 0;
    for &field in info.fields {
        let len = field_len(field, &rdata[at..])?;
        spans.push((field, at..at + len));
        at += len;
    }
    (at == rdata.len()).then_some(spans)
}

/// Whether `rdata` fits the table. What is of an unknown type always does.
pub fn is_well_formed(rtype: Rtype, rdata: &[u8]) -> bool {
    let Some(info) = rtype.info() else { return true };
    let end = info.fields.iter().try_fold(0, |at, field| Some(at + field_len(*field, rdata.get(at..)?)?));
    end == Some(rdata.len())
}

/// How many octets a field at the head of `rest` takes up; none where it does not fit.
pub(super) fn field_len(field: Field, rest: &[u8]) -> Option<usize> {
    let counted = |rest: &[u8]| Some(1 + usize::from(*rest.first()?));
    let len = match field {
        Field::Name { .. } => name::wire_len(rest)?,
        Field::U8 | Field::Algorithm => 1,
        Field::U16 | Field::Type | Field::CertType => 2,
        Field::U32 | Field::Seconds | Field::Time | Field::Ipv4 => 4,
        Field::Eui48 => 6,
        Field::Eui64 => 8,
        Field::Ipv6 | Field::Loc => 16,
        Field::String | Field::Tag | Field::Salt | Field::Base32Hex => counted(rest)?,
        Field::Strings => {
            let mut at = counted(rest)?;
            while at < rest.len() {
                at += counted(&rest[at..])?;
            }
            at
        }
        Field::Bitmap => {
            bitmap_types(rest)?;
            rest.len()
        }
        Field::SvcParams => {
            svc_params(rest)?;
            rest.len()
        }
        Field::Apl => apl_len(rest)?,
        Field::Ipseckey => ipseckey_len(rest)?,
        Field::Hip => hip_len(rest)?,
        Field::Text | Field::Hex | Field::Base64 => rest.len(),
    };
    (len <= rest.len()).then_some(len)
}

/// The types of a bit map in ascending order; none when a window is out of order, empty or cut short.
pub fn bitmap_types(bitmap: &[u8]) -> Option<Vec<Rtype>> {
    let mut types = Vec::new();
    let mut rest = bitmap;
    let mut previous = None;
    while !rest.is_empty() {
        let (&window, &len) = (rest.first()?, rest.get(1)?);
        if previous.is_some_and(|previous| previous >= window) || !(1..=32).contains(&len) {
            return None;
        }
        let octets = rest.get(2..2 + usize::from(len))?;
        for (index, octet) in octets.iter().enumerate() {
            for bit in 0..8 {
                if octet & (0x80 >> bit) != 0 {
                    types.push(Rtype(u16::from(window) << 8 | (index * 8 + bit) as u16));
                }
            }
        }
        previous = Some(window);
        rest = &rest[2 + usize::from(len)..];
    }
    Some(types)
}

/// The bit map of `types`, which may come in any order (RFC 4034 section 4.1.2).
pub fn bitmap(types: impl IntoIterator<Item = Rtype>) -> Vec<u8> {
    let mut types: Vec<Rtype> = types.into_iter().collect();
    types.sort_unstable();
    let mut out = Vec::new();
    for window in types.chunk_by(|left, right| left.0 >> 8 == right.0 >> 8) {
        let mut octets = [0u8; 32];
        for rtype in window {
            let low = usize::from(rtype.0 & 0xff);
            octets[low / 8] |= 0x80 >> (low % 8);
        }
        let last = usize::from(window[window.len() - 1].0 & 0xff);
        out.extend_from_slice(&[(window[0].0 >> 8) as u8, (last / 8 + 1) as u8]);
        out.extend_from_slice(&octets[..last / 8 + 1]);
    }
    out
}

/// The SvcParams of SVCB and HTTPS as (key, value); none when keys do not ascend or a value is cut short.
pub fn svc_params(wire: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut params: Vec<(u16, &[u8])> = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let head = rest.get(..4)?;
        let key = u16::from_be_bytes([head[0], head[1]]);
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if params.last().is_some_and(|(previous, _)| *previous >= key) {
            return None;
        }
        params.push((key, rest.get(4..4 + len)?));
        rest = &rest[4 + len..];
    }
    Some(params)
}

fn apl_len(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < rest.len() {
        at += 4 + usize::from(rest.get(at + 3)? & 0x7f);
    }
    Some(at)
}

fn ipseckey_len(rest: &[u8]) -> Option<usize> {
    let gateway = match rest.get(1)? {
        0 => 0,
        1 => 4,
        2 => 16,
        3 => name::wire_len(rest.get(3..)?)?,
        _ => return None,
    };
    (3 + gateway <= rest.len()).then_some(rest.len())
}

fn hip_len(rest: &[u8]) -> Option<usize> {
    let head = rest.get(..4)?;
    let mut at = 4 + usize::from(head[0]) + usize::from(u16::from_be_bytes([head[2], head[3]]));
    if at > rest.len() {
        return None;
    }
    while at < rest.len() {
        at += name::wire_len(&rest[at..])?;
    }
    Some(at)
}

/// The RDATA in canonical form (RFC 4034 section 6.2): names of the listed types in lower case.
pub fn canonical(rtype: Rtype, rdata: &[u8]) -> Cow<'_, [u8]> {
    let lowers = |field: &Field| matches!(field, Field::Name { lower: true, .. });
    if !rtype.info().is_some_and(|info| info.fields.iter().any(lowers)) {
        return Cow::Borrowed(rdata);
    }
    let mut out = rdata.to_vec();
    for (field, span) in fields(rtype, rdata).unwrap_or_default() {
        if lowers(&field) {
            out[span].make_ascii_lowercase();
        }
    }
    Cow::Owned(out)
}

/// The domain names in an RDATA, in order: an MX's exchange, an SOA's two. Names inside HIP and IPSECKEY are not given.
pub fn names(rtype: Rtype, rdata: &[u8]) -> Vec<Name> {
    let spans = fields(rtype, rdata).unwrap_or_default();
    let is_name = |(field, _): &Span| matches!(field, Field::Name { .. });
    spans.into_iter().filter(is_name).filter_map(|(_, span)| Name::from_wire(&rdata[span]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_map_reads_back_and_is_as_short_as_it_can_be() {
        let types = [Rtype::A, Rtype::MX, Rtype::RRSIG, Rtype::NSEC, Rtype(1234)];
        let wire = bitmap(types.into_iter().rev());
        // RFC 4034 section 4.3 gives these octets.
        assert_eq!(&wire[..8], &[0x00, 0x06, 0x40, 0x01, 0x00, 0x00, 0x00, 0x03]);
        assert_eq!(&wire[8..11], &[0x04, 0x1b, 0x00]);
        assert_eq!(bitmap_types(&wire), Some(types.to_vec()));
        assert_eq!(bitmap_types(&[0, 0]), None);
        assert_eq!(bitmap_types(&[0, 2, 1]), None);
    }

    #[test]
    fn canonical_form_folds_the_case_of_the_listed_types_only() {
        let mx = b"\x00\x0a\x04MAIL\x00";
        assert_eq!(&*canonical(Rtype::MX, mx), b"\x00\x0a\x04mail\x00");
        // RFC 6840 section 5.1: not of NSEC's next name.
        let nsec = b"\x04MAIL\x00\x00\x01\x40";
        assert_eq!(&*canonical(Rtype::NSEC, nsec), nsec);
    }

    #[test]
    fn canonical_form_folds_the_case_of_types_that_nobody_uses_any_more() {
        // RFC 4034 section 6.2 lists them (MD and MF too, which no server loads), so validators fold them: signed as opaque RDATA they would be bogus.
        for rtype in [Rtype::MB, Rtype::MG, Rtype::MR] {
            assert_eq!(&*canonical(rtype, b"\x04MAIL\x00"), b"\x04mail\x00", "{rtype:?}");
        }
        assert_eq!(&*canonical(Rtype::MINFO, b"\x01R\x00\x01E\x00"), b"\x01r\x00\x01e\x00");
        assert_eq!(&*canonical(Rtype::RT, b"\x00\x01\x01R\x00"), b"\x00\x01\x01r\x00");
        assert_eq!(&*canonical(Rtype::PX, b"\x00\x01\x01M\x00\x01P\x00"), b"\x00\x01\x01m\x00\x01p\x00");
    }

    #[test]
    fn rdata_that_does_not_fit_its_type_has_no_fields() {
        assert!(fields(Rtype::A, &[192, 0, 2]).is_none());
        assert!(fields(Rtype::A, &[192, 0, 2, 1, 1]).is_none());
        assert!(fields(Rtype::MX, b"\x00\x0a\x04MAIL").is_none());
        assert!(fields(Rtype::TXT, b"").is_none());
        assert!(fields(Rtype(65280), b"anything").is_some());
    }
}
