//! Clients that hold on, dawdle, never listen, flood or talk nonsense: somebody else is answered all the while, and
//! afterwards nothing of them is left.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use proptest::test_runner::{RngAlgorithm, TestRng};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::common::wire::{self, DNSSEC, TCP};
use crate::common::{name, run};
use crate::house::{CONFIG, Daemon, HOST, House, good_zone, wait, wait_until};
use crate::packets::garble;

/// Somebody else, in another network than all the strangers.
const BYSTANDER: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
/// Of this owner each answer takes ten thousand octets.
const LARGE: &str = "large.example.org";
/// More connections of one address than the server takes of it.
const TOO_MANY: usize = 200;

fn stranger(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, (number / 200) as u8, 1 + (number % 200) as u8)
}

/// The tests' own end of each connection takes a descriptor, too.
fn many_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

fn connect(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// What the bystander hears, if anything, within two seconds.
fn heard(server: SocketAddr, tcp: bool) -> Option<Vec<u8>> {
    let query = wire::query(name(HOST).as_wire(), 1, if tcp { TCP } else { DNSSEC });
    let patience = Some(Duration::from_secs(2));
    if tcp {
        let mut stream = connect(BYSTANDER, server).ok()?;
        stream.set_read_timeout(patience).ok()?;
        stream.write_all(&framed(&query)).ok()?;
        return wire::read_message(&mut stream).ok();
    }
    let socket = UdpSocket::bind((BYSTANDER, 0)).ok()?;
    socket.set_read_timeout(patience).ok()?;
    socket.send_to(&query, server).ok()?;
    let mut message = vec![0; 4096];
    let (length, _) = socket.recv_from(&mut message).ok()?;
    message.truncate(length);
    Some(message)
}

#[track_caller]
fn others_are_answered(daemon: &Daemon<'_>) {
    for _ in 0..5 {
        for tcp in [false, true] {
            let response = wire::decode(&wait("somebody else is answered", || heard(daemon.address, tcp)));
            assert_eq!((response.rcode, response.answer.len(), response.tc), (0, 2, false));
        }
    }
}

/// Sets it when it goes, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does one thing over and over while another is done.
fn during(mut hostile: impl FnMut() + Send, meanwhile: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let (begin, begun) = mpsc::channel();
    std::thread::scope(|scope| {
        let end = Over(&over);
        let over = &over;
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                hostile();
                let _ = begin.send(());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        begun.recv().unwrap();
        meanwhile();
        drop(end);
    });
}

/// Connections of so many strangers, so many of each, that say nothing.
fn idle(server: SocketAddr, strangers: usize, of_each: usize) -> Vec<TcpStream> {
    (0..strangers * of_each).map(|number| connect(stranger(number % strangers), server).unwrap()).collect()
}

/// Connections that ask for much and never read it, written to as far as they can be.
fn greedy(server: SocketAddr) -> Vec<TcpStream> {
    let asked = framed(&wire::query(name(LARGE).as_wire(), 16, TCP)).repeat(200);
    let open = |number: usize| {
        let mut stream = connect(stranger(number % 4), server).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while stream.write(&asked).is_ok() && taken < 20 {
            taken += 1;
        }
        stream
    };
    (0..60).map(open).collect()
}

/// A zone with a large RRset.
fn house() -> House {
    many_descriptors();
    let house = House::good();
    put_large(&house);
    house
}

fn put_large(house: &House) {
    let large = format!("large TXT {}\n", format!("\"{}\" ", "x".repeat(250)).repeat(40));
    house.put_zone(&(good_zone() + &large));
}

fn tcp_connections(daemon: &Daemon<'_>, what: &str) -> u64 {
    let status = daemon.status();
    let mut connections = status["statistics"]["connections"].as_array().unwrap().iter();
    connections.find(|one| one["transport"] == "tcp").unwrap()[what].as_u64().unwrap()
}

/// As many as there are places, in a daemon that was started with as few descriptors as most systems give.
#[test]
fn a_thousand_idle_clients_keep_neither_others_nor_the_daemon_itself_from_anything() {
    many_descriptors();
    let house = House::good().begun_after("ulimit -Sn 1024");
    let daemon = house.start();
    let serial = daemon.serial();
    let held = idle(daemon.address, 18, 60);
    wait_until("a thousand connections", || tcp_connections(&daemon, "open") >= 1000);
    others_are_answered(&daemon);
    put_large(&house);
    wait_until("a change is seen", || daemon.serial() > serial);
    let log = daemon.log();
    assert!(!log.contains("Too many open files") && log.lines().count() < 60, "{log}");
    drop(held);
}

#[test]
fn clients_of_an_octet_at_a_time_keep_nobody_waiting() {
    let house = house();
    let daemon = house.start();
    let mut slow = idle(daemon.address, 10, 30);
    let query = framed(&wire::query(name(HOST).as_wire(), 1, TCP));
    let mut octets = query.iter().cycle();
    let dawdle = || {
        let octet = octets.next().unwrap();
        for stream in &mut slow {
            // Who takes too long is closed.
            let _ = stream.write_all(&[*octet]);
        }
    };
    during(dawdle, || others_are_answered(&daemon));
}

#[test]
fn clients_that_never_read_keep_nobody_waiting_and_cost_little() {
    let house = house();
    let daemon = house.start();
    others_are_answered(&daemon);
    let before = Footprint::of(&daemon);
    let held = greedy(daemon.address);
    others_are_answered(&daemon);
    let grown = Footprint::of(&daemon).resident.saturating_sub(before.resident);
    assert!(grown < 64 << 10, "{grown} KiB for {} clients", held.len());
}

#[test]
fn a_flood_of_connections_from_one_address_leaves_the_others_their_places() {
    let house = house();
    let daemon = house.start();
    let mut held = Vec::new();
    let flood = || {
        held.extend((0..50).filter_map(|_| connect(stranger(0), daemon.address).ok()));
        held.truncate(TOO_MANY);
    };
    during(flood, || {
        others_are_answered(&daemon);
        wait_until("more than its share is refused", || tcp_connections(&daemon, "refused") > 0);
    });
    drop(held);
    wait("the address has places again", || {
        let mut stream = connect(stranger(0), daemon.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(&framed(&wire::query(name(HOST).as_wire(), 1, TCP))).ok()?;
        wire::read_message(&mut stream).ok()
    });
    let log = daemon.log();
    assert!(log.lines().count() < 60, "strangers fill the log:\n{log}");
}

/// A house that listens for encrypted queries.
fn encrypted_house() -> House {
    let house = house();
    let listen: String =
        ["tls", "https", "quic"].iter().map(|what| format!("listen-{what} = [\"127.0.0.1:0\"]\n")).collect();
    let tls = "[tls]\ncertificate = \"certs/mail.pem\"\nkey = \"certs/mail.key\"\n";
    house.put("danelaw.toml", format!("{listen}{CONFIG}{tls}"));
    house
}

fn encrypted_address(daemon: &Daemon<'_>, transport: &str) -> SocketAddr {
    let status = daemon.status();
    let listed = status["encrypted"].as_array().unwrap();
    let found = listed.iter().find(|one| one["transport"] == transport).unwrap_or_else(|| panic!("{status}"));
    found["address"].as_str().unwrap().parse().unwrap()
}

/// So many first packets of QUIC clients, each of another connection, caught on their way.
fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let trap = UdpSocket::bind("127.0.0.1:0").unwrap();
    trap.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let server = trap.local_addr().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![b"doq".to_vec()];
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let catch = |_| {
        let connecting = endpoint.connect(server, HOST).unwrap();
        let mut packet = vec![0; 2000];
        let (length, _) = trap.recv_from(&mut packet).unwrap();
        packet.truncate(length);
        drop(connecting);
        packet
    };
    (0..count).map(catch).collect()
}

/// Handshakes over TLS, HTTPS and QUIC that are begun and never go on.
fn half_open(daemon: &Daemon<'_>, packets: &[Vec<u8>]) -> Vec<TcpStream> {
    let quic = encrypted_address(daemon, "quic");
    for (number, packet) in packets.iter().enumerate() {
        UdpSocket::bind((stranger(number % 12), 0)).unwrap().send_to(packet, quic).unwrap();
    }
    let mut held = Vec::new();
    for transport in ["tls", "https"] {
        let server = encrypted_address(daemon, transport);
        for number in 0..360 {
            let mut stream = connect(stranger(number % 12), server).unwrap();
            // Nothing, or the beginning of a ClientHello. Beyond the limits the server may have hung up.
            let _ = stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc][..number % 10]);
            held.push(stream);
        }
    }
    held
}

#[test]
fn half_open_handshakes_keep_nobody_waiting() {
    let house = encrypted_house();
    let daemon = house.start();
    let packets = first_packets(300);
    let held = half_open(&daemon, &packets);
    others_are_answered(&daemon);
    for transport in ["tls", "https", "quic"] {
        let (port, how) = (encrypted_address(&daemon, transport).port().to_string(), format!("+{transport}"));
        let bystander = BYSTANDER.to_string();
        // Room is made once the others have been silent for half a second.
        wait_until(&format!("somebody else is answered over {transport}"), || {
            let said = run("kdig", &["-b", &bystander, "@127.0.0.1", "-p", &port, &how, "+short", HOST, "A"]);
            said.stdout == b"192.0.2.25\n"
        });
    }
    assert_eq!(held.len(), 720);
}

/// Datagrams of nonsense, of many senders.
fn nonsense(random: &mut TestRng, server: SocketAddr, senders: &[UdpSocket]) {
    let host = name(HOST);
    for sender in senders.iter().cycle().take(400) {
        let _ = sender.send_to(&garble(random, host.as_wire()), server);
    }
}

fn senders() -> Vec<UdpSocket> {
    (0..20).map(|number| UdpSocket::bind((stranger(number), 0)).unwrap()).collect()
}

#[test]
fn a_flood_of_garbage_keeps_nobody_waiting() {
    let house = house();
    house.put("danelaw.toml", format!("{CONFIG}[rate-limit]\nresponses-per-second = 20\n"));
    let mut daemon = house.start();
    let (mut random, senders) = (TestRng::deterministic_rng(RngAlgorithm::ChaCha), senders());
    let server = daemon.address;
    during(|| nonsense(&mut random, server, &senders), || others_are_answered(&daemon));
    assert!(daemon.is_running());
    let log = daemon.log();
    assert!(!log.contains("panicked") && log.lines().count() < 60, "{log}");
}

/// What the system holds for a daemon.
#[derive(Debug)]
struct Footprint {
    /// Memory, KiB.
    resident: u64,
    threads: u64,
    descriptors: usize,
}

impl Footprint {
    fn of(daemon: &Daemon<'_>) -> Footprint {
        let folder = format!("/proc/{}", daemon.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = std::fs::read_dir(format!("{folder}/fd")).unwrap().count();
        Footprint { resident: number("VmRSS:"), threads: number("Threads:"), descriptors }
    }
}

#[test]
fn nothing_of_a_flood_is_left() {
    let house = encrypted_house();
    let daemon = house.start();
    let (mut random, senders) = (TestRng::deterministic_rng(RngAlgorithm::ChaCha), senders());
    let mut flood = || {
        let held = (idle(daemon.address, 10, 50), greedy(daemon.address), half_open(&daemon, &first_packets(100)));
        nonsense(&mut random, daemon.address, &senders);
        others_are_answered(&daemon);
        drop(held);
    };
    let before = Footprint::of(&daemon);
    flood();
    wait_until("its connections are closed", || Footprint::of(&daemon).descriptors <= before.descriptors);
    // Buffers and tables have their size now.
    let after_one = Footprint::of(&daemon);
    for _ in 0..4 {
        flood();
    }
    wait_until("all connections are closed", || Footprint::of(&daemon).descriptors <= before.descriptors);
    // While the keeper works another thread stands in for its, and ends after a while.
    wait_until("all threads have ended", || Footprint::of(&daemon).threads <= after_one.threads + 1);
    let after = Footprint::of(&daemon);
    assert!(after.resident < after_one.resident + (24 << 10), "{after:?} after {after_one:?}, {before:?} before");
}
