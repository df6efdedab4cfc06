//! A message: what a mail says, for somebody who was asleep, and what the webhook gets.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{Kind, Notice};
use crate::dns::Timestamp;
use crate::dns::text::print_moment;

/// The version of the webhook's JSON. Fields may be added without another one.
pub const VERSION: u32 = 1;

/// Notices that go out together. The webhook's JSON is this, and `host`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Message {
    /// The version of this shape.
    pub version: u32,
    /// The same on every try.
    pub id: String,
    /// When it was composed, in seconds since 1970.
    pub at: Timestamp,
    /// They, in the order in which they came.
    pub notices: Vec<Notice>,
    /// So many more are in the event log only.
    pub more: usize,
    /// So many notices before could not be delivered.
    pub undelivered: usize,
}

impl Message {
    /// How many notices it is about.
    pub fn count(&self) -> usize {
        self.notices.len() + self.more
    }

    /// A mail's subject. `host` is the machine that tells.
    pub fn subject(&self, host: &str) -> String {
        let first = self.notices.iter().find(|notice| notice.urgent).or(self.notices.first());
        let first = first.map(Notice::headline).unwrap_or_default();
        match self.count() {
            0 | 1 => format!("danelaw {host}: {first}"),
            count => format!("danelaw {host}: {count} notices: {first}"),
        }
    }

    /// A mail's text: the urgent notices first.
    pub fn body(&self, host: &str) -> String {
        let mut text = String::new();
        let urgent = self.notices.iter().filter(|notice| notice.urgent);
        for notice in urgent.chain(self.notices.iter().filter(|notice| !notice.urgent)) {
            let _ = writeln!(text, "{}\n  since {}", notice.headline(), print_moment(notice.at));
            for line in notice.detail.lines().chain(notice.kind.follows().lines()) {
                let _ = writeln!(text, "  {line}");
            }
            text.push('\n');
        }
        if self.more > 0 {
            let _ = writeln!(text, "and {} more: danelaw log\n", self.more);
        }
        if self.undelivered > 0 {
            let what = "notices before these could not be delivered for three days and were given up: danelaw log";
            let _ = writeln!(text, "{} {what}\n", self.undelivered);
        }
        let _ = writeln!(
            text,
            "How everything is now: `danelaw status` on {host}; why a host's TLSA is served or not: `danelaw explain HOST`."
        );
        text
    }
}

impl Notice {
    /// What happened, on one line.
    pub fn headline(&self) -> String {
        let what = self.kind.words();
        let line = match (&self.subject[..], &self.text[..]) {
            ("", "") => what.to_owned(),
            ("", text) => format!("{what}: {text}"),
            (subject, "") => format!("{subject}: {what}"),
            (subject, text) => format!("{subject}: {what}: {text}"),
        };
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::RolloverBegun => "rollover begun",
            Kind::CertificateIssued => "certificate",
            Kind::CertificateInstalled => "certificate installed",
            Kind::RolloverFinished => "rollover finished",
            Kind::RolloverHeld => "rollover held by the operator",
            Kind::Alarm | Kind::CertificateAlarm => "ALARM",
            Kind::AlarmCleared | Kind::CertificateAlarmCleared => "alarm over",
            Kind::PrerequisiteLost => "prerequisite lost",
            Kind::PrerequisiteRegained => "prerequisite holds again",
            Kind::TlsaPublished => "TLSA published",
            Kind::TlsaWithdrawn => "TLSA withdrawn",
            Kind::CertificateExpires => "certificate about to expire",
            Kind::SignatureExpires => "signatures about to expire",
            Kind::Problem => "problem",
            Kind::ProblemSolved => "problem solved",
            Kind::Test => "test message",
        }
    }

    /// What danelaw does next, and what is to be done.
    fn follows(self) -> &'static str {
        match self {
            Kind::RolloverBegun => {
                "danelaw publishes its record beside the old one where it is not out yet, waits until no cache can lack it,\n\
                 and installs the certificate then; `danelaw plan` shows when. Nothing to do."
            }
            Kind::CertificateIssued => {
                "danelaw installs it when no cache can lack its record: at once where that is out already, as that of the\n\
                 next key is. Nothing to do."
            }
            Kind::CertificateInstalled => {
                "danelaw waits until every address presents it and no cache needs the old record, and removes that one\n\
                 then. Nothing to do."
            }
            Kind::RolloverFinished => "It is presented everywhere, and older records are gone. Nothing to do.",
            Kind::RolloverHeld => {
                "danelaw installs and removes nothing until `danelaw rollover resume`. Mind when the old certificate expires."
            }
            Kind::Alarm => {
                "danelaw removes no record while this lasts. To do: `danelaw explain` with the host says what is wrong; mail\n\
                 from senders that check DANE may be delayed until it is mended."
            }
            Kind::CertificateAlarm => {
                "The certificate and the TLSA record that are in use stay in use. How the order stands:\n\
                 `danelaw certificate list`."
            }
            Kind::AlarmCleared | Kind::CertificateAlarmCleared => "Nothing to do.",
            Kind::PrerequisiteLost => {
                "danelaw keeps the TLSA record for the configured hold time and withdraws it if this lasts: mail goes on\n\
                 without DANE then. To do: mend it, or `danelaw withdraw` if it is meant."
            }
            Kind::PrerequisiteRegained => "danelaw publishes the TLSA record, or keeps it. Nothing to do.",
            Kind::TlsaPublished => {
                "Senders that check DANE deliver only to a server with this certificate's key from now on. Nothing to do."
            }
            Kind::TlsaWithdrawn => {
                "Mail is delivered without DANE. danelaw publishes it again when every prerequisite holds."
            }
            Kind::CertificateExpires => {
                "danelaw changes no record: DANE-EE records ignore expiry, and other clients don't. To do: look why it was not\n\
                 renewed: `danelaw certificate list` where danelaw orders it, else the log of the ACME client."
            }
            Kind::SignatureExpires => {
                "When they do, validating resolvers answer nothing of this zone, mail included. danelaw tries to sign again\n\
                 all the time. To do: `danelaw status` says what is in its way."
            }
            Kind::Problem => "To do: as it says; `danelaw status` shows it as long as it lasts.",
            Kind::ProblemSolved => "Nothing to do.",
            Kind::Test => "This was asked for with `danelaw messages test`. Nothing to do.",
        }
    }
}
