//! What the daemon's sockets answer from: the snapshot that is published at the moment, by the policy that holds then. Questions are the
//! answer function's; transfers, updates and NOTIFY are looked at by who knows of them, off the fast path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use crate::answer::{self, Context, Seen};
use crate::dns::header::{HEADER, Rcode};
use crate::dns::name::wire_len;
use crate::dns::{Rtype, Timestamp};
use crate::keeper::{self, Policy, Wanted};
use crate::serve::notified::{self, Notified, Teller};
use crate::serve::updates::{self, Update};
use crate::serve::{Answerer, Reply, Transfers, Transport, Updates, authentic, transfers};
use crate::zone::Snapshot;

/// Whoever asks so early for a zone that may be unread hears nothing and asks again, in microseconds since serving began: an old BIND that
/// is told SERVFAIL does not ask again before its zone expires, and a resolver goes elsewhere.
const GRACE: u64 = 2_000_000;

/// All that answers are made from.
pub struct Published {
    /// The zones.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Keys, secondaries, limits.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Names that were asked for while their zones may be unread.
    pub wanted: Arc<Wanted>,
    /// Counts transfers.
    pub transfers: Arc<Transfers>,
    /// Counts updates.
    pub updates: Arc<Updates>,
    /// Where updates go.
    pub keeper: mpsc::Sender<Update>,
    /// Where NOTIFYs go.
    pub notified: Arc<Notified>,
    /// When serving began.
    pub begun: Instant,
}

/// One snapshot and one policy at one moment.
struct View<'a> {
    shared: &'a Published,
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    now: Timestamp,
    /// Microseconds since serving began: a clock that nobody sets.
    moment: u64,
}

impl Published {
    fn view(&self, work: &mut dyn FnMut(&View<'_>)) {
        let moment = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (snapshot, policy) = (self.snapshot.load(), self.policy.load());
        work(&View { shared: self, snapshot: &snapshot, policy: &policy, now: keeper::now(), moment });
    }
}

impl Answerer for Published {
    fn answer(&self, peer: SocketAddr, transport: Transport, query: &[u8], out: &mut [u8]) -> Reply {
        let mut reply = Reply::default();
        self.view(&mut |view| reply = view.answer(peer, transport, query, out));
        reply
    }

    fn batch(&self, work: &mut dyn FnMut(&dyn Answerer)) {
        self.view(&mut |view| work(view));
    }
}

impl Answerer for View<'_> {
    fn answer(&self, from: SocketAddr, transport: Transport, query: &[u8], out: &mut [u8]) -> Reply {
        let transport: answer::Transport = transport.into();
        let context = Context::new(from.ip(), transport, self.now).with(&self.policy.settings);
        let Some((length, seen)) = authentic::respond(self.snapshot, &context, &self.policy.keys, query, out) else {
            return Reply::default();
        };
        let plain = Reply { length: Some(length), seen, ..Reply::default() };
        let reply = self.look_again(&context, from, query, (out, seen)).unwrap_or(plain);
        match (&self.policy.limiter, reply.length) {
            (Some(limiter), Some(length)) if transport == answer::Transport::Udp => {
                limiter.limit(self.moment, &context, query, out, (length, reply.seen))
            }
            _ => reply,
        }
    }

    fn batch(&self, work: &mut dyn FnMut(&dyn Answerer)) {
        work(self);
    }

    fn prefetch(&self, queries: &[&[u8]]) {
        answer::prefetch(self.snapshot, queries);
    }
}

impl View<'_> {
    /// What the answer function has refused may be for somebody else to answer. None: its answer stands.
    fn look_again(
        &self,
        context: &Context<'_>,
        from: SocketAddr,
        query: &[u8],
        (out, seen): (&mut [u8], Seen),
    ) -> Option<Reply> {
        let is = |rcode: Rcode| out[3] & 15 == rcode as u8;
        let whole = |(length, seen)| Reply { length: Some(length), seen, ..Reply::default() };
        if is(Rcode::Refused) && transfers::is_asked_for(seen.qtype) {
            let (length, seen, more) = self.transfer(context, from).respond(&self.shared.transfers, query, out)?;
            return Some(Reply { more, ..whole((length, seen)) });
        }
        if is(Rcode::NotImp) && updates::is_one(query) {
            return self.update(context, from, query, out);
        }
        if is(Rcode::NotImp) && notified::is_notify(query) {
            let (snapshot, keys, primaries) = (self.snapshot, &self.policy.keys, &self.policy.primaries);
            let teller = Teller { snapshot, context, peer: from, keys, primaries };
            return teller.respond(&self.shared.notified, query, out).map(whole);
        }
        // A zone of ours that is not read yet, perhaps.
        if is(Rcode::ServFail)
            && let Some(len) = wire_len(&query[HEADER..])
            && self.shared.wanted.note(&query[HEADER..HEADER + len])
            && self.moment < GRACE
        {
            return Some(Reply::default());
        }
        // The question of updates and NOTIFYs is of this type, too.
        if Rtype(seen.qtype) == Rtype::SOA {
            return self.transfer(context, from).catalog_soa(query, out).map(whole);
        }
        None
    }

    fn transfer<'b>(&'b self, context: &'b Context<'b>, peer: SocketAddr) -> transfers::Asked<'b> {
        let Policy { catalogs, keys, secondaries, told, .. } = self.policy;
        transfers::Asked { snapshot: self.snapshot, catalogs, context, peer, keys, secondaries, told }
    }

    fn update(&self, context: &Context<'_>, peer: SocketAddr, message: &[u8], out: &mut [u8]) -> Option<Reply> {
        let Policy { keys, updaters, .. } = self.policy;
        let (keeper, now) = (&self.shared.keeper, keeper::now as fn() -> Timestamp);
        updates::Asked { context, peer, keys, updaters, keeper, now }.respond(&self.shared.updates, message, out)
    }
}
