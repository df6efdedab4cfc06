//! A large zone for ten clients at once: none of them costs the daemon a copy of it, each gets it whole and as it was when he asked, and
//! the eleventh is put off. One change to it is one message.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::Duration;

use super::changes::{Updater, add};
use super::common::{name, wire};
use super::house::{CONFIG, Daemon, HEAD, House, ZONE};
use super::secondaries::{self, KEY};
use super::variable;

const HOSTS: u64 = 20_000;
const CLIENTS: usize = 10;
const AXFR: u16 = 252;
const IXFR: u16 = 251;
const SOA: u16 = 6;

/// A house whose zone is large, and its key's secret.
fn house(hosts: u64) -> (House, String) {
    let house = House::empty();
    let secret = secondaries::key(&house);
    house.put(
        "danelaw.toml",
        format!(
            "tsig-keys = [\"keys/{KEY}.key\"]\n{CONFIG}\n[secondary.ns2]\naddresses = [\"127.0.0.1\"]\n\
             [update.all]\nkey = \"{KEY}\"\n"
        ),
    );
    let hosts = (0..hosts).map(|host| format!("host{host} A 192.0.2.{}\n", host % 250));
    house.put_zone(&(HEAD.to_owned() + &hosts.collect::<String>()));
    (house, secret)
}

/// KiB of the daemon's memory: `VmRSS` now, `VmHWM` at its most.
fn memory(daemon: &Daemon<'_>, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// From now on `VmHWM` is at its most since now (proc(5)).
fn forget_most(daemon: &Daemon<'_>) {
    std::fs::write(format!("/proc/{}/clear_refs", daemon.id()), "5").unwrap();
}

fn connect(daemon: &Daemon<'_>) -> TcpStream {
    let stream = TcpStream::connect(daemon.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // What a slow client has not taken stays with the daemon.
    socket2::SockRef::from(&stream).set_recv_buffer_size(1 << 16).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, query: &[u8]) {
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat()).unwrap();
}

/// How many records the answer section has.
fn count(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[6], message[7]])
}

/// A whole zone, as its messages come.
struct Taken {
    stream: TcpStream,
    messages: Vec<Vec<u8>>,
}

impl Taken {
    /// Its first message is here.
    fn begin(daemon: &Daemon<'_>) -> Taken {
        let mut taken = Taken { stream: connect(daemon), messages: Vec::new() };
        ask(&mut taken.stream, &wire::query(name(ZONE).as_wire(), AXFR, wire::PLAIN));
        taken.more();
        taken
    }

    fn more(&mut self) {
        self.messages.push(wire::read_message(&mut self.stream).unwrap());
    }

    /// As many messages as there are; a slow client rests after each.
    fn rest(mut self, count: usize, slowly: bool) -> Vec<Vec<u8>> {
        while self.messages.len() < count {
            if slowly {
                std::thread::sleep(Duration::from_millis(3));
            }
            self.more();
        }
        self.messages
    }
}

/// All messages of an AXFR by somebody who is alone.
fn alone(daemon: &Daemon<'_>) -> Vec<Vec<u8>> {
    let mut taken = Taken::begin(daemon);
    let soas = |message: &Vec<u8>| {
        let response = wire::read(message).unwrap();
        assert_eq!(response.rcode, 0);
        response.doubled + response.answer.iter().filter(|record| record.rtype == SOA).count()
    };
    let mut seen = soas(&taken.messages[0]);
    while seen < 2 {
        taken.more();
        seen += taken.messages.last().map_or(0, soas);
    }
    taken.messages
}

/// A zone that is whole has all hosts, an NSEC at every owner and a signature of every RRset.
fn check_whole(messages: &[Vec<u8>], hosts: u64) {
    let records: BTreeSet<wire::Rr> = messages.iter().flat_map(|message| wire::read(message).unwrap().answer).collect();
    let of_type = |rtype: u16| records.iter().filter(|record| record.rtype == rtype).count();
    let owners: BTreeSet<&str> = records.iter().map(|record| record.owner.as_str()).collect();
    let missing = (0..hosts).find(|host| !owners.contains(format!("host{host}.{ZONE}.").as_str()));
    assert_eq!((missing, of_type(47)), (None, owners.len()));
    let rrsets = records.iter().filter(|record| record.rtype != 46).map(|record| (&record.owner, record.rtype));
    assert_eq!(rrsets.collect::<BTreeSet<_>>().len(), of_type(46));
}

#[test]
fn ten_at_once_cost_no_copy_of_the_zone_and_one_change_is_one_message() {
    let hosts = variable("DANELAW_HOSTS").unwrap_or(HOSTS);
    let (house, secret) = house(hosts);
    let daemon = house.start();
    let alone = alone(&daemon);
    check_whole(&alone, hosts);
    let (serial, octets) = (daemon.serial(), alone.iter().map(Vec::len).sum::<usize>());
    let mut updater = Updater::new(daemon.address, &secret);
    let before = memory(&daemon, "VmRSS");
    forget_most(&daemon);
    let barrier = Barrier::new(CLIENTS + 1);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (daemon, barrier, alone) = (&daemon, &barrier, &alone);
            scope.spawn(move || {
                let taken = Taken::begin(daemon);
                barrier.wait();
                barrier.wait();
                assert!(taken.rest(alone.len(), client % 2 == 0) == *alone, "client {client} has another zone");
            });
        }
        barrier.wait();
        let mut eleventh = connect(&daemon);
        ask(&mut eleventh, &wire::query(name(ZONE).as_wire(), AXFR, wire::PLAIN));
        assert_eq!(wire::read(&wire::read_message(&mut eleventh).unwrap()).unwrap().rcode, 2, "SERVFAIL");
        // What is served changes, what they take does not.
        assert_eq!(updater.send(&add(ZONE, "host7", [192, 0, 2, 255])), 0);
        barrier.wait();
    });
    let (most, after) = (memory(&daemon, "VmHWM"), memory(&daemon, "VmRSS"));
    println!("zone {} KiB; before {before}, at most {most}, after {after} KiB", octets / 1024);
    // A copy for each would be ten zones; what threads keep for themselves is not in proportion to it.
    assert!(most < before + 2 * octets / 1024, "{} KiB for {CLIENTS} clients", most - before);
    let transfers = &daemon.status()["statistics"]["transfers"];
    let counts = ["whole", "put-off", "broken-off", "refused"].map(|name| transfers[name].as_u64().unwrap());
    assert_eq!(counts, [1 + CLIENTS as u64, 1, 0, 0]);
    assert_eq!(differences(&daemon, serial), [9, 9], "the record, two signatures and the SOA, before and after");
    let serial = daemon.serial();
    assert_eq!(updater.send(&add(ZONE, "more", [192, 0, 2, 1])), 0);
    assert_eq!(differences(&daemon, serial), [14, 14], "one NSEC record more, and one is another");
}

/// The records of the one message that leads from a version to the newest, over TCP and over UDP.
fn differences(daemon: &Daemon<'_>, serial: u32) -> [u16; 2] {
    let ixfr = |ask: wire::Ask| {
        let mut query = wire::query(name(ZONE).as_wire(), IXFR, ask);
        let opt = query.split_off(12 + name(ZONE).as_wire().len() + 4);
        query[9] = 1;
        query.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
        query.extend(serial.to_be_bytes());
        query.extend([0; 16]);
        [query, opt].concat()
    };
    let mut stream = connect(daemon);
    ask(&mut stream, &ixfr(wire::PLAIN));
    let whole = wire::read_message(&mut stream).unwrap();
    // Nothing of it follows.
    ask(&mut stream, &wire::query(name(ZONE).as_wire(), SOA, wire::PLAIN));
    assert_eq!(count(&wire::read_message(&mut stream).unwrap()), 1);
    let datagram = wire::exchange(daemon.address, &ixfr(wire::DNSSEC), false).unwrap();
    assert!(datagram.len() <= 1232, "{} octets", datagram.len());
    let small = wire::exchange(daemon.address, &ixfr(wire::PLAIN), false).unwrap();
    assert_eq!(count(&small), 1, "there is no room but for the SOA");
    [whole, datagram].map(|message| count(&message))
}
