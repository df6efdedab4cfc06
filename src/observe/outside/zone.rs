//! Looks at a zone: its place in the chain of trust, its delegation at each server of the zone above, and what each of its nameservers
//! serves over UDP and TCP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::resolver::{Resolver, name, rdata};
use crate::dane::Tlsa;
use crate::dns::dnssec::RrsigFields;
use crate::dns::header::{AA, CLASS_IN};
use crate::dns::rdata::names;
use crate::dns::walk::{self, Walked};
use crate::dns::{Name, Question, Rdata, Rtype, uncompress};
use crate::observe::nameservers::{Asker, NotShown};
use crate::observe::way::has_way;
use crate::outside::chain;
use crate::outside::denial::Denial;
use crate::outside::zone::{Asked, Nameserver, Referral, Seen, Shown};
use crate::outside::{Failure, Fault, Lookup, Trust};
use crate::zone::serial;

/// So many nameservers of the zone above are asked, at an address of each family: some zones have dozens, and one is like the other.
const ABOVE_MAX: usize = 4;
/// So many of the zone's own, and so many addresses of each: a referral holds no more.
const HOSTS_MAX: usize = 13;
const ADDRESSES_MAX: usize = 4;
/// So many TLSA owners of a zone are asked for: a server that fails at one fails at others.
const OWNERS_MAX: usize = 16;
/// How long a server may take for all that it is asked, and all servers.
const SERVER_LIMIT: Duration = Duration::from_secs(6);
const SERVERS_LIMIT: Duration = Duration::from_secs(30);
/// Where nameservers answer.
const PORT: u16 = 53;

/// Looks at a zone. `owners`: those whose TLSA each nameserver is asked for.
pub(super) async fn look(resolver: &Resolver, apex: &Name, owners: &[Name]) -> Seen {
    let (mut chain, keys) = tokio::join!(chain_of(resolver, apex), resolver.rdata(apex, Rtype::DNSKEY));
    let parents = match &chain.parent {
        Some(parent) if chain.anchor != *apex => ask_above(resolver, parent, apex).await,
        _ => Vec::new(),
    };
    let ds = |asked: &Above| (asked.label.clone(), asked.ds.clone().map_err(|failure| failure.why));
    chain.servers = parents.iter().map(ds).collect();
    let above: BTreeMap<String, Result<Referral, Failure>> =
        parents.into_iter().filter_map(|asked| Some((asked.label, asked.referral?))).collect();
    let nameservers = ask_nameservers(resolver, apex, owners, &above).await;
    Seen { chain, keys, above, nameservers }
}

/// What resolvers make of it.
async fn chain_of(resolver: &Resolver, zone: &Name) -> chain::Seen {
    let any = |_: &RData| Some(());
    let (own, ds) =
        tokio::join!(resolver.lookup(zone, RecordType::SOA, any), resolver.lookup(zone, RecordType::DS, rdata));
    let mut seen = chain::Seen {
        through: resolver.through().to_owned(),
        anchor: resolver.anchor(zone),
        zone: own.trust,
        ds: (ds.trust, ds.found),
        parent: None,
        above: Trust::Unknown("nobody looked".to_owned()),
        servers: BTreeMap::new(),
    };
    for ancestor in zone.ancestors() {
        // hickory takes the SOA of the zone above for an answer where there is none at the name itself: NS tells zones from names.
        let ns = resolver.lookup(&ancestor, RecordType::NS, any).await;
        // Only of a name without a zone of its own is the zone further up.
        let goes_on = ns.found.is_empty() && matches!(ns.trust, Trust::Secure | Trust::Insecure);
        seen.above = match ns.trust {
            Trust::Unknown(why) => Trust::Unknown(format!("{ancestor}: {why}")),
            known => known,
        };
        if !ns.found.is_empty() {
            seen.parent = Some(ancestor);
        }
        if !goes_on {
            break;
        }
    }
    seen
}

/// What a server of the zone above says.
pub struct Above {
    /// What it is called.
    pub label: String,
    /// The DS of the zone.
    pub ds: Result<Vec<Rdata>, Failure>,
    /// None: it serves the zone itself, so it does not refer to it.
    pub referral: Option<Result<Referral, Failure>>,
}

/// Each server of the zone above, as far as it answers in time.
async fn ask_above(resolver: &Resolver, parent: &Name, zone: &Name) -> Vec<Above> {
    let hosts = names_of(resolver, parent).await.found;
    let hosts: BTreeSet<Name> = hosts.into_iter().take(ABOVE_MAX).collect();
    let mut asking = JoinSet::new();
    for host in hosts {
        let (resolver, zone) = (resolver.clone(), zone.clone());
        asking.spawn(async move {
            let addresses = resolver.addresses(&host).await.found;
            let of = |is_v4: bool| addresses.iter().find(move |address| address.is_ipv4() == is_v4).copied();
            let mut asked = Vec::new();
            for address in [of(true), of(false)].into_iter().flatten() {
                asked.push(above(&host, SocketAddr::new(address, PORT), &zone).await);
            }
            asked
        });
    }
    let mut all = Vec::new();
    while let Ok(Some(asked)) = timeout(SERVERS_LIMIT, asking.join_next()).await {
        all.extend(asked.unwrap_or_default());
    }
    all.sort_by(|one: &Above, other| one.label.cmp(&other.label));
    all
}

/// What a server of the zone above says of a zone.
pub async fn above(host: &Name, server: SocketAddr, zone: &Name) -> Above {
    let label = format!("{host} {}", server.ip());
    let mut asker = Asker::new(server, SERVER_LIMIT);
    let failed = |why| failed(why, has_way(server.ip()));
    let ds = asker.ask(&Question::new(zone, Rtype::DS)).await.map_err(failed);
    let ds = ds.map(|message| records(&message, &[1], zone, Rtype::DS));
    if let Err(failure) = &ds
        && matches!(failure.fault, Fault::NameserverSilent | Fault::NoWayFromHere)
    {
        return Above { label, referral: Some(Err(failure.clone())), ds };
    }
    let referral = match asker.said(&Question::new(zone, Rtype::NS)).await {
        Err(why) => Some(Err(failed(why))),
        Ok(message) if message[2] & AA != 0 && !records(&message, &[1], zone, Rtype::NS).is_empty() => None,
        Ok(message) => Some(Ok(referral(&message, zone))),
    };
    Above { label, ds, referral }
}

fn referral(message: &[u8], zone: &Name) -> Referral {
    let ns = records(message, &[1, 2], zone, Rtype::NS);
    let ns: BTreeSet<Name> = ns.iter().flat_map(|rdata| names(Rtype::NS, rdata)).collect();
    let mut glue: BTreeMap<Name, BTreeSet<IpAddr>> = BTreeMap::new();
    for record in walk::records(message).filter(|record| record.section == 3 && record.class == CLASS_IN) {
        let Some((owner, _)) = uncompress::name(message, record.start) else { continue };
        if let Some(address) = address(&record).filter(|_| ns.contains(&owner)) {
            glue.entry(owner).or_default().insert(address);
        }
    }
    Referral { ns, glue }
}

fn address(record: &Walked<'_>) -> Option<IpAddr> {
    match record.rtype {
        Rtype::A => <[u8; 4]>::try_from(record.rdata).ok().map(IpAddr::from),
        Rtype::AAAA => <[u8; 16]>::try_from(record.rdata).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The RDATA of a name and type in these sections.
fn records(message: &[u8], sections: &[u8], owner: &Name, rtype: Rtype) -> Vec<Rdata> {
    let of = walk::records(message)
        .filter(|record| sections.contains(&record.section) && record.rtype == rtype && record.class == CLASS_IN);
    let of = of.filter(|record| uncompress::name(message, record.start).is_some_and(|(found, _)| found == *owner));
    of.filter_map(|record| uncompress::rdata(message, &record)).collect()
}

async fn names_of(resolver: &Resolver, zone: &Name) -> Lookup<Name> {
    let host = |data: &RData| match data {
        RData::NS(host) => name(&host.0),
        _ => None,
    };
    resolver.lookup(zone, RecordType::NS, host).await
}

/// The nameservers that the zone names, and those that the zone above does.
async fn ask_nameservers(
    resolver: &Resolver,
    apex: &Name,
    owners: &[Name],
    above: &BTreeMap<String, Result<Referral, Failure>>,
) -> BTreeMap<Name, Nameserver> {
    let mut hosts: BTreeSet<Name> = names_of(resolver, apex).await.found.into_iter().collect();
    let referrals: Vec<&Referral> = above.values().filter_map(|said| said.as_ref().ok()).collect();
    hosts.extend(referrals.iter().flat_map(|referral| referral.ns.iter().cloned()));
    let mut asking = JoinSet::new();
    for host in hosts.into_iter().take(HOSTS_MAX) {
        let (resolver, apex, owners) = (resolver.clone(), apex.clone(), owners.to_vec());
        // Where resolvers get no further, the zone above leads there.
        let glue: BTreeSet<IpAddr> =
            referrals.iter().filter_map(|referral| referral.glue.get(&host)).flatten().copied().collect();
        asking.spawn(async move {
            let addresses = resolver.addresses(&host).await;
            let all: BTreeSet<IpAddr> = addresses.found.iter().copied().chain(glue).take(ADDRESSES_MAX).collect();
            let mut each = JoinSet::new();
            for address in all {
                let (apex, owners) = (apex.clone(), owners.clone());
                each.spawn(async move { (address, ask(SocketAddr::new(address, PORT), &apex, &owners).await) });
            }
            let asked: BTreeMap<IpAddr, Asked> = each.join_all().await.into_iter().collect();
            (host, Nameserver { addresses, asked })
        });
    }
    asking.join_all().await.into_iter().collect()
}

/// What a nameserver answers. `owners`: those whose TLSA it is asked for.
pub async fn ask(server: SocketAddr, apex: &Name, owners: &[Name]) -> Asked {
    let failed = |why| failed(why, has_way(server.ip()));
    let over_tcp = async {
        let mut asker = Asker::new(server, SERVER_LIMIT).over_tcp_alone();
        asker.serial(apex).await.map_err(failed)
    };
    let (udp, tcp) = tokio::join!(ask_udp(server, apex, owners), over_tcp);
    Asked { udp: udp.map_err(failed), tcp }
}

async fn ask_udp(server: SocketAddr, apex: &Name, owners: &[Name]) -> Result<Shown, NotShown> {
    let failed = |why| failed(why, has_way(server.ip()));
    let mut asker = Asker::new(server, SERVER_LIMIT).with_dnssec().over_udp_alone();
    let mut shown = Shown::default();
    let message = asker.ask(&Question::new(apex, Rtype::SOA)).await?;
    shown.serial = serial::shown(&message, 1, apex).ok_or(NotShown::NoZone)?;
    note(&mut shown, &message, "SOA");
    let message = asker.ask(&Question::new(apex, Rtype::NS)).await?;
    shown.ns = records(&message, &[1], apex, Rtype::NS).iter().flat_map(|rdata| names(Rtype::NS, rdata)).collect();
    note(&mut shown, &message, "NS");
    let message = asker.ask(&Question::new(apex, Rtype::DNSKEY)).await?;
    shown.keys = records(&message, &[1], apex, Rtype::DNSKEY);
    note(&mut shown, &message, "DNSKEY");
    for owner in owners.iter().take(OWNERS_MAX) {
        // Each has its time: that of many together is nothing that anybody waits for.
        let mut asker = Asker::new(server, SERVER_LIMIT).with_dnssec().over_udp_alone();
        let said = asker.ask(&Question::new(owner, Rtype::TLSA)).await;
        let said = said.map_err(failed).map(|message| {
            note(&mut shown, &message, "TLSA");
            tlsa(&message)
        });
        // Who answered a moment ago has lost a packet, and not its tongue.
        if !said.as_ref().is_err_and(|failure: &Failure| failure.fault == Fault::NameserverSilent) {
            shown.tlsa.insert(owner.clone(), said);
        }
    }
    // A name that no zone has.
    let nothing = apex.prepend(b"_danelaw-is-not-there").unwrap_or_else(|_| apex.clone());
    let mut asker = Asker::new(server, SERVER_LIMIT).with_dnssec().over_udp_alone();
    match asker.ask(&Question::new(&nothing, Rtype::TLSA)).await {
        Ok(message) => {
            note(&mut shown, &message, "what is not there");
            shown.denial = Some(Ok(denial(&message)));
        }
        Err(NotShown::Silent(_)) => {}
        Err(why) => shown.denial = Some(Err(failed(why))),
    }
    Ok(shown)
}

/// The TLSA of an answer, wherever its aliases lead.
fn tlsa(message: &[u8]) -> BTreeSet<Tlsa> {
    let all = walk::records(message).filter(|record| record.section == 1 && record.rtype == Rtype::TLSA);
    all.filter_map(|record| Tlsa::from_rdata(record.rdata)).collect()
}

/// What an answer has to say of a name that may not be there.
fn denial(message: &[u8]) -> Denial {
    let of = |section| walk::records(message).filter(move |record| record.section == section);
    let owner = |record: &Walked<'_>| uncompress::name(message, record.start).map(|(owner, _)| owner);
    let proofs = of(2).filter(|record| matches!(record.rtype, Rtype::NSEC | Rtype::NSEC3));
    let signed = of(2).filter(|record| record.rtype == Rtype::RRSIG);
    Denial {
        is_answered: of(1).any(|record| record.rtype != Rtype::RRSIG),
        proofs: proofs.filter_map(|record| Some((owner(&record)?, record.rtype))).collect(),
        signed: signed
            .filter_map(|record| Some((owner(&record)?, RrsigFields::parse(record.rdata)?.covered)))
            .collect(),
    }
}

/// Keeps what an answer says of its signatures.
fn note(shown: &mut Shown, message: &[u8], what: &str) {
    let mut is_signed = false;
    for record in walk::records(message).filter(|record| record.section < 3 && record.rtype == Rtype::RRSIG) {
        let Some(fields) = RrsigFields::parse(record.rdata) else { continue };
        is_signed = true;
        shown.signed.insert((fields.inception, fields.expiration));
    }
    if !is_signed {
        shown.unsigned.insert(what.to_owned());
    }
}

/// What it is called that a nameserver gives no answer, where there is a way to addresses like its own from here, or none.
fn failed(why: NotShown, has_way: bool) -> Failure {
    let fault = match &why {
        NotShown::Silent(ErrorKind::NetworkUnreachable) => Fault::NoWayFromHere,
        NotShown::Silent(kind) if *kind != ErrorKind::ConnectionRefused && !has_way => Fault::NoWayFromHere,
        NotShown::Silent(_) => Fault::NameserverSilent,
        NotShown::NoTcp(_) => Fault::NoTcp,
        // REFUSED, NOTAUTH.
        NotShown::Rcode(5 | 9) | NotShown::NotAuthoritative | NotShown::NoZone => Fault::Lame,
        _ => Fault::AnswersWrongly,
    };
    Failure { fault, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_way_it_is_no_nameserver_that_is_at_fault() {
        use ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
        let of = |why: NotShown, has_way| failed(why, has_way).fault;
        for kind in [AddrNotAvailable, HostUnreachable, TimedOut] {
            assert_eq!(of(NotShown::Silent(kind), true), Fault::NameserverSilent);
            assert_eq!(of(NotShown::Silent(kind), false), Fault::NoWayFromHere);
        }
        assert_eq!(of(NotShown::Silent(NetworkUnreachable), true), Fault::NoWayFromHere);
        // Somebody was there.
        assert_eq!(of(NotShown::Silent(ConnectionRefused), false), Fault::NameserverSilent);
        assert_eq!(of(NotShown::Rcode(5), false), Fault::Lame);
    }
}
