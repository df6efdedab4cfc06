//! Looks at a host: its addresses, the TLSA of each service, and what each service presents at each address, of each key type.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};
use tokio::task::JoinSet;

use super::resolver::{Resolver, name};
use crate::dane::certificate::KeyType;
use crate::dane::tlsa::Protocol;
use crate::dane::{Chain, Service};
use crate::dns::{Name, Rdata, Rtype};
use crate::observe::presented::{Given, Greeting, How, NotPresented, Stage, Turns, present};
use crate::observe::way::{has_way, is_local};
use crate::outside::host::{Place, Presented, Seen, ServiceSeen, is_connected};
use crate::outside::{Failure, Fault, Lookup, Trust};

/// How long a question to a service may take.
const LIMIT: Duration = Duration::from_secs(15);
/// So many addresses of a host are asked.
const ADDRESSES_MAX: usize = 8;
/// So many domains are asked whether they name a service.
pub const DOMAINS_MAX: usize = 16;

/// What resolvers say of a host: where its services are to be asked.
pub(super) struct Found {
    addresses: Lookup<IpAddr>,
    incomplete: Option<String>,
    /// Its services, none of which is asked yet.
    services: BTreeMap<Service, ServiceSeen>,
}

/// Looks a host up. `domains`: those that may name its services.
pub(super) async fn find(resolver: &Resolver, host: &Name, domains: &[Name], services: &[Service]) -> Found {
    let (addresses, mut incomplete) = resolver.all_addresses(host).await;
    if addresses.found.len() > ADDRESSES_MAX {
        incomplete = Some(format!("it has {} addresses, and {ADDRESSES_MAX} are asked", addresses.found.len()));
    }
    let mut found = BTreeMap::new();
    for service in services {
        let (base, tlsa) = tlsa(resolver, service, &addresses).await;
        let sources = sources(resolver, service, domains).await;
        found.insert(service.clone(), ServiceSeen { base, sources, tlsa, presented: BTreeMap::new() });
    }
    Found { addresses, incomplete, services: found }
}

/// Asks its services, each when it is the turn of its address: that may take long where many are at one address.
pub(super) async fn ask_all(found: Found, turns: &Turns) -> Seen {
    let Found { addresses, mut incomplete, services: mut seen } = found;
    for (service, of) in &mut seen {
        let mut asking = JoinSet::new();
        // What is over UDP can't be asked.
        let ips = addresses.found.iter().filter(|_| service.protocol == Protocol::Tcp).take(ADDRESSES_MAX);
        for ip in ips {
            let (address, host, turns) = (SocketAddr::new(*ip, service.port), of.base.clone(), turns.clone());
            asking.spawn(async move { ask(address, &host, &turns).await });
        }
        let mut presented = BTreeMap::new();
        for (said, why) in asking.join_all().await {
            presented.extend(said);
            incomplete = incomplete.or(why);
        }
        of.presented = presented;
    }
    let of_mail = seen.iter().filter(|(service, _)| service.is_smtp()).flat_map(|(_, seen)| &seen.presented);
    let is_let_out = of_mail.into_iter().any(|((address, _), said)| is_connected(said) && !is_local(address.ip()));
    Seen { addresses, services: seen, incomplete, is_let_out }
}

/// The TLSA of a service, and at which name: that of which the host is an alias is asked first (RFC 7671 section 7, RFC 7672 section
/// 2.2.2), as far as it is known for sure.
async fn tlsa(resolver: &Resolver, service: &Service, addresses: &Lookup<IpAddr>) -> (Name, Lookup<Rdata>) {
    let at = async |host: &Name| match (Service { host: host.clone(), ..service.clone() }).owner() {
        Ok(owner) => resolver.rdata(&owner, Rtype::TLSA).await,
        Err(why) => Lookup::nothing(Trust::Unknown(why.to_string())),
    };
    if let Some(alias) = addresses.alias.as_ref().filter(|_| addresses.trust == Trust::Secure) {
        let tlsa = at(alias).await;
        if !tlsa.found.is_empty() || tlsa.unknown().is_some() {
            return (alias.clone(), tlsa);
        }
    }
    (service.host.clone(), at(&service.host).await)
}

/// The domains whose SRV records name a service, as far as they are secure: those of RFC 6186, RFC 8314 section 5.1 and RFC 5804
/// section 1.8.
async fn sources(resolver: &Resolver, service: &Service, domains: &[Name]) -> BTreeSet<Name> {
    let label: &[u8] = match service.port {
        110 => b"_pop3",
        143 => b"_imap",
        465 => b"_submissions",
        587 => b"_submission",
        993 => b"_imaps",
        995 => b"_pop3s",
        4190 => b"_sieve",
        _ => return BTreeSet::new(),
    };
    let target = |data: &RData| match data {
        RData::SRV(srv) => Some((name(&srv.target)?, srv.port)),
        _ => None,
    };
    let mut asking = JoinSet::new();
    for domain in domains.iter().take(DOMAINS_MAX) {
        let Ok(owner) = domain.prepend(b"_tcp").and_then(|name| name.prepend(label)) else { continue };
        let (resolver, service, domain) = (resolver.clone(), service.clone(), domain.clone());
        asking.spawn(async move {
            let srv = resolver.lookup(&owner, RecordType::SRV, target).await;
            let names_it = srv.trust == Trust::Secure && srv.found.contains(&(service.host, service.port));
            Some(domain).filter(|_| names_it)
        });
    }
    asking.join_all().await.into_iter().flatten().collect()
}

/// What is presented to who takes anything, and to who takes the other key type alone, as far as there is such a certificate. Why it
/// may not be all.
async fn ask(address: SocketAddr, host: &Name, turns: &Turns) -> (Vec<Said>, Option<String>) {
    let greeting = Greeting::of(address.port());
    let first = ask_once(address, host, How { greeting, key_type: None }, turns).await;
    let other = match first.as_ref().map(|presented| presented.chain.leaf().key_type) {
        Ok(KeyType::Rsa) => KeyType::Ecdsa,
        Ok(KeyType::Ecdsa | KeyType::Ed25519) => KeyType::Rsa,
        _ => return (vec![((address, None), first.map_err(|why| failed(why, has_way(address.ip()))))], None),
    };
    let mut said = vec![((address, None), first.map_err(|why| failed(why, has_way(address.ip()))))];
    match ask_once(address, host, How { greeting, key_type: Some(other) }, turns).await {
        Ok(second) if second.chain.leaf().key_type == other => said.push(((address, Some(other)), Ok(second))),
        // It has none of that type.
        Ok(_) | Err(NotPresented::Alert(_) | NotPresented::Handshake(_)) => {}
        Err(why) => return (said, Some(format!("{address} was not asked for a certificate with {other}: {why}"))),
    }
    (said, None)
}

/// What a place presents.
type Said = (Place, Result<Presented, Failure>);

async fn ask_once(address: SocketAddr, host: &Name, how: How, turns: &Turns) -> Result<Presented, NotPresented> {
    let Given { certificates, protocol } = turns.ask_patiently(address, || present(address, how, host, LIMIT)).await?;
    Ok(Presented { chain: Chain::presented(&certificates)?, protocol })
}

/// What it is called that a service presents nothing, where there is a way to addresses like its own from here, or none.
fn failed(why: NotPresented, has_way: bool) -> Failure {
    use NotPresented as Not;
    if matches!(why, Not::Unreachable(_) | Not::TimedOut(Stage::Connecting)) && !has_way {
        return Failure { fault: Fault::NoWayFromHere, why: format!("{why}; this machine has no public IPv6 address") };
    }
    let fault = match &why {
        Not::Refused => Fault::Refused,
        Not::Unreachable(ErrorKind::NetworkUnreachable) => Fault::NoWayFromHere,
        Not::Unreachable(_) => Fault::Unreachable,
        Not::TimedOut(Stage::Connecting) => Fault::Unanswered,
        Not::TimedOut(_) => Fault::TimedOut,
        Not::Broken(..) => Fault::Broken,
        Not::NotSpoken { .. } => Fault::WrongProtocol,
        Not::TurnedAway { .. } => Fault::TurnedAway,
        Not::NoStartTls(_) => Fault::StarttlsMissing,
        Not::Injected => Fault::StarttlsInjected,
        Not::Unknown(_) => Fault::NotSpokenHere,
        Not::Alert(_) => Fault::TlsRefused,
        Not::Handshake(_) | Not::Name(_) | Not::Chain(_) => Fault::TlsFails,
    };
    Failure { fault, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_it_is_no_server_that_is_at_fault() {
        use ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
        let of = |why: NotPresented, has_way| failed(why, has_way).fault;
        for kind in [AddrNotAvailable, HostUnreachable] {
            assert_eq!(of(NotPresented::Unreachable(kind), true), Fault::Unreachable);
            assert_eq!(of(NotPresented::Unreachable(kind), false), Fault::NoWayFromHere);
        }
        assert_eq!(of(NotPresented::Unreachable(NetworkUnreachable), true), Fault::NoWayFromHere);
        assert_eq!(of(NotPresented::TimedOut(Stage::Connecting), true), Fault::Unanswered);
        assert_eq!(of(NotPresented::TimedOut(Stage::Connecting), false), Fault::NoWayFromHere);
        // Somebody was there.
        for has_way in [true, false] {
            assert_eq!(of(NotPresented::Refused, has_way), Fault::Refused);
            assert_eq!(of(NotPresented::TimedOut(Stage::Banner), has_way), Fault::TimedOut);
        }
    }
}
