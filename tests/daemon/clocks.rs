//! The wait of 24 hours that nobody configures, of a daemon whose clocks are moved under it: both together, the wall clock alone, both
//! while it is stopped.
//!
//! The daemon alone sees the moved clocks (libfaketime); whoever asks it has the machine's own.

use std::time::{Duration, Instant};

use crate::common::succeed;
use crate::crashes::installed;
use crate::house::{Daemon, HOST, House, ZONE, good_zone, record_of, rolling, wait_until};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Two TTLs of an hour.
const DRAIN: i64 = 2 * HOUR;
/// So far below the end of a wait it is looked whether it goes on; a test gets as far in less time.
const BELOW: i64 = 300;
/// What may happen at a wrong time does so within a step of a second; this is several.
const WHILE: Duration = Duration::from_secs(5);

/// Which clocks move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moving {
    /// The wall clock and the boot-time clock.
    Both,
    /// The wall clock.
    Wall,
}

/// The file that says how far the clocks are moved. It is not beside the daemon's own, which watches those.
const OFFSET: &str = "../offset";
/// The daemon's environment.
const ENVIRONMENT: &str = "../environment";

/// A house whose daemon reads clocks that can be moved, and a certificate.
fn house(moving: Moving) -> House {
    let house = House::empty();
    house.put("danelaw.toml", rolling(""));
    house.put_zone(&good_zone());
    house.certificate("mail", &[HOST]);
    let environment = format!(". '{}'", house.path(ENVIRONMENT).display());
    let house = house.begun_after(&environment);
    move_clocks(&house, 0);
    choose(&house, moving);
    house
}

/// Which clocks move from the daemon's next start on.
fn choose(house: &House, moving: Moving) {
    let preload = succeed("faketime", &["-m", "-f", "+0", "sh", "-c", "echo \"$LD_PRELOAD\""]);
    let preload = preload.trim();
    assert!(preload.contains("faketime"), "{preload}");
    let wall_alone = u8::from(moving == Moving::Wall);
    house.put(
        ENVIRONMENT,
        format!(
            "export LD_PRELOAD='{preload}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_CACHE_DURATION=1 NO_FAKE_STAT=1 \
             FAKETIME_DONT_FAKE_MONOTONIC={wall_alone}\n",
            house.path(OFFSET).display()
        ),
    );
}

/// How far they are ahead of the machine's, in seconds.
fn move_clocks(house: &House, seconds: i64) {
    house.put(OFFSET, format!("{seconds:+}\n"));
}

/// The same for a daemon that runs; it has seen it when this returns.
fn move_under(daemon: &Daemon<'_>, seconds: i64) {
    move_clocks(daemon.house, seconds);
    wait_until("the daemon sees the other time", || {
        let now = daemon.status()["now"].as_i64().unwrap();
        (now - crate::common::now() as i64 - seconds).abs() < 60
    });
}

/// Both records and the old certificate, and since when at the earliest.
struct Hold {
    before: String,
    after: String,
    begun: Instant,
}

impl Hold {
    /// One certificate is installed, another one comes, and both records are out.
    fn begin(daemon: &Daemon<'_>) -> Hold {
        let house = daemon.house;
        daemon.await_verdict("served all-held");
        wait_until("the first certificate is installed", || daemon.phase() == "idle");
        let before = record_of(&house.path("certs/mail.pem"));
        let begun = Instant::now();
        house.certificate("mail", &[HOST]);
        let after = record_of(&house.path("certs/mail.pem"));
        let hold = Hold { before, after, begun };
        wait_until("the wait begins", || daemon.phase() == "holding" && daemon.tlsa() == hold.both());
        hold
    }

    fn both(&self) -> Vec<String> {
        let mut both = vec![self.before.clone(), self.after.clone()];
        both.sort();
        both
    }

    /// Nothing changes for a while: both records are served and signed, the old certificate stands.
    #[track_caller]
    fn goes_on(&self, daemon: &Daemon<'_>, offset: i64) {
        let looked = Instant::now();
        while looked.elapsed() < WHILE {
            assert_eq!((daemon.phase().as_str(), daemon.tlsa()), ("holding", self.both()));
            assert_eq!(installed(daemon.house), self.before);
            std::thread::sleep(Duration::from_millis(200));
        }
        is_signed(daemon, offset);
    }

    /// The same where only [`BELOW`] are left of the wait.
    #[track_caller]
    fn goes_on_to_the_end(&self, daemon: &Daemon<'_>, offset: i64) {
        self.goes_on(daemon, offset);
        assert!(self.begun.elapsed().as_secs() < BELOW as u64, "the test is too slow to tell");
    }

    /// The new certificate stands in place of the old one, and both records are served still.
    #[track_caller]
    fn is_over(&self, daemon: &Daemon<'_>) {
        wait_until("the new certificate is installed", || installed(daemon.house) == self.after);
        wait_until("it is presented", || daemon.phase() == "draining");
        assert_eq!(daemon.tlsa(), self.both());
    }

    /// The old record is gone.
    #[track_caller]
    fn is_retired(&self, daemon: &Daemon<'_>) {
        wait_until("the old record goes", || daemon.tlsa() == [self.after.as_str()] && daemon.phase() == "idle");
        assert_eq!(installed(daemon.house), self.after);
        assert_eq!(daemon.problems(), "");
    }
}

/// Every signature of the zone is one that a validator takes at the moved time.
#[track_caller]
fn is_signed(daemon: &Daemon<'_>, offset: i64) {
    let dump = daemon.house.danelaw(&["zone", "dump", ZONE]);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let file = "../dump";
    daemon.house.put(file, dump.stdout);
    succeed("ldns-verify-zone", &["-t", &format!("{offset:+}"), daemon.house.path(file).to_str().unwrap()]);
}

/// What is told of the rollover, oldest first, but for the first certificate's.
fn told(daemon: &Daemon<'_>) -> Vec<(String, String)> {
    let log = daemon.json(&["log", HOST, "--limit", "1000"]);
    let event = |event: &serde_json::Value| {
        let word = |key: &str| event[key].as_str().unwrap().to_owned();
        (word("kind"), word("text"))
    };
    let mut all: Vec<(String, String)> = log.as_array().unwrap().iter().map(event).collect();
    all.reverse();
    let begun = all.iter().rposition(|(kind, _)| kind == "rollover-begun").unwrap();
    all.split_off(begun)
}

/// The seconds by which the wall clock was told to have jumped.
fn jumps(daemon: &Daemon<'_>) -> Vec<i64> {
    let seconds = |(_, text): &(String, String)| {
        let jump = text.strip_prefix("the wall clock jumped by ")?;
        jump.split(' ').next().unwrap().parse().ok()
    };
    told(daemon).iter().filter_map(seconds).collect()
}

/// Waits until it is told of such a jump.
#[track_caller]
fn await_jump(daemon: &Daemon<'_>, seconds: i64) {
    wait_until("the jump is told", || jumps(daemon).iter().any(|jump| (jump - seconds).abs() < 60));
}

#[test]
fn the_new_certificate_comes_24_hours_after_the_last_nameserver_showed_both_records() {
    let house = house(Moving::Both);
    let daemon = house.start();
    let hold = Hold::begin(&daemon);
    move_under(&daemon, DAY - BELOW);
    hold.goes_on_to_the_end(&daemon, DAY - BELOW);
    let over = DAY + 5;
    move_under(&daemon, over);
    hold.is_over(&daemon);
    is_signed(&daemon, over);

    let installed_at = Instant::now();
    move_under(&daemon, over + DRAIN - BELOW);
    let looked = Instant::now();
    while looked.elapsed() < WHILE {
        assert_eq!((daemon.phase().as_str(), daemon.tlsa()), ("draining", hold.both()));
    }
    assert!(installed_at.elapsed().as_secs() < BELOW as u64, "the test is too slow to tell");
    move_under(&daemon, over + DRAIN + 5);
    hold.is_retired(&daemon);
    is_signed(&daemon, over + DRAIN + 5);
    assert_eq!(jumps(&daemon), [] as [i64; 0], "both clocks went together");
    daemon.stop();
}

#[test]
fn the_wall_clock_alone_ahead_ends_no_wait() {
    let house = house(Moving::Wall);
    let daemon = house.start();
    let hold = Hold::begin(&daemon);
    let mut before = 0;
    for offset in [DAY + HOUR, 365 * DAY, 0] {
        move_under(&daemon, offset);
        await_jump(&daemon, offset - before);
        hold.goes_on(&daemon, offset);
        before = offset;
    }
    assert_eq!(jumps(&daemon).len(), 3);
    ends_with_both(daemon, &hold, 0);
}

#[test]
fn the_wall_clock_back_by_a_day_neither_ends_a_wait_nor_begins_it_anew() {
    let house = house(Moving::Wall);
    let daemon = house.start();
    let hold = Hold::begin(&daemon);
    move_under(&daemon, -DAY);
    await_jump(&daemon, -DAY);
    hold.goes_on(&daemon, -DAY);
    ends_with_both(daemon, &hold, -DAY);
}

/// The same wait in a daemon that is started anew, for which both clocks move: it ends when what was left of it has gone by. The boot-time
/// clock leaps at the start, by which the wall clock's leaps before must not be made good.
fn ends_with_both(daemon: Daemon<'_>, hold: &Hold, offset: i64) {
    let house = daemon.house;
    daemon.stop();
    choose(house, Moving::Both);
    let daemon = house.start();
    wait_until("the wait goes on", || daemon.phase() == "holding");
    hold.goes_on(&daemon, offset);
    let end = offset + DAY;
    move_under(&daemon, end - BELOW);
    hold.goes_on_to_the_end(&daemon, end - BELOW);
    move_under(&daemon, end + 5);
    hold.is_over(&daemon);
    move_under(&daemon, end + DRAIN + 10);
    hold.is_retired(&daemon);
    daemon.stop();
}

#[test]
fn a_machine_that_sleeps_through_a_wait_ends_it_once() {
    let house = house(Moving::Both);
    let daemon = house.start();
    let hold = Hold::begin(&daemon);
    let sleep = |until: i64| {
        daemon.signal("STOP");
        move_clocks(&house, until);
        std::thread::sleep(Duration::from_secs(3));
        daemon.signal("CONT");
        move_under(&daemon, until);
    };
    sleep(5 * HOUR);
    hold.goes_on(&daemon, 5 * HOUR);
    sleep(30 * HOUR);
    hold.is_over(&daemon);
    sleep(40 * HOUR);
    hold.is_retired(&daemon);
    std::thread::sleep(WHILE);

    let told = told(&daemon);
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let once = ["rollover-begun", "rollover", "certificate-installed", "rollover-finished"];
    assert_eq!(kinds, once, "{told:?}");
    assert!(told[1].1.ends_with("it is installed"), "{told:?}");
    assert_eq!(daemon.log().matches("the hook has run").count(), 2, "once for each certificate");
    daemon.stop();
}
