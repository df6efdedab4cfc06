//! Disks that are full: the last pair stays whole, and what was begun goes on when there is room.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::house::{Daemon, HOST, wait_until};
use super::world::{Standing, World, await_failure, await_installed, await_next, is_next, listed, say};

/// A folder of the house on a small disk that the daemon alone sees, and that goes with it.
fn on_small_disk(world: World, folder: &str, size: &str) -> World {
    world.begun_after(|house| {
        let path = house.path(folder);
        format!(
            "[ \"$INSIDE\" ] || INSIDE=1 exec unshare --mount \"$0\" \"$@\"\nmkdir -p '{0}' && mount -t tmpfs -o size={size},mode=0700 tmpfs '{0}'",
            path.display()
        )
    })
}

/// What the daemon sees at a path.
fn seen(daemon: &Daemon<'_>, name: &str) -> PathBuf {
    let path = daemon.house.path(name);
    PathBuf::from(format!("/proc/{}/root", daemon.id())).join(path.strip_prefix("/").unwrap())
}

/// Writes until nothing fits any more.
fn fill(daemon: &Daemon<'_>, folder: &str) -> PathBuf {
    let path = seen(daemon, folder).join("ballast");
    let mut file = fs::File::create(&path).unwrap();
    for size in [4096, 512, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_at_the_write_keeps_the_last_pair_and_the_order() {
    let folder = format!("state/certificates/{HOST}");
    let world = on_small_disk(World::new(), "state/certificates", "256k");
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    await_next(&daemon);
    let standing = Standing::of(&daemon);
    let pair = || ["fullchain.pem", "privkey.pem"].map(|name| fs::read(seen(&daemon, &folder).join(name)).unwrap());
    let before = pair();
    let ballast = fill(&daemon, "state/certificates");
    say(&world.house, "renew");
    let told = await_failure(&daemon, &["can't write the file: No space left on device", "fullchain.pem"]);
    assert_eq!(told.json["phase"], "storing", "{}", told.json);
    standing.stands(&daemon);
    assert!(pair() == before, "another pair");
    let orders = world.orders();
    fs::remove_file(ballast).unwrap();
    say(&world.house, "order");
    await_installed(&daemon, Some(&chain));
    wait_until("nothing is wrong any more", || daemon.problems().is_empty());
    assert_eq!(world.orders(), orders, "the order goes on");
}

#[test]
fn a_disk_without_room_for_the_state_orders_nothing_until_there_is_some() {
    let world = on_small_disk(World::new(), "state", "4m");
    let text = String::from_utf8(world.house.read("danelaw.toml")).unwrap();
    let socket = "[control]\nsocket = \"run/danelaw.sock\"\n";
    world.house.put("danelaw.toml", format!("{text}{socket}"));
    world.house.put("client.toml", socket);
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    wait_until("the next key's record", || is_next(&daemon) && listed(&world.house)[0]["phase"] == "resting");
    let standing = Standing::of(&daemon);
    let orders = world.orders();
    let ballast = fill(&daemon, "state");
    let refused = world.house.danelaw(&["certificate", "renew", HOST]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("store: ") && why.contains("full"), "{why}");
    wait_until("it is told", || daemon.problems().contains("nothing is ordered until"));
    standing.stands(&daemon);
    assert_eq!(world.orders(), orders);
    fs::remove_file(ballast).unwrap();
    say(&world.house, "renew");
    await_installed(&daemon, Some(&chain));
    wait_until("nothing is wrong any more", || daemon.problems().is_empty());
    assert_eq!(world.orders(), orders + 1);
}
