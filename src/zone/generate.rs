//! `$GENERATE range lhs [TTL] [class] type rhs`: BIND's way to write a series of records in one line (BIND 9 ARM, section 8.5).
//!
//! Texts are expanded here as named 9.18 does it; what they expand to is read like any other entry of the file.

use super::entry::{Fault, Head, argument, behind, domain_name, fault, head};
use super::parser::{Context, Found, Parser};
use super::scan::{Entry, Place, Scanner, Token};
use super::tree::key;
use crate::dns::text::{Word, read_rdata, show};
use crate::dns::{Name, Rtype};

/// The most records of one directive.
const MAX_RECORDS: u64 = 65_536;
/// The most generated records of one zone.
const MAX_IN_ZONE: u64 = 1_000_000;
/// The widest that a number may be filled up to, in characters.
const MAX_WIDTH: usize = 127;
/// The highest number, offset included.
const MAX_NUMBER: u32 = i32::MAX as u32;
/// Which token of the entry is the owner's template.
pub(super) const LHS: usize = 2;
const EXAMPLE: &str = "for example: $GENERATE 1-254 host-$ A 192.0.2.$";

/// `start-stop[/step]`: from 0 up, `start` not above `stop`, `step` at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

impl Range {
    fn parse(text: &[u8]) -> Option<Range> {
        let text = std::str::from_utf8(text).ok()?;
        let (span, step) = text.split_once('/').unwrap_or((text, "1"));
        let (start, stop) = span.split_once('-')?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number <= MAX_NUMBER)
        };
        let range = Range { start: number(start)?, stop: number(stop)?, step: number(step)? };
        (range.start <= range.stop && range.step > 0).then_some(range)
    }

    fn count(self) -> u64 {
        u64::from(self.stop - self.start) / u64::from(self.step) + 1
    }

    fn numbers(self) -> impl Iterator<Item = i32> {
        (self.start..=self.stop).step_by(self.step as usize).map(|number| number as i32)
    }
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Decimal,
    Octal,
    Hex {
        upper: bool,
    },
    /// Hexadecimal digits from the last to the first with dots between: the labels of an `ip6.arpa` name.
    Nibbles {
        upper: bool,
    },
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Number { offset: i32, width: usize, base: Base },
}

/// A text with `$` in it, cut once and written for each number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template(Vec<Piece>);

impl Template {
    /// `$$` is a dollar sign, what follows a `\` stands as it is, `$` and `${offset[,width[,base]]}` are the number.
    fn parse(text: &[u8]) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut last_offset = 0;
        let mut rest = text;
        while let Some((&octet, after)) = rest.split_first() {
            rest = after;
            match (octet, after.first()) {
                (b'\\', Some(&escaped)) => {
                    plain.extend_from_slice(&[octet, escaped]);
                    rest = &after[1..];
                }
                (b'$', Some(b'$')) => {
                    plain.push(b'$');
                    rest = &after[1..];
                }
                (b'$', next) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    if next == Some(&b'{') {
                        let end = after.iter().position(|&octet| octet == b'}').ok_or("`${` has no `}`")?;
                        let piece = modifier(&after[1..end])
                            .ok_or_else(|| format!("`{}` is not a modifier", show(&after[..=end])))?;
                        if let Piece::Number { offset, .. } = piece {
                            last_offset = offset;
                        }
                        pieces.push(piece);
                        rest = &after[end + 1..];
                    } else if last_offset == 0 {
                        pieces.push(Piece::Number { offset: 0, width: 0, base: Base::Decimal });
                    } else {
                        // BIND adds the offset before it here, which its manual does not say: neither is guessed at.
                        return Err(format!(
                            "a bare `$` behind the offset {last_offset}: write `${{0}}` or `${{{last_offset}}}`"
                        ));
                    }
                }
                _ => plain.push(octet),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    fn write(&self, number: i32, out: &mut Vec<u8>) -> Result<(), String> {
        for piece in &self.0 {
            match *piece {
                Piece::Text(ref text) => out.extend_from_slice(text),
                Piece::Number { offset, width, base } => {
                    let sum = number.checked_add(offset);
                    let sum = sum.ok_or_else(|| format!("{number} with the offset {offset} is above {MAX_NUMBER}"))?;
                    write_number(sum, width, base, out);
                }
            }
        }
        Ok(())
    }
}

/// What stands between the braces.
fn modifier(text: &[u8]) -> Option<Piece> {
    let mut parts = std::str::from_utf8(text).ok()?.split(',');
    let offset = parts.next()?.parse().ok()?;
    let width = match parts.next() {
        Some(width) if !width.starts_with('+') => width.parse().ok().filter(|width| *width <= MAX_WIDTH)?,
        Some(_) => return None,
        None => 0,
    };
    let base = match parts.next() {
        None | Some("d") => Base::Decimal,
        Some("o") => Base::Octal,
        Some("x") => Base::Hex { upper: false },
        Some("X") => Base::Hex { upper: true },
        Some("n") => Base::Nibbles { upper: false },
        Some("N") => Base::Nibbles { upper: true },
        Some(_) => return None,
    };
    parts.next().is_none().then_some(Piece::Number { offset, width, base })
}

/// As C's `%0<width>` writes it: a sign counts for the width, and what is not decimal has none (two's complement).
fn write_number(number: i32, width: usize, base: Base, out: &mut Vec<u8>) {
    let text = match base {
        Base::Decimal => format!("{number:0width$}"),
        Base::Octal => format!("{number:0width$o}"),
        Base::Hex { upper: false } => format!("{number:0width$x}"),
        Base::Hex { upper: true } => format!("{number:0width$X}"),
        Base::Nibbles { upper } => nibbles(number as u32, width, upper),
    };
    out.extend_from_slice(text.as_bytes());
}

/// The width counts the dots too; one that ends on a dot leaves it there.
fn nibbles(number: u32, width: usize, upper: bool) -> String {
    let mut rest = number;
    let mut out = String::new();
    loop {
        let digit = char::from_digit(rest & 0xf, 16).unwrap_or('0');
        out.push(if upper { digit.to_ascii_uppercase() } else { digit });
        rest >>= 4;
        if rest != 0 || out.len() < width {
            out.push('.');
        }
        if rest == 0 && out.len() >= width {
            return out;
        }
    }
}

/// The directive once it is understood.
struct Series<'a, 't> {
    range: Range,
    owner: (&'a Token<'t>, Template),
    rdata: (&'a Token<'t>, Template),
    head: Head,
}

impl<'a, 't> Series<'a, 't> {
    fn parse(entry: &'a Entry<'t>) -> Result<Series<'a, 't>, Fault> {
        let (first, arguments) = (&entry.tokens[0], &entry.tokens[1..]);
        let token = argument(first, arguments, "a range").map_err(|fault| fault.help(EXAMPLE))?;
        let range = Range::parse(token.word.text).filter(|_| !token.word.quoted).ok_or_else(|| {
            let message = format!("`{}` is not a range", show(token.word.text));
            fault(token.place, message)
                .help("start-stop or start-stop/step, from 0 to 2147483647, start not above stop")
        })?;
        if range.count() > MAX_RECORDS {
            let message = format!("{} records: one $GENERATE makes at most {MAX_RECORDS}", range.count());
            return Err(fault(token.place, message).help("cut the range into several"));
        }
        let Some(owner) = arguments.get(1) else {
            return Err(fault(behind(&entry.tokens), "$GENERATE needs an owner behind its range").help(EXAMPLE));
        };
        let rest = Entry { blank_owner: false, tokens: entry.tokens[LHS..].to_vec(), ..*entry };
        let mut head = head(&rest)?;
        head.rdata += LHS;
        let Some(rdata) = entry.tokens.get(head.rdata) else {
            return Err(fault(behind(&entry.tokens), "$GENERATE needs data behind the type").help(EXAMPLE));
        };
        if let Some(extra) = entry.tokens.get(head.rdata + 1) {
            let message = format!("unexpected `{}` behind the data", show(extra.word.text));
            return Err(
                fault(extra.place, message).help("data of several words stands in quotation marks: MX \"10 mx$\"")
            );
        }
        let template = |token: &Token<'_>, text: &[u8]| Template::parse(text).map_err(|why| fault(token.place, why));
        let text = if rdata.word.quoted { unquote(rdata.word.text) } else { rdata.word.text.to_vec() };
        let owner = (owner, template(owner, owner.word.text)?);
        Ok(Series { range, owner, rdata: (rdata, template(rdata, &text)?), head })
    }

    fn owner(&self, number: i32, origin: &Name) -> Result<Name, Fault> {
        let (token, template) = &self.owner;
        let mut text = Vec::new();
        template.write(number, &mut text).map_err(|why| fault(token.place, why))?;
        let written = Token { word: Word { text: &text, quoted: token.word.quoted }, place: token.place };
        domain_name(&written, origin).map_err(|fault| with_number(fault, number))
    }

    fn rdata(&self, number: i32, origin: &Name) -> Result<crate::dns::Rdata, Fault> {
        let (token, template) = &self.rdata;
        let place = token.place;
        let mut text = Vec::new();
        template.write(number, &mut text).map_err(|why| fault(place, why))?;
        let tokens = words_of(&text).map_err(|why| with_number(fault(place, why), number))?;
        let words: Vec<Word<'_>> = tokens.iter().map(|token| token.word).collect();
        read_rdata(self.head.rtype, &words, origin).map_err(|error| {
            let message = format!("{}: {}", self.head.rtype, error.message);
            with_number(Fault { place, message, help: error.help }, number)
        })
    }
}

/// Within quotation marks a quotation mark is written `\"`; all other escapes are the data's own.
fn unquote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut escaped = false;
    for &octet in text {
        if escaped && octet == b'"' {
            out.pop();
        }
        escaped = octet == b'\\' && !escaped;
        out.push(octet);
    }
    out
}

/// The words of data that was written out. It is one entry, though it may begin with white space.
fn words_of(text: &[u8]) -> Result<Vec<Token<'_>>, String> {
    let mut scanner = Scanner::new(text);
    let tokens = match scanner.next() {
        None => return Ok(Vec::new()),
        Some(entry) => entry.map_err(|error| error.message)?.tokens,
    };
    match scanner.next() {
        None => Ok(tokens),
        Some(_) => Err("the data is more than one line".to_owned()),
    }
}

fn with_number(mut fault: Fault, number: i32) -> Fault {
    fault.message = format!("with {number} for $: {}", fault.message);
    fault
}

impl Parser<'_, '_> {
    /// Makes the records of a `$GENERATE`. The first that can't be made ends it. The last owner stays what it was.
    pub(super) fn generate(&mut self, context: &Context<'_>, entry: &Entry<'_>) -> Result<(), Fault> {
        // What can't be read may have been the NS records.
        let series = Series::parse(entry).inspect_err(|_| self.seen.gap = true)?;
        let rtype = series.head.rtype;
        let range_place: Place = entry.tokens[1].place;
        if rtype == Rtype::SOA {
            return Err(fault(entry.tokens[series.head.rdata - 1].place, "$GENERATE makes no SOA record"));
        }
        self.generated += series.range.count();
        if self.generated > MAX_IN_ZONE {
            let message = format!("the zone has more than {MAX_IN_ZONE} records from $GENERATE");
            return Err(fault(range_place, message));
        }
        self.seen.ns |= rtype == Rtype::NS;
        if series.head.ttl.is_some() {
            self.last_ttl = series.head.ttl;
        }
        for number in series.range.numbers() {
            let rdata = series.rdata(number, &context.origin)?;
            if context.origin_lost {
                continue;
            }
            let owner = series.owner(number, &context.origin)?;
            if !owner.is_at_or_below(self.zone) {
                return Err(with_number(self.outside(series.owner.0.place, &owner), number));
            }
            let ttl = self.ttl(&series.head, &rdata, &entry.tokens)?;
            self.sink.take(&Found {
                key: key::hash(owner.as_wire()),
                owner: &owner,
                ttl,
                rtype,
                rdata: &rdata,
                file: context.file,
                line: entry.line,
                offset: entry.offset,
                rdata_token: series.head.rdata as u16,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, number: i32) -> String {
        let mut out = Vec::new();
        Template::parse(text.as_bytes()).unwrap().write(number, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_bind_writes_them() {
        for (text, number, expected) in [
            ("a$b$$\\$", 7, "a7b$\\$"),
            ("${10}.${0,3}.${-1,2,d}", 7, "17.007.06"),
            ("${0,3,o} ${0,0,x} ${0,4,X}", 171, "253 ab 00AB"),
            ("${-5,3,d} ${-5,3,x}", 1, "-04 fffffffc"),
            ("${0,0,n}.ip6 ${0,7,N} ${0,4,n}", 0x1ab, "b.a.1.ip6 B.A.1.0 b.a.1"),
            ("${0,5,n}|${0,4,n}|${0,1,n}", 0, "0.0.0|0.0.|0"),
            ("\\${3}", 1, "\\${3}"),
        ] {
            assert_eq!(written(text, number), expected, "{text}");
        }
        for wrong in ["${}", "${1", "${0,3,q}", "${0,,x}", "${0,128}", "${0,1,d,}", "${x}", "${5}$"] {
            assert!(Template::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let mut out = Vec::new();
        assert!(Template::parse(b"${1}").unwrap().write(i32::MAX, &mut out).is_err());
    }

    #[test]
    fn ranges_have_both_ends_in_order() {
        let range = |text: &str| Range::parse(text.as_bytes());
        assert_eq!(range("1-10/3").map(|range| range.numbers().collect()), Some(vec![1, 4, 7, 10]));
        assert_eq!(range("0-2147483647/2147483647").map(Range::count), Some(2));
        assert_eq!(range("5-5").map(Range::count), Some(1));
        for wrong in ["1", "3-1", "1-3/0", "1-3/", "1-3x", "-1-3", "+1-3", "1-2147483648", "1 - 3", ""] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
