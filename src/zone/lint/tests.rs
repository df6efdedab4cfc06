//! Each warning once, with the place that it points at; and good zones that give none.

use super::*;
use crate::zone::SigningMode;
use crate::zone::file::{NoIncludes, parse};

const HEAD: &str = "$TTL 300\n@ SOA ns1 hostmaster 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n";
const MAIL: &str = "@ MX 10 mail\nmail A 192.0.2.25\n@ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n";

fn warnings(text: &str, signed: bool) -> Vec<Diagnostic> {
    let origin: Name = "example.org.".parse().expect("a name");
    let parsed = parse(&origin, "example.org.zone", text.as_bytes(), &mut NoIncludes);
    let shown: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join("\n"), "");
    lint(&parsed, if signed { SigningMode::Csk } else { SigningMode::None })
}

/// The body's warnings are these: line within the body, column, a part of the message.
#[track_caller]
fn warns(body: &str, expected: &[(u32, u32, &str)]) {
    let found = warnings(&format!("{HEAD}{body}"), true);
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    let shown = shown.join("\n");
    assert_eq!(found.len(), expected.len(), "{body}\n{shown}");
    for (diagnostic, (line, column, fragment)) in found.iter().zip(expected) {
        assert_eq!(diagnostic.severity, Severity::Warning);
        assert_eq!((diagnostic.line - 4, diagnostic.column), (*line, *column), "{shown}");
        assert!(diagnostic.message.contains(fragment), "{fragment}\n{shown}");
    }
}

#[test]
fn good_zones_give_no_warning() {
    warns("", &[]);
    warns(MAIL, &[]);
    warns("@ MX 0 .\n", &[]);
    warns(
        "child NS ns.child\nns.child A 192.0.2.53\nchild DS 1 13 3 00\nother NS ns.child\nthird NS ns.example.net.\n",
        &[],
    );
    warns("* A 192.0.2.7\nchild NS anything\nd DNAME example.net.\n@ NS other.d\n", &[]);
    warns("sub MX 10 mail\nsub TXT \"v=spf1 -all\"\nmail A 192.0.2.25\n_dmarc CNAME _dmarc.example.net.\n", &[]);
    for text in [
        include_str!("../../../tests/golden/zones/opendkim.zone"),
        include_str!("../../../tests/golden/zones/rspamd.zone"),
        include_str!("../../../tests/golden/zones/crlf.zone"),
    ] {
        let shown: Vec<String> = warnings(text, true).iter().map(ToString::to_string).collect();
        assert_eq!(shown.join("\n"), "");
    }
}

#[test]
fn a_missing_final_dot_shows_in_the_doubled_name() {
    warns("mail.example.org A 192.0.2.25\n AAAA ::1\n", &[(1, 1, "became mail.example.org.example.org.")]);
    warns("a SRV 0 0 25 mail.example.org\n", &[(1, 14, "became mail.example.org.example.org.")]);
    warns("a CNAME example.org\n", &[(1, 9, "became example.org.example.org.")]);
    let found = warnings(&format!("{HEAD}a CNAME b.example.org\n"), false);
    assert_eq!(found[0].help.as_deref(), Some("write `b.example.org.` with the dot at its end"));
}

#[test]
fn targets_are_hosts_with_addresses() {
    warns(&format!("{MAIL}@ MX 20 alias\nalias CNAME mail\n"), &[(5, 9, "which is a CNAME")]);
    warns("@ NS alias\nalias CNAME ns1\n", &[(1, 6, "which is a CNAME")]);
    warns(&format!("{MAIL}@ MX 20 192.0.2.1\n"), &[(5, 9, "the address 192.0.2.1")]);
    warns(&format!("{MAIL}@ MX 20 192.0.2.1.\n"), &[(5, 9, "the address 192.0.2.1")]);
    warns(&format!("{MAIL}@ MX 20 2001:db8::1\n"), &[(5, 9, "the address 2001:db8::1")]);
    warns(&format!("{MAIL}@ MX 20 nowhere\n"), &[(5, 9, "has no address")]);
    warns("@ NS nowhere\n", &[(1, 6, "has no address")]);
}

#[test]
fn cuts_want_glue_and_hide_what_is_below() {
    warns("child NS ns.child\n", &[(1, 10, "nowhere to be found")]);
    warns("child NS ns.example.net.\na.child A 192.0.2.1\n TXT x\n", &[(2, 9, "is not served")]);
    warns("child NS ns.example.net.\nchild MX 10 ns1\n", &[(2, 7, "is not served")]);
    warns("d DNAME example.net.\na.d A 192.0.2.1\n", &[(2, 1, "the DNAME at d.example.org.")]);
    warns("a DS 1 13 3 00\n", &[(1, 3, "no NS record")]);
    warns("@ DS 1 13 3 00\n", &[(1, 3, "parent zone")]);
}

#[test]
fn rrsets_have_one_ttl_and_no_record_twice() {
    warns("a 60 A 192.0.2.1\na 70 A 192.0.2.2\na 80 A 192.0.2.3\n", &[(2, 6, "different TTLs: 70 here, 60 on line 5")]);
    warns("a A 192.0.2.1\na A 192.0.2.1\n", &[(2, 3, "already")]);
    warns("a NS NS1\na NS ns1\n", &[(2, 3, "already")]);
}

#[test]
fn mail_wants_spf_dmarc_and_a_key_that_reads() {
    warns("@ MX 10 mail\nmail A 192.0.2.25\n", &[(1, 1, "no SPF"), (1, 1, "no DMARC")]);
    warns(&format!("{MAIL}@ MX 0 .\n"), &[(5, 8, "null MX")]);
    warns(&format!("{MAIL}@ TXT \"v=spf1 -all\"\n"), &[(5, 3, "a second SPF")]);
    warns("@ TXT \"v=spf1 ipv4:192.0.2.1 -all\"\n", &[(1, 7, "`ipv4:192.0.2.1`")]);
    warns("s._domainkey TXT \"v=DKIM1; p=AQID\"\n", &[(1, 18, "not usable")]);
    warns("s._domainkey TXT \"v=DKIM1; p=\"\ns._domainkey TXT \"p=\"\n", &[(2, 14, "a second TXT")]);
    warns("@ TXT v=spf1 mx -all\n", &[(1, 7, "`v=spf1mx-all`, which is no SPF")]);
    warns("_dmarc TXT v=DMARC1; p=reject\n", &[(1, 12, "`v=DMARC1` is no DMARC policy")]);
    warns("example.net._report._dmarc TXT v=DMARC1\n", &[]);
    warns("_adsp._domainkey TXT \"dkim=all\"\n", &[]);
}

#[test]
fn a_tlsa_digest_has_the_length_of_its_matching_type() {
    warns("_25._tcp.ns1 TLSA 3 1 1 00112233\n", &[(1, 25, "SHA-256 has 32 octets, this one has 4")]);
    warns("_25._tcp.ns1 TLSA 3 1 2 00112233\n", &[(1, 25, "SHA-512 has 64 octets, this one has 4")]);
    warns(&format!("_25._tcp.ns1 TLSA 3 1 1 {}\n", "00".repeat(32)), &[]);
    warns("_25._tcp.ns1 TLSA 3 1 0 00112233\n", &[]);
}

#[test]
fn the_soa_and_zonemd_are_looked_over() {
    let zone = |numbers: &str| format!("@ 300 SOA ns1 hostmaster 1 {numbers}\n@ NS ns1\nns1 A 192.0.2.1\n");
    let found = |text: &str| -> Vec<u32> { warnings(text, true).iter().map(|one| one.column).collect() };
    assert_eq!(found(&zone("7200 3600 3600 900")), [38]);
    assert_eq!(found(&zone("3600 7200 1209600 900")), [33]);
    assert_eq!(found(&zone("7200 3600 1209600 604800")), [46]);
    let text = "@ 300 SOA ns1 host@example.org. 1 7200 3600 1209600 900\n@ NS ns1\nns1 A 192.0.2.1\n";
    assert_eq!(found(text), [15]);
    let zonemd = format!("{HEAD}@ ZONEMD 1 1 240 {}\n", "00".repeat(48));
    assert_eq!(warnings(&zonemd, false).len(), 0);
    assert_eq!(warnings(&zonemd, true).len(), 1);
}
