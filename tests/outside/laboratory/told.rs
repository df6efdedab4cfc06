//! What `danelaw check --online` says of the laboratory's domains, against the table of faults. All differences are found, not the
//! first alone.

use std::collections::BTreeSet;

use danelaw::outside::Fault;
use serde_json::{Value, json};

use super::faults::{ADORNED, BELOW, BESIDE, CUSTOMER, HERE, NOT_HERE, PARKED, ROWS, Row, WHOLE};
use super::tools::each;
use super::{Laboratory, said};

/// The domains without a fault.
const SOUND: [&str; 3] = [WHOLE, ADORNED, PARKED];

/// One check as it is told.
#[derive(Debug)]
struct Told {
    fault: Option<String>,
    subject: String,
    level: String,
    evidence: String,
    help: String,
}

/// What is told of a domain: its level, the exit code, and the checks.
struct Report {
    level: String,
    code: Option<i32>,
    checks: Vec<Told>,
}

/// Before anything is wrong: what is told of the domains without a fault.
pub fn whole(laboratory: &Laboratory) -> Vec<String> {
    let look = |label: &&str| match ask(laboratory, &[], &laboratory.zone(label).name()) {
        Ok(report) => without_fault(label, &report),
        Err(why) => vec![why],
    };
    let mut found = each(&SOUND, look).concat();
    match ask(laboratory, &[], CUSTOMER) {
        Ok(report) => found.extend(without_fault(CUSTOMER, &report)),
        Err(why) => found.push(why),
    }
    found
}

/// All that is told otherwise than the table says.
pub fn faults(laboratory: &Laboratory) -> Vec<String> {
    let compare = |zone: &super::zones::Zone| match ask(laboratory, &[], &zone.name()) {
        Ok(report) if SOUND.contains(&zone.label) => without_fault(zone.label, &report),
        Ok(report) => compared(zone.label, &report),
        Err(why) => vec![why],
    };
    let mut found = each(&laboratory.zones, compare).concat();
    match ask(laboratory, &[], BELOW) {
        Ok(report) => found.extend(without_fault(BELOW, &report)),
        Err(why) => found.push(why),
    }
    found.extend(status(laboratory));
    found
}

/// What is told where this machine is to blame: its clock, and a resolver that is not there any more.
pub fn here(laboratory: &mut Laboratory) -> Vec<String> {
    let mut found = Vec::new();
    let name = laboratory.zone(WHOLE).name();
    for row in HERE {
        let before: &[&str] = match row.zone {
            "clock" => &["faketime", "-f", "+3y"],
            _ => {
                laboratory.stop_resolver();
                &[]
            }
        };
        match ask(laboratory, before, &name) {
            Ok(report) => found.extend(missing(row, &report)),
            Err(why) => found.push(why),
        }
    }
    found
}

/// What is wrong with a domain without a fault.
fn without_fault(label: &str, report: &Report) -> Vec<String> {
    let told = report.checks.iter().filter(|told| told.fault.is_some() || told.level != "ok");
    let mut found: Vec<String> = told.map(|told| format!("{label}: told without being there: {told:?}")).collect();
    if report.checks.is_empty() {
        found.push(format!("{label}: nothing was looked at"));
    }
    found
}

fn compared(label: &str, report: &Report) -> Vec<String> {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.zone == label).collect();
    let mut found: Vec<String> = rows.iter().filter_map(|row| missing(row, report)).collect();
    let beside: Vec<&str> =
        BESIDE.iter().filter(|(zone, _)| *zone == label).flat_map(|(_, faults)| faults.iter().copied()).collect();
    // A domain with warnings alone can be looked at whole.
    let is_seen = rows.iter().all(|row| row.level == "warning");
    for told in &report.checks {
        let Some(fault) = &told.fault else {
            if is_seen && told.level != "ok" {
                found.push(format!("{label}: it can't be told: {told:?}"));
            }
            continue;
        };
        let is_known = rows.iter().any(|row| row.fault == fault) || beside.contains(&fault.as_str());
        if !is_known {
            found.push(format!("{label}: told without being expected: {told:?}"));
        }
        if told.help.is_empty() {
            found.push(format!("{label}: no help: {told:?}"));
        }
    }
    let code = match report.level.as_str() {
        "ok" => 0,
        "warning" => 1,
        "critical" => 2,
        _ => 3,
    };
    if report.code != Some(code) {
        found.push(format!("{label}: {}, and exit code {:?}", report.level, report.code));
    }
    found
}

/// How a row is not told.
fn missing(row: &Row, report: &Report) -> Option<String> {
    let of_fault: Vec<&Told> = report.checks.iter().filter(|told| told.fault.as_deref() == Some(row.fault)).collect();
    let is_it = |told: &&&Told| {
        told.subject.contains(row.subject)
            && told.level == row.level
            && row.evidence.iter().all(|part| told.evidence.contains(part))
    };
    if of_fault.iter().any(|told| is_it(&told)) {
        return None;
    }
    let Row { zone, fault, subject, evidence, level } = row;
    Some(format!(
        "{zone}: {level} {fault} of {subject:?} with {evidence:?} is not told; of that name there are: {of_fault:?}"
    ))
}

/// What the running server sees by itself, among others.
pub const SEEN: &[&str] = &[
    "chain-without-anchor",
    "dkim-revoked",
    "dmarc-missing",
    "ds-missing",
    "ds-wrong-digest",
    "glue-differs",
    "lame",
    "mx-without-address",
    "no-tcp",
    "ptr-missing",
    "serial-ahead",
    "serial-behind",
    "signature-expired",
    "spf-several",
    "starttls-missing",
    "tls-refused",
    "tlsa-mismatch",
    "tlsa-stale",
];

/// Those of them that it has not found yet.
pub fn unseen(laboratory: &Laboratory) -> Vec<&'static str> {
    let said = laboratory.danelaw(&["status", "--json"]);
    let status: Value = serde_json::from_str(&said).unwrap_or_default();
    let looked = status["outside"].as_array().into_iter().flatten();
    let checks = looked.filter_map(|one| one["checks"].as_array()).flatten();
    let found: BTreeSet<&str> = checks.filter_map(|check| check["fault"].as_str()).collect();
    SEEN.iter().copied().filter(|fault| !found.contains(fault)).collect()
}

/// What `danelaw status` has of it is what the running server has seen by itself.
fn status(laboratory: &Laboratory) -> Vec<String> {
    let said = laboratory.danelaw(&["status", "--json"]);
    let Ok(status) = serde_json::from_str::<Value>(&said) else { return vec![format!("status: {said}")] };
    let Some(outside) = status["outside"].as_array() else {
        return vec!["status has no list of what is seen from outside".to_owned()];
    };
    let has_checks = |seen: &&Value| seen["at"].is_u64() && seen["checks"].is_array();
    outside.iter().filter(|seen| !has_checks(seen)).map(|seen| format!("status: {seen}")).collect()
}

/// Looks at a domain from inside the laboratory; `before`: by which program.
fn ask(laboratory: &Laboratory, before: &[&str], domain: &str) -> Result<Report, String> {
    let zone = laboratory.zones.iter().find(|zone| zone.name() == domain);
    let ports: String = zone.and_then(|zone| zone.other).map_or_else(String::new, |(port, _)| format!("--port={port}"));
    let arguments = ["check", "--online", domain, "--json", &ports];
    let output = laboratory.command(before, &arguments[..if ports.is_empty() { 4 } else { 5 }]);
    let report =
        serde_json::from_slice(&output.stdout).ok().and_then(|reports| read(&reports, domain, output.status.code()));
    report.ok_or_else(|| format!("{domain}: no report, {}: {}", output.status, said(&output)))
}

fn read(reports: &Value, domain: &str, code: Option<i32>) -> Option<Report> {
    let is_it = |report: &&Value| report["domain"].as_str().is_some_and(|name| name.trim_end_matches('.') == domain);
    let report = reports.as_array()?.iter().find(is_it)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let check = |check: &Value| Told {
        fault: check["fault"].as_str().map(str::to_owned),
        subject: text(&check["subject"]),
        level: text(&check["level"]),
        evidence: text(&check["evidence"]),
        help: text(&check["help"]),
    };
    let checks = report["checks"].as_array()?.iter().map(check).collect();
    Some(Report { level: text(&report["level"]), code, checks })
}

/// The table has the faults that there are, with their levels.
#[test]
fn the_table_is_danelaws() {
    for fault in Fault::ALL.iter().map(ToString::to_string) {
        let has_row = ROWS.iter().chain(HERE).any(|row| row.fault == fault);
        assert!(has_row != NOT_HERE.contains(&fault.as_str()), "{fault}");
    }
    for row in ROWS.iter().chain(HERE) {
        let fault = Fault::ALL.iter().find(|fault| fault.to_string() == row.fault).unwrap();
        assert_eq!(fault.level().to_string(), row.level, "{}", row.fault);
    }
    for fault in BESIDE.iter().flat_map(|(_, faults)| *faults) {
        assert!(Fault::ALL.iter().any(|known| known.to_string() == *fault), "{fault}");
    }
}

/// What is told as the table says is no difference, and everything else is.
#[test]
fn a_report_is_held_against_the_table() {
    let check = json!({"area": "nameserver", "subject": "ns2.org. 88.198.6.53", "level": "warning", "fault": "serial-behind",
        "evidence": "it has 1, and the primary 2", "help": "see why"});
    let with = |key: &str, value: Value| {
        let mut other = check.clone();
        other[key] = value;
        other
    };
    let judged = |checks: Value, code: i32| {
        let reports = json!([{"domain": "serial-behind.org.", "at": 1, "level": "warning", "checks": checks}]);
        compared("serial-behind", &read(&reports, "serial-behind.org", Some(code)).unwrap()).len()
    };
    let fine = json!({"area": "mx", "subject": "serial-behind.org.", "level": "ok", "fault": null, "evidence": "", "help": ""});
    assert_eq!(judged(json!([fine, check]), 1), 0);
    assert_eq!(judged(json!([fine]), 1), 1);
    assert_eq!(judged(json!([check]), 0), 1);
    for (key, value) in [("subject", "ns3.org."), ("level", "critical"), ("help", "")] {
        assert_eq!(judged(json!([with(key, value.into())]), 1), 1, "{key}");
    }
    assert_eq!(judged(json!([check, with("fault", "lame".into())]), 1), 1);
    let unknown = json!({"area": "spf", "subject": "serial-behind.org.", "level": "unknown", "fault": null, "evidence": "", "help": ""});
    assert_eq!(judged(json!([check, unknown]), 1), 1);
}
