//! Which DMARC record counts for a domain, and what is made of it.

use super::name;
use crate::dns::Name;
use crate::outside::dmarc::{above, is_last, is_there, judge};
use crate::outside::{Check, Fault, Level, Lookup, Trust};

const REJECT: &str = "v=DMARC1; p=reject";
const SUFFIX: &str = "v=DMARC1; p=none; psd=y";

fn txt(values: &[&str]) -> Lookup<Vec<u8>> {
    let found = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    Lookup { found, ttl: 300, ..Lookup::nothing(Trust::Secure) }
}

fn unknown() -> Lookup<Vec<u8>> {
    Lookup::nothing(Trust::Unknown("SERVFAIL".to_owned()))
}

/// What is told of sales.eu.example.org. `own`: its records; the others: those above it, the nearest first.
fn judged(own: &[&str], others: [Lookup<Vec<u8>>; 3]) -> Check {
    let domain = name("sales.eu.example.org");
    judge(&domain, false, &txt(own), &above(&domain).into_iter().zip(others).collect::<Vec<(Name, _)>>())
}

#[test]
fn at_most_eight_names_are_asked_and_the_highest_is_below_the_root() {
    let of = |domain: &str| above(&name(domain)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of("example.org"), ["org."]);
    assert_eq!(of("org"), [""; 0]);
    // The example of RFC 9989 section 4.10, with a label more.
    let seven =
        ["d.e.f.g.mail.example.com.", "e.f.g.mail.example.com.", "f.g.mail.example.com.", "g.mail.example.com."];
    let all = [&seven[..], &["mail.example.com.", "example.com.", "com."]].concat();
    assert_eq!(of("d.e.f.g.mail.example.com"), all[1..]);
    assert_eq!(of("c.d.e.f.g.mail.example.com"), all);
    assert_eq!(of("a.b.c.d.e.f.g.mail.example.com"), all);
}

#[test]
fn nothing_above_is_asked_where_there_is_a_record_or_a_public_suffix_begins() {
    assert!(is_there(&txt(&[REJECT])) && is_there(&txt(&[REJECT, REJECT])));
    assert!(!is_there(&txt(&["v=spf1 -all"])) && !is_there(&unknown()));
    assert!(is_last(&txt(&[SUFFIX])) && is_last(&txt(&["v=DMARC1; psd = N; p=none"])));
    assert!(!is_last(&txt(&[REJECT])) && !is_last(&txt(&["v=DMARC1; p=none; psd=u"])) && !is_last(&txt(&["psd=y"])));
    assert!(!is_last(&txt(&[SUFFIX, SUFFIX])), "several count as none");
}

#[test]
fn a_domain_without_a_record_has_the_one_of_its_organisational_domain() {
    let none = || txt(&[]);
    let other = "v=DMARC1; p=none";
    for (own, others, expected) in [
        (&[REJECT][..], [none(), none(), none()], "v=DMARC1; p=reject"),
        (&["v=spf1 -all", REJECT], [none(), none(), none()], "v=DMARC1; p=reject"),
        (&[], [none(), txt(&[REJECT]), none()], "(of example.org.)"),
        (&[], [txt(&[REJECT]), none(), none()], "(of eu.example.org.)"),
        // The one of the fewest labels.
        (&[], [txt(&[other]), txt(&[REJECT]), none()], "(of example.org.)"),
        // A record that says that it is the organisational domain's.
        (&[], [txt(&["v=DMARC1; p=reject; psd=n"]), none(), none()], "(of eu.example.org.)"),
        // Below a public suffix, the name below it counts, and else the suffix itself.
        (&[], [none(), txt(&[REJECT]), txt(&[SUFFIX])], "(of example.org.)"),
        (&[], [none(), none(), txt(&[SUFFIX])], "(of org.)"),
        (&[], [txt(&[REJECT]), none(), txt(&[SUFFIX])], "(of org.)"),
        // Several at one name count as none; what can't be looked up hides nothing that is there.
        (&[], [txt(&[REJECT, other]), txt(&[REJECT]), none()], "(of example.org.)"),
        (&[], [none(), txt(&[REJECT]), unknown()], "(of example.org.)"),
    ] {
        let check = judged(own, others.clone());
        assert_eq!((check.level, check.fault, check.help.as_str()), (Level::Ok, None, ""), "{others:?}: {check:?}");
        assert!(check.evidence.contains(expected), "{expected}: {check:?}");
    }
}

#[test]
fn what_no_receiver_goes_by_is_told() {
    let none = || txt(&[]);
    for (own, others, expected, evidence) in [
        (&[][..], [none(), none(), none()], Fault::DmarcMissing, "nor above it"),
        (&["v=spf1 -all"], [none(), txt(&["v=spf1 -all"]), none()], Fault::DmarcMissing, "nor above it"),
        (&["v=DMARC1; rua=mailto:a@b"], [none(), none(), none()], Fault::DmarcMalformed, "no DMARC policy"),
        (&["v=DMARC1; p=drop"], [none(), none(), none()], Fault::DmarcMalformed, "no DMARC policy"),
        (&[REJECT, REJECT], [none(), none(), none()], Fault::DmarcMalformed, "2 DMARC records at _dmarc.sales.eu"),
        (&[], [none(), txt(&["v=DMARC1; p"]), none()], Fault::DmarcMalformed, "no DMARC policy"),
        (
            &[],
            [none(), txt(&[REJECT, REJECT]), none()],
            Fault::DmarcMalformed,
            "2 DMARC records at _dmarc.example.org.",
        ),
    ] {
        let check = judged(own, others);
        assert_eq!(check.fault, Some(expected), "{check:?}");
        assert!(check.evidence.contains(evidence) && !check.help.is_empty(), "{check:?}");
    }
    let unseen = judged(&[], [none(), unknown(), none()]);
    assert_eq!((unseen.level, unseen.fault), (Level::Unknown, None), "{unseen:?}");
    assert!(unseen.evidence.contains("_dmarc.example.org."), "{unseen:?}");
}
