//! DANE-aware zones for a program that runs hickory-server already: the same snapshot and the same answers as the daemon's.
//!
//! Nothing here opens a socket, watches a file or holds a timer; the embedding program does. A signed zone in a few lines:
//!
//! ```
//! # use danelaw::dns::{Record, Rtype, dnssec::Algorithm};
//! # use danelaw::{keys::ZoneKey, zone::Contents};
//! # fn records() -> Vec<Record> {
//! #     let apex: danelaw::dns::Name = "example.org.".parse().unwrap();
//! #     let soa = [apex.as_wire(), apex.as_wire(), &[0; 20]].concat();
//! #     vec![Record { owner: apex, ttl: 60, rtype: Rtype::SOA, rdata: soa.into() }]
//! # }
//! use danelaw::plugin::{self, SharedSnapshot, ZoneSigner};
//! use hickory_server::zone_handler::Catalog;
//!
//! # fn run(now: u64) -> Result<(), Box<dyn std::error::Error>> {
//! let mut contents = Contents::new("example.org.".parse()?);
//! for record in records() {
//!     contents.insert(record); // SOA, NS, MX, addresses, and the TLSA records of the certificate
//! }
//! let (key, _pem) = ZoneKey::generate(Algorithm::EcdsaP256Sha256)?;
//! let mut signer = ZoneSigner::new(vec![key]);
//! let snapshot = SharedSnapshot::default();
//! snapshot.publish(signer.sign(&contents, now)?);
//!
//! let mut catalog = Catalog::new(); // the one that is there already
//! plugin::upsert(&mut catalog, &snapshot)?;
//! # assert!(signer.refresh_at().is_some_and(|refresh_at| refresh_at > now));
//! # Ok(())
//! # }
//! # run(1_800_000_000).unwrap();
//! ```
//!
//! A change, or the time that [`ZoneSigner::refresh_at`] gives, wants `sign` and `publish` again; queries under way keep the snapshot
//! that they began with.
//!
//! # Two surfaces
//!
//! [`DaneHandler`] is a `RequestHandler` of its own: every answer is what [`crate::answer`] says. Prefer it where danelaw's
//! zones are all that the server has. [`DaneZone`] is a `ZoneHandler` beside others in a `Catalog`, which changes answers on their
//! way out; [`DaneZone`] says what it spoils.
//!
//! `ZoneHandler` grows a method when any crate of the program turns on hickory-server's feature `metrics`; danelaw, built without it, does
//! not compile then.

mod catalog;
mod handler;
mod message;
mod sign;

use std::sync::{Arc, PoisonError, RwLock};

pub use catalog::{DaneZone, upsert};
pub use handler::DaneHandler;
pub use sign::ZoneSigner;

use crate::zone::sign::SigningError;
use crate::zone::snapshot::LayoutError;
use crate::zone::{Snapshot, ZoneSnapshot};

/// Why a zone could not be made or registered. What was published before stays published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// Signing failed: keep serving, and repair contents or key.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The signed zone can't be laid out: keep serving, and repair the contents.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// hickory does not take the zone's apex for a name.
    #[error("hickory does not take {0} for a domain name")]
    Origin(crate::dns::Name),
}

/// The zones that are served now, shared by all handlers made from it; a clone is another handle on the same.
#[derive(Clone, Debug, Default)]
pub struct SharedSnapshot(Arc<RwLock<Arc<Snapshot>>>);

impl SharedSnapshot {
    /// A handle on this snapshot.
    pub fn new(snapshot: Snapshot) -> SharedSnapshot {
        SharedSnapshot(Arc::new(RwLock::new(Arc::new(snapshot))))
    }

    /// What is served now. The lock is held no longer than it takes to count a reference.
    pub fn load(&self) -> Arc<Snapshot> {
        // The value is one pointer, written whole: a panic elsewhere can't have left half of it.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves another snapshot from the next query on.
    pub fn store(&self, snapshot: Snapshot) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// Serves this zone in the place of what its apex had, beside all others.
    pub fn publish(&self, zone: Arc<ZoneSnapshot>) {
        let mut served = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *served = Arc::new(served.with(zone));
    }
}
