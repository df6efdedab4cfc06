//! Zone files at random: every type that BIND and ldns both know, in many spellings and layouts.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

type Words = BoxedStrategy<Vec<String>>;

/// A whole zone file of example.org.
pub fn zone() -> impl Strategy<Value = String> {
    vec((record(), layout(), head()), 30..50).prop_map(|records| {
        let mut text = "$TTL 1h\n@ SOA ns1 hostmaster 1 7200 3600 1209600 3600\n@ NS ns1\nns1 A 192.0.2.1\n".to_owned();
        for (number, ((label, mut words), layout, (ttl, class))) in records.into_iter().enumerate() {
            // A number in front keeps owners apart: one record each.
            let owner = format!("{number}-{}{label}", if number % 5 == 0 { "\\\"\\@" } else { "" });
            let rtype = words.remove(0);
            text += &format!("{owner}{ttl}{class}{rtype} {}\n", lay_out(&words, &layout));
            if number % 7 == 3 {
                text += &format!("$ORIGIN o{number}.example.org.\n");
            }
            if number % 11 == 5 {
                text += "; a comment ( \" ;\n\n$ttl 2h5M\n  \t\n";
            }
        }
        text
    })
}

/// TTL and class, in either order or left out, with the white space around them.
fn head() -> impl Strategy<Value = (String, String)> {
    let ttl = select(vec!["", "60", "1h30m", "2W", "0", "2147483647", "1d2H3m4s"]);
    let class = select(vec!["", "IN", "in", "iN"]);
    (ttl, class, any::<bool>()).prop_map(|(ttl, class, swap)| {
        let (first, second) = if swap { (class, ttl) } else { (ttl, class) };
        (format!("\t{first} "), format!("{second} \t"))
    })
}

#[derive(Clone, Debug)]
enum Layout {
    Line,
    Around(Vec<&'static str>),
    From(usize, Vec<&'static str>),
}

fn layout() -> impl Strategy<Value = Layout> {
    let gap = || vec(select(vec![" ", "\t", "\n", "\n  ", " ; comment ) \"\n\t", "  ", " ( ) "]), 1..6);
    prop_oneof![
        2 => Just(Layout::Line),
        1 => gap().prop_map(Layout::Around),
        1 => (0usize..4, gap()).prop_map(|(from, gaps)| Layout::From(from, gaps)),
    ]
}

fn lay_out(words: &[String], layout: &Layout) -> String {
    let (from, gaps) = match layout {
        Layout::Line => return words.join(" "),
        Layout::Around(gaps) => (0, gaps),
        Layout::From(from, gaps) => ((*from).min(words.len()), gaps),
    };
    let mut text = words[..from].join(" ") + " (";
    for (index, word) in words[from..].iter().enumerate() {
        text += gaps[index % gaps.len()];
        text += word;
    }
    text + gaps[0] + ")"
}

/// Without `\@`, which ldns takes for `@` in HIP (RFC 1035 section 5.1: only a free-standing, bare one is the origin).
fn label() -> impl Strategy<Value = String> {
    let octet = prop_oneof![
        6 => "[a-zA-Z0-9_-]",
        1 => any::<u8>().prop_map(|octet| format!("\\{octet:03}")),
        1 => select(vec!["\\.", "\\;", "\\(", "\\)", "\\$", "\\\\", "*", "/", "'"]).prop_map(str::to_owned),
    ];
    vec(octet, 1..10).prop_map(|octets| octets.concat())
}

fn name() -> BoxedStrategy<String> {
    prop_oneof![
        3 => vec(label(), 1..3).prop_map(|labels| labels.join(".")),
        2 => vec(label(), 1..4).prop_map(|labels| labels.join(".") + "."),
        1 => select(vec!["@", ".", "MiXed.Case.Example.", "a.b"]).prop_map(str::to_owned),
    ]
    .boxed()
}

fn string() -> BoxedStrategy<String> {
    let piece = || {
        prop_oneof![
            6 => "[a-zA-Z0-9=:/_.,+-]",
            1 => any::<u8>().prop_map(|octet| format!("\\{octet:03}")),
            1 => select(vec!["\\;", "\\\"", "\\\\", "\\(", "\\x"]).prop_map(str::to_owned),
        ]
    };
    let quoted =
        prop_oneof![4 => piece(), 1 => select(vec![" ", ";", "(", ")", "\t", "@", "$"]).prop_map(str::to_owned)];
    prop_oneof![
        vec(piece(), 1..30).prop_map(|pieces| pieces.concat()),
        vec(quoted, 0..60).prop_map(|pieces| format!("\"{}\"", pieces.concat())),
    ]
    .boxed()
}

fn number(most: u32) -> BoxedStrategy<String> {
    prop_oneof![3 => 0..=most, 1 => Just(0), 1 => Just(most)].prop_map(|number| number.to_string()).boxed()
}

fn one(text: &'static str) -> BoxedStrategy<String> {
    Just(text.to_owned()).boxed()
}

fn ipv4() -> BoxedStrategy<String> {
    any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()).boxed()
}

fn ipv6() -> BoxedStrategy<String> {
    let word = prop_oneof![Just(0u16), Just(0u16), Just(1u16), any::<u16>()];
    let full = proptest::array::uniform8(word);
    (full, any::<bool>())
        .prop_map(|(words, short)| match short {
            true => std::net::Ipv6Addr::from(words).to_string(),
            false => words.map(|word| format!("{word:04X}")).join(":"),
        })
        .boxed()
}

fn hex(octets: usize) -> Words {
    (vec(any::<u8>(), octets), any::<bool>(), 1usize..40)
        .prop_map(|(octets, upper, at)| {
            let text: String = octets
                .iter()
                .map(|octet| if upper { format!("{octet:02X}") } else { format!("{octet:02x}") })
                .collect();
            let (head, tail) = text.split_at(at.min(text.len()));
            [head, tail].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect()
        })
        .boxed()
}

fn base64(octets: std::ops::Range<usize>) -> Words {
    (vec(any::<u8>(), octets), 1usize..60)
        .prop_map(|(octets, at)| {
            let text = data_encoding::BASE64.encode(&octets);
            let (head, tail) = text.split_at(at.min(text.len()));
            [head, tail].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect()
        })
        .boxed()
}

fn types() -> Words {
    vec(select(vec!["A", "ns", "MX", "TXT", "RRSIG", "NSEC", "TLSA", "CAA", "TYPE65280", "TYPE1234", "SVCB"]), 1..6)
        .prop_map(|types| types.into_iter().map(str::to_owned).collect())
        .boxed()
}

/// Words one behind the other.
fn row(rtype: &'static str, parts: Vec<BoxedStrategy<String>>, tail: Option<Words>) -> Words {
    (parts, tail.unwrap_or_else(|| Just(Vec::new()).boxed()))
        .prop_map(move |(parts, tail)| {
            let mut words = vec![rtype.to_owned()];
            words.extend(parts);
            words.extend(tail);
            words
        })
        .boxed()
}

fn digest(rtype: &'static str, kinds: Vec<(&'static str, usize)>) -> Words {
    select(kinds)
        .prop_flat_map(move |(kind, octets)| {
            row(
                rtype,
                vec![
                    number(65535),
                    select(vec!["8", "13", "ED25519", "RSASHA256"]).prop_map(str::to_owned).boxed(),
                    one(kind),
                ],
                Some(hex(octets)),
            )
        })
        .boxed()
}

fn svcb(rtype: &'static str) -> Words {
    let param = select(vec![
        "alpn=h2,h3",
        "alpn=\"h2,http/1.1\"",
        "port=8443",
        "ipv4hint=192.0.2.1",
        "ipv4hint=192.0.2.1,192.0.2.2",
        "ipv6hint=2001:db8::1,::1",
        "ech=AQIDBA==",
        "key667=hello",
        "key668=\"with space\"",
        "key700",
        "mandatory=alpn",
        "alpn=f\\\\\\\\oo\\\\,bar,h2",
        "no-default-alpn",
    ]);
    (1u16.., name(), vec(param, 0..5))
        .prop_map(move |(priority, target, params)| {
            let mut words = vec![rtype.to_owned(), priority.to_string(), target];
            let mut keys: Vec<&str> = Vec::new();
            let with_alpn = params.iter().any(|param| param.starts_with("alpn"));
            for param in params {
                let key = param.split('=').next().unwrap_or_default();
                let needs = matches!(key, "mandatory" | "no-default-alpn");
                if !keys.contains(&key) && (with_alpn || !needs) {
                    keys.push(key);
                    words.push(param.to_owned());
                }
            }
            words
        })
        .boxed()
}

fn loc() -> Words {
    let size = || select(vec!["0m", "1m", "0.5m", "10m", "300m", "90000000m", "2000", "7.00m"]).prop_map(str::to_owned);
    (
        (0u32..90, 0u32..60, 0u32..60_000),
        (0u32..180, 0u32..60),
        -10_000_000i64..4_284_967_295,
        vec(size(), 0..4),
        any::<[bool; 2]>(),
    )
        .prop_map(|((d1, m1, s1), (d2, m2), altitude, sizes, [north, east])| {
            let mut words =
                vec!["LOC".to_owned(), d1.to_string(), m1.to_string(), format!("{}.{:03}", s1 / 1000, s1 % 1000)];
            words.push(if north { "N" } else { "S" }.to_owned());
            words.extend([d2.to_string(), m2.to_string(), if east { "E" } else { "W" }.to_owned()]);
            let sign = if altitude < 0 { "-" } else { "" };
            words.push(format!("{sign}{}.{:02}m", altitude.abs() / 100, altitude.abs() % 100));
            words.extend(sizes);
            words
        })
        .boxed()
}

fn rdata() -> Words {
    let u8s = |count: usize| (0..count).map(|_| number(255)).collect::<Vec<_>>();
    let u16s = |count: usize| (0..count).map(|_| number(65535)).collect::<Vec<_>>();
    let with = |mut parts: Vec<BoxedStrategy<String>>, last: BoxedStrategy<String>| {
        parts.push(last);
        parts
    };
    let algorithm = || select(vec!["8", "13", "RSASHA256", "ecdsap256sha256"]).prop_map(str::to_owned).boxed();
    let strings = || Some(vec(string(), 1..4).boxed());
    let time = || select(vec!["20300101000000", "1893456000", "20240229235959"]).prop_map(str::to_owned).boxed();
    let salt = || select(vec!["-", "aabbccdd", "AB"]).prop_map(str::to_owned).boxed();
    let groups: Vec<Words> = vec![
        row("A", vec![ipv4()], None),
        row("aaaa", vec![ipv6()], None),
        row("NS", vec![name()], None),
        row("CNAME", vec![name()], None),
        row("Ptr", vec![name()], None),
        row("DNAME", vec![name()], None),
        row("MX", with(u16s(1), name()), None),
        row("KX", with(u16s(1), name()), None),
        row("AFSDB", with(u16s(1), name()), None),
        row("SRV", with(u16s(3), name()), None),
        row("RP", vec![name(), name()], None),
        row("TXT", vec![], strings()),
        row("TXT", vec![], strings()),
        row("SPF", vec![], strings()),
        row("HINFO", vec![string(), string()], None),
        row(
            "NAPTR",
            with(with(u16s(2), one("\"u\"")), string()),
            Some((one("\"\""), name()).prop_map(|(left, right)| vec![left, right]).boxed()),
        ),
        row(
            "CERT",
            vec![
                select(vec!["PKIX", "pgp", "253", "1000"]).prop_map(str::to_owned).boxed(),
                number(65535),
                algorithm(),
            ],
            Some(base64(1..60)),
        ),
        digest("DS", vec![("1", 20), ("2", 32), ("4", 48)]),
        digest("CDS", vec![("1", 20), ("2", 32), ("4", 48)]),
        row("SSHFP", vec![one("4"), one("2")], Some(hex(32))),
        row("TLSA", u8s(3), Some(hex(32))),
        row("SMIMEA", u8s(3), Some(hex(33))),
        row("ZONEMD", vec![number(u32::MAX), one("1"), one("1")], Some(hex(48))),
        row("OPENPGPKEY", vec![], Some(base64(1..90))),
        row("DHCID", vec![], Some(base64(3..60))),
        row(
            "DNSKEY",
            vec![select(vec!["256", "257"]).prop_map(str::to_owned).boxed(), one("3"), one("13")],
            Some(base64(64..65)),
        ),
        row("CDNSKEY", vec![one("257"), one("3"), one("15")], Some(base64(32..33))),
        row("IPSECKEY", vec![number(255), one("1"), one("2"), ipv4()], Some(base64(1..60))),
        row("IPSECKEY", vec![number(255), one("2"), one("2"), ipv6()], Some(base64(1..60))),
        row(
            "HIP",
            vec![one("2"), one("200100107B1A74DF365639CC39F1D578"), one("AwEAAbdxyhNuSutc")],
            Some(vec(name(), 0..3).boxed()),
        ),
        row(
            "RRSIG",
            vec![
                select(vec!["A", "TYPE65280"]).prop_map(str::to_owned).boxed(),
                algorithm(),
                one("3"),
                number(86400),
                time(),
                time(),
                number(65535),
                one("Example.org."),
            ],
            Some(base64(64..65)),
        ),
        row("NSEC", vec![name()], Some(types())),
        row("CSYNC", vec![number(u32::MAX), one("3")], Some(types())),
        row("NSEC3PARAM", vec![one("1"), one("0"), number(150), salt()], None),
        row("CAA", with(vec![one("0")], one("issue")), Some(vec(string(), 1..2).boxed())),
        row("URI", u16s(2), Some("[a-z:/.]{1,20}".prop_map(|text| vec![format!("\"{text}\"")]).boxed())),
        row("EUI48", vec![one("00-00-5E-00-53-2a")], None),
        row("EUI64", vec![one("00-00-5e-EF-10-00-00-2a")], None),
        row(
            "APL",
            vec![],
            Some(
                vec(
                    select(vec!["1:192.0.2.0/24", "!1:192.0.2.128/25", "2:2001:db8::/32", "1:0.0.0.0/0", "!2:::1/128"])
                        .prop_map(str::to_owned),
                    1..4,
                )
                .boxed(),
            ),
        ),
        loc(),
        svcb("SVCB"),
        svcb("HTTPS"),
        row("TYPE65280", vec![one("\\#"), one("5")], Some(hex(5))),
        row("A", vec![one("\\#"), one("4")], Some(hex(4))),
        row("TLSA", vec![one("\\#"), one("5")], Some(hex(5))),
        row("type16", vec![one("plain")], None),
    ];
    proptest::strategy::Union::new(groups).boxed()
}

fn record() -> impl Strategy<Value = (String, Vec<String>)> {
    (label(), rdata())
}
