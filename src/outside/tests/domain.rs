//! What is made of a mail domain's MX and DKIM keys.

use std::collections::BTreeMap;

use super::name;
use crate::dane::prerequisites::Verdict;
use crate::outside::domain::{Seen, judge, resolved, selectors};
use crate::outside::neighbours;
use crate::outside::{Area, Check, Fault, Level, Lookup, Trust};
use crate::zone;

const DOMAIN: &str = "example.org";
const KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn lookup<T>(trust: Trust, found: Vec<T>) -> Lookup<T> {
    Lookup { trust, found, alias: None, ttl: 3600 }
}

/// All is well there.
fn beside() -> neighbours::Seen {
    let text = |text: &str| lookup(Trust::Secure, vec![text.as_bytes().to_vec()]);
    neighbours::Seen {
        spf: text("v=spf1 mx -all"),
        dmarc: text("v=DMARC1; p=reject"),
        dmarc_above: Vec::new(),
        sts: lookup(Trust::Secure, Vec::new()),
        policy: None,
        tls_rpt: lookup(Trust::Secure, Vec::new()),
        caa: BTreeMap::new(),
        ptr: BTreeMap::new(),
    }
}

/// By the selector, what its TXT is.
fn checks(mx: Lookup<(u16, &str)>, dkim: &[(&str, Lookup<Vec<u8>>)], beside: neighbours::Seen) -> Vec<Check> {
    let Lookup { trust, found, alias, ttl } = mx;
    let found = found.into_iter().map(|(preference, host)| (preference, name(host))).collect();
    let owner = |selector: &str| name(&format!("{selector}._domainkey.example.org"));
    let keys = dkim.iter().map(|(selector, lookup)| (owner(selector), lookup.clone()));
    let mx = Lookup { trust, found, alias, ttl };
    judge(&name(DOMAIN), &Seen { mx, dkim: Some(keys.collect()), neighbours: beside })
}

fn txt(texts: &[&str]) -> Lookup<Vec<u8>> {
    lookup(Trust::Secure, texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

fn faults(mx: Lookup<(u16, &str)>, dkim: &[&str]) -> Vec<Fault> {
    checks(mx, &[("mail", txt(dkim))], beside()).into_iter().filter_map(|check| check.fault).collect()
}

#[test]
fn each_way_in_which_an_mx_can_be_wrong_has_its_name() {
    let of =
        |trust, hosts: &[&'static str]| faults(lookup(trust, hosts.iter().map(|host| (10, *host)).collect()), &[KEY]);
    assert_eq!(of(Trust::Secure, &["mail.example.org", "mx.test"]), []);
    assert_eq!(of(Trust::Secure, &[]), [Fault::MxMissing]);
    assert_eq!(of(Trust::Secure, &["."]), []);
    assert_eq!(of(Trust::Secure, &[".", "mail.example.org"]), [Fault::MxNull]);
    assert_eq!(of(Trust::Insecure, &["mail.example.org", "."]), [Fault::MxNull, Fault::MxInsecure]);
    assert_eq!(of(Trust::Secure, &["192.0.2.1."]), [Fault::MxIsAddress]);
    assert_eq!(of(Trust::Insecure, &["mail.example.org"]), [Fault::MxInsecure]);
    assert_eq!(of(Trust::Bogus, &[]), [Fault::MxBogus]);
    assert_eq!(of(Trust::Unknown("SERVFAIL".to_owned()), &[]), [Fault::MxUnknown]);
}

#[test]
fn each_way_in_which_a_dkim_key_can_be_wrong_has_its_name() {
    let of = |dkim: &[&str]| faults(lookup(Trust::Secure, vec![(10, "mail.example.org")]), dkim);
    assert_eq!(of(&[KEY]), []);
    assert_eq!(of(&[]), [Fault::DkimMissing]);
    assert_eq!(of(&["v=DKIM1; p="]), [Fault::DkimRevoked]);
    assert_eq!(of(&["v=DKIM1; p=!"]), [Fault::DkimMalformed]);
    assert_eq!(of(&["v=DKIM1; k=rsa; p=MIIB", "IjANBgkq"]), [Fault::DkimMalformed], "split into records, not strings");
}

#[test]
fn what_counts_for_the_gate_is_what_resolvers_see() {
    let of = |mx: Trust, keys: &[(Trust, &str)]| {
        let key = |(number, (trust, text)): (usize, &(Trust, &str))| {
            let found = Some(text.as_bytes().to_vec()).filter(|text| !text.is_empty());
            (name(&format!("s{number}._domainkey.example.org")), lookup(trust.clone(), found.into_iter().collect()))
        };
        let seen = Seen {
            mx: lookup(mx, vec![(10, name("mail.example.org"))]),
            dkim: Some(keys.iter().enumerate().map(key).collect()),
            neighbours: beside(),
        };
        let resolved = resolved(&name(DOMAIN), &seen);
        (resolved.mx.is_ok(), resolved.dnssec.verdict, resolved.dkim.verdict)
    };
    use Verdict::{Held, Missing, Unknown};
    let unknown = || Trust::Unknown("SERVFAIL".to_owned());
    assert_eq!(of(Trust::Secure, &[(Trust::Secure, KEY)]), (true, Held, Held));
    assert_eq!(of(Trust::Insecure, &[(Trust::Insecure, KEY)]), (true, Missing, Held));
    assert_eq!(of(Trust::Bogus, &[(Trust::Bogus, KEY)]), (false, Unknown, Unknown));
    assert_eq!(of(unknown(), &[(unknown(), "")]), (false, Unknown, Unknown));
    assert_eq!(of(Trust::Secure, &[(Trust::Secure, "")]).2, Missing);
    assert_eq!(of(Trust::Secure, &[(Trust::Insecure, "")]).2, Missing);
    assert_eq!(of(Trust::Secure, &[(Trust::Secure, "v=DKIM1; p="), (unknown(), "")]).2, Unknown);
    assert_eq!(of(Trust::Secure, &[(Trust::Secure, "v=DKIM1; p="), (Trust::Secure, KEY)]).2, Held);
    assert_eq!(of(Trust::Secure, &[]).2, Unknown, "nobody knows the selectors");
}

#[test]
fn a_revoked_key_is_a_fault_where_no_other_is_left() {
    let unseen = Lookup::nothing(Trust::Unknown("SERVFAIL".to_owned()));
    let (good, revoked) = (|| txt(&[KEY]), || txt(&["v=DKIM1; p="]));
    for (first, second, expected) in [
        (good(), revoked(), &[][..]),
        (revoked(), revoked(), &[Fault::DkimRevoked, Fault::DkimRevoked]),
        (revoked(), txt(&[]), &[Fault::DkimRevoked, Fault::DkimMissing]),
        (revoked(), txt(&["v=DKIM1; p=!"]), &[Fault::DkimRevoked, Fault::DkimMalformed]),
        // Two records are no key that anybody can count on.
        (revoked(), txt(&[KEY, KEY]), &[Fault::DkimRevoked, Fault::DkimMalformed]),
        (revoked(), unseen, &[Fault::DkimUnknown]),
        (good(), txt(&["v=DKIM1; p=!"]), &[Fault::DkimMalformed]),
        (good(), txt(&[]), &[Fault::DkimMissing]),
    ] {
        let mx = lookup(Trust::Secure, vec![(10, "mail.example.org")]);
        let checks = checks(mx, &[("new", first.clone()), ("old", second.clone())], beside());
        let told: Vec<&Check> = checks.iter().filter(|check| check.area == Area::Dkim).collect();
        let mut faults: Vec<Fault> = told.iter().filter_map(|check| check.fault).collect();
        faults.sort_by_key(|fault| expected.iter().position(|wanted| wanted == fault));
        assert_eq!((told.len(), &faults[..]), (2, expected), "{first:?} {second:?}");
    }
}

#[test]
fn a_domain_that_takes_no_mail_is_asked_for_what_a_parked_one_needs() {
    let judged = |beside: neighbours::Seen| {
        checks(lookup(Trust::Secure, vec![(0, ".")]), &[("mail", txt(&["v=DKIM1; p="]))], beside)
    };
    let parked = judged(neighbours::Seen { spf: txt(&["v=spf1 -all"]), ..beside() });
    assert!(parked.iter().all(|check| check.level == Level::Ok && check.area != Area::Dkim), "{parked:?}");
    assert!(parked[0].area == Area::Mx && parked[0].evidence.contains("takes no mail"), "{parked:?}");

    let bare = judged(neighbours::Seen { spf: txt(&[]), dmarc: txt(&[]), ..beside() });
    let help = |fault| bare.iter().find(|check| check.fault == Some(fault)).map(|check| check.help.as_str());
    assert!(help(Fault::SpfMissing).is_some_and(|help| help.contains("\"v=spf1 -all\"")), "{bare:?}");
    assert!(help(Fault::DmarcMissing).is_some_and(|help| help.contains("p=reject")), "{bare:?}");
}

#[test]
fn the_selectors_are_those_of_the_zone_if_it_has_them() {
    let of = |lines: &str, domain: &str| {
        let text = format!("$TTL 300\n@ SOA ns1 hostmaster 1 1h 5m 1d 5\n@ NS ns1\nns1 A 192.0.2.1\n{lines}");
        let parsed = zone::parse(&name(DOMAIN), "", text.as_bytes(), &mut zone::NoIncludes);
        let found = selectors(&parsed.contents.unwrap(), &name(domain));
        found.map(|owners| owners.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let key = |selector: &str| format!("{selector} TXT \"{KEY}\"\n");
    assert_eq!(of("", DOMAIN).as_deref(), Some(""));
    assert_eq!(of(&key("s1._domainkey"), DOMAIN).as_deref(), Some("s1._domainkey.example.org."));
    assert_eq!(of("s1._domainkey CNAME s1.provider.test.\n", DOMAIN).as_deref(), Some("s1._domainkey.example.org."));
    // What only stands in between, or is something else, is no selector.
    let others = key("2027.s1._domainkey") + "host._domainkey A 192.0.2.1\n";
    assert_eq!(of(&others, DOMAIN).as_deref(), Some("2027.s1._domainkey.example.org."));
    for elsewhere in [
        "_domainkey NS ns.provider.test.\n",
        "_domainkey DNAME provider.test.\n",
        "s1._domainkey NS ns.provider.test.\n",
        "sub NS ns.provider.test.\n",
        "sub DNAME provider.test.\n",
    ] {
        let domain = if elsewhere.starts_with("sub") { "sub.example.org" } else { DOMAIN };
        assert_eq!(of(elsewhere, domain), None, "{elsewhere}");
    }
    assert_eq!(
        of(&(key("s1._domainkey") + "s2._domainkey NS ns.provider.test.\n"), DOMAIN).as_deref(),
        Some("s1._domainkey.example.org.")
    );
    assert_eq!(of("", "example.net"), None);
}
