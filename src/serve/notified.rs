//! NOTIFY from primaries (RFC 1996): who may send it, how many did, and what is to be looked at since. What comes of it is others' business.
//!
//! A message comes here when the answer function did not know its opcode; what is no NOTIFY stays unknown.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use super::Occasionally;
use crate::answer::{self, Context, Seen};
use crate::config::Primaries;
use crate::dns::header::{AA, CLASS_IN, HEADER, NOTIFY, OPCODE, Rcode};
use crate::dns::tsig::{Checked, Keyring, verify};
use crate::dns::{Name, Rtype, name, walk};
use crate::zone::snapshot::HashedName;
use crate::zone::{Snapshot, serial};

/// However many come, they are looked at so often at most.
const PAUSE: Duration = Duration::from_millis(100);

/// What became of NOTIFYs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotifyCounts {
    /// From a zone's primary.
    pub taken: u64,
    /// From somebody else, or about a zone that has no primary.
    pub refused: u64,
}

/// What primaries have said and nobody has looked at yet, each zone once.
#[derive(Debug, Default)]
pub struct Notified {
    zones: Mutex<BTreeMap<Name, Told>>,
    waker: tokio::sync::Notify,
    taken: AtomicU64,
    refused: AtomicU64,
}

/// What was said of a zone last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// By which of its primaries, counted from 0.
    pub primary: usize,
    /// The serial that it has, where it says so (RFC 1996 section 3.7).
    pub serial: Option<u32>,
}

/// The zones that have primaries.
pub type AllPrimaries = HashMap<Name, Primaries>;

/// Whoever says that there is something new.
pub struct Teller<'a> {
    /// All zones.
    pub snapshot: &'a Snapshot,
    /// What answers go by.
    pub context: &'a Context<'a>,
    /// From where.
    pub peer: SocketAddr,
    /// Whose signatures are known.
    pub keys: &'a Keyring,
    /// Who may say so.
    pub primaries: &'a AllPrimaries,
}

impl Notified {
    /// Returns when there is something to look at, some time after the last look.
    pub async fn wait(&self, looked: Instant) {
        // The waking is last, so that it is not lost where this is given up.
        tokio::time::sleep_until(looked + PAUSE).await;
        self.waker.notified().await;
    }

    /// What was said since this was asked last.
    pub fn take(&self) -> BTreeMap<Name, Told> {
        std::mem::take(&mut *self.zones.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was counted until now.
    pub fn counts(&self) -> NotifyCounts {
        NotifyCounts { taken: self.taken.load(Ordering::Relaxed), refused: self.refused.load(Ordering::Relaxed) }
    }

    fn note(&self, zone: Name, told: Told) {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).insert(zone, told);
        self.waker.notify_one();
    }
}

/// Whether a message is a NOTIFY.
pub fn is_notify(message: &[u8]) -> bool {
    message.get(2).is_some_and(|octet| octet & OPCODE == NOTIFY)
}

impl Teller<'_> {
    /// Answers a NOTIFY, and takes note of what it says. None: it is none that can be read, and what was answered stands.
    #[cold]
    pub fn respond(&self, notified: &Arc<Notified>, message: &[u8], out: &mut [u8]) -> Option<(usize, Seen)> {
        let zone = zone_of(message)?;
        let signer = match verify(message, self.keys, self.context.now) {
            Checked::Good(signer) => Some(signer),
            Checked::Unsigned => None,
            Checked::Bad(_) => return None,
        };
        let key = signer.as_ref().map(|signer| signer.key().name());
        let primary = self.primaries.get(&zone).and_then(|primaries| primaries.place(self.peer.ip(), key));
        let rcode = match primary {
            Some(_) => Rcode::NoError,
            None if self.is_here(&zone) => Rcode::Refused,
            None => Rcode::NotAuth,
        };
        let behind = signer.as_ref().map(|signer| signer.added());
        let context = behind.map_or(*self.context, |behind| self.context.signed(behind));
        let (length, seen) = answer::refuse(&context, message, rcode, behind.unwrap_or(0), out)?;
        match primary {
            Some(primary) => {
                // RFC 1996 section 3.12 and 4.7: the answer is an authority's.
                out[2] |= AA;
                notified.taken.fetch_add(1, Ordering::Relaxed);
                notified.note(zone, Told { primary, serial: hint(message) });
            }
            None => {
                notified.refused.fetch_add(1, Ordering::Relaxed);
                self.tell_refused(&zone);
            }
        }
        let length = match signer {
            Some(mut signer) => signer.sign(out, length, self.context.now)?,
            None => length,
        };
        Some((length, seen))
    }

    fn is_here(&self, zone: &Name) -> bool {
        match self.snapshot.zone_of(&HashedName::new(zone.as_wire())) {
            Some(Some(found)) => found.origin() == zone,
            Some(None) => true,
            None => self.primaries.contains_key(zone),
        }
    }

    /// A primary that is not known here is a mistake on one of both sides, and its owner asks here why.
    fn tell_refused(&self, zone: &Name) {
        static TOLD: Occasionally = Occasionally::new();
        TOLD.run(|before| {
            warn!(
                "NOTIFY of {zone} from {} is refused: it is no `primary` of that zone ({before} times before)",
                self.peer
            );
        });
    }
}

/// The zone that a NOTIFY is about: its one question, of type SOA and class IN (RFC 1996 section 3.7).
fn zone_of(message: &[u8]) -> Option<Name> {
    let body = message.get(HEADER..)?;
    let zone = &body[..name::wire_len(body)?];
    let wanted = [Rtype::SOA.0.to_be_bytes(), CLASS_IN.to_be_bytes()].concat();
    let is_read =
        message[4..6] == [0, 1] && body.get(zone.len()..zone.len() + 4) == Some(&wanted) && walk::is_whole(message);
    Name::from_wire(zone).ok().filter(|_| is_read)
}

fn hint(message: &[u8]) -> Option<u32> {
    let soa = walk::records(message).find(|record| record.section == 1 && record.rtype == Rtype::SOA)?;
    serial::of_soa(soa.rdata)
}
