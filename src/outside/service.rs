//! A service of a host, judged: its TLSA, and what it presents at each address. Whoever takes mail has senders, and others have clients:
//! the words are theirs.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Place, Presented, ServiceSeen};
use super::presented::{Outcome, hold};
use super::{Area, Check, Failure, Fault, Trust, few};
use crate::dane::certificate::KeyType;
use crate::dane::tlsa::{Parameters, Usage};
use crate::dane::{Chain, Service, Tlsa};
use crate::dns::text::print_moment;
use crate::dns::{Name, Rdata, Timestamp};

/// Big senders handle about as many records.
const RECORDS_MAX: usize = 12;
/// Seconds that a TLSA may be cached without making every repair slow.
const TTL_MAX: u32 = 2 * 3600;

/// What a service's TLSA and its servers are held against.
pub(super) struct Judge<'a> {
    pub(super) service: &'a Service,
    /// Whom its certificate may be for.
    pub(super) names: &'a [Name],
    pub(super) seen: &'a ServiceSeen,
    /// Whether this network lets connections out to port 25.
    pub(super) is_let_out: bool,
    pub(super) now: Timestamp,
}

impl Judge<'_> {
    /// All that is to be said of it.
    pub(super) fn checks(&self) -> Vec<Check> {
        let (usable, mut checks) = self.records();
        let blocked = self.blocked();
        let is_told = |said: &Result<Presented, Failure>| {
            blocked.is_some() && said.as_ref().is_err_and(|failure| failure.fault == Fault::Unanswered)
        };
        for (place, presented) in self.seen.presented.iter().filter(|(_, said)| !is_told(said)) {
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
        checks.extend(blocked);
        checks
    }

    /// Where no address of a mail server answers, and none of another machine ever did, it is as likely that this network lets nothing
    /// out to port 25.
    fn blocked(&self) -> Option<Check> {
        let tried = self.seen.presented.iter().filter_map(|((address, _), said)| {
            let fault = said.as_ref().err().map(|failure| failure.fault);
            (fault != Some(Fault::NoWayFromHere)).then_some((address.to_string(), fault))
        });
        let (addresses, faults): (Vec<String>, Vec<Option<Fault>>) = tried.unzip();
        let is_silent = !faults.is_empty() && faults.iter().all(|fault| *fault == Some(Fault::Unanswered));
        if self.is_let_out || !self.is_smtp() || !is_silent {
            return None;
        }
        let host = self.service.host.to_host();
        let evidence = format!("no connection comes about to {}, nor did one to port 25 elsewhere", few(&addresses));
        let help = format!(
            "if {host} gets mail, it is this machine's network that lets nothing out to port 25, as many providers' do: have it opened, or \
             say `mail-service = \"declared\"`, so that nothing waits for what can't be seen from here; if it gets none, see that it runs, \
             and that firewalls let connections through"
        );
        Some(Check::fault(Fault::OutgoingBlocked, &self.service.host, evidence, help))
    }

    fn owner(&self) -> String {
        let service = Service { host: self.seen.base.clone(), ..self.service.clone() };
        service.owner().map_or_else(|error| error.to_string(), |owner| owner.to_string())
    }

    fn is_smtp(&self) -> bool {
        self.service.is_smtp()
    }

    /// Who goes by the TLSA.
    fn peers(&self) -> &'static str {
        if self.is_smtp() { "senders" } else { "clients" }
    }

    /// What they do as long as they can't.
    fn suffer(&self) -> &'static str {
        if self.is_smtp() { "defer mail" } else { "don't go on" }
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
        let (line, who, suffer) = (self.line(), self.peers(), self.suffer());
        match &lookup.trust {
            Trust::Unknown(why) => {
                let help = format!(
                    "{who} that can't find out whether there is one {suffer}: see that every nameserver answers"
                );
                return nothing(fault(Fault::TlsaUnknown, format!("it can't be looked up: {why}"), help));
            }
            Trust::Bogus => {
                let help = format!("{who} {suffer} as long as this lasts: mend DNSSEC of its zone");
                return nothing(fault(Fault::TlsaBogus, "resolvers take it for bogus".to_owned(), help));
            }
            Trust::Secure | Trust::Insecure if lookup.found.is_empty() => {
                let evidence = match self.is_smtp() {
                    true => "there is none, so mail comes as opportunistic TLS has it",
                    false => "there is none, so clients go by the authorities that they trust",
                };
                return nothing(fault(
                    Fault::TlsaMissing,
                    evidence.to_owned(),
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
            let why = match self.is_smtp() {
                true => "senders go by usages 2 and 3 alone (RFC 7672 section 3.1.3)",
                false => "no RFC assigns their parameters",
            };
            let all = all.into_iter().collect::<Vec<_>>().join(", ");
            let evidence = format!("none of its records ({all}) can be used: {why}");
            return nothing(fault(
                Fault::TlsaUnusable,
                evidence,
                line.map_or_else(String::new, |line| format!("publish {line}")),
            ));
        }
        let mut checks = Vec::new();
        if self.is_smtp() && lookup.found.len() > RECORDS_MAX {
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
                format!("use a certificate for {}, or publish 3 1 1 at {owner}", self.seen.base.to_host())
            }
            Fault::CertificateTime => format!("renew the certificate, or publish 3 1 1 at {owner}"),
            _ => match Tlsa::from_chain(chain, Parameters::DEFAULT) {
                Ok(tlsa) => format!(
                    "{}: if this certificate is yours, publish {owner} IN TLSA {tlsa} beside what is there; if not, somebody is in between",
                    if self.is_smtp() { "mail is deferred" } else { "clients that go by it turn away" }
                ),
                Err(error) => error.to_string(),
            },
        }
    }

    /// What somebody has to do where a server can't be asked.
    fn help(&self, fault: Fault) -> String {
        let (host, who) = (self.service.host.to_host(), self.peers());
        match fault {
            Fault::NoWayFromHere | Fault::NotSpokenHere => String::new(),
            Fault::Refused => {
                format!("start the service, have it listen on this address, or take the address from {host}")
            }
            Fault::StarttlsMissing => {
                let whom = if self.is_smtp() { format!(" to {host}") } else { String::new() };
                format!("switch TLS on for every client and address; DANE {who} {}{whom}", self.suffer())
            }
            Fault::TlsRefused => "let TLS 1.2 and 1.3 be used, with a certificate of the host".to_owned(),
            Fault::TlsFails => {
                "see that the private key belongs to the certificate, and that TLS is what is spoken there".to_owned()
            }
            Fault::Unreachable | Fault::Unanswered | Fault::TimedOut => {
                format!("see that it runs and that firewalls let connections through, or take the address from {host}")
            }
            Fault::TurnedAway => {
                format!("let every client in as far as TLS: {who} are turned away too, or this server alone is")
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
