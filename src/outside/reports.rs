//! What senders have reported of TLS with the mail hosts (TLS-RPT, RFC 8460 section 4), summed up. Anybody may have written a report:
//! what it says is evidence with a sender's name to it, and its text is shown bounded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, de};

use super::{Area, Check, Fault, few};
use crate::dns::text::{parse_moment, print_moment, show};
use crate::dns::{Name, Timestamp};

/// An aggregate report (RFC 8460 section 4.4); fields that nothing here judges are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Who reports.
    pub organization_name: Option<String>,
    /// Of which time.
    pub date_range: DateRange,
    /// What tells it from others of the same organisation.
    pub report_id: Option<String>,
    /// What came of each policy.
    #[serde(default)]
    pub policies: Vec<Outcome>,
}

/// So many policies of a report, so many kinds of failures of each, and so many characters of each text are kept: the rest of the
/// failures counts as what no details tell of.
const POLICIES_MAX: usize = 64;
const KINDS_MAX: usize = 32;
const TEXT_MAX: usize = 255;

impl Report {
    /// What is kept of it: a sender tells each failure apart by address and hour, and any may have made up the text.
    pub fn cut(mut self) -> Report {
        let cut = |text: &mut String| {
            *text = text.chars().take(TEXT_MAX).collect();
        };
        self.organization_name.iter_mut().for_each(cut);
        self.report_id = None;
        self.policies.truncate(POLICIES_MAX);
        for outcome in &mut self.policies {
            cut(&mut outcome.policy.policy_domain);
            outcome.policy.policy_type.iter_mut().for_each(cut);
            let mut kinds: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
            for mut failure in outcome.failure_details.take().into_iter().flatten() {
                cut(&mut failure.result_type);
                failure.receiving_mx_hostname.iter_mut().for_each(cut);
                let kind = (failure.result_type, failure.receiving_mx_hostname);
                let is_full = kinds.len() >= KINDS_MAX;
                match kinds.get_mut(&kind) {
                    Some(count) => *count = count.saturating_add(failure.failed_session_count),
                    None if is_full => {}
                    None => drop(kinds.insert(kind, failure.failed_session_count)),
                }
            }
            let failure = |((result_type, receiving_mx_hostname), failed_session_count)| Failure {
                result_type,
                receiving_mx_hostname,
                failed_session_count,
            };
            outcome.failure_details = Some(kinds.into_iter().map(failure).collect());
        }
        self
    }
}

/// The time that a report is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DateRange {
    /// From.
    #[serde(deserialize_with = "moment")]
    pub start_datetime: Timestamp,
    /// To.
    #[serde(deserialize_with = "moment")]
    pub end_datetime: Timestamp,
}

/// What came of one policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// The policy.
    pub policy: Policy,
    /// How many sessions.
    pub summary: Summary,
    /// What failed.
    pub failure_details: Option<Vec<Failure>>,
}

/// Which policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy_type: Option<String>,
    /// The domain that has it. Of TLSA some senders name the mail domain, and some the host.
    pub policy_domain: String,
}

/// How many sessions there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// That went well.
    #[serde(default)]
    pub total_successful_session_count: u64,
    /// That did not.
    #[serde(default)]
    pub total_failure_session_count: u64,
}

/// One kind of failure at one host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// Which kind (RFC 8460 section 4.3), or one that is not known.
    pub result_type: String,
    /// The MX host.
    pub receiving_mx_hostname: Option<String>,
    /// How many sessions failed so.
    #[serde(default)]
    pub failed_session_count: u64,
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_moment(&text).ok_or_else(|| de::Error::custom("no date and time of RFC 3339"))
}

/// A report, and the file that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The file's name.
    pub file: String,
    /// The report.
    pub report: Report,
}

/// A file that is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file's name.
    pub file: String,
    /// Why it can't be read.
    pub why: String,
    /// When it was written.
    pub at: Timestamp,
}

/// What is in a folder of reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The reports, the newest file first; the same one twice is there once.
    pub reports: Vec<Received>,
    /// What is no report.
    pub unreadable: Vec<Unreadable>,
}

/// What is reported of these domains since then, each kind of failure a check, and one of each domain of which no failure is reported.
/// A domain that nobody reports of has none. `domains`: the mail domains and their MX hosts.
pub fn judge(
    reports: &[Received],
    unreadable: &[Unreadable],
    domains: &BTreeSet<Name>,
    since: Timestamp,
) -> Vec<Check> {
    let mut totals: BTreeMap<&Name, Total<'_>> = BTreeMap::new();
    for received in reports.iter().filter(|received| received.report.date_range.end_datetime >= since) {
        for outcome in &received.report.policies {
            let domain = outcome.policy.policy_domain.parse::<Name>();
            if let Some(domain) = domain.ok().and_then(|domain| domains.get(&domain)) {
                totals.entry(domain).or_default().add(received, outcome);
            }
        }
    }
    let mut checks: Vec<Check> = totals.iter().flat_map(|(domain, total)| total.checks(domain)).collect();
    let recent: Vec<String> = unreadable
        .iter()
        .filter(|file| file.at >= since)
        .map(|Unreadable { file, why, .. }| format!("{}: {why}", show(file.as_bytes())))
        .collect();
    if !recent.is_empty() {
        let help = "see that it came whole and that danelaw may read it, or take it out of the folder";
        checks.push(Check::fault(Fault::ReportUnreadable, "TLS reports", few(&recent), help));
    }
    checks
}

/// What is reported of a domain.
#[derive(Default)]
struct Total<'a> {
    sessions: u64,
    organisations: BTreeSet<&'a str>,
    failures: BTreeMap<Fault, Failures<'a>>,
}

/// What is reported of a domain and one kind of failure.
#[derive(Default)]
struct Failures<'a> {
    sessions: u64,
    organisations: BTreeSet<&'a str>,
    results: BTreeSet<&'a str>,
    hosts: BTreeSet<&'a str>,
    /// When the last report of it ends, and its file.
    last: (Timestamp, &'a str),
}

impl<'a> Failures<'a> {
    fn add(&mut self, received: &'a Received, result: &'a str, sessions: u64) {
        self.sessions = self.sessions.saturating_add(sessions);
        self.organisations.insert(organisation(&received.report));
        self.results.insert(result);
        self.last = self.last.max((received.report.date_range.end_datetime, &received.file));
    }
}

impl<'a> Total<'a> {
    fn add(&mut self, received: &'a Received, outcome: &'a Outcome) {
        let Summary { total_successful_session_count: well, total_failure_session_count: failed } = outcome.summary;
        let details = outcome.failure_details.as_deref().unwrap_or_default();
        let told = details.iter().fold(0u64, |sum, failure| sum.saturating_add(failure.failed_session_count));
        self.sessions = self.sessions.saturating_add(well).saturating_add(failed.max(told));
        self.organisations.insert(organisation(&received.report));
        let policy = outcome.policy.policy_type.as_deref();
        for failure in details.iter().filter(|failure| failure.failed_session_count > 0) {
            let failures = self.failures.entry(kind(policy, &failure.result_type)).or_default();
            failures.add(received, &failure.result_type, failure.failed_session_count);
            failures.hosts.extend(failure.receiving_mx_hostname.as_deref().filter(|host| !host.is_empty()));
        }
        // What is summed up and not told apart.
        if failed > told {
            self.failures.entry(Fault::ReportedOther).or_default().add(received, "no details", failed - told);
        }
    }

    fn checks(&self, domain: &Name) -> Vec<Check> {
        if self.failures.is_empty() {
            let evidence = format!("{} sessions went well, reported by {}", self.sessions, named(&self.organisations));
            return vec![Check::ok(Area::Reports, domain, evidence)];
        }
        let fault = |(fault, failures): (&Fault, &Failures<'_>)| {
            let (end, file) = failures.last;
            let at = if failures.hosts.is_empty() { String::new() } else { format!(" at {}", named(&failures.hosts)) };
            let evidence = format!(
                "{} of {} sessions failed{at} until {} ({}), reported by {}",
                failures.sessions,
                self.sessions,
                print_moment(end),
                named(&failures.results),
                named(&failures.organisations),
            );
            Check::fault(
                *fault,
                domain,
                evidence,
                format!("{}; the last is in {}", help(*fault), show(file.as_bytes())),
            )
        };
        self.failures.iter().map(fault).collect()
    }
}

fn organisation(report: &Report) -> &str {
    report.organization_name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or("somebody without a name")
}

/// What a result type (RFC 8460 section 4.3) is a failure of. A certificate is judged by TLSA where that is the policy.
fn kind(policy: Option<&str>, result: &str) -> Fault {
    match result {
        "tlsa-invalid" | "dane-required" => Fault::ReportedTlsa,
        "certificate-host-mismatch" | "certificate-expired" | "certificate-not-trusted" | "validation-failure"
            if policy == Some("tlsa") =>
        {
            Fault::ReportedTlsa
        }
        "dnssec-invalid" => Fault::ReportedDnssec,
        "sts-policy-fetch-error" | "sts-policy-invalid" | "sts-webpki-invalid" => Fault::ReportedSts,
        _ => Fault::ReportedOther,
    }
}

fn help(fault: Fault) -> &'static str {
    match fault {
        Fault::ReportedTlsa => "see that every address of the host presents what its TLSA records are of",
        Fault::ReportedDnssec => "see that every nameserver serves valid signatures",
        Fault::ReportedSts => "see that the MTA-STS policy can be fetched, and names the MX hosts",
        _ => "see what the mail server's log says of that time",
    }
}

/// Names that others wrote.
fn named(names: &BTreeSet<&str>) -> String {
    few(&names.iter().map(|name| show(name.as_bytes())).collect::<Vec<_>>())
}
