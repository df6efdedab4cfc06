//! A zone file's grammar (RFC 1035 section 5): directives, owners, TTLs, classes, and which records may be in it.
//!
//! Every error of the file and of what it includes is found in one run. No file is opened here: includes are handed in.

use std::sync::Arc;

use super::check;
use super::contents::Contents;
use super::diagnostic::{Diagnostic, Severity};
use super::entry::{Fault, Head, MAX_TTL, argument, behind, check_ttl, domain_name, fault, head, none_left};
use super::scan::{Entry, Place, Scanner, Token};
use super::source::{Placed, Sources};
use crate::dns::text::{self, Word, read_rdata, show, time};
use crate::dns::{Name, Record, Rtype};

/// The most diagnostics of one run.
const MAX_DIAGNOSTICS: usize = 200;
/// How deep includes may nest.
const MAX_DEPTH: usize = 16;
/// How many files one zone may include in all.
const MAX_INCLUDES: usize = 1000;
/// The longest file in octets.
const MAX_FILE: usize = 1 << 30;

/// Where the text of included files comes from.
pub trait Includes {
    /// The text of a file, by the path as it is written behind `$INCLUDE`; or why it can't be had.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;
}

/// For zones that include nothing: every path is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Err("includes are not available here".to_owned())
    }
}

/// A zone file that was read.
#[derive(Debug)]
pub struct Parsed {
    /// The zone; none when there is any error.
    pub contents: Option<Contents>,
    /// The errors, in the order in which they were met.
    pub diagnostics: Vec<Diagnostic>,
    /// The records in file order with their places, duplicates included; those with an error left out.
    pub records: Vec<Placed>,
    /// The files that were read.
    pub sources: Sources,
    /// The serial of the first SOA that could be read.
    pub serial: Option<u32>,
}

/// Reads the zone `origin` from `text`. `file` is the name that diagnostics carry.
pub fn parse(origin: &Name, file: &str, text: &[u8], includes: &mut dyn Includes) -> Parsed {
    let mut parser = Parser {
        zone: origin,
        includes,
        sources: Sources::default(),
        diagnostics: Vec::new(),
        records: Vec::new(),
        default_ttl: None,
        last_ttl: None,
        stack: vec![normalise(file)],
        included: 0,
        generated: 0,
        seen: Seen::default(),
    };
    let unreadable = unreadable(text);
    let text: Arc<[u8]> = if unreadable.is_some() { Arc::from(&b""[..]) } else { text.into() };
    let index = parser.sources.add(file, text.clone());
    let start = Place { line: 1, offset: 0, len: 1 };
    match unreadable {
        Some(reason) => {
            parser.seen.gap = true;
            parser.report(index, fault(start, reason));
        }
        None => parser.run(&text, index, origin.clone(), Owner::None),
    }
    parser.finish(index, start)
}

/// Why a file is not read at all.
fn unreadable(text: &[u8]) -> Option<&'static str> {
    if text.len() > MAX_FILE {
        return Some("the file is longer than 1 GiB");
    }
    let utf16 = text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff");
    utf16.then_some("the file is in UTF-16: save it as UTF-8 or ASCII")
}

/// The owner that a blank one stands for.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// There is none yet.
    None,
    /// It could not be read, or lies outside the zone: that was reported.
    Bad,
    /// This one.
    Known(Name),
}

/// What was met, even where it had an error: so that nothing is called missing that is only broken.
#[derive(Debug, Default)]
pub(super) struct Seen {
    soa: bool,
    pub(super) ns: bool,
    /// A part of the text could not be read as entries at all.
    pub(super) gap: bool,
}

pub(super) struct Parser<'z> {
    pub(super) zone: &'z Name,
    includes: &'z mut dyn Includes,
    sources: Sources,
    diagnostics: Vec<Diagnostic>,
    pub(super) records: Vec<Placed>,
    default_ttl: Option<u32>,
    pub(super) last_ttl: Option<u32>,
    stack: Vec<String>,
    included: usize,
    /// How many records `$GENERATE` was asked for.
    pub(super) generated: u64,
    pub(super) seen: Seen,
}

/// A file under way: its index, the origin and the last owner.
pub(super) struct Context {
    pub(super) file: u32,
    pub(super) origin: Name,
    /// The last `$ORIGIN` could not be read: owners behind it are not known.
    pub(super) origin_lost: bool,
    owner: Owner,
}

impl Parser<'_> {
    fn run(&mut self, text: &[u8], file: u32, origin: Name, owner: Owner) {
        let mut context = Context { file, origin, origin_lost: false, owner };
        for entry in Scanner::new(text) {
            if self.diagnostics.len() >= MAX_DIAGNOSTICS {
                return;
            }
            let result = match entry {
                Ok(entry) => self.entry(&mut context, &entry),
                Err(error) => {
                    self.seen.gap = true;
                    Err(fault(error.place, error.message).help(error.help))
                }
            };
            if let Err(fault) = result {
                self.report(file, fault);
            }
        }
    }

    fn report(&mut self, file: u32, fault: Fault) {
        let Fault { place, mut message, help } = fault;
        if self.diagnostics.len() + 1 == MAX_DIAGNOSTICS {
            message.push_str(" (this is error 200; what follows was not read)");
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(self.sources.diagnostic(Severity::Error, file, place, message, help));
        }
    }

    fn finish(mut self, file: u32, start: Place) -> Parsed {
        if !self.seen.gap {
            let missing = |what: &str| fault(start, format!("the zone {} has no {what} record at its apex", self.zone));
            let soa = (!self.seen.soa).then(|| {
                missing("SOA")
                    .help("begin with: @ IN SOA ns1 hostmaster 1 7200 3600 1209600 3600 (RFC 1035 section 5.2)")
            });
            let ns = (!self.seen.ns)
                .then(|| missing("NS").help("name the zone's servers: @ IN NS ns1 (RFC 1034 section 4.2.1)"));
            for fault in [soa, ns].into_iter().flatten() {
                self.report(file, fault);
            }
        }
        for conflict in check::conflicts(self.zone, &self.records) {
            if self.diagnostics.len() < MAX_DIAGNOSTICS {
                let place = &self.records[conflict.record];
                let diagnostic =
                    self.sources.at(Severity::Error, place, conflict.part, conflict.message, conflict.help);
                self.diagnostics.push(diagnostic);
            }
        }
        let soa = self.records.iter().find(|placed| placed.record.rtype == Rtype::SOA);
        let serial = soa.and_then(|placed| soa_number(&placed.record.rdata, 20));
        let contents = self.diagnostics.is_empty().then(|| {
            let mut contents = Contents::new(self.zone.clone());
            for placed in &self.records {
                contents.insert(placed.record.clone());
            }
            contents
        });
        Parsed { contents, diagnostics: self.diagnostics, records: self.records, sources: self.sources, serial }
    }

    fn entry(&mut self, context: &mut Context, entry: &Entry<'_>) -> Result<(), Fault> {
        let first = &entry.tokens[0];
        if first.word.quoted || !first.word.text.starts_with(b"$") {
            return self.record(context, entry);
        }
        if entry.blank_owner {
            return Err(fault(first.place, "a directive begins in the first column")
                .help("take the white space before it away"));
        }
        let arguments = &entry.tokens[1..];
        match first.word.text.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => self.origin(context, first, arguments),
            b"$TTL" => self.ttl_directive(first, arguments),
            b"$INCLUDE" => self.include(context, first, arguments),
            b"$GENERATE" => self.generate(context, entry),
            other => Err(fault(first.place, format!("unknown directive {}", show(other)))
                .help(r"known are $ORIGIN, $TTL, $INCLUDE and $GENERATE; an owner that begins with a dollar sign is written \$")),
        }
    }

    fn origin(&mut self, context: &mut Context, first: &Token<'_>, arguments: &[Token<'_>]) -> Result<(), Fault> {
        let example = "for example: $ORIGIN sub.example.org.";
        let token = argument(first, arguments, "a domain name").map_err(|fault| fault.help(example))?;
        none_left(&arguments[1..])?;
        context.origin_lost = true;
        context.origin = domain_name(token, &context.origin)?;
        context.origin_lost = false;
        Ok(())
    }

    fn ttl_directive(&mut self, first: &Token<'_>, arguments: &[Token<'_>]) -> Result<(), Fault> {
        let example = "for example: $TTL 3600, or $TTL 1h";
        let token = argument(first, arguments, "a TTL").map_err(|fault| fault.help(example))?;
        none_left(&arguments[1..])?;
        let span = time::parse_span(token.word.text)
            .filter(|_| !token.word.quoted)
            .ok_or_else(|| fault(token.place, format!("`{}` is not a TTL", show(token.word.text))).help(example))?;
        self.default_ttl = Some(check_ttl(span, token.place)?);
        Ok(())
    }

    /// `$INCLUDE file [origin]`: origin and last owner are as before when it is done (RFC 1035 section 5.1). A `$TTL`
    /// in it stays, as in BIND (RFC 2308 section 4: until the next one).
    fn include(&mut self, context: &mut Context, first: &Token<'_>, arguments: &[Token<'_>]) -> Result<(), Fault> {
        let token = argument(first, arguments, "a file name")?;
        let origin = match arguments.get(1) {
            Some(origin) => domain_name(origin, &context.origin)?,
            None => context.origin.clone(),
        };
        none_left(arguments.get(2..).unwrap_or_default())?;
        let refused = |message: String| fault(token.place, message);
        let path = text::unescape_string(token.word.text).ok().and_then(|path| String::from_utf8(path).ok());
        let path = path.ok_or_else(|| refused("the file name can't be read".to_owned()))?;
        let normal = normalise(&path);
        self.included += 1;
        let outcome = if self.stack.contains(&normal) {
            Err(format!("{} includes itself", show(path.as_bytes())))
        } else if self.stack.len() > MAX_DEPTH {
            Err(format!("includes are nested more than {MAX_DEPTH} deep"))
        } else if self.included > MAX_INCLUDES {
            Err(format!("the zone includes more than {MAX_INCLUDES} files"))
        } else {
            let text =
                self.includes.read(&path).map_err(|error| format!("can't include {}: {error}", show(path.as_bytes())));
            text.and_then(|text| match unreadable(&text) {
                Some(reason) => Err(reason.to_owned()),
                None => Ok(text),
            })
        };
        let text: Arc<[u8]> = outcome.map(Arc::from).map_err(|message| {
            self.seen.gap = true;
            refused(message)
        })?;
        let index = self.sources.add(&path, text.clone());
        self.stack.push(normal);
        self.run(&text, index, origin, context.owner.clone());
        self.stack.pop();
        Ok(())
    }

    fn record(&mut self, context: &mut Context, entry: &Entry<'_>) -> Result<(), Fault> {
        let tokens = &entry.tokens;
        let mut outside = None;
        if !entry.blank_owner {
            context.owner = Owner::Bad;
            match domain_name(&tokens[0], &context.origin) {
                _ if context.origin_lost => {}
                Ok(name) if name.is_at_or_below(self.zone) => context.owner = Owner::Known(name),
                Ok(name) => outside = Some(self.outside(tokens[0].place, &name)),
                Err(fault) => outside = Some(fault),
            }
        }
        if let (Owner::None, true) = (&context.owner, entry.blank_owner) {
            context.owner = Owner::Bad;
            outside = Some(
                fault(
                    tokens[0].place,
                    "a line that begins with white space repeats the owner before it, but there is none yet",
                )
                .help("write the owner in the first column, such as @ for the origin"),
            );
        }
        // An owner that is wrong doesn't hide what is wrong behind it, but one line gives one error.
        let result = self.rest_of_record(context, entry);
        match outside {
            Some(fault) => Err(fault),
            None => result,
        }
    }

    pub(super) fn outside(&mut self, place: Place, name: &Name) -> Fault {
        let zone = self.zone.to_host();
        fault(place, format!("{name} is outside the zone {}", self.zone))
            .help(format!("names in this file end in {zone}.; without a final dot the origin is appended"))
    }

    fn rest_of_record(&mut self, context: &Context, entry: &Entry<'_>) -> Result<(), Fault> {
        let tokens = &entry.tokens;
        // What can't be told apart may have been the SOA.
        let head = head(entry).inspect_err(|_| self.seen.gap = true)?;
        let owner = match &context.owner {
            Owner::Known(name) => Some(name),
            _ => None,
        };
        let at_apex = owner == Some(self.zone);
        self.seen.soa |= head.rtype == Rtype::SOA;
        self.seen.ns |= head.rtype == Rtype::NS && (at_apex || owner.is_none());
        let words: Vec<Word<'_>> = tokens[head.rdata..].iter().map(|token| token.word).collect();
        let read = read_rdata(head.rtype, &words, &context.origin);
        if head.ttl.is_some() {
            self.last_ttl = head.ttl;
        }
        let rdata = read.map_err(|error| Fault {
            place: tokens.get(head.rdata + error.word).map_or_else(|| behind(tokens), |token| token.place),
            message: format!("{}: {}", head.rtype, error.message),
            help: error.help,
        })?;
        let Some(owner) = owner else { return Ok(()) };
        if head.rtype == Rtype::SOA && !at_apex {
            let message = format!("an SOA record at {owner}: only the apex {} has one", self.zone);
            return Err(fault(tokens[head.rdata - 1].place, message));
        }
        let ttl = self.ttl(&head, &rdata, tokens)?;
        let record = Record { owner: owner.clone(), ttl, rtype: head.rtype, rdata };
        self.records.push(Placed {
            record,
            file: context.file,
            line: entry.line,
            offset: entry.offset,
            rdata_token: head.rdata as u16,
        });
        Ok(())
    }

    /// The TTL of a record, as BIND finds it: its own; else the `$TTL` before it (RFC 2308 section 4); else the last
    /// one that a record gave (RFC 1035 section 5.1); else, at the SOA, its MINIMUM, which then counts as a `$TTL`.
    pub(super) fn ttl(&mut self, head: &Head, rdata: &[u8], tokens: &[Token<'_>]) -> Result<u32, Fault> {
        if let Some(ttl) = head.ttl.or(self.default_ttl).or(self.last_ttl) {
            return Ok(ttl);
        }
        if head.rtype == Rtype::SOA
            && let Some(minimum) = soa_number(rdata, 4)
        {
            let ttl = minimum.min(MAX_TTL as u32);
            self.default_ttl = Some(ttl);
            return Ok(ttl);
        }
        self.default_ttl = Some(0);
        // A SOA that can't be read was reported; the TTL that it would have given is not missed on every line.
        if self.seen.soa {
            return Ok(0);
        }
        Err(fault(tokens[head.rdata - 1].place, "this record has no TTL, and none stands before it")
            .help("begin the file with $TTL 3600"))
    }
}

/// A 32-bit number of an SOA, counted in octets from the end of its RDATA.
pub(super) fn soa_number(rdata: &[u8], from_end: usize) -> Option<u32> {
    let at = rdata.len().checked_sub(from_end)?;
    Some(u32::from_be_bytes(*rdata.get(at..)?.first_chunk::<4>()?))
}

/// A path with `.` and `..` and doubled slashes resolved by its text alone: to see that two paths are one.
fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
