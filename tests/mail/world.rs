//! A mail domain and all that a mail to it goes through, in a network of its own: the zone above, danelaw and a secondary of another
//! make, a resolver that validates and caches, a Postfix that receives and one that sends; where certificates are ordered a CA, too, and
//! a mailbox of the operator's elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::Duration;

use super::certificates::{Made, issued, pem};
use super::common::{postfix, sign_elsewhere, succeed};
use super::house::{BINARY, DKIM, HOST, TLSA, ZONE, wait_within};
use super::namespace::{Namespace, said};
use super::pebble::{Options, Pebble};
use super::servers;
use super::tlsa::{Chain, Record, has};

/// danelaw and its secondary.
pub const FIRST: &str = "46.4.5.53";
pub const SECOND: &str = "88.198.6.53";
pub const RESOLVER: &str = "62.1.7.1";
/// Where the mail server is.
const MAIL: [&str; 2] = ["46.4.5.25", "2a01:4f8:5::25"];
/// The zone above, and its server.
const ABOVE: (&str, &str) = ("org", "80.67.3.53");
/// Where the sending Postfix takes what it is to send.
pub const INJECTION: &str = "127.0.0.1:2525";
/// Where mail to the operator is taken.
const ELSEWHERE: &str = "127.0.0.1:2526";

/// The TTL of the TLSA records, in seconds.
pub const TTL: u64 = 10;
/// What takes longer than this never happens.
const LONG: Duration = Duration::from_secs(90);

/// In what worlds differ.
#[derive(Clone, Copy)]
pub struct Setting {
    /// Postfix reads what danelaw installs, not what an ACME client writes.
    pub staged: bool,
    /// The secondary is told of changes.
    pub told: bool,
    /// danelaw orders the certificate, which lives so many seconds, and tells the operator by mail.
    pub ordered: Option<u64>,
}

pub struct World {
    pub namespace: Namespace,
    pub setting: Setting,
    pub folder: tempfile::TempDir,
    daemon: Mutex<Child>,
    /// The CA, which asks the secondary for proofs.
    _pebble: Option<Pebble>,
}

/// What a server of names has of the mail server.
#[derive(Debug)]
pub struct Answer {
    /// It was validated.
    pub authentic: bool,
    /// How long it may still be held, in seconds.
    pub ttl: u64,
    pub records: BTreeSet<Record>,
}

impl World {
    /// All of it runs, and a certificate with its records is known everywhere.
    pub fn new(setting: Setting) -> (World, Made) {
        let first = issued();
        let world = World::start(setting, Some(&first));
        world.await_known(&world.chain(&first));
        (world, first)
    }

    /// The same with the certificate that danelaw has ordered first, which is presented.
    pub fn ordering(setting: Setting) -> (World, Chain) {
        let world = World::start(setting, None);
        let first = wait_within(LONG, "the first certificate is presented", || world.presented_everywhere());
        world.await_known(&first);
        (world, first)
    }

    fn start(setting: Setting, first: Option<&Made>) -> World {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let place = folder.path().join(name);
            fs::create_dir(&place).unwrap();
            place
        };
        let resolver = folder.path().join("resolv.conf");
        fs::write(&resolver, format!("nameserver {RESOLVER}\n")).unwrap();
        let addresses = [FIRST, SECOND, RESOLVER, MAIL[0], MAIL[1], ABOVE.1].map(|address| address.parse().unwrap());
        let mut namespace = Namespace::of_root(addresses, &resolver);

        let ask = SocketAddr::new(SECOND.parse().unwrap(), 53);
        let pebble = setting
            .ordered
            .map(|life| namespace.within(|| Pebble::start(ask, &Options { life, ..Options::default() })));
        let danelaw = place("danelaw");
        let ds = lay_danelaw(&danelaw, &folder.path().join("receiver/etc"), setting, pebble.as_ref());
        let anchor = start_above(&mut namespace, &place("above"), &ds);
        let deployed = danelaw.join("deployed").join(HOST);
        let chain_files = match setting.staged {
            true => deployed.join("combined.pem").display().to_string(),
            false => [source(&danelaw, "privkey.pem"), source(&danelaw, "fullchain.pem")].join(", "),
        };
        let (main, services) = servers::receiver(MAIL.map(smtp), &chain_files);
        start_postfix(&mut namespace, &place("receiver"), &main, &services);
        let (main, services) = servers::sender(INJECTION.parse().unwrap());
        start_postfix(&mut namespace, &place("sender"), &main, &services);
        if pebble.is_some() {
            start_sink(&mut namespace, &place("operator"));
        }

        first.into_iter().for_each(|first| drop_in(&danelaw, first));
        let daemon = Mutex::new(start_danelaw(&namespace, &danelaw));
        start_second(&mut namespace, &place("second"));
        start_unbound(&mut namespace, &place("unbound"), &anchor);
        World { namespace, setting, folder, daemon, _pebble: pebble }
    }

    fn await_known(&self, chain: &Chain) {
        wait_within(LONG, "the first records are known everywhere", || {
            let known = [FIRST, SECOND, RESOLVER]
                .iter()
                .all(|server| self.ask(server).is_ok_and(|answer| has(&answer.records, chain)));
            // Who is not told looks when the SOA says so.
            (!self.setting.told).then(|| self.transfer());
            known.then_some(())
        });
        assert!(self.ask(RESOLVER).unwrap().authentic);
    }

    /// The domain's MX host by its addresses.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        MAIL.map(smtp)
    }

    /// A chain as it is presented.
    pub fn chain(&self, made: &Made) -> Chain {
        made.chain.iter().map(|certificate| certificate.to_vec()).collect()
    }

    /// Another certificate comes into the source, as ACME clients write it.
    pub fn drop_in(&self, made: &Made) {
        drop_in(&self.folder.path().join("danelaw"), made);
    }

    /// What a server of names has.
    pub fn ask(&self, server: &str) -> Result<Answer, String> {
        let server = format!("@{server}");
        let said = self
            .namespace
            .ask("dig", &[&server, "+tries=1", "+time=5", "+noall", "+comments", "+answer", TLSA, "TLSA"]);
        if !said.contains("status: NOERROR") {
            return Err(said);
        }
        let lines = said.lines().filter_map(|line| line.split_once("IN\tTLSA\t"));
        let read = |(before, rdata): (&str, &str)| {
            Some((before.split_whitespace().nth(1)?.parse().ok()?, Record::parse(rdata)?))
        };
        let records: Option<Vec<(u64, Record)>> = lines.map(read).collect();
        let records = records.ok_or_else(|| said.clone())?;
        let flags = said.split("flags:").nth(1).and_then(|after| after.split(';').next()).unwrap_or_default();
        Ok(Answer {
            authentic: flags.split(' ').any(|flag| flag == "ad"),
            ttl: records.iter().map(|(ttl, _)| *ttl).min().unwrap_or(0),
            records: records.into_iter().map(|(_, record)| record).collect(),
        })
    }

    /// What the mail server presents at an address.
    pub fn presented(&self, address: SocketAddr) -> Result<Chain, String> {
        let address = address.to_string();
        let how =
            ["10", "openssl", "s_client", "-starttls", "smtp", "-showcerts", "-servername", HOST, "-connect", &address];
        let said = self.namespace.ask("timeout", &how);
        let blocks =
            said.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|block| block.split("-----END").next());
        let decoded: Result<Chain, _> = blocks
            .map(|block| data_encoding::BASE64.decode(block.split_whitespace().collect::<String>().as_bytes()))
            .collect();
        decoded.ok().filter(|chain| !chain.is_empty()).ok_or(said)
    }

    /// What the mail server presents at every address; none: not everywhere the same.
    pub fn presented_everywhere(&self) -> Option<Chain> {
        let [one, other] = self.addresses().map(|address| self.presented(address).ok());
        one.filter(|one| other.as_ref() == Some(one))
    }

    /// The mails that the operator has got, in no order.
    pub fn mails(&self) -> Vec<String> {
        let files = fs::read_dir(self.folder.path().join("operator")).unwrap();
        let mails = files.map(|file| file.unwrap().path()).filter(|path| path.is_file() && !path.ends_with("log"));
        mails.map(|path| fs::read_to_string(path).unwrap().replace("\r\n", "\n")).collect()
    }

    /// The secondary looks whether there is something new.
    pub fn transfer(&self) {
        let config = self.folder.path().join("second/nsd.conf");
        self.namespace.succeed("nsd-control", &["-c", config.to_str().unwrap(), "transfer", ZONE]);
    }

    /// danelaw's serial; none while it doesn't run.
    pub fn serial(&self) -> Option<u32> {
        let server = format!("@{FIRST}");
        let said = self.namespace.ask("dig", &[&server, "+tries=1", "+time=1", "+short", ZONE, "SOA"]);
        said.split_whitespace().nth(2)?.parse().ok()
    }

    /// A command, to danelaw.
    pub fn danelaw(&self, arguments: &[&str]) -> String {
        let config = self.folder.path().join("danelaw/danelaw.toml");
        said(&Command::new(BINARY).arg("--config").arg(config).args(arguments).output().unwrap())
    }

    /// What danelaw has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("danelaw/log")).unwrap_or_default()
    }

    /// In which phase the rollover is.
    pub fn phase(&self) -> String {
        let said = self.danelaw(&["rollover", "status", HOST, "--json"]);
        let report: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        report[0]["phase"].as_str().unwrap().to_owned()
    }

    /// As by a power cut.
    pub fn kill_danelaw(&self) {
        let mut daemon = self.daemon.lock().unwrap();
        kill(&mut daemon);
    }

    pub fn start_danelaw(&self) {
        *self.daemon.lock().unwrap() = start_danelaw(&self.namespace, &self.folder.path().join("danelaw"));
    }

    /// The receiving Postfix reads its configuration and certificates again.
    pub fn reload_postfix(&self) {
        let etc = self.folder.path().join("receiver/etc");
        self.namespace.succeed("postfix", &["-c", etc.to_str().unwrap(), "reload"]);
    }

    /// What the sending Postfix has logged.
    pub fn sent(&self) -> String {
        postfix::log(&self.folder.path().join("sender"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tell = |what: &str, lines: &[&str]| {
                eprintln!("--- {what} ---\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            };
            for postfix in ["sender", "receiver"] {
                let log = postfix::log(&self.folder.path().join(postfix));
                let words =
                    ["deferred", "bounced", "Untrusted", "verif", "warning", "error", "fatal", "panic", "reload"];
                let lines = log.lines().filter(|line| words.iter().any(|word| line.contains(word)));
                tell(postfix, &lines.collect::<Vec<_>>());
            }
            tell("danelaw", &self.log().lines().collect::<Vec<_>>());
            tell("danelaw log", &self.danelaw(&["log", HOST]).lines().collect::<Vec<_>>());
            tell("danelaw rollover status", &self.danelaw(&["rollover", "status", HOST]).lines().collect::<Vec<_>>());
        }
        kill(&mut self.daemon.lock().unwrap());
    }
}

fn kill(daemon: &mut Child) {
    let group = format!("-{}", daemon.id());
    // Who is dead already has nothing left to stop.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
    let _ = daemon.wait();
}

fn smtp(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 25)
}

fn source(danelaw: &Path, file: &str) -> String {
    danelaw.join("certs").join(HOST).join(file).display().to_string()
}

/// Each file by a rename, the key first.
fn drop_in(danelaw: &Path, made: &Made) {
    for (name, text) in [("privkey.pem", made.key.serialize_pem()), ("fullchain.pem", pem(&made.chain))] {
        let path = source(danelaw, name);
        let fresh = format!("{path}.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, path).unwrap();
    }
}

/// Gives the DS of the zone.
fn lay_danelaw(folder: &Path, postfix: &Path, setting: Setting, pebble: Option<&Pebble>) -> String {
    fs::create_dir(folder.join("zones")).unwrap();
    fs::create_dir_all(folder.join("certs").join(HOST)).unwrap();
    let zone = format!(
        "$TTL 1h\n@ SOA ns1 hostmaster 1 1h 5m 1d 5\n@ NS ns1\n@ NS ns2\nns1 A {FIRST}\nns2 A {SECOND}\n\
         @ MX 10 mail\nmail A {}\nmail AAAA {}\n@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n{DKIM}",
        MAIL[0], MAIL[1]
    );
    fs::write(folder.join(format!("zones/{ZONE}.zone")), zone).unwrap();
    // Nobody who only observes is asked by the mail servers' probes.
    let (mode, service) = if setting.staged { ("staged", "probed") } else { ("observed", "declared") };
    let dropped = format!("[[certificates]]\npath = \"certs\"\nmode = \"{mode}\"\n");
    // The issuer's record can't be out before who issues it is known.
    let (parameters, certificates) = match pebble {
        Some(pebble) => ("[\"3 1 1\"]", ordered(pebble)),
        None => ("[\"3 1 1\", \"2 1 1\"]", dropped),
    };
    let config = format!(
        "listen = [\"{FIRST}:53\"]\naddresses = {MAIL:?}\n[dane]\nttl = {TTL}\nconfirmation-interval = \"5s\"\ndnssec = \"zone\"\n\
         mail-service = \"{service}\"\nparameters = {parameters}\n{certificates}\
         [rollover]\ninstall-hook = [\"postfix\", \"-c\", \"{}\", \"reload\"]\n\
         [secondary.\"ns2.{ZONE}\"]\naddresses = [\"{SECOND}\"]\nnotify = {}\n",
        postfix.display(),
        setting.told
    );
    let path = folder.join("danelaw.toml");
    fs::write(&path, config).unwrap();
    let danelaw = |arguments: &[&str]| {
        let output = Command::new(BINARY).arg("--config").arg(&path).args(arguments).output().unwrap();
        assert!(output.status.success(), "danelaw {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    danelaw(&["keys", "generate", ZONE]);
    danelaw(&["ds", ZONE])
}

/// What danelaw orders, and whom it tells.
fn ordered(pebble: &Pebble) -> String {
    format!(
        "[acme]\ndirectory = \"{}\"\nagree-to-terms = true\nca-file = \"{}\"\n[[certificate]]\nhost = \"{HOST}\"\n\
         names = [\"{ZONE}\"]\n[messages]\nto = [\"operator@elsewhere.example\"]\nfrom = \"danelaw@provider.example\"\n\
         smarthost = \"{ELSEWHERE}\"\ntls = \"none\"\ngather = \"1s\"\npause = \"1s\"\n",
        pebble.directory(),
        pebble.trusted().display()
    )
}

fn start_danelaw(namespace: &Namespace, folder: &Path) -> Child {
    let ready = folder.join("ready");
    let _ = fs::remove_file(&ready);
    let config = folder.join("danelaw.toml");
    let arguments = ["--config", config.to_str().unwrap(), "serve", "--ready-file", ready.to_str().unwrap()];
    namespace.spawn(BINARY, &arguments, &folder.join("log"), |_| ready.exists())
}

/// Gives the file with the anchor that validators need.
fn start_above(namespace: &mut Namespace, folder: &Path, ds: &str) -> PathBuf {
    let (origin, server) = ABOVE;
    let text = format!(
        "$TTL 1h\n@ SOA ns hostmaster 1 1h 5m 1d 5\n@ NS ns\nns A {server}\n{ZONE}. NS ns1.{ZONE}.\n{ZONE}. NS ns2.{ZONE}.\n\
         ns1.{ZONE}. A {FIRST}\nns2.{ZONE}. A {SECOND}\n{ds}"
    );
    let (signed, anchor) = sign_elsewhere(origin, &text, folder);
    fs::write(folder.join("zone"), signed).unwrap();
    start_nsd(namespace, folder, (server, origin), &format!("  name: {origin}\n  zonefile: zone\n"));
    let path = folder.join("anchor");
    fs::write(&path, anchor).unwrap();
    path
}

fn start_second(namespace: &mut Namespace, folder: &Path) {
    let zone = format!(
        "  name: {ZONE}\n  zonefile: zone\n  request-xfr: {FIRST} NOKEY\n  allow-notify: 0.0.0.0/0 NOKEY\n  \
         outgoing-interface: {SECOND}\n"
    );
    start_nsd(namespace, folder, (SECOND, ZONE), &zone);
}

fn start_nsd(namespace: &mut Namespace, folder: &Path, (address, origin): (&str, &str), zone: &str) {
    let config = folder.join("nsd.conf");
    fs::write(&config, servers::nsd(folder, address, zone)).unwrap();
    let server = format!("@{address}");
    namespace.start("nsd", &["-d", "-c", config.to_str().unwrap()], &folder.join("log"), |namespace| {
        let said = namespace.ask("dig", &[&server, "+tries=1", "+time=1", "+short", origin, "SOA"]);
        said.contains("hostmaster")
    });
}

fn start_unbound(namespace: &mut Namespace, folder: &Path, anchor: &Path) {
    let config = folder.join("unbound.conf");
    fs::write(&config, servers::unbound(RESOLVER, ABOVE, anchor)).unwrap();
    let server = format!("@{RESOLVER}");
    namespace.start("unbound", &["-d", "-c", config.to_str().unwrap()], &folder.join("log"), |namespace| {
        let said = namespace.ask("dig", &[&server, "+tries=1", "+time=1", "+noall", "+comments", ZONE, "MX"]);
        said.contains("status: NOERROR") && said.contains(" ad;")
    });
}

fn start_postfix(namespace: &mut Namespace, folder: &Path, main: &str, services: &str) {
    postfix::lay(folder, main, services);
    let etc = folder.join("etc");
    let arguments = ["-c", etc.to_str().unwrap(), "start-fg"];
    namespace.start("postfix", &arguments, &folder.join("said"), |_| postfix::log(folder).contains("daemon started"));
}

/// Postfix's own sink, which lays down each mail in a file.
fn start_sink(namespace: &mut Namespace, folder: &Path) {
    succeed("chown", &["postfix", folder.to_str().unwrap()]);
    let arguments = ["-u", "postfix", "-R", folder.to_str().unwrap(), "-d", "mail.", ELSEWHERE, "100"];
    let address: SocketAddr = ELSEWHERE.parse().unwrap();
    namespace.start("smtp-sink", &arguments, &folder.join("log"), |namespace| {
        namespace.within(|| std::net::TcpStream::connect(address).is_ok())
    });
}
