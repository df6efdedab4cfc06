//! The servers: NSD has the zones above, danelaw those below, unbound is the way from the one to the other.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::common::{sign_again, sign_elsewhere};
use super::house::{BINARY, DKIM};
use super::namespace::{Namespace, said};
use super::servers;

const DANELAW: &str = "46.4.5.53";
const MAIL: &str = "46.4.5.25";
const RESOLVER: &str = "62.1.7.1";
const ABOVE: &str = "80.67.3.53";
/// How long a loss has to last, in seconds.
pub const HOLD: u64 = 2;

/// The zones below that no validator trusts.
pub const FAULTY: [&str; 5] = ["missing.org", "unknown.org", "digest.org", "algorithm.org", "below.plain.org"];

pub struct World {
    namespace: Namespace,
    folder: tempfile::TempDir,
    resolver: Option<Child>,
    /// Of the zone above.
    serial: u32,
    _daemon: Child,
}

fn all() -> impl Iterator<Item = &'static str> {
    std::iter::once("good.org").chain(FAULTY)
}

impl World {
    pub fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let place = folder.path().join(name);
            fs::create_dir(&place).unwrap();
            place
        };
        let (danelaw, above) = (place("danelaw"), place("above"));
        place("unbound");
        let addresses = [DANELAW, MAIL, RESOLVER, ABOVE].map(|address| address.parse().unwrap());
        let mut namespace = Namespace::with(addresses);
        lay_danelaw(&danelaw);
        let ds = |zone: &str| danelaw_said(&danelaw, &["ds", zone]);
        // Tag, algorithm, digest type, digest.
        let with = |zone: &str, at: usize, word: &str| {
            let line = ds(zone);
            let mut words: Vec<&str> = line.split_whitespace().collect();
            let place = words.iter().position(|word| *word == "DS").unwrap() + 1 + at;
            words[place] = word;
            words.join(" ") + "\n"
        };
        let delegated = [
            ds("good.org"),
            with("unknown.org", 0, "4711"),
            with("digest.org", 3, &"5A".repeat(32)),
            with("algorithm.org", 2, "200"),
        ];
        let anchor = write_above(&above, &delegated);
        let below = format!(
            "$TTL 5\n@ SOA ns hostmaster 1 1h 5m 1d 5\n@ NS ns\nns A {ABOVE}\nbelow NS ns.good.org.\n{}",
            ds("below.plain.org")
        );
        fs::write(above.join("plain"), below).unwrap();
        let anchors = fs::read_to_string(&anchor).unwrap();
        let anchors: Vec<&str> = anchors.lines().collect();
        let config = danelaw.join("danelaw.toml");
        let outside = format!("[outside]\nresolver = [\"{RESOLVER}\"]\nanchors = {anchors:?}\n");
        fs::write(&config, fs::read_to_string(&config).unwrap() + &outside).unwrap();

        let zones = "  name: org\n  zonefile: zone\nzone:\n  name: plain.org\n  zonefile: plain\n";
        fs::write(above.join("nsd.conf"), servers::nsd(&above, ABOVE, zones)).unwrap();
        let nsd = above.join("nsd.conf").display().to_string();
        namespace.start("nsd", &["-d", "-c", &nsd], &above.join("log"), |namespace| {
            namespace.ask("dig", &[&format!("@{ABOVE}"), "+tries=1", "+time=1", "org", "SOA"]).contains("hostmaster")
        });
        let unbound = folder.path().join("unbound/unbound.conf");
        fs::write(unbound, servers::unbound(RESOLVER, ("org", ABOVE), &anchor)).unwrap();
        let ready = danelaw.join("ready");
        let (config, flag) = (config.display().to_string(), ready.display().to_string());
        let arguments = ["--config", &config, "serve", "--ready-file", &flag];
        let resolver = start_unbound(&namespace, folder.path());
        let daemon = namespace.spawn(BINARY, &arguments, &danelaw.join("log"), |_| ready.exists());
        World { namespace, folder, resolver: Some(resolver), serial: 1, _daemon: daemon }
    }

    /// How danelaw sees a zone from outside.
    pub fn outside(&self, zone: &str) -> serde_json::Value {
        let said = self.danelaw(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let zones = status["zones"].as_array().unwrap();
        zones.iter().find(|one| one["zone"] == format!("{zone}.")).unwrap()["outside"].clone()
    }

    /// Whether a zone's mail host has TLSA.
    pub fn is_served(&self, zone: &str) -> bool {
        let owner = format!("_25._tcp.mail.{zone}");
        self.namespace.ask("dig", &[&format!("@{DANELAW}"), "+short", &owner, "TLSA"]).starts_with("3 1 1 ")
    }

    /// The DS that a registrar is to be given.
    pub fn ds(&self, zone: &str) -> String {
        danelaw_said(&self.folder.path().join("danelaw"), &["ds", zone])
    }

    pub fn danelaw(&self, arguments: &[&str]) -> String {
        let config = self.folder.path().join("danelaw/danelaw.toml");
        said(&Command::new(BINARY).arg("--config").arg(config).args(arguments).output().unwrap())
    }

    /// The zone above has the DS of these zones from now on, and validators hold nothing older.
    pub fn delegate(&mut self, zones: &[&str]) {
        let above = self.folder.path().join("above");
        let ds: Vec<String> = zones.iter().map(|zone| self.ds(zone)).collect();
        self.serial += 1;
        let (signed, _) = sign_again("org", &above_text(self.serial, &ds), &above);
        fs::write(above.join("zone"), signed).unwrap();
        let config = above.join("nsd.conf").display().to_string();
        self.namespace.succeed("nsd-control", &["-c", &config, "reload"]);
        if self.resolver.is_some() {
            self.stop_resolver();
            self.start_resolver();
        }
    }

    pub fn stop_resolver(&mut self) {
        let mut resolver = self.resolver.take().unwrap();
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", resolver.id())]).output();
        let _ = resolver.wait();
    }

    pub fn start_resolver(&mut self) {
        self.resolver = Some(start_unbound(&self.namespace, self.folder.path()));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("danelaw/log")).unwrap_or_default());
            eprintln!("{}", self.danelaw(&["status"]));
            all().for_each(|zone| eprintln!("{zone}: {}", self.outside(zone)));
        }
    }
}

fn start_unbound(namespace: &Namespace, folder: &Path) -> Child {
    let folder = folder.join("unbound");
    let config = folder.join("unbound.conf").display().to_string();
    namespace.spawn("unbound", &["-d", "-c", &config], &folder.join("log"), |namespace| {
        let question = [&format!("@{RESOLVER}"), "+tries=1", "+time=1", "+noall", "+comments", "org", "SOA"];
        namespace.ask("dig", &question).contains(" ad;")
    })
}

fn danelaw_said(folder: &Path, arguments: &[&str]) -> String {
    let config = folder.join("danelaw.toml");
    let output = Command::new(BINARY).arg("--config").arg(config).args(arguments).output().unwrap();
    assert!(output.status.success(), "danelaw {arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn lay_danelaw(folder: &Path) {
    for name in ["zones", "certs"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let config = format!(
        "listen = [\"{DANELAW}:53\"]\naddresses = [\"{MAIL}\"]\n[dane]\nttl = 60\ndnssec = \"parent\"\n\
         mail-service = \"declared\"\nhold = \"{HOLD}s\"\n[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n"
    );
    fs::write(folder.join("danelaw.toml"), config).unwrap();
    for zone in all() {
        let text = format!(
            "$TTL 5\n@ SOA ns.good.org. hostmaster 1 1h 5m 1d 5\n@ NS ns.good.org.\n@ MX 10 mail\nmail A {MAIL}\n\
             ns A {DANELAW}\n{DKIM}"
        );
        fs::write(folder.join(format!("zones/{zone}.zone")), text).unwrap();
        let made = rcgen::generate_simple_self_signed([format!("mail.{zone}")]).unwrap();
        fs::write(folder.join(format!("certs/{zone}.key")), made.signing_key.serialize_pem()).unwrap();
        fs::write(folder.join(format!("certs/{zone}.pem")), made.cert.pem()).unwrap();
        danelaw_said(folder, &["keys", "generate", zone]);
    }
}

/// The zone above, unsigned.
fn above_text(serial: u32, ds: &[String]) -> String {
    let mut text = format!(
        "$TTL 5\n@ SOA ns hostmaster {serial} 1h 5m 1d 5\n@ NS ns\nns A {ABOVE}\nplain NS ns\nns.good A {DANELAW}\n"
    );
    for zone in all().filter(|zone| !zone.contains("plain")) {
        let _ = writeln!(text, "{zone}. NS ns.good.org.");
    }
    text + &ds.concat()
}

/// Signs it for the first time; gives the file with its DNSKEY records, which validators trust.
fn write_above(folder: &Path, ds: &[String]) -> PathBuf {
    let (signed, _) = sign_elsewhere("org", &above_text(1, ds), folder);
    let lines = signed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let keys = lines
        .filter(|line| line.contains(" IN DNSKEY "))
        .map(|line| line.split(" ;").next().unwrap().to_owned() + "\n");
    let keys: String = keys.collect();
    let path = folder.join("anchor");
    fs::write(&path, keys).unwrap();
    fs::write(folder.join("zone"), signed).unwrap();
    path
}
