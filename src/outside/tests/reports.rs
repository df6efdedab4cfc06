//! What reports of senders come to (RFC 8460).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::name;
use crate::outside::reports::{Received, Report, Unreadable, judge};
use crate::outside::{Area, Check, Fault, Level};

/// 2026-11-27T00:00:00Z.
const SINCE: u64 = 1_795_737_600;

/// A report of an organisation on `example.org`.
fn report(organisation: &str, end: &str, well: u64, failures: &[(&str, u64)]) -> Value {
    let details = failures.iter().map(|(result, count)| {
        json!({ "result-type": result, "receiving-mx-hostname": "mail.example.org", "failed-session-count": count })
    });
    let failed = failures.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
    json!({
        "organization-name": organisation,
        "date-range": { "start-datetime": "2026-11-26T00:00:00Z", "end-datetime": end },
        "report-id": "1",
        "policies": [{
            "policy": { "policy-type": "tlsa", "policy-domain": "Example.org" },
            "summary": { "total-successful-session-count": well, "total-failure-session-count": failed },
            "failure-details": details.collect::<Vec<_>>(),
        }],
    })
}

fn received(report: Value) -> Received {
    Received { file: "a.json".to_owned(), report: serde_json::from_value(report).unwrap() }
}

fn judged(reports: impl IntoIterator<Item = Value>) -> Vec<Check> {
    let reports: Vec<Received> = reports.into_iter().map(received).collect();
    judge(&reports, &[], &BTreeSet::from([name("example.org")]), SINCE)
}

fn faults(checks: &[Check]) -> Vec<Fault> {
    checks.iter().filter_map(|check| check.fault).collect()
}

const YESTERDAY: &str = "2026-11-27T23:59:59Z";

/// The report of RFC 8460 appendix B.
const EXAMPLE: &str = r#"{
    "organization-name": "Company-X",
    "date-range": { "start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z" },
    "contact-info": "sts-reporting@company-x.example",
    "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
    "policies": [{
        "policy": {
            "policy-type": "sts",
            "policy-string": ["version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"],
            "policy-domain": "company-y.example",
            "mx-host": "*.mail.company-y.example"
        },
        "summary": { "total-successful-session-count": 5326, "total-failure-session-count": 303 },
        "failure-details": [
            {
                "result-type": "certificate-expired",
                "sending-mta-ip": "2001:db8:abcd:0012::1",
                "receiving-mx-hostname": "mx1.mail.company-y.example",
                "failed-session-count": 100
            },
            {
                "result-type": "starttls-not-supported",
                "sending-mta-ip": "2001:db8:abcd:0013::1",
                "receiving-mx-hostname": "mx2.mail.company-y.example",
                "receiving-ip": "203.0.113.56",
                "failed-session-count": 200,
                "additional-information": "https://reports.company-x.example/report_info?id=5065427c-23d3#StarttlsNotSupported "
            },
            {
                "result-type": "validation-failure",
                "sending-mta-ip": "198.51.100.62",
                "receiving-ip": "203.0.113.58",
                "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                "failed-session-count": 3,
                "failure-reason-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
            }
        ]
    }]
}"#;

#[test]
fn the_example_of_the_rfc_is_one_fault() {
    let report: Report = serde_json::from_str(EXAMPLE).unwrap();
    let reports = [Received { file: "company-x.json".to_owned(), report }];
    let checks = judge(&reports, &[], &BTreeSet::from([name("company-y.example")]), 0);
    let [check] = &checks[..] else { panic!("{checks:?}") };
    assert_eq!((check.fault, check.subject.as_str()), (Some(Fault::ReportedOther), "company-y.example."));
    assert_eq!(
        check.evidence,
        "303 of 5629 sessions failed at mx-backup.mail.company-y.example, mx1.mail.company-y.example, \
         mx2.mail.company-y.example until 2016-04-01T23:59:59Z (certificate-expired, starttls-not-supported, \
         validation-failure), reported by Company-X"
    );
    assert!(check.help.ends_with("the last is in company-x.json"), "{check:?}");
    assert_eq!(judge(&reports, &[], &BTreeSet::new(), 0), []);
}

#[test]
fn each_result_type_is_a_failure_of_something() {
    for (result, fault) in [
        ("tlsa-invalid", Fault::ReportedTlsa),
        ("dane-required", Fault::ReportedTlsa),
        ("certificate-host-mismatch", Fault::ReportedTlsa),
        ("certificate-not-trusted", Fault::ReportedTlsa),
        ("validation-failure", Fault::ReportedTlsa),
        ("dnssec-invalid", Fault::ReportedDnssec),
        ("sts-policy-fetch-error", Fault::ReportedSts),
        ("sts-policy-invalid", Fault::ReportedSts),
        ("sts-webpki-invalid", Fault::ReportedSts),
        ("starttls-not-supported", Fault::ReportedOther),
        ("something-new", Fault::ReportedOther),
    ] {
        let checks = judged([report("X", YESTERDAY, 1, &[(result, 1)])]);
        assert_eq!(faults(&checks), [fault], "{result}");
        assert!(checks[0].evidence.contains(&format!("({result})")), "{checks:?}");
    }
    // Where another policy counts, a certificate says nothing of TLSA.
    let mut sts = report("X", YESTERDAY, 1, &[("certificate-not-trusted", 1)]);
    sts["policies"][0]["policy"]["policy-type"] = json!("sts");
    assert_eq!(faults(&judged([sts])), [Fault::ReportedOther]);
}

#[test]
fn sessions_of_all_reports_are_summed_up() {
    let senders = ["a", "b", "c", "d", "e"].map(|sender| report(sender, YESTERDAY, 10, &[("tlsa-invalid", 2)]));
    let checks = judged(senders);
    assert_eq!(faults(&checks), [Fault::ReportedTlsa]);
    let evidence = &checks[0].evidence;
    assert!(
        evidence.starts_with("10 of 60 sessions failed at mail.example.org until 2026-11-27T23:59:59Z"),
        "{evidence}"
    );
    assert!(evidence.ends_with("reported by a, b, c and 2 more"), "{evidence}");
    let well = judged([report("a", YESTERDAY, 10, &[]), report("b", YESTERDAY, 5, &[("tlsa-invalid", 0)])]);
    assert_eq!(well, [Check::ok(Area::Reports, "example.org.", "15 sessions went well, reported by a, b")]);
    let endless = judged(["a", "b"].map(|sender| report(sender, YESTERDAY, u64::MAX, &[("tlsa-invalid", u64::MAX)])));
    assert!(endless[0].evidence.starts_with(&format!("{0} of {0} sessions", u64::MAX)), "{endless:?}");
}

#[test]
fn failures_that_no_detail_tells_of_count_too() {
    let mut partly = report("X", YESTERDAY, 10, &[("dnssec-invalid", 2)]);
    partly["policies"][0]["summary"]["total-failure-session-count"] = json!(5);
    let checks = judged([partly.clone()]);
    assert_eq!(faults(&checks), [Fault::ReportedDnssec, Fault::ReportedOther]);
    assert!(checks[1].evidence.starts_with("3 of 15 sessions failed until"), "{checks:?}");
    partly["policies"][0]["failure-details"] = Value::Null;
    let checks = judged([partly]);
    assert!(checks[0].evidence.starts_with("5 of 15 sessions failed until"), "{checks:?}");
}

#[test]
fn what_is_older_counts_no_more() {
    let at = |end: &str| judged([report("X", end, 1, &[("tlsa-invalid", 1)])]);
    assert_eq!(at("2026-11-26T23:59:59Z"), []);
    assert_eq!(faults(&at("2026-11-27T00:00:00Z")), [Fault::ReportedTlsa]);
    assert_eq!(at("2026-11-27T00:30:00+01:00"), []);
}

#[test]
fn what_others_wrote_is_shown_bounded_and_without_control_characters() {
    let long = "x".repeat(10_000);
    let sender = format!("\u{1b}[2J{long}");
    let mut shouting = report(&sender, YESTERDAY, 1, &[(&format!("\r\n{long}"), 1)]);
    shouting["policies"][0]["failure-details"][0]["receiving-mx-hostname"] = json!(format!("\u{7}{long}"));
    let checks = judged([shouting]);
    assert!(checks[0].evidence.len() < 500, "{checks:?}");
    assert!(!checks[0].evidence.chars().any(char::is_control), "{checks:?}");
}

#[test]
fn a_report_without_a_time_or_with_wrong_counts_is_none() {
    let reads = |change: fn(&mut Value)| {
        let mut value = report("X", YESTERDAY, 1, &[("tlsa-invalid", 1)]);
        change(&mut value);
        serde_json::from_value::<Report>(value).is_ok()
    };
    assert!(reads(|value| value["organization-name"] = Value::Null));
    assert!(reads(|value| drop(value.as_object_mut().unwrap().remove("report-id"))));
    assert!(!reads(|value| value["date-range"]["end-datetime"] = json!("yesterday")));
    assert!(!reads(|value| drop(value.as_object_mut().unwrap().remove("date-range"))));
    assert!(!reads(|value| value["policies"][0]["summary"]["total-failure-session-count"] = json!(-1)));
    assert!(!reads(|value| *value = json!([])));
}

#[test]
fn files_that_are_no_reports_are_one_warning() {
    let unreadable = |file: &str, at| Unreadable { file: file.to_owned(), why: "it is too large".to_owned(), at };
    let files = ["a\n", "b", "c", "d"].map(|file| unreadable(file, SINCE));
    let checks = judge(&[], &files, &BTreeSet::new(), SINCE);
    let [check] = &checks[..] else { panic!("{checks:?}") };
    assert_eq!((check.fault, check.level), (Some(Fault::ReportUnreadable), Level::Warning));
    assert_eq!(check.evidence, "a\u{fffd}: it is too large, b: it is too large, c: it is too large and 1 more");
    assert_eq!(judge(&[], &[unreadable("a", SINCE - 1)], &BTreeSet::new(), SINCE), []);
}

#[test]
fn of_a_report_no_more_is_kept_than_is_summed_up() {
    let many: Vec<(String, u64)> = (0..5000).map(|number| (format!("kind-{}", number % 40), 1)).collect();
    let many: Vec<(&str, u64)> = many.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    let mut whole = report(&"x".repeat(10_000), YESTERDAY, 7, &many);
    let first = whole["policies"][0].clone();
    whole["policies"] = (0..1000).map(|_| first.clone()).collect();
    let cut = serde_json::from_value::<Report>(whole).unwrap().cut();
    assert_eq!((cut.organization_name.as_ref().unwrap().len(), cut.policies.len()), (255, 64));
    for outcome in &cut.policies {
        let details = outcome.failure_details.as_ref().unwrap();
        assert_eq!(details.len(), 32);
        assert!(details.iter().all(|failure| failure.failed_session_count == 125), "{details:?}");
    }
    // What was cut off counts all the same.
    let mut one = cut;
    one.policies.truncate(1);
    let reports = [Received { file: "a.json".to_owned(), report: one }];
    let checks = judge(&reports, &[], &BTreeSet::from([name("example.org")]), SINCE);
    assert_eq!(faults(&checks), [Fault::ReportedOther]);
    assert!(checks[0].evidence.starts_with("5000 of 5007 sessions failed"), "{checks:?}");
}
