//! Domain names: wire form kept with its case, compared and ordered without it (RFC 4034 section 6.1).
//!
//! Presentation form follows RFC 1035 section 5.1: `\DDD` is decimal, `\X` is X itself.

mod order;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

pub use order::{canonical_cmp, common_ancestor, common_ancestor_as_written, is_at_or_below, is_same};
use smallvec::{SmallVec, smallvec};

/// The longest name in octets, the root's zero octet included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;
/// The longest label in octets.
pub const MAX_LABEL: usize = 63;
/// The root in wire form.
const ROOT: [u8; 1] = [0];
/// Names up to here stand where they are used, and need no memory elsewhere: most apexes do.
const SHORT: usize = 24;

/// An absolute domain name: labels in wire form, uncompressed, the root's zero octet at the end.
#[derive(Clone)]
pub struct Name(SmallVec<[u8; SHORT]>);

/// Why a text or a wire form is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or a leading dot.
    #[error("empty label: two dots follow each other, or the name begins with one")]
    EmptyLabel,
    /// More than 63 octets between two dots.
    #[error("a label is longer than 63 octets")]
    LongLabel,
    /// More than 255 octets in all.
    #[error("the name is longer than 255 octets")]
    LongName,
    /// `\` at the end, `\25`, or `\256` and above.
    #[error("bad escape: `\\` takes three decimal digits up to 255, or one other character")]
    BadEscape,
    /// The text is empty.
    #[error("empty name: write `@` for the origin or `.` for the root")]
    Empty,
    /// The wire form ends within the name, or holds a pointer where none may be.
    #[error("not an uncompressed name in wire form")]
    BadWire,
}

impl Name {
    /// The root, `.`.
    pub fn root() -> Name {
        Name(smallvec![0])
    }

    /// Reads presentation form. A name without a final dot is relative and gets `origin` appended; without an
    /// origin it is taken as absolute. `@` alone is the origin.
    pub fn parse(text: &str, origin: Option<&Name>) -> Result<Name, NameError> {
        Name::parse_bytes(text.as_bytes(), origin)
    }

    /// [`Name::parse`] for text that need not be UTF-8.
    pub fn parse_bytes(text: &[u8], origin: Option<&Name>) -> Result<Name, NameError> {
        let tail = origin.map_or(&ROOT[..], Name::as_wire);
        let appended = if text.ends_with(b".") { 0 } else { tail.len() };
        let mut wire = Vec::with_capacity(text.len() + 1 + appended);
        push_name(text, tail, &mut wire)?;
        Ok(Name(wire.into()))
    }

    /// Takes the uncompressed name at the head of `wire`; octets after it are not looked at.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        let len = wire_len(wire).ok_or(NameError::BadWire)?;
        Ok(Name(wire[..len].into()))
    }

    /// The wire form, root octet included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Labels from the leftmost on, without the root's.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        labels(&self.0)
    }

    /// How many labels there are, the root's not counted; `*` counts.
    pub fn label_count(&self) -> usize {
        let mut count = 0;
        let mut at = 0;
        while self.0[at] != 0 {
            at += 1 + usize::from(self.0[at]);
            count += 1;
        }
        count
    }

    /// The Labels field of an RRSIG: neither the root's nor a leading `*` counts (RFC 4034 section 3.1.3).
    pub fn rrsig_labels(&self) -> u8 {
        (self.label_count() - usize::from(self.is_wildcard())) as u8
    }

    /// Whether this is `.`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether the leftmost label is `*` alone (RFC 4592 section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(b"\x01*")
    }

    /// The name with its leftmost label off; none above the root.
    pub fn parent(&self) -> Option<Name> {
        (!self.is_root()).then(|| Name(self.0[1 + usize::from(self.0[0])..].into()))
    }

    /// Whether this name is `ancestor` or below it.
    pub fn is_at_or_below(&self, ancestor: &Name) -> bool {
        is_at_or_below(&self.0, &ancestor.0)
    }

    /// Whether this name is below `ancestor` and not `ancestor` itself.
    pub fn is_below(&self, ancestor: &Name) -> bool {
        self.0.len() > ancestor.0.len() && self.is_at_or_below(ancestor)
    }

    /// `label` in front of this name.
    pub fn prepend(&self, label: &[u8]) -> Result<Name, NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LongLabel);
        }
        if self.0.len() + label.len() + 1 > MAX_NAME {
            return Err(NameError::LongName);
        }
        let mut wire = Vec::with_capacity(self.0.len() + label.len() + 1);
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        Ok(Name(wire.into()))
    }

    /// The names above this one, nearest first, the root last; this one itself is not among them.
    pub fn ancestors(&self) -> impl Iterator<Item = Name> {
        std::iter::successors(self.parent(), Name::parent)
    }

    /// The name in lower case, as canonical form wants it (RFC 4034 section 6.2).
    pub fn to_lowercase(&self) -> Name {
        Name(self.0.to_ascii_lowercase().into())
    }

    /// Presentation form without the final dot: what people write of a host. The root stays `.`.
    pub fn to_host(&self) -> String {
        let text = self.to_string();
        match text.strip_suffix('.') {
            Some("") | None => text,
            Some(host) => host.to_owned(),
        }
    }
}

/// The length of the uncompressed name at the head of `wire`, in octets; none when there is no such name.
pub fn wire_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*wire.get(at)?) {
            0 => return (at < MAX_NAME).then_some(at + 1),
            len @ 1..=MAX_LABEL => at += 1 + len,
            _ => return None,
        }
    }
}

/// The labels of an uncompressed wire-form name, leftmost first, without the root's.
pub fn labels(wire: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let mut starts = [0u8; MAX_NAME / 2 + 1];
    let mut count = 0;
    let mut at = 0;
    while wire[at] != 0 {
        starts[count] = at as u8;
        count += 1;
        at += 1 + usize::from(wire[at]);
    }
    (0..count).map(move |index| {
        let start = usize::from(starts[index]);
        &wire[start + 1..start + 1 + usize::from(wire[start])]
    })
}

/// Reads presentation form as [`Name::parse`] does and puts its wire form behind what is in `wire`; `origin` is in wire
/// form. After an error a part of the name may be there.
pub fn push_name(text: &[u8], origin: &[u8], wire: &mut Vec<u8>) -> Result<(), NameError> {
    let start = wire.len();
    match text {
        b"" => return Err(NameError::Empty),
        b"@" => wire.extend_from_slice(origin),
        b"." => wire.push(0),
        _ => push_labels(text, origin, wire)?,
    }
    if wire.len() - start > MAX_NAME { Err(NameError::LongName) } else { Ok(()) }
}

fn push_labels(text: &[u8], origin: &[u8], wire: &mut Vec<u8>) -> Result<(), NameError> {
    let mut length_at = wire.len();
    wire.push(0);
    wire.extend_from_slice(text);
    let start = length_at + 1;
    let mut rest = &b""[..];
    let mut next = 0;
    // Each dot becomes the length of the label behind it.
    while let Some(at) = dot_or_escape(text, next) {
        if text[at] != b'.' {
            wire.truncate(start + at);
            rest = &text[at..];
            break;
        }
        end_label(&mut wire[..start + at], length_at)?;
        length_at = start + at;
        next = at + 1;
    }
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'.' => {
                end_label(wire, length_at)?;
                length_at = wire.len();
                wire.push(0);
            }
            b'\\' => wire.push(unescape(&mut rest)?),
            _ => wire.push(octet),
        }
    }
    // Behind a final dot stands the root's length.
    if length_at + 1 == wire.len() {
        wire[length_at] = 0;
        return Ok(());
    }
    end_label(wire, length_at)?;
    wire.extend_from_slice(origin);
    Ok(())
}

/// The next `.` or `\` from `from` on.
fn dot_or_escape(text: &[u8], from: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // The top bit of each zero octet, and of octets above one: the lowest is right.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let mut at = from;
    while let Some(octets) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*octets);
        let found = (zeros(word ^ (ONES * b'.' as u64)) | zeros(word ^ (ONES * b'\\' as u64))) & (ONES * 0x80);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    text.iter().skip(at).position(|octet| matches!(octet, b'.' | b'\\')).map(|more| at + more)
}

/// Writes the length of the label that ends here.
fn end_label(wire: &mut [u8], length_at: usize) -> Result<(), NameError> {
    match wire.len() - length_at - 1 {
        0 => Err(NameError::EmptyLabel),
        length @ 1..=MAX_LABEL => {
            wire[length_at] = length as u8;
            Ok(())
        }
        _ => Err(NameError::LongLabel),
    }
}

/// What stands behind a `\`: three decimal digits, or any other octet as itself. `rest` moves on.
pub fn unescape(rest: &mut &[u8]) -> Result<u8, NameError> {
    let text = *rest;
    let (&first, after) = text.split_first().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        *rest = after;
        return Ok(first);
    }
    let digits = text.get(..3).ok_or(NameError::BadEscape)?;
    let mut value = 0u16;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return Err(NameError::BadEscape);
        }
        value = value * 10 + u16::from(digit - b'0');
    }
    *rest = &text[3..];
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        // A length octet is at most 63, below every letter, so folding case over the whole wire form is safe.
        is_same(&self.0, &other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in &self.0 {
            state.write_u8(octet.to_ascii_lowercase());
        }
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        canonical_cmp(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text, None)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        if self.is_root() {
            return f.write_char('.');
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", char::from(octet))?,
                    b'!'..=b'~' => f.write_char(char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            f.write_char('.')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect(text)
    }

    #[test]
    fn canonical_order_is_that_of_rfc_4034_section_6_1() {
        let ordered = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            "\\001.z.example.",
            "*.z.example.",
            "\\200.z.example.",
        ];
        for pair in ordered.windows(2) {
            assert!(name(pair[0]) < name(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    /// Canonical order as the RFC words it.
    fn label_by_label(left: &[u8], right: &[u8]) -> Ordering {
        let reversed = |wire| -> Vec<Vec<u8>> { labels(wire).rev().map(<[u8]>::to_ascii_lowercase).collect() };
        reversed(left).cmp(&reversed(right))
    }

    proptest! {
        #[test]
        fn canonical_order_is_that_of_the_labels_whatever_octets_are_in_them(
            left in proptest::collection::vec(proptest::collection::vec(prop_oneof![0..5u8, Just(b'a'), Just(b'A')], 1..4), 0..5),
            right in proptest::collection::vec(proptest::collection::vec(prop_oneof![0..5u8, Just(b'a'), Just(b'A')], 1..4), 0..5),
            tail in proptest::collection::vec(proptest::collection::vec(prop_oneof![0..5u8, Just(b'b')], 1..9), 0..3),
        ) {
            let wire = |head: &[Vec<u8>]| -> Vec<u8> {
                let labels = head.iter().chain(&tail);
                labels.flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied())).chain([0]).collect()
            };
            let (left, right) = (wire(&left), wire(&right));
            prop_assert_eq!(canonical_cmp(&left, &right), label_by_label(&left, &right));
            prop_assert_eq!(canonical_cmp(&left, &left), Ordering::Equal);
        }
    }

    #[test]
    fn escapes_are_decimal_and_survive_printing() {
        assert_eq!(name("a\\046b.").as_wire(), b"\x03a.b\x00");
        assert_eq!(name("a\\.b.").to_string(), "a\\.b.");
        assert_eq!(name("\\255\\032.").to_string(), "\\255\\032.");
        assert_eq!(Name::parse("a\\256.", None), Err(NameError::BadEscape));
        assert_eq!(Name::parse("a\\25", None), Err(NameError::BadEscape));
        assert_eq!(Name::parse("a\\", None), Err(NameError::BadEscape));
    }

    #[test]
    fn limits_are_63_and_255_octets() {
        let label = "a".repeat(63);
        assert!(Name::parse(&label, None).is_ok());
        assert_eq!(Name::parse(&"a".repeat(64), None), Err(NameError::LongLabel));
        let long = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(name(&long).as_wire().len(), 255);
        assert_eq!(Name::parse(&format!("{long}c"), None), Err(NameError::LongName));
    }

    #[test]
    fn relative_names_get_the_origin_and_at_is_the_origin() {
        let origin = name("example.org.");
        assert_eq!(Name::parse("www", Some(&origin)), Ok(name("www.example.org.")));
        assert_eq!(Name::parse("www.", Some(&origin)), Ok(name("www.")));
        assert_eq!(Name::parse("@", Some(&origin)), Ok(origin.clone()));
        assert_eq!(Name::parse("a..b", Some(&origin)), Err(NameError::EmptyLabel));
        assert_eq!(Name::parse(".a", Some(&origin)), Err(NameError::EmptyLabel));
    }

    #[test]
    fn ancestry_goes_by_labels_not_by_octets() {
        assert!(name("a.Example.org.").is_below(&name("example.ORG.")));
        assert!(!name("anexample.org.").is_at_or_below(&name("example.org.")));
        assert!(!name("\\007example.org.").is_below(&name("example.org.")));
        assert_eq!(name("*.example.org.").rrsig_labels(), 2);
    }
}
