//! Zone transfers: who may have which zone, how many at a time, what is told of them. What is sent is `transfer`'s business.
//!
//! A request comes here when the answer function has refused it; what is not allowed stays refused.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{Occasionally, authentic};
use crate::answer::{self, Context, Frame, Seen, Transport};
use crate::config::Secondary;
use crate::dns::header::{HEADER, Rcode};
use crate::dns::tsig::{Checked, Keyring, Signer, verify};
use crate::dns::{Name, Rtype, Timestamp, name};
use crate::transfer::{Kind, Request, Stream};
use crate::zone::snapshot::HashedName;
use crate::zone::{Snapshot, ZoneSnapshot};

/// So many are under way at most: what BIND (`transfers-out`) has.
const AT_ONCE: usize = 10;

/// What became of requests for transfers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transferred {
    /// Whole zones sent.
    pub whole: u64,
    /// Differences sent.
    pub differences: u64,
    /// Answered with the SOA alone: nothing is new, or a datagram has no room.
    pub soa_only: u64,
    /// Broken off by the client, or by its taking nothing for too long.
    pub broken_off: u64,
    /// Refused: not by one of the secondaries.
    pub refused: u64,
    /// Put off: too many at a time.
    pub put_off: u64,
    /// Records sent.
    pub records: u64,
    /// Octets sent.
    pub octets: u64,
}

/// A secondary has taken a version of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The zone.
    pub zone: Name,
    /// Who.
    pub peer: IpAddr,
    /// Its serial.
    pub serial: u32,
}

/// So many of them wait to be heard; others are found out in other ways.
const WAITING: usize = 256;

/// Counts transfers, and those under way; tells of those that are through.
#[derive(Default)]
pub struct Transfers {
    taken: OnceLock<mpsc::Sender<Taken>>,
    under_way: AtomicUsize,
    whole: AtomicU64,
    differences: AtomicU64,
    soa_only: AtomicU64,
    broken_off: AtomicU64,
    refused: AtomicU64,
    put_off: AtomicU64,
    records: AtomicU64,
    octets: AtomicU64,
}

/// Whoever asks for a transfer, and what is known of him besides.
pub struct Asked<'a> {
    /// All zones.
    pub snapshot: &'a Snapshot,
    /// The catalogs, which nobody else hears of.
    pub catalogs: &'a Snapshot,
    /// What answers go by.
    pub context: &'a Context<'a>,
    /// From where.
    pub peer: SocketAddr,
    /// Whose signatures are known.
    pub keys: &'a Keyring,
    /// Who may have zones.
    pub secondaries: &'a [Secondary],
    /// Nameservers that are told of changes though they are none of them, by their addresses.
    pub told: &'a HashMap<IpAddr, Name>,
}

/// The beginning of a transfer: the length of its first message, and the rest.
pub type Begun = (usize, Seen, Option<Box<Outgoing>>);

impl Asked<'_> {
    /// Answers a request for a transfer that was refused for want of somebody who decides. None: that stands.
    #[cold]
    pub fn respond(&self, transfers: &Arc<Transfers>, query: &[u8], out: &mut [u8]) -> Option<Begun> {
        let over_datagram = self.context.transport == Transport::Udp;
        let request = Request::read(query, over_datagram);
        let signer = match verify(query, self.keys, self.context.now) {
            Checked::Good(signer) => Some(signer),
            Checked::Unsigned => None,
            Checked::Bad(_) => return None,
        };
        let zone = request.and_then(|request| Name::from_wire(request.zone).ok());
        let key = signer.as_ref().map(|signer| signer.key().name());
        let ours = zone.as_ref().and_then(|zone| self.secondary(zone, key));
        let (Some(request), Some(zone), Some(secondary)) = (request, zone, ours) else {
            self.tell_refused(query);
            transfers.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        // RFC 5936 section 4.2 has no AXFR over UDP, and HTTP one response for a query.
        match self.context.transport {
            Transport::Tcp | Transport::Tls | Transport::Quic => {}
            Transport::Udp if request.serial.is_some() => {}
            Transport::Udp | Transport::Https => return None,
        }
        let snapshot =
            match self.catalog(&zone).or_else(|| self.snapshot.shared_zone_of(&HashedName::new(zone.as_wire()))) {
                Some(None) => return self.fail(Rcode::ServFail, signer, query, out),
                Some(Some(found)) if found.origin() == &zone => found,
                _ => return self.fail(Rcode::NotAuth, signer, query, out),
            };
        match UnderWay::take(transfers) {
            Some(place) => self.begin((snapshot, &request), (signer, place, &secondary.name), query, out),
            None => {
                warn!("{zone}: a transfer to {} is put off: {AT_ONCE} are under way", secondary.name);
                transfers.put_off.fetch_add(1, Ordering::Relaxed);
                self.fail(Rcode::ServFail, signer, query, out)
            }
        }
    }

    /// The secondary that asks, where it may have a zone.
    fn secondary(&self, zone: &Name, key: Option<&Name>) -> Option<&Secondary> {
        self.secondaries.iter().find(|secondary| secondary.may_have(zone, self.peer.ip(), key))
    }

    /// A catalog by its apex.
    fn catalog(&self, zone: &Name) -> Option<Option<&Arc<ZoneSnapshot>>> {
        let found = self.catalogs.shared_zone_of(&HashedName::new(zone.as_wire()))?;
        found.is_none_or(|found| found.origin() == zone).then_some(found)
    }

    /// Tells a secondary a catalog's SOA, by which it sees whether there is something to transfer. None where another question is asked, or by
    /// another: what was answered to that stands.
    pub fn catalog_soa(&self, query: &[u8], out: &mut [u8]) -> Option<(usize, Seen)> {
        self.catalogs.zones().next()?;
        let body = query.get(HEADER..)?;
        let zone = Name::from_wire(&body[..name::wire_len(body)?]).ok()?;
        let catalog = self.catalog(&zone)??;
        let mut signer = match verify(query, self.keys, self.context.now) {
            Checked::Good(signer) => Some(signer),
            Checked::Unsigned => None,
            Checked::Bad(_) => return None,
        };
        self.secondary(&zone, signer.as_ref().map(|signer| signer.key().name()))?;
        let frame = self.frame(signer.as_ref(), query, out)?;
        let (head, opt) = out[..frame.length].split_at(frame.head);
        // Who has what there is gets the SOA alone.
        let request = Request { zone: zone.as_wire(), serial: Some(catalog.serial()), over_datagram: true };
        let mut stream = Stream::new(catalog, &request, head, opt, frame.limit);
        let message = stream.next_message().ok()??;
        let length = message.len();
        out.get_mut(..length)?.copy_from_slice(message);
        let length = match &mut signer {
            Some(signer) => signer.sign(out, length, self.context.now)?,
            None => length,
        };
        Some((length, frame.seen))
    }

    fn frame(&self, signer: Option<&Signer>, query: &[u8], out: &mut [u8]) -> Option<Frame> {
        let context = signer.map_or(*self.context, |signer| self.context.signed(signer.added()));
        answer::frame(&context, query, out)
    }

    fn begin(
        &self,
        (snapshot, request): (&Arc<ZoneSnapshot>, &Request<'_>),
        (signer, place, name): (Option<Signer>, UnderWay, &str),
        query: &[u8],
        out: &mut [u8],
    ) -> Option<Begun> {
        let frame = self.frame(signer.as_ref(), query, out)?;
        let (head, opt) = out[..frame.length].split_at(frame.head);
        let stream = Stream::new(snapshot, request, head, opt, frame.limit);
        let (name, peer, begun) = (name.to_owned(), self.peer, Instant::now());
        let mut outgoing = Outgoing { stream, signer: signer.clone(), place, name, peer, begun, octets: 0 };
        let Some(length) = outgoing.next_message(out) else { return self.fail(Rcode::ServFail, signer, query, out) };
        let rest = (!outgoing.stream.is_done()).then(|| Box::new(outgoing));
        Some((length, frame.seen, rest))
    }

    /// A response without records.
    fn fail(&self, rcode: Rcode, signer: Option<Signer>, query: &[u8], out: &mut [u8]) -> Option<Begun> {
        authentic::say(self.context, rcode, signer, query, out).map(|(length, seen)| (length, seen, None))
    }

    /// A secondary that is refused is a mistake on one of both sides, and its owner asks here why.
    fn tell_refused(&self, query: &[u8]) {
        static TOLD: Occasionally = Occasionally::new();
        let zone = Request::read(query, false).and_then(|request| Name::from_wire(request.zone).ok());
        let help = self.told.get(&self.peer.ip().to_canonical()).map(|host| {
            let (host, address) = (host.to_host(), self.peer.ip().to_canonical());
            format!(
                "; it is {host}, a nameserver that is told of changes: with [secondary.\"{host}\"] addresses = [\"{address}\"], \
                 and best a key too, it gets them"
            )
        });
        TOLD.run(|before| {
            let zone = zone.map_or_else(|| "a zone".to_owned(), |zone| zone.to_string());
            let (peer, help) = (self.peer, help.as_deref().unwrap_or_default());
            warn!(
                "a transfer of {zone} to {peer} is refused: no [secondary] is like this{help} ({before} times before)"
            );
        });
    }
}

/// Whether a question of this type asks for a transfer.
pub fn is_asked_for(qtype: u16) -> bool {
    matches!(Rtype(qtype), Rtype::AXFR | Rtype::IXFR)
}

/// A place among those that are under way.
struct UnderWay(Arc<Transfers>);

impl UnderWay {
    fn take(transfers: &Arc<Transfers>) -> Option<UnderWay> {
        let more = |count: usize| (count < AT_ONCE).then_some(count + 1);
        transfers.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(UnderWay(Arc::clone(transfers)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A transfer under way. Its end, or its being dropped before, is told.
pub struct Outgoing {
    stream: Stream,
    signer: Option<Signer>,
    place: UnderWay,
    /// The secondary's name.
    name: String,
    peer: SocketAddr,
    begun: Instant,
    octets: u64,
}

impl Outgoing {
    /// Writes the next message into `out`, which has room for the longest; none after the last one, or where it can't go on.
    pub fn next_message(&mut self, out: &mut [u8]) -> Option<usize> {
        let message = match self.stream.next_message() {
            Ok(message) => message?,
            Err(error) => {
                warn!("{}: {error}", self.name);
                return None;
            }
        };
        let length = message.len();
        out.get_mut(..length)?.copy_from_slice(message);
        let length = match &mut self.signer {
            Some(signer) => signer.sign(out, length, now())?,
            None => length,
        };
        self.octets += length as u64;
        Some(length)
    }

    /// Whether the last message was written.
    pub fn is_done(&self) -> bool {
        self.stream.is_done()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let Outgoing { stream, place: UnderWay(transfers), name, peer, begun, octets, .. } = self;
        let (counter, what) = match (stream.is_done(), stream.kind()) {
            (false, _) => (&transfers.broken_off, "broken off"),
            (true, Kind::Whole) => (&transfers.whole, "whole"),
            (true, Kind::Differences) => (&transfers.differences, "differences"),
            (true, Kind::SoaOnly) => (&transfers.soa_only, "SOA only"),
        };
        if stream.is_done()
            && stream.kind() != Kind::SoaOnly
            && let Some(taken) = transfers.taken.get()
        {
            let (zone, serial) = (stream.zone().clone(), stream.serial());
            // Who has to know looks at the secondary's SOA, too.
            let _ = taken.try_send(Taken { zone, peer: peer.ip().to_canonical(), serial });
        }
        counter.fetch_add(1, Ordering::Relaxed);
        transfers.records.fetch_add(stream.records(), Ordering::Relaxed);
        transfers.octets.fetch_add(*octets, Ordering::Relaxed);
        if stream.kind() != Kind::SoaOnly {
            let (zone, serial, records) = (stream.zone(), stream.serial(), stream.records());
            let seconds = begun.elapsed().max(Duration::from_micros(1)).as_secs_f64();
            info!(
                "{zone}: serial {serial} to {name} at {peer}: {what}, {records} records, {octets} octets, {seconds:.3} s"
            );
        }
    }
}

/// The time of a signature: a transfer may take longer than signatures are good for.
fn now() -> Timestamp {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Transfers {
    /// Where it is told who has taken what; once.
    pub fn taken(&self) -> mpsc::Receiver<Taken> {
        let (sender, taken) = mpsc::channel(WAITING);
        // A second one hears nothing.
        let _ = self.taken.set(sender);
        taken
    }

    /// What was counted until now.
    pub fn counted(&self) -> Transferred {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Transferred {
            whole: of(&self.whole),
            differences: of(&self.differences),
            soa_only: of(&self.soa_only),
            broken_off: of(&self.broken_off),
            refused: of(&self.refused),
            put_off: of(&self.put_off),
            records: of(&self.records),
            octets: of(&self.octets),
        }
    }
}
