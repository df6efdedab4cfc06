//! How each prerequisite is checked against the served zones: MX, addresses, DKIM, DNSSEC, the operator's declaration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::{Name, Rtype, Timestamp, rdata};

use super::config::{DaneConfig, DkimPolicy, DnssecStrength, DomainDane, MailServiceStrength, ZoneDane, dkim_owners};
use super::prerequisites::{Assessment, Fact, Finding, Gate, Resolved, Served, SignedState, Verdict};

/// What a check reads: the served zones, the configuration, the DKIM parser, the time.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The served zones.
    pub served: &'a dyn Served,
    /// The configuration.
    pub config: &'a DaneConfig,
    /// Whether a TXT value (its strings joined) is a DKIM key record that can be used; if not, why.
    pub dkim_ok: &'a dyn Fn(&[u8]) -> Result<(), String>,
    /// Now.
    pub now: Timestamp,
}

impl Context<'_> {
    /// What is asked of a mail domain: none where its zone is served here.
    fn elsewhere(&self, domain: &Name) -> Option<&DomainDane> {
        self.config.elsewhere.get(domain).filter(|_| self.served.zone_of(domain).is_none())
    }

    /// What holds in the zone of a name.
    fn config_of(&self, name: &Name) -> ZoneDane {
        match self.served.zone_of(name) {
            Some(apex) => self.config.zone(&apex),
            None => self.config.server.clone(),
        }
    }
}

/// The verdicts for a mail domain and one of its MX hosts. What is asked of DKIM is the domain's zone's to say, the rest
/// is the host's zone's.
pub fn assess(context: Context<'_>, domain: &Name, host: &Name) -> Assessment {
    let now = context.now;
    let of_host = context.config_of(host);
    let (mail_gate, mail) = mail_service(context, &of_host, host);
    let (dnssec_gate, signed) = dnssec_of_both(context, domain, host);
    let (policy, gates, key) = match context.elsewhere(domain) {
        Some(asked) => (asked.dkim, [Gate::DkimElsewhere, Gate::MxElsewhere], context.served.resolved(domain).dkim),
        None => {
            let of_domain = context.config_of(domain);
            (of_domain.dkim, [Gate::Dkim, Gate::Mx], dkim(context, &of_domain, domain))
        }
    };
    let findings = vec![
        Finding::new(mail_gate, true, mail, now),
        Finding::new(gates[0], policy == DkimPolicy::Required, key, now),
        Finding::new(gates[1], true, mx(context, &of_host, domain, host), now),
        Finding::new(dnssec_gate, true, signed, now),
    ];
    Assessment { domain: Some(domain.clone()), host: host.clone(), findings }
}

/// The verdicts for a service that is not an MX: DNSSEC, and that the host exists at all.
pub fn assess_service(context: Context<'_>, host: &Name) -> Assessment {
    let (gate, signed) = dnssec(context, host);
    // A TLSA below a host that only a wildcard answers for would end the wildcard for it (RFC 4592 section 2.2.1).
    let exists = context.served.owners_below(host).iter().any(|owner| owner == host);
    let own = if exists {
        Fact::held(format!("{host} has records"))
    } else {
        let help = format!("add an A or AAAA at {host} itself; a wildcard's does not count");
        Fact::new(Verdict::Missing, format!("{host} has no records of its own"), help)
    };
    let findings =
        vec![Finding::new(Gate::Host, true, own, context.now), Finding::new(gate, true, signed, context.now)];
    Assessment { domain: None, host: host.clone(), findings }
}

/// The MX hosts of a domain, each once. A null MX (RFC 7505 section 3) names no host.
pub fn mail_hosts(served: &dyn Served, domain: &Name) -> Vec<Name> {
    let mut hosts: Vec<Name> = Vec::new();
    for host in exchanges(served, domain) {
        if !host.is_root() && !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

fn exchanges(served: &dyn Served, domain: &Name) -> Vec<Name> {
    let rdatas = served.rrset(domain, Rtype::MX).map(|rrset| rrset.rdatas).unwrap_or_default();
    rdatas.iter().flat_map(|mx| rdata::names(Rtype::MX, mx)).collect()
}

fn mail_service(context: Context<'_>, config: &ZoneDane, host: &Name) -> (Gate, Fact) {
    if !config.declared {
        let help = format!("when {} takes mail with STARTTLS, set `declared = true`", host.to_host());
        return (Gate::MailServiceDeclared, Fact::new(Verdict::Missing, "declared off in the configuration", help));
    }
    match config.mail_service {
        MailServiceStrength::Declared => (Gate::MailServiceDeclared, Fact::held("declared in the configuration")),
        MailServiceStrength::Probed => {
            let mut fact = context.served.probed(host);
            if fact.verdict == Verdict::Unknown {
                let word =
                    "if it can't be asked from here and you vouch for it yourself, set `mail-service = \"declared\"`";
                fact.help =
                    [&fact.help[..], word].into_iter().filter(|help| !help.is_empty()).collect::<Vec<_>>().join("; ");
            }
            (Gate::MailServiceProbed, fact)
        }
    }
}

/// The host's zone, and the domain's: from an MX that is not secure nobody goes on to the TLSA (RFC 7672 section 2.2.1).
fn dnssec_of_both(context: Context<'_>, domain: &Name, host: &Name) -> (Gate, Fact) {
    let of_host = dnssec(context, host);
    if of_host.1.verdict != Verdict::Held || context.served.zone_of(domain) == context.served.zone_of(host) {
        return of_host;
    }
    let of_domain = match context.elsewhere(domain) {
        Some(_) => (Gate::DnssecParent, context.served.resolved(domain).dnssec),
        None => dnssec(context, domain),
    };
    match of_domain {
        (_, fact) if fact.verdict == Verdict::Held => of_host,
        of_domain => of_domain,
    }
}

fn dnssec(context: Context<'_>, host: &Name) -> (Gate, Fact) {
    let Some(apex) = context.served.zone_of(host) else {
        let help = format!("whoever serves the zone of {} has to publish its TLSA", host.to_host());
        return (Gate::DnssecZone, Fact::new(Verdict::Unknown, format!("the zone of {host} is not served here"), help));
    };
    match context.served.signed(&apex) {
        SignedState::Unsigned => {
            let help = "TLSA means nothing without DNSSEC: take `signing = \"none\"` away from the zone".to_owned();
            (Gate::DnssecZone, Fact::new(Verdict::Missing, format!("zone {apex} is not signed"), help))
        }
        SignedState::Contradicted(why, help) => (Gate::DnssecZone, Fact::new(Verdict::Missing, why, help)),
        SignedState::Unknown(why) => {
            let help = format!("see the status of zone {apex}");
            (Gate::DnssecZone, Fact::new(Verdict::Unknown, format!("zone {apex}: {why}"), help))
        }
        SignedState::Signed if context.config.zone(&apex).dnssec == DnssecStrength::Zone => {
            (Gate::DnssecZone, Fact::held(format!("zone {apex} is signed")))
        }
        SignedState::Signed => {
            let mut fact = context.served.parent(&apex);
            if fact.verdict == Verdict::Unknown && fact.help.is_empty() {
                fact.help = format!(
                    "have the DS of {apex} put in at the parent (`danelaw ds {}`); if it is there, set `dnssec = \"zone\"`",
                    apex.to_host()
                );
            }
            (Gate::DnssecParent, fact)
        }
    }
}

/// What is wrong with the MX of a domain; none where it names the host.
fn exchange(context: Context<'_>, domain: &Name, host: &Name) -> Option<Fact> {
    let resolved = context.elsewhere(domain).map(|_| context.served.resolved(domain));
    let targets = match resolved {
        None => exchanges(context.served, domain),
        Some(Resolved { mx: Ok(targets), .. }) => targets,
        Some(Resolved { mx: Err(why), .. }) => {
            let help = format!("see that the nameservers of {domain} answer, and that resolvers are reached from here");
            return Some(Fact::unknown(format!("the MX of {domain} can't be told: {why}"), help));
        }
    };
    let add = || format!("add `{domain} MX 10 {host}`");
    let (evidence, help) = match &targets[..] {
        [] => (format!("{domain} has no MX"), add()),
        // RFC 7505 section 3.
        _ if targets.iter().any(Name::is_root) => {
            (format!("{domain} has a null MX: it takes no mail"), "put a host into the MX".to_owned())
        }
        _ if !targets.contains(host) => (format!("the MX of {domain} does not name {host}"), add()),
        _ => return None,
    };
    Some(Fact::new(Verdict::Missing, evidence, help))
}

fn mx(context: Context<'_>, config: &ZoneDane, domain: &Name, host: &Name) -> Fact {
    let served = context.served;
    let missing = |evidence: String, help: String| Fact::new(Verdict::Missing, evidence, help);
    if let Some(wrong) = exchange(context, domain, host) {
        return wrong;
    }
    if served.zone_of(host).is_none() {
        let help = format!("whoever serves the zone of {} has to publish its TLSA", host.to_host());
        return missing(format!("{host} is in no zone that is served here"), help);
    }
    if served.rrset(host, Rtype::CNAME).is_some() {
        // RFC 2181 section 10.3.
        let help = format!("give {host} an A or AAAA in the place of the CNAME, or name the CNAME's target in the MX");
        return missing(format!("{host} is a CNAME, which an MX may not name (RFC 2181 section 10.3)"), help);
    }
    address_fact(config, host, &addresses(served, host))
}

fn address_fact(config: &ZoneDane, host: &Name, addresses: &[IpAddr]) -> Fact {
    if addresses.is_empty() {
        // A wildcard's address does not count: a TLSA below the host would end the wildcard for it (RFC 4592 section 2.2.1).
        let help = format!("add an A or AAAA at {host} itself; a wildcard's does not count");
        return Fact::new(Verdict::Missing, format!("{host} has no address"), help);
    }
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if config.addresses.is_empty() {
        let help = format!("list the mail server's addresses: `addresses = [\"{}\"]`", addresses[0]);
        return Fact::new(Verdict::Unknown, format!("{host} has {list}; no addresses are configured"), help);
    }
    match addresses.iter().find(|address| config.addresses.contains(address)) {
        Some(address) => Fact::held(format!("{host} has {address}, which is ours")),
        None => {
            let help =
                format!("if {} is this mail server, add it to `addresses`; otherwise correct {host}", addresses[0]);
            Fact::new(Verdict::Missing, format!("{host} has {list}, none of which is ours"), help)
        }
    }
}

/// The addresses of a host, as the served zones have them.
pub fn addresses(served: &dyn Served, host: &Name) -> Vec<IpAddr> {
    let rdatas = |rtype| served.rrset(host, rtype).map(|rrset| rrset.rdatas).unwrap_or_default();
    let v4 = rdatas(Rtype::A).into_iter().filter_map(|octets| <[u8; 4]>::try_from(&octets[..]).ok());
    let v6 = rdatas(Rtype::AAAA).into_iter().filter_map(|octets| <[u8; 16]>::try_from(&octets[..]).ok());
    v4.map(|octets| Ipv4Addr::from(octets).into()).chain(v6.map(|octets| Ipv6Addr::from(octets).into())).collect()
}

/// At least one `<selector>._domainkey.<domain>` with a key that parses and is not revoked (RFC 6376 section 3.6.1).
fn dkim(context: Context<'_>, config: &ZoneDane, domain: &Name) -> Fact {
    let help = || format!("add the TXT that your DKIM signer wrote at `<selector>._domainkey.{domain}`");
    let Ok(place) = domain.prepend(b"_domainkey") else {
        return Fact::new(Verdict::Missing, format!("{domain} is too long for a DKIM key below it"), help());
    };
    if context.served.zone_of(&place).is_none() {
        let name = "name its selectors in `dkim-selectors`, or make DKIM optional in the configuration";
        return beyond(context, domain, format!("{place} is delegated to another server"), name);
    }
    let owners: Vec<Name> = if config.dkim_selectors.is_empty() {
        let mut owners = context.served.owners_below(&place);
        owners.retain(|owner| owner != &place || context.served.rrset(owner, Rtype::CNAME).is_some());
        owners
    } else {
        dkim_owners(domain, &config.dkim_selectors)
    };
    let mut problems = Vec::new();
    let mut unknown = None;
    for owner in &owners {
        match dkim_at(context, owner) {
            Key::Usable => return Fact::held(format!("{owner} has a key")),
            Key::Foreign(target) => unknown = Some(format!("{owner} is a CNAME to {target}, which is not served here")),
            Key::Bad(problem) => problems.push(format!("{owner} {problem}")),
        }
    }
    if let Some(evidence) = unknown {
        let put = "put the key's TXT here, or make DKIM optional in the configuration";
        return beyond(context, domain, evidence, put);
    }
    if problems.is_empty() {
        problems.push(format!("no selector below {place}"));
    }
    Fact::new(Verdict::Missing, problems.join("; "), help())
}

/// What is not served here is as resolvers see it, as far as they see it: that they don't is no proof.
fn beyond(context: Context<'_>, domain: &Name, evidence: String, help: &str) -> Fact {
    match context.served.resolved(domain).dkim {
        fact if fact.verdict == Verdict::Held => fact,
        fact => Fact::unknown(format!("{evidence}; {}", fact.evidence), help),
    }
}

enum Key {
    Usable,
    Foreign(Name),
    Bad(String),
}

/// The most CNAMEs followed from a selector.
const CNAMES: usize = 8;

fn dkim_at(context: Context<'_>, selector: &Name) -> Key {
    let mut owner = selector.clone();
    for _ in 0..CNAMES {
        if context.served.zone_of(&owner).is_none() {
            return Key::Foreign(owner);
        }
        let Some(cname) = context.served.rrset(&owner, Rtype::CNAME) else { break };
        let Some(target) = cname.rdatas.first().and_then(|target| Name::from_wire(target).ok()) else { break };
        owner = target;
    }
    let Some(rrset) = context.served.rrset(&owner, Rtype::TXT) else { return Key::Bad("has no TXT".to_owned()) };
    let mut problem = String::new();
    for rdata in &rrset.rdatas {
        match (context.dkim_ok)(&joined(rdata)) {
            Ok(()) => return Key::Usable,
            Err(why) => problem = format!("has no usable key: {why}"),
        }
    }
    Key::Bad(problem)
}

/// The strings of a TXT joined (RFC 6376 section 3.6.2.2: with nothing in between).
fn joined(txt: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(txt.len());
    let mut rest = txt;
    while let Some((&len, after)) = rest.split_first() {
        let (string, next) = after.split_at(usize::from(len).min(after.len()));
        value.extend_from_slice(string);
        rest = next;
    }
    value
}
