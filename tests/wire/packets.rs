//! Packets against the answer function itself.

use danelaw::answer::{Context, MESSAGE_MAX, Transport, answer};
use danelaw::dns::Rtype;
use danelaw::dns::dnssec::Algorithm;
use danelaw::zone::Snapshot;

use super::common::wire::{self, Ask, DNSSEC, PLAIN, Response, TCP};
use super::common::{EXAMPLES, example, name, now, sign, snapshot, zone};

pub fn examples() -> Snapshot {
    let zones = EXAMPLES.iter().map(|origin| snapshot(&sign(&example(origin), Algorithm::Ed25519)));
    Snapshot::new(zones, [name("broken.test")])
}

pub fn raw(snapshot: &Snapshot, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = vec![0xee; MESSAGE_MAX];
    let context = Context::new([127, 0, 0, 1].into(), transport, now());
    let len = answer(snapshot, &context, query, &mut out)?;
    out.truncate(len);
    Some(out)
}

fn ask(snapshot: &Snapshot, text: &str, rtype: Rtype, ask: Ask) -> Response {
    let transport = if ask.tcp { Transport::Tcp } else { Transport::Udp };
    let query = wire::query(name(text).as_wire(), rtype.0, ask);
    wire::decode(&raw(snapshot, &query, transport).unwrap())
}

fn types(records: &std::collections::BTreeSet<wire::Rr>) -> Vec<String> {
    records.iter().map(|record| Rtype(record.rtype).to_string()).collect()
}

#[test]
fn responses_and_fragments_are_never_answered() {
    let snapshot = examples();
    let mut query = wire::query(name("example.org").as_wire(), 6, PLAIN);
    for len in 0..12 {
        assert!(raw(&snapshot, &query[..len], Transport::Udp).is_none(), "{len} octets");
    }
    query[2] |= 0x80;
    assert!(raw(&snapshot, &query, Transport::Udp).is_none());
}

#[test]
fn what_can_not_be_read_is_formerr_and_other_opcodes_are_notimp() {
    let snapshot = examples();
    let good = wire::query(name("mail.example.org").as_wire(), 1, DNSSEC);
    let rcode = |query: &[u8]| wire::decode(&raw(&snapshot, query, Transport::Udp).unwrap()).rcode;
    let edit = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut query = good.clone();
        change(&mut query);
        rcode(&query)
    };
    assert_eq!(rcode(&good), 0);
    for len in 12..good.len() {
        assert_eq!(rcode(&good[..len]), 1, "cut to {len} octets");
    }
    assert_eq!(edit(&|query| query.push(0)), 1, "an octet behind the last record");
    assert_eq!(edit(&|query| query[5] = 0), 1, "no question (RFC 9619)");
    assert_eq!(edit(&|query| query[5] = 2), 1, "two questions (RFC 9619)");
    assert_eq!(edit(&|query| query[7] = 1), 1, "an answer in a query");
    assert_eq!(edit(&|query| query[12..14].copy_from_slice(&[0xc0, 0x0c])), 1, "a pointer to itself");
    assert_eq!(edit(&|query| query[12] = 0x41), 1, "a label of the reserved kind");
    let opt = good[good.len() - 11..].to_vec();
    assert_eq!(
        edit(&|query| {
            query.extend_from_slice(&opt);
            query[11] = 2;
        }),
        1,
        "two OPT records (RFC 6891 section 6.1.1)"
    );
    for opcode in 1..16u8 {
        assert_eq!(edit(&|query| query[2] = opcode << 3), 4, "opcode {opcode}");
    }
    let qclass = good.len() - 11 - 1;
    assert_eq!(edit(&|query| query[qclass] = 3), 5, "class CH");
    for rtype in [Rtype::AXFR, Rtype::IXFR] {
        assert_eq!(ask(&snapshot, "example.org", rtype, TCP).rcode, 5, "{rtype}");
    }
}

#[test]
fn edns_is_answered_with_edns_and_its_version_is_zero() {
    let snapshot = examples();
    assert_eq!(ask(&snapshot, "example.org", Rtype::SOA, PLAIN).edns, None);
    let without_do = Ask { dnssec: false, ..DNSSEC };
    assert_eq!(ask(&snapshot, "example.org", Rtype::SOA, without_do).edns, Some((1232, false)));
    let response = ask(&snapshot, "example.org", Rtype::SOA, DNSSEC);
    assert_eq!(response.edns, Some((1232, true)));
    assert_eq!(types(&response.answer), ["SOA", "RRSIG"]);

    let mut query = wire::query(name("example.org").as_wire(), 6, DNSSEC);
    let version = query.len() - 5;
    query[version] = 1;
    let response = wire::decode(&raw(&snapshot, &query, Transport::Udp).unwrap());
    assert_eq!((response.rcode, response.answer.len()), (16, 0), "BADVERS (RFC 6891 section 6.1.3)");
}

#[test]
fn id_case_rd_and_cd_come_back_and_ad_never_does() {
    let snapshot = examples();
    let mut query = wire::query(name("MaIl.eXaMpLe.OrG").as_wire(), 1, PLAIN);
    query[2] |= 0x01;
    query[3] |= 0x30;
    let answer = raw(&snapshot, &query, Transport::Udp).unwrap();
    assert_eq!(answer[..2], query[..2]);
    assert_eq!(answer[12..query.len()], query[12..], "the question, octet for octet");
    let response = wire::decode(&answer);
    assert!(response.aa && response.rd && response.cd);
    assert_eq!(answer[3] & 0x20, 0, "AD");
}

#[test]
fn refused_outside_servfail_without_a_good_version() {
    let snapshot = examples();
    assert_eq!(ask(&snapshot, "elsewhere.test", Rtype::A, PLAIN).rcode, 5);
    assert_eq!(ask(&snapshot, "www.broken.test", Rtype::A, PLAIN).rcode, 2);
    assert_eq!(ask(&Snapshot::default(), ".", Rtype::NS, PLAIN).rcode, 5);
}

#[test]
fn truncation_leaves_whole_rrsets_and_never_passes_the_limit() {
    let snapshot = examples();
    for payload in [0, 512, 600, 900, 1231, 1232, 4096, 65_535] {
        for (owner, rtype) in [("large.corners.example", Rtype::TXT), ("www.large.corners.example", Rtype::A)] {
            let response = ask(&snapshot, owner, rtype, Ask { edns: Some(payload), dnssec: true, tcp: false });
            let limit = usize::from(payload).clamp(512, 1232);
            assert!(response.length <= limit, "{} octets for {payload}", response.length);
            if response.tc {
                let full = ask(&snapshot, owner, rtype, TCP);
                assert!(!full.tc);
                let of_type = |response: &Response| response.answer.iter().filter(|one| one.rtype == rtype.0).count();
                assert!(of_type(&response) == 0 || of_type(&response) == of_type(&full), "RFC 2181 section 9");
            }
        }
    }
    assert!(ask(&snapshot, "large.corners.example", Rtype::TXT, DNSSEC).tc);
    assert_eq!(ask(&snapshot, "large.corners.example", Rtype::TXT, TCP).answer.len(), 3);
}

#[test]
fn a_referral_has_its_glue_or_says_that_it_has_not() {
    let mut text = String::from("$TTL 300\n@ SOA ns1 h 1 2 3 4 5\n NS ns1\nns1 A 192.0.2.1\n");
    for number in 0..13 {
        text += &format!(
            "child NS ns{number}.child\nns{number}.child A 192.0.2.{number}\nns{number}.child AAAA 2001:db8::{number}\n"
        );
    }
    let signed = sign(&zone("example.test", &text), Algorithm::Ed25519);
    let snapshot = Snapshot::new([snapshot(&signed)], []);
    let small = ask(&snapshot, "www.child.example.test", Rtype::A, PLAIN);
    assert!(small.tc, "RFC 9471 section 3.1: glue at or below the cut is required");
    let whole = ask(&snapshot, "www.child.example.test", Rtype::A, TCP);
    assert_eq!((whole.aa, whole.tc, whole.rcode), (false, false, 0));
    assert_eq!(whole.additional.len(), 26);
    assert_eq!(types(&whole.authority).iter().filter(|rtype| *rtype == "NSEC").count(), 1);
}

#[test]
fn ds_at_a_cut_of_which_both_sides_are_ours_comes_from_the_parent() {
    let parent = "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\n\
                  child NS ns\n DS 1 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    let child = "$TTL 300\n@ SOA ns h 2 2 3 4 5\n NS ns.parent.test.\nwww A 192.0.2.2\n";
    let zones = [("parent.test", parent), ("child.parent.test", child)];
    let zones = zones.map(|(origin, text)| snapshot(&sign(&zone(origin, text), Algorithm::Ed25519)));
    let snapshot = Snapshot::new(zones, []);
    let ds = ask(&snapshot, "child.parent.test", Rtype::DS, DNSSEC);
    assert_eq!((ds.aa, types(&ds.answer)), (true, vec!["DS".to_owned(), "RRSIG".to_owned()]));
    let soa = ask(&snapshot, "child.parent.test", Rtype::SOA, PLAIN);
    assert!(soa.aa && soa.answer.len() == 1);
    assert!(ask(&snapshot, "www.child.parent.test", Rtype::A, PLAIN).aa);
}

#[test]
fn the_root_zone_and_names_of_255_octets_are_served() {
    let label = "x".repeat(63);
    let long = format!("{label}.{label}.{label}.{}", "y".repeat(61));
    let text =
        format!("$TTL 300\n. SOA ns. h. 1 2 3 4 5\n. NS ns.\nns. A 192.0.2.1\n{long}. A 192.0.2.9\n*.z. MX 1 ns.\n");
    let signed = sign(&zone(".", &text), Algorithm::Ed25519);
    let snapshot = Snapshot::new([snapshot(&signed)], []);
    assert_eq!(ask(&snapshot, &long, Rtype::A, DNSSEC).answer.len(), 2);
    assert_eq!(ask(&snapshot, ".", Rtype::NS, DNSSEC).answer.len(), 2);
    assert_eq!(ask(&snapshot, "q.z", Rtype::MX, DNSSEC).answer.len(), 2);
    assert_eq!(ask(&snapshot, "nowhere", Rtype::A, DNSSEC).rcode, 3);
    let other = format!("{label}.{label}.{label}.{}", "z".repeat(61));
    assert_eq!(ask(&snapshot, &other, Rtype::A, DNSSEC).rcode, 3);
}

#[test]
fn a_dname_whose_name_grows_too_long_is_yxdomain() {
    let label = "x".repeat(63);
    let target = format!("{label}.{label}.{label}.long.");
    let text = format!("$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\nd DNAME {target}\n");
    let snapshot = Snapshot::new([snapshot(&sign(&zone("t.test", &text), Algorithm::Ed25519))], []);
    let response = ask(&snapshot, &format!("{}.d.t.test", "y".repeat(60)), Rtype::A, DNSSEC);
    assert_eq!((response.rcode, types(&response.answer)), (6, vec!["DNAME".to_owned(), "RRSIG".to_owned()]));
    let response = ask(&snapshot, "y.d.t.test", Rtype::A, DNSSEC);
    assert_eq!((response.rcode, response.answer.len()), (0, 3), "RFC 6672 section 2.2");
}

/// Decoding panics where a record stands twice, a pointer does not point back, or octets are left over.
#[test]
fn chains_end_and_repeat_nothing() {
    let text = "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\np DNAME q\nq DNAME p\nself DNAME x.self\n\
                *.loop CNAME again.loop\na CNAME b\nb CNAME A\nn1 DNAME n2\nn2 CNAME y.n1\nn3 DNAME ns\n";
    let snapshot = Snapshot::new([snapshot(&sign(&zone("t.test", text), Algorithm::Ed25519))], []);
    for (owner, answers) in
        [("x.p", 12), ("x.self", 12), ("again.loop", 1), ("o.loop", 2), ("a", 2), ("b", 2), ("y.n1", 3), ("z.n3", 2)]
    {
        for asked in [PLAIN, DNSSEC, TCP] {
            let response = ask(&snapshot, &format!("{owner}.t.test"), Rtype::A, asked);
            let records = response.answer.iter().filter(|record| record.rtype != Rtype::RRSIG.0).count();
            assert!(records <= answers + 2 && records >= 1 && response.rcode != 2, "{owner}: {response:?}");
            let dnames = response.answer.iter().filter(|record| record.rtype == Rtype::DNAME.0).count();
            assert!(dnames <= 2, "{owner}: {response:?}");
        }
    }
}

#[test]
fn what_is_beyond_the_reach_of_a_pointer_is_written_in_full_over_tcp() {
    let mut text = String::from("$TTL 300\n@ SOA ns1 h 1 2 3 4 5\n NS ns1\nns1 A 192.0.2.1\n");
    for number in 0..90 {
        text += &format!("*.big TXT \"{number} {}\"\n", "x".repeat(240));
    }
    for number in 0..700 {
        text += &format!("child NS ns{number}.child\nns{number}.child A 192.0.2.7\n");
    }
    let snapshot = Snapshot::new([snapshot(&sign(&zone("example.test", &text), Algorithm::Ed25519))], []);
    let wild = ask(&snapshot, "foo.big.example.test", Rtype::TXT, TCP);
    assert!(!wild.tc && wild.length > 16_384);
    assert_eq!((wild.answer.len(), types(&wild.authority)), (91, vec!["RRSIG".to_owned(), "NSEC".to_owned()]));
    let referral = ask(&snapshot, "www.child.example.test", Rtype::A, TCP);
    assert!(!referral.tc && referral.length > 16_384);
    assert_eq!(referral.additional.len(), 700);
}

#[test]
fn ds_below_a_cut_that_is_not_ours_is_the_childs_to_deny() {
    let top = "$TTL 300\n@ SOA ns h 1 2 3 4 5\n NS ns\nns A 192.0.2.1\nd NS ns.elsewhere.test.\n";
    let grandchild = "$TTL 300\n@ SOA ns h 2 2 3 4 5\n NS ns.g.test.\n";
    let zones = [("g.test", top), ("s.d.g.test", grandchild)];
    let zones = zones.map(|(origin, text)| snapshot(&sign(&zone(origin, text), Algorithm::Ed25519)));
    let response = ask(&Snapshot::new(zones, []), "s.d.g.test", Rtype::DS, DNSSEC);
    assert!(response.aa && response.answer.is_empty(), "RFC 4035 section 3.1.4.1: {response:?}");
}
