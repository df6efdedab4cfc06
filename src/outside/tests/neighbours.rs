//! What is made of SPF, DMARC, MTA-STS, TLS-RPT, CAA and the names of addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::name;
use crate::dns::{Name, Rdata};
use crate::outside::neighbours::{Authorities, Pointer, Seen, judge};
use crate::outside::{Area, Check, Fault, Level, Lookup, Trust};

const ADDRESS: &str = "192.0.2.1";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn found<T>(found: impl IntoIterator<Item = T>) -> Lookup<T> {
    Lookup { found: found.into_iter().collect(), ttl: 300, ..Lookup::nothing(Trust::Secure) }
}

fn txt(values: &[&str]) -> Lookup<Vec<u8>> {
    found(values.iter().map(|value| value.as_bytes().to_vec()))
}

fn unknown<T>() -> Lookup<T> {
    Lookup::nothing(Trust::Unknown("SERVFAIL".to_owned()))
}

fn caa(value: &str) -> Rdata {
    [b"\x00\x05issue", value.as_bytes()].concat().into()
}

/// All is well.
fn good() -> Seen {
    let policy = "version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 604800\n";
    let authorities = Authorities { at: name("example.org"), records: found([caa("ca.example")]) };
    let pointer = Pointer {
        host: name("mail.example.org"),
        names: found([name("mail.example.org")]),
        back: found([address("2001:db8::1"), address(ADDRESS)]),
    };
    Seen {
        spf: txt(&["a verification of something", "v=spf1 mx -all"]),
        dmarc: txt(&["v=DMARC1; p=reject"]),
        dmarc_above: Vec::new(),
        sts: txt(&["v=STSv1; id=1"]),
        policy: Some(Ok(policy.to_owned())),
        tls_rpt: txt(&["v=TLSRPTv1; rua=mailto:reports@example.org"]),
        caa: BTreeMap::from([(name("mail.example.org"), authorities)]),
        ptr: BTreeMap::from([(address(ADDRESS), pointer)]),
    }
}

fn judged(seen: &Seen, area: Area) -> Check {
    let checks = judge(&name("example.org"), Some(&[name("mail.example.org")]), seen);
    assert_eq!(checks.len(), 6, "{checks:?}");
    for check in checks.iter().filter(|check| check.area != area) {
        assert_eq!((check.level, check.fault), (Level::Ok, None), "{check:?}");
    }
    checks.into_iter().find(|check| check.area == area).unwrap()
}

#[track_caller]
fn is(change: impl FnOnce(&mut Seen), expected: Result<Area, Fault>, evidence: &str) {
    let mut seen = good();
    change(&mut seen);
    let check = judged(&seen, expected.unwrap_or_else(Fault::area));
    assert_eq!(check.fault, expected.err(), "{check:?}");
    assert!(check.evidence.contains(evidence), "{check:?}");
    assert_eq!(check.help.is_empty(), expected.is_ok(), "{check:?}");
}

#[test]
fn a_domain_with_which_all_is_well_has_a_check_of_each() {
    for area in [Area::Spf, Area::Dmarc, Area::MtaSts, Area::TlsRpt, Area::Caa, Area::Ptr] {
        let check = judged(&good(), area);
        assert_eq!((check.level, check.help.as_str()), (Level::Ok, ""), "{check:?}");
        assert!(!check.evidence.is_empty());
    }
}

#[test]
fn what_can_t_be_looked_up_is_not_called_missing() {
    let changes: [fn(&mut Seen); 9] = [
        |seen| seen.spf = unknown(),
        |seen| seen.dmarc = Lookup::nothing(Trust::Bogus),
        |seen| (seen.dmarc, seen.dmarc_above) = (txt(&[]), vec![(name("org"), unknown())]),
        |seen| seen.sts = unknown(),
        |seen| seen.policy = None,
        |seen| seen.tls_rpt = unknown(),
        |seen| seen.caa.values_mut().for_each(|authorities| authorities.records = unknown()),
        |seen| seen.ptr.values_mut().for_each(|pointer| pointer.names = unknown()),
        |seen| seen.ptr.values_mut().for_each(|pointer| pointer.back = unknown()),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut seen = good();
        change(&mut seen);
        let checks = judge(&name("example.org"), Some(&[name("mail.example.org")]), &seen);
        let unknown: Vec<&Check> = checks.iter().filter(|check| check.level != Level::Ok).collect();
        assert!(
            matches!(unknown[..], [check] if check.level == Level::Unknown && check.fault.is_none()),
            "{at}: {checks:?}"
        );
    }
}

#[test]
fn spf_is_one_record_that_receivers_can_go_by() {
    let many = |count: usize| format!("v=spf1 {}-all", "include:a.example ".repeat(count));
    for (values, expected, evidence) in [
        (vec!["v=spf1 +mx a:b.example ~all"], Ok(Area::Spf), "v=spf1 +mx"),
        (vec!["v=spf1 ?all"], Ok(Area::Spf), ""),
        (vec!["v=spf1 redirect=a.example"], Ok(Area::Spf), ""),
        (vec![&*many(10)], Ok(Area::Spf), ""),
        (vec![], Err(Fault::SpfMissing), "no SPF record"),
        (vec!["v=spf1mx -all"], Err(Fault::SpfMissing), "`v=spf1mx -all` is none"),
        (vec!["v=spf1 mx -all", "v=spf1 -all"], Err(Fault::SpfSeveral), "2 SPF records"),
        (vec!["v=spf1 ipv4:192.0.2.1 -all"], Err(Fault::SpfMalformed), "`ipv4:192.0.2.1`"),
        (vec!["v=spf1 mx +all"], Err(Fault::SpfOpen), "+all"),
        (vec!["v=spf1 ALL -all"], Err(Fault::SpfOpen), ""),
        (vec![&*many(11)], Err(Fault::SpfLookups), "11 terms"),
        (vec![&*many(10).replace("-all", "redirect=a.example")], Err(Fault::SpfLookups), "11 terms"),
        (vec![&*many(10).replace("-all", "-all redirect=a.example a mx")], Ok(Area::Spf), ""),
        (vec!["v=spf1 a a/24 a:b/24 -a mx mx/24 ptr ptr:c exists:d ?include:e a -all"], Err(Fault::SpfLookups), "11"),
    ] {
        is(|seen| seen.spf = txt(&values), expected, evidence);
    }
    let mut seen = good();
    seen.spf = txt(&[]);
    assert!(judged(&seen, Area::Spf).help.contains("\"v=spf1 mx -all\""));
    let without_mail = judge(&name("example.org"), None, &seen);
    assert!(without_mail[0].help.contains("\"v=spf1 -all\""), "{without_mail:?}");
}

#[test]
fn what_is_wrong_with_a_host_elsewhere_is_told_whoever_runs_it() {
    let judged = |host: &str| {
        let (mut seen, host) = (good(), name(host));
        seen.caa = BTreeMap::from([(host.clone(), Authorities { at: host.clone(), records: found([caa(";")]) })]);
        seen.ptr.values_mut().for_each(|pointer| (pointer.host, pointer.names) = (host.clone(), found([])));
        seen.policy = Some(Ok("version: STSv1\nmode: none\nmax_age: 1\n".to_owned()));
        let checks = judge(&name("example.org"), Some(&[host]), &seen);
        let faulty = checks.into_iter().filter(|check| check.fault.is_some());
        faulty.map(|check| check.help.starts_with("for whoever runs mx.provider.test: ")).collect::<Vec<_>>()
    };
    assert_eq!(judged("mx.provider.test"), [true, true]);
    assert_eq!(judged("mail.example.org"), [false, false]);
}

#[test]
fn mta_sts_is_a_record_and_a_policy_that_names_the_hosts() {
    for (values, expected, evidence) in [
        (vec![], Ok(Area::MtaSts), "there is none"),
        (vec!["v=spf1 -all"], Ok(Area::MtaSts), "there is none"),
        (vec!["v=STSv1; id=1", "v=spf1 -all"], Ok(Area::MtaSts), "mode enforce"),
        (vec!["v=STSv1; id=1", "v=STSv1; id=2"], Err(Fault::StsRecord), "2 STSv1 records"),
        (vec!["v=STSv1; id=a-b"], Err(Fault::StsRecord), "`v=STSv1; id=a-b`"),
        (vec!["v=spf1 -all", "v=STSv1 id=1"], Err(Fault::StsRecord), "`v=STSv1 id=1`"),
        (vec!["\"v=stsv1; id=1\""], Err(Fault::StsRecord), "is no STSv1 record"),
    ] {
        is(|seen| seen.sts = txt(&values), expected, evidence);
    }
    let policy = |mode: &str, mx: &str| Ok(format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n"));
    for (policy, expected, evidence) in [
        (policy("enforce", "mail.example.org"), Ok(Area::MtaSts), "mode enforce, every MX host"),
        (policy("none", "other.example.org"), Ok(Area::MtaSts), "mode none"),
        (policy("enforce", "other.example.org"), Err(Fault::StsMxDiffers), "not in the policy: mail.example.org"),
        (policy("testing", "*.mail.example.org"), Err(Fault::StsMxDiffers), "mode testing"),
        (policy("on", "mail.example.org"), Err(Fault::StsPolicyMalformed), "mode must be"),
        (Err("HTTP status 404".to_owned()), Err(Fault::StsPolicyUnreachable), "HTTP status 404"),
    ] {
        is(|seen| seen.policy = Some(policy), expected, evidence);
    }
}

#[test]
fn a_policy_that_is_tried_out_loses_no_mail() {
    for (mode, level) in [("enforce", Level::Critical), ("testing", Level::Warning)] {
        let mut seen = good();
        seen.policy = Some(Ok(format!("version: STSv1\nmode: {mode}\nmx: b.example\nmax_age: 1\n")));
        assert_eq!(judged(&seen, Area::MtaSts).level, level, "{mode}");
    }
}

#[test]
fn tls_rpt_may_be_missing_and_is_one_record() {
    for (values, expected, evidence) in [
        (vec![], Ok(Area::TlsRpt), "there is none"),
        (vec!["v=spf1 -all"], Ok(Area::TlsRpt), "there is none"),
        (vec!["v=TLSRPTv1; rua=https://example.org/tls"], Ok(Area::TlsRpt), "https://example.org/tls"),
        (vec!["v=TLSRPTv1; rua=reports@example.org"], Err(Fault::TlsRptMalformed), "is no TLSRPTv1 record"),
        (vec!["v=TLSRPTv1 rua=mailto:a@b.example"], Err(Fault::TlsRptMalformed), "is no TLSRPTv1 record"),
        (vec!["v=TLSRPTv1; rua=mailto:a@b", "v=TLSRPTv1; rua=mailto:a@b"], Err(Fault::TlsRptMalformed), "2 TLSRPTv1"),
    ] {
        is(|seen| seen.tls_rpt = txt(&values), expected, evidence);
    }
}

#[test]
fn caa_leaves_an_authority_that_may_issue() {
    let of = |records: Vec<Rdata>| {
        move |seen: &mut Seen| seen.caa.values_mut().for_each(|caa| caa.records = found(records.clone()))
    };
    is(of(vec![]), Ok(Area::Caa), "every authority");
    is(of(["a", "b", "c", "d", "e"].map(caa).to_vec()), Ok(Area::Caa), "at example.org.: a, b, c and 2 more may issue");
    is(of(vec![caa(";")]), Err(Fault::CaaForbids), "no authority");
    is(of(vec![caa("ca.example"), b"\x80\x03newx"[..].into()]), Err(Fault::CaaForbids), "the tag `new`");
    is(of(vec![b"\x00"[..].into()]), Err(Fault::CaaMalformed), "can't be read");
}

#[test]
fn the_name_of_an_address_leads_back_to_it() {
    let of = |names: &[&str], back: &[&str]| {
        let (names, back): (Vec<Name>, Vec<IpAddr>) =
            (names.iter().map(|text| name(text)).collect(), back.iter().map(|text| address(text)).collect());
        move |seen: &mut Seen| {
            for pointer in seen.ptr.values_mut() {
                (pointer.names, pointer.back) = (found(names.clone()), found(back.clone()));
            }
        }
    };
    is(of(&["a.example", "b.example"], &["192.0.2.9", ADDRESS]), Ok(Area::Ptr), "a.example, b.example");
    is(of(&[], &[]), Err(Fault::PtrMissing), "no name");
    is(of(&["a.example"], &[]), Err(Fault::PtrDiffers), "a.example, which has no address");
    is(of(&["a.example"], &["192.0.2.9"]), Err(Fault::PtrDiffers), "which has 192.0.2.9");
    assert_eq!(judged(&good(), Area::Ptr).subject, "mail.example.org 192.0.2.1");
    // One of its names leads back, whatever becomes of the others.
    let partly = |seen: &mut Seen| {
        let back = Lookup { found: vec![address(ADDRESS)], ..unknown() };
        seen.ptr.values_mut().for_each(|pointer| pointer.back = back.clone());
    };
    is(partly, Ok(Area::Ptr), "mail.example.org");
}
