//! Records with a slip in them: what both BIND and we accept, both read alike.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};

use danelaw::dns::Name;
use danelaw::zone::print::print;
use danelaw::zone::{NoIncludes, parse};

use super::tools::{ORIGIN, bind, lines};

/// Slips in a run; `DANELAW_SLIPS` sets another number, and shows what one side alone accepts.
const SLIPS: usize = 200;

const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n";

const RECORDS: &[&str] = &[
    "a 1h IN A 192.0.2.1",
    "a AAAA 2001:db8::1",
    "a IN 60 MX 10 mail",
    "a\\.b TXT \"one; two\" three\\;four \"\\065\\\"\"",
    "a TXT ( \"one\" ; comment\n \"two\" )",
    "a SRV 0 5 443 host.example.net.",
    "a CAA 0 issue \"ca.example.net; x=y\"",
    "a LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.05m 10000m 10m",
    "a APL 1:192.168.32.0/21 !1:192.168.38.0/28 2:ff00::/8",
    "a CERT PKIX 1 RSASHA256 AQIDBA==",
    "a DS 60485 13 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A",
    "a TLSA 3 1 1 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A",
    "a SVCB 16 foo alpn=\"h2,h3\" mandatory=alpn,port port=53 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1 ech=AQID key667=\"a b\"",
    "a NAPTR 100 50 \"s\" \"z3950\" \"\" _z3950._tcp.gatech.edu.",
    "a NSEC b A MX TYPE65530",
    "a NSEC3PARAM 1 0 10 aabb",
    "a RRSIG A 13 3 3600 20300101000000 20291201000000 12345 @ AQID",
    "a DNSKEY 257 3 13 AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4/QA==",
    "a EUI48 00-00-5e-00-53-2a",
    "a URI 10 1 \"ftp://x/\"",
    "a HINFO x \"y z\"",
    "a IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG",
    "a HIP 2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs",
    "a TYPE65280 \\# 3 AB CDEF",
    "a A \\# 4 C0000201",
    "a CSYNC 1 3 A NS",
    "$ORIGIN sub\na A 192.0.2.1",
    "$TTL 1h30m\na A 192.0.2.1",
];

fn slip() -> impl Strategy<Value = String> {
    let insert = select(vec![
        " ", "\t", "\n", "(", ")", "\"", ";", "\\", "0", "9", "-", "+", ".", "@", "$", ",", "=", "a", "F", "z", "\\0",
        "/", ":", "!", "\\#",
    ]);
    (select(RECORDS.to_vec()), any::<Index>(), 0usize..3, insert, any::<bool>()).prop_map(
        |(record, at, cut, insert, only)| {
            let at = at.index(record.len());
            let end = (at + cut).min(record.len());
            let middle = if only && cut > 0 { "" } else { insert };
            format!("{}{middle}{}", &record[..at], &record[end..])
        },
    )
}

fn ours(text: &str) -> Result<Vec<String>, String> {
    let origin: Name = ORIGIN.parse().expect("a name");
    let parsed = parse(&origin, "zone", text.as_bytes(), &mut NoIncludes);
    let shown: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    parsed.contents.map(|contents| lines(&print(&contents))).ok_or_else(|| shown.join("\n"))
}

#[test]
fn slips_are_read_alike_where_both_accept_them() {
    let asked = std::env::var("DANELAW_SLIPS").ok().and_then(|count| count.parse().ok());
    let config = Config { failure_persistence: None, ..Config::default() };
    let seed = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, seed);
    for _ in 0..asked.unwrap_or(SLIPS) {
        let body = slip().new_tree(&mut runner).expect("a slip").current();
        let text = format!("{HEAD}{body}\n");
        match (ours(&text), bind(text.as_bytes())) {
            (Ok(ours), Ok(theirs)) if asked.is_some() && ours != theirs => {
                eprintln!("DIFFER ALONE\n{body}\n{theirs:?}\n{ours:?}\n")
            }
            (Ok(ours), Ok(theirs)) => assert_eq!(theirs, ours, "BIND's on the left\n{body}"),
            (Err(error), Ok(_)) if asked.is_some() => eprintln!("BIND ALONE\n{body}\n{error}\n"),
            (Ok(_), Err(error)) if asked.is_some() => eprintln!("WE ALONE\n{body}\n{error}\n"),
            _ => {}
        }
    }
}
