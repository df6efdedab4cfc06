//! Another key by the operator's word: the one whose record has long been out, at once; and where it was said, the certificate before is
//! revoked.

use super::house::{HOST, wait_until};
use super::world::{LONG, World, await_installed, await_next, record_of, records, say};

/// What the CA was asked to revoke after a word of the operator.
fn revoked_by(word: &str) -> usize {
    let world = World::new();
    let daemon = world.house.start();
    let chain = await_installed(&daemon, None);
    await_next(&daemon);
    let (old, known) = (record_of(&world.house), records(&daemon));
    say(&world.house, word);
    await_installed(&daemon, Some(&chain));
    let new = record_of(&world.house);
    assert!(new != old && known.contains(&new), "{new} was not out before: {known:?}");
    await_next(&daemon);
    assert!(!records(&daemon).contains(&old), "nothing presents the key any more");
    if word == "revoke" {
        super::house::wait_within(LONG, "it is told", || {
            let log = world.house.danelaw(&["log", HOST]).stdout;
            String::from_utf8_lossy(&log).contains(" is revoked").then_some(())
        });
    }
    wait_until("nothing is wrong", || daemon.problems().is_empty());
    world.front.count("POST /revoke-cert ")
}

#[test]
fn rotating_takes_the_next_key_at_once() {
    assert_eq!(revoked_by("rotate"), 0);
}

#[test]
fn revoking_takes_the_next_key_at_once_and_has_the_one_before_revoked() {
    assert_eq!(revoked_by("revoke"), 1);
}
