//! What is promised of presentation form: examples of the RFCs, and every RDATA of the table comes back from its text.

use proptest::prelude::*;

use super::*;
use crate::dns::rtype::{Field, TYPES};
use crate::dns::{Name, Rdata, Rtype, rdata};

/// Cuts a line at spaces; words in quotation marks stay whole. No comments, no parentheses.
fn words(line: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b' ' {
            at += 1;
            continue;
        }
        let quoted = bytes[at] == b'"';
        let start = at + usize::from(quoted);
        let mut inside = quoted;
        at = start;
        while at < bytes.len() && (inside || bytes[at] != b' ') {
            match bytes[at] {
                b'\\' => at += 1,
                b'"' if quoted => break,
                b'"' => inside = !inside,
                _ => {}
            }
            at += 1;
        }
        at = at.min(bytes.len());
        words.push(Word { text: &bytes[start..at], quoted });
        at += usize::from(quoted);
    }
    words
}

fn read(line: &str) -> Result<(Rtype, Rdata), TextError> {
    let origin: Name = "example.org.".parse().expect("a name");
    let (mnemonic, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rtype = Rtype::parse(mnemonic).expect(mnemonic);
    read_rdata(rtype, &words(rest), &origin).map(|rdata| (rtype, rdata))
}

#[track_caller]
fn prints(line: &str, printed: &str) {
    let (rtype, rdata) = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(print_rdata(rtype, &rdata), printed, "{line}");
}

#[track_caller]
fn fails(line: &str, word: usize, fragment: &str) {
    let error = read(line).expect_err(line);
    assert!(error.message.contains(fragment), "{line}: {}", error.message);
    assert_eq!(error.word, word, "{line}: {}", error.message);
}

#[test]
fn every_type_has_an_example_that_reads() {
    for info in TYPES {
        assert!(syntax(info.rtype).is_some_and(|text| text.split(' ').next().is_some()), "{}", info.mnemonic);
    }
}

#[test]
fn names_numbers_and_addresses() {
    prints("MX 10 mail", "10 mail.example.org.");
    prints("MX 0 .", "0 .");
    prints("AAAA 2001:DB8:0:0::1", "2001:db8::1");
    prints("AAAA ::192.0.2.1", "::192.0.2.1");
    prints("SOA @ hostmaster 1 2h 1h 2w 1h", "example.org. hostmaster.example.org. 1 7200 3600 1209600 3600");
    fails("A 192.0.2", 0, "an IPv4 address");
    fails("A 192.0.2.1 192.0.2.2", 1, "after the end");
    fails("MX mail", 0, "from 0 to 65535");
    fails("MX 10", 1, "ends too early");
    fails("MX 65536 mail", 0, "65535");
    fails("MX +1 mail", 0, "65535");
    fails("MX 1 \"mail\"", 1, "without quotation marks");
    fails("MX 1 a..b", 1, "two dots");
}

#[test]
fn strings_and_their_escapes() {
    prints(r#"TXT plain "with space" a\;b \065\"\\"#, r#""plain" "with space" "a;b" "A\"\\""#);
    prints(r#"TXT "\000\255\200" "#, r#""\000\255\200""#);
    prints(r#"TXT """#, r#""""#);
    fails(r"TXT \256", 0, "bad escape");
    fails("TXT", 0, "ends too early");
    fails(r#"TXT a="b""#, 0, "quotation mark");
    fails(&format!("TXT a {}", "x".repeat(256)), 1, "at most 255");
    prints(r#"CAA 0 issue ca.example"#, r#"0 issue "ca.example""#);
    fails(r#"CAA 0 is-sue "ca""#, 1, "letters and digits");
}

#[test]
fn rfc_3597_is_read_for_every_type_and_checked() {
    prints(r"A \# 4 C0000201", "192.0.2.1");
    prints(r"TYPE65280 \# 3 AB CD EF", r"\# 3 ABCDEF");
    prints(r"TYPE65280 \# 0", r"\# 0");
    fails(r"A \# 3 C00002", 2, "not the wire form of A");
    fails(r"A \# 5 C0000201", 1, "says 5");
    fails("TYPE65280 abc", 0, "not known here");
    fails(r"TYPE65280 \# 65536 00", 1, "65535");
}

#[test]
fn loc_and_apl_keep_their_ranges() {
    prints("LOC 42 21 54 N 71 06 18 W -24m 30m", "42 21 54.000 N 71 6 18.000 W -24.00m 30m 10000m 10m");
    prints("LOC 42 N 71 W 0", "42 0 0.000 N 71 0 0.000 W 0.00m 1m 10000m 10m");
    prints("LOC 90 S 180 E 42849672.95m 0m 0.05m 0.5m", "90 0 0.000 S 180 0 0.000 E 42849672.95m 0.00m 0.05m 0.50m");
    prints("APL 1:192.0.2.1/24 !2:::/0", "1:192.0.2.1/24 !2:::/0");
    fails("APL 1:192.0.2.0/33", 0, "an address prefix");
    fails("LOC 91 N 71 W 0", 0, "from 0 to 90");
    fails("LOC 90 1 N 71 W 0", 0, "beyond 90");
    fails("LOC 42 60 N 71 W 0", 1, "from 0 to 59");
    fails("LOC 42 21 60 N 71 W 0", 2, "59.999");
    fails("LOC 42 21 54 X 71 W 0", 3, "N or S");
    fails("LOC 42 N 71 W 42849673m", 4, "altitude");
}

#[test]
fn svcb_reads_the_vectors_of_rfc_9460_appendix_d() {
    let wire =
        |line: &str| read(line).map(|(_, rdata)| rdata.to_vec()).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(wire("SVCB 16 foo.example.com. port=53")[19..], [0, 3, 0, 2, 0, 53]);
    assert_eq!(wire(r#"SVCB 1 foo.example.com. key667=hello"#)[19..], *b"\x02\x9b\x00\x05hello");
    assert_eq!(wire(r#"SVCB 1 foo.example.com. key667="hello\210qoo""#)[19..], *b"\x02\x9b\x00\x09hello\xd2qoo");
    let alpn = *b"\x00\x01\x00\x0c\x08f\\oo,bar\x02h2";
    assert_eq!(wire(r#"SVCB 16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#)[19..], alpn);
    assert_eq!(wire(r"SVCB 16 foo.example.org. alpn=f\\\092oo\092,bar,h2")[19..], alpn);
    prints(
        "SVCB 16 foo.example.org. alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1",
        r#"16 foo.example.org. mandatory=alpn,ipv4hint alpn="h2,h3-19" ipv4hint=192.0.2.1"#,
    );
    prints("HTTPS 1 . key3=\\001\\187", "1 . port=443");
    prints("SVCB 1 . dohpath=/q{?dns} ohttp", "1 . dohpath=\"/q{?dns}\" ohttp");
}

#[test]
fn svcb_refuses_the_failures_of_rfc_9460_appendix_d_3() {
    fails("SVCB 1 foo key123=abc key123=def", 3, "twice");
    fails("SVCB 1 foo mandatory", 2, "a list");
    for key in ["alpn", "port", "ipv4hint", "ipv6hint"] {
        fails(&format!("SVCB 1 foo {key}"), 2, key);
    }
    fails("SVCB 1 foo no-default-alpn=abc", 2, "takes no value");
    fails("SVCB 1 foo mandatory=key123", 0, "not given");
    fails("SVCB 1 foo mandatory=mandatory", 2, "itself");
    fails("SVCB 1 foo mandatory=key123,key123 key123=abc", 2, "twice");
    fails("SVCB 0 foo port=1", 0, "alias");
    fails("SVCB 1 foo no-default-alpn", 0, "needs `alpn`");
    fails("SVCB 1 foo key01=a", 2, "not a parameter");
    fails("SVCB 1 foo key65535=a", 2, "not a parameter");
    fails("SVCB 1 foo alpn=h2,,h3", 2, "empty item");
    fails("SVCB 1 foo dohpath=dns", 2, "RFC 9461");
}

#[test]
fn mnemonics_are_read_and_numbers_printed() {
    prints("CERT PGP 0 RSASHA256 AQID", "PGP 0 8 AQID");
    prints("DS 1 ECDSAP256SHA256 3 ab cd", "1 13 3 ABCD");
    fails("DS 1 13 2 abcd", 3, "has 32 octets, this one has 2");
    prints("CDS 0 0 0 00", "0 0 0 00");
    prints(
        "RRSIG TYPE65280 ed25519 2 3600 20300101000000 1893456000 1 @ AQID",
        "TYPE65280 15 2 3600 20300101000000 20300101000000 1 example.org. AQID",
    );
    fails("DS 1 FOO 2 ab", 1, "algorithm");
    fails("DS 1 13 2 abc", 3, "missing");
    fails("DS 1 13 2 ab zz", 4, "hexadecimal");
    fails("DNSKEY 257 3 13 AQI", 3, "base64");
    fails("NSEC a FOO", 1, "record type");
}

#[test]
fn what_the_syntax_cannot_say_is_printed_by_rfc_3597() {
    assert_eq!(print_rdata(Rtype::A, &[1, 2, 3]), r"\# 3 010203");
    assert_eq!(print_rdata(Rtype::DS, &[0, 1, 13, 2]), r"\# 4 00010D02");
    assert_eq!(print_rdata(Rtype::CAA, b"\x00\x02a b"), r"\# 5 0002612062");
    assert_eq!(print_rdata(Rtype::NSEC3PARAM, &[1, 0, 0, 0, 0]), "1 0 0 -");
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        3 => proptest::collection::vec(b'a'..=b'z', 1..8),
        1 => proptest::collection::vec(any::<u8>(), 1..12),
    ];
    proptest::collection::vec(label, 0..5).prop_map(|labels| {
        let mut wire: Vec<u8> = Vec::new();
        for label in labels {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        wire
    })
}

fn octets(sizes: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    proptest::collection::vec(any::<u8>(), sizes).boxed()
}

fn counted(sizes: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    octets(sizes).prop_map(|octets| [vec![octets.len() as u8], octets].concat()).boxed()
}

fn many(item: BoxedStrategy<Vec<u8>>, count: std::ops::Range<usize>) -> BoxedStrategy<Vec<u8>> {
    proptest::collection::vec(item, count).prop_map(|items| items.concat()).boxed()
}

fn svc_param() -> BoxedStrategy<(u16, Vec<u8>)> {
    prop_oneof![
        many(counted(1..20), 1..4).prop_map(|value| (1, value)),
        octets(2..3).prop_map(|value| (3, value)),
        many(octets(4..5), 1..3).prop_map(|value| (4, value)),
        octets(1..40).prop_map(|value| (5, value)),
        many(octets(16..17), 1..3).prop_map(|value| (6, value)),
        Just((8, Vec::new())),
        (9u16..65535, octets(0..20)),
        (0u16..9, octets(0..6)),
    ]
    .boxed()
}

fn field(field: Field) -> BoxedStrategy<Vec<u8>> {
    match field {
        Field::Name { .. } => name().boxed(),
        Field::U8 | Field::Algorithm => octets(1..2),
        Field::U16 | Field::Type | Field::CertType => octets(2..3),
        Field::U32 | Field::Seconds | Field::Time | Field::Ipv4 => octets(4..5),
        Field::Ipv6 => {
            prop_oneof![octets(16..17), many(proptest::sample::select(vec![vec![0u8, 0], vec![0, 1]]).boxed(), 8..9)]
                .boxed()
        }
        Field::String | Field::Salt => counted(0..256),
        Field::Base32Hex => counted(1..40),
        Field::Tag => prop_oneof![
            "[a-z0-9]{1,15}".prop_map(|tag| [vec![tag.len() as u8], tag.into_bytes()].concat()),
            counted(0..10)
        ]
        .boxed(),
        Field::Strings => many(counted(0..256), 1..5),
        Field::Text | Field::Hex | Field::Base64 => octets(0..300),
        Field::Bitmap => prop_oneof![
            proptest::collection::vec(any::<u16>(), 0..20)
                .prop_map(|types| rdata::bitmap(types.into_iter().map(Rtype))),
            Just(vec![0, 2, 0x40, 0]),
        ]
        .boxed(),
        Field::Eui48 => octets(6..7),
        Field::Eui64 => octets(8..9),
        Field::Loc => (0u8..2, octets(3..4), 0u32..1_300_000_000, octets(8..9))
            .prop_map(|(version, sizes, latitude, rest)| {
                [vec![version / 2], sizes, ((1 << 31) - 324_000_000 + latitude / 2).to_be_bytes().to_vec(), rest]
                    .concat()
            })
            .boxed(),
        Field::Apl => many(
            (0u8..3, 0u8..129, any::<bool>(), octets(0..17))
                .prop_map(|(family, length, not, part)| {
                    [vec![0, family, length, u8::from(not) << 7 | part.len() as u8], part].concat()
                })
                .boxed(),
            0..4,
        ),
        Field::Ipseckey => (octets(3..4), octets(16..17), name(), octets(0..50))
            .prop_map(|(mut head, address, name, key)| {
                head[1] %= 4;
                let gateway = match head[1] {
                    0 => Vec::new(),
                    1 => address[..4].to_vec(),
                    2 => address,
                    _ => name,
                };
                [head, gateway, key].concat()
            })
            .boxed(),
        Field::Hip => (any::<u8>(), octets(0..20), octets(0..50), many(name().boxed(), 0..3))
            .prop_map(|(algorithm, hit, key, servers)| {
                [vec![hit.len() as u8, algorithm, 0, key.len() as u8], hit, key, servers].concat()
            })
            .boxed(),
        Field::SvcParams => proptest::collection::vec(svc_param(), 0..5)
            .prop_map(|mut params| {
                params.sort();
                params.dedup_by_key(|(key, _)| *key);
                let wire = |(key, value): (u16, Vec<u8>)| {
                    [key.to_be_bytes().to_vec(), (value.len() as u16).to_be_bytes().to_vec(), value].concat()
                };
                params.into_iter().flat_map(wire).collect()
            })
            .boxed(),
    }
}

/// An RDATA that fits its type, of every type in the table.
fn any_rdata() -> impl Strategy<Value = (Rtype, Vec<u8>)> {
    proptest::sample::select(TYPES.iter().map(|info| info.rtype).collect::<Vec<_>>()).prop_flat_map(|rtype| {
        let fields = rtype.info().map(|info| info.fields).unwrap_or_default();
        let parts = fields.iter().fold(Just(Vec::new()).boxed(), |all, &one| {
            (all, field(one)).prop_map(|(all, one)| [all, one].concat()).boxed()
        });
        (Just(rtype), parts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn wire_printed_and_read_is_the_same_wire((rtype, wire) in any_rdata()) {
        prop_assert!(rdata::fields(rtype, &wire).is_some());
        for text in [print_rdata(rtype, &wire), print_rdata_generic(&wire)] {
            let again = read_rdata(rtype, &words(&text), &Name::root());
            prop_assert_eq!(again.as_deref(), Ok(&wire[..]), "{} {}", rtype, text);
        }
    }

    #[test]
    fn any_octets_print_and_read_back(rtype in 0u16..300, wire in proptest::collection::vec(any::<u8>(), 0..60)) {
        let rtype = Rtype(rtype);
        let text = print_rdata(rtype, &wire);
        prop_assert!(text.is_ascii() && !text.contains('\n'));
        if rdata::fields(rtype, &wire).is_some() {
            let again = read_rdata(rtype, &words(&text), &Name::root());
            prop_assert_eq!(again.as_deref(), Ok(&wire[..]), "{} {}", rtype, text);
        }
    }

    #[test]
    fn no_words_make_reading_panic(rtype in 0u16..300, line in "[ -~\\\\\"]{0,80}") {
        let _ = read_rdata(Rtype(rtype), &words(&line), &Name::root());
    }
}

proptest! {
    #[test]
    fn base64_is_read_as_the_library_reads_it(octets in proptest::collection::vec(any::<u8>(), 0..80), at in 0..120usize, odd in any::<u8>()) {
        let mut text = data_encoding::BASE64.encode(&octets).into_bytes();
        prop_assert_eq!(decode_base64(&text), Some(octets));
        if let Some(character) = text.get_mut(at) {
            *character = odd;
        }
        // The library alone would take several padded texts one behind the other.
        let unpadded = text.iter().rposition(|character| *character != b'=').map_or(0, |last| last + 1);
        let expected = data_encoding::BASE64.decode(&text).ok().filter(|_| !text[..unpadded].contains(&b'='));
        prop_assert_eq!(decode_base64(&text), expected);
        text.pop();
        prop_assert_eq!(decode_base64(&text), if text.is_empty() { Some(Vec::new()) } else { None });
    }
}
