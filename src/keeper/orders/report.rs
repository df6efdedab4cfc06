//! What `status` and `certificate list` show of orders: plain values, the same for JSON and for people.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::elsewhere::Since;
use super::proofs::Unplaced;
use super::words::{called, problems, reason};
use crate::acme::Phase;
use crate::act::acme::Folder;
use crate::dns::{Name, Timestamp};
use crate::keeper::Keeper;
use crate::zone::lint::{ABSENCE_HELP, long_absence};

/// A certificate of danelaw's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OrderReport {
    /// The host that it is called by.
    pub host: Name,
    /// Its key's type.
    pub key: String,
    /// The names that it is to have, its host's first.
    pub names: Vec<String>,
    /// Where its order stands.
    pub phase: Phase,
    /// Why there is one, or will be; none: there is none.
    pub why: Option<String>,
    /// The order at the CA.
    pub order: Option<String>,
    /// What it waits for: a nameserver that does not show the proofs yet, or the order of the host's other key.
    pub waits_for: Option<String>,
    /// When the certificate that lies in the folder expires; none: there is none.
    pub not_after: Option<Timestamp>,
    /// When it is ordered anew.
    pub renewal: Option<Timestamp>,
    /// What went wrong last, in plain words; none since a certificate was laid down.
    pub failure: Option<String>,
    /// When that was.
    pub failed_at: Option<Timestamp>,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
}

/// What is said of a host that no certificate is called by.
pub(super) fn not_ordered(host: &Name) -> String {
    format!(
        "{}: no [[certificate]] names it as its host; `danelaw certificate list` shows those that do",
        host.to_host()
    )
}

impl Keeper {
    /// The certificates of a host, which has to have one, or all of them.
    pub(in crate::keeper) fn list_orders(&self, host: Option<&Name>) -> Result<Vec<OrderReport>, String> {
        match (self.order_reports(host), host) {
            (reports, Some(host)) if reports.is_empty() => Err(not_ordered(host)),
            (reports, _) => Ok(reports),
        }
    }

    /// Every certificate that is ordered here.
    pub(in crate::keeper) fn order_reports(&self, host: Option<&Name>) -> Vec<OrderReport> {
        let wanted = self.orders.each.iter().filter(|(id, _)| host.is_none_or(|host| id.host == *host));
        let report = |(id, driven): (&crate::acme::Id, &super::Driven)| {
            let state = &driven.state;
            let names = driven.settings.iter().flat_map(|settings| &settings.names).filter(|name| **name != id.host);
            OrderReport {
                host: id.host.clone(),
                key: id.key_type.to_string(),
                names: std::iter::once(&id.host).chain(names).map(|name| name.to_host()).collect(),
                phase: state.phase(),
                why: state.why().map(|why| reason(why).to_owned()),
                order: state.url().map(str::to_owned),
                waits_for: state.unseen().map(str::to_owned),
                not_after: state.held().map(|held| held.not_after),
                renewal: state.renewal(),
                failure: state.failure().map(|failure| failure.problem.plain()),
                failed_at: state.failure().map(|failure| failure.at),
                next_try: state.next_try(),
            }
        };
        wanted.map(report).collect()
    }

    /// Whether a key and its chain are being laid down here, one after the other.
    pub(in crate::keeper) fn is_laying_down(&self, path: &Path) -> bool {
        let storing = self.orders.each.iter().filter(|(_, driven)| driven.state.phase() == Phase::Storing);
        let mut folders = storing.filter_map(|(id, _)| Folder::of(&self.config.state, id).ok());
        folders.any(|folder| path.starts_with(folder.path()))
    }

    /// Whether it is the folder of a certificate that is ordered here: its next key is made by itself, or an alarm says why not.
    pub(in crate::keeper) fn is_of_order(&self, path: &Path) -> bool {
        self.orders.each.keys().any(|id| Folder::of(&self.config.state, id).is_ok_and(|folder| folder.path() == path))
    }

    /// What is wrong with orders, a line each.
    pub(in crate::keeper) fn order_problems(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.orders.each.iter().flat_map(|(id, driven)| problems(id, driven)).collect();
        lines.extend(self.orders.problems.iter().chain(&self.orders.store_problem).cloned());
        if let Some(Err(why)) = &self.orders.account {
            lines.push(format!("[acme]: no certificate is ordered: {why}"));
        }
        for (id, driven) in &self.orders.each {
            let names = driven.settings.iter().flat_map(|settings| &settings.names);
            let unprovable = names.filter_map(|name| match self.cannot_prove(name, Since::Ever) {
                Some(Unplaced::Never(why) | Unplaced::Unknown(why)) => Some(why),
                Some(Unplaced::Asked(_)) | None => None,
            });
            let unprovable: Vec<String> =
                unprovable.filter(|why| !lines.iter().any(|line| line.contains(why))).collect();
            lines.extend(unprovable.into_iter().map(|why| format!("certificate {}: {why}", called(id))));
        }
        lines.extend(self.long_absences());
        lines
    }

    /// The zones of proofs of which resolvers hold for long that one is not there.
    fn long_absences(&self) -> Vec<String> {
        let wanted = self.orders.each.values().filter_map(|driven| driven.settings.as_ref());
        let names: BTreeSet<&Name> = wanted.flat_map(|settings| &settings.names).collect();
        let zones: BTreeSet<Name> = names.into_iter().filter_map(|name| self.zone_of_proof(name)).collect();
        let line = |apex: Name| {
            let why = long_absence(self.zones.get(&apex)?.contents.as_ref()?.negative_ttl()?)?;
            Some(format!("zone {apex}: {why}: {ABSENCE_HELP}"))
        };
        zones.into_iter().filter_map(line).collect()
    }
}
