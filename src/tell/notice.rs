//! One thing that an operator should know: what, of what, since when, and what follows.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dns::Timestamp;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A rollover to another certificate has begun.
    RolloverBegun,
    /// A CA has issued a certificate.
    CertificateIssued,
    /// A certificate was installed.
    CertificateInstalled,
    /// A rollover is over: the old record is gone.
    RolloverFinished,
    /// A rollover is held by the operator's word.
    RolloverHeld,
    /// Something is wrong with a rollover or with what is presented.
    Alarm,
    /// It no longer is.
    AlarmCleared,
    /// Something is wrong with the order of a certificate of danelaw's own.
    CertificateAlarm,
    /// It no longer is.
    CertificateAlarmCleared,
    /// A prerequisite of a published TLSA is proven not to hold.
    PrerequisiteLost,
    /// It holds again.
    PrerequisiteRegained,
    /// A host's TLSA is published.
    TlsaPublished,
    /// It is withdrawn.
    TlsaWithdrawn,
    /// A certificate is about to expire.
    CertificateExpires,
    /// A zone's signatures are about to expire.
    SignatureExpires,
    /// A line of `danelaw status`.
    Problem,
    /// It is solved.
    ProblemSolved,
    /// `danelaw messages test`.
    Test,
}

/// What `on` chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Rollovers: begun, installed, finished, held.
    Rollover,
    /// Alarms, and their end.
    Alarm,
    /// Prerequisites lost and regained.
    Prerequisite,
    /// TLSA published and withdrawn.
    Tlsa,
    /// Certificates and signatures about to expire.
    Expiry,
    /// Every problem of `danelaw status`, and its solution.
    Problem,
}

impl Kind {
    /// The topic; none of what is told whatever is chosen.
    pub fn topic(self) -> Option<Topic> {
        Some(match self {
            Kind::CertificateIssued
            | Kind::RolloverBegun
            | Kind::CertificateInstalled
            | Kind::RolloverFinished
            | Kind::RolloverHeld => Topic::Rollover,
            Kind::Alarm | Kind::AlarmCleared | Kind::CertificateAlarm | Kind::CertificateAlarmCleared => Topic::Alarm,
            Kind::PrerequisiteLost | Kind::PrerequisiteRegained => Topic::Prerequisite,
            Kind::TlsaPublished | Kind::TlsaWithdrawn => Topic::Tlsa,
            Kind::CertificateExpires | Kind::SignatureExpires => Topic::Expiry,
            Kind::Problem | Kind::ProblemSolved => Topic::Problem,
            Kind::Test => return None,
        })
    }

    /// Whether somebody should look soon.
    pub fn is_urgent(self) -> bool {
        matches!(
            self,
            Kind::Alarm
                | Kind::CertificateAlarm
                | Kind::PrerequisiteLost
                | Kind::TlsaWithdrawn
                | Kind::SignatureExpires
        )
    }

    /// What undoes it: when one was told, the other may be told again.
    pub fn opposite(self) -> Option<Kind> {
        Some(match self {
            Kind::Alarm => Kind::AlarmCleared,
            Kind::AlarmCleared => Kind::Alarm,
            Kind::CertificateAlarm => Kind::CertificateAlarmCleared,
            Kind::CertificateAlarmCleared => Kind::CertificateAlarm,
            Kind::PrerequisiteLost => Kind::PrerequisiteRegained,
            Kind::PrerequisiteRegained => Kind::PrerequisiteLost,
            Kind::TlsaPublished => Kind::TlsaWithdrawn,
            Kind::TlsaWithdrawn => Kind::TlsaPublished,
            Kind::Problem => Kind::ProblemSolved,
            Kind::ProblemSolved => Kind::Problem,
            _ => return None,
        })
    }

    /// Whether a condition that is not among those that were looked at is over.
    pub(super) fn is_over_when_gone(self) -> bool {
        matches!(self, Kind::Problem | Kind::Alarm)
    }

    /// The event log's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::RolloverBegun => "rollover-begun",
            Kind::CertificateIssued => "certificate-issued",
            Kind::CertificateInstalled => "certificate-installed",
            Kind::RolloverFinished => "rollover-finished",
            Kind::RolloverHeld => "rollover-held",
            Kind::Alarm => "alarm",
            Kind::AlarmCleared => "alarm-cleared",
            Kind::CertificateAlarm => "certificate-alarm",
            Kind::CertificateAlarmCleared => "certificate-alarm-cleared",
            Kind::PrerequisiteLost => "prerequisite-lost",
            Kind::PrerequisiteRegained => "prerequisite-regained",
            Kind::TlsaPublished => "tlsa-published",
            Kind::TlsaWithdrawn => "tlsa-withdrawn",
            Kind::CertificateExpires => "certificate-expires",
            Kind::SignatureExpires => "signature-expires",
            Kind::Problem => "problem",
            Kind::ProblemSolved => "problem-solved",
            Kind::Test => "test",
        }
    }
}

/// One notice. It is the same as another when kind, subject and text are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Notice {
    /// Since when it is so.
    pub at: Timestamp,
    /// What kind.
    pub kind: Kind,
    /// Of what: a host or a zone, without final dot.
    pub subject: String,
    /// What exactly, in words that don't change while it is so; empty where the kind says it all.
    pub text: String,
    /// What it rests on, what danelaw does next, what to do, where that is more than the kind tells.
    #[serde(default)]
    pub detail: String,
    /// Whether it goes out soon.
    pub urgent: bool,
}

impl Notice {
    /// A notice, as urgent as its kind, with no detail.
    pub fn new(at: Timestamp, kind: Kind, subject: &str, text: &str) -> Notice {
        let (subject, text, detail) = (subject.to_owned(), text.to_owned(), String::new());
        Notice { at, kind, subject, text, detail, urgent: kind.is_urgent() }
    }

    /// The same with detail.
    pub fn with(self, detail: impl Into<String>) -> Notice {
        Notice { detail: detail.into(), ..self }
    }

    /// What says that it is over.
    pub(super) fn over(&self, now: Timestamp) -> Option<Notice> {
        Some(Notice::new(now, self.kind.opposite()?, &self.subject, &self.text))
    }

    pub(super) fn key(&self) -> String {
        self.key_as(self.kind)
    }

    /// What it is remembered by as if it were of another kind.
    pub(super) fn key_as(&self, kind: Kind) -> String {
        let hash = Sha256::digest([kind.word(), &self.subject, &self.text].join("\0"));
        data_encoding::HEXLOWER.encode(&hash[..12])
    }
}

/// Whether a condition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It can't be told: it stands if it did.
    Unknown,
}

/// Something that is so for a while, looked at again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What is told when it begins; when it ends, what is the opposite of its kind.
    pub notice: Notice,
    /// Whether it is so.
    pub stands: Stands,
}
