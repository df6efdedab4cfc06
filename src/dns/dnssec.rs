//! DNSSEC's nouns: DNSKEY, key tag, DS, RRSIG, and the trait by which signing is handed in (RFC 4034, 8624).

use std::fmt;

use sha2::{Digest, Sha256, Sha384};

use super::{Name, RRset, Rdata, Rtype, rdata};

/// A DNSSEC algorithm number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Algorithm {
    /// 13 (RFC 6605).
    #[serde(rename = "ecdsap256sha256")]
    EcdsaP256Sha256,
    /// 15 (RFC 8080).
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl Algorithm {
    /// The number in DNSKEY, DS and RRSIG.
    pub fn number(self) -> u8 {
        match self {
            Algorithm::EcdsaP256Sha256 => 13,
            Algorithm::Ed25519 => 15,
        }
    }

    /// The algorithm of a number, where danelaw signs with it.
    pub fn from_number(number: u8) -> Option<Algorithm> {
        [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519].into_iter().find(|algorithm| algorithm.number() == number)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Algorithm::Ed25519 => "ED25519",
        })
    }
}

/// DNSKEY flags of a zone key that is a secure entry point: KSK or CSK (RFC 4034 section 2.1.1).
pub const FLAGS_CSK: u16 = 257;

/// Makes signatures with one key. ECDSA draws randomness, so this is handed into the pure rooms.
pub trait Signer: Send + Sync {
    /// The key's DNSKEY RDATA.
    fn dnskey(&self) -> &[u8];
    /// Signs the octets that RFC 4034 section 3.1.8.1 defines; the result is the RRSIG's signature field.
    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError>;

    /// The key's algorithm number.
    fn algorithm(&self) -> u8 {
        self.dnskey()[3]
    }

    /// The key's tag.
    fn key_tag(&self) -> u16 {
        key_tag(self.dnskey())
    }
}

/// The cryptographic library refused to sign; nothing that depends on it may be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing with key {key_tag} failed; the zone's last good version stays in service")]
pub struct SignError {
    /// The key's tag.
    pub key_tag: u16,
}

/// DNSKEY RDATA of flags, protocol 3, algorithm and public key.
pub fn dnskey(flags: u16, algorithm: u8, public_key: &[u8]) -> Rdata {
    let mut out = Vec::with_capacity(4 + public_key.len());
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&[3, algorithm]);
    out.extend_from_slice(public_key);
    out.into()
}

/// The key tag of a DNSKEY RDATA (RFC 4034 appendix B).
pub fn key_tag(dnskey: &[u8]) -> u16 {
    let sum: u32 = dnskey
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
        .fold(0, u32::wrapping_add);
    (sum.wrapping_add(sum >> 16) & 0xffff) as u16
}

/// DS and CDS RDATA with a SHA-256 digest (RFC 4509) of a zone's DNSKEY RDATA.
pub fn ds(owner: &Name, dnskey: &[u8]) -> Rdata {
    let mut out = Vec::with_capacity(36);
    out.extend_from_slice(&key_tag(dnskey).to_be_bytes());
    out.extend_from_slice(&[dnskey[3], 2]);
    out.extend_from_slice(&hashed::<Sha256>(owner, dnskey));
    out.into()
}

/// The digest of a zone's DNSKEY RDATA in a DS of this digest type: SHA-1 (RFC 4034), SHA-256 (RFC 4509) or SHA-384 (RFC 6605). None
/// of another one.
pub fn digest(owner: &Name, dnskey: &[u8], digest_type: u8) -> Option<Vec<u8>> {
    match digest_type {
        1 => {
            let octets = [owner.to_lowercase().as_wire(), dnskey].concat();
            Some(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &octets).as_ref().to_vec())
        }
        2 => Some(hashed::<Sha256>(owner, dnskey)),
        4 => Some(hashed::<Sha384>(owner, dnskey)),
        _ => None,
    }
}

/// RFC 4034 section 5.1.4.
fn hashed<D: Digest>(owner: &Name, dnskey: &[u8]) -> Vec<u8> {
    let mut hash = D::new();
    hash.update(owner.to_lowercase().as_wire());
    hash.update(dnskey);
    hash.finalize().to_vec()
}

/// The fixed head of an RRSIG's RDATA, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RrsigFields<'a> {
    /// The type that it covers.
    pub covered: Rtype,
    /// The signing algorithm.
    pub algorithm: u8,
    /// Labels of the owner, without the root's and a leading `*`.
    pub labels: u8,
    /// The RRset's TTL when it was signed, in seconds.
    pub original_ttl: u32,
    /// Not valid after, seconds since 1970 modulo 2^32.
    pub expiration: u32,
    /// Not valid before, likewise.
    pub inception: u32,
    /// The tag of the key.
    pub key_tag: u16,
    /// The signer's name in wire form, then the signature.
    pub rest: &'a [u8],
}

impl RrsigFields<'_> {
    /// Reads the head; none when the RDATA is shorter than one.
    pub fn parse(rdata: &[u8]) -> Option<RrsigFields<'_>> {
        let (head, rest) = rdata.split_at_checked(18)?;
        let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        Some(RrsigFields {
            covered: Rtype(u16_at(0)),
            algorithm: head[2],
            labels: head[3],
            original_ttl: u32_at(4),
            expiration: u32_at(8),
            inception: u32_at(12),
            key_tag: u16_at(16),
            rest,
        })
    }
}

/// When a signature is valid: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub inception: u64,
    /// Not after.
    pub expiration: u64,
}

/// Signs an RRset: the RRSIG's RDATA (RFC 4034 section 3.1.8.1).
pub fn sign(owner: &Name, rrset: &RRset, zone: &Name, window: Window, signer: &dyn Signer) -> Result<Rdata, SignError> {
    let mut rrsig = Vec::with_capacity(18 + zone.as_wire().len() + 64);
    rrsig.extend_from_slice(&rrset.rtype.0.to_be_bytes());
    rrsig.extend_from_slice(&[signer.algorithm(), owner.rrsig_labels()]);
    rrsig.extend_from_slice(&rrset.ttl.to_be_bytes());
    rrsig.extend_from_slice(&(window.expiration as u32).to_be_bytes());
    rrsig.extend_from_slice(&(window.inception as u32).to_be_bytes());
    rrsig.extend_from_slice(&signer.key_tag().to_be_bytes());
    rrsig.extend_from_slice(zone.to_lowercase().as_wire());

    let mut data = rrsig.clone();
    append_canonical(&mut data, owner, rrset);
    rrsig.extend_from_slice(&signer.sign(&data)?);
    Ok(rrsig.into())
}

/// Appends an RRset in canonical form and order (RFC 4034 section 6). It needs a leading `*` to stand as it is.
pub fn append_canonical(data: &mut Vec<u8>, owner: &Name, rrset: &RRset) {
    let owner = owner.to_lowercase();
    for rdata in &rrset.rdatas {
        let rdata = rdata::canonical(rrset.rtype, rdata);
        data.extend_from_slice(owner.as_wire());
        data.extend_from_slice(&rrset.rtype.0.to_be_bytes());
        data.extend_from_slice(&super::header::CLASS_IN.to_be_bytes());
        data.extend_from_slice(&rrset.ttl.to_be_bytes());
        data.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        data.extend_from_slice(&rdata);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_tag_and_ds_are_those_of_rfc_6605_section_6_1() {
        let public_key = data_encoding::BASE64
            .decode(b"GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==")
            .unwrap();
        let key = dnskey(FLAGS_CSK, 13, &public_key);
        assert_eq!(key_tag(&key), 55648);
        let digest = "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17";
        let ds = ds(&"example.net.".parse().unwrap(), &key);
        assert_eq!(&ds[..4], &[0xd9, 0x60, 13, 2]);
        assert_eq!(data_encoding::HEXLOWER.encode(&ds[4..]), digest);
    }
}
