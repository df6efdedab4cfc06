//! What the store promises: nothing goes back, nothing is half written, damage is said and not guessed around.

use super::*;

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn serials_grow_within_a_process_and_over_a_clean_restart_without_gap() {
    let folder = tempfile::tempdir().unwrap();
    let zone = name("example.org.");
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.lease(&zone, 2_026_010_101).unwrap(), 2_026_010_101);
    assert_eq!(store.lease(&zone, 2_026_010_101).unwrap(), 2_026_010_102);
    assert_eq!(store.lease(&zone, 5).unwrap(), 2_026_010_103, "a file's serial that went back is overruled");
    assert_eq!(store.lease(&name("EXAMPLE.org."), 2_026_020_100).unwrap(), 2_026_020_100);
    assert_eq!(store.lease(&name("other.org."), 1).unwrap(), 1);
    store.close().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.lease(&zone, 0).unwrap(), 2_026_020_101);
}

#[test]
fn a_killed_process_never_hands_a_serial_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let zone = name("example.org.");
    let mut last = 0;
    for _ in 0..5 {
        let mut store = Store::open(folder.path()).unwrap();
        for _ in 0..(SERIAL_BLOCK + 3) {
            let serial = store.lease(&zone, 1).unwrap();
            assert!(serial::is_after(serial, last), "{serial} after {last}");
            last = serial;
        }
        // As after kill -9: what SQLite has not written is lost, the lock goes with the descriptor.
        let copy = folder.path().join("copy");
        std::fs::create_dir_all(&copy).unwrap();
        for file in ["danelaw.db", "danelaw.db-wal"] {
            std::fs::copy(folder.path().join(file), copy.join(file)).unwrap();
        }
        drop(store);
        for file in ["danelaw.db", "danelaw.db-wal"] {
            std::fs::copy(copy.join(file), folder.path().join(file)).unwrap();
        }
        let _ = std::fs::remove_file(folder.path().join("danelaw.db-shm"));
    }
}

#[test]
fn a_block_of_serials_costs_one_write() {
    let mut store = Store::ephemeral().unwrap();
    let zone = name("example.org.");
    store.lease(&zone, 100).unwrap();
    let before = store.db.total_changes();
    for _ in 1..SERIAL_BLOCK {
        store.lease(&zone, 100).unwrap();
    }
    assert_eq!(store.db.total_changes(), before);
    store.lease(&zone, 100).unwrap();
    assert_eq!(store.db.total_changes(), before + 1);
}

#[test]
fn serials_wrap_as_rfc_1982_says() {
    let mut store = Store::ephemeral().unwrap();
    let zone = name("example.org.");
    let mut last = store.lease(&zone, u32::MAX - 2).unwrap();
    for _ in 0..200 {
        let next = store.lease(&zone, 0).unwrap();
        assert!(serial::is_after(next, last));
        last = next;
    }
    assert!(last < 300);
    let unordered = last.wrapping_add(1 << 31);
    assert!(matches!(store.lease(&zone, unordered), Err(StoreError::Serial { .. })));
}

#[test]
fn files_are_for_their_owner_only_and_an_open_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let store = Store::open(&state).unwrap();
    put(&store, &name("example.org."), b"x");
    assert_eq!(mode(&state), 0o700);
    for file in ["danelaw.db", "danelaw.db-wal", "danelaw.lock", "images/example.org.sig"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    drop(store);
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    let message = Store::open(&state).err().unwrap().to_string();
    assert!(message.contains("others can write") && message.contains("chmod 700"), "{message}");
}

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    let message = Store::open(folder.path()).err().unwrap().to_string();
    assert!(message.contains("another danelaw"), "{message}");
    drop(first);
    Store::open(folder.path()).unwrap();
}

#[test]
fn a_newer_schema_and_a_damaged_file_are_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.db.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let message = Store::open(folder.path()).err().unwrap().to_string();
    assert!(message.contains("schema version 99") && message.contains("newer danelaw"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("danelaw.db"), [0x41; 8192]).unwrap();
    let error = Store::open(folder.path()).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(".recover"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    for index in 0..500 {
        store.log(index, "published", "example.org.", "a line long enough to fill a page or two").unwrap();
    }
    store.close().unwrap();
    let path = folder.path().join("danelaw.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(folder.path()).err().unwrap();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn keys_once_seen_are_known_over_restarts_until_they_are_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let zone = name("example.org.");
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.known_keys(&zone).unwrap(), []);
    let key = KnownKey {
        zone: zone.clone(),
        algorithm: 13,
        tag: 4711,
        file: "example.org.13.4711.pem".to_owned(),
        first_seen: 100,
    };
    store.remember_key(&key).unwrap();
    store.remember_key(&KnownKey { first_seen: 200, ..key.clone() }).unwrap();
    drop(store);
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.known_keys(&name("Example.ORG.")).unwrap(), std::slice::from_ref(&key));
    assert!(store.forget_key(&zone, &key.file).unwrap());
    assert_eq!(store.known_keys(&zone).unwrap(), []);
}

#[test]
fn states_are_written_all_or_none_and_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let state = |key: &str, json: &str| State {
        kind: "tlsa".to_owned(),
        key: key.to_owned(),
        version: 1,
        json: json.to_owned(),
    };
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.load("tlsa", "a").unwrap(), None);
    store.save_all(&[state("b", "{}"), state("a", "{\"n\":1}")], &[]).unwrap();
    store.save(&state("a", "{\"n\":2}")).unwrap();
    drop(store);
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.load("tlsa", "a").unwrap(), Some((1, "{\"n\":2}".to_owned())));
    assert_eq!(store.load_all("tlsa").unwrap(), [state("a", "{\"n\":2}"), state("b", "{}")]);
    assert!(store.remove("tlsa", "a").unwrap());
    assert!(!store.remove("tlsa", "a").unwrap());
}

#[test]
fn events_come_newest_first_and_their_number_is_bounded() {
    let mut store = Store::ephemeral().unwrap();
    let events: Vec<Event> = (0..u64::from(MAX_EVENTS) + 50)
        .map(|time| Event {
            id: 0,
            time,
            kind: "published".to_owned(),
            subject: if time % 2 == 0 { "even." } else { "odd." }.to_owned(),
            text: String::new(),
        })
        .collect();
    store.save_all(&[], &events).unwrap();
    let newest = store.events(2, None).unwrap();
    assert_eq!(newest.iter().map(|event| event.time).collect::<Vec<_>>(), [10_049, 10_048]);
    assert_eq!(store.events(1, Some("even.")).unwrap()[0].time, 10_048);
    assert_eq!(store.events(u32::MAX, None).unwrap().len(), MAX_EVENTS as usize);
}

#[test]
fn a_damaged_or_cut_image_is_none_and_a_good_one_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let zone = name("Example.org.");
    assert_eq!(image(&store, &zone), None);
    put(&store, &zone, b"signatures");
    put(&store, &zone, b"newer signatures");
    assert_eq!(image(&store, &name("example.org.")).as_deref(), Some(&b"newer signatures"[..]));
    let path = folder.path().join("images/example.org.sig");
    let good = std::fs::read(&path).unwrap();
    for length in 0..good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        assert_eq!(image(&store, &zone), None, "cut to {length}");
    }
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert_eq!(image(&store, &zone), None, "bit flipped in {index}");
    }
    put(&store, &name("\\.\\.a/b.org."), b"x");
    assert_eq!(image(&store, &name("\\.\\.a/b.org.")).as_deref(), Some(&b"x"[..]));
    assert!(folder.path().join("images").read_dir().unwrap().count() >= 2, "a slash in a name stays in the folder");
}

/// What the test below starts and kills: itself, told a folder.
fn lease_for_ever(folder: &Path) -> ! {
    use std::io::Write;
    let mut store = Store::open(folder).unwrap();
    let zone = name("example.org.");
    loop {
        let serial = store.lease(&zone, 1).unwrap();
        writeln!(std::io::stderr(), "serial {serial}").unwrap();
    }
}

#[test]
fn kill_9_never_gives_a_serial_back() {
    use std::io::{BufRead, BufReader};
    if let Some(folder) = std::env::var_os("DANELAW_TEST_STATE") {
        lease_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 1..4u32 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::kill_9_never_gives_a_serial_back", "--nocapture"])
            .env("DANELAW_TEST_STATE", folder.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serials = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("serial ")?.parse::<u32>().ok());
        let mut taken = 0;
        for serial in serials {
            assert!(serial::is_after(serial, last), "{serial} after {last}");
            last = serial;
            taken += 1;
            if taken == 100 * round + 7 {
                // SIGKILL; what it printed until then is read to the end.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(taken > 100);
    }
    assert!(serial::is_after(Store::open(folder.path()).unwrap().lease(&name("example.org."), 1).unwrap(), last));
}

fn put(store: &Store, zone: &Name, image: &[u8]) {
    store.images().unwrap().store(&[(zone.clone(), image.to_vec())]).unwrap();
}

fn image(store: &Store, zone: &Name) -> Option<Vec<u8>> {
    store.images().unwrap().load(zone)
}

#[test]
fn many_images_are_written_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let images: Vec<(Name, Vec<u8>)> =
        (0..50u8).map(|number| (name(&format!("z{number}.test.")), vec![number; 10])).collect();
    store.images().unwrap().store(&images).unwrap();
    for (zone, octets) in &images {
        assert_eq!(image(&store, zone).as_ref(), Some(octets));
    }
}

#[test]
fn what_is_done_together_is_done_or_not_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let zone = name("example.org.");
    assert_eq!(store.lease(&zone, 5).unwrap(), 5);
    let state = State { kind: "k".to_owned(), key: "a".to_owned(), version: 1, json: "{}".to_owned() };
    let failed: Result<(), StoreError> = store.together(|store| {
        store.save(&state)?;
        assert_eq!(store.lease(&zone, 1000)?, 1000);
        Err(StoreError::Sqlite(rusqlite::Error::InvalidQuery))
    });
    assert!(failed.is_err());
    assert_eq!(store.load("k", "a").unwrap(), None);
    let next = store.lease(&zone, 6).unwrap();
    assert!(serial::is_after(next, 5) && next < 1000, "{next}");
    let done = store.together(|store| {
        store.save(&state)?;
        store.log(1, "kind", "subject", "text")?;
        store.lease(&zone, 2000)
    });
    assert_eq!(done.unwrap(), 2000);
    drop(store);
    let mut store = Store::open(folder.path()).unwrap();
    assert!(store.load("k", "a").unwrap().is_some());
    assert_eq!(store.events(10, None).unwrap().len(), 1);
    assert!(serial::is_after(store.lease(&zone, 1).unwrap(), 2000));
}
