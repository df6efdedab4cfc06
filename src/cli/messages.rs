//! `messages test`: has the running daemon send a message through every channel, and prints what each said. And what `status`
//! shows of them.

use super::args::Plain;
use super::output::{Mark, Output};
use super::{CliError, Outcome};
use crate::config::Config;
use crate::dns::text::print_moment;
use crate::keeper::{ChannelReport, TestReport};
use crate::serve::control::{Request, call};

/// Finds something when a channel has not taken it.
pub fn test(config: &Config, plain: &Plain, out: &mut Output) -> Result<Outcome, CliError> {
    let answer = call(&config.control_socket, &Request::TestMessages)?;
    let results: Vec<TestReport> = serde_json::from_value(answer)
        .map_err(|error| CliError::Failed(format!("the daemon's answer is not understood: {error}")))?;
    if plain.json {
        out.json(&results)?;
    } else {
        for TestReport { channel, error } in &results {
            let said = match error {
                None => out.marked(Mark::Good, "taken"),
                Some(why) => out.marked(Mark::Bad, &format!("failed: {why}")),
            };
            out.line(format!("{channel}: {said}"))?;
        }
    }
    Ok(if results.iter().all(|result| result.error.is_none()) { Outcome::Done } else { Outcome::Findings })
}

/// A line for each channel, its heading first.
pub(super) fn channels(reports: &[ChannelReport]) -> Vec<Vec<String>> {
    let moment = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), print_moment);
    let cells = |report: &ChannelReport| {
        let mut state = match (&report.failure, report.next_try) {
            (Some(why), Some(next)) => format!("failed: {why}; tried again at {}", print_moment(next)),
            (Some(why), None) => format!("failed: {why}"),
            (None, _) => "ok".to_owned(),
        };
        if report.undelivered > 0 {
            state.push_str(&format!("; {} given up", report.undelivered));
        }
        if report.warning.is_some() {
            state.push_str("; warning: in a zone served here, add a mailbox elsewhere");
        }
        vec![report.channel.clone(), moment(report.last_success), report.waiting.to_string(), state]
    };
    let head = ["messages to", "last taken", "waiting", "state"].map(str::to_owned).to_vec();
    std::iter::once(head).chain(reports.iter().map(cells)).collect()
}
