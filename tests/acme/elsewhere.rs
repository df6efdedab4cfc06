//! A certificate with a name whose zone is another server's: proven by an alias there, which the resolver and the CA's follow.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::common::free_port;
use super::house::{CONFIG, Daemon, HOST, House, ZONE, good_zone, wait_until, wait_within};
use super::pebble::{Options, Pebble};

/// What takes longer than this never happens.
const LONG: Duration = Duration::from_secs(60);
const OTHER: &str = "example.net";
const SHOP: &str = "shop.example.net";
/// Where the proof of it is to stand.
const PLACE: &str = "shop.example.net._acme-challenge.example.org";

/// unbound, which knows two zones and nothing else, and forgets at once.
struct Unbound {
    folder: tempfile::TempDir,
    process: Child,
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- unbound ---\n{}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

impl Unbound {
    fn start(address: SocketAddr, zones: &[(&str, SocketAddr)]) -> Unbound {
        let folder = tempfile::tempdir().unwrap();
        let at = |address: &SocketAddr| format!("{}@{}", address.ip(), address.port());
        let mut config = format!(
            "server:\n  interface: {}\n  directory: \"{}\"\n  username: \"\"\n  chroot: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
             do-daemonize: no\n  do-not-query-localhost: no\n  cache-max-ttl: 0\n  cache-max-negative-ttl: 0\n  \
             infra-host-ttl: 0\n  local-zone: \".\" refuse\n",
            at(&address),
            folder.path().display()
        );
        for (zone, _) in zones {
            config.push_str(&format!("  local-zone: \"{zone}.\" transparent\n"));
        }
        config.push_str("remote-control:\n  control-enable: no\n");
        for (zone, server) in zones {
            config
                .push_str(&format!("stub-zone:\n  name: {zone}\n  stub-addr: {}\n  stub-no-cache: yes\n", at(server)));
        }
        let path = folder.path().join("unbound.conf");
        fs::write(&path, config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("unbound");
        command.args(["-d", "-c"]).arg(&path).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = command.spawn().unwrap();
        wait_until("unbound answers", || std::net::TcpStream::connect(address).is_ok());
        Unbound { folder, process }
    }
}

/// Somebody else's server, whose zone has these records.
fn put_other(house: &House, records: &str) {
    let head = "$TTL 1\n@ SOA ns1 hostmaster 1 4h 1h 2w 1\n@ NS ns1\nns1 A 192.0.2.53\nshop A 192.0.2.80\n";
    house.put(&format!("zones/{OTHER}.zone"), format!("{head}{records}"));
}

fn here() -> SocketAddr {
    SocketAddr::new([127, 0, 0, 1].into(), free_port())
}

/// The operator's folder: names of two zones are wanted, of which one is served here.
fn house(address: SocketAddr, resolver: SocketAddr, anchor: &str, pebble: &Pebble) -> House {
    let house = House::empty();
    let text = CONFIG.replace("127.0.0.1:0", &address.to_string());
    house.put(
        "danelaw.toml",
        format!(
            "{text}\n[outside]\nresolver = [\"{resolver}\"]\nanchors = [\"{anchor}\"]\n\
             [zone.\"{ZONE}\"]\nnameservers = [\"{address}\"]\n\
             [acme]\ndirectory = \"{}\"\nagree-to-terms = true\nca-file = \"{}\"\ncaa-identities = [\"ca.test\"]\n\
             [[certificate]]\nhost = \"{HOST}\"\nnames = [\"{SHOP}\"]\n",
            pebble.directory(),
            pebble.trusted().display()
        ),
    );
    house.put_zone(&good_zone());
    house
}

/// Asks until the order's fate is told so.
fn await_told(house: &House, part: &str) {
    wait_within(LONG, &format!("{part} is told"), || {
        let said = house.danelaw(&["certificate", "list", "--json"]).stdout;
        let list: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        list[0]["failure"].as_str().is_some_and(|failure| failure.contains(part)).then_some(())
    });
}

fn order_again(house: &House) {
    let output = house.danelaw(&["certificate", "order", HOST]);
    // What failed last is shown until a certificate is laid down.
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(1), true), "{output:?}");
}

/// Waits until somebody else's server has it.
fn await_record(daemon: &Daemon<'_>, owner: &str, rtype: &str) {
    wait_until(&format!("{owner} {rtype}"), || !daemon.records(owner, rtype).is_empty());
}

#[test]
fn a_name_of_another_server_is_proven_by_its_alias_where_caa_there_allows_it() {
    let others = House::empty();
    put_other(&others, "");
    let other = others.start();
    let anchor = wait_within(LONG, "its key", || other.records(OTHER, "DNSKEY").into_iter().next());
    let (address, resolver) = (here(), here());
    let _unbound = Unbound::start(resolver, &[(ZONE, address), (OTHER, other.address)]);
    let pebble = Pebble::start(resolver, &Options::default());
    let house = house(address, resolver, &format!("{OTHER}. DNSKEY {anchor}"), &pebble);
    let _daemon = house.start();
    await_told(&house, &format!("add _acme-challenge.{SHOP}. CNAME {PLACE}. there"));
    let alias = format!("_acme-challenge.shop CNAME {PLACE}.\n");
    put_other(&others, &format!("{alias}@ CAA 0 issue \"another.test\"\n"));
    await_record(&other, OTHER, "CAA");
    order_again(&house);
    await_told(&house, &format!("add {OTHER}. CAA 0 issue \"ca.test\" in its zone, which is served elsewhere"));
    put_other(
        &others,
        &format!("{alias}@ CAA 0 issue \"another.test\"\n@ CAA 0 issue \"ca.test; validationmethods=dns-01\"\n"),
    );
    wait_until("the CAA records", || other.records(OTHER, "CAA").len() == 2);
    order_again(&house);
    let chain = house.path(&format!("state/certificates/{HOST}/fullchain.pem"));
    wait_within(LONG, "the chain lies there", || chain.exists().then_some(()));
    let text = super::common::succeed(
        "openssl",
        &["x509", "-in", &chain.display().to_string(), "-noout", "-ext", "subjectAltName"],
    );
    assert!(text.contains(&format!("DNS:{SHOP}")) && text.contains(&format!("DNS:{HOST}")), "{text}");
}
