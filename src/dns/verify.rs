//! Checks signatures that others made: RSA, ECDSA and Ed25519 as DNSSEC encodes them (RFC 3110, 5702, 6605, 8080).

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
    VerificationAlgorithm,
};

/// Whether signatures of an algorithm number can be checked here: RSASHA256, RSASHA512, ECDSAP256SHA256, ECDSAP384SHA384, ED25519.
pub fn is_known(algorithm: u8) -> bool {
    matches!(algorithm, 8 | 10 | 13 | 14 | 15)
}

/// Whether `signature` over `data` was made with the key of a DNSKEY RDATA. False, too, for an algorithm that is not known here.
pub fn verify(dnskey: &[u8], data: &[u8], signature: &[u8]) -> bool {
    let Some((&[_, _, _, algorithm], key)) = dnskey.split_first_chunk::<4>() else { return false };
    match algorithm {
        // Zone signing keys of 1024 bits are still about (RFC 5702 section 2).
        8 => rsa(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, key, data, signature),
        10 => rsa(&RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, key, data, signature),
        13 => ecdsa(&ECDSA_P256_SHA256_FIXED, key, data, signature),
        14 => ecdsa(&ECDSA_P384_SHA384_FIXED, key, data, signature),
        15 => UnparsedPublicKey::new(&ED25519, key).verify(data, signature).is_ok(),
        _ => false,
    }
}

/// A DNSKEY leaves out the octet that says that the point is uncompressed (RFC 6605 section 4).
fn ecdsa(algorithm: &'static dyn VerificationAlgorithm, key: &[u8], data: &[u8], signature: &[u8]) -> bool {
    let point = [&[4], key].concat();
    UnparsedPublicKey::new(algorithm, point).verify(data, signature).is_ok()
}

/// The exponent's length, the exponent, the modulus (RFC 3110 section 2).
fn rsa(parameters: &'static RsaParameters, key: &[u8], data: &[u8], signature: &[u8]) -> bool {
    let (len, rest) = match key {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [len, rest @ ..] => (usize::from(*len), rest),
        [] => return false,
    };
    let Some((e, n)) = rest.split_at_checked(len) else { return false };
    let trimmed = |number: &'_ [u8]| number.iter().position(|octet| *octet != 0).unwrap_or(number.len());
    let (e, n) = (&e[trimmed(e)..], &n[trimmed(n)..]);
    RsaPublicKeyComponents { n, e }.verify(parameters, data, signature).is_ok()
}
