//! The counters as values: what `danelaw status` shows of queries, responses and connections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counters::{self, Counters};
use super::{NotifyCounts, Transferred, Transport, Updated};

/// Everything that was counted since the daemon began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Statistics {
    /// Queries by transport; those that were not answered too.
    pub queries: Vec<Queries>,
    /// Queries by their question's type, `other` for the types that are not listed.
    pub types: BTreeMap<String, u64>,
    /// Queries that asked for signatures (DO).
    pub dnssec_ok: u64,
    /// Responses by response code.
    pub responses: BTreeMap<String, u64>,
    /// Responses with TC.
    pub truncated: u64,
    /// What nobody may answer: responses, and fragments of a header.
    pub unanswerable: u64,
    /// What the rate limit did.
    pub rate_limit: RateLimited,
    /// DNS cookies of the queries.
    pub cookies: Cookies,
    /// Queries with a TSIG record.
    pub tsig: Signatures,
    /// Zone transfers.
    #[serde(default)]
    pub transfers: Transferred,
    /// Dynamic updates.
    #[serde(default)]
    pub updates: Updated,
    /// NOTIFYs from primaries.
    #[serde(default)]
    pub notify: NotifyCounts,
    /// DNS messages received, octets.
    pub octets_in: u64,
    /// DNS messages sent, octets.
    pub octets_out: u64,
    /// Connections by transport.
    pub connections: Vec<Connections>,
}

/// Queries over one transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queries {
    /// The transport.
    pub transport: Transport,
    /// Those over IPv4.
    pub ipv4: u64,
    /// Those over IPv6.
    pub ipv6: u64,
}

/// Responses over UDP that the rate limit did not let pass as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimited {
    /// Not sent.
    pub dropped: u64,
    /// Sent short, with TC or BADCOOKIE.
    pub slipped: u64,
}

/// Queries by what their cookie has shown (RFC 7873).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cookies {
    /// With a client's cookie alone.
    pub new: u64,
    /// With a server's cookie that is ours.
    pub valid: u64,
    /// With one that is not, or is too old.
    pub bad: u64,
}

/// Queries by what their TSIG record has shown (RFC 8945).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Signatures {
    /// Signed with one of our keys.
    pub verified: u64,
    /// FORMERR.
    pub malformed: u64,
    /// BADSIG: the secret is another one.
    pub bad_sig: u64,
    /// BADKEY: no such key.
    pub bad_key: u64,
    /// BADTIME: one of the clocks is wrong.
    pub bad_time: u64,
    /// BADTRUNC: a MAC shorter than is taken.
    pub bad_trunc: u64,
}

/// Connections of one transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Connections {
    /// The transport.
    pub transport: Transport,
    /// Those at this moment.
    pub open: u64,
    /// Those that got a place.
    pub accepted: u64,
    /// Those turned away because of a limit.
    pub refused: u64,
    /// Handshakes that came to nothing.
    pub handshakes_failed: u64,
}

/// The names of response codes (IANA's registry).
const RCODES: [(usize, &str); 13] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (16, "BADVERS"),
    (23, "BADCOOKIE"),
];

impl Counters {
    /// What was counted until now.
    pub fn statistics(&self) -> Statistics {
        let sum = self.sum();
        let queries = |(at, transport)| {
            let first = counters::QUERIES + 2 * at;
            Queries { transport, ipv4: sum[first], ipv6: sum[first + 1] }
        };
        let rcode = |(code, count): (usize, &u64)| match RCODES.iter().find(|(named, _)| *named == code) {
            Some((_, name)) => Some(((*name).to_owned(), *count)),
            None => (*count > 0).then(|| (format!("RCODE{code}"), *count)),
        };
        let names = counters::TYPES.iter().map(|(_, name)| *name).chain(["other"]);
        let cookies = |standing| sum[counters::COOKIES + standing as usize];
        Statistics {
            queries: counters::TRANSPORTS.into_iter().enumerate().map(queries).collect(),
            types: names.map(str::to_owned).zip(sum[counters::BY_TYPE..].iter().copied()).collect(),
            dnssec_ok: sum[counters::DNSSEC_OK],
            responses: sum[counters::RESPONSES..=counters::RESPONSES + counters::RCODES]
                .iter()
                .enumerate()
                .filter_map(rcode)
                .collect(),
            truncated: sum[counters::TRUNCATED],
            unanswerable: sum[counters::UNANSWERABLE],
            rate_limit: RateLimited { dropped: sum[counters::LIMITED], slipped: sum[counters::SLIPPED] },
            cookies: Cookies {
                new: cookies(crate::answer::Cookie::New),
                valid: cookies(crate::answer::Cookie::Valid),
                bad: cookies(crate::answer::Cookie::Bad),
            },
            tsig: signatures(&sum),
            transfers: self.transfers().counted(),
            updates: self.updates().counted(),
            notify: self.notified().counts(),
            octets_in: sum[counters::OCTETS_IN],
            octets_out: sum[counters::OCTETS_OUT],
            connections: self.connections(&sum),
        }
    }

    fn connections(&self, sum: &[u64]) -> Vec<Connections> {
        let count = |door: counters::Door| {
            let (open, accepted, mut refused) = door.clients.counts();
            refused += door.handshakes.map_or(0, |handshakes| handshakes.counts().2);
            let handshakes_failed = sum[counters::HANDSHAKES_FAILED + door.transport as usize];
            Connections { transport: door.transport, open, accepted, refused, handshakes_failed }
        };
        self.doors().into_iter().map(count).collect()
    }
}

fn signatures(sum: &[u64]) -> Signatures {
    let [malformed, bad_sig, bad_key, bad_time, bad_trunc] =
        std::array::from_fn(|place| sum[counters::SIGNATURES + 1 + place]);
    let verified = sum[counters::SIGNATURES];
    Signatures { verified, malformed, bad_sig, bad_key, bad_time, bad_trunc }
}

impl Statistics {
    /// All queries.
    pub fn asked(&self) -> u64 {
        self.queries.iter().map(|queries| queries.ipv4 + queries.ipv6).sum()
    }
}
