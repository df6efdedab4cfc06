//! The text of a zone file and of what it includes, and places in it: so that every finding points at its characters.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Severity};
use super::generate::LHS;
use super::scan::{Entry, Place, Scanner};
use crate::dns::Record;

/// The most characters of a source line that a diagnostic carries.
const LONGEST_LINE: usize = 2000;

/// A record and where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The record.
    pub record: Record,
    /// The file, as an index into [`Sources`].
    pub file: u32,
    /// The line on which its entry begins, from 1.
    pub line: u32,
    /// The octet of the file at which its entry begins.
    pub(super) offset: u32,
    /// Which token of the entry is the first of the RDATA; the one before it is the type.
    pub(super) rdata_token: u16,
}

/// What of a record is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The owner; the type where the owner is left blank.
    Owner,
    /// The type.
    Type,
    /// A token of the RDATA, from 0.
    Rdata(usize),
}

/// The zone file and the files that it includes, in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub struct Sources<'t> {
    files: Vec<(Arc<str>, Text<'t>)>,
}

/// The text of a file.
#[derive(Clone, Debug)]
pub(super) enum Text<'t> {
    /// The zone file's, which the caller has.
    Given(&'t [u8]),
    /// An included file's.
    Included(Arc<[u8]>),
}

impl Text<'_> {
    fn octets(&self) -> &[u8] {
        match self {
            Text::Given(text) => text,
            Text::Included(text) => text,
        }
    }
}

impl<'t> Sources<'t> {
    /// Adds a file; its index.
    pub(super) fn add(&mut self, name: &str, text: Text<'t>) -> u32 {
        self.files.push((name.into(), text));
        self.files.len() as u32 - 1
    }

    /// The files' names as they were given, the zone file's first.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.iter().map(|(name, _)| name)
    }

    /// The files' names and texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        self.files.iter().map(|(name, text)| (&**name, text.octets()))
    }

    /// A finding at a place in a file.
    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        file: u32,
        place: Place,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let (name, text) = &self.files[file as usize];
        let text = text.octets();
        let offset = (place.offset as usize).min(text.len());
        let start = line_start(text, offset);
        let rest = &text[offset..];
        let end = offset + rest.iter().position(|&octet| octet == b'\n').unwrap_or(rest.len());
        let line = text[start..end].strip_suffix(b"\r").unwrap_or(&text[start..end]);
        let before = characters(&text[start..offset]);
        let width = characters(&text[offset..(offset + place.len as usize).min(end)]);
        let source = String::from_utf8_lossy(line);
        Diagnostic {
            severity,
            file: name.clone(),
            line: place.line,
            column: before as u32 + 1,
            source: source.chars().take(LONGEST_LINE).map(printable).collect(),
            width: width.clamp(1, LONGEST_LINE) as u32,
            message,
            help,
        }
    }

    /// A finding at a part of a record. The entry is cut into tokens again: only what is reported costs that.
    pub fn at(
        &self,
        severity: Severity,
        placed: &Placed,
        part: Part,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let text = self.files[placed.file as usize].1.octets();
        let entry = Scanner::at(text, placed.offset as usize, placed.line).next().and_then(Result::ok);
        let place = entry.and_then(|entry| {
            let rdata = usize::from(placed.rdata_token);
            let index = match part {
                Part::Owner if is_generated(&entry) => LHS,
                Part::Owner if !entry.blank_owner => 0,
                Part::Owner | Part::Type => rdata - 1,
                Part::Rdata(index) => rdata + index,
            };
            entry.tokens.get(index).or(entry.tokens.last()).map(|token| token.place)
        });
        let start = Place { line: placed.line, offset: placed.offset, len: 1 };
        self.diagnostic(severity, placed.file, place.unwrap_or(start), message, help)
    }
}

/// An owner that begins with a dollar sign has a `\` before it.
fn is_generated(entry: &Entry<'_>) -> bool {
    let word = entry.tokens[0].word;
    !word.quoted && word.text.eq_ignore_ascii_case(b"$GENERATE")
}

fn line_start(text: &[u8], offset: usize) -> usize {
    match text[..offset].iter().rposition(|&octet| octet == b'\n') {
        Some(newline) => newline + 1,
        None if text.starts_with(super::scan::BOM) && offset >= super::scan::BOM.len() => super::scan::BOM.len(),
        None => 0,
    }
}

fn characters(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).chars().count()
}

/// A terminal must not take orders from a zone file.
fn printable(character: char) -> char {
    if character.is_control() && character != '\t' { char::REPLACEMENT_CHARACTER } else { character }
}
