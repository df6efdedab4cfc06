//! TLSA: parameters, services and their owner names, association data (RFC 6698, 7671, 7672).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512};

use crate::dns::{Name, Rdata};

use super::certificate::{Certificate, Chain};
use super::error::Error;

/// Certificate usage (RFC 6698 section 2.1.1, words of RFC 7218).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Usage {
    /// A CA certificate, and PKIX validation.
    PkixTa = 0,
    /// The leaf, and PKIX validation.
    PkixEe = 1,
    /// A CA certificate that is the trust anchor.
    DaneTa = 2,
    /// The leaf, and nothing else counts.
    DaneEe = 3,
}

/// Which part of the certificate (RFC 6698 section 2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Selector {
    /// The whole certificate.
    Cert = 0,
    /// Its SubjectPublicKeyInfo.
    Spki = 1,
}

/// How the data is presented (RFC 6698 section 2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Matching {
    /// In full.
    Full = 0,
    /// Its SHA-256.
    Sha256 = 1,
    /// Its SHA-512.
    Sha512 = 2,
}

/// Usage, selector and matching type. Text: `3 1 1`, `3-1-1`, or the words of RFC 7218, `DANE-EE SPKI SHA2-256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parameters {
    /// Usage.
    pub usage: Usage,
    /// Selector.
    pub selector: Selector,
    /// Matching type.
    pub matching: Matching,
}

impl Parameters {
    /// `3 1 1`: what RFC 7672 section 3.1.1 recommends.
    pub const DEFAULT: Parameters =
        Parameters { usage: Usage::DaneEe, selector: Selector::Spki, matching: Matching::Sha256 };

    /// Whether the parameters may be published for a service. Warnings are for people; an error refuses.
    pub fn check(&self, service: &Service) -> Result<Vec<String>, Error> {
        // RFC 7672 section 3.1.3: PKIX usages are unusable in SMTP.
        if service.is_smtp() && matches!(self.usage, Usage::PkixTa | Usage::PkixEe) {
            return Err(Error::UsageForSmtp(self.usage));
        }
        let mut warnings = Vec::new();
        if self.matching == Matching::Full {
            // RFC 7671 section 10.1.2.
            warnings.push(format!("{self}: matching type 0 puts the whole data into DNS; prefer 1 (SHA-256)"));
        }
        if self.usage == Usage::DaneEe && self.selector == Selector::Cert {
            // RFC 7671 section 5.1: `3 0 x` changes with every renewal, `3 1 x` does not while the key stays.
            warnings.push(format!("{self}: changes at every renewal of the certificate; prefer 3 1 1"));
        }
        Ok(warnings)
    }
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters::DEFAULT
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.usage as u8, self.selector as u8, self.matching as u8)
    }
}

impl FromStr for Usage {
    type Err = Error;
    fn from_str(text: &str) -> Result<Usage, Error> {
        match text.to_ascii_uppercase().as_str() {
            "0" | "PKIX-TA" => Ok(Usage::PkixTa),
            "1" | "PKIX-EE" => Ok(Usage::PkixEe),
            "2" | "DANE-TA" => Ok(Usage::DaneTa),
            "3" | "DANE-EE" => Ok(Usage::DaneEe),
            _ => Err(Error::BadParameters(text.to_owned())),
        }
    }
}

impl FromStr for Selector {
    type Err = Error;
    fn from_str(text: &str) -> Result<Selector, Error> {
        match text.to_ascii_uppercase().as_str() {
            "0" | "CERT" => Ok(Selector::Cert),
            "1" | "SPKI" => Ok(Selector::Spki),
            _ => Err(Error::BadParameters(text.to_owned())),
        }
    }
}

impl FromStr for Matching {
    type Err = Error;
    fn from_str(text: &str) -> Result<Matching, Error> {
        match text.to_ascii_uppercase().as_str() {
            "0" | "FULL" => Ok(Matching::Full),
            "1" | "SHA2-256" | "SHA256" => Ok(Matching::Sha256),
            "2" | "SHA2-512" | "SHA512" => Ok(Matching::Sha512),
            _ => Err(Error::BadParameters(text.to_owned())),
        }
    }
}

impl FromStr for Parameters {
    type Err = Error;
    fn from_str(text: &str) -> Result<Parameters, Error> {
        let bad = || Error::BadParameters(text.to_owned());
        let split =
            |parts: Vec<&str>| <[String; 3]>::try_from(parts.iter().map(ToString::to_string).collect::<Vec<_>>());
        // Words hold hyphens themselves, so hyphens separate only where there is no white space.
        let parts = split(text.split_whitespace().collect()).or_else(|_| split(text.trim().split('-').collect()));
        let [usage, selector, matching] = parts.map_err(|_| bad())?;
        Ok(Parameters {
            usage: usage.parse().map_err(|_| bad())?,
            selector: selector.parse().map_err(|_| bad())?,
            matching: matching.parse().map_err(|_| bad())?,
        })
    }
}

impl Serialize for Parameters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Parameters, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The transport in an owner name (RFC 6698 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;
    fn from_str(text: &str) -> Result<Protocol, Error> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            "sctp" => Ok(Protocol::Sctp),
            _ => Err(Error::BadProtocol(text.to_owned())),
        }
    }
}

/// What a TLSA speaks for: a port of a host. For SMTP the host is the MX target, not the mail domain
/// (RFC 7672 section 2.2.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Service {
    /// The host.
    pub host: Name,
    /// The port.
    pub port: u16,
    /// The transport.
    pub protocol: Protocol,
}

impl Service {
    /// SMTP between mail servers on `host`.
    pub fn smtp(host: Name) -> Service {
        Service { host, port: 25, protocol: Protocol::Tcp }
    }

    /// Whether mail servers speak to each other here. Submission (465, 587) is not bound by RFC 7672.
    pub fn is_smtp(&self) -> bool {
        self.port == 25 && self.protocol == Protocol::Tcp
    }

    /// The owner of its TLSA, `_25._tcp.mail.example.org.` (RFC 6698 section 3).
    pub fn owner(&self) -> Result<Name, Error> {
        let prefix = |name: &Name, label: String| name.prepend(label.as_bytes());
        prefix(&self.host, format!("_{}", self.protocol))
            .and_then(|name| prefix(&name, format!("_{}", self.port)))
            .map_err(|_| Error::LongOwner(self.host.clone()))
    }

    /// The service that an owner name speaks for; none when it is not of that form.
    pub fn from_owner(owner: &Name) -> Option<Service> {
        let mut labels = owner.labels();
        let port = std::str::from_utf8(labels.next()?.strip_prefix(b"_")?).ok()?.parse().ok()?;
        let protocol = std::str::from_utf8(labels.next()?.strip_prefix(b"_")?).ok()?.parse().ok()?;
        Some(Service { host: owner.parent()?.parent()?, port, protocol })
    }
}

/// One TLSA record's content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tlsa {
    /// Usage, selector, matching type.
    pub parameters: Parameters,
    /// The certificate association data (RFC 6698 section 2.1.4).
    pub data: Vec<u8>,
}

impl Tlsa {
    /// The record that matches `chain` under `parameters`: the leaf for usages 1 and 3, for usages 0 and 2 the
    /// leaf's issuer, which must be in the chain since the server has to present it (RFC 7671 section 5.2.2).
    pub fn from_chain(chain: &Chain, parameters: Parameters) -> Result<Tlsa, Error> {
        let certificate = match parameters.usage {
            Usage::PkixEe | Usage::DaneEe => chain.leaf(),
            Usage::PkixTa | Usage::DaneTa => {
                chain.issuer().ok_or_else(|| Error::NoIssuer { parameters, issuer: chain.leaf().issuer.clone() })?
            }
        };
        Ok(Tlsa { parameters, data: association(certificate, parameters.selector, parameters.matching) })
    }

    /// The records of the CA certificates in the chain, any of which may match under usages 0 and 2.
    pub fn of_authorities(chain: &Chain, parameters: Parameters) -> impl Iterator<Item = Tlsa> {
        let Parameters { selector, matching, .. } = parameters;
        let of =
            move |certificate: &Certificate| Tlsa { parameters, data: association(certificate, selector, matching) };
        chain.certificates().iter().skip(1).map(of)
    }

    /// Whether the chain satisfies this record. For usages 0 and 2 any CA certificate in the chain may match
    /// (RFC 7671 section 5.2).
    pub fn matches(&self, chain: &Chain) -> bool {
        let Parameters { usage, selector, matching } = self.parameters;
        let data_of = |certificate: &Certificate| association(certificate, selector, matching);
        match usage {
            Usage::PkixEe | Usage::DaneEe => data_of(chain.leaf()) == self.data,
            // Never the leaf itself: OpenSSL looks for trust anchors above it only.
            Usage::PkixTa | Usage::DaneTa => {
                chain.certificates().iter().skip(1).any(|certificate| data_of(certificate) == self.data)
            }
        }
    }

    /// RDATA in wire form (RFC 6698 section 2.1).
    pub fn rdata(&self) -> Rdata {
        let Parameters { usage, selector, matching } = self.parameters;
        [&[usage as u8, selector as u8, matching as u8], &self.data[..]].concat().into()
    }

    /// Reads RDATA; none for parameters that are not assigned.
    pub fn from_rdata(rdata: &[u8]) -> Option<Tlsa> {
        let (&[usage, selector, matching], data) = rdata.split_first_chunk::<3>()?;
        let parameters = Parameters {
            usage: [Usage::PkixTa, Usage::PkixEe, Usage::DaneTa, Usage::DaneEe].get(usize::from(usage)).copied()?,
            selector: [Selector::Cert, Selector::Spki].get(usize::from(selector)).copied()?,
            matching: [Matching::Full, Matching::Sha256, Matching::Sha512].get(usize::from(matching)).copied()?,
        };
        Some(Tlsa { parameters, data: data.to_vec() })
    }
}

impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.parameters, data_encoding::HEXLOWER.encode(&self.data))
    }
}

impl FromStr for Tlsa {
    type Err = Error;
    fn from_str(text: &str) -> Result<Tlsa, Error> {
        let bad = || Error::BadParameters(text.to_owned());
        let (parameters, data) = text.rsplit_once(' ').ok_or_else(bad)?;
        let data = data_encoding::HEXLOWER_PERMISSIVE.decode(data.as_bytes()).map_err(|_| bad())?;
        Ok(Tlsa { parameters: parameters.parse()?, data })
    }
}

impl Serialize for Tlsa {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tlsa {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tlsa, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The record of a chain ready to be pasted into a zone file, and what to know of it: for `danelaw tlsa`.
pub fn zone_line(
    chain: &Chain,
    parameters: Parameters,
    service: &Service,
    ttl: u32,
) -> Result<(String, Vec<String>), Error> {
    let mut warnings = parameters.check(service)?;
    if !chain.covers(&service.host) {
        let names = match &chain.leaf().dns_names[..] {
            [] => "no host at all".to_owned(),
            names => names.join(", "),
        };
        warnings.push(format!("the certificate is for {names}, not for {}", service.host.to_host()));
    }
    let tlsa = Tlsa::from_chain(chain, parameters)?;
    Ok((format!("{} {ttl} IN TLSA {tlsa}", service.owner()?), warnings))
}

/// The selected octets, as the matching type presents them.
fn association(certificate: &Certificate, selector: Selector, matching: Matching) -> Vec<u8> {
    let selected = match selector {
        Selector::Cert => certificate.der(),
        Selector::Spki => certificate.spki(),
    };
    matching.digest(selected)
}

impl Matching {
    /// The selected octets, as they are presented.
    pub fn digest(self, selected: &[u8]) -> Vec<u8> {
        match self {
            Matching::Full => selected.to_vec(),
            Matching::Sha256 => Sha256::digest(selected).to_vec(),
            Matching::Sha512 => Sha512::digest(selected).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect(text)
    }

    #[test]
    fn parameters_are_read_as_numbers_or_words_and_printed_as_numbers() {
        for text in ["3 1 1", "3-1-1", " 3  1 1 ", "DANE-EE SPKI SHA2-256", "dane-ee spki sha256"] {
            assert_eq!(text.parse(), Ok(Parameters::DEFAULT), "{text}");
        }
        assert_eq!(Parameters::DEFAULT.to_string(), "3 1 1");
        for text in ["", "3 1", "3 1 1 1", "4 1 1", "3 2 1", "3 1 3", "3 1 -1", "311"] {
            assert_eq!(text.parse::<Parameters>(), Err(Error::BadParameters(text.to_owned())));
        }
    }

    #[test]
    fn smtp_takes_no_pkix_usage_and_other_services_do() {
        let smtp = Service::smtp(name("mail.example.org"));
        let https = Service { port: 443, ..smtp.clone() };
        for text in ["0 0 1", "1 1 1"] {
            let parameters: Parameters = text.parse().expect(text);
            assert!(matches!(parameters.check(&smtp), Err(Error::UsageForSmtp(_))));
            assert_eq!(parameters.check(&https), Ok(vec![]));
        }
        let warned = |text: &str| text.parse::<Parameters>().expect(text).check(&smtp).expect(text).len();
        assert_eq!(
            (warned("3 1 1"), warned("3 0 1"), warned("3 1 0"), warned("3 0 0"), warned("2 0 1")),
            (0, 1, 1, 2, 0)
        );
    }

    #[test]
    fn the_owner_is_port_and_protocol_in_front_of_the_host_and_reads_back() {
        let service = Service { host: name("mail.example.org"), port: 443, protocol: Protocol::Udp };
        let owner = service.owner().expect("short");
        assert_eq!(owner, name("_443._udp.mail.example.org"));
        assert_eq!(Service::from_owner(&owner), Some(service));
        assert_eq!(Service::from_owner(&name("mail.example.org")), None);
        let long = name(&format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(55)));
        assert!(matches!(Service::smtp(long).owner(), Err(Error::LongOwner(_))));
    }
}
