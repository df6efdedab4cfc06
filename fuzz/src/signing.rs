//! Zones signed fast and always the same: with RFC 8080's key, or with signatures that are none where nobody verifies them.

use std::sync::{Arc, LazyLock};

use danelaw::dns::dnssec::{SignError, Signer};
use danelaw::dns::{Name, Timestamp};
use danelaw::keys::{self, ZoneKey, import};
use danelaw::zone::denial::nsec3::Parameters;
use danelaw::zone::sign::{Policy, SigningError};
use danelaw::zone::{Contents, Denial, Draft, NoIncludes, Published, ZoneSnapshot, parse};

/// When everything is signed.
pub const NOW: Timestamp = 1_800_000_000;

/// The key of RFC 8080 section 6.1: nobody's secret.
pub static KEY: LazyLock<ZoneKey> = LazyLock::new(|| {
    let text = "Algorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n";
    import::from_private(text, None).unwrap().key
});

/// Signs in no time, and wrongly: its signatures depend on their data, and that is all.
pub struct Stamp;

impl Signer for Stamp {
    fn dnskey(&self) -> &[u8] {
        KEY.dnskey()
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        let sum = data
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, &octet| (sum ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3));
        Ok(sum.to_be_bytes().repeat(8))
    }
}

/// How absence is proven: NSEC, NSEC3 as RFC 9276 wants it, and NSEC3 with all that it advises against.
pub fn denials() -> [Denial; 3] {
    let deprecated = Parameters { iterations: 3, salt: [0xaa, 0xbb, 0xcc, 0xdd].into(), opt_out: true };
    [Denial::Nsec, Denial::Nsec3(Parameters::default()), Denial::Nsec3(deprecated)]
}

/// Contents with the records of a key, as they are signed.
pub fn with_key(contents: &Contents, signer: &dyn Signer) -> Contents {
    let mut contents = contents.clone();
    let origin = contents.origin().clone();
    for rrset in keys::apex_rrsets(&origin, &[signer], keys::KEY_TTL, true) {
        contents.replace(&origin, rrset);
    }
    contents
}

/// A zone signed from nothing.
pub fn sign(contents: &Contents, signer: &dyn Signer, denial: Denial) -> Result<Published, SigningError> {
    let policy = Policy { denial, ..Policy::default() };
    Draft::signed(&with_key(contents, signer), &[signer], None, policy, NOW)?.finish(1)
}

/// A zone that is right.
pub fn zone(origin: &str, text: &str) -> Contents {
    let origin = Name::parse(origin, None).unwrap();
    let parsed = parse(&origin, "zone", text.as_bytes(), &mut NoIncludes);
    parsed.contents.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics))
}

/// A zone laid out.
pub fn built(published: &Published) -> Arc<ZoneSnapshot> {
    Arc::new(ZoneSnapshot::build(published).unwrap())
}
