//! `profile`: where an answer's time goes. Instructions by callgrind, which counts the same on every machine; system calls by strace; and
//! functions by perf, folded as flame graphs want it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::compare::{QUESTIONS, house};
use crate::data::Data;
use crate::fixture::{Form, Kind};
use crate::flood::{Load, Outcome, run as flood};
use crate::process::{find, pin, run};
use crate::servers::{Purpose, Running, Server, Setting};
use crate::table::{Cell, Table};
use crate::zones::{Set, Workload};
use crate::{Error, Result};

/// Answers that callgrind looks at, of each kind.
const COUNTED: u64 = 5000;

fn program(name: &str) -> Result<Command> {
    find(name).map(Command::new).ok_or_else(|| Error::new(format!("{name} is not installed")))
}

/// Instructions of the answer function, by kind of question and form.
pub fn instructions(set: Set) -> Result<Table> {
    let title = format!("instructions per answer, {}; callgrind over {COUNTED} answers", set.label());
    let mut table = Table::new(title, &["question", "NSEC, DO", "NSEC3, DO", "no EDNS"]);
    let title = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    for kind in Kind::ALL {
        let mut row = vec![Cell::Text(title(&kind))];
        for form in Form::ALL {
            let mut command = program("valgrind")?;
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
            command.arg("--toggle-collect=*bench_answers*").arg(std::env::current_exe()?);
            command.args(["answers", &title(&kind), &title(&form), &COUNTED.to_string(), "--set", set.label()]);
            let output = command.stdin(Stdio::null()).output()?;
            let text = String::from_utf8_lossy(&output.stderr);
            let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse::<f64>().ok());
            let collected = collected.filter(|count| *count > 0.0);
            let counted = collected.ok_or_else(|| Error::new(format!("callgrind counted nothing: {}", text.trim())))?;
            row.push(Cell::Number(counted / COUNTED as f64, 0));
        }
        table.row(row);
    }
    Ok(table)
}

/// What a server is asked while it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The zones.
    pub set: Set,
    /// Over TCP.
    pub tcp: bool,
    /// How long.
    pub time: Duration,
    /// Sockets or connections.
    pub sockets: usize,
    /// Queries under way.
    pub window: usize,
}

/// Asks while a tool looks at the server; the tool ends by SIGINT.
fn looked_at(running: &Running, look: &Look, command: &mut Command) -> Result<Outcome> {
    let queries: Vec<Vec<u8>> =
        look.set.questions(Workload::Mix, QUESTIONS).iter().map(|question| question.query(true)).collect();
    let load = |time| Load { port: running.port, tcp: look.tcp, sockets: look.sockets, window: look.window, time };
    flood(&load(look.time / 4), &queries, 0)?;
    let mut tool: Child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // It attaches meanwhile.
    std::thread::sleep(Duration::from_millis(500));
    let outcome = flood(&load(look.time), &queries, 0);
    if let Some(id) = Pid::from_raw(tool.id() as i32) {
        kill_process(id, Signal::INT).map_err(std::io::Error::from)?;
    }
    tool.wait()?;
    outcome
}

fn served(setting: &Setting, server: &Server, look: &Look) -> Result<crate::compare::Housed> {
    let data = Data::ready(&setting.data, look.set)?;
    pin(setting.cores.1)?;
    let purpose = Purpose::Answering { tcp: look.tcp, workload: Workload::Mix };
    house(setting, &data, server, setting.port, purpose)
}

/// System calls of a server by answer. It is slower under strace, so its batches are fuller than they would be.
pub fn system_calls(setting: &Setting, server: &Server, look: &Look) -> Result<Table> {
    let housed = served(setting, server, look)?;
    let out = housed.running.folder.join("strace");
    let mut command = program("strace")?;
    command
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&out)
        .args(["-p", &housed.running.process.id().to_string()]);
    let outcome = looked_at(&housed.running, look, &mut command)?;
    let transport = if look.tcp { "TCP" } else { "UDP" };
    let title =
        format!("system calls of {}, {transport}, {}; {} answers", server.label(), look.set.label(), outcome.answered);
    let mut table = Table::new(title, &["call", "calls", "per 1000 answers"]);
    for line in fs::read_to_string(out)?.lines() {
        let mut words = line.split_whitespace();
        let (Some(Ok(calls)), Some(name)) = (words.next().map(str::parse::<u32>), words.next()) else { continue };
        let per_answer = 1000.0 * f64::from(calls) / outcome.answered as f64;
        table.row(vec![Cell::Text(name.to_owned()), Cell::Number(calls.into(), 0), Cell::Number(per_answer, 2)]);
    }
    Ok(table)
}

/// The functions that a server was in, and into `folded` the stacks, a line each with how often it was seen.
pub fn functions(setting: &Setting, server: &Server, look: &Look, folded: &Path, top: usize) -> Result<Table> {
    let housed = served(setting, server, look)?;
    let recorded = housed.running.folder.join("perf.data");
    let mut command = program("perf")?;
    command.args(["record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,8192", "-o"]).arg(&recorded);
    command.args(["-p", &housed.running.process.id().to_string()]);
    looked_at(&housed.running, look, &mut command)?;
    let script = run(program("perf")?.args(["script", "--no-inline", "-F", "comm,ip,sym", "-i"]).arg(&recorded))?;
    let stacks = fold(&script);
    let total: u64 = stacks.values().sum();
    if total == 0 {
        return Err(Error::new("perf saw nothing"));
    }
    let mut text = String::new();
    let (mut own, mut with): (BTreeMap<&str, u64>, BTreeMap<&str, u64>) = Default::default();
    for (stack, count) in &stacks {
        text += &format!("{stack} {count}\n");
        let mut frames: Vec<&str> = stack.split(';').skip(1).collect();
        *own.entry(frames.last().unwrap_or(&"?")).or_default() += count;
        frames.sort_unstable();
        frames.dedup();
        frames.iter().for_each(|frame| *with.entry(frame).or_default() += count);
    }
    fs::write(folded, text)?;
    let transport = if look.tcp { "TCP" } else { "UDP" };
    let title = format!("functions of {}, {transport}, {}; {total} samples", server.label(), look.set.label());
    let mut table = Table::new(title, &["function", "itself %", "with callees %"]);
    let mut sorted: Vec<(&str, u64)> = own.into_iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let share = |count: u64| Cell::Number(100.0 * count as f64 / total as f64, 1);
    for (function, count) in sorted.into_iter().take(top) {
        let with = with.get(function).copied().unwrap_or(count);
        table.row(vec![Cell::Text(format!("`{function}`")), share(count), share(with)]);
    }
    table.note(format!("Stacks: {}", folded.display()));
    Ok(table)
}

/// `perf script` as stacks, the outermost first, and how often each was seen.
fn fold(script: &str) -> BTreeMap<String, u64> {
    let mut stacks = BTreeMap::new();
    for sample in script.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next() else { continue };
        let symbol = |line: &str| -> String {
            let symbol = line.trim().split_once(' ').map_or("?", |(_, symbol)| symbol);
            // Without the hash that Rust puts behind.
            let end = symbol.rfind("::h").filter(|at| symbol.len() - at == 19).unwrap_or(symbol.len());
            symbol[..end].replace(';', ":")
        };
        let mut frames: Vec<String> = lines.map(symbol).collect();
        frames.push(thread.trim().to_owned());
        frames.reverse();
        *stacks.entry(frames.join(";")).or_default() += 1;
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_folded_from_the_outermost_frame_on() {
        let sample = "danelaw\n  55 danelaw::answer::respond::h0123456789abcdef\n  54 main\n";
        let stacks = fold(&format!("{sample}\n{sample}\ndanelaw\n  ff [unknown]\n"));
        let expected = [("danelaw;[unknown]".to_owned(), 1), ("danelaw;main;danelaw::answer::respond".to_owned(), 2)];
        assert_eq!(stacks, BTreeMap::from(expected));
    }
}
