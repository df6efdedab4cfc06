//! Nameservers that lie, are lame, slow or silent: nothing of it is believed, and it is said why.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use danelaw::dane::Tlsa;
use danelaw::dns::Name;
use danelaw::observe::nameservers::{self, News, NotShown, Order, Shown, ask};
use tokio::sync::mpsc;

use super::common::name;
use super::common::wire::read_message;

const ZONE: &str = "lied.test";
const OWNER: &str = "_25._tcp.mail.lied.test";
const LIMIT: Duration = Duration::from_millis(900);
const SOA: u16 = 6;
const TLSA: u16 = 52;
const AA: u8 = 0x84;
const TC: u8 = 0x02;

/// A question that came.
struct Query {
    octets: Vec<u8>,
    tcp: bool,
    from: SocketAddr,
    /// How many came before.
    number: usize,
}

impl Query {
    fn qtype(&self) -> u16 {
        let end = self.question().len() + 12;
        u16::from_be_bytes([self.octets[end - 4], self.octets[end - 3]])
    }

    /// Its question; an OPT record of 11 octets stands behind it.
    fn question(&self) -> &[u8] {
        &self.octets[12..self.octets.len() - 11]
    }

    /// A response: third octet, response code, answer and authority.
    fn response(&self, flags: u8, rcode: u8, answer: &[Vec<u8>], authority: &[Vec<u8>]) -> Vec<u8> {
        let counts = [0, 1, 0, answer.len() as u8, 0, authority.len() as u8, 0, 0];
        [&self.octets[..2], &[flags, rcode], &counts, self.question(), &answer.concat(), &authority.concat()].concat()
    }

    /// What a good server says: this serial, one record.
    fn good(&self, serial: u32) -> Vec<u8> {
        match self.qtype() {
            SOA => self.response(AA, 0, &[soa(serial)], &[]),
            _ => self.response(AA, 0, &[tlsa(OWNER, 3)], &[]),
        }
    }
}

fn record(owner: &str, rtype: u16, rdata: &[u8]) -> Vec<u8> {
    let fixed = [&rtype.to_be_bytes()[..], &[0, 1, 0, 0, 1, 44], &(rdata.len() as u16).to_be_bytes()].concat();
    [name(owner).as_wire(), &fixed, rdata].concat()
}

fn soa(serial: u32) -> Vec<u8> {
    soa_of(ZONE, serial)
}

fn soa_of(zone: &str, serial: u32) -> Vec<u8> {
    record(zone, SOA, &[&[0, 0][..], &[serial, 1, 1, 1, 1].map(u32::to_be_bytes).concat()].concat())
}

fn tlsa(owner: &str, usage: u8) -> Vec<u8> {
    record(owner, TLSA, &[&[usage, 1, 1][..], &[7; 32]].concat())
}

fn cname(owner: &str, target: &str) -> Vec<u8> {
    record(owner, 5, name(target).as_wire())
}

type Answer = dyn Fn(&Query) -> Option<Vec<u8>> + Send + Sync;

/// A server that answers as it is told, or not; and what it was asked.
struct Liar {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(Vec<u8>, SocketAddr, bool)>>>,
}

impl Liar {
    fn start(tcp: bool, answer: impl Fn(&Query) -> Option<Vec<u8>> + Send + Sync + 'static) -> Liar {
        let (udp, listener) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(listener) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, listener);
            }
        };
        let liar = Liar { address: udp.local_addr().unwrap(), asked: Arc::default() };
        let answer: Arc<Answer> = Arc::new(answer);
        let reply = {
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&liar.asked));
            move |octets: Vec<u8>, from: SocketAddr, tcp: bool| {
                let mut asked = asked.lock().unwrap();
                let query = Query { octets, tcp, from, number: asked.len() };
                asked.push((query.octets.clone(), query.from, query.tcp));
                drop(asked);
                answer(&query)
            }
        };
        let over_udp = reply.clone();
        std::thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut query) {
                if let Some(response) = over_udp(query[..length].to_vec(), from, false) {
                    udp.send_to(&response, from).unwrap();
                }
            }
        });
        if tcp {
            std::thread::spawn(move || {
                let mut silent = Vec::new();
                for mut stream in listener.incoming().map(Result::unwrap) {
                    let Ok(query) = read_message(&mut stream) else { continue };
                    match reply(query, stream.peer_addr().unwrap(), true) {
                        None => silent.push(stream),
                        Some(response) => {
                            let framed = [&(response.len() as u16).to_be_bytes(), &response[..]].concat();
                            stream.write_all(&framed).unwrap();
                        }
                    }
                }
            });
        }
        liar
    }

    fn asked(&self) -> Vec<(Vec<u8>, SocketAddr, bool)> {
        self.asked.lock().unwrap().clone()
    }

    async fn shows(&self) -> Result<Shown, NotShown> {
        ask(self.address, &name(ZONE), &[name(OWNER)], LIMIT).await
    }
}

fn good(serial: u32) -> Result<Shown, NotShown> {
    let record = format!("3 1 1 {}", "07".repeat(32)).parse::<Tlsa>().unwrap();
    Ok(Shown { serial, records: vec![record], ttl: 300 })
}

#[tokio::test]
async fn a_question_is_one_that_nobody_guesses_for_an_authoritative_server() {
    let liar = Liar::start(false, |query| Some(query.good(7)));
    for _ in 0..10 {
        assert_eq!(liar.shows().await, good(7));
    }
    let asked = liar.asked();
    assert_eq!(asked.len(), 30, "the serial, the records, the serial");
    let mut ids: Vec<&[u8]> = asked.iter().map(|(octets, ..)| &octets[..2]).collect();
    let mut ports: Vec<u16> = asked.iter().map(|(_, from, _)| from.port()).collect();
    (ids.sort(), ids.dedup(), ports.sort(), ports.dedup());
    assert!(ids.len() > 25 && ports.len() > 25, "{} ids, {} ports", ids.len(), ports.len());
    for (octets, ..) in &asked {
        assert_eq!(octets[2..12], [0, 0, 0, 1, 0, 0, 0, 0, 0, 1], "no flag, one question, one OPT");
        assert_eq!(octets[octets.len() - 11..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0], "EDNS 0, 1232 octets, no DO");
    }
}

/// What a server does, by itself and not by how it is reached.
#[tokio::test]
async fn what_is_no_answer_with_authority_is_not_believed() {
    let owner = || name(OWNER);
    let only = |rtype: u16, lie: fn(&Query) -> Vec<u8>| {
        move |query: &Query| Some(if query.qtype() == rtype { lie(query) } else { query.good(7) })
    };
    let cases: Vec<(&str, Liar, NotShown)> = vec![
        ("SERVFAIL", Liar::start(true, only(SOA, |query| query.response(AA, 2, &[], &[]))), NotShown::Rcode(2)),
        ("REFUSED", Liar::start(true, only(TLSA, |query| query.response(AA, 5, &[], &[]))), NotShown::Rcode(5)),
        (
            "FORMERR without a question",
            Liar::start(true, |query| Some([&query.octets[..2], &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat())),
            NotShown::Rcode(1),
        ),
        (
            "BADVERS, whose upper bits stand in the OPT record",
            Liar::start(true, |query| {
                let mut response = query.response(AA, 0, &[], &[]);
                response[11] = 1;
                Some([&response[..], &[0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]].concat())
            }),
            NotShown::Rcode(16),
        ),
        (
            "a cache",
            Liar::start(true, only(SOA, |query| query.response(0x80, 0, &[soa(7)], &[]))),
            NotShown::NotAuthoritative,
        ),
        (
            "the records of a cache",
            Liar::start(true, only(TLSA, |query| query.response(0x80, 0, &[tlsa(OWNER, 3)], &[]))),
            NotShown::NotAuthoritative,
        ),
        (
            "NXDOMAIN without authority",
            Liar::start(true, only(TLSA, |query| query.response(0x80, 3, &[], &[soa(7)]))),
            NotShown::NotAuthoritative,
        ),
        (
            "another zone's SOA",
            Liar::start(true, only(SOA, |query| query.response(AA, 0, &[soa_of("test", 7)], &[]))),
            NotShown::NoZone,
        ),
        (
            "the parent's NXDOMAIN",
            Liar::start(true, only(SOA, |query| query.response(AA, 3, &[], &[soa_of("test", 7)]))),
            NotShown::NoZone,
        ),
        (
            "nothing, of another zone",
            Liar::start(true, only(TLSA, |query| query.response(AA, 3, &[], &[soa_of("mail.lied.test", 7)]))),
            NotShown::Elsewhere(owner()),
        ),
        (
            "nothing, of no zone",
            Liar::start(true, only(TLSA, |query| query.response(AA, 0, &[], &[]))),
            NotShown::Elsewhere(owner()),
        ),
        (
            "an alias out of the zone, with what a cache has there",
            Liar::start(
                true,
                only(TLSA, |query| {
                    query.response(AA, 0, &[cname(OWNER, "a.other.test"), tlsa("a.other.test", 3)], &[])
                }),
            ),
            NotShown::Elsewhere(owner()),
        ),
        (
            "aliases in a circle",
            Liar::start(
                true,
                only(TLSA, |query| {
                    query.response(AA, 0, &[cname(OWNER, "a.lied.test"), cname("a.lied.test", OWNER)], &[])
                }),
            ),
            NotShown::Malformed,
        ),
        (
            "usage 9",
            Liar::start(true, only(TLSA, |query| query.response(AA, 0, &[tlsa(OWNER, 9)], &[]))),
            NotShown::Unassigned(owner()),
        ),
        (
            "a record cut short",
            Liar::start(
                true,
                only(TLSA, |query| {
                    let mut response = query.good(7);
                    response.truncate(response.len() - 1);
                    response
                }),
            ),
            NotShown::Malformed,
        ),
        (
            "octets behind the last record",
            Liar::start(true, only(TLSA, |query| [&query.good(7)[..], &[0]].concat())),
            NotShown::Malformed,
        ),
        (
            "65 records",
            Liar::start(true, only(TLSA, |query| query.response(AA, 0, &vec![tlsa(OWNER, 3); 65], &[]))),
            NotShown::TooMany(65),
        ),
        (
            "truncated over TCP, too",
            Liar::start(true, |query| Some(query.response(AA | TC, 0, &[], &[]))),
            NotShown::Malformed,
        ),
        (
            "another question, over UDP and TCP",
            Liar::start(true, |query| {
                let mut response = query.good(7);
                response[13] ^= 1;
                Some(response)
            }),
            NotShown::NotAsked,
        ),
        (
            "another id, and no TCP",
            Liar::start(false, |query| {
                let mut response = query.good(7);
                response[0] ^= 1;
                Some(response)
            }),
            NotShown::NotAsked,
        ),
        ("a query", Liar::start(true, |query| Some(query.octets.clone())), NotShown::NotAsked),
        (
            "a serial that always changes",
            Liar::start(true, |query| Some(query.good(query.number as u32))),
            NotShown::Changing,
        ),
    ];
    for (what, liar, why) in cases {
        assert_eq!(liar.shows().await, Err(why), "{what}");
    }
}

#[tokio::test]
async fn what_is_in_the_zone_is_taken_and_nothing_is_nothing() {
    let nothing = Ok(Shown { serial: 7, records: Vec::new(), ttl: 0 });
    for rcode in [0, 3] {
        let liar = Liar::start(false, move |query| match query.qtype() {
            SOA => Some(query.good(7)),
            _ => Some(query.response(AA, rcode, &[], &[soa(7)])),
        });
        assert_eq!(liar.shows().await, nothing);
    }
    // An alias in the zone; records of others and of other types beside it.
    let liar = Liar::start(false, |query| match query.qtype() {
        SOA => Some(query.good(7)),
        _ => {
            let alias = [
                tlsa("a.lied.test", 3),
                cname(OWNER, "A.lied.test"),
                tlsa("b.lied.test", 2),
                record("a.lied.test", 1, &[1; 4]),
            ];
            Some(query.response(AA, 0, &alias, &[]))
        }
    });
    assert_eq!(liar.shows().await, good(7));
}

#[tokio::test]
async fn records_go_with_their_serial() {
    // The zone changes behind the first answer.
    let liar = Liar::start(false, |query| Some(query.good(if query.number == 0 { 7 } else { 8 })));
    assert_eq!(liar.shows().await, good(8));
    assert_eq!(liar.asked().len(), 5);
    // It changes, and back again, while there is nothing in between.
    let liar = Liar::start(false, |query| match query.number {
        1 => Some(query.response(AA, 3, &[], &[soa(8)])),
        _ => Some(query.good(7)),
    });
    assert_eq!(liar.shows().await, good(7));
    assert_eq!(liar.asked().len(), 5);
}

#[tokio::test]
async fn what_is_lost_is_asked_again_and_then_over_tcp() {
    let over = |liar: &Liar| liar.asked().iter().map(|(.., tcp)| if *tcp { 't' } else { 'u' }).collect::<String>();
    let lost = Liar::start(false, |query| (query.number > 0).then(|| query.good(7)));
    let begun = Instant::now();
    assert_eq!(lost.shows().await, good(7));
    assert!(begun.elapsed() >= LIMIT / 3 && begun.elapsed() < LIMIT * 2 / 3, "{:?}", begun.elapsed());
    assert_eq!(over(&lost), "uuuu");
    let walled = Liar::start(true, |query| query.tcp.then(|| query.good(7)));
    let begun = Instant::now();
    assert_eq!(walled.shows().await, good(7));
    assert!(begun.elapsed() >= LIMIT * 2 / 3, "{:?}", begun.elapsed());
    assert_eq!(over(&walled), "uuttt", "UDP is not tried again");
    let large = Liar::start(true, |query| match (query.qtype(), query.tcp) {
        (TLSA, false) => Some(query.response(AA | TC, 0, &[], &[])),
        _ => Some(query.good(7)),
    });
    assert_eq!(large.shows().await, good(7));
    assert_eq!(over(&large), "uutu");
    let large = Liar::start(false, |query| Some(query.response(AA | TC, 0, &[], &[])));
    assert!(matches!(large.shows().await, Err(NotShown::NoTcp(_))));
}

#[tokio::test]
async fn somebody_who_guesses_does_not_keep_the_answer_away() {
    // Every other packet is a forgery; the true answer comes to the question that is sent again.
    let liar = Liar::start(false, |query| {
        let mut response = query.good(7);
        response[0] ^= (query.number % 2) as u8 ^ 1;
        Some(response)
    });
    assert_eq!(ask(liar.address, &name(ZONE), &[name(OWNER)], LIMIT * 4).await, good(7));
}

#[tokio::test]
async fn silence_has_an_end() {
    let silent = Liar::start(true, |_| None);
    let begun = Instant::now();
    assert_eq!(silent.shows().await, Err(NotShown::Silent(std::io::ErrorKind::TimedOut)));
    assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT + Duration::from_millis(300), "{:?}", begun.elapsed());
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let refused = ask(nobody, &name(ZONE), &[], LIMIT).await;
    assert_eq!(refused, Err(NotShown::Silent(std::io::ErrorKind::ConnectionRefused)));
    assert!(begun.elapsed() < LIMIT / 3, "nobody is waited for who says that he is not there");
}

#[tokio::test]
async fn orders_are_carried_out_and_told_of() {
    let (liar, lame) = (
        Liar::start(false, |query| Some(query.good(7))),
        Liar::start(false, |query| Some(query.response(AA, 5, &[], &[]))),
    );
    let (orders, taken) = mpsc::channel(1);
    let (tell, mut news) = mpsc::channel(1);
    let worker = tokio::spawn(nameservers::run(taken, tell));
    let host = |number: usize| name(&format!("h{number}.lied.test"));
    let order = |number: usize, label: &str, server: SocketAddr| Order {
        host: host(number),
        label: label.to_owned(),
        server,
        zone: name(ZONE),
        owners: vec![name(OWNER)],
    };
    let mut missing: Vec<(Name, &str)> = Vec::new();
    for number in 0..50 {
        for (label, server) in [("good", liar.address), ("lame", lame.address)] {
            missing.push((host(number), label));
            let sent = orders.send(order(number, label, server));
            // The room for news is small: who orders has to hear.
            tokio::pin!(sent);
            loop {
                tokio::select! {
                    sent = &mut sent => break sent.unwrap(),
                    one = news.recv() => hear(one.unwrap(), &mut missing),
                }
            }
        }
    }
    while !missing.is_empty() {
        hear(news.recv().await.unwrap(), &mut missing);
    }
    drop(orders);
    worker.await.unwrap();
    assert_eq!(news.recv().await, None);
}

fn hear(news: News, missing: &mut Vec<(Name, &str)>) {
    let (host, label) = match news {
        News::Shows { host, label, shown } => {
            assert_eq!((Ok(shown), label.as_str()), (good(7), "good"));
            (host, label)
        }
        News::Unreachable { host, label, why } => {
            assert_eq!((why, label.as_str()), (NotShown::Rcode(5), "lame"));
            (host, label)
        }
    };
    let at = missing.iter().position(|(other, name)| *other == host && *name == label).unwrap();
    missing.remove(at);
}
