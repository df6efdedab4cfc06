//! The laboratory: a network of its own with everything between the root and a mail server, in which each domain has one fault, and
//! one has none. All domains begin whole, but for what never was; then all faults come at once.

pub mod above;
pub mod certificates;
pub mod domains;
pub mod faults;
pub mod records;
pub mod servers;
pub mod standins;
pub mod survey;
pub mod told;
pub mod tools;
pub mod zones;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;

use danelaw::dns::dnssec::Algorithm;
use danelaw::keys::ZoneKey;

use self::certificates::Certificates;
use self::standins::Twist;
use self::zones::{Mail, Second, Zone};
use crate::common::postfix;
use crate::house::{BINARY, wait_within};
use crate::namespace::{Namespace, said};

pub const DANELAW: &str = "46.4.5.53";
pub const NSD: &str = "88.198.6.53";
pub const KNOT: &str = "91.121.4.53";
pub const RESOLVER: &str = "62.1.7.1";
/// The servers of the root, of org, and of gone.
pub const ROOT: &str = "45.33.1.53";
pub const ORG: &str = "80.67.3.53";
pub const STALE: &str = "77.88.2.53";
pub const GONE: &str = "81.2.3.53";
/// Where most domains have their mail.
pub const MAIL: [&str; 2] = ["46.4.5.25", "2a01:4f8:5::25"];
/// Nameservers that are none.
pub const STANDINS: [(&str, &str, Twist); 5] = [
    ("silent", "95.216.1.1", Twist::Silence),
    ("udp", "95.216.1.2", Twist::UdpAlone),
    ("tcp", "95.216.1.3", Twist::TcpAlone),
    ("garbage", "95.216.1.4", Twist::Garbage),
    ("old", "95.216.1.5", Twist::NotTlsa),
];

/// What takes longer than this never happens.
const LONG: Duration = Duration::from_secs(60);

pub struct Laboratory {
    pub namespace: Namespace,
    pub zones: Vec<Zone>,
    pub folder: tempfile::TempDir,
    key: ZoneKey,
    second: Option<Child>,
    gone: Option<Child>,
    resolver: Option<Child>,
}

impl Laboratory {
    /// All of it runs, and every domain is as it should be.
    pub fn new() -> Laboratory {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let place = folder.path().join(name);
            fs::create_dir_all(&place).unwrap();
            place
        };
        let danelaw = place("danelaw");
        let (key, pem) = ZoneKey::generate(Algorithm::EcdsaP256Sha256).unwrap();
        lay_key(&place("danelaw/keys"), &pem);
        let certificates = Certificates::new(&place("danelaw/certs"), &place("presented"));
        let zones = domains::all(&key, &certificates);
        place("danelaw/zones");
        zones.iter().for_each(|zone| put(&danelaw, zone, &zone.text));

        let above = place("above");
        let anchor = above::write(&above, &zones, &key);
        let anchors = fs::read_to_string(&anchor).unwrap();
        let anchors: Vec<&str> = anchors.lines().collect();
        fs::write(danelaw.join("danelaw.toml"), servers::danelaw(&zones, &anchors)).unwrap();

        let resolv = folder.path().join("resolv.conf");
        fs::write(&resolv, format!("nameserver {RESOLVER}\noptions edns0 trust-ad\n")).unwrap();
        let mut namespace = Namespace::of_root(addresses(&zones), &resolv);
        for address in
            zones.iter().filter(|zone| matches!(zone.mail, Mail::Unreachable)).flat_map(|zone| &zone.addresses)
        {
            namespace.succeed("ip", &["route", "add", "unreachable", address]);
        }
        for (_, address, twist) in STANDINS {
            standins::nameserver(&namespace, address, DANELAW, twist);
        }
        for zone in &zones {
            if let Mail::Says(says) = zone.mail {
                standins::mail_server(&namespace, &parsed(&zone.addresses), says);
            }
        }
        for (name, address, origins) in [
            ("root", ROOT, &[(".", "root")][..]),
            ("org", ORG, &[("org", "org"), ("plain", "plain"), ("arpa", "arpa")]),
            ("stale", STALE, &[("org", "org.stale")]),
        ] {
            let config = lay_nsd(&place(name), &above, address, origins);
            namespace.start("nsd", &["-d", "-c", &config], &folder.path().join(name).join("log"), |_| true);
        }
        let gone = lay_nsd(&place("gone"), &above, GONE, &[("gone", "gone")]);
        let gone = namespace.spawn("nsd", &["-d", "-c", &gone], &folder.path().join("gone/log"), |_| true);

        let postfix_folder = place("postfix");
        let (main, services) = servers::postfix(&zones, &folder.path().join("presented"));
        postfix::lay(&postfix_folder, &main, &services);
        let etc = postfix_folder.join("etc").display().to_string();
        namespace.start("postfix", &["-c", &etc, "start-fg"], &postfix_folder.join("said"), |_| {
            postfix::log(&postfix_folder).contains("daemon started")
        });

        place("unbound");
        let unbound = servers::unbound(&folder.path().join("unbound"), &anchor);
        fs::write(folder.path().join("unbound/unbound.conf"), unbound).unwrap();
        let resolver = start_unbound(&namespace, folder.path());
        let (config, ready) = (danelaw.join("danelaw.toml").display().to_string(), danelaw.join("ready"));
        let arguments = ["--config", &config, "serve", "--ready-file", &ready.display().to_string()];
        namespace.start(BINARY, &arguments, &danelaw.join("log"), |_| ready.exists());

        let second = start_second(&namespace, &place("second"), &zones, false);
        let knot = place("knot");
        fs::write(knot.join("knot.conf"), servers::knot(&knot, &zones)).unwrap();
        let config = knot.join("knot.conf").display().to_string();
        namespace.start("knotd", &["-c", &config], &knot.join("log"), |_| true);
        let laboratory = Laboratory {
            namespace,
            zones,
            folder,
            key,
            second: Some(second),
            gone: Some(gone),
            resolver: Some(resolver),
        };
        laboratory.await_whole();
        laboratory
    }

    fn await_whole(&self) {
        wait_within(LONG, "every domain has TLSA", || {
            let served = self.served();
            let is_whole = self.zones.iter().all(|zone| !zone.publishes || !served[zone.label].is_empty());
            if !is_whole {
                // What was asked too early is asked again.
                self.danelaw(&["reload"]);
                std::thread::sleep(Duration::from_millis(500));
            }
            is_whole.then_some(())
        });
        self.await_secondaries(false);
    }

    /// All faults come.
    pub fn spoil(&mut self) {
        let danelaw = self.folder.path().join("danelaw");
        let before = self.serials(DANELAW);
        let changed: Vec<&Zone> = self.zones.iter().filter(|zone| zone.later != zone.text).collect();
        changed.iter().for_each(|zone| put(&danelaw, zone, &zone.later));
        self.danelaw(&["reload"]);
        wait_within(LONG, "danelaw serves what has changed", || {
            let now = self.serials(DANELAW);
            changed.iter().all(|zone| now[zone.label] != before[zone.label]).then_some(())
        });

        self.await_secondaries(false);
        self.spoil_second();
        above::spoil(&self.folder.path().join("above"), &self.zones, &self.key);
        for name in ["org", "stale"] {
            let config = self.folder.path().join(name).join("nsd.conf").display().to_string();
            self.namespace.succeed("nsd-control", &["-c", &config, "reload"]);
        }
        for server in [ORG, STALE] {
            wait_within(LONG, "org is another", || (self.serial(server, "org") == Some(2)).then_some(()));
        }
        end(&mut self.gone);
        self.stop_resolver();
        self.resolver = Some(start_unbound(&self.namespace, self.folder.path()));
        self.await_secondaries(true);
    }

    /// NSD has other versions of some zones from now on; of the others it has what it had.
    fn spoil_second(&mut self) {
        let (serials, served) = (self.serials(DANELAW), self.served());
        let place = self.folder.path().join("second");
        for zone in self.zones.iter().filter(|zone| !matches!(zone.second, Second::Follows | Second::Nothing)) {
            let copy = zone.copy(&self.key, serials[zone.label].unwrap(), &served[zone.label][0]);
            fs::write(place.join(format!("{}.copy", zone.name())), copy).unwrap();
        }
        let config = place.join("nsd.conf").display().to_string();
        self.namespace.succeed("nsd-control", &["-c", &config, "write"]);
        wait_within(LONG, "NSD has written its zones", || {
            self.zones.iter().all(|zone| place.join(zone.name()).exists()).then_some(())
        });
        end(&mut self.second);
        self.second = Some(start_second(&self.namespace, &place, &self.zones, true));
    }

    /// NSD and Knot have what danelaw has, but for what NSD is to have of its own at last.
    fn await_secondaries(&self, is_spoilt: bool) {
        let first = self.serials(DANELAW);
        for server in [NSD, KNOT] {
            wait_within(LONG, "the secondaries follow", || {
                let theirs = self.serials(server);
                let follows = |zone: &&Zone| !is_spoilt || server == KNOT || zone.second == Second::Follows;
                let late = self.zones.iter().filter(follows).find(|zone| theirs[zone.label] != first[zone.label]);
                late.is_none().then_some(())
            });
        }
    }

    pub fn stop_resolver(&mut self) {
        end(&mut self.resolver);
    }

    /// The TLSA RDATA of each domain's mail host that danelaw serves, by the domain's label.
    pub fn served(&self) -> BTreeMap<&'static str, Vec<String>> {
        let owners: Vec<String> = self.zones.iter().map(Zone::tlsa).collect();
        let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
        let answers = self.ask_each(DANELAW, &owners, "TLSA");
        let read = |(zone, answer): (&Zone, String)| {
            let mut lines: Vec<String> = answer.lines().map(rdata).collect();
            lines.sort();
            (zone.label, lines)
        };
        self.zones.iter().zip(answers).map(read).collect()
    }

    /// The serial of each domain's zone at a server, by the domain's label.
    pub fn serials(&self, server: &str) -> BTreeMap<&'static str, Option<u32>> {
        let names: Vec<String> = self.zones.iter().map(Zone::name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let answers = self.ask_each(server, &names, "SOA");
        let read = |answer: String| rdata(answer.lines().next()?).split(' ').nth(2)?.parse().ok();
        self.zones.iter().map(|zone| zone.label).zip(answers.into_iter().map(read)).collect()
    }

    fn serial(&self, server: &str, name: &str) -> Option<u32> {
        let answer = self.ask_each(server, &[name], "SOA").remove(0);
        rdata(answer.lines().next()?).split(' ').nth(2)?.parse().ok()
    }

    /// The answers to a question of each name, in one run of dig.
    fn ask_each(&self, server: &str, names: &[&str], rtype: &str) -> Vec<String> {
        let server = format!("@{server}");
        let mut arguments: Vec<&str> = Vec::new();
        for name in names {
            arguments.extend([
                server.as_str(),
                name,
                rtype,
                "+norecurse",
                "+noall",
                "+answer",
                "+comments",
                "+tries=2",
                "+time=1",
            ]);
        }
        let said = self.namespace.ask("dig", &arguments);
        let answers: Vec<String> = said
            .split(";; Got answer:")
            .skip(1)
            .map(|answer| {
                let lines = answer.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
                lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
            })
            .collect();
        assert_eq!(answers.len(), names.len(), "{said}");
        answers
    }

    /// A command, to danelaw.
    pub fn danelaw(&self, arguments: &[&str]) -> String {
        said(&self.command(&[], arguments))
    }

    /// A command in the laboratory's network; `before`: by which program, if any.
    pub fn command(&self, before: &[&str], arguments: &[&str]) -> Output {
        let config = self.folder.path().join("danelaw/danelaw.toml").display().to_string();
        let words = [before, &[BINARY, "--config", &config], arguments].concat();
        self.namespace.command(words[0]).args(&words[1..]).output().unwrap()
    }

    pub fn zone(&self, label: &str) -> &Zone {
        self.zones.iter().find(|zone| zone.label == label).unwrap()
    }
}

impl Drop for Laboratory {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the laboratory's files: {}", self.folder.path().display());
        }
        for child in [&mut self.second, &mut self.gone, &mut self.resolver] {
            end(child);
        }
    }
}

/// The RDATA of a record: what follows owner, TTL, class and type.
fn rdata(line: &str) -> String {
    line.splitn(5, ' ').nth(4).unwrap_or_default().to_owned()
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let group = format!("-{}", child.id());
        // Who is dead already has nothing left to stop.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
        let _ = child.wait();
    }
}

fn parsed(addresses: &[String; 2]) -> [IpAddr; 2] {
    addresses.each_ref().map(|address| address.parse().unwrap())
}

fn addresses(zones: &[Zone]) -> Vec<IpAddr> {
    let fixed = [DANELAW, NSD, KNOT, RESOLVER, ROOT, ORG, STALE, GONE, MAIL[0], MAIL[1]];
    let fixed = fixed.into_iter().chain(STANDINS.iter().map(|(_, address, _)| *address));
    let mut addresses: Vec<IpAddr> = fixed.map(|address| address.parse().unwrap()).collect();
    let own = zones.iter().filter(|zone| !matches!(zone.mail, Mail::Shared | Mail::Unreachable));
    addresses.extend(own.flat_map(|zone| parsed(&zone.addresses)));
    addresses
}

fn put(danelaw: &Path, zone: &Zone, text: &str) {
    fs::write(danelaw.join(format!("zones/{}.zone", zone.name())), text).unwrap();
}

fn lay_key(folder: &Path, pem: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("shared.pem");
    fs::write(&path, pem).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
}

/// An NSD with zones by files of another folder; gives its configuration.
fn lay_nsd(folder: &Path, files: &Path, address: &str, origins: &[(&str, &str)]) -> String {
    let zones = origins
        .iter()
        .map(|(origin, file)| format!("  name: \"{origin}\"\n  zonefile: \"{}\"\n", files.join(file).display()));
    let config: PathBuf = folder.join("nsd.conf");
    fs::write(&config, crate::servers::nsd(folder, address, &zones.collect::<Vec<_>>().join("zone:\n"))).unwrap();
    config.display().to_string()
}

fn start_second(namespace: &Namespace, folder: &Path, zones: &[Zone], are_copied: bool) -> Child {
    let config = folder.join("nsd.conf");
    fs::write(&config, crate::servers::nsd(folder, NSD, &servers::second(zones, are_copied))).unwrap();
    namespace.spawn("nsd", &["-d", "-c", &config.display().to_string()], &folder.join("log"), |_| true)
}

fn start_unbound(namespace: &Namespace, folder: &Path) -> Child {
    let config = folder.join("unbound/unbound.conf").display().to_string();
    namespace.spawn("unbound", &["-d", "-c", &config], &folder.join("unbound/log"), |namespace| {
        let question = [&format!("@{RESOLVER}"), "+tries=1", "+time=1", "+noall", "+comments", "org", "SOA"];
        namespace.ask("dig", &question).contains(" ad;")
    })
}
