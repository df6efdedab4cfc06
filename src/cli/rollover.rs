//! `rollover`, `plan` and `log`: asks the running daemon how rollovers stand, what comes next, and what happened.

use super::args::{Log, RolloverCommand};
use super::ask::{counted, harmless, row};
use super::output::{Mark, Output};
use super::{CliError, Outcome};
use crate::config::Config;
use crate::dane::rollover::Phase;
use crate::dns::text::print_moment;
use crate::keeper::RolloverReport;
use crate::serve::control::{Request, Word, call};
use crate::store::Event;

/// Says the operator's word, if it is one, and shows how the rollovers stand. Finds something where one has a problem.
pub fn run(config: &Config, command: &RolloverCommand, out: &mut Output) -> Result<Outcome, CliError> {
    let word = |host: &super::args::Host, word| (Request::Rollover { host: host.host.clone(), word }, host.json);
    let (request, json) = match command {
        RolloverCommand::Start(host) => word(host, Word::Start),
        RolloverCommand::Hold(host) => word(host, Word::Hold),
        RolloverCommand::Resume(host) => word(host, Word::Resume),
        RolloverCommand::Abort(host) => word(host, Word::Abort),
        RolloverCommand::Status(status) => (Request::Rollovers { host: status.host.clone() }, status.json),
    };
    let answer = call(&config.control_socket, &request)?;
    let reports: Vec<RolloverReport> = serde_json::from_value(answer.clone()).map_err(unreadable)?;
    if json {
        out.json(&answer)?;
    } else if reports.is_empty() {
        out.line("no certificate is installed by danelaw: that takes a [[certificates]] folder that is not observed")?;
    }
    for (index, report) in reports.iter().enumerate().filter(|_| !json) {
        if index > 0 {
            out.line("")?;
        }
        show(report, out)?;
    }
    let is_well = reports.iter().all(|report| report.problems.is_empty());
    Ok(if is_well { Outcome::Done } else { Outcome::Findings })
}

/// Where a rollover stands, in a few words.
pub(super) fn standing(report: &RolloverReport) -> String {
    let phase = match report.phase {
        Phase::Idle => "nothing under way".to_owned(),
        Phase::Publishing => "publishing: not every nameserver shows the new record yet".to_owned(),
        Phase::Holding => "holding: caches may lack the new record".to_owned(),
        Phase::Installing => "installing".to_owned(),
        Phase::Reloading => "installed: the mail server is being told".to_owned(),
        Phase::Confirming => "installed: not every address presents it yet".to_owned(),
        Phase::Draining => "presented everywhere: older records stay for the caches".to_owned(),
    };
    let until = report.goes_on.map(|until| format!("until {}", print_moment(until)));
    let held = report.held.then(|| "held by the operator: `danelaw rollover resume` lets it go on".to_owned());
    [Some(phase), until, held].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn show(report: &RolloverReport, out: &mut Output) -> Result<(), CliError> {
    out.line(out.marked(Mark::Strong, &format!("{} ({})", report.host.to_host(), report.mode)))?;
    out.line(harmless(&format!("  {}", standing(report))))?;
    let versions = [("installed", &report.live), ("next", &report.next), ("then", &report.queued)];
    for (what, id) in versions.into_iter().filter_map(|(what, id)| Some((what, id.as_ref()?))) {
        out.line(harmless(&format!("  {what}: certificate {id}")))?;
    }
    for id in &report.leaving {
        out.line(harmless(&format!("  on its way out: certificate {id}")))?;
    }
    for server in &report.nameservers {
        out.line(harmless(&format!("  nameserver {}: {}", server.name, server.state)))?;
    }
    for address in &report.addresses {
        let presents = match (&address.version, &address.presents, &address.problem) {
            (Some(version), ..) if address.vouched => format!("certificate {version}, by your word (mail-service)"),
            (_, _, Some(problem)) => format!("can't be asked: {problem}"),
            (Some(version), ..) => format!("presents certificate {version}"),
            (None, Some(chain), _) => format!("presents a certificate that is not known here ({chain})"),
            (None, None, None) => "not asked yet".to_owned(),
        };
        out.line(harmless(&format!("  {}: {presents}", address.address)))?;
    }
    for problem in &report.problems {
        out.line(out.marked(Mark::Bad, &harmless(&format!("  problem: {problem}"))))?;
    }
    Ok(())
}

/// A line for each host in `status`.
pub(super) fn rows(reports: &[RolloverReport]) -> Vec<Vec<String>> {
    let cells = |report: &RolloverReport| {
        let is_there = |id: &Option<String>| id.clone().unwrap_or_else(|| "-".to_owned());
        let state = match report.problems.len() {
            0 => standing(report),
            count => format!("{}; {}", standing(report), counted(count, "problem", "")),
        };
        row([&report.host.to_host(), &report.mode, &is_there(&report.live), &is_there(&report.next), &state])
    };
    let head = row(["rollover", "mode", "installed", "next", "state"]);
    std::iter::once(head).chain(reports.iter().map(cells)).collect()
}

/// What happened, oldest first.
pub fn log(config: &Config, log: &Log, out: &mut Output) -> Result<Outcome, CliError> {
    let subject = log.subject.as_ref().map(|name| name.to_lowercase().to_host());
    let answer = call(&config.control_socket, &Request::Log { subject: subject.clone(), limit: log.limit })?;
    if log.json {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let events: Vec<Event> = serde_json::from_value(answer).map_err(unreadable)?;
    if events.is_empty() {
        let whom =
            subject.map_or(String::new(), |subject| format!(" to {subject}, if that is a zone, host or owner here"));
        out.line(harmless(&format!("nothing happened{whom}")))?;
    }
    for event in events.iter().rev() {
        let Event { time, kind, subject, text, .. } = event;
        out.line(harmless(&format!("{}  {kind}  {subject}: {text}", print_moment(*time))))?;
    }
    Ok(Outcome::Done)
}

pub(super) fn unreadable(error: serde_json::Error) -> CliError {
    CliError::Failed(format!("the daemon's answer is not understood: {error}"))
}
