//! The messages of a transfer, decoded by the tests' own decoder: they say what the zone has.

use std::collections::BTreeSet;
use std::sync::Arc;

use danelaw::dns::dnssec::{Algorithm, Signer};
use danelaw::dns::{Name, RRset, Rtype};
use danelaw::keys::ZoneKey;
use danelaw::transfer::{Kind, Request, Stream};
use danelaw::zone::sign::Policy;
use danelaw::zone::{Condensed, Contents, Denial, Difference, History, Published, ZoneSnapshot, print};
use proptest::prelude::*;

use super::common::{self, EXAMPLES, denials, example, name, sign_by, sign_denying, zone};

/// The longest message.
const LIMIT: usize = 65_535;

/// A record: owner, type, TTL and RDATA, names uncompressed.
type Rr = (String, u16, u32, Vec<u8>);

/// What a published zone has.
fn records_of(zone: &Published) -> BTreeSet<Rr> {
    let mut records = BTreeSet::new();
    for (owner, set) in zone.sets() {
        let mut add = |rtype: Rtype, rdata: &[u8]| {
            records.insert((owner.to_string().to_lowercase(), rtype.0, set.rrset.ttl, rdata.to_vec()));
        };
        set.rrset.rdatas.iter().for_each(|rdata| add(set.rrset.rtype, rdata));
        set.rrsigs.iter().for_each(|rdata| add(Rtype::RRSIG, rdata));
    }
    records
}

/// The name at an offset and where what follows it begins; written here, so that no code of the sender is asked.
fn name_at(message: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let (mut wire, mut end) = (Vec::new(), None);
    loop {
        match message[at] {
            high @ 0xc0.. => {
                end.get_or_insert(at + 2);
                let target = usize::from(high & 0x3f) << 8 | usize::from(message[at + 1]);
                assert!(target < at, "a pointer that does not lead to the front");
                at = target;
            }
            0 => {
                wire.push(0);
                return (wire, end.unwrap_or(at + 1));
            }
            length => {
                wire.extend_from_slice(&message[at..=at + usize::from(length)]);
                at += 1 + usize::from(length);
            }
        }
    }
}

/// The answer records of a message, in their order.
fn answers(message: &[u8]) -> Vec<Rr> {
    let u16_at = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let mut at = 12;
    for _ in 0..u16_at(4) {
        at = name_at(message, at).1 + 4;
    }
    let mut records = Vec::new();
    for section in 0..3 {
        for _ in 0..u16_at(6 + 2 * section) {
            let (owner, head) = name_at(message, at);
            let rtype = u16_at(head);
            let ttl = u32::from_be_bytes([4, 5, 6, 7].map(|octet| message[head + octet]));
            let rdata = head + 10..head + 10 + usize::from(u16_at(head + 8));
            at = rdata.end;
            if section == 0 {
                let whole = expanded(message, rtype, rdata);
                records.push((Name::from_wire(&owner).unwrap().to_string().to_lowercase(), rtype, ttl, whole));
            }
        }
    }
    assert_eq!(at, message.len(), "octets behind the last record");
    records
}

/// An RDATA with the names of RFC 1035's types in full.
fn expanded(message: &[u8], rtype: u16, rdata: std::ops::Range<usize>) -> Vec<u8> {
    let (before, names) = match rtype {
        2 | 5 | 7 | 8 | 9 | 12 => (0, 1),
        15 => (2, 1),
        6 | 14 => (0, 2),
        _ => return message[rdata].to_vec(),
    };
    let mut out = message[rdata.start..rdata.start + before].to_vec();
    let mut at = rdata.start + before;
    for _ in 0..names {
        let (wire, next) = name_at(message, at);
        out.extend(wire);
        at = next;
    }
    out.extend_from_slice(&message[at..rdata.end]);
    out
}

fn question(origin: &Name, rtype: Rtype) -> Vec<u8> {
    [&[7, 7, 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], origin.as_wire(), &rtype.0.to_be_bytes(), &[0, 1]].concat()
}

/// All messages of a transfer; a client that has `serial` asks for differences.
fn take(snapshot: &Arc<ZoneSnapshot>, serial: Option<u32>, datagram: Option<usize>) -> (Kind, Vec<Vec<u8>>) {
    let origin = snapshot.origin().clone();
    let head = question(&origin, if serial.is_some() { Rtype::IXFR } else { Rtype::AXFR });
    let request = Request { zone: origin.as_wire(), serial, over_datagram: datagram.is_some() };
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let mut stream = Stream::new(snapshot, &request, &head, &opt, datagram.unwrap_or(LIMIT));
    let mut messages = Vec::new();
    while let Some(message) = stream.next_message().unwrap() {
        messages.push(message.to_vec());
    }
    assert!(stream.is_done());
    assert_eq!(stream.records() as usize, messages.iter().map(|message| answers(message).len()).sum::<usize>());
    (stream.kind(), messages)
}

/// The zone that an AXFR gives.
fn whole(messages: &[Vec<u8>]) -> BTreeSet<Rr> {
    let records: Vec<Rr> = messages.iter().flat_map(|message| answers(message)).collect();
    assert_eq!((records[0].1, records.first()), (6, records.last()), "SOA first and last");
    let zone: BTreeSet<Rr> = records[1..].iter().cloned().collect();
    assert_eq!(zone.len(), records.len() - 1, "a record came twice");
    zone
}

/// What an IXFR makes of the zone that a client has.
fn follow(mut zone: BTreeSet<Rr>, messages: &[Vec<u8>]) -> BTreeSet<Rr> {
    let records: Vec<Rr> = messages.iter().flat_map(|message| answers(message)).collect();
    let (newest, rest) = records.split_first().unwrap();
    let (last, body) = rest.split_last().unwrap();
    assert_eq!((newest.1, newest), (6, last));
    let mut comes = true;
    for record in body {
        if record.1 == 6 {
            comes = !comes;
        }
        match comes {
            true => assert!(zone.insert(record.clone()), "{record:?} is there already"),
            false => assert!(zone.remove(record), "{record:?} is not there"),
        }
    }
    assert!(comes && zone.contains(newest));
    zone
}

#[test]
fn a_whole_zone_has_every_record_once_and_its_soa_twice() {
    for origin in EXAMPLES.into_iter().chain(["delegations.example"]) {
        for (kind, denial) in denials() {
            let contents = if origin == "delegations.example" { common::delegations() } else { example(origin) };
            let published = sign_denying(&contents, Algorithm::EcdsaP256Sha256, denial);
            let (_, messages) = take(&common::snapshot(&published), None, None);
            assert_eq!(whole(&messages), records_of(&published), "{origin} {kind}");
            assert_eq!((messages[0][5], messages[0][11]), (1, 1), "question and OPT in the first message");
            assert!(messages[1..].iter().all(|message| message[4..6] == [0, 0] && message[10..12] == [0, 0]));
        }
    }
}

/// Many records at one owner, long ones, and names that share much and little.
#[test]
fn a_large_zone_comes_in_messages_of_16_kib_and_longer_records_alone() {
    let mut text = String::from("@ 300 SOA ns h 1 2 3 4 60\n@ 300 NS ns.elsewhere.test.\n");
    for number in 0..20_000 {
        text += &format!("host{number}.rack{}.site 300 A 192.0.2.{}\n", number / 40, number % 250);
        text += &format!("host{number}.rack{}.site 300 MX 10 Mail{}\n", number / 40, number % 99);
    }
    let strings = "\"0123456789012345678901234567890123456789012345678901234567890123456789\" ".repeat(400);
    text += &format!("long 300 TXT {strings}\nlong 300 A 192.0.2.1\n");
    let published = sign_denying(&zone("example.test", &text), Algorithm::Ed25519, Denial::Nsec);
    let snapshot = common::snapshot(&published);
    let (_, messages) = take(&snapshot, None, None);
    assert_eq!(whole(&messages), records_of(&published));
    let long = messages.iter().filter(|message| message.len() > 0x3fff);
    assert_eq!(long.map(|message| answers(message).len()).collect::<Vec<_>>(), [1]);
    assert!(messages.len() > 200, "{} messages", messages.len());
    let full = messages.iter().filter(|message| message.len() > 15_900).count();
    assert!(full > messages.len() - 10, "{full} of {} messages are full", messages.len());
    let records: usize = records_of(&published).len();
    let octets: usize = messages.iter().map(Vec::len).sum();
    let uncompressed: usize =
        records_of(&published).iter().map(|(owner, .., rdata)| owner.len() + 11 + rdata.len()).sum();
    assert!(octets * 10 < uncompressed * 9, "{octets} octets for {records} records, {uncompressed} uncompressed");
}

const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\n*.w TXT x\na.b.ent A 192.0.2.2\n\
                    cut NS ns.cut\nns.cut A 192.0.2.3\nx.below.cut TXT x\nM A 192.0.2.6\nmx MX 5 M\n";

/// An RRset that is put in with this TTL, or one that is taken away.
type Edit = (Name, Rtype, Option<(u8, u32)>);

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let owners = vec!["@", "ns", "a", "b.ent", "a.b.ent", "ent", "*.w", "cut", "x.cut", "ns.cut", "m", "M", "mx"];
    let owner = prop::sample::select(owners).prop_map(|text| Name::parse(text, Some(&name("example.test"))).unwrap());
    let rtype = prop::sample::select(vec![Rtype::A, Rtype::TXT, Rtype::NS, Rtype::MX]);
    let variant = prop::option::weighted(0.7, (1..4u8, prop::sample::select(vec![300, 600u32])));
    prop::collection::vec(prop::collection::vec((owner, rtype, variant), 1..4), 1..7)
}

fn apply(contents: &mut Contents, (owner, rtype, variant): &Edit) {
    let rdata = |variant: u8| -> Box<[u8]> {
        match *rtype {
            Rtype::A => [192, 0, 2, variant].into(),
            Rtype::TXT => [1, variant].into(),
            Rtype::MX => [&[0, variant][..], name(&format!("M{variant}.example.test")).as_wire()].concat().into(),
            _ => name(&format!("ns{variant}.elsewhere.test")).as_wire().into(),
        }
    };
    let rdatas: Vec<_> = variant.iter().map(|(variant, _)| rdata(*variant)).collect();
    if !(rdatas.is_empty() && *rtype == Rtype::NS && owner == contents.origin()) {
        let ttl = variant.map_or(300, |(_, ttl)| ttl);
        contents.replace(owner, RRset { rtype: *rtype, ttl, rdatas });
    }
}

/// The versions that a zone goes through.
fn versions(denial: &Denial, changes: &[Vec<Edit>], first: u32) -> Vec<Published> {
    let (key, _) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
    let signers: [&dyn Signer; 1] = [&key];
    let mut contents = zone("example.test", TEXT);
    let policy = Policy { denial: denial.clone(), ..Policy::default() };
    let mut all = vec![sign_by(&contents, &signers, None, policy.clone(), common::now(), first)];
    for edits in changes {
        edits.iter().for_each(|edit| apply(&mut contents, edit));
        let serial = all.last().unwrap().serial.wrapping_add(1);
        all.push(sign_by(&contents, &signers, all.last(), policy.clone(), common::now(), serial));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn differences_lead_from_any_remembered_version_to_the_newest(changes in edits(), hashed: bool, wraps: bool) {
        let denial = denials()[usize::from(hashed)].1.clone();
        let versions = versions(&denial, &changes, if wraps { u32::MAX - 2 } else { 7 });
        let (mut history, mut all) = (History::default(), Vec::new());
        for pair in versions.windows(2) {
            let difference = Difference::between(&pair[0], &pair[1]).unwrap();
            let again = Difference::from_octets(difference.octets()).unwrap();
            prop_assert_eq!(&again, &difference);
            prop_assert!(Difference::from_octets(&difference.octets()[1..]).is_none());
            prop_assert!(Difference::between(&pair[1], &pair[0]).is_none(), "never back");
            let applied = Difference::apply(std::slice::from_ref(&again), &pair[0], common::now()).unwrap();
            let both = [&applied, &pair[1]];
            // An owner's case is nothing that a difference tells.
            let [one, other] = both.map(|zone| print::published(zone).replace("\nM.", "\nm."));
            let unlike = one.lines().zip(other.lines()).find(|(one, other)| one != other);
            prop_assert_eq!(unlike, None, "down to the signatures");
            let [one, other] = both.map(|zone| (zone.serial, zone.begins_at, zone.expires_at, zone.refresh_at));
            prop_assert_eq!(one, other);
            prop_assert!(Difference::apply(std::slice::from_ref(&again), &pair[1], common::now()).is_none(), "not twice");
            all.push(again.clone());
            history = history.with(again, usize::MAX);
        }
        let newest = versions.last().unwrap();
        let through_all = Difference::apply(&all, &versions[0], common::now()).unwrap();
        prop_assert_eq!(records_of(&through_all), records_of(newest), "one after the other");
        let snapshot = Arc::new(ZoneSnapshot::build(newest).unwrap().with_history(history));
        for version in &versions {
            let (kind, messages) = take(&snapshot, Some(version.serial), None);
            match kind {
                Kind::Differences => {
                    prop_assert_eq!(follow(records_of(version), &messages), records_of(newest));
                    let least = Difference::between(version, newest).unwrap();
                    let sent: usize = messages.iter().map(|message| answers(message).len()).sum();
                    prop_assert_eq!(sent, 2 + least.records().count(), "what came and went in between is left out");
                    let (kind, datagram) = take(&snapshot, Some(version.serial), Some(1232));
                    let expected = if kind == Kind::SoaOnly { 1 } else { answers(&messages[0]).len() };
                    prop_assert_eq!((datagram.len(), answers(&datagram[0]).len()), (1, expected));
                    prop_assert!(datagram[0].len() <= 1232);
                }
                Kind::Whole => prop_assert_eq!(whole(&messages), records_of(newest)),
                Kind::SoaOnly => {
                    prop_assert_eq!(version.serial, newest.serial);
                    prop_assert_eq!(answers(&messages[0]).len(), 1);
                }
            }
        }
        let unknown = newest.serial.wrapping_sub(100);
        prop_assert_eq!(take(&snapshot, Some(unknown), None).0, Kind::Whole);
        prop_assert_eq!(take(&snapshot, Some(unknown), Some(1232)).0, Kind::SoaOnly);
        prop_assert_eq!(take(&snapshot, Some(newest.serial.wrapping_add(1)), None).0, Kind::SoaOnly, "he is ahead");
    }
}

#[test]
fn many_versions_behind_costs_one_difference_and_counts_as_one() {
    let address = |step: u32| vec![(name("a.example.test"), Rtype::A, Some(((step % 3) as u8, 300)))];
    let back = |step: u32| vec![(name("mx.example.test"), Rtype::TXT, step.is_multiple_of(2).then_some((1, 300)))];
    let changes: Vec<Vec<Edit>> = (0..400).map(|step| [address(step), back(step)].concat()).collect();
    let versions = versions(&Denial::Nsec, &changes, 1);
    let (oldest, newest) = (&versions[0], &versions[400]);
    let history = versions.windows(2).fold(History::default(), |history, pair| {
        history.with(Difference::between(&pair[0], &pair[1]).unwrap(), usize::MAX)
    });
    let condensed = Condensed::of(history.differences()).unwrap();
    let least = Difference::between(oldest, newest).unwrap();
    assert_eq!(condensed.octets(), least.octets().len());
    let sent: Vec<_> = (0..).map_while(|number| condensed.record(number)).collect();
    let sorted = |mut records: Vec<_>| {
        records.sort_unstable();
        records
    };
    assert_eq!(sorted(sent), sorted(least.records().collect()));
    let snapshot = Arc::new(ZoneSnapshot::build(newest).unwrap().with_history(history));
    let together: usize = snapshot.history().differences().iter().map(|one| one.octets().len()).sum();
    assert!(together > 20 * snapshot.octets(), "one after the other they would be more than the zone");
    let (kind, messages) = take(&snapshot, Some(1), None);
    assert_eq!((kind, messages.len()), (Kind::Differences, 1));
    assert_eq!(follow(records_of(oldest), &messages), records_of(newest));
    assert!(Condensed::of(&[]).is_none());
}

#[test]
fn a_history_has_its_bounds_and_no_gaps() {
    let changes: Vec<Vec<Edit>> =
        (0..6).map(|step| vec![(name("a.example.test"), Rtype::A, Some((step, 300)))]).collect();
    let versions = versions(&Denial::Nsec, &changes, 1);
    let between = |from: usize, to: usize| Difference::between(&versions[from], &versions[to]).unwrap();
    let serials = |history: &History| -> Vec<(u32, u32)> {
        history.differences().iter().map(|one| (one.from(), one.to())).collect()
    };
    let size = between(2, 3).octets().len() + between(3, 4).octets().len();
    let mut history = History::default();
    for from in 1..4 {
        history = history.with(between(from, from + 1), size);
    }
    assert_eq!(serials(&history), [(3, 4), (4, 5)], "the oldest goes");
    assert!(history.since(2).is_none());
    assert_eq!(history.since(4).unwrap().len(), 1);
    assert_eq!(serials(&history.with(between(5, 6), size)), [(6, 7)], "what does not go on begins anew");
    assert!(serials(&history.with(between(4, 5), 10)).is_empty(), "one that is larger than allowed");
    let stored = vec![between(0, 1), between(2, 3), between(3, 4)];
    assert_eq!(serials(&History::leading_to(5, stored.clone())), [(3, 4), (4, 5)]);
    assert!(serials(&History::leading_to(6, stored)).is_empty());
}
