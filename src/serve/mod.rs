//! Sockets in front of a function from query to response: UDP, TCP, TLS, HTTPS, QUIC, and the control socket.
//!
//! Nothing here knows what a zone is. What an [`Answerer`] does with a packet, a snapshot swap included, is its own.

pub mod authentic;
mod bind;
mod clients;
pub mod control;
mod counters;
pub mod encrypted;
mod handle;
mod later;
mod mmsg;
pub mod notified;
pub mod rate;
mod statistics;
mod stream;
mod tcp;
pub mod transfers;
mod udp;
pub mod updates;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::error;

use crate::answer::{self, Seen};
use crate::dns::header::{HEADER, OPCODE, QR, RD, Rcode};

pub use bind::Listeners;
pub use counters::Counters;
pub use handle::Handle;
pub use later::{Later, Respond};
pub use notified::{Notified, NotifyCounts};
pub use statistics::Statistics;
pub use stream::TcpLimits;
use transfers::Outgoing;
pub use transfers::{Transferred, Transfers};
pub use updates::{Updated, Updates};

/// The biggest DNS message, octets.
pub const MAX_MESSAGE: usize = 65_535;
/// The biggest response over UDP, octets.
pub const UDP_MAX: usize = mmsg::RESPONSE_MAX;

/// What carries a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A datagram: the response may have to be truncated.
    Udp,
    /// A stream (RFC 7766).
    Tcp,
    /// TLS (RFC 7858).
    Tls,
    /// HTTP/2 (RFC 8484).
    Https,
    /// QUIC (RFC 9250).
    Quic,
}

impl From<Transport> for answer::Transport {
    fn from(transport: Transport) -> answer::Transport {
        match transport {
            Transport::Udp => answer::Transport::Udp,
            Transport::Tcp => answer::Transport::Tcp,
            Transport::Tls => answer::Transport::Tls,
            Transport::Https => answer::Transport::Https,
            Transport::Quic => answer::Transport::Quic,
        }
    }
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Https => "https",
            Transport::Quic => "quic",
        })
    }
}

/// What becomes of a query.
#[derive(Default)]
pub struct Reply {
    /// The response's length, octets; none where nothing is sent.
    pub length: Option<usize>,
    /// What the rate limit says.
    pub verdict: rate::Verdict,
    /// What was seen in the query; only counted.
    pub seen: Seen,
    /// What follows this response over a stream: the rest of a zone transfer.
    pub more: Option<Box<Outgoing>>,
    /// The response itself, where it waits for somebody; there is no `length` then.
    pub later: Option<Later>,
}

impl From<Option<usize>> for Reply {
    /// A response, or none, of which nothing else is known.
    fn from(length: Option<usize>) -> Reply {
        Reply { length, ..Reply::default() }
    }
}

/// From query to response. Called from many threads at once; must not block.
pub trait Answerer: Send + Sync {
    /// Writes the response to `query` into `out` and tells its length. `out` has [`MAX_MESSAGE`] octets, for UDP [`UDP_MAX`].
    fn answer(&self, peer: SocketAddr, transport: Transport, query: &[u8], out: &mut [u8]) -> Reply;

    /// Runs `work` with what answers a whole batch: whatever is the same for all of it is looked up once.
    fn batch(&self, work: &mut dyn FnMut(&dyn Answerer));

    /// Told of the queries of a batch before the first is answered, so that the memory they need is on its way.
    fn prefetch(&self, _queries: &[&[u8]]) {}
}

/// Why serving did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener can't be bound.
    #[error("can't listen on {address} ({transport}): {why}{advice}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// What the system says.
        #[source]
        why: std::io::Error,
        /// What to do: empty, or begins with `: `.
        advice: String,
    },
    /// No thread or task for a socket.
    #[error("can't start serving: {0}")]
    Start(#[source] std::io::Error),
}

/// Asks the answerer. A panic in it costs this one query, which gets SERVFAIL, and never the server.
fn guarded(answerer: &dyn Answerer, peer: SocketAddr, transport: Transport, query: &[u8], out: &mut [u8]) -> Reply {
    let answered = std::panic::catch_unwind(AssertUnwindSafe(|| answerer.answer(peer, transport, query, out)));
    match answered {
        Ok(reply) => Reply { length: reply.length.filter(|length| *length <= out.len()), ..reply },
        Err(_) => {
            static ALARM: Occasionally = Occasionally::new();
            ALARM.run(|before| error!("a bug: answering a query from {peer} panicked ({before} times before)"));
            servfail(query, out).into()
        }
    }
}

/// A header that says SERVFAIL to the query's ID; nothing to a response or a fragment of a header.
fn servfail(query: &[u8], out: &mut [u8]) -> Option<usize> {
    let header = query.get(..HEADER).filter(|header| header[2] & QR == 0)?;
    out[..HEADER].fill(0);
    out[..2].copy_from_slice(&header[..2]);
    let rd = if header[2] & OPCODE == 0 { RD } else { 0 };
    out[2] = QR | header[2] & (OPCODE | rd);
    out[3] = Rcode::ServFail as u8;
    Some(HEADER)
}

/// Lets something through once a minute and counts the rest: for log lines that an attacker can cause.
struct Occasionally {
    /// Milliseconds since the first use of any; 0 for never.
    last: AtomicU64,
    held_back: AtomicU64,
}

impl Occasionally {
    const PAUSE: Duration = Duration::from_secs(60);

    const fn new() -> Occasionally {
        Occasionally { last: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Calls `say` with the number of times that it was not called since the last one.
    fn run(&self, say: impl FnOnce(u64)) {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        let now = BEGUN.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1;
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= Occasionally::PAUSE.as_millis() as u64;
        // Of several at the same moment one is let through.
        if !is_due || self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            return;
        }
        say(self.held_back.swap(0, Ordering::Relaxed));
    }
}
