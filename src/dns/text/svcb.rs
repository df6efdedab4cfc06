//! The SvcParams of SVCB and HTTPS (RFC 9460): keys, their values' own syntax, and which of them go together.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;

use super::print::{print_string, push};
use super::read::Reader;
use super::{TextError, Word, decode_base64, show, unescape_string};
use crate::dns::{name, rdata};

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;

/// The keys by number (RFC 9460 section 14.3.2, RFC 9461 for dohpath, RFC 9540 for ohttp).
const KEYS: [&str; 9] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];

/// Reads `key`, `key=value` and `key="value"` up to the end, in any order.
pub(super) fn read(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), TextError> {
    let mut params: Vec<(u16, Vec<u8>)> = Vec::new();
    while reader.at < reader.words.len() {
        let word = reader.any("a parameter such as alpn=\"h2\"")?;
        let (key, value) = param(word).map_err(|message| reader.error_at(reader.at - 1, message))?;
        match params.binary_search_by_key(&key, |(other, _)| *other) {
            Ok(_) => {
                let message = format!("`{}` is given twice", key_text(key));
                return Err(reader.error_at(reader.at - 1, message));
            }
            Err(index) => params.insert(index, (key, value)),
        }
    }
    for (key, value) in params {
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(&value);
    }
    Ok(())
}

fn param(word: Word<'_>) -> Result<(u16, Vec<u8>), String> {
    if word.quoted {
        return Err("only the value stands in quotation marks: key=\"value\"".to_owned());
    }
    let equals = word.text.iter().position(|&octet| octet == b'=');
    let (key_word, value) = match equals {
        Some(at) => (&word.text[..at], Some(&word.text[at + 1..])),
        None => (word.text, None),
    };
    let key = std::str::from_utf8(key_word).ok().and_then(parse_key);
    let key = key.ok_or_else(|| {
        format!("`{}` is not a parameter: expected one of {}, or key and a number", show(key_word), KEYS.join(", "))
    })?;
    let generic = key_word.len() > 3 && key_word[..3].eq_ignore_ascii_case(b"key");
    let text = unescape_string(unquote(value.unwrap_or_default())?).map_err(|error| error.to_string())?;
    if matches!(key, NO_DEFAULT_ALPN | OHTTP) && value.is_some() && !text.is_empty() {
        return Err(format!("`{}` takes no value", key_text(key)));
    }
    let octets = if generic { text } else { encode(key, &text)? };
    if octets.len() > 0xffff {
        return Err(format!("the value of `{}` is longer than 65535 octets", key_text(key)));
    }
    check_param(key, &octets)?;
    Ok((key, octets))
}

/// Takes the quotation marks off a value; one inside that no `\` hides is an error.
fn unquote(value: &[u8]) -> Result<&[u8], String> {
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    };
    let mut rest = inner;
    while let Some((&octet, after)) = rest.split_first() {
        rest = match octet {
            b'"' => return Err("a quotation mark inside a value is written `\\\"`".to_owned()),
            b'\\' => after.get(1..).unwrap_or_default(),
            _ => after,
        };
    }
    Ok(inner)
}

/// A key's number: its name in lower or upper case, or `keyNNNNN` without leading zeros (RFC 9460 section 2.1).
fn parse_key(text: &str) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    if let Some(index) = KEYS.iter().position(|key| *key == lower) {
        return Some(index as u16);
    }
    let digits = lower.strip_prefix("key")?;
    let plain = digits.bytes().all(|octet| octet.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    // 65535 is reserved (RFC 9460 section 14.3.2).
    digits.parse().ok().filter(|&key: &u16| plain && key != u16::MAX)
}

fn key_text(key: u16) -> String {
    KEYS.get(usize::from(key)).map_or_else(|| format!("key{key}"), |text| (*text).to_owned())
}

/// The wire form of a value whose escapes as a string are resolved.
fn encode(key: u16, text: &[u8]) -> Result<Vec<u8>, String> {
    let as_str = || std::str::from_utf8(text).map_err(|_| format!("the value of `{}` is not text", key_text(key)));
    let wrong = |expected: &str, found: &str| {
        format!("`{}`: expected {expected}, found `{}`", key_text(key), show(found.as_bytes()))
    };
    let mut out = Vec::new();
    match key {
        // An empty list is refused when the wire form is checked.
        MANDATORY | ALPN if text.is_empty() => {}
        MANDATORY => {
            let mut keys = Vec::new();
            for item in as_str()?.split(',') {
                keys.push(parse_key(item).ok_or_else(|| wrong("a list of parameter keys", item))?);
            }
            keys.sort_unstable();
            keys.iter().for_each(|key| out.extend_from_slice(&key.to_be_bytes()));
        }
        ALPN => {
            for item in split_list(text)? {
                let len = u8::try_from(item.len()).map_err(|_| "an ALPN id is longer than 255 octets".to_owned())?;
                out.push(len);
                out.extend_from_slice(&item);
            }
        }
        PORT => {
            let digits = text.iter().all(u8::is_ascii_digit);
            let port: Option<u16> = as_str()?.parse().ok().filter(|_| digits);
            out.extend_from_slice(&port.ok_or_else(|| wrong("a port from 0 to 65535", &show(text)))?.to_be_bytes());
        }
        IPV4HINT => {
            for item in as_str()?.split(',') {
                let address: Ipv4Addr = item.parse().map_err(|_| wrong("IPv4 addresses with commas between", item))?;
                out.extend_from_slice(&address.octets());
            }
        }
        IPV6HINT => {
            for item in as_str()?.split(',') {
                let address: Ipv6Addr = item.parse().map_err(|_| wrong("IPv6 addresses with commas between", item))?;
                out.extend_from_slice(&address.octets());
            }
        }
        ECH => out = decode_base64(text).ok_or_else(|| wrong("base64", &show(text)))?,
        _ => out.extend_from_slice(text),
    }
    Ok(out)
}

/// Splits a comma-separated list; `\,` and `\\` within an item (RFC 9460 appendix A.1).
fn split_list(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut items = vec![Vec::new()];
    let mut octets = text.iter();
    while let Some(&octet) = octets.next() {
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => {
                match octets.next() {
                    Some(&escaped @ (b',' | b'\\')) => last(&mut items).push(escaped),
                    _ => return Err(
                        r"in a list, `\` stands before a comma or another `\` only; in zone text each `\` is doubled"
                            .to_owned(),
                    ),
                }
            }
            other => last(&mut items).push(other),
        }
    }
    match items.iter().any(Vec::is_empty) {
        true => Err("a list with an empty item: write the items with one comma between".to_owned()),
        false => Ok(items),
    }
}

fn last(items: &mut [Vec<u8>]) -> &mut Vec<u8> {
    let index = items.len() - 1;
    &mut items[index]
}

/// Whether a value in wire form is what its key allows (RFC 9460 sections 7 and 8).
fn check_param(key: u16, value: &[u8]) -> Result<(), String> {
    let broken = |what: &str| Err(format!("`{}` {what}", key_text(key)));
    match key {
        MANDATORY => {
            let keys: Vec<u16> =
                value.chunks(2).map(|pair| pair.iter().fold(0, |key, &octet| key << 8 | u16::from(octet))).collect();
            if value.is_empty() || !value.len().is_multiple_of(2) {
                return broken("needs a list of parameter keys");
            }
            if keys.contains(&MANDATORY) {
                return broken("must not list itself");
            }
            if keys.windows(2).any(|pair| pair[0] >= pair[1]) {
                return broken("lists a key twice");
            }
        }
        ALPN if alpn_items(value).is_none() => return broken("needs one or more protocols, such as h2"),
        NO_DEFAULT_ALPN | OHTTP if !value.is_empty() => return broken("takes no value"),
        PORT if value.len() != 2 => return broken("needs a port"),
        IPV4HINT if value.is_empty() || !value.len().is_multiple_of(4) => return broken("needs IPv4 addresses"),
        IPV6HINT if value.is_empty() || !value.len().is_multiple_of(16) => return broken("needs IPv6 addresses"),
        ECH if value.is_empty() => return broken("needs a value in base64"),
        DOHPATH if !is_dohpath(value) => {
            return broken("is a path template that begins with / and holds {?dns} (RFC 9461 section 5)");
        }
        _ => {}
    }
    Ok(())
}

fn is_dohpath(value: &[u8]) -> bool {
    let template = std::str::from_utf8(value).ok();
    template.is_some_and(|text| text.starts_with('/') && text.contains("{?dns"))
}

fn alpn_items(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut items = Vec::new();
    let mut rest = value;
    while let Some((&len, after)) = rest.split_first() {
        let (item, left) = after.split_at_checked(usize::from(len))?;
        items.push(item);
        rest = left;
    }
    (!items.is_empty() && items.iter().all(|item| !item.is_empty())).then_some(items)
}

/// What holds between the parts of a whole SVCB or HTTPS RDATA in wire form.
pub(super) fn check(octets: &[u8]) -> Result<(), String> {
    let broken = || "not the wire form of SVCB".to_owned();
    let (priority, rest) = octets.split_first_chunk::<2>().ok_or_else(broken)?;
    let params = name::wire_len(rest).and_then(|len| rdata::svc_params(&rest[len..])).ok_or_else(broken)?;
    // AliasMode: parameters have no meaning there, recipients ignore them (RFC 9460 section 2.4.2).
    if *priority == [0, 0] && !params.is_empty() {
        return Err(
            "priority 0 makes this an alias, which takes no parameters: use priority 1, or take them away".to_owned()
        );
    }
    let has = |key: u16| params.iter().any(|(other, _)| *other == key);
    for &(key, value) in &params {
        check_param(key, value)?;
        if key == u16::MAX {
            return Err("key65535 is reserved".to_owned());
        }
        // Every mandatory key has to be there (RFC 9460 section 8).
        for pair in value.chunks_exact(2).filter(|_| key == MANDATORY) {
            let wanted = u16::from_be_bytes([pair[0], pair[1]]);
            if !has(wanted) {
                return Err(format!("`mandatory` lists `{}`, which is not given", key_text(wanted)));
            }
        }
    }
    // RFC 9460 section 7.1.1.
    if has(NO_DEFAULT_ALPN) && !has(ALPN) {
        return Err("`no-default-alpn` needs `alpn` beside it".to_owned());
    }
    Ok(())
}

/// Prints the parameters as BIND does: in order of their numbers, lists and opaque values in quotation marks.
pub(super) fn print(octets: &[u8], out: &mut String) -> Option<()> {
    for (index, (key, value)) in rdata::svc_params(octets)?.into_iter().enumerate() {
        check_param(key, value).ok()?;
        push(out, format_args!("{}{}", if index == 0 { "" } else { " " }, key_text(key)));
        if value.is_empty() {
            continue;
        }
        out.push('=');
        match key {
            MANDATORY => {
                let keys = value.chunks_exact(2).map(|pair| key_text(u16::from_be_bytes([pair[0], pair[1]])));
                out.push_str(&keys.collect::<Vec<_>>().join(","));
            }
            ALPN => print_string(&join_list(&alpn_items(value)?), out),
            PORT => push(out, format_args!("{}", u16::from_be_bytes(value.try_into().ok()?))),
            IPV4HINT => {
                let addresses = value.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets).to_string());
                out.push_str(&addresses.collect::<Vec<_>>().join(","));
            }
            IPV6HINT => {
                let addresses = value.as_chunks::<16>().0.iter().map(|octets| super::print::ipv6(*octets));
                out.push_str(&addresses.collect::<Vec<_>>().join(","));
            }
            ECH => out.push_str(&BASE64.encode(value)),
            _ => print_string(value, out),
        }
    }
    Some(())
}

fn join_list(items: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        for &octet in *item {
            if matches!(octet, b',' | b'\\') {
                out.push(b'\\');
            }
            out.push(octet);
        }
    }
    out
}
