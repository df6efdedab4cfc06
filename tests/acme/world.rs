//! The world of a daemon that gets its certificates by itself: a CA, perhaps with a front before it, perhaps a secondary; and what the
//! operator sees.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::common::free_port;
use super::house::{CONFIG, Daemon, HOST, House, TLSA, ZONE, wait_until, wait_within, within};
use super::pebble::{Options, Pebble};
use super::stand_in::StandIn;

/// What takes longer than this never happens.
pub const LONG: Duration = Duration::from_secs(90);
/// A zone whose prerequisites hold, with short waits.
pub const ZONE_FILE: &str = "\
$TTL 1
@ SOA ns1 hostmaster 1 5s 5s 2w 1
@ NS ns1
ns1 A 192.0.2.53
mail A 192.0.2.25
@ MX 10 mail
@ TXT \"v=spf1 mx -all\"
_dmarc TXT \"v=DMARC1; p=reject\"
s1._domainkey TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"
";
/// The secondary looks so often, in seconds: it takes no notices.
const LAG: u32 = 5;

/// NSD, which has the zone from a daemon.
pub struct Second {
    folder: tempfile::TempDir,
    pub address: SocketAddr,
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
    pub fn new() -> Second {
        let address = SocketAddr::new([127, 0, 0, 1].into(), free_port());
        Second { folder: tempfile::tempdir().unwrap(), address, process: None }
    }

    /// Has the zone from the daemon at that address.
    pub fn start(&mut self, first: SocketAddr) {
        self.serve(&format!(
            "request-xfr: {}@{} NOKEY\n  min-refresh-time: {LAG}\n  max-refresh-time: {LAG}\n  min-retry-time: {LAG}\n  \
             max-retry-time: {LAG}\n",
            first.ip(),
            first.port()
        ));
    }

    /// Has the zone from a file, and nothing of what the daemon puts into it.
    pub fn start_apart(&mut self) {
        fs::write(self.folder.path().join(ZONE), format!("$ORIGIN {ZONE}.\n{ZONE_FILE}")).unwrap();
        self.serve("");
    }

    fn serve(&mut self, more: &str) {
        let folder = self.folder.path().display();
        let config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{folder}\"\n  database: \"\"\n  \
             pidfile: \"{folder}/nsd.pid\"\n  xfrdfile: \"{folder}/xfrd\"\n  xfrdir: \"{folder}\"\n  \
             zonelistfile: \"{folder}/zone.list\"\n  server-count: 1\n  xfrd-reload-timeout: 0\n  verbosity: 2\n\
             remote-control:\n  control-enable: no\nzone:\n  name: {ZONE}\n  zonefile: {ZONE}\n  {more}",
            self.address.ip(),
            self.address.port()
        );
        let path = self.folder.path().join("nsd.conf");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("nsd");
        command.args(["-d", "-c"]).arg(&path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Its children end with it.
            let _ = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }
}

/// The operator's folder: a zone with one nameserver or two, and one certificate that is wanted of a CA. `more`: of that.
pub fn house(first: SocketAddr, second: Option<&Second>, (directory, roots): (&str, &Path), more: &str) -> House {
    let house = House::empty();
    house.put("danelaw.toml", config(first, second, (directory, roots), more));
    house.put_zone(ZONE_FILE);
    house
}

pub fn config(first: SocketAddr, second: Option<&Second>, (directory, roots): (&str, &Path), more: &str) -> String {
    let text = CONFIG.replace("127.0.0.1:0", &first.to_string());
    let text = text.replace("[dane]", "[dane]\nttl = \"1s\"\nconfirmation-interval = \"1s\"");
    let servers: Vec<String> = [Some(first), second.map(|second| second.address)]
        .iter()
        .flatten()
        .map(|server| format!("\"{server}\""))
        .collect();
    let secondary = second.map(|second| format!("[secondary.second]\naddresses = [\"{}\"]\n", second.address));
    format!(
        "{text}\n[rollover]\ninstall-hook = [\"touch\", \"/dev/null\"]\n[zone.\"{ZONE}\"]\nnameservers = [{}]\n{}\
         [acme]\ndirectory = \"{directory}\"\nagree-to-terms = true\ncontact = [\"postmaster@example.com\"]\nca-file = \"{}\"\n\
         [[certificate]]\nhost = \"{HOST}\"\nnames = [\"{ZONE}\", \"*.{ZONE}\"]\n{more}",
        servers.join(", "),
        secondary.unwrap_or_default(),
        roots.display()
    )
}

/// An address for a daemon that is started anew: no client gets its port in between.
pub fn first() -> SocketAddr {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    SocketAddr::new([127, 78, 0, NUMBER.fetch_add(1, Ordering::Relaxed)].into(), free_port())
}

/// What danelaw says of its certificates.
pub fn listed(house: &House) -> Value {
    let output = house.danelaw(&["certificate", "list", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Waits until the certificate is where the mail server reads, and its record is out; gives the chain.
pub fn await_installed(daemon: &Daemon<'_>, before: Option<&[u8]>) -> Vec<u8> {
    let path = daemon.house.path("deployed").join(HOST).join("fullchain.pem");
    let chain = wait_within(LONG, "a certificate is installed", || {
        fs::read(&path).ok().filter(|chain| before.is_none_or(|before| before != &chain[..]))
    });
    let wanted = record_of(daemon.house);
    wait_until("its record is out", || records(daemon).contains(&wanted));
    chain
}

/// Waits until a renewal needs nothing more: the next key's record is out, and those before are gone.
#[track_caller]
pub fn await_next(daemon: &Daemon<'_>) {
    wait_within(LONG, "the next key's record, and none of those before", || is_next(daemon).then_some(()));
}

/// Whether it is so.
pub fn is_next(daemon: &Daemon<'_>) -> bool {
    daemon.phase() == "idle" && records(daemon).len() == 2
}

/// The record of what is installed.
pub fn record_of(house: &House) -> String {
    let path = house.path("deployed").join(HOST).join("fullchain.pem");
    let lines = String::from_utf8(house.danelaw(&["tlsa", &path.display().to_string()]).stdout).unwrap();
    let line = lines.lines().find(|line| line.starts_with(TLSA)).unwrap_or_else(|| panic!("{lines}"));
    line.split(' ').next_back().unwrap().to_lowercase()
}

/// The keys of the records that are out.
pub fn records(daemon: &Daemon<'_>) -> Vec<String> {
    let records = daemon.records(TLSA, "TLSA");
    let key = |record: &String| record.split_whitespace().skip(3).collect::<String>().to_lowercase();
    records.iter().map(key).collect()
}

/// Says the operator's word, and that it is taken.
#[track_caller]
pub fn say(house: &House, word: &str) {
    let output = house.danelaw(&["certificate", word, HOST]);
    // It finds what has failed before.
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A CA behind a front that can fail for it, a daemon's folder, and nobody else's nameserver.
pub struct World {
    pub pebble: Pebble,
    pub front: StandIn,
    pub house: House,
    pub first: SocketAddr,
}

impl World {
    pub fn new() -> World {
        let first = first();
        World::asking(first, first)
    }

    /// One whose CA asks another nameserver.
    pub fn asking(first: SocketAddr, dns: SocketAddr) -> World {
        let pebble = Pebble::start(dns, &Options::default());
        let front = StandIn::before(&pebble);
        let house = house(first, None, (&front.url("/dir"), &pebble.trusted()), "");
        World { pebble, front, house, first }
    }

    /// The same, its daemon begun by a shell after a line that is made for its folder.
    pub fn begun_after(mut self, line: impl FnOnce(&House) -> String) -> World {
        let line = line(&self.house);
        self.house = self.house.begun_after(&line);
        self
    }

    /// Orders that the CA was asked to make.
    pub fn orders(&self) -> usize {
        self.front.count("POST /order-plz ")
    }
}

/// What must not change while an order fails: what is installed, its record, and that names are answered.
pub struct Standing {
    chain: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    records: Vec<String>,
}

impl Standing {
    pub fn of(daemon: &Daemon<'_>) -> Standing {
        let file = |name: &str| fs::read(daemon.house.path("deployed").join(HOST).join(name)).ok();
        Standing { chain: file("fullchain.pem"), key: file("privkey.pem"), records: records(daemon) }
    }

    #[track_caller]
    pub fn stands(&self, daemon: &Daemon<'_>) {
        let now = Standing::of(daemon);
        assert!(now.chain == self.chain && now.key == self.key, "another certificate is installed");
        assert_eq!(now.records, self.records);
        if self.chain.is_some() {
            let wanted = record_of(daemon.house);
            assert!(now.records.contains(&wanted), "{wanted} is not among {:?}", now.records);
        }
        assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
    }
}

/// A failure as the operator sees it.
pub struct Told {
    /// `certificate list`.
    pub list: String,
    /// `status`.
    pub status: String,
    /// Of `certificate list --json`.
    pub json: Value,
}

/// Waits until the order has failed with these words, which `certificate list` and `status` show, with when it is tried again.
#[track_caller]
pub fn await_failure(daemon: &Daemon<'_>, words: &[&str]) -> Told {
    let house = daemon.house;
    let mut json = Value::Null;
    let is_so = || {
        json = listed(house)[0].clone();
        let failure = json["failure"].as_str().unwrap_or_default();
        words.iter().all(|word| failure.contains(word)) && json["next-try"].is_u64()
    };
    let found = within(LONG, is_so);
    assert!(found, "no failure with {words:?}, but {json}");
    let text = |arguments: &[&str]| String::from_utf8(house.danelaw(arguments).stdout).unwrap();
    let list = house.danelaw(&["certificate", "list"]);
    assert_eq!(list.status.code(), Some(1), "a failed order is a finding");
    let told = Told { list: String::from_utf8(list.stdout).unwrap(), status: text(&["status"]), json };
    for shown in [&told.list, &told.status] {
        for word in words.iter().chain(&["Next try: "]) {
            assert!(shown.contains(word), "{word} is not in\n{shown}");
        }
    }
    told
}
