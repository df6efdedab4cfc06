//! RDATA's presentation form, both ways: words of a zone file to wire form, and wire form to the text that others print.
//!
//! What a type's words are stands in the table of `dns::rtype`; the types whose syntax is their own have a file each
//! here. Lines, comments and owners are not known here: `zone::scan` and `zone::file` cut a file into words.

mod apl;
mod check;
mod gateway;
mod loc;
mod mnemonic;
mod print;
mod read;
mod svcb;
mod syntax;
pub mod time;

pub use print::{print_rdata, print_rdata_generic, print_string};
pub use read::{read_rdata, read_rdata_into};
pub use syntax::syntax;
pub use time::{parse_moment, print_moment};

use super::name;

/// A word of presentation form as it stands in the text: escapes unresolved, the quotation marks around it taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// The octets of the word.
    pub text: &'a [u8],
    /// Whether it stood in quotation marks.
    pub quoted: bool,
}

impl<'a> Word<'a> {
    /// A word without quotation marks.
    pub fn bare(text: &'a [u8]) -> Word<'a> {
        Word { text, quoted: false }
    }
}

/// Why words are not the RDATA of a type, and at which of them it was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TextError {
    /// The index of the offending word; the number of words when one is missing at the end.
    pub word: usize,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
}

/// Resolves `\DDD` and `\X` (RFC 1035 section 5.1) in a character string.
pub fn unescape_string(text: &[u8]) -> Result<Vec<u8>, name::NameError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        out.push(if octet == b'\\' { name::unescape(&mut rest)? } else { octet });
    }
    Ok(out)
}

/// Decodes base64 (RFC 4648 section 4): padding is required, stands at the end only, and no idle bits are set.
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    push_base64(text, &mut out).map(|()| out)
}

/// What no character of base64 stands for.
const NO_SEXTET: u32 = 1 << 24;

/// What the characters of base64 stand for at each of the four places where they can be.
static SEXTETS: [[u32; 256]; 4] = {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut sextets = [[NO_SEXTET; 256]; 4];
    let mut at = 0;
    while at < 4 * ALPHABET.len() {
        sextets[at / 64][ALPHABET[at % 64] as usize] = (at as u32 % 64) << (18 - 6 * (at / 64));
        at += 1;
    }
    sextets
};

/// [`decode_base64`], behind what is in `out`.
fn push_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (quads, []) = text.as_chunks::<4>() else { return None };
    let Some((last, whole)) = quads.split_last() else { return Some(()) };
    let start = out.len();
    out.resize(start + 3 * whole.len(), 0);
    let (triples, _) = out[start..].as_chunks_mut::<3>();
    let value = |quad: &[u8; 4]| {
        let sextet = |at: usize| SEXTETS[at][usize::from(quad[at])];
        sextet(0) | sextet(1) | sextet(2) | sextet(3)
    };
    let mut seen = 0;
    for (quad, triple) in whole.iter().zip(triples) {
        let value = value(quad);
        seen |= value;
        [_, triple[0], triple[1], triple[2]] = value.to_be_bytes();
    }
    // No idle bits are set.
    let (quad, octets, idle) = match *last {
        [a, b, b'=', b'='] => ([a, b, b'A', b'A'], 1, 0xffff),
        [a, b, c, b'='] => ([a, b, c, b'A'], 2, 0xff),
        quad => (quad, 3, 0),
    };
    let value = value(&quad);
    out.extend_from_slice(&value.to_be_bytes()[1..=octets]);
    (seen < NO_SEXTET && value < NO_SEXTET && value & idle == 0).then_some(())
}

/// Decodes hexadecimal in either case, behind what is in `out`.
fn decode_hex(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    decode(&data_encoding::HEXUPPER_PERMISSIVE, text, out)
}

fn decode(encoding: &data_encoding::Encoding, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.resize(start + encoding.decode_len(text.len()).ok()?, 0);
    let length = encoding.decode_mut(text, &mut out[start..]).ok()?;
    out.truncate(start + length);
    Some(())
}

/// A word for a message: printable, and no longer than a line can bear.
pub fn show(text: &[u8]) -> String {
    const LONGEST: usize = 60;
    let mut out = String::new();
    for (count, character) in String::from_utf8_lossy(text).chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        out.push(if character.is_control() { char::REPLACEMENT_CHARACTER } else { character });
    }
    out
}

#[cfg(test)]
mod tests;
