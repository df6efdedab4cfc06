//! `check --online`: looks at domains as others see them, ours or not, once; its exit code is that of a monitoring plugin.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::runtime::Runtime;

use super::args::Check as Arguments;
use super::ask::harmless;
use super::output::{Mark, Output, progress};
use super::{CliError, Outcome, check};
use crate::config::Config;
use crate::dane::config::dkim_owners;
use crate::dns::{Name, Timestamp};
use crate::keeper::{Beneath, StatusReport, now};
use crate::observe::outside;
use crate::observe::outside::survey::{Question, survey};
use crate::outside::addressed::of_zone;
use crate::outside::domain as mail;
use crate::outside::{Check, Level, Seen, Wanted, judge, tally, worst};
use crate::serve::control::{Request, call};
use crate::zone::{self, Contents};

/// What was found of a domain.
#[derive(Serialize)]
struct Found {
    domain: Name,
    at: Timestamp,
    level: Level,
    checks: Vec<Check>,
}

/// Looks at the named domains; at those of the zones folder without a name.
pub fn run(config: &Config, args: &Arguments, out: &mut Output) -> Result<Outcome, CliError> {
    let domains = match &args.zones[..] {
        [] => check::files(config, &[])?.into_iter().map(|file| file.origin).collect(),
        named => named.iter().map(|text| domain(text)).collect::<Result<Vec<Name>, CliError>>()?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::Failed(format!("no runtime: {error}")))?;
    let mut found = Vec::new();
    for domain in domains {
        progress(&format!("looking at {} ...", domain.to_host()));
        let before = served(config);
        let selectors = selectors(config, &before, &domain, &args.selectors);
        let zones = before.keys().cloned().collect();
        let question = Question { domain, selectors, zones, ports: args.ports.iter().copied().collect() };
        found.push(look(config, &runtime, before, question));
    }
    match args.json {
        true => out.json(&found)?,
        false => found.iter().try_for_each(|found| show(found, out))?,
    }
    Ok(Outcome::Seen(found.iter().map(|found| found.level).max().unwrap_or(Level::Ok)))
}

fn domain(text: &str) -> Result<Name, CliError> {
    Name::parse(text, Some(&Name::root())).map_err(|error| CliError::Usage(format!("{text}: {error}")))
}

/// The owners of a domain's DKIM keys: those that are named, those of the configuration, or those in its zone file here. None: nobody
/// says which. `served`: the zones of the daemon.
fn selectors(config: &Config, served: &BTreeMap<Name, u32>, domain: &Name, named: &[String]) -> Option<Vec<Name>> {
    if !named.is_empty() {
        return Some(dkim_owners(domain, named));
    }
    let (rules, files) = (config.dane_rules(), check::files(config, &[]).unwrap_or_default());
    let file = |apex: &Name| files.iter().find(|file| file.origin == *apex);
    let is_here = |apex: &Name| rules.zones.contains_key(apex) || served.contains_key(apex) || file(apex).is_some();
    let apex = std::iter::once(domain.clone()).chain(domain.ancestors()).find(is_here);
    let contents = apex.as_ref().and_then(file).and_then(|file| {
        let text = file.read().ok()?;
        zone::parse(&file.origin, "", &text, &mut Beneath(&mut file.includes())).contents
    });
    let is_elsewhere = |contents: &Contents| contents.cut(domain).is_some() || contents.is_below_dname(domain);
    let apex = apex.filter(|_| !contents.as_ref().is_some_and(is_elsewhere));
    match rules.dkim_owners(domain, apex.as_ref())? {
        named if !named.is_empty() => Some(named),
        _ => mail::selectors(contents.as_ref().filter(|_| apex.is_some())?, domain),
    }
}

/// The zones of the daemon, if one runs, with their serials.
fn served(config: &Config) -> BTreeMap<Name, u32> {
    let Ok(answer) = call(&config.control_socket, &Request::Status) else { return BTreeMap::new() };
    let Ok(report) = serde_json::from_value::<StatusReport>(answer) else { return BTreeMap::new() };
    report.zones.into_iter().filter_map(|zone| Some((zone.zone, zone.serial?))).collect()
}

/// `before`: what the daemon served a moment ago.
fn look(config: &Config, runtime: &Runtime, before: BTreeMap<Name, u32>, question: Question) -> Found {
    let at = now();
    let mut hosts = BTreeSet::new();
    let mut checks: Vec<Check> = match runtime.block_on(survey(&question, &config.outside, at)) {
        Ok(mut all) => {
            let steady = steady(before, &served(config));
            all.iter_mut().for_each(|(wanted, _)| compare_with(&steady, wanted));
            hosts.extend(all.iter().filter_map(|(wanted, _)| match wanted {
                Wanted::Host { host, .. } => Some(host.clone()),
                _ => None,
            }));
            all.iter().flat_map(|(wanted, seen)| told(&question.domain, wanted, seen, at)).collect()
        }
        Err(failure) => vec![failure.check(&question.domain)],
    };
    if let Some(folder) = &config.outside.reports {
        // Senders name the host where it is TLSA that failed.
        let mut domains = hosts;
        domains.insert(question.domain.clone());
        let seen = Seen::Reports(runtime.block_on(outside::read(folder.clone())));
        checks.extend(judge(&Wanted::Reports { folder: folder.clone(), domains }, &seen, at));
    }
    checks.sort_by(|one, other| other.level.cmp(&one.level).then(one.area.cmp(&other.area)));
    Found { domain: question.domain, at, level: worst(&checks), checks }
}

/// What is to be said of one thing that mail for a domain goes through.
fn told(domain: &Name, wanted: &Wanted, seen: &Seen, at: Timestamp) -> Vec<Check> {
    let checks = judge(wanted, seen, at);
    match wanted {
        Wanted::Zone { apex, .. } => checks.into_iter().map(|check| of_zone(apex, domain, check)).collect(),
        _ => checks,
    }
}

/// Without what has changed meanwhile: its nameservers may have had either when they were asked.
fn steady(mut before: BTreeMap<Name, u32>, after: &BTreeMap<Name, u32>) -> BTreeMap<Name, u32> {
    before.retain(|zone, serial| after.get(zone) == Some(serial));
    before
}

/// Of zones that the daemon serves, what it serves is what every nameserver is to have.
fn compare_with(served: &BTreeMap<Name, u32>, wanted: &mut Wanted) {
    if let Wanted::Zone { apex, expected, .. } = wanted {
        expected.serial = served.get(apex).copied();
    }
}

fn show(found: &Found, out: &mut Output) -> Result<(), CliError> {
    let count = |level: Level| found.checks.iter().filter(|check| check.level == level).count();
    let level = found.level.to_string().to_uppercase();
    let summary = format!("{level} - {}: {}", found.domain.to_host(), tally(count));
    out.line(out.marked(mark(found.level), &harmless(&summary)))?;
    for check in &found.checks {
        show_check(check, "", out)?;
    }
    Ok(())
}

/// A check in a line, and one for who has to do something.
pub(super) fn show_check(check: &Check, indent: &str, out: &mut Output) -> Result<(), CliError> {
    let level = out.marked(mark(check.level), &format!("{:8}", check.level));
    let fault = check.fault.map_or_else(String::new, |fault| format!("{fault}: "));
    let text = harmless(&format!("{}  {fault}{}", check.subject, check.evidence));
    out.line(format!("{indent}{level}  {:12}{text}", check.area))?;
    match &check.help[..] {
        "" => Ok(()),
        help => out.line(format!("{indent}{:22}to do: {}", "", harmless(help))),
    }
}

fn mark(level: Level) -> Mark {
    match level {
        Level::Ok => Mark::Good,
        Level::Warning | Level::Unknown => Mark::Warn,
        Level::Critical => Mark::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_the_zone_here_or_of_the_domain_elsewhere_and_nobody_else_s() {
        let folder = tempfile::tempdir().unwrap();
        let zone = "@ SOA ns hostmaster 1 7200 3600 1209600 300\n NS ns\nns A 192.0.2.1\naway NS ns.a.test.\n\
                    s9._domainkey TXT \"v=DKIM1; p=\"\n";
        std::fs::create_dir(folder.path().join("zones")).unwrap();
        for apex in ["a.test", "b.test"] {
            std::fs::write(folder.path().join(format!("zones/{apex}.zone")), format!("$TTL 300\n{zone}")).unwrap();
        }
        let text = "[dane]\ndkim-selectors = [\"s1\"]\n[zone.\"b.test\"]\ndane = { dkim-selectors = [] }\n\
                    [domain.\"c.test\"]\nhosts = [\"mail.a.test\"]\ndkim-selectors = [\"s2\"]\n\
                    [domain.\"away.a.test\"]\nhosts = [\"mail.a.test\"]\ndkim-selectors = [\"s3\"]\n";
        let config = Config::parse(text, "danelaw.toml", folder.path()).unwrap();
        let of = |domain: &str, named: &[&str]| {
            let (domain, named) = (domain.parse().unwrap(), named.iter().map(ToString::to_string).collect::<Vec<_>>());
            let found = selectors(&config, &BTreeMap::from([("served.test".parse().unwrap(), 1)]), &domain, &named)?;
            Some(found.iter().map(Name::to_string).collect::<Vec<_>>().join(" "))
        };
        for (domain, named, expected) in [
            ("a.test", &[][..], Some("s1._domainkey.a.test.")),
            ("b.test", &[], Some("s9._domainkey.b.test.")),
            ("c.test", &[], Some("s2._domainkey.c.test.")),
            ("away.a.test", &[], Some("s3._domainkey.away.a.test.")),
            ("served.test", &[], Some("s1._domainkey.served.test.")),
            ("nobody.test", &[], None),
            ("c.test", &["s4", "s5"], Some("s4._domainkey.c.test. s5._domainkey.c.test.")),
        ] {
            assert_eq!(of(domain, named).as_deref(), expected, "{domain}");
        }
    }

    #[test]
    fn a_zone_that_changes_while_it_is_looked_at_is_compared_with_nothing() {
        let served = |serials: &[(&str, u32)]| -> BTreeMap<Name, u32> {
            serials.iter().map(|(zone, serial)| (zone.parse().unwrap(), *serial)).collect()
        };
        let before = served(&[("a.test", 1), ("b.test", 2), ("gone.test", 3)]);
        assert_eq!(steady(before, &served(&[("a.test", 1), ("b.test", 3), ("new.test", 1)])), served(&[("a.test", 1)]));
    }
}
