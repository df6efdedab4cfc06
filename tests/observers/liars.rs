//! Nameservers that lie, are lame, slow or silent: nothing of it is believed, and it is said why.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use danelaw::dane::Tlsa;
use danelaw::dns::Name;
use danelaw::observe::nameservers::{self, News, NotShown, Order, Shown, ask};
use tokio::sync::mpsc;

use super::common::name;
use super::liar::{AA, Liar, OWNER, Query, SOA, TC, TLSA, ZONE, cname, record, soa, soa_of, tlsa};

const LIMIT: Duration = Duration::from_millis(900);

impl Liar {
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
    let ids: BTreeSet<&[u8]> = asked.iter().map(|query| &query.octets[..2]).collect();
    let ports: BTreeSet<u16> = asked.iter().map(|query| query.from.port()).collect();
    assert!(ids.len() > 25 && ports.len() > 25, "{} ids, {} ports", ids.len(), ports.len());
    for Query { octets, .. } in &asked {
        assert_eq!(octets[2..12], [0, 0, 0, 1, 0, 0, 0, 0, 0, 1], "no flag, one question, one OPT");
        assert_eq!(octets[octets.len() - 11..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0], "EDNS 0, 1232 octets, no DO");
    }
}

/// A good answer with one bit that is not.
fn flipped(query: &Query, at: usize) -> Vec<u8> {
    let mut response = query.good(7);
    response[at] ^= 1;
    response
}

#[tokio::test]
async fn what_is_no_answer_with_authority_is_not_believed() {
    let owner = || name(OWNER);
    let to = |rtype: u16, lie: fn(&Query) -> Vec<u8>| {
        Liar::start(true, move |query| Some(if query.qtype() == rtype { lie(query) } else { query.good(7) }))
    };
    let always = |lie: fn(&Query) -> Vec<u8>| Liar::start(true, move |query| Some(lie(query)));
    let cases = [
        ("SERVFAIL", to(SOA, |query| query.response(AA, 2, &[], &[])), NotShown::Rcode(2)),
        ("REFUSED", to(TLSA, |query| query.response(AA, 5, &[], &[])), NotShown::Rcode(5)),
        (
            "FORMERR without a question",
            always(|query| [&query.octets[..2], &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat()),
            NotShown::Rcode(1),
        ),
        (
            "BADVERS, whose upper bits stand in the OPT record",
            always(|query| {
                let mut response = query.response(AA, 0, &[], &[]);
                response[11] = 1;
                [&response[..], &[0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0]].concat()
            }),
            NotShown::Rcode(16),
        ),
        ("a cache", to(SOA, |query| query.response(0x80, 0, &[soa(7)], &[])), NotShown::NotAuthoritative),
        (
            "the records of a cache",
            to(TLSA, |query| query.response(0x80, 0, &[tlsa(OWNER, 3)], &[])),
            NotShown::NotAuthoritative,
        ),
        (
            "NXDOMAIN without authority",
            to(TLSA, |query| query.response(0x80, 3, &[], &[soa(7)])),
            NotShown::NotAuthoritative,
        ),
        ("another zone's SOA", to(SOA, |query| query.response(AA, 0, &[soa_of("test", 7)], &[])), NotShown::NoZone),
        ("the parent's NXDOMAIN", to(SOA, |query| query.response(AA, 3, &[], &[soa_of("test", 7)])), NotShown::NoZone),
        (
            "nothing, of another zone",
            to(TLSA, |query| query.response(AA, 3, &[], &[soa_of("mail.lied.test", 7)])),
            NotShown::Elsewhere(owner()),
        ),
        ("nothing, of no zone", to(TLSA, |query| query.response(AA, 0, &[], &[])), NotShown::Elsewhere(owner())),
        (
            "an alias out of the zone, with what a cache has there",
            to(TLSA, |query| query.response(AA, 0, &[cname(OWNER, "a.other.test"), tlsa("a.other.test", 3)], &[])),
            NotShown::Elsewhere(owner()),
        ),
        (
            "aliases in a circle",
            to(TLSA, |query| query.response(AA, 0, &[cname(OWNER, "a.lied.test"), cname("a.lied.test", OWNER)], &[])),
            NotShown::Malformed,
        ),
        ("usage 9", to(TLSA, |query| query.response(AA, 0, &[tlsa(OWNER, 9)], &[])), NotShown::Unassigned(owner())),
        ("a record cut short", to(TLSA, |query| query.good(7).split_last().unwrap().1.to_vec()), NotShown::Malformed),
        ("octets behind the last record", to(TLSA, |query| [&query.good(7)[..], &[0]].concat()), NotShown::Malformed),
        ("65 records", to(TLSA, |query| query.response(AA, 0, &vec![tlsa(OWNER, 3); 65], &[])), NotShown::TooMany(65)),
        ("truncated over TCP, too", always(|query| query.response(AA | TC, 0, &[], &[])), NotShown::Malformed),
        ("another question", always(|query| flipped(query, 13)), NotShown::NotAsked),
        ("another id, and no TCP", Liar::start(false, |query| Some(flipped(query, 0))), NotShown::NotAsked),
        ("a query", always(|query| query.octets.clone()), NotShown::NotAsked),
        ("a serial that always changes", always(|query| query.good(query.number as u32)), NotShown::Changing),
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
    let over = |liar: &Liar| liar.asked().iter().map(|query| if query.tcp { 't' } else { 'u' }).collect::<String>();
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
