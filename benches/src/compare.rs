//! `udp` and `tcp`: all servers are started, then each round asks one after another, so that a slow minute of the machine falls on all.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::data::Data;
use crate::flood::{Load, Outcome, run};
use crate::process::{Process, pin};
use crate::servers::{Purpose, Running, Server, Setting, Start};
use crate::table::{Cell, Table, least, median};
use crate::zones::{Set, Workload};
use crate::{Error, Result};

/// How long a server may take until it answers: a large zone is signed meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// A server that uses less than a fiftieth of this is at rest.
const LOOK: Duration = Duration::from_millis(500);
/// Questions of a workload.
pub const QUESTIONS: usize = 200_000;

const COLUMNS: &[&str] = &[
    "server",
    "answers/s",
    "CPU s per million",
    "its least",
    "busy %",
    "waited %",
    "latency µs",
    "loss %",
    "answer octets",
    "response codes",
    "memory MiB",
];

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The zones.
    pub set: Set,
    /// The questions.
    pub workload: Workload,
    /// Over TCP.
    pub tcp: bool,
    /// How often.
    pub rounds: usize,
    /// How long each.
    pub time: Duration,
    /// How long before the first.
    pub warm: Duration,
    /// Sockets or connections.
    pub sockets: usize,
    /// Queries under way.
    pub window: usize,
}

/// A round of one server.
struct Round {
    outcome: Outcome,
    cpu: Duration,
    waited: Duration,
}

impl Round {
    fn per_million(&self) -> f64 {
        self.cpu.as_secs_f64() / self.outcome.answered.max(1) as f64 * 1e6
    }

    fn share(&self, of: Duration) -> f64 {
        100.0 * of.as_secs_f64() / self.outcome.time.as_secs_f64()
    }
}

/// A server in a folder that goes with it.
pub struct Housed {
    /// It.
    pub running: Running,
    /// None where it is to stay.
    _folder: Option<TempDir>,
}

/// A folder for a server; kept if the setting says so.
pub fn folder(setting: &Setting, server: &Server) -> Result<(std::path::PathBuf, Option<TempDir>)> {
    let made = tempfile::Builder::new().prefix(&format!("bench-{}-", server.label())).tempdir()?;
    if setting.keep { Ok((made.keep(), None)) } else { Ok((made.path().to_owned(), Some(made))) }
}

/// Starts a server in a folder of its own and waits until it answers rightly.
pub fn house(setting: &Setting, data: &Data, server: &Server, port: u16, purpose: Purpose) -> Result<Housed> {
    let (path, made) = folder(setting, server)?;
    let mut running = Start { setting, data, port, folder: &path, purpose }.start(server)?;
    running.ready(data, PATIENCE)?;
    rest(&running.process).map_err(|error| Error::new(format!("{}: {error}", server.label())))?;
    Ok(Housed { running, _folder: made })
}

/// Waits until a server has done what it does after it answers: that belongs to no answer.
pub fn rest(process: &Process) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let (before, look) = (process.cpu(), Instant::now());
        std::thread::sleep(LOOK);
        if process.cpu().saturating_sub(before) < look.elapsed() / 50 {
            return Ok(());
        }
    }
    Err(Error::new("it never comes to rest"))
}

/// Measures, one server after another in each round.
pub fn compare(setting: &Setting, servers: &[Server], plan: &Plan) -> Result<Table> {
    let data = Data::ready(&setting.data, plan.set)?;
    pin(setting.cores.1)?;
    let purpose = Purpose::Answering { tcp: plan.tcp, workload: plan.workload };
    let mut housed = Vec::new();
    for (server, port) in servers.iter().zip(setting.port..) {
        housed.push(house(setting, &data, server, port, purpose)?);
    }
    let questions = plan.set.questions(plan.workload, QUESTIONS);
    let queries: Vec<Vec<u8>> =
        questions.iter().map(|question| question.query(plan.workload != Workload::Nodo)).collect();
    let mut rounds: Vec<Vec<Round>> = housed.iter().map(|_| Vec::new()).collect();
    for round in 0..=plan.rounds {
        for (one, rounds) in housed.iter_mut().zip(&mut rounds) {
            let time = if round == 0 { plan.warm } else { plan.time };
            if time.is_zero() {
                continue;
            }
            let measured = measure(one, plan, time, &queries, round)?;
            rounds.extend((round > 0).then_some(measured));
        }
    }
    Ok(table(plan, &housed, &rounds))
}

fn measure(one: &mut Housed, plan: &Plan, time: Duration, queries: &[Vec<u8>], round: usize) -> Result<Round> {
    let running = &mut one.running;
    let load = Load { port: running.port, tcp: plan.tcp, sockets: plan.sockets, window: plan.window, time };
    let (cpu, waited) = (running.process.cpu(), running.process.waited());
    // Each round begins elsewhere among the questions.
    let outcome = run(&load, queries, round * 7919);
    let outcome = outcome.map_err(|error| Error::new(format!("{}: {error}", running.server.label())))?;
    running.process.check()?;
    let (cpu, waited) = (running.process.cpu().saturating_sub(cpu), running.process.waited().saturating_sub(waited));
    Ok(Round { outcome, cpu, waited })
}

fn table(plan: &Plan, housed: &[Housed], rounds: &[Vec<Round>]) -> Table {
    let Plan { set, workload, tcp, sockets, window, .. } = plan;
    let mut table = Table::new(
        format!(
            "{}, {}, {}; {sockets} {}, {window} queries under way; medians of {} x {} s",
            set.label(),
            workload.label(),
            if *tcp { "TCP" } else { "UDP" },
            if *tcp { "connections" } else { "sockets" },
            plan.rounds,
            plan.time.as_secs_f64()
        ),
        COLUMNS,
    );
    for (one, rounds) in housed.iter().zip(rounds) {
        let of = |field: &dyn Fn(&Round) -> f64| -> Vec<f64> { rounds.iter().map(field).collect() };
        let number = |field: &dyn Fn(&Round) -> f64, decimals| Cell::Number(median(of(field)), decimals);
        let answered = |round: &Round| round.outcome.answered.max(1) as f64;
        table.row(vec![
            Cell::Text(one.running.server.label()),
            number(&|round| round.outcome.answered as f64 / round.outcome.time.as_secs_f64(), 0),
            number(&Round::per_million, 3),
            Cell::Number(least(&of(&Round::per_million)), 3),
            number(&|round| round.share(round.cpu), 0),
            number(&|round| round.share(round.waited), 0),
            number(&|round| round.outcome.latency.as_secs_f64() * 1e6 / answered(round), 0),
            number(&|round| 100.0 * round.outcome.lost as f64 / round.outcome.sent.max(1) as f64, 3),
            number(&|round| round.outcome.octets as f64 / answered(round), 0),
            Cell::Text(rounds.last().map(|round| codes(&round.outcome)).unwrap_or_default()),
            Cell::Number(one.running.process.memory(), 1),
        ]);
    }
    table
}

fn codes(outcome: &Outcome) -> String {
    const NAMES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
    let share = |count: u64| 100.0 * count as f64 / outcome.answered.max(1) as f64;
    let counted = outcome.rcodes.iter().enumerate().filter(|(_, count)| **count > 0);
    let mut codes: Vec<String> = counted
        .map(|(code, count)| {
            let name = NAMES.get(code).map_or_else(|| format!("RCODE{code}"), |name| (*name).to_owned());
            format!("{name} {:.1} %", share(*count))
        })
        .collect();
    codes.extend((outcome.truncated > 0).then(|| format!("TC {:.1} %", share(outcome.truncated))));
    codes.extend((outcome.ended > 0).then(|| format!("{} connections ended", outcome.ended)));
    codes.join(", ")
}
