//! A mail server, or another host with services, as others see it: its addresses, the TLSA of each service, and what it presents.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::service::Judge;
use super::{Check, Failure, Fault, Lookup, Trust};
use crate::dane::certificate::KeyType;
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dane::{Chain, Service};
use crate::dns::{Name, Rdata, Timestamp};

/// What was seen of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its addresses.
    pub addresses: Lookup<IpAddr>,
    /// What was seen of each of its services.
    pub services: BTreeMap<Service, ServiceSeen>,
    /// Why that may not be all; none: it is.
    pub incomplete: Option<String>,
    /// Whether a connection to port 25 of another machine ever came about from here: this network lets them out.
    pub is_let_out: bool,
}

/// What was seen of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSeen {
    /// The TLSA base domain: the host, or what it is an alias of (RFC 7671 section 7).
    pub base: Name,
    /// The domains that are known to name the service in an SRV record that is secure.
    pub sources: BTreeSet<Name>,
    /// Its TLSA RDATA.
    pub tlsa: Lookup<Rdata>,
    /// What it presents at each address, of each key type that was asked for.
    pub presented: BTreeMap<Place, Result<Presented, Failure>>,
}

/// Where a service was asked, and for a certificate of which key type; none: whichever it likes best.
pub type Place = (SocketAddr, Option<KeyType>);

/// What a service presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its certificate and what comes with it.
    pub chain: Chain,
    /// The protocol that was agreed on, for people.
    pub protocol: String,
}

/// All that is to be said of a host. `domains`: whose mail goes there, if it is a mail server.
pub fn judge(host: &Name, domains: &[Name], seen: &Seen, now: Timestamp) -> Vec<Check> {
    let mut checks = match !domains.is_empty() && seen.services.keys().any(Service::is_smtp) {
        true => addresses(host, &seen.addresses),
        false => reached(host, &seen.addresses),
    };
    // Where nobody is, there is nothing to protect.
    for (service, of) in seen.services.iter().filter(|_| !seen.addresses.found.is_empty()) {
        let judge = Judge { service, names: &names(service, of, domains), seen: of, is_let_out: seen.is_let_out, now };
        checks.extend(judge.checks());
    }
    checks
}

/// What proves a loss where it is seen at this very machine.
pub(super) const PROVABLE: [Fault; 2] = [Fault::StarttlsMissing, Fault::TlsRefused];

/// Whom a certificate may be for. Of a mail server the TLSA base domain, and the domain that mail is for (RFC 7672 section 3.2.2); of
/// another service that base domain, the host that was asked for, and a domain whose SRV names it (RFC 7673 section 4).
fn names(service: &Service, seen: &ServiceSeen, domains: &[Name]) -> Vec<Name> {
    let mut names = vec![seen.base.clone()];
    match service.is_smtp() {
        true => names.extend(domains.iter().cloned()),
        false => names.extend(std::iter::once(service.host.clone()).chain(seen.sources.iter().cloned())),
    }
    names.dedup();
    names
}

/// Whether a connection came about, whatever became of it.
pub fn is_connected(said: &Result<Presented, Failure>) -> bool {
    use Fault::{NoWayFromHere, NotSpokenHere, Refused, Unanswered, Unreachable};
    let is_none = |fault: Fault| matches!(fault, NoWayFromHere | NotSpokenHere | Refused | Unanswered | Unreachable);
    said.as_ref().err().is_none_or(|failure| !is_none(failure.fault))
}

/// Whether every address of a service presents a certificate: for the gate. A loss is proven only at an address of this very machine
/// (`is_ours`): what is seen across a network somebody may have put there.
pub fn service(service: &Service, seen: &Seen, is_ours: impl Fn(IpAddr) -> bool) -> Fact {
    let presented = seen.services.get(service).map(|seen| &seen.presented).filter(|presented| !presented.is_empty());
    let Some(presented) = presented else {
        let help = "see that its addresses can be looked up from here";
        return Fact::unknown(format!("no address of {} could be asked", service.host.to_host()), help);
    };
    let failed = presented.iter().filter_map(|((address, _), said)| Some((address, said.as_ref().err()?)));
    let is_proven = |fault: Fault| PROVABLE.contains(&fault);
    let help = "let the mail server offer STARTTLS with TLS 1.2 or later to everybody there";
    // An address that nobody vouches for is nobody's.
    let is_ours = |ip: IpAddr| seen.addresses.trust == Trust::Secure && is_ours(ip);
    match failed.max_by_key(|(address, failure)| is_ours(address.ip()) && is_proven(failure.fault)) {
        None if seen.incomplete.is_some() || seen.addresses.unknown().is_some() => {
            let why = seen.incomplete.as_deref().or(seen.addresses.unknown()).unwrap_or_default();
            Fact::unknown(format!("not every address is known to be asked: {why} (seen from here)"), help)
        }
        None => {
            let places: BTreeSet<String> = presented.keys().map(|(address, _)| address.to_string()).collect();
            Fact::held(format!("TLS 1.2 or later at {}", places.into_iter().collect::<Vec<_>>().join(", ")))
        }
        Some((address, failure)) if is_ours(address.ip()) && is_proven(failure.fault) => {
            Fact::new(Verdict::Missing, format!("{address}, which is this machine's: {}", failure.why), help)
        }
        Some((address, failure)) => Fact::unknown(format!("{address}: {} (seen from here)", failure.why), help),
    }
}

fn addresses(host: &Name, addresses: &Lookup<IpAddr>) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(target) = &addresses.alias {
        let help = format!("name {} in the MX, or give {} its own addresses", target.to_host(), host.to_host());
        let evidence = format!("it is an alias of {target}, which an MX may not name (RFC 2181 section 10.3)");
        checks.push(Check::fault(Fault::MxAlias, host, evidence, help));
    }
    match (&addresses.trust, &addresses.found[..]) {
        (Trust::Unknown(why), []) => {
            let help = "senders that can't find it out defer mail: see that its zone's nameservers answer";
            checks.push(Check::fault(
                Fault::HostUnknown,
                host,
                format!("its addresses can't be looked up: {why}"),
                help,
            ));
        }
        (Trust::Bogus, _) => {
            let evidence = "resolvers take its addresses for bogus: they don't exist for senders that validate";
            checks.push(Check::fault(Fault::HostUnknown, host, evidence, "mend DNSSEC of its zone"));
        }
        (_, []) => {
            let help = format!("give {} an A or AAAA, or name another host in the MX", host.to_host());
            checks.push(Check::fault(Fault::MxWithoutAddress, host, "it has no address", help));
        }
        (Trust::Insecure, _) => {
            let evidence = "its addresses are in a zone that is not secure: senders don't go on to its TLSA (RFC 7672 section 2.2.2)";
            let help = "have its zone signed, and the DS put in above; or take mail at a host in a signed zone";
            checks.push(Check::fault(Fault::HostInsecure, host, evidence, help));
        }
        (Trust::Secure | Trust::Unknown(_), _) => {}
    }
    checks
}

/// Of a host that takes no mail: an alias is as good as another name there.
fn reached(host: &Name, addresses: &Lookup<IpAddr>) -> Vec<Check> {
    let fault = |fault, evidence: &str, help: &str| vec![Check::fault(fault, host, evidence, help)];
    match (addresses.unknown(), &addresses.found[..]) {
        (Some(why), []) => {
            let help = "see that its zone's nameservers answer, and that it validates";
            fault(Fault::AddressUnknown, &format!("its addresses can't be looked up: {why}"), help)
        }
        (None, []) => {
            let help = format!("give {} an A or AAAA, or take the TLSA away", host.to_host());
            fault(Fault::HostWithoutAddress, "it has no address", &help)
        }
        _ => Vec::new(),
    }
}
