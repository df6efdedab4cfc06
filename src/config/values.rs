//! The checked values of danelaw.toml, with their defaults: the strong ones.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::acme::{Acme, CertificateConfig};
use super::catalog::CatalogConfig;
use super::messages::Messages;
use super::outside::Outside;
use super::primary::Primaries;
use super::rollover::RolloverConfig;
use super::secondary::Secondary;
use super::service::{RateLimit, ServerConfig};
use super::update::Updater;
use crate::dane::DaneConfig;
use crate::dane::config::{DomainDane, ServiceConfig, ZoneDane};
use crate::dns::Name;
pub use crate::dns::dnssec::Algorithm;
use crate::update::Grants;
use crate::zone::Denial;
pub use crate::zone::sign::SigningMode;

/// The whole checked configuration. Paths are absolute or relative to where the process started, never to the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from; none when there was no file.
    pub file: Option<PathBuf>,
    /// The folder that relative paths of the file start from.
    pub folder: PathBuf,
    /// Where `*.zone` files are.
    pub zones: PathBuf,
    /// Where DNSSEC keys are.
    pub keys: PathBuf,
    /// Where the store and the images are.
    pub state: PathBuf,
    /// Where to listen, UDP and TCP each; never empty.
    pub listen: Vec<SocketAddr>,
    /// Addresses of this mail server.
    pub addresses: Vec<IpAddr>,
    /// The control socket's path.
    pub control_socket: PathBuf,
    /// `[dane]`
    pub dane: ZoneDane,
    /// `[signing]`
    pub signing: SigningConfig,
    /// `[[certificates]]`, in the file's order.
    pub certificates: Vec<CertificateFolder>,
    /// `[rollover]`, `[host."..."]` and the zones' `nameservers`.
    pub rollover: RolloverConfig,
    /// `[[service]]`, in the file's order.
    pub services: Vec<ServiceConfig>,
    /// `[zone."..."]` by apex, the server's values filled in. Ask [`Config::zone`].
    pub overrides: BTreeMap<Name, ZoneConfig>,
    /// `[example]`: hosts for which a self-signed certificate is made at start, in the first certificate folder.
    /// Every listener is loopback and every host reserved when this is not empty.
    pub example_certificates: Vec<Name>,
    /// `listen-tls`, `listen-https`, `listen-quic` and `[tls]`.
    pub encrypted: Encrypted,
    /// `[server]`
    pub server: ServerConfig,
    /// `[rate-limit]`
    pub rate_limit: RateLimit,
    /// `tsig-keys`: files with keys, in the file's order.
    pub tsig_keys: Vec<PathBuf>,
    /// `[secondary."..."]`, in the file's order.
    pub secondaries: Vec<Secondary>,
    /// `[update."..."]`, in the file's order.
    pub updates: Vec<Updater>,
    /// `[catalog."..."]`, in the file's order.
    pub catalogs: Vec<CatalogConfig>,
    /// `notify-nameservers`: whether a zone's nameservers are told of changes besides them.
    pub notify_nameservers: bool,
    /// `[messages]`
    pub messages: Messages,
    /// By whom danelaw sees how the world sees its zones.
    pub outside: Outside,
    /// `[domain."..."]`
    pub elsewhere: BTreeMap<Name, DomainDane>,
    /// `[acme]`
    pub acme: Option<Acme>,
    /// `[[certificate]]`, in the file's order.
    pub ordered: Vec<CertificateConfig>,
}

/// DoT, DoH and DoQ; off where the lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encrypted {
    /// Where to listen for DNS over TLS.
    pub tls: Vec<SocketAddr>,
    /// Where to listen for DNS over HTTPS.
    pub https: Vec<SocketAddr>,
    /// Where to listen for DNS over QUIC.
    pub quic: Vec<SocketAddr>,
    /// The certificate that all of them show. There is one when a list is not empty.
    pub certificate: Option<TlsCertificate>,
}

/// Where a listener's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsCertificate {
    /// The newest one in the certificate folders that names this host.
    OfHost(Name),
    /// These files, chain and key in PEM.
    Files {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

impl Config {
    /// What holds for one zone.
    pub fn zone(&self, origin: &Name) -> ZoneConfig {
        self.overrides.get(origin).cloned().unwrap_or_else(|| ZoneConfig {
            origin: origin.clone(),
            file: None,
            primary: None,
            key: None,
            signing: self.signing.clone(),
            dane: self.dane.clone(),
            notify_nameservers: self.notify_nameservers,
        })
    }

    /// Whether any secondary takes a zone.
    pub fn is_taken(&self, zone: &Name) -> bool {
        self.secondaries.iter().any(|secondary| secondary.takes(zone))
    }

    /// Whether what changes in a zone is remembered: for secondaries, and so that many updates don't cost an image each.
    pub fn is_remembered(&self, zone: &Name) -> bool {
        self.is_taken(zone) || self.updates.iter().any(|updater| updater.takes(zone))
    }

    /// What a request that a key has signed may change in a zone, from where it comes. Nothing in one that is signed elsewhere.
    pub fn grants(&self, zone: &Name, peer: IpAddr, key: &Name) -> Grants<'_> {
        let is_ours = self.signing(zone).mode != SigningMode::Presigned;
        let updaters = self.updates.iter().filter(|updater| is_ours && updater.takes(zone) && updater.sends(peer, key));
        updaters.map(|updater| &updater.grant).collect()
    }

    /// Whether a zone's nameservers are told of changes.
    pub fn tells_nameservers(&self, zone: &Name) -> bool {
        self.overrides.get(zone).map_or(self.notify_nameservers, |zone| zone.notify_nameservers)
    }

    /// How one zone is signed.
    pub fn signing(&self, origin: &Name) -> &SigningConfig {
        self.overrides.get(origin).map_or(&self.signing, |zone| &zone.signing)
    }

    /// The servers that a zone comes from, where that is not a file.
    pub fn primaries(&self, origin: &Name) -> Option<&Primaries> {
        self.overrides.get(origin)?.primary.as_deref()
    }

    /// The zones that come from other servers, in canonical order.
    pub fn transferred(&self) -> impl Iterator<Item = (&Name, &Primaries)> {
        self.overrides.iter().filter_map(|(origin, zone)| Some((origin, zone.primary.as_deref()?)))
    }

    /// The zones whose file the configuration names, in canonical order.
    pub fn named_files(&self) -> Vec<(Name, PathBuf)> {
        self.overrides.values().filter_map(|zone| Some((zone.origin.clone(), zone.file.clone()?))).collect()
    }

    /// The zones whose key file the configuration names, with its name in the keys folder.
    pub fn named_keys(&self) -> Vec<(Name, String)> {
        self.overrides.values().filter_map(|zone| Some((zone.origin.clone(), zone.key.clone()?))).collect()
    }

    /// What is allowed and better left alone.
    pub fn warnings(&self) -> Vec<String> {
        let zones = self.overrides.values().filter(|zone| zone.signing.mode == SigningMode::Csk);
        let zones = zones.map(|zone| (format!("zone {}", zone.origin), &zone.signing.denial));
        let server = std::iter::once(("[signing]".to_owned(), &self.signing.denial));
        let mut warnings: Vec<String> = Vec::new();
        for (place, denial) in server.chain(zones.filter(|(_, denial)| **denial != self.signing.denial)) {
            warnings.extend(denial.warnings().into_iter().map(|warning| format!("{place}: {warning}")));
        }
        warnings.extend(self.dane_rules().warnings());
        warnings.extend(self.updates.iter().filter_map(Updater::warning));
        let observed = self.certificates.iter().filter(|folder| folder.mode == CertificateMode::Observed);
        warnings.extend(observed.map(|folder| {
            format!(
                "{} is observed: a renewed certificate is presented before resolvers can know its record, and mail may be deferred \
                 until their caches run out; let the mail server read `deployed`, and this folder be \"staged\"",
                folder.path.display()
            )
        }));
        warnings
    }

    /// Every address that is listened on, for whatever.
    pub fn listeners(&self) -> impl Iterator<Item = &SocketAddr> {
        let Encrypted { tls, https, quic, .. } = &self.encrypted;
        self.listen.iter().chain(tls).chain(https).chain(quic)
    }

    /// What the DANE room goes by.
    pub fn dane_rules(&self) -> DaneConfig {
        let addressed = |dane: &ZoneDane| ZoneDane { addresses: self.addresses.clone(), ..dane.clone() };
        DaneConfig {
            server: addressed(&self.dane),
            zones: self.overrides.values().map(|zone| (zone.origin.clone(), addressed(&zone.dane))).collect(),
            services: self.services.clone(),
            elsewhere: self.elsewhere.clone(),
        }
    }
}

/// One zone's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The apex.
    pub origin: Name,
    /// The zone file when it isn't `<zones>/<origin>.zone`.
    pub file: Option<PathBuf>,
    /// The servers that it comes from, where that is not a file.
    pub primary: Option<Box<Primaries>>,
    /// A key file in the keys folder, which other zones may name too; besides those that are called after the zone.
    pub key: Option<String>,
    /// How it is signed.
    pub signing: SigningConfig,
    /// Its DANE settings; `enabled` is false when it isn't signed.
    pub dane: ZoneDane,
    /// Whether its nameservers are told of changes.
    pub notify_nameservers: bool,
}

/// `[signing]`, of the server or of one zone. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningConfig {
    /// Whether and how.
    pub mode: SigningMode,
    /// The algorithm of new keys.
    pub algorithm: Algorithm,
    /// Whether CDS and CDNSKEY are published (RFC 7344, RFC 8078).
    pub cds: bool,
    /// How long a signature is valid from now on.
    pub validity: u64,
    /// A signature with less than this left is made again.
    pub refresh: u64,
    /// Refreshes are spread over this time.
    pub jitter: u64,
    /// TTL of DNSKEY, CDS and CDNSKEY.
    pub dnskey_ttl: u32,
    /// What absence is proven by.
    pub denial: Denial,
}

impl Default for SigningConfig {
    fn default() -> SigningConfig {
        SigningConfig {
            mode: SigningMode::Csk,
            algorithm: Algorithm::EcdsaP256Sha256,
            cds: true,
            validity: 14 * 86_400,
            refresh: 6 * 86_400,
            jitter: 86_400,
            dnskey_ttl: 3600,
            denial: Denial::Nsec,
        }
    }
}

/// One `[[certificates]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFolder {
    /// The watched folder.
    pub path: PathBuf,
    /// Where the MTA reads.
    pub mode: CertificateMode,
    /// Further folders that its symlinks may lead into. `archive` beside a folder named `live` is always one.
    pub roots: Vec<PathBuf>,
}

/// Where the MTA reads its certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateMode {
    /// Not in this folder: it is a source only, and danelaw installs what is in it. Keys are read.
    #[default]
    Staged,
    /// Likewise, and the key of the next certificate lies there long before it.
    NextKey,
    /// Likewise, and every certificate has the same key.
    StableKey,
    /// In this very folder: a new certificate is live before danelaw sees it. Keys are never opened.
    Observed,
}

impl std::fmt::Display for CertificateMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CertificateMode::Staged => "staged",
            CertificateMode::NextKey => "next key",
            CertificateMode::StableKey => "stable key",
            CertificateMode::Observed => "observed",
        })
    }
}

/// Reads `90s`, `1h30m`, `2w`, or plain seconds.
pub fn parse_duration(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = match rest.chars().next() {
            None if digits == text.trim().len() => 1,
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some('w') => 604_800,
            _ => return None,
        };
        rest = rest.get(1..).unwrap_or("");
        total = total.checked_add(number.checked_mul(unit)?)?;
    }
    Some(total)
}

/// The shortest way to write so many seconds.
pub fn show_duration(seconds: u64) -> String {
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, letter) in [(604_800, 'w'), (86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')] {
        if rest >= unit {
            text.push_str(&format!("{}{letter}", rest / unit));
            rest %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Whether a name can never be anybody's on the Internet (RFC 2606, RFC 6761): what examples may use.
pub fn is_reserved(name: &Name) -> bool {
    ["test", "example", "invalid", "localhost", "example.com", "example.net", "example.org"]
        .iter()
        .filter_map(|reserved| reserved.parse::<Name>().ok())
        .any(|reserved| name.is_at_or_below(&reserved))
}
