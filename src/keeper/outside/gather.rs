//! What is to be looked at from outside: it follows from what is planned, configured and published.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Weak};

use super::GATHER;
use crate::dane::config::{DkimPolicy, DnssecStrength, MailServiceStrength};
use crate::dane::explain::{Explanation, Status};
use crate::dane::plan::Planned;
use crate::dane::tlsa::{Service, Tlsa};
use crate::dns::{Name, Rtype, Timestamp};
use crate::keeper::Keeper;
use crate::keeper::served::{dnskeys, is_elsewhere};
use crate::keeper::zone::Zone;
use crate::observe::outside::DOMAINS_MAX;
use crate::outside::zone::Expected;
use crate::outside::{Subject, Wanted, domain};

/// The most CNAMEs followed from a DKIM selector.
const CNAMES: usize = 8;

impl Keeper {
    /// Gathers what is to be looked at: the hosts with records, the zones that they are in, and the domains that name them with
    /// theirs; all where the strong grades are asked for, and of the others the domains with DKIM keys elsewhere.
    pub(in crate::keeper) fn watch_from_outside(&mut self, now: Timestamp) {
        let published = Arc::downgrade(&self.published.load_full());
        let is_planned = self.outside.is_planned || self.outside.gathered.is_none();
        let is_other = is_planned || !Weak::ptr_eq(&published, &self.outside.gathered_from);
        let is_due = self.outside.gathered.is_none_or(|at| now < at || now >= at + GATHER);
        self.outside.waits = is_other && !is_due;
        if !is_other || !is_due {
            return;
        }
        (self.outside.gathered, self.outside.gathered_from) = (Some(now), published);
        self.outside.is_planned = false;
        if is_planned { self.gather_all(now) } else { self.gather_published(now) }
    }

    /// The zones that were published anew, and what is looked for of the domains in them.
    fn gather_published(&mut self, now: Timestamp) {
        let (mut all, mut anew) = (Vec::new(), HashSet::new());
        for wanted in self.outside.watched.wants() {
            let Wanted::Zone { apex, owners, expected: before } = wanted else { continue };
            let Some(zone) = self.zones.get(apex) else { continue };
            if zone.published().map(|published| published.serial) != before.serial {
                anew.insert(apex);
                let expected = expected(zone, &owners.iter().collect::<Vec<_>>());
                all.push(Wanted::Zone { apex: apex.clone(), owners: owners.clone(), expected });
            }
        }
        for wanted in self.outside.watched.wants().filter(|_| !anew.is_empty()) {
            let Wanted::Domain { domain, .. } = wanted else { continue };
            if self.authority(domain).is_some_and(|zone| anew.contains(&zone.origin)) {
                all.push(Wanted::Domain { domain: domain.clone(), selectors: self.selectors(domain) });
            }
        }
        all.into_iter().for_each(|wanted| self.outside.watched.want_otherwise(wanted, now));
    }

    fn gather_all(&mut self, now: Timestamp) {
        type Host<'a> = (BTreeSet<&'a Name>, BTreeSet<Service>, BTreeMap<Name, Timestamp>);
        let mut hosts: BTreeMap<&Name, Host<'_>> = BTreeMap::new();
        let mut zones: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        let mut domains: BTreeSet<&Name> = BTreeSet::new();
        let has_records = |planned: &&Planned| !planned.explanation.records.is_empty();
        // A domain with one host that has records is looked at with all of its hosts here.
        let protected: HashSet<&Name> = self.plans.owners().filter(has_records).flat_map(domains_of).collect();
        for planned in self.plans.owners() {
            let Planned { owner, zone, explanation, .. } = planned;
            let of = domains_of(planned);
            if !has_records(&planned) && (zone.is_none() || !of.iter().any(|domain| protected.contains(domain))) {
                continue;
            }
            // Nothing here can tell their keys, whatever the grades.
            domains.extend(of.iter().filter(|domain| self.has_key_elsewhere(domain)));
            let of_domains = of.iter().filter_map(|domain| self.authority(domain)).map(|zone| &zone.origin);
            let strong: Vec<&Name> = zone.iter().chain(of_domains).filter(|apex| self.is_strong(apex)).collect();
            if strong.is_empty() {
                continue;
            }
            for apex in strong {
                zones.entry(apex).or_default();
            }
            if let Some(zone) = zone {
                zones.entry(zone).or_default().push(owner);
            }
            domains.extend(&of);
            let host = hosts.entry(&explanation.host).or_default();
            host.0.extend(of);
            host.1.extend(Service::from_owner(owner));
            host.2.extend(self.absent_until(planned).map(|until| (owner.clone(), until)));
        }
        let mut all: Vec<Wanted> = Vec::new();
        for (host, (domains, services, absent_until)) in hosts {
            let mut domains: Vec<Name> = domains.into_iter().cloned().collect();
            if domains.is_empty() && !services.iter().any(Service::is_smtp) {
                domains = self.near(host);
            }
            let services = services.into_iter().collect();
            all.push(Wanted::Host { host: host.clone(), domains, services, absent_until });
        }
        for (apex, owners) in zones {
            let Some(zone) = self.zones.get(apex) else { continue };
            let expected = expected(zone, &owners);
            let owners = owners.into_iter().cloned().collect();
            all.push(Wanted::Zone { apex: apex.clone(), owners, expected });
        }
        domains.extend(self.dane_config.elsewhere.keys().filter(|domain| self.authority(domain).is_none()));
        for domain in domains {
            all.push(Wanted::Domain { domain: domain.clone(), selectors: self.selectors(domain) });
        }
        if let Some(folder) = &self.config.outside.reports {
            let named = |wanted: &Wanted| match wanted.subject() {
                Subject::Domain(name) | Subject::Host(name) => Some(name),
                Subject::Zone(_) | Subject::Reports(_) => None,
            };
            let domains = all.iter().filter_map(named).collect();
            all.push(Wanted::Reports { folder: folder.clone(), domains });
        }
        self.outside.watched.want(all, now);
        self.forget_presented();
    }

    /// The domains that may have an SRV for a host that is nobody's mail server: its zone, and the mail domains in that.
    fn near(&self, host: &Name) -> Vec<Name> {
        let Some(zone) = self.authority(host) else { return Vec::new() };
        let others = zone.mail_domains.iter().filter(|domain| **domain != zone.origin);
        std::iter::once(&zone.origin).chain(others).take(DOMAINS_MAX).cloned().collect()
    }

    /// Whether somebody wants to know how others see a zone.
    fn is_strong(&self, apex: &Name) -> bool {
        let config = self.dane_config.zone(apex);
        config.dnssec == DnssecStrength::Parent || config.mail_service == MailServiceStrength::Probed
    }

    /// Until when caches may hold that an owner had no TLSA, which is out (RFC 2308 section 5).
    fn absent_until(&self, planned: &Planned) -> Option<Timestamp> {
        let Explanation { status: Status::Served(_), since: Some(since), .. } = &planned.explanation else {
            return None;
        };
        let negative_ttl = self.zones.get(planned.zone.as_ref()?)?.contents.as_ref()?.negative_ttl()?;
        Some(since + Timestamp::from(negative_ttl))
    }

    /// The owners of a domain's DKIM keys: those that are configured, or those in its zone; none where nobody here knows them.
    fn selectors(&self, domain: &Name) -> Option<Vec<Name>> {
        let zone = self.authority(domain);
        match self.dane_config.dkim_owners(domain, zone.map(|zone| &zone.origin))? {
            named if !named.is_empty() => Some(named),
            _ => domain::selectors(zone?.contents.as_ref()?, domain),
        }
    }

    /// Whether a domain's DKIM is needed, and resolvers alone can tell a key of it.
    fn has_key_elsewhere(&self, domain: &Name) -> bool {
        let Some(zone) = self.authority(domain) else { return false };
        self.dane_config.zone(&zone.origin).dkim == DkimPolicy::Required
            && self.selectors(domain).is_none_or(|owners| owners.iter().any(|owner| self.leads_elsewhere(owner)))
    }

    fn leads_elsewhere(&self, owner: &Name) -> bool {
        let mut owner = owner.clone();
        for _ in 0..CNAMES {
            let Some(zone) = self.authority(&owner) else { return true };
            let cname = zone.contents.as_ref().and_then(|contents| contents.rrset(&owner, Rtype::CNAME));
            let Some(target) = cname.and_then(|cname| Name::from_wire(cname.rdatas.first()?).ok()) else {
                return false;
            };
            owner = target;
        }
        false
    }

    /// The zone here that is authoritative for a name.
    pub(in crate::keeper) fn authority(&self, name: &Name) -> Option<&Zone> {
        let mut above = std::iter::once(name.clone()).chain(name.ancestors());
        let zone = above.find_map(|apex| self.zones.get(&apex))?;
        (!is_elsewhere(zone, name)).then_some(zone)
    }
}

/// The mail domains that name an owner's host.
fn domains_of(planned: &Planned) -> Vec<&Name> {
    planned.explanation.assessments.iter().filter_map(|assessment| assessment.domain.as_ref()).collect()
}

/// What a zone's nameservers are to have.
fn expected(zone: &Zone, owners: &[&Name]) -> Expected {
    let published = zone.published();
    let tlsa = owners.iter().map(|owner| {
        let set = published.and_then(|published| published.set(owner, Rtype::TLSA));
        let rdatas = set.into_iter().flat_map(|set| set.rrset.rdatas);
        ((*owner).clone(), rdatas.filter_map(|rdata| Tlsa::from_rdata(&rdata)).collect())
    });
    Expected { keys: dnskeys(zone), serial: published.map(|published| published.serial), tlsa: tlsa.collect() }
}
