//! Signed zones before the verifiers of ldns, BIND and Knot; answers before delv.

use std::path::{Path, PathBuf};

use danelaw::dns::Rtype;
use danelaw::dns::dnssec::Algorithm;
use danelaw::zone::{Published, Snapshot, print};

use super::common::{
    EXAMPLES, OPT_OUT, denials, edit, example, hashes, run, server, sign, sign_denying, snapshot, succeed,
};

const ALGORITHMS: [Algorithm; 2] = [Algorithm::EcdsaP256Sha256, Algorithm::Ed25519];

fn dump(published: &Published, folder: &Path) -> PathBuf {
    let path = folder.join("signed.zone");
    std::fs::write(&path, print::published(published)).unwrap();
    path
}

fn each_signed_example(test: impl Fn(&str, &Published, &str)) {
    let folder = tempfile::tempdir().unwrap();
    for origin in EXAMPLES {
        for algorithm in ALGORITHMS {
            for (_, denial) in denials() {
                let published = sign_denying(&example(origin), algorithm, denial);
                let path = dump(&published, folder.path());
                test(origin, &published, path.to_str().unwrap());
            }
        }
    }
}

#[test]
fn ldns_verify_zone_accepts_every_example() {
    each_signed_example(|_, _, path| {
        let said = succeed("ldns-verify-zone", &[path]);
        assert!(said.contains("Zone is verified and complete"), "{said}");
    });
}

#[test]
fn dnssec_verify_accepts_every_example() {
    each_signed_example(|origin, _, path| {
        // -z: the one key signs all, as a CSK does.
        let said = succeed("dnssec-verify", &["-z", "-o", origin, path]);
        assert!(said.contains("Zone fully signed"), "{said}");
    });
}

#[test]
fn kzonecheck_accepts_every_example() {
    each_signed_example(|origin, published, path| {
        std::fs::write(path, super::dump_with_generic_hip(published)).unwrap();
        succeed("kzonecheck", &["--dnssec", "on", "-o", origin, path]);
    });
}

#[test]
fn a_spoilt_signature_is_refused_by_all_three() {
    let folder = tempfile::tempdir().unwrap();
    let mut published = sign(&example("example.org"), Algorithm::EcdsaP256Sha256);
    let origin = published.origin().clone();
    edit(&mut published, &origin, Rtype::MX, |set| *set.rrsigs[0].last_mut().unwrap() ^= 1);
    let path = dump(&published, folder.path());
    let path = path.to_str().unwrap();
    assert!(!run("ldns-verify-zone", &[path]).status.success());
    assert!(!run("dnssec-verify", &["-z", "-o", "example.org", path]).status.success());
    assert!(!run("kzonecheck", &["--dnssec", "on", "-o", "example.org", path]).status.success());
}

/// What delv is asked, and what it has to say with the zone's key as its anchor.
const QUESTIONS: &[(&str, &str, &str, &str)] = &[
    ("example.org", "mail.example.org", "A", "; fully validated"),
    ("example.org", "example.org", "SOA", "; fully validated"),
    ("example.org", "example.org", "DNSKEY", "; fully validated"),
    ("example.org", "example.org", "CDS", "; fully validated"),
    ("example.org", "mail.example.org", "TXT", "; negative response, fully validated"),
    ("example.org", "nowhere.example.org", "A", "; negative response, fully validated"),
    ("example.org", "www.example.org", "AAAA", "; fully validated"),
    ("example.org", "_tcp.mail.example.org", "TLSA", "; negative response, fully validated"),
    ("corners.example", "any.wild.corners.example", "A", "; fully validated"),
    ("corners.example", "any.wild.corners.example", "AAAA", "; negative response, fully validated"),
    ("corners.example", "a.b.c.wild.corners.example", "TXT", "; fully validated"),
    ("corners.example", "here.wild.corners.example", "A", "; negative response, fully validated"),
    ("corners.example", "below.here.wild.corners.example", "A", "; negative response, fully validated"),
    ("corners.example", "below.wild.corners.example", "A", "; negative response, fully validated"),
    ("corners.example", "x.alias.corners.example", "A", "; fully validated"),
    ("corners.example", "ent.corners.example", "A", "; negative response, fully validated"),
    ("corners.example", "b.ent.corners.example", "TXT", "; negative response, fully validated"),
    ("corners.example", "chain1.corners.example", "A", "; fully validated"),
    ("corners.example", "x.tree.corners.example", "A", "; fully validated"),
    ("corners.example", "tree.corners.example", "DNAME", "; fully validated"),
    ("corners.example", "secure.corners.example", "DS", "; fully validated"),
    ("corners.example", "insecure.corners.example", "DS", "; negative response, fully validated"),
    ("corners.example", "we\\.ird\\032na\\255me.corners.example", "A", "; fully validated"),
    ("corners.example", "mixed.corners.example", "TXT", "; fully validated"),
    ("corners.example", "large.corners.example", "TXT", "; fully validated"),
    ("types.example", "https.types.example", "HTTPS", "; fully validated"),
    ("types.example", "unknown.types.example", "TYPE65280", "; fully validated"),
    ("types.example", "_443._tcp.ns.types.example", "TLSA", "; fully validated"),
    ("types.example", "naptr.types.example", "NAPTR", "; fully validated"),
];

/// Those of the names above whose answers are made from a wildcard.
const EXPANSIONS: [&str; 3] = ["any.wild.corners.example", "a.b.c.wild.corners.example", "x.alias.corners.example"];

#[test]
fn delv_validates_every_kind_of_answer() {
    for (kind, denial) in denials() {
        let signed = EXAMPLES
            .iter()
            .map(|origin| sign_denying(&example(origin), Algorithm::EcdsaP256Sha256, denial.clone()))
            .collect();
        delv_validates(kind, signed);
    }
}

fn delv_validates(kind: &str, signed: Vec<Published>) {
    let folder = tempfile::tempdir().unwrap();
    let address = server::serve(Snapshot::new(signed.iter().map(snapshot), []));
    let port = address.port().to_string();
    for published in &signed {
        let dnskey = published.set(published.origin(), Rtype::DNSKEY).unwrap().rrset;
        let text = danelaw::dns::text::print_rdata(Rtype::DNSKEY, &dnskey.rdatas[0]);
        let fields: Vec<&str> = text.splitn(4, ' ').collect();
        let anchor = format!(
            "trust-anchors {{ \"{}\" static-key {} {} {} \"{}\"; }};\n",
            published.origin(),
            fields[0],
            fields[1],
            fields[2],
            fields[3]
        );
        std::fs::write(folder.path().join(published.origin().to_host()), anchor).unwrap();
    }
    // An NSEC3's owner does not exist, nor does what is below it (RFC 5155 section 7.2.8).
    let hashes: Vec<(String, String)> = signed
        .iter()
        .filter_map(|published| Some((published.origin().to_host(), hashes(published).first()?.to_host())))
        .flat_map(|(origin, owner)| [(origin.clone(), format!("0.{owner}")), (origin, owner)])
        .collect();
    assert_eq!(hashes.is_empty(), kind == "nsec");
    let absent = "; negative response, fully validated";
    let hashes = hashes.iter().map(|(origin, owner)| (origin.as_str(), owner.as_str(), "A", absent));
    for (origin, name, rtype, expected) in QUESTIONS.iter().copied().chain(hashes) {
        let anchor = folder.path().join(origin);
        let root = format!("+root={origin}");
        let arguments = ["@127.0.0.1", "-p", &port, "-a", anchor.to_str().unwrap(), &root, name, rtype];
        let said = run("delv", &arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        // RFC 5155 section 9.2: that opt-out's span has no closer name is not proven, so an expansion is not authenticated.
        if kind == OPT_OUT && EXPANSIONS.contains(&name) && expected == "; fully validated" {
            assert!(said.contains("; unsigned answer"), "{kind}: delv {name} {rtype}:\n{said}");
            continue;
        }
        assert!(said.contains(expected), "{kind}: delv {name} {rtype}, expected {expected:?}:\n{said}");
        assert!(!said.contains("; unsigned answer"), "{kind}: delv {name} {rtype}:\n{said}");
    }
}
