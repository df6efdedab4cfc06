//! A wall clock that leaps under the daemon: what is due by it is ordered, once; nothing that is installed goes, and nobody is kept waiting.
//!
//! The daemon alone sees the moved clock (libfaketime).

use std::time::Duration;

use super::common::{now, succeed};
use super::house::{Daemon, House, wait_until, wait_within};
use super::world::{LONG, Standing, World, await_installed, await_next, listed, say};

const DAY: i64 = 86_400;
/// A few steps of a second.
const WHILE: Duration = Duration::from_secs(3);
/// The file that says how far the clock is moved; not where the daemon watches.
const OFFSET: &str = "../offset";

fn put_offset(house: &House, seconds: i64) {
    house.put(OFFSET, format!("{seconds:+}\n"));
}

/// Puts the clock so far from the machine's; the daemon and what orders certificates have seen it when this returns.
fn move_under(daemon: &Daemon<'_>, seconds: i64) {
    put_offset(daemon.house, seconds);
    wait_until("the daemon sees the other time", || {
        (daemon.status()["now"].as_i64().unwrap() - now() as i64 - seconds).abs() < 60
    });
}

/// Its daemon's wall clock alone moves.
fn world() -> World {
    let world = World::new().begun_after(|house| {
        let preload = succeed("faketime", &["-m", "-f", "+0", "sh", "-c", "echo \"$LD_PRELOAD\""]);
        format!(
            "export LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_CACHE_DURATION=1 NO_FAKE_STAT=1 \
             FAKETIME_DONT_FAKE_MONOTONIC=1",
            preload.trim(),
            house.path(OFFSET).display()
        )
    });
    put_offset(&world.house, 0);
    world
}

/// What happens at a wrong time does so within a few steps of a second.
fn nothing_changes(world: &World, daemon: &Daemon<'_>, standing: &Standing, orders: usize) {
    std::thread::sleep(WHILE);
    standing.stands(daemon);
    assert_eq!(world.orders(), orders, "{}", listed(&world.house));
}

#[test]
fn a_wall_clock_that_leaps_orders_nothing_and_removes_nothing() {
    let world = world();
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    await_next(&daemon);
    let standing = Standing::of(&daemon);
    // It lives for 90 days: due, over, not begun.
    for offset in [40 * DAY, 70 * DAY, 100 * DAY, -40 * DAY] {
        move_under(&daemon, offset);
        nothing_changes(&world, &daemon, &standing, 1);
        let is_told = daemon.problems().contains("see that this machine's clock is right");
        assert_eq!(is_told, offset > 60 * DAY, "{offset}: {}", daemon.problems());
    }
    // By the word it is ordered all the same, and its time has nothing to do with the clock before.
    say(&world.house, "renew");
    await_installed(&daemon, Some(&chain));
    assert_eq!(world.orders(), 2);
    move_under(&daemon, 0);
    // Problems are gathered once a minute where nothing happens.
    wait_within(LONG, "nothing is wrong any more", || daemon.problems().is_empty().then_some(()));
    await_next(&daemon);
    nothing_changes(&world, &daemon, &Standing::of(&daemon), 2);
}
