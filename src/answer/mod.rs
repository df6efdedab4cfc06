//! From query octets to response octets: a function of a snapshot, a context and a query. No lock, no allocation, no system call.
//!
//! `query` reads, `lookup` walks RFC 1034 section 4.3.2, `message` writes; `edns` has the options of both ways, `cookie` tells a sender that
//! receives at its address from one that may be forged.

mod chaos;
pub mod cookie;
mod denial;
mod edns;
mod lookup;
mod message;
mod query;
mod sections;
mod settings;

use std::net::IpAddr;

use crate::dns::Timestamp;
use crate::dns::header::{ExtendedError, Rcode};
use crate::dns::tsig;
use crate::zone::Snapshot;
pub use crate::zone::snapshot::TOGETHER;
use cookie::Shown;
use edns::Given;
use lookup::Lookup;
use message::Message;
use query::{Fault, Query};

pub use settings::{NSID_MAX, Settings, TEXT_MAX};

/// The largest UDP response, whatever the client offers: no fragment, no great amplification (RFC 9715 section 3.1).
pub const UDP_MAX: usize = 1232;
/// The largest to a client that has shown a valid cookie: no forged address, so no amplification, but still no fragment on the usual link
/// (RFC 9715 section 3.1).
pub const PROVEN_UDP_MAX: usize = 1400;
/// The largest message.
pub const MESSAGE_MAX: usize = 65_535;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A stream.
    Tcp,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over QUIC (RFC 9250).
    Quic,
}

impl Transport {
    /// Whether nobody on the way can read it.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Transport::Tls | Transport::Https | Transport::Quic)
    }
}

/// What an answer may depend on besides the snapshot and the query.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Who asks.
    pub peer: IpAddr,
    /// How.
    pub transport: Transport,
    /// A coarse now.
    pub now: Timestamp,
    /// What holds for every answer.
    pub settings: &'a Settings,
    /// Octets that the response is left shorter than it may be: for its signature. There are some only where the query's was verified.
    pub signature: Option<usize>,
}

impl Context<'static> {
    /// A context of a server that says nothing of itself and speaks no cookies.
    pub fn new(peer: IpAddr, transport: Transport, now: Timestamp) -> Context<'static> {
        Context { peer, transport, now, settings: Settings::NONE, signature: None }
    }
}

impl Context<'_> {
    /// The same with these settings.
    pub fn with(self, settings: &Settings) -> Context<'_> {
        Context { settings, ..self }
    }

    /// The same for a query whose signature was verified, and whose response's takes so many octets.
    pub fn signed(self, octets: usize) -> Self {
        Context { signature: Some(octets), ..self }
    }

    fn look(&self, query: &Query<'_>) -> Option<Shown> {
        self.settings.cookies.look(query.edns?.asked.cookie?, self.peer, self.now)
    }
}

/// What a query's cookie has shown (RFC 7873 section 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cookie {
    /// There was none, or none that we look at.
    #[default]
    None,
    /// The client's alone.
    New,
    /// Ours, of this client and not too old: its sender receives at the address that it asks from.
    Valid,
    /// Not ours, of another address, or too old.
    Bad,
}

/// What a query's TSIG record has shown (RFC 8945 section 5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// There was none.
    #[default]
    None,
    /// There is one that nobody has looked at.
    Unverified,
    /// Its sender has the key.
    Verified,
    /// There is something wrong with it.
    Refused(tsig::Fault),
}

/// What was seen in a query, and what its response's header doesn't tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The question's type; 0 where none could be read.
    pub qtype: u16,
    /// Whether signatures were asked for.
    pub dnssec_ok: bool,
    /// What its cookie has shown.
    pub cookie: Cookie,
    /// What its signature has shown. The answer function looks at none: where it says [`Signature::Unverified`], what it wrote is not to
    /// be sent by who knows keys.
    pub signature: Signature,
    /// The response code's upper eight bits, which stand in OPT (RFC 6891 section 6.1.3).
    pub rcode_high: u8,
}

/// Writes the response to `query` into `out`, which must hold [`MESSAGE_MAX`] octets, for UDP [`PROVEN_UDP_MAX`], and gives its length.
/// None where nothing may be answered: a response, or less than a header.
pub fn answer(snapshot: &Snapshot, context: &Context<'_>, query: &[u8], out: &mut [u8]) -> Option<usize> {
    respond(snapshot, context, query, out).map(|(length, _)| length)
}

/// [`answer`], and what was seen on the way.
pub fn respond(snapshot: &Snapshot, context: &Context<'_>, query: &[u8], out: &mut [u8]) -> Option<(usize, Seen)> {
    let query = query::parse(query)?;
    let shown = context.look(&query);
    let mut seen = see(context, &query, shown);
    let proven = seen.cookie == Cookie::Valid || context.signature.is_some();
    let given = given(context, &query, shown);
    let limit = limit(context.transport, &query, proven);
    let limit = context.signature.map_or(limit, |signature| room(limit, signature, &query, &given));
    let mut message = Message::begin(out.get_mut(..limit)?, &query, given);
    match query.fault {
        None => Lookup::new(snapshot, &query, context.now).run(&query.name, &mut message),
        Some(Fault::Chaos) => chaos::answer(context.settings, &query, &mut message),
        Some(fault) => {
            let (rcode, why) = fault.verdict(seen.cookie);
            message.rcode(rcode);
            seen.rcode_high = (rcode as u16 >> 4) as u8;
            if let Some(why) = why {
                message.explain(why);
            }
        }
    }
    Some((message.finish(), seen))
}

/// The frame of a response that whoever asked for it fills himself: a zone transfer's messages.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// So many octets are header and question; what follows them is OPT, if anything is.
    pub head: usize,
    /// The octets of all that.
    pub length: usize,
    /// How long a message may be, its signature not counted.
    pub limit: usize,
    /// What was seen in the query.
    pub seen: Seen,
}

/// Writes a response without records to a query that can be read, as an authority.
pub fn frame(context: &Context<'_>, query: &[u8], out: &mut [u8]) -> Option<Frame> {
    let query = query::parse(query)?;
    let shown = context.look(&query);
    let seen = see(context, &query, shown);
    // How long the messages are tells no more than a zone's size, and its padding is for all of them together.
    let given = Given { padded: false, ..given(context, &query, shown) };
    let proven = seen.cookie == Cookie::Valid || context.signature.is_some();
    let limit = room(limit(context.transport, &query, proven), context.signature.unwrap_or(0), &query, &given);
    let mut message = Message::begin(out.get_mut(..limit)?, &query, given);
    message.authoritative();
    let head = message.len();
    Some(Frame { head, length: message.finish(), limit, seen })
}

/// Writes a response that says no more than a code: `query` is not to be looked up. It is left `behind` octets shorter than it may be.
pub fn refuse(
    context: &Context<'_>,
    query: &[u8],
    rcode: Rcode,
    behind: usize,
    out: &mut [u8],
) -> Option<(usize, Seen)> {
    let query = query::parse(query)?;
    let shown = context.look(&query);
    let given = Given { behind, ..given(context, &query, shown) };
    let limit = room(limit(context.transport, &query, false), behind, &query, &given);
    let mut message = Message::begin(out.get_mut(..limit)?, &query, given);
    message.rcode(rcode);
    let seen = Seen { rcode_high: (rcode as u16 >> 4) as u8, ..see(context, &query, shown) };
    Some((message.finish(), seen))
}

fn see(context: &Context<'_>, query: &Query<'_>, shown: Option<Shown>) -> Seen {
    Seen {
        qtype: query.qtype.0,
        dnssec_ok: query.edns.is_some_and(|edns| edns.dnssec_ok),
        cookie: shown.map_or(Cookie::None, |shown| shown.cookie()),
        signature: match context.signature {
            _ if !query.signed => Signature::None,
            Some(_) => Signature::Verified,
            None => Signature::Unverified,
        },
        rcode_high: 0,
    }
}

/// Has the memory brought near that the answers to these queries will be read from. Best are [`TOGETHER`] of them at a time.
pub fn prefetch(snapshot: &Snapshot, queries: &[&[u8]]) {
    if snapshot.is_large() {
        snapshot.prefetch(queries.iter().filter_map(|query| query::name(query)));
    }
}

/// What a sender that asks too much gets in the place of an answer, so that it proves its address: BADCOOKIE with a cookie where it speaks
/// them (RFC 7873 section 5.2.3), else TC, after which it asks over TCP. Hardly longer than the query. Gives the length, and the response
/// code's upper bits.
pub fn challenge(context: &Context<'_>, query: &[u8], out: &mut [u8]) -> Option<(usize, u8)> {
    let query = query::parse(query)?;
    let cookie = context.look(&query).map(|shown| shown.reply);
    let given = Given { cookie, ..Given::default() };
    let mut message = Message::begin(out.get_mut(..limit(Transport::Udp, &query, false))?, &query, given);
    let rcode = if cookie.is_some() { Rcode::BadCookie } else { Rcode::NoError };
    message.rcode(rcode);
    if cookie.is_none() {
        message.truncated();
    }
    Some((message.finish(), (rcode as u16 >> 4) as u8))
}

fn limit(transport: Transport, query: &Query<'_>, proven: bool) -> usize {
    match (transport, &query.edns) {
        // RFC 6891 section 6.2.5: less than 512 is taken as 512.
        (Transport::Udp, Some(edns)) => {
            usize::from(edns.payload).clamp(512, if proven { PROVEN_UDP_MAX } else { UDP_MAX })
        }
        (Transport::Udp, None) => 512,
        _ => MESSAGE_MAX,
    }
}

/// What is left of a limit beside a signature. Where that is not even the question and OPT (a long key name, and a client that offers 512
/// octets), the limit gives way: the query has as many (RFC 8945 section 5.3).
fn room(limit: usize, signature: usize, query: &Query<'_>, given: &Given<'_>) -> usize {
    limit.saturating_sub(signature).max(Message::least(query, given))
}

/// The options of the response.
fn given<'a>(context: &Context<'a>, query: &Query<'_>, shown: Option<Shown>) -> Given<'a> {
    let Some(asked) = query.edns.map(|edns| edns.asked) else { return Given::default() };
    // RFC 7828 section 3.3.2; sections 3.2.1 and, for QUIC, RFC 9250 5.5.2: not where no connection of ours is kept by it.
    let keeps = matches!(context.transport, Transport::Tcp | Transport::Tls);
    Given {
        nsid: if asked.nsid { &context.settings.nsid } else { &[] },
        cookie: shown.map(|shown| shown.reply),
        keepalive: context.settings.keepalive.filter(|_| asked.keepalive && keeps),
        error: None,
        // RFC 7830 section 4, and section 6: what everybody can read is not padded.
        padded: asked.padding && context.transport.is_encrypted(),
        behind: context.signature.unwrap_or(0),
    }
}

impl Fault {
    fn verdict(self, cookie: Cookie) -> (Rcode, Option<ExtendedError>) {
        match (self, cookie) {
            // RFC 7873 section 5.4: a client learns whether its cookie is still good.
            (Fault::CookieOnly, Cookie::Bad) => (Rcode::BadCookie, None),
            (Fault::CookieOnly, Cookie::Valid | Cookie::New) => (Rcode::NoError, None),
            (Fault::Malformed | Fault::CookieOnly, _) => (Rcode::FormErr, None),
            (Fault::Opcode, _) => (Rcode::NotImp, Some(ExtendedError::NotSupported)),
            (Fault::Version, _) => (Rcode::BadVers, None),
            (Fault::Class | Fault::Chaos, _) => (Rcode::Refused, Some(ExtendedError::NotAuthoritative)),
            (Fault::Transfer, _) => (Rcode::Refused, Some(ExtendedError::Prohibited)),
        }
    }
}
