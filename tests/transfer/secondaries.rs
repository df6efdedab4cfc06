//! NSD, Knot and BIND take signed zones, whole and then by differences, and have what danelaw serves.

use std::path::Path;

use super::common::program::Program;
use super::common::{free_port, run, succeed};
use super::house::{CONFIG, Daemon, HEAD, HOST, House, MX, wait_until};

pub const NSEC: &str = "example.org";
const NSEC3: &str = "hashed.example";
const ZONES: [&str; 2] = [NSEC, NSEC3];
/// The TSIG key's name.
pub const KEY: &str = "transfer.test";

/// A secondary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Nsd,
    Knot,
    Bind,
    BindOverTls,
}

/// Where and with what it takes zones from.
#[derive(Default)]
pub struct Primary {
    pub port: u16,
    pub tls_port: u16,
    pub secret: String,
    /// It tells when there is something to take: nobody looks by himself before the SOA says so.
    pub tells: bool,
}

/// A peer that runs until this is dropped.
pub struct Running {
    pub peer: Peer,
    pub port: u16,
    _program: Program,
}

impl Peer {
    fn start(self, primary: &Primary) -> Running {
        self.start_at(free_port(), primary)
    }

    pub fn start_at(self, port: u16, primary: &Primary) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let config = match self {
            Peer::Nsd => nsd(port, folder.path(), primary),
            Peer::Knot => knot(port, folder.path(), primary),
            Peer::Bind => bind(port, folder.path(), primary, false),
            Peer::BindOverTls => bind(port, folder.path(), primary, true),
        };
        let (name, arguments): (_, &[&str]) = match self {
            Peer::Nsd => ("nsd", &["-d", "-c"]),
            Peer::Knot => ("knotd", &["-c"]),
            Peer::Bind | Peer::BindOverTls => ("named", &["-g", "-n", "1", "-c"]),
        };
        let _program = Program::start(folder, name, arguments, &config);
        Running { peer: self, port, _program }
    }
}

impl Running {
    pub fn serial(&self, zone: &str) -> Option<u32> {
        let port = self.port.to_string();
        // It may not be there yet.
        let said = run("dig", &["@127.0.0.1", "-p", &port, "+short", "+tries=1", "+time=1", zone, "SOA"]).stdout;
        let soa = String::from_utf8(said).ok()?;
        soa.split_whitespace().nth(2)?.parse().ok()
    }

    /// The zone as it gives it.
    fn records(&self, zone: &str) -> Vec<String> {
        sorted(&succeed(
            "dig",
            &["@127.0.0.1", "-p", &self.port.to_string(), "+noall", "+answer", "+onesoa", zone, "AXFR"],
        ))
    }
}

/// The lines of a zone, without comments and with one space between fields.
pub fn sorted(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let mut lines: Vec<String> = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

fn nsd(port: u16, folder: &Path, primary: &Primary) -> String {
    let (folder, Primary { port: from, secret, .. }) = (folder.display(), primary);
    let refresh = if primary.tells { "" } else { "  max-refresh-time: 1\n  max-retry-time: 1\n" };
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  \
         database: \"\"\n  pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  xfrdir: \"{folder}\"\n  \
         zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  verbosity: 2\nremote-control:\n  control-enable: no\n\
         key:\n  name: \"{KEY}\"\n  algorithm: hmac-sha256\n  secret: \"{secret}\"\n"
    );
    for zone in ZONES {
        config += &format!(
            "zone:\n  name: \"{zone}\"\n  request-xfr: 127.0.0.1@{from} {KEY}\n  allow-notify: 127.0.0.1 {KEY}\n{refresh}  \
             provide-xfr: 127.0.0.1 NOKEY\n"
        );
    }
    config
}

fn knot(port: u16, folder: &Path, primary: &Primary) -> String {
    let (folder, Primary { port: from, secret, .. }) = (folder.display(), primary);
    let refresh = if primary.tells { "" } else { "    refresh-max-interval: 2\n    retry-max-interval: 2\n" };
    let mut config = format!(
        "server:\n  listen: 127.0.0.1@{port}\n  rundir: \"{folder}\"\n  udp-workers: 1\n  tcp-workers: 1\n  \
         background-workers: 1\ndatabase:\n  storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {secret}\n\
         remote:\n  - id: primary\n    address: 127.0.0.1@{from}\n    key: {KEY}\n\
         acl:\n  - id: anybody\n    address: 127.0.0.1\n    action: transfer\n  - id: primary\n    key: {KEY}\n    \
         action: notify\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    master: primary\n    acl: [anybody, primary]\n{refresh}\
         zone:\n"
    );
    for zone in ZONES {
        config += &format!("  - domain: \"{zone}\"\n");
    }
    config
}

fn bind(port: u16, folder: &Path, primary: &Primary, over_tls: bool) -> String {
    let (folder, secret) = (folder.display(), &primary.secret);
    let (from, tls) = if over_tls { (primary.tls_port, " tls ephemeral") } else { (primary.port, "") };
    let refresh = match primary.tells {
        true => "",
        false => "min-refresh-time 1; max-refresh-time 1; min-retry-time 1; max-retry-time 1;",
    };
    let mut config = format!(
        "options {{\n  directory \"{folder}\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  notify no;\n  \
         allow-transfer {{ any; }};\n  {refresh}\n}};\ncontrols {{ }};\n\
         key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n"
    );
    for zone in ZONES {
        config += &format!(
            "zone \"{zone}\" {{ type secondary; file \"{zone}\"; primaries {{ 127.0.0.1 port {from} key {KEY}{tls}; }}; }};\n"
        );
    }
    config
}

/// A house with two zones, of which one is large, and a secondary.
fn house(tls_port: u16) -> (House, String) {
    let house = House::empty();
    house.certificate("mail", &[HOST]);
    let made = house.danelaw(&["keys", "tsig", KEY]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(house.read(&format!("keys/{KEY}.key"))).unwrap();
    let secret = text.split("secret \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let config = format!(
        "tsig-keys = [\"keys/{KEY}.key\"]\nlisten-tls = [\"127.0.0.1:{tls_port}\"]\n{CONFIG}\n[tls]\nhost = \"{HOST}\"\n\
         [secondary.peers]\naddresses = [\"127.0.0.1\"]\nkey = \"{KEY}\"\n\
         [zone.\"{NSEC3}\"]\ndenial = \"nsec3\"\n"
    );
    house.put("danelaw.toml", config);
    (house, secret)
}

fn put_zones(house: &House, version: usize) {
    for zone in ZONES {
        let mut text = [HEAD, MX].concat();
        // Many messages of one, and a few of the other.
        let hosts = if zone == NSEC { 4000 } else { 200 };
        for host in 0..hosts {
            text += &format!("host{host}.rack{} A 192.0.2.{}\n", host / 50, host % 250);
        }
        for step in 0..version {
            text += &format!("new{step}.rack{step} A 192.0.2.9\nhost{step}.rack0 TXT \"version {version}\"\n");
        }
        text += "cut NS ns.cut\nns.cut A 192.0.2.3\nbelow.cut TXT \"occluded\"\n";
        house.put(&format!("zones/{zone}.zone"), text);
    }
}

/// A zone as danelaw gives it to whoever has the key.
fn served(daemon: &Daemon<'_>, zone: &str) -> Vec<String> {
    let file = daemon.house.path(&format!("keys/{KEY}.key"));
    let text = daemon.dig(&["-k", file.to_str().unwrap(), "+noall", "+answer", "+onesoa", zone, "AXFR"]);
    sorted(&text).into_iter().filter(|line| !line.contains(" TSIG ")).collect()
}

fn serial(daemon: &Daemon<'_>, zone: &str) -> u32 {
    daemon.dig(&["+short", zone, "SOA"]).split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Waits until the peers have what is served, and compares it record by record.
fn compare(daemon: &Daemon<'_>, peers: &[Running]) {
    for zone in ZONES {
        let serial = serial(daemon, zone);
        let records = served(daemon, zone);
        for peer in peers {
            wait_until(&format!("{:?} has {zone} {serial}", peer.peer), || peer.serial(zone) == Some(serial));
            let theirs = peer.records(zone);
            let unlike = || records.iter().filter(|line| !theirs.contains(line)).take(5).collect::<Vec<_>>();
            assert!(
                theirs == records,
                "{:?} {zone}: {} of {} records, lacks {:?}",
                peer.peer,
                theirs.len(),
                records.len(),
                unlike()
            );
        }
    }
}

fn transfers(daemon: &Daemon<'_>, what: &str) -> u64 {
    daemon.status()["statistics"]["transfers"][what].as_u64().unwrap()
}

#[test]
fn nsd_knot_and_bind_follow_every_change() {
    let tls_port = free_port();
    let (house, secret) = house(tls_port);
    put_zones(&house, 0);
    let daemon = house.start();
    let primary = Primary { port: daemon.address.port(), tls_port, secret, tells: false };
    wait_until("the certificate is shown", || !daemon.status()["presented"].is_null());
    let all = [Peer::Nsd, Peer::Knot, Peer::Bind, Peer::BindOverTls];
    let peers: Vec<Running> = all.into_iter().map(|peer| peer.start(&primary)).collect();
    compare(&daemon, &peers);
    let own = ZONES.len() as u64;
    assert_eq!(transfers(&daemon, "whole"), own + (peers.len() * ZONES.len()) as u64);
    for version in 1..4 {
        let before = ZONES.map(|zone| serial(&daemon, zone));
        put_zones(&house, version);
        wait_until("it is served", || ZONES.iter().zip(before).all(|(zone, before)| serial(&daemon, zone) != before));
        compare(&daemon, &peers);
    }
    // Those that compare them are whole.
    assert_eq!(transfers(&daemon, "whole"), 4 * own + (peers.len() * ZONES.len()) as u64, "{}", daemon.log());
    assert_eq!(transfers(&daemon, "differences"), 3 * (peers.len() * ZONES.len()) as u64);
    assert_eq!((transfers(&daemon, "broken-off"), transfers(&daemon, "refused")), (0, 0));
    for zone in ZONES {
        let dump = house.path("dump");
        std::fs::write(&dump, peers[0].records(zone).join("\n") + "\n").unwrap();
        succeed("dnssec-verify", &["-z", "-o", zone, dump.to_str().unwrap()]);
        succeed("ldns-verify-zone", &[dump.to_str().unwrap()]);
    }
    // What is remembered outlives a restart.
    let (address, before) = (daemon.address, ZONES.map(|zone| serial(&daemon, zone)));
    daemon.stop();
    let fixed = String::from_utf8(house.read("danelaw.toml")).unwrap().replace("127.0.0.1:0", &address.to_string());
    house.put("danelaw.toml", fixed);
    let daemon = house.start();
    assert_eq!(ZONES.map(|zone| serial(&daemon, zone)), before);
    let file = house.path(&format!("keys/{KEY}.key"));
    for zone in ZONES {
        let asked = format!("ixfr={}", serial(&daemon, zone) - 2);
        let said = daemon.dig(&["-k", file.to_str().unwrap(), zone, &asked]);
        assert_eq!(said.matches("\tSOA\t").count(), 4, "two differences as one: {said}");
    }
    put_zones(&house, 4);
    wait_until("it is served", || ZONES.iter().zip(before).all(|(zone, before)| serial(&daemon, zone) != before));
    compare(&daemon, &peers);
    assert_eq!((transfers(&daemon, "whole"), transfers(&daemon, "broken-off")), (own, 0));
}
