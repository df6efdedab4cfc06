//! Whether what a resolver holds and what a mail server presents agree, by RFC 6698 and RFC 7671 alone: no code of danelaw judges.

use std::collections::BTreeSet;

use data_encoding::HEXUPPER;
use sha2::{Digest, Sha256, Sha512};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificates in DER, the server's own first.
pub type Chain = Vec<Vec<u8>>;

/// A TLSA record: usage, selector and matching type, and what it is to match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    parameters: [u8; 3],
    data: Vec<u8>,
}

impl Record {
    /// Of RDATA as dig prints it.
    pub fn parse(text: &str) -> Option<Record> {
        let mut words = text.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        let parameters = [number()?, number()?, number()?];
        let data = HEXUPPER.decode(words.collect::<String>().as_bytes()).ok()?;
        Some(Record { parameters, data })
    }

    /// RFC 6698 section 2.1, RFC 7671 section 5: DANE-EE is about the server's certificate, DANE-TA about those above it.
    pub fn matches(&self, chain: &[Vec<u8>]) -> bool {
        let [usage, selector, matching] = self.parameters;
        let certificates = match usage {
            3 => chain.get(..1),
            2 => chain.get(1..),
            _ => None,
        };
        certificates.unwrap_or_default().iter().any(|certificate| {
            let parsed = X509Certificate::from_der(certificate).unwrap().1;
            let selected = if selector == 0 { certificate } else { parsed.public_key().raw };
            match matching {
                0 => self.data == selected,
                1 => self.data[..] == Sha256::digest(selected)[..],
                _ => self.data[..] == Sha512::digest(selected)[..],
            }
        })
    }
}

/// RFC 7671 section 8: of each usage, selector and matching type at least one record has to match.
pub fn agree(records: &BTreeSet<Record>, chain: &[Vec<u8>]) -> bool {
    let combinations: BTreeSet<[u8; 3]> = records.iter().map(|record| record.parameters).collect();
    let matched = |of: &[u8; 3]| records.iter().any(|record| record.parameters == *of && record.matches(chain));
    !records.is_empty() && combinations.iter().all(matched)
}

/// The server's key, in DER.
pub fn key(chain: &[Vec<u8>]) -> Vec<u8> {
    X509Certificate::from_der(&chain[0]).unwrap().1.public_key().raw.to_vec()
}

/// Whether some of the records are a chain's.
pub fn has(records: &BTreeSet<Record>, chain: &[Vec<u8>]) -> bool {
    records.iter().any(|record| record.matches(chain))
}
