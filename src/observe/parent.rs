//! Asks how the world sees a zone: whether a validating resolver's chain of trust leads to it, and which DS each server of the zone
//! above shows. Validates by itself, with the anchors that are configured or the root's: the resolver is only the way.
//!
//! Which zones to ask about comes in as orders; what was seen goes out as news. What it means, and when to ask again, is decided
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::dnssec::{Algorithm, Proof, PublicKeyBuf, TrustAnchors};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::nameservers;
use crate::config::Outside;
use crate::dns::{Name, Rdata};
use crate::outside::Trust;
use crate::outside::chain::{Seen, called};

/// So many zones are asked about at a time.
const AT_ONCE: usize = 4;
/// So many nameservers of the zone above are asked, at an address of each family: some zones have dozens, and one is like the other.
const HOSTS_MAX: usize = 4;
/// How long one question to the resolver may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a server of the zone above may take, and all of them.
const SERVER_LIMIT: Duration = Duration::from_secs(5);
const SERVERS_LIMIT: Duration = Duration::from_secs(20);
/// Where nameservers answer.
const PORT: u16 = 53;

/// A zone that is to be asked about.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its apex.
    pub zone: Name,
    /// Whom to ask, and what to trust.
    pub outside: Arc<Outside>,
}

/// What was seen of it.
#[derive(Debug)]
pub struct News {
    /// The order's.
    pub zone: Name,
    /// The order's.
    pub outside: Arc<Outside>,
    /// From outside.
    pub seen: Seen,
}

/// Asks about each zone that it is ordered to, until nobody can order any more.
pub async fn run(mut orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Order { zone, outside }) = orders.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let news = news.clone();
        tokio::spawn(async move {
            let seen = look(&zone, &outside).await;
            // Who wants to know may have gone.
            let _ = news.send(News { zone, outside, seen }).await;
            drop(place);
        });
    }
}

/// Looks at a zone from outside.
pub async fn look(zone: &Name, outside: &Outside) -> Seen {
    let through = match &outside.resolver[..] {
        [] => "the system's resolver".to_owned(),
        named => named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let nothing = |why: String| Seen {
        through,
        anchor: anchor(zone, outside),
        zone: Trust::Unknown(why.clone()),
        ds: (Trust::Unknown(why.clone()), Vec::new()),
        parent: None,
        above: Trust::Unknown(why),
        servers: BTreeMap::new(),
    };
    match resolver(outside) {
        Err(why) => nothing(why),
        Ok(resolver) => match begins(&resolver, &anchor(zone, outside)).await {
            Err(why) => nothing(why),
            Ok(()) => look_by(&resolver, zone, nothing(String::new())).await,
        },
    }
}

/// Whether what comes through a resolver can be validated at all; why not.
async fn begins(resolver: &TokioResolver, anchor: &Name) -> Result<(), String> {
    match lookup(resolver, anchor, RecordType::SOA).await.0 {
        Trust::Secure => Ok(()),
        Trust::Unknown(why) => Err(why),
        Trust::Insecure | Trust::Bogus => Err(format!(
            "nothing that comes from there validates, not even {} (does the resolver pass DNSSEC's records on, and is this machine's \
             clock right?)",
            called(anchor)
        )),
    }
}

/// The nearest zone at or above whose keys are trusted as such.
fn anchor(zone: &Name, outside: &Outside) -> Name {
    let is_anchor = |name: &Name| outside.anchors.iter().any(|(owner, _)| owner == name);
    std::iter::once(zone.clone()).chain(zone.ancestors()).find(is_anchor).unwrap_or_else(Name::root)
}

fn resolver(outside: &Outside) -> Result<TokioResolver, String> {
    let said = |error: NetError| error.to_string();
    let mut builder = if outside.resolver.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?
    } else {
        let servers = outside.resolver.iter().map(|address| {
            let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            connections.iter_mut().for_each(|connection| connection.port = address.port());
            NameServerConfig::new(address.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let options = builder.options_mut();
    // What was seen an hour ago is not what is seen now.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.validate = true;
    options.timeout = LIMIT / 2;
    if !outside.anchors.is_empty() {
        builder = builder.with_trust_anchor(Arc::new(trusted(outside)?));
    }
    builder.build().map_err(said)
}

/// Only what is configured is trusted: an island's keys say nothing of the root's.
fn trusted(outside: &Outside) -> Result<TrustAnchors, String> {
    let mut anchors = TrustAnchors::empty();
    for (owner, dnskey) in &outside.anchors {
        let Some((&[_, _, _, algorithm], key)) = dnskey.split_first_chunk::<4>() else { continue };
        let key = PublicKeyBuf::new(key.to_vec(), Algorithm::from_u8(algorithm));
        anchors.insert_with_name(&key, hickory(owner)?.into());
    }
    Ok(anchors)
}

fn hickory(name: &Name) -> Result<HickoryName, String> {
    let labels = name.labels();
    HickoryName::from_labels(labels).map_err(|error| format!("{name}: {error}"))
}

/// Puts what is seen of a zone in the place of nothing.
async fn look_by(resolver: &TokioResolver, zone: &Name, mut seen: Seen) -> Seen {
    (seen.zone, _) = lookup(resolver, zone, RecordType::SOA).await;
    let (trust, ds) = lookup(resolver, zone, RecordType::DS).await;
    seen.ds = (trust, ds.iter().filter_map(|record| rdata(&record.data)).collect());
    for ancestor in zone.ancestors() {
        let (trust, soa) = lookup(resolver, &ancestor, RecordType::SOA).await;
        // Only of a name without a zone of its own is the zone further up.
        let goes_on = soa.is_empty() && matches!(trust, Trust::Secure | Trust::Insecure);
        seen.above = trust;
        if !soa.is_empty() {
            seen.servers = ask_all(resolver, &ancestor, zone).await;
            seen.parent = Some(ancestor);
        }
        if !goes_on {
            break;
        }
    }
    seen
}

/// The records of a name and type, and how far they are trusted; without records, how far it is that there are none.
///
/// hickory 0.26.3 takes a chain for ended on less than a proof: it believes an unsigned CNAME in the place of a DNSKEY, an NSEC of a zone
/// that does not enclose the name, and an NSEC3 of the grandparent's. So nothing may be taken back for `Insecure`.
async fn lookup(resolver: &TokioResolver, name: &Name, rtype: RecordType) -> (Trust, Vec<Record>) {
    let name = match hickory(name) {
        Ok(name) => name,
        Err(why) => return (Trust::Unknown(why), Vec::new()),
    };
    let found = match timeout(LIMIT, resolver.lookup(name.clone(), rtype)).await {
        Ok(found) => found,
        Err(_) => return (Trust::Unknown("no answer in time".to_owned()), Vec::new()),
    };
    match found {
        Ok(found) => {
            let is_it = |record: &&Record| record.record_type() == rtype && record.name == name;
            let records: Vec<Record> = found.answers().iter().filter(is_it).cloned().collect();
            let proofs = records.iter().map(|record| record.proof);
            (proofs.min().map_or_else(unproven, trust), records)
        }
        Err(NetError::Dns(DnsError::DnssecBogus)) => (Trust::Bogus, Vec::new()),
        Err(NetError::Dns(DnsError::Nsec { proof, .. })) => (trust(proof), Vec::new()),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let authorities = none.authorities.iter().flat_map(|all| all.iter());
            // Of several signatures hickory marks the one that it has used.
            let authorities = authorities.filter(|record| record.record_type() != RecordType::RRSIG);
            (authorities.map(|record| record.proof).min().map_or_else(unproven, trust), Vec::new())
        }
        Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail))) => {
            let why = "the resolver answers SERVFAIL: it takes the zone for bogus, or reaches no nameserver of it";
            (Trust::Unknown(why.to_owned()), Vec::new())
        }
        Err(error) => (Trust::Unknown(error.to_string()), Vec::new()),
    }
}

/// Nothing came, and no proof that there is nothing.
fn unproven() -> Trust {
    Trust::Unknown("the resolver gives neither records nor a proof that there are none".to_owned())
}

fn trust(proof: Proof) -> Trust {
    match proof {
        Proof::Secure => Trust::Secure,
        Proof::Insecure => Trust::Insecure,
        Proof::Bogus => Trust::Bogus,
        Proof::Indeterminate => Trust::Unknown("the resolver does not give what it takes to validate".to_owned()),
    }
}

/// The DS of a zone at the servers of the zone above, as far as they answer in time: they say why, and not what is so.
async fn ask_all(resolver: &TokioResolver, parent: &Name, zone: &Name) -> BTreeMap<String, Result<Vec<Rdata>, String>> {
    let (_, records) = lookup(resolver, parent, RecordType::NS).await;
    let hosts = records.into_iter().filter_map(|record| match record.data {
        RData::NS(host) => Some(host.0),
        _ => None,
    });
    let hosts: BTreeSet<HickoryName> = hosts.collect();
    let mut asking = JoinSet::new();
    for host in hosts.into_iter().take(HOSTS_MAX) {
        let (resolver, zone) = (resolver.clone(), zone.clone());
        asking.spawn(async move { ask_host(&resolver, &host, &zone).await });
    }
    let mut servers = BTreeMap::new();
    let all = async {
        while let Some(asked) = asking.join_next().await {
            servers.extend(asked.unwrap_or_default());
        }
    };
    // What has come until then counts.
    let _ = timeout(SERVERS_LIMIT, all).await;
    servers
}

/// Each address of a nameserver, one after the other.
async fn ask_host(
    resolver: &TokioResolver,
    host: &HickoryName,
    zone: &Name,
) -> Vec<(String, Result<Vec<Rdata>, String>)> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for rtype in [RecordType::A, RecordType::AAAA] {
        let found = timeout(LIMIT, resolver.lookup(host.clone(), rtype)).await;
        let records = found.into_iter().flatten().flat_map(|found| found.answers().to_vec());
        addresses.extend(records.filter_map(|record| record.data.ip_addr()).take(1));
    }
    let mut asked = Vec::new();
    for address in addresses {
        let shown = nameservers::ask_ds(SocketAddr::new(address, PORT), zone, SERVER_LIMIT).await;
        asked.push((format!("{host} {address}"), shown.map_err(|why| why.to_string())));
    }
    asked
}

fn rdata(data: &RData) -> Option<Rdata> {
    data.to_bytes().ok().map(Rdata::from)
}
