//! Keys: a name that both sides know, an algorithm, and a secret that never gets into any text.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ring::hmac;

use crate::dns::Name;
use crate::dns::name::{canonical_cmp, is_same};

/// The longest MAC, octets.
const MAC_MAX: usize = 64;

/// The algorithms that are implemented. RFC 8945 section 6 demands the first, and advises against MD5 and SHA-1; keys of those are
/// unknown here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// hmac-sha256
    HmacSha256,
    /// hmac-sha384
    HmacSha384,
    /// hmac-sha512
    HmacSha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::HmacSha256, Algorithm::HmacSha384, Algorithm::HmacSha512];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::HmacSha256 => "hmac-sha256",
            Algorithm::HmacSha384 => "hmac-sha384",
            Algorithm::HmacSha512 => "hmac-sha512",
        }
    }

    /// The name in a TSIG record, in canonical wire form.
    pub fn as_wire(self) -> &'static [u8] {
        match self {
            Algorithm::HmacSha256 => b"\x0bhmac-sha256\0",
            Algorithm::HmacSha384 => b"\x0bhmac-sha384\0",
            Algorithm::HmacSha512 => b"\x0bhmac-sha512\0",
        }
    }

    /// The algorithm that a TSIG record names, if it is one of these.
    pub fn from_wire(wire: &[u8]) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| is_same(algorithm.as_wire(), wire))
    }

    /// A whole MAC, octets; as many make a good secret.
    pub fn mac_length(self) -> usize {
        match self {
            Algorithm::HmacSha256 => 32,
            Algorithm::HmacSha384 => 48,
            Algorithm::HmacSha512 => 64,
        }
    }

    /// The shortest MAC that may be, octets (RFC 8945 section 5.2.2.1).
    pub fn mac_least(self) -> usize {
        (self.mac_length() / 2).max(10)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Algorithm, String> {
        let plain = text.strip_suffix('.').unwrap_or(text);
        let found = Algorithm::ALL.into_iter().find(|algorithm| plain.eq_ignore_ascii_case(algorithm.name()));
        found.ok_or_else(|| "not an algorithm that is served: hmac-sha256, hmac-sha384 or hmac-sha512".to_owned())
    }
}

/// A shared secret with its name and algorithm.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: Box<[u8]>,
    /// The shortest MAC that is taken, octets.
    shortest: usize,
    hmac: hmac::Key,
}

impl Key {
    /// A key that takes whole MACs only. None without a secret.
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Option<Key> {
        let hash = match algorithm {
            Algorithm::HmacSha256 => hmac::HMAC_SHA256,
            Algorithm::HmacSha384 => hmac::HMAC_SHA384,
            Algorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        (!secret.is_empty()).then(|| Key {
            name: name.to_lowercase(),
            algorithm,
            secret: secret.into(),
            shortest: algorithm.mac_length(),
            hmac: hmac::Key::new(hash, secret),
        })
    }

    /// The same, taking MACs from so many octets on; none where that is shorter than may be, or longer than there are.
    pub fn taking(self, shortest: usize) -> Option<Key> {
        let may_be = self.algorithm.mac_least()..=self.algorithm.mac_length();
        may_be.contains(&shortest).then_some(Key { shortest, ..self })
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn takes(&self, mac: &[u8]) -> bool {
        mac.len() >= self.shortest
    }

    pub(super) fn digest(&self) -> hmac::Context {
        hmac::Context::with_key(&self.hmac)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        let said = |key: &Key| (key.algorithm, key.shortest);
        self.name == other.name && said(self) == said(other) && is_equal(&self.secret, &other.secret)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key {}", self.algorithm, self.name)
    }
}

/// Whether octets are the same; the time that this takes does not tell where they differ.
pub(super) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |differing, (one, other)| differing | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differing) == 0
}

/// The keys that are known, each under its name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyring(Vec<Arc<Key>>);

impl Keyring {
    /// Of several keys with one name the first counts.
    pub fn new(keys: impl IntoIterator<Item = Arc<Key>>) -> Keyring {
        let mut keys: Vec<Arc<Key>> = keys.into_iter().collect();
        keys.sort_by(|one, other| canonical_cmp(one.name.as_wire(), other.name.as_wire()));
        keys.dedup_by(|one, other| one.name == other.name);
        Keyring(keys)
    }

    /// The key of a name, in any case.
    pub fn get(&self, name: &Name) -> Option<&Arc<Key>> {
        let found = self.0.binary_search_by(|key| canonical_cmp(key.name.as_wire(), name.as_wire()));
        Some(&self.0[found.ok()?])
    }

    /// All keys in their names' canonical order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.0.iter()
    }
}

/// A MAC as it was sent.
#[derive(Clone, Copy)]
pub(super) struct Mac {
    octets: [u8; MAC_MAX],
    length: u8,
}

impl Mac {
    /// Of at most [`MAC_MAX`] octets; what a TSIG record holds is cut to that after it was looked at.
    pub(super) fn new(mac: &[u8]) -> Mac {
        let length = mac.len().min(MAC_MAX);
        let mut octets = [0; MAC_MAX];
        octets[..length].copy_from_slice(&mac[..length]);
        Mac { octets, length: length as u8 }
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}
