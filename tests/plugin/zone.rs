//! The zones that the tests serve, made of records; whoever has zone text changes this file alone.

use danelaw::dns::dnssec::{self, Algorithm, Signer};
use danelaw::dns::{Name, Record, Rtype};
use danelaw::keys::ZoneKey;
use danelaw::plugin::ZoneSigner;
use danelaw::zone::Contents;

pub const APEX: &str = "example.org.";
/// The digest in the TLSA record at first.
pub const DIGEST: [u8; 32] = [0xab; 32];

/// A name relative to [`APEX`].
pub fn name(text: &str) -> Name {
    Name::parse(text, Some(&APEX.parse().unwrap())).unwrap()
}

pub fn wire(text: &str) -> Vec<u8> {
    name(text).as_wire().to_vec()
}

pub fn signer(algorithm: Algorithm) -> ZoneSigner {
    ZoneSigner::new(vec![ZoneKey::generate(algorithm).unwrap().0])
}

/// The parent; `child_key` is the DNSKEY of the zone below it that the same server holds.
pub fn parent(digest: [u8; 32], child_key: &dyn Signer) -> Contents {
    let mut zone = Contents::new(name("@"));
    let mut add = |owner: &str, rtype: Rtype, rdata: Vec<u8>| {
        zone.insert(Record { owner: name(owner), ttl: 3600, rtype, rdata: rdata.into() });
    };
    add("@", Rtype::SOA, soa());
    add("@", Rtype::NS, wire("ns"));
    add("@", Rtype::MX, [&[0, 10], &wire("Mail")[..]].concat());
    add("@", Rtype::MX, [&[0, 20], &wire("mx.example.net.")[..]].concat());
    add("ns", Rtype::A, vec![127, 0, 0, 1]);
    add("mail", Rtype::A, vec![127, 0, 0, 2]);
    add("mail", Rtype::AAAA, [[0; 15].as_slice(), &[1]].concat());
    add("_25._tcp.mail", Rtype::TLSA, [&[3, 1, 1], &digest[..]].concat());
    add("www", Rtype::CNAME, wire("Mail"));
    add("gone", Rtype::CNAME, wire("nowhere"));
    add("empty", Rtype::CNAME, wire("_tcp.mail"));
    add("out", Rtype::CNAME, wire("mail.example.net."));
    add("star", Rtype::CNAME, wire("any.wild"));
    add("*.wild", Rtype::TXT, b"\x05stars".to_vec());
    add("x.under.wild", Rtype::TXT, b"\x04none".to_vec());
    add("old", Rtype::DNAME, wire("new"));
    add("long", Rtype::DNAME, wire(&"x".repeat(63)));
    add("host.new", Rtype::A, vec![127, 0, 0, 3]);
    add("secure", Rtype::NS, wire("ns.secure"));
    add("secure", Rtype::DS, [&[0, 1, 13, 2], &[7; 32][..]].concat());
    add("ns.secure", Rtype::A, vec![127, 0, 0, 4]);
    add("insecure", Rtype::NS, wire("ns.insecure"));
    add("insecure", Rtype::NS, wire("ns.elsewhere.net."));
    add("ns.insecure", Rtype::A, vec![127, 0, 0, 5]);
    add("child", Rtype::NS, wire("ns"));
    add("child", Rtype::DS, dnssec::ds(&name("child"), child_key.dnskey()).into());
    add("island", Rtype::NS, wire("ns"));
    for number in 0..3800u16 {
        add("huge", Rtype::A, [&[10, 0], &number.to_be_bytes()[..]].concat());
    }
    for number in 0..20u8 {
        add("big", Rtype::TXT, [&[201, number], &[b'x'; 200][..]].concat());
    }
    for (rtype, rdata) in odd_rdatas() {
        add("odd", rtype, rdata);
    }
    zone
}

/// A zone below, served beside its parent.
pub fn child(apex: &str) -> Contents {
    let mut zone = Contents::new(name(apex));
    let mut add = |owner: &str, rtype: Rtype, rdata: Vec<u8>| {
        zone.insert(Record { owner: name(owner), ttl: 600, rtype, rdata: rdata.into() });
    };
    add(apex, Rtype::SOA, soa());
    add(apex, Rtype::NS, wire("ns"));
    add(&format!("www.{apex}"), Rtype::A, vec![127, 0, 0, 6]);
    zone
}

fn soa() -> Vec<u8> {
    let numbers = [7u32, 7200, 3600, 1_209_600, 300].map(u32::to_be_bytes).concat();
    [&wire("NS")[..], &wire("Hostmaster"), &numbers].concat()
}

/// RDATA of many types, some of which hickory does not know, or would write otherwise than it reads.
pub fn odd_rdatas() -> Vec<(Rtype, Vec<u8>)> {
    let with_name = |head: &[u8], text: &str, tail: &[u8]| [head, &wire(text), tail].concat();
    vec![
        (Rtype::PTR, wire("Mixed.Case")),
        (Rtype::HINFO, b"\x03CPU\x02OS".to_vec()),
        (Rtype::MINFO, with_name(&wire("Rmail"), "Email", &[])),
        (Rtype::RP, with_name(&wire("Admin"), "Text", &[])),
        (Rtype::AFSDB, with_name(&[0, 1], "Afs", &[])),
        (Rtype::SRV, with_name(&[0, 1, 0, 2, 0, 25], "Mail", &[])),
        (Rtype::NAPTR, with_name(b"\x00\x01\x00\x02\x01S\x07SIP+D2U\x00", "_Sip._udp", &[])),
        (Rtype::KX, with_name(&[0, 9], "Kx", &[])),
        (Rtype::CERT, vec![0, 1, 0, 2, 13, 1, 2, 3]),
        (Rtype::APL, vec![0, 1, 8, 0x81, 10]),
        (Rtype::SSHFP, vec![4, 2, 0xff, 0xee]),
        (Rtype::IPSECKEY, vec![10, 1, 2, 192, 0, 2, 1, 1, 2]),
        (Rtype::DHCID, vec![0, 1, 1, 9, 9]),
        (Rtype::SMIMEA, vec![3, 0, 0, 1, 2, 3]),
        (Rtype::OPENPGPKEY, vec![0x99, 1, 2]),
        (Rtype::CSYNC, vec![0, 0, 0, 7, 0, 3, 0, 1, 0x40]),
        (Rtype::SVCB, with_name(&[0, 1], "Svc", &[0, 1, 0, 3, 2, b'h', b'2', 0xff, 0, 0, 1, 7])),
        (Rtype::HTTPS, with_name(&[0, 0], "Mail", &[])),
        (Rtype::EUI48, vec![0, 0, 0x5e, 0, 0x53, 0x2a]),
        (Rtype::URI, b"\x00\x01\x00\x02https://example.org/".to_vec()),
        (Rtype::CAA, b"\x81\x05IsSue;".to_vec()),
        (Rtype::LOC, vec![0, 0x12, 0x16, 0x13, 0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0x98, 0x96, 0x80]),
        (Rtype::TXT, b"\x00\x03\xff\x00\"".to_vec()),
        (Rtype(65_281), vec![0xc0, 0x0c, 1]),
        (Rtype(65_282), vec![]),
    ]
}
