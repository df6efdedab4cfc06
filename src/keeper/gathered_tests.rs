//! What is looked at from outside follows from what is planned and configured.

use super::tests::{CONFIG, NOW, Place, ZONE, name};
use super::*;
use crate::outside::{Subject, Wanted};

/// What is asked for first of all.
fn asked(place: &Place, config: &str) -> BTreeMap<Subject, Wanted> {
    let mut keeper = place.keeper(config, NOW);
    let mut orders = keeper.outside_orders();
    keeper.send_outside(NOW);
    let orders = std::iter::from_fn(|| orders.try_recv().ok());
    orders.map(|order| (order.wanted.subject(), (*order.wanted).clone())).collect()
}

#[test]
fn who_may_name_the_services_of_a_host_without_mail_are_its_zone_and_the_mail_domains_there() {
    let place = Place::new();
    let many: String = (10..40).map(|number| format!("d{number} MX 10 mail\n")).collect();
    place.zone("example.test", &format!("{ZONE}imap A 192.0.2.26\n{many}"));
    let made = rcgen::generate_simple_self_signed(["imap.example.test".to_owned()]).unwrap();
    std::fs::write(place.path("certs/imap.pem"), made.cert.pem()).unwrap();
    let service = "[[service]]\nhost = \"imap.example.test\"\nport = 993\n";
    let config = format!("{CONFIG}{service}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n");
    let asked = asked(&place, &config.replace("dnssec = \"zone\"\n", ""));
    let domains = |host: &str| match asked.get(&Subject::Host(name(host))) {
        Some(Wanted::Host { domains, .. }) => domains.clone(),
        _ => panic!("{asked:?}"),
    };
    let few = (10..25).map(|number| name(&format!("d{number}.example.test")));
    assert_eq!(domains("imap.example.test"), std::iter::once(name("example.test")).chain(few).collect::<Vec<_>>());
    assert_eq!(domains("mail.example.test").len(), 31, "whose mail goes there");
}

#[test]
fn a_domain_whose_dkim_key_is_elsewhere_is_looked_at_whatever_the_grades_are() {
    let place = Place::new();
    let config = format!("{CONFIG}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n");
    let key = ZONE.lines().find(|line| line.starts_with("s1._domainkey")).unwrap();
    let domain = Subject::Domain(name("example.test"));
    for (keys, is_asked) in [
        (key.to_owned(), false),
        (format!("{key}\ns2._domainkey CNAME s1._domainkey"), false),
        ("s1._domainkey CNAME k1.provider.example.".to_owned(), true),
        ("_domainkey NS ns.provider.example.".to_owned(), true),
    ] {
        place.zone("example.test", &ZONE.replace(key, &keys));
        let expected: &[&Subject] = if is_asked { &[&domain] } else { &[] };
        assert_eq!(asked(&place, &config).keys().collect::<Vec<_>>(), expected, "{keys}");
        let optional = config.replace("ttl =", "dkim = \"optional\"\nttl =");
        assert_eq!(asked(&place, &optional).len(), 0, "{keys}");
    }
}
