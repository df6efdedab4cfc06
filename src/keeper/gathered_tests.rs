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
