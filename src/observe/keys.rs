//! Does a private key belong to a certificate? Tells a renewal half written from one that is finished.
//!
//! Keys are looked at in staged directories only, are not kept, and never get into a message.

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey;

use crate::dane::certificate::{Certificate, KeyType};

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMatch {
    /// It is the certificate's.
    Matches,
    /// It is another certificate's: a renewal under way, or files mixed up.
    Differs,
    /// There is no whole private key in the file.
    NoKey,
    /// It is of a kind that can't be read here (P-521, RSA under 2048 bits, encrypted).
    NotReadable,
}

/// The SubjectPublicKeyInfo of a key file, in DER; none where there is no key that can be read.
pub fn spki(octets: &[u8]) -> Option<Vec<u8>> {
    let key = any_supported_type(&private_key(octets)?).ok()?;
    Some(key.public_key()?.as_ref().to_vec())
}

/// PKCS#8, PKCS#1 or SEC1, in PEM or DER.
fn private_key(octets: &[u8]) -> Option<PrivateKeyDer<'static>> {
    match octets.windows(11).any(|window| window == b"-----BEGIN ") {
        true => PrivateKeyDer::from_pem_slice(octets).ok(),
        false => PrivateKeyDer::try_from(octets.to_vec()).ok(),
    }
}

/// Compares a key file with a certificate.
pub fn compare(octets: &[u8], certificate: &Certificate) -> KeyMatch {
    if octets.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY") {
        return KeyMatch::NotReadable;
    }
    let Some(key) = private_key(octets) else { return KeyMatch::NoKey };
    let Ok(key) = any_supported_type(&key) else {
        return if is_readable(certificate) { KeyMatch::Differs } else { KeyMatch::NotReadable };
    };
    match key.public_key() {
        None => KeyMatch::NotReadable,
        Some(spki) => match (public_key(spki.as_ref()), public_key(certificate.spki())) {
            (Some(left), Some(right)) if left == right => KeyMatch::Matches,
            _ => KeyMatch::Differs,
        },
    }
}

/// Whether a key for this certificate could be read: ECDSA on P-521, odd RSA sizes and Ed448 are beyond ring, and stay
/// usable as certificates.
fn is_readable(certificate: &Certificate) -> bool {
    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(certificate.spki()) else { return false };
    match (certificate.key_type, spki.parsed()) {
        (KeyType::Ed25519, _) => true,
        (KeyType::Rsa, Ok(PublicKey::RSA(key))) => matches!(key.key_size(), 2048 | 3072 | 4096),
        (KeyType::Ecdsa, Ok(PublicKey::EC(point))) => matches!(point.key_size(), 256 | 384),
        _ => false,
    }
}

/// The key itself; its algorithm identifier may be written in several ways (RSA and RSASSA-PSS).
fn public_key(spki: &[u8]) -> Option<Vec<u8>> {
    let (_, spki) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    Some(spki.subject_public_key.data.to_vec())
}
