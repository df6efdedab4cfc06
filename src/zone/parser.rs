//! Goes through zone text entry by entry (RFC 1035 section 5): directives, owners, TTLs; hands on each record that is well.
//!
//! Nothing is allocated for a record: it stands in buffers that the next one takes over.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Severity};
use super::entry::{Fault, Head, MAX_TTL, argument, behind, check_ttl, domain_name, fault, head, none_left};
use super::file::{Includes, soa_number, unreadable};
use super::owners;
use super::scan::{Entry, Place, Scanner, Token};
use super::source::{Sources, Text};
use crate::dns::text::{self, Word, read_rdata_into, show, time};
use crate::dns::{Name, Rtype};

/// The most diagnostics of one run.
pub(super) const MAX_DIAGNOSTICS: usize = 200;
/// How deep includes may nest.
const MAX_DEPTH: usize = 16;
/// How many files one zone may include in all.
const MAX_INCLUDES: usize = 1000;

/// A record that was read, and where its entry stands.
pub(super) struct Found<'r> {
    pub(super) owner: &'r Name,
    /// What [`owners::key`] says of the owner.
    pub(super) key: u64,
    pub(super) ttl: u32,
    pub(super) rtype: Rtype,
    pub(super) rdata: &'r [u8],
    pub(super) file: u32,
    pub(super) line: u32,
    pub(super) offset: u32,
    /// Which token of the entry is the first of the RDATA.
    pub(super) rdata_token: u16,
}

/// What takes the records of a file, in their order.
pub(super) trait Sink {
    fn take(&mut self, record: &Found<'_>);
}

/// The owner that a blank one stands for.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    /// There is none yet.
    None,
    /// It could not be read, or lies outside the zone: that was reported.
    Bad,
    /// This one, and its [`owners::key`].
    Known(Name, u64),
}

/// What was met, even where it had an error: so that nothing is called missing that is only broken.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) soa: bool,
    pub(super) ns: bool,
    /// A part of the text could not be read as entries at all.
    pub(super) gap: bool,
}

/// A zone under way: what holds for all of its files.
pub(super) struct Parser<'z, 't> {
    pub(super) zone: &'z Name,
    includes: &'z mut dyn Includes,
    pub(super) sink: &'z mut dyn Sink,
    pub(super) sources: Sources<'t>,
    pub(super) diagnostics: Vec<Diagnostic>,
    default_ttl: Option<u32>,
    pub(super) last_ttl: Option<u32>,
    stack: Vec<String>,
    included: usize,
    /// How many records `$GENERATE` was asked for.
    pub(super) generated: u64,
    pub(super) seen: Seen,
    /// The serial of the first SOA.
    pub(super) serial: Option<u32>,
    /// The RDATA of the record that is being read.
    rdata: Vec<u8>,
}

/// A file under way: its index, the origin and the last owner.
pub(super) struct Context<'t> {
    pub(super) file: u32,
    pub(super) origin: Name,
    /// The last `$ORIGIN` could not be read: owners behind it are not known.
    pub(super) origin_lost: bool,
    owner: Owner,
    /// What the owner was read from under this origin; empty where that is not known.
    owner_text: &'t [u8],
    /// The RDATA of the record that is being read.
    words: Vec<Word<'t>>,
}

impl<'z, 't> Parser<'z, 't> {
    /// A parser for the zone file of `zone`, whose name is `file`.
    pub(super) fn new(
        zone: &'z Name,
        file: &str,
        includes: &'z mut dyn Includes,
        sink: &'z mut dyn Sink,
    ) -> Parser<'z, 't> {
        Parser {
            zone,
            includes,
            sink,
            sources: Sources::default(),
            diagnostics: Vec::new(),
            default_ttl: None,
            last_ttl: None,
            stack: vec![normalise(file)],
            included: 0,
            generated: 0,
            seen: Seen::default(),
            serial: None,
            rdata: Vec::new(),
        }
    }

    /// Reads a file, which is among the sources already.
    pub(super) fn run(&mut self, text: &[u8], file: u32, origin: Name, owner: Owner) {
        let mut context = Context { file, origin, origin_lost: false, owner, owner_text: b"", words: Vec::new() };
        let mut scanner = Scanner::new(text);
        let mut entry = Entry::default();
        while let Some(read) = scanner.read(&mut entry) {
            if self.diagnostics.len() >= MAX_DIAGNOSTICS {
                return;
            }
            let result = match read {
                Ok(()) => self.entry(&mut context, &entry),
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

    pub(super) fn report(&mut self, file: u32, fault: Fault) {
        let Fault { place, mut message, help } = fault;
        if self.diagnostics.len() + 1 == MAX_DIAGNOSTICS {
            message.push_str(" (this is error 200; what follows was not read)");
        }
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            self.diagnostics.push(self.sources.diagnostic(Severity::Error, file, place, message, help));
        }
    }

    fn entry<'e>(&mut self, context: &mut Context<'e>, entry: &Entry<'e>) -> Result<(), Fault> {
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

    fn origin(&mut self, context: &mut Context<'_>, first: &Token<'_>, arguments: &[Token<'_>]) -> Result<(), Fault> {
        let example = "for example: $ORIGIN sub.example.org.";
        let token = argument(first, arguments, "a domain name").map_err(|fault| fault.help(example))?;
        none_left(&arguments[1..])?;
        context.origin_lost = true;
        context.owner_text = b"";
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
    fn include(&mut self, context: &mut Context<'_>, first: &Token<'_>, arguments: &[Token<'_>]) -> Result<(), Fault> {
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
        let index = self.sources.add(&path, Text::Included(text.clone()));
        self.stack.push(normal);
        self.run(&text, index, origin, context.owner.clone());
        self.stack.pop();
        Ok(())
    }

    fn record<'e>(&mut self, context: &mut Context<'e>, entry: &Entry<'e>) -> Result<(), Fault> {
        let first = &entry.tokens[0];
        let mut wrong = None;
        if !entry.blank_owner {
            // Most records have the owner of the one before.
            let same = first.word.text == context.owner_text && !first.word.quoted && !context.owner_text.is_empty();
            if !same {
                wrong = self.owner(context, first);
            }
        } else if let Owner::None = context.owner {
            context.owner = Owner::Bad;
            wrong = Some(
                fault(
                    first.place,
                    "a line that begins with white space repeats the owner before it, but there is none yet",
                )
                .help("write the owner in the first column, such as @ for the origin"),
            );
        }
        // An owner that is wrong doesn't hide what is wrong behind it, but one line gives one error.
        let mut rdata = std::mem::take(&mut self.rdata);
        let result = self.rest_of_record(context, entry, &mut rdata);
        self.rdata = rdata;
        match wrong {
            Some(fault) => Err(fault),
            None => result,
        }
    }

    /// Takes an owner; or says what is wrong with it.
    fn owner<'e>(&mut self, context: &mut Context<'e>, token: &Token<'e>) -> Option<Fault> {
        context.owner = Owner::Bad;
        context.owner_text = b"";
        match domain_name(token, &context.origin) {
            _ if context.origin_lost => None,
            Ok(name) if name.is_at_or_below(self.zone) => {
                let key = owners::key(&name);
                context.owner = Owner::Known(name, key);
                context.owner_text = token.word.text;
                None
            }
            Ok(name) => Some(self.outside(token.place, &name)),
            Err(fault) => Some(fault),
        }
    }

    pub(super) fn outside(&mut self, place: Place, name: &Name) -> Fault {
        let zone = self.zone.to_host();
        fault(place, format!("{name} is outside the zone {}", self.zone))
            .help(format!("names in this file end in {zone}.; without a final dot the origin is appended"))
    }

    fn rest_of_record<'e>(
        &mut self,
        context: &mut Context<'e>,
        entry: &Entry<'e>,
        rdata: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let tokens = &entry.tokens;
        // What can't be told apart may have been the SOA.
        let head = head(entry).inspect_err(|_| self.seen.gap = true)?;
        let owner = match &context.owner {
            Owner::Known(name, key) => Some((name, *key)),
            _ => None,
        };
        let at_apex = || owner.is_some_and(|(name, _)| name == self.zone);
        self.seen.soa |= head.rtype == Rtype::SOA;
        self.seen.ns |= head.rtype == Rtype::NS && (owner.is_none() || at_apex());
        context.words.clear();
        context.words.extend(tokens[head.rdata..].iter().map(|token| token.word));
        let read = read_rdata_into(head.rtype, &context.words, &context.origin, rdata);
        if head.ttl.is_some() {
            self.last_ttl = head.ttl;
        }
        read.map_err(|error| Fault {
            place: tokens.get(head.rdata + error.word).map_or_else(|| behind(tokens), |token| token.place),
            message: format!("{}: {}", head.rtype, error.message),
            help: error.help,
        })?;
        let Some((owner, key)) = owner else { return Ok(()) };
        if head.rtype == Rtype::SOA && owner != self.zone {
            let message = format!("an SOA record at {owner}: only the apex {} has one", self.zone);
            return Err(fault(tokens[head.rdata - 1].place, message));
        }
        let ttl = self.ttl(&head, rdata, tokens)?;
        if head.rtype == Rtype::SOA && self.serial.is_none() {
            self.serial = soa_number(rdata, 20);
        }
        self.sink.take(&Found {
            owner,
            key,
            ttl,
            rtype: head.rtype,
            rdata,
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
