//! A mail domain as others see it: where its mail goes, and the keys that its mail is signed with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{Area, Check, Fault, Lookup, Trust, neighbours};
use crate::dane::prerequisites::{Fact, Resolved, Verdict};
use crate::dns::mailtext::Dkim;
use crate::dns::{Name, Rtype};
use crate::zone::Contents;

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

/// The owners of a domain's DKIM keys, as its zone has them; none where they may be in another zone.
pub fn selectors(contents: &Contents, domain: &Name) -> Option<Vec<Name>> {
    let place = domain.prepend(b"_domainkey").ok().filter(|place| place.is_below(contents.origin()))?;
    let has = |owner: &Name, types: [Rtype; 2]| types.into_iter().any(|rtype| contents.has(owner, rtype));
    if contents.cut(&place).is_some() || contents.is_below_dname(&place) || contents.has(&place, Rtype::DNAME) {
        return None;
    }
    let below: Vec<Name> =
        contents.at_or_below(&place).map(|node| node.owner()).filter(|owner| *owner != place).collect();
    let is_elsewhere = below.iter().any(|owner| has(owner, [Rtype::NS, Rtype::DNAME]));
    let keys: Vec<Name> = below.into_iter().filter(|owner| has(owner, [Rtype::TXT, Rtype::CNAME])).collect();
    Some(keys).filter(|keys| !keys.is_empty() || !is_elsewhere)
}

/// The hosts of an MX, each once. A null MX (RFC 7505 section 3) names none.
pub fn mail_hosts(mx: &Lookup<(u16, Name)>) -> BTreeSet<&Name> {
    mx.found.iter().map(|(_, host)| host).filter(|host| !host.is_root() && !is_address(host)).collect()
}

/// All that is to be said of a domain itself; its hosts are for themselves.
pub fn judge(domain: &Name, seen: &Seen) -> Vec<Check> {
    let mut checks = mx(domain, &seen.mx);
    if takes_no_mail(&seen.mx) {
        checks.extend(neighbours::judge(domain, None, &seen.neighbours));
        return checks;
    }
    checks.extend(dkim(domain, seen.dkim.as_ref()));
    let hosts: Vec<Name> = mail_hosts(&seen.mx).into_iter().cloned().collect();
    checks.extend(neighbours::judge(domain, Some(&hosts), &seen.neighbours));
    checks
}

/// What of it counts for the gate.
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
    if let Some((owner, _)) = keys.iter().find(|(_, lookup)| lookup.unknown().is_none() && has_key(lookup)) {
        return Fact::held(format!("{owner} has a key"));
    }
    let checks: Vec<Check> = keys.iter().map(|(owner, lookup)| selector(owner, lookup, false)).collect();
    let is_known = keys.values().all(|lookup| lookup.unknown().is_none());
    let evidence: Vec<String> = checks.iter().map(|check| format!("{}: {}", check.subject, check.evidence)).collect();
    let help = checks.first().map_or_else(String::new, |check| check.help.clone());
    Fact::new(if is_known { Verdict::Missing } else { Verdict::Unknown }, super::few(&evidence), help)
}

/// A null MX, and nothing beside it (RFC 7505 section 3).
fn takes_no_mail(mx: &Lookup<(u16, Name)>) -> bool {
    !mx.found.is_empty() && mx.found.iter().all(|(_, host)| host.is_root())
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
    if takes_no_mail(mx) {
        return vec![Check::ok(Area::Mx, domain, "it takes no mail, and says so (RFC 7505)")];
    }
    let mut checks = Vec::new();
    if mx.found.iter().any(|(_, host)| host.is_root()) {
        let evidence = "it says that the domain takes no mail, and names hosts beside that: senders return mail";
        let help = "a null MX stands alone (RFC 7505 section 3): keep it or the hosts".to_owned();
        checks.extend(fault(Fault::MxNull, evidence, help));
    }
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

/// At least one selector with a key; of another one it is told all the same, but that its key is revoked.
fn dkim(domain: &Name, keys: Option<&BTreeMap<Name, Lookup<Vec<u8>>>>) -> Vec<Check> {
    let Some(keys) = keys else {
        return vec![Check::ok(Area::Dkim, domain, "no selector is known, so none was looked at")];
    };
    if keys.is_empty() {
        let help = format!("add the TXT that your DKIM signer wrote at <selector>._domainkey.{domain}");
        return vec![Check::fault(Fault::DkimMissing, domain, "there is no selector", help)];
    }
    let is_left = keys.values().any(|lookup| lookup.unknown().is_some() || has_key(lookup));
    keys.iter().map(|(owner, lookup)| selector(owner, lookup, is_left)).collect()
}

fn has_key(lookup: &Lookup<Vec<u8>>) -> bool {
    let [text] = &lookup.found[..] else { return false };
    Dkim::parse(text).is_ok_and(|key| !key.is_revoked())
}

/// `is_left`: as far as is known, a selector has a key.
fn selector(owner: &Name, lookup: &Lookup<Vec<u8>>, is_left: bool) -> Check {
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
        // Who has changed keys revokes the old one.
        Ok(key) if key.is_revoked() && is_left => {
            Check::ok(Area::Dkim, owner, "its key is revoked (RFC 6376 section 3.6.1), and another selector is there")
        }
        Ok(key) if key.is_revoked() => {
            let help = "sign with another selector, or publish the key again";
            Check::fault(Fault::DkimRevoked, owner, "its key is revoked, and no other is left: p= is empty", help)
        }
        Ok(_) => Check::ok(Area::Dkim, owner, "it has a key"),
        Err(error) => {
            let help = "add the TXT as your DKIM signer wrote it, all of its strings";
            Check::fault(Fault::DkimMalformed, owner, format!("its key can't be read: {error}"), help)
        }
    }
}
