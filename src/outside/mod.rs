//! What the outside world sees of a mail domain, judged: the chain of trust, the delegation, the nameservers, the mail servers with what
//! they present, and what stands beside it (SPF, DMARC, MTA-STS, reports). Each fault has a name, evidence, and who has to do what.
//!
//! Pure: what was seen is handed in ([`Seen`]), and what comes out are [`Check`]s. Who looked, and how, is the edge's.

pub mod absent;
pub mod addressed;
pub mod caa;
pub mod chain;
pub mod denial;
pub mod dmarc;
pub mod domain;
mod fault;
pub mod host;
pub mod neighbours;
mod presented;
pub mod reports;
mod service;
pub mod sts;
pub mod watched;
pub mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dane::Service;
use crate::dns::{Name, Timestamp};

pub use fault::{Area, Fault, Level};

/// Seconds for which what senders have reported is shown: they report once a day.
const REPORTED: u64 = 7 * 86_400;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What it is about.
    pub area: Area,
    /// Which one: a zone, a host, a server with its address.
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// What is wrong; none when all is well.
    pub fault: Option<Fault>,
    /// What that rests on.
    pub evidence: String,
    /// Who has to do what; empty when nobody.
    pub help: String,
}

impl Check {
    /// All is well.
    pub fn ok(area: Area, subject: impl fmt::Display, evidence: impl Into<String>) -> Check {
        let (subject, evidence) = (subject.to_string(), evidence.into());
        Check { area, subject, level: Level::Ok, fault: None, evidence, help: String::new() }
    }

    /// It can't be told.
    pub fn unknown(
        area: Area,
        subject: impl fmt::Display,
        evidence: impl Into<String>,
        help: impl Into<String>,
    ) -> Check {
        let (subject, evidence, help) = (subject.to_string(), evidence.into(), help.into());
        Check { area, subject, level: Level::Unknown, fault: None, evidence, help }
    }

    /// Something is wrong.
    pub fn fault(
        fault: Fault,
        subject: impl fmt::Display,
        evidence: impl Into<String>,
        help: impl Into<String>,
    ) -> Check {
        let (subject, evidence, help) = (subject.to_string(), evidence.into(), help.into());
        Check { area: fault.area(), subject, level: fault.level(), fault: Some(fault), evidence, help }
    }
}

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A zone.
    Zone(Name),
    /// A mail domain.
    Domain(Name),
    /// A mail server, or another host with services.
    Host(Name),
    /// The folder with what senders report.
    Reports(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Zone(name) => write!(f, "zone {name}"),
            Subject::Domain(name) => write!(f, "domain {name}"),
            Subject::Host(name) => write!(f, "host {name}"),
            Subject::Reports(folder) => write!(f, "reports in {folder}"),
        }
    }
}

/// Something to look at, and what it is to be held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A zone.
    Zone {
        /// Its apex.
        apex: Name,
        /// The owners whose TLSA each nameserver is asked for.
        owners: Vec<Name>,
        /// What the primary has.
        expected: zone::Expected,
    },
    /// A mail domain.
    Domain {
        /// The domain.
        domain: Name,
        /// The owners of its DKIM keys; none: nobody knows them.
        selectors: Option<Vec<Name>>,
    },
    /// A host.
    Host {
        /// The host.
        host: Name,
        /// Whose mail goes there; where none does, those whose SRV records may name its services.
        domains: Vec<Name>,
        /// What it is asked for.
        services: Vec<Service>,
        /// Of owners whose TLSA is out since a short while: until when caches may hold that there was none.
        absent_until: BTreeMap<Name, Timestamp>,
    },
    /// What senders report.
    Reports {
        /// The folder.
        folder: PathBuf,
        /// Of these mail domains and hosts.
        domains: BTreeSet<Name>,
    },
}

impl Wanted {
    /// When something that was forgiven is forgiven no more.
    fn over(&self, now: Timestamp) -> Option<Timestamp> {
        let Wanted::Host { absent_until, .. } = self else { return None };
        absent_until.values().copied().filter(|until| *until > now).min()
    }

    /// What it is.
    pub fn subject(&self) -> Subject {
        match self {
            Wanted::Zone { apex, .. } => Subject::Zone(apex.clone()),
            Wanted::Domain { domain, .. } => Subject::Domain(domain.clone()),
            Wanted::Host { host, .. } => Subject::Host(host.clone()),
            Wanted::Reports { folder, .. } => Subject::Reports(folder.display().to_string()),
        }
    }
}

/// What was seen of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Of a zone.
    Zone(Box<zone::Seen>),
    /// Of a mail domain.
    Domain(Box<domain::Seen>),
    /// Of a host.
    Host(host::Seen),
    /// What senders report.
    Reports(reports::Seen),
}

/// All that is to be said of what was seen; of something else than was wanted, nothing.
pub fn judge(wanted: &Wanted, seen: &Seen, now: Timestamp) -> Vec<Check> {
    match (wanted, seen) {
        (Wanted::Zone { apex, expected, .. }, Seen::Zone(seen)) => zone::judge(apex, expected, seen, now),
        (Wanted::Domain { domain, .. }, Seen::Domain(seen)) => domain::judge(domain, seen),
        (Wanted::Host { host, domains, absent_until, .. }, Seen::Host(seen)) => {
            let checks = host::judge(host, domains, seen, now).into_iter();
            let checks = checks.map(|check| absent::forgiven(absent_until, check, now));
            checks.map(|check| addressed::addressed(host, domains, check)).collect()
        }
        (Wanted::Reports { domains, .. }, Seen::Reports(seen)) => {
            reports::judge(&seen.reports, &seen.unreadable, domains, now.saturating_sub(REPORTED))
        }
        _ => Vec::new(),
    }
}

/// How many are of each level, the worst first, in words.
pub fn tally(count: impl Fn(Level) -> usize) -> String {
    let counts = Level::WORST_FIRST.map(|level| (count(level), level));
    let there = counts.iter().filter(|(count, _)| *count > 0).map(|(count, level)| format!("{count} {level}"));
    there.collect::<Vec<_>>().join(", ")
}

/// The worst of several checks.
pub fn worst(checks: &[Check]) -> Level {
    checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok)
}

/// Why something that was asked gave no answer: what that is called, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong.
    pub fault: Fault,
    /// Why, for people.
    pub why: String,
}

impl Failure {
    /// Nothing of a subject can be validated from here: the one thing to say of it.
    pub fn check(&self, subject: impl fmt::Display) -> Check {
        Check::fault(self.fault, subject, format!("it can't be looked at: {}", self.why), TO_REACH)
    }
}

/// What to do where nothing can be validated from here.
const TO_REACH: &str = "see that a resolver is reached from here, or name one in `[outside] resolver`";

/// How validating resolvers take an answer (RFC 4035 section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The chain of trust leads there.
    Secure,
    /// It is said to end above. Without any key of the zone somebody on the way can have that said.
    Insecure,
    /// It should lead there, and does not.
    Bogus,
    /// It can't be told; why.
    Unknown(String),
}

/// The answer to one question to a validating resolver; with nothing in it, how far it is trusted that there is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup<T> {
    /// How far it is trusted.
    pub trust: Trust,
    /// The records of the name asked for or of what it is an alias of.
    pub found: Vec<T>,
    /// The last name of the aliases that were followed; none without an alias.
    pub alias: Option<Name>,
    /// The longest TTL of the records, in seconds.
    pub ttl: u32,
}

impl<T> Lookup<T> {
    /// There is nothing, as far as that is trusted.
    pub fn nothing(trust: Trust) -> Lookup<T> {
        Lookup { trust, found: Vec::new(), alias: None, ttl: 0 }
    }

    /// Why nothing can be said; none where something can.
    pub fn unknown(&self) -> Option<&str> {
        match &self.trust {
            Trust::Unknown(why) => Some(why),
            Trust::Bogus => Some("resolvers take the answer for bogus"),
            Trust::Secure | Trust::Insecure => None,
        }
    }
}

/// The first of them, and how many more there are.
fn few(items: &[String]) -> String {
    const LISTED: usize = 3;
    let listed = items[..items.len().min(LISTED)].join(", ");
    match items.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests;
