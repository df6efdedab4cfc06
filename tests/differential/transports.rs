//! One message, whatever carries it: a daemon over UDP, TCP, TLS, HTTPS and QUIC, and the plugin in a hickory server, over the same
//! generated zones. Each law says what its transport may change, and where that is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use danelaw::dns::{Name, Rtype};
use danelaw::zone::{Denial, Draft, Published, Snapshot, print};
use http::{Method, StatusCode};
use rustls::pki_types::CertificateDer;

use super::asked::{self, Asked, BROKEN, CLIENT, COOKIE, EXTENDED_ERROR, Extra, KEEPALIVE, NSID, PADDING, zone_of};
use super::catalog;
use super::clients::{self, number};
use super::common::{self, name, snapshot, zone};
use super::compare::{ends, fits, is_truncated, opt_at};
use super::encrypted::{HOST, MEDIA_TYPE, config, doh, doq, doq_octets, dot, framed, get, read_frame, request};
use super::handlers::Handlers;
use super::{FAMILIES, batches, zones};

/// Questions of a run that nobody asked for more. Each is asked in ten ways.
const QUESTIONS: usize = 2000;
/// Questions about one set of zones.
const BATCH: usize = 5000;
/// RFC 8467 section 4.1.
const BLOCK: usize = 468;
/// What stands for the daemon's NSID.
const NAME: &str = "ns1";

#[test]
fn every_transport_and_the_plugin_give_the_same_messages() {
    let (mut found, mut total) = (Found::default(), 0);
    for (mut random, count) in batches(QUESTIONS, BATCH) {
        let zones: Vec<Published> = zones::zones(&mut random, FAMILIES).iter().map(as_read).collect();
        let asked = asked::all(&mut random, &zones, count);
        total += asked.len();
        compare(&zones, &asked, &mut found);
    }
    println!("{found}");
    found.judge(total);
}

/// What a run found.
#[derive(Default)]
pub struct Found {
    compared: BTreeMap<&'static str, usize>,
    /// Questions by the zone's denial and how EDNS is spoken.
    kinds: BTreeMap<(&'static str, &'static str), usize>,
    /// How often each change was seen that is known of.
    changes: BTreeMap<&'static str, usize>,
    broken: Vec<String>,
}

impl Found {
    pub fn compared(&mut self, way: &'static str, asked: &Asked, outcome: Result<(), String>) {
        *self.compared.entry(way).or_default() += 1;
        self.broken.extend(outcome.err().map(|why| format!("{way}, {asked}: {why}")));
    }

    pub fn changed(&mut self, what: &'static str) {
        *self.changes.entry(what).or_default() += 1;
    }

    fn judge(&self, count: usize) {
        assert!(self.broken.is_empty(), "{self}");
        assert_eq!(self.compared.len(), 10, "ways to ask:\n{self}");
        let unseen: Vec<_> =
            catalog::list().chain(KNOWN).filter(|(what, _)| !self.changes.contains_key(what)).collect();
        assert!(unseen.is_empty(), "these never occur, so nothing is known of them: {unseen:#?}\n{self}");
        for denial in DENIALS {
            for form in FORMS {
                let seen = self.kinds.get(&(denial, form)).copied().unwrap_or(0);
                assert!(seen * 200 >= count, "{denial}, {form}: {seen} questions\n{self}");
            }
        }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} messages compared", self.compared.values().sum::<usize>())?;
        self.compared.iter().try_for_each(|(way, count)| writeln!(f, "{count:8} {way}"))?;
        self.kinds.iter().try_for_each(|((denial, form), count)| writeln!(f, "{count:8} {denial}, {form}"))?;
        self.changes.iter().try_for_each(|(what, count)| writeln!(f, "{count:8} {what}"))?;
        writeln!(f, "{} unexplained", self.broken.len())?;
        self.broken.iter().take(20).try_for_each(|one| writeln!(f, "  {one}"))
    }
}

const DENIALS: [&str; 4] = ["unsigned", "NSEC", "NSEC3", "opt-out"];
const FORMS: [&str; 4] = ["no EDNS", "EDNS", "DO", "a small buffer"];

fn denial(zone: &Published) -> &'static str {
    let opts_out = || zone.sets().any(|(_, set)| set.rrset.rtype == Rtype::NSEC3 && set.rrset.rdatas[0][1] & 1 == 1);
    match &zone.denial {
        _ if zone.set(zone.origin(), Rtype::DNSKEY).is_none() => DENIALS[0],
        Denial::Nsec => DENIALS[1],
        Denial::Nsec3(_) if !opts_out() => DENIALS[2],
        Denial::Nsec3(_) => DENIALS[3],
    }
}

/// The zone as it is read back from its file, whose name has no capitals.
fn as_read(published: &Published) -> Published {
    let contents = zone(&published.origin().to_lowercase().to_string(), &print::published(published));
    Draft::unsigned(&contents).unwrap().finish(published.serial).unwrap()
}

/// Asks everybody everything.
fn compare(zones: &[Published], asked: &[Asked], found: &mut Found) {
    let daemon = Daemon::start(zones);
    let apexes: Vec<Name> = zones.iter().map(|zone| zone.origin().clone()).collect();
    for one in asked {
        let apex = zone_of(&apexes, &one.question.name);
        if let Some(zone) = zones.iter().find(|zone| Some(zone.origin()) == apex) {
            *found.kinds.entry((denial(zone), one.form())).or_default() += 1;
        }
    }
    let mut queries: Vec<Vec<u8>> = asked.iter().map(Asked::query).collect();
    number(&mut queries);
    let udp = clients::udp(daemon.plain, &queries);
    let tcp = clients::tcp(daemon.plain, &queries);
    let encrypted = daemon.encrypted(asked, &queries);
    for (place, one) in asked.iter().enumerate() {
        let (query, whole) = (&queries[place], &tcp[place]);
        found.compared("TCP", one, options(one, "TCP", whole).and_then(|()| has_id(whole, query)));
        let outcome = datagram(one, &udp[place], whole, found).and_then(|()| has_id(&udp[place], query));
        found.compared("UDP", one, outcome);
        for (transport, answers) in &encrypted {
            let answer = &answers[place];
            // RFC 9250 section 4.2.1: the ID is 0 over QUIC; RFC 8484 section 4.1 recommends it over HTTPS.
            let id = if *transport == "TLS" { query } else { &vec![0, 0] };
            let same = || equal(&reduced(answer, OF_TRANSPORTS), &reduced(whole, OF_TRANSPORTS));
            let outcome = options(one, transport, answer).and_then(|()| has_id(answer, id)).and_then(|()| same());
            for (what, code) in [(PADDED, PADDING), (NOT_KEPT, KEEPALIVE)] {
                if option(answer, code).is_some() != option(whole, code).is_some() {
                    found.changed(what);
                }
            }
            found.compared(transport, one, outcome);
        }
    }
    let snapshot = Snapshot::new(zones.iter().map(snapshot), [name(BROKEN)]);
    Handlers::new(snapshot, apexes).compare(asked, &queries, &udp, &tcp, found);
}

/// Changes by transports that are known of, and why they are; a run in which one is never seen holds nothing about it.
const KNOWN: [(&str, &str); 6] = [
    (PADDED, "RFC 7830 section 4: where it was asked for; section 6: only where nobody can read it"),
    (NOT_KEPT, "RFC 7828 section 3.2.1, RFC 9250 section 5.5.2: it is of TCP and TLS"),
    (TRUNCATED, "RFC 2181 section 9: what is required does not fit the client's payload size"),
    (SHORTENED, "RFC 2181 section 9: they are not required"),
    (UNFIT, "hickory compresses less: DaneHandler empties a datagram that would be cut"),
    (
        SERVERS,
        "RFC 2136 section 3.3, RFC 1996 section 3.10: the daemon refuses them, the answer function and the plugin know none",
    ),
];
const PADDED: &str = "padded";
const NOT_KEPT: &str = "no keepalive";
const TRUNCATED: &str = "truncated";
const SHORTENED: &str = "without some additional records";
/// An update or a NOTIFY, which a server takes or refuses.
pub const SERVERS: &str = "UPDATE or NOTIFY";
pub const UNFIT: &str = "hickory's encoding does not fit";

fn has_id(answer: &[u8], query: &[u8]) -> Result<(), String> {
    if answer.get(..2) == query.get(..2) { Ok(()) } else { Err("another ID".to_owned()) }
}

fn equal(one: &[u8], other: &[u8]) -> Result<(), String> {
    match one == other {
        true => Ok(()),
        false => Err(format!("{}\n    and not {}", hex(one), hex(other))),
    }
}

fn hex(octets: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&octets[..octets.len().min(300)])
}

/// The options of a response: code and content.
fn options_of(message: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let Some(at) = opt_at(message) else { return Vec::new() };
    let (mut rest, mut options) = (&message[at + 11..], Vec::new());
    while !rest.is_empty() {
        let u16_at = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
        let (code, end) = (u16_at(0), 4 + usize::from(u16_at(2)));
        options.push((code, rest[4..end].to_vec()));
        rest = &rest[end..];
    }
    options
}

fn option(message: &[u8], code: u16) -> Option<Vec<u8>> {
    options_of(message).into_iter().find(|(other, _)| *other == code).map(|(_, content)| content)
}

/// Each option is there where it has been asked for and its transport has it, and no other.
fn options(asked: &Asked, transport: &str, message: &[u8]) -> Result<(), String> {
    let is_encrypted = !matches!(transport, "UDP" | "TCP");
    // RFC 7828 section 3.3.2; section 3.2.1: not over UDP; of HTTP/2 and QUIC (RFC 9250 section 5.5.2) it keeps no connection.
    let keeps = matches!(transport, "TCP" | "TLS");
    let all_zero = |content: &[u8]| content.iter().all(|octet| *octet == 0);
    for (code, content) in options_of(message) {
        let good = match code {
            // RFC 5001 section 2.1
            NSID => content == NAME.as_bytes(),
            // RFC 7873 section 5.2.3, and RFC 9018 section 4: version 1, three octets reserved, time, hash.
            COOKIE => content.len() == 24 && content[..8] == CLIENT && content[8..12] == [1, 0, 0, 0],
            KEEPALIVE => keeps && content.len() == 2,
            // RFC 7830 sections 3 and 4, RFC 8467 section 4.1.
            PADDING => {
                is_encrypted && all_zero(&content) && content.len() < BLOCK && message.len().is_multiple_of(BLOCK)
            }
            // RFC 8914 section 2, without text.
            EXTENDED_ERROR => content.len() == 2,
            _ => false,
        };
        if !good || code != EXTENDED_ERROR && !asked.has(code) {
            return Err(format!("option {code} with {}", hex(&content)));
        }
    }
    let wanted = [(NSID, true), (COOKIE, true), (KEEPALIVE, keeps), (PADDING, is_encrypted)];
    let missing = wanted.iter().find(|(code, has_it)| *has_it && asked.has(*code) && option(message, *code).is_none());
    missing.map_or(Ok(()), |(code, _)| Err(format!("option {code} is missing")))
}

/// Options that only some transports have. A COOKIE is another one in every second: the time and the hash of it are left out.
pub const OF_TRANSPORTS: &[u16] = &[KEEPALIVE, PADDING];
/// Options of the daemon's that hickory's answers have not.
pub const OF_THE_DAEMON: &[u16] = &[KEEPALIVE, PADDING, NSID, COOKIE];

/// A message with ID 0 and without these options.
pub fn reduced(message: &[u8], without: &[u16]) -> Vec<u8> {
    let mut out = message.to_vec();
    out[..2].fill(0);
    let Some(at) = opt_at(message) else { return out };
    let mut options = Vec::new();
    for (code, mut content) in options_of(message).into_iter().filter(|(code, _)| !without.contains(code)) {
        if code == COOKIE {
            content[12..].fill(0);
        }
        options.extend([code.to_be_bytes(), (content.len() as u16).to_be_bytes()].concat());
        options.extend(content);
    }
    out.truncate(at + 9);
    out.extend((options.len() as u16).to_be_bytes());
    out.extend(options);
    out
}

/// What UDP may change: TC and less, by RFC 2181 sections 5 and 9, RFC 9471 section 3.1 and the client's payload size (RFC 6891 section 6.2.5).
fn datagram(asked: &Asked, udp: &[u8], tcp: &[u8], found: &mut Found) -> Result<(), String> {
    options(asked, "UDP", udp)?;
    let (short, long) = (reduced(udp, OF_TRANSPORTS), reduced(tcp, OF_TRANSPORTS));
    fits(&asked.question, udp, tcp)?;
    if is_truncated(udp) {
        found.changed(TRUNCATED);
        // A chain that is cut may end before the name that does not exist.
        let ends_early = short[3] & 15 == 0 && long[3] & 15 != 0 && long[7] > 0;
        let flags = if ends_early { long[3] & 0xf0 } else { long[3] };
        return equal(&short[2..6], &[long[2] | 2, flags, long[4], long[5]]);
    }
    if short.len() == long.len() {
        return equal(&short, &long);
    }
    found.changed(SHORTENED);
    let required = ends(&long).0;
    equal(&short[..10], &long[..10])?;
    equal(&short[12..required], &long[12..required])
}

/// A daemon over these zones, and over one that can't be read; it ends with the value.
struct Daemon {
    child: Child,
    plain: SocketAddr,
    tls: SocketAddr,
    https: SocketAddr,
    quic: SocketAddr,
    certificate: CertificateDer<'static>,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(zones: &[Published]) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let put = |file: &str, text: String| std::fs::write(folder.path().join(file), text).unwrap();
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        put("tls.pem", made.cert.pem());
        put("tls.key", made.signing_key.serialize_pem());
        let any = "[\"127.0.0.1:0\"]";
        let mut config = format!(
            "listen = {any}\nlisten-tls = {any}\nlisten-https = {any}\nlisten-quic = {any}\n\
             [tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\n[server]\nnsid = \"{NAME}\"\n"
        );
        for zone in zones {
            let origin = zone.origin().to_host();
            put(&format!("zones/{origin}.zone"), print::published(zone));
            let signing = if denial(zone) == DENIALS[0] { "none" } else { "presigned" };
            config += &format!("[zone.\"{origin}\"]\nsigning = \"{signing}\"\n");
        }
        put(&format!("zones/{}.zone", name(BROKEN).to_host()), "@ SOA what is this\n".to_owned());
        put("danelaw.toml", config);
        let child = common::serve(env!("CARGO_BIN_EXE_danelaw"), folder.path());
        let (certificate, none) = (made.cert.der().clone(), ([127, 0, 0, 1], 0).into());
        let mut daemon = Daemon { child, plain: none, tls: none, https: none, quic: none, certificate, folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        let path = daemon.folder.path().to_owned();
        while !path.join("ready").exists() {
            let alive = daemon.child.try_wait().unwrap().is_none() && Instant::now() < deadline;
            assert!(alive, "danelaw does not serve: {}", std::fs::read_to_string(path.join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        let of = |transport: &str| common::address(&path, transport);
        (daemon.plain, daemon.tls, daemon.https, daemon.quic) = (of(""), of("tls"), of("https"), of("quic"));
        daemon
    }

    /// What it answers over each encrypted transport.
    fn encrypted(&self, asked: &[Asked], queries: &[Vec<u8>]) -> [(&'static str, Vec<Vec<u8>>); 4] {
        let config = |protocol| config(std::slice::from_ref(&self.certificate), protocol);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Each connects when its turn has come: who waits for long is idle, and closed.
        let tls = clients::stream(queries, || dot(self.tls, config(b"dot")).unwrap());
        let client = runtime.block_on(doh(self.https, config(b"h2"))).unwrap();
        let over_https = |place: usize, post: bool| {
            let (client, query) = (client.clone(), asked[place].query());
            async move {
                let said = match post {
                    true => request(&client, Method::POST, "/dns-query", Some(MEDIA_TYPE), Some(&query)).await,
                    false => request(&client, Method::GET, &get(&query), None, None).await,
                };
                let (status, _, body) = said.unwrap();
                assert_eq!(status, StatusCode::OK);
                body
            }
        };
        let gets = clients::side_by_side(&runtime, asked.len(), |place| over_https(place, false));
        let posts = clients::side_by_side(&runtime, asked.len(), |place| over_https(place, true));
        let client = runtime.block_on(doq(self.quic, config(b"doq"))).unwrap();
        let quic = clients::side_by_side(&runtime, asked.len(), |place| {
            let (client, query) = (client.clone(), framed(&asked[place].query_over_quic()));
            async move { read_frame(&mut &doq_octets(&client, &query).await.unwrap()[..]).unwrap() }
        });
        [("TLS", tls), ("HTTPS GET", gets), ("HTTPS POST", posts), ("QUIC", quic)]
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the room of a datagram is taken by options that hickory's answer has not.
pub fn takes_room(asked: &Asked) -> bool {
    matches!(asked.extra, Extra::Options(_)) && (asked.has(NSID) || asked.has(COOKIE))
}
