//! What CAA records let authorities do (RFC 8659).

use crate::dns::Rdata;
use crate::outside::caa::Issuers::{self, All, Critical, Malformed, Nobody, Only};
use crate::outside::caa::{Applicant, Issuer, issuers};

fn record(flags: u8, tag: &str, value: &str) -> Rdata {
    [&[flags, tag.len() as u8], tag.as_bytes(), value.as_bytes()].concat().into()
}

fn only(names: &[&str]) -> Issuers {
    Only(names.iter().map(|name| Issuer { name: (*name).to_owned(), parameters: Vec::new() }).collect())
}

#[test]
fn an_rrset_says_who_may_issue() {
    let (issue, wild) = (|value| record(0, "issue", value), |value| record(0, "issuewild", value));
    for (records, expected) in [
        (vec![], All),
        (vec![record(0, "iodef", "mailto:a@b.example")], All),
        (vec![wild(";")], All),
        (vec![record(0, "unheard", "of")], All),
        (vec![record(128, "contactemail", "a@b.example")], All),
        (vec![issue("ca.example")], only(&["ca.example"])),
        (vec![record(128, "ISSUE", "ca.example")], only(&["ca.example"])),
        (vec![issue("ca.example;")], only(&["ca.example"])),
        (vec![issue(";"), issue("ca.example")], only(&["ca.example"])),
        (vec![issue("a.example"), wild(";"), issue("b.example")], only(&["a.example", "b.example"])),
        (vec![issue(";")], Nobody),
        (vec![issue("")], Nobody),
        (vec![issue(" ; policy=ev")], Nobody),
        // What is not of the form that it has to have counts as a name that nobody has (RFC 8659 section 4.2).
        (vec![issue("%%%%%")], Nobody),
        (vec![issue("ca..example")], Nobody),
        (vec![issue("ca.example; no value")], Nobody),
        (vec![record(128, "unheard", "of"), issue("ca.example")], Critical("unheard".to_owned())),
    ] {
        assert_eq!(issuers(&records, false), expected, "{records:?}");
    }
}

#[test]
fn a_record_that_is_cut_off_or_has_no_tag_is_malformed() {
    for rdata in
        [&b""[..], b"\x00", b"\x00\x05issu", b"\x00\x00ca.example", b"\x00\x05is-ueca.example", b"\x00\x01\xff"]
    {
        assert!(matches!(issuers(&[rdata.into()], false), Malformed(_)), "{rdata:?}");
    }
}

#[test]
fn an_authority_may_be_restricted_to_an_account_and_to_ways_of_proving() {
    let identities = ["ca.example".to_owned(), "other.example".to_owned()];
    let uri = "https://ca.example/acct/1";
    let with = |account| Applicant { identities: &identities, account, method: "dns-01" };
    for (value, ours, unknown) in [
        ("CA.example", true, true),
        ("nobody.example", false, false),
        (" ca.example ; validationmethods=dns-01 ; accounturi=https://ca.example/acct/1", true, true),
        ("other.example; accounturi=https://ca.example/acct/1", true, true),
        ("ca.example; accounturi=https://ca.example/acct/2", false, true),
        ("ca.example; AccountURI = https://ca.example/ACCT/1", false, true),
        // RFC 8657 section 3: more than one can't be satisfied.
        ("ca.example; accounturi=https://ca.example/acct/1; accounturi=https://ca.example/acct/1", false, false),
        ("ca.example; validationmethods=http-01", false, false),
        ("ca.example; validationmethods=http-01,dns-01", true, true),
        ("ca.example; validationmethods=dns-01x", false, false),
        ("ca.example; validationmethods=", false, false),
        ("ca.example; unheard=of", true, true),
    ] {
        let Only(only) = issuers(&[record(0, "issue", value)], false) else { panic!("{value}") };
        let permits = |account| only.iter().any(|issuer| issuer.permits(&with(account)));
        assert_eq!((permits(Some(uri)), permits(None)), (ours, unknown), "{value}");
    }
}
