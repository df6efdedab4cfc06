//! What is wrong at this moment, gathered from all that was looked at; what is new or solved goes into the log.

use std::collections::BTreeSet;
use std::path::Path;

use tracing::{info, warn};

use super::Keeper;
use super::publish::not_published;
use super::zone::Keys;
use crate::dns::Timestamp;
use crate::observe::certificates::Severity;

impl Keeper {
    pub(super) fn tell_problems(&mut self, now: Timestamp) {
        let problems = self.gather(now);
        for problem in problems.difference(&self.problems) {
            warn!("{problem}");
        }
        for solved in self.problems.difference(&problems) {
            info!("solved: {}", solved.lines().next().unwrap_or_default());
        }
        self.problems = problems;
    }

    fn gather(&self, now: Timestamp) -> BTreeSet<String> {
        let mut problems: BTreeSet<String> = self.config_problem.iter().cloned().collect();
        problems.extend(self.zone_problems.iter().cloned());
        problems.extend(self.key_folder_problem.clone());
        for problem in self.key_problems.iter().chain(&self.aside_problems) {
            // Where it keeps a zone from being signed, the zone's problem says it.
            let refused = problem.zone.as_ref().and_then(|origin| self.zones.get(origin)).map(|zone| &zone.keys);
            if !matches!(refused, Some(Keys::Refused(_))) {
                problems.insert(format!("{}: {}", problem.path.display(), problem.message));
            }
        }
        for (origin, zone) in &self.zones {
            problems.extend(zone.problem());
            if let Keys::Refused(why) = &zone.keys
                && self.key_folder_problem.is_none()
            {
                problems.insert(format!("{origin}: {why}"));
            }
            problems.extend(zone.failure.as_ref().map(|why| not_published(zone, why)));
        }
        problems.extend(self.certificate_problems());
        problems.extend(self.store_problem.clone());
        problems.extend(self.presented_problem.clone());
        problems.extend(self.policy_problem.clone());
        problems.extend(self.tsig_problems.iter().cloned());
        problems.extend(self.notice_problems());
        problems.extend(self.message_problems());
        problems.extend(self.catalog_problems.iter().cloned());
        problems.extend(self.catalogs.problems());
        problems.extend(self.update_problems());
        problems.extend(self.primary_problems(now));
        problems.extend(self.rollover_problems());
        problems.extend(self.order_problems());
        problems.extend(self.alone_problems());
        for domain in self.config.elsewhere.keys() {
            if let Some(zone) = self.authority(domain) {
                let (domain, apex) = (domain.to_host(), &zone.origin);
                problems.insert(format!(
                    "[domain.\"{domain}\"]: zone {apex} is served here and speaks for it: take the table away, or the zone's file"
                ));
            }
        }
        problems.extend(self.outside.problems());
        problems.extend(self.plans.owners().flat_map(|planned| &planned.explanation.problems).cloned());
        problems.extend(self.expiring(now));
        problems
    }

    fn certificate_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for problem in self.scans.iter().flat_map(|scan| &scan.problems) {
            if problem.severity == Severity::Waiting && self.is_laying_down(&problem.path) {
                continue;
            }
            let path = problem.path.display().to_string();
            let in_force = self
                .dane
                .hosts
                .values()
                .flat_map(|host| host.keyset.current())
                .map(|known| &known.source)
                .chain(self.rollovers.source_files())
                .any(|source| is_at(&path, source));
            let is_note = problem.severity == Severity::Note;
            let found = self.scans.iter().flat_map(|scan| &scan.certificates).any(|found| found.path == problem.path);
            // A stray file in a plain folder is nobody's business, one that a certificate in force came from is.
            if is_note && (found || !in_force) {
                continue;
            }
            let help = if problem.help.is_empty() || is_note { String::new() } else { format!(" ({})", problem.help) };
            let meanwhile = if in_force { "; the last good certificate stays in force" } else { "" };
            problems.push(format!("{path}: {}{help}{meanwhile}", problem.message));
        }
        problems
    }
}

/// Whether a file is this one or lies in this folder.
fn is_at(path: &str, file: &str) -> bool {
    Path::new(file).starts_with(path)
}
