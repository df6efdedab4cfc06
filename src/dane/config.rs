//! What an operator configures about DANE. Plain values; the text of danelaw.toml is read in `config`.
//!
//! Durations are seconds. The defaults are the strong grades: whoever wants less says so.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::dns::Name;

use super::tlsa::{Parameters, Protocol, Service};

/// How much has to be known of a zone's DNSSEC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DnssecStrength {
    /// The zone is signed by us, with current signatures.
    Zone,
    /// Also the parent has the DS, and the chain validates.
    #[default]
    Parent,
}

/// How much has to be known of the mail service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailServiceStrength {
    /// The operator says that it runs, with STARTTLS for everybody.
    Declared,
    /// Every address of the host was seen to answer on port 25 with STARTTLS.
    #[default]
    Probed,
}

/// Whether a domain needs DKIM before its MX gets a TLSA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DkimPolicy {
    /// It does.
    #[default]
    Required,
    /// It does not; the verdict is shown all the same.
    Optional,
}

/// A service that gets a TLSA beside port 25 of the MX hosts, or other parameters for one of those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceConfig {
    /// The host.
    pub host: Name,
    /// The port.
    pub port: u16,
    /// The transport.
    #[serde(default)]
    pub protocol: Protocol,
    /// The parameter sets; none for the zone's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<Parameters>>,
    /// The TTL in seconds; none for the zone's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
}

impl ServiceConfig {
    /// The service it is about.
    pub fn service(&self) -> Service {
        Service { host: self.host.clone(), port: self.port, protocol: self.protocol }
    }
}

/// What holds in one zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct ZoneDane {
    /// False: nothing synthesised is published, at once.
    pub enabled: bool,
    /// The TTL of TLSA in seconds. Below 1800 or above 3600 warns.
    pub ttl: u32,
    /// How long an old record stays after the change at least, in seconds.
    pub confirmation_interval: u64,
    /// How long a proven loss must last before TLSA is withdrawn, in seconds.
    pub hold: u64,
    /// The grade of DNSSEC.
    pub dnssec: DnssecStrength,
    /// The grade of the mail service.
    pub mail_service: MailServiceStrength,
    /// The operator's declaration that mail is taken here. False is a word too: it is a loss at either grade.
    pub declared: bool,
    /// Whether DKIM is needed.
    pub dkim: DkimPolicy,
    /// The selectors to look at; empty for every one in the zone.
    pub dkim_selectors: Vec<String>,
    /// The parameter sets.
    pub parameters: Vec<Parameters>,
    /// The addresses of the mail servers: an MX host must have one of them.
    pub addresses: Vec<IpAddr>,
}

impl Default for ZoneDane {
    fn default() -> ZoneDane {
        ZoneDane {
            enabled: true,
            ttl: 3600,
            confirmation_interval: 24 * 3600,
            hold: 3600,
            dnssec: DnssecStrength::default(),
            mail_service: MailServiceStrength::default(),
            declared: true,
            dkim: DkimPolicy::default(),
            dkim_selectors: Vec::new(),
            parameters: vec![Parameters::DEFAULT],
            addresses: Vec::new(),
        }
    }
}

impl ZoneDane {
    /// How long an old record stays after the change: max(2 x TTL, confirmation interval), in seconds.
    pub fn retention(&self, ttl: u32) -> u64 {
        self.confirmation_interval.max(2 * u64::from(ttl))
    }
}

/// A mail domain whose zone is served elsewhere, and whose mail comes here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct DomainDane {
    /// The hosts that take its mail: named by the operator, so that a resolver that fails takes no host from it.
    pub hosts: Vec<Name>,
    /// Whether DKIM is needed.
    pub dkim: DkimPolicy,
    /// The selectors to look at: from elsewhere nobody can list them.
    pub dkim_selectors: Vec<String>,
}

/// Everything about DANE: what holds in every zone, the zones that differ, the services beside port 25, and mail domains elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct DaneConfig {
    /// What holds where a zone says nothing else.
    pub server: ZoneDane,
    /// The zones that differ, by apex.
    pub zones: BTreeMap<Name, ZoneDane>,
    /// Services beside port 25 of the MX hosts.
    pub services: Vec<ServiceConfig>,
    /// The mail domains whose zones are served elsewhere; of one that is served here its zone speaks.
    pub elsewhere: BTreeMap<Name, DomainDane>,
}

/// Where a domain's DKIM keys of these selectors are.
pub fn dkim_owners(domain: &Name, selectors: &[String]) -> Vec<Name> {
    let Ok(place) = domain.prepend(b"_domainkey") else { return Vec::new() };
    selectors.iter().filter_map(|selector| Name::parse(selector, Some(&place)).ok()).collect()
}

impl DaneConfig {
    /// What holds in a zone. The server's `enabled = false` can't be overruled by a zone.
    pub fn zone(&self, apex: &Name) -> ZoneDane {
        let own = self.zones.get(apex).unwrap_or(&self.server);
        ZoneDane { enabled: self.server.enabled && own.enabled, ..own.clone() }
    }

    /// The owners of a mail domain's DKIM keys that the configuration names, empty where it names none; none where nobody here can know
    /// them. `apex`: the zone here that is authoritative for the domain.
    pub fn dkim_owners(&self, domain: &Name, apex: Option<&Name>) -> Option<Vec<Name>> {
        match apex {
            Some(apex) => Some(dkim_owners(domain, &self.zone(apex).dkim_selectors)),
            None => Some(dkim_owners(domain, &self.elsewhere.get(domain)?.dkim_selectors)),
        }
    }

    /// What a person should know of the configuration, though it can be used.
    pub fn warnings(&self) -> Vec<String> {
        let own = self.zones.iter().map(|(apex, zone)| (format!("zone {apex}"), zone.ttl));
        let services = self
            .services
            .iter()
            .filter_map(|service| Some((format!("service {}:{}", service.host.to_host(), service.port), service.ttl?)));
        std::iter::once(("dane".to_owned(), self.server.ttl))
            .chain(own)
            .chain(services)
            .filter(|(_, ttl)| !(1800..=3600).contains(ttl))
            .map(|(place, ttl)| {
                format!("{place}: TLSA TTL {ttl} s: 1800 to 3600 is sound; a long one makes every repair slow")
            })
            .collect()
    }
}
