//! A daemon that gets its certificates by itself: the CA asks the secondary alone, which is seconds behind.

use std::time::Duration;

use super::house::{HOST, House, TLSA, ZONE, wait_until, wait_within};
use super::pebble::{Options, Pebble};
use super::world::{LONG, Second, await_installed, await_next, first, listed, record_of, records};

/// The operator's folder: a zone with two nameservers, and one certificate that is wanted. `more`: of that.
fn house(first: std::net::SocketAddr, second: &Second, pebble: &Pebble, more: &str) -> House {
    super::world::house(first, Some(second), (&pebble.directory(), &pebble.trusted()), more)
}

fn ends_with_an_installed_chain(options: &Options, more: &str) {
    let (first, mut second) = (first(), Second::new());
    let pebble = Pebble::start(second.address, options);
    let house = house(first, &second, &pebble, more);
    let daemon = house.start();
    second.start(first);
    await_installed(&daemon, None);
    let names = super::common::succeed(
        "openssl",
        &[
            "x509",
            "-in",
            &house.path(&format!("deployed/{HOST}/fullchain.pem")).display().to_string(),
            "-noout",
            "-ext",
            "subjectAltName",
        ],
    );
    for name in [HOST, ZONE, "*.example.org"] {
        assert!(names.contains(&format!("DNS:{name}")), "{names}");
    }
    wait_until("nothing of the proofs is left", || {
        daemon.records(&format!("_acme-challenge.{ZONE}"), "TXT").is_empty()
    });
    // One key type after the other, and a step whose nonces are refused too often is done again a minute later.
    let list = wait_within(3 * LONG, "each says so", || {
        let list = listed(&house);
        let is_done = |one: &serde_json::Value| one["phase"] == "resting" && one["not-after"].is_u64();
        list.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(is_done)).then_some(list)
    });
    assert!(list.as_array().unwrap().iter().all(|one| one["failure"].is_null()), "{list}");
    // The next key's record is out before it is needed.
    wait_until("the next key's record", || daemon.records(TLSA, "TLSA").len() >= 2);
}

#[test]
fn an_order_ends_with_an_installed_chain_and_its_record() {
    ends_with_an_installed_chain(&Options::default(), "");
}

#[test]
fn so_it_does_where_nonces_are_refused_and_with_both_key_types() {
    ends_with_an_installed_chain(
        &Options { refused_nonces: 40, ..Options::default() },
        "keys = [\"ecdsa\", \"rsa\"]\n",
    );
}

#[test]
fn a_renewal_takes_the_next_key_and_installs_it_at_once() {
    let (first, mut second) = (first(), Second::new());
    let pebble = Pebble::start(second.address, &Options::default());
    let house = house(first, &second, &pebble, "");
    let daemon = house.start();
    second.start(first);
    let mut chain = await_installed(&daemon, None);
    for round in 0..3 {
        await_next(&daemon);
        let before = records(&daemon);
        let output = house.danelaw(&["certificate", "renew", HOST]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        chain = await_installed(&daemon, Some(&chain));
        let wanted = record_of(&house);
        assert!(before.contains(&wanted), "round {round}: {before:?} lack {wanted}");
    }
}

#[test]
fn a_secondary_that_never_catches_up_is_told_and_the_order_goes_on_when_it_does() {
    let (first, mut second) = (first(), Second::new());
    let pebble = Pebble::start(second.address, &Options::default());
    let house = house(first, &second, &pebble, "");
    let daemon = house.start();
    wait_within(LONG, "it waits for the secondary", || (listed(&house)[0]["phase"] == "proving").then_some(()));
    let why = format!("{}: ", second.address);
    wait_until("it is told which nameserver it waits for", || {
        listed(&house)[0]["waits-for"].as_str().is_some_and(|waits_for| waits_for.starts_with(&why))
    });
    for command in [&["certificate", "list"][..], &["status"]] {
        let text = String::from_utf8(house.danelaw(command).stdout).unwrap();
        assert!(text.contains(&format!("waits: {why}")), "{text}");
    }
    // It goes on waiting for as long as that.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(listed(&house)[0]["phase"], "proving");
    let order = listed(&house)[0]["order"].clone();
    daemon.kill();
    let daemon = house.start();
    wait_until("the same order goes on", || order.is_string() && listed(&house)[0]["order"] == order);
    second.start(first);
    await_installed(&daemon, None);
}
