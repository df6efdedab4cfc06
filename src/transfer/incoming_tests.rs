//! What primaries send, cut into messages in every way, and what they should not send.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::dns::header::QR;
use crate::transfer::{Request, Stream};
use crate::zone::{Difference, Draft, History, NoIncludes, ZoneSnapshot, parse};

const ID: u16 = 0x0707;
const LIMIT: u64 = 1 << 20;

fn zone() -> Name {
    "example.org.".parse().unwrap()
}

fn contents(text: &str) -> Contents {
    let text = format!("$TTL 300\n{text}");
    let parsed = parse(&zone(), "test.zone", text.as_bytes(), &mut NoIncludes);
    let diagnostics: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    parsed.contents.unwrap_or_else(|| panic!("{}", diagnostics.join("\n")))
}

/// A version: the SOA, an NS, and more.
fn version(serial: u32, more: &str) -> Contents {
    contents(&format!("@ SOA ns h {serial} 7200 3600 1209600 300\n@ NS ns\n{more}"))
}

/// A record as a zone file writes it, without the origin.
fn record(text: &str) -> Record {
    let name = text.split(' ').next().unwrap();
    let owner = Name::parse(name, Some(&zone())).unwrap();
    let all =
        if text.contains(" SOA ") { contents(&format!("{text}\n@ NS ns\n")) } else { version(1, &format!("{text}\n")) };
    let rtype = Rtype::parse(text.split(' ').nth(1).unwrap()).unwrap();
    let records = all.nodes().filter(|node| node.owner() == owner).flat_map(|node| node.records());
    // Beside the NS that is there in any case.
    let rdata = records.filter(|record| record.rtype == rtype).last().unwrap().rdata.into();
    Record { owner, ttl: 300, rtype, rdata }
}

fn soa(serial: u32) -> Record {
    record(&format!("@ SOA ns h {serial} 7200 3600 1209600 300"))
}

/// Messages of so many records each, names in full; the last number goes on.
fn messages(incoming: &Incoming, records: &[Record], counts: &[usize]) -> Vec<Vec<u8>> {
    let (mut rest, mut counts, mut all) = (records, counts.iter(), Vec::new());
    let mut count = 1;
    while !rest.is_empty() {
        count = counts.next().map_or(count, |count| (*count).max(1)).min(rest.len());
        let (now, later) = rest.split_at(count);
        rest = later;
        let questions = u8::from(all.is_empty());
        let mut message = [&ID.to_be_bytes()[..], &[0x84, 0, 0, questions, 0, count as u8, 0, 0, 0, 0]].concat();
        if all.is_empty() {
            message.extend_from_slice(&incoming.question.message(0, 0)[HEADER..]);
        }
        for Record { owner, ttl, rtype, rdata } in now {
            message.extend_from_slice(owner.as_wire());
            message.extend_from_slice(&[rtype.0.to_be_bytes(), [0, 1]].concat());
            message.extend_from_slice(&ttl.to_be_bytes());
            message.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
            message.extend_from_slice(rdata);
        }
        all.push(message);
    }
    all
}

fn receive(mut incoming: Incoming, messages: &[Vec<u8>]) -> Result<Received, Fault> {
    for (index, message) in messages.iter().enumerate() {
        if let Some(received) = incoming.take(message)? {
            assert_eq!(index + 1, messages.len(), "it ended before its last message");
            return Ok(received);
        }
    }
    panic!("it has no end");
}

/// What these records come to, in one message and each in its own.
fn outcome(ours: Option<&Contents>, records: &[Record]) -> Result<Received, Fault> {
    let incoming = || Incoming::new(ID, &zone(), ours, LIMIT);
    let whole = receive(incoming(), &messages(&incoming(), records, &[records.len()]));
    let single = messages(&incoming(), records, &[1]);
    // What is wrong may be known before it all came.
    let mut one_by_one = incoming();
    let mut last = None;
    for message in &single {
        last = one_by_one.take(message).transpose();
        if last.is_some() {
            break;
        }
    }
    if !matches!(whole, Err(Fault::Beyond | Fault::NotNewer(_))) {
        assert_eq!(last.unwrap(), whole);
    }
    whole
}

fn new(contents: Contents, whole: bool) -> Result<Received, Fault> {
    Ok(Received::New { contents, whole })
}

#[test]
fn a_whole_zone_is_what_was_sent() {
    let text = "ns A 192.0.2.1\nMail MX 10 ns\n*.w TXT \"x y\" z\ncut NS ns.cut\nns.cut A 192.0.2.2\n@ TYPE65280 \\# 2 0102\n\
                a.b.ent SRV 1 2 3 Mail\n@ RRSIG NS 13 2 300 20300101000000 20260101000000 1 @ AAAA\n";
    let ours = version(7, text);
    let snapshot = Arc::new(ZoneSnapshot::build(&Draft::unsigned(&ours).unwrap().finish(7).unwrap()).unwrap());
    let incoming = Incoming::new(ID, &zone(), None, LIMIT);
    let mut request = incoming.request();
    request[2] |= QR;
    let origin = zone();
    let asked = Request { zone: origin.as_wire(), serial: None, over_datagram: false };
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let mut stream = Stream::new(&snapshot, &asked, &request, &opt, 65_535);
    let mut messages = Vec::new();
    while let Some(message) = stream.next_message().unwrap() {
        messages.push(message.to_vec());
    }
    assert_eq!(receive(incoming, &messages), new(ours, true));
}

#[test]
fn an_answer_to_ixfr_may_be_differences_or_the_zone_or_the_soa_alone() {
    let ours = version(1, "a A 192.0.2.1\nb A 192.0.2.2\n");
    let (a, b, c) = (record("a A 192.0.2.1"), record("b A 192.0.2.2"), record("c A 192.0.2.3"));
    let two = || [soa(3), soa(1), a.clone(), soa(2), c.clone(), soa(2), soa(3), a.clone(), soa(3)];
    assert_eq!(outcome(Some(&ours), &two()), new(version(3, "a A 192.0.2.1\nb A 192.0.2.2\nc A 192.0.2.3\n"), false));
    let condensed = [soa(3), soa(1), a, b.clone(), soa(3), c.clone(), soa(3)];
    assert_eq!(outcome(Some(&ours), &condensed), new(version(3, "c A 192.0.2.3\n"), false));
    let whole = [soa(3), record("@ NS ns"), c, soa(3)];
    assert_eq!(outcome(Some(&ours), &whole), new(version(3, "c A 192.0.2.3\n"), true));
    assert_eq!(outcome(Some(&ours), &[soa(1)]), Ok(Received::Nothing));
    assert_eq!(outcome(Some(&version(u32::MAX, "")), &[soa(u32::MAX - 5)]), Ok(Received::Nothing));
    let wrapped = [soa(2), soa(u32::MAX), soa(2), b, soa(2)];
    assert_eq!(outcome(Some(&version(u32::MAX, "")), &wrapped), new(version(2, "b A 192.0.2.2\n"), false));
}

#[test]
fn names_are_the_same_in_any_case() {
    let ours = version(1, "A MX 10 Mail\n");
    let gone = Record { owner: "a.EXAMPLE.org.".parse().unwrap(), ..record("a MX 10 mAIL") };
    assert_eq!(outcome(Some(&ours), &[soa(2), soa(1), gone, soa(2), soa(2)]), new(version(2, ""), false));
}

#[test]
fn differences_that_do_not_apply_are_refused() {
    let ours = version(1, "a A 192.0.2.1\n");
    let (a, b) = (record("a A 192.0.2.1"), record("b A 192.0.2.2"));
    let longer = Record { ttl: 600, ..a.clone() };
    assert_eq!(outcome(Some(&ours), &[soa(2), soa(1), soa(2), a, soa(2)]), new(version(2, "a A 192.0.2.1\n"), false));
    let at = |text: &str| Name::parse(text, Some(&zone())).unwrap();
    let other_ttl = Record { ttl: 600, ..record("a A 192.0.2.9") };
    let ns = record("@ NS ns");
    for (records, fault) in [
        (vec![soa(2), soa(1), b.clone(), soa(2), soa(2)], Fault::NotThere(at("b"), Rtype::A)),
        (vec![soa(2), soa(1), soa(2), longer, soa(2)], Fault::OtherTtl(at("a"), Rtype::A)),
        (vec![soa(2), soa(1), soa(2), other_ttl, soa(2)], Fault::OtherTtl(at("a"), Rtype::A)),
        (vec![soa(3), soa(2), soa(3), b.clone(), soa(3)], Fault::Gap(2)),
        (vec![soa(3), soa(1), soa(2), b.clone(), soa(1), soa(3), soa(3)], Fault::Gap(1)),
        (vec![soa(3), soa(1), soa(1), b.clone(), soa(3)], Fault::Gap(1)),
        (vec![soa(1), soa(1)], Fault::NotNewer(1)),
        (vec![soa(2), soa(1), soa(2), b.clone(), soa(2), b.clone()], Fault::Beyond),
        (
            vec![soa(2), record("@ SOA ns other 1 7200 3600 1209600 300"), soa(2), soa(2)],
            Fault::NotThere(zone(), Rtype::SOA),
        ),
        (vec![soa(2), soa(1), ns, soa(2), soa(2)], Fault::NoZone("the zone has no NS record at its apex".to_owned())),
        (
            vec![soa(2), soa(1), soa(2), record("a CNAME b"), soa(2)],
            Fault::NoZone("a.example.org. has a CNAME and a A record: a CNAME stands alone".to_owned()),
        ),
    ] {
        assert_eq!(outcome(Some(&ours), &records), Err(fault), "{records:?}");
    }
}

#[test]
fn what_is_no_zone_is_refused() {
    let (ns, a) = (record("@ NS ns"), record("a A 192.0.2.1"));
    let outside = Record { owner: "a.example.net.".parse().unwrap(), ..a.clone() };
    let cut = Record { rdata: [192, 0, 2].into(), ..a.clone() };
    let opt = Record { rtype: Rtype::OPT, ..a.clone() };
    let below = Record { owner: a.owner.clone(), ..soa(1) };
    let unfit = |rtype| Fault::Unfit(a.owner.clone(), rtype);
    for (records, fault) in [
        (vec![ns.clone(), soa(1)], Fault::NoSoa),
        (vec![soa(1), ns.clone(), soa(2)], Fault::OtherSoa),
        (vec![soa(1), soa(2)], Fault::OtherSoa),
        (vec![soa(1), ns.clone(), soa(1), a.clone()], Fault::Beyond),
        (vec![soa(1), ns.clone(), outside.clone(), soa(1)], Fault::Outside(outside.owner.clone())),
        (vec![soa(1), ns.clone(), cut, soa(1)], unfit(Rtype::A)),
        (vec![soa(1), ns.clone(), opt, soa(1)], unfit(Rtype::OPT)),
        (vec![soa(1), ns.clone(), below, soa(1)], unfit(Rtype::SOA)),
        (vec![soa(1), a.clone(), soa(1)], Fault::NoZone("the zone has no NS record at its apex".to_owned())),
    ] {
        assert_eq!(outcome(None, &records), Err(fault), "{records:?}");
    }
    let wildcard = [soa(1), ns.clone(), Record { owner: "*.example.org.".parse().unwrap(), ..ns.clone() }, soa(1)];
    assert!(matches!(outcome(None, &wildcard), Err(Fault::NoZone(why)) if why.contains("wildcard")));
    let twice = [soa(1), ns, record("b CNAME a"), record("b CNAME c"), soa(1)];
    assert!(matches!(outcome(None, &twice), Err(Fault::NoZone(why)) if why.contains("several CNAME")));
}

#[test]
fn messages_that_answer_something_else_are_refused() {
    let incoming = |limit| Incoming::new(ID, &zone(), None, limit);
    let records = [soa(1), record("@ NS ns"), soa(1)];
    let good = messages(&incoming(LIMIT), &records, &[2]);
    assert!(receive(incoming(LIMIT), &good).is_ok());
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good[0].clone();
        edit(&mut message);
        incoming(LIMIT).take(&message)
    };
    for (edit, fault) in [
        (&|message: &mut Vec<u8>| message[0] ^= 1, Fault::NotAsked),
        (&|message: &mut Vec<u8>| message[2] &= !QR, Fault::NotAsked),
        (&|message: &mut Vec<u8>| message[2] |= 0x20, Fault::NotAsked),
        (&|message: &mut Vec<u8>| message[3] |= 5, Fault::Rcode(5)),
        (&|message: &mut Vec<u8>| message[2] |= TC, Fault::Malformed),
        (&|message: &mut Vec<u8>| message[13] ^= 1, Fault::NotAsked),
        (&|message: &mut Vec<u8>| message[5] = 0, Fault::Malformed),
        (&|message: &mut Vec<u8>| message[7] += 1, Fault::Malformed),
        (&|message: &mut Vec<u8>| message.push(0), Fault::Malformed),
        (&|message: &mut Vec<u8>| message.truncate(11), Fault::Malformed),
    ] as [(&dyn Fn(&mut Vec<u8>), Fault); 10]
    {
        assert_eq!(edited(edit), Err(fault));
    }
    let mut foreign = good[0].clone();
    let class = foreign.len() - record("@ NS ns").rdata.len() - 7;
    assert_eq!(foreign[class], 1);
    foreign[class] = 3;
    assert_eq!(incoming(LIMIT).take(&foreign), Err(Fault::Unfit(zone(), Rtype::NS)));
    let empty = [&ID.to_be_bytes()[..], &[0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let mut waiting = incoming(LIMIT);
    assert_eq!(waiting.take(&good[0]), Ok(None));
    assert_eq!(waiting.take(&empty), Err(Fault::Malformed), "nobody is kept waiting by nothing");
    let short = good[0].len() as u64;
    assert_eq!(receive(incoming(short), &good), Err(Fault::TooLong(short)));
}

/// A zone's records besides SOA and NS, by number.
fn text(numbers: &BTreeSet<u8>) -> String {
    let line = |number: &u8| match number % 4 {
        0 => format!("host{} A 192.0.2.{number}\n", number / 8),
        1 => format!("a.host{} TXT \"{number}\"\n", number / 8),
        2 => format!("host{} MX {number} Mail{}\n", number / 8, number / 16),
        _ => format!("x{number}.y.z AAAA 2001:db8::{number:x}\n"),
    };
    numbers.iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_differences_in_any_messages_leads_to_the_newest_version(
        versions in prop::collection::vec(prop::collection::btree_set(0..64u8, 0..12), 2..6),
        begin: u32,
        counts in prop::collection::vec(1..9usize, 1..20),
        flipped in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
    ) {
        let versions: Vec<Contents> = (0..).zip(&versions).map(|(step, numbers)| version(begin.wrapping_add(step), &text(numbers))).collect();
        let published: Vec<_> =
            (0..).zip(&versions).map(|(step, one)| Draft::unsigned(one).unwrap().finish(begin.wrapping_add(step)).unwrap()).collect();
        let mut history = History::default();
        for pair in published.windows(2) {
            history = history.with(Difference::between(&pair[0], &pair[1]).unwrap(), usize::MAX);
        }
        let newest = versions.last().unwrap();
        let of = |contents: &Contents| Record { owner: zone(), ttl: 300, rtype: Rtype::SOA, rdata: contents.soa().unwrap().rdatas[0].clone() };
        let changed = history.differences().iter().flat_map(|difference| difference.records()).map(|one| Record {
            owner: Name::from_wire(one.owner).unwrap(),
            ttl: one.ttl,
            rtype: one.rtype,
            rdata: one.rdata.into(),
        });
        let records: Vec<Record> = [of(newest)].into_iter().chain(changed).chain([of(newest)]).collect();
        let incoming = || Incoming::new(ID, &zone(), Some(&versions[0]), LIMIT);
        let mut sent = messages(&incoming(), &records, &counts);
        prop_assert_eq!(receive(incoming(), &sent), new(newest.clone(), false));
        // Damage is refused or is another zone, and is never a panic.
        for (place, flip) in flipped {
            let octets: usize = sent.iter().map(Vec::len).sum();
            let mut at = place.index(octets);
            let message = sent.iter_mut().find(|message| {
                let is_here = at < message.len();
                at -= if is_here { 0 } else { message.len() };
                is_here
            });
            message.unwrap()[at] ^= flip;
            let mut damaged = incoming();
            for message in &sent {
                if !matches!(damaged.take(message), Ok(None)) {
                    break;
                }
            }
        }
    }
}
