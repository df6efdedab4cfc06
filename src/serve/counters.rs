//! Counts what is asked and answered. Each thread that answers has a block of its own, which nobody else writes and which shares no
//! cache line with another's; who wants to know adds the blocks up. Nothing is read again for it: the header's bits, and what the
//! answerer has seen on its way.

use std::cell::Cell;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::clients::Clients;
use super::rate::Verdict;
use super::{Notified, Reply, Transfers, Transport, Updates};
use crate::answer::Signature;
use crate::dns::tsig::Fault;

/// The types that are counted by name.
pub(super) const TYPES: [(u16, &str); 15] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (43, "DS"),
    (48, "DNSKEY"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (255, "ANY"),
];
/// Response codes up to this one are counted apart.
pub(super) const RCODES: usize = 24;

/// What may be wrong with a signature, in the order of the counters.
pub(super) const FAULTS: [Fault; 5] = [Fault::Malformed, Fault::BadSig, Fault::BadKey, Fault::BadTime, Fault::BadTrunc];

/// The transports in the order of their counters.
pub(super) const TRANSPORTS: [Transport; 5] =
    [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Https, Transport::Quic];

// Where in a block a counter stands.
pub(super) const QUERIES: usize = 0;
pub(super) const OCTETS_IN: usize = QUERIES + 2 * TRANSPORTS.len();
pub(super) const OCTETS_OUT: usize = OCTETS_IN + 1;
pub(super) const DNSSEC_OK: usize = OCTETS_IN + 2;
pub(super) const TRUNCATED: usize = OCTETS_IN + 3;
pub(super) const UNANSWERABLE: usize = OCTETS_IN + 4;
pub(super) const LIMITED: usize = OCTETS_IN + 5;
pub(super) const SLIPPED: usize = OCTETS_IN + 6;
pub(super) const COOKIES: usize = OCTETS_IN + 7;
/// Verified, then by fault.
pub(super) const SIGNATURES: usize = COOKIES + 4;
pub(super) const HANDSHAKES_FAILED: usize = SIGNATURES + 1 + FAULTS.len();
pub(super) const RESPONSES: usize = HANDSHAKES_FAILED + TRANSPORTS.len();
pub(super) const BY_TYPE: usize = RESPONSES + RCODES + 1;
pub(super) const COUNTERS: usize = BY_TYPE + TYPES.len() + 1;

/// A type's place among [`TYPES`]; behind them for all others.
const PLACE_OF_TYPE: [u8; 256] = {
    let mut places = [TYPES.len() as u8; 256];
    let mut place = 0;
    while place < TYPES.len() {
        places[TYPES[place].0 as usize] = place as u8;
        place += 1;
    }
    places
};

/// Blocks among which the threads of a runtime are spread.
const SPREAD: usize = 4;

/// Aligned to what a processor fetches at once: two lines.
#[repr(align(128))]
struct Block([AtomicU64; COUNTERS]);

impl Block {
    fn new() -> Arc<Block> {
        Arc::new(Block(std::array::from_fn(|_| AtomicU64::new(0))))
    }
}

/// All blocks, and those who count connections.
#[derive(Default)]
pub struct Counters(Mutex<Sources>);

#[derive(Default)]
struct Sources {
    transfers: Arc<Transfers>,
    updates: Arc<Updates>,
    notified: Arc<Notified>,
    blocks: Vec<Arc<Block>>,
    doors: Vec<Door>,
}

/// Where connections of a transport come in.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) transport: Transport,
    pub(super) clients: Arc<Clients>,
    pub(super) handshakes: Option<Arc<Clients>>,
}

impl Counters {
    /// A block for the thread that keeps it.
    pub(super) fn tally(&self) -> Tally {
        Tally { block: self.block(), of_one_thread: PhantomData }
    }

    /// Blocks for the threads of a runtime.
    pub(super) fn shared(&self) -> SharedTally {
        SharedTally(Arc::new(std::array::from_fn(|_| self.block())))
    }

    /// Where transfers are counted.
    pub fn transfers(&self) -> Arc<Transfers> {
        Arc::clone(&self.sources().transfers)
    }

    /// Where updates are counted.
    pub fn updates(&self) -> Arc<Updates> {
        Arc::clone(&self.sources().updates)
    }

    /// Where NOTIFYs are counted, and noted for who looks at them.
    pub fn notified(&self) -> Arc<Notified> {
        Arc::clone(&self.sources().notified)
    }

    pub(super) fn door(&self, door: Door) {
        self.sources().doors.push(door);
    }

    pub(super) fn doors(&self) -> Vec<Door> {
        self.sources().doors.clone()
    }

    /// All blocks together.
    pub(super) fn sum(&self) -> [u64; COUNTERS] {
        let sources = self.sources();
        std::array::from_fn(|at| {
            let counts = sources.blocks.iter().map(|block| block.0[at].load(Ordering::Relaxed));
            counts.fold(0, u64::wrapping_add)
        })
    }

    fn block(&self) -> Arc<Block> {
        let block = Block::new();
        self.sources().blocks.push(Arc::clone(&block));
        block
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What one thread has counted. It can be sent to another, but not be used by two.
pub(super) struct Tally {
    block: Arc<Block>,
    of_one_thread: PhantomData<Cell<()>>,
}

impl Tally {
    /// Counts a query and what became of it; `out` holds its response.
    pub(super) fn note(&self, transport: Transport, peer: &SocketAddr, query: &[u8], reply: &Reply, out: &[u8]) {
        let add = |counter: usize, more: u64| {
            // Nobody else writes it, so nothing is lost between the two.
            let counter = &self.block.0[counter];
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        };
        note(add, transport, peer, query, reply, out);
    }
}

/// What the threads of a runtime have counted: each in one of a few blocks, where it seldom meets another.
#[derive(Clone)]
pub(super) struct SharedTally(Arc<[Arc<Block>; SPREAD]>);

impl SharedTally {
    /// As [`Tally::note`].
    pub(super) fn note(&self, transport: Transport, peer: &SocketAddr, query: &[u8], reply: &Reply, out: &[u8]) {
        note(|counter, more| self.add(counter, more), transport, peer, query, reply, out);
    }

    /// A handshake that came to nothing.
    pub(super) fn handshake_failed(&self, transport: Transport) {
        self.add(HANDSHAKES_FAILED + transport as usize, 1);
    }

    fn add(&self, counter: usize, more: u64) {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SPREAD;
        }
        self.0[OWN.with(|own| *own)].0[counter].fetch_add(more, Ordering::Relaxed);
    }
}

#[inline]
fn note(add: impl Fn(usize, u64), transport: Transport, peer: &SocketAddr, query: &[u8], reply: &Reply, out: &[u8]) {
    add(QUERIES + 2 * transport as usize + usize::from(peer.is_ipv6()), 1);
    add(OCTETS_IN, query.len() as u64);
    let seen = &reply.seen;
    match (reply.length.and_then(|length| out.get(..length)), reply.verdict) {
        (None, Verdict::Drop) => add(LIMITED, 1),
        (None, _) if reply.later.is_some() => {}
        (None, _) => return add(UNANSWERABLE, 1),
        (Some(response), verdict) => {
            add(OCTETS_OUT, response.len() as u64);
            if let [_, _, flags, code, ..] = response {
                let rcode = usize::from(seen.rcode_high) << 4 | usize::from(code & 15);
                add(RESPONSES + rcode.min(RCODES), 1);
                add(TRUNCATED, u64::from(flags >> 1 & 1));
            }
            if verdict == Verdict::Slip {
                add(SLIPPED, 1);
            }
        }
    }
    add(DNSSEC_OK, u64::from(seen.dnssec_ok));
    add(COOKIES + seen.cookie as usize, 1);
    match seen.signature {
        Signature::None | Signature::Unverified => {}
        Signature::Verified => add(SIGNATURES, 1),
        Signature::Refused(fault) => {
            let place = FAULTS.iter().position(|one| *one == fault).unwrap_or(0);
            add(SIGNATURES + 1 + place, 1);
        }
    }
    let place = PLACE_OF_TYPE.get(usize::from(seen.qtype)).map_or(TYPES.len(), |place| usize::from(*place));
    add(BY_TYPE + place, 1);
}

#[cfg(test)]
mod tests {
    use super::super::statistics::Signatures;
    use super::*;
    use crate::answer::{Cookie, Seen};

    const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
    const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 1);

    fn reply(length: Option<usize>, verdict: Verdict, seen: Seen) -> Reply {
        Reply { length, verdict, seen, ..Reply::default() }
    }

    #[test]
    fn a_query_and_its_response_are_counted_by_all_that_is_known_of_them() {
        let counters = Counters::default();
        let (tally, other, shared) = (counters.tally(), counters.tally(), counters.shared());
        let query = [0; 20];
        let tlsa = Seen { qtype: 52, dnssec_ok: true, cookie: Cookie::Valid, ..Seen::default() };
        let nxdomain = [0, 0, 0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        tally.note(Transport::Udp, &V4, &query, &reply(Some(13), Verdict::Pass, tlsa), &nxdomain);
        let signature = Signature::Refused(Fault::BadTime);
        let bad = Seen { qtype: 64_000, dnssec_ok: false, cookie: Cookie::Bad, signature, rcode_high: 1 };
        let badcookie = [0, 0, 0x82, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        other.note(Transport::Udp, &V6, &query, &reply(Some(12), Verdict::Slip, bad), &badcookie);
        tally.note(Transport::Udp, &V4, &query, &reply(None, Verdict::Drop, tlsa), &nxdomain);
        tally.note(Transport::Tcp, &V4, &[], &reply(None, Verdict::Pass, Seen::default()), &[]);
        shared.note(Transport::Quic, &V6, &query, &reply(Some(13), Verdict::Pass, tlsa), &nxdomain);
        shared.handshake_failed(Transport::Tls);

        let statistics = counters.statistics();
        let queries: Vec<_> = statistics.queries.iter().map(|queries| (queries.ipv4, queries.ipv6)).collect();
        assert_eq!(queries, [(2, 1), (1, 0), (0, 0), (0, 0), (0, 1)]);
        assert_eq!((statistics.types["TLSA"], statistics.types["other"], statistics.types["A"]), (3, 1, 0));
        assert_eq!(statistics.types.values().sum::<u64>(), 4);
        let responses: Vec<_> = statistics.responses.iter().filter(|(_, count)| **count > 0).collect();
        assert_eq!(responses, [(&"BADCOOKIE".to_owned(), &1), (&"NXDOMAIN".to_owned(), &2)]);
        assert_eq!((statistics.truncated, statistics.unanswerable, statistics.dnssec_ok), (1, 1, 3));
        assert_eq!((statistics.rate_limit.dropped, statistics.rate_limit.slipped), (1, 1));
        let cookies = statistics.cookies;
        assert_eq!((cookies.new, cookies.valid, cookies.bad), (0, 3, 1));
        assert_eq!(statistics.tsig, Signatures { bad_time: 1, ..Signatures::default() });
        assert_eq!((statistics.octets_in, statistics.octets_out), (80, 38));
        assert_eq!(counters.sum()[HANDSHAKES_FAILED + Transport::Tls as usize], 1);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let counters = Counters::default();
        let shared = counters.shared();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (tally, shared) = (counters.tally(), shared.clone());
                scope.spawn(move || {
                    for _ in 0..1000 {
                        tally.note(Transport::Udp, &V4, &[0; 12], &None.into(), &[]);
                        shared.note(Transport::Tls, &V4, &[0; 12], &None.into(), &[]);
                    }
                });
            }
        });
        let statistics = counters.statistics();
        assert_eq!((statistics.queries[0].ipv4, statistics.queries[2].ipv4), (8000, 8000));
    }

    #[test]
    fn every_type_has_its_own_place_and_blocks_share_no_line() {
        for (place, (rtype, _)) in TYPES.iter().enumerate() {
            assert_eq!(usize::from(PLACE_OF_TYPE[usize::from(*rtype)]), place);
        }
        assert_eq!(usize::from(PLACE_OF_TYPE[3]), TYPES.len());
        assert_eq!((align_of::<Block>(), size_of::<Block>() % 128), (128, 0));
    }
}
