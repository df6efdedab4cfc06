//! A certificate chain as a mail server presents it: leaf first, each certificate's facts, which hosts it belongs to.
//!
//! Nothing is validated here: DANE-EE ignores names and expiry (RFC 7671 section 5.1). Private keys that stand in the
//! same file are skipped, never stored.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::error::X509Error;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

use crate::dns::{Name, Timestamp};

use super::error::Error;
use super::pem;

/// What kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// RSA, RSASSA-PSS keys included.
    Rsa,
    /// ECDSA on any curve.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// Another one. TLSA works with it all the same.
    Other,
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyType::Rsa => "RSA",
            KeyType::Ecdsa => "ECDSA",
            KeyType::Ed25519 => "Ed25519",
            KeyType::Ed448 => "Ed448",
            KeyType::Other => "other key type",
        })
    }
}

/// One certificate and the facts that danelaw needs of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Arc<[u8]>,
    spki: Range<usize>,
    subject_der: Range<usize>,
    issuer_der: Range<usize>,
    authority_key: Option<Vec<u8>>,
    subject_key: Option<Vec<u8>>,
    /// The subject, for people.
    pub subject: String,
    /// The issuer, for people.
    pub issuer: String,
    /// The dNSNames of its SAN, in lower case, in order.
    pub dns_names: Vec<String>,
    /// Seconds since 1970; a date before that is 0.
    pub not_before: Timestamp,
    /// Seconds since 1970.
    pub not_after: Timestamp,
    /// Its key's type.
    pub key_type: KeyType,
    /// Basic constraints say that it is a CA's.
    pub is_ca: bool,
}

impl Certificate {
    /// Reads one certificate; octets behind it are an error. `number` is its place in the file, from 1.
    fn parse(der: &[u8], number: usize) -> Result<Certificate, Error> {
        let (rest, x509) = X509Certificate::from_der(der).map_err(|error| {
            let what = match error {
                x509_parser::nom::Err::Incomplete(_) => "it ends too early".to_owned(),
                x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error.to_string(),
            };
            Error::NotX509 { number, what }
        })?;
        if !rest.is_empty() {
            return Err(Error::TrailingDer { octets: rest.len() });
        }
        let mut certificate = Certificate {
            der: der.into(),
            spki: range_in(der, x509.public_key().raw),
            subject_der: range_in(der, x509.subject().as_raw()),
            issuer_der: range_in(der, x509.issuer().as_raw()),
            authority_key: None,
            subject_key: None,
            subject: x509.subject().to_string(),
            issuer: x509.issuer().to_string(),
            dns_names: Vec::new(),
            not_before: u64::try_from(x509.validity().not_before.timestamp()).unwrap_or(0),
            not_after: u64::try_from(x509.validity().not_after.timestamp()).unwrap_or(0),
            key_type: key_type(&x509.public_key().algorithm.algorithm.to_id_string()),
            is_ca: false,
        };
        for extension in x509.extensions() {
            certificate.note(extension.parsed_extension());
        }
        Ok(certificate)
    }

    fn note(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(san) => {
                let dns_name = |name: &GeneralName<'_>| match name {
                    GeneralName::DNSName(text) => Some(text.to_ascii_lowercase()),
                    _ => None,
                };
                self.dns_names.extend(san.general_names.iter().filter_map(dns_name));
            }
            ParsedExtension::BasicConstraints(constraints) => self.is_ca = constraints.ca,
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key = Some(id.0.to_vec()),
            _ => {}
        }
    }

    /// The whole certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its SubjectPublicKeyInfo as it stands in the DER: what selector 1 selects, whatever the key's type.
    pub fn spki(&self) -> &[u8] {
        &self.der[self.spki.clone()]
    }

    /// SHA-256 of the DER in lower-case hex.
    pub fn fingerprint(&self) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(&self.der))
    }

    /// SHA-256 of the SPKI in lower-case hex: the data of `3 1 1`.
    pub fn spki_sha256(&self) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(self.spki()))
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.der[self.subject_der.clone()] == self.der[self.issuer_der.clone()]
    }

    /// Whether `self` issued `other`, by names (RFC 5280 section 6.1.3) and, where both have them, by key identifiers
    /// (RFC 5280 section 4.2.1.1), which tell a CA's old key from its new one. Signatures are not verified.
    pub fn issued(&self, other: &Certificate) -> bool {
        let names = self.der[self.subject_der.clone()] == other.der[other.issuer_der.clone()];
        let keys = match (&self.subject_key, &other.authority_key) {
            (Some(subject), Some(authority)) => subject == authority,
            _ => true,
        };
        names && keys && self.der != other.der
    }

    /// Whether its key made the signature of `other`; none where the algorithm is not known here.
    pub fn signed(&self, other: &Certificate) -> Option<bool> {
        is_signed_by(other, self.spki())
    }

    /// Whether one of its dNSNames is `host`, or a wildcard for it.
    ///
    /// `*` is taken only as the whole leftmost label and stands for exactly one label (RFC 6125 section 6.4.3,
    /// RFC 9525 section 6.3). The common name is never looked at (RFC 9525 section 2), not even where there is no dNSName.
    pub fn covers(&self, host: &Name) -> bool {
        let host = host.to_host().to_ascii_lowercase();
        self.dns_names.iter().any(|name| dns_name_covers(name, &host))
    }
}

/// Whether the key of a SubjectPublicKeyInfo made a certificate's signature; none where the algorithm is not known here.
pub fn is_signed_by(certificate: &Certificate, spki: &[u8]) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(&certificate.der).ok()?;
    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(spki) else { return Some(false) };
    match certificate.verify_signature(Some(&spki)) {
        Ok(()) => Some(true),
        Err(X509Error::SignatureUnsupportedAlgorithm) => None,
        Err(_) => Some(false),
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({}, {})", self.subject, self.fingerprint())
    }
}

fn dns_name_covers(name: &str, host: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    match name.strip_prefix("*.") {
        Some(parent) => {
            !parent.is_empty()
                && !parent.contains('*')
                && host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
        }
        None => name == host && !name.contains('*'),
    }
}

fn key_type(oid: &str) -> KeyType {
    match oid {
        // RFC 3279 section 2.3.1 and RFC 4055 section 1.2; RFC 5480 section 2.1.1; RFC 8410 section 3.
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => KeyType::Rsa,
        "1.2.840.10045.2.1" => KeyType::Ecdsa,
        "1.3.101.112" => KeyType::Ed25519,
        "1.3.101.113" => KeyType::Ed448,
        _ => KeyType::Other,
    }
}

/// Where `part`, a slice of `whole`, stands in it. The parser borrows, so the addresses tell.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    debug_assert_eq!(whole.get(start..start + part.len()), Some(part));
    start..start + part.len()
}

/// A chain: the leaf, then the certificates that issued one another, then whatever else the file holds.
/// Two are equal when leaf and issuers are: not by the order in their files, nor by what else those hold.
#[derive(Clone)]
pub struct Chain {
    certificates: Vec<Certificate>,
    linked: usize,
    reordered: bool,
}

impl Chain {
    /// Reads PEM or DER, whichever it is.
    pub fn parse(octets: &[u8]) -> Result<Chain, Error> {
        if pem::is_pem(octets) { Chain::from_pem(octets) } else { Chain::from_der(octets) }
    }

    /// Reads PEM: text around the blocks and blocks of other kinds are skipped, private keys among them.
    pub fn from_pem(octets: &[u8]) -> Result<Chain, Error> {
        let blocks = pem::parse(octets)?;
        if blocks.certificates.is_empty() {
            return Err(Error::NoCertificate { private_key: blocks.private_key });
        }
        Chain::from_ders(&blocks.certificates)
    }

    /// Reads DER: one certificate and nothing else.
    pub fn from_der(octets: &[u8]) -> Result<Chain, Error> {
        // A SEQUENCE (0x30) opens every certificate; without it this is some other file.
        if octets.first() != Some(&0x30) {
            return Err(Error::NoCertificate { private_key: false });
        }
        Chain::from_ders(&[octets])
    }

    /// Puts certificates into order. The leaf is the one that issued none of the others and is no CA's; a CA
    /// certificate alone is taken as a leaf only when it has a dNSName (`openssl req -x509` makes such ones).
    pub fn from_ders<D: AsRef<[u8]>>(ders: &[D]) -> Result<Chain, Error> {
        let all = parse_all(ders)?;
        let leaf = leaf_of(&all)?;
        Ok(Chain::of(all, leaf))
    }

    /// A chain as a server presents it: its own certificate is the first, whatever it says of itself (RFC 8446 section 4.4.2).
    pub fn presented<D: AsRef<[u8]>>(ders: &[D]) -> Result<Chain, Error> {
        let all = parse_all(ders)?;
        if all.is_empty() {
            return Err(Error::NoCertificate { private_key: false });
        }
        Ok(Chain::of(all, 0))
    }

    fn of(mut all: Vec<Certificate>, leaf: usize) -> Chain {
        let before: Vec<Arc<[u8]>> = all.iter().map(|certificate| certificate.der.clone()).collect();
        let mut certificates = vec![all.remove(leaf)];
        while let Some(next) = all.iter().position(|other| certificates.last().is_some_and(|last| other.issued(last))) {
            certificates.push(all.remove(next));
        }
        let linked = certificates.len();
        certificates.append(&mut all);
        let reordered = certificates.iter().zip(&before).any(|(certificate, der)| certificate.der != *der);
        Chain { certificates, linked, reordered }
    }

    /// The server's own certificate.
    pub fn leaf(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// The certificate of the leaf's issuer, if the chain has it.
    pub fn issuer(&self) -> Option<&Certificate> {
        self.certificates[..self.linked].get(1)
    }

    /// The leaf and those above it that issued one another.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates[..self.linked]
    }

    /// Whether the leaf belongs to a host: [`Certificate::covers`].
    pub fn covers(&self, host: &Name) -> bool {
        self.leaf().covers(host)
    }

    /// Whether all is the same that is known of both: what [`PartialEq`] looks at and what it doesn't.
    pub fn is_same(&self, other: &Chain) -> bool {
        (&self.certificates, self.linked, self.reordered) == (&other.certificates, other.linked, other.reordered)
    }

    /// What a person should know of the file, though it can be used.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        let leaf = self.leaf();
        if leaf.dns_names.is_empty() {
            warnings.push(format!(
                "{} has no dNSName in its subjectAltName, so it belongs to no host; a common name does not count (RFC 9525)",
                leaf.subject
            ));
        }
        if leaf.not_after <= now {
            warnings.push(format!("{} has expired; DANE-EE ignores that, other clients don't: renew it", leaf.subject));
        }
        if self.reordered {
            warnings.push("the certificates are out of order: the leaf goes first, then each one's issuer".to_owned());
        }
        if self.linked < self.certificates.len() {
            warnings.push(format!(
                "{} certificates in it don't belong to the leaf's chain",
                self.certificates.len() - self.linked
            ));
        }
        warnings
    }
}

/// Each once, in their order.
fn parse_all<D: AsRef<[u8]>>(ders: &[D]) -> Result<Vec<Certificate>, Error> {
    let mut all: Vec<Certificate> = Vec::with_capacity(ders.len());
    for (index, der) in ders.iter().enumerate() {
        let certificate = Certificate::parse(der.as_ref(), index + 1)?;
        if !all.contains(&certificate) {
            all.push(certificate);
        }
    }
    Ok(all)
}

fn leaf_of(all: &[Certificate]) -> Result<usize, Error> {
    if let [only] = all {
        // A root or an intermediate has no dNSName.
        return if only.is_ca && only.dns_names.is_empty() {
            Err(Error::OnlyAuthorities { subject: only.subject.clone() })
        } else {
            Ok(0)
        };
    }
    let ends = |(_, certificate): &(usize, &Certificate)| !all.iter().any(|other| certificate.issued(other));
    let leaves: Vec<(usize, &Certificate)> =
        all.iter().enumerate().filter(ends).filter(|(_, end)| !end.is_ca || !end.dns_names.is_empty()).collect();
    match leaves[..] {
        [(index, _)] => Ok(index),
        [] => {
            Err(Error::OnlyAuthorities { subject: all.first().map(|first| first.subject.clone()).unwrap_or_default() })
        }
        [(_, first), (_, second), ..] => Err(Error::SeveralLeaves {
            count: leaves.len(),
            first: first.subject.clone(),
            second: second.subject.clone(),
        }),
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Chain) -> bool {
        self.certificates() == other.certificates()
    }
}

impl Eq for Chain {}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.certificates).finish()
    }
}

/// Stored as base64 DER, leaf first, so that a later version can compute any parameters for it.
impl Serialize for Chain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_seq(self.certificates.iter().map(|certificate| data_encoding::BASE64.encode(&certificate.der)))
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Chain, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let ders: Result<Vec<Vec<u8>>, _> =
            texts.iter().map(|text| data_encoding::BASE64.decode(text.as_bytes())).collect();
        Chain::from_ders(&ders.map_err(serde::de::Error::custom)?).map_err(serde::de::Error::custom)
    }
}
