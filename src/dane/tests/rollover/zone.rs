//! The rollover where publications are withheld, servers come and go, and somebody has published before.

use std::collections::BTreeSet;

use super::{DAY, DELEGATION, Host, TTL, new, old, record, union};
use crate::dane::rollover::{Action, Event, Phase};
use crate::dane::tlsa::Tlsa;

impl Host {
    fn show_none(&mut self, server: &str) {
        let (server, serial) = (server.to_owned(), self.serial);
        self.tell(Event::Shows { server, serial, records: Vec::new(), ttl: TTL });
    }

    /// The prerequisites are gone.
    fn withhold(&mut self) {
        self.tell(Event::Withheld(true));
        self.serial += 1;
        self.tell(Event::Published { serial: self.serial, records: Vec::new(), ttl: TTL });
        self.show_none("ns1");
        self.show_none("ns2");
    }
}

#[test]
fn what_was_withdrawn_is_waited_for_and_what_is_withheld_is_not() {
    let mut host = Host::settled();
    host.withhold();
    host.tell(Event::Source(new()));
    host.pass(0);
    host.pass(DAY - 1);
    host.withhold();
    host.present(&old());
    assert!(!host.installs(), "the old record alone may be cached");
    host.pass(1);
    assert!(host.installs());

    let mut host = Host::begun();
    host.withhold();
    host.present(&old());
    host.actions.clear();
    host.tell(Event::Source(new()));
    assert!(host.installs(), "nothing was ever out");
    host.tell(Event::Installed { version: "new".to_owned() });
    host.tell(Event::HookDone { version: "new".to_owned() });
    assert!(!host.actions.iter().any(|action| matches!(action, Action::Publish { .. })));
    // The prerequisites hold from now on.
    host.tell(Event::Withheld(false));
    assert_eq!(host.wanted(), union(&[old(), new()]));
}

#[test]
fn what_a_server_has_back_is_no_part_of_what_never_came_out() {
    let mut host = Host::settled();
    host.withhold();
    // Wanted are the old version's records under both from now on, and none of them comes out.
    host.settings.parameters.insert("3 0 1".parse().unwrap());
    let settings = host.settings.clone();
    host.tell(Event::Settings(settings));
    host.pass(0);
    host.pass(DAY);
    host.withhold();
    assert!(host.state.cached().all(<[Tlsa]>::is_empty), "the withdrawal is all that there is");
    host.show_old("ns1");
    host.actions.clear();
    host.tell(Event::Source(new()));
    host.present(&old());
    assert!(!host.installs(), "it may be cached from there");
    // It has what the others have again.
    host.withhold();
    host.pass(DAY);
    host.withhold();
    host.present(&old());
    assert!(host.installs());
}

#[test]
fn a_server_that_the_zone_names_no_more_blocks_as_long_as_it_is_asked() {
    let mut host = Host::settled();
    host.tell(Event::Servers(BTreeSet::from(["ns1".to_owned()])));
    host.tell(Event::Source(new()));
    host.publish();
    host.show("ns1");
    let dead = |host: &mut Host| host.tell(Event::Unreachable { server: "ns2".to_owned() });
    dead(&mut host);
    host.pass(u64::from(DELEGATION + 2 * TTL) - 1);
    host.show("ns1");
    dead(&mut host);
    host.present(&old());
    assert!(!host.installs());
    host.pass(1);
    assert!(host.installs());
    assert!(host.state.alarms().is_empty());

    // It is asked meanwhile, and where it has what the others have nothing more is waited for.
    let mut host = Host::settled();
    host.tell(Event::Servers(BTreeSet::from(["ns1".to_owned()])));
    host.tell(Event::Source(new()));
    host.publish();
    host.show("ns1");
    let asks = |action: &Action| matches!(action, Action::AskServers { servers, .. } if servers.len() == 2);
    assert!(host.actions.iter().any(asks));
    host.show("ns2");
    host.pass(DAY);
    host.answer();
    assert!(host.installs());
}

#[test]
fn nothing_is_asked_for_before_it_is_known_what_is_out() {
    let mut host = Host::new();
    host.tell(Event::Also(old()));
    host.tell(Event::Source(new()));
    host.present(&old());
    assert!(!host.actions.iter().any(|action| matches!(action, Action::Publish { .. })));
    host.tell(Event::Published { serial: 2, records: union(&[old()]), ttl: TTL });
    assert_eq!(host.wanted(), union(&[old(), new()]));
    host.publish();
    host.answer();
    assert!(!host.installs());
    host.pass(DAY);
    host.answer();
    assert!(host.installs());
}

#[test]
fn a_mail_server_that_may_present_another_version_than_the_one_found_deployed_is_told() {
    let runs = |host: &Host| host.actions.contains(&Action::RunHook { version: "new".to_owned() });
    let mut host = Host::new();
    host.tell(Event::Published { serial: 2, records: union(&[old(), new()]), ttl: TTL });
    host.tell(Event::Also(old()));
    host.tell(Event::Deployed(new()));
    assert!(runs(&host));
    assert_eq!(host.state.wanted(), Some(&union(&[old(), new()])[..]));
    let mut host = Host::new();
    host.tell(Event::Published { serial: 2, records: union(&[new()]), ttl: TTL });
    host.tell(Event::Deployed(new()));
    assert!(!runs(&host));
}

#[test]
fn what_some_owners_have_of_what_is_wanted_is_enough() {
    // Port 25 has records of both parameters and is withheld; port 465 has those of one.
    let part = |records: &[Tlsa]| -> Vec<Tlsa> {
        records.iter().filter(|record| record.parameters.to_string() == "3 1 1").cloned().collect()
    };
    let mut host = Host::settled();
    host.settings.parameters.insert("3 0 1".parse().expect("parameters"));
    host.tell(Event::Settings(host.settings.clone()));
    host.tell(Event::Source(new()));
    let wanted = host.wanted();
    assert_eq!(wanted.len(), 4);
    let tell = |host: &mut Host, records: &[Tlsa]| {
        host.tell(Event::Published { serial: host.serial, records: records.to_vec(), ttl: TTL });
        for server in ["ns1", "ns2"] {
            let (server, serial, records) = (server.to_owned(), host.serial, records.to_vec());
            host.tell(Event::Shows { server, serial, records, ttl: TTL });
        }
    };
    host.serial += 1;
    tell(&mut host, &part(&wanted));
    assert_eq!(host.state.phase(), Phase::Holding);
    host.pass(DAY - 1);
    tell(&mut host, &part(&wanted));
    host.present(&old());
    assert!(!host.installs());
    host.pass(1);
    assert!(host.installs());
    assert!(part(&wanted).contains(&record(&new())));
}
