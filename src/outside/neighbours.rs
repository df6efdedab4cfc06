//! What stands beside DANE at a mail domain, judged: SPF, DMARC, MTA-STS, TLS-RPT, CAA, and the names of the mail hosts' addresses. It is
//! reported, and gates nothing: TLSA is published with it or without.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::addressed::addressed;
use super::caa::{self, Issuers};
use super::sts::{self, Mode, Policy};
use super::{Area, Check, Fault, Level, Lookup, dmarc, few};
use crate::dns::mailtext::{self, is_spf};
use crate::dns::text::show;
use crate::dns::{Name, Rdata};

/// The most terms of SPF that are looked up (RFC 7208 section 4.6.4).
const SPF_LOOKUPS: usize = 10;

/// What was seen beside DANE. A TXT value is its strings joined ([`mailtext::txt_value`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The TXT values at the domain.
    pub spf: Lookup<Vec<u8>>,
    /// Those at `_dmarc` below the domain.
    pub dmarc: Lookup<Vec<u8>>,
    /// The same of the names above the domain that were asked ([`dmarc::above`]), the nearest first.
    pub dmarc_above: Vec<(Name, Lookup<Vec<u8>>)>,
    /// The TXT values at `_mta-sts` below the domain.
    pub sts: Lookup<Vec<u8>>,
    /// The text of the MTA-STS policy, or why it could not be fetched; none where nobody tried.
    pub policy: Option<Result<String, String>>,
    /// The TXT values at `_smtp._tls` below the domain.
    pub tls_rpt: Lookup<Vec<u8>>,
    /// Who may issue certificates for each host that needs one.
    pub caa: BTreeMap<Name, Authorities>,
    /// The names of each address of a mail host.
    pub ptr: BTreeMap<IpAddr, Pointer>,
}

/// The CAA records that count for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// Where they were found: the host itself or a name above it (RFC 8659 section 3).
    pub at: Name,
    /// The records; none where none were found up to the root.
    pub records: Lookup<Rdata>,
}

/// The name of an address, and whether it leads back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The mail host that has the address.
    pub host: Name,
    /// The names that its PTR records give.
    pub names: Lookup<Name>,
    /// The addresses that these names have, all together.
    pub back: Lookup<IpAddr>,
}

/// A check of each. `mx`: the hosts that take mail for the domain; none: it says that it takes none.
pub fn judge(domain: &Name, mx: Option<&[Name]>, seen: &Seen) -> Vec<Check> {
    let is_parked = mx.is_none();
    let mut checks = vec![
        spf(domain, is_parked, &seen.spf),
        dmarc::judge(domain, is_parked, &seen.dmarc, &seen.dmarc_above),
        mta_sts(domain, mx.unwrap_or_default(), seen),
        tls_rpt(domain, &seen.tls_rpt),
    ];
    let domains = std::slice::from_ref(domain);
    let caa = seen.caa.iter().map(|(host, authorities)| addressed(host, domains, caa(host, authorities)));
    checks.extend(caa);
    let ptr = seen.ptr.iter().map(|(address, pointer)| addressed(&pointer.host, domains, ptr(*address, pointer)));
    checks.extend(ptr);
    checks
}

/// What can't be looked up is not called missing.
pub(super) fn unknown<T>(area: Area, subject: impl fmt::Display, what: &str, lookup: &Lookup<T>) -> Option<Check> {
    let why = lookup.unknown()?;
    let help = "see that the nameservers that have it answer, and that it validates";
    Some(Check::unknown(area, subject, format!("{what} can't be looked up: {why}"), help))
}

fn spf(domain: &Name, is_parked: bool, lookup: &Lookup<Vec<u8>>) -> Check {
    if let Some(check) = unknown(Area::Spf, domain, "TXT", lookup) {
        return check;
    }
    let fault = |fault, evidence: String, help: &str| Check::fault(fault, domain, evidence, help);
    let records: Vec<&Vec<u8>> = lookup.found.iter().filter(|text| is_spf(text)).collect();
    let record = match records[..] {
        [record] => record,
        [] => {
            let near = lookup.found.iter().find(|text| text.to_ascii_lowercase().starts_with(b"v=spf"));
            let near = near.map(|text| format!("; `{}` is none", show(text))).unwrap_or_default();
            let example = if is_parked { "v=spf1 -all" } else { "v=spf1 mx -all" };
            let who = if is_parked { "that nobody sends" } else { "who sends" };
            let help = format!("say {who} for the domain, for example: {domain} IN TXT \"{example}\"");
            return fault(Fault::SpfMissing, format!("there is no SPF record{near}"), &help);
        }
        _ => {
            let evidence = format!("there are {} SPF records, and receivers then go by none", records.len());
            return fault(Fault::SpfSeveral, evidence, "join them into one (RFC 7208 section 4.5)");
        }
    };
    if let Err(term) = mailtext::check_spf(record) {
        let help = "for example: \"v=spf1 mx ip4:192.0.2.0/24 -all\" (RFC 7208 section 4.6.1)";
        return fault(Fault::SpfMalformed, format!("`{term}` is not a term of SPF"), help);
    }
    let Terms { lookups, is_open } = Terms::of(record);
    if is_open {
        let evidence = format!("`{}` lets everybody send", show(record));
        return fault(Fault::SpfOpen, evidence, "end it with `-all` or `~all`");
    }
    if lookups > SPF_LOOKUPS {
        let evidence = format!("it has {lookups} terms that are looked up, and receivers stop at {SPF_LOOKUPS}");
        return fault(Fault::SpfLookups, evidence, "name networks by ip4: and ip6: instead (RFC 7208 section 4.6.4)");
    }
    Check::ok(Area::Spf, domain, show(record))
}

/// What the terms of an SPF record come to.
struct Terms {
    /// How many are looked up (RFC 7208 section 4.6.4); what they include is not counted.
    lookups: usize,
    /// Whether everybody passes at last.
    is_open: bool,
}

impl Terms {
    /// Nothing after `all` is looked at, and no `redirect` beside it (RFC 7208 section 5.1).
    fn of(record: &[u8]) -> Terms {
        let text = String::from_utf8_lossy(record).to_ascii_lowercase();
        let (mut lookups, mut redirects) = (0, 0);
        for term in text.split(' ').skip(1) {
            let mechanism = term.strip_prefix(['+', '-', '~', '?']).unwrap_or(term);
            match mechanism.split([':', '/']).next().unwrap_or_default() {
                "all" => return Terms { lookups, is_open: !term.starts_with(['-', '~', '?']) },
                "include" | "a" | "mx" | "ptr" | "exists" => lookups += 1,
                _ if mechanism.starts_with("redirect=") => redirects += 1,
                _ => {}
            }
        }
        Terms { lookups: lookups + redirects, is_open: false }
    }
}

fn mta_sts(domain: &Name, mx: &[Name], seen: &Seen) -> Check {
    if let Some(check) = unknown(Area::MtaSts, domain, "TXT at _mta-sts", &seen.sts) {
        return check;
    }
    let evidence = match one_of_version(&seen.sts.found, "STSv1") {
        Ok(Some(record)) if sts::is_record(record) => return policy(domain, mx, seen.policy.as_ref()),
        Ok(Some(record)) => is_none("STSv1", record),
        Ok(None) => return Check::ok(Area::MtaSts, domain, "there is none"),
        Err(why) => why,
    };
    let help = format!("one record, for example: _mta-sts.{domain} IN TXT \"v=STSv1; id=1\" (RFC 8461 section 3.1)");
    Check::fault(Fault::StsRecord, domain, evidence, help)
}

/// The policy, and whether senders that go by it deliver to the MX hosts (RFC 8461 section 4.1).
fn policy(domain: &Name, mx: &[Name], fetched: Option<&Result<String, String>>) -> Check {
    let place = format!("https://mta-sts.{}{}", domain.to_host(), sts::PATH);
    let text = match fetched {
        None => return Check::unknown(Area::MtaSts, domain, "the policy was not fetched", ""),
        Some(Ok(text)) => text,
        Some(Err(why)) => {
            let help =
                format!("serve {place} with a certificate that browsers trust, or remove the record at _mta-sts");
            return Check::fault(Fault::StsPolicyUnreachable, domain, format!("no policy: {why}"), help);
        }
    };
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(error) => {
            let help = format!("correct {place} (RFC 8461 section 3.2)");
            return Check::fault(Fault::StsPolicyMalformed, domain, format!("the policy can't be read: {error}"), help);
        }
    };
    let mode = match policy.mode {
        Mode::Enforce => "enforce",
        Mode::Testing => "testing",
        Mode::None => return Check::ok(Area::MtaSts, domain, "the policy is withdrawn: mode none"),
    };
    let missing: Vec<String> = mx.iter().filter(|host| !policy.has(host)).map(Name::to_host).collect();
    if missing.is_empty() {
        return Check::ok(Area::MtaSts, domain, format!("mode {mode}, every MX host is in the policy"));
    }
    let evidence = format!("mode {mode}, and not in the policy: {}", few(&missing));
    let help = format!("add `mx:` lines to {place}, and give the record at _mta-sts another id");
    let check = Check::fault(Fault::StsMxDiffers, domain, evidence, help);
    // While a policy is tried out, mail comes all the same (RFC 8461 section 5).
    if policy.mode == Mode::Testing { Check { level: Level::Warning, ..check } } else { check }
}

fn tls_rpt(domain: &Name, lookup: &Lookup<Vec<u8>>) -> Check {
    if let Some(check) = unknown(Area::TlsRpt, domain, "TXT at _smtp._tls", lookup) {
        return check;
    }
    let destinations = match one_of_version(&lookup.found, "TLSRPTv1") {
        Ok(Some(record)) => sts::destinations(record).ok_or_else(|| is_none("TLSRPTv1", record)),
        Ok(None) => return Check::ok(Area::TlsRpt, domain, "there is none"),
        Err(why) => Err(why),
    };
    match destinations {
        Ok(destinations) => {
            Check::ok(Area::TlsRpt, domain, format!("reports go to {}", show(destinations.join(", ").as_bytes())))
        }
        Err(evidence) => {
            let example = format!("_smtp._tls.{domain} IN TXT \"v=TLSRPTv1; rua=mailto:reports@{}\"", domain.to_host());
            let help = format!("one record, for example: {example} (RFC 8460 section 3)");
            Check::fault(Fault::TlsRptMalformed, domain, evidence, help)
        }
    }
}

/// The record of a version, where there is one, or why senders go by none. What else there is counts for nothing, but for what was
/// meant to be a record.
fn one_of_version<'a>(found: &'a [Vec<u8>], version: &str) -> Result<Option<&'a [u8]>, String> {
    match sts::of_version(found, version)[..] {
        [record] => Ok(Some(record)),
        [] => {
            let is_near = |text: &&Vec<u8>| {
                let text: Vec<u8> = text.iter().filter(|octet| !matches!(octet, b' ' | b'"')).copied().collect();
                text.to_ascii_lowercase().starts_with(format!("v={version}").to_ascii_lowercase().as_bytes())
            };
            found.iter().find(is_near).map_or(Ok(None), |near| Err(is_none(version, near)))
        }
        ref several => Err(format!("there are {} {version} records, and senders then go by none", several.len())),
    }
}

fn is_none(version: &str, text: &[u8]) -> String {
    format!("`{}` is no {version} record", show(text))
}

fn caa(host: &Name, Authorities { at, records }: &Authorities) -> Check {
    if let Some(check) = unknown(Area::Caa, host, "CAA", records) {
        return check;
    }
    let fault = |fault, evidence: String, help: &str| Check::fault(fault, host, evidence, help);
    match caa::issuers(&records.found, false) {
        Issuers::All => Check::ok(Area::Caa, host, "every authority may issue"),
        Issuers::Only(issuers) => {
            let names: Vec<String> = issuers.into_iter().map(|issuer| issuer.name).collect();
            Check::ok(Area::Caa, host, format!("at {at}: {} may issue", few(&names)))
        }
        Issuers::Nobody => {
            let help = format!("unless that is meant, name your authority: {at} IN CAA 0 issue \"ca.example\"");
            fault(Fault::CaaForbids, format!("the CAA records at {at} let no authority issue a certificate"), &help)
        }
        Issuers::Critical(tag) => {
            let evidence = format!(
                "a CAA record at {at} has the tag `{tag}`, which has to be understood and is not: nobody issues"
            );
            fault(Fault::CaaForbids, evidence, "correct the tag, or its flags to 0 (RFC 8659 section 4.1)")
        }
        Issuers::Malformed(rdata) => {
            let evidence = format!("a CAA record at {at} can't be read: `{rdata}`");
            fault(
                Fault::CaaMalformed,
                evidence,
                &format!("for example: {at} IN CAA 0 issue \"ca.example\" (RFC 8659 section 4.1)"),
            )
        }
    }
}

/// Whether the names of an address lead back to it, as receivers want it (RFC 1912 section 2.1).
fn ptr(address: IpAddr, Pointer { host, names, back }: &Pointer) -> Check {
    let subject = format!("{} {address}", host.to_host());
    if let Some(check) = unknown(Area::Ptr, &subject, "PTR", names) {
        return check;
    }
    let called: Vec<String> = names.found.iter().map(Name::to_host).collect();
    if called.is_empty() {
        let help = format!("have whoever gives you the address name it {}", host.to_host());
        return Check::fault(Fault::PtrMissing, subject, "the address has no name", help);
    }
    if back.found.contains(&address) {
        return Check::ok(Area::Ptr, subject, few(&called));
    }
    if let Some(check) = unknown(Area::Ptr, &subject, &format!("the addresses of {}", few(&called)), back) {
        return check;
    }
    let addresses: Vec<String> = back.found.iter().map(IpAddr::to_string).collect();
    let has = if addresses.is_empty() { "no address".to_owned() } else { few(&addresses) };
    let evidence = format!("its name is {}, which has {has}", few(&called));
    let help = format!("give the name this address, or have the address named {}", host.to_host());
    Check::fault(Fault::PtrDiffers, subject, evidence, help)
}
