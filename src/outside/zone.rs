//! A zone as others see it: what the zone above says of its nameservers, and what each of those serves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::denial::Denial;
use super::{Area, Check, Failure, Fault, Lookup, Trust, chain};
use crate::dane::Tlsa;
use crate::dns::text::print_moment;
use crate::dns::{Name, Rdata, Timestamp};
use crate::zone::serial::is_after;
use crate::zone::sign::unwrap_time;

/// Seconds before the end of a signature from which on it is told: every sound signer has made a newer one by then.
const EXPIRING: u64 = 2 * 86_400;

/// What the primary has: what the zone is compared with. Nothing of it is known of zones of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its DNSKEY RDATA.
    pub keys: Vec<Rdata>,
    /// Its serial.
    pub serial: Option<u32>,
    /// The TLSA of each owner that is asked for; no owner at all: nobody says.
    pub tlsa: BTreeMap<Name, BTreeSet<Tlsa>>,
}

/// What was seen of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The chain of trust.
    pub chain: chain::Seen,
    /// Its DNSKEY RDATA, through the resolver.
    pub keys: Lookup<Rdata>,
    /// What each server of the zone above says of its nameservers.
    pub above: BTreeMap<String, Result<Referral, Failure>>,
    /// Its nameservers: those that the zone itself names, and those that the zone above does.
    pub nameservers: BTreeMap<Name, Nameserver>,
}

impl Seen {
    /// What each nameserver has, as far as it answers.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Shown> {
        let asked = self.nameservers.values().flat_map(|nameserver| nameserver.asked.values());
        asked.filter_map(|asked| asked.udp.as_ref().ok())
    }
}

/// A delegation, as a server of the zone above has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referral {
    /// The NS records.
    pub ns: BTreeSet<Name>,
    /// The addresses that stand beside them.
    pub glue: BTreeMap<Name, BTreeSet<IpAddr>>,
}

/// A nameserver of the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameserver {
    /// Its addresses, through the resolver.
    pub addresses: Lookup<IpAddr>,
    /// What it answers at each.
    pub asked: BTreeMap<IpAddr, Asked>,
}

/// What a nameserver answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Over UDP.
    pub udp: Result<Shown, Failure>,
    /// Over TCP: its serial.
    pub tcp: Result<u32, Failure>,
}

/// What a nameserver has of the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its serial.
    pub serial: u32,
    /// The NS records at the apex.
    pub ns: BTreeSet<Name>,
    /// The DNSKEY RDATA.
    pub keys: Vec<Rdata>,
    /// Inception and expiration of the signatures in its answers, as they stand there: modulo 2^32.
    pub signed: BTreeSet<(u32, u32)>,
    /// What came without a signature.
    pub unsigned: BTreeSet<String>,
    /// The TLSA of each owner that was asked for.
    pub tlsa: BTreeMap<Name, Result<BTreeSet<Tlsa>, Failure>>,
    /// What it answers to a name that no zone has; none: that answer got lost.
    pub denial: Option<Result<Denial, Failure>>,
}

/// All that is to be said of a zone.
pub fn judge(apex: &Name, expected: &Expected, seen: &Seen, now: Timestamp) -> Vec<Check> {
    if let Some(check) = not_delegated(apex, seen) {
        return vec![check];
    }
    // Of a zone that resolvers take for bogus its servers have the keys.
    let shown = || seen.shown().map(|shown| &shown.keys).find(|keys| !keys.is_empty());
    let of_others = || Some(&seen.keys.found).filter(|keys| !keys.is_empty()).or_else(shown);
    let keys = Some(&expected.keys).filter(|keys| !keys.is_empty()).or_else(of_others).map_or(&[][..], Vec::as_slice);
    let is_unsigned = keys.is_empty() && seen.keys.unknown().is_none() && seen.chain.ds.1.is_empty();
    let mut checks = vec![match is_unsigned {
        true => {
            let help = format!("sign {apex}, and have its DS put in above");
            Check::fault(Fault::ZoneUnsigned, apex, "the zone has no keys, so nothing in it can be trusted", help)
        }
        false => chain::judge(apex, keys, &seen.chain).check(apex),
    }];
    checks.extend(delegation(apex, seen));
    checks.extend(nameservers(apex, expected, seen, now, is_unsigned));
    checks
}

/// A name that the zone above does not delegate has no zone of its own.
fn not_delegated(apex: &Name, seen: &Seen) -> Option<Check> {
    let mut referrals = seen.above.iter().filter_map(|(label, said)| Some((label, said.as_ref().ok()?)));
    let (label, _) = referrals.next().filter(|(_, first)| first.ns.is_empty())?;
    // One that is late or lame is one of several.
    if referrals.any(|(_, said)| !said.ns.is_empty()) {
        return None;
    }
    let help = match own_names(seen) {
        Some(names) => format!("have the registrar delegate {apex} to {}", list(&names)),
        None => format!("have the registrar delegate {apex} to its nameservers"),
    };
    Some(Check::fault(Fault::NotDelegated, apex, format!("{label} has no NS of it"), help))
}

/// What the zone above says, against what the zone says.
fn delegation(apex: &Name, seen: &Seen) -> Vec<Check> {
    let referrals: Vec<(&String, &Referral)> =
        seen.above.iter().filter_map(|(label, said)| Some((label, said.as_ref().ok()?))).collect();
    let mut checks = Vec::new();
    if referrals.is_empty() {
        let why = match (seen.above.iter().next(), &seen.chain.above) {
            (Some((label, Err(failure))), _) => Some(format!("{label}: {}", failure.why)),
            (None, Trust::Unknown(why)) if seen.chain.parent.is_none() && seen.chain.anchor != *apex => {
                Some(why.clone())
            }
            // The root has nothing above it, and an island nobody to ask.
            _ => None,
        };
        if let Some(why) = why {
            let help = "see that servers out there are reached from here, and that those of the zone above run";
            let evidence = format!("no server of the zone above answers; {why}");
            checks.push(Check::fault(Fault::ParentUnreachable, apex, evidence, help));
        }
    }
    let own = own_names(seen);
    if let Some(own) = &own
        && let Some((label, referral)) = referrals.iter().find(|(_, said)| !said.ns.is_empty() && said.ns != *own)
    {
        let evidence = format!("{label} has NS {}, and the zone {}", list(&referral.ns), list(own));
        let help = format!("give the registrar the nameservers {}, or correct the zone's NS", list(own));
        checks.push(Check::fault(Fault::NsDiffers, apex, evidence, help));
    }
    for (host, nameserver) in &seen.nameservers {
        checks.extend(glue(apex, host, nameserver, &referrals));
        checks.extend(address_of(apex, host, nameserver));
    }
    let names: BTreeSet<&Name> = seen.nameservers.keys().collect();
    if names.len() == 1 {
        let help = "add a second one in another network (RFC 2182 section 5): while it is away, so is the domain";
        checks.push(Check::fault(Fault::OneNameserver, apex, format!("{} is alone", list(names)), help));
    }
    if checks.is_empty() {
        let names = format!("NS {} above and in the zone", list(seen.nameservers.keys()));
        checks.push(Check::ok(Area::Delegation, apex, names));
    }
    checks
}

/// The NS records at the apex, of the first server that shows them.
fn own_names(seen: &Seen) -> Option<BTreeSet<Name>> {
    seen.shown().map(|shown| &shown.ns).find(|ns| !ns.is_empty()).cloned()
}

/// The addresses of a nameserver above and in the zone, where only the zone above can lead to it (RFC 9471).
fn glue(apex: &Name, host: &Name, nameserver: &Nameserver, referrals: &[(&String, &Referral)]) -> Option<Check> {
    if !host.is_at_or_below(apex) {
        return None;
    }
    let own: BTreeSet<IpAddr> = nameserver.addresses.found.iter().copied().collect();
    let with = |referral: &&(&String, &Referral)| referral.1.ns.contains(host);
    for (label, referral) in referrals.iter().filter(with) {
        let Some(glue) = referral.glue.get(host).filter(|glue| !glue.is_empty()) else {
            let help = format!("give the registrar the address of {}: {}", host.to_host(), addresses(&own));
            return Some(Check::fault(Fault::GlueMissing, host, format!("{label} has no address of it"), help));
        };
        if !own.is_empty() && *glue != own {
            let evidence = format!("{label} has {}, and the zone {}", addresses(glue), addresses(&own));
            let help = format!("give the registrar the address of {}: {}", host.to_host(), addresses(&own));
            return Some(Check::fault(Fault::GlueDiffers, host, evidence, help));
        }
    }
    None
}

fn address_of(apex: &Name, host: &Name, nameserver: &Nameserver) -> Option<Check> {
    let Lookup { found, alias, .. } = &nameserver.addresses;
    if let Some(target) = alias {
        let help = format!("name {target} in the NS, or give {host} its own addresses (RFC 2181 section 10.3)");
        return Some(Check::fault(Fault::NameserverAlias, host, format!("it is an alias of {target}"), help));
    }
    if !found.is_empty() {
        return None;
    }
    let evidence = match nameserver.addresses.unknown() {
        Some(why) if nameserver.asked.is_empty() => return Some(unknown_address(host, why)),
        Some(_) => return None,
        None => "it has no address",
    };
    let help = format!("give it one, or take it out of the NS of {apex}");
    Some(Check::fault(Fault::NameserverWithoutAddress, host, evidence, help))
}

fn unknown_address(host: &Name, why: &str) -> Check {
    Check::unknown(Area::Delegation, host, format!("its address can't be looked up: {why}"), "")
}

/// What each nameserver answers.
fn nameservers(apex: &Name, expected: &Expected, seen: &Seen, now: Timestamp, is_unsigned: bool) -> Vec<Check> {
    let newest = seen.shown().reduce(|one, other| if is_after(other.serial, one.serial) { other } else { one });
    let serial = expected.serial.or(newest.map(|newest| newest.serial));
    // Where nobody says what there should be, the newest version is the one to have.
    let mut tlsa = expected.tlsa.clone();
    if tlsa.is_empty()
        && let Some(current) = seen.shown().find(|shown| Some(shown.serial) == serial)
    {
        tlsa.extend(current.tlsa.iter().filter_map(|(owner, has)| Some((owner.clone(), has.clone().ok()?))));
    }
    let against = Against { apex, tlsa, serial, now, is_unsigned };
    let mut checks = Vec::new();
    for (host, nameserver) in &seen.nameservers {
        for (address, asked) in &nameserver.asked {
            checks.extend(against.judge(&format!("{host} {address}"), asked));
        }
    }
    checks
}

/// What nameservers are held against.
struct Against<'a> {
    apex: &'a Name,
    serial: Option<u32>,
    tlsa: BTreeMap<Name, BTreeSet<Tlsa>>,
    now: Timestamp,
    is_unsigned: bool,
}

impl Against<'_> {
    fn judge(&self, subject: &str, asked: &Asked) -> Vec<Check> {
        let fault = |fault, evidence: String, help: String| Check::fault(fault, subject, evidence, help);
        let shown = match (&asked.udp, &asked.tcp) {
            (Ok(shown), Ok(_)) => shown,
            (Err(failure), _) | (_, Err(failure)) if failure.fault == Fault::NoWayFromHere => {
                return vec![fault(Fault::NoWayFromHere, failure.why.clone(), String::new())];
            }
            (Ok(_), Err(failure)) => {
                let help = "let port 53 over TCP through, and have the server listen there (RFC 7766)";
                return vec![fault(
                    Fault::NoTcp,
                    format!("it answers over UDP alone: {}", failure.why),
                    help.to_owned(),
                )];
            }
            (Err(failure), Ok(_)) if failure.fault == Fault::NameserverSilent => {
                let help = "let port 53 over UDP through, and have the server listen there".to_owned();
                return vec![fault(Fault::NoUdp, format!("it answers over TCP alone: {}", failure.why), help)];
            }
            (Err(failure), _) => return vec![fault(failure.fault, failure.why.clone(), self.help(failure.fault))],
        };
        let mut checks: Vec<Check> = [
            self.serial(subject, shown),
            self.signatures(subject, shown),
            self.unsigned(subject, shown),
            denial_fails(shown).map(|why| {
                let help = format!("see what its log says of questions for what {} does not have", self.apex);
                fault(Fault::DenialFails, format!("it does not deny what is not there: {why}"), help)
            }),
        ]
        .into_iter()
        .flatten()
        .collect();
        checks.extend(self.tlsa(subject, shown));
        if checks.is_empty() {
            let signed = match self.window(shown) {
                Some((_, until)) => format!(", signed until {}", print_moment(until)),
                None => String::new(),
            };
            checks.push(Check::ok(Area::Nameserver, subject, format!("serial {}{signed}", shown.serial)));
        }
        checks
    }

    fn help(&self, fault: Fault) -> String {
        let apex = self.apex;
        match fault {
            Fault::Lame => format!("have it serve {apex}, or take it out of the NS there and at the registrar"),
            Fault::NameserverSilent => "see that it runs, and that firewalls let questions through".to_owned(),
            _ => format!("see what it answers: `dig {} SOA` at this address", apex.to_host()),
        }
    }

    fn serial(&self, subject: &str, shown: &Shown) -> Option<Check> {
        let serial = self.serial.filter(|serial| *serial != shown.serial)?;
        let (fault, evidence, help) = match is_after(serial, shown.serial) {
            true => (
                Fault::SerialBehind,
                format!(
                    "it has serial {}, where {serial} is out: {} behind",
                    shown.serial,
                    serial.wrapping_sub(shown.serial)
                ),
                "see why it does not transfer: its log, whether it is told (NOTIFY), whether it may (TSIG, addresses)",
            ),
            false => (
                Fault::SerialAhead,
                format!("it has serial {}, where {serial} is out", shown.serial),
                "somebody else feeds it, or the primary was set back: let it transfer anew",
            ),
        };
        Some(Check::fault(fault, subject, evidence, help))
    }

    fn signatures(&self, subject: &str, shown: &Shown) -> Option<Check> {
        let (from, until) = self.window(shown)?;
        let help = "let it transfer the zone; if it is current, see that this machine's clock is right";
        if until <= self.now {
            let evidence = format!("it serves signatures that expired on {}", print_moment(until));
            return Some(Check::fault(Fault::SignatureExpired, subject, evidence, help));
        }
        if from > self.now {
            let evidence = format!("it serves signatures that are valid from {} on", print_moment(from));
            return Some(Check::fault(Fault::SignatureExpired, subject, evidence, help));
        }
        // One that was never meant to last longer is well.
        let mut windows = self.windows(shown);
        let is_near = windows.any(|(from, until)| until - self.now < EXPIRING && until - from > 2 * EXPIRING);
        is_near.then(|| {
            let evidence = format!("it serves signatures that expire on {}", print_moment(until));
            Check::fault(
                Fault::SignatureExpiring,
                subject,
                evidence,
                "let it transfer the zone; see that the primary signs",
            )
        })
    }

    /// When all of its signatures are valid.
    fn window(&self, shown: &Shown) -> Option<(Timestamp, Timestamp)> {
        self.windows(shown).reduce(|one, other| (one.0.max(other.0), one.1.min(other.1)))
    }

    /// When each of its signatures is.
    fn windows(&self, shown: &Shown) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let signed = shown.signed.iter();
        signed.map(|(from, until)| (unwrap_time(*from, self.now), unwrap_time(*until, self.now)))
    }

    fn unsigned(&self, subject: &str, shown: &Shown) -> Option<Check> {
        if self.is_unsigned || shown.unsigned.is_empty() {
            return None;
        }
        let what: Vec<&str> = shown.unsigned.iter().map(String::as_str).collect();
        let evidence = format!("it gives no signature with {}", what.join(", "));
        let help = "have it transfer the signed zone, and answer with what DNSSEC needs";
        Some(Check::fault(Fault::SignatureMissing, subject, evidence, help))
    }

    /// Each server's own, both what is there and what is not.
    fn tlsa(&self, subject: &str, shown: &Shown) -> Vec<Check> {
        let mut checks = Vec::new();
        for (owner, said) in &shown.tlsa {
            match (said, self.tlsa.get(owner)) {
                (Err(failure), _) => {
                    let help =
                        "senders that get this defer mail, TLSA or not: mend the server, or take it out".to_owned();
                    let evidence = format!("for TLSA at {owner}: {}", failure.why);
                    checks.push(Check::fault(Fault::DenialFails, subject, evidence, help));
                }
                // An older version has older records: that it is behind is told already.
                (Ok(has), Some(is_to_have)) if has != is_to_have && self.serial == Some(shown.serial) => {
                    let evidence = format!("at {owner} it has {}, where {} is out", records(has), records(is_to_have));
                    let help = "let it transfer the zone; no certificate is changed before it has";
                    checks.push(Check::fault(Fault::TlsaStale, subject, evidence, help));
                }
                _ => {}
            }
        }
        checks
    }
}

/// Why what is not there is not denied. Who signs nothing at all proves nothing either: that is told already.
fn denial_fails(shown: &Shown) -> Option<String> {
    match shown.denial.as_ref()? {
        Err(failure) => Some(failure.why.clone()),
        Ok(denial) => denial.failure().filter(|_| !shown.signed.is_empty()),
    }
}

fn records(records: &BTreeSet<Tlsa>) -> String {
    if records.is_empty() {
        return "none".to_owned();
    }
    records.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

fn list<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().map(Name::to_host).map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

fn addresses(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
