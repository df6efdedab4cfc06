//! The probes of the EDNS and DNS compliance testers: RFC 8906 section 8 and ISC's list, as `dig` would send them.

use danelaw::answer::{Context, MESSAGE_MAX, Settings, Transport, answer, cookie::Secrets};

use super::packets::examples;

/// A query for the SOA of example.org, a piece at a time.
#[derive(Clone)]
struct Probe {
    flags: [u8; 2],
    qtype: u16,
    /// Payload, version, flags, options.
    opt: Option<(u16, u8, u16, Vec<u8>)>,
    header_only: bool,
    transport: Transport,
}

const DO: u16 = 0x8000;
/// "+ednsflags=0x80" and "+ednsflags=0x40" in the testers.
const UNKNOWN_FLAG: u16 = 0x0080;
const SOA: u16 = 6;
/// An option code that nobody has ("+ednsopt=100").
const UNKNOWN: &[u8] = &[0, 100, 0, 0];

fn plain() -> Probe {
    Probe { flags: [0, 0], qtype: SOA, opt: None, header_only: false, transport: Transport::Udp }
}

fn edns(version: u8, flags: u16, options: &[u8]) -> Probe {
    Probe { opt: Some((4096, version, flags, options.to_vec())), ..plain() }
}

impl Probe {
    fn octets(&self) -> Vec<u8> {
        let mut out = vec![0xab, 0xcd, self.flags[0], self.flags[1], 0, 1, 0, 0, 0, 0, 0, u8::from(self.opt.is_some())];
        if self.header_only {
            out[5] = 0;
            return out;
        }
        out.extend_from_slice(b"\x07example\x03org\x00");
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
}

/// What a tester looks at.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rcode: u16,
    aa: bool,
    soa: bool,
    /// Version, DO, other flags, option codes.
    opt: Option<(u8, bool, u16, Vec<u16>)>,
}

fn seen(response: &[u8], query: &[u8]) -> Seen {
    let u16_at = |at: usize| u16::from_be_bytes([response[at], response[at + 1]]);
    assert_eq!(response[..2], query[..2], "the identifier");
    assert_eq!(response[2] & 0x80, 0x80, "QR");
    assert_eq!(response[2] & 0x78, query[2] & 0x78, "the opcode is copied");
    assert_eq!(response[2] & 0x02, 0, "TC");
    assert_eq!(response[2] & 0x01, query[2] & 0x01, "RD is copied");
    assert_eq!(response[3] & 0x80, 0, "RA");
    assert_eq!(response[3] & 0x40, 0, "the last Z bit is zero");
    assert_eq!(response[3] & 0x20, 0, "AD");
    let mut at = 12;
    if u16_at(4) == 1 {
        assert_eq!(response[12..29], query[12..29], "the question");
        at = 29;
    }
    let (mut soa, mut opt, mut extended) = (false, None, 0);
    for section in 0..3 {
        for _ in 0..u16_at(6 + 2 * section) {
            while response[at] != 0 && response[at] < 0xc0 {
                at += 1 + usize::from(response[at]);
            }
            at += if response[at] == 0 { 1 } else { 2 };
            let end = at + 10 + usize::from(u16_at(at + 8));
            soa |= section == 0 && u16_at(at) == SOA;
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
    Seen { rcode: extended | u16::from(response[3] & 15), aa: response[2] & 4 != 0, soa, opt }
}

fn settings() -> Settings {
    Settings { nsid: b"ns1".to_vec(), cookies: Secrets::new([[7; 16]]), ..Settings::default() }
}

/// Name of the probe, the probe, response code, SOA in the answer, and of the OPT record DO and options.
type Case = (&'static str, Probe, u16, bool, Option<(bool, &'static [u16])>);

fn cases() -> Vec<Case> {
    let tcp = |probe: Probe| Probe { transport: Transport::Tcp, ..probe };
    let flag = |flags: [u8; 2]| Probe { flags, ..plain() };
    let opcode = |opcode: u8| Probe { flags: [opcode << 3, 0], ..plain() };
    let bare = Some((false, &[][..]));
    let cookie = [&[0, 10, 0, 8][..], &[1; 8]].concat();
    let several = [&[0, 3, 0, 0][..], &cookie, &[0, 8, 0, 4, 0, 1, 0, 0], &[0, 9, 0, 0]].concat();
    vec![
        // RFC 8906 section 8.1
        ("dns", plain(), 0, true, None),
        ("unknown type (8.1.2)", Probe { qtype: 1000, ..plain() }, 0, false, None),
        ("CD (8.1.3.1)", flag([0, 0x10]), 0, true, None),
        ("AD (8.1.3.2)", flag([0, 0x20]), 0, true, None),
        ("last reserved bit (8.1.3.3)", flag([0, 0x40]), 0, true, None),
        ("RD (8.1.3.4)", flag([1, 0]), 0, true, None),
        ("RA in a query", flag([0, 0x80]), 0, true, None),
        ("AA and TC in a query", flag([6, 0]), 0, true, None),
        ("a response code in a query", flag([0, 15]), 0, true, None),
        ("unknown opcode, header only (8.1.4)", Probe { header_only: true, ..opcode(15) }, 4, false, None),
        ("unknown opcode with question", opcode(15), 4, false, None),
        ("NOTIFY", opcode(4), 4, false, None),
        ("UPDATE", opcode(5), 4, false, None),
        ("DSO (RFC 8490)", Probe { header_only: true, ..opcode(6) }, 4, false, None),
        ("TCP (8.1.5)", tcp(plain()), 0, true, None),
        // RFC 8906 section 8.2
        ("edns (8.2.1)", edns(0, 0, &[]), 0, true, bare),
        ("ednsv1 (8.2.2)", edns(1, 0, &[]), 16, false, bare),
        ("unknown option (8.2.3)", edns(0, 0, UNKNOWN), 0, true, bare),
        ("unknown flag (8.2.4)", edns(0, UNKNOWN_FLAG, &[]), 0, true, bare),
        ("every unknown flag", edns(0, 0x7fff, &[]), 0, true, bare),
        ("ednsv1 and unknown flag (8.2.5)", edns(1, UNKNOWN_FLAG, &[]), 16, false, bare),
        ("ednsv1 and unknown option (8.2.6)", edns(1, 0, UNKNOWN), 16, false, bare),
        ("DO", edns(0, DO, &[]), 0, true, Some((true, &[]))),
        ("ednsv1 and DO", edns(1, DO, &[]), 16, false, Some((true, &[]))),
        ("several known options", edns(0, 0, &several), 0, true, Some((false, &[3, 10]))),
        ("DO and unknown flag", edns(0, DO | UNKNOWN_FLAG, &[]), 0, true, Some((true, &[]))),
        ("edns over TCP", tcp(edns(0, DO, &[])), 0, true, Some((true, &[]))),
        ("edns512 (signed)", Probe { opt: Some((512, 0, DO, Vec::new())), ..plain() }, 0, true, Some((true, &[]))),
        ("NSID", edns(0, 0, &[0, 3, 0, 0]), 0, true, Some((false, &[3]))),
        ("COOKIE", edns(0, 0, &cookie), 0, true, Some((false, &[10]))),
        ("client subnet", edns(0, 0, &[0, 8, 0, 4, 0, 1, 0, 0]), 0, true, bare),
        ("EXPIRE", edns(0, 0, &[0, 9, 0, 0]), 0, true, bare),
        ("keepalive over UDP", edns(0, 0, &[0, 11, 0, 0]), 0, true, bare),
        ("padding over UDP", edns(0, 0, &[0, 12, 0, 2, 0, 0]), 0, true, bare),
        ("EDNS 255", edns(255, 0, &[]), 16, false, bare),
        // What options mean in another version is not known, so they can't be malformed.
        ("ednsv1 and what is no option", edns(1, 0, &[1, 2, 3]), 16, false, bare),
        ("unknown opcode with EDNS", Probe { flags: [15 << 3, 0], ..edns(0, 0, &[]) }, 4, false, Some((false, &[15]))),
        ("unknown type with EDNS", Probe { qtype: 1000, ..edns(0, 0, &[]) }, 0, false, bare),
    ]
}

#[test]
fn every_probe_of_the_testers_gets_the_right_answer() {
    let snapshot = examples();
    let settings = settings();
    let mut wrong = Vec::new();
    for (name, probe, rcode, soa, opt) in cases() {
        let query = probe.octets();
        let context = Context::new([127, 0, 0, 1].into(), probe.transport, super::common::now()).with(&settings);
        let mut out = vec![0xee; MESSAGE_MAX];
        let Some(len) = answer(&snapshot, &context, &query, &mut out) else {
            wrong.push(format!("{name}: no answer"));
            continue;
        };
        let opt = opt.map(|(dnssec_ok, codes)| (0, dnssec_ok, 0, codes.to_vec()));
        let expected = Seen { rcode, aa: rcode == 0, soa, opt };
        let found = seen(&out[..len], &query);
        if found != expected {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
        if probe.transport == Transport::Udp && len > 512 && probe.opt.is_none() {
            wrong.push(format!("{name}: {len} octets"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
        assert_eq!((found.rcode, found.opt), (rcode, Some((0, false, 0, codes))), "option {code}");
    }
}
