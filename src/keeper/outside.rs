//! How the world sees zones, mail domains and mail servers: the edge looks, `outside` says what it means, and when to look again.

mod presenting;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Keeper;
use super::served::{dnskeys, is_elsewhere};
use super::zone::Zone;
use crate::config;
use crate::dane::config::{DkimPolicy, DnssecStrength, MailServiceStrength};
use crate::dane::explain::{Explanation, Status};
use crate::dane::plan::Planned;
use crate::dane::prerequisites::{Fact, Resolved, Verdict};
use crate::dane::state::State as DaneState;
use crate::dane::tlsa::{Service, Tlsa};
use crate::dns::{Name, Rtype, Timestamp};
use crate::observe::outside::{DOMAINS_MAX, News, Order};
use crate::observe::way::is_local;
use crate::outside::watched::{Found, Watched};
use crate::outside::zone::Expected;
use crate::outside::{Area, Check, Level, Seen, Subject, Wanted, domain, host, worst};
use crate::store::{Store, StoreError};
use crate::tell::{Condition, Kind, Notice, Stands};
use crate::zone::Snapshot;
use crate::zone::serial::minimum_of_soa;

use presenting::Presenting;

/// Looks that wait for an answer at a time.
const ORDERS: usize = 64;
/// Seconds until what is to be looked at is gathered again, though nothing was configured or restarted.
const GATHER: u64 = 5;
/// The most CNAMEs followed from a DKIM selector.
const CNAMES: usize = 8;

/// What is known of the zones from outside, and where questions go.
#[derive(Default)]
pub(super) struct Outside {
    pub(super) watched: Watched,
    orders: Option<mpsc::Sender<Order>>,
    /// When it was gathered what is to be looked at.
    gathered: Option<Timestamp>,
    /// What was published then.
    gathered_from: Weak<Snapshot>,
    /// Something was planned otherwise since.
    is_planned: bool,
    /// Something is to be gathered, and it was too soon for that.
    waits: bool,
    /// The hosts and mail domains that are seen otherwise than when they were planned last.
    probed: BTreeSet<Name>,
    presenting: Presenting,
    /// The certificates that the operator has let go, by their fingerprints: presenting them brings none back.
    pub(super) forgotten: BTreeSet<String>,
}

/// How a zone is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutsideReport {
    /// Whether resolvers trust it.
    pub verdict: Verdict,
    /// What that rests on.
    pub evidence: String,
    /// What the operator has to do; empty when nothing.
    pub help: String,
    /// When it was looked last.
    pub at: Timestamp,
}

/// Everything that was found of a zone, a mail domain or a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FoundReport {
    /// What was looked at.
    #[serde(flatten)]
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
    /// The worst of it.
    pub level: Level,
    /// So many checks found nothing wrong.
    pub ok: usize,
    /// What the others found.
    pub checks: Vec<Check>,
}

impl Outside {
    /// What hosts presented before the start they present until they were looked at.
    pub(super) fn load(store: &Store, dane: &DaneState, config: &config::Outside) -> Result<Outside, StoreError> {
        let mut outside = Outside { presenting: Presenting::load(store, dane)?, ..Outside::default() };
        outside.watched.configure(config.hysteresis);
        Ok(outside)
    }

    /// What the parent says of a zone.
    pub(super) fn parent(&self, apex: &Name) -> Fact {
        let unseen =
            || Fact::unknown("not checked: it is being looked at from outside", "wait a minute, and ask again");
        self.watched.fact(apex).map_or_else(unseen, |(fact, _)| fact.clone())
    }

    /// What a mail server presents. `own`: the addresses that the zones here give it; a loss is proven at one of them alone, and only
    /// if it is this machine's: whoever stands before a resolver can name others.
    pub(super) fn probed(&self, host: &Name, own: &[IpAddr]) -> Fact {
        let unseen =
            || Fact::unknown("not checked: it is being asked what it presents", "wait a minute, and ask again");
        let found = self.watched.found(&Subject::Host(host.clone()));
        match found.map(|found| (found, found.seen.as_ref())) {
            // What was seen before nothing could be seen any more is not what is seen now.
            Some((found, Some((Seen::Host(seen), at)))) if *at == found.at => {
                host::service(&Service::smtp(host.clone()), seen, |ip| own.contains(&ip) && is_local(ip))
            }
            Some((found, _)) => {
                let why = found.checks.first().map_or_else(String::new, |check| check.evidence.clone());
                Fact::unknown(format!("it can't be looked at: {why}"), "see that a resolver is reached from here")
            }
            None => unseen(),
        }
    }

    /// A mail domain as resolvers see it.
    pub(super) fn resolved(&self, domain: &Name) -> Resolved {
        let found = self.watched.found(&Subject::Domain(domain.clone()));
        match found.map(|found| (found, found.seen.as_ref())) {
            Some((found, Some((Seen::Domain(seen), at)))) if *at == found.at => domain::resolved(domain, seen),
            Some((found, _)) => {
                let why = found.checks.first().map_or_else(String::new, |check| check.evidence.clone());
                Resolved::unseen(&why)
            }
            None => Resolved::unseen("it is being looked at from outside"),
        }
    }

    pub(super) fn report(&self, apex: &Name) -> Option<OutsideReport> {
        let (Fact { verdict, evidence, help }, at) = self.watched.fact(apex)?;
        Some(OutsideReport { verdict: *verdict, evidence: evidence.clone(), help: help.clone(), at })
    }

    /// Everything that was found.
    pub(super) fn reports(&self) -> Vec<FoundReport> {
        let report = |(subject, found): (&Subject, &Found)| FoundReport {
            subject: subject.clone(),
            at: found.at,
            level: worst(&found.checks),
            ok: found.checks.iter().filter(|check| check.level == Level::Ok).count(),
            checks: found.checks.iter().filter(|check| check.level != Level::Ok).cloned().collect(),
        };
        self.watched.all().map(report).collect()
    }

    /// What was found of a host, of the zone that it is in, and of the domains that name it.
    pub(super) fn about(&self, host: &Name, zone: Option<&Name>, domains: &[&Name]) -> Vec<Check> {
        let subjects = std::iter::once(Subject::Host(host.clone()))
            .chain(zone.map(|zone| Subject::Zone(zone.clone())))
            .chain(domains.iter().map(|domain| Subject::Domain((*domain).clone())));
        let found = subjects.filter_map(|subject| self.watched.found(&subject));
        found.flat_map(|found| found.checks.iter().cloned()).collect()
    }

    /// It is configured otherwise: all are looked at at once.
    pub(super) fn configure(&mut self, config: &config::Outside) {
        self.watched.configure(config.hysteresis);
        self.gathered = None;
        self.watched.hurry();
    }

    /// Whether everything was looked at since the start, so that what is not among the conditions is over.
    pub(super) fn is_settled(&self) -> bool {
        self.watched.is_settled()
    }

    /// What loses mail or its protection, a line each: of what stands.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let critical = self.watched.standing().filter(|(_, check, _)| check.level == Level::Critical);
        critical.map(|(_, check, _)| line(check))
    }

    /// The same as conditions, each told once until it is over.
    pub(super) fn conditions(&self) -> impl Iterator<Item = Condition> {
        let critical = self.watched.standing().filter(|(_, check, _)| check.level == Level::Critical);
        critical.map(|(_, check, since)| {
            let text = check.fault.map_or_else(String::new, |fault| format!("seen from outside: {fault}"));
            let todo = if check.help.is_empty() { String::new() } else { format!("\nTo do: {}.", check.help) };
            let notice = Notice::new(since, Kind::Alarm, &check.subject, &text);
            Condition { notice: notice.with(format!("Found: {}.{todo}", check.evidence)), stands: Stands::Yes }
        })
    }

    /// Whether something stands that is wrong with a zone or a host; none of what nobody looks at.
    pub(super) fn is_wrong(&self, subject: &Subject, area: Area) -> Option<bool> {
        self.watched.is_wrong(subject, area)
    }

    /// The hosts and mail domains that are seen otherwise than when they were planned last.
    pub(super) fn newly_probed(&self) -> impl Iterator<Item = Name> {
        self.probed.iter().cloned()
    }

    /// They are planned. `is_other`: some owner otherwise than before.
    pub(super) fn planned(&mut self, is_other: bool) {
        self.probed.clear();
        self.is_planned |= is_other;
    }
}

fn line(check: &Check) -> String {
    let todo = if check.help.is_empty() { String::new() } else { format!("; {}", check.help) };
    format!("{}: {}{todo}", check.subject, check.evidence)
}

impl Keeper {
    /// From now on zones are looked at from outside, by whoever takes these orders.
    pub fn outside_orders(&mut self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        self.outside.orders = Some(sender);
        orders
    }

    /// Gathers what is to be looked at: the hosts with records, the zones that they are in, and the domains that name them with
    /// theirs; all where the strong grades are asked for, and of the others the domains with DKIM keys elsewhere.
    pub(super) fn watch_from_outside(&mut self, now: Timestamp) {
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
        let soa = self.zones.get(planned.zone.as_ref()?)?.contents.as_ref()?.soa()?;
        let minimum = soa.rdatas.first().and_then(|rdata| minimum_of_soa(rdata))?;
        Some(since + Timestamp::from(minimum.min(soa.ttl)))
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
    pub(super) fn authority(&self, name: &Name) -> Option<&Zone> {
        let mut above = std::iter::once(name.clone()).chain(name.ancestors());
        let zone = above.find_map(|apex| self.zones.get(&apex))?;
        (!is_elsewhere(zone, name)).then_some(zone)
    }

    /// Asks what is due; gives when more will be.
    pub fn send_outside(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.outside.waits {
            self.watch_from_outside(now);
        }
        let orders = self.outside.orders.as_ref()?;
        let outside = Arc::new(self.config.outside.clone());
        for wanted in self.outside.watched.due(now, orders.capacity()) {
            // There is room, and nobody else sends.
            drop(orders.try_send(Order { wanted, outside: Arc::clone(&outside) }));
        }
        let gathers = self.outside.gathered.filter(|_| self.outside.waits).map(|at| at + GATHER);
        self.outside.watched.next().into_iter().chain(gathers).min().map(|next| next.max(now + 1))
    }

    /// Something was looked at. Whether any is seen otherwise than before. What others were asked than are asked now does not count.
    pub fn hear_outside(&mut self, news: Vec<News>, now: Timestamp) -> bool {
        let mut is_other = false;
        for News { order, seen } in news {
            if *order.outside != self.config.outside {
                self.outside.watched.unasked(&order.wanted.subject());
                continue;
            }
            if let (Wanted::Host { host, .. }, Ok(Seen::Host(seen))) = (&*order.wanted, &seen)
                && self.outside.watched.wanted(&order.wanted.subject()).is_some()
            {
                self.note_presented(host, seen);
            }
            let is_news = self.outside.watched.seen(&order.wanted, seen, now);
            is_other |= is_news;
            if let Subject::Host(name) | Subject::Domain(name) = order.wanted.subject()
                && is_news
            {
                self.outside.probed.insert(name);
            }
        }
        self.outside.presenting.save(&mut self.store);
        is_other
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
