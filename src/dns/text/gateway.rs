//! IPSECKEY (RFC 4025) and HIP (RFC 8005): the types where one field's form depends on another.

use data_encoding::{BASE64, HEXUPPER, HEXUPPER_PERMISSIVE};

use super::print::push;
use super::read::Reader;
use super::{TextError, decode_base64};
use crate::dns::{Name, name};

/// Reads `precedence gateway-type algorithm gateway [key]` (RFC 4025 section 3).
pub(super) fn read_ipseckey(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), TextError> {
    out.push(reader.number(0xff, "a precedence")? as u8);
    let kind = reader.number(3, "a gateway type")? as u8;
    let algorithm = reader.number(0xff, "an algorithm")? as u8;
    out.extend_from_slice(&[kind, algorithm]);
    match kind {
        0 => {
            if reader.bare("`.` as the gateway of type 0")? != b"." {
                return Err(reader.unexpected("`.` as the gateway of type 0"));
            }
        }
        1 => out.extend_from_slice(&reader.ipv4()?.octets()),
        2 => out.extend_from_slice(&reader.ipv6()?.octets()),
        _ => reader.name(out)?,
    }
    // Algorithm 0: no key is present (RFC 4025 section 2.4).
    if algorithm != 0 || reader.at < reader.words.len() {
        reader.base64(out)?;
    }
    Ok(())
}

/// Prints an IPSECKEY; none when a key is missing where one has to be.
pub(super) fn print_ipseckey(octets: &[u8], out: &mut String) -> Option<()> {
    let (&[precedence, kind, algorithm], rest) = octets.split_first_chunk::<3>()?;
    let (gateway, used) = match kind {
        0 => (".".to_owned(), 0),
        1 => (std::net::Ipv4Addr::from(*rest.first_chunk::<4>()?).to_string(), 4),
        2 => (super::print::ipv6(*rest.first_chunk::<16>()?), 16),
        3 => {
            let name = Name::from_wire(rest).ok()?;
            (name.to_string(), name.as_wire().len())
        }
        _ => return None,
    };
    let key = &rest[used..];
    if key.is_empty() && algorithm != 0 {
        return None;
    }
    push(out, format_args!("{precedence} {kind} {algorithm} {gateway}"));
    if !key.is_empty() {
        push(out, format_args!(" {}", BASE64.encode(key)));
    }
    Some(())
}

/// Reads `algorithm HIT key [rendezvous-server ...]` (RFC 8005 section 6); the key is one word.
pub(super) fn read_hip(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), TextError> {
    let algorithm = reader.number(0xff, "a public key algorithm")? as u8;
    let expected = "a host identity tag in hexadecimal";
    let hit = HEXUPPER_PERMISSIVE.decode(reader.bare(expected)?).ok();
    let hit = hit.filter(|hit| (1..=255).contains(&hit.len())).ok_or_else(|| reader.unexpected(expected))?;
    let expected = "a public key in base64, in one word";
    let key = decode_base64(reader.bare(expected)?);
    let key = key.filter(|key| (1..=0xffff).contains(&key.len())).ok_or_else(|| reader.unexpected(expected))?;
    out.extend_from_slice(&[hit.len() as u8, algorithm]);
    out.extend_from_slice(&(key.len() as u16).to_be_bytes());
    out.extend_from_slice(&hit);
    out.extend_from_slice(&key);
    while reader.at < reader.words.len() {
        reader.name(out)?;
    }
    Ok(())
}

/// Prints a HIP; none when the tag or the key is empty.
pub(super) fn print_hip(octets: &[u8], out: &mut String) -> Option<()> {
    let (&[hit_len, algorithm, high, low], rest) = octets.split_first_chunk::<4>()?;
    let (hit, rest) = rest.split_at_checked(usize::from(hit_len))?;
    let (key, mut servers) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
    if hit.is_empty() || key.is_empty() {
        return None;
    }
    push(out, format_args!("{algorithm} {} {}", HEXUPPER.encode(hit), BASE64.encode(key)));
    while !servers.is_empty() {
        push(out, format_args!(" {}", Name::from_wire(servers).ok()?));
        servers = servers.get(name::wire_len(servers)?..)?;
    }
    Some(())
}
