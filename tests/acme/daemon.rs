//! A daemon that gets its certificates by itself: the CA asks the secondary alone, which is seconds behind.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::common::free_port;
use super::house::{CONFIG, DKIM, Daemon, HOST, House, TLSA, ZONE, wait_until, wait_within};
use super::pebble::{Options, Pebble};
use std::time::Duration;

/// What takes longer than this never happens.
const LONG: Duration = Duration::from_secs(90);
/// The secondary looks so often, in seconds: it takes no notices.
const LAG: u32 = 5;

/// NSD, which has the zone from a daemon.
struct Second {
    folder: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- NSD ---\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

impl Second {
    fn new() -> Second {
        let address = SocketAddr::new([127, 0, 0, 1].into(), free_port());
        Second { folder: tempfile::tempdir().unwrap(), address, process: None }
    }

    fn start(&mut self, first: SocketAddr) {
        let folder = self.folder.path().display();
        let at = |address: SocketAddr| format!("{}@{}", address.ip(), address.port());
        let config = format!(
            "server:\n  ip-address: {}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
             pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  xfrdir: \"{folder}\"\n  \
             zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  xfrd-reload-timeout: 0\n  verbosity: 2\n\
             remote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: {ZONE}\n  \
             request-xfr: {} NOKEY\n  min-refresh-time: {LAG}\n  max-refresh-time: {LAG}\n  min-retry-time: {LAG}\n  max-retry-time: {LAG}\n",
            at(self.address),
            at(first),
        );
        let path = self.folder.path().join("nsd.conf");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("nsd");
        command.args(["-d", "-c"]).arg(&path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Its children end with it.
            let _ = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }
}

/// The operator's folder: a zone with two nameservers, and one certificate that is wanted. `more`: of that.
fn house(first: SocketAddr, second: &Second, pebble: &Pebble, more: &str) -> House {
    let house = House::empty();
    let text = CONFIG.replace("127.0.0.1:0", &first.to_string());
    let text = text.replace("[dane]", "[dane]\nttl = \"1s\"\nconfirmation-interval = \"1s\"");
    house.put(
        "danelaw.toml",
        format!(
            "{text}\n[rollover]\ninstall-hook = [\"touch\", \"/dev/null\"]\n\
             [zone.\"{ZONE}\"]\nnameservers = [\"{first}\", \"{0}\"]\n[secondary.second]\naddresses = [\"{0}\"]\n\
             [acme]\ndirectory = \"{1}\"\nagree-to-terms = true\ncontact = [\"postmaster@example.com\"]\nca-file = \"{2}\"\n\
             [[certificate]]\nhost = \"{HOST}\"\nnames = [\"{ZONE}\", \"*.{ZONE}\"]\n{more}",
            second.address,
            pebble.directory(),
            pebble.trusted().display()
        ),
    );
    house.put_zone(&format!(
        "$TTL 1\n@ SOA ns1 hostmaster 1 5s 5s 2w 1\n@ NS ns1\nns1 A 192.0.2.53\nmail A 192.0.2.25\n@ MX 10 mail\n\
         @ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n{DKIM}"
    ));
    house
}

fn first() -> SocketAddr {
    SocketAddr::new([127, 0, 0, 1].into(), free_port())
}

/// What danelaw says of its certificates.
fn listed(house: &House) -> serde_json::Value {
    let output = house.danelaw(&["certificate", "list", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Waits until the certificate is where the mail server reads, and its record is out; gives the chain.
fn await_installed(daemon: &Daemon<'_>, before: Option<&[u8]>) -> Vec<u8> {
    let path = daemon.house.path("deployed").join(HOST).join("fullchain.pem");
    let chain = wait_within(LONG, "a certificate is installed", || {
        fs::read(&path).ok().filter(|chain| before.is_none_or(|before| before != &chain[..]))
    });
    let wanted = record_of(daemon.house);
    wait_until("its record is out", || records(daemon).contains(&wanted));
    chain
}

/// The record of what is installed.
fn record_of(house: &House) -> String {
    let path = house.path("deployed").join(HOST).join("fullchain.pem");
    let lines = String::from_utf8(house.danelaw(&["tlsa", &path.display().to_string()]).stdout).unwrap();
    let line = lines.lines().find(|line| line.starts_with(TLSA)).unwrap_or_else(|| panic!("{lines}"));
    line.split(' ').next_back().unwrap().to_lowercase()
}

/// The keys of the records that are out.
fn records(daemon: &Daemon<'_>) -> Vec<String> {
    let records = daemon.records(TLSA, "TLSA");
    let key = |record: &String| record.split_whitespace().skip(3).collect::<String>().to_lowercase();
    records.iter().map(key).collect()
}

fn ends_with_an_installed_chain(options: &Options, more: &str) {
    let (first, mut second) = (first(), Second::new());
    let pebble = Pebble::start(second.address, options);
    let house = house(first, &second, &pebble, more);
    let daemon = house.start();
    second.start(first);
    await_installed(&daemon, None);
    let names = super::common::succeed(
        "openssl",
        &[
            "x509",
            "-in",
            &house.path(&format!("deployed/{HOST}/fullchain.pem")).display().to_string(),
            "-noout",
            "-ext",
            "subjectAltName",
        ],
    );
    for name in [HOST, ZONE, "*.example.org"] {
        assert!(names.contains(&format!("DNS:{name}")), "{names}");
    }
    wait_until("nothing of the proofs is left", || {
        daemon.records(&format!("_acme-challenge.{ZONE}"), "TXT").is_empty()
    });
    // One key type after the other, and a step whose nonces are refused too often is done again a minute later.
    let list = wait_within(3 * LONG, "each says so", || {
        let list = listed(&house);
        let is_done = |one: &serde_json::Value| one["phase"] == "resting" && one["not-after"].is_u64();
        list.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(is_done)).then_some(list)
    });
    assert!(list.as_array().unwrap().iter().all(|one| one["failure"].is_null()), "{list}");
    // The next key's record is out before it is needed.
    wait_until("the next key's record", || daemon.records(TLSA, "TLSA").len() >= 2);
}

#[test]
fn an_order_ends_with_an_installed_chain_and_its_record() {
    ends_with_an_installed_chain(&Options::default(), "");
}

#[test]
fn so_it_does_where_nonces_are_refused_and_with_both_key_types() {
    ends_with_an_installed_chain(
        &Options { refused_nonces: 40, ..Options::default() },
        "keys = [\"ecdsa\", \"rsa\"]\n",
    );
}

#[test]
fn a_renewal_takes_the_next_key_and_installs_it_at_once() {
    let (first, mut second) = (first(), Second::new());
    let pebble = Pebble::start(second.address, &Options::default());
    let house = house(first, &second, &pebble, "");
    let daemon = house.start();
    second.start(first);
    let mut chain = await_installed(&daemon, None);
    let mut used = BTreeSet::new();
    for round in 0..3 {
        // The one before stays for a while, too.
        used.insert(record_of(&house));
        wait_until("the next key's record", || records(&daemon).iter().any(|key| !used.contains(key)));
        let before = records(&daemon);
        let output = house.danelaw(&["certificate", "renew", HOST]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        chain = await_installed(&daemon, Some(&chain));
        let wanted = record_of(&house);
        assert!(before.contains(&wanted), "round {round}: {before:?} lack {wanted}");
    }
}

#[test]
fn a_secondary_that_never_catches_up_is_told_and_the_order_goes_on_when_it_does() {
    let (first, mut second) = (first(), Second::new());
    let pebble = Pebble::start(second.address, &Options::default());
    let house = house(first, &second, &pebble, "");
    let daemon = house.start();
    wait_within(LONG, "it waits for the secondary", || (listed(&house)[0]["phase"] == "proving").then_some(()));
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(listed(&house)[0]["phase"], "proving");
    let order = listed(&house)[0]["order"].clone();
    daemon.kill();
    let daemon = house.start();
    wait_until("the same order goes on", || order.is_string() && listed(&house)[0]["order"] == order);
    second.start(first);
    await_installed(&daemon, None);
}
