//! The prerequisites of a TLSA at an MX host: mail service, DKIM, MX, DNSSEC. Each is held, missing or unknown, with its
//! evidence and what the operator has to do. Unknown is never missing.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dns::{Name, RRset, Rtype, Timestamp};

/// What the zones say that are served: before synthesised records and signatures are put in.
pub trait Served {
    /// The apex of the served zone that is authoritative for `name`; none outside our zones, at or below a zone
    /// cut, and below a DNAME: what is put there would not be answered.
    fn zone_of(&self, name: &Name) -> Option<Name>;
    /// The RRset of exactly this owner and type, as the zone file has it: no wildcard expanded, no CNAME followed.
    fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<RRset>;
    /// Whether the zone goes out signed.
    fn signed(&self, apex: &Name) -> SignedState;
    /// Whether every zone that is ours has a good version: of one that has none nobody knows what is in it.
    fn is_whole(&self) -> bool {
        true
    }
    /// Whether the zone was signed elsewhere, so that nothing can be put into it.
    fn is_presigned(&self, apex: &Name) -> bool {
        let _ = apex;
        false
    }
    /// The owners at or below `name` that have records, in canonical order.
    fn owners_below(&self, name: &Name) -> Vec<Name>;
    /// The owners of an MX RRset in all served zones, in canonical order.
    fn mail_domains(&self) -> Vec<Name>;
    /// The owner as its zone has it, where it is one of [`Served::mail_domains`].
    fn mail_domain(&self, name: &Name) -> Option<Name>;
    /// Whether the TLSA that was decided last for an owner is not what is served: its zone could not be published.
    fn lags(&self, owner: &Name) -> bool {
        let _ = owner;
        false
    }
    /// Whether resolvers trust a zone, by the DS at its parent.
    fn parent(&self, apex: &Name) -> Fact {
        let _ = apex;
        Fact::not_checked("nobody looks at it from outside")
    }
    /// A mail domain as resolvers see it, for what of it is in no zone that is served here.
    fn resolved(&self, domain: &Name) -> Resolved {
        let _ = domain;
        Resolved::unseen("nobody looks at it from outside")
    }
    /// What is known of the SMTP service of a host. Only hosts whose certificates are installed here are asked.
    fn probed(&self, host: &Name) -> Fact {
        let _ = host;
        Fact::not_checked("only mail servers whose certificate danelaw installs are asked")
    }
}

/// A mail domain as resolvers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What its MX names, a null MX's root too; or why that can't be told.
    pub mx: Result<Vec<Name>, String>,
    /// Whether the chain of trust leads to its MX.
    pub dnssec: Fact,
    /// Whether it has a usable DKIM key.
    pub dkim: Fact,
}

impl Resolved {
    /// Nothing is known of it; why.
    pub fn unseen(why: &str) -> Resolved {
        let fact = || Fact::not_checked(why);
        Resolved { mx: Err(format!("not checked: {why}")), dnssec: fact(), dkim: fact() }
    }
}

/// Whether a zone is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedState {
    /// With current signatures.
    Signed,
    /// It isn't, by configuration.
    Unsigned,
    /// It is, and its parent, which is served here too, says otherwise: validators take it for bogus. What is wrong, what to do.
    Contradicted(String, String),
    /// It should be; why it can't be told or done now.
    Unknown(String),
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The verdict.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: String,
    /// What the operator has to do; empty when nothing.
    pub help: String,
}

impl Fact {
    /// By its parts.
    pub fn new(verdict: Verdict, evidence: impl Into<String>, help: impl Into<String>) -> Fact {
        Fact { verdict, evidence: evidence.into(), help: help.into() }
    }

    /// It holds.
    pub fn held(evidence: impl Into<String>) -> Fact {
        Fact::new(Verdict::Held, evidence, "")
    }

    /// It can't be told.
    pub fn unknown(evidence: impl Into<String>, help: impl Into<String>) -> Fact {
        Fact::new(Verdict::Unknown, evidence, help)
    }

    /// Unknown, since nobody looked.
    pub fn not_checked(evidence: impl Into<String>) -> Fact {
        Fact::new(Verdict::Unknown, format!("not checked: {}", evidence.into()), "")
    }
}

/// How a prerequisite stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It holds.
    Held,
    /// It is proven not to hold.
    Missing,
    /// It can't be told. Changes nothing where TLSA is published; withholds a first publication.
    Unknown,
}

/// The four prerequisites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prerequisite {
    /// Somebody takes mail there, with STARTTLS.
    MailService,
    /// The domain has a usable DKIM key.
    Dkim,
    /// The domain's MX leads to this server.
    Mx,
    /// The host's zone is signed.
    Dnssec,
    /// The host has records: asked of services that are not an MX.
    Host,
}

impl fmt::Display for Prerequisite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Prerequisite::MailService => "mail service",
            Prerequisite::Dkim => "DKIM",
            Prerequisite::Mx => "MX",
            Prerequisite::Dnssec => "DNSSEC",
            Prerequisite::Host => "host",
        })
    }
}

/// A prerequisite at one grade: what a verdict is about. A loss counts only of a gate that has held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// Mail service, declared by the operator.
    MailServiceDeclared,
    /// Mail service, seen from outside.
    MailServiceProbed,
    /// DKIM.
    Dkim,
    /// DKIM of a domain whose zone is served elsewhere.
    DkimElsewhere,
    /// MX.
    Mx,
    /// MX of a domain whose zone is served elsewhere.
    MxElsewhere,
    /// DNSSEC, signed by us.
    DnssecZone,
    /// DNSSEC, the parent's DS included.
    DnssecParent,
    /// The host has records of its own.
    Host,
}

impl Gate {
    /// The prerequisite that it is a grade of.
    pub fn prerequisite(self) -> Prerequisite {
        match self {
            Gate::MailServiceDeclared | Gate::MailServiceProbed => Prerequisite::MailService,
            Gate::Dkim | Gate::DkimElsewhere => Prerequisite::Dkim,
            Gate::Mx | Gate::MxElsewhere => Prerequisite::Mx,
            Gate::DnssecZone | Gate::DnssecParent => Prerequisite::Dnssec,
            Gate::Host => Prerequisite::Host,
        }
    }

    /// Whether its loss withdraws what was published. What comes through a resolver may be an attacker's word, whatever it validates by;
    /// and where it is true, TLSA does no harm: nobody looks at it (RFC 7672 section 2.2).
    fn takes_back(self) -> bool {
        !matches!(self, Gate::DnssecParent | Gate::MxElsewhere | Gate::DkimElsewhere)
    }

    /// The weaker gate that holds wherever this one does.
    fn implies(self) -> Option<Gate> {
        match self {
            Gate::MailServiceProbed => Some(Gate::MailServiceDeclared),
            Gate::DnssecParent => Some(Gate::DnssecZone),
            Gate::DkimElsewhere => Some(Gate::Dkim),
            Gate::MxElsewhere => Some(Gate::Mx),
            _ => None,
        }
    }
}

/// One verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What it is about.
    pub prerequisite: Prerequisite,
    /// At which grade.
    pub gate: Gate,
    /// How it stands.
    pub verdict: Verdict,
    /// False where the policy makes it optional.
    pub required: bool,
    /// What the verdict rests on.
    pub evidence: String,
    /// Since when it stands so.
    pub since: Timestamp,
    /// What the operator has to do; empty when nothing.
    pub help: String,
}

impl Finding {
    pub(super) fn new(gate: Gate, required: bool, fact: Fact, now: Timestamp) -> Finding {
        let Fact { verdict, evidence, help } = fact;
        Finding { prerequisite: gate.prerequisite(), gate, verdict, required, evidence, since: now, help }
    }
}

/// The verdicts of one (mail domain, MX host); without a domain, of a service that is not an MX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Assessment {
    /// The owner of the MX.
    pub domain: Option<Name>,
    /// The host.
    pub host: Name,
    /// One for each prerequisite.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// Held when every required one is; missing when one of them is; otherwise unknown.
    pub fn verdict(&self) -> Verdict {
        let required = || self.findings.iter().filter(|finding| finding.required);
        if required().any(|finding| finding.verdict == Verdict::Missing) {
            Verdict::Missing
        } else if required().all(|finding| finding.verdict == Verdict::Held) {
            Verdict::Held
        } else {
            Verdict::Unknown
        }
    }
}

/// What the assessments of a host come to, for [`super::publication::step`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// At least one domain qualifies.
    pub qualified: bool,
    /// Gates that hold for some domain, the weaker grades that they imply included.
    pub held: BTreeSet<Gate>,
    /// For each domain the required gates that are missing.
    pub missing: Vec<BTreeSet<Gate>>,
    /// Some zone here has no good version: a domain in it may name the host.
    pub is_partial: bool,
}

impl Readiness {
    /// Sums up. No assessment at all means that no domain has the host as its MX. `is_partial`: as far as the zones can be read.
    pub fn of(assessments: &[Assessment], is_partial: bool) -> Readiness {
        if assessments.is_empty() {
            return Readiness { missing: vec![BTreeSet::from([Gate::Mx])], is_partial, ..Readiness::default() };
        }
        let gates = |assessment: &Assessment, verdict| -> BTreeSet<Gate> {
            let wanted = |finding: &&Finding| finding.required && finding.verdict == verdict;
            assessment.findings.iter().filter(wanted).map(|finding| finding.gate).collect()
        };
        let held = assessments.iter().flat_map(|assessment| gates(assessment, Verdict::Held));
        Readiness {
            qualified: assessments.iter().any(|assessment| assessment.verdict() == Verdict::Held),
            held: held.flat_map(|gate| [Some(gate), gate.implies()]).flatten().collect(),
            missing: assessments.iter().map(|assessment| gates(assessment, Verdict::Missing)).collect(),
            is_partial,
        }
    }

    /// Whether it is a proven loss for a host whose `proven` gates have held before: no domain is left that lacks
    /// nothing of them. A gate that never held, as after a change to a stronger grade, is no loss; nor is one that takes nothing back.
    pub fn is_loss(&self, proven: &BTreeSet<Gate>) -> bool {
        let is_lost = |gate: &Gate| gate.takes_back() && proven.contains(gate);
        !self.is_partial && !self.qualified && self.missing.iter().all(|missing| missing.iter().any(is_lost))
    }
}
