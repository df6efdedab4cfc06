//! What is asked of a CA for a certificate, and what came of it.

use std::fmt;

use crate::dane::certificate::KeyType;
use crate::dns::{Name, Timestamp};

/// Which certificate: a host's, of one key type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The host.
    pub host: Name,
    /// ECDSA or RSA.
    pub key_type: KeyType,
}

/// What is to be done. Each may be done again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say what lies in the folder, and finish what a crash left half done there.
    Look,
    /// Ask when to renew (RFC 9773).
    AskWindow {
        /// The certificate's identifier (RFC 9773 section 4.1).
        ari_id: String,
    },
    /// Make an order (RFC 8555 section 7.4).
    Order {
        /// The names of the certificate.
        names: Vec<Name>,
        /// The identifier of the certificate that it replaces (RFC 9773 section 5).
        replaces: Option<String>,
        /// The CA's profile.
        profile: Option<String>,
    },
    /// Say that the proofs are there (RFC 8555 section 7.5.1).
    SayReady {
        /// The order.
        url: String,
    },
    /// Ask how far the order is.
    AskStatus {
        /// The order.
        url: String,
    },
    /// Send the request for the certificate, with the order's key.
    Finalize {
        /// The order.
        url: String,
        /// The names of the certificate.
        names: Vec<Name>,
        /// Take the key of the certificate that is there.
        reuse: bool,
    },
    /// Fetch the chain, and lay it down with its key.
    Store {
        /// The order.
        url: String,
        /// The names that the certificate has to have.
        names: Vec<Name>,
    },
    /// Lay down the key of the next certificate, unless it is there.
    MakeNextKey,
    /// Revoke a certificate (RFC 8555 section 7.6).
    Revoke {
        /// The certificate in DER.
        certificate: Vec<u8>,
        /// The reason's code (RFC 5280 section 5.3.1).
        reason: Option<u8>,
    },
}

/// What an action is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking at the folder.
    Look,
    /// The renewal window.
    Window,
    /// The order.
    Order,
    /// Validation.
    Ready,
    /// The order's status.
    Status,
    /// The request for the certificate.
    Finalize,
    /// The chain.
    Store,
    /// The next key.
    NextKey,
    /// Revocation.
    Revoke,
}

impl Action {
    /// The step that it is.
    pub fn step(&self) -> Step {
        match self {
            Action::Look => Step::Look,
            Action::AskWindow { .. } => Step::Window,
            Action::Order { .. } => Step::Order,
            Action::SayReady { .. } => Step::Ready,
            Action::AskStatus { .. } => Step::Status,
            Action::Finalize { .. } => Step::Finalize,
            Action::Store { .. } => Step::Store,
            Action::MakeNextKey => Step::NextKey,
            Action::Revoke { .. } => Step::Revoke,
        }
    }
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What lies in the folder.
    Held(Option<Held>),
    /// When to renew.
    Window {
        /// From then on.
        start: Timestamp,
        /// Until then.
        end: Timestamp,
        /// When to ask again.
        again: Timestamp,
        /// Where the CA explains it.
        explanation: Option<String>,
    },
    /// The CA names no window.
    NoWindow {
        /// When to ask again.
        again: Timestamp,
    },
    /// The order is there.
    Ordered {
        /// The order.
        url: String,
        /// What has to be in the zones; nothing for names that were proven before.
        proofs: Vec<Proof>,
    },
    /// How far the order is.
    Status(Status),
    /// The chain lies in the folder with its key.
    Stored(Held),
    /// The next key lies in the folder.
    NextKey,
    /// The certificate is revoked.
    Revoked,
    /// It failed.
    Failed {
        /// Which step.
        step: Step,
        /// Why.
        problem: Problem,
    },
}

/// A TXT record that proves a name (RFC 8555 section 8.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proof {
    /// The name without `*.`; the record is that of `_acme-challenge` below it.
    pub name: Name,
    /// The record's text.
    pub value: String,
}

/// An order's status (RFC 8555 section 7.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Names have to be proven.
    Pending,
    /// The CA waits for the request.
    Ready,
    /// The CA issues.
    Processing,
    /// The certificate is there.
    Valid,
    /// Nothing will come of it.
    Invalid(Problem),
}

/// A certificate that lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Seconds since 1970.
    pub not_before: Timestamp,
    /// Seconds since 1970.
    pub not_after: Timestamp,
    /// Its dNSNames in lower case, sorted.
    pub names: Vec<String>,
    /// SHA-256 of its DER in lower-case hex.
    pub fingerprint: String,
    /// Its identifier (RFC 9773 section 4.1); none where it names no key of its issuer.
    pub ari_id: Option<String>,
}

/// Why something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The type in RFC 8555 section 6.7 without its prefix; none where it is no word of the CA.
    pub kind: Option<String>,
    /// For people, in one line.
    pub detail: String,
    /// The CA wants to be asked no sooner.
    pub retry_after: Option<Timestamp>,
    /// The time that the CA's last answer named.
    pub ca_time: Option<Timestamp>,
}

impl Problem {
    /// A problem that is no word of the CA.
    pub(super) fn ours(detail: impl fmt::Display) -> Problem {
        Problem { detail: shown(&detail.to_string()), ..Problem::default() }
    }

    /// Whether it is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Some(kind) => write!(f, "{kind}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

/// The most characters of what is told.
const SHOWN: usize = 600;

/// One line of bounded length: whatever a CA, or who stands in its place, has said.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
