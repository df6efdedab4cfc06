//! The keeper tells the operator: over real files, a store, and a time that the tests say.

use std::fs;
use std::path::PathBuf;

use tokio::sync::mpsc;

use super::super::{Finished, Keeper};
use super::*;
use crate::tell::Kind;

const NOW: Timestamp = 1_800_000_000;
const ZONE: &str = "$TTL 300\n@ SOA ns hostmaster 100 7200 3600 1209600 300\n NS ns\n MX 10 mail\nns A 192.0.2.25\nmail A 192.0.2.25\n";
const RULES: &str =
    "addresses = [\"192.0.2.25\"]\n[dane]\ndnssec = \"zone\"\nmail-service = \"declared\"\ndkim = \"optional\"\n";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.path("zones")).unwrap();
        fs::create_dir(place.path("certs")).unwrap();
        place.zone(ZONE);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn zone(&self, text: &str) {
        fs::write(self.path("zones/example.test.zone"), text).unwrap();
    }

    /// A certificate that is valid from one time to another, both in days from now.
    fn certificate(&self, from: i64, to: i64) {
        let at = |days: i64| {
            let seconds = Duration::from_secs(NOW.saturating_add_signed(days * 86_400));
            (std::time::UNIX_EPOCH + seconds).into()
        };
        let mut params = rcgen::CertificateParams::new(vec!["mail.example.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (at(from), at(to));
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        fs::write(self.path("certs/mail.pem"), made.pem()).unwrap();
    }

    fn config(&self, messages: &str) -> Config {
        Config::parse(&format!("{RULES}{messages}"), "danelaw.toml", self.folder.path()).unwrap()
    }

    fn keeper(&self, messages: &str, now: Timestamp) -> (Keeper, mpsc::Receiver<Order>) {
        let store = Store::open(&self.path("state")).unwrap();
        let mut keeper = Keeper::new(self.config(messages), store, false, now).unwrap();
        let orders = keeper.message_orders();
        keeper.cycle(&Finished::All, now);
        (keeper, orders)
    }
}

const TOLD: &str = "[messages]\nto = [\"a@elsewhere.example\"]\n";

/// What goes out by a time when every message is taken.
fn told(keeper: &mut Keeper, orders: &mut mpsc::Receiver<Order>, now: Timestamp) -> Vec<(Kind, String, String)> {
    keeper.send_messages(now);
    let mut notices = Vec::new();
    while let Ok(order) = orders.try_recv() {
        let (channel, id) = (order.channel, order.message.id);
        keeper.hear_message(&News { channel, id, result: Ok(()) }, now);
        notices.extend(order.message.notices.into_iter().map(|notice| (notice.kind, notice.subject, notice.text)));
    }
    notices
}

fn kinds(told: Vec<(Kind, String, String)>) -> Vec<Kind> {
    told.into_iter().map(|(kind, ..)| kind).collect()
}

#[test]
fn what_is_published_and_lost_is_told_once_over_restarts() {
    let place = Place::new();
    place.certificate(-10, 80);
    drop(place.keeper(TOLD, NOW));
    let published = (Kind::TlsaPublished, "mail.example.test".to_owned(), "_25._tcp.mail.example.test".to_owned());
    let (mut keeper, mut orders) = place.keeper(TOLD, NOW + 10);
    assert_eq!(told(&mut keeper, &mut orders, NOW + 59), [], "it is gathered");
    assert_eq!(told(&mut keeper, &mut orders, NOW + 60), [published]);
    place.zone(&ZONE.replace("100 7200", "101 7200").replace("mail A 192.0.2.25", "mail A 192.0.2.99"));
    keeper.cycle(&Finished::All, NOW + 1000);
    drop(keeper);
    (keeper, orders) = place.keeper(TOLD, NOW + 1005);
    assert_eq!(kinds(told(&mut keeper, &mut orders, NOW + 1010)), [Kind::PrerequisiteLost]);
    for minute in 1..90 {
        keeper.cycle(&Finished::none(), NOW + 1010 + 60 * minute);
    }
    assert_eq!(kinds(told(&mut keeper, &mut orders, NOW + 7000)), [Kind::TlsaWithdrawn]);
    place.zone(&ZONE.replace("100 7200", "102 7200"));
    keeper.cycle(&Finished::All, NOW + 8000);
    let back = kinds(told(&mut keeper, &mut orders, NOW + 9000));
    assert_eq!(back, [Kind::TlsaPublished, Kind::PrerequisiteRegained]);
    let events = keeper.store.events(100, Some("mail.example.test")).unwrap();
    let words: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert!(words.contains(&"prerequisite-lost") && words.contains(&"prerequisite-regained"), "{words:?}");
}

#[test]
fn a_certificate_is_told_of_twice_before_it_expires_and_one_with_a_short_life_later() {
    let place = Place::new();
    place.certificate(0, 90);
    let (mut keeper, mut orders) = place.keeper(TOLD, NOW);
    let mut days = Vec::new();
    let look = |keeper: &mut Keeper, orders: &mut _, hour: u64| {
        let now = NOW + 3600 * hour;
        keeper.cycle(&Finished::none(), now);
        let expires =
            told(keeper, orders, now + 600).into_iter().filter(|(kind, ..)| *kind == Kind::CertificateExpires);
        expires.map(|_| hour / 24).collect::<Vec<_>>()
    };
    for hour in 0..92 * 24 {
        days.extend(look(&mut keeper, &mut orders, hour));
    }
    assert_eq!(days, [76, 87]);
    place.certificate(92, 98);
    days.clear();
    for hour in 92 * 24..98 * 24 {
        days.extend(look(&mut keeper, &mut orders, hour));
    }
    assert_eq!(days, [96, 97], "a quarter and a twelfth of six days");
}

#[test]
fn signatures_that_could_not_be_refreshed_are_told_of_before_they_expire() {
    let place = Place::new();
    let (mut keeper, mut orders) = place.keeper(TOLD, NOW);
    // The key is gone, so nothing can be signed again.
    fs::rename(place.path("keys"), place.path("keys.away")).unwrap();
    fs::create_dir(place.path("keys")).unwrap();
    let mut days = Vec::new();
    for hour in 0..14 * 24 {
        let now = NOW + 3600 * hour;
        keeper.cycle(&Finished::none(), now);
        let found = told(&mut keeper, &mut orders, now + 600);
        days.extend(found.into_iter().filter(|(kind, ..)| *kind == Kind::SignatureExpires).map(|_| hour / 24));
    }
    assert_eq!(days.len(), 1, "{days:?}");
    assert!((9..=11).contains(&days[0]), "{days:?}");
}

#[test]
fn problems_are_told_where_they_are_asked_for_and_nobody_is_told_by_default() {
    let place = Place::new();
    let with_problems = format!("{TOLD}on = [\"problem\"]\n");
    let (mut keeper, mut orders) = place.keeper(&with_problems, NOW);
    place.zone("@ SOA broken\n");
    keeper.cycle(&Finished::All, NOW + 60);
    let found = told(&mut keeper, &mut orders, NOW + 600);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].0 == Kind::Problem && found[0].2.contains("example.test.zone"), "{found:?}");
    place.zone(ZONE);
    keeper.cycle(&Finished::All, NOW + 700);
    assert_eq!(kinds(told(&mut keeper, &mut orders, NOW + 2000)), [Kind::ProblemSolved]);
    keeper.configure(place.config(TOLD));
    place.zone("@ SOA broken\n");
    keeper.cycle(&Finished::All, NOW + 3000);
    assert_eq!(told(&mut keeper, &mut orders, NOW + 4000), []);
    keeper.configure(place.config(""));
    keeper.cycle(&Finished::All, NOW + 5000);
    keeper.tell(Notice::new(NOW, Kind::Alarm, "mail.example.test", "x"), NOW + 5000);
    assert_eq!(told(&mut keeper, &mut orders, NOW + 6000), []);
    assert_eq!(keeper.store.events(1, None).unwrap()[0].kind, "alarm", "the event list has it all the same");
}

#[test]
fn nothing_is_sent_that_could_not_be_stored() {
    let place = Place::new();
    let (mut keeper, mut orders) = place.keeper(TOLD, NOW);
    keeper.tell(Notice::new(NOW, Kind::Alarm, "mail.example.test", "x"), NOW);
    let other = rusqlite::Connection::open(place.path("state/danelaw.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(keeper.send_messages(NOW + 10), Some(NOW + 10 + RESCAN));
    assert!(orders.try_recv().is_err());
    assert!(keeper.message_problems().iter().any(|problem| problem.contains("can't be stored")));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(kinds(told(&mut keeper, &mut orders, NOW + 70)), [Kind::Alarm]);
    assert_eq!(keeper.message_problems(), Vec::<String>::new());
}

#[test]
fn a_message_that_was_given_out_is_given_out_again_by_the_next_process() {
    let place = Place::new();
    let (mut keeper, mut orders) = place.keeper(TOLD, NOW);
    keeper.tell(Notice::new(NOW, Kind::Alarm, "mail.example.test", "x"), NOW);
    keeper.send_messages(NOW + 10);
    let first = orders.try_recv().unwrap().message;
    drop(keeper);
    let (mut keeper, mut orders) = place.keeper(TOLD, NOW + 20);
    keeper.send_messages(NOW + 20);
    assert_eq!(orders.try_recv().unwrap().message, first);
}

#[test]
fn a_state_that_can_not_be_read_keeps_nobody_from_serving() {
    let place = Place::new();
    drop(place.keeper(TOLD, NOW));
    let mut store = Store::open(&place.path("state")).unwrap();
    let (kind, key) = (STATE.0.to_owned(), STATE.1.to_owned());
    store.save(&store::State { kind, key, version: 9, json: "{\"version\":9}".to_owned() }).unwrap();
    drop(store);
    let (keeper, _) = place.keeper(TOLD, NOW + 60);
    assert!(keeper.zones.values().all(|zone| zone.published().is_some()));
}
