//! The daemon is killed at every point of a rollover: what is installed is whole then, and a restart brings the rollover to its end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::succeed;
use crate::house::{HOST, House, good_zone, record_of, rolling};

/// As many daemons at a time: they wait more than they work.
const AT_ONCE: usize = 12;
/// A rollover takes so long at most, restart included.
const LONG: Duration = Duration::from_secs(60);
/// Points whose order is another thread's matter may not be passed in every run.
const SLACK: usize = 4;

fn config() -> String {
    rolling("ttl = \"1s\"\nconfirmation-interval = \"1s\"")
}

/// The same folder for another daemon, which listens elsewhere.
fn copy(template: &House) -> House {
    let house = template.copied();
    house.put("danelaw.toml", config());
    house
}

/// A folder in which one certificate is installed and another one has come.
fn renewed() -> (House, String, String) {
    let house = House::empty();
    house.put("danelaw.toml", config());
    house.put_zone(&good_zone());
    house.certificate("mail", &[HOST]);
    let before = record_of(&house.path("certs/mail.pem"));
    let daemon = house.start();
    daemon.await_verdict("served all-held");
    assert!(comes(|| daemon.phase() == "idle"), "{}", daemon.log());
    daemon.stop();
    house.certificate("mail", &[HOST]);
    let after = record_of(&house.path("certs/mail.pem"));
    (house, before, after)
}

fn comes(mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    false
}

/// What mail servers would read, if it is whole: the record of the certificate in it.
pub fn installed(house: &House) -> String {
    // The link is followed once: it may lead to another version meanwhile.
    let folder = house.path("deployed").join(HOST).canonicalize().unwrap();
    let file = |name: &str| folder.join(name);
    let public = |kind: &[&str], path: &Path| {
        succeed("openssl", &[kind, &["-in", path.to_str().unwrap()]].concat()).trim().to_owned()
    };
    let of_key = public(&["pkey", "-pubout"], &file("privkey.pem"));
    for name in ["cert.pem", "fullchain.pem", "combined.pem"] {
        assert_eq!(public(&["x509", "-noout", "-pubkey"], &file(name)), of_key, "{name}");
    }
    assert_eq!(public(&["pkey", "-pubout"], &file("combined.pem")), of_key);
    record_of(&file("cert.pem"))
}

/// Waits until the process has been killed. False: it goes on.
fn is_killed(child: &mut Child, is_over: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.signal(), Some(9), "{status}");
            return true;
        }
        if begun.elapsed() > Duration::from_secs(10) && is_over() {
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it neither dies nor finishes");
}

fn is_finished(house: &House) -> bool {
    let output = house.danelaw(&["log", HOST]);
    // The first certificate's, and the one that is looked at.
    String::from_utf8_lossy(&output.stdout).matches("rollover-finished").count() == 2
}

/// Kills it there, looks, and lets a restart finish.
fn kill_at(template: &House, point: usize, (before, after): (&str, &str)) -> bool {
    let house = copy(template);
    let log = house.path("points");
    let mut child =
        house.begin(&[("DANELAW_CRASH_LOG", log.to_str().unwrap()), ("DANELAW_CRASH_AT", &point.to_string())]);
    let killed = is_killed(&mut child, || is_finished(&house));
    let at = fs::read_to_string(&log).unwrap();
    let at = format!("point {point}, {}", at.lines().last().unwrap_or("none"));
    let stands = installed(&house);
    assert!([before, after].contains(&stands.as_str()), "{at}: another certificate is installed");
    let daemon = house.start();
    let is_right = || daemon.tlsa() == [after] && daemon.phase() == "idle";
    assert!(comes(is_right), "{at}: {:?}, {}", daemon.tlsa(), daemon.json(&["rollover", "status"]));
    assert_eq!(installed(&house), after, "{at}");
    assert_eq!(daemon.problems(), "", "{at}");
    let versions = fs::read_dir(house.path("deployed/.versions").join(HOST)).unwrap().count();
    assert_eq!(versions, 1, "{at}: old versions stay");
    daemon.stop();
    let store = rusqlite::Connection::open(house.path("state/danelaw.db")).unwrap();
    let check: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{at}");
    killed
}

#[test]
fn a_rollover_that_is_killed_at_any_point_ends_right() {
    let (template, before, after) = renewed();
    let whole = copy(&template);
    let log = whole.path("points");
    let mut child = whole.begin(&[("DANELAW_CRASH_LOG", log.to_str().unwrap())]);
    assert!(comes(|| is_finished(&whole)), "without a crash");
    child.kill().unwrap();
    child.wait().unwrap();
    let passed = fs::read_to_string(&log).unwrap();
    let points = passed.lines().count();
    for name in ["rollover: before its state is stored", "rollover: before the hook", "swap the link", "sync the file"]
    {
        assert!(passed.contains(name), "{name} is not among the points:\n{passed}");
    }
    assert!(points >= 30, "{points} points");

    let (next, survivors) = (AtomicUsize::new(1), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let point = next.fetch_add(1, Ordering::Relaxed);
                    if point > points {
                        return;
                    }
                    if !kill_at(&template, point, (&before, &after)) {
                        assert!(point + SLACK > points, "point {point} of {points} was not passed");
                        survivors.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("killed at {} points", points - survivors.into_inner());
}
