//! What looks at a delegation as a whole, from the root down: DNSViz and Zonemaster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::universe::{KINDS, MAIL_DOMAIN, ROOT, TLSA, Universe};

/// Zones that are signed from the root down, the root left out.
fn secure() -> Vec<String> {
    let kinds = KINDS.iter().flat_map(|(label, _)| [format!("{label}.example"), format!("secure.{label}.example")]);
    ["org", "example", "arpa", MAIL_DOMAIN].map(str::to_owned).into_iter().chain(kinds).collect()
}

/// Zones below a delegation without DS.
fn insecure() -> Vec<String> {
    let kinds = KINDS.iter().map(|(label, _)| format!("insecure.{label}.example"));
    ["unsigned.example", "plain.org"].map(str::to_owned).into_iter().chain(kinds).collect()
}

/// Zones that are broken, and how DNSViz and Zonemaster call what is wrong with them.
const BROKEN: [(&str, &str, &str); 3] = [
    ("spoilt.example", "SIGNATURE_INVALID", "DS10_NSEC_RRSIG_VERIFY_ERROR"),
    ("expired.example", "EXPIRATION_IN_PAST", "RRSIG_EXPIRED"),
    ("foreign.example", "DIGEST_INVALID", "DS02_NO_MATCH_DS_DNSKEY"),
];

/// DNSViz asks every server of every zone, over both families, UDP and TCP.
#[test]
fn dnsviz_finds_neither_errors_nor_warnings_where_nothing_is_broken() {
    let universe = Universe::new();
    let (secure, insecure) = (secure(), insecure());
    let (probed, trusted) = probe(&universe, &secure, &insecure);

    let grokked = universe.namespace.succeed("dnsviz", &["grok", "-l", "warning", "-r", &probed]);
    let grokked: Value = serde_json::from_str(&grokked).unwrap();
    let mut found = BTreeSet::new();
    for (name, told) in grokked.as_object().unwrap() {
        let before = found.len();
        codes(told, name, &mut found);
        assert!(found.len() > before, "{name} is told of for no reason: {told}");
    }
    for (zone, code, _) in BROKEN {
        assert!(found.contains(&format!("{zone}. errors {code}")), "{code} of {zone}: {found:#?}");
    }
    found.retain(|line| !BROKEN.iter().any(|(zone, ..)| line.starts_with(zone)));
    assert!(found.is_empty(), "{found:#?}");

    // DNSViz 0.9.4 has no `grok -t` together with pygraphviz 1.7. `print -t` tells the trust as well: of a zone, and of
    // the delegation to it.
    let printed = universe.namespace.succeed("dnsviz", &["print", "-t", &trusted, "-r", &probed]);
    let has = |line: String| assert!(format!("\n{printed}").contains(&line), "{line:?} is missing in\n{printed}");
    has("\n. [.]\n".to_owned());
    has(format!("\n{TLSA}\n  [.]  TLSA: 3 1 1 "));
    secure.iter().for_each(|zone| has(format!("\n{zone} [.] [.]\n")));
    insecure.iter().for_each(|zone| has(format!("\n{zone} [-] [-]\n")));
}

/// Asks what DNSViz asks; gives its file, and one with the root's key.
fn probe(universe: &Universe, secure: &[String], insecure: &[String]) -> (String, String) {
    let servers = ROOT.iter().map(|(name, v4, v6)| format!("{name}={v4},{name}=[{v6}]"));
    let root = format!(".:{}", servers.collect::<Vec<_>>().join(","));
    let probed = universe.file("probed.json", "");
    let broken = BROKEN.map(|(zone, ..)| zone.to_owned());
    let zones = secure.iter().chain(insecure).chain(&broken).map(String::as_str).chain([".", TLSA]);
    // The servers of the root, and to begin there.
    let arguments = ["probe", "-A", "-a", ".", "-x", &root, "-o", &probed];
    let arguments: Vec<&str> = arguments.into_iter().chain(zones).collect();
    universe.namespace.succeed("dnsviz", &arguments);
    let server = format!("@{}", ROOT[0].1);
    let key = universe.namespace.succeed("dig", &[&server, "+noall", "+answer", ".", "DNSKEY"]);
    (probed, universe.file("root.key", &key))
}

/// Collects `name errors CODE` and `name warnings CODE`.
fn codes(value: &Value, name: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| codes(item, name, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                if matches!(key.as_str(), "errors" | "warnings") {
                    let listed = value.as_array().unwrap().iter();
                    found.extend(listed.map(|item| format!("{name} {key} {}", item["code"].as_str().unwrap())));
                } else {
                    codes(value, name, found);
                }
            }
        }
        _ => {}
    }
}

/// What Zonemaster notes, and why it stays.
const NOTED: [(&str, &str); 2] = [
    // So it is meant.
    ("unsigned.example", "NOT_SIGNED"),
    ("unsigned.example", "NEITHER_DNSKEY_NOR_DS"),
];

/// Zonemaster with all of its test cases, over both families, on what is delegated to two servers.
#[test]
fn zonemaster_finds_nothing_wrong_where_nothing_is_broken() {
    let universe = Universe::new();
    let kinds = KINDS.iter().map(|(label, _)| format!("{label}.example"));
    let zones = ["org", "example", "arpa", MAIL_DOMAIN, "unsigned.example"].map(str::to_owned).into_iter().chain(kinds);
    let mut found = Vec::new();
    let mut ran = 0;
    for zone in zones {
        let told = zonemaster(&universe, &zone);
        ran += told.len();
        let expected = |(level, tag): &(String, String)| level == "INFO" || NOTED.contains(&(zone.as_str(), tag));
        found.extend(told.into_iter().filter(|(message, _)| !expected(message)).map(|told| (zone.clone(), told)));
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(ran > 500, "only {ran} messages");

    for (zone, _, tag) in BROKEN {
        let mut told = zonemaster(&universe, zone);
        told.retain(|((level, _), _)| level != "INFO");
        assert!(told.iter().any(|(message, _)| *message == ("ERROR".to_owned(), tag.to_owned())), "{tag}: {told:#?}");
    }
}

/// Level and tag, and arguments, of what it says at INFO and above.
fn zonemaster(universe: &Universe, zone: &str) -> Vec<((String, String), String)> {
    // Who has an address is a question to the laboratory, too.
    let profile = r#"{"asn_db": {"style": "cymru", "sources": {"cymru": ["asn"]}}}"#;
    let (hints, profile) = (universe.hints(), universe.file("profile.json", profile));
    let arguments = ["--hints", &hints, "--profile", &profile, "--level", "INFO", "--json", "--no-progress", zone];
    let said = universe.namespace.succeed("zonemaster-cli", &arguments);
    // Before it stands which profile it loads.
    let told: Value = serde_json::from_str(&said[said.find('[').unwrap_or_default()..]).unwrap();
    let text = |message: &Value, key: &str| message[key].as_str().unwrap().to_owned();
    let messages = told.as_array().unwrap().iter();
    messages.map(|message| ((text(message, "level"), text(message, "tag")), message["args"].to_string())).collect()
}
