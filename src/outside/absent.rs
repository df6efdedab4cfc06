//! A TLSA that is published and that resolvers do not have yet: they may keep for a while that there was none.

use std::collections::BTreeMap;

use super::{Area, Check, Fault, Seen, Wanted};
use crate::dns::{Name, Timestamp};

/// Without the alarm of a TLSA that is out. `until`: for each owner the moment until which caches may hold that there was none
/// (RFC 2308 section 5).
pub(super) fn forgiven(until: &BTreeMap<Name, Timestamp>, check: Check, now: Timestamp) -> Check {
    let is_it = |owner: &Name| check.fault == Some(Fault::TlsaMissing) && owner.to_string() == check.subject;
    match until.iter().find(|(owner, until)| is_it(owner) && **until > now) {
        Some((_, until)) => {
            let left = until - now;
            let evidence = format!("it is published, and caches keep for at most {left} s that there was none");
            Check::ok(Area::Tlsa, check.subject, evidence)
        }
        None => check,
    }
}

/// The TLSA owners that resolvers say have none, and that each nameserver has which answers; with the zone of each.
pub fn at_nameservers(all: &[(Wanted, Seen)]) -> Vec<(Name, Name)> {
    let hosts = all.iter().filter_map(|(_, seen)| match seen {
        Seen::Host(seen) => Some(seen),
        _ => None,
    });
    let without = hosts.flat_map(|host| &host.services).filter(|(_, seen)| seen.tlsa.found.is_empty());
    let owners =
        without.filter(|(_, seen)| seen.tlsa.unknown().is_none()).filter_map(|(service, _)| service.owner().ok());
    owners.filter_map(|owner| Some((zone_with(all, &owner)?, owner))).map(|(zone, owner)| (owner, zone)).collect()
}

/// The zone all of whose nameservers have TLSA at an owner.
fn zone_with(all: &[(Wanted, Seen)], owner: &Name) -> Option<Name> {
    all.iter().find_map(|(wanted, seen)| {
        let (Wanted::Zone { apex, .. }, Seen::Zone(seen)) = (wanted, seen) else { return None };
        let mut shown = seen.shown().filter_map(|shown| shown.tlsa.get(owner)).peekable();
        let is_it = shown.peek().is_some() && shown.all(|tlsa| tlsa.as_ref().is_ok_and(|tlsa| !tlsa.is_empty()));
        is_it.then(|| apex.clone())
    })
}
