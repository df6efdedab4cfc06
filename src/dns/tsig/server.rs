//! The server's side: is a request signed with a key that we know, and the signatures of what it is answered with.

use std::sync::Arc;

use super::FUDGE;
use super::key::{Key, Keyring, Mac};
use super::record::{self, Fault, Found, Said, digest_after, find};
use crate::dns::header::Rcode;
use crate::dns::{Name, Timestamp};

/// What a request's TSIG says.
#[derive(Debug)]
pub enum Checked {
    /// It has none.
    Unsigned,
    /// It comes from who has this key; what it is answered with has to be signed by this.
    Good(Signer),
    /// It is not to be believed, and so not to be done.
    Bad(Rejection),
}

/// Checks a request in the order of RFC 8945 section 5.2: key, MAC, time, truncation.
pub fn verify(message: &[u8], keyring: &Keyring, now: Timestamp) -> Checked {
    let found = match find(message) {
        Ok(None) => return Checked::Unsigned,
        Ok(Some(found)) => found,
        Err(record::Malformed) => return Checked::Bad(Rejection::malformed(None)),
    };
    let Some(key) = keyring.get(&found.name).filter(|key| found.is_of(key)) else {
        return Checked::Bad(Rejection::unsigned(found, Fault::BadKey));
    };
    if !found.is_fit(key.algorithm()) {
        return Checked::Bad(Rejection::malformed(Some(found.name)));
    }
    let mut digest = key.digest();
    found.digest_message(message, &mut digest);
    found.said(key).digest_variables(&mut digest);
    if !found.matches(digest) {
        return Checked::Bad(Rejection::unsigned(found, Fault::BadSig));
    }
    let signer = Signer {
        key: Arc::clone(key),
        prior: Mac::new(found.mac),
        is_first: true,
        good_until: found.signed.saturating_add(found.fudge.into()),
    };
    if !found.is_timely(now) {
        return Checked::Bad(Rejection::signed(&found, signer, Fault::BadTime));
    }
    if !key.takes(found.mac) {
        return Checked::Bad(Rejection::signed(&found, signer, Fault::BadTrunc));
    }
    Checked::Good(signer)
}

/// Signs the messages that a request is answered with, one after the other: each continues the MAC of the one before.
#[derive(Clone)]
pub struct Signer {
    key: Arc<Key>,
    /// The MAC that the next one continues: the request's, then that of the message before.
    prior: Mac,
    is_first: bool,
    good_until: Timestamp,
}

impl Signer {
    /// The key that the request was signed with, and so who asks.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// The MAC that the next message continues: before the first, the request's. No two requests have the same.
    pub fn prior(&self) -> &[u8] {
        self.prior.octets()
    }

    /// The last second at which the request is good, by its own words.
    pub fn good_until(&self) -> Timestamp {
        self.good_until
    }

    /// How many octets [`Signer::sign`] adds to each message.
    pub fn added(&self) -> usize {
        let algorithm = self.key.algorithm();
        record::length(self.key.name().as_wire(), algorithm.as_wire(), algorithm.mac_length(), 0)
    }

    /// Signs the next message, which is the first `length` octets of `out` and final but for this; gives its length with the TSIG record.
    /// None, with nothing changed, where `out` has no room for it.
    pub fn sign(&mut self, out: &mut [u8], length: usize, now: Timestamp) -> Option<usize> {
        self.sign_saying(out, length, now, 0, &[])
    }

    fn sign_saying(&mut self, out: &mut [u8], length: usize, now: u64, error: u16, other: &[u8]) -> Option<usize> {
        let key = &*self.key;
        let (name, algorithm) = (key.name().as_wire(), key.algorithm().as_wire());
        let said = Said { name, algorithm, signed: now, fudge: FUDGE, error, other };
        let mut digest = digest_after(key, &self.prior);
        digest.update(out.get(..length)?);
        if self.is_first {
            said.digest_variables(&mut digest);
        } else {
            said.digest_timers(&mut digest);
        }
        let tag = digest.sign();
        let signed = said.write(out, length, tag.as_ref())?;
        self.prior = Mac::new(tag.as_ref());
        self.is_first = false;
        Some(signed)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer with {:?}", self.key)
    }
}

/// A request that is not believed, and how it is answered (RFC 8945 section 5.3.2).
#[derive(Debug)]
pub struct Rejection {
    fault: Fault,
    /// The key that the request names, where that could be read.
    name: Option<Name>,
    reply: Reply,
}

#[derive(Debug)]
enum Reply {
    /// Without TSIG.
    Bare,
    /// With a TSIG record that has no MAC: there is no key to make one with.
    Unsigned { algorithm: Name },
    /// Signed: at the client's time, so that it is believed, and with ours.
    Signed { signer: Signer, time: u64 },
}

impl Rejection {
    /// A request whose TSIG record is not where it has to be, or can't be read: FORMERR.
    pub const MALFORMED: Rejection = Rejection { fault: Fault::Malformed, name: None, reply: Reply::Bare };

    fn malformed(name: Option<Name>) -> Rejection {
        Rejection { fault: Fault::Malformed, name, reply: Reply::Bare }
    }

    fn unsigned(found: Found<'_>, fault: Fault) -> Rejection {
        match Name::from_wire(found.algorithm) {
            Ok(algorithm) => Rejection { fault, name: Some(found.name), reply: Reply::Unsigned { algorithm } },
            Err(_) => Rejection::malformed(Some(found.name)),
        }
    }

    fn signed(found: &Found<'_>, signer: Signer, fault: Fault) -> Rejection {
        Rejection { fault, name: Some(found.name.clone()), reply: Reply::Signed { signer, time: found.signed } }
    }

    /// What is wrong.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The key that the request names. Whoever it is, he has not proven to have it, but for a fault of time or truncation.
    pub fn key_name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The response's code.
    pub fn rcode(&self) -> Rcode {
        match self.fault {
            Fault::Malformed => Rcode::FormErr,
            _ => Rcode::NotAuth,
        }
    }

    /// How many octets [`Rejection::finish`] adds.
    pub fn added(&self) -> usize {
        match (&self.reply, &self.name) {
            (Reply::Signed { signer, .. }, _) => signer.added() + self.other(0).map_or(0, |other| other.len()),
            (Reply::Unsigned { algorithm }, Some(name)) => record::length(name.as_wire(), algorithm.as_wire(), 0, 0),
            _ => 0,
        }
    }

    /// BADTIME tells the server's time, 48 bits (section 5.2.3).
    fn other(&self, now: Timestamp) -> Option<[u8; 6]> {
        let [_, _, time @ ..] = now.to_be_bytes();
        (self.fault == Fault::BadTime).then_some(time)
    }

    /// Puts the TSIG record behind the error response, which is the first `length` octets of `out`; gives its length. None, with nothing
    /// changed, where `out` has no room for it.
    pub fn finish(self, out: &mut [u8], length: usize, now: Timestamp) -> Option<usize> {
        let other = self.other(now);
        let (error, other) = (self.fault as u16, other.as_ref().map_or(&[][..], |other| other));
        match (self.reply, &self.name) {
            (Reply::Signed { mut signer, time }, _) => {
                let signed = if self.fault == Fault::BadTime { time } else { now };
                signer.sign_saying(out, length, signed, error, other)
            }
            (Reply::Unsigned { algorithm }, Some(name)) => {
                let (name, algorithm) = (name.as_wire(), algorithm.as_wire());
                Said { name, algorithm, signed: now, fudge: FUDGE, error, other }.write(out, length, &[])
            }
            _ => Some(length),
        }
    }
}
