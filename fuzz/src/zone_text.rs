//! Any text as a zone file: what is read prints and reads again, is signed in every way, and answers about every name in it.
//!
//! Behind a form feed stands what `$INCLUDE part` gives.

use danelaw::answer::{Context, Transport};
use danelaw::dns::{Name, Rtype};
use danelaw::zone::print::{print, published};
use danelaw::zone::{
    Contents, Draft, Includes, NoIncludes, Parsed, Published, Severity, SigningMode, Snapshot, ZoneSnapshot, lint,
    parse, presigned,
};

use super::exchange::{ask, query};
use super::signing::{NOW, Stamp, denials, sign};

/// A zone with more records is read only: signing it takes long, and finds nothing that a small one doesn't.
const MOST: usize = 300;
/// Of so many owners is asked.
const ASKED: usize = 16;

struct Part<'a>(&'a [u8]);

impl Includes for Part<'_> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if path == "part" { Ok(self.0.to_vec()) } else { Err("there is part only".to_owned()) }
    }
}

/// Reads it and does with it what a server does.
pub fn check(input: &[u8]) {
    let origin = Name::parse("example.org.", None).unwrap();
    let cut = input.iter().position(|&octet| octet == 0x0c).unwrap_or(input.len());
    let part = input.get(cut + 1..).unwrap_or_default();
    let parsed = parse(&origin, "zone", &input[..cut], &mut Part(part));
    told(&parsed);
    let Some(contents) = &parsed.contents else { return };
    let text = print(contents);
    let again = parse(&origin, "printed", text.as_bytes(), &mut NoIncludes);
    let read = again.contents.unwrap_or_else(|| panic!("{:?}\n{text}", again.diagnostics));
    assert!(read == *contents && print(&read) == text, "printed and read:\n{text}\nand again:\n{}", print(&read));
    assert_eq!(parsed.serial, again.serial);
    if contents.record_count() <= MOST {
        served(contents);
    }
}

/// Its findings can be told, and a zone without errors is one.
fn told(parsed: &Parsed) {
    assert_eq!(parsed.contents.is_some(), parsed.diagnostics.is_empty());
    let mut findings = parsed.diagnostics.clone();
    for mode in [SigningMode::Csk, SigningMode::Presigned, SigningMode::None] {
        let warnings = lint(parsed, mode);
        assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
        findings.extend(warnings);
    }
    findings.extend(presigned::check(parsed, None, Some(NOW)).0);
    for finding in findings {
        assert!(finding.line > 0 && finding.column > 0 && finding.width > 0);
        let shown = finding.to_string();
        assert!(
            !shown.chars().any(|one| one.is_control() && !matches!(one, '\n' | '\t')),
            "a terminal obeys {shown:?}"
        );
    }
}

fn served(contents: &Contents) {
    for denial in denials() {
        let signed = sign(contents, &Stamp, denial.clone());
        let signed = signed.unwrap_or_else(|error| panic!("{error}\n{}", print(contents)));
        let text = published(&signed);
        let again = parse(contents.origin(), "published", text.as_bytes(), &mut NoIncludes);
        let read = again.contents.unwrap_or_else(|| panic!("{:?}\n{text}", again.diagnostics));
        assert_eq!(print(&read), text, "published and read");
        answers(&signed, false);
    }
    if let Ok(draft) = Draft::unsigned(contents) {
        answers(&draft.finish(1).unwrap(), true);
    }
}

/// Of every owner, of what stands above it and of what doesn't exist below it.
fn answers(zone: &Published, is_unsigned: bool) {
    // Too large for a message is the only reason not to be laid out.
    let Ok(laid_out) = ZoneSnapshot::build(zone) else { return };
    let snapshot = Snapshot::new([laid_out.into()], []);
    let datagram = Context::new([192, 0, 2, 1].into(), Transport::Udp, NOW);
    for (number, (owner, set)) in zone.sets().take(ASKED).enumerate() {
        let below = owner.prepend(b"x").unwrap_or_else(|_| owner.clone());
        for (name, rtype) in [(&owner, set.rrset.rtype), (&owner, Rtype::DS), (&below, Rtype::A)] {
            let asked = query(name, rtype, number % 4 != 0);
            let response = ask(&snapshot, &datagram, &asked, &|_| is_unsigned).unwrap();
            assert!(matches!(response.rcode, 0 | 3 | 6), "{name} {rtype}: {response:?}");
        }
    }
}
