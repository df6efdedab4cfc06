//! The arrows of the house: which room may name which. The table stands in `src/lib.rs`, and here as code.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms, and the rooms that each may name. Its own is always allowed.
const ARROWS: &[(&str, &[&str])] = &[
    ("dns", &[]),
    ("zone", &["dns"]),
    ("dane", &["dns"]),
    ("keys", &["dns"]),
    ("answer", &["dns", "zone"]),
    ("transfer", &["dns", "zone"]),
    ("update", &["dns", "zone"]),
    ("outside", &["dns", "zone", "dane"]),
    ("acme", &["dns", "dane"]),
    ("tell", &["dns"]),
    ("config", &["dns", "zone", "dane", "keys", "answer", "update", "outside", "acme", "tell"]),
    ("crash", &[]),
    ("observe", &["crash", "dns", "zone", "dane", "keys", "answer", "outside", "config"]),
    ("act", &["crash", "dns", "zone", "dane", "keys", "answer", "transfer", "update", "acme", "tell", "config"]),
    ("serve", &["crash", "dns", "zone", "dane", "keys", "answer", "transfer", "update", "config"]),
    ("store", &["crash", "dns", "zone", "dane", "keys", "answer", "config"]),
    ("plugin", &["dns", "zone", "dane", "keys", "answer"]),
    (
        "keeper",
        &[
            "crash", "dns", "zone", "dane", "keys", "answer", "transfer", "update", "outside", "acme", "tell",
            "config", "observe", "act", "serve", "store",
        ],
    ),
    (
        "cli",
        &[
            "crash", "dns", "zone", "dane", "keys", "answer", "transfer", "update", "outside", "acme", "tell",
            "config", "observe", "act", "serve", "store", "keeper", "plugin",
        ],
    ),
];

/// Rooms that are functions of values: none of these words may stand in them, tests aside.
const PURE: &[&str] = &["dns", "zone", "dane", "keys", "answer", "transfer", "update", "outside", "acme", "tell"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::Udp",
    "std::net::Tcp",
    "std::env",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant::now",
    "tokio",
    "tracing",
    "rusqlite",
    "rustix",
    "notify::",
];

/// What every answer goes through, and what waits for another thread: there is none of it there.
const ANSWERING: &[&str] =
    &["answer", "dns", "zone/snapshot", "zone/tree", "serve/udp", "serve/mmsg", "serve/authentic", "serve/rate"];
const WAITING: &[&str] =
    &["Mutex", "RwLock", "Condvar", ".lock()", ".read()", ".write()", "Barrier", "park(", "Semaphore"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn rust_files(at: &Path, found: &mut Vec<PathBuf>) {
    if at.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            rust_files(&entry.unwrap().path(), found);
        }
    } else if at.extension().is_some_and(|extension| extension == "rs") {
        found.push(at.to_owned());
    }
}

fn files_of(room: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in [source().join(room), source().join(format!("{room}.rs"))] {
        if path.exists() {
            rust_files(&path, &mut files);
        }
    }
    assert!(!files.is_empty(), "the room {room} has no files");
    files.sort();
    files
}

/// A file's code: comments and what stands under `#[cfg(test)]` at its end left out.
fn code(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    if name == "tests.rs" || name.ends_with("_tests.rs") || path.components().any(|part| part.as_os_str() == "tests") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The rooms that a text names as `crate::room` or within `use crate::{…}`.
fn named(code: &str) -> BTreeSet<String> {
    let word =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut rooms = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let Some(group) = after.strip_prefix('{') else {
            rooms.insert(word(after));
            continue;
        };
        let mut depth = 0;
        rooms.insert(word(group));
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    rooms.insert(word(&group[at + 1..]));
                }
                _ => {}
            }
        }
    }
    rooms
}

#[test]
fn every_room_names_only_the_rooms_that_it_may() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    let mut broken = Vec::new();
    for (room, may) in ARROWS {
        for file in files_of(room) {
            for other in named(&code(&file)) {
                if other != *room && rooms.contains(other.as_str()) && !may.contains(&other.as_str()) {
                    broken.push(format!("{}: {room} names {other}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_answer_takes_a_lock() {
    let mut looked_at = 0;
    for part in ANSWERING {
        for file in files_of(part) {
            looked_at += 1;
            let code = code(&file);
            let found: Vec<_> = WAITING.iter().filter(|word| code.contains(**word)).collect();
            assert!(found.is_empty(), "{}: {found:?}", file.display());
        }
    }
    assert!(looked_at > 40, "{looked_at} files");
}

#[test]
fn every_room_has_its_arrows() {
    let mut rooms: Vec<String> = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|room| room != "lib" && room != "main")
        .collect();
    rooms.sort();
    rooms.dedup();
    let mut known: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    known.sort_unstable();
    assert_eq!(rooms, known);
}

#[test]
fn the_pure_rooms_touch_no_file_socket_clock_or_environment() {
    let mut broken = Vec::new();
    for room in PURE {
        for file in files_of(room) {
            let code = code(&file);
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                broken.push(format!("{}: {word}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    assert!(files.len() > 40, "only {} files", files.len());
    for file in files {
        assert!(fs::read_to_string(&file).unwrap().starts_with("//! "), "{} has no opening line", file.display());
    }
}

#[test]
fn the_reader_of_arrows_sees_both_forms() {
    let seen = named(
        "use crate::dns::{Name, RRset};\nuse crate::{act, store::Store, zone::sign::{Policy, x}};\nfn f() -> crate::answer::Context {}",
    );
    let expected = ["act", "answer", "dns", "store", "zone"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(expected));
}
