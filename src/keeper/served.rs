//! The zones' contents as the DANE room looks at them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::outside::Outside;
use super::rollovers::Rollovers;
use super::zone::{Keys, Zone};
use crate::dane::checks::addresses;
use crate::dane::prerequisites::{Fact, Resolved, Served, SignedState};
use crate::dns::dnssec::Signer;
use crate::dns::{Name, RRset, Rdata, Rtype, dnssec};

/// The zones by apex: of ten thousand, hosts and domains are looked for many times.
pub struct ServedZones<'a> {
    zones: HashMap<&'a Name, &'a Zone>,
    lagging: Option<&'a BTreeSet<Name>>,
    rollovers: &'a Rollovers,
    outside: &'a Outside,
}

impl<'a> ServedZones<'a> {
    /// `lagging`: the TLSA owners whose decided RRset is not served; none before the first publication: then nothing is known to be.
    pub(super) fn new(
        zones: &'a BTreeMap<Name, Box<Zone>>,
        lagging: Option<&'a BTreeSet<Name>>,
        rollovers: &'a Rollovers,
        outside: &'a Outside,
    ) -> ServedZones<'a> {
        ServedZones {
            zones: zones.iter().map(|(origin, zone)| (origin, &**zone)).collect(),
            lagging,
            rollovers,
            outside,
        }
    }

    fn nearest(&self, name: &Name) -> Option<&Zone> {
        std::iter::once(name.clone()).chain(name.ancestors()).find_map(|apex| self.zones.get(&apex).copied())
    }

    /// A signed parent that is served here has to delegate with a DS of one of the keys (RFC 4035 section 5.2).
    fn contradiction(&self, apex: &Name, keys: &[Rdata]) -> Option<SignedState> {
        let parent = self.nearest(&apex.parent()?)?;
        let contents = parent.contents.as_ref().filter(|_| !dnskeys(parent).is_empty())?;
        if contents.cut(&apex.parent()?).is_some() {
            return None;
        }
        let has = |rtype| contents.rrset(apex, rtype);
        let vouched =
            has(Rtype::DS).is_some_and(|ds| keys.iter().any(|key| ds.rdatas.contains(&dnssec::ds(apex, key))));
        let wrong = match (has(Rtype::NS).is_some(), has(Rtype::DS).is_some()) {
            (true, true) if vouched => return None,
            // An insecure delegation: the child is not bogus, and not secure either.
            (true, false) => "has no DS for it",
            (true, true) => "has a DS of another key",
            (false, _) => "does not delegate it",
        };
        let evidence = format!("{}, which is served here, {wrong}", parent.origin);
        let help = format!(
            "put the NS records of {apex} and the output of `danelaw ds {}` into the zone {}",
            apex.to_host(),
            parent.origin
        );
        Some(SignedState::Contradicted(evidence, help))
    }
}

/// Whether a name below an apex is at or below a zone cut, or below a DNAME: what is put there would not be answered.
pub(super) fn is_elsewhere(zone: &Zone, name: &Name) -> bool {
    zone.contents.as_ref().is_some_and(|contents| contents.cut(name).is_some() || contents.is_below_dname(name))
}

/// The DNSKEYs that sign a zone, here or elsewhere; none of an unsigned one.
pub(super) fn dnskeys(zone: &Zone) -> Vec<Rdata> {
    if !zone.is_presigned() {
        return zone.keys.held().iter().map(|key| key.dnskey().into()).collect();
    }
    let rrset = zone.contents.as_ref().and_then(|contents| contents.rrset(&zone.origin, Rtype::DNSKEY));
    rrset.map(|rrset| rrset.rdatas).unwrap_or_default()
}

impl Served for ServedZones<'_> {
    fn zone_of(&self, name: &Name) -> Option<Name> {
        let zone = self.nearest(name)?;
        (!is_elsewhere(zone, name)).then(|| zone.origin.clone())
    }

    fn rrset(&self, owner: &Name, rtype: Rtype) -> Option<RRset> {
        self.nearest(owner)?.contents.as_ref()?.rrset(owner, rtype)
    }

    fn is_whole(&self) -> bool {
        self.zones.values().all(|zone| zone.contents.is_some())
    }

    fn signed(&self, apex: &Name) -> SignedState {
        let Some(zone) = self.zones.get(apex) else { return SignedState::Unsigned };
        match (&zone.keys, &zone.failure, &zone.contents) {
            (_, _, None) => SignedState::Unknown("the zone has no good version".to_owned()),
            (Keys::Unsigned, ..) if !zone.is_presigned() => SignedState::Unsigned,
            (Keys::Unseen, ..) => SignedState::Unknown("the keys were not looked at yet".to_owned()),
            (Keys::Refused(why), ..) | (_, Some(why), _) => SignedState::Unknown(why.clone()),
            (Keys::Held(_) | Keys::Unsigned, None, Some(_)) => {
                self.contradiction(apex, &dnskeys(zone)).unwrap_or(SignedState::Signed)
            }
        }
    }

    fn is_presigned(&self, apex: &Name) -> bool {
        self.zones.get(apex).is_some_and(|zone| zone.is_presigned())
    }

    fn parent(&self, apex: &Name) -> Fact {
        self.outside.parent(apex)
    }

    fn resolved(&self, domain: &Name) -> Resolved {
        self.outside.resolved(domain)
    }

    fn probed(&self, host: &Name) -> Fact {
        self.rollovers.probed(host).unwrap_or_else(|| self.outside.probed(host, &addresses(self, host)))
    }

    fn lags(&self, owner: &Name) -> bool {
        self.lagging.is_none_or(|lagging| lagging.contains(owner))
    }

    fn owners_below(&self, name: &Name) -> Vec<Name> {
        let contents = self.nearest(name).and_then(|zone| zone.contents.as_ref());
        contents.map(|contents| contents.at_or_below(name).map(|node| node.owner()).collect()).unwrap_or_default()
    }

    fn mail_domains(&self) -> Vec<Name> {
        let mut domains: Vec<Name> = self.zones.values().flat_map(|zone| &zone.mail_domains).cloned().collect();
        domains.sort();
        domains
    }

    fn mail_domain(&self, name: &Name) -> Option<Name> {
        std::iter::once(name.clone()).chain(name.ancestors()).find_map(|apex| {
            let domains = &self.zones.get(&apex)?.mail_domains;
            Some(domains[domains.binary_search(name).ok()?].clone())
        })
    }
}
