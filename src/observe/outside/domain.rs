//! Looks at a mail domain: its MX, the keys that its mail is signed with, and what stands beside it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};

use super::resolver::{Resolver, name, rdata};
use crate::dns::mailtext::txt_value;
use crate::dns::{Name, Rtype};
use crate::observe::policy;
use crate::outside::domain::{Seen, mail_hosts};
use crate::outside::neighbours::{self, Authorities, Pointer};
use crate::outside::{Lookup, Trust, dmarc, sts};

/// How long it may take to fetch an MTA-STS policy.
const POLICY_LIMIT: Duration = Duration::from_secs(10);
/// So many hosts of an MX are asked for, and so many names of an address.
const HOSTS_MAX: usize = 8;
const NAMES_MAX: usize = 4;
/// So many addresses of a host, and so many names above it.
const ADDRESSES_MAX: usize = 8;
const ABOVE_MAX: usize = 16;

/// Looks at a mail domain.
pub(super) async fn look(resolver: &Resolver, domain: &Name, selectors: Option<&[Name]>) -> Seen {
    let exchange = |data: &RData| match data {
        RData::MX(mx) => Some((mx.preference, name(&mx.exchange)?)),
        _ => None,
    };
    let mx = resolver.lookup(domain, RecordType::MX, exchange).await;
    let mut dkim = selectors.map(|_| BTreeMap::new());
    for selector in selectors.unwrap_or_default() {
        let found = texts(resolver, selector).await;
        dkim.get_or_insert_default().insert(selector.clone(), found);
    }
    let hosts: Vec<Name> = mail_hosts(&mx).into_iter().take(HOSTS_MAX).cloned().collect();
    let neighbours = neighbours(resolver, domain, &hosts).await;
    Seen { mx, dkim, neighbours }
}

async fn neighbours(resolver: &Resolver, domain: &Name, hosts: &[Name]) -> neighbours::Seen {
    let (spf, (dmarc, dmarc_above), record, tls_rpt) = tokio::join!(
        texts(resolver, domain),
        policies(resolver, domain),
        texts_below(resolver, domain, &["_mta-sts"]),
        texts_below(resolver, domain, &["_tls", "_smtp"]),
    );
    let is_published = record.found.iter().any(|text| sts::is_record(text));
    let policy = if is_published { Some(policy(resolver, domain).await) } else { None };
    let mut seen = neighbours::Seen {
        spf,
        dmarc,
        dmarc_above,
        sts: record,
        policy,
        tls_rpt,
        caa: BTreeMap::new(),
        ptr: BTreeMap::new(),
    };
    for host in hosts {
        seen.caa.insert(host.clone(), authorities(resolver, host).await);
        for address in resolver.addresses(host).await.found.into_iter().take(ADDRESSES_MAX) {
            seen.ptr.insert(address, pointer(resolver, host, address).await);
        }
    }
    seen
}

/// The DMARC records of a domain, and where it has none those of the names above.
async fn policies(resolver: &Resolver, domain: &Name) -> (Lookup<Vec<u8>>, Vec<(Name, Lookup<Vec<u8>>)>) {
    let own = texts_below(resolver, domain, &["_dmarc"]).await;
    let mut above = Vec::new();
    if dmarc::is_there(&own) || own.unknown().is_some() {
        return (own, above);
    }
    for name in dmarc::above(domain) {
        let found = texts_below(resolver, &name, &["_dmarc"]).await;
        let is_last = dmarc::is_last(&found);
        above.push((name, found));
        if is_last {
            break;
        }
    }
    (own, above)
}

/// The TXT of a name, the strings of each joined.
async fn texts(resolver: &Resolver, owner: &Name) -> Lookup<Vec<u8>> {
    resolver.lookup(owner, RecordType::TXT, |data| rdata(data).map(|rdata| txt_value(&rdata))).await
}

/// The same of the name below, each label put in front of the one before.
async fn texts_below(resolver: &Resolver, domain: &Name, labels: &[&str]) -> Lookup<Vec<u8>> {
    match labels.iter().try_fold(domain.clone(), |name, label| name.prepend(label.as_bytes())) {
        Ok(owner) => texts(resolver, &owner).await,
        Err(error) => Lookup::nothing(Trust::Unknown(error.to_string())),
    }
}

async fn policy(resolver: &Resolver, domain: &Name) -> Result<String, String> {
    let host = sts::host(domain).ok_or("the domain can't have a host for it")?;
    let addresses = resolver.addresses(&host).await;
    if let Some(why) = addresses.unknown() {
        return Err(format!("the address of {} can't be looked up: {why}", host.to_host()));
    }
    let addresses: Vec<SocketAddr> =
        addresses.found.into_iter().map(|address| SocketAddr::new(address, policy::PORT)).collect();
    policy::fetch(domain, &addresses, POLICY_LIMIT).await
}

/// The CAA records that count for a host: its own, or those of the nearest name above that has any (RFC 8659 section 3).
async fn authorities(resolver: &Resolver, host: &Name) -> Authorities {
    let mut at = host.clone();
    for _ in 0..ABOVE_MAX {
        let records = resolver.rdata(&at, Rtype::CAA).await;
        let above = at.parent().filter(|above| !above.is_root());
        match above.filter(|_| records.found.is_empty() && records.unknown().is_none()) {
            Some(above) => at = above,
            None => return Authorities { at, records },
        }
    }
    Authorities { at, records: Lookup::nothing(Trust::Unknown("it has too many names above it".to_owned())) }
}

async fn pointer(resolver: &Resolver, host: &Name, address: IpAddr) -> Pointer {
    let target = |data: &RData| match data {
        RData::PTR(target) => name(&target.0),
        _ => None,
    };
    let names = match reverse(address) {
        Some(owner) => resolver.lookup(&owner, RecordType::PTR, target).await,
        None => Lookup::nothing(Trust::Unknown("it has no place in the reverse tree".to_owned())),
    };
    let mut back: Lookup<IpAddr> = Lookup::nothing(Trust::Secure);
    for name in names.found.iter().take(NAMES_MAX) {
        let of_name = resolver.addresses(name).await;
        back.found.extend(&of_name.found);
        if of_name.found.is_empty() {
            back.trust = of_name.trust;
        }
    }
    Pointer { host: host.clone(), names, back }
}

/// Where the names of an address stand (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> Option<Name> {
    let text = match address {
        IpAddr::V4(address) => {
            let octets = address.octets().iter().rev().map(|octet| format!("{octet}.")).collect::<String>();
            octets + "in-addr.arpa."
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa."
        }
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reverse_tree_is_the_right_way_round() {
        let of = |text: &str| reverse(text.parse().expect(text)).expect(text).to_string();
        assert_eq!(of("192.0.2.7"), "7.2.0.192.in-addr.arpa.");
        assert_eq!(of("2001:db8::1"), format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa.", "0.".repeat(23)));
    }
}
