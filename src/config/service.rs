//! `[server]`, `[rate-limit]` and `tsig-keys`: what the server says of itself, its cookies, how much it answers, and whose keys it knows.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use super::check::{check_path, parse_path};
use super::reader::{Problems, Section};
use super::values::Config;
use crate::answer::{NSID_MAX, TEXT_MAX};

/// `[server]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// The NSID option's octets; empty for none.
    pub nsid: Vec<u8>,
    /// What `version.bind` says; none: the program's name and version, empty: nothing.
    pub version: Option<String>,
    /// What `id.server` says; none: the machine's host name, empty: nothing.
    pub identity: Option<String>,
    /// Whether DNS cookies are spoken.
    pub cookies: Cookies,
}

/// Where the secrets of DNS cookies come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cookies {
    /// Made by danelaw, kept in its store, and changed from time to time.
    #[default]
    Own,
    /// This file's: one for each line, the first one in force.
    File(PathBuf),
    /// There are none.
    Off,
}

/// `[rate-limit]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Responses of one kind over UDP to one network in a second; 0: no limit.
    pub responses_per_second: u32,
    /// Every how many of those that are too many get something short; 0: none.
    pub slip: u32,
    /// Of the networks that are counted, IPv4.
    pub ipv4_prefix_length: u8,
    /// Of the networks that are counted, IPv6.
    pub ipv6_prefix_length: u8,
    /// Never limited.
    pub exempt_clients: Vec<Prefix>,
    /// Buckets: as many networks and kinds are remembered.
    pub table_size: usize,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit {
            responses_per_second: 0,
            slip: 2,
            ipv4_prefix_length: 24,
            ipv6_prefix_length: 56,
            exempt_clients: Vec::new(),
            table_size: 65_536,
        }
    }
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of so many bits that an address is in; as many as there are when `length` is larger.
    pub fn new(address: IpAddr, length: u8) -> Prefix {
        let (bits, length) = match address {
            IpAddr::V4(_) => (32, length.min(32)),
            IpAddr::V6(_) => (128, length.min(128)),
        };
        let host = u32::from(bits - length);
        let address = match address {
            IpAddr::V4(address) => {
                Ipv4Addr::from_bits(address.to_bits() & u32::MAX.checked_shl(host).unwrap_or(0)).into()
            }
            IpAddr::V6(address) => {
                Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(host).unwrap_or(0)).into()
            }
        };
        Prefix { address, length }
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        Prefix::new(address.to_canonical(), self.length).address == self.address
            && address.to_canonical().is_ipv4() == self.address.is_ipv4()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Prefix, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("\"{text}\" is not an address or network"))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(length) => match length.parse::<u8>() {
                Ok(length) if length <= bits && !text.contains('+') => length,
                _ => return Err(format!("\"{text}\": the prefix length is from 0 to {bits}")),
            },
        };
        let prefix = Prefix::new(address, length);
        if prefix.address != address {
            return Err(format!("\"{text}\" has bits behind its prefix; {}/{length} is meant?", prefix.address));
        }
        Ok(prefix)
    }
}

/// Reads all of it.
pub(super) fn check(root: &mut Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let folder = config.folder.clone();
    let files = root.list("tsig-keys", "files of `danelaw keys tsig`, tsig-keygen or keymgr -t", problems, |text| {
        parse_path(text, &folder)
    });
    config.tsig_keys = files.into_iter().flatten().map(|(file, _)| file).collect();
    if let Some(server) = root.section("server", problems) {
        check_server(server, config, problems);
    }
    if let Some(limits) = root.section("rate-limit", problems) {
        check_rate_limit(limits, &mut config.rate_limit, problems);
    }
}

fn check_server(mut section: Section<'_>, config: &mut Config, problems: &mut Problems<'_>) {
    let expected = format!("up to {NSID_MAX} octets: a text, or \"0x\" and hexadecimal digits");
    if let Some(nsid) = section.parsed("nsid", &expected, problems, parse_nsid) {
        config.server.nsid = nsid;
    }
    let text = |text: &str| match text.len() {
        0..=TEXT_MAX => Ok(text.to_owned()),
        len => Err(format!("{len} octets, and a TXT string has at most {TEXT_MAX}")),
    };
    let expected = "a text; an empty one hides it";
    config.server.version = section.parsed("version", expected, problems, text);
    config.server.identity = section.parsed("identity", expected, problems, text);
    let spoken = section.boolean("cookies", problems).unwrap_or(true);
    let file = check_path(&mut section, "cookie-secret-file", &config.folder.clone(), problems);
    if !spoken && section.has("cookie-secret-file") {
        let message = "`cookie-secret-file` with `cookies = false`: what for?";
        problems.error(section.span_of("cookie-secret-file"), message, "take one of them out");
    }
    config.server.cookies = match file {
        _ if !spoken => Cookies::Off,
        Some(file) => Cookies::File(file),
        None => Cookies::Own,
    };
    section.finish(problems);
}

fn parse_nsid(text: &str) -> Result<Vec<u8>, String> {
    let nsid = match text.strip_prefix("0x") {
        Some(hex) => data_encoding::HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|error| error.to_string())?,
        None => text.as_bytes().to_vec(),
    };
    if nsid.len() > NSID_MAX { Err(format!("{} octets", nsid.len())) } else { Ok(nsid) }
}

fn check_rate_limit(mut section: Section<'_>, limits: &mut RateLimit, problems: &mut Problems<'_>) {
    let mut number = |key: &'static str, most: u64, section: &mut Section<'_>| {
        section.integer(key, 0..=most, problems).and_then(|number| u32::try_from(number).ok())
    };
    let rate = number("responses-per-second", 1_000_000, &mut section);
    let slip = number("slip", 10, &mut section);
    let ipv4 = number("ipv4-prefix-length", 32, &mut section).and_then(|length| u8::try_from(length).ok());
    let ipv6 = number("ipv6-prefix-length", 128, &mut section).and_then(|length| u8::try_from(length).ok());
    limits.responses_per_second = rate.unwrap_or(limits.responses_per_second);
    limits.slip = slip.unwrap_or(limits.slip);
    limits.ipv4_prefix_length = ipv4.unwrap_or(limits.ipv4_prefix_length);
    limits.ipv6_prefix_length = ipv6.unwrap_or(limits.ipv6_prefix_length);
    let size = section.integer("table-size", 1024..=1 << 26, problems).and_then(|size| usize::try_from(size).ok());
    limits.table_size = size.unwrap_or(limits.table_size);
    let expected = "an address or a network, such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
    if let Some(exempt) = section.list("exempt-clients", expected, problems, str::parse::<Prefix>) {
        limits.exempt_clients = exempt.into_iter().map(|(prefix, _)| prefix).collect();
    }
    section.finish(problems);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests::parse;
    use super::*;

    #[test]
    fn both_sections_are_read() {
        let config = parse(
            r#"
            tsig-keys = ["keys/a.key", "/srv/b.key"]
            [server]
            nsid = "ns1"
            version = ""
            identity = "ns1.example.org"
            cookie-secret-file = "cookies"
            [rate-limit]
            responses-per-second = 200
            slip = 1
            ipv4-prefix-length = 32
            ipv6-prefix-length = 64
            exempt-clients = ["192.0.2.0/24", "2001:db8::1"]
            table-size = 4096
            "#,
        )
        .unwrap();
        let expected = ServerConfig {
            nsid: b"ns1".to_vec(),
            version: Some(String::new()),
            identity: Some("ns1.example.org".to_owned()),
            cookies: Cookies::File("/etc/danelaw/cookies".into()),
        };
        assert_eq!(config.server, expected);
        assert_eq!(config.tsig_keys, [Path::new("/etc/danelaw/keys/a.key"), Path::new("/srv/b.key")]);
        let expected = RateLimit {
            responses_per_second: 200,
            slip: 1,
            ipv4_prefix_length: 32,
            ipv6_prefix_length: 64,
            exempt_clients: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::1/128".parse().unwrap()],
            table_size: 4096,
        };
        assert_eq!(config.rate_limit, expected);
        assert_eq!(parse("[server]\ncookies = false").unwrap().server.cookies, Cookies::Off);
        assert_eq!(parse("[server]\nnsid = \"0x00fF\"").unwrap().server.nsid, [0, 255]);
    }

    #[test]
    fn what_can_not_be_is_said() {
        let long = format!("[server]\nnsid = \"{}\"", "x".repeat(129));
        let longer = format!("[server]\nversion = \"{}\"", "x".repeat(256));
        for (text, expected) in [
            ("tsig-keys = \"a.key\"", "must be a list"),
            ("tsig-keys = [\"\"]", "empty"),
            ("[server]\nnsid = \"0xf\"", "`nsid`"),
            (&long, "129 octets"),
            (&longer, "256 octets"),
            ("[server]\nnsld = \"x\"", "did you mean `nsid`?"),
            ("[server]\ncookies = false\ncookie-secret-file = \"x\"", "what for?"),
            ("[rate-limit]\nslip = 11", "from 0 to 10"),
            ("[rate-limit]\nipv4-prefix-length = 33", "from 0 to 32"),
            ("[rate-limit]\nresponses-per-second = \"many\"", "must be a number"),
            ("[rate-limit]\ntable-size = 1", "from 1024"),
            ("[rate-limit]\nexempt-clients = [\"192.0.2.1/24\"]", "192.0.2.0/24 is meant?"),
            ("[rate-limit]\nexempt-clients = [\"192.0.2.0/33\"]", "from 0 to 32"),
            ("[rate-limit]\nexempt-clients = [\"example.org\"]", "not an address or network"),
            ("[rate-limit]\nrate = 5", "unknown key `rate`"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_prefix_holds_its_addresses() {
        let holds = |prefix: &str, address: &str| prefix.parse::<Prefix>().unwrap().contains(address.parse().unwrap());
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "192.0.2.1"));
        assert!(holds("2001:db8::/33", "2001:db8:7fff::") && !holds("2001:db8::/33", "2001:db8:8000::"));
        assert!(holds("192.0.2.1", "::ffff:192.0.2.1"));
    }
}
