//! What is done at the CA and in a certificate's folder, and what it is a step of. Each may be done again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::dns::Name;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Say what lies in the folder, and finish what a crash left half done there.
    Look,
    /// Ask the CA when it wants the certificate to be replaced (RFC 9773).
    AskWindow {
        /// Which certificate (RFC 9773 section 4.1).
        ari_id: String,
    },
    /// Make an order (RFC 8555 section 7.4).
    Order {
        /// The identifiers.
        names: BTreeSet<Name>,
        /// What it replaces (RFC 9773 section 5).
        replaces: Option<String>,
        /// The CA's profile.
        profile: Option<String>,
    },
    /// Tell the CA that the proofs are there (RFC 8555 section 7.5.1).
    SayReady {
        /// The order.
        url: String,
    },
    /// Ask how the order stands.
    AskStatus {
        /// Which.
        url: String,
    },
    /// Send the request for the certificate. Its key is made before, where it isn't there.
    Finalize {
        /// The order.
        url: String,
        /// Its names.
        names: BTreeSet<Name>,
        /// With the key that lies there now; else the next one.
        reuse: bool,
    },
    /// Fetch the chain, and lay it down with the key that it is of. What it replaces stays at hand until it is revoked.
    Store {
        /// The order.
        url: String,
        /// The names that the certificate has to have.
        names: BTreeSet<Name>,
    },
    /// Make the next key, where there is none.
    MakeNextKey,
    /// Revoke a certificate (RFC 8555 section 7.6).
    Revoke {
        /// Its fingerprint.
        fingerprint: String,
        /// The reason's code (RFC 5280 section 5.3.1).
        reason: u8,
    },
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// [`Task::Look`].
    Look,
    /// [`Task::AskWindow`].
    Window,
    /// [`super::Action::AskCaa`]: it can't be told what CAA says.
    Caa,
    /// [`Task::Order`].
    Order,
    /// [`super::Action::Prove`].
    Prove,
    /// [`super::Action::AskNameservers`].
    Nameservers,
    /// [`Task::SayReady`].
    Ready,
    /// [`Task::AskStatus`].
    Status,
    /// [`Task::Finalize`].
    Finalize,
    /// [`Task::Store`].
    Store,
    /// [`Task::MakeNextKey`].
    NextKey,
    /// [`Task::Revoke`].
    Revoke,
}

impl Task {
    /// The step that it is.
    pub fn step(&self) -> Step {
        match self {
            Task::Look => Step::Look,
            Task::AskWindow { .. } => Step::Window,
            Task::Order { .. } => Step::Order,
            Task::SayReady { .. } => Step::Ready,
            Task::AskStatus { .. } => Step::Status,
            Task::Finalize { .. } => Step::Finalize,
            Task::Store { .. } => Step::Store,
            Task::MakeNextKey => Step::NextKey,
            Task::Revoke { .. } => Step::Revoke,
        }
    }
}
