//! Real folders of reports: with gzip and without, and everything that somebody may send in a report's place.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// 2026-11-27T00:00:00Z.
const WRITTEN: u64 = 1_795_737_600;

fn report(organisation: &str, id: &str) -> Vec<u8> {
    format!(
        r#"{{
            "organization-name": "{organisation}",
            "date-range": {{ "start-datetime": "2026-11-26T00:00:00Z", "end-datetime": "2026-11-26T23:59:59Z" }},
            "report-id": "{id}",
            "policies": []
        }}"#
    )
    .into_bytes()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(octets).unwrap();
    packed.finish().unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file that was written so many seconds after the time that its report is of.
    fn write(&self, name: &str, octets: &[u8], at: u64) {
        let path = self.path().join(name);
        fs::write(&path, octets).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN + at)).unwrap();
    }

    /// The files that are reports, and those that are none with why.
    fn read(&self) -> (Vec<String>, Vec<(String, String)>) {
        let Seen { reports, unreadable } = read(self.path()).unwrap();
        let unreadable = unreadable.into_iter().map(|unreadable| (unreadable.file, unreadable.why));
        (reports.into_iter().map(|received| received.file).collect(), unreadable.collect())
    }

    /// Why the one file in it is no report.
    fn why(&self) -> String {
        let (reports, unreadable) = self.read();
        assert_eq!((reports.len(), unreadable.len()), (0, 1), "{reports:?} {unreadable:?}");
        unreadable.into_iter().map(|(_, why)| why).collect()
    }
}

#[test]
fn reports_are_read_with_gzip_and_without_the_newest_first() {
    let folder = Folder::new();
    let marked = [BYTE_ORDER_MARK, &report("b", "1")].concat();
    folder.write("a.example!example.org!1795651200!1795737599!001.json.gz", &gzip(&report("a", "1")), 100);
    folder.write("b.json", &marked, 300);
    // Named otherwise than it is.
    folder.write("c.json", &gzip(&report("c", "1")), 200);
    folder.write("d.json.gz", &report("d", "1"), 50);
    for other in ["notes.txt", "e.xml.gz", "json", "f.json.tmp"] {
        folder.write(other, b"something else", 400);
    }
    fs::create_dir(folder.path().join("folder.json")).unwrap();
    let (reports, unreadable) = folder.read();
    let first = "a.example!example.org!1795651200!1795737599!001.json.gz";
    assert_eq!(reports, ["b.json", "c.json", first, "d.json.gz"]);
    assert_eq!(unreadable, []);
    let found = read(folder.path()).unwrap();
    assert_eq!(found.reports[2].report.organization_name.as_deref(), Some("a"));
}

#[test]
fn a_report_that_came_twice_is_there_once() {
    let folder = Folder::new();
    folder.write("1.json", &report("a", "1"), 1);
    folder.write("2.json.gz", &gzip(&report("a", "1")), 2);
    folder.write("3.json", &report("b", "1"), 3);
    folder.write("4.json", &report("b", ""), 4);
    folder.write("5.json", &report("b", ""), 5);
    assert_eq!(folder.read().0, ["5.json", "4.json", "3.json", "2.json.gz"]);
}

#[test]
fn what_is_no_report_says_why() {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let packed = gzip(&report("a", "1"));
    for (octets, expected) in [
        (&b""[..], "it is no report (RFC 8460 section 4): EOF"),
        (b"{}", "missing field `date-range`"),
        (b"<feedback/>", "expected value at line 1"),
        (b"{\"date-range\": \"\xff\"}", "it is no report"),
        (b"{\"date-range\": \"\\u001b[2J\"}", "it is no report"),
        (&deep, "it is no report"),
        (&packed[..packed.len() - 9], "it does not unpack"),
        (&[GZIP, b"\x08\x00rest of nothing"].concat(), "it does not unpack"),
        (&vec![b' '; MAX_SIZE as usize + 1], "it has more than 1048576 octets"),
    ] {
        let folder = Folder::new();
        folder.write("a.json", octets, 7);
        let why = folder.why();
        assert!(why.contains(expected), "{why}");
        assert!(why.len() < 150 && !why.chars().any(char::is_control), "{why}");
        assert_eq!(read(folder.path()).unwrap().unreadable[0].at, WRITTEN + 7);
    }
}

#[test]
fn a_bomb_does_not_go_off() {
    let folder = Folder::new();
    let bomb = gzip(&vec![b' '; 2 * MAX_TEXT as usize]);
    assert!(bomb.len() < 20_000);
    folder.write("bomb.json.gz", &bomb, 1);
    assert_eq!(folder.why(), "it unpacks to more than 8388608 octets");
}

#[test]
fn many_bombs_that_are_just_small_enough_end_the_reading() {
    let folder = Folder::new();
    let large = gzip(&[report("a", ""), vec![b' '; (MAX_TEXT as usize) - 1000]].concat());
    for at in 1..=20 {
        folder.write(&format!("{at}.json.gz"), &large, at);
    }
    let (reports, unreadable) = folder.read();
    assert_eq!(reports.len(), 8, "{unreadable:?}");
    assert_eq!(unreadable.len(), 1);
    assert!(unreadable[0].1.starts_with("with it there are more than 67108864 octets"), "{unreadable:?}");
}

#[test]
fn of_many_files_the_newest_are_read() {
    let folder = Folder::new();
    for at in 0..MAX_FILES as u64 + 5 {
        folder.write(&format!("{at}.json"), &report("a", &at.to_string()), 1000 + at);
    }
    let (reports, unreadable) = folder.read();
    assert_eq!((reports.len(), unreadable.len()), (MAX_FILES, 0));
    assert_eq!((reports[0].as_str(), reports[MAX_FILES - 1].as_str()), ("1004.json", "5.json"));
}

#[test]
fn nothing_but_a_regular_file_of_the_folder_is_read() {
    let (folder, other) = (Folder::new(), Folder::new());
    other.write("a.json", &report("a", "1"), 1);
    symlink(other.path().join("a.json"), folder.path().join("a.json")).unwrap();
    symlink("/dev/zero", folder.path().join("b.json")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("c.json"), Mode::from(0o600)).unwrap();
    assert_eq!(folder.read(), (vec![], vec![]));
    // Put in the place of a file after the folder was listed.
    let directory = File::open(folder.path()).unwrap();
    for name in ["a.json", "b.json", "c.json"] {
        assert!(matches!(open(&directory, OsStr::new(name)), Err(FileError::NotRegular)), "{name}");
    }
    assert!(matches!(open(&directory, OsStr::new("d.json")), Err(FileError::Missing)));
}

#[test]
fn a_folder_that_is_not_there_is_no_empty_folder() {
    let folder = Folder::new();
    assert!(matches!(read(&folder.path().join("none")), Err(FileError::Missing)));
    folder.write("a", b"", 1);
    assert!(read(&folder.path().join("a")).is_err());
}

#[test]
fn a_report_of_a_time_to_come_is_none() {
    let folder = Folder::new();
    let ends =
        |end: &str| String::from_utf8(report("a", "")).unwrap().replace("2026-11-26T23:59:59Z", end).into_bytes();
    folder.write("1.json", &ends("2026-11-28T00:00:01Z"), 1);
    folder.write("2.json", &ends("2026-11-28T00:00:04Z"), 2);
    folder.write("3.json", &ends("9999-12-31T23:59:59Z"), 3);
    let (reports, unreadable) = folder.read();
    assert_eq!(reports, ["1.json"], "{unreadable:?}");
    let why = |end: &str| format!("it says that it is of the time until {end}, and was written before");
    let (third, second) = (why("9999-12-31T23:59:59Z"), why("2026-11-28T00:00:04Z"));
    assert_eq!(unreadable, [("3.json".to_owned(), third), ("2.json".to_owned(), second)]);
}
