//! What is made of a mail domain's MX and DKIM keys.

use std::collections::BTreeMap;

use super::name;
use crate::dane::prerequisites::Verdict;
use crate::outside::domain::{Seen, judge, resolved};
use crate::outside::neighbours;
use crate::outside::{Check, Fault, Lookup, Trust};

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
        dmarc_above: None,
        sts: lookup(Trust::Secure, Vec::new()),
        policy: None,
        tls_rpt: lookup(Trust::Secure, Vec::new()),
        caa: BTreeMap::new(),
        ptr: BTreeMap::new(),
    }
}

fn faults(mx: Lookup<(u16, &str)>, dkim: &[&str]) -> Vec<Fault> {
    let Lookup { trust, found, alias, ttl } = mx;
    let found = found.into_iter().map(|(preference, host)| (preference, name(host))).collect();
    let keys = lookup(Trust::Secure, dkim.iter().map(|text| text.as_bytes().to_vec()).collect());
    let seen = Seen {
        mx: Lookup { trust, found, alias, ttl },
        dkim: Some(BTreeMap::from([(name("mail._domainkey.example.org"), keys)])),
        neighbours: beside(),
    };
    let checks: Vec<Check> = judge(&name(DOMAIN), &seen);
    checks.into_iter().filter_map(|check| check.fault).collect()
}

#[test]
fn each_way_in_which_an_mx_can_be_wrong_has_its_name() {
    let of =
        |trust, hosts: &[&'static str]| faults(lookup(trust, hosts.iter().map(|host| (10, *host)).collect()), &[KEY]);
    assert_eq!(of(Trust::Secure, &["mail.example.org", "mx.test"]), []);
    assert_eq!(of(Trust::Secure, &[]), [Fault::MxMissing]);
    assert_eq!(of(Trust::Secure, &["."]), [Fault::MxNull]);
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
fn what_counts_for_the_gate_is_what_is_proven() {
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
    assert_eq!(of(Trust::Secure, &[(Trust::Insecure, "")]).2, Unknown, "anybody could have said so");
    assert_eq!(of(Trust::Secure, &[(Trust::Secure, "v=DKIM1; p="), (unknown(), "")]).2, Unknown);
    assert_eq!(of(Trust::Secure, &[(Trust::Secure, "v=DKIM1; p="), (Trust::Secure, KEY)]).2, Held);
    assert_eq!(of(Trust::Secure, &[]).2, Unknown, "nobody knows the selectors");
}
