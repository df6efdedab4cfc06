//! The lines of `status` about queries, responses and connections.

use std::collections::BTreeMap;

use crate::dns::text::print_moment;
use crate::keeper::StatusReport;
use crate::serve::{Statistics, Transferred, Updated};

/// A line for each thing that there is something to say of.
pub fn lines(report: &StatusReport) -> Vec<String> {
    let statistics = &report.statistics;
    let mut lines = vec![format!("queries: {}", queries(statistics))];
    if statistics.asked() > 0 {
        lines.push(format!("responses: {}, {} truncated", counts(&statistics.responses), statistics.truncated));
        lines.push(format!("asked for: {}", counts(&statistics.types)));
    }
    lines.push(rate_limit(report));
    let cookies = statistics.cookies;
    if cookies.new + cookies.valid + cookies.bad > 0 {
        lines.push(format!("cookies: {} valid, {} bad, {} of new clients", cookies.valid, cookies.bad, cookies.new));
    }
    let tsig = statistics.tsig;
    let refused = tsig.malformed + tsig.bad_sig + tsig.bad_key + tsig.bad_time + tsig.bad_trunc;
    if tsig.verified + refused > 0 {
        lines.push(format!(
            "signed queries: {} verified, {refused} refused ({} BADKEY, {} BADSIG, {} BADTIME)",
            tsig.verified, tsig.bad_key, tsig.bad_sig, tsig.bad_time
        ));
    }
    let transfers = statistics.transfers;
    if transfers != Transferred::default() {
        lines.push(format!(
            "zone transfers: {} whole, {} of differences, {} up to date, {} broken off, {} refused, {} put off",
            transfers.whole,
            transfers.differences,
            transfers.soa_only,
            transfers.broken_off,
            transfers.refused,
            transfers.put_off
        ));
    }
    let updates = statistics.updates;
    if updates != Updated::default() {
        lines.push(format!(
            "updates: {} done, {} of what was so already, {} not met, {} faulty, {} refused, {} repeated, {} failed, {} put off",
            updates.done,
            updates.unchanged,
            updates.not_met,
            updates.faulty,
            updates.refused,
            updates.repeated,
            updates.failed,
            updates.put_off
        ));
    }
    let notify = statistics.notify;
    if notify.taken + notify.refused > 0 {
        lines.push(format!("NOTIFY: {} taken, {} refused", notify.taken, notify.refused));
    }
    lines.extend(statistics.connections.iter().map(|one| {
        let handshakes = match one.handshakes_failed {
            0 => String::new(),
            failed => format!(", {failed} handshakes failed"),
        };
        format!(
            "{} connections: {} open, {} accepted, {} refused{handshakes}",
            one.transport, one.open, one.accepted, one.refused
        )
    }));
    if !report.encrypted.is_empty() {
        lines.push(match &report.presented {
            None => "certificate presented: none".to_owned(),
            Some(certificate) => format!(
                "certificate presented: {} for {}, expires {}",
                certificate.file,
                certificate.names.join(" "),
                print_moment(certificate.not_after)
            ),
        });
    }
    lines
}

fn queries(statistics: &Statistics) -> String {
    let asked = statistics.asked();
    let used = statistics.queries.iter().filter(|queries| queries.ipv4 + queries.ipv6 > 0);
    let parts: Vec<String> =
        used.map(|queries| format!("{} {}", queries.transport, queries.ipv4 + queries.ipv6)).collect();
    if parts.is_empty() {
        return "none yet".to_owned();
    }
    let ipv6: u64 = statistics.queries.iter().map(|queries| queries.ipv6).sum();
    let mut line = format!("{asked} ({}), {ipv6} over IPv6, {} with DO", parts.join(", "), statistics.dnssec_ok);
    if statistics.unanswerable > 0 {
        line.push_str(&format!(", {} not to be answered", statistics.unanswerable));
    }
    line
}

fn rate_limit(report: &StatusReport) -> String {
    let limited = report.statistics.rate_limit;
    match report.responses_per_second {
        0 if limited.dropped + limited.slipped == 0 => "rate limit: none".to_owned(),
        limit => format!(
            "rate limit: {limit} responses a second, {} dropped, {} sent short",
            limited.dropped, limited.slipped
        ),
    }
}

/// Those that occurred, the most frequent first.
fn counts(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<(&String, &u64)> = counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
