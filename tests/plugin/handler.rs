//! `DaneHandler`: what leaves the server is what `answer` says.

use danelaw::answer::{Context, MESSAGE_MAX, Transport, answer};
use danelaw::dns::{Name, Rtype};
use danelaw::plugin::SharedSnapshot;

use crate::client::{self, Opt, Parsed, parse, query};
use crate::{Served, now, zone};

const DO: Opt = Opt { payload: 1232, dnssec_ok: true, version: 0 };

pub fn directly(snapshot: &SharedSnapshot, transport: Transport, query: &[u8]) -> Vec<u8> {
    let context = Context::new("127.0.0.1".parse().unwrap(), transport, now());
    let mut out = vec![0; MESSAGE_MAX];
    let len = answer(&snapshot.load(), &context, query, &mut out).unwrap();
    out.truncate(len);
    out
}

/// What is asked of the zones, and how the RFCs name what comes back.
pub fn questions() -> Vec<(&'static str, Rtype)> {
    let mut questions = vec![
        ("_25._tcp.mail", Rtype::TLSA),
        ("_25._TCP.mAIL.eXample.oRG.", Rtype::TLSA),
        ("@", Rtype::SOA),
        ("@", Rtype::NS),
        ("@", Rtype::MX),
        ("@", Rtype::DNSKEY),
        ("@", Rtype::CDS),
        ("@", Rtype::CDNSKEY),
        ("@", Rtype::NSEC),
        ("@", Rtype::ANY),
        ("@", Rtype::RRSIG),
        ("@", Rtype::DS),
        ("mail", Rtype::TXT),
        ("_tcp.mail", Rtype::A),
        ("nowhere", Rtype::A),
        ("No.Where.example.org.", Rtype::A),
        ("any.wild", Rtype::TXT),
        ("A.n.Y.wild.Example.Org.", Rtype::TXT),
        ("any.wild", Rtype::A),
        ("under.wild", Rtype::TXT),
        ("y.under.wild", Rtype::TXT),
        ("www", Rtype::A),
        ("www", Rtype::CNAME),
        ("www", Rtype::TXT),
        ("gone", Rtype::A),
        ("empty", Rtype::A),
        ("out", Rtype::A),
        ("star", Rtype::TXT),
        ("star", Rtype::A),
        ("host.old", Rtype::A),
        ("Host.Old", Rtype::AAAA),
        ("nobody.old", Rtype::A),
        ("old", Rtype::DNAME),
        ("old", Rtype::A),
        ("www.secure", Rtype::A),
        ("secure", Rtype::NS),
        ("secure", Rtype::DS),
        ("insecure", Rtype::A),
        ("insecure", Rtype::DS),
        ("child", Rtype::DS),
        ("child", Rtype::NS),
        ("island", Rtype::DS),
        ("www.island", Rtype::A),
        ("www.child", Rtype::A),
        ("no.child", Rtype::A),
        ("big", Rtype::TXT),
        ("example.net.", Rtype::A),
        (".", Rtype::NS),
        ("@", Rtype::AXFR),
    ];
    questions.extend(zone::odd_rdatas().into_iter().map(|(rtype, _)| ("odd", rtype)));
    questions
}

/// Near 255 octets; a DNAME makes the last one longer than that.
pub fn long_names() -> Vec<Name> {
    let label = "l".repeat(60);
    ["wild", "old", "long"].iter().map(|end| zone::name(&format!("{label}.{label}.{label}.{end}"))).collect()
}

#[test]
fn every_answer_is_what_danelaw_itself_gives() {
    let served = Served::by_handler();
    let names = questions().into_iter().map(|(owner, rtype)| (zone::name(owner), rtype));
    let names: Vec<(Name, Rtype)> = names.chain(long_names().into_iter().map(|name| (name, Rtype::TXT))).collect();
    let opts = [
        None,
        Some(Opt { dnssec_ok: false, ..DO }),
        Some(DO),
        Some(Opt { payload: 512, ..DO }),
        Some(Opt { payload: 700, ..DO }),
        Some(Opt { payload: 100, ..DO }),
        Some(Opt { payload: 4096, ..DO }),
    ];
    let mut longer = Vec::new();
    for (name, rtype) in &names {
        for opt in opts {
            let query = query(name.as_wire(), *rtype, opt);
            let label = format!("{name} {rtype:?} {opt:?}");
            let direct = directly(&served.snapshot, Transport::Tcp, &query);
            assert_eq!(parse(&client::tcp(served.address, &query)), parse(&direct), "TCP {label}");

            let direct = directly(&served.snapshot, Transport::Udp, &query);
            let sent = client::udp(served.address, &query);
            let limit = opt.map_or(512, |opt| usize::from(opt.payload).clamp(512, 1232));
            assert!(sent.len() <= limit, "{label}: {} octets", sent.len());
            let (sent, expected) = (parse(&sent), parse(&direct));
            if sent != expected {
                assert_is_empty_truncation(&sent, &expected, &label);
                longer.push((label, direct.len(), limit));
            }
        }
    }
    // Only what fills its limit nearly is lost to hickory's weaker compression.
    for (label, len, limit) in &longer {
        assert!(len + 300 > *limit, "{label}: {len} octets were truncated at {limit}");
    }
}

fn assert_is_empty_truncation(sent: &Parsed, expected: &Parsed, label: &str) {
    assert!(sent.truncated() && sent.sections.iter().all(Vec::is_empty), "UDP {label}: {sent:#?} for {expected:#?}");
    let mut head = expected.head;
    head[2] |= 2;
    assert_eq!((sent.head, &sent.question, &sent.opt), (head, &expected.question, &expected.opt), "UDP {label}");
}

#[test]
fn what_does_not_fit_udp_is_truncated_and_whole_over_tcp() {
    let served = Served::by_handler();
    let query = query(&zone::wire("big"), Rtype::TXT, Some(DO));
    let short = parse(&client::udp(served.address, &query));
    assert!(short.truncated() && short.sections[0].is_empty() && short.opt.is_some());
    let whole = parse(&client::tcp(served.address, &query));
    assert!(!whole.truncated());
    assert_eq!(whole.sections[0].len(), 21);
    let output = client::dig(served.address, &["+dnssec", "big.example.org", "TXT"]);
    assert!(output.contains("Truncated, retrying in TCP mode") && output.contains("ANSWER: 21"), "{output}");
}

#[test]
fn what_hickory_cannot_encode_whole_is_truncated_and_never_cut() {
    let served = Served::by_handler();
    let query = query(&zone::wire("huge"), Rtype::A, None);
    assert_eq!(parse(&directly(&served.snapshot, Transport::Tcp, &query)).sections[0].len(), 3800);
    let sent = parse(&client::tcp(served.address, &query));
    assert!(sent.truncated() && sent.sections[0].is_empty(), "{:?}", sent.head);
}

#[test]
fn faults_keep_their_response_codes() {
    let served = Served::by_handler();
    let name = zone::wire("mail");
    let bad_version = query(&name, Rtype::A, Some(Opt { version: 1, ..DO }));
    let mut notify = query(&name, Rtype::SOA, None);
    notify[2] |= 4 << 3;
    let mut two_questions = query(&name, Rtype::A, None);
    two_questions[5] = 2;
    two_questions.extend_from_within(12..);
    let mut chaos = query(&name, Rtype::TXT, Some(DO));
    let class_at = 12 + name.len() + 3;
    chaos[class_at] = 3;
    let mut trailing = query(&name, Rtype::A, None);
    trailing.push(0);
    let refused = query(&zone::wire("example.net."), Rtype::A, Some(DO));
    for (query, rcode) in [(bad_version, 16), (notify, 4), (two_questions, 1), (chaos, 5), (trailing, 1), (refused, 5)]
    {
        for (transport, sent) in [
            (Transport::Udp, client::udp(served.address, &query)),
            (Transport::Tcp, client::tcp(served.address, &query)),
        ] {
            let sent = parse(&sent);
            assert_eq!(sent.rcode(), rcode, "{sent:?}");
            assert_eq!(sent, parse(&directly(&served.snapshot, transport, &query)), "{query:?}");
        }
    }
    let output = client::dig(served.address, &["+edns=1", "+noednsnegotiation", "mail.example.org", "A"]);
    assert!(output.contains("status: BADVERS"), "{output}");
}

#[test]
fn dig_sees_the_flags_of_an_authoritative_server() {
    let served = Served::by_handler();
    let output = client::dig(served.address, &["+dnssec", "+norecurse", "_25._tcp.mail.example.org", "TLSA"]);
    assert!(output.contains("status: NOERROR") && output.contains("flags: qr aa;"), "{output}");
    assert!(output.contains("EDNS: version: 0, flags: do; udp: 1232"), "{output}");
    assert!(output.contains("TLSA\t3 1 1 ABABABAB") && output.contains("RRSIG\tTLSA 13 5 3600"), "{output}");
    let output = client::dig(served.address, &["+dnssec", "+norecurse", "www.secure.example.org", "A"]);
    assert!(output.contains("flags: qr; QUERY: 1, ANSWER: 0, AUTHORITY: 3, ADDITIONAL: 2"), "{output}");
}

#[test]
fn delv_validates_every_kind_of_answer() {
    let served = Served::by_handler();
    for (name, rtype, wanted) in [
        ("_25._tcp.mail", "TLSA", "; fully validated"),
        ("big", "TXT", "; fully validated"),
        ("mail", "TXT", "; negative response, fully validated"),
        ("_tcp.mail", "A", "; negative response, fully validated"),
        ("nowhere", "A", "; negative response, fully validated"),
        ("any.wild", "TXT", "; fully validated"),
        ("any.wild", "A", "; negative response, fully validated"),
        ("www", "A", "; fully validated"),
        ("star", "TXT", "; fully validated"),
        ("host.old", "A", "; fully validated"),
        ("secure", "DS", "; fully validated"),
        ("insecure", "DS", "; negative response, fully validated"),
        ("www.child", "A", "; fully validated"),
        ("no.child", "A", "; negative response, fully validated"),
        ("odd", "MINFO", "; fully validated"),
        ("odd", "PTR", "; fully validated"),
        ("odd", "NAPTR", "; fully validated"),
        ("odd", "SVCB", "; fully validated"),
        ("odd", "TYPE65281", "; fully validated"),
        ("island", "DS", "; negative response, fully validated"),
        ("www.island", "A", "; unsigned answer"),
    ] {
        let name = format!("{name}.{}", zone::APEX);
        let output = client::delv(served.address, zone::APEX, served.dnskey(), &[&name, rtype]);
        assert!(output.contains(wanted), "{name} {rtype}: {output}");
    }
}

#[test]
fn delv_does_not_validate_with_another_key() {
    let served = Served::by_handler();
    let other = Served::by_handler();
    let name = format!("_25._tcp.mail.{}", zone::APEX);
    let output = client::delv(served.address, zone::APEX, other.dnskey(), &[&name, "TLSA"]);
    assert!(output.contains("resolution failed") && !output.contains("fully validated"), "{output}");
}

#[test]
fn a_swapped_snapshot_answers_the_next_query() {
    let mut served = Served::by_handler();
    let ask = |served: &Served, owner: &str, rtype| {
        parse(&client::udp(served.address, &query(&zone::wire(owner), rtype, None))).sections[0][0].rdata.clone()
    };
    assert_eq!(ask(&served, "_25._tcp.mail", Rtype::TLSA)[3..], zone::DIGEST);
    let serial = |rdata: Vec<u8>| danelaw::zone::serial::of_soa(&rdata).unwrap();
    let before = serial(ask(&served, "@", Rtype::SOA));

    let contents = zone::parent([0xcd; 32], &served.child.keys()[0]);
    let zone = served.parent.sign(&contents, now()).unwrap();
    served.snapshot.publish(zone);
    assert_eq!(ask(&served, "_25._tcp.mail", Rtype::TLSA)[3..], [0xcd; 32]);
    assert_eq!(serial(ask(&served, "@", Rtype::SOA)), before + 1);
    assert_eq!(ask(&served, "www.child", Rtype::A), [127, 0, 0, 6], "the zone beside it stays");

    served.snapshot.store(danelaw::zone::Snapshot::default());
    let gone = parse(&client::udp(served.address, &query(&zone::wire("@"), Rtype::SOA, None)));
    assert_eq!(gone.rcode(), 5);
}
