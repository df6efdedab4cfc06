//! Goes through zone text entry by entry (RFC 1035 section 5): directives, owners, TTLs; hands on each record that is well.
//!
//! Nothing is allocated for a record: it stands in buffers that the next one takes over.

use super::diagnostic::{Diagnostic, Severity};
use super::directive::normalise;
use super::entry::{Fault, Head, MAX_TTL, behind, domain_name, fault, head};
use super::file::{Includes, soa_number};
use super::pieces::Pieces;
use super::reread::{Mark, SPACING, State};
use super::scan::{BOM, Entry, Place, Scanner, Token};
use super::source::Sources;
use super::tree::key;
use crate::dns::text::{Word, read_rdata_into, show};
use crate::dns::{Name, Rtype};

/// The most diagnostics of one run.
pub(super) const MAX_DIAGNOSTICS: usize = 200;
/// A large file is read in pieces of so many octets: they stay near.
const PIECE: usize = if cfg!(debug_assertions) { 1 << 11 } else { 1 << 18 };
/// Within a piece an entry begins so many octets before its end at least.
const AHEAD: usize = PIECE / 4;

/// A record that was read, and where its entry stands.
pub(super) struct Found<'r> {
    pub(super) owner: &'r Name,
    /// The owner's [`key::hash`].
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
    /// This one, behind its [`key::hash`].
    Known(u64, Name),
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
    pub(super) includes: &'z mut dyn Includes,
    pub(super) sink: &'z mut dyn Sink,
    pub(super) sources: Sources<'t>,
    pub(super) diagnostics: Vec<Diagnostic>,
    pub(super) default_ttl: Option<u32>,
    pub(super) last_ttl: Option<u32>,
    pub(super) stack: Vec<String>,
    pub(super) included: usize,
    /// How many records `$GENERATE` was asked for.
    pub(super) generated: u64,
    pub(super) seen: Seen,
    /// The serial of the first SOA.
    pub(super) serial: Option<u32>,
    /// The RDATA of the record that is being read.
    rdata: Vec<u8>,
    /// Places in the zone file at which reading can begin.
    pub(super) marks: Vec<Mark>,
}

/// A file under way.
pub(super) struct Walk<'t> {
    scanner: Scanner<'t>,
    /// Where its text begins in the file.
    base: usize,
    entry: Entry<'t>,
    context: Context<'t>,
}

impl<'t> Walk<'t> {
    fn new(text: &'t [u8], file: u32, origin: Name, owner: Owner) -> Walk<'t> {
        let context = Context { file, origin, origin_lost: false, owner, owner_text: b"", words: Vec::new() };
        Walk { scanner: Scanner::new(text), base: 0, entry: Entry::default(), context }
    }

    /// Where the next entry is looked for, in octets from the start of the file.
    pub(super) fn offset(&self) -> usize {
        self.base + self.scanner.offset()
    }
}

/// Where a file's entries stand: the file's index, the origin and the last owner.
pub(super) struct Context<'t> {
    pub(super) file: u32,
    pub(super) origin: Name,
    /// The last `$ORIGIN` could not be read: owners behind it are not known.
    pub(super) origin_lost: bool,
    pub(super) owner: Owner,
    /// What the owner was read from under this origin; empty where that is not known.
    pub(super) owner_text: &'t [u8],
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
            marks: Vec::new(),
        }
    }

    /// Reads a file, which is among the sources already.
    pub(super) fn run(&mut self, text: &[u8], file: u32, origin: Name, owner: Owner) {
        let mut walk = Walk::new(text, file, origin, owner);
        loop {
            if file == 0 {
                self.mark(&walk);
            }
            if !self.step(&mut walk) {
                return;
            }
        }
    }

    /// Reads the zone file piece by piece. None at the first error, and where an entry does not fit in a piece.
    pub(super) fn run_through<T: Pieces + ?Sized>(&mut self, text: &T) -> Option<()> {
        let mut piece = vec![0; PIECE.min(text.length())];
        text.read(0, &mut piece)?;
        let (mut from, mut end) = (if piece.starts_with(BOM) { BOM.len() } else { 0 }, piece.len());
        let mut start = Mark { offset: from, state: State::at(self.zone) };
        loop {
            let mut walk = self.resume(&piece[from..], &start);
            let is_last = end == text.length();
            while is_last || end - walk.offset() > AHEAD {
                self.mark(&walk);
                if !self.step(&mut walk) {
                    break;
                }
            }
            // What reached the end of the piece may have been cut off there.
            if !self.diagnostics.is_empty() || (!is_last && walk.offset() == end) {
                return None;
            }
            if is_last {
                return Some(());
            }
            start = Mark { offset: walk.offset(), state: self.state(&walk) };
            let rest = end - start.offset;
            let moved = piece.len() - rest;
            piece.copy_within(moved.., 0);
            piece.truncate(rest + (text.length() - end).min(piece.len() - rest));
            text.read(end, &mut piece[rest..])?;
            (from, end) = (0, start.offset + piece.len());
        }
    }

    /// Goes on within the zone file, its first file, from a mark; `text` begins there.
    pub(super) fn resume<'e>(&mut self, text: &'e [u8], mark: &Mark) -> Walk<'e> {
        let State { origin, owner, default_ttl, last_ttl } = mark.state.clone();
        (self.default_ttl, self.last_ttl) = (default_ttl, last_ttl);
        let owner = owner.map_or(Owner::None, |name| Owner::Known(key::hash(name.as_wire()), name));
        // What goes on from a mark is thrown away at its first error: lines need not be right.
        Walk { scanner: Scanner::at(text, 0, 1), base: mark.offset, ..Walk::new(text, 0, origin, owner) }
    }

    /// Reads the next entry. False when there is none, or no more is to be said.
    pub(super) fn step(&mut self, walk: &mut Walk<'_>) -> bool {
        if self.diagnostics.len() >= MAX_DIAGNOSTICS {
            return false;
        }
        let Walk { scanner, entry, context, .. } = walk;
        let result = match scanner.read(entry) {
            None => return false,
            Some(Ok(())) => self.entry(context, entry),
            Some(Err(error)) => {
                self.seen.gap = true;
                Err(fault(error.place, error.message).help(error.help))
            }
        };
        if let Err(fault) = result {
            self.report(context.file, fault);
        }
        true
    }

    /// What the next entry depends on.
    pub(super) fn state(&self, walk: &Walk<'_>) -> State {
        let owner = match &walk.context.owner {
            Owner::Known(_, name) => Some(name.clone()),
            _ => None,
        };
        // Behind a `$TTL` the last TTL doesn't count.
        let last_ttl = self.last_ttl.filter(|_| self.default_ttl.is_none());
        State { origin: walk.context.origin.clone(), owner, default_ttl: self.default_ttl, last_ttl }
    }

    /// Makes a mark, if the last one is far enough behind.
    pub(super) fn mark(&mut self, walk: &Walk<'_>) {
        let offset = walk.offset();
        let far = self.marks.last().is_none_or(|last| offset >= last.offset + SPACING);
        if far && walk.scanner.is_at_line() {
            let state = self.state(walk);
            self.marks.push(Mark { offset, state });
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
                let key = key::hash(name.as_wire());
                context.owner = Owner::Known(key, name);
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
            Owner::Known(key, name) => Some((name, *key)),
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
