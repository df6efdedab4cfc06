//! What is said of a rollover, for people: in the log, the event list, `status`, and messages.

use std::collections::BTreeSet;

use super::Driven;
use super::facts::behind_aliases;
use crate::config::CertificateMode;
use crate::dane::certificate::Certificate;
use crate::dane::explain::Status;
use crate::dane::plan::Planned;
use crate::dane::rollover::state::Role;
use crate::dane::rollover::{Action, Alarm, Notice as Said};
use crate::dane::tlsa::Tlsa;
use crate::dane::{Chain, Parameters};
use crate::dns::text::print_moment;
use crate::dns::{Name, Timestamp};
use crate::keeper::Keeper;
use crate::observe::certificates::Found;
use crate::tell::{Kind, Notice};

/// Failures of these are told of.
pub(super) const INSTALLATION: &str = "installation";
pub(super) const HOOK: &str = "hook";

/// An alarm in words.
struct Words {
    /// What is wrong, the same as long as it is.
    text: String,
    /// Why it is now, where that is known.
    why: Option<String>,
    /// What follows from it, and what to do.
    help: String,
}

impl Keeper {
    /// Tells the operator what machines tell: before it is done, so that nothing of it is lost with the process.
    pub(super) fn say(&mut self, actions: &[(Name, Action)], now: Timestamp) {
        for (host, action) in actions {
            let host_name = host.to_host();
            match action {
                Action::Alarm(alarm) => {
                    let Words { text, why, help } = self.words(host, alarm);
                    let detail = why.into_iter().chain([help]).collect::<Vec<_>>().join(". ");
                    self.tell(Notice::new(now, Kind::Alarm, &host_name, &text).with(detail), now);
                }
                Action::Cleared(alarm) => {
                    let text = self.words(host, alarm).text;
                    self.tell(Notice::new(now, Kind::AlarmCleared, &host_name, &text), now);
                }
                Action::Tell(said) => match words_of(said) {
                    (Some(kind), text) => {
                        let certificates = version_of(said).map(|id| self.certificates_of(host, id));
                        let detail = certificates.into_iter().flatten().collect::<Vec<_>>().join("\n");
                        self.tell(Notice::new(now, kind, &host_name, &text).with(detail), now);
                    }
                    (None, text) => {
                        tracing::info!("{host_name}: {text}");
                        self.events(now, vec![("rollover", host_name, text)]);
                    }
                },
                _ => {}
            }
        }
    }

    /// What others know the certificates of a version by, a line each, and how long they are valid.
    fn certificates_of(&self, host: &Name, id: &str) -> BTreeSet<String> {
        let Some(driven) = self.rollovers.hosts.get(host) else { return BTreeSet::new() };
        let staged = self.candidates(host, true);
        let chains = driven.live.iter().chain(staged.iter().map(|(_, found)| &found.chain));
        let of_version =
            chains.map(Chain::leaf).filter(|leaf| driven.state.version_of(&leaf.fingerprint()) == Some(id));
        let line = |leaf: &Certificate| {
            format!("SHA-256 fingerprint {}, valid until {}", leaf.fingerprint(), print_moment(leaf.not_after))
        };
        of_version.map(line).collect()
    }

    /// What is wrong with a host's rollover, a line each.
    pub(super) fn problems_of_rollover(&self, host: &Name, driven: &Driven) -> Vec<String> {
        let alarm = |alarm| {
            let Words { text, why, help } = self.words(host, alarm);
            let why = why.map_or(String::new(), |why| format!(": {why}"));
            format!("{}: {text}{why}; {help}", host.to_host())
        };
        let alarms = driven.state.alarms().iter().map(alarm);
        let problems = alarms.chain(driven.problems.iter().cloned()).chain(self.broken_mode(host, driven));
        problems.chain(self.homeless(host, driven)).chain(self.by_hand(host, driven)).collect()
    }

    /// That a renewed certificate waits for records whose zone is not served here any more.
    fn homeless(&self, host: &Name, driven: &Driven) -> Option<String> {
        let is_here = self.zone_of(self.plans.of_host(host)).is_some();
        let is_waiting = driven.state.coming() != (None, None);
        (is_waiting && !is_here).then(|| {
            format!(
                "{host}: its zone is not served here, so its records can't be published and a renewed certificate is not installed: \
                 serve the zone here again, or let the mail server read the ACME client's folder instead of {}",
                self.config.rollover.deployed.join(host.to_host()).display(),
                host = host.to_host(),
            )
        })
    }

    /// What has to be written by hand for what comes next, where the zone file has records of its own; and what is not looked at.
    fn by_hand(&self, host: &Name, driven: &Driven) -> Vec<String> {
        let owners = self.plans.of_host(host);
        let (Some(next), Some(zone)) = (driven.state.coming().0, self.zone_of(owners)) else { return Vec::new() };
        let chains = driven.state.chains().filter(|(role, _)| *role == Role::Next);
        let of_next: Vec<&Tlsa> = chains.flat_map(|(_, chain)| &chain.records).collect();
        let told = |planned: &Planned| {
            let alias = match &planned.explanation.status {
                Status::HandWritten { .. } => String::new(),
                Status::Alias { target } => format!(" (a CNAME to {target})"),
                _ => return None,
            };
            let (host, owner) = (host.to_host(), &planned.owner);
            let Some((there, _)) = behind_aliases(zone, owner) else {
                return Some(format!(
                    "{host}: what {owner} leads to{alias} is not looked at: certificate {next} is not installed; take the CNAME out \
                     of the zone file, and its records are published here"
                ));
            };
            let mut parameters: BTreeSet<Parameters> = there.iter().map(|record| record.parameters).collect();
            if parameters.is_empty() {
                parameters.insert(Parameters::DEFAULT);
            }
            let is_missing = |record: &&&Tlsa| parameters.contains(&record.parameters) && !there.contains(record);
            let missing: BTreeSet<String> = of_next.iter().filter(is_missing).map(ToString::to_string).collect();
            (!missing.is_empty()).then(|| {
                format!(
                    "{host}: what stands at {owner}{alias} is the zone file's own, and danelaw adds nothing to it: certificate {next} is \
                     installed when its record has been there for as long as caches need; add TLSA {} there, or take out what the zone \
                     file has",
                    missing.into_iter().collect::<Vec<_>>().join(" | ")
                )
            })
        };
        owners.iter().filter_map(told).collect()
    }

    /// What the mode of a host's folder promises, and isn't so.
    fn broken_mode(&self, host: &Name, driven: &Driven) -> Option<String> {
        let staged = self.candidates(host, true);
        let (folder, _) = staged.first()?;
        let keys =
            |chains: &[Chain]| -> Vec<String> { chains.iter().map(|chain| chain.leaf().spki_sha256()).collect() };
        let has_known_key = |found: &Found| keys(&driven.live).contains(&found.chain.leaf().spki_sha256());
        let what = match folder.mode {
            CertificateMode::StableKey
                if !driven.live.is_empty() && !staged.iter().all(|(_, found)| has_known_key(found)) =>
            {
                "`stable-key`, and the renewed certificate has another key: it is held back for its record; let the ACME client \
                 reuse the key (certbot --reuse-key)"
            }
            CertificateMode::NextKey
                if !self.is_of_order(&folder.path) && staged.iter().all(|(_, found)| found.next_key.is_none()) =>
            {
                "`next-key`, and no next key lies beside the certificate (acme.sh: .key.next, dehydrated: privkey.roll.pem): a \
                 renewed certificate is held back for its record"
            }
            _ => return None,
        };
        Some(format!("{}: {} is {what}", host.to_host(), folder.path.display()))
    }

    fn words(&self, host: &Name, alarm: &Alarm) -> Words {
        let driven = self.rollovers.hosts.get(host);
        let failure = |what| driven?.failures.get(what).cloned();
        let probe = |label: &str| driven?.probes.get(label)?.as_ref().err().cloned();
        let unshown = |label: &str| driven?.unshown.get(label).cloned();
        let place = self.config.rollover.deployed.join(host.to_host()).display().to_string();
        let (text, why, help) = match alarm {
            Alarm::Swapped(id) => (
                format!("certificate {id} was put in place by somebody else"),
                None,
                format!(
                    "its record is published beside the others and nothing is removed, but mail may be deferred until caches of \
                     older records run out: let mail servers read {place} and nothing else, and let nothing else write there"
                ),
            ),
            Alarm::Mismatch(label) => (
                format!("{label} presents a certificate that is not known here"),
                None,
                format!("nothing is installed and nothing removed: let the mail server read {place}, and reload it"),
            ),
            Alarm::Unasked(label) => (
                format!("{label} can't be asked which certificate it presents"),
                probe(label),
                "nothing is installed and nothing removed until it answers".to_owned(),
            ),
            Alarm::Behind(label) => (
                format!("nameserver {label} does not show the new records"),
                None,
                "the rollover waits for it: see that it is told of changes, and may transfer the zone".to_owned(),
            ),
            Alarm::Unreachable(label) => (
                format!("nameserver {label} can't be reached"),
                unshown(label),
                "the rollover waits until its zone must have expired and caches are empty: start it, or take it out of the zone's \
                 NS records"
                    .to_owned(),
            ),
            Alarm::PassedOver(label) => (
                format!("nameserver {label} could not be reached for so long that its zone has expired"),
                unshown(label),
                "it is waited for no longer: start it, or take it out of the zone's NS records".to_owned(),
            ),
            Alarm::InstallFailed => (
                "the certificate can't be installed".to_owned(),
                failure(INSTALLATION),
                "it is tried again, and both records stay".to_owned(),
            ),
            Alarm::HookFailed => (
                "the hook failed".to_owned(),
                failure(HOOK),
                "it is run again, and both records stay".to_owned(),
            ),
        };
        Words { text, why, help }
    }
}

/// The version of which an operator is told.
fn version_of(said: &Said) -> Option<&str> {
    match said {
        Said::Begun(id) | Said::Installed(id) | Said::Finished(id) => Some(id),
        _ => None,
    }
}

/// The kind of message, where there is one, and what is said.
fn words_of(said: &Said) -> (Option<Kind>, String) {
    match said {
        Said::Begun(id) => (Some(Kind::RolloverBegun), format!("certificate {id}")),
        Said::Installing(id) => {
            (None, format!("every cache must have the record of certificate {id}: it is installed"))
        }
        Said::Installed(id) => (Some(Kind::CertificateInstalled), format!("certificate {id}")),
        Said::Finished(id) => (Some(Kind::RolloverFinished), format!("certificate {id}")),
        Said::Queued(id) => (None, format!("certificate {id} waits for the rollover that is under way")),
        Said::GivenUp(id) => (None, format!("the rollover to certificate {id} was given up")),
        Said::ClockJumped(seconds) => {
            (None, format!("the wall clock jumped by {seconds} s; waits go by the slower of the two clocks"))
        }
        Said::Refused(why) => (None, why.clone()),
    }
}
