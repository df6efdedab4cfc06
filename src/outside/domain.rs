//! A mail domain as others see it: where its mail goes, and the keys that its mail is signed with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{Area, Check, Fault, Lookup, Trust, neighbours};
use crate::dane::prerequisites::{Fact, Resolved, Verdict};
use crate::dns::Name;
use crate::dns::mailtext::Dkim;

/// What was seen of a mail domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Preference and host.
    pub mx: Lookup<(u16, Name)>,
    /// The TXT of each selector, its strings joined; none: nobody knows the selectors.
    pub dkim: Option<BTreeMap<Name, Lookup<Vec<u8>>>>,
    /// What stands beside.
    pub neighbours: neighbours::Seen,
}

/// The hosts of an MX, each once. A null MX (RFC 7505 section 3) names none.
pub fn mail_hosts(mx: &Lookup<(u16, Name)>) -> BTreeSet<&Name> {
    mx.found.iter().map(|(_, host)| host).filter(|host| !host.is_root() && !is_address(host)).collect()
}

/// All that is to be said of a domain itself; its hosts are for themselves.
pub fn judge(domain: &Name, seen: &Seen) -> Vec<Check> {
    let mut checks = mx(domain, &seen.mx);
    checks.extend(dkim(domain, seen.dkim.as_ref()));
    let hosts: Vec<Name> = mail_hosts(&seen.mx).into_iter().cloned().collect();
    checks.extend(neighbours::judge(domain, &hosts, &seen.neighbours));
    checks
}

/// What of it counts for the gate. What is not secure proves no absence: anybody on the way could have said it.
pub fn resolved(domain: &Name, seen: &Seen) -> Resolved {
    let host = domain.to_host();
    let mx = match seen.mx.unknown() {
        Some(why) => Err(why.to_owned()),
        None => Ok(seen.mx.found.iter().map(|(_, host)| host.clone()).collect()),
    };
    let dnssec = match &seen.mx.trust {
        Trust::Secure => Fact::held(format!("the chain of trust leads to the MX of {host}")),
        Trust::Insecure => {
            let evidence =
                format!("the MX of {host} is not secure: nobody goes on to the TLSA (RFC 7672 section 2.2.1)");
            Fact::new(Verdict::Missing, evidence, "have its zone signed, and the DS put in above")
        }
        Trust::Bogus => Fact::unknown(format!("the MX of {host} is bogus"), "mend DNSSEC of its zone"),
        Trust::Unknown(why) => {
            let help = "see that its nameservers answer";
            Fact::unknown(format!("the MX of {host} can't be looked up: {why}"), help)
        }
    };
    Resolved { mx, dnssec, dkim: usable_key(domain, seen.dkim.as_ref()) }
}

/// Whether any selector has a usable key.
fn usable_key(domain: &Name, keys: Option<&BTreeMap<Name, Lookup<Vec<u8>>>>) -> Fact {
    let Some(keys) = keys.filter(|keys| !keys.is_empty()) else {
        let help = "name them in `dkim-selectors`, or make DKIM optional in the configuration";
        return Fact::unknown(format!("the selectors of {domain} are not known"), help);
    };
    let checks: Vec<(Check, &Lookup<Vec<u8>>)> =
        keys.iter().map(|(owner, lookup)| (selector(owner, lookup), lookup)).collect();
    if let Some((good, _)) = checks.iter().find(|(check, _)| check.fault.is_none()) {
        return Fact::held(format!("{} has a key", good.subject));
    }
    let is_proven = checks.iter().all(|(_, lookup)| lookup.trust == Trust::Secure);
    let evidence: Vec<String> =
        checks.iter().map(|(check, _)| format!("{}: {}", check.subject, check.evidence)).collect();
    let help = checks.first().map_or_else(String::new, |(check, _)| check.help.clone());
    Fact::new(if is_proven { Verdict::Missing } else { Verdict::Unknown }, super::few(&evidence), help)
}

fn mx(domain: &Name, mx: &Lookup<(u16, Name)>) -> Vec<Check> {
    let fault = |fault, evidence: &str, help: String| vec![Check::fault(fault, domain, evidence, help)];
    match &mx.trust {
        Trust::Unknown(why) => {
            let help = "senders that can't find it out defer mail: see that every nameserver answers".to_owned();
            return fault(Fault::MxUnknown, &format!("it can't be looked up: {why}"), help);
        }
        Trust::Bogus => {
            let help = "senders that validate defer mail: mend DNSSEC of the zone".to_owned();
            return fault(Fault::MxBogus, "resolvers take it for bogus", help);
        }
        Trust::Secure | Trust::Insecure => {}
    }
    if mx.found.is_empty() {
        let help = format!("add {domain} IN MX 10 mail.{domain}, with the host that takes its mail");
        return fault(Fault::MxMissing, "there is none: mail goes to the domain's own address, if it has one", help);
    }
    if mx.found.iter().any(|(_, host)| host.is_root()) {
        let help = "if it is to take mail, put a host into the MX".to_owned();
        return fault(Fault::MxNull, "it says that the domain takes no mail (RFC 7505)", help);
    }
    let mut checks = Vec::new();
    for (_, host) in mx.found.iter().filter(|(_, host)| is_address(host)) {
        let help = "give that address to a host, and name the host in the MX";
        checks.push(Check::fault(Fault::MxIsAddress, domain, format!("{} is an address", host.to_host()), help));
    }
    if mx.trust == Trust::Insecure {
        let evidence = "it is not secure: nobody goes on to the TLSA of its hosts (RFC 7672 section 2.2.1)";
        checks.extend(fault(Fault::MxInsecure, evidence, "have the zone signed, and the DS put in above".to_owned()));
    }
    if checks.is_empty() {
        let hosts: Vec<String> =
            mx.found.iter().map(|(preference, host)| format!("{preference} {}", host.to_host())).collect();
        checks.push(Check::ok(Area::Mx, domain, hosts.join(", ")));
    }
    checks
}

/// Four numbers where a host should be.
fn is_address(host: &Name) -> bool {
    host.to_host().parse::<Ipv4Addr>().is_ok()
}

/// At least one selector with a key; of a selector without one it is told all the same.
fn dkim(domain: &Name, keys: Option<&BTreeMap<Name, Lookup<Vec<u8>>>>) -> Vec<Check> {
    let Some(keys) = keys else {
        return vec![Check::ok(Area::Dkim, domain, "no selector is known, so none was looked at")];
    };
    if keys.is_empty() {
        let help = format!("add the TXT that your DKIM signer wrote at <selector>._domainkey.{domain}");
        return vec![Check::fault(Fault::DkimMissing, domain, "there is no selector", help)];
    }
    keys.iter().map(|(owner, lookup)| selector(owner, lookup)).collect()
}

fn selector(owner: &Name, lookup: &Lookup<Vec<u8>>) -> Check {
    if let Some(why) = lookup.unknown() {
        let help = "see that every nameserver answers";
        return Check::fault(Fault::DkimUnknown, owner, format!("it can't be looked up: {why}"), help);
    }
    let read: Vec<_> = lookup.found.iter().map(|text| Dkim::parse(text)).collect();
    let Some(first) = read.first() else {
        let help = "add the TXT that your DKIM signer wrote";
        return Check::fault(Fault::DkimMissing, owner, "it has no TXT", help);
    };
    if read.len() > 1 {
        // RFC 6376 section 3.6.2.2: then anything may be taken.
        let evidence = format!("it has {} TXT records, of which one alone counts: which one is not said", read.len());
        let help = "put the strings of one key into one TXT: \"v=DKIM1; p=...\" \"...\"";
        return Check::fault(Fault::DkimMalformed, owner, evidence, help);
    }
    match first {
        Ok(key) if key.is_revoked() => {
            let help = "sign with another selector, or publish the key again";
            Check::fault(Fault::DkimRevoked, owner, "its key is revoked: p= is empty (RFC 6376 section 3.6.1)", help)
        }
        Ok(_) => Check::ok(Area::Dkim, owner, "it has a key"),
        Err(error) => {
            let help = "add the TXT as your DKIM signer wrote it, all of its strings";
            Check::fault(Fault::DkimMalformed, owner, format!("its key can't be read: {error}"), help)
        }
    }
}
