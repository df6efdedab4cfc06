//! What is asked of a CA and of a certificate's folder, as far as it is theirs to do.

use std::collections::BTreeSet;
use std::fmt;

use crate::acme::{self, Problem, Step};
use crate::dns::Name;

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
        names: BTreeSet<Name>,
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
        names: BTreeSet<Name>,
        /// Take the key of the certificate that is there.
        reuse: bool,
    },
    /// Fetch the chain, and lay it down with its key.
    Store {
        /// The order.
        url: String,
        /// The names that the certificate has to have.
        names: BTreeSet<Name>,
    },
    /// Lay down the key of the next certificate, unless it is there.
    MakeNextKey,
    /// Revoke a certificate (RFC 8555 section 7.6).
    Revoke {
        /// Its fingerprint.
        fingerprint: String,
        /// The reason's code (RFC 5280 section 5.3.1).
        reason: u8,
    },
}

impl Action {
    /// What of a machine's action is to be done here; none of what the keeper does. `names`: of the certificate.
    pub fn of(action: acme::Action, names: &BTreeSet<Name>) -> Option<Action> {
        use acme::Action as Asked;
        Some(match action {
            Asked::AskWindow { ari_id } => Action::AskWindow { ari_id },
            Asked::Order { names, replaces, profile } => Action::Order { names, replaces, profile },
            Asked::SayReady { url } => Action::SayReady { url },
            Asked::AskStatus { url } => Action::AskStatus { url },
            Asked::Finalize { url, names, reuse } => Action::Finalize { url, names, reuse },
            Asked::Store { url } => Action::Store { url, names: names.clone() },
            Asked::MakeNextKey => Action::MakeNextKey,
            Asked::Revoke { fingerprint, reason } => Action::Revoke { fingerprint, reason },
            Asked::AskCaa { .. } | Asked::Prove { .. } | Asked::AskNameservers { .. } => return None,
            Asked::Alarm(_) | Asked::Cleared(_) | Asked::Tell(_) => return None,
        })
    }

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

/// A problem that is no word of the CA.
pub(super) fn ours(detail: impl fmt::Display) -> Problem {
    Problem { detail: shown(&detail.to_string()), ..Problem::default() }
}

/// The most characters of what is told.
const SHOWN: usize = 600;

/// One line of bounded length: whatever a CA, or who stands in its place, has said.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
