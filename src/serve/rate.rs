//! Response rate limiting: how many answers over UDP a network may get in a second, so that a forged sender address drowns nobody.
//!
//! A table of fixed size holds a token bucket for each network and kind of response. No lock: a bucket is one word, changed by
//! compare-and-swap. Time is an argument. Who shows a valid cookie (RFC 7873 section 5.2.4) or signs with a key is never limited.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::info;

use super::{HEADER, Occasionally, Reply};
use crate::answer::cookie::{SECRET, siphash};
use crate::answer::{self, Context, Cookie, Seen, Signature};
use crate::config::{Prefix, RateLimit};

/// A bucket may stand in one of so many places.
const WAYS: usize = 4;
/// Bits of a bucket that tell when it is full again; the others are of its key's hash.
const TIME_BITS: u32 = 40;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// A bucket holds what it gains in a second: microseconds.
const SECOND: u64 = 1_000_000;
/// Of so many limited responses one may be told of in the log.
const LOOK: u64 = 1024;
/// How often a change is tried that other threads get in the way of.
const TRIES: usize = 4;

/// The kinds of responses that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Answer,
    /// The name has no such records.
    NoData,
    /// No such name.
    NxDomain,
    /// To the servers of a zone below.
    Referral,
    /// Every other response code.
    Error,
}

impl Kind {
    /// Of a response's octets.
    pub fn of(response: &[u8]) -> Kind {
        let Some(header) = response.first_chunk::<HEADER>() else { return Kind::Error };
        let (rcode, has_answer, authoritative) = (header[3] & 15, header[6..8] != [0, 0], header[2] & 4 != 0);
        match rcode {
            0 if has_answer => Kind::Answer,
            0 if authoritative => Kind::NoData,
            0 => Kind::Referral,
            3 => Kind::NxDomain,
            _ => Kind::Error,
        }
    }
}

/// What becomes of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent.
    #[default]
    Pass,
    /// Something shorter is sent, with which an honest client gets its answer.
    Slip,
    /// Nothing is sent.
    Drop,
}

/// The buckets, and what they hold at most.
pub struct RateLimiter {
    rules: RateLimit,
    /// Microseconds for one response.
    interval: u64,
    key: [u8; SECRET],
    buckets: Box<[AtomicU64]>,
    limited: AtomicU64,
}

impl RateLimiter {
    /// Full buckets; none where the rules say that nothing is limited. `key` has to be unknown to clients: they can't aim at each other's
    /// buckets then.
    pub fn new(rules: &RateLimit, key: [u8; SECRET]) -> Option<RateLimiter> {
        let interval = SECOND.checked_div(u64::from(rules.responses_per_second))?.max(1);
        let size = rules.table_size.next_power_of_two().max(WAYS);
        let buckets = (0..size).map(|_| AtomicU64::new(0)).collect();
        Some(RateLimiter { rules: rules.clone(), interval, key, buckets, limited: AtomicU64::new(0) })
    }

    /// What it was made from.
    pub fn rules(&self) -> &RateLimit {
        &self.rules
    }

    /// Puts in the place of the response of `length` octets in `out` what may be sent instead, if anything. `now` in microseconds from
    /// whatever moment.
    pub fn limit(
        &self,
        now: u64,
        context: &Context<'_>,
        query: &[u8],
        out: &mut [u8],
        (length, seen): (usize, Seen),
    ) -> Reply {
        let unlimited = Reply { length: Some(length), verdict: Verdict::Pass, seen, ..Reply::default() };
        if seen.cookie == Cookie::Valid || seen.signature == Signature::Verified {
            return unlimited;
        }
        let verdict = self.judge(now, context.peer, Kind::of(&out[..length]));
        match verdict {
            Verdict::Pass => unlimited,
            Verdict::Slip => {
                let challenge = answer::challenge(context, query, out);
                let (length, rcode_high) = challenge.unzip();
                Reply {
                    length,
                    verdict,
                    seen: Seen { rcode_high: rcode_high.unwrap_or(0), ..seen },
                    ..Reply::default()
                }
            }
            Verdict::Drop => Reply { length: None, verdict, seen, ..Reply::default() },
        }
    }

    /// Counts a response, and says what becomes of it.
    pub fn judge(&self, now: u64, peer: IpAddr, kind: Kind) -> Verdict {
        if self.rules.exempt_clients.iter().any(|prefix| prefix.contains(peer)) || self.take(now, peer, kind) {
            return Verdict::Pass;
        }
        let before = self.limited.fetch_add(1, Ordering::Relaxed);
        if before.is_multiple_of(LOOK) {
            static LIMITING: Occasionally = Occasionally::new();
            let network = self.network(peer);
            LIMITING.run(|_| {
                info!("rate limit: {network} has had its share of responses ({kind:?}); {before} were limited before");
            });
        }
        match self.rules.slip {
            0 => Verdict::Drop,
            slip if before.is_multiple_of(u64::from(slip)) => Verdict::Slip,
            _ => Verdict::Drop,
        }
    }

    /// Takes a token; false where there is none.
    ///
    /// A bucket is kept as the time at which it will be full (the generic cell rate algorithm): each token puts it off by an interval, and
    /// more than a second ahead there is none left.
    fn take(&self, now: u64, peer: IpAddr, kind: Kind) -> bool {
        let hash = self.hash(peer, kind);
        // Never the word of a free place.
        let tag = (hash >> TIME_BITS | 1) << TIME_BITS;
        let first = (hash as usize % (self.buckets.len() / WAYS)) * WAYS;
        let places = &self.buckets[first..first + WAYS];
        let now = now & TIME;
        // How long until a bucket is full; what seems longer than possible was full long ago, before the clock came round.
        let ahead = |word: u64| {
            let ahead = (word & TIME).wrapping_sub(now) & TIME;
            if word == 0 || ahead > SECOND { 0 } else { ahead }
        };
        for _ in 0..TRIES {
            let words: [u64; WAYS] = std::array::from_fn(|way| places[way].load(Ordering::Relaxed));
            let own = words.iter().position(|word| word & !TIME == tag);
            // A stranger's full bucket is as good as none; of those in use the one that is the fullest goes.
            let way = own.or_else(|| (0..WAYS).min_by_key(|way| ahead(words[*way]))).unwrap_or(0);
            let taken = if own.is_some() { ahead(words[way]) } else { 0 } + self.interval;
            if taken > SECOND {
                return false;
            }
            let word = tag | (now + taken) & TIME;
            if places[way].compare_exchange_weak(words[way], word, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
        true
    }

    fn network(&self, peer: IpAddr) -> Prefix {
        let peer = peer.to_canonical();
        let length = if peer.is_ipv4() { self.rules.ipv4_prefix_length } else { self.rules.ipv6_prefix_length };
        Prefix::new(peer, length)
    }

    fn hash(&self, peer: IpAddr, kind: Kind) -> u64 {
        let mut input = [0; 18];
        let network = self.network(peer).address();
        match network {
            IpAddr::V4(address) => input[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => input[..16].copy_from_slice(&address.octets()),
        }
        input[16] = u8::from(network.is_ipv4());
        input[17] = kind as u8;
        siphash(&self.key, &input)
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RateLimiter of {} buckets: {:?}", self.buckets.len(), self.rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::Snapshot;

    const START: u64 = 12_345_678_901_234;

    fn limiter(change: impl Fn(&mut RateLimit)) -> RateLimiter {
        let mut rules = RateLimit { responses_per_second: 10, ..RateLimit::default() };
        change(&mut rules);
        RateLimiter::new(&rules, [3; SECRET]).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many responses at one moment pass.
    fn passing(limiter: &RateLimiter, now: u64, peer: &str, kind: Kind, count: usize) -> usize {
        (0..count).filter(|_| limiter.judge(now, ip(peer), kind) == Verdict::Pass).count()
    }

    #[test]
    fn it_is_off_unless_it_is_asked_for() {
        assert!(RateLimiter::new(&RateLimit::default(), [3; SECRET]).is_none());
    }

    #[test]
    fn a_network_gets_its_rate_and_no_more() {
        let limiter = limiter(|_| {});
        assert_eq!(passing(&limiter, START, "192.0.2.1", Kind::Answer, 100), 10, "a second's worth at once");
        assert_eq!(passing(&limiter, START + 99_999, "192.0.2.1", Kind::Answer, 100), 0);
        assert_eq!(passing(&limiter, START + 300_000, "192.0.2.1", Kind::Answer, 100), 3);
        assert_eq!(passing(&limiter, START + 10 * SECOND, "192.0.2.1", Kind::Answer, 100), 10, "never more than full");
        let over_ten_seconds: usize = (0..10_000)
            .map(|step| passing(&limiter, START + 20 * SECOND + step * 1000, "192.0.2.1", Kind::Answer, 1))
            .sum();
        assert!((100..=111).contains(&over_ten_seconds), "{over_ten_seconds}");
    }

    #[test]
    fn networks_and_kinds_are_counted_apart() {
        let limiter = limiter(|_| {});
        assert_eq!(passing(&limiter, START, "192.0.2.1", Kind::Answer, 20), 10);
        assert_eq!(passing(&limiter, START, "192.0.2.254", Kind::Answer, 20), 0, "the same /24");
        assert_eq!(passing(&limiter, START, "::ffff:192.0.2.9", Kind::Answer, 20), 0, "the same in IPv6's dress");
        assert_eq!(passing(&limiter, START, "192.0.3.1", Kind::Answer, 20), 10);
        for kind in [Kind::NoData, Kind::NxDomain, Kind::Referral, Kind::Error] {
            assert_eq!(passing(&limiter, START, "192.0.2.1", kind, 20), 10, "{kind:?}");
        }
        assert_eq!(passing(&limiter, START, "2001:db8:0:100::1", Kind::Answer, 20), 10);
        assert_eq!(passing(&limiter, START, "2001:db8:0:1ff::2", Kind::Answer, 20), 0, "the same /56");
        assert_eq!(passing(&limiter, START, "2001:db8:0:200::1", Kind::Answer, 20), 10);
    }

    #[test]
    fn every_slip_th_gets_something_and_exempt_clients_everything() {
        for (slip, expected) in [(0, 0), (1, 90), (2, 45), (10, 9)] {
            let limiter = limiter(|rules| {
                rules.slip = slip;
                rules.exempt_clients = vec!["198.51.100.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
            });
            let slipped =
                (0..100).filter(|_| limiter.judge(START, ip("192.0.2.1"), Kind::Answer) == Verdict::Slip).count();
            assert_eq!((slipped, limiter.limited.load(Ordering::Relaxed)), (expected, 90), "slip {slip}");
            assert_eq!(passing(&limiter, START, "198.51.100.7", Kind::Answer, 100), 100);
            assert_eq!(passing(&limiter, START, "2001:db8:ffff::7", Kind::Answer, 100), 100);
        }
    }

    #[test]
    fn a_bucket_survives_the_clock_coming_round_and_is_not_mistaken_after_it() {
        let limiter = limiter(|_| {});
        let end = (1 << TIME_BITS) - 1;
        assert_eq!(passing(&limiter, end, "192.0.2.1", Kind::Answer, 100), 10);
        assert_eq!(passing(&limiter, end + 1, "192.0.2.1", Kind::Answer, 100), 0);
        assert_eq!(passing(&limiter, end + SECOND, "192.0.2.1", Kind::Answer, 100), 10);
        assert_eq!(passing(&limiter, end + 5_000_000 * SECOND / 10, "192.0.2.1", Kind::Answer, 100), 10, "days later");
    }

    #[test]
    fn a_full_table_forgets_but_never_blocks_a_stranger() {
        let limiter = limiter(|rules| rules.table_size = 64);
        let mut passed = 0;
        for network in 0..10_000u32 {
            let address = IpAddr::V4((network << 8 | 1).into());
            passed += usize::from(limiter.judge(START, address, Kind::Answer) == Verdict::Pass);
        }
        assert_eq!(passed, 10_000);
    }

    #[test]
    fn threads_together_take_what_one_could() {
        let limiter = limiter(|rules| rules.responses_per_second = 1000);
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| passing(&limiter, START, "192.0.2.1", Kind::Answer, 2000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        // A change that is given up after some tries passes uncounted.
        assert!((1000..1500).contains(&passed), "{passed}");
    }

    #[test]
    fn kinds_are_read_from_the_header() {
        let header = |flags: [u8; 2], answers: u8| [0, 1, flags[0], flags[1], 0, 1, 0, answers, 0, 1, 0, 0];
        assert_eq!(Kind::of(&header([0x84, 0], 1)), Kind::Answer);
        assert_eq!(Kind::of(&header([0x84, 0], 0)), Kind::NoData);
        assert_eq!(Kind::of(&header([0x80, 0], 0)), Kind::Referral);
        assert_eq!(Kind::of(&header([0x84, 3], 0)), Kind::NxDomain);
        assert_eq!(Kind::of(&header([0x80, 5], 0)), Kind::Error);
        assert_eq!(Kind::of(&[]), Kind::Error);
    }

    #[test]
    fn a_valid_cookie_is_never_limited_and_a_clients_own_is_answered_with_one() {
        let limiter = limiter(|rules| rules.slip = 1);
        let settings = answer::Settings { cookies: answer::cookie::Secrets::new([[5; SECRET]]), ..Default::default() };
        let context = Context::new(ip("192.0.2.1"), answer::Transport::Udp, 1_800_000_000).with(&settings);
        let query = |cookie: &[u8]| {
            let head = b"\x12\x34\0\0\0\x01\0\0\0\0\0\x01\x01x\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0";
            let len = cookie.len() as u8;
            [&head[..], &[0, len + 4, 0, 10, 0, len], cookie].concat()
        };
        let mut response = [0u8; 1400];
        response[2] = 0x84;
        response[7] = 1;
        let ask = |query: &[u8]| {
            let mut out = response;
            let seen =
                answer::respond(&Snapshot::default(), &context, query, &mut [0; answer::PROVEN_UDP_MAX]).unwrap().1;
            let length = limiter.limit(START, &context, query, &mut out, (1000, seen)).length.unwrap();
            out[..length].to_vec()
        };
        for _ in 0..10 {
            assert_eq!(ask(&query(&[1; 8])).len(), 1000);
        }
        let challenged = ask(&query(&[1; 8]));
        let opt = challenged.len() - 28;
        assert_eq!((challenged[3] & 15, challenged[opt - 6]), (7, 1), "BADCOOKIE is 23: 7, and 1 in OPT");
        let given = &challenged[opt + 4..];
        for _ in 0..100 {
            assert_eq!(ask(&query(given)).len(), 1000);
        }
        let plain = &query(&[])[..19];
        let mut plain = plain.to_vec();
        plain[11] = 0;
        let truncated = ask(&plain);
        assert_eq!((truncated.len(), truncated[2] & 2), (plain.len(), 2), "TC");
    }
}
