//! MTA-STS policies (RFC 8461 section 3.2), and the records of MTA-STS and TLS-RPT.

use super::name;
use crate::outside::sts::PolicyError::{BadLine, BadMaxAge, BadMode, BadMx, BadVersion, NoMx};
use crate::outside::sts::{Mode, Policy, destinations, host, is_record, of_version};

/// The policy of RFC 8461 appendix A.
const POLICY: &str =
    "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

#[test]
fn a_policy_names_its_mode_its_hosts_and_its_age() {
    let policy = Policy::parse(POLICY).unwrap();
    let mx = ["mail.example.com", "*.example.net"].map(name).to_vec();
    assert_eq!(policy, Policy { mode: Mode::Enforce, mx, max_age: 604_800 });
    for good in [
        POLICY.replace("\r\n", "\n"),
        POLICY.replace(": ", ":"),
        POLICY.replace("\r\n", " \t\r\n"),
        POLICY.replace("mode: enforce", "mode: enforce\r\nmode: wrong\r\nnew_key: a: b"),
        format!("{POLICY}\n"),
    ] {
        assert_eq!(Policy::parse(&good).unwrap(), policy, "{good}");
    }
    let none = Policy::parse("version: STSv1\nmode: none\nmax_age: 0").unwrap();
    assert_eq!(none, Policy { mode: Mode::None, mx: Vec::new(), max_age: 0 });
}

#[test]
fn what_is_no_policy_says_why() {
    let without = |line: &str| POLICY.replace(line, "");
    for (text, error) in [
        (String::new(), BadVersion),
        ("<html>".to_owned(), BadLine("<html>".to_owned())),
        (POLICY.replace("STSv1", "STSv2"), BadVersion),
        (POLICY.replace("version", "Version"), BadVersion),
        (without("mode: enforce\r\n"), BadMode),
        (POLICY.replace("enforce", "Enforce"), BadMode),
        (without("max_age: 604800\r\n"), BadMaxAge),
        (POLICY.replace("604800", "+604800"), BadMaxAge),
        (POLICY.replace("604800", "1d"), BadMaxAge),
        (POLICY.replace("604800", "31557601"), BadMaxAge),
        (POLICY.replace("604800", "99999999999999999999999"), BadMaxAge),
        (POLICY.replace("mx:", "host:"), NoMx),
        (POLICY.replace("*.example.net", "mail.*.net"), BadMx("mail.*.net".to_owned())),
        (POLICY.replace("*.example.net", "*."), BadMx("*.".to_owned())),
        (POLICY.replace("*.example.net", ""), BadMx(String::new())),
        (POLICY.replace("*.example.net", "a, b"), BadMx("a, b".to_owned())),
    ] {
        assert_eq!(Policy::parse(&text), Err(error), "{text}");
    }
}

#[test]
fn a_wildcard_is_for_one_label() {
    let policy = Policy::parse(POLICY).unwrap();
    for (host, is_in) in [
        ("mail.example.com", true),
        ("MAIL.example.COM", true),
        ("mx.mail.example.com", false),
        ("example.com", false),
        ("mail.example.net", true),
        ("example.net", false),
        ("a.mail.example.net", false),
        ("mailexample.net", false),
    ] {
        assert_eq!(policy.has(&name(host)), is_in, "{host}");
    }
}

#[test]
fn a_record_begins_with_its_version_and_has_an_id() {
    for good in ["v=STSv1; id=20160831085700Z;", "v=STSv1;id=1", "v=STSv1 ; id=1 ; x-more=2 ; "] {
        assert_eq!(of_version(&[good.into()], "STSv1"), [good.as_bytes()]);
        assert!(is_record(good.as_bytes()), "{good}");
    }
    for bad in ["v=STSv1;", "v=STSv1; id=", "v=STSv1; id=a-b", "v=STSv1; id", "v=STSv1; ; id=1", "v=STSv1; i d=1"] {
        assert!(!is_record(bad.as_bytes()), "{bad}");
    }
    assert!(!is_record(format!("v=STSv1; id={}", "1".repeat(33)).as_bytes()));
    assert!(!is_record(b"v=STSv1; id=\xff"));
    for other in ["v=STSv1", "v=STSv10; id=1", "V=STSv1; id=1", " v=STSv1; id=1", "id=1; v=STSv1;", ""] {
        assert!(of_version(&[other.into()], "STSv1").is_empty(), "{other}");
    }
}

#[test]
fn reports_go_by_mail_or_https() {
    for (record, expected) in [
        ("v=TLSRPTv1;rua=mailto:reports@example.com", Some(vec!["mailto:reports@example.com"])),
        (
            "v=TLSRPTv1; rua=mailto:a@example.com , https://example.com/v1; ext=1;",
            Some(vec!["mailto:a@example.com", "https://example.com/v1"]),
        ),
        ("v=TLSRPTv1;", None),
        ("v=TLSRPTv1; rua=", None),
        ("v=TLSRPTv1; rua=reports@example.com", None),
        ("v=TLSRPTv1; rua=mailto:reports", None),
        ("v=TLSRPTv1; rua=http://example.com/", None),
        ("v=TLSRPTv1; rua=mailto:a@example.com,", None),
        ("v=TLSRPTv1; rua=mailto:a@example.com!10m", None),
    ] {
        assert_eq!(destinations(record.as_bytes()), expected, "{record}");
    }
}

#[test]
fn a_policy_is_kept_at_a_host_of_its_own() {
    assert_eq!(host(&name("example.org")), Some(name("mta-sts.example.org")));
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(60)].join(".");
    assert_eq!(host(&name(&long)), None);
    // It would be another place in a URL.
    for domain in ["a/b.example", "a:1.example", "a?.example", r"a\@b.example", r"a\032b.example", r"a\.b.example"] {
        assert_eq!(host(&name(domain)), None, "{domain}");
    }
}
