//! `certificate`: the certificates that the running daemon gets by itself, and the operator's word on them.

use super::args::CertificateCommand;
use super::ask::{harmless, row};
use super::output::{Mark, Output};
use super::{CliError, Outcome};
use crate::acme::Phase;
use crate::config::Config;
use crate::dns::text::print_moment;
use crate::keeper::OrderReport;
use crate::serve::control::{OrderWord, Request, call};

/// Says the operator's word, if it is one, and shows the certificates. Finds something where an order has failed.
pub fn run(config: &Config, command: &CertificateCommand, out: &mut Output) -> Result<Outcome, CliError> {
    let word = |host: &super::args::Host, word| (Request::Order { host: host.host.clone(), word }, host.json);
    let (request, json) = match command {
        CertificateCommand::List(list) => (Request::Orders { host: list.host.clone() }, list.json),
        CertificateCommand::Order(host) | CertificateCommand::Renew(host) => word(host, OrderWord::Order),
        CertificateCommand::Cancel(host) => word(host, OrderWord::Cancel),
        CertificateCommand::Rotate(host) => word(host, OrderWord::Rotate { reason: None }),
        CertificateCommand::Revoke(revoke) => {
            let word = OrderWord::Rotate { reason: Some(revoke.reason.code()) };
            (Request::Order { host: revoke.host.clone(), word }, revoke.json)
        }
    };
    let answer = call(&config.control_socket, &request)?;
    let reports: Vec<OrderReport> = serde_json::from_value(answer.clone())
        .map_err(|error| CliError::Failed(format!("the daemon's answer is not understood: {error}")))?;
    if json {
        out.json(&answer)?;
    } else if reports.is_empty() {
        out.line("no certificate is ordered by danelaw: that takes [acme] and a [[certificate]] in danelaw.toml")?;
    } else {
        out.table(&rows(&reports))?;
        show_failures(&reports, out)?;
    }
    let is_well = reports.iter().all(|report| report.failure.is_none());
    Ok(if is_well { Outcome::Done } else { Outcome::Findings })
}

/// A line for each certificate.
pub(super) fn rows(reports: &[OrderReport]) -> Vec<Vec<String>> {
    let moment = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), print_moment);
    let cells = |report: &OrderReport| {
        row([
            &report.host.to_host(),
            &report.key,
            &report.names.join(" "),
            &moment(report.not_after),
            &moment(report.renewal),
            &standing(report),
        ])
    };
    let head = row(["own certificate", "key", "names", "expires", "renewed", "order"]);
    std::iter::once(head).chain(reports.iter().map(cells)).collect()
}

/// What those wait for whose orders do not go on, and what went wrong with those whose orders failed.
pub(super) fn show_failures(reports: &[OrderReport], out: &mut Output) -> Result<(), CliError> {
    for report in reports {
        let host = report.host.to_host();
        if let Some(why) = &report.waits_for {
            out.line(harmless(&format!("{host} ({}) waits: {why}", report.key)))?;
        }
        let Some(failure) = &report.failure else { continue };
        let again = report.next_try.map_or_else(String::new, |at| {
            format!(" Next try: {}; at once: danelaw certificate order {host}", print_moment(at))
        });
        let line = format!("{host} ({}): {failure}{again}", report.key);
        out.line(out.marked(Mark::Bad, &harmless(&line)))?;
    }
    Ok(())
}

fn standing(report: &OrderReport) -> String {
    let phase = match report.phase {
        Phase::Resting if report.failure.is_some() => "failed",
        Phase::Resting if report.why.is_some() => "waits",
        Phase::Resting => "nothing to do",
        Phase::Checking => "CAA is looked at",
        Phase::Ordering => "the CA is asked for an order",
        Phase::Proving => "not every nameserver shows the proofs yet",
        Phase::Validating => "the CA looks at the proofs",
        Phase::Finalizing => "the CA makes the certificate",
        Phase::Storing => "it is fetched",
    };
    phase.to_owned()
}
