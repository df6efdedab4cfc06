//! Dynamic updates as they come in (RFC 2136): who may send them, how many wait, what is told of them. What one does is `update`'s
//! business, and when it is done the keeper's.
//!
//! A message comes here when the answer function has said that it knows no such opcode.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::warn;

use super::{Later, Occasionally, Reply, Respond, authentic};
use crate::answer::{self, Context};
use crate::config::Updater;
use crate::dns::header::{OPCODE, Rcode, UPDATE};
use crate::dns::tsig::{Checked, Keyring, Signer, verify};
use crate::dns::{Name, Timestamp};
use crate::update::Request;

/// So many wait for the keeper at most.
pub const WAITING: usize = 1024;
/// The octets of a MAC that tell one request from another: the shortest that is taken has as many (RFC 8945 section 5.2.2.1).
pub const MARK: usize = 16;

/// What became of updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Updated {
    /// Done.
    pub done: u64,
    /// For what is so already.
    pub unchanged: u64,
    /// A prerequisite did not hold.
    pub not_met: u64,
    /// Malformed, or for a zone that is not here.
    pub faulty: u64,
    /// Refused: unsigned, or not allowed.
    pub refused: u64,
    /// Seen before, and not done again.
    pub repeated: u64,
    /// Answered SERVFAIL: the zone or the store can't be changed now.
    pub failed: u64,
    /// Put off: too many waited.
    pub put_off: u64,
}

/// Counts updates.
#[derive(Default)]
pub struct Updates {
    done: AtomicU64,
    unchanged: AtomicU64,
    not_met: AtomicU64,
    faulty: AtomicU64,
    refused: AtomicU64,
    repeated: AtomicU64,
    failed: AtomicU64,
    put_off: AtomicU64,
}

/// What was decided on an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is on the disk and served.
    Done,
    /// There was nothing to do.
    Unchanged,
    /// It is not done.
    Not(Rcode),
    /// It came before from the same address and port, and this is what was said then.
    Repeated(u8),
    /// It came before from elsewhere: whoever sends it now has seen it pass by.
    Replayed,
    /// Not now.
    PutOff,
}

/// An update of somebody who may send some, on its way to the keeper. Dropped without a decision it is answered SERVFAIL.
pub struct Update {
    /// What is asked for.
    pub request: Request,
    /// From where.
    pub peer: SocketAddr,
    /// The request's MAC, its first octets.
    pub mark: [u8; MARK],
    /// The last second at which its signature is good.
    pub good_until: Timestamp,
    signer: Signer,
    /// The response, but for its code and its signature.
    response: Vec<u8>,
    respond: Option<Respond>,
    counts: Arc<Updates>,
    now: fn() -> Timestamp,
}

impl Update {
    /// The key that it is signed with.
    pub fn key(&self) -> &Name {
        self.signer.key().name()
    }

    /// Answers it.
    pub fn answer(mut self, decision: Decision) {
        self.say(decision);
    }

    fn tell_replayed(&self) {
        static TOLD: Occasionally = Occasionally::new();
        TOLD.run(|before| {
            let (zone, key, peer) = (&self.request.zone, self.key(), self.peer);
            warn!("an update of {zone} by {key} is sent again by {peer}, and not done again ({before} times before)");
        });
    }

    fn say(&mut self, decision: Decision) {
        let Some(respond) = self.respond.take() else { return };
        let counts = &self.counts;
        let (counter, rcode) = match decision {
            Decision::Done => (&counts.done, Rcode::NoError as u8),
            Decision::Unchanged => (&counts.unchanged, Rcode::NoError as u8),
            Decision::Repeated(rcode) => (&counts.repeated, rcode),
            Decision::Replayed => {
                self.tell_replayed();
                (&counts.repeated, Rcode::Refused as u8)
            }
            Decision::Not(rcode) => (counts.of(rcode), rcode as u8),
            Decision::PutOff => (&counts.put_off, Rcode::ServFail as u8),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut out = std::mem::take(&mut self.response);
        let length = out.len();
        out.resize(length + self.signer.added(), 0);
        if let Some(code) = out.get_mut(3) {
            *code = *code & 0xf0 | rcode;
        }
        if let Some(length) = self.signer.sign(&mut out, length, (self.now)()) {
            respond(&out[..length]);
        }
    }
}

impl Drop for Update {
    fn drop(&mut self) {
        self.say(Decision::Not(Rcode::ServFail));
    }
}

impl std::fmt::Debug for Update {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Update").field("request", &self.request).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Whoever sends an update, and what is known of him besides.
pub struct Asked<'a> {
    /// What answers go by.
    pub context: &'a Context<'a>,
    /// From where.
    pub peer: SocketAddr,
    /// Whose signatures are known.
    pub keys: &'a Keyring,
    /// Who may send updates.
    pub updaters: &'a [Updater],
    /// Where they go.
    pub keeper: &'a mpsc::Sender<Update>,
    /// The time when they are answered.
    pub now: fn() -> Timestamp,
}

/// Whether a message is an update.
pub fn is_one(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & OPCODE == UPDATE)
}

impl Asked<'_> {
    /// Answers an update, at once where it is refused. None: there is nothing to be answered.
    #[cold]
    pub fn respond(&self, counts: &Arc<Updates>, message: &[u8], out: &mut [u8]) -> Option<Reply> {
        let signer = match verify(message, self.keys, self.context.now) {
            Checked::Good(signer) => signer,
            // What is wrong with a signature that can be read has been said.
            Checked::Bad(_) => return self.refuse(Rcode::FormErr, None, counts, message, out),
            // RFC 3007 section 3: an address alone proves nothing.
            Checked::Unsigned => {
                self.tell_unsigned(message);
                return self.refuse(Rcode::Refused, None, counts, message, out);
            }
        };
        let request = match Request::read(message) {
            Ok(request) => request,
            Err(rcode) => return self.refuse(rcode, Some(signer), counts, message, out),
        };
        let key = signer.key().name();
        if !self.updaters.iter().any(|updater| updater.takes(&request.zone) && updater.sends(self.peer.ip(), key)) {
            self.tell_refused(&request.zone, key);
            return self.refuse(Rcode::Refused, Some(signer), counts, message, out);
        }
        let context = self.context.signed(signer.added());
        let (length, seen) = answer::refuse(&context, message, Rcode::NoError, signer.added(), out)?;
        let mut mark = [0; MARK];
        signer.prior().iter().zip(&mut mark).for_each(|(octet, place)| *place = *octet);
        let mut update = Update {
            request,
            peer: self.peer,
            mark,
            good_until: signer.good_until(),
            signer,
            response: out[..length].to_vec(),
            respond: None,
            counts: Arc::clone(counts),
            now: self.now,
        };
        let keeper = self.keeper.clone();
        let send = move |respond| {
            update.respond = Some(respond);
            if let Err(error) = keeper.try_send(update) {
                error.into_inner().answer(Decision::PutOff);
            }
        };
        Some(Reply { seen, later: Some(Later::new(send)), ..Reply::default() })
    }

    fn refuse(
        &self,
        rcode: Rcode,
        signer: Option<Signer>,
        counts: &Updates,
        message: &[u8],
        out: &mut [u8],
    ) -> Option<Reply> {
        counts.of(rcode).fetch_add(1, Ordering::Relaxed);
        let (length, seen) = authentic::say(self.context, rcode, signer, message, out)?;
        Some(Reply { length: Some(length), seen, ..Reply::default() })
    }

    /// Whose update is refused has a key of ours, and asks here why.
    fn tell_refused(&self, zone: &Name, key: &Name) {
        static TOLD: Occasionally = Occasionally::new();
        TOLD.run(|before| {
            warn!(
                "an update of {zone} by {key} at {} is refused: no [update] is like this ({before} times before)",
                self.peer
            );
        });
    }

    fn tell_unsigned(&self, message: &[u8]) {
        static TOLD: Occasionally = Occasionally::new();
        TOLD.run(|before| {
            let zone = Request::read(message).map_or_else(|_| "a zone".to_owned(), |request| request.zone.to_string());
            warn!("an update of {zone} from {} is refused: it is not signed ({before} times before)", self.peer);
        });
    }
}

impl Updates {
    fn of(&self, rcode: Rcode) -> &AtomicU64 {
        match rcode {
            Rcode::NoError => &self.done,
            Rcode::Refused => &self.refused,
            Rcode::ServFail => &self.failed,
            Rcode::NxDomain | Rcode::YxDomain | Rcode::NxRrset | Rcode::YxRrset => &self.not_met,
            _ => &self.faulty,
        }
    }

    /// What was counted until now.
    pub fn counted(&self) -> Updated {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Updated {
            done: of(&self.done),
            unchanged: of(&self.unchanged),
            not_met: of(&self.not_met),
            faulty: of(&self.faulty),
            refused: of(&self.refused),
            repeated: of(&self.repeated),
            failed: of(&self.failed),
            put_off: of(&self.put_off),
        }
    }
}
