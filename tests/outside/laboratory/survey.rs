//! DNSViz looks at the delegations and the nameservers, from the root down: it asks every server of every zone by itself, and names
//! what is wrong in its own words.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Laboratory, ROOT};

/// Each error and warning that it has of some domains.
const FOUND: &[(&str, &[&str])] = &[
    ("whole.org", &[]),
    ("ds-missing.org", &[]),
    ("ds-unknown-key.org", &["MISSING_SEP_FOR_ALG", "NO_SEP"]),
    ("ds-wrong-digest.org", &["DIGEST_INVALID", "NO_SEP"]),
    ("ds-algorithm.org", &["DIGEST_ALGORITHM_NOT_SUPPORTED"]),
    ("ds-stale.org", &["MISSING_SEP_FOR_ALG", "NO_SEP"]),
    ("parent-unsigned.plain", &[]),
    ("zone-bogus.org", &["NO_SEP", "SIGNATURE_INVALID"]),
    ("ns-differs.org", &["NS_NAME_NOT_IN_PARENT"]),
    ("glue-missing.org", &["MISSING_GLUE_FOR_NS_NAME"]),
    ("nameserver-without-address.org", &["NO_ADDRESS_FOR_NS_NAME"]),
    ("lame.org", &["SERVER_INVALID_RESPONSE_TCP", "SERVER_INVALID_RESPONSE_UDP"]),
    ("no-tcp.org", &["SERVER_UNRESPONSIVE_TCP"]),
    ("no-udp.org", &["SERVER_UNRESPONSIVE_UDP"]),
    ("serial-behind.org", &[]),
    ("signature-expired.org", &["EXPIRATION_IN_PAST", "NO_SEP"]),
    ("signature-expiring.org", &[]),
    (
        "signature-missing.org",
        &[
            "DNSKEY_MISSING_FROM_SERVERS",
            "MISSING_NSEC_FOR_NODATA",
            "MISSING_NSEC_FOR_NXDOMAIN",
            "MISSING_RRSIG",
            "MISSING_SEP_FOR_ALG",
            "NO_SEP",
        ],
    ),
    ("denial-fails.org", &["MISSING_NSEC_FOR_NODATA", "MISSING_NSEC_FOR_NXDOMAIN"]),
];

/// What it finds otherwise.
pub fn differences(laboratory: &Laboratory) -> Vec<String> {
    let all: Vec<&Expected> = FOUND.iter().collect();
    // DNSViz gives up on a server that is slow for a moment: what differs is looked at once more, by itself.
    let differing: Vec<&Expected> = probe(laboratory, &all).into_iter().map(|(expected, _)| expected).collect();
    if differing.is_empty() {
        Vec::new()
    } else {
        probe(laboratory, &differing).into_iter().map(|(_, text)| text).collect()
    }
}

/// A domain, and the codes that are found there.
type Expected = (&'static str, &'static [&'static str]);

/// The domains where it finds something else, and what.
fn probe<'a>(laboratory: &Laboratory, domains: &[&'a Expected]) -> Vec<(&'a Expected, String)> {
    let probed = laboratory.folder.path().join("probed.json").display().to_string();
    let root = format!(".:a.rootns={ROOT}");
    let arguments = ["probe", "-4", "-A", "-a", ".", "-x", &root, "-t", "8", "-o", &probed];
    let zones = domains.iter().map(|(zone, _)| *zone);
    laboratory.namespace.succeed("dnsviz", &arguments.into_iter().chain(zones).collect::<Vec<_>>());
    let said = laboratory.namespace.succeed("dnsviz", &["grok", "-l", "warning", "-r", &probed]);
    let told: BTreeMap<String, Value> = serde_json::from_str(&said).unwrap();
    let compare = |expected: &&'a Expected| {
        let (zone, wanted) = **expected;
        let mut found = BTreeSet::new();
        told.get(&format!("{zone}.")).into_iter().for_each(|told| codes(told, &mut found));
        let wanted: BTreeSet<String> = wanted.iter().map(|code| (*code).to_owned()).collect();
        let text = || format!("dnsviz {zone}: {wanted:?} was expected, and it finds {found:?}");
        (found != wanted).then(|| (*expected, text()))
    };
    domains.iter().filter_map(compare).collect()
}

fn codes(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| codes(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                if matches!(key.as_str(), "errors" | "warnings") {
                    found
                        .extend(value.as_array().unwrap().iter().map(|item| item["code"].as_str().unwrap().to_owned()));
                } else {
                    codes(value, found);
                }
            }
        }
        _ => {}
    }
}
