//! The parts of an entry: an owner, a TTL, a class, a type, a directive's arguments; and what is wrong with one.

use super::scan::{Entry, Place, Token};
use crate::dns::header::CLASS_IN;
use crate::dns::text::{show, time};
use crate::dns::{Name, Rtype};

/// The highest TTL (RFC 2181 section 8).
pub(super) const MAX_TTL: u64 = (1 << 31) - 1;

/// An error on its way to becoming a diagnostic.
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

pub(super) fn fault(place: Place, message: impl Into<String>) -> Fault {
    Fault { place, message: message.into(), help: None }
}

impl Fault {
    pub(super) fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }
}

/// What stands before a record's data.
pub(super) struct Head {
    pub(super) ttl: Option<u32>,
    pub(super) rtype: Rtype,
    /// The index of the first token of the RDATA.
    pub(super) rdata: usize,
}

/// Reads `[TTL] [class] type` or `[class] [TTL] type` behind the owner.
pub(super) fn head(entry: &Entry<'_>) -> Result<Head, Fault> {
    let tokens = &entry.tokens;
    let mut at = usize::from(!entry.blank_owner);
    let (mut ttl, mut class) = (None, false);
    loop {
        let Some(token) = tokens.get(at) else {
            return Err(fault(behind(tokens), "the record ends too early: expected a type such as A or MX"));
        };
        let word = if token.word.quoted { &b""[..] } else { token.word.text };
        at += 1;
        if ttl.is_none()
            && let Some(span) = time::parse_span(word)
        {
            ttl = Some(check_ttl(span, token.place)?);
            continue;
        }
        if !class && let Some(number) = parse_class(word) {
            if number != CLASS_IN {
                return Err(fault(token.place, format!("class {} is not served: only IN is", show(word))));
            }
            class = true;
            continue;
        }
        let rtype = Rtype::parse_bytes(word).ok_or_else(|| unknown_type(entry, token))?;
        check_type(rtype, token.place)?;
        return Ok(Head { ttl, rtype, rdata: at });
    }
}

fn unknown_type(entry: &Entry<'_>, token: &Token<'_>) -> Fault {
    let first = std::str::from_utf8(entry.tokens[0].word.text).ok();
    let fault = fault(token.place, format!("unknown record type `{}`", show(token.word.text)));
    match first.filter(|_| !entry.blank_owner).filter(|text| Rtype::parse(text).is_some()) {
        Some(text) => {
            fault.help(format!("`{text}` in the first column is taken as the owner: write @ or a name before it"))
        }
        None => fault.help(r"a type that is not known by name is written TYPEnnn \# length hex (RFC 3597)"),
    }
}

fn check_type(rtype: Rtype, place: Place) -> Result<(), Fault> {
    // NULL is not allowed in master files (RFC 1035 section 3.3.10).
    if rtype.is_meta() || rtype.0 == 10 {
        return Err(fault(place, format!("{rtype} is for messages only: it can't be in a zone")));
    }
    Ok(())
}

fn parse_class(word: &[u8]) -> Option<u16> {
    const NAMES: [(&[u8], u16); 8] = [
        (b"IN", CLASS_IN),
        (b"CS", 2),
        (b"CH", 3),
        (b"CHAOS", 3),
        (b"HS", 4),
        (b"HESIOD", 4),
        (b"ANY", 255),
        (b"NONE", 255),
    ];
    if let Some((_, number)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Some(*number);
    }
    let (head, number) = word.split_at_checked(5)?;
    let number = std::str::from_utf8(number).ok().filter(|_| head.eq_ignore_ascii_case(b"CLASS"))?;
    number.parse().ok()
}

pub(super) fn check_ttl(span: u64, place: Place) -> Result<u32, Fault> {
    if span > MAX_TTL {
        return Err(fault(place, format!("a TTL is at most {MAX_TTL} seconds (RFC 2181 section 8)")));
    }
    Ok(span as u32)
}

pub(super) fn domain_name(token: &Token<'_>, origin: &Name) -> Result<Name, Fault> {
    if token.word.quoted {
        return Err(fault(token.place, "a domain name stands without quotation marks"));
    }
    let text = token.word.text;
    Name::parse_bytes(text, Some(origin))
        .map_err(|error| fault(token.place, format!("`{}` is not a domain name: {error}", show(text))))
}

pub(super) fn argument<'a, 't>(
    first: &Token<'_>,
    arguments: &'a [Token<'t>],
    what: &str,
) -> Result<&'a Token<'t>, Fault> {
    let name = show(first.word.text);
    arguments.first().ok_or_else(|| fault(behind(&[*first]), format!("{name} needs {what} behind it")))
}

pub(super) fn none_left(tokens: &[Token<'_>]) -> Result<(), Fault> {
    match tokens.first() {
        None => Ok(()),
        Some(token) => {
            Err(fault(token.place, format!("unexpected `{}` at the end of the directive", show(token.word.text))))
        }
    }
}

/// The place behind the last token.
pub(super) fn behind(tokens: &[Token<'_>]) -> Place {
    let last = tokens[tokens.len() - 1].place;
    Place { line: last.line, offset: last.offset + last.len, len: 1 }
}
