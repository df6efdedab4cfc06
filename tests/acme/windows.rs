//! Renewal windows and the order that names what it replaces (RFC 9773).

use danelaw::acme::{Event, Task};
use danelaw::dane::certificate::KeyType;
use serde_json::{Value, json};

use super::common::now;
use super::edge::{Edge, id, names};
use super::house::{House, ZONE};
use super::pebble::{Options, Pebble};
use super::stand_in::{Answer, StandIn};

const ARI_ID: &str = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
/// 2025-01-02T04:00:00Z.
const START: u64 = 1_735_790_400;

fn ask(edge: &Edge) -> Event {
    edge.ask(&id(KeyType::Ecdsa), Task::AskWindow { ari_id: ARI_ID.to_owned() })
}

fn window(start: &str, end: &str) -> Value {
    json!({"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://ca.test/why"})
}

#[test]
fn the_window_is_read_and_when_to_ask_again_is_bounded() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let good = || Answer::json(200, &window("2025-01-02T04:00:00Z", "2025-01-03T04:00:00Z"));
    let path = format!("/info/{ARI_ID}");
    for (answer, seconds) in [
        (good().with("Retry-After: 7200"), 7200),
        (good(), 6 * 3600),
        (good().with("Retry-After: 1"), 60),
        (good().with("Retry-After: 99999999"), 86_400),
    ] {
        stand_in.says(&path, answer);
        let Event::Window { start, end, again, explanation, .. } = ask(&edge) else { panic!("no window") };
        assert_eq!((start, end, explanation.as_deref()), (START, START + 86_400, Some("https://ca.test/why")));
        assert!(again.abs_diff(now() + seconds) < 60, "{seconds}: {again}");
    }
    stand_in.says(&path, Answer::json(200, &window("2025-01-03T04:00:00Z", "2025-01-02T04:00:00Z")));
    assert!(matches!(ask(&edge), Event::NoWindow { again, .. } if again.abs_diff(now() + 6 * 3600) < 60));
    for answer in [Answer::new(200, "<html>"), Answer::new(404, ""), Answer::json(200, &json!({}))] {
        stand_in.says(&path, answer);
        assert!(matches!(ask(&edge), Event::Failed { .. }));
    }
    assert!(stand_in.asked().iter().any(|line| *line == format!("GET {path} HTTP/1.1")));
}

#[test]
fn a_ca_without_windows_is_asked_seldom_and_gets_orders_that_replace_nothing() {
    let house = House::good();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let mut edge = Edge::at(&pebble);
    assert!(matches!(ask(&edge), Event::NoWindow { again, .. } if again.abs_diff(now() + 86_400) < 60));
    let order = Task::Order { names: names(), replaces: Some(ARI_ID.to_owned()), profile: None };
    assert!(matches!(edge.done(&id(KeyType::Ecdsa), order), Event::Ordered { .. }));
}

#[test]
fn an_order_that_is_replaced_already_is_made_without() {
    let stand_in = StandIn::start();
    let edge = stand_in.edge();
    let document = json!({"type": "urn:ietf:params:acme:error:alreadyReplaced", "detail": "by another order"});
    stand_in.says("/order", Answer::json(409, &document));
    let order =
        Task::Order { names: names(), replaces: Some(ARI_ID.to_owned()), profile: Some("tlsserver".to_owned()) };
    let Event::Failed { problem, .. } = edge.ask(&id(KeyType::Ecdsa), order.clone()) else { panic!("an order") };
    assert!(problem.is("alreadyReplaced"));
    let orders = || stand_in.asked().iter().filter(|line| line.starts_with("POST /order ")).count();
    assert_eq!(orders(), 2, "once with, once without");
    // A CA that forgets to say what is replaced has made an order all the same.
    let made = json!({"status": "ready", "authorizations": [], "finalize": stand_in.url("/finalize"),
        "identifiers": [{"type": "dns", "value": ZONE}]});
    stand_in.says("/order", Answer::json(201, &made).with(&format!("Location: {}", stand_in.url("/order/1"))));
    let Event::Ordered { url, proofs } = edge.ask(&id(KeyType::Ecdsa), order) else { panic!("no order") };
    assert_eq!((url, proofs.len()), (stand_in.url("/order/1"), 0));
}
