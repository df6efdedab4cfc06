//! The probes of the DNS and EDNS compliance testers: RFC 8906 section 8, and every test of ISC's genreport (DNS-Compliance-Testing), with
//! what each of them looks at in a response.

use std::collections::BTreeSet;

use danelaw::answer::{Context, MESSAGE_MAX, Settings, Transport, answer, cookie::Secrets};
use danelaw::zone::Snapshot;

use super::packets::examples;

/// A query for the SOA of example.org, a piece at a time.
#[derive(Clone)]
struct Probe {
    /// The header's third and fourth octet, without the opcode.
    flags: [u8; 2],
    opcode: u8,
    name: &'static [u8],
    qtype: u16,
    /// Payload, version, flags, options.
    opt: Option<(u16, u8, u16, Vec<u8>)>,
    header_only: bool,
    transport: Transport,
}

const AA: [u8; 2] = [4, 0];
const TC: [u8; 2] = [2, 0];
const RD: [u8; 2] = [1, 0];
const RA: [u8; 2] = [0, 0x80];
const Z: [u8; 2] = [0, 0x40];
const AD: [u8; 2] = [0, 0x20];
const CD: [u8; 2] = [0, 0x10];
const ALL: [u8; 2] = [7, 0xf0];
const DO: u16 = 0x8000;
/// "+ednsflags=0x80" in the testers.
const UNKNOWN_FLAG: u16 = 0x0080;
const SOA: u16 = 6;
const DNSKEY: u16 = 48;
const TXT: u16 = 16;
const RRSIG: u16 = 46;
/// An option code that nobody has ("+ednsopt=100").
const UNKNOWN: &[u8] = &[0, 100, 0, 0];
const NSID: &[u8] = &[0, 3, 0, 0];
const SUBNET: &[u8] = &[0, 8, 0, 4, 0, 1, 0, 0];
const EXPIRE: &[u8] = &[0, 9, 0, 0];
const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const APEX: &[u8] = b"\x07example\x03org\x00";
/// It has a TXT RRset that no datagram holds.
const LARGE: &[u8] = b"\x05large\x07corners\x07example\x00";

fn plain() -> Probe {
    let (name, qtype, transport) = (APEX, SOA, Transport::Udp);
    Probe { flags: [0, 0], opcode: 0, name, qtype, opt: None, header_only: false, transport }
}

fn edns(version: u8, flags: u16, options: &[u8]) -> Probe {
    Probe { opt: Some((4096, version, flags, options.to_vec())), ..plain() }
}

impl Probe {
    fn octets(&self) -> Vec<u8> {
        let [third, fourth] = self.flags;
        let third = third | self.opcode << 3;
        let mut out = vec![0xab, 0xcd, third, fourth, 0, 1, 0, 0, 0, 0, 0, u8::from(self.opt.is_some())];
        if self.header_only {
            out[5] = 0;
            return out;
        }
        out.extend_from_slice(self.name);
        out.extend_from_slice(&self.qtype.to_be_bytes());
        out.extend_from_slice(&[0, 1]);
        if let Some((payload, version, flags, options)) = &self.opt {
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&payload.to_be_bytes());
            out.extend_from_slice(&[0, *version]);
            out.extend_from_slice(&flags.to_be_bytes());
            out.extend_from_slice(&(options.len() as u16).to_be_bytes());
            out.extend_from_slice(options);
        }
        out
    }

    fn over(self, transport: Transport) -> Probe {
        Probe { transport, ..self }
    }
}

/// What a tester looks at.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rcode: u16,
    aa: bool,
    tc: bool,
    soa: bool,
    rrsig: bool,
    /// Version, DO, other flags, option codes.
    opt: Option<(u8, bool, u16, Vec<u16>)>,
}

fn seen(response: &[u8], query: &[u8]) -> Seen {
    let u16_at = |at: usize| u16::from_be_bytes([response[at], response[at + 1]]);
    let is_query = query[2] & 0x78 == 0;
    assert_eq!(response[..2], query[..2], "the identifier");
    assert_eq!(response[2] & 0x80, 0x80, "QR");
    assert_eq!(response[2] & 0x78, query[2] & 0x78, "the opcode is copied");
    // "RD is only defined for QUERY", and so is CD.
    assert_eq!(response[2] & 0x01, if is_query { query[2] & 0x01 } else { 0 }, "RD is copied, of QUERY");
    assert_eq!(response[3] & 0x10, if is_query { query[3] & 0x10 } else { 0 }, "CD is copied, of QUERY");
    assert_eq!(response[3] & 0x80, 0, "RA");
    assert_eq!(response[3] & 0x40, 0, "the last Z bit is zero");
    assert_eq!(response[3] & 0x20, 0, "AD");
    let mut at = 12;
    assert_eq!(response[4..6], query[4..6], "the number of questions");
    if u16_at(4) == 1 {
        at += query[12..].iter().position(|octet| *octet == 0).unwrap() + 5;
        assert_eq!(response[12..at], query[12..at], "the question");
    }
    let (mut soa, mut rrsig, mut opt, mut extended) = (false, false, None, 0);
    for section in 0..3 {
        for _ in 0..u16_at(6 + 2 * section) {
            while response[at] != 0 && response[at] < 0xc0 {
                at += 1 + usize::from(response[at]);
            }
            at += if response[at] == 0 { 1 } else { 2 };
            let end = at + 10 + usize::from(u16_at(at + 8));
            soa |= section == 0 && u16_at(at) == SOA;
            rrsig |= section == 0 && u16_at(at) == RRSIG;
            if u16_at(at) == 41 {
                assert!(opt.is_none() && section == 2, "one OPT, in the additional section");
                extended = u16::from(response[at + 4]) << 4;
                let mut codes = Vec::new();
                let mut option = at + 10;
                while option < end {
                    codes.push(u16_at(option));
                    option += 4 + usize::from(u16_at(option + 2));
                }
                assert_eq!(option, end, "options fill OPT");
                let flags = u16_at(at + 6);
                opt = Some((response[at + 5], flags & DO != 0, flags & !DO, codes));
            }
            at = end;
        }
    }
    assert_eq!(at, response.len(), "octets after the last record");
    let rcode = extended | u16::from(response[3] & 15);
    Seen { rcode, aa: response[2] & 4 != 0, tc: response[2] & 2 != 0, soa, rrsig, opt }
}

fn settings() -> Settings {
    Settings { nsid: b"ns1".to_vec(), cookies: Secrets::new([[7; 16]]), ..Settings::default() }
}

/// What a probe is to see.
#[derive(Clone, Copy)]
enum Expected {
    /// NOERROR and AA, with the SOA.
    Answer,
    /// The same with options.
    With(&'static [u16]),
    /// NOERROR and AA for another type than SOA: records or none.
    Other,
    /// TC, within the payload size.
    Truncated,
    /// NOTIMP, without AA.
    NotImp(&'static [u16]),
    /// BADVERS, without AA.
    BadVers,
}

/// Where the probe comes from, the probe, and what it is to see.
type Case = (&'static str, Probe, Expected);

/// RFC 8906 section 8, by section. 8.3 is about servers without EDNS.
fn of_rfc_8906() -> Vec<Case> {
    use Expected::*;
    let flag = |flags: [u8; 2]| Probe { flags, ..plain() };
    let several = [NSID, COOKIE, EXPIRE, SUBNET].concat();
    let small = |name: &'static [u8], qtype: u16| Probe { opt: Some((512, 0, DO, Vec::new())), name, qtype, ..plain() };
    vec![
        ("8.1.1", plain(), Answer),
        ("8.1.2", Probe { qtype: 1000, ..plain() }, Other),
        ("8.1.3.1", flag(CD), Answer),
        ("8.1.3.2", flag(AD), Answer),
        ("8.1.3.3", flag(Z), Answer),
        ("8.1.3.4", flag(RD), Answer),
        ("8.1.4", Probe { opcode: 15, header_only: true, ..plain() }, NotImp(&[])),
        ("8.1.5", plain().over(Transport::Tcp), Answer),
        ("8.2.1", edns(0, 0, &[]), Answer),
        ("8.2.2", edns(1, 0, &[]), BadVers),
        ("8.2.3", edns(0, 0, UNKNOWN), Answer),
        ("8.2.4", edns(0, UNKNOWN_FLAG, &[]), Answer),
        ("8.2.5", edns(1, UNKNOWN_FLAG, &[]), BadVers),
        ("8.2.6", edns(1, 0, UNKNOWN), BadVers),
        ("8.2.7", small(LARGE, TXT), Truncated),
        ("8.2.7", small(APEX, DNSKEY), Other),
        ("8.2.8", edns(0, DO, &[]), Answer),
        ("8.2.9", edns(1, DO, &[]), BadVers),
        ("8.2.10", edns(0, 0, &several), With(&[3, 10])),
    ]
}

/// genreport's, by name: its groups EDNS, FULL and COMM. Of the two in no group "icmp" is no DNS, and "dnswkk" is about TSIG.
fn of_genreport() -> Vec<Case> {
    use Expected::*;
    let flag = |flags: [u8; 2]| Probe { flags, ..plain() };
    let list = [NSID, SUBNET, EXPIRE, COOKIE].concat();
    let dnskey = Probe { qtype: DNSKEY, opt: Some((512, 0, DO, Vec::new())), ..plain() };
    vec![
        ("dns", plain(), Answer),
        ("aa", flag(AA), Answer),
        ("ad", flag(AD), Answer),
        ("cd", flag(CD), Answer),
        ("ra", flag(RA), Answer),
        ("rd", flag(RD), Answer),
        ("tc", flag(TC), Answer),
        ("zflag", flag(Z), Answer),
        ("opcode", Probe { opcode: 15, header_only: true, ..plain() }, NotImp(&[])),
        ("opcodeflg", Probe { opcode: 15, header_only: true, ..flag(ALL) }, NotImp(&[])),
        ("type666", Probe { qtype: 666, ..plain() }, Other),
        ("tcp", plain().over(Transport::Tcp), Answer),
        ("edns", edns(0, 0, &[]), Answer),
        ("edns1", edns(1, 0, &[]), BadVers),
        ("edns@512", dnskey.clone(), Other),
        ("ednsopt", edns(0, 0, UNKNOWN), Answer),
        ("edns1opt", edns(1, 0, UNKNOWN), BadVers),
        ("do", edns(0, DO, &[]), Answer),
        ("docd", Probe { flags: CD, ..edns(0, DO, &[]) }, Answer),
        ("edns1do", edns(1, DO, &[]), BadVers),
        ("ednsflags", edns(0, UNKNOWN_FLAG, &[]), Answer),
        ("optlist", edns(0, 0, &list), With(&[3, 10])),
        ("ednsnsid", edns(0, 0, NSID), With(&[3])),
        ("ednscookie", edns(0, 0, COOKIE), With(&[10])),
        ("ednsexpire", edns(0, 0, EXPIRE), Answer),
        ("ednssubnet", edns(0, 0, SUBNET), Answer),
        ("edns1nsid", edns(1, 0, NSID), BadVers),
        ("edns1cookie", edns(1, 0, COOKIE), BadVers),
        ("edns1expire", edns(1, 0, EXPIRE), BadVers),
        ("edns1subnet", edns(1, 0, SUBNET), BadVers),
        ("ednstcp", dnskey.over(Transport::Tcp), Other),
        ("bind11", edns(0, DO, COOKIE), With(&[10])),
        ("dig11", Probe { flags: [1, 0x20], ..edns(0, 0, COOKIE) }, With(&[10])),
    ]
}

/// What no list has, and ours does.
fn of_our_own() -> Vec<Case> {
    use Expected::*;
    let opcode = |opcode: u8| Probe { opcode, ..plain() };
    vec![
        ("a response code in a query", Probe { flags: [0, 15], ..plain() }, Answer),
        ("unknown opcode with question", opcode(15), NotImp(&[])),
        ("unknown opcode with EDNS", Probe { opcode: 15, ..edns(0, 0, &[]) }, NotImp(&[15])),
        ("NOTIFY", opcode(4), NotImp(&[])),
        ("NOTIFY with every flag", Probe { flags: ALL, ..opcode(4) }, NotImp(&[])),
        ("UPDATE", opcode(5), NotImp(&[])),
        ("DSO (RFC 8490)", Probe { header_only: true, ..opcode(6) }, NotImp(&[])),
        ("every flag", Probe { flags: ALL, ..plain() }, Answer),
        ("every unknown EDNS flag", edns(0, 0x7fff, &[]), Answer),
        ("DO and unknown flag", edns(0, DO | UNKNOWN_FLAG, &[]), Answer),
        ("EDNS over TCP", edns(0, DO, &[]).over(Transport::Tcp), Answer),
        ("keepalive over UDP", edns(0, 0, &[0, 11, 0, 0]), Answer),
        ("padding over UDP", edns(0, 0, &[0, 12, 0, 2, 0, 0]), Answer),
        ("EDNS 255", edns(255, 0, &[]), BadVers),
        // What options mean in another version is not known, so they can't be malformed.
        ("ednsv1 and what is no option", edns(1, 0, &[1, 2, 3]), BadVers),
        ("unknown type with EDNS", Probe { qtype: 1000, ..edns(0, 0, &[]) }, Other),
        ("truncated without EDNS", Probe { name: LARGE, qtype: TXT, ..plain() }, Truncated),
    ]
}

/// genreport's group TYPE: each is asked for at the apex, without EDNS.
const TYPES: [u16; 65] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 33,
    35, 36, 37, 38, 39, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 55, 59, 60, 61, 99, 104, 105, 106, 107, 108,
    109, 256, 257, 258, 259, 32_769, 1000,
];

fn checked(snapshot: &Snapshot, probe: &Probe, expected: Expected) -> Result<(), String> {
    let (query, settings) = (probe.octets(), settings());
    let context = Context::new([127, 0, 0, 1].into(), probe.transport, super::common::now()).with(&settings);
    let mut out = vec![0xee; MESSAGE_MAX];
    let len = answer(snapshot, &context, &query, &mut out).ok_or("no answer")?;
    let found = seen(&out[..len], &query);
    let wants_signatures = probe.opt.as_ref().is_some_and(|(_, version, flags, _)| *version == 0 && flags & DO != 0);
    let (rcode, codes): (u16, &[u16]) = match expected {
        Expected::With(codes) => (0, codes),
        Expected::NotImp(codes) => (4, codes),
        Expected::BadVers => (16, &[]),
        _ => (0, &[]),
    };
    let is_answer = matches!(expected, Expected::Answer | Expected::With(_));
    let wanted = Seen {
        rcode,
        aa: rcode == 0,
        tc: matches!(expected, Expected::Truncated),
        // A probe for SOA in the group of types has no word of its own.
        soa: is_answer || matches!(expected, Expected::Other) && probe.qtype == SOA,
        rrsig: wants_signatures && (is_answer || probe.qtype == DNSKEY) || rcode == 0 && probe.qtype == RRSIG,
        opt: probe.opt.as_ref().map(|(_, _, flags, _)| (0, flags & DO != 0, 0, codes.to_vec())),
    };
    if found != wanted {
        return Err(format!("{found:?} instead of {wanted:?}"));
    }
    let limit = match (probe.transport, &probe.opt) {
        (Transport::Udp, Some((payload, ..))) => usize::from(*payload),
        (Transport::Udp, None) => 512,
        _ => MESSAGE_MAX,
    };
    if len > limit { Err(format!("{len} octets where {limit} are allowed")) } else { Ok(()) }
}

#[test]
fn every_probe_of_the_testers_gets_the_right_answer() {
    let snapshot = examples();
    let lists = [("RFC 8906 section", of_rfc_8906()), ("genreport", of_genreport()), ("ours:", of_our_own())];
    let named = |(list, cases): (&'static str, Vec<Case>)| cases.into_iter().map(move |case| (list, case));
    let types = TYPES.into_iter().map(|qtype| match qtype {
        // All signatures of the apex are more than a datagram holds: then genreport asks over TCP.
        RRSIG => Probe { qtype, ..plain() }.over(Transport::Tcp),
        _ => Probe { qtype, ..plain() },
    });
    let wrong = |(list, (name, probe, expected)): (&str, Case)| {
        checked(&snapshot, &probe, expected).err().map(|why| format!("{list} {name}: {why}"))
    };
    let wrong = lists.into_iter().flat_map(named).filter_map(wrong).chain(types.filter_map(|probe| {
        checked(&snapshot, &probe, Expected::Other).err().map(|why| format!("genreport TYPE {}: {why}", probe.qtype))
    }));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_probe_of_the_testers_is_there() {
    let sections: BTreeSet<&str> = of_rfc_8906().iter().map(|(section, ..)| *section).collect();
    let wanted = (1..=5).filter(|part| *part != 3).map(|part| format!("8.1.{part}"));
    let wanted =
        wanted.chain((1..=4).map(|part| format!("8.1.3.{part}"))).chain((1..=10).map(|part| format!("8.2.{part}")));
    let wanted: BTreeSet<String> = wanted.collect();
    assert_eq!(sections, wanted.iter().map(String::as_str).collect());
    // As `genreport -L` lists its groups EDNS, FULL and COMM.
    let listed = "dns aa ad cd ra rd tc zflag opcode opcodeflg type666 tcp edns edns1 edns@512 ednsopt edns1opt do docd edns1do \
                  ednsflags optlist ednsnsid ednscookie ednsexpire ednssubnet edns1nsid edns1cookie edns1expire edns1subnet \
                  ednstcp bind11 dig11";
    let names: Vec<&str> = of_genreport().iter().map(|(name, ..)| *name).collect();
    assert_eq!(names, listed.split_whitespace().collect::<Vec<_>>());
}

#[test]
fn no_option_is_answered_with_its_own_code_unless_it_is_ours() {
    let snapshot = examples();
    let settings = settings();
    for code in 0..=300u16 {
        let query = edns(0, 0, &[&code.to_be_bytes()[..], &[0, 0]].concat()).octets();
        let context = Context::new([127, 0, 0, 1].into(), Transport::Udp, super::common::now()).with(&settings);
        let mut out = vec![0; MESSAGE_MAX];
        let len = answer(&snapshot, &context, &query, &mut out).unwrap();
        let found = seen(&out[..len], &query);
        // RFC 7873 section 5.2.2: a COOKIE of no octets is malformed.
        let rcode = if code == 10 { 1 } else { 0 };
        let codes = if code == 3 { vec![3] } else { Vec::new() };
        assert_eq!(
            (found.rcode, found.soa, found.opt),
            (rcode, rcode == 0, Some((0, false, 0, codes))),
            "option {code}"
        );
    }
}
