//! What the operator should know of as long as it stands: prerequisites that are lost, certificates and signatures about to
//! expire, problems; and what is told when a TLSA is published or withdrawn. Looks and words it, decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::Keeper;
use crate::config::values::show_duration;
use crate::dane::certificate::Certificate;
use crate::dane::explain::Explanation;
use crate::dane::plans::Step;
use crate::dane::prerequisites::{Finding, Gate, Verdict};
use crate::dane::publication::{Cause, Phase, Publication};
use crate::dane::tlsa::Service;
use crate::dns::text::print_moment;
use crate::dns::{Name, Timestamp};
use crate::outside::{Area, Subject};
use crate::tell::{Condition, Kind, Notice, Stands, Topic};

const DAY: u64 = 86_400;
/// A certificate's time left at which it is told of; of one with a short life, this part of it.
const CERTIFICATE: [(u64, u64); 2] = [(3 * DAY, 12), (14 * DAY, 4)];
/// A signature's.
const SIGNATURE: u64 = 3 * DAY;

impl Keeper {
    /// Every condition that is looked at, and their kinds.
    pub(super) fn conditions(&self, now: Timestamp) -> (BTreeSet<Kind>, Vec<Condition>) {
        let on = &self.config.messages.on;
        let mut kinds = BTreeSet::new();
        let mut conditions = Vec::new();
        if on.contains(&Topic::Prerequisite) {
            kinds.insert(Kind::PrerequisiteLost);
            // Of ten thousand hosts most have lost nothing.
            let lost = self.messages.state.subjects(Kind::PrerequisiteLost);
            let explanations = self.plans.owners().map(|planned| &planned.explanation);
            let looked_at = explanations.filter(|explanation| {
                !is_all_held(explanation) || (!lost.is_empty() && lost.contains(&*explanation.host.to_host()))
            });
            conditions.extend(looked_at.flat_map(|explanation| self.prerequisites(explanation)));
        }
        if on.contains(&Topic::Expiry) {
            kinds.extend([Kind::CertificateExpires, Kind::SignatureExpires]);
            conditions.extend(self.certificates_that_expire(now));
            conditions.extend(self.signatures_that_expire(now));
        }
        if on.contains(&Topic::Problem) {
            kinds.insert(Kind::Problem);
            // What is told of already, and who can't be told.
            let others = self.expiring(now).into_iter().chain(self.message_problems()).chain(self.outside.problems());
            let others: BTreeSet<String> = others.collect();
            let problems = self.problems.difference(&others);
            conditions.extend(problems.map(|problem| stands(Notice::new(now, Kind::Problem, "", problem))));
        }
        if on.contains(&Topic::Alarm) {
            if self.outside.is_settled() {
                kinds.insert(Kind::Alarm);
            }
            conditions.extend(self.outside.conditions());
        }
        (kinds, conditions)
    }

    /// Those of a TLSA that is published, or was until it was lost.
    fn prerequisites(&self, explanation: &Explanation) -> Vec<Condition> {
        let Explanation { host, owner, .. } = explanation;
        let publication = self.dane.hosts.get(host).and_then(|state| state.publications.get(owner));
        let Some(publication) = publication else { return Vec::new() };
        if !matches!(publication.phase, Phase::Published | Phase::Withdrawn(Cause::Loss)) {
            return Vec::new();
        }
        let mut conditions = Vec::new();
        for assessment in &explanation.assessments {
            for finding in assessment.findings.iter().filter(|finding| finding.required) {
                let text = match &assessment.domain {
                    Some(domain) => format!("{} of {}", finding.prerequisite, domain.to_host()),
                    None => finding.prerequisite.to_string(),
                };
                let notice = Notice::new(finding.since, Kind::PrerequisiteLost, &host.to_host(), &text);
                let notice = notice.with(detail(finding, explanation));
                let stands = match stand(finding, publication) {
                    Stands::Yes | Stands::No if self.is_flapping(finding, explanation) => Stands::Unknown,
                    stands => stands,
                };
                conditions.push(Condition { notice, stands });
            }
        }
        if Service::from_owner(owner).is_some_and(|service| service.is_smtp()) {
            let since = explanation.since.unwrap_or_default();
            let notice = Notice::new(since, Kind::PrerequisiteLost, &host.to_host(), "MX of any domain");
            let notice = notice.with(format!(
                "No mail domain in a zone served here has it as its MX host.\nIts TLSA is {}.",
                explanation.status
            ));
            let stands = if explanation.assessments.is_empty() { Stands::Yes } else { Stands::No };
            conditions.push(Condition { notice, stands });
        }
        conditions
    }

    /// Whether what is seen from outside says otherwise now than a moment ago.
    fn is_flapping(&self, finding: &Finding, explanation: &Explanation) -> bool {
        let subject = match finding.gate {
            Gate::DnssecParent => explanation.zone.clone().map(|zone| (Subject::Zone(zone), Area::Chain)),
            Gate::MailServiceProbed => Some((Subject::Host(explanation.host.clone()), Area::Service)),
            _ => None,
        };
        let stands = subject.and_then(|(subject, area)| self.outside.is_wrong(&subject, area));
        stands.is_some_and(|stands| stands != (finding.verdict == Verdict::Missing))
    }

    /// Each certificate in force once, under the first host that has it; of the times left, the shortest.
    fn certificates_that_expire(&self, now: Timestamp) -> Vec<Condition> {
        let mut seen: BTreeMap<String, Condition> = BTreeMap::new();
        for (host, state) in &self.dane.hosts {
            for known in state.keyset.current() {
                let leaf = known.chain.leaf();
                let Some(left) = limits(leaf).find(|left| leaf.not_after.saturating_sub(now) < *left) else { continue };
                seen.entry(leaf.fingerprint()).or_insert_with(|| {
                    let text = format!("on {}, in less than {}", print_moment(leaf.not_after), show_duration(left));
                    let since = leaf.not_after.saturating_sub(left);
                    let notice = Notice::new(since, Kind::CertificateExpires, &host.to_host(), &text);
                    stands(notice.with(format!("The certificate is in {}.", known.source)))
                });
            }
        }
        seen.into_values().collect()
    }

    /// Zones that should have been signed again, here or elsewhere.
    fn signatures_that_expire(&self, now: Timestamp) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for (origin, zone) in &self.zones {
            let Some(expires) = zone.snapshot.as_ref().and_then(|snapshot| snapshot.expires_at()) else { continue };
            let refresh_at = zone.published().and_then(|published| published.refresh_at);
            if expires.saturating_sub(now) >= SIGNATURE || refresh_at.is_some_and(|refresh_at| refresh_at > now) {
                continue;
            }
            let text = format!("the first on {}", print_moment(expires));
            let since = expires.saturating_sub(SIGNATURE);
            let notice = Notice::new(since, Kind::SignatureExpires, &origin.to_host(), &text);
            let why = match zone.is_presigned() {
                true => Some("The zone is signed elsewhere: sign it again there.".to_owned()),
                false => zone.failure.clone().or_else(|| zone.problem()),
            };
            conditions.push(stands(notice.with(why.unwrap_or_default())));
        }
        conditions
    }

    /// What a step of the DANE room publishes for the first time or again, and what it withdraws.
    pub(super) fn publications(&self, step: &Step, now: Timestamp) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (host, replanned) in step.hosts.iter().filter(|(_, replanned)| replanned.is_new_state) {
            let before = self.dane.hosts.get(host);
            for (owner, publication) in &replanned.plan.state.publications {
                let phase = before.and_then(|before| before.publications.get(owner)).map(|before| before.phase);
                if phase != Some(publication.phase) {
                    notices.extend(turned(host, owner, phase.unwrap_or(Phase::Never), publication.phase, now));
                }
            }
        }
        notices
    }
}

fn is_all_held(explanation: &Explanation) -> bool {
    let mut assessments = explanation.assessments.iter().peekable();
    assessments.peek().is_some() && assessments.all(|assessment| assessment.verdict() == Verdict::Held)
}

fn stands(notice: Notice) -> Condition {
    Condition { notice, stands: Stands::Yes }
}

/// A gate that never held is no loss: a stronger grade was configured, or a new version checks more.
fn stand(finding: &Finding, publication: &Publication) -> Stands {
    match finding.verdict {
        Verdict::Held => Stands::No,
        Verdict::Missing if publication.proven.contains(&finding.gate) => Stands::Yes,
        Verdict::Missing | Verdict::Unknown => Stands::Unknown,
    }
}

fn detail(finding: &Finding, explanation: &Explanation) -> String {
    let todo = if finding.help.is_empty() { String::new() } else { format!("\nTo do: {}.", finding.help) };
    format!("Found: {}.\nIts TLSA is {}.{todo}", finding.evidence, explanation.status)
}

/// The times left at which a certificate is told of, the shortest first.
fn limits(leaf: &Certificate) -> impl Iterator<Item = u64> {
    let life = leaf.not_after.saturating_sub(leaf.not_before);
    CERTIFICATE.into_iter().map(move |(left, part)| left.min(life / part))
}

fn turned(host: &Name, owner: &Name, before: Phase, after: Phase, now: Timestamp) -> Option<Notice> {
    let new = |kind| Notice::new(now, kind, &host.to_host(), &owner.to_host());
    let by_operator = |detail: &str| Notice { urgent: false, ..new(Kind::TlsaWithdrawn).with(detail) };
    Some(match (before, after) {
        (_, Phase::Published) => new(Kind::TlsaPublished),
        (Phase::Published, Phase::Withdrawn(Cause::Loss)) => {
            let text = "The loss of a prerequisite is proven and outlasted its hold time.";
            new(Kind::TlsaWithdrawn).with(text)
        }
        (Phase::Published, Phase::Withdrawn(Cause::Operator)) => {
            by_operator("The operator withdrew it; `danelaw restore` lets it come back.")
        }
        (Phase::Published, Phase::Withdrawn(Cause::Disabled)) => by_operator("DANE was disabled in the configuration."),
        _ => return None,
    })
}
