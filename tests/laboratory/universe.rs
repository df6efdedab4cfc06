//! A small DNS of its own: a signed root, three zones below it, and the mail domain and its neighbours below those.
//!
//! Four danelaw daemons: the root, the top-level zones, the first server of the domains, and the second one, which
//! serves the first one's signed zones from its dumps, and alone has their children. So every step down is a referral.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use danelaw::dns::dnssec::{self, Algorithm};
use danelaw::dns::text::print_rdata;
use danelaw::dns::{Rtype, Timestamp};
use danelaw::keys::ZoneKey;
use danelaw::zone::print;

use super::common::{name, now, sign_elsewhere, sign_with, succeed, zone};
use super::namespace::{Namespace, said, wait_until};

/// A server's name, and its IPv4 and IPv6 address. Addresses for documentation or private use would be complained of, so
/// these look like any others: no packet leaves the namespace. Two servers of a zone share neither prefix nor AS.
pub type Host = (&'static str, &'static str, &'static str);
pub const ROOT: [Host; 2] = [("a.rootns", "45.33.1.53", "2a00:1a::53"), ("b.rootns", "77.88.2.53", "2a02:2b::53")];
const TOP: [Host; 2] =
    [("a.nic.example", "80.67.3.53", "2a01:3c::53"), ("b.nic.example", "91.121.4.53", "2a05:4d::53")];
pub const NS: [Host; 2] = [("ns1", "46.4.5.25", "2a01:4f8:5::25"), ("ns2", "88.198.6.53", "2a03:6f::53")];
/// Where the resolver under test listens.
pub const RESOLVER: &str = "62.1.7.1";

pub const MAIL_DOMAIN: &str = "example.org";
pub const TLSA: &str = "_25._tcp.mail.example.org";

/// Zones with every kind of answer: their labels below example, and how the configuration says they are signed.
pub const KINDS: [(&str, &str); 5] = [
    ("nsec", "denial = \"nsec\""),
    ("nsec3", "denial = \"nsec3\""),
    ("optout", "denial = \"nsec3\"\nnsec3-opt-out = true\nalgorithm = \"ed25519\""),
    ("ed25519", "algorithm = \"ed25519\""),
    ("presigned", "signing = \"presigned\""),
];

const BINARY: &str = env!("CARGO_BIN_EXE_danelaw");
const DAEMON: &str = "\n[dane]\ndnssec = \"zone\"\nmail-service = \"declared\"\n\n[[certificates]]\npath = \"certs\"\n";
const DKIM: &str = "s1._domainkey TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";

/// A daemon's folder.
struct Site {
    folder: PathBuf,
    listen: Vec<String>,
    zones: String,
}

impl Site {
    fn new(folder: &Path, title: &str, hosts: &[Host]) -> Site {
        let folder = folder.join(title);
        for part in ["zones", "certs"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        let listen = hosts.iter().flat_map(|(_, v4, v6)| [format!("{v4}:53"), format!("[{v6}]:53")]).collect();
        Site { folder, listen, zones: String::new() }
    }

    /// Adds a zone, with the keys of its table in the configuration.
    fn add(&mut self, origin: &str, settings: &str, text: &str) {
        let file = format!("zones/{}.zone", if origin == "." { "root" } else { origin });
        fs::write(self.folder.join(&file), text).unwrap();
        // A file's name can't say the root.
        let file = if origin == "." { format!("file = \"{file}\"\n") } else { String::new() };
        self.zones += &format!("[zone.\"{origin}\"]\n{file}{settings}\n");
        let (listen, mail) = (&self.listen, [NS[0].1, NS[0].2]);
        let config = format!("listen = {listen:?}\naddresses = {mail:?}\n{DAEMON}{}", self.zones);
        fs::write(self.config(), config).unwrap();
    }

    /// Adds a zone that is signed here; gives its DS.
    fn add_signed(&mut self, origin: &str, settings: &str, text: &str) -> String {
        self.add(origin, settings, text);
        self.danelaw(&["keys", "generate", origin]);
        self.danelaw(&["ds", origin])
    }

    fn config(&self) -> PathBuf {
        self.folder.join("danelaw.toml")
    }

    fn danelaw(&self, arguments: &[&str]) -> String {
        let output = Command::new(BINARY).arg("--config").arg(self.config()).args(arguments).output().unwrap();
        assert!(output.status.success(), "danelaw {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn start(&self, namespace: &mut Namespace) {
        let (config, ready, log) = (self.config(), self.folder.join("ready"), self.folder.join("log"));
        let config = config.to_str().unwrap();
        let arguments = ["--config", config, "serve", "--ready-file", ready.to_str().unwrap()];
        namespace.start(BINARY, &arguments, &log, |_| ready.exists());
    }
}

/// The running daemons, and what a validator has to be told to begin with.
pub struct Universe {
    pub namespace: Namespace,
    pub folder: tempfile::TempDir,
    /// The DS of the root, as RDATA.
    pub anchor: String,
}

impl Universe {
    pub fn new() -> Universe {
        let folder = tempfile::tempdir().unwrap();
        let hosts = || ROOT.iter().chain(&TOP).chain(&NS);
        let addresses = hosts().flat_map(|(_, v4, v6)| [v4, v6]).chain([&RESOLVER]).map(|text| text.parse().unwrap());
        let mut namespace = Namespace::with(addresses);
        let mut root = Site::new(folder.path(), "root", &ROOT);
        let mut top = Site::new(folder.path(), "top", &TOP);
        let mut first = Site::new(folder.path(), "first", &NS[..1]);
        let mut second = Site::new(folder.path(), "second", &NS[1..]);

        let org = mail_domain(&mut first);
        let example = kinds(&mut first, &mut second, folder.path()) + &broken(&mut first, &mut second);
        let above = top_level(&mut top, &org, &example);
        let anchor = root.add_signed(".", "", &(apex(&ROOT) + &addresses_of(&ROOT) + &above));
        let anchor = anchor.trim().split_once(" DS ").unwrap().1.to_owned();

        for site in [&root, &top, &first] {
            site.start(&mut namespace);
        }
        wait_until("TLSA is served", || {
            let server = format!("@{}", NS[0].1);
            namespace.ask("dig", &[&server, "+short", TLSA, "TLSA"]).starts_with("3 1 1 ")
        });
        for origin in KINDS.iter().map(|(label, _)| format!("{label}.example")).chain([MAIL_DOMAIN.to_owned()]) {
            second.add(&origin, "signing = \"presigned\"", &first.danelaw(&["zone", "dump", &origin]));
        }
        second.start(&mut namespace);
        Universe { namespace, folder, anchor }
    }

    /// Writes a file for a program of the laboratory; gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Root hints as a zone file.
    pub fn hints(&self) -> String {
        let ns: String = ROOT.iter().map(|(name, ..)| format!(". 3600 IN NS {name}.\n")).collect();
        self.file("root.hints", &(ns + &addresses_of(&ROOT)))
    }
}

/// SOA and NS of a zone that these serve.
fn apex(hosts: &[Host]) -> String {
    let ns: String = hosts.iter().map(|(name, ..)| format!("@ NS {name}.\n")).collect();
    format!("$TTL 1h\n@ SOA {}. hostmaster.example.org. 1 4h 1h 2w 5m\n{ns}", hosts[0].0)
}

fn addresses_of(hosts: &[Host]) -> String {
    hosts.iter().map(|(name, v4, v6)| format!("{name}. 3600 IN A {v4}\n{name}. 3600 IN AAAA {v6}\n")).collect()
}

/// A delegation to the two servers of the domains, with glue.
fn delegation(origin: &str) -> String {
    let hosts = NS.iter().map(|(label, v4, v6)| {
        format!("{origin}. NS {label}.{origin}.\n{label}.{origin}. A {v4}\n{label}.{origin}. AAAA {v6}\n")
    });
    hosts.collect()
}

/// Puts the servers' addresses into a zone's text.
fn fill(text: &str) -> String {
    let words = [("NS1_4", NS[0].1), ("NS1_6", NS[0].2), ("NS2_4", NS[1].1), ("NS2_6", NS[1].2)];
    words.iter().fold(text.to_owned(), |text, (word, address)| text.replace(word, address))
}

/// What `danelaw init` writes, with a second server and a certificate; gives what org has of it.
fn mail_domain(first: &mut Site) -> String {
    let made = first.folder.join("made");
    let dkim = first.folder.join("dkim");
    fs::write(&dkim, DKIM).unwrap();
    let arguments = ["--dkim", dkim.to_str().unwrap(), "--folder", made.to_str().unwrap()];
    succeed(BINARY, &[&["init", MAIL_DOMAIN, "--address", NS[0].1, "--address", NS[0].2], &arguments[..]].concat());
    let text = fs::read_to_string(made.join("zones/example.org.zone")).unwrap();
    let ds = first.add_signed(MAIL_DOMAIN, "", &(text + "\n@ NS ns2\n" + &fill("ns2 A NS2_4\nns2 AAAA NS2_6\n")));
    certificate(&first.folder.join("certs"));
    delegation(MAIL_DOMAIN) + &ds
}

/// The mail host's, self-signed.
fn certificate(folder: &Path) {
    let (key, chain) = (folder.join("mail.key"), folder.join("mail.pem"));
    let curve = ["req", "-x509", "-nodes", "-days", "30", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let names = ["-subj", "/CN=test", "-addext", "subjectAltName=DNS:mail.example.org"];
    let files = ["-keyout", key.to_str().unwrap(), "-out", chain.to_str().unwrap()];
    succeed("openssl", &[&curve[..], &names, &files].concat());
}

/// The zones with every kind of answer and their children; gives what example has of them.
fn kinds(first: &mut Site, second: &mut Site, folder: &Path) -> String {
    let mut above = String::new();
    for (label, settings) in KINDS {
        let origin = format!("{label}.example");
        let child =
            format!("$TTL 1h\n@ SOA ns2.{origin}. hostmaster 1 4h 1h 2w 5m\nhost A 198.18.1.1\n*.wild TXT wild\n");
        let glued = format!("{child}@ NS ns\nns A NS2_4\nns AAAA NS2_6\n");
        second.add(&format!("insecure.{origin}"), "signing = \"none\"", &fill(&glued));
        let beside = format!("{child}@ NS ns2.{origin}.\n");
        let ds = second.add_signed(&format!("secure.{origin}"), settings_of_child(label), &beside);
        let text = fill(include_str!("zones/kinds.zone")) + &ds;
        above += &delegation(&origin);
        above += &match label {
            "presigned" => {
                let (signed, ds) = sign_elsewhere(&origin, &text, folder);
                first.add(&origin, settings, &signed);
                ds
            }
            _ => first.add_signed(&origin, settings, &text),
        };
    }
    above
}

/// Children differ from their parents in chain and algorithm.
fn settings_of_child(parent: &str) -> &'static str {
    match parent {
        "nsec" => "denial = \"nsec3\"",
        "nsec3" => "algorithm = \"ed25519\"",
        "presigned" => "denial = \"nsec3\"\nnsec3-iterations = 2\nnsec3-salt = \"aabb\"",
        _ => "",
    }
}

/// Zones that don't validate, signed by danelaw and then spoilt, and zones that are not signed; gives what example has
/// of them.
fn broken(first: &mut Site, second: &mut Site) -> String {
    let (key, _) = ZoneKey::generate(Algorithm::EcdsaP256Sha256).unwrap();
    let ds = |origin: &str| print_rdata(Rtype::DS, &dnssec::ds(&name(origin), dnssec::Signer::dnskey(&key)));
    let text = fill(include_str!("zones/plain.zone"));
    let sign = |origin: &str, at: Timestamp| print::published(&sign_with(&zone(origin, &text), &[&key], None, at, 1));
    let mut above = String::new();
    let mut add = |origin: &str, text: &str, ds: Option<String>| {
        for site in [&mut *first, &mut *second] {
            site.add(origin, "signing = \"none\"", text);
        }
        above += &delegation(origin);
        above += &ds.map(|ds| format!("{origin}. DS {ds}\n")).unwrap_or_default();
    };
    add("spoilt.example", &spoil(&sign("spoilt.example", now())), Some(ds("spoilt.example")));
    add("expired.example", &sign("expired.example", now() - 20 * 86_400), Some(ds("expired.example")));
    // A DS of the same key under another name is of no key here.
    add("foreign.example", &sign("foreign.example", now()), Some(ds("spoilt.example")));
    add("unsigned.example", &text, None);
    for site in [first, second] {
        site.add("plain.org", "signing = \"none\"", &text);
    }
    above
}

/// Another first letter in the signatures of mail's address and of every NSEC.
fn spoil(signed: &str) -> String {
    let is_spoilt = |line: &&str| {
        line.contains("\tRRSIG\tNSEC ") || (line.starts_with("mail.spoilt.example.\t") && line.contains("\tRRSIG\tA "))
    };
    let spoilt = signed.lines().filter(is_spoilt).count();
    assert_eq!(spoilt, 1 + 4, "mail's, and the NSEC of four names");
    let lines = signed.lines().map(|line| match line.rsplit_once(' ').filter(|_| is_spoilt(&line)) {
        Some((before, signature)) => {
            let letter = if signature.starts_with('A') { 'B' } else { 'A' };
            format!("{before} {letter}{}\n", &signature[1..])
        }
        None => format!("{line}\n"),
    });
    lines.collect()
}

/// The zones below the root; gives what the root has of them.
fn top_level(top: &mut Site, org: &str, example: &str) -> String {
    let apex = apex(&TOP);
    let mut above = addresses_of(&TOP);
    let unsigned = delegation("plain.org");
    let example = format!("{apex}{}{example}", addresses_of(&TOP));
    for (origin, settings, text) in [
        ("org", "denial = \"nsec3\"\nnsec3-opt-out = true\nalgorithm = \"ed25519\"", format!("{apex}{org}{unsigned}")),
        ("example", "denial = \"nsec3\"", example),
        ("arpa", "", apex.clone() + &pointers()),
        ("asn", "", apex.clone() + &systems()),
    ] {
        above += &TOP.iter().map(|(name, ..)| format!("{origin}. NS {name}.\n")).collect::<String>();
        above += &top.add_signed(origin, settings, &text);
    }
    above
}

/// The PTR records of the servers; those of the domains have a name in each of them.
fn pointers() -> String {
    let domains = KINDS.iter().map(|(label, _)| format!("{label}.example"));
    let domains: Vec<String> = domains.chain([MAIL_DOMAIN, "unsigned.example"].map(str::to_owned)).collect();
    let mut text = String::new();
    for (host, v4, v6) in ROOT.iter().chain(&TOP).chain(&NS) {
        let names: Vec<String> = match host.contains('.') {
            true => vec![(*host).to_owned()],
            false => domains.iter().map(|domain| format!("{host}.{domain}")).collect(),
        };
        for name in names {
            text += &format!("{}.in-addr.arpa. PTR {name}.\n{}.ip6.arpa. PTR {name}.\n", reverse(v4), reverse(v6));
        }
    }
    text
}

/// Whose the addresses are, in the form that Zonemaster asks for: an autonomous system for each server.
fn systems() -> String {
    let mut text = String::new();
    for (number, (_, v4, v6)) in ROOT.iter().chain(&TOP).chain(&NS).enumerate() {
        let number = 64_496 + number;
        let (v4_prefix, v6_prefix) = (v4.rsplit_once('.').unwrap().0, v6.split_once("::").unwrap().0);
        text += &format!("{}.origin.asn. TXT \"{number} | {v4_prefix}.0/24 | ZZ | lab | 2026-01-01\"\n", reverse(v4));
        text += &format!("{}.origin6.asn. TXT \"{number} | {v6_prefix}::/48 | ZZ | lab | 2026-01-01\"\n", reverse(v6));
    }
    text
}

/// An address as labels, the last part first.
fn reverse(address: &str) -> String {
    let mut labels: Vec<String> = match address.parse().unwrap() {
        IpAddr::V4(address) => address.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(address) => {
            address.octets().iter().flat_map(|o| [o >> 4, o & 15]).map(|n| format!("{n:x}")).collect()
        }
    };
    labels.reverse();
    labels.join(".")
}
