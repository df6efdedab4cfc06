//! Each zone in `zones/` reads without a finding, and prints as the file of its name in `expected/` says.

use std::path::{Path, PathBuf};

use danelaw::dns::Name;
use danelaw::zone::print::print;
use danelaw::zone::{NoIncludes, parse};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn origin() -> Name {
    "example.org.".parse().expect("a name")
}

#[track_caller]
fn printed(file: &str, text: &[u8]) -> String {
    let parsed = parse(&origin(), file, text, &mut NoIncludes);
    let shown: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(shown.join("\n"), "");
    print(&parsed.contents.expect("no error, so a zone"))
}

#[test]
fn golden_zones_print_in_canonical_form() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder().join("zones")).expect("tests/golden/zones") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let text = std::fs::read(&path).expect("a zone");
        let out = printed(&file, &text);
        assert_eq!(printed(&file, out.as_bytes()), out, "{file}: what was printed reads back as the same zone");
        let expected = folder().join("expected").join(&file);
        if std::env::var_os("DANELAW_BLESS").is_some() {
            std::fs::write(&expected, &out).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&expected).unwrap_or_default(), out, "{file}");
        count += 1;
    }
    assert!(count >= 5, "zones are missing from tests/golden/zones");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let text = std::fs::read(folder().join("zones/crlf.zone")).expect("a zone");
    let marked = [b"\xef\xbb\xbf", &text[..]].concat();
    assert_eq!(printed("bom.zone", &marked), printed("crlf.zone", &text));
}

#[test]
fn every_type_of_the_table_is_in_the_golden_zone() {
    let text = std::fs::read(folder().join("zones/every-type.zone")).expect("a zone");
    let parsed = parse(&origin(), "every-type.zone", &text, &mut NoIncludes);
    for info in danelaw::dns::rtype::TYPES {
        assert!(parsed.records.iter().any(|placed| placed.record.rtype == info.rtype), "{}", info.mnemonic);
    }
}
