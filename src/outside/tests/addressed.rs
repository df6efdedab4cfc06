//! What is wrong with a mail host is told to whoever can mend it.

use super::name;
use crate::outside::addressed::{addressed, of_zone};
use crate::outside::{Check, Fault};

const HOST: &str = "mx.provider.test";

/// What is to be done about a fault of a host whose mail is that of these domains.
fn help(domains: &[&str], fault: Fault, help: &str) -> String {
    let domains: Vec<_> = domains.iter().map(|domain| name(domain)).collect();
    addressed(&name(HOST), &domains, Check::fault(fault, HOST, "evidence", help)).help
}

#[test]
fn a_host_elsewhere_is_mended_by_others() {
    let of = |fault, to_do: &str| help(&["example.org"], fault, to_do);
    let publish = "publish _25._tcp.mx.provider.test. IN TLSA 3 1 1 AB";
    let zone = "whoever serves the zone of mx.provider.test has to publish";
    assert_eq!(of(Fault::TlsaMissing, publish), format!("{zone} _25._tcp.mx.provider.test. IN TLSA 3 1 1 AB"));
    assert_eq!(of(Fault::TlsaMissing, ""), format!("{zone} it"));
    assert_eq!(of(Fault::TlsaTtl, "lower it"), "for whoever serves the zone of mx.provider.test: lower it");
    for fault in [Fault::StarttlsMissing, Fault::CertificateExpired, Fault::CaaForbids, Fault::PtrMissing] {
        assert_eq!(of(fault, "mend it"), "for whoever runs mx.provider.test: mend it", "{fault}");
    }
    // The domain can name another host.
    assert_eq!(of(Fault::MxWithoutAddress, "name another"), "name another");
    assert_eq!(of(Fault::NoWayFromHere, ""), "");
}

#[test]
fn a_host_of_one_of_its_domains_or_of_none_is_mended_here() {
    for domains in [&["example.org", "provider.test"][..], &[HOST], &[]] {
        assert_eq!(help(domains, Fault::TlsaMissing, "publish it"), "publish it", "{domains:?}");
    }
}

#[test]
fn the_zone_of_a_host_elsewhere_is_mended_by_others() {
    let of = |apex: &str, help: &str| {
        of_zone(&name(apex), &name("example.org"), Check::fault(Fault::DsMissing, apex, "evidence", help)).help
    };
    assert_eq!(of("provider.test", "sign it"), "for whoever runs zone provider.test.: sign it");
    for apex in ["example.org", "org", "mail.example.org"] {
        assert_eq!(of(apex, "sign it"), "sign it", "{apex}");
    }
    assert_eq!(of("provider.test", ""), "");
}
