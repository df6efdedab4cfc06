//! What a primary sends that it should not, and NOTIFYs of those who are none: the last good zone stays, and nobody is kept busy.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use danelaw::dns::tsig::{Algorithm, Key, sign_request};
use data_encoding::BASE64;

use super::common::wire::read_message;
use super::common::{name, now};
use super::house::{Daemon, wait_until};
use super::primaries::{SIGNED, house, primary};
use super::secondaries::KEY;

const ZONE: &str = "taken.test";
const SOA: u16 = 6;
const IXFR: u16 = 251;

/// What it does when it is asked for a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It sends the zone.
    Good,
    /// It breaks off after the first message.
    BreaksOff,
    /// It ends with another SOA.
    EndsOtherwise,
    /// It sends a record of another zone.
    SendsAForeignRecord,
    /// It sends no NS.
    SendsNoZone,
    /// Its differences take a record away that is not there; the whole zone is good.
    SendsWrongDifferences,
    /// It refuses differences; the whole zone is good.
    KnowsNoDifferences,
}

/// A primary that does what it is told to.
struct Impostor {
    port: u16,
    state: Arc<Mutex<(u32, Does)>>,
    /// So often it was asked for an SOA.
    asked: Arc<AtomicUsize>,
}

impl Impostor {
    fn start(serial: u32) -> Impostor {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let impostor =
            Impostor { port, state: Arc::new(Mutex::new((serial, Does::Good))), asked: Arc::new(AtomicUsize::new(0)) };
        let (state, asked) = (Arc::clone(&impostor.state), Arc::clone(&impostor.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, asked) = (Arc::clone(&state), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream.unwrap(), &state, &asked));
            }
        });
        impostor
    }

    fn is(&self, serial: u32, does: Does) {
        *self.state.lock().unwrap() = (serial, does);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Answers until the other side goes, or until it is to break off.
fn serve(mut stream: TcpStream, state: &Mutex<(u32, Does)>, asked: &AtomicUsize) {
    while let Ok(query) = read_message(&mut stream) {
        let zone = 12 + name(ZONE).as_wire().len();
        let qtype = u16::from_be_bytes([query[zone], query[zone + 1]]);
        let (serial, does) = *state.lock().unwrap();
        asked.fetch_add(usize::from(qtype == SOA), Ordering::Relaxed);
        let messages = match qtype {
            SOA => vec![vec![soa(serial)]],
            _ => transfer(qtype, serial, does),
        };
        let rcode = if messages.is_empty() { 4 } else { 0 };
        let messages = if messages.is_empty() { vec![Vec::new()] } else { messages };
        for records in messages {
            let head = [&query[..2], &[0x84, rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
            let message = [head, query[12..zone + 4].to_vec(), records.concat()].concat();
            let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
            if stream.write_all(&framed).is_err() {
                return;
            }
        }
        if qtype != SOA && does == Does::BreaksOff {
            return;
        }
    }
}

/// The messages, each of some records; none for NOTIMP.
fn transfer(qtype: u16, serial: u32, does: Does) -> Vec<Vec<Vec<u8>>> {
    let ns = record(ZONE, 2, name(&format!("ns.{ZONE}")).as_wire());
    let host = record(&format!("host.{ZONE}"), 1, &[192, 0, 2, serial as u8]);
    let last = soa(serial);
    let good = vec![vec![soa(serial), ns.clone()], vec![host.clone(), last.clone()]];
    match does {
        Does::SendsWrongDifferences if qtype == IXFR => {
            let gone = record(&format!("nobody.{ZONE}"), 1, &[192, 0, 2, 1]);
            vec![vec![soa(serial), soa(1), gone, soa(serial), last]]
        }
        Does::KnowsNoDifferences if qtype == IXFR => Vec::new(),
        Does::Good | Does::SendsWrongDifferences | Does::KnowsNoDifferences => good,
        Does::BreaksOff => vec![good[0].clone()],
        Does::EndsOtherwise => vec![good[0].clone(), vec![host, soa(serial + 1)]],
        Does::SendsAForeignRecord => vec![vec![soa(serial), ns, record("host.other.test", 1, &[192, 0, 2, 1]), last]],
        Does::SendsNoZone => vec![vec![soa(serial), host, last]],
    }
}

fn record(owner: &str, rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let fixed = [&rtype.to_be_bytes()[..], &[0, 1, 0, 0, 1, 44], &(rdata.len() as u16).to_be_bytes()].concat();
    [name(owner).as_wire(), &fixed, rdata].concat()
}

/// REFRESH 2 s, RETRY 1 s.
fn soa(serial: u32) -> Vec<u8> {
    let names = [name(&format!("ns.{ZONE}")).as_wire(), name(&format!("hostmaster.{ZONE}")).as_wire()].concat();
    record(ZONE, SOA, &[names, [serial, 2, 1, 100_000, 300].map(u32::to_be_bytes).concat()].concat())
}

fn addresses(daemon: &Daemon<'_>) -> Vec<String> {
    daemon.records(&format!("host.{ZONE}"), "A")
}

#[test]
fn a_broken_stream_leaves_the_last_good_zone() {
    let impostor = Impostor::start(1);
    let (house, ..) = house(&[(ZONE, impostor.port, "signing = \"none\"")]);
    let daemon = house.start();
    wait_until("it is served", || addresses(&daemon) == ["192.0.2.1"]);
    let mut serial = 1;
    for (does, said) in [
        (Does::BreaksOff, "the connection broke"),
        (Does::EndsOtherwise, "it ends with another SOA than it began with"),
        (Does::SendsAForeignRecord, "host.other.test. is outside of the zone"),
        (Does::SendsNoZone, "the zone has no NS record at its apex"),
    ] {
        serial += 1;
        impostor.is(serial, does);
        wait_until(&format!("{does:?} is a problem"), || {
            let problems = daemon.problems();
            problems.contains(&format!("{ZONE}.: primary 127.0.0.1:{}", impostor.port)) && problems.contains(said)
        });
        assert_eq!(addresses(&daemon), ["192.0.2.1"], "{does:?}");
        let report = primary(&daemon, ZONE);
        assert!(report["serial"] == serial && report["confirmed-at"].is_u64(), "{report}");
    }
    for does in [Does::SendsWrongDifferences, Does::KnowsNoDifferences, Does::Good] {
        serial += 1;
        impostor.is(serial, does);
        wait_until(&format!("{does:?} is got over"), || addresses(&daemon) == [format!("192.0.2.{serial}")]);
    }
    assert_eq!(daemon.log().matches("asking for the whole zone").count(), 6, "{}", daemon.log());
    impostor.is(1, Does::Good);
    wait_until("a serial that goes back is told of", || {
        daemon.problems().contains(&format!("its serial, 1, is before ours, {serial}"))
    });
    assert_eq!(addresses(&daemon), [format!("192.0.2.{serial}")]);
}

#[test]
fn who_can_not_sign_is_no_primary() {
    let impostor = Impostor::start(1);
    let (house, ..) = house(&[(ZONE, impostor.port, SIGNED)]);
    let daemon = house.start();
    wait_until("it is told", || daemon.problems().contains("the response is not signed"));
    assert_eq!(daemon.rcode(ZONE, "SOA"), "SERVFAIL");
    // Nor is one asked whose key is not known here.
    let config = String::from_utf8(house.read("danelaw.toml")).unwrap();
    house.put("danelaw.toml", config.replace(SIGNED, "primary-key = \"other.test\"\n"));
    wait_until("it is told", || daemon.problems().contains("its primary-key other.test. is in none of the files"));
    wait_until("it is not asked", || daemon.problems().contains("the key other.test. is not known here"));
    let asked = impostor.asked();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(impostor.asked(), asked);
}

/// A NOTIFY about a zone, and perhaps the serial.
fn notify(zone: &str, serial: Option<u32>) -> Vec<u8> {
    let question = [name(zone).as_wire(), &SOA.to_be_bytes(), &[0, 1]].concat();
    let head = [7, 7, 0x24, 0, 0, 1, 0, u8::from(serial.is_some()), 0, 0, 0, 0];
    [&head[..], &question, &serial.map(soa).unwrap_or_default()].concat()
}

/// Sends a message from an address; gives the third octet of the answer and its response code.
fn tell(daemon: &Daemon<'_>, from: &str, message: &[u8]) -> (u8, u8) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(message, daemon.address).unwrap();
    let mut answer = [0; 1024];
    let (length, _) = socket.recv_from(&mut answer).unwrap();
    assert_eq!(answer[..2], message[..2]);
    assert!(answer[..length].windows(6).any(|octets| octets == &message[12..18]), "the question comes back");
    (answer[2], answer[3] & 15)
}

#[test]
fn a_primary_notifies_and_a_stranger_does_not() {
    let impostor = Impostor::start(1);
    let (house, secret, _) = house(&[(ZONE, impostor.port, "signing = \"none\"")]);
    house.put("zones/own.test.zone", "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n");
    let daemon = house.start();
    wait_until("it is served", || addresses(&daemon) == ["192.0.2.1"]);
    let signed = |message: &[u8]| {
        let secret = BASE64.decode(secret.as_bytes()).unwrap();
        let key = Arc::new(Key::new(&name(KEY), Algorithm::HmacSha256, &secret).unwrap());
        let mut out = [message, &[0; 512]].concat();
        let (length, _) = sign_request(&key, &mut out, message.len(), now()).unwrap();
        out.truncate(length);
        out
    };
    const TAKEN: (u8, u8) = (0xa4, 0);
    const REFUSED: (u8, u8) = (0xa0, 5);
    for (from, message, expected) in [
        ("127.0.0.1", notify(ZONE, None), TAKEN),
        ("127.0.0.1", notify(ZONE, Some(1)), TAKEN),
        ("127.0.0.2", notify(ZONE, Some(2)), REFUSED),
        ("127.0.0.1", signed(&notify(ZONE, None)), REFUSED),
        ("127.0.0.1", notify("own.test", None), REFUSED),
        ("127.0.0.1", notify("other.test", None), (0xa0, 9)),
        ("127.0.0.1", notify(&format!("host.{ZONE}"), None), (0xa0, 9)),
    ] {
        assert_eq!(tell(&daemon, from, &message), expected, "{from} {message:?}");
    }
    // What is no NOTIFY that can be read is as unknown as before.
    let mut other = notify(ZONE, None);
    other[name(ZONE).as_wire().len() + 13] = 16;
    assert_eq!(tell(&daemon, "127.0.0.1", &other), (0xa0, 4));
    let counted = daemon.status()["statistics"]["notify"].clone();
    assert_eq!((&counted["taken"], &counted["refused"]), (&2.into(), &5.into()));
    assert_eq!(daemon.log().matches("is refused: it is no `primary`").count(), 1, "once a minute");
    assert!(String::from_utf8(house.danelaw(&["status"]).stdout).unwrap().contains("NOTIFY: 2 taken, 5 refused"));
}

#[test]
fn a_flood_of_notify_keeps_nobody_busy() {
    let impostor = Impostor::start(1);
    let (house, ..) = house(&[(ZONE, impostor.port, "signing = \"none\"")]);
    let daemon = house.start();
    wait_until("it is served", || addresses(&daemon) == ["192.0.2.1"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (begun, before) = (std::time::Instant::now(), impostor.asked());
    for serial in 2..20_000 {
        // What finds no room is lost, as on any way.
        let _ = socket.send_to(&notify(ZONE, Some(serial)), daemon.address);
    }
    impostor.is(2, Does::Good);
    wait_until("it is looked for", || addresses(&daemon) == ["192.0.2.2"]);
    // One a second, and REFRESH's own.
    let most = begun.elapsed().as_secs() as usize * 2 + 3;
    let asked = impostor.asked() - before;
    assert!(asked <= most, "{asked} checks where {most} may be");
    assert!(daemon.status()["statistics"]["notify"]["taken"].as_u64().unwrap() > 100);
}
