//! From the walked TOML to the checked values: what each key means, its default, and what contradicts what.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::acme;
use super::catalog;
use super::denial::check_denial;
use super::elsewhere;
use super::messages::{self, Messages};
use super::outside::{self, Outside};
use super::primary;
use super::reader::{Problems, Section, Span, as_section};
use super::rollover::{self, RolloverConfig};
use super::secondary;
use super::service::{self, RateLimit, ServerConfig};
use super::tls;
use super::update;
use super::values::{
    Algorithm, CertificateFolder, CertificateMode, Config, Encrypted, SigningConfig, SigningMode, is_reserved,
};
use crate::dane::config::{DkimPolicy, DnssecStrength, MailServiceStrength, ServiceConfig, ZoneDane};
use crate::dane::{Parameters, Protocol, Service};
use crate::dns::Name;
use crate::zone::Diagnostic;

/// The longest path that a Unix socket's address holds, its final zero not counted.
const MAX_SOCKET_PATH: usize = 107;
const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;
const PARAMETERS: &str = "usage, selector and matching type, such as \"3 1 1\"";

pub(super) fn defaults(folder: &Path) -> Config {
    Config {
        file: None,
        folder: folder.to_owned(),
        zones: folder.join("zones"),
        keys: folder.join("keys"),
        state: folder.join("state"),
        listen: vec![
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 53),
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 53),
        ],
        addresses: Vec::new(),
        control_socket: folder.join("state/control/danelaw.sock"),
        dane: ZoneDane::default(),
        signing: SigningConfig::default(),
        certificates: vec![default_certificates(folder)],
        rollover: RolloverConfig::new(folder),
        services: Vec::new(),
        overrides: BTreeMap::new(),
        example_certificates: Vec::new(),
        encrypted: Encrypted::default(),
        server: ServerConfig::default(),
        rate_limit: RateLimit::default(),
        tsig_keys: Vec::new(),
        secondaries: Vec::new(),
        updates: Vec::new(),
        catalogs: Vec::new(),
        notify_nameservers: false,
        messages: Messages::default(),
        outside: Outside::default(),
        elsewhere: BTreeMap::new(),
        acme: None,
        ordered: Vec::new(),
    }
}

fn default_certificates(folder: &Path) -> CertificateFolder {
    CertificateFolder { path: folder.join("certs"), mode: CertificateMode::Staged, roots: Vec::new() }
}

pub(super) fn check(text: &str, file: &str, folder: &Path) -> Result<Config, Vec<Diagnostic>> {
    let mut problems = Problems::new(file, text);
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        problems.error(error.span().unwrap_or(0..0), error.message().trim(), "TOML: see https://toml.io");
    }
    // What can't be read means nothing: to check the rest of it would blame what follows from the first mistake.
    if problems.found_any() {
        return Err(problems.first_of_each_line());
    }
    let mut config = defaults(folder);
    let root = Section::new("", 0..0, table.get_ref());
    check_root(root, &mut config, &mut problems);
    let diagnostics = problems.into_diagnostics();
    if diagnostics.is_empty() { Ok(config) } else { Err(diagnostics) }
}

fn check_root(mut root: Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let folder = config.folder.clone();
    if let Some(path) = check_path(&mut root, "zones", &folder, problems) {
        config.zones = path;
    }
    if let Some(path) = check_path(&mut root, "keys", &folder, problems) {
        config.keys = path;
    }
    if let Some(path) = check_path(&mut root, "state", &folder, problems) {
        config.control_socket = path.join("control/danelaw.sock");
        config.state = path;
    }
    check_listen(&mut root, config, problems);
    tls::check(&mut root, config, problems);
    service::check(&mut root, config, problems);
    secondary::check(&mut root, config, problems);
    let expected = "an IPv4 or IPv6 address without port, such as \"192.0.2.25\"";
    if let Some(addresses) = root.list("addresses", expected, problems, parse_ip) {
        config.addresses = addresses.into_iter().map(|(address, _)| address).collect();
    }
    if let Some(control) = root.section("control", problems) {
        check_control(control, config, problems);
    }
    if let Some(dane) = root.section("dane", problems) {
        check_dane(dane, &mut config.dane, problems);
    }
    if let Some(signing) = root.section("signing", problems) {
        check_signing(signing, &mut config.signing, problems);
    }
    if let Some(folders) = root.sections("certificates", problems) {
        config.certificates =
            folders.into_iter().filter_map(|section| check_certificates(section, &folder, problems)).collect();
    } else if root.has("certificate") {
        // Who lets danelaw get them need not have a folder that others write into.
        config.certificates.clear();
    }
    let ordered = acme::check(&mut root, config, problems);
    rollover::check(&mut root, config, problems);
    if let Some(services) = root.sections("service", problems) {
        for section in services {
            check_service(section, &mut config.services, problems);
        }
    }
    if let Some(zones) = root.section("zone", problems) {
        check_zones(&zones, config, problems);
    }
    acme::check_holds(&ordered, config, problems);
    update::check(&mut root, config, problems);
    catalog::check(&mut root, config, problems);
    if let Some(section) = root.section("messages", problems) {
        messages::check(section, config, problems);
    }
    elsewhere::check(&mut root, config, problems);
    if let Some(section) = root.section("outside", problems) {
        config.outside = outside::check(section, &folder, problems);
    }
    if let Some(example) = root.section("example", problems) {
        check_example(example, config, problems);
    }
    root.finish(problems);
}

pub(super) fn check_path(
    section: &mut Section<'_>,
    key: &'static str,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Option<PathBuf> {
    let expected = "a path; a relative one starts from this file's folder";
    section.parsed(key, expected, problems, |text| parse_path(text, folder))
}

pub(super) fn parse_path(text: &str, folder: &Path) -> Result<PathBuf, String> {
    match text {
        "" => Err("empty".to_owned()),
        _ if text.contains('\0') => Err("holds a zero byte".to_owned()),
        _ => Ok(folder.join(text)),
    }
}

fn check_listen(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let expected = "address and port, such as \"127.0.0.1:5300\" or \"[::1]:5300\"";
    let Some(listen) = root.list("listen", expected, problems, parse_listener) else { return };
    for (index, (address, span)) in listen.iter().enumerate() {
        if let Some(why) = listen[..index].iter().find_map(|(other, _)| in_each_others_way(*other, *address)) {
            problems.error(span.clone(), format!("`listen`: {why}"), "take one of them out");
        }
    }
    if listen.is_empty()
        && root.value("listen").is_some_and(|value| value.get_ref().as_array().is_some_and(|a| a.is_empty()))
    {
        let help = "leave the key out to listen on 0.0.0.0:53 and [::]:53";
        problems.error(root.span_of("listen"), "`listen` is empty: nobody could ask", help);
        return;
    }
    config.listen = listen.into_iter().map(|(address, _)| address).collect();
}

pub(super) fn parse_listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not an address with a port"))
}

/// Why two listeners can't both be bound.
pub(super) fn in_each_others_way(first: SocketAddr, second: SocketAddr) -> Option<String> {
    let same_port = first.port() == second.port() && first.port() != 0;
    let covers = first.ip().is_unspecified() || second.ip().is_unspecified();
    match () {
        () if !same_port || first.is_ipv4() != second.is_ipv4() => None,
        () if first.ip() == second.ip() => Some(format!("{second} stands here twice")),
        () if covers => Some(format!("{first} and {second}: one of them is every address, the other one too")),
        () => None,
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("\"{text}\" is not an IP address"))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!("{address} is no host's address"));
    }
    Ok(address)
}

fn check_control(mut section: Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    if let Some(path) = check_path(&mut section, "socket", &config.folder.clone(), problems) {
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            let message = format!("`socket`: the path has {length} bytes, and a socket's can have {MAX_SOCKET_PATH}");
            problems.error(section.span_of("socket"), message, "a shorter path");
        }
        config.control_socket = path;
    }
    section.finish(problems);
}

fn check_dane(mut section: Section<'_>, dane: &mut ZoneDane, problems: &mut Problems<'_>) {
    if let Some(enabled) = section.boolean("enabled", problems) {
        dane.enabled = enabled;
    }
    if let Some(ttl) = check_ttl(&mut section, "ttl", problems) {
        dane.ttl = ttl;
    }
    if let Some(interval) = section.duration("confirmation-interval", 0..=YEAR, problems) {
        dane.confirmation_interval = interval;
    }
    if let Some(hold) = section.duration("hold", 0..=YEAR, problems) {
        dane.hold = hold;
    }
    let grades = [("parent", DnssecStrength::Parent), ("zone", DnssecStrength::Zone)];
    if let Some(grade) = section.choice("dnssec", &grades, problems) {
        dane.dnssec = grade;
    }
    let grades = [
        ("probed", (MailServiceStrength::Probed, true)),
        ("declared", (MailServiceStrength::Declared, true)),
        ("off", (MailServiceStrength::Declared, false)),
    ];
    if let Some((strength, declared)) = section.choice("mail-service", &grades, problems) {
        dane.mail_service = strength;
        dane.declared = declared;
    }
    let (policy, selectors) = check_dkim(&mut section, problems);
    dane.dkim = policy.unwrap_or(dane.dkim);
    dane.dkim_selectors = selectors.unwrap_or(std::mem::take(&mut dane.dkim_selectors));
    if let Some(parameters) = check_parameters(&mut section, true, problems) {
        dane.parameters = parameters;
    }
    section.finish(problems);
}

/// Whether DKIM is needed, and the selectors, as far as either is there.
pub(super) fn check_dkim(
    section: &mut Section<'_>,
    problems: &mut Problems<'_>,
) -> (Option<DkimPolicy>, Option<Vec<String>>) {
    let grades = [("required", DkimPolicy::Required), ("optional", DkimPolicy::Optional)];
    let policy = section.choice("dkim", &grades, problems);
    let expected = "a selector without `._domainkey`, such as \"mail\"";
    let selectors = section.list("dkim-selectors", expected, problems, parse_selector);
    (policy, selectors.map(|selectors| selectors.into_iter().map(|(selector, _)| selector).collect()))
}

fn parse_selector(text: &str) -> Result<String, String> {
    if text.to_ascii_lowercase().contains("_domainkey") || text.ends_with('.') {
        return Err(format!("\"{text}\" is more than a selector"));
    }
    Name::parse(text, None).map_err(|error| format!("\"{text}\": {error}"))?;
    Ok(text.to_owned())
}

fn check_ttl(section: &mut Section<'_>, key: &'static str, problems: &mut Problems<'_>) -> Option<u32> {
    section.duration(key, 1..=7 * DAY, problems).and_then(|ttl| u32::try_from(ttl).ok())
}

/// A list of parameter sets: not empty, none twice, and fit for SMTP where SMTP reads them.
fn check_parameters(section: &mut Section<'_>, smtp: bool, problems: &mut Problems<'_>) -> Option<Vec<Parameters>> {
    let list = section.list("parameters", PARAMETERS, problems, |text| {
        text.parse::<Parameters>().map_err(|error| error.to_string())
    })?;
    let mut checked: Vec<Parameters> = Vec::new();
    for (parameters, span) in list {
        let unfit = if smtp { parameters.check(&Service::smtp(Name::root())).err() } else { None };
        if let Some(error) = unfit {
            problems.error(span, format!("`parameters`: {error}"), "usage 3 (DANE-EE) or 2 (DANE-TA)");
        } else if checked.contains(&parameters) {
            problems.error(span, format!("`parameters`: \"{parameters}\" stands here twice"), "take one of them out");
        } else {
            checked.push(parameters);
        }
    }
    let empty = section.value("parameters").and_then(|value| value.get_ref().as_array()).is_some_and(|a| a.is_empty());
    if empty {
        problems.error(section.span_of("parameters"), "`parameters` is empty", PARAMETERS);
    }
    Some(checked).filter(|checked| !checked.is_empty())
}

fn check_signing(mut section: Section<'_>, signing: &mut SigningConfig, problems: &mut Problems<'_>) {
    check_signing_keys(&mut section, signing, problems);
    check_denial(&mut section, &mut signing.denial, problems);
    if let Some(validity) = section.duration("validity", DAY..=YEAR, problems) {
        signing.validity = validity;
        if !section.has("refresh") {
            signing.refresh = validity * 3 / 7;
        }
        if !section.has("jitter") {
            signing.jitter = signing.jitter.min(validity / 14);
        }
    }
    if let Some(refresh) = section.duration("refresh", 3600..=YEAR, problems) {
        signing.refresh = refresh;
    }
    if let Some(jitter) = section.duration("jitter", 0..=YEAR, problems) {
        signing.jitter = jitter;
    }
    if let Some(ttl) = check_ttl(&mut section, "dnskey-ttl", problems) {
        signing.dnskey_ttl = ttl;
    }
    if signing.refresh.saturating_add(signing.jitter) >= signing.validity {
        let message = "`refresh` and `jitter` together reach `validity`: every signature would be due at once";
        problems.error(section.span_of("refresh"), message, "refresh + jitter below validity");
    }
    section.finish(problems);
}

fn check_signing_keys(section: &mut Section<'_>, signing: &mut SigningConfig, problems: &mut Problems<'_>) {
    let algorithms = [("ecdsap256sha256", Algorithm::EcdsaP256Sha256), ("ed25519", Algorithm::Ed25519)];
    if let Some(algorithm) = section.choice("algorithm", &algorithms, problems) {
        signing.algorithm = algorithm;
    }
    if let Some(cds) = section.boolean("cds", problems) {
        signing.cds = cds;
    }
}

fn check_certificates(
    mut section: Section<'_>,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Option<CertificateFolder> {
    let mut certificates = default_certificates(folder);
    let path = check_path(&mut section, "path", folder, problems);
    if !section.has("path") {
        problems.error(section.span.clone(), "[[certificates]] without `path`", "path = \"the folder to watch\"");
    }
    let modes = [
        ("staged", CertificateMode::Staged),
        ("next-key", CertificateMode::NextKey),
        ("stable-key", CertificateMode::StableKey),
        ("observed", CertificateMode::Observed),
    ];
    if let Some(mode) = section.choice("mode", &modes, problems) {
        certificates.mode = mode;
    }
    let expected = "a folder that symlinks may lead into";
    let roots = section.list("roots", expected, problems, |text| match text {
        "" => Err("empty".to_owned()),
        _ => Ok(folder.join(text)),
    });
    certificates.roots = roots.into_iter().flatten().map(|(root, _)| root).collect();
    section.finish(problems);
    certificates.path = path?;
    Some(certificates)
}

fn check_service(mut section: Section<'_>, services: &mut Vec<ServiceConfig>, problems: &mut Problems<'_>) {
    let head = section.span.clone();
    let host = section.parsed("host", "a host name, such as \"www.example.org\"", problems, parse_host);
    if !section.has("host") {
        problems.error(head.clone(), "[[service]] without `host`", "host = \"www.example.org\"");
    }
    let port = section.integer("port", 1..=65_535, problems).and_then(|port| u16::try_from(port).ok());
    if !section.has("port") {
        problems.error(head.clone(), "[[service]] without `port`", "port = 443");
    }
    let protocols = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
    let protocol = section.choice("protocol", &protocols, problems).unwrap_or(Protocol::Tcp);
    let smtp = port == Some(25) && protocol == Protocol::Tcp;
    let parameters = check_parameters(&mut section, smtp, problems);
    let ttl = check_ttl(&mut section, "ttl", problems);
    section.finish(problems);
    let (Some(host), Some(port)) = (host, port) else { return };
    if services.iter().any(|other| (&other.host, other.port, other.protocol) == (&host, port, protocol)) {
        let message = format!("[[service]] for {} port {port}/{protocol} stands here twice", host.to_host());
        problems.error(head, message, "put all parameter sets into one: parameters = [\"3 1 1\", \"2 1 1\"]");
        return;
    }
    services.push(ServiceConfig { host, port, protocol, parameters, ttl });
}

pub(super) fn parse_host(text: &str) -> Result<Name, String> {
    let name = Name::parse(text, None).map_err(|error| format!("\"{text}\": {error}"))?;
    if text == "@" || name.is_root() {
        return Err(format!("\"{text}\" is not a host name"));
    }
    let letters = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
    if name.labels().any(|label| !label.iter().all(letters)) {
        return Err(format!("\"{text}\" is not a host name: letters, digits, hyphens and dots (IDNs as xn--...)"));
    }
    Ok(name)
}

fn check_zones(zones: &Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    for (key, span, value) in zones.entries() {
        let origin = match Name::parse(key, None) {
            Ok(name) if key != "@" => Some(name),
            _ => None,
        };
        let Some(section) = as_section(&format!("zone.\"{key}\""), value, problems) else { continue };
        let Some(origin) = origin else {
            problems.error(span, format!("\"{key}\" is not a zone's name"), "[zone.\"example.org\"], in quotes");
            continue;
        };
        if config.overrides.contains_key(&origin) {
            let message = format!("[zone.\"{key}\"] stands here twice, with other case or a final dot");
            problems.error(span, message, "one table for each zone");
            continue;
        }
        check_zone(section, origin, config, problems);
    }
    // One after the other, in order, they leave half of every node of the map free.
    config.overrides = std::mem::take(&mut config.overrides).into_iter().collect();
}

fn check_zone(mut section: Section<'_>, origin: Name, config: &mut Config, problems: &mut Problems<'_>) {
    let mut zone = config.zone(&origin);
    let folder = config.folder.clone();
    zone.file = check_path(&mut section, "file", &folder, problems);
    zone.primary = primary::check(&mut section, problems);
    zone.key = section.parsed("key", "a file in the keys folder, such as \"shared.pem\"", problems, parse_key_file);
    let modes = [("csk", SigningMode::Csk), ("presigned", SigningMode::Presigned), ("none", SigningMode::None)];
    if let Some(mode) = section.choice("signing", &modes, problems) {
        zone.signing.mode = mode;
    }
    check_signing_keys(&mut section, &mut zone.signing, problems);
    check_denial(&mut section, &mut zone.signing.denial, problems);
    zone.notify_nameservers = section.boolean("notify-nameservers", problems).unwrap_or(zone.notify_nameservers);
    rollover::check_nameservers(&mut section, &origin, config, problems);
    let mut enabled_here: Option<Span> = None;
    if let Some(dane) = section.section("dane", problems) {
        enabled_here = dane.has("enabled").then(|| dane.span_of("enabled"));
        check_dane(dane, &mut zone.dane, problems);
    }
    if zone.signing.mode == SigningMode::None {
        if let Some(span) = enabled_here.filter(|_| zone.dane.enabled) {
            let message = "`dane.enabled` in a zone with `signing = \"none\"`: TLSA without DNSSEC means nothing";
            problems.error(span, message, "sign the zone, or leave `enabled` out");
        }
        zone.dane.enabled = false;
    }
    section.finish(problems);
    config.overrides.insert(zone.origin.clone(), zone);
}

/// The keys folder is looked at whole, and nothing outside of it.
fn parse_key_file(text: &str) -> Result<String, String> {
    match text {
        _ if text.contains(['/', '\0']) => Err(format!("\"{text}\" is a path, and keys are in the keys folder only")),
        _ if text.starts_with('.') || !text.ends_with(".pem") => Err(format!("\"{text}\" is not called *.pem")),
        _ => Ok(text.to_owned()),
    }
}

fn check_example(mut section: Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let expected = "a name that can be nobody's: below example, test, invalid, localhost, example.com, .net or .org";
    let hosts = section.list("certificates", expected, problems, |text| {
        let name = parse_host(text)?;
        if is_reserved(&name) { Ok(name) } else { Err(format!("{text} could be somebody's: not a reserved name")) }
    });
    config.example_certificates = hosts.into_iter().flatten().map(|(host, _)| host).collect();
    let asked = section.has("certificates");
    if let Some(address) = config.listeners().find(|address| !address.ip().is_loopback()).filter(|_| asked) {
        let message = format!("[example] with a listener at {address}: an example is served on loopback only");
        problems.error(section.span.clone(), message, "listen = [\"127.0.0.1:5300\"], or no [example]");
    }
    let ordered: usize = config.ordered.iter().map(|one| one.key_types.len()).sum();
    if config.certificates.len() == ordered && asked {
        let message = "[example] without a [[certificates]] folder to write its certificate into";
        problems.error(section.span.clone(), message, "[[certificates]] with a path");
    }
    section.finish(problems);
}
