//! A mail server, or another host with services, as others see it: its addresses, the TLSA of each service, and what it presents.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::presented::{Outcome, hold};
use super::{Area, Check, Failure, Fault, Lookup, Trust};
use crate::dane::certificate::KeyType;
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dane::tlsa::{Parameters, Usage};
use crate::dane::{Chain, Service, Tlsa};
use crate::dns::text::print_moment;
use crate::dns::{Name, Rdata, Timestamp};

/// Big senders handle about as many records.
const RECORDS_MAX: usize = 12;
/// Seconds that a TLSA may be cached without making every repair slow.
const TTL_MAX: u32 = 2 * 3600;

/// What was seen of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its addresses.
    pub addresses: Lookup<IpAddr>,
    /// What was seen of each of its services.
    pub services: BTreeMap<Service, ServiceSeen>,
    /// Why that may not be all; none: it is.
    pub incomplete: Option<String>,
}

/// What was seen of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSeen {
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

/// All that is to be said of a host. `domains`: whose mail goes there.
pub fn judge(host: &Name, domains: &[Name], seen: &Seen, now: Timestamp) -> Vec<Check> {
    let mut checks = addresses(host, &seen.addresses);
    // RFC 7672 section 3.2.2: the host that the TLSA is at, and the domain that mail is for.
    let names: Vec<Name> = std::iter::once(host.clone()).chain(domains.iter().cloned()).collect();
    // Where nobody is, there is nothing to protect.
    for (service, seen) in seen.services.iter().filter(|_| !seen.addresses.found.is_empty()) {
        checks.extend(Judge { service, names: &names, seen, now }.checks());
    }
    checks
}

/// What proves a loss where it is seen at this very machine.
pub(super) const PROVABLE: [Fault; 2] = [Fault::StarttlsMissing, Fault::TlsRefused];

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

/// What a service's TLSA and its servers are held against.
struct Judge<'a> {
    service: &'a Service,
    names: &'a [Name],
    seen: &'a ServiceSeen,
    now: Timestamp,
}

impl Judge<'_> {
    fn checks(&self) -> Vec<Check> {
        let (usable, mut checks) = self.records();
        for (place, presented) in &self.seen.presented {
            let subject = subject(&self.service.host, place);
            match presented {
                Err(failure) => {
                    checks.push(Check::fault(failure.fault, &subject, failure.why.clone(), self.help(failure.fault)));
                }
                Ok(presented) => {
                    checks.push(Check::ok(
                        Area::Service,
                        &subject,
                        format!("it presents a certificate over {}", presented.protocol),
                    ));
                    checks.extend(self.chain(&subject, &presented.chain, &usable));
                }
            }
        }
        checks.extend(self.differing());
        checks
    }

    fn owner(&self) -> String {
        self.service.owner().map_or_else(|error| error.to_string(), |owner| owner.to_string())
    }

    /// The records that can be used, and what is to be said of the RRset.
    fn records(&self) -> (Vec<Tlsa>, Vec<Check>) {
        let (owner, lookup) = (self.owner(), &self.seen.tlsa);
        let all: Vec<Option<Tlsa>> = lookup.found.iter().map(|rdata| Tlsa::from_rdata(rdata)).collect();
        let is_usable =
            |tlsa: &Tlsa| !self.service.is_smtp() || matches!(tlsa.parameters.usage, Usage::DaneTa | Usage::DaneEe);
        let usable: Vec<Tlsa> = all.into_iter().flatten().filter(is_usable).collect();
        let fault = |fault, evidence: String, help: String| vec![Check::fault(fault, &owner, evidence, help)];
        let nothing = |checks| (Vec::new(), checks);
        let line = self.line();
        match &lookup.trust {
            Trust::Unknown(why) => {
                let help =
                    "senders that can't find out whether there is one defer mail: see that every nameserver answers"
                        .to_owned();
                return nothing(fault(Fault::TlsaUnknown, format!("it can't be looked up: {why}"), help));
            }
            Trust::Bogus => {
                let help = "senders defer mail as long as this lasts: mend DNSSEC of its zone".to_owned();
                return nothing(fault(Fault::TlsaBogus, "resolvers take it for bogus".to_owned(), help));
            }
            Trust::Secure | Trust::Insecure if lookup.found.is_empty() => {
                let evidence = "there is none, so mail comes as opportunistic TLS has it".to_owned();
                return nothing(fault(
                    Fault::TlsaMissing,
                    evidence,
                    line.map_or_else(String::new, |line| format!("publish {line}")),
                ));
            }
            Trust::Insecure => {
                let help = "have its zone signed, and the DS put in above".to_owned();
                return nothing(fault(Fault::TlsaInsecure, "it is not secure: nobody looks at it".to_owned(), help));
            }
            Trust::Secure => {}
        }
        if usable.is_empty() {
            let parameters = |rdata: &Rdata| rdata.iter().take(3).map(u8::to_string).collect::<Vec<_>>().join(" ");
            let all: BTreeSet<String> = lookup.found.iter().map(parameters).collect();
            let evidence = format!(
                "none of its records ({}) can be used: senders go by usages 2 and 3 alone (RFC 7672 section 3.1.3)",
                all.into_iter().collect::<Vec<_>>().join(", ")
            );
            return nothing(fault(
                Fault::TlsaUnusable,
                evidence,
                line.map_or_else(String::new, |line| format!("publish {line}")),
            ));
        }
        let mut checks = Vec::new();
        if lookup.found.len() > RECORDS_MAX {
            let evidence =
                format!("it has {} records, where big senders handle about {RECORDS_MAX}", lookup.found.len());
            checks.extend(fault(Fault::TlsaTooMany, evidence, "take out what matches nothing any more".to_owned()));
        }
        if lookup.ttl > TTL_MAX {
            let evidence = format!("caches keep it for {} s", lookup.ttl);
            checks.extend(fault(
                Fault::TlsaTtl,
                evidence,
                "set its TTL to 3600 or less: every repair takes as long".to_owned(),
            ));
        }
        (usable, checks)
    }

    /// What should be published for what is presented.
    fn line(&self) -> Option<String> {
        let leaf = self.seen.presented.values().find_map(|presented| presented.as_ref().ok())?;
        let tlsa = Tlsa::from_chain(&leaf.chain, Parameters::DEFAULT).ok()?;
        Some(format!("{} IN TLSA {tlsa}, if that certificate is yours", self.owner()))
    }

    fn chain(&self, subject: &str, chain: &Chain, usable: &[Tlsa]) -> Vec<Check> {
        let (leaf, mut checks) = (chain.leaf(), Vec::new());
        let renew = || "renew the certificate: DANE-EE does not look at that, other clients do".to_owned();
        let is_expired = leaf.not_after <= self.now;
        let expired = || format!("its certificate expired on {}", print_moment(leaf.not_after));
        if usable.is_empty() {
            if is_expired {
                checks.push(Check::fault(Fault::CertificateExpired, subject, expired(), renew()));
            }
            return checks;
        }
        let Outcome { satisfied, unsatisfied, failure } = hold(chain, usable, self.names, self.now);
        if let Some(Failure { fault, why }) = failure {
            let evidence = format!("no TLSA at {} is satisfied: {why}", self.owner());
            checks.push(Check::fault(fault, subject, evidence, self.mend(fault, chain)));
            return checks;
        }
        if !unsatisfied.is_empty() {
            let sets: Vec<String> = unsatisfied.iter().map(ToString::to_string).collect();
            let evidence = format!("it satisfies no record with {} (RFC 7671 section 8)", sets.join(", "));
            let help = format!("publish such records for this certificate too, or none: {}", self.owner());
            checks.push(Check::fault(Fault::TlsaPartial, subject, evidence, help));
        }
        if is_expired {
            checks.push(Check::fault(Fault::CertificateExpired, subject, expired(), renew()));
        }
        if checks.is_empty() {
            let by: BTreeSet<String> = satisfied.iter().map(|record| record.parameters.to_string()).collect();
            let by = by.into_iter().collect::<Vec<_>>().join(" and ");
            let until = print_moment(leaf.not_after);
            checks.push(Check::ok(
                Area::Tlsa,
                subject,
                format!("it satisfies {by}; the certificate expires on {until}"),
            ));
        }
        checks
    }

    /// What to do where no record is satisfied.
    fn mend(&self, fault: Fault, chain: &Chain) -> String {
        let owner = self.owner();
        match fault {
            Fault::ChainWithoutAnchor => {
                "have the server present the authority's certificate too (fullchain)".to_owned()
            }
            Fault::ChainBroken => "have the server present the chain as the authority gave it (fullchain)".to_owned(),
            Fault::CertificateName => {
                format!("use a certificate for {}, or publish 3 1 1 at {owner}", self.service.host.to_host())
            }
            Fault::CertificateTime => format!("renew the certificate, or publish 3 1 1 at {owner}"),
            _ => match Tlsa::from_chain(chain, Parameters::DEFAULT) {
                Ok(tlsa) => format!(
                    "mail is deferred: if this certificate is yours, publish {owner} IN TLSA {tlsa} beside what is there; if not, somebody is in between"
                ),
                Err(error) => error.to_string(),
            },
        }
    }

    /// What somebody has to do where a server can't be asked.
    fn help(&self, fault: Fault) -> String {
        let host = self.service.host.to_host();
        match fault {
            Fault::NoWayFromHere => String::new(),
            Fault::Refused => {
                format!("start the service, have it listen on this address, or take the address from {host}")
            }
            Fault::StarttlsMissing => {
                format!("switch TLS on for every client and address; DANE senders defer mail to {host}")
            }
            Fault::TlsRefused => "let TLS 1.2 and 1.3 be used, with a certificate of the host".to_owned(),
            Fault::TlsFails => {
                "see that the private key belongs to the certificate, and that TLS is what is spoken there".to_owned()
            }
            Fault::Unreachable | Fault::TimedOut => {
                format!("see that it runs and that firewalls let connections through, or take the address from {host}")
            }
            Fault::TurnedAway => {
                "let every client in as far as STARTTLS: senders are turned away too, or this server alone is"
                    .to_owned()
            }
            _ => "see what its log says of the connection, and that nothing is in between".to_owned(),
        }
    }

    /// Other certificates of the same key type at another address: one may have been renewed, and one forgotten.
    fn differing(&self) -> Option<Check> {
        let mut of_type: BTreeMap<KeyType, (String, String)> = BTreeMap::new();
        for (place, presented) in &self.seen.presented {
            let Ok(presented) = presented else { continue };
            let leaf = presented.chain.leaf();
            let now = (leaf.fingerprint(), subject(&self.service.host, place));
            let first = of_type.entry(leaf.key_type).or_insert_with(|| now.clone());
            if first.0 != now.0 {
                let evidence = format!("{} presents another {} certificate than {}", now.1, leaf.key_type, first.1);
                let help = "install the same one everywhere, unless each is to have its own";
                return Some(Check::fault(Fault::AddressesDiffer, self.owner(), evidence, help));
            }
        }
        None
    }
}

fn subject(host: &Name, (address, key_type): &Place) -> String {
    match key_type {
        None => format!("{host} {address}"),
        Some(key_type) => format!("{host} {address} ({key_type})"),
    }
}
