//! CAs that fail: each ends with a reason in plain words, and the last certificate stays.

use std::fs;

use danelaw::acme::{Event, Status, Task};
use danelaw::dane::certificate::KeyType;
use serde_json::{Value, json};

use super::common::{free_port, now};
use super::edge::{Edge, id, names};
use super::house::{House, ZONE};
use super::pebble::{Options, Pebble};
use super::stand_in::{Answer, StandIn};

fn order() -> Task {
    Task::Order { names: names(), replaces: None, profile: None }
}

fn fails(edge: &Edge, task: Task) -> danelaw::acme::Problem {
    edge.fails(&id(KeyType::Ecdsa), task)
}

/// An order at a stand-in, with one authorization.
fn order_of(stand_in: &StandIn, status: &str) -> Value {
    json!({
        "status": status,
        "identifiers": [{"type": "dns", "value": ZONE}],
        "authorizations": [stand_in.url("/authorization")],
        "finalize": stand_in.url("/finalize"),
        "certificate": stand_in.url("/certificate"),
    })
}

fn authorization_of(stand_in: &StandIn, name: &str, kind: &str) -> Value {
    json!({
        "status": "pending",
        "identifier": {"type": "dns", "value": name},
        "challenges": [{"type": kind, "url": stand_in.url("/challenge"), "token": "dG9rZW4", "status": "pending"}],
    })
}

#[test]
fn a_ca_that_is_down_or_no_ca_is_told() {
    let down = StandIn::start();
    let edge =
        Edge::new(&format!("https://localhost:{}/dir", free_port()), down.edge().settings.ca_file.clone().unwrap());
    let problem = fails(&edge, order());
    assert!(problem.detail.to_lowercase().contains("refused"), "{problem:?}");
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    for (answer, why) in [
        (Answer::new(200, "<html>welcome</html>"), "none of an ACME server (HTTP status 200)"),
        (Answer::new(200, "{}"), "none of an ACME server (HTTP status 200)"),
        (Answer::new(404, "gone"), "none of an ACME server (HTTP status 404)"),
        (Answer::new(302, "").with("Location: https://localhost:1/dir"), "HTTP status 302"),
        (Answer::new(200, vec![b' '; 2 << 20]), "localhost"),
    ] {
        stand_in.says("/dir", answer);
        let problem = fails(&edge, order());
        assert!(problem.detail.contains(why) && problem.kind.is_none(), "{why}: {problem:?}");
    }
    let busy = Answer::new(503, "later").with("Retry-After: 600").with("Date: Fri, 31 Dec 1999 23:59:59 GMT");
    stand_in.says("/dir", busy);
    let problem = fails(&edge, order());
    assert!(problem.retry_after.unwrap().abs_diff(now() + 600) < 60, "{problem:?}");
    assert_eq!(problem.ca_time, Some(946_684_799));
    let stranger = Edge::new(&stand_in.url("/dir"), down.edge().settings.ca_file.clone().unwrap());
    let problem = fails(&stranger, order());
    assert!(problem.detail.to_lowercase().contains("certificate"), "{problem:?}");
    assert!(!edge.settings.path().exists() && !stranger.settings.path().exists());
}

#[test]
fn a_rate_limit_says_until_when() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let document = json!({
        "type": "urn:ietf:params:acme:error:rateLimited", "status": 429,
        "detail": "too many certificates already issued", "instance": stand_in.url("/about"),
    });
    let date = "Wed, 01 Jan 2031 00:00:00 GMT";
    stand_in.says("/order", Answer::json(429, &document).with(&format!("Retry-After: {date}")));
    let problem = fails(&edge, order());
    assert_eq!(problem.to_string(), "rateLimited: too many certificates already issued");
    assert_eq!(problem.retry_after, Some(1_924_992_000));
    // What stands in front of the CA says it in its own way.
    stand_in.says("/order", Answer::new(429, "<html>").with("Retry-After: 60"));
    let problem = fails(&edge, order());
    assert!(problem.is("rateLimited") && problem.retry_after.unwrap().abs_diff(now() + 60) < 60, "{problem:?}");
}

#[test]
fn no_proof_is_given_for_what_was_not_ordered() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let made = Answer::json(201, &order_of(&stand_in, "pending"));
    stand_in.says("/order", made.with(&format!("Location: {}", stand_in.url("/order/1"))));
    for (name, kind, why) in [
        ("bank.example", "dns-01", "wants a proof for bank.example, which was not ordered"),
        (ZONE, "http-01", "takes no proof by DNS"),
    ] {
        stand_in.says("/authorization", Answer::json(200, &authorization_of(&stand_in, name, kind)));
        let problem = fails(&edge, order());
        assert!(problem.detail.contains(why), "{problem:?}");
    }
    stand_in.says("/authorization", Answer::json(200, &authorization_of(&stand_in, ZONE, "dns-01")));
    let Event::Ordered { url, proofs } = edge.ask(&id(KeyType::Ecdsa), order()) else { panic!("no order") };
    assert_eq!((url, proofs.len()), (stand_in.url("/order/1"), 1));
}

#[test]
fn an_order_that_is_gone_or_garbage_is_told() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let url = stand_in.url("/order/1");
    let status = || Task::AskStatus { url: url.clone() };
    let problem = fails(&edge, status());
    assert!(problem.detail.contains("HTTP status 404"), "{problem:?}");
    let gone = json!({"type": "urn:ietf:params:acme:error:malformed", "detail": "no such order"});
    stand_in.says("/order/1", Answer::json(404, &gone));
    assert_eq!(fails(&edge, status()).to_string(), "malformed: no such order");
    for body in ["", "null", "[[[", "{\"status\": \"wonderful\"}", "\u{0}"] {
        stand_in.says("/order/1", Answer::new(200, body));
        for task in [
            status(),
            Task::SayReady { url: url.clone() },
            Task::Finalize { url: url.clone(), names: names(), reuse: false },
            Task::Store { url: url.clone(), names: names() },
        ] {
            assert!(fails(&edge, task).detail.contains("none of an ACME server"), "{body}");
        }
    }
    let mut invalid = order_of(&stand_in, "invalid");
    invalid["error"] = json!({"type": "urn:ietf:params:acme:error:caa", "detail": "CAA\r\nforbids it \u{1b}[2J"});
    stand_in.says("/order/1", Answer::json(200, &invalid));
    let Event::Status { status: Status::Invalid(problem), .. } = edge.ask(&id(KeyType::Ecdsa), status()) else {
        panic!("not invalid")
    };
    assert_eq!(problem.to_string(), "caa: CAA  forbids it  [2J");
}

#[test]
fn what_is_no_certificate_for_the_key_leaves_the_last_one() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let mut edge = Edge::at(&pebble);
    let id = id(KeyType::Ecdsa);
    let held = edge.issue(&daemon, &id);
    let stand_in = StandIn::start();
    let state = edge.settings.state.clone();
    let roots = stand_in.edge().settings.ca_file.clone().unwrap();
    let other = Edge::with(|_| super::edge::settings(&state, &stand_in.url("/dir"), roots));
    stand_in.says("/order/1", Answer::json(200, &order_of(&stand_in, "valid")));
    let stranger = rcgen::generate_simple_self_signed(names().iter().map(|name| name.to_host()).collect::<Vec<_>>());
    let chain = fs::read(edge.path("certificates/mail.example.org/fullchain.pem")).unwrap();
    for (body, why) in [
        (b"<html>".to_vec(), "no certificate chain"),
        (b"\xff\xfe\x00".to_vec(), "none of an ACME server"),
        (chain[..chain.len() - 60].to_vec(), "no certificate chain"),
    ] {
        stand_in.says("/certificate", Answer::new(200, body));
        let problem = fails(&other, Task::Store { url: stand_in.url("/order/1"), names: names() });
        assert!(problem.detail.contains(why), "{why}: {problem:?}");
        assert_eq!(edge.ask(&id, Task::Look), Event::Held(Some(held.clone())));
    }
    // Nothing will come of that order.
    stand_in.says("/certificate", Answer::new(200, stranger.unwrap().cert.pem()));
    let stored = other.ask(&id, Task::Store { url: stand_in.url("/order/1"), names: names() });
    let Event::Status { status: Status::Invalid(problem), .. } = stored else { panic!("{stored:?}") };
    assert!(problem.detail.contains("a key that does not lie in"), "{problem:?}");
    assert_eq!(edge.ask(&id, Task::Look), Event::Held(Some(held)));
    stand_in.says("/order/1", Answer::json(200, &order_of(&stand_in, "processing")));
    let problem = fails(&other, Task::Store { url: stand_in.url("/order/1"), names: names() });
    assert!(problem.detail.contains("Processing"), "{problem:?}");
}

#[test]
fn a_profile_that_the_ca_does_not_have_is_told_before_anything_is_ordered() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let problem = fails(&edge, Task::Order { names: names(), replaces: None, profile: Some("shortlived".to_owned()) });
    assert_eq!(problem.to_string(), "invalidProfile: the CA has no profile shortlived; it has: tlsserver");
    assert!(!stand_in.asked().iter().any(|line| line.contains(" /order ")));
}

#[test]
fn no_account_is_made_that_could_not_be_kept() {
    let stand_in = StandIn::start();
    let roots = stand_in.edge().settings.ca_file.clone().unwrap();
    let edge = Edge::with(|folder| {
        let state = folder.join("state");
        fs::write(&state, "no folder").unwrap();
        super::edge::settings(&state, &stand_in.url("/dir"), roots)
    });
    let problem = fails(&edge, order());
    assert!(problem.detail.contains("acme"), "{problem:?}");
    assert!(!stand_in.asked().iter().any(|line| line.contains(" /account ")), "{:?}", stand_in.asked());
}
