//! `status`, `explain`, `withdraw`, `restore`, `reload`: asks the running daemon and prints its answer.

use std::net::SocketAddr;

use super::args::{Command, KeysCommand};
use super::output::{Mark, Output};
use super::{CliError, Outcome, certificate, messages, online, rollover, traffic};
use crate::config::Config;
use crate::dane::explain::{Explanation, Status};
use crate::dane::prerequisites::Verdict;
use crate::dns::text::print_moment;
use crate::keeper::{
    CatalogReport, CopyReport, CopyState, Explained, FoundReport, PrimaryReport, StatusReport, ZoneReport,
};
use crate::outside::{Level, tally};
use crate::serve::control::{Request, call};

/// Asks at the configuration's control socket. `status` finds something when there is a problem.
pub fn run(config: &Config, command: &Command, out: &mut Output) -> Result<Outcome, CliError> {
    let (request, json) = match command {
        Command::Status(plain) => (Request::Status, plain.json),
        Command::Explain(host) => (Request::Explain { host: host.host.clone() }, host.json),
        Command::Withdraw(host) => (Request::Withdraw { host: host.host.clone() }, host.json),
        Command::Restore(host) => (Request::Restore { host: host.host.clone() }, host.json),
        Command::Reload(plain) => (Request::Reload, plain.json),
        Command::Forget(forget) => {
            (Request::Forget { host: forget.host.clone(), certificate: forget.certificate.clone() }, forget.json)
        }
        Command::Keys(KeysCommand::Forget(forget)) => {
            (Request::ForgetKey { zone: forget.zone.clone(), key: forget.key.clone() }, forget.json)
        }
        _ => return Err(CliError::Usage("not a request to the daemon".to_owned())),
    };
    let answer = call(&config.control_socket, &request)?;
    let unreadable =
        |error: serde_json::Error| CliError::Failed(format!("the daemon's answer is not understood: {error}"));
    if json {
        out.json(&answer)?;
    }
    match request {
        Request::Status | Request::Reload | Request::ForgetKey { .. } => {
            let report: StatusReport = serde_json::from_value(answer).map_err(unreadable)?;
            if !json {
                show_status(&report, out)?;
            }
            Ok(if report.problems.is_empty() { Outcome::Done } else { Outcome::Findings })
        }
        _ => {
            let found: Vec<Explained> = serde_json::from_value(answer).map_err(unreadable)?;
            for Explained { explanation, outside } in found.iter().filter(|_| !json) {
                out.line(harmless(explanation.to_string().trim_end()))?;
                if !outside.is_empty() {
                    out.line("  seen from outside")?;
                }
                outside.iter().try_for_each(|check| online::show_check(check, "    ", out))?;
            }
            Ok(Outcome::Done)
        }
    }
}

fn show_status(report: &StatusReport, out: &mut Output) -> Result<(), CliError> {
    let encrypted = report.encrypted.iter().map(|one| format!("{} {}", one.transport, one.address));
    let listening: Vec<String> = report.listening.iter().map(ToString::to_string).chain(encrypted).collect();
    out.line(format!(
        "danelaw {} since {}, answering on {}",
        report.version,
        print_moment(report.started),
        listening.join(", ")
    ))?;
    for line in traffic::lines(report) {
        out.line(harmless(&line))?;
    }
    out.line("")?;
    out.table(&zones(&report.zones))?;
    if !report.catalogs.is_empty() {
        out.line("")?;
        out.table(&catalogs(&report.catalogs))?;
    }
    let primaries = primaries(&report.zones);
    if primaries.len() > 1 {
        out.line("")?;
        out.table(&primaries)?;
    }
    if !report.secondaries.is_empty() {
        out.line("")?;
        out.table(&secondaries(&report.secondaries))?;
    }
    if !report.messages.is_empty() {
        let rows = messages::channels(&report.messages);
        out.line("")?;
        out.table(&rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect()).collect::<Vec<_>>())?;
    }
    for (rows, none) in [(certificates(report), "no certificates"), (tlsa(&report.tlsa), "no TLSA owners")] {
        out.line("")?;
        // A heading over nothing says less than a word.
        if rows.len() > 1 { out.table(&rows)? } else { out.line(none)? }
    }
    if !report.rollovers.is_empty() {
        out.line("")?;
        out.table(&rollover::rows(&report.rollovers))?;
    }
    if !report.orders.is_empty() {
        out.line("")?;
        out.table(&certificate::rows(&report.orders))?;
        certificate::show_failures(&report.orders, out)?;
    }
    show_outside(&report.outside, out)?;
    if !report.events.is_empty() {
        out.line("")?;
        out.line(out.marked(Mark::Strong, "last events"))?;
        for event in &report.events {
            out.line(harmless(&format!(
                "{}  {}  {}: {}",
                print_moment(event.time),
                event.kind,
                event.subject,
                event.text
            )))?;
        }
    }
    out.line("")?;
    if report.problems.is_empty() {
        return out.line(out.marked(Mark::Good, "no problems"));
    }
    out.line(out.marked(Mark::Bad, "problems"))?;
    for problem in &report.problems {
        out.line(harmless(problem))?;
    }
    Ok(())
}

/// How others see it: a line for each that is as it should be, and what is wrong with the rest.
fn show_outside(found: &[FoundReport], out: &mut Output) -> Result<(), CliError> {
    if found.is_empty() {
        return Ok(());
    }
    let cells = |one: &FoundReport| {
        let count = |level: Level| match level {
            Level::Ok => one.ok,
            level => one.checks.iter().filter(|check| check.level == level).count(),
        };
        row([&one.subject.to_string(), &print_moment(one.at), &one.level.to_string(), &tally(count)])
    };
    let head = row(["seen from outside", "looked at", "level", "checks"]);
    out.line("")?;
    out.table(&std::iter::once(head).chain(found.iter().map(cells)).collect::<Vec<_>>())?;
    let wrong = found.iter().flat_map(|one| &one.checks).filter(|check| check.level != Level::Ok);
    wrong.into_iter().try_for_each(|check| online::show_check(check, "", out))
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(harmless).to_vec()
}

fn zones(zones: &[ZoneReport]) -> Vec<Vec<String>> {
    let moment = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), print_moment);
    let cells = |zone: &ZoneReport| {
        let serial = zone.serial.map_or_else(|| "none".to_owned(), |serial| serial.to_string());
        let keys = match (&zone.keys[..], zone.signed_until) {
            ([], None) => "unsigned".to_owned(),
            ([], Some(_)) => "signed elsewhere".to_owned(),
            (keys, _) => keys.join(" "),
        };
        let state = match (&zone.stale, zone.serial) {
            (Some(_), Some(_)) => "last good version".to_owned(),
            (_, None) => "not served".to_owned(),
            (None, ..) => "ok".to_owned(),
        };
        let notes = [
            (zone.updated > 0).then(|| counted(zone.updated, "RRset", " by update")),
            zone.frozen.then(|| "frozen".to_owned()),
            zone.outside.as_ref().map(|outside| match outside.verdict {
                Verdict::Held => "trusted by resolvers".to_owned(),
                Verdict::Missing => "not trusted by resolvers".to_owned(),
                Verdict::Unknown => "trust by resolvers unknown".to_owned(),
            }),
            (zone.warnings > 0 && zone.stale.is_none()).then(|| counted(zone.warnings, "warning", "")),
        ];
        let state = std::iter::once(state).chain(notes.into_iter().flatten()).collect::<Vec<_>>().join(", ");
        row([&zone.zone.to_string(), &serial, &zone.rrsets.to_string(), &keys, &moment(zone.signed_until), &state])
    };
    let head = row(["zone", "serial", "RRsets", "keys", "signed until", "state"]);
    std::iter::once(head).chain(zones.iter().map(cells)).collect()
}

pub(super) fn counted(count: usize, what: &str, how: &str) -> String {
    format!("{count} {what}{}{how}", if count == 1 { "" } else { "s" })
}

fn catalogs(catalogs: &[CatalogReport]) -> Vec<Vec<String>> {
    let cells = |one: &CatalogReport| {
        let serial = one.serial.map_or_else(|| "-".to_owned(), |serial| serial.to_string());
        row([&one.catalog.to_string(), &serial, &one.members.to_string()])
    };
    std::iter::once(row(["catalog", "serial", "members"])).chain(catalogs.iter().map(cells)).collect()
}

/// A line for each zone that comes from another server.
fn primaries(zones: &[ZoneReport]) -> Vec<Vec<String>> {
    let moment = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), print_moment);
    let cells = |(zone, primary): (&ZoneReport, &PrimaryReport)| {
        let serial = primary.serial.map_or_else(|| "-".to_owned(), |serial| serial.to_string());
        let times = [primary.checked_at, primary.next_check, primary.expires_at].map(moment);
        let [checked, next, expires] = &times;
        let state = primary.state.to_string();
        row([&zone.zone.to_string(), &primary.address.to_string(), &serial, checked, next, expires, &state])
    };
    let head = row(["zone", "primary", "serial there", "checked", "next check", "expires", "state"]);
    let transferred = zones.iter().filter_map(|zone| Some((zone, zone.primary.as_ref()?)));
    std::iter::once(head).chain(transferred.map(cells)).collect()
}

/// A line for each secondary; `status --json` has one for each of its zones.
fn secondaries(copies: &[CopyReport]) -> Vec<Vec<String>> {
    let mut places: Vec<(&str, SocketAddr)> =
        copies.iter().map(|copy| (copy.secondary.as_str(), copy.address)).collect();
    places.sort_unstable();
    places.dedup();
    let cells = |(name, address): (&str, SocketAddr)| {
        let of = || copies.iter().filter(|copy| (copy.secondary.as_str(), copy.address) == (name, address));
        let is_behind = |copy: &&CopyReport| copy.state != CopyState::Current;
        let told = of().filter_map(|copy| copy.told_at).max().map_or_else(|| "-".to_owned(), print_moment);
        let state = match (of().filter(is_behind).count(), of().find(is_behind)) {
            (1, Some(copy)) => {
                let has = copy.seen.map_or_else(|| "what is not known".to_owned(), |serial| serial.to_string());
                format!("{}: {} is to have {}, has {has}", copy.state, copy.zone, copy.serial)
            }
            (count, Some(_)) => format!("{count} zones behind"),
            (_, None) => "current".to_owned(),
        };
        row([name, &address.to_string(), &of().count().to_string(), &told, &state])
    };
    let head = row(["secondary", "address", "zones", "told", "state"]);
    std::iter::once(head).chain(places.into_iter().map(cells)).collect()
}

fn certificates(report: &StatusReport) -> Vec<Vec<String>> {
    let head = row(["certificate", "names", "key", "expires", "SPKI SHA-256"]);
    let cells = report.certificates.iter().map(|certificate| {
        row([
            &certificate.file,
            &certificate.names.join(" "),
            &certificate.key,
            &print_moment(certificate.not_after),
            certificate.spki_sha256.get(..16).unwrap_or_default(),
        ])
    });
    std::iter::once(head).chain(cells).collect()
}

fn tlsa(explanations: &[Explanation]) -> Vec<Vec<String>> {
    let head = row(["TLSA", "records", "state"]);
    let cells = explanations.iter().map(|explanation| {
        let served = !matches!(explanation.status, Status::Withheld(_) | Status::NotOurs | Status::Alias { .. });
        let count = if served { explanation.records.len() } else { 0 };
        row([&explanation.owner.to_string(), &count.to_string(), &explanation.status.to_string()])
    });
    std::iter::once(head).chain(cells).collect()
}

/// Control characters, which a file's name or a zone may hold, don't reach the terminal.
pub(super) fn harmless(text: &str) -> String {
    let replace = |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(replace).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_zone_or_a_file_name_holds_is_harmless_on_a_terminal() {
        assert_eq!(harmless("a\u{1b}[31m\tb\n"), "a\u{fffd}[31m\tb\n");
    }
}
