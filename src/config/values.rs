//! The checked values of danelaw.toml, with their defaults: the strong ones.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::dns::Name;

// ---- The dane room's words. Stand-ins of the same shape: swap them for `crate::dane`'s at the merge. ----

/// What a TLSA record says of the certificate (RFC 6698 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parameters {
    /// 0 PKIX-TA, 1 PKIX-EE, 2 DANE-TA, 3 DANE-EE.
    pub usage: u8,
    /// 0 the whole certificate, 1 its SPKI.
    pub selector: u8,
    /// 0 the data itself, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
}

impl Parameters {
    /// `3 1 1`, the default everywhere.
    pub const DANE_EE_SPKI_SHA256: Parameters = Parameters { usage: 3, selector: 1, matching: 1 };

    /// Whether SMTP between servers may use them: never 0 or 1 (RFC 7672 section 3.1.3).
    pub fn fit_smtp(self) -> bool {
        self.usage >= 2
    }
}

impl std::str::FromStr for Parameters {
    type Err = String;

    fn from_str(text: &str) -> Result<Parameters, String> {
        let numbers: Vec<Option<u8>> = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
        let [Some(usage), Some(selector), Some(matching)] = numbers[..] else {
            return Err(format!("\"{text}\" is not usage, selector and matching type"));
        };
        match () {
            () if usage > 3 => Err(format!("usage {usage} does not exist")),
            () if selector > 1 => Err(format!("selector {selector} does not exist")),
            () if matching > 2 => Err(format!("matching type {matching} does not exist")),
            () => Ok(Parameters { usage, selector, matching }),
        }
    }
}

impl std::fmt::Display for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.usage, self.selector, self.matching)
    }
}

/// The transport in a TLSA owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `_tcp`
    Tcp,
    /// `_udp`
    Udp,
    /// `_sctp`
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A service that is not an MX host's port 25: it needs DNSSEC and its certificate only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The TLSA base domain.
    pub host: Name,
    /// Its port.
    pub port: u16,
    /// Its transport.
    pub protocol: Protocol,
    /// What to publish; at least one.
    pub parameters: Vec<Parameters>,
    /// The TTL in seconds; absent means its zone's `dane.ttl`.
    pub ttl: Option<u32>,
}

/// How strong the DNSSEC prerequisite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnssecGrade {
    /// Signed by us with current signatures.
    Zone,
    /// Also, the parent has the DS and the chain validates.
    Parent,
}

/// How strong the mail-service prerequisite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailServiceGrade {
    /// Every address answers on port 25 with STARTTLS.
    Probed,
    /// The operator says so.
    Declared,
    /// Not asked for.
    Off,
}

/// Whether a mail domain needs a DKIM key before its hosts get TLSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimGrade {
    /// It does.
    Required,
    /// It does not.
    Optional,
}

/// `[dane]`, of the server or of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaneConfig {
    /// False: nothing synthesised is published.
    pub enabled: bool,
    /// TTL of synthesised TLSA records, seconds.
    pub ttl: u32,
    /// How long a replaced key's record stays at least, seconds.
    pub confirmation_interval: u64,
    /// How long a proven loss has to last before TLSA is withdrawn, seconds.
    pub hold: u64,
    /// Strength of the DNSSEC prerequisite.
    pub dnssec: DnssecGrade,
    /// Strength of the mail-service prerequisite.
    pub mail_service: MailServiceGrade,
    /// Whether DKIM is needed.
    pub dkim: DkimGrade,
    /// Selectors to look at; empty means those found in the zone.
    pub dkim_selectors: Vec<String>,
    /// What to publish at port 25 of each MX host; at least one.
    pub parameters: Vec<Parameters>,
}

impl Default for DaneConfig {
    fn default() -> DaneConfig {
        DaneConfig {
            enabled: true,
            ttl: 3600,
            confirmation_interval: 86_400,
            hold: 3600,
            dnssec: DnssecGrade::Parent,
            mail_service: MailServiceGrade::Probed,
            dkim: DkimGrade::Required,
            dkim_selectors: Vec::new(),
            parameters: vec![Parameters::DANE_EE_SPKI_SHA256],
        }
    }
}

// ---- End of the dane room's words. ----

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
    pub dane: DaneConfig,
    /// `[signing]`
    pub signing: SigningConfig,
    /// `[[certificates]]`, in the file's order.
    pub certificates: Vec<CertificateFolder>,
    /// `[[service]]`, in the file's order.
    pub services: Vec<Service>,
    /// `[zone."..."]`, overrides applied. Ask [`Config::zone`].
    pub overrides: Vec<ZoneConfig>,
    /// `[example]`: hosts for which a self-signed certificate is made at start, in the first certificate folder.
    /// Every listener is loopback and every host reserved when this is not empty.
    pub example_certificates: Vec<Name>,
}

impl Config {
    /// What holds for one zone.
    pub fn zone(&self, origin: &Name) -> ZoneConfig {
        self.overrides.iter().find(|zone| zone.origin == *origin).cloned().unwrap_or_else(|| ZoneConfig {
            origin: origin.clone(),
            file: None,
            signing: self.signing.clone(),
            dane: self.dane.clone(),
        })
    }
}

/// One zone's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The apex.
    pub origin: Name,
    /// The zone file when it isn't `<zones>/<origin>.zone`.
    pub file: Option<PathBuf>,
    /// How it is signed.
    pub signing: SigningConfig,
    /// Its DANE settings; `enabled` is false when it isn't signed.
    pub dane: DaneConfig,
}

/// Whether a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningMode {
    /// With one key that is KSK and ZSK in one.
    Csk,
    /// Not at all.
    None,
}

/// The algorithm of new keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// 13, ECDSAP256SHA256 (RFC 6605).
    EcdsaP256Sha256,
    /// 15, ED25519 (RFC 8080).
    Ed25519,
}

impl Algorithm {
    /// Its DNSSEC algorithm number.
    pub fn number(self) -> u8 {
        match self {
            Algorithm::EcdsaP256Sha256 => 13,
            Algorithm::Ed25519 => 15,
        }
    }
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
        }
    }
}

/// One `[[certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFolder {
    /// The watched folder.
    pub path: PathBuf,
    /// How it is laid out.
    pub layout: Layout,
    /// Whether the MTA reads what we install, or the client's own folder.
    pub mode: CertificateMode,
    /// Further folders that its symlinks may lead into.
    pub roots: Vec<PathBuf>,
}

/// A certificate client's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Find out.
    Auto,
    /// `live/<name>/`
    Certbot,
    /// `<d>[_ecc]/`
    AcmeSh,
    /// `certificates/<d>.crt`
    Lego,
    /// `certs/<d>/`
    Dehydrated,
    /// `certificates/<issuer>/<d>/<d>.crt`
    Caddy,
    /// Any certificate file.
    Plain,
}

/// Where the MTA reads its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateMode {
    /// From `deployed/`, which danelaw alone changes.
    Staged,
    /// From this very folder: a new certificate is live before danelaw sees it.
    Observed,
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
