//! DNSSEC keys of a zone: reading and making them as PKCS#8 PEM, and the records that speak of them.
//!
//! Files are opened elsewhere; a private key never leaves [`ZoneKey`] but as the PEM that is written once.

mod decide;
pub mod import;
mod zone_key;

pub use decide::{KeyChoice, KeyRefusal, KnownKey, choose};
pub use zone_key::{KeyError, ZoneKey, file_name};

use crate::dns::dnssec::Signer;
use crate::dns::{Name, RRset, Rtype, dnssec};

/// The default TTL of DNSKEY, CDS and CDNSKEY in seconds.
pub const KEY_TTL: u32 = 3600;

/// The apex RRsets that speak of the zone's keys: DNSKEY, and CDS and CDNSKEY if asked (RFC 7344 section 3; each DNSKEY
/// here is a CSK, so all of them stand in all three).
pub fn apex_rrsets(zone: &Name, keys: &[&dyn Signer], ttl: u32, with_cds: bool) -> Vec<RRset> {
    let collect = |rtype, rdata: &dyn Fn(&[u8]) -> Box<[u8]>| {
        let mut rrset = RRset { rtype, ttl, rdatas: Vec::new() };
        for key in keys {
            rrset.insert(rdata(key.dnskey()));
        }
        rrset
    };
    let mut rrsets = vec![collect(Rtype::DNSKEY, &|dnskey| dnskey.into())];
    if with_cds {
        rrsets.push(collect(Rtype::CDS, &|dnskey| dnssec::ds(zone, dnskey)));
        rrsets.push(collect(Rtype::CDNSKEY, &|dnskey| dnskey.into()));
    }
    rrsets
}
