//! With real folders and the kernel's events.

use std::os::unix::fs::symlink;

use super::*;

const TIMING: Timing = Timing {
    lead: Duration::from_millis(40),
    quiet: Duration::from_millis(40),
    at_most: Duration::from_millis(400),
    rescan: Duration::from_secs(3600),
};

/// The next notice, if one comes soon.
fn next(changed: &mut mpsc::Receiver<Changed>, wait: u64) -> Option<Changed> {
    let end = Instant::now() + Duration::from_millis(wait);
    while Instant::now() < end {
        if let Ok(notice) = changed.try_recv() {
            return Some(notice);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn drain(changed: &mut mpsc::Receiver<Changed>) {
    while next(changed, 150).is_some() {}
}

#[test]
fn a_finished_write_is_told_and_one_under_way_is_not() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let (watcher, mut changed) = Watcher::start(TIMING).unwrap();
    watcher.watch(vec![Folder::deep(folder.path())]);
    let path = folder.path().join("example.org.zone");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    file.sync_all().unwrap();
    assert_eq!(next(&mut changed, 300), None, "still open");
    drop(file);
    assert!(next(&mut changed, 2000).unwrap().paths.contains(&path));
    std::fs::rename(&path, folder.path().join("other.zone")).unwrap();
    let notice = next(&mut changed, 2000).unwrap();
    assert!(notice.paths.contains(&path) && notice.paths.contains(&folder.path().join("other.zone")));
    std::fs::remove_file(folder.path().join("other.zone")).unwrap();
    assert!(next(&mut changed, 2000).is_some());
    std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(next(&mut changed, 300), None, "reading changes nothing");
}

#[test]
fn symlinks_hard_links_and_the_folders_they_lead_into_are_seen() {
    let outer = tempfile::tempdir().unwrap();
    let (live, archive) = (outer.path().join("live/mail"), outer.path().join("archive/mail"));
    std::fs::create_dir_all(&live).unwrap();
    std::fs::create_dir_all(&archive).unwrap();
    std::fs::write(archive.join("cert1.pem"), "1").unwrap();
    let (watcher, mut changed) = Watcher::start(TIMING).unwrap();
    watcher.watch(vec![Folder::deep(outer.path().join("live"))]);
    symlink("../../archive/mail/cert1.pem", live.join("cert.pem")).unwrap();
    assert!(next(&mut changed, 2000).unwrap().paths.contains(&live.join("cert.pem")));
    std::fs::write(archive.join("cert1.pem"), "written in place").unwrap();
    assert!(next(&mut changed, 2000).is_some(), "the archive is watched since the symlink came");
    drain(&mut changed);
    std::fs::hard_link(archive.join("cert1.pem"), live.join("hard.pem")).unwrap();
    assert!(next(&mut changed, 2000).is_some());
}

#[test]
fn of_installed_versions_those_that_the_symlinks_name_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in [".versions/mail/one", ".versions/mail/two", "by.hand"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    symlink(".versions/mail/one", at("mail")).unwrap();
    let (watcher, mut changed) = Watcher::start(TIMING).unwrap();
    watcher.watch(vec![Folder::linked(folder.path())]);
    std::fs::write(at(".versions/mail/two/fullchain.pem"), "staged").unwrap();
    assert_eq!(next(&mut changed, 300), None, "nobody reads it yet");
    for name in ["mail/fullchain.pem", "by.hand/fullchain.pem"] {
        std::fs::write(at(name), "another's").unwrap();
        assert!(next(&mut changed, 2000).is_some(), "{name}");
        drain(&mut changed);
    }
    symlink(".versions/mail/two", at("mail.new")).unwrap();
    std::fs::rename(at("mail.new"), at("mail")).unwrap();
    assert!(next(&mut changed, 2000).unwrap().paths.contains(&at("mail")));
    drain(&mut changed);
    std::fs::write(at("mail/fullchain.pem"), "another's").unwrap();
    assert!(next(&mut changed, 2000).is_some(), "it is the one that is read now");
}

#[test]
fn new_missing_and_replaced_folders_are_picked_up() {
    let outer = tempfile::tempdir().unwrap();
    let certs = outer.path().join("certs");
    let (watcher, mut changed) = Watcher::start(TIMING).unwrap();
    watcher.watch(vec![Folder::deep(&certs)]);
    std::fs::create_dir_all(certs.join("a/b")).unwrap();
    assert!(next(&mut changed, 2000).is_some(), "it came");
    drain(&mut changed);
    std::fs::write(certs.join("a/b/cert.pem"), "x").unwrap();
    assert!(next(&mut changed, 2000).unwrap().paths.contains(&certs.join("a/b/cert.pem")));
    std::fs::remove_dir_all(&certs).unwrap();
    std::fs::create_dir_all(certs.join("a")).unwrap();
    drain(&mut changed);
    std::fs::write(certs.join("a/cert.pem"), "x").unwrap();
    assert!(next(&mut changed, 2000).unwrap().paths.contains(&certs.join("a/cert.pem")));
}

#[test]
fn a_rescan_comes_by_itself_and_dropping_ends_the_notices() {
    let (watcher, mut changed) = Watcher::start(Timing { rescan: Duration::from_millis(100), ..TIMING }).unwrap();
    assert!(next(&mut changed, 2000).unwrap().rescan);
    assert!(next(&mut changed, 2000).unwrap().rescan);
    drop(watcher);
    while let Ok(notice) = changed.try_recv() {
        assert!(notice.rescan);
    }
    assert!(changed.is_closed());
}

#[test]
fn a_flat_folder_is_not_followed_down() {
    let outer = tempfile::tempdir().unwrap();
    std::fs::create_dir(outer.path().join("state")).unwrap();
    let (watcher, mut changed) = Watcher::start(TIMING).unwrap();
    watcher.watch(vec![Folder::flat(outer.path())]);
    std::fs::write(outer.path().join("state/danelaw.db"), "x").unwrap();
    assert_eq!(next(&mut changed, 300), None);
    std::fs::write(outer.path().join("danelaw.toml"), "x").unwrap();
    assert!(next(&mut changed, 2000).is_some());
}

#[test]
fn a_folder_with_two_names_is_watched_until_neither_is_wanted() {
    let outer = tempfile::tempdir().unwrap();
    std::fs::create_dir(outer.path().join("zones")).unwrap();
    let (watcher, mut changed) = Watcher::start(TIMING).unwrap();
    watcher.watch(vec![Folder::flat(outer.path()), Folder::flat(outer.path().join("zones/.."))]);
    watcher.watch(vec![Folder::flat(outer.path())]);
    std::fs::write(outer.path().join("danelaw.toml"), "x").unwrap();
    assert!(next(&mut changed, 2000).is_some());
}
