//! The zones' contents as the DANE room looks at them.

use std::collections::BTreeMap;

use super::zone::Zone;
use crate::dane::prerequisites::{Served, SignedState};
use crate::dns::{Name, RRset, Rtype};
use crate::zone::Contents;

/// The zones by apex.
pub struct ServedZones<'a> {
    /// They.
    pub zones: &'a BTreeMap<Name, Zone>,
}

impl ServedZones<'_> {
    fn nearest(&self, name: &Name) -> Option<&Zone> {
        std::iter::once(name.clone()).chain(name.ancestors()).find_map(|apex| self.zones.get(&apex))
    }
}

impl Served for ServedZones<'_> {
    fn zone_of(&self, name: &Name) -> Option<Name> {
        let zone = self.nearest(name)?;
        let elsewhere = |contents: &Contents| contents.cut(name).is_some() || contents.is_below_dname(name);
        (!zone.contents.as_ref().is_some_and(elsewhere)).then(|| zone.origin.clone())
    }

    fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<&RRset> {
        self.nearest(owner)?.contents.as_ref()?.rrset(owner, rtype)
    }

    fn signed(&self, apex: &Name) -> SignedState {
        let Some(zone) = self.zones.get(apex) else { return SignedState::Unsigned };
        match (&zone.keys, &zone.failure, &zone.contents) {
            (_, _, None) => SignedState::Unknown("the zone has no good version".to_owned()),
            (None, ..) => SignedState::Unsigned,
            (Some(Err(why)), ..) | (_, Some(why), _) => SignedState::Unknown(why.clone()),
            (Some(Ok(_)), None, Some(_)) => SignedState::Signed,
        }
    }

    fn owners_below(&self, name: &Name) -> Vec<Name> {
        let contents = self.nearest(name).and_then(|zone| zone.contents.as_ref());
        contents
            .map(|contents| contents.at_or_below(name).map(|(owner, _)| owner.clone()).collect())
            .unwrap_or_default()
    }

    fn mail_domains(&self) -> Vec<Name> {
        let mut domains: Vec<Name> = self.zones.values().flat_map(|zone| &zone.mail_domains).cloned().collect();
        domains.sort();
        domains
    }
}
