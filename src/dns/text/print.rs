//! RDATA to text, as named-checkzone and ldns-read-zone print it: one line, absolute names, no comments.

use std::fmt::Write;

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXUPPER};

use super::{apl, gateway, loc, mnemonic, svcb, time};
use crate::dns::rtype::Field;
use crate::dns::{Name, Rtype, rdata};

/// Prints wire-form RDATA. What the type's own syntax can't express (an empty key, a tag with a space, octets that
/// don't fit the type) is printed by RFC 3597, so that reading always gives the same octets back.
pub fn print_rdata(rtype: Rtype, octets: &[u8]) -> String {
    if rtype.info().is_none() {
        return print_rdata_generic(octets);
    }
    typed(rtype, octets).unwrap_or_else(|| print_rdata_generic(octets))
}

/// Prints RDATA as `\# length hex` (RFC 3597 section 5).
pub fn print_rdata_generic(octets: &[u8]) -> String {
    match octets.len() {
        0 => r"\# 0".to_owned(),
        len => format!(r"\# {len} {}", HEXUPPER.encode(octets)),
    }
}

/// Appends a character string in quotation marks.
pub fn print_string(octets: &[u8], out: &mut String) {
    out.push('"');
    for &octet in octets {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            b' '..=b'~' => out.push(char::from(octet)),
            _ => push(out, format_args!("\\{octet:03}")),
        }
    }
    out.push('"');
}

/// `write!` into a String, which can't fail.
pub(super) fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok());
}

/// An IPv6 address by RFC 5952, and as BIND and ldns print `::192.0.2.1` (RFC 5952 section 5 leaves that open).
pub(super) fn ipv6(octets: [u8; 16]) -> String {
    let address = std::net::Ipv6Addr::from(octets);
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            format!("::{}", std::net::Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]))
        }
        _ => address.to_string(),
    }
}

fn typed(rtype: Rtype, octets: &[u8]) -> Option<String> {
    let mut out = String::new();
    for (field, span) in rdata::fields(rtype, octets)? {
        let before = out.len();
        if before > 0 {
            out.push(' ');
        }
        let start = out.len();
        print_field(field, &octets[span], &mut out)?;
        if out.len() == start {
            out.truncate(before);
        }
    }
    if matches!(rtype, Rtype::SVCB | Rtype::HTTPS) {
        svcb::check(octets).ok()?;
    }
    Some(out)
}

fn print_field(field: Field, octets: &[u8], out: &mut String) -> Option<()> {
    match field {
        Field::Name { .. } => push(out, format_args!("{}", Name::from_wire(octets).ok()?)),
        Field::U8 | Field::U16 | Field::U32 | Field::Seconds | Field::Algorithm => {
            let number = octets.iter().fold(0u32, |number, &octet| number << 8 | u32::from(octet));
            push(out, format_args!("{number}"));
        }
        Field::Time => out.push_str(&time::print_time(u32::from_be_bytes(octets.try_into().ok()?))),
        Field::Type => push(out, format_args!("{}", Rtype(u16::from_be_bytes(octets.try_into().ok()?)))),
        Field::CertType => out.push_str(&mnemonic::print_cert_type(u16::from_be_bytes(octets.try_into().ok()?))),
        Field::Ipv4 => push(out, format_args!("{}", std::net::Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?))),
        Field::Ipv6 => out.push_str(&ipv6(octets.try_into().ok()?)),
        Field::String => print_string(&octets[1..], out),
        Field::Strings => print_strings(octets, out),
        Field::Text => print_string(octets, out),
        Field::Tag => {
            let tag = std::str::from_utf8(&octets[1..]).ok()?;
            if tag.is_empty() || !tag.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
                return None;
            }
            out.push_str(tag);
        }
        Field::Hex => out.push_str(&some(HEXUPPER.encode(octets))?),
        Field::Base64 => out.push_str(&some(BASE64.encode(octets))?),
        Field::Salt if octets.len() == 1 => out.push('-'),
        Field::Salt => out.push_str(&HEXUPPER.encode(&octets[1..])),
        Field::Base32Hex => out.push_str(&some(BASE32HEX_NOPAD.encode(&octets[1..]))?),
        Field::Bitmap => print_bitmap(octets, out)?,
        Field::Eui48 | Field::Eui64 => {
            let parts: Vec<String> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
            out.push_str(&parts.join("-"));
        }
        Field::Loc => loc::print(octets, out)?,
        Field::Apl => apl::print(octets, out)?,
        Field::Ipseckey => gateway::print_ipseckey(octets, out)?,
        Field::Hip => gateway::print_hip(octets, out)?,
        Field::SvcParams => svcb::print(octets, out)?,
    }
    Some(())
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn print_strings(octets: &[u8], out: &mut String) {
    let mut rest = octets;
    while let Some((&len, after)) = rest.split_first() {
        if rest.len() < octets.len() {
            out.push(' ');
        }
        let (string, left) = after.split_at(usize::from(len));
        print_string(string, out);
        rest = left;
    }
}

fn print_bitmap(octets: &[u8], out: &mut String) -> Option<()> {
    let types = rdata::bitmap_types(octets)?;
    // A bit map with idle octets in it would come back shorter.
    if rdata::bitmap(types.iter().copied()) != octets {
        return None;
    }
    for (index, rtype) in types.iter().enumerate() {
        push(out, format_args!("{}{rtype}", if index == 0 { "" } else { " " }));
    }
    Some(())
}
