//! Accounts: made once, kept for their owner alone, and never replaced by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use danelaw::acme::problem::REFUSED;
use danelaw::acme::{Event, Id, Task};
use danelaw::act::acme::directory::{self, Authority};
use danelaw::act::acme::{External, Session, Settings};
use danelaw::act::messages::Secret;
use danelaw::dane::certificate::KeyType;
use serde_json::{Value, json};

use super::common::{name, now};
use super::edge::{Edge, id, names, settings};
use super::house::House;
use super::pebble::{Options, Pebble};
use super::stand_in::{Answer, StandIn};

fn order() -> Task {
    Task::Order { names: names(), replaces: None, profile: None }
}

fn kept(edge: &Edge) -> Value {
    serde_json::from_slice(&fs::read(edge.settings.path()).unwrap()).unwrap()
}

/// The settings of an edge, changed.
fn changed(edge: &Edge, change: impl FnOnce(&mut Settings)) -> Edge {
    let mut settings = settings(&edge.settings.state, &edge.settings.directory, edge.settings.ca_file.clone().unwrap());
    change(&mut settings);
    Edge::with(|_| settings)
}

#[test]
fn an_account_is_made_once_and_its_key_is_for_its_owner() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let mut edge = Edge::at(&pebble);
    edge.order(&id(KeyType::Ecdsa));
    let first = kept(&edge);
    let path = edge.settings.path();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
    edge.order(&id(KeyType::Rsa));
    assert_eq!(kept(&edge), first);
    // Other contacts are told, and the account stays.
    let mut other = changed(&edge, |settings| settings.contacts = vec!["mailto:dns@example.org".to_owned()]);
    other.order(&id(KeyType::Ecdsa));
    assert_eq!(kept(&edge)["contacts"], json!(["mailto:dns@example.org"]));
    assert_eq!(kept(&edge)["credentials"], first["credentials"]);
    // A key that others could read is not used any more.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let problem = edge.fails(&id(KeyType::Ecdsa), order());
    assert!(problem.detail.contains("chmod 0600"), "{problem:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "{").unwrap();
    let problem = edge.fails(&id(KeyType::Ecdsa), order());
    assert!(problem.detail.contains("no account that this version can read"), "{problem:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "{");
}

#[test]
fn an_account_that_the_ca_does_not_know_or_has_closed_is_told_and_not_replaced() {
    let house = House::good();
    let daemon = house.start();
    let mut pebble = Pebble::start(daemon.address, &Options::default());
    let mut edge = Edge::at(&pebble);
    let (url, _) = edge.order(&id(KeyType::Ecdsa));
    let first = kept(&edge);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let Ok(session) = Session::open(&edge.settings, now).await else { panic!("no session") };
        session.account.deactivate().await.unwrap();
    });
    for task in [order(), Task::AskStatus { url: url.clone() }, Task::SayReady { url: url.clone() }] {
        let problem = edge.fails(&id(KeyType::Ecdsa), task);
        assert!(matches!(problem.kind.as_deref(), Some("accountDoesNotExist" | REFUSED)), "{problem:?}");
    }
    pebble.forget();
    for task in [order(), Task::AskStatus { url }] {
        let problem = edge.fails(&id(KeyType::Ecdsa), task);
        assert!(problem.is("accountDoesNotExist"), "{problem:?}");
        assert!(problem.detail.contains(&format!("mv {}", edge.settings.path().display())), "{problem:?}");
    }
    assert_eq!(kept(&edge), first);
    // The operator's word: a new one.
    fs::remove_file(edge.settings.path()).unwrap();
    edge.order(&id(KeyType::Ecdsa));
    assert_ne!(kept(&edge)["credentials"], first["credentials"]);
}

#[test]
fn orders_at_once_make_one_account() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let url = stand_in.url("/order/1");
    let made = json!({"status": "ready", "authorizations": [], "finalize": stand_in.url("/finalize")});
    stand_in.says("/order", Answer::json(201, &made).with(&format!("Location: {url}")));
    let hosts = (0..8).map(|number| Id { host: name(&format!("mail{number}.example.org")), key_type: KeyType::Ecdsa });
    let said = edge.ask_all(&hosts.map(|id| (id, order())).collect::<Vec<_>>());
    assert_eq!(said.len(), 8);
    assert!(said.values().all(|event| *event == Event::Ordered { url: url.clone(), proofs: Vec::new() }), "{said:?}");
    let asked = |what: &str| stand_in.asked().iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((asked("POST /account "), asked("POST /order ")), (1, 8));
}

#[test]
fn a_ca_that_wants_an_external_account_gets_one() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let house = House::good();
    let daemon = house.start();
    let options = Options { external: json!({"kid-1": KEY}), ..Options::default() };
    let pebble = Pebble::start(daemon.address, &options);
    let without = Edge::at(&pebble);
    let problem = without.fails(&id(KeyType::Ecdsa), order());
    assert!(problem.is("externalAccountRequired"), "{problem:?}");
    assert!(!without.settings.path().exists());
    let external = |key_id: &str, key: &str| {
        let external = External { key_id: key_id.to_owned(), key: Secret(key.to_owned()) };
        changed(&without, |settings| settings.external = Some(external))
    };
    let problem = external("kid-1", "no base64!").fails(&id(KeyType::Ecdsa), order());
    assert!(problem.detail.contains("not base64url") && !problem.detail.contains("no base64!"), "{problem:?}");
    let problem = external("kid-2", KEY).fails(&id(KeyType::Ecdsa), order());
    assert!(problem.is(REFUSED) && !problem.detail.contains(KEY), "{problem:?}");
    let mut good = external("kid-1", KEY);
    good.order(&id(KeyType::Ecdsa));
    assert!(!fs::read_to_string(good.settings.path()).unwrap().contains(KEY));
    let problem = external("kid-3", KEY).fails(&id(KeyType::Ecdsa), order());
    assert!(problem.detail.contains("another external account (kid-1)"), "{problem:?}");
}

#[test]
fn what_a_ca_says_of_itself_is_read_and_no_account_is_made_for_that() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let said = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(directory::ask(&edge.settings, now))
    };
    assert_eq!(said().unwrap(), Authority::default());
    assert!(!edge.settings.path().exists());
    edge.ask(&id(KeyType::Ecdsa), order());
    let account = Some(stand_in.url("/account/1"));
    assert_eq!(said().unwrap(), Authority { identities: Vec::new(), account: account.clone() });
    stand_in.says("/dir", Answer::json(200, &json!({"meta": {"caaIdentities": ["ca.test", "ca.example"]}})));
    assert_eq!(said().unwrap(), Authority { identities: vec!["ca.test".to_owned(), "ca.example".to_owned()], account });
    stand_in.says("/dir", Answer::json(503, &json!({})));
    assert!(said().unwrap_err().detail.contains("503"));
    stand_in.says("/dir", Answer::new(200, "<html>"));
    assert!(said().unwrap_err().detail.contains("no directory of an ACME server"));
}
