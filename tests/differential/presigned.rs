//! Zones that ldns and BIND signed, with every algorithm that can be checked: accepted, and answered as the peers answer them.

use std::path::Path;

use danelaw::dns::Rtype;
use danelaw::zone::presigned::{Finding, findings};
use danelaw::zone::{Contents, Denial, Draft, Published, print};

use super::common::{EXAMPLES, delegations, example, now, succeed, zone};
use super::examples::every_answer;

/// Algorithm numbers, as ldns-keygen and dnssec-keygen name them both, and the size of a key where it is to be told.
const ALGORITHMS: [(u8, &str, Option<&str>); 5] = [
    (8, "RSASHA256", Some("1280")),
    (10, "RSASHA512", Some("2048")),
    (13, "ECDSAP256SHA256", None),
    (14, "ECDSAP384SHA384", None),
    (15, "ED25519", None),
];

/// How each signer is told of the chain.
const CHAINS: [(&str, &[&str], &[&str]); 3] = [
    ("nsec", &[], &[]),
    ("nsec3", &["-n", "-t", "0"], &["-3", "-"]),
    ("opt-out", &["-n", "-p", "-t", "2", "-s", "aabb"], &["-3", "aabb", "-H", "2", "-A"]),
];

fn write(contents: &Contents, folder: &Path) -> String {
    let path = folder.join("zone");
    std::fs::write(&path, print::print(contents)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn ldns(contents: &Contents, algorithm: (u8, &str, Option<&str>), arguments: &[&str]) -> Contents {
    let folder = tempfile::tempdir().unwrap();
    let origin = contents.origin().to_host();
    let file = write(contents, folder.path());
    let signed = folder.path().join("signed").to_str().unwrap().to_owned();
    let mut command = std::process::Command::new("ldns-keygen");
    command.current_dir(folder.path()).args(["-k", "-a", algorithm.1]);
    command.args(algorithm.2.map(|bits| ["-b", bits]).into_iter().flatten());
    let output = command.arg(&origin).output().expect("ldns-keygen is needed here");
    assert!(output.status.success(), "{output:?}");
    let key = folder.path().join(String::from_utf8(output.stdout).unwrap().trim());
    let common = ["-o", &origin, "-f", &signed];
    succeed("ldns-signzone", &[&common, arguments, &[&file, key.to_str().unwrap()]].concat());
    zone(&origin, &std::fs::read_to_string(signed).unwrap())
}

fn bind(contents: &Contents, algorithm: (u8, &str, Option<&str>), arguments: &[&str]) -> Contents {
    let folder = tempfile::tempdir().unwrap();
    let origin = contents.origin().to_host();
    let file = write(contents, folder.path());
    let (keys, signed) = (folder.path().to_str().unwrap(), folder.path().join("signed"));
    for flags in [&["-f", "KSK"][..], &[]] {
        let bits = algorithm.2.map(|bits| ["-b", bits]);
        let bits: Vec<&str> = bits.iter().flatten().copied().collect();
        succeed("dnssec-keygen", &[&["-q", "-K", keys, "-a", algorithm.1], &bits[..], flags, &[&origin]].concat());
    }
    let common = ["-S", "-q", "-K", keys, "-d", keys, "-o", &origin, "-f", signed.to_str().unwrap(), "-O", "full"];
    succeed("dnssec-signzone", &[&common, arguments, &[&file]].concat());
    zone(&origin, &std::fs::read_to_string(signed).unwrap())
}

fn accepted(contents: &Contents, how: &str) -> Published {
    // Some are signed with what RFC 9276 advises against.
    let is_advice = |one: &Finding| one.rtype == Rtype::NSEC3PARAM && one.help.contains("RFC 9276");
    let found = findings(contents, None, Some(now())).found;
    let found: Vec<Finding> = found.into_iter().filter(|one| !is_advice(one)).collect();
    assert!(found.is_empty(), "{} signed by {how}: {found:#?}", contents.origin());
    let published = Draft::unsigned(contents).unwrap().finish(1).unwrap();
    assert_eq!(matches!(published.denial, Denial::Nsec3(_)), !how.contains("nsec under"), "{how}");
    published
}

#[test]
fn what_ldns_and_bind_sign_is_accepted() {
    for algorithm in ALGORITHMS {
        for (chain, for_ldns, for_bind) in CHAINS {
            for contents in [example("corners.example"), delegations()] {
                let how = |who| format!("{who}, {chain} under {}", algorithm.1);
                accepted(&ldns(&contents, algorithm, for_ldns), &how("ldns"));
                accepted(&bind(&contents, algorithm, for_bind), &how("BIND"));
            }
        }
    }
}

#[test]
fn every_example_is_accepted_as_ldns_and_bind_sign_it() {
    for origin in EXAMPLES {
        accepted(&ldns(&example(origin), ALGORITHMS[2], CHAINS[0].1), "ldns, nsec under 13");
        accepted(&bind(&example(origin), ALGORITHMS[2], CHAINS[1].2), "BIND, nsec3 under 13");
    }
}

#[test]
fn pre_signed_zones_are_answered_as_the_peers_answer_them() {
    let zones = [
        accepted(&ldns(&example("corners.example"), ALGORITHMS[0], CHAINS[1].1), "ldns, nsec3 under 8"),
        accepted(&bind(&delegations(), ALGORITHMS[2], CHAINS[2].2), "BIND, opt-out under 13"),
        accepted(&bind(&example("example.org"), ALGORITHMS[4], CHAINS[0].2), "BIND, nsec under 15"),
    ];
    every_answer(&zones);
}
