//! NSD, Knot and BIND: serial and records are what `dig` reads there.

use std::net::SocketAddr;
use std::time::Duration;

use danelaw::dane::Tlsa;
use danelaw::dns::Name;
use danelaw::observe::nameservers::{NotShown, Shown, ask};

use super::common::{free_port, name, run};
use super::house::wait_until;
use super::kinds::{Kind, Primary, Sides, head, put};

const ZONE: &str = "shown.test";
const LIMIT: Duration = Duration::from_secs(10);

const MAIL: &str = "_25._tcp.mail.shown.test";
/// An alias of the one before, with a longer TTL, and one out of the zone.
const ALIAS: &str = "_465._tcp.mail.shown.test";
const AWAY: &str = "_443._tcp.mail.shown.test";
/// More than fit into a packet.
const MANY: &str = "_25._tcp.many.shown.test";
/// More than anybody means.
const CROWD: &str = "_25._tcp.crowd.shown.test";
/// In a zone of its own, elsewhere.
const CUT: &str = "_25._tcp.mail.cut.shown.test";

fn text(serial: u32) -> String {
    let tlsa = |owner: &str, count: u32| -> String {
        (0..count).map(|number| format!("{owner}. 600 TLSA 3 1 1 {:0>64x}\n", number * 7919 + serial)).collect()
    };
    let mail = format!("{MAIL}. 300 TLSA 3 1 1 {0:0>64x}\n{MAIL}. 300 TLSA 2 1 2 {0:0>128x}\n", serial);
    let aliases = format!("{ALIAS}. 900 CNAME {MAIL}.\n{AWAY}. CNAME _443._tcp.elsewhere.test.\n");
    let rest = ["cut NS ns.cut\nns.cut A 192.0.2.7\n", &tlsa(MANY, 45), &tlsa(CROWD, 70)].concat();
    [&head(serial, "4h 1h 2w"), &mail, &aliases, &rest[..]].concat()
}

fn dig(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    let said = run("dig", &[&["@127.0.0.1", "-p", &port, "+norecurse"], arguments].concat());
    String::from_utf8(said.stdout).unwrap()
}

/// The records of an owner as `dig` reads them.
fn dug(port: u16, owner: &str) -> Vec<Tlsa> {
    let text = dig(port, &["+short", owner, "TLSA"]);
    // It breaks the data; an alias is a line without parameters.
    let lines =
        text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()) && line.contains(' '));
    let mut records: Vec<Tlsa> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            format!("{} {}", fields[..3].join(" "), fields[3..].concat()).parse().unwrap()
        })
        .collect();
    records.sort();
    records
}

/// A server, and one who asks it.
struct Looker {
    server: Primary,
    runtime: tokio::runtime::Runtime,
}

impl Looker {
    fn start(kind: Kind) -> Looker {
        let zones = [ZONE.to_owned()];
        let sides = Sides { port: free_port(), secret: "c2VjcmV0IG9mIG5vYm9keQ==", danelaw: 9, zones: &zones };
        let server = kind.start(&sides, |folder| put(folder, ZONE, &text(1)));
        Looker { server, runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap() }
    }

    fn shown(&self, zone: &str, owners: &[&str]) -> Result<Shown, NotShown> {
        let server = SocketAddr::from(([127, 0, 0, 1], self.server.port));
        let owners: Vec<Name> = owners.iter().map(|owner| name(owner)).collect();
        self.runtime.block_on(ask(server, &name(zone), &owners, LIMIT))
    }
}

#[test]
fn what_nsd_shows() {
    look_at(Kind::Nsd);
}

#[test]
fn what_knot_shows() {
    look_at(Kind::Knot);
}

#[test]
fn what_bind_shows() {
    look_at(Kind::Bind);
}

fn look_at(kind: Kind) {
    let looker = Looker::start(kind);
    let shown = |zone: &str, owners: &[&str]| looker.shown(zone, owners);
    compare(&looker, 1);

    // Nothing, by a name that only leads to others and by one that does not exist.
    let nothing = Shown { serial: 1, records: Vec::new(), ttl: 0 };
    assert_eq!(shown(ZONE, &["_tcp.mail.shown.test", "_25._tcp.nobody.shown.test"]).unwrap(), nothing);
    assert_eq!(shown(ZONE, &[]).unwrap(), nothing);

    let elsewhere = NotShown::Elsewhere(name(AWAY));
    assert_eq!(shown(ZONE, &[MAIL, AWAY]).unwrap_err(), elsewhere);
    assert_eq!(shown(ZONE, &[CUT]).unwrap_err(), NotShown::NotAuthoritative);
    assert_eq!(shown("other.test", &[]).unwrap_err(), NotShown::Rcode(5), "REFUSED");
    assert_eq!(shown("mail.shown.test", &[]).unwrap_err(), NotShown::NoZone);
    assert!(matches!(shown(ZONE, &[CROWD]).unwrap_err(), NotShown::TooMany(70..)));

    // A file of the same second is the same one, for BIND.
    std::thread::sleep(Duration::from_millis(1100));
    let server = &looker.server;
    put(&server.folder, ZONE, &text(2));
    server.program.signal("HUP");
    wait_until("the next version is served", || server.serial(ZONE) == Some(2));
    compare(&looker, 2);
}

fn compare(looker: &Looker, serial: u32) {
    let port = looker.server.port;
    let shown = |owners: &[&str]| looker.shown(ZONE, owners).unwrap();
    let mail = dug(port, MAIL);
    assert_eq!(mail.len(), 2);
    assert_eq!(shown(&[MAIL]), Shown { serial, records: mail.clone(), ttl: 300 });
    assert_eq!(shown(&[ALIAS]), Shown { serial, records: mail.clone(), ttl: 900 });
    let cut = dig(port, &["+ignore", "+bufsize=1232", MANY, "TLSA"]);
    assert!(cut.lines().any(|line| line.starts_with(";; flags:") && line.contains(" tc")), "{cut}");
    let many = dug(port, MANY);
    assert_eq!(many.len(), 45);
    let mut all = [many, mail].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 46, "one is at both owners");
    assert_eq!(shown(&[MANY, MAIL, ALIAS]), Shown { serial, records: all, ttl: 900 });
}
