//! What the operator sees when an order fails, with the whole daemon: why, when it is tried again, what to do. Meanwhile names are
//! answered, and the last certificate and its record stay; when the cause is gone the order ends with an installed chain and its record.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::common::now;
use super::house::{Daemon, HOST, ZONE, wait_until};
use super::stand_in::Answer;
use super::world::{
    Second, Standing, World, ZONE_FILE, await_failure, await_installed, await_next, config, first, listed, say,
};

/// It goes on by the operator's word, and ends well.
#[track_caller]
fn ends_well(daemon: &Daemon<'_>, before: Option<&[u8]>) -> Vec<u8> {
    say(daemon.house, "order");
    let chain = await_installed(daemon, before);
    wait_until("nothing is wrong any more", || {
        listed(daemon.house)[0]["failure"].is_null() && daemon.problems().is_empty()
    });
    chain
}

#[test]
fn a_ca_that_is_down_is_told_and_asked_again() {
    let mut world = World::new();
    let directory = world.pebble.directory();
    world.house.put("danelaw.toml", config(world.first, None, (&directory, &world.pebble.trusted()), ""));
    world.pebble.stop();
    let daemon = world.house.start();
    let port = format!("localhost:{}", world.pebble.port);
    let told = await_failure(&daemon, &["no answer from the CA", &port, "refused"]);
    assert!((30..120).contains(&(told.json["next-try"].as_u64().unwrap() - now())), "{}", told.json);
    Standing::of(&daemon).stands(&daemon);
    world.pebble.forget();
    ends_well(&daemon, None);
}

#[test]
fn a_ca_that_is_down_at_a_renewal_leaves_the_last_certificate() {
    let world = World::new();
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    await_next(&daemon);
    let standing = Standing::of(&daemon);
    world.front.is_down(true);
    say(&world.house, "renew");
    await_failure(&daemon, &["no answer from the CA"]);
    standing.stands(&daemon);
    // What the operator wanted is not forgotten over a restart.
    let daemon = daemon.restarted();
    await_failure(&daemon, &["no answer from the CA"]);
    standing.stands(&daemon);
    world.front.is_down(false);
    ends_well(&daemon, Some(&chain));
}

/// A relay in front of nameservers: whom it asks can be changed.
struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
}

impl Relay {
    fn to(target: SocketAddr) -> Relay {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let relay = Relay { address: socket.local_addr().unwrap(), target: Arc::new(Mutex::new(target)) };
        let target = Arc::clone(&relay.target);
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut message) {
                let asked = UdpSocket::bind("127.0.0.1:0").unwrap();
                asked.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                asked.send_to(&message[..length], *target.lock().unwrap()).unwrap();
                if let Ok(length) = asked.recv(&mut message) {
                    socket.send_to(&message[..length], client).unwrap();
                }
            }
        });
        relay
    }
}

#[test]
fn proofs_that_the_ca_does_not_find_are_told_in_its_words_and_taken_away() {
    let (first, mut apart) = (first(), Second::new());
    apart.start_apart();
    let relay = Relay::to(apart.address);
    let world = World::asking(first, relay.address);
    let daemon = world.house.start();
    await_failure(&daemon, &["unauthorized", "_acme-challenge"]);
    wait_until("the proofs are taken away", || {
        daemon.records(&format!("_acme-challenge.{ZONE}"), "TXT").is_empty()
            && daemon.records(&format!("_acme-challenge.{HOST}"), "TXT").is_empty()
    });
    Standing::of(&daemon).stands(&daemon);
    assert_eq!(world.orders(), 1);
    *relay.target.lock().unwrap() = first;
    ends_well(&daemon, None);
    assert_eq!(world.orders(), 2);
}

#[test]
fn caa_that_forbids_the_ca_is_told_with_the_record_and_nothing_is_ordered() {
    let world = World::new();
    let (directory, roots) = (world.front.url("/dir"), world.pebble.trusted());
    let text = config(world.first, None, (&directory, &roots), "");
    world.house.put("danelaw.toml", text.replace("agree", "caa-identities = [\"ca.test\"]\nagree"));
    let forbidding = format!("{ZONE_FILE}@ CAA 0 issue \"other.test\"\n");
    world.house.put_zone(&forbidding);
    let daemon = world.house.start();
    let line = format!("{ZONE}. CAA 0 issue \"ca.test\"");
    let told = await_failure(&daemon, &["a CAA record forbids", &format!("add {line}")]);
    assert!(told.status.contains("CAA forbids the CA to issue the certificate"), "{}", told.status);
    Standing::of(&daemon).stands(&daemon);
    let asked = world.front.asked();
    assert!(asked.iter().all(|line| line.starts_with("GET /dir ")), "the CA was asked for something: {asked:?}");
    // What it says to add is added as it stands, and nobody says another word.
    world.house.put_zone(&format!("{forbidding}{line}\n"));
    await_installed(&daemon, None);
    wait_until("nothing is wrong any more", || daemon.problems().is_empty());
}

#[test]
fn a_rate_limit_is_kept_to_over_restarts() {
    let world = World::new();
    let document = json!({
        "type": "urn:ietf:params:acme:error:rateLimited", "status": 429,
        "detail": "too many certificates (5) already issued for this exact set of identifiers",
    });
    world.front.says("/order-plz", Answer::json(429, &document).with("Retry-After: 7200"));
    let daemon = world.house.start();
    let told = await_failure(&daemon, &["too many certificates (5)"]);
    let until = told.json["next-try"].as_u64().unwrap();
    assert!(until.abs_diff(now() + 7200) < 60, "{}", told.json);
    Standing::of(&daemon).stands(&daemon);
    let daemon = daemon.restarted();
    let told = await_failure(&daemon, &["too many certificates (5)"]);
    assert!(told.json["next-try"].as_u64().unwrap().abs_diff(until) < 60, "{}", told.json);
    assert_eq!(world.orders(), 1);
    world.front.says_nothing();
    ends_well(&daemon, None);
}

#[test]
fn an_account_that_the_ca_does_not_know_is_replaced_by_the_operator_alone() {
    let mut world = World::new();
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    await_next(&daemon);
    let standing = Standing::of(&daemon);
    world.pebble.forget();
    say(&world.house, "renew");
    let told = await_failure(&daemon, &["does not know the account"]);
    assert!(told.json["next-try"].as_u64().unwrap() > now() + 3000, "{}", told.json);
    standing.stands(&daemon);
    // As it stands in what is shown.
    let command = told.list.split("mv ").nth(1).unwrap().split(')').next().unwrap();
    let (from, to) = command.split_once(' ').unwrap();
    assert!(Path::new(from).starts_with(world.house.path("state/acme")), "{command}");
    assert!(Command::new("mv").args([from, to]).status().unwrap().success());
    ends_well(&daemon, Some(&chain));
    assert_eq!(world.front.count("POST /sign-me-up "), 2);
}

#[test]
fn a_ca_that_answers_garbage_is_told_and_asked_again() {
    let world = World::new();
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    await_next(&daemon);
    let standing = Standing::of(&daemon);
    for (path, answer, words) in [
        ("/dir", Answer::new(200, "<html>Welcome to nginx!</html>"), "none of an ACME server (HTTP status 200)"),
        (
            "/order-plz",
            Answer::new(201, "{\"status\": \"pending\", \"authoriz"),
            "none of an ACME server (HTTP status 201)",
        ),
        ("/nonce-plz", Answer::new(502, "Bad Gateway"), "502"),
    ] {
        world.front.says(path, answer);
        say(&world.house, "renew");
        await_failure(&daemon, &[words]);
        standing.stands(&daemon);
        world.front.says_nothing();
    }
    ends_well(&daemon, Some(&chain));
}
