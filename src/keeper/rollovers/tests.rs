//! Rollovers driven by the keeper, over real files and a time that the tests say; mail servers are vouched for.

use std::fs;

use super::*;
use crate::dane::rollover::Phase;
use crate::dane::{Parameters, Tlsa};
use crate::keeper::Finished;
use crate::keeper::look::Scope;
use crate::keeper::tests::{CONFIG, DAY, NOW, Place, has_problem, name, tlsa};
use crate::serve::control::Word;

pub(super) const HOST: &str = "mail.example.test";

/// This server is the zone's only nameserver.
pub(super) fn config() -> String {
    let here = "127.0.0.1:5353";
    format!("listen = [\"{here}\"]\n{CONFIG}[zone.\"example.test\"]\nnameservers = [\"{here}\"]\n")
}

pub(super) fn place() -> Place {
    let place = Place::new();
    fs::remove_file(place.path("certs/mail.pem")).unwrap();
    place.pair("mail");
    place
}

/// Minute by minute, as the keeper's thread does it.
fn advance(keeper: &mut Keeper, from: Timestamp, until: Timestamp) {
    let mut now = from;
    while now < until {
        now = (now + 60).min(until);
        if keeper.tick(now) {
            keeper.run_cycle(&Scope::nothing(), &Finished::none(), now);
        }
    }
}

pub(super) fn phase(keeper: &Keeper) -> Phase {
    keeper.rollovers.hosts[&name(HOST)].state.phase()
}

fn installed(place: &Place) -> Vec<u8> {
    fs::read(place.path("deployed").join(HOST).join("cert.pem")).unwrap()
}

fn source(place: &Place) -> Vec<u8> {
    fs::read(place.path("certs/mail.pem")).unwrap()
}

#[test]
fn the_first_certificate_is_installed_and_published_at_once() {
    let place = place();
    let keeper = place.keeper(&config(), NOW);
    assert_eq!((tlsa(&keeper), phase(&keeper)), (1, Phase::Idle));
    assert_eq!(installed(&place), source(&place));
    assert!(keeper.explain(&name(HOST), NOW)[0].to_string().contains("(current)"));
    let fingerprint = Chain::from_pem(&installed(&place)).unwrap().leaf().fingerprint();
    assert_eq!(keeper.presents(&fingerprint).as_deref(), Some("it is installed for mail.example.test still"));
    assert_eq!(keeper.presents("0123"), None);
}

#[test]
fn a_renewed_one_is_installed_when_every_cache_must_have_its_record() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    let before = installed(&place);
    place.pair("mail");
    let after = source(&place);
    keeper.cycle(&Finished::All, NOW + 100);
    assert_eq!(tlsa(&keeper), 2, "both records at once");
    advance(&mut keeper, NOW + 100, NOW + 160);
    assert_eq!(phase(&keeper), Phase::Holding);
    advance(&mut keeper, NOW + 160, NOW + 100 + DAY - 60);
    assert_eq!((tlsa(&keeper), installed(&place)), (2, before), "not before a day has gone by");
    advance(&mut keeper, NOW + 100 + DAY - 60, NOW + 100 + DAY + 120);
    assert_eq!((tlsa(&keeper), installed(&place), phase(&keeper)), (2, after, Phase::Draining));
    advance(&mut keeper, NOW + 100 + DAY + 120, NOW + 100 + DAY + 2 * 3600 + 300);
    assert_eq!((tlsa(&keeper), phase(&keeper)), (1, Phase::Idle));
    let versions = fs::read_dir(place.path("deployed/.versions").join(HOST)).unwrap().count();
    assert_eq!(versions, 1, "the old version is gone");
    let kinds: Vec<String> = keeper.log(Some(HOST), 100).unwrap().into_iter().rev().map(|event| event.kind).collect();
    for kind in ["rollover-begun", "certificate-installed", "rollover-finished"] {
        assert!(kinds.iter().any(|other| other == kind), "{kind} in {kinds:?}");
    }
}

#[test]
fn a_restart_goes_on_where_it_was_and_a_state_that_can_not_be_stored_changes_nothing() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    let before = installed(&place);
    place.pair("mail");
    keeper.cycle(&Finished::All, NOW + 100);
    advance(&mut keeper, NOW + 100, NOW + DAY / 2);
    drop(keeper);
    let mut keeper = place.keeper(&config(), NOW + DAY / 2 + 600);
    assert_eq!((tlsa(&keeper), phase(&keeper)), (2, Phase::Holding));
    advance(&mut keeper, NOW + DAY / 2 + 600, NOW + DAY);
    assert_eq!(installed(&place), before);
    advance(&mut keeper, NOW + DAY, NOW + DAY + 300);
    assert_eq!(installed(&place), source(&place));

    let after = installed(&place);
    let broken = rusqlite::Connection::open(place.path("state/danelaw.db")).unwrap();
    broken.execute_batch("CREATE TRIGGER no BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'no room'); END").unwrap();
    place.pair("mail");
    keeper.cycle(&Finished::All, NOW + 2 * DAY);
    assert!(has_problem(&keeper, "no room"), "{:?}", keeper.problems);
    assert_eq!((tlsa(&keeper), installed(&place)), (2, after));
    broken.execute_batch("DROP TRIGGER no").unwrap();
    keeper.cycle(&Finished::All, NOW + 2 * DAY + 60);
    assert!(!has_problem(&keeper, "no room"));
    advance(&mut keeper, NOW + 2 * DAY + 60, NOW + 4 * DAY);
    assert_eq!((tlsa(&keeper), installed(&place)), (1, source(&place)));
}

#[test]
fn the_operators_word_counts() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    let before = installed(&place);
    place.pair("mail");
    let say = |keeper: &mut Keeper, word, now| {
        let said = keeper.rollover(&name(HOST), word, now);
        keeper.cycle(&Finished::All, now);
        said
    };
    say(&mut keeper, Word::Hold, NOW + 60).unwrap();
    let nothing = say(&mut keeper, Word::Start, NOW + 60).unwrap_err();
    assert!(nothing.contains("it was started, and is held"), "{nothing}");
    advance(&mut keeper, NOW + 60, NOW + 3 * DAY);
    assert_eq!((tlsa(&keeper), installed(&place)), (2, before.clone()));
    assert!(keeper.rollovers(Some(&name(HOST))).unwrap()[0].held);
    say(&mut keeper, Word::Abort, NOW + 3 * DAY).unwrap();
    say(&mut keeper, Word::Resume, NOW + 3 * DAY + 1).unwrap();
    advance(&mut keeper, NOW + 3 * DAY, NOW + 5 * DAY);
    assert_eq!((tlsa(&keeper), installed(&place)), (1, before));
    assert!(say(&mut keeper, Word::Abort, NOW + 5 * DAY).unwrap_err().contains("nothing to give up"));
    say(&mut keeper, Word::Start, NOW + 5 * DAY).unwrap();
    advance(&mut keeper, NOW + 5 * DAY, NOW + 7 * DAY);
    assert_eq!((tlsa(&keeper), installed(&place)), (1, source(&place)));
    let nothing = say(&mut keeper, Word::Start, NOW + 7 * DAY).unwrap_err();
    assert!(nothing.contains("nothing to start"), "{nothing}");
    let other = keeper.rollover(&name("www.example.test"), Word::Hold, NOW).unwrap_err();
    assert!(other.contains("[[certificates]]"), "{other}");
}

#[test]
fn what_was_published_before_is_taken_over_whole() {
    let place = place();
    let observed = format!("{}[[certificates]]\npath = \"certs\"\nmode = \"observed\"\n", config());
    let keeper = place.keeper(&observed, NOW);
    assert_eq!((tlsa(&keeper), keeper.has_rollovers()), (1, false));
    drop(keeper);
    let before = source(&place);
    place.pair("mail");
    let mut keeper = place.keeper(&config(), NOW + 600);
    assert_eq!(
        tlsa(&keeper),
        2,
        "what the mail server presents, and what comes: {}",
        keeper.explain(&name(HOST), NOW)[0]
    );
    assert!(!place.path("deployed").join(HOST).exists(), "nothing is installed before a day has gone by");
    advance(&mut keeper, NOW + 600, NOW + 600 + DAY + 300);
    assert_eq!(installed(&place), source(&place));
    assert_ne!(before, source(&place));
    advance(&mut keeper, NOW + 600 + DAY + 300, NOW + 600 + 2 * DAY);
    assert_eq!(tlsa(&keeper), 1);
}

#[test]
fn what_somebody_else_puts_in_place_is_published_at_once_and_told() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    for file in ["fullchain.pem", "cert.pem"] {
        fs::write(place.path("deployed").join(HOST).join(file), made.cert.pem()).unwrap();
    }
    keeper.cycle(&Finished::All, NOW + 60);
    assert_eq!(tlsa(&keeper), 2);
    assert!(has_problem(&keeper, "somebody else"), "{:?}", keeper.problems);
}

#[test]
fn with_the_next_key_or_the_same_one_a_renewal_waits_for_nothing() {
    let place = place();
    let folder = |mode: &str| format!("{}[[certificates]]\npath = \"certs\"\nmode = \"{mode}\"\n", config());
    let mut keeper = place.keeper(&folder("next-key"), NOW);
    assert!(has_problem(&keeper, "no next key lies beside"), "{:?}", keeper.problems);
    let next = rcgen::KeyPair::generate().unwrap();
    fs::write(place.path("certs/mail.key.next"), next.serialize_pem()).unwrap();
    keeper.cycle(&Finished::All, NOW + 60);
    assert_eq!(tlsa(&keeper), 2, "the next key's record is out long before its certificate");
    assert!(!has_problem(&keeper, "next key"), "{:?}", keeper.problems);
    advance(&mut keeper, NOW + 60, NOW + 2 * DAY);
    place.renew("mail", &next);
    let renewed = source(&place);
    keeper.cycle(&Finished::All, NOW + 2 * DAY);
    advance(&mut keeper, NOW + 2 * DAY, NOW + 2 * DAY + 120);
    assert_eq!(installed(&place), renewed);
    drop(keeper);

    let mut keeper = place.keeper(&folder("stable-key"), NOW + 3 * DAY);
    advance(&mut keeper, NOW + 3 * DAY, NOW + 4 * DAY);
    assert_eq!(tlsa(&keeper), 1);
    place.renew("mail", &next);
    let renewed = source(&place);
    keeper.cycle(&Finished::All, NOW + 4 * DAY);
    advance(&mut keeper, NOW + 4 * DAY, NOW + 4 * DAY + 120);
    assert_eq!((installed(&place), tlsa(&keeper)), (renewed.clone(), 1));
    place.pair("mail");
    keeper.cycle(&Finished::All, NOW + 5 * DAY);
    assert!(has_problem(&keeper, "has another key"), "{:?}", keeper.problems);
    assert_eq!((installed(&place), tlsa(&keeper)), (renewed, 2), "it is held back");
}

#[test]
fn one_of_two_certificates_that_is_away_for_a_while_is_not_given_up() {
    let place = place();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    place.renew("other", &key);
    let mut keeper = place.keeper(&config(), NOW);
    assert_eq!(tlsa(&keeper), 2, "{:?}", keeper.problems);
    let file = place.path("certs/other.key");
    fs::rename(&file, place.path("away")).unwrap();
    keeper.cycle(&Finished::All, NOW + 60);
    advance(&mut keeper, NOW + 60, NOW + 3 * DAY);
    assert_eq!((tlsa(&keeper), phase(&keeper)), (2, Phase::Idle));
    assert!(!has_problem(&keeper, "other.pem"), "of what is installed no key is needed: {:?}", keeper.problems);
    fs::rename(place.path("away"), &file).unwrap();
    keeper.cycle(&Finished::All, NOW + 3 * DAY);
    assert!(!has_problem(&keeper, "not taken over"), "{:?}", keeper.problems);
    fs::remove_file(&file).unwrap();
    fs::remove_file(place.path("certs/other.pem")).unwrap();
    keeper.cycle(&Finished::All, NOW + 3 * DAY);
    assert!(has_problem(&keeper, "no certificate with an Ed25519 key"), "{:?}", keeper.problems);
    keeper.rollover(&name(HOST), Word::Start, NOW + 3 * DAY).unwrap();
    keeper.cycle(&Finished::All, NOW + 3 * DAY + 60);
    advance(&mut keeper, NOW + 3 * DAY + 60, NOW + 5 * DAY);
    assert_eq!((tlsa(&keeper), phase(&keeper)), (1, Phase::Idle), "by the operator's word");
}

#[test]
fn what_was_installed_and_is_gone_is_put_back() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    let before = installed(&place);
    fs::remove_dir_all(place.path("deployed")).unwrap();
    keeper.cycle(&Finished::All, NOW + 60);
    assert_eq!((installed(&place), tlsa(&keeper)), (before.clone(), 1));
    // What is on its way is not what stands there.
    place.pair("mail");
    keeper.cycle(&Finished::All, NOW + 120);
    advance(&mut keeper, NOW + 120, NOW + 600);
    fs::remove_dir_all(place.path("deployed")).unwrap();
    keeper.cycle(&Finished::All, NOW + 600);
    assert!(has_problem(&keeper, "is gone, and can't be put back"), "{:?}", keeper.problems);
    assert_eq!(tlsa(&keeper), 2);
    drop(keeper);
    assert!(has_problem(&place.keeper(&config(), NOW + 660), "is gone, and can't be put back"));
}

#[test]
fn a_key_type_that_becomes_another_one_is_a_renewal() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    place.renew("mail", &rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    keeper.cycle(&Finished::All, NOW + 60);
    advance(&mut keeper, NOW + 60, NOW + 2 * DAY);
    assert_eq!((tlsa(&keeper), installed(&place)), (1, source(&place)), "{:?}", keeper.problems);
}

#[test]
fn an_older_certificate_never_takes_the_place_of_one_whose_key_is_away() {
    let place = place();
    let mut keeper = place.keeper(&config(), NOW);
    let before = installed(&place);
    fs::create_dir(place.path("certs/new")).unwrap();
    place.pair("new/mail");
    fs::remove_file(place.path("certs/new/mail.key")).unwrap();
    keeper.cycle(&Finished::All, NOW + 60);
    advance(&mut keeper, NOW + 60, NOW + 3 * DAY);
    assert_eq!((installed(&place), tlsa(&keeper)), (before, 1), "{:?}", keeper.problems);
}

#[test]
fn what_stands_in_the_zone_file_or_behind_its_alias_is_looked_at_and_what_is_missing_is_told() {
    let owner = format!("_25._tcp.{HOST}");
    for at in [owner.as_str(), "shared.example.test"] {
        let place = place();
        let zone = fs::read_to_string(place.path("zones/example.test.zone")).unwrap();
        let alias = if at == owner { String::new() } else { format!("{owner}. CNAME {at}.\n") };
        let write = |names: &[String]| {
            let records: Vec<String> = names.iter().map(|record| format!("{at}. 3600 TLSA {record}\n")).collect();
            fs::write(place.path("zones/example.test.zone"), format!("{zone}{alias}{}", records.concat())).unwrap();
        };
        let record = || {
            let chain = Chain::from_pem(&source(&place)).unwrap();
            Tlsa::from_chain(&chain, Parameters::DEFAULT).unwrap().to_string()
        };
        let (before, old) = (source(&place), record());
        write(std::slice::from_ref(&old));
        let mut keeper = place.keeper(&config(), NOW);
        assert_eq!(installed(&place), before, "{at}: {:?}", keeper.problems);
        place.pair("mail");
        let new = record();
        keeper.cycle(&Finished::All, NOW + 60);
        advance(&mut keeper, NOW + 60, NOW + 3 * DAY);
        assert_eq!(installed(&place), before, "{at}");
        assert!(has_problem(&keeper, &format!("add TLSA {new} there")), "{at}: {:?}", keeper.problems);
        write(&[old, new]);
        keeper.cycle(&Finished::All, NOW + 3 * DAY);
        advance(&mut keeper, NOW + 3 * DAY, NOW + 4 * DAY - 60);
        assert_eq!(installed(&place), before, "{at}");
        assert!(!has_problem(&keeper, "add TLSA"), "{at}: {:?}", keeper.problems);
        advance(&mut keeper, NOW + 4 * DAY - 60, NOW + 4 * DAY + 300);
        assert_eq!(installed(&place), source(&place), "{at}: {:?}", keeper.problems);
    }
}

#[test]
fn what_an_alias_leads_to_in_another_zone_is_not_known_and_nothing_new_is_installed() {
    let place = place();
    let path = place.path("zones/example.test.zone");
    let zone = fs::read_to_string(&path).unwrap();
    let record = || Tlsa::from_chain(&Chain::from_pem(&source(&place)).unwrap(), Parameters::DEFAULT).unwrap();
    place.zone(
        "other.test",
        &format!("$TTL 1h\n@ SOA ns h 1 4h 1h 2w 5m\n@ NS ns\nns A 192.0.2.53\ntlsa TLSA {}\n", record()),
    );
    for target in ["tlsa.other.test.", "tlsa.nowhere.test.", "nothing.example.test."] {
        fs::write(&path, format!("{zone}_25._tcp.{HOST}. CNAME {target}\n")).unwrap();
        let mut keeper = place.keeper(&config(), NOW);
        let before = installed(&place);
        place.pair("mail");
        keeper.cycle(&Finished::All, NOW + 60);
        advance(&mut keeper, NOW + 60, NOW + 3 * DAY);
        assert_eq!(installed(&place), before, "{target}");
        assert!(has_problem(&keeper, "is not looked at"), "{target}: {:?}", keeper.problems);
        drop(keeper);
        for made in ["deployed", "state"] {
            fs::remove_dir_all(place.path(made)).unwrap();
        }
    }
}
