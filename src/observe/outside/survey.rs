//! Looks once at everything that mail for a domain goes through: the domain, the hosts of its MX, and the zones that these are in.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::resolver::Resolver;
use super::{domain, host, zone};
use crate::config::Outside;
use crate::dane::Service;
use crate::dane::tlsa::Protocol;
use crate::dns::{Name, Rtype, Timestamp};
use crate::observe::presented::Turns;
use crate::outside::domain::mail_hosts;
use crate::outside::zone::Expected;
use crate::outside::{Failure, Seen, Wanted, absent};
use crate::zone::serial::minimum_of_soa;

/// So many hosts of an MX are looked at.
const HOSTS_MAX: usize = 8;

/// What to look at once.
#[derive(Clone, Debug)]
pub struct Question {
    /// The mail domain.
    pub domain: Name,
    /// The owners of its DKIM keys; none: nobody knows them.
    pub selectors: Option<Vec<Name>>,
    /// Zones that are known to be some, whatever the world says.
    pub zones: Vec<Name>,
    /// The ports of its mail hosts that are asked beside 25.
    pub ports: BTreeSet<u16>,
}

/// Looks at everything, and gives each with what was to be known of it. An error: nothing can be validated from here.
pub async fn survey(question: &Question, outside: &Outside, now: Timestamp) -> Result<Vec<(Wanted, Seen)>, Failure> {
    let resolver = Resolver::new(outside, &question.domain).await?;
    let turns = Turns::default();
    let Question { domain, selectors, zones, ports } = question;
    let of_domain = domain::look(&resolver, domain, selectors.as_deref()).await;
    let hosts: Vec<Name> = mail_hosts(&of_domain.mx).into_iter().take(HOSTS_MAX).cloned().collect();
    let mut looking = JoinSet::new();
    for host in &hosts {
        let (resolver, turns, host, domain) = (resolver.clone(), turns.clone(), host.clone(), domain.clone());
        let ports: BTreeSet<u16> = ports.iter().copied().chain([25]).collect();
        looking.spawn(async move {
            let of = |port| Service { host: host.clone(), port, protocol: Protocol::Tcp };
            let services: Vec<Service> = ports.into_iter().map(of).collect();
            let domains = vec![domain];
            let seen = host::ask_all(host::find(&resolver, &host, &domains, &services).await, &turns).await;
            (Wanted::Host { host, domains, services, absent_until: BTreeMap::new() }, Seen::Host(seen))
        });
    }
    let owner = |host: &Name| Service::smtp(host.clone()).owner().ok();
    let names = std::iter::once((domain, None)).chain(hosts.iter().map(|host| (host, owner(host))));
    let mut apexes: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
    for (name, owner) in names {
        let known = std::iter::once(name.clone()).chain(name.ancestors()).find(|above| zones.contains(above));
        let found = match known {
            Some(known) => Some(known),
            None => apex(&resolver, name).await.filter(|apex| name == domain || apex != name),
        };
        if let Some(apex) = found {
            apexes.entry(apex).or_default().extend(owner);
        }
    }
    for (apex, owners) in apexes {
        let resolver = resolver.clone();
        looking.spawn(async move {
            let seen = zone::look(&resolver, &apex, &owners).await;
            (Wanted::Zone { apex, owners, expected: Expected::default() }, Seen::Zone(Box::new(seen)))
        });
    }
    let mut all = looking.join_all().await;
    for (owner, zone) in absent::at_nameservers(&all) {
        let until = now + negative_ttl(&resolver, &zone).await;
        for (wanted, _) in &mut all {
            if let Wanted::Host { host, absent_until, .. } = wanted
                && owner.is_below(host)
            {
                absent_until.insert(owner.clone(), until);
            }
        }
    }
    let is_let_out = all.iter().any(|(_, seen)| matches!(seen, Seen::Host(host) if host.is_let_out));
    for (_, seen) in &mut all {
        if let Seen::Host(host) = seen {
            host.is_let_out = is_let_out;
        }
    }
    all.sort_by_key(|(wanted, _)| wanted.subject());
    all.insert(
        0,
        (Wanted::Domain { domain: domain.clone(), selectors: selectors.clone() }, Seen::Domain(Box::new(of_domain))),
    );
    Ok(all)
}

/// Seconds for which caches may hold that there is nothing in a zone (RFC 2308 section 5).
async fn negative_ttl(resolver: &Resolver, zone: &Name) -> Timestamp {
    let soa = resolver.rdata(zone, Rtype::SOA).await;
    soa.found.first().and_then(|rdata| minimum_of_soa(rdata)).map_or(0, Timestamp::from)
}

/// The zone that a name is in. Where that can't be found out, the name itself is taken for one: what is wrong with it will be seen.
async fn apex(resolver: &Resolver, name: &Name) -> Option<Name> {
    for above in std::iter::once(name.clone()).chain(name.ancestors()) {
        let ns = resolver.lookup(&above, RecordType::NS, |_: &RData| Some(())).await;
        if !ns.found.is_empty() && ns.alias.is_none() {
            return Some(above).filter(|above| !above.is_root());
        }
        if ns.unknown().is_some() {
            return Some(name.clone());
        }
    }
    None
}
