//! `primary` of `[zone."..."]`: the servers that a zone comes from.

use std::net::{IpAddr, SocketAddr};

use super::reader::{Problems, Section};
use super::secondary::{parse_address, parse_name};
use crate::dns::Name;

const PRIMARY: &str = "an address, such as \"192.0.2.1\" or \"2001:db8::1\", or with a port \"[2001:db8::1]:5353\"";

/// The servers that a zone is transferred from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primaries {
    /// Where they answer over TCP, in the order in which they are asked; never empty.
    pub addresses: Vec<SocketAddr>,
    /// The key that requests are signed with.
    pub key: Option<Name>,
}

impl Primaries {
    /// Which one a NOTIFY comes from, by its address; none where it is signed with another key.
    pub fn place(&self, peer: IpAddr, key: Option<&Name>) -> Option<usize> {
        let is_right = key.is_none() || key == self.key.as_ref();
        let is_here = |address: &SocketAddr| address.ip().to_canonical() == peer.to_canonical();
        self.addresses.iter().position(is_here).filter(|_| is_right)
    }
}

/// Reads those of one zone.
pub(super) fn check(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Box<Primaries>> {
    let list = section.list("primary", PRIMARY, problems, parse_address);
    let key = section.parsed("primary-key", "a key's name, such as \"transfer.example.org.\"", problems, parse_name);
    if !section.has("primary") {
        if section.has("primary-key") {
            let message = "`primary-key` without `primary`: what should be signed with it?";
            problems.error(section.span_of("primary-key"), message, "primary = [\"192.0.2.1\"]");
        }
        return None;
    }
    if section.has("file") {
        let message = "`file` and `primary`: where do the zone's records come from?";
        problems.error(section.span_of("primary"), message, "one of the two");
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let list = list?;
    if list.is_empty() && section.value("primary")?.get_ref().as_array().is_some_and(|array| array.is_empty()) {
        problems.error(section.span_of("primary"), "`primary` is empty", PRIMARY);
    }
    for (address, span) in list {
        if addresses.contains(&address) {
            problems.error(span, format!("`primary`: {address} stands here twice"), "take one of them out");
        } else {
            addresses.push(address);
        }
    }
    (!addresses.is_empty()).then(|| Box::new(Primaries { addresses, key }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::name;
    use super::super::{Config, ConfigErrors, SigningMode};
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigErrors> {
        Config::parse(&format!("[zone.\"example.org\"]\n{text}"), "danelaw.toml", Path::new("/etc/danelaw"))
    }

    #[test]
    fn primaries_are_read_and_mistakes_are_named() {
        let text =
            "primary = [\"192.0.2.1\", \"[2001:db8::1]:5353\"]\nprimary-key = \"k.test\"\nsigning = \"presigned\"";
        let config = parse(text).unwrap();
        let primaries = config.primaries(&name("Example.org")).unwrap();
        assert_eq!(primaries.addresses, ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:5353".parse().unwrap()]);
        assert_eq!(primaries.key, Some(name("k.test")));
        assert_eq!(config.signing(&name("example.org")).mode, SigningMode::Presigned);
        assert_eq!(config.primaries(&name("example.net")), None);
        for (text, expected) in [
            ("primary = []", "`primary` is empty"),
            ("primary = [\"ns1.example.org\"]", "is not an address"),
            ("primary = [\"0.0.0.0\"]", "no host's address"),
            ("primary = \"192.0.2.1\"", "must be a list"),
            ("primary = [\"192.0.2.1\", \"192.0.2.1:53\"]", "stands here twice"),
            ("primary = [\"192.0.2.1\"]\nfile = \"x.zone\"", "`file` and `primary`"),
            ("primary-key = \"k.test\"", "`primary-key` without `primary`"),
            ("primary = [\"192.0.2.1\"]\nprimary-key = \"a..b\"", "a..b"),
            ("primaries = [\"192.0.2.1\"]", "unknown key `primaries`"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_primary_notifies_from_its_address_unsigned_or_signed_with_its_key() {
        let addresses = vec!["192.0.2.1:53".parse().unwrap(), "192.0.2.2:53".parse().unwrap()];
        let (right, wrong) = (name("right"), name("wrong"));
        let both = Primaries { addresses, key: Some(right.clone()) };
        let peer = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(both.place(peer("192.0.2.2"), Some(&right)), Some(1));
        assert_eq!(both.place(peer("::ffff:192.0.2.1"), None), Some(0));
        assert_eq!(both.place(peer("192.0.2.1"), Some(&wrong)), None);
        assert_eq!(both.place(peer("192.0.2.3"), Some(&right)), None);
        assert_eq!(Primaries { key: None, ..both }.place(peer("192.0.2.1"), Some(&right)), None);
    }
}
