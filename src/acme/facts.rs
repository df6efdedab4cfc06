//! What the machine is told, and what it asks for.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::tasks::{Step, Task};
use crate::dane::certificate::KeyType;
use crate::dns::{Name, NameError, Timestamp};

/// What a machine is of: the certificate of a host with one type of key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Id {
    /// The host that the certificate is called by; it need not be one of its names.
    pub host: Name,
    /// The type of its key.
    pub key_type: KeyType,
}

/// What is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The dNSNames; none: no certificate is wanted any more.
    pub names: BTreeSet<Name>,
    /// Renewals keep the key.
    pub reuse: bool,
    /// How many seconds a renewed certificate waits before it is installed, at most: 0 where its key's record is out and its
    /// issuer is not published.
    pub hold: u64,
    /// So many seconds before the last moment somebody is told.
    pub margin: u64,
    /// The profile at the CA.
    pub profile: Option<String>,
    /// The URL of the CA's directory.
    pub directory: String,
}

/// What lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Held {
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last.
    pub not_after: Timestamp,
    /// Its dNSNames.
    pub names: BTreeSet<Name>,
    /// The leaf's.
    pub fingerprint: String,
    /// What the CA knows it by in renewal information (RFC 9773 section 4.1); none: it can't be made.
    pub ari_id: Option<String>,
}

impl Problem {
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

impl Held {
    /// How long it is valid in all, in seconds.
    pub fn lifetime(&self) -> u64 {
        self.not_after.saturating_sub(self.not_before)
    }
}

/// A TXT that proves a name (RFC 8555 section 8.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Proof {
    /// The name to prove, without `*.`: the owner is `_acme-challenge` below it.
    pub name: Name,
    /// The TXT's only string.
    pub value: String,
}

/// A name without `*.`: what is proven of a wildcard (RFC 8555 section 7.1.4).
pub fn bare(name: &Name) -> Name {
    name.parent().filter(|_| name.labels().next() == Some(b"*")).unwrap_or_else(|| name.clone())
}

/// Where the proof of a name stands, which may be a wildcard; an error: that name would be too long.
pub fn proof_owner(name: &Name) -> Result<Name, NameError> {
    bare(name).prepend(b"_acme-challenge")
}

/// How an order stands at the CA (RFC 8555 section 7.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not every name is proven.
    Pending,
    /// It can be finalised.
    Ready,
    /// The certificate is being made.
    Processing,
    /// It is there.
    Valid,
    /// There is none and won't be.
    Invalid(Problem),
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Problem {
    /// The type of a problem document (RFC 8555 section 6.7) without `urn:ietf:params:acme:error:`; none: there was no such
    /// document.
    pub kind: Option<String>,
    /// The CA's words, or those of whoever saw it fail.
    pub detail: String,
    /// Not before then, by the clock here.
    pub retry_after: Option<Timestamp>,
    /// What the CA's clock said.
    pub ca_time: Option<Timestamp>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon has started: whatever was asked for may be lost. Come then: settings, and what lies in the folder, which is
    /// asked for. Nothing else is before.
    Started,
    /// Time has gone by.
    Tick,
    /// The configuration.
    Settings(Settings),
    /// What lies in the folder.
    Held(Option<Held>),
    /// When the CA wants a certificate to be replaced (RFC 9773 section 4.2).
    Window {
        /// Which certificate.
        ari_id: String,
        /// From.
        start: Timestamp,
        /// To.
        end: Timestamp,
        /// When to ask again.
        again: Timestamp,
        /// A page that says why.
        explanation: Option<String>,
    },
    /// The CA does not say such things.
    NoWindow {
        /// Of which certificate.
        ari_id: String,
        /// When to ask again.
        again: Timestamp,
    },
    /// Whether CAA lets the CA issue (RFC 8659); if not, what to do: the record to add, as a rule.
    MayIssue(Result<(), String>),
    /// A name's proof can stand nowhere, or it can't be told where.
    Unprovable {
        /// Why, and what to do.
        why: String,
        /// It may pass by itself.
        passes: bool,
    },
    /// [`Task::Order`] was not done: another order of the host is open, and a CA may take both for the same one.
    Waits {
        /// What it waits for.
        why: String,
    },
    /// There is an order.
    Ordered {
        /// Its URL.
        url: String,
        /// What is to be proven still.
        proofs: Vec<Proof>,
    },
    /// Every nameserver of every zone shows every proof.
    Shown {
        /// The proofs that were asked for.
        proofs: Vec<Proof>,
    },
    /// One does not.
    NotShown {
        /// Who, and what it shows.
        why: String,
    },
    /// How the order stands: answers [`Task::SayReady`], [`Task::AskStatus`] and [`Task::Finalize`].
    Status {
        /// The order.
        url: String,
        /// How.
        status: Status,
    },
    /// The chain lies in the folder, with its key.
    Stored(Held),
    /// The next key lies in the folder.
    NextKey,
    /// The CA has revoked a certificate.
    Revoked {
        /// Its fingerprint.
        fingerprint: String,
    },
    /// It has not.
    NotRevoked {
        /// Its fingerprint.
        fingerprint: String,
        /// Why.
        problem: Problem,
    },
    /// An action failed, other than [`Task::Revoke`].
    Failed {
        /// Which.
        step: Step,
        /// Why.
        problem: Problem,
    },
    /// The operator: order now.
    Order,
    /// The operator: give up what is under way.
    Cancel,
    /// The operator: take the next key now.
    Rotate {
        /// And revoke what it replaces, for this reason (RFC 5280 section 5.3.1); none: nothing is, but for what was to be
        /// before.
        reason: Option<u8>,
    },
}

/// What is to be done. The state must be stored before. Each but [`Action::Prove`] and the last three is answered by an event,
/// [`Event::Failed`] and [`Event::NotRevoked`] among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// At the CA, or in the certificate's folder.
    Do(Task),
    /// Look whether CAA lets the CA issue, and whether every name can be proven.
    AskCaa {
        /// For which names.
        names: BTreeSet<Name>,
    },
    /// Exactly these TXT stand in the zones, as far as this certificate is concerned.
    Prove {
        /// They; empty: none.
        proofs: Vec<Proof>,
    },
    /// Ask every nameserver of every zone, itself and not a cache.
    AskNameservers {
        /// For these.
        proofs: Vec<Proof>,
    },
    /// Something is wrong from now on.
    Alarm(Alarm),
    /// It no longer is.
    Cleared(Alarm),
    /// Something to tell; not told again after a crash.
    Tell(Notice),
}

/// Something that is wrong and stays so until it is cleared. Of each kind there is one at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alarm {
    /// The certificate expires so soon that a renewed one may not be installed in time.
    Late,
    /// It has expired.
    Expired,
    /// CAA forbids it: what to do.
    Caa(String),
    /// A nameserver does not show the proofs: who, and what it shows.
    NotShown(String),
    /// It fails again and again: what is wrong and what to do.
    Failing(String),
    /// It fails until the operator mends it: what is wrong and what to do.
    Needed(String),
    /// A certificate that is new is to be renewed already. The next order waits for a day and longer.
    FreshIsDue,
    /// The CA's clock is ahead of the one here by so many seconds.
    Clock(i64),
    /// The hold does not fit into the certificate's life: why.
    HoldTooLong(String),
    /// The old certificate could not be revoked: why.
    NotRevoked(String),
}

/// Why a certificate is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// There is none.
    First,
    /// It is time.
    Due,
    /// It is for other names.
    Names,
    /// It is another CA's.
    Directory,
    /// The operator said so.
    Word,
    /// The operator wants another key.
    Rotation,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// A certificate is being ordered.
    Begun(Why),
    /// It lies in the folder.
    Stored {
        /// Why it was ordered.
        why: Why,
        /// When it expires.
        not_after: Timestamp,
    },
    /// An order came to nothing; there will be another one.
    Failed(String),
    /// The CA wants the certificate to be replaced sooner than it would have been: at a page it may say why.
    Sooner(Option<String>),
    /// A certificate is revoked: its fingerprint.
    Revoked(String),
    /// What was under way was given up.
    GivenUp,
    /// The operator's word can't be followed now.
    Refused(String),
}
