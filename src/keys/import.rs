//! Keys of other signers: BIND's and ldns's `.private` text, and SEC1 or PKCS#8 in PEM, as OpenSSL and Knot write it.
//!
//! All become the PKCS#8 PEM that [`ZoneKey::from_pem`] reads. Halves that don't belong together are refused; nothing of a
//! private key gets into an error.

use data_encoding::BASE64;

use super::zone_key::{KeyError, ZoneKey, to_pem};
use crate::dns::dnssec::{self, Algorithm, FLAGS_CSK, Signer};
use crate::dns::text::print_rdata;
use crate::dns::{Name, Rtype};

/// What the text of a `.private` file begins with.
pub const PRIVATE_KEY_FORMAT: &str = "Private-key-format:";

/// DER of OIDs: id-ecPublicKey (RFC 5480 section 2.1.1), prime256v1, Ed25519 (RFC 8410 section 3).
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// PKCS#8 (RFC 5958) of a P-256 key up to its scalar, and what stands between scalar and point.
const EC_HEAD: &[u8] = b"\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20";
const EC_MIDDLE: &[u8] = b"\xa1\x44\x03\x42\x00\x04";
/// PKCS#8 version 1 of an Ed25519 key up to its seed: the form that every OpenSSL reads.
const ED25519_HEAD: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const PUBLIC: u8 = 0xa1;

/// A key, and the PEM to write for it, mode 0600.
#[derive(Debug)]
pub struct Imported {
    /// The key.
    pub key: ZoneKey,
    /// Its PKCS#8 PEM.
    pub pem: Pem,
}

/// A private key's text, which no `{:?}` shows.
pub struct Pem(pub String);

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pem(private)")
    }
}

/// Reads a `.private` file of BIND or ldns. `dnskey` is the RDATA in the `.key` beside it: algorithm 13 needs it, since the
/// file has no public half; where it is given, it has to be this key's.
pub fn from_private(text: &str, dnskey: Option<&[u8]>) -> Result<Imported, KeyError> {
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next()
    };
    let named = field("Algorithm").ok_or(KeyError::NotPrivateFile)?;
    let number = named.split_whitespace().next().and_then(|word| word.parse().ok()).ok_or(KeyError::NotPrivateFile)?;
    let algorithm =
        Algorithm::from_number(number).ok_or_else(|| KeyError::Unsupported(format!("algorithm {named}")))?;
    if field("Engine").is_some() || field("Label").is_some() {
        return Err(KeyError::InHardware);
    }
    let secret = field("PrivateKey").and_then(|text| BASE64.decode(text.as_bytes()).ok());
    let secret = secret.ok_or(KeyError::NotPrivateFile)?;
    match algorithm {
        Algorithm::Ed25519 => ed25519(&secret, dnskey),
        Algorithm::EcdsaP256Sha256 => p256(&secret, None, dnskey),
    }
}

/// Reads PEM: `PRIVATE KEY` (PKCS#8) or `EC PRIVATE KEY` (SEC1, RFC 5915). `dnskey` as in [`from_private`].
pub fn from_pem(text: &str, dnskey: Option<&[u8]>) -> Result<Imported, KeyError> {
    if text.contains("ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    if let Some(der) = block(text, "PRIVATE KEY")? {
        return pkcs8(&der, dnskey);
    }
    if let Some(der) = block(text, "EC PRIVATE KEY")? {
        let key = EcPrivateKey::parse(&der).ok_or(KeyError::BadKey)?;
        return key.curve.map_or(Ok(()), is_p256).and_then(|()| p256(key.scalar, key.public, dnskey));
    }
    match ["RSA PRIVATE KEY", "DSA PRIVATE KEY"].iter().find(|kind| text.contains(&format!("-----BEGIN {kind}-----"))) {
        Some(kind) => Err(KeyError::Unsupported((*kind).to_owned())),
        None => Err(KeyError::NoBlock),
    }
}

/// Whether a DNSKEY's RDATA is that of this key as danelaw will publish it, so that the DS at the parent stays right.
pub fn check_dnskey(zone: &Name, key: &ZoneKey, dnskey: &[u8]) -> Result<(), KeyError> {
    let ours = key.dnskey();
    if dnskey.len() < 4 || dnskey[3..] != ours[3..] {
        return Err(KeyError::Mismatch);
    }
    match u16::from_be_bytes([dnskey[0], dnskey[1]]) {
        FLAGS_CSK => Ok(()),
        256 => Err(zone_signing(zone, dnskey)),
        flags => Err(KeyError::Flags(flags)),
    }
}

/// Whether the key's tag is the one that a file's name gives.
pub fn check_tag(zone: &Name, key: &ZoneKey, tag: u16) -> Result<(), KeyError> {
    let as_zsk = dnssec::dnskey(256, key.algorithm(), &key.dnskey()[4..]);
    match tag {
        _ if tag == key.key_tag() => Ok(()),
        _ if tag == dnssec::key_tag(&as_zsk) => Err(zone_signing(zone, &as_zsk)),
        _ => Err(KeyError::Tag { expected: tag, found: key.key_tag() }),
    }
}

fn zone_signing(zone: &Name, dnskey: &[u8]) -> KeyError {
    KeyError::ZoneSigning(format!("{zone} IN DNSKEY {}", print_rdata(Rtype::DNSKEY, dnskey)))
}

fn block(text: &str, kind: &str) -> Result<Option<Vec<u8>>, KeyError> {
    let Some((_, after)) = text.split_once(&format!("-----BEGIN {kind}-----")) else { return Ok(None) };
    let (body, _) = after.split_once(&format!("-----END {kind}-----")).ok_or(KeyError::BadPem)?;
    let body: String = body.split_ascii_whitespace().collect();
    BASE64.decode(body.as_bytes()).map(Some).map_err(|_| KeyError::BadPem)
}

fn pkcs8(der: &[u8], dnskey: Option<&[u8]>) -> Result<Imported, KeyError> {
    let fields = || {
        let (body, _) = expect(SEQUENCE, der)?;
        let (_version, rest) = expect(0x02, body)?;
        let (algorithm, rest) = expect(SEQUENCE, rest)?;
        let (oid, parameters) = expect(OID, algorithm)?;
        let (key, _) = expect(OCTETS, rest)?;
        Some((oid, parameters, key))
    };
    let (oid, parameters, inner) = fields().ok_or(KeyError::BadKey)?;
    match oid {
        ED25519 => {
            let (seed, _) = expect(OCTETS, inner).ok_or(KeyError::BadKey)?;
            ed25519(seed, dnskey)
        }
        EC_PUBLIC_KEY => {
            let (curve, _) = expect(OID, parameters).ok_or(KeyError::BadKey)?;
            is_p256(curve)?;
            let key = EcPrivateKey::parse(inner).ok_or(KeyError::BadKey)?;
            p256(key.scalar, key.public, dnskey)
        }
        _ => Err(KeyError::Unsupported("another kind, such as RSA or Ed448".to_owned())),
    }
}

fn is_p256(curve: &[u8]) -> Result<(), KeyError> {
    if curve == P256 { Ok(()) } else { Err(KeyError::Unsupported("another curve than P-256".to_owned())) }
}

/// RFC 5915 section 3.
struct EcPrivateKey<'a> {
    scalar: &'a [u8],
    curve: Option<&'a [u8]>,
    public: Option<&'a [u8]>,
}

impl<'a> EcPrivateKey<'a> {
    fn parse(der: &'a [u8]) -> Option<EcPrivateKey<'a>> {
        let (body, _) = expect(SEQUENCE, der)?;
        let (_version, rest) = expect(0x02, body)?;
        let (scalar, mut rest) = expect(OCTETS, rest)?;
        let mut key = EcPrivateKey { scalar, curve: None, public: None };
        while let Some((tag, content, after)) = element(rest) {
            match tag {
                0xa0 => key.curve = expect(OID, content).map(|(oid, _)| oid),
                // A bit string without unused bits, an uncompressed point.
                PUBLIC => key.public = expect(0x03, content)?.0.strip_prefix(&[0, 4]),
                _ => {}
            }
            rest = after;
        }
        Some(key)
    }
}

/// The next DER element: tag, content, what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = der.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 | 0x82 => {
            let (long, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (long.iter().fold(0, |sum, &octet| sum << 8 | usize::from(octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

fn ed25519(seed: &[u8], dnskey: Option<&[u8]>) -> Result<Imported, KeyError> {
    let seed: &[u8; 32] = seed.try_into().map_err(|_| KeyError::BadKey)?;
    let imported = made(&[ED25519_HEAD, seed].concat())?;
    match dnskey {
        Some(dnskey) if dnskey.get(3..) != Some(&imported.key.dnskey()[3..]) => Err(KeyError::Mismatch),
        _ => Ok(imported),
    }
}

/// The point comes from the file itself, or else from the DNSKEY; ring checks that it is the scalar's.
fn p256(scalar: &[u8], point: Option<&[u8]>, dnskey: Option<&[u8]>) -> Result<Imported, KeyError> {
    let published = match dnskey {
        Some([_, _, 3, 13, point @ ..]) => Some(point),
        Some(_) => return Err(KeyError::Mismatch),
        None => None,
    };
    let point = point.or(published).ok_or(KeyError::NoPublicHalf)?;
    if published.is_some_and(|published| published != point) {
        return Err(KeyError::Mismatch);
    }
    // Some writers leave leading zeros out, or put one before.
    let significant = scalar.iter().position(|&octet| octet != 0).map_or(&[][..], |at| &scalar[at..]);
    if significant.len() > 32 || point.len() != 64 {
        return Err(KeyError::BadKey);
    }
    let mut padded = [0; 32];
    padded[32 - significant.len()..].copy_from_slice(significant);
    made(&[EC_HEAD, &padded, EC_MIDDLE, point].concat()).map_err(|_| KeyError::Mismatch)
}

fn made(der: &[u8]) -> Result<Imported, KeyError> {
    Ok(Imported { key: ZoneKey::from_pkcs8(der)?, pem: Pem(to_pem(der)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        "example.net.".parse().unwrap()
    }

    /// The key pair of RFC 6605 section 6.1.
    const PRIVATE: &str = "Private-key-format: v1.2\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ=\n";

    fn dnskey(flags: u16) -> crate::dns::Rdata {
        let public = "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
        dnssec::dnskey(flags, 13, &BASE64.decode(public.as_bytes()).unwrap())
    }

    #[test]
    fn the_key_of_rfc_6605_is_read_and_its_pem_reads_back() {
        let imported = from_private(PRIVATE, Some(&dnskey(257))).unwrap();
        assert_eq!(imported.key.key_tag(), 55648);
        assert_eq!(ZoneKey::from_pem(&imported.pem.0).unwrap().dnskey(), imported.key.dnskey());
        assert_eq!(from_pem(&imported.pem.0, None).unwrap().pem.0, imported.pem.0);
        assert!(check_dnskey(&name(), &imported.key, &dnskey(257)).is_ok());
        assert!(check_tag(&name(), &imported.key, 55648).is_ok());
        assert!(matches!(check_tag(&name(), &imported.key, 55647), Err(KeyError::ZoneSigning(_))));
        assert!(matches!(check_tag(&name(), &imported.key, 1), Err(KeyError::Tag { expected: 1, found: 55648 })));
        let Err(KeyError::ZoneSigning(record)) = check_dnskey(&name(), &imported.key, &dnskey(256)) else { panic!() };
        assert!(record.starts_with("example.net. IN DNSKEY 256 3 13 GojI"));
        assert_eq!(check_dnskey(&name(), &imported.key, &dnskey(385)), Err(KeyError::Flags(385)));
        assert!(!format!("{imported:?}").contains(&imported.pem.0[40..60]));
    }

    #[test]
    fn the_key_of_rfc_8080_is_read() {
        let text = "Private-key-format: v1.2\nAlgorithm: 15 (ED25519)\nPrivateKey: ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=\n";
        let key = from_private(text, None).unwrap().key;
        assert_eq!((key.key_tag(), key.algorithm()), (3613, 15));
        assert_eq!(from_private(text, Some(&dnskey(257))).unwrap_err(), KeyError::Mismatch);
    }

    #[test]
    fn what_is_not_a_key_that_we_sign_with_is_refused_by_reason() {
        assert_eq!(from_private(PRIVATE, None).unwrap_err(), KeyError::NoPublicHalf);
        let mut other = dnskey(257).to_vec();
        other[10] ^= 1;
        assert_eq!(from_private(PRIVATE, Some(&other)).unwrap_err(), KeyError::Mismatch);
        assert_eq!(from_private(PRIVATE, Some(&[1])).unwrap_err(), KeyError::Mismatch);
        let rsa = from_private("Algorithm: 8 (RSASHA256)\n", None).unwrap_err();
        assert!(rsa.to_string().contains("algorithm 8 (RSASHA256)") && rsa.to_string().contains("13"), "{rsa}");
        assert_eq!(from_private("Algorithm: 13\nEngine: cGtjczEx\n", None).unwrap_err(), KeyError::InHardware);
        assert_eq!(from_private("Algorithm: 15\nPrivateKey: AA==\n", None).unwrap_err(), KeyError::BadKey);
        assert_eq!(from_private("hello", None).unwrap_err(), KeyError::NotPrivateFile);
        assert_eq!(from_pem("hello", None).unwrap_err(), KeyError::NoBlock);
        let rsa = from_pem("-----BEGIN RSA PRIVATE KEY-----\n", None).unwrap_err();
        assert!(matches!(rsa, KeyError::Unsupported(_)));
        for length in 0..EC_HEAD.len() {
            let pem = to_pem(&EC_HEAD[..length]);
            assert!(from_pem(&pem, None).is_err());
        }
    }
}
