//! From query octets to response octets: a function of a snapshot, a context and a query. No lock, no allocation, no system call.
//!
//! `query` reads, `lookup` walks RFC 1034 section 4.3.2, `message` writes.

mod denial;
mod lookup;
mod message;
mod query;

use std::net::IpAddr;

use crate::dns::Timestamp;
use crate::dns::header::{HEADER, Rcode};
use crate::zone::Snapshot;
use lookup::Lookup;
use message::Message;
use query::Fault;

/// The largest UDP response, whatever the client offers: no fragment, no great amplification (RFC 9715 section 3.1).
pub const UDP_MAX: usize = 1232;
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

/// What an answer may depend on besides the snapshot and the query.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Who asks.
    pub peer: IpAddr,
    /// How.
    pub transport: Transport,
    /// A coarse now.
    pub now: Timestamp,
}

/// Writes the response to `query` into `out`, which must hold [`MESSAGE_MAX`] octets, and gives its length. None where nothing may
/// be answered: a response, or less than a header.
pub fn answer(snapshot: &Snapshot, context: &Context, query: &[u8], out: &mut [u8]) -> Option<usize> {
    let query = query::parse(query)?;
    let limit = match (context.transport, &query.edns) {
        // RFC 6891 section 6.2.5: less than 512 is taken as 512.
        (Transport::Udp, Some(edns)) => usize::from(edns.payload).clamp(512, UDP_MAX),
        (Transport::Udp, None) => 512,
        _ => MESSAGE_MAX,
    };
    let mut message = Message::begin(out.get_mut(..limit.max(HEADER))?, &query);
    match query.fault {
        Some(fault) => message.rcode(fault.rcode()),
        None => Lookup::new(snapshot, &query).run(&mut message),
    }
    Some(message.finish())
}

impl Fault {
    fn rcode(self) -> Rcode {
        match self {
            Fault::Malformed => Rcode::FormErr,
            Fault::Opcode => Rcode::NotImp,
            Fault::Version => Rcode::BadVers,
            Fault::Class | Fault::Transfer => Rcode::Refused,
        }
    }
}
