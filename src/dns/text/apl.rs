//! APL (RFC 3123): `[!]family:address/prefix`, as many as there are.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::TextError;
use super::print::push;
use super::read::Reader;

/// Reads the prefixes up to the end; none at all is allowed (RFC 3123 section 4).
pub(super) fn read(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), TextError> {
    let expected = "an address prefix such as 1:192.0.2.0/24 or !2:2001:db8::/32";
    while reader.at < reader.words.len() {
        let text = reader.bare(expected)?;
        let item = std::str::from_utf8(text).ok().and_then(prefix);
        let (negative, family, length, address) = item.ok_or_else(|| reader.unexpected(expected))?;
        // Trailing zero octets are not sent (RFC 3123 section 4).
        let used = address.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        out.extend_from_slice(&[0, family, length, u8::from(negative) << 7 | used as u8]);
        out.extend_from_slice(&address[..used]);
    }
    Ok(())
}

fn prefix(text: &str) -> Option<(bool, u8, u8, Vec<u8>)> {
    let (negative, text) = match text.strip_prefix('!') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (family, text) = text.split_once(':')?;
    let (address, length) = text.split_once('/')?;
    let octets = match family {
        "1" => address.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
        "2" => address.parse::<Ipv6Addr>().ok()?.octets().to_vec(),
        _ => return None,
    };
    let digits = !length.is_empty() && length.bytes().all(|octet| octet.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|_| digits)?;
    let host_bits = octets.iter().enumerate().any(|(index, &octet)| {
        let kept = usize::from(length).saturating_sub(index * 8).min(8);
        octet & (0xff_u16 >> kept) as u8 != 0
    });
    if usize::from(length) > octets.len() * 8 || host_bits {
        return None;
    }
    Some((negative, if family == "1" { 1 } else { 2 }, length, octets))
}

/// Prints the prefixes; none when a family is unknown, or the octets are not what reading would make of them.
pub(super) fn print(octets: &[u8], out: &mut String) -> Option<()> {
    let mut rest = octets;
    while !rest.is_empty() {
        let (&[high, family, length, flags], after) = rest.split_first_chunk::<4>()?;
        let used = usize::from(flags & 0x7f);
        let part = after.get(..used)?;
        let mut address = [0u8; 16];
        address.get_mut(..used)?.copy_from_slice(part);
        let text = match (high, family) {
            (0, 1) if used <= 4 => Ipv4Addr::new(address[0], address[1], address[2], address[3]).to_string(),
            (0, 2) => super::print::ipv6(address),
            _ => return None,
        };
        let item = format!("{}{family}:{text}/{length}", if flags & 0x80 != 0 { "!" } else { "" });
        if part.last() == Some(&0) || prefix(&item).is_none() {
            return None;
        }
        push(out, format_args!("{}{item}", if rest.len() < octets.len() { " " } else { "" }));
        rest = &after[used..];
    }
    Some(())
}
