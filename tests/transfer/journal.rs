//! What changed is remembered with what is served, and forgotten where it no longer leads there.

use danelaw::dns::Timestamp;
use danelaw::dns::dnssec::Algorithm;
use danelaw::keys::ZoneKey;
use danelaw::zone::print;

use super::common::{name, now, sign_with, wire, zone};
use super::house::{CONFIG, Daemon, HEAD, House, ZONE, wait_until};

const SECONDARY: &str = "[secondary.ns2]\naddresses = [\"127.0.0.1\"]\n";

fn house(more: &str) -> House {
    let house = House::empty();
    house.put("danelaw.toml", [CONFIG, SECONDARY, more].concat());
    house
}

fn put(house: &House, serial: u32, text: &str) {
    house.put_zone(&(HEAD.replace("hostmaster 1 ", &format!("hostmaster {serial} ")) + text));
}

/// How many SOA records an IXFR since this serial brings, and whether a host's address is among the records.
fn since(daemon: &Daemon<'_>, serial: u32, address: &str) -> (usize, bool) {
    let said = daemon.dig(&["+noall", "+answer", "+tcp", ZONE, &format!("ixfr={serial}")]);
    (said.matches("\tSOA\t").count(), said.contains(address))
}

/// The zone as another signer hands it over.
fn signed(key: &ZoneKey, at: Timestamp, serial: u32, text: &str) -> String {
    let hosts: String = (0..50).map(|host| format!("host{host} A 192.0.2.250\n")).collect();
    let contents = zone(ZONE, &[HEAD, &hosts, text].concat());
    print::published(&sign_with(&contents, &[key], None, at, serial))
}

#[test]
fn a_file_that_says_its_serial_has_a_history_as_long_as_it_goes_forward() {
    let house = house(&format!("[zone.\"{ZONE}\"]\nsigning = \"presigned\"\n"));
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let at = now();
    let put = |serial: u32, text: &str| house.put_zone(&signed(&key, at, serial, text));
    put(5, "");
    let daemon = house.start();
    put(6, "six A 192.0.2.66\n");
    wait_until("6 is served", || daemon.serial() == 6);
    put(8, "six A 192.0.2.66\neight A 192.0.2.88\n");
    wait_until("8 is served", || daemon.serial() == 8);
    assert_eq!(since(&daemon, 5, "192.0.2.66"), (4, true), "as one");
    assert_eq!(since(&daemon, 6, "192.0.2.66"), (4, false), "only what is new");
    assert_eq!(since(&daemon, 7, "192.0.2.66"), (2, true), "never served: the whole zone");
    let daemon = daemon.restarted();
    assert_eq!(since(&daemon, 5, "192.0.2.66"), (4, true), "after a restart, too");
    // Other contents under the serial that secondaries have: what was remembered does not lead to them.
    put(8, "eight A 192.0.2.89\n");
    wait_until("it is served", || daemon.records(&format!("eight.{ZONE}"), "A") == ["192.0.2.89"]);
    assert_eq!(since(&daemon, 6, "192.0.2.89"), (2, true));
    put(9, "nine A 192.0.2.99\n");
    wait_until("9 is served", || daemon.serial() == 9);
    assert_eq!((since(&daemon, 8, "192.0.2.99"), since(&daemon, 6, "192.0.2.99").0), ((4, true), 2));
    // A serial that goes back is another zone.
    put(3, "three A 192.0.2.33\n");
    wait_until("3 is served", || daemon.serial() == 3);
    put(4, "four A 192.0.2.44\n");
    wait_until("4 is served", || daemon.serial() == 4);
    assert_eq!((since(&daemon, 3, "192.0.2.44"), since(&daemon, 2, "192.0.2.44").0), ((4, true), 2));
}

#[test]
fn a_power_cut_leaves_a_history_that_leads_to_what_is_served() {
    let house = house("");
    put(&house, 1, "");
    let mut daemon = house.start();
    let mut serials = vec![daemon.serial()];
    for round in 0..3 {
        for step in 0..3 {
            let last = *serials.last().unwrap();
            put(&house, 1, &format!("new A 192.0.2.{}\n", 100 + 10 * round + step));
            wait_until("it is served", || daemon.serial() != last);
            serials.push(daemon.serial());
        }
        daemon.kill();
        daemon = house.start();
        let served = daemon.serial();
        assert_eq!(Some(&served), serials.last());
        // The bound is the zone's own size: the newest are there, whatever became of the others.
        let before = serials[serials.len() - 2];
        assert_eq!(since(&daemon, before, "192.0.2.1"), (4, true), "{serials:?}");
    }
    // Without the journal, as an operator who cleans up too much leaves it.
    daemon.stop();
    let sql = ["DELETE FROM difference", "UPDATE difference SET octets = x'00'"];
    for (sql, address) in sql.into_iter().zip([200, 201]) {
        let database = rusqlite::Connection::open(house.path("state/danelaw.db")).unwrap();
        assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
        drop(database);
        let daemon = house.start();
        let from = serials[serials.len() - 2];
        assert_eq!(since(&daemon, from, "192.0.2.1").0, 2, "the whole zone");
        let served = daemon.serial();
        put(&house, 1, &format!("new A 192.0.2.{}\n", address));
        wait_until("it is served", || daemon.serial() != served);
        assert_eq!(since(&daemon, served, "192.0.2.20"), (4, true));
        serials.push(daemon.serial());
        daemon.stop();
    }
}

#[test]
fn without_secondaries_nothing_is_remembered_and_nobody_asks() {
    let house = House::empty();
    put(&house, 1, "");
    let daemon = house.start();
    let first = daemon.serial();
    put(&house, 1, "new A 192.0.2.77\n");
    wait_until("it is served", || daemon.serial() != first);
    let response = wire::ask(daemon.address, name(ZONE).as_wire(), 252, wire::TCP);
    assert_eq!((response.rcode, response.answer.len()), (5, 0));
    daemon.stop();
    let database = rusqlite::Connection::open(house.path("state/danelaw.db")).unwrap();
    let count: u32 = database.query_row("SELECT count(*) FROM difference", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
}
