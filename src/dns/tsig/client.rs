//! The client's side: signs a request, and checks the response or the stream of responses to it (RFC 8945 sections 5.1, 5.3.1 and 5.4).

use std::sync::Arc;

use ring::hmac;

use super::FUDGE;
use super::key::{Key, Mac};
use super::record::{self, Fault, Said, digest_after, find};
use crate::dns::Timestamp;

/// So many messages of a stream may be unsigned between two that are signed (RFC 8945 section 5.3.1).
const UNSIGNED_MAX: u32 = 99;

/// Signs a request, which is the first `length` octets of `out` and final but for this. Gives its length with the TSIG record, and what
/// its responses are checked with. None, with nothing changed, where `out` has no room for it.
pub fn sign_request(key: &Arc<Key>, out: &mut [u8], length: usize, now: Timestamp) -> Option<(usize, Responses)> {
    let (name, algorithm) = (key.name().as_wire(), key.algorithm().as_wire());
    let said = Said { name, algorithm, signed: now, fudge: FUDGE, error: 0, other: &[] };
    let mut digest = key.digest();
    digest.update(out.get(..length)?);
    said.digest_variables(&mut digest);
    let tag = digest.sign();
    let signed = said.write(out, length, tag.as_ref())?;
    let prior = Mac::new(tag.as_ref());
    Some((signed, Responses { key: Arc::clone(key), prior, is_first: true, pending: None, unsigned: 0 }))
}

/// Checks the responses to one request in their order.
#[derive(Clone)]
pub struct Responses {
    key: Arc<Key>,
    /// The MAC that the next one continues.
    prior: Mac,
    is_first: bool,
    /// The digest of unsigned messages since, which the next signed one vouches for.
    pending: Option<hmac::Context>,
    unsigned: u32,
}

/// What is known of a message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the server's, and all those before it are.
    Proven,
    /// It has no TSIG: a later message has to vouch for it.
    Pending,
}

/// Why a response is not believed. It is as if it had not come: another one may (RFC 8945 section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It can't be read, or its TSIG record is where it may not be.
    #[error("the response or its TSIG can't be read")]
    Malformed,
    /// The first message has no TSIG.
    #[error("the response is not signed")]
    Unsigned,
    /// A hundred messages in a row are not signed.
    #[error("more than {UNSIGNED_MAX} messages of the response in a row are not signed")]
    TooManyUnsigned,
    /// It is signed with another key.
    #[error("the response is signed with another key")]
    OtherKey,
    /// The MAC is not that of our key and request.
    #[error("the response's signature is wrong")]
    BadMac,
    /// The MAC is right, and shorter than is taken.
    #[error("the response's signature is shortened")]
    Truncated,
    /// It was signed too long ago, or in the future.
    #[error("the response was signed at another time: one of the clocks is wrong")]
    Time,
    /// The server does not know our key or our signature. It can't prove that it says so.
    #[error("the server answers {0}, unsigned: key or secret differ")]
    Refused(Fault),
    /// The server says so, and has proven to have the key. With the time of its clock, where that is what differs.
    #[error("the server answers {0}: its clock or its rules differ")]
    Declined(Fault, Option<Timestamp>),
}

impl Responses {
    /// The key of request and responses.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Whether the messages seen so far are all the server's. After the last one of a stream it has to be so.
    pub fn is_proven(&self) -> bool {
        !self.is_first && self.pending.is_none()
    }

    /// Checks the next message. After an error the state is as before: what is not believed has not come.
    pub fn verify(&mut self, message: &[u8], now: Timestamp) -> Result<Standing, Untrusted> {
        let found = find(message).map_err(|record::Malformed| Untrusted::Malformed)?;
        let Some(found) = found else { return self.take_unsigned(message) };
        let key = &*self.key;
        if !found.is_of(key) {
            return Err(Untrusted::OtherKey);
        }
        let fault = Fault::from_code(found.error);
        if let Some(fault) = fault.filter(|_| found.mac.is_empty()) {
            return Err(Untrusted::Refused(fault));
        }
        if !found.is_fit(key.algorithm()) {
            return Err(Untrusted::Malformed);
        }
        let mut digest = self.pending.clone().unwrap_or_else(|| digest_after(key, &self.prior));
        found.digest_message(message, &mut digest);
        let said = found.said(key);
        if self.is_first {
            said.digest_variables(&mut digest);
        } else {
            said.digest_timers(&mut digest);
        }
        if !found.matches(digest) {
            return Err(Untrusted::BadMac);
        }
        if let Some(fault) = fault {
            let time =
                found.other.try_into().map(|[a, b, c, d, e, f]: [u8; 6]| u64::from_be_bytes([0, 0, a, b, c, d, e, f]));
            return Err(Untrusted::Declined(fault, time.ok()));
        }
        if !found.is_timely(now) {
            return Err(Untrusted::Time);
        }
        if !key.takes(found.mac) {
            return Err(Untrusted::Truncated);
        }
        self.prior = Mac::new(found.mac);
        (self.is_first, self.pending, self.unsigned) = (false, None, 0);
        Ok(Standing::Proven)
    }

    fn take_unsigned(&mut self, message: &[u8]) -> Result<Standing, Untrusted> {
        if self.is_first {
            return Err(Untrusted::Unsigned);
        }
        if self.unsigned == UNSIGNED_MAX {
            return Err(Untrusted::TooManyUnsigned);
        }
        self.unsigned += 1;
        self.pending.get_or_insert_with(|| digest_after(&self.key, &self.prior)).update(message);
        Ok(Standing::Pending)
    }
}

impl std::fmt::Debug for Responses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Responses with {:?}, {} unsigned", self.key, self.unsigned)
    }
}
