//! The laboratory: a network of its own with everything between the root and a mail server, in which each domain has one fault, and
//! one has none. All domains begin whole, but for what never was; then all faults come at once.

pub mod above;
pub mod certificates;
pub mod domains;
pub mod faults;
pub mod readme;
pub mod records;
pub mod servers;
pub mod standins;
pub mod start;
pub mod survey;
pub mod told;
pub mod tools;
pub mod zones;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Output};
use std::time::Duration;

use danelaw::dns::Rtype;
use danelaw::keys::ZoneKey;

use self::standins::Twist;
use self::zones::{Second, Zone};
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
pub const STANDINS: [(&str, &str, Twist); 6] = [
    ("silent", "95.216.1.1", Twist::Silence),
    ("udp", "95.216.1.2", Twist::UdpAlone),
    ("tcp", "95.216.1.3", Twist::TcpAlone),
    ("garbage", "95.216.1.4", Twist::Garbage),
    ("old", "95.216.1.5", Twist::Not(Rtype::TLSA)),
    ("no-mx", "95.216.1.6", Twist::Not(Rtype::MX)),
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
        let (zones, key, anchor) = start::lay(folder.path());
        let mut namespace = start::network(folder.path(), &zones);
        start::stand_ins(&namespace, folder.path(), &zones);
        let gone = start::above(&mut namespace, folder.path());
        start::postfix(&mut namespace, folder.path(), &zones);
        let resolver = start::unbound_first(&namespace, folder.path(), &anchor);
        start::danelaw(&mut namespace, folder.path());
        let second = start::second(&namespace, folder.path(), &zones, false);
        start::knot(&mut namespace, folder.path(), &zones);
        let [second, gone, resolver] = [second, gone, resolver].map(Some);
        let laboratory = Laboratory { namespace, zones, folder, key, second, gone, resolver };
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
        let before = self.serials(DANELAW);
        let changed: Vec<&Zone> = self.zones.iter().filter(|zone| zone.later != zone.text).collect();
        changed.iter().for_each(|zone| start::put(self.folder.path(), zone, &zone.later));
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
        self.resolver = Some(start::unbound(&self.namespace, self.folder.path()));
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
        self.second = Some(start::second(&self.namespace, self.folder.path(), &self.zones, true));
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
        // Whom the web trusts here.
        let roots = self.folder.path().join("roots.pem");
        self.namespace.command(words[0]).args(&words[1..]).env("SSL_CERT_FILE", roots).output().unwrap()
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
