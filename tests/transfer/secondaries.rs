//! NSD, Knot and BIND take signed zones, whole and then by differences, and have what danelaw serves.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;

use super::common::program::Program;
use super::common::{free_port, name, run, succeed, wire};
use super::house::{CONFIG, Daemon, HEAD, HOST, House, MX, wait_until};
pub use super::kinds::KEY;

pub const NSEC: &str = "example.org";
pub const NSEC3: &str = "hashed.example";
pub const ZONES: [&str; 2] = [NSEC, NSEC3];
/// BIND's commands are signed with the key, too.
const RNDC_KEY: &str = "rndc.key";

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
    /// Where BIND takes commands.
    control: u16,
    pub program: Program,
}

impl Peer {
    fn start(self, primary: &Primary) -> Running {
        self.start_at(free_port(), primary)
    }

    pub fn start_at(self, port: u16, primary: &Primary) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let control = free_port();
        let config = match self {
            Peer::Nsd => nsd(port, folder.path(), primary),
            Peer::Knot => knot(port, folder.path(), primary),
            Peer::Bind => bind((port, control), folder.path(), primary, false),
            Peer::BindOverTls => bind((port, control), folder.path(), primary, true),
        };
        let (name, arguments): (_, &[&str]) = match self {
            Peer::Nsd => ("nsd", &["-d", "-c"]),
            Peer::Knot => ("knotd", &["-c"]),
            Peer::Bind | Peer::BindOverTls => ("named", &["-g", "-n", "1", "-c"]),
        };
        let program = Program::start(folder, name, arguments, &config);
        Running { peer: self, port, control, program }
    }
}

impl Running {
    /// The serial that it shows; none where it has no such zone yet.
    pub fn serial(&self, zone: &str) -> Option<u32> {
        serial_at(([127, 0, 0, 1], self.port).into(), zone)
    }

    /// Starts it again over what it has kept. BIND looks for what is new at its next refresh only, so it is asked to.
    pub fn start_again(&mut self) {
        self.program.start_again();
        if matches!(self.peer, Peer::Bind | Peer::BindOverTls) {
            for zone in ZONES {
                wait_until("BIND takes commands", || self.rndc("refresh", zone).status.success());
            }
        }
    }

    /// Has it take a zone whole, whatever it has of it.
    pub fn retransfer(&self, zone: &str) {
        let config = self.program.config().display().to_string();
        let said = match self.peer {
            Peer::Nsd => run("nsd-control", &["-c", &config, "force_transfer", zone]),
            Peer::Knot => run("knotc", &["-c", &config, "zone-retransfer", zone]),
            Peer::Bind | Peer::BindOverTls => self.rndc("retransfer", zone),
        };
        assert!(said.status.success(), "{said:?}");
    }

    fn rndc(&self, command: &str, zone: &str) -> Output {
        let (port, key) = (self.control.to_string(), self.program.folder().join(RNDC_KEY).display().to_string());
        run("rndc", &["-s", "127.0.0.1", "-p", &port, "-k", &key, "-y", KEY, command, zone])
    }

    /// The zone as it gives it.
    pub fn records(&self, zone: &str) -> Vec<String> {
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
         zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  zonefiles-write: 1\n  verbosity: 2\nremote-control:\n  control-enable: yes\n  \
         control-interface: \"{folder}/control\"\n\
         key:\n  name: \"{KEY}\"\n  algorithm: hmac-sha256\n  secret: \"{secret}\"\n"
    );
    for zone in ZONES {
        config += &format!(
            "zone:\n  name: \"{zone}\"\n  zonefile: \"{zone}\"\n  request-xfr: 127.0.0.1@{from} {KEY}\n  allow-notify: 127.0.0.1 {KEY}\n{refresh}  \
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

fn bind((port, control): (u16, u16), folder: &Path, primary: &Primary, over_tls: bool) -> String {
    let key = format!("key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{}\"; }};\n", primary.secret);
    std::fs::write(folder.join(RNDC_KEY), &key).unwrap();
    let folder = folder.display();
    let (from, tls) = if over_tls { (primary.tls_port, " tls ephemeral") } else { (primary.port, "") };
    let refresh = match primary.tells {
        true => "",
        false => "min-refresh-time 1; max-refresh-time 1; min-retry-time 1; max-retry-time 1;",
    };
    // BIND 9.18 that may try from another address, and has none, never asks again once the primary has not answered.
    let mut config = format!(
        "options {{\n  use-alt-transfer-source no;\n  directory \"{folder}\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  notify no;\n  \
         allow-transfer {{ any; }};\n  {refresh}\n}};\ncontrols {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }} keys {{ \"{KEY}\"; }}; }};\n{key}"
    );
    for zone in ZONES {
        config += &format!(
            "zone \"{zone}\" {{ type secondary; file \"{zone}\"; primaries {{ 127.0.0.1 port {from} key {KEY}{tls}; }}; }};\n"
        );
    }
    config
}

/// Makes the key; its secret.
pub fn key(house: &House) -> String {
    let made = house.danelaw(&["keys", "tsig", KEY]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(house.read(&format!("keys/{KEY}.key"))).unwrap();
    text.split("secret \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// A house with two zones, of which one is large, and a secondary.
pub fn house(tls_port: u16) -> (House, String) {
    let house = House::empty();
    house.certificate("mail", &[HOST]);
    let secret = key(&house);
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

pub fn serial(daemon: &Daemon<'_>, zone: &str) -> u32 {
    serial_at(daemon.address, zone).expect("an SOA")
}

fn serial_at(server: SocketAddr, zone: &str) -> Option<u32> {
    // A server limits what it sends by UDP.
    let said = wire::exchange(server, &wire::query(name(zone).as_wire(), 6, wire::TCP), true)?;
    let soa = wire::decode(&said).answer.into_iter().find(|record| record.rtype == 6)?;
    // Five numbers stand at its end.
    let (numbers, _) = soa.rdata.last_chunk::<20>()?.split_first_chunk()?;
    Some(u32::from_be_bytes(*numbers))
}

/// Waits until the peers have what is served, and compares it record by record. Gives the zones.
pub fn compare(daemon: &Daemon<'_>, peers: &[Running]) -> [Vec<String>; ZONES.len()] {
    ZONES.map(|zone| {
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
        records
    })
}

/// A program finds a zone's signatures and its chain right.
pub fn verify(house: &House, program: &str, arguments: &[&str], records: &[String]) {
    let dump = house.path("dump");
    std::fs::write(&dump, records.join("\n") + "\n").unwrap();
    succeed(program, &[arguments, &[dump.to_str().unwrap()]].concat());
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
        let records = peers[0].records(zone);
        verify(&house, "ldns-verify-zone", &[], &records);
        verify(&house, "dnssec-verify", &["-z", "-o", zone], &records);
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
