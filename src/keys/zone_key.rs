//! One key pair: PKCS#8 PEM in, signatures out.

use std::fmt;

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use crate::dns::dnssec::{self, Algorithm, FLAGS_CSK, SignError, Signer};
use crate::dns::{Name, Rdata};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// A zone's combined signing key (CSK): it signs the DNSKEY RRset and all others.
pub struct ZoneKey {
    pair: Pair,
    dnskey: Rdata,
    random: SystemRandom,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// Why a key file can't be used. No variant holds any of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No `BEGIN PRIVATE KEY` block.
    #[error("no PKCS#8 block: expected `-----BEGIN PRIVATE KEY-----` (`openssl pkcs8 -topk8 -nocrypt` converts)")]
    NoBlock,
    /// An encrypted key.
    #[error("the key is encrypted; a server that starts by itself needs it plain, mode 0600")]
    Encrypted,
    /// The base64 or its end marker is broken.
    #[error("the PEM block is cut short or not base64")]
    BadPem,
    /// Another kind of key, or a damaged one.
    #[error("not an ECDSA P-256 or Ed25519 private key in PKCS#8")]
    BadKey,
    /// A key of another algorithm.
    #[error("it is a key of {0}; danelaw signs with algorithms 13 (ECDSAP256SHA256) and 15 (ED25519) only")]
    Unsupported(String),
    /// BIND's key file speaks of a key in a hardware module.
    #[error("the key is in a hardware module (PKCS#11), which is not supported")]
    InHardware,
    /// Not a `.private` file.
    #[error("not a whole .private file of BIND or ldns: expected `Algorithm:` and `PrivateKey:` lines")]
    NotPrivateFile,
    /// ECDSA's point is nowhere.
    #[error(
        "the file has no public half; put the .key file of the same name beside it (PEM: `openssl ec -in KEY -out NEW`)"
    )]
    NoPublicHalf,
    /// Private and public half are of two keys.
    #[error("its private and public half don't belong together")]
    Mismatch,
    /// The name's tag is another key's.
    #[error("its key tag is {found}, and {expected} was expected")]
    Tag {
        /// Of the name.
        expected: u16,
        /// Of the key.
        found: u16,
    },
    /// A ZSK. The record is its DNSKEY.
    #[error(
        "it is a zone-signing key (flags 256); danelaw signs with one key that is KSK and ZSK in one (flags 257). Import the \
         key-signing key, which the DS at the parent names, and keep this record in the zone file until no cache can hold a \
         signature of it: {0}"
    )]
    ZoneSigning(String),
    /// Revoked, or flags that mean nothing for a zone.
    #[error("its DNSKEY has flags {0}; expected 257 (385 is a revoked key)")]
    Flags(u16),
    /// The system gave no randomness.
    #[error("the system's random source failed")]
    Random,
}

impl ZoneKey {
    /// Makes a new key; its PEM is returned beside it, to be written once, mode 0600.
    pub fn generate(algorithm: Algorithm) -> Result<(ZoneKey, String), KeyError> {
        let random = SystemRandom::new();
        let document = match algorithm {
            Algorithm::EcdsaP256Sha256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
            Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        }
        .map_err(|_| KeyError::Random)?;
        let key = ZoneKey::from_pkcs8(document.as_ref())?;
        Ok((key, to_pem(document.as_ref())))
    }

    /// Reads a PEM file's text.
    pub fn from_pem(text: &str) -> Result<ZoneKey, KeyError> {
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let (_, after) = text.split_once(BEGIN).ok_or(KeyError::NoBlock)?;
        let (body, _) = after.split_once(END).ok_or(KeyError::BadPem)?;
        let body: String = body.split_ascii_whitespace().collect();
        ZoneKey::from_pkcs8(&BASE64.decode(body.as_bytes()).map_err(|_| KeyError::BadPem)?)
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<ZoneKey, KeyError> {
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random) {
            // The point is uncompressed, 0x04 and two coordinates; DNSKEY leaves the 0x04 out (RFC 6605 section 4).
            let dnskey =
                dnssec::dnskey(FLAGS_CSK, Algorithm::EcdsaP256Sha256.number(), &pair.public_key().as_ref()[1..]);
            return Ok(ZoneKey { pair: Pair::Ecdsa(pair), dnskey, random });
        }
        // OpenSSL writes PKCS#8 version 1, without the public key; ring checks the pair where both halves are there.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::BadKey)?;
        let dnskey = dnssec::dnskey(FLAGS_CSK, Algorithm::Ed25519.number(), pair.public_key().as_ref());
        Ok(ZoneKey { pair: Pair::Ed25519(pair), dnskey, random })
    }
}

pub(super) fn to_pem(pkcs8: &[u8]) -> String {
    let mut pem = format!("{BEGIN}\n");
    for line in BASE64.encode(pkcs8).as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(END);
    pem.push('\n');
    pem
}

impl Signer for ZoneKey {
    fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Ecdsa(pair) => match pair.sign(&self.random, data) {
                Ok(signature) => Ok(signature.as_ref().to_vec()),
                Err(_) => Err(SignError { key_tag: self.key_tag() }),
            },
            Pair::Ed25519(pair) => Ok(pair.sign(data).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for ZoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZoneKey(algorithm {}, tag {})", self.algorithm(), self.key_tag())
    }
}

/// The name of a zone's key file: `example.org+013+55648.pem`, the zone in lower case and without its final dot.
pub fn file_name(zone: &Name, algorithm: u8, key_tag: u16) -> String {
    // `/` may stand in a label; in a file name it may not.
    let zone = zone.to_lowercase().to_host().replace('/', "\\047");
    format!("{zone}+{algorithm:03}+{key_tag:05}.pem")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_reads_back_from_its_pem() {
        for algorithm in [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519] {
            let (key, pem) = ZoneKey::generate(algorithm).unwrap();
            let again = ZoneKey::from_pem(&pem).unwrap();
            assert_eq!(key.dnskey(), again.dnskey());
            assert_eq!(key.algorithm(), algorithm.number());
            assert!(!format!("{key:?}").contains(&pem[30..60]));
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_by_reason() {
        assert_eq!(ZoneKey::from_pem("").unwrap_err(), KeyError::NoBlock);
        assert_eq!(ZoneKey::from_pem("-----BEGIN ENCRYPTED PRIVATE KEY-----").unwrap_err(), KeyError::Encrypted);
        assert_eq!(ZoneKey::from_pem(BEGIN).unwrap_err(), KeyError::BadPem);
        assert_eq!(ZoneKey::from_pem(&format!("{BEGIN}\n!\n{END}")).unwrap_err(), KeyError::BadPem);
        assert_eq!(ZoneKey::from_pem(&format!("{BEGIN}\nMAo=\n{END}")).unwrap_err(), KeyError::BadKey);
    }
}
