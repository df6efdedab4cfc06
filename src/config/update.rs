//! `[update."NAME"]`: who may change zones by dynamic update (RFC 2136), and what of them. Without one, nobody may.

use std::net::IpAddr;

use super::reader::{Problems, Section, Span, as_section};
use super::secondary::parse_name;
use super::service::Prefix;
use super::values::{Config, SigningMode};
use crate::dns::{Name, Rtype};
use crate::update::{Grant, Pattern, is_never_updated};

const NAMES: &str = "names, such as \"mail.example.org\", \"*.dyn.example.org\" (all below) or \"_acme-challenge.*\" (by the first label)";
const TYPES: &str = "record types, such as \"TXT\", \"AAAA\" or \"TYPE65400\"";

/// Somebody who may change zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updater {
    /// What it is called here.
    pub name: String,
    /// The key that its requests are signed with.
    pub key: Name,
    /// Where they come from; empty: from anywhere.
    pub addresses: Vec<Prefix>,
    /// The zones that it may change; none: all that are not signed elsewhere.
    pub zones: Option<Vec<Name>>,
    /// What it may change in them.
    pub grant: Grant,
}

impl Updater {
    /// Whether it takes a zone, if it may be changed at all.
    pub fn takes(&self, zone: &Name) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.contains(zone))
    }

    /// Whether a request that a key has signed and that comes from an address is its own.
    pub fn sends(&self, peer: IpAddr, key: &Name) -> bool {
        self.key == *key && (self.addresses.is_empty() || self.addresses.iter().any(|prefix| prefix.contains(peer)))
    }

    /// What is allowed and better left alone.
    pub(super) fn warning(&self) -> Option<String> {
        (self.grant == Grant::default()).then(|| {
            format!(
                "[update.\"{}\"] has neither `names` nor `types`: who has the key {} may change every record but those of signing, \
                 the apex's SOA and NS, and what danelaw makes",
                self.name, self.key
            )
        })
    }
}

/// Reads all of them. The zones are known already.
pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let Some(updates) = root.section("update", problems) else { return };
    for (name, _, value) in updates.entries() {
        if let Some(section) = as_section(&format!("update.\"{name}\""), value, problems) {
            let updater = check_updater(section, name, config, problems);
            config.updates.extend(updater);
        }
    }
}

fn check_updater(
    mut section: Section<'_>,
    name: &str,
    config: &Config,
    problems: &mut Problems<'_>,
) -> Option<Updater> {
    let key = section.parsed("key", "a key's name, such as \"certbot.\"", problems, parse_name);
    if !section.has("key") {
        let message =
            format!("[update.\"{name}\"] without `key`: an address can be forged, so a key has to sign updates");
        problems.error(section.span.clone(), message, "key = \"certbot.\", of `danelaw keys tsig certbot.`");
    }
    let expected = "an address or a network, such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
    let addresses = section.list("addresses", expected, problems, str::parse::<Prefix>);
    let zones = section.list("zones", "zones' names, such as \"example.org\"", problems, parse_name);
    let names = section.list("names", NAMES, problems, parse_pattern);
    let types = section.list("types", TYPES, problems, parse_type);
    for (key, what) in [("addresses", "nobody"), ("zones", "no zone"), ("names", "no name"), ("types", "no type")] {
        let value = section.value(key).and_then(|value| value.get_ref().as_array());
        if value.is_some_and(|items| items.is_empty()) {
            problems.error(section.span_of(key), format!("`{key}` is empty: {what} is meant?"), "leave it out for all");
        }
    }
    for (zone, span) in zones.iter().flatten() {
        if config.signing(zone).mode == SigningMode::Presigned {
            let message = format!("`zones`: {zone} is signed elsewhere, and what is changed here has no signature");
            problems.error(span.clone(), message, "update it where it is signed, or let danelaw sign it");
        } else if config.primaries(zone).is_some() {
            let message = format!("`zones`: {zone} comes from its `primary`, which alone says what is in it");
            problems.error(span.clone(), message, "update it there, or give it a file");
        }
    }
    if let Some(zones) = &zones {
        check_reach(names.iter().flatten(), zones, problems);
    }
    section.finish(problems);
    Some(Updater {
        name: name.to_owned(),
        key: key?,
        addresses: addresses.into_iter().flatten().map(|(prefix, _)| prefix).collect(),
        zones: zones.map(without_spans),
        grant: Grant { names: names.map(without_spans), types: types.map(without_spans) },
    })
}

fn without_spans<T>(list: Vec<(T, Span)>) -> Vec<T> {
    list.into_iter().map(|(item, _)| item).collect()
}

/// A name that is in none of the zones is one that was meant otherwise.
fn check_reach<'a>(
    names: impl Iterator<Item = &'a (Pattern, Span)>,
    zones: &[(Name, Span)],
    problems: &mut Problems<'_>,
) {
    for (pattern, span) in names {
        let reaches = |zone: &Name| match pattern {
            Pattern::Name(name) => name.is_at_or_below(zone),
            Pattern::Below(above) => above.is_at_or_below(zone) || zone.is_below(above),
            Pattern::Label(_) => true,
        };
        if !zones.is_empty() && !zones.iter().any(|(zone, _)| reaches(zone)) {
            problems.error(span.clone(), "`names`: this is in none of `zones`", "a whole name, its zone's at its end");
        }
    }
}

fn parse_pattern(text: &str) -> Result<Pattern, String> {
    let is_plain = |name: &Name| name.labels().all(|label| label != b"*");
    let misplaced = || format!("\"{text}\": `*` stands for the first labels or for the last, once");
    let plain =
        |text: &str| parse_name(text).and_then(|name| if is_plain(&name) { Ok(name) } else { Err(misplaced()) });
    if matches!(text, "*" | "*.") {
        return Err("\"*\" is every name: leave `names` out for that".to_owned());
    }
    if let Some(above) = text.strip_prefix("*.") {
        return plain(above).map(Pattern::Below);
    }
    let Some(head) = text.strip_suffix(".").unwrap_or(text).strip_suffix(".*") else {
        return plain(text).map(Pattern::Name);
    };
    let head = plain(head)?;
    match head.labels().next() {
        Some(label) if head.label_count() == 1 => Ok(Pattern::Label(label.into())),
        _ => Err(format!("\"{text}\": one label stands before `.*`")),
    }
}

fn parse_type(text: &str) -> Result<Rtype, String> {
    match Rtype::parse(text) {
        None => Err(format!("\"{text}\" is no record type")),
        Some(rtype) if is_never_updated(rtype) => Err(format!("{rtype} is never updated: signing makes it")),
        Some(Rtype::SOA) => Err("the SOA is never updated: the zone file has it, and danelaw its serial".to_owned()),
        Some(rtype) if rtype.is_meta() => {
            Err(format!("\"{text}\" is no type of records; leave `types` out for every type"))
        }
        Some(rtype) => Ok(rtype),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};
    use super::*;

    #[test]
    fn updaters_are_read() {
        let config = parse(
            "[update.certbot]\nkey = \"certbot\"\naddresses = [\"192.0.2.1\", \"2001:db8::/32\"]\nzones = [\"Example.org\"]\n\
             names = [\"_acme-challenge.*\", \"mail.example.org\", \"*.dyn.example.org\", \"_x.*.\"]\ntypes = [\"txt\", \"TYPE65400\"]\n\
             [update.\"all of it\"]\nkey = \"admin.\"",
        )
        .unwrap();
        let [certbot, admin] = &config.updates[..] else { panic!("{:?}", config.updates) };
        assert_eq!((certbot.name.as_str(), &certbot.key), ("certbot", &name("certbot.")));
        assert_eq!(certbot.zones, Some(vec![name("example.org")]));
        let label = |label: &str| Pattern::Label(label.as_bytes().into());
        let (mail, below) = (Pattern::Name(name("mail.example.org")), Pattern::Below(name("dyn.example.org")));
        assert_eq!(certbot.grant.names, Some(vec![label("_acme-challenge"), mail, below, label("_x")]));
        assert_eq!(certbot.grant.types, Some(vec![Rtype::TXT, Rtype(65_400)]));
        assert_eq!((&admin.grant, &admin.zones, admin.addresses.len()), (&Grant::default(), &None, 0));
        let warnings = config.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("[update.\"all of it\"] has neither"), "{warnings:?}");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let presigned =
            "[zone.\"example.org\"]\nsigning = \"presigned\"\n[update.a]\nkey = \"k\"\nzones = [\"example.org\"]";
        let transferred =
            "[zone.\"example.org\"]\nprimary = [\"192.0.2.1\"]\n[update.a]\nkey = \"k\"\nzones = [\"example.org\"]";
        for (text, line, column, expected) in [
            ("[update.a]\ntypes = [\"TXT\"]", 1, 1, "an address can be forged"),
            ("[update.a]\naddresses = [\"192.0.2.1\"]", 1, 1, "danelaw keys tsig"),
            ("[update.a]\nkey = \"a..b\"", 2, 7, "a..b"),
            ("[update.a]\nkey = \"k\"\naddresses = [\"192.0.2.1/24\"]", 3, 14, "192.0.2.0/24 is meant?"),
            ("[update.a]\nkey = \"k\"\naddresses = []", 3, 13, "`addresses` is empty"),
            ("[update.a]\nkey = \"k\"\nzones = []", 3, 9, "`zones` is empty: no zone is meant?"),
            ("[update.a]\nkey = \"k\"\nnames = []", 3, 9, "leave it out for all"),
            ("[update.a]\nkey = \"k\"\ntypes = []", 3, 9, "`types` is empty"),
            ("[update.a]\nkey = \"k\"\nnames = [\"*\"]", 3, 10, "leave `names` out"),
            ("[update.a]\nkey = \"k\"\nnames = [\"a.*.example.org\"]", 3, 10, "`*` stands for the first labels"),
            ("[update.a]\nkey = \"k\"\nnames = [\"*.*\"]", 3, 10, "`*` stands for the first labels"),
            ("[update.a]\nkey = \"k\"\nnames = [\"a.b.*\"]", 3, 10, "one label stands before"),
            ("[update.a]\nkey = \"k\"\nnames = [\"@\"]", 3, 10, "no name here"),
            ("[update.a]\nkey = \"k\"\nzones = [\"b.org\"]\nnames = [\"mail\"]", 4, 10, "in none of `zones`"),
            ("[update.a]\nkey = \"k\"\nzones = [\"b.org\"]\nnames = [\"*.b.net\"]", 4, 10, "in none of `zones`"),
            ("[update.a]\nkey = \"k\"\ntypes = [\"TXTT\"]", 3, 10, "\"TXTT\" is no record type"),
            ("[update.a]\nkey = \"k\"\ntypes = [\"DNSKEY\"]", 3, 10, "signing makes it"),
            ("[update.a]\nkey = \"k\"\ntypes = [\"SOA\"]", 3, 10, "never updated"),
            ("[update.a]\nkey = \"k\"\ntypes = [\"ANY\"]", 3, 10, "is no record type"),
            ("[update.a]\nkey = \"k\"\ntypes = [\"TYPE255\"]", 3, 10, "leave `types` out for every type"),
            ("[update.a]\nkey = \"k\"\nname = [\"b\"]", 3, 1, "did you mean `names`?"),
            ("[update]\nkey = \"k\"", 2, 7, "must be a table"),
            (presigned, 5, 10, "is signed elsewhere"),
            (transferred, 5, 10, "comes from its `primary`"),
        ] {
            let errors = parse(text).expect_err(text);
            let [error] = errors.diagnostics() else { panic!("{text}: {errors}") };
            let message = error.to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert_eq!((error.line, error.column), (line, column), "{text}: {message}");
        }
        assert!(
            parse("[update.a]\nkey = \"k\"\nzones = [\"dyn.b.org\"]\nnames = [\"*.b.org\", \"dyn.b.org\"]").is_ok()
        );
    }

    #[test]
    fn key_address_and_zone_have_to_be_right_and_grants_add_up() {
        let config = parse(
            "[zone.\"elsewhere.org\"]\nsigning = \"presigned\"\n\
             [update.one]\nkey = \"k\"\nzones = [\"example.org\"]\ntypes = [\"TXT\"]\n\
             [update.two]\nkey = \"K.\"\naddresses = [\"192.0.2.0/24\"]\nnames = [\"mail.example.org\"]\ntypes = [\"A\"]",
        )
        .unwrap();
        let (near, far): (IpAddr, IpAddr) = ("192.0.2.9".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let may = |zone: &str, peer: IpAddr, key: &str, owner: &str, rtype: Rtype| {
            config.grants(&name(zone), peer, &name(key)).cover(&name(owner), rtype)
        };
        assert!(may("example.org", far, "k", "www.example.org", Rtype::TXT));
        assert!(!may("example.org", far, "other", "www.example.org", Rtype::TXT));
        assert!(!may("example.net", far, "k", "www.example.net", Rtype::TXT));
        assert!(may("example.org", near, "k", "mail.example.org", Rtype::A));
        assert!(may("example.org", "::ffff:192.0.2.9".parse().unwrap(), "k", "mail.example.org", Rtype::A));
        assert!(!may("example.org", far, "k", "mail.example.org", Rtype::A));
        assert!(!may("example.org", near, "k", "www.example.org", Rtype::A));
        assert!(!config.grants(&name("example.net"), near, &name("k")).is_empty());
        assert!(config.grants(&name("example.net"), far, &name("k")).is_empty());
        assert!(config.grants(&name("elsewhere.org"), near, &name("k")).is_empty(), "signed elsewhere");
        assert!(parse("").unwrap().grants(&name("example.org"), near, &name("k")).is_empty());
    }
}
