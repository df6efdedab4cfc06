//! `[secondary."NAME"]`: the servers that take zones from this one; `notify-nameservers`: whether others are told of changes too.

use std::net::{IpAddr, SocketAddr};

use super::reader::{Problems, Section, as_section};
use super::values::Config;
use crate::dns::Name;

/// The port for NOTIFY where none is said.
const PORT: u16 = 53;
const ADDRESSES: &str =
    "an address, such as \"192.0.2.54\" or \"2001:db8::54\", or with a port \"[2001:db8::54]:5353\"";

/// A server, or several under one administration, that may have zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secondary {
    /// What it is called here.
    pub name: String,
    /// Where it asks from, and is told of changes; the port is that of NOTIFY alone.
    pub addresses: Vec<SocketAddr>,
    /// The key that it signs with.
    pub key: Option<Name>,
    /// The zones that it may have; none: all.
    pub zones: Option<Vec<Name>>,
    /// Whether it is told of changes.
    pub notify: bool,
}

impl Secondary {
    /// Whether it takes a zone.
    pub fn takes(&self, zone: &Name) -> bool {
        self.zones.as_ref().is_none_or(|zones| zones.contains(zone))
    }

    /// Whether who asks from an address, and has signed with a key or not, is this one and may have a zone. Of address and key, both have
    /// to be right where both are known.
    pub fn may_have(&self, zone: &Name, peer: IpAddr, key: Option<&Name>) -> bool {
        let is_here = |address: &SocketAddr| address.ip().to_canonical() == peer.to_canonical();
        let is_known = !self.addresses.is_empty() || self.key.is_some();
        is_known
            && self.takes(zone)
            && (self.addresses.is_empty() || self.addresses.iter().any(is_here))
            && self.key.as_ref().is_none_or(|wanted| key == Some(wanted))
    }
}

/// Reads all of them.
pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    config.notify_nameservers = root.boolean("notify-nameservers", problems).unwrap_or(config.notify_nameservers);
    let Some(secondaries) = root.section("secondary", problems) else { return };
    for (name, _, value) in secondaries.entries() {
        if let Some(section) = as_section(&format!("secondary.\"{name}\""), value, problems) {
            config.secondaries.push(check_secondary(section, name, problems));
        }
    }
}

fn check_secondary(mut section: Section<'_>, name: &str, problems: &mut Problems<'_>) -> Secondary {
    let addresses = section.list("addresses", ADDRESSES, problems, parse_address);
    let key = section.parsed("key", "a key's name, such as \"ns2.example.org.\"", problems, parse_name);
    let zones = section.list("zones", "zones' names, such as \"example.org\"", problems, parse_name);
    let notify = section.boolean("notify", problems).unwrap_or(true);
    if !section.has("addresses") && !section.has("key") {
        let message = format!("[secondary.\"{name}\"] without `addresses` and `key`: whoever asks would be this one");
        problems.error(section.span.clone(), message, "key = \"...\", addresses = [\"...\"], or best both");
    } else if addresses.as_ref().is_some_and(Vec::is_empty) && !section.has("key") {
        problems.error(section.span_of("addresses"), "`addresses` is empty, and there is no `key`", ADDRESSES);
    }
    section.finish(problems);
    let without_span = |list: Vec<(Name, _)>| list.into_iter().map(|(name, _)| name).collect();
    Secondary {
        name: name.to_owned(),
        addresses: addresses.into_iter().flatten().map(|(address, _)| address).collect(),
        key,
        zones: zones.map(without_span),
        notify,
    }
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT)).or_else(|_| text.parse());
    match address {
        Ok(address) if address.ip().is_unspecified() || address.ip().is_multicast() || address.port() == 0 => {
            Err(format!("{text} is no host's address"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(format!("\"{text}\" is not an address")),
    }
}

pub(super) fn parse_name(text: &str) -> Result<Name, String> {
    match Name::parse(text, None) {
        Ok(name) if text != "@" => Ok(name),
        Ok(_) => Err("\"@\" is no name here".to_owned()),
        Err(error) => Err(format!("\"{text}\": {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{name, parse};
    use super::*;

    #[test]
    fn secondaries_are_read_and_mistakes_are_named() {
        let config = parse(
            "[secondary.ns2]\naddresses = [\"192.0.2.54\", \"[2001:db8::54]:5353\"]\nkey = \"ns2.example.org.\"\n\
             zones = [\"Example.org\"]\nnotify = false\n[secondary.\"third party\"]\nkey = \"party\"",
        )
        .unwrap();
        let [ns2, party] = &config.secondaries[..] else { panic!("{:?}", config.secondaries) };
        assert_eq!(ns2.addresses, ["192.0.2.54:53".parse().unwrap(), "[2001:db8::54]:5353".parse().unwrap()]);
        assert_eq!((ns2.key.as_ref(), ns2.notify), (Some(&name("ns2.example.org")), false));
        assert!(ns2.takes(&name("example.org")) && !ns2.takes(&name("example.net")));
        assert!(party.addresses.is_empty() && party.notify && party.takes(&name("example.net")));
        for (text, expected) in [
            ("[secondary.ns2]\nzones = [\"example.org\"]", "without `addresses` and `key`"),
            ("[secondary.ns2]\naddresses = []", "`addresses` is empty"),
            ("[secondary.ns2]\naddresses = [\"ns2.example.org\"]", "is not an address"),
            ("[secondary.ns2]\naddresses = [\"0.0.0.0\"]", "no host's address"),
            ("[secondary.ns2]\naddresses = [\"192.0.2.1:0\"]", "no host's address"),
            ("[secondary.ns2]\nkey = \"a..b\"", "a..b"),
            ("[secondary.ns2]\nkey = \"@\"", "no name here"),
            ("[secondary.ns2]\nkey = \"k\"\nzone = [\"example.org\"]", "unknown key `zone`"),
            ("[secondary]\nkey = \"k\"", "must be a table"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn nameservers_are_told_where_the_server_or_the_zone_says_so() {
        let tells = |text: &str| {
            let config = parse(text).unwrap();
            ["example.org", "example.net"].map(|zone| config.tells_nameservers(&name(zone)))
        };
        assert_eq!(tells(""), [false, false]);
        assert_eq!(tells("notify-nameservers = true\n[zone.\"example.org\"]\ncds = false"), [true, true]);
        assert_eq!(
            tells("notify-nameservers = true\n[zone.\"example.org\"]\nnotify-nameservers = false"),
            [false, true]
        );
        assert_eq!(tells("[zone.\"example.org\"]\nnotify-nameservers = true"), [true, false]);
        assert!(parse("notify-nameservers = 1").unwrap_err().to_string().contains("notify-nameservers"));
    }

    #[test]
    fn a_secondary_has_the_address_and_the_key_that_are_known_of_it() {
        let (zone, here, there) =
            (name("example.org"), "192.0.2.54".parse().unwrap(), "192.0.2.55".parse::<IpAddr>().unwrap());
        let (right, wrong) = (name("right"), name("wrong"));
        let both = Secondary {
            name: "ns2".to_owned(),
            addresses: vec!["192.0.2.54:53".parse().unwrap()],
            key: Some(right.clone()),
            zones: None,
            notify: true,
        };
        assert!(both.may_have(&zone, here, Some(&right)));
        assert!(both.may_have(&zone, "::ffff:192.0.2.54".parse().unwrap(), Some(&right)));
        assert!(!both.may_have(&zone, there, Some(&right)));
        assert!(!both.may_have(&zone, here, Some(&wrong)) && !both.may_have(&zone, here, None));
        let address = Secondary { key: None, ..both.clone() };
        assert!(address.may_have(&zone, here, None) && address.may_have(&zone, here, Some(&wrong)));
        assert!(!address.may_have(&zone, there, Some(&right)));
        let key = Secondary { addresses: Vec::new(), ..both.clone() };
        assert!(key.may_have(&zone, there, Some(&right)) && !key.may_have(&zone, there, None));
        assert!(!Secondary { key: None, ..key }.may_have(&zone, here, None), "who is nothing known of is nobody");
        let other = Secondary { zones: Some(vec![name("example.net")]), ..both };
        assert!(!other.may_have(&zone, here, Some(&right)));
    }
}
