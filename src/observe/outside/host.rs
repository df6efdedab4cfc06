//! Looks at a host: its addresses, the TLSA of each service, and what each service presents at each address, of each key type.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;

use super::resolver::Resolver;
use crate::dane::certificate::KeyType;
use crate::dane::tlsa::Protocol;
use crate::dane::{Chain, Service};
use crate::dns::{Name, Rdata, Rtype};
use crate::observe::presented::{Given, Greeting, How, NotPresented, Turns, present};
use crate::outside::host::{Place, Presented, Seen, ServiceSeen};
use crate::outside::{Failure, Fault, Lookup, Trust};

/// How long a question to a service may take.
const LIMIT: Duration = Duration::from_secs(15);
/// So many addresses of a host are asked.
const ADDRESSES_MAX: usize = 8;

/// What resolvers say of a host: where its services are to be asked.
pub(super) struct Found {
    host: Name,
    addresses: Lookup<IpAddr>,
    incomplete: Option<String>,
    /// The TLSA of each service.
    tlsa: BTreeMap<Service, Lookup<Rdata>>,
}

/// Looks a host up.
pub(super) async fn find(resolver: &Resolver, host: &Name, services: &[Service]) -> Found {
    let (addresses, mut incomplete) = resolver.all_addresses(host).await;
    if addresses.found.len() > ADDRESSES_MAX {
        incomplete = Some(format!("it has {} addresses, and {ADDRESSES_MAX} are asked", addresses.found.len()));
    }
    let mut tlsa = BTreeMap::new();
    for service in services {
        let found = match service.owner() {
            Ok(owner) => resolver.rdata(&owner, Rtype::TLSA).await,
            Err(why) => Lookup::nothing(Trust::Unknown(why.to_string())),
        };
        tlsa.insert(service.clone(), found);
    }
    Found { host: host.clone(), addresses, incomplete, tlsa }
}

/// Asks its services, each when it is the turn of its address: that may take long where many are at one address.
pub(super) async fn ask_all(found: Found, turns: &Turns) -> Seen {
    let Found { host, addresses, mut incomplete, tlsa } = found;
    let mut seen = BTreeMap::new();
    for (service, tlsa) in tlsa {
        let mut asking = JoinSet::new();
        // What is over UDP can't be asked.
        let ips = addresses.found.iter().filter(|_| service.protocol == Protocol::Tcp).take(ADDRESSES_MAX);
        for ip in ips {
            let (address, host, turns) = (SocketAddr::new(*ip, service.port), host.clone(), turns.clone());
            asking.spawn(async move { ask(address, &host, &turns).await });
        }
        let mut presented = BTreeMap::new();
        for (said, why) in asking.join_all().await {
            presented.extend(said);
            incomplete = incomplete.or(why);
        }
        seen.insert(service, ServiceSeen { tlsa, presented });
    }
    Seen { addresses, services: seen, incomplete }
}

/// What is presented to who takes anything, and to who takes the other key type alone, as far as there is such a certificate. Why it
/// may not be all.
async fn ask(address: SocketAddr, host: &Name, turns: &Turns) -> (Vec<Said>, Option<String>) {
    let greeting = Greeting::of(address.port());
    let first = ask_once(address, host, How { greeting, key_type: None }, turns).await;
    let other = match first.as_ref().map(|presented| presented.chain.leaf().key_type) {
        Ok(KeyType::Rsa) => KeyType::Ecdsa,
        Ok(KeyType::Ecdsa | KeyType::Ed25519) => KeyType::Rsa,
        _ => return (vec![((address, None), first.map_err(failed))], None),
    };
    let mut said = vec![((address, None), first.map_err(failed))];
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

/// What it is called that a service presents nothing.
fn failed(why: NotPresented) -> Failure {
    use NotPresented as Not;
    let fault = match &why {
        Not::Refused => Fault::Refused,
        Not::Unreachable(ErrorKind::NetworkUnreachable) => Fault::NoWayFromHere,
        Not::Unreachable(_) => Fault::Unreachable,
        Not::TimedOut(_) => Fault::TimedOut,
        Not::Broken(..) => Fault::Broken,
        Not::NotSmtp(..) => Fault::WrongProtocol,
        Not::TurnedAway { .. } => Fault::TurnedAway,
        Not::NoStartTls => Fault::StarttlsMissing,
        Not::Injected => Fault::StarttlsInjected,
        Not::Alert(_) => Fault::TlsRefused,
        Not::Handshake(_) | Not::Name(_) | Not::Chain(_) => Fault::TlsFails,
    };
    Failure { fault, why: why.to_string() }
}
