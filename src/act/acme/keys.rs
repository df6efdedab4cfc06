//! Makes the private keys of certificates, and reads them again: ECDSA on P-256 and RSA of 2048 bits, PKCS#8 in PEM.

use std::collections::BTreeSet;

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};

use crate::dane::certificate::KeyType;
use crate::dns::Name;

/// Bits of an RSA key: what every CA takes, and what old senders can verify.
const RSA_BITS: usize = 2048;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Configure ECDSA or RSA.
    #[error("no CA signs a key of {0}: ECDSA or RSA")]
    Kind(KeyType),
    /// The system gave no randomness, or the key can't be written. Retry.
    #[error("no {0} key can be made: {1}")]
    Made(KeyType, String),
    /// What stands there is no private key that can be used.
    #[error("no private key that can be used: {0}")]
    Unusable(String),
}

/// A new key, in PEM. RSA takes up to seconds.
pub fn make(key_type: KeyType) -> Result<String, KeyError> {
    match key_type {
        KeyType::Ecdsa => {
            let made = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
            made.map(|key| key.serialize_pem()).map_err(|error| KeyError::Made(key_type, error.to_string()))
        }
        KeyType::Rsa => {
            let made = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS);
            let key = made.map_err(|error| KeyError::Made(key_type, error.to_string()))?;
            let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| KeyError::Made(key_type, error.to_string()))?;
            Ok(pem.to_string())
        }
        other => Err(KeyError::Kind(other)),
    }
}

/// A private key.
pub struct Key(KeyPair);

impl Key {
    /// Of its PEM.
    pub fn read(pem: &[u8]) -> Result<Key, KeyError> {
        let text = std::str::from_utf8(pem).map_err(|error| KeyError::Unusable(error.to_string()))?;
        KeyPair::from_pem(text).map(Key).map_err(|error| KeyError::Unusable(error.to_string()))
    }

    /// Whether it is that of a SubjectPublicKeyInfo in DER, whose end is the public key (RFC 5280 section 4.1).
    pub fn is_of(&self, spki: &[u8]) -> bool {
        spki.ends_with(self.0.public_key_raw())
    }

    /// A request for a certificate with these names (RFC 8555 section 7.4), in DER.
    pub fn request(&self, names: &BTreeSet<Name>) -> Result<Vec<u8>, KeyError> {
        let unusable = |error: rcgen::Error| KeyError::Unusable(error.to_string());
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase().to_host()).collect();
        let mut params = CertificateParams::new(names).map_err(unusable)?;
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&self.0).map_err(unusable)?.der().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_made_and_read_by_the_library_that_serves_them() {
        for kind in [KeyType::Ecdsa, KeyType::Rsa] {
            let pem = make(kind).unwrap();
            let key = Key::read(pem.as_bytes()).unwrap();
            assert!(!key.request(&["*.example.test".parse().unwrap()].into()).unwrap().is_empty());
            assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{kind}");
            assert_ne!(make(kind).unwrap(), pem);
        }
        assert!(make(KeyType::Ed25519).is_err());
    }
}
