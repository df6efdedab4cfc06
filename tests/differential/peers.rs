//! NSD, Knot and BIND over the same signed zones, each on a port of its own, with as little of their own as they allow.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use danelaw::dns::text::print_rdata_generic;
use danelaw::dns::{Name, Rdata, Rtype};
use danelaw::zone::Published;

use super::common::free_port;
use super::common::program::Program;
use super::common::wire::{self, PLAIN};

/// Another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Nsd,
    Knot,
    Bind,
}

pub const PEERS: [Peer; 3] = [Peer::Nsd, Peer::Knot, Peer::Bind];

/// A peer that runs until this is dropped.
pub struct Running {
    pub peer: Peer,
    pub address: SocketAddr,
    program: Program,
}

impl Peer {
    /// Starts it, and waits until it answers for each zone.
    pub fn start(self, zones: &[Published]) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<String> = (0..zones.len()).map(|number| format!("{number}.zone")).collect();
        for (zone, file) in zones.iter().zip(&files) {
            std::fs::write(folder.path().join(file), zone_file(zone)).unwrap();
        }
        let served: Vec<(String, &String)> = zones.iter().map(|zone| zone.origin().to_string()).zip(&files).collect();
        let port = free_port();
        let config = match self {
            Peer::Nsd => nsd(port, folder.path(), &served),
            Peer::Knot => knot(port, folder.path(), &served),
            Peer::Bind => bind(port, folder.path(), &served),
        };
        let (name, arguments): (_, &[&str]) = match self {
            Peer::Nsd => ("nsd", &["-d", "-c"]),
            Peer::Knot => ("knotd", &["-c"]),
            Peer::Bind => ("named", &["-g", "-n", "1", "-c"]),
        };
        let program = Program::start(folder, name, arguments, &config);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut running = Running { peer: self, address, program };
        running.wait(zones);
        running
    }
}

impl Running {
    fn wait(&mut self, zones: &[Published]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for zone in zones {
            let probe = wire::query(zone.origin().as_wire(), 6, PLAIN);
            let answers = || wire::exchange(self.address, &probe, true).is_some_and(|answer| answer[3] & 15 == 0);
            while !answers() {
                let alive = self.program.is_running();
                assert!(alive && Instant::now() < deadline, "{:?} does not answer for {}", self.peer, zone.origin());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn nsd(port: u16, folder: &Path, zones: &[(String, &String)]) -> String {
    let folder = folder.display();
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  \
         database: \"\"\n  pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  \
         zonelistfile: \"{folder}/zone.list\"\n  ipv4-edns-size: 1232\n  minimal-responses: no\n  server-count: 1\n  \
         hide-version: yes\n  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no\n"
    );
    for (origin, file) in zones {
        config += &format!("zone:\n  name: \"{origin}\"\n  zonefile: {file}\n");
    }
    config
}

fn knot(port: u16, folder: &Path, zones: &[(String, &String)]) -> String {
    let folder = folder.display();
    let mut config = format!(
        "server:\n  listen: 127.0.0.1@{port}\n  rundir: \"{folder}\"\n  udp-max-payload: 1232\n  udp-workers: 1\n  \
         tcp-workers: 1\n  background-workers: 1\n  version: \"\"\n  identity: \"\"\n\
         database:\n  storage: \"{folder}\"\n\
         log:\n  - target: stderr\n    any: warning\n\
         template:\n  - id: default\n    storage: \"{folder}\"\n    zonefile-sync: -1\n    journal-content: none\n    \
         semantic-checks: off\nzone:\n"
    );
    for (origin, file) in zones {
        config += &format!("  - domain: \"{origin}\"\n    file: {file}\n");
    }
    config
}

fn bind(port: u16, folder: &Path, zones: &[(String, &String)]) -> String {
    let folder = folder.display();
    let mut config = format!(
        "options {{\n  directory \"{folder}\";\n  listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  empty-zones-enable no;\n  \
         minimal-responses no-auth;\n  minimal-any no;\n  answer-cookie no;\n  edns-udp-size 1232;\n  max-udp-size 1232;\n  \
         nocookie-udp-size 1232;\n  notify no;\n  version none;\n  hostname none;\n  server-id none;\n  \
         check-names primary ignore;\n  check-integrity no;\n  check-mx ignore;\n  check-mx-cname ignore;\n  \
         check-srv-cname ignore;\n  check-sibling no;\n  check-wildcard no;\n  check-dup-records ignore;\n  \
         check-spf ignore;\n}};\ncontrols {{ }};\n"
    );
    for (origin, file) in zones {
        config += &format!("zone \"{origin}\" {{ type primary; file \"{file}\"; }};\n");
    }
    config
}

/// The zone in a form that all of them read alike: types by number and RDATA in hexadecimal (RFC 3597 section 5), owners escaped.
fn zone_file(zone: &Published) -> String {
    let mut out = String::new();
    let mut line = |owner: &Name, ttl: u32, rtype: Rtype, rdata: &Rdata| {
        out += &format!("{}\t{ttl}\tIN\tTYPE{}\t{}\n", escaped(owner), rtype.0, print_rdata_generic(rdata));
    };
    for (owner, set) in zone.sets() {
        let rrset = &set.rrset;
        rrset.rdatas.iter().for_each(|rdata| line(&owner, rrset.ttl, rrset.rtype, rdata));
        set.rrsigs.iter().for_each(|rdata| line(&owner, rrset.ttl, Rtype::RRSIG, rdata));
    }
    out
}

fn escaped(name: &Name) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_*".contains(&octet);
    let escape = |octet: &u8| if plain(*octet) { char::from(*octet).to_string() } else { format!("\\{octet:03}") };
    name.labels().map(|label| label.iter().map(escape).collect::<String>() + ".").collect()
}
