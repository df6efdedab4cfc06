//! `plan` and `simulate`: what a rollover does, when and why, and what resolvers may hold meanwhile. `plan` asks the running daemon;
//! `simulate` steps the machine through a time that does not pass.

use std::collections::BTreeSet;

use super::args::{Host, Simulate};
use super::ask::harmless;
use super::output::{Mark, Output};
use super::rollover::unreadable;
use super::{CliError, Outcome};
use crate::config::Config;
use crate::dane::rollover::timeline::{self, Assumptions, HYPOTHETICAL, Moment};
use crate::dane::rollover::{Chain, Event, Reading, Settings, Version};
use crate::dane::tlsa::{Matching, Parameters, Selector, Tlsa, Usage};
use crate::dns::Timestamp;
use crate::dns::text::print_moment;
use crate::keeper::RolloverReport;
use crate::serve::control::{Request, call};

/// What the certificate is called that there is.
const CURRENT: &str = "the current certificate";
/// When a simulation begins, seconds since 1970; it prints what has gone by since.
const START: Timestamp = 1_000_000_000;

/// Of a host that the daemon leads.
pub fn plan(config: &Config, host: &Host, out: &mut Output) -> Result<Outcome, CliError> {
    let answer = call(&config.control_socket, &Request::Plan { host: host.host.clone() })?;
    if host.json {
        out.json(&answer)?;
        return Ok(Outcome::Done);
    }
    let moments: Vec<Moment> = serde_json::from_value(answer).map_err(unreadable)?;
    show(&moments, print_moment, out)?;
    let reports = call(&config.control_socket, &Request::Rollovers { host: Some(host.host.clone()) })?;
    let reports: Vec<RolloverReport> = serde_json::from_value(reports).map_err(unreadable)?;
    let problems: Vec<String> = reports.into_iter().flat_map(|report| report.problems).collect();
    if problems.is_empty() {
        return Ok(Outcome::Done);
    }
    out.line("this is so if nothing stands in the way, and something does:")?;
    for problem in problems {
        out.line(out.marked(Mark::Bad, &harmless(&format!("  problem: {problem}"))))?;
    }
    Ok(Outcome::Findings)
}

/// Of nobody.
pub fn run(args: &Simulate, out: &mut Output) -> Result<Outcome, CliError> {
    let moments = if args.naive { naive(args) } else { simulated(args) };
    if args.json {
        out.json(&moments)?;
    } else {
        show(&moments, |at| format!("+{}", elapsed(at.saturating_sub(START))), out)?;
    }
    Ok(Outcome::Done)
}

fn show(moments: &[Moment], time: impl Fn(Timestamp) -> String, out: &mut Output) -> Result<(), CliError> {
    if moments.is_empty() {
        return out.line("nothing is installed yet, and nothing is on its way");
    }
    let cached = |moment: &Moment| {
        let set = |ids: &Vec<String>| if ids.is_empty() { "nothing".to_owned() } else { ids.join(" + ") };
        moment.cached.iter().map(set).collect::<Vec<_>>().join(", or ")
    };
    for moment in moments {
        out.line(harmless(&format!("{}  {}", time(moment.at), moment.what)))?;
        let until = moment.until.map_or(String::new(), |until| format!(", until {}", time(until)));
        out.line(harmless(&format!("    why: {}{until}", moment.why)))?;
        out.line(harmless(&format!("    resolvers may hold: {}", cached(moment))))?;
    }
    Ok(())
}

/// Days, hours, minutes and seconds.
fn elapsed(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    format!("{days}d {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

fn simulated(args: &Simulate) -> Vec<Moment> {
    let now = Reading { wall: START, boot: START, boot_id: 1, synchronised: true };
    let servers: BTreeSet<String> = (0..=args.secondaries).map(server).collect();
    let dead = (0..args.dead.min(args.secondaries)).map(|number| server(args.secondaries - number)).collect();
    let assumptions = Assumptions { lag: args.lag, dead, hook: 1 };
    let (current, next) = (version(CURRENT, 1, 1), version(HYPOTHETICAL, 2, if args.same_key { 1 } else { 2 }));
    let settings = Settings {
        parameters: args.parameters.iter().copied().collect(),
        ttl: u32::try_from(args.ttl).unwrap_or(u32::MAX),
        interval: args.confirmation_interval,
        expire: u32::try_from(args.expire).unwrap_or(u32::MAX),
        hook: true,
        ..Settings::default()
    };
    let state = timeline::settled(settings, &servers, current, now);
    let key = next.chains.first().filter(|_| args.next_key).map(|chain| Chain {
        records: chain.records.iter().filter(|record| is_of_key(record)).cloned().collect(),
        ..chain.clone()
    });
    let (state, now) = match key {
        Some(key) => {
            timeline::later(&state, Event::NextKeys(vec![key]), now, args.confirmation_interval + 3 * args.ttl)
        }
        None => (state, now),
    };
    let mut moments = timeline::after(&state, Event::Source(next), now, &assumptions);
    let before = now.wall - START;
    for moment in &mut moments {
        moment.at -= before;
        moment.until = moment.until.map(|until| until - before);
    }
    moments
}

fn server(number: u8) -> String {
    if number == 0 { "this server".to_owned() } else { format!("secondary {number}") }
}

fn is_of_key(record: &Tlsa) -> bool {
    let Parameters { usage, selector, .. } = record.parameters;
    usage == Usage::DaneEe && selector == Selector::Spki
}

/// A certificate with this number, of this key, of one and the same issuer.
fn version(id: &str, number: u8, key: u8) -> Version {
    let mut records = Vec::new();
    for usage in [Usage::DaneTa, Usage::DaneEe] {
        for selector in [Selector::Cert, Selector::Spki] {
            for matching in [Matching::Full, Matching::Sha256, Matching::Sha512] {
                let of = match (usage, selector) {
                    (Usage::DaneTa, _) => 100,
                    (_, Selector::Spki) => key,
                    (_, Selector::Cert) => number,
                };
                records.push(Tlsa { parameters: Parameters { usage, selector, matching }, data: vec![of; 32] });
            }
        }
    }
    Version { id: id.to_owned(), chains: vec![Chain { fingerprint: id.to_owned(), records, also: Vec::new() }] }
}

/// The certificate is swapped, its record follows at once: what resolvers hold doesn't match for as long as they hold it.
fn naive(args: &Simulate) -> Vec<Moment> {
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<String>>();
    let moment = |after: u64, what: &str, why: String, cached: Vec<Vec<String>>| Moment {
        at: START + after,
        what: what.to_owned(),
        why,
        until: None,
        cached,
    };
    let both = vec![ids(&[CURRENT]), ids(&[HYPOTHETICAL])];
    let until = args.lag + 2 * args.ttl;
    vec![
        moment(
            0,
            "the mail server presents the next certificate, and its record is published in the place of the old one",
            "who holds the old record refuses the new certificate: mail is deferred".to_owned(),
            both.clone(),
        ),
        moment(
            args.lag,
            "every nameserver shows the next record",
            format!("caches that hold the old one still refuse, for up to 2 x {} s", args.ttl),
            both,
        ),
        moment(
            until,
            "every resolver holds the next record",
            format!("mail was deferred for up to {}", elapsed(until)),
            vec![ids(&[HYPOTHETICAL])],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::{Args, Command};
    use super::*;

    fn simulate(arguments: &[&str]) -> Vec<(u64, String)> {
        let arguments = ["danelaw", "simulate"].iter().chain(arguments);
        let Command::Simulate(args) = Args::try_parse_from(arguments).unwrap().command else { panic!("simulate") };
        let moments = if args.naive { naive(&args) } else { simulated(&args) };
        moments.into_iter().map(|moment| (moment.at - START, moment.what)).collect()
    }

    /// When the first moment is whose words begin so.
    fn when(moments: &[(u64, String)], words: &str) -> u64 {
        let found = moments.iter().find(|(_, what)| what.contains(words));
        found.unwrap_or_else(|| panic!("no {words} in {moments:?}")).0
    }

    #[test]
    fn the_times_are_those_of_the_rules() {
        let day = 86_400;
        let plain = simulate(&[]);
        let shown = when(&plain, "the wait begins");
        assert!((60..=120).contains(&shown), "{plain:?}");
        assert_eq!(when(&plain, "is installed"), shown + day);
        assert_eq!(when(&plain, "are published together"), 0);
        let served = when(&plain, "every address presents");
        assert!(served <= shown + day + 10, "{plain:?}");
        assert_eq!(when(&plain, "all that is published"), served + 2 * 3600);
        let long = simulate(&["--ttl", "2d"]);
        assert_eq!(when(&long, "is installed"), when(&long, "the wait begins") + 4 * day, "twice the TTL");
        for at_once in [&["--same-key"][..], &["--next-key"]] {
            let moments = simulate(at_once);
            assert!(when(&moments, "is installed") <= 60, "{at_once:?}: {moments:?}");
        }
        let dead = simulate(&["--secondaries", "2", "--dead", "1", "--expire", "5d"]);
        let installed = when(&dead, "is installed");
        assert!((5 * day + 7200..5 * day + 7200 + 700).contains(&installed), "{dead:?}");
    }

    #[test]
    fn what_a_plain_renewal_does_is_told() {
        let moments = simulate(&["--naive", "--lag", "0"]);
        assert_eq!(moments.last().unwrap().0, 7200);
    }
}
