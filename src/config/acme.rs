//! `[acme]` and `[[certificate]]`: the CA, the account there, and the certificates that danelaw gets by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::check::{check_path, parse_host};
use super::reader::{Problems, Section, Span};
use super::values::{CertificateFolder, CertificateMode, Config};
use crate::acme::{proof_owner, renewal};
use crate::dane::Service;
use crate::dane::certificate::KeyType;
use crate::dane::config::ServiceConfig;
use crate::dane::tlsa::{Selector, Usage};
use crate::dns::Name;

/// Where certificates come from when nothing else is said.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
const URL: &str = "the URL of a CA's directory, such as \"https://acme-v02.api.letsencrypt.org/directory\"";
const CONTACT: &str = "an e-mail address, such as \"postmaster@example.org\"";
const NAME: &str = "a name that the certificate is to have, such as \"example.org\" or \"*.example.org\"";
/// CAs take no more names (Let's Encrypt: 100).
const NAMES_MAX: usize = 100;

/// `[acme]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// The URL of the CA's directory.
    pub directory: String,
    /// `mailto:` URLs by which the CA reaches the operator.
    pub contacts: Vec<String>,
    /// The account that the CA knows already: the key's identifier, and the file with it.
    pub external: Option<(String, PathBuf)>,
    /// Roots that are trusted instead of the system's.
    pub roots: Option<PathBuf>,
    /// The profile that certificates are ordered by where they say nothing else.
    pub profile: Option<String>,
    /// The domain names by which CAA knows the CA (RFC 8659 section 4.2); none: those that are known of its directory.
    pub issuers: Vec<String>,
}

/// By what names CAA knows the CAs of some directories (RFC 8659 section 4.2).
const ISSUERS: [(&str, &str); 5] = [
    ("letsencrypt.org", "letsencrypt.org"),
    ("zerossl.com", "sectigo.com"),
    ("pki.goog", "pki.goog"),
    ("buypass.com", "buypass.com"),
    ("ssl.com", "ssl.com"),
];

/// How many seconds certificates live by profiles of the CAs of some directories, where that is said for good.
const LIVES: [(&str, &str, u64); 1] = [("letsencrypt.org", "shortlived", 160 * 3600)];

impl Acme {
    /// Whether the directory is a domain's.
    fn is_of(&self, domain: &str) -> bool {
        let host = self.directory.trim_start_matches("https://").split(['/', ':']).next().unwrap_or_default();
        host == domain || host.ends_with(&format!(".{domain}"))
    }

    /// How many seconds certificates of a profile live, where that is known.
    fn lifetime(&self, profile: &str) -> Option<u64> {
        let mut lives = LIVES.iter().filter(|(domain, of, _)| *of == profile && self.is_of(domain));
        lives.next().map(|(_, _, lifetime)| *lifetime)
    }

    /// By what names CAA knows the CA: what the operator says, else what the CA says itself, else what is known of its directory; none:
    /// nobody has said.
    pub fn issuers(&self, said: &[String]) -> Vec<String> {
        if let Some(issuers) = [&self.issuers[..], said].into_iter().find(|issuers| !issuers.is_empty()) {
            return issuers.to_vec();
        }
        ISSUERS.iter().filter(|(domain, _)| self.is_of(domain)).map(|(_, issuer)| (*issuer).to_owned()).collect()
    }
}

/// `[[certificate]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateConfig {
    /// The host that it is called by, its first name.
    pub host: Name,
    /// All of its names, wildcards among them.
    pub names: BTreeSet<Name>,
    /// One certificate of each.
    pub key_types: Vec<KeyType>,
    /// Whether a renewed one has the same key.
    pub reuse: bool,
    /// The CA's profile.
    pub profile: Option<String>,
}

impl CertificateConfig {
    /// The owners of the proofs of its names (RFC 8555 section 8.4).
    pub fn proofs(&self) -> impl Iterator<Item = Name> {
        self.names.iter().filter_map(|name| proof_owner(name).ok())
    }

    /// The folders of its certificates, below the state's.
    pub fn folders(&self, state: &Path) -> impl Iterator<Item = PathBuf> {
        self.key_types.iter().map(|key_type| self.folder(state, *key_type))
    }

    /// The folder of the certificate with a key of one type, below the state's.
    fn folder(&self, state: &Path, key_type: KeyType) -> PathBuf {
        let suffix = if key_type == KeyType::Rsa { "_rsa" } else { "" };
        state.join("certificates").join(format!("{}{suffix}", self.host.to_lowercase().to_host()))
    }
}

impl Config {
    /// How many seconds a renewed certificate may wait for its record before it is installed at a host, whose zone has this apex: where
    /// records are of the key alone none, since the next key's is out; where they are of an authority or of the whole certificate, as
    /// long as caches may hold the ones before. Counted are its services together, mail among them.
    pub fn hold(&self, host: &Name, apex: Option<&Name>) -> u64 {
        let zone = apex.and_then(|apex| self.overrides.get(apex)).map_or(&self.dane, |zone| &zone.dane);
        let Service { port, protocol, .. } = Service::smtp(host.clone());
        let mail = ServiceConfig { host: host.clone(), port, protocol, parameters: None, ttl: None };
        let named = self.services.iter().filter(|own| own.host == *host);
        let unnamed = Some(&mail).filter(|mail| !named.clone().any(|own| own.service() == mail.service()));
        let services: Vec<&ServiceConfig> = named.chain(unnamed).collect();
        let waits = |own: &ServiceConfig| {
            let mut sets = own.parameters.as_ref().unwrap_or(&zone.parameters).iter();
            sets.any(|set| {
                let is_of_key = set.usage == Usage::DaneEe && set.selector == Selector::Spki;
                !is_of_key && set.check(&own.service()).is_ok()
            })
        };
        if !services.iter().any(|own| waits(own)) {
            return 0;
        }
        let ttl = services.iter().map(|own| own.ttl.unwrap_or(zone.ttl)).max().unwrap_or(zone.ttl);
        let own = self.rollover.hosts.get(host).and_then(|own| own.confirmation_interval);
        own.unwrap_or(zone.confirmation_interval).max(2 * u64::from(ttl))
    }
}

/// Where it stands what certificates are ordered by: what is wrong with it may be known when all of the file was read.
pub(super) type Places = Vec<(Name, Span)>;

pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) -> Places {
    let mut places = Places::new();
    let folder = config.folder.clone();
    let acme =
        root.section("acme", problems).map(|section| (section.span.clone(), check_acme(section, &folder, problems)));
    let Some(sections) = root.sections("certificate", problems) else {
        config.acme = acme.and_then(|(_, acme)| acme);
        return places;
    };
    for section in sections {
        let (head, place) = (section.span.clone(), section.span_of("profile"));
        if acme.is_none() {
            let help = "[acme] with agree-to-terms = true";
            problems.error(head.clone(), "[[certificate]] without [acme]: nobody has agreed to the CA's terms", help);
        }
        let Some(certificate) = check_certificate(section, problems) else { continue };
        if config.ordered.iter().any(|other| other.host == certificate.host) {
            let message = format!("[[certificate]] of {} stands here twice", certificate.host.to_host());
            problems.error(head, message, "put all names into one");
            continue;
        }
        places.push((certificate.host.clone(), place));
        config.ordered.push(certificate);
    }
    config.acme = acme.and_then(|(_, acme)| acme);
    // They are taken from their folders like those of other clients.
    let folders = config.ordered.iter().flat_map(|certificate| {
        let mode = if certificate.reuse { CertificateMode::StableKey } else { CertificateMode::NextKey };
        let of = |key_type: &KeyType| (certificate.folder(&config.state, *key_type), mode);
        certificate.key_types.iter().map(of).collect::<Vec<_>>()
    });
    let folders: Vec<CertificateFolder> =
        folders.map(|(path, mode)| CertificateFolder { path, roots: Vec::new(), mode }).collect();
    config.certificates.extend(folders);
    places
}

/// A certificate that lives for so short that a renewed one can't wait for its record is refused, where its life is known before there is
/// any. Its zone is the nearest that the file names.
pub(super) fn check_holds(places: &Places, config: &Config, problems: &mut Problems<'_>) {
    for (host, place) in places {
        let Some(certificate) = config.ordered.iter().find(|certificate| certificate.host == *host) else { continue };
        let profile = certificate.profile.as_ref().or(config.acme.as_ref().and_then(|acme| acme.profile.as_ref()));
        let lifetime = config.acme.as_ref().zip(profile).and_then(|(acme, profile)| acme.lifetime(profile));
        let apex = std::iter::once(host.clone()).chain(host.ancestors()).find(|at| config.overrides.contains_key(at));
        let hold = config.hold(host, apex.as_ref());
        if let (Some(why), Some(profile)) = (lifetime.and_then(|lifetime| renewal::misfit(hold, lifetime)), profile) {
            let message = format!("[[certificate]] of {} by the profile \"{profile}\": {why}", host.to_host());
            problems.error(place.clone(), message, renewal::REMEDY);
        }
    }
}

fn check_acme(mut section: Section<'_>, folder: &Path, problems: &mut Problems<'_>) -> Option<Acme> {
    let head = section.span.clone();
    let directory = section.parsed("directory", URL, problems, parse_directory);
    let contacts = section.list("contact", CONTACT, problems, parse_contact);
    if section.boolean("agree-to-terms", problems) != Some(true) {
        let message = "[acme] without `agree-to-terms = true`: a CA issues to nobody who does not agree to its terms";
        problems.error(head.clone(), message, "read the CA's terms, and agree");
    }
    let text = |text: &str| if text.is_empty() { Err("empty".to_owned()) } else { Ok(text.to_owned()) };
    let key_id = section.parsed("eab-key-id", "the key's identifier, as the CA shows it", problems, text);
    let key_file = check_path(&mut section, "eab-key-file", folder, problems);
    if key_id.is_some() != key_file.is_some() {
        problems.error(head, "`eab-key-id` and `eab-key-file` belong together", "both of what the CA shows");
    }
    let roots = check_path(&mut section, "ca-file", folder, problems);
    let profile = section.parsed("profile", "a profile of the CA, such as \"tlsserver\"", problems, text);
    let issuers = section.list("caa-identities", "a domain name, such as \"letsencrypt.org\"", problems, parse_issuer);
    section.finish(problems);
    let contacts = contacts.unwrap_or_default().into_iter().map(|(contact, _)| contact).collect();
    let directory = directory.unwrap_or_else(|| DIRECTORY.to_owned());
    let issuers = issuers.unwrap_or_default().into_iter().map(|(issuer, _)| issuer).collect();
    Some(Acme { directory, contacts, external: key_id.zip(key_file), roots, profile, issuers })
}

fn parse_directory(text: &str) -> Result<String, String> {
    match text.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(char::is_whitespace) => {
            Ok(text.to_owned())
        }
        _ => Err(format!("\"{text}\" is not the URL of a directory: it begins with https://")),
    }
}

fn parse_contact(text: &str) -> Result<String, String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    // One address alone is allowed, and nothing behind it (RFC 8555 section 7.3).
    let is_more = |c: char| c.is_whitespace() || c.is_control() || [',', ';', '?'].contains(&c);
    match address.split_once('@') {
        Some((local, host)) if !local.is_empty() && host.contains('.') && !address.contains(is_more) => {
            Ok(format!("mailto:{address}"))
        }
        _ => Err(format!("\"{text}\" is not an e-mail address")),
    }
}

/// What CAA knows a CA by.
fn parse_issuer(text: &str) -> Result<String, String> {
    parse_full(text).map_err(|_| format!("\"{text}\" is no domain name"))?;
    Ok(text.to_owned())
}

/// A name that a CA can issue for: of two labels or more.
fn parse_full(text: &str) -> Result<Name, String> {
    let name = parse_host(text)?;
    if name.label_count() < 2 {
        return Err(format!("\"{text}\" is a single label, and CAs issue for full names only"));
    }
    Ok(name)
}

fn check_certificate(mut section: Section<'_>, problems: &mut Problems<'_>) -> Option<CertificateConfig> {
    let head = section.span.clone();
    let host = section.parsed("host", "a host name, such as \"mail.example.org\"", problems, parse_full);
    if !section.has("host") {
        problems.error(head.clone(), "[[certificate]] without `host`", "host = \"mail.example.org\"");
    }
    let mut names: BTreeSet<Name> = host.iter().cloned().collect();
    for (name, span) in section.list("names", NAME, problems, parse_name).unwrap_or_default() {
        if !names.insert(name.clone()) {
            problems.error(span, format!("`names`: {} stands here twice", name.to_host()), "take one of them out");
        }
    }
    if names.len() > NAMES_MAX {
        problems.error(head, format!("{} names: CAs take {NAMES_MAX}", names.len()), "another [[certificate]]");
    }
    let types = |text: &str| match text {
        "ecdsa" => Ok(KeyType::Ecdsa),
        "rsa" => Ok(KeyType::Rsa),
        _ => Err(format!("\"{text}\" is no key type")),
    };
    let mut key_types: Vec<KeyType> = Vec::new();
    for (key_type, span) in section.list("keys", "\"ecdsa\" or \"rsa\"", problems, types).unwrap_or_default() {
        if key_types.contains(&key_type) {
            problems.error(span, format!("`keys`: {key_type} stands here twice"), "take one of them out");
        } else {
            key_types.push(key_type);
        }
    }
    if section.value("keys").and_then(|value| value.get_ref().as_array()).is_some_and(|keys| keys.is_empty()) {
        problems.error(
            section.span_of("keys"),
            "`keys` is empty",
            "[\"ecdsa\"], which is the default, or [\"ecdsa\", \"rsa\"]",
        );
    }
    if key_types.is_empty() {
        key_types.push(KeyType::Ecdsa);
    }
    let reuse = section.boolean("reuse-key", problems).unwrap_or_default();
    let profile = section.parsed("profile", "a profile of the CA, such as \"shortlived\"", problems, |text| {
        if text.is_empty() { Err("empty".to_owned()) } else { Ok(text.to_owned()) }
    });
    section.finish(problems);
    Some(CertificateConfig { host: host?, names, key_types, reuse, profile })
}

/// A host name, or a wildcard for all right below one.
fn parse_name(text: &str) -> Result<Name, String> {
    let Some(below) = text.strip_prefix("*.") else { return parse_full(text) };
    parse_full(below)?.prepend(b"*").map_err(|error| format!("\"{text}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};
    use super::*;

    #[test]
    fn certificates_and_their_ca_are_read() {
        let text = "state = \"/s\"\n[acme]\nagree-to-terms = true\ncontact = [\"postmaster@example.org\"]\n\
                    [[certificate]]\nhost = \"mail.example.org\"\nnames = [\"example.org\", \"*.example.org\"]\nkeys = [\"ecdsa\", \"rsa\"]\n\
                    [[certificate]]\nhost = \"mx.example.org\"\nreuse-key = true\nprofile = \"shortlived\"";
        let config = parse(text).unwrap();
        let acme = config.acme.as_ref().unwrap();
        assert_eq!(
            (&acme.directory[..], &acme.contacts[..]),
            (DIRECTORY, &["mailto:postmaster@example.org".to_owned()][..])
        );
        let [first, second] = &config.ordered[..] else { panic!("{:?}", config.ordered) };
        assert_eq!(first.names, ["mail.example.org.", "example.org.", "*.example.org."].map(name).into());
        assert_eq!((&first.key_types[..], first.reuse), (&[KeyType::Ecdsa, KeyType::Rsa][..], false));
        assert_eq!(
            (&second.key_types[..], second.reuse, second.profile.as_deref()),
            (&[KeyType::Ecdsa][..], true, Some("shortlived"))
        );
        let folders: Vec<_> =
            config.certificates.iter().map(|folder| (folder.path.display().to_string(), folder.mode)).collect();
        assert_eq!(
            folders,
            [
                ("/s/certificates/mail.example.org".to_owned(), CertificateMode::NextKey),
                ("/s/certificates/mail.example.org_rsa".to_owned(), CertificateMode::NextKey),
                ("/s/certificates/mx.example.org".to_owned(), CertificateMode::StableKey),
            ]
        );
    }

    /// One that lives for 160 hours.
    const SHORT: &str =
        "[acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"mail.a.org\"\nprofile = \"shortlived\"\n";

    const MAIL: &str = "[[service]]\nhost = \"mail.a.org\"\nport = 25\n";

    #[test]
    fn a_hold_that_fits_or_a_life_that_is_not_known_is_no_mistake() {
        const WAITS: &str = "[dane]\nparameters = [\"2 1 1\"]\n";
        for text in [
            format!("{SHORT}[dane]\nconfirmation-interval = \"9d\"\n"),
            format!("{SHORT}{WAITS}confirmation-interval = \"53h\"\n"),
            format!(
                "{SHORT}{WAITS}confirmation-interval = \"9d\"\n[host.\"mail.a.org\"]\nconfirmation-interval = \"1d\"\n"
            ),
            format!(
                "{SHORT}{WAITS}confirmation-interval = \"9d\"\n[zone.\"a.org\".dane]\nconfirmation-interval = \"1d\"\n"
            ),
            format!("{SHORT}{WAITS}confirmation-interval = \"9d\"\n").replace("shortlived", "tlsserver"),
            format!("{SHORT}{WAITS}confirmation-interval = \"9d\"\n{MAIL}parameters = [\"3 1 1\"]\n"),
            format!("{SHORT}[dane]\nconfirmation-interval = \"9d\"\n{MAIL}parameters = [\"2 1 1\"]\n")
                .replace("mail.a.org\"\nport", "mx.a.org\"\nport"),
            format!("{SHORT}{WAITS}confirmation-interval = \"9d\"\n")
                .replace("agree", "directory = \"https://ca.example/letsencrypt.org/\"\nagree"),
        ] {
            assert!(parse(&text).is_ok(), "{text}: {}", parse(&text).expect_err(&text));
        }
    }

    #[test]
    fn what_can_not_be_is_said() {
        const AGREED: &str = "[acme]\nagree-to-terms = true\n";
        const LONG_HOLD: &str = "[dane]\nparameters = [\"3 1 1\", \"2 1 1\"]\nconfirmation-interval = \"54h\"\n";
        for (text, expected) in [
            ("[acme]".to_owned(), "agree-to-terms"),
            ("[acme]\nagree-to-terms = false".to_owned(), "agree-to-terms"),
            ("[[certificate]]\nhost = \"a.org\"".to_owned(), "without [acme]"),
            (format!("{AGREED}directory = \"http://ca.example/\""), "https://"),
            (format!("{AGREED}contact = [\"nobody\"]"), "not an e-mail address"),
            (
                format!("{AGREED}contact = [\"a@b.org,c@d.org\"]"),
                "danelaw.toml:3:12: error: `contact`: \"a@b.org,c@d.org\"",
            ),
            (format!("{AGREED}contact = [\"a b@c.org\"]"), "not an e-mail address"),
            (format!("{AGREED}caa-identities = [\"Let's Encrypt\"]"), "danelaw.toml:3:19: error: `caa-identities`"),
            (format!("{AGREED}caa-identities = [\"https://a.org/\"]"), "is no domain name"),
            (
                format!("{AGREED}[[certificate]]\nhost = \"mail\""),
                "danelaw.toml:4:8: error: `host`: \"mail\" is a single label",
            ),
            (format!("{AGREED}[[certificate]]\nhost = \"a.org\"\nnames = [\"*.org\"]"), "single label"),
            (
                format!("{AGREED}[[certificate]]\nhost = \"a.org\"\nkeys = []"),
                "danelaw.toml:5:8: error: `keys` is empty",
            ),
            (format!("{AGREED}eab-key-id = \"1\""), "belong together"),
            (format!("{AGREED}[[certificate]]"), "without `host`"),
            (format!("{AGREED}[[certificate]]\nhost = \"*.a.org\""), "not a host name"),
            (format!("{AGREED}[[certificate]]\nhost = \"a.org\"\nnames = [\"A.org.\"]"), "twice"),
            (format!("{AGREED}[[certificate]]\nhost = \"a.org\"\nnames = [\"b.*.a.org\"]"), "not a host name"),
            (format!("{AGREED}[[certificate]]\nhost = \"a.org\"\nkeys = [\"dsa\"]"), "no key type"),
            (
                format!("{AGREED}[[certificate]]\nhost = \"a.org\"\n[[certificate]]\nhost = \"A.org\""),
                "stands here twice",
            ),
            (
                format!("{SHORT}{LONG_HOLD}"),
                "danelaw.toml:5:11: error: [[certificate]] of mail.a.org by the profile \"shortlived\": a renewed certificate waits 2.2 days",
            ),
            (
                format!("{SHORT}[zone.\"a.org\".dane]\nparameters = [\"2 1 1\"]\nconfirmation-interval = \"3d\"\n"),
                "waits 3.0 days",
            ),
            (
                format!(
                    "{SHORT}[host.\"mail.a.org\"]\nconfirmation-interval = \"3d\"\n[dane]\nparameters = [\"2 1 1\"]\n"
                ),
                "waits 3.0 days",
            ),
            (
                format!(
                    "{SHORT}[dane]\nconfirmation-interval = \"9d\"\n[[service]]\nhost = \"mail.a.org\"\nport = 993\nparameters = [\"2 1 1\"]\n"
                ),
                "danelaw.toml:5:11: error: [[certificate]] of mail.a.org by the profile \"shortlived\": a renewed certificate waits 9.0 days",
            ),
            (
                format!(
                    "{SHORT}[dane]\nparameters = [\"2 1 1\"]\nconfirmation-interval = \"1h\"\n{MAIL}ttl = \"3d\"\n"
                ),
                "waits 6.0 days",
            ),
        ] {
            let message = parse(&text).expect_err(&text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
