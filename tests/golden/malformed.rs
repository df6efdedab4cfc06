//! Malformed zones: each gives exactly one error, at its line and column, in words that say what is wrong.

use danelaw::dns::Name;
use danelaw::zone::{NoIncludes, Parsed, Severity, parse};

/// Stands before each body, so that nothing else is wrong. Lines of the table count from behind it.
const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n";
const HEAD_LINES: u32 = 4;

/// A body, the line and column of its error, the octets that the caret underlines, a part of the message.
type Case = (&'static str, u32, u32, u32, &'static str);

const CASES: &[Case] = &[
    // Tokens.
    ("a TXT \"open\n", 1, 7, 1, "quotation mark has no partner"),
    ("a TXT ( \"open\n \"closed\" )\nb A 192.0.2.1\n", 1, 9, 1, "quotation mark has no partner"),
    ("a TXT ( \"open )\nb A 192.0.2.1\n", 1, 9, 1, "quotation mark has no partner"),
    ("a TXT ( x\nb A 192.0.2.1\n", 1, 7, 1, "never closed"),
    ("a TXT x )\nb A 192.0.2.1\n", 1, 9, 1, "never opened"),
    ("a TXT x\\\n", 1, 8, 1, "`\\` at the end of the line"),
    ("a TXT x\rb A 192.0.2.1\n", 1, 8, 1, "carriage return"),
    ("a TXT k=\"v\"\n", 1, 7, 5, "quotation mark inside an unquoted word"),
    // Directives.
    ("$GENERATE 1-10 a$ A 192.0.2\n", 1, 21, 7, "with 1 for $: A: expected an IPv4 address"),
    ("$GENERATE 10-1 a$ A 192.0.2.$\n", 1, 11, 4, "`10-1` is not a range"),
    ("$GENERATE 1-70000 a$ A 192.0.2.1\n", 1, 11, 7, "70000 records"),
    ("$GENERATE 1-3 a${1,x} A 192.0.2.1\n", 1, 15, 7, "not a modifier"),
    ("$GENERATE 1-3 a$ MX 10 mx$\n", 1, 24, 3, "unexpected `mx$` behind the data"),
    ("$FOO bar\n", 1, 1, 4, "unknown directive $FOO"),
    (" $TTL 300\n", 1, 2, 4, "first column"),
    ("$TTL\n", 1, 5, 1, "$TTL needs a TTL"),
    ("$TTL soon\n", 1, 6, 4, "`soon` is not a TTL"),
    ("$TTL 2147483648\n", 1, 6, 10, "RFC 2181"),
    ("$TTL 300 600\n", 1, 10, 3, "unexpected `600`"),
    ("$ORIGIN\n", 1, 8, 1, "$ORIGIN needs a domain name"),
    ("$ORIGIN a..b.\n", 1, 9, 5, "two dots"),
    ("$INCLUDE\n", 1, 9, 1, "$INCLUDE needs a file name"),
    ("$INCLUDE other.zone\n", 1, 10, 10, "can't include other.zone"),
    ("$INCLUDE other.zone a b\n", 1, 23, 1, "unexpected `b`"),
    // What no zone may hold.
    ("*.a NS ns1\n", 1, 5, 2, "NS at a wildcard"),
    ("*.a DNAME b\n", 1, 5, 5, "DNAME at a wildcard"),
    // Owners.
    ("elsewhere.net. A 192.0.2.1\n", 1, 1, 14, "outside the zone example.org."),
    ("elsewhere.net. A 192.0.2.1\n AAAA ::1\n", 1, 1, 14, "outside the zone example.org."),
    ("a..b A 192.0.2.1\n", 1, 1, 4, "two dots"),
    (".a A 192.0.2.1\n", 1, 1, 2, "begins with one"),
    ("a\\25x A 192.0.2.1\n", 1, 1, 5, "bad escape"),
    ("a\\256 A 192.0.2.1\n", 1, 1, 5, "bad escape"),
    ("\"a\" A 192.0.2.1\n", 1, 1, 3, "without quotation marks"),
    (
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa A 192.0.2.1\n",
        1,
        1,
        64,
        "a label is longer than 63 octets",
    ),
    // Heads.
    ("a\n", 1, 2, 1, "expected a type"),
    ("a 300 IN\n", 1, 9, 1, "expected a type"),
    ("a CH A 192.0.2.1\n", 1, 3, 2, "class CH is not served"),
    ("a CLASS3 A 192.0.2.1\n", 1, 3, 6, "class CLASS3 is not served"),
    ("a 4294967296 A 192.0.2.1\n", 1, 3, 10, "at most 2147483647"),
    ("a 300 600 A 192.0.2.1\n", 1, 7, 3, "unknown record type `600`"),
    ("a IN IN A 192.0.2.1\n", 1, 6, 2, "unknown record type `IN`"),
    ("a FOO bar\n", 1, 3, 3, "unknown record type `FOO`"),
    ("MX 10 mail\n", 1, 7, 4, "unknown record type `mail`"),
    ("a OPT \\# 0\n", 1, 3, 3, "unknown record type `OPT`"),
    ("a TYPE41 \\# 0\n", 1, 3, 6, "for messages only"),
    ("a TYPE255 \\# 0\n", 1, 3, 7, "for messages only"),
    ("a TYPE10 \\# 0\n", 1, 3, 6, "for messages only"),
    // RDATA.
    ("a A 192.0.2.256\n", 1, 5, 11, "an IPv4 address"),
    ("a A 192.0.2.1 192.0.2.2\n", 1, 15, 9, "after the end"),
    ("a A\n", 1, 4, 1, "ends too early"),
    ("a AAAA 2001:db8:::1\n", 1, 8, 12, "an IPv6 address"),
    ("a MX mail\n", 1, 6, 4, "from 0 to 65535"),
    ("a MX (\n  10 ; preference\n) ; no host\n", 2, 5, 1, "expected a domain name"),
    ("a TXT\n", 1, 6, 1, "ends too early"),
    ("a TLSA 3 1 1 ( 0123\n\t456 )\n", 2, 2, 3, "characters are missing"),
    ("a TLSA 3 1 1 xyz\n", 1, 14, 3, "expected hexadecimal"),
    ("a TLSA 3 1 300 00\n", 1, 12, 3, "from 0 to 255"),
    ("a DNSKEY 257 3 13 AQI\n", 1, 19, 3, "base64"),
    ("a DNSKEY 257 3 13 AQ==AQID\n", 1, 19, 8, "base64"),
    ("a DS 1 FOO 2 00\n", 1, 8, 3, "a DNSSEC algorithm"),
    ("a DS 1 13 2 ( 00\n 01 )\n", 1, 15, 2, "has 32 octets, this one has 2"),
    ("a CAA 0 is_sue \"ca\"\n", 1, 9, 6, "letters and digits"),
    ("a SRV 0 0 65536 b\n", 1, 11, 5, "from 0 to 65535"),
    ("a LOC 91 N 1 E 0\n", 1, 7, 2, "from 0 to 90"),
    ("a APL 1:192.0.2.0/33\n", 1, 7, 14, "an address prefix"),
    ("a HTTPS 1 . alpn=h2 port=99999\n", 1, 21, 10, "a port from 0 to 65535"),
    ("a HTTPS 1 . mandatory=port\n", 1, 9, 1, "`mandatory` lists `port`"),
    ("a HTTPS 0 b alpn=h2\n", 1, 9, 1, "takes no parameters"),
    ("a RRSIG A 13 3 300 20301301000000 20291201000000 1 @ AQID\n", 1, 20, 14, "YYYYMMDDHHmmSS"),
    ("a NSEC b FOO\n", 1, 10, 3, "a record type"),
    ("a NSEC3PARAM 1 0 0 abc\n", 1, 20, 3, "a salt"),
    ("a TYPE65280 text\n", 1, 13, 4, "`\\#`"),
    ("a A \\# 3 C00002\n", 1, 10, 6, "not the wire form of A"),
    ("a TYPE65280 \\# 3 C00002FF\n", 1, 16, 1, "says 3 octets, but 4 follow"),
    // What stands together.
    ("a CNAME b\na A 192.0.2.1\n", 2, 3, 1, "has a CNAME and a A record"),
    ("a A 192.0.2.1\na CNAME b\n", 2, 3, 5, "has a CNAME and a A record"),
    ("@ CNAME b\n", 1, 3, 5, "has a CNAME and a SOA record"),
    ("a CNAME b\na CNAME c\n", 2, 3, 5, "a second CNAME"),
    ("a DNAME b\na DNAME c\n", 2, 3, 5, "a second DNAME"),
    ("a DNAME b\na CNAME c\n", 2, 3, 5, "has a CNAME and a DNAME record"),
    ("@ SOA ns1 hostmaster 2 7200 3600 1209600 900\n", 1, 3, 3, "a second SOA"),
    ("a SOA ns1 hostmaster 2 7200 3600 1209600 900\n", 1, 3, 3, "only the apex"),
];

/// Whole files, where the body after a good head can't show the error.
const FILES: &[Case] = &[
    ("", 1, 1, 1, "has no SOA"),
    ("; nothing\n", 1, 1, 1, "has no SOA"),
    ("$TTL 1\n@ SOA . . 1 2 3 4 5\n", 1, 1, 1, "has no NS"),
    ("$TTL 1\n@ NS ns1\nns1 A 192.0.2.1\n", 1, 1, 1, "has no SOA"),
    ("$TTL 1\n@ SOA . . 1 2 3 4\n@ NS ns1\n", 2, 18, 1, "SOA: the record ends too early"),
    ("$TTL 1\n  SOA . . 1 2 3 4 5\n@ NS ns1\n", 2, 3, 3, "there is none yet"),
    ("@ NS ns1\n@ 1 SOA . . 1 2 3 4 5\n", 1, 3, 2, "no TTL"),
];

fn read(text: &str) -> Parsed<'_> {
    let origin: Name = "example.org.".parse().expect("a name");
    parse(&origin, "example.org.zone", text.as_bytes(), &mut NoIncludes)
}

#[track_caller]
fn check(text: &str, case: &Case, skipped: u32) {
    let (body, line, column, width, fragment) = *case;
    let parsed = read(text);
    let shown: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    let shown = shown.join("\n");
    let first = parsed.diagnostics.first().unwrap_or_else(|| panic!("no error in:\n{body}"));
    let place = (first.line.wrapping_sub(skipped), first.column, first.width);
    assert_eq!(place, (line, column, width), "{shown}");
    assert!(first.message.contains(fragment), "{fragment}:\n{shown}");
    assert_eq!(first.severity, Severity::Error);
    assert!(parsed.contents.is_none());
    // An empty file lacks both its SOA and its NS.
    let count = if skipped > 0 || body.contains("SOA") || body.contains("NS") { 1 } else { 2 };
    assert_eq!(parsed.diagnostics.len(), count, "{shown}");
}

#[test]
fn the_head_alone_is_a_good_zone() {
    assert_eq!(read(HEAD).diagnostics, []);
}

#[test]
fn each_slip_is_one_error_at_its_place() {
    for case in CASES {
        check(&format!("{HEAD}{}", case.0), case, HEAD_LINES);
    }
    for case in FILES {
        check(case.0, case, 0);
    }
}

#[test]
fn an_error_is_shown_with_its_line_and_a_caret() {
    let shown = read(&format!("{HEAD}mail\tIN A 192.0.2.256\n")).diagnostics[0].to_string();
    assert_eq!(
        shown,
        "example.org.zone:5:11: error: A: expected an IPv4 address such as 192.0.2.1, found `192.0.2.256`\n\
         \x20 5 | mail\tIN A 192.0.2.256\n\
         \x20   |     \t     ^^^^^^^^^^^\n\
         \x20   = for example: A 192.0.2.1"
    );
}
