//! The daemon is killed at every step of an order. A restart brings the order to its end, and neither order nor account is made twice,
//! unless the CA made one of which nobody here had heard, or looked for the proofs while nobody answered and gave the order up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use super::house::{Daemon, HOST, House, wait_within};
use super::world::{LONG, World, is_next, listed, record_of, records, say};

/// As many daemons at a time: they wait more than they work.
const AT_ONCE: usize = 8;
/// Where the CA may have made an order or an account that is not written down here.
const UNHEARD: [&str; 4] = [
    "acme: the CA has made the account",
    "acme: the CA has made the order",
    "acme: it is ordered",
    "acme: before its state is stored",
];

/// Where the CA may look for the proofs while the daemon is dead, which is the only nameserver.
const MAY_BE_LOOKED_AT: [&str; 4] = [
    "acme: the CA is told of a proof",
    "acme: the CA is told of the proofs",
    "acme: before its state is stored",
    "acme: after its state is stored",
];

/// A point: which one of its name.
type Point = (usize, String);

/// Points of orders in the order in which they were passed; of other rooms' none.
fn passed(house: &House) -> Vec<Point> {
    let log = fs::read_to_string(house.path("points")).unwrap();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let numbered = log.lines().map(|name| {
        let number = seen.entry(name).or_default();
        *number += 1;
        (*number, name.to_owned())
    });
    numbered.filter(|(_, name)| name.starts_with("acme: ")).collect()
}

/// Whether the chain is installed and the order is over, the next key's record included. What is installed has its record, where there
/// are any.
#[track_caller]
fn is_done(daemon: &Daemon<'_>) -> bool {
    if !daemon.house.path("deployed").join(HOST).join("fullchain.pem").exists() {
        return false;
    }
    let (wanted, records) = (record_of(daemon.house), records(daemon));
    // Of a host that had none the first comes after its certificate.
    assert!(records.is_empty() || records.contains(&wanted), "it is installed, and {wanted} is not among {records:?}");
    let list = listed(daemon.house);
    is_next(daemon) && list[0]["phase"] == "resting" && list[0]["failure"].is_null()
}

/// Waits until it is over or killed. True: it is killed.
fn is_killed(child: &mut Child, house: &House) -> bool {
    let log = || fs::read_to_string(house.path("points")).unwrap_or_default();
    let (mut before, mut quiet) = (String::new(), 0);
    comes("it dies or is done", || {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.signal(), Some(9), "{status}");
            return Some(true);
        }
        let now = log();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
        // Nothing has been passed for five seconds.
        let is_over = quiet > 20 && listed(house)[0]["phase"] == "resting" && listed(house)[0]["not-after"].is_u64();
        is_over.then(|| {
            child.kill().unwrap();
            child.wait().unwrap();
            false
        })
    })
}

/// Waits until it is so, and asks less often than others: daemons have to work meanwhile.
#[track_caller]
fn comes<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    wait_within(LONG, what, || {
        std::thread::sleep(Duration::from_millis(250));
        look()
    })
}

/// Waits until the order is over; the operator does not wait for another try.
#[track_caller]
fn ends(daemon: &Daemon<'_>, at: &str) {
    comes(&format!("killed at {at}, it ends"), || {
        let is_done = is_done(daemon);
        let list = listed(daemon.house);
        if !is_done && list[0]["phase"] == "resting" && list[0]["next-try"].is_u64() {
            say(daemon.house, "order");
        }
        is_done.then_some(())
    });
    comes(&format!("killed at {at}, nothing is wrong in the end"), || daemon.problems().is_empty().then_some(()));
}

/// How many orders the CA has given up.
fn given_up(daemon: &Daemon<'_>) -> usize {
    let log = daemon.json(&["log", HOST, "--limit", "1000"]);
    let texts = log.as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap());
    texts.filter(|text| text.starts_with("its order came to nothing")).count()
}

/// How often more than once an order and an account were made.
struct Repeated {
    orders: usize,
    accounts: usize,
}

fn kill_at((number, name): &Point) -> Option<Repeated> {
    let world = World::new();
    let house = &world.house;
    let points = house.path("points");
    let at = format!("{number} {name}");
    let mut child = house.begin(&[("DANELAW_CRASH_LOG", points.to_str().unwrap()), ("DANELAW_CRASH_AT", &at)]);
    if !is_killed(&mut child, house) {
        return None;
    }
    let made = world.orders();
    let daemon = house.start();
    let known = &listed(house)[0];
    let is_known = made == 0 || known["order"].is_string() || known["not-after"].is_u64();
    assert!(is_known || UNHEARD.contains(&&name[..]), "{at}: the order is forgotten");
    ends(&daemon, &at);
    let (orders, lost) = (world.orders(), given_up(&daemon));
    assert_eq!(orders, made.max(1) + usize::from(!is_known) + lost, "{at}: {made} before, {lost} given up by the CA");
    assert!(lost <= usize::from(MAY_BE_LOOKED_AT.contains(&&name[..])), "{at}: the CA has given {lost} up");
    let accounts = world.front.count("POST /sign-me-up ");
    assert!(accounts <= 1 + usize::from(name == UNHEARD[0]), "{at}: {accounts} accounts");
    Some(Repeated { orders: orders - 1 - lost, accounts: accounts - 1 })
}

#[test]
fn an_order_that_is_killed_at_any_step_is_resumed_and_not_repeated() {
    let world = World::new();
    let mut child = world.house.begin(&[("DANELAW_CRASH_LOG", world.house.path("points").to_str().unwrap())]);
    assert!(!is_killed(&mut child, &world.house), "without a crash");
    let points = passed(&world.house);
    let names: BTreeSet<&str> = points.iter().map(|(_, name)| &name[..]).collect();
    for name in UNHEARD.iter().chain(&[
        "acme: a key is written",
        "acme: the CA has the request",
        "acme: the chain is laid down",
    ]) {
        assert!(names.contains(name), "{name} is not among the points: {names:?}");
    }
    let (left, repeated) = (Mutex::new(points), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(point) = left.lock().unwrap().pop() else { return };
                    let what = kill_at(&point);
                    repeated.lock().unwrap().push((point, what));
                }
            });
        }
    });
    let repeated = repeated.into_inner().unwrap();
    let missed: Vec<&Point> = repeated.iter().filter(|(_, what)| what.is_none()).map(|(point, _)| point).collect();
    // Which thread is first differs from run to run, and so does how often states are stored.
    assert!(missed.len() <= 4, "not passed: {missed:?}");
    let again = repeated.iter().filter_map(|(_, what)| what.as_ref());
    let (orders, accounts) =
        again.fold((0, 0), |(orders, accounts), what| (orders + what.orders, accounts + what.accounts));
    assert!(orders <= 3 && accounts <= 1, "{orders} orders and {accounts} accounts were made again");
}

/// Renews it, killed at each of these points, one renewal after the other.
fn renew_and_kill_at(points: &[&str]) {
    let world = World::new();
    let house = &world.house;
    let mut daemon = house.start();
    ends(&daemon, "no point");
    for point in points {
        let lost = given_up(&daemon);
        daemon.stop();
        let (before, installed) = (world.orders(), record_of(house));
        let log = house.path("points");
        let mut child =
            house.begin(&[("DANELAW_CRASH_LOG", log.to_str().unwrap()), ("DANELAW_CRASH_AT", &format!("1 {point}"))]);
        comes("the renewal is begun", || {
            house.danelaw(&["certificate", "renew", HOST]).stderr.is_empty().then_some(())
        });
        let status = comes(&format!("it dies: {point}"), || child.try_wait().unwrap());
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
        daemon = house.start();
        comes("the record of what is installed is out", || {
            let records = records(&daemon);
            assert!(records.contains(&record_of(house)), "{point}: the record is not among {records:?}");
            ends(&daemon, point);
            (record_of(house) != installed).then_some(())
        });
        let (orders, lost) = (world.orders() - before, given_up(&daemon) - lost);
        let most = 1 + lost + usize::from(UNHEARD.contains(point));
        assert!(orders <= most, "{point}: {orders} orders, {lost} given up by the CA");
        assert_eq!(world.front.count("POST /sign-me-up "), 1);
    }
}

#[test]
fn a_renewal_that_is_killed_at_any_step_keeps_the_record_of_what_is_installed() {
    std::thread::scope(|scope| {
        for points in [
            [
                "acme: it is ordered",
                "acme: the CA is told of a proof",
                "acme: the CA has the request",
                "acme: it is finalised",
            ],
            [
                "acme: the chain is fetched",
                "acme: the chain is laid down",
                "acme: before a key is written",
                "acme: a key is written",
            ],
        ] {
            scope.spawn(move || renew_and_kill_at(&points));
        }
    });
}
