//! What `explain` and `status` show of a TLSA owner: served or withheld and why, where each record comes from, how the
//! prerequisites stand, what the operator has to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dns::text::print_moment;
use crate::dns::{Name, Timestamp};

use super::prerequisites::{Assessment, Verdict};
use super::publication::Reason;
use super::tlsa::Tlsa;

/// The explanation of one TLSA owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The owner.
    pub owner: Name,
    /// The host that it speaks for.
    pub host: Name,
    /// The apex of the zone; none when it is not served here.
    pub zone: Option<Name>,
    /// Served or not.
    pub status: Status,
    /// Since when it is published, or not.
    pub since: Option<Timestamp>,
    /// When it will be looked at again though nothing changes.
    pub next: Option<Timestamp>,
    /// The records: those that are served, or would be.
    pub records: Vec<Record>,
    /// The verdicts for each mail domain.
    pub assessments: Vec<Assessment>,
    /// What is wrong.
    pub problems: Vec<String>,
    /// What is not as good as it could be.
    pub warnings: Vec<String>,
    /// What the operator has to do that no verdict says.
    pub todo: Vec<String>,
}

/// Whether an owner's TLSA is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "status")]
pub enum Status {
    /// Synthesised and served.
    Served(Reason),
    /// Nothing is served.
    Withheld(Reason),
    /// The zone file's own records are served as they stand.
    HandWritten {
        /// They don't match a current certificate.
        conflict: bool,
    },
    /// The zone file has a CNAME there.
    Alias {
        /// Its target.
        target: Name,
    },
    /// The zone of the host is not served here.
    NotOurs,
}

/// One record and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// The RDATA in presentation form.
    pub text: String,
    /// The certificates that it matches; none of a hand-written one.
    pub sources: Vec<Source>,
}

impl Record {
    /// A record of the zone file's.
    pub(super) fn hand_written(rdata: &[u8]) -> Record {
        let text = match Tlsa::from_rdata(rdata) {
            Some(tlsa) => tlsa.to_string(),
            None => format!("\\# {} {}", rdata.len(), data_encoding::HEXLOWER.encode(rdata)),
        };
        Record { text, sources: Vec::new() }
    }
}

/// A certificate that a record was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Source {
    /// The file.
    pub file: String,
    /// SHA-256 of the leaf.
    pub fingerprint: String,
    /// How it stands.
    #[serde(flatten)]
    pub status: SourceStatus,
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "certificate")]
pub enum SourceStatus {
    /// It is in its file.
    Current,
    /// Its file can't be used now; it is the last good one.
    Waiting,
    /// Its file is gone; it is the last good one.
    Gone,
    /// It is published ahead, and not installed yet.
    Next,
    /// Its key is published ahead; there is no certificate yet.
    NextKey,
    /// It was replaced, and may be presented or needed by caches still.
    Leaving,
    /// It was replaced.
    Old {
        /// When its record goes.
        until: Timestamp,
    },
}

impl Explanation {
    pub(super) fn new(owner: &Name, host: &Name, zone: Option<&Name>) -> Explanation {
        Explanation {
            owner: owner.clone(),
            host: host.clone(),
            zone: zone.cloned(),
            status: Status::NotOurs,
            since: None,
            next: None,
            records: Vec::new(),
            assessments: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            todo: Vec::new(),
        }
    }

    /// Everything that the operator has to do, each once: problems, then the help of what does not hold.
    pub fn to_do(&self) -> Vec<&str> {
        let findings = self.assessments.iter().flat_map(|assessment| &assessment.findings);
        let open = findings.filter(|finding| finding.required && finding.verdict != Verdict::Held);
        let mut lines: Vec<&str> = Vec::new();
        let all = self.problems.iter().chain(&self.todo).chain(open.map(|finding| &finding.help));
        for line in all.map(String::as_str) {
            if !line.is_empty() && !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::AllHeld => "every prerequisite holds",
            Reason::Kept => "published before, and no loss of what held before is proven",
            Reason::Losing { until } => {
                return write!(f, "a prerequisite is lost; withdrawn at {} if it stays so", print_moment(*until));
            }
            Reason::NotYet => "not all prerequisites hold yet",
            Reason::Lost => "withdrawn after the loss of a prerequisite",
            Reason::Disabled => "DANE is disabled in the configuration",
            Reason::WithdrawnByOperator => "withdrawn by the operator; `danelaw restore` brings it back",
            Reason::Presigned => "the zone is signed elsewhere, so nothing can be added to it here",
            Reason::NotPresented => "not every address is known to present the installed certificate yet",
            Reason::NoCertificate => "no certificate for the host, or no record can be made from it",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Served(reason) => write!(f, "served: {reason}"),
            Status::Withheld(reason) => write!(f, "withheld: {reason}"),
            Status::HandWritten { conflict: false } => f.write_str("served as the zone file has it"),
            Status::HandWritten { conflict: true } => {
                f.write_str("served as the zone file has it, in conflict with the certificate")
            }
            Status::Alias { target } => write!(f, "the zone file has a CNAME to {target} there"),
            Status::NotOurs => f.write_str("not ours to publish"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} TLSA: {}", self.owner, self.status)?;
        match (&self.status, self.since) {
            (Status::Served(_), Some(since)) => writeln!(f, "  served since {}", print_moment(since))?,
            (Status::Withheld(_), Some(since)) => writeln!(f, "  withheld since {}", print_moment(since))?,
            _ => {}
        }
        for record in &self.records {
            writeln!(f, "  {}", record.text)?;
            for source in &record.sources {
                let status = match source.status {
                    SourceStatus::Current => "current".to_owned(),
                    SourceStatus::Waiting => "file can't be used now; last good one".to_owned(),
                    SourceStatus::Gone => {
                        "file gone; last good one: `danelaw forget` if it is gone for good".to_owned()
                    }
                    SourceStatus::Next => "next, published ahead; not installed yet".to_owned(),
                    SourceStatus::NextKey => "the next key, published ahead; it has no certificate yet".to_owned(),
                    SourceStatus::Leaving => "old, stays until nothing needs it".to_owned(),
                    SourceStatus::Old { until } => format!("old, stays until {}", print_moment(until)),
                };
                writeln!(f, "    from {} ({status})", source.file)?;
            }
        }
        for assessment in &self.assessments {
            if let Some(domain) = &assessment.domain {
                writeln!(f, "  mail domain {domain}")?;
            }
            for finding in &assessment.findings {
                let verdict = match finding.verdict {
                    Verdict::Held => "held",
                    Verdict::Missing => "missing",
                    Verdict::Unknown => "unknown",
                };
                let optional = if finding.required { "" } else { " (optional)" };
                let since = print_moment(finding.since);
                writeln!(f, "    {}: {verdict}{optional} since {since}: {}", finding.prerequisite, finding.evidence)?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "  warning: {warning}")?;
        }
        for line in self.to_do() {
            writeln!(f, "  to do: {line}")?;
        }
        Ok(())
    }
}
