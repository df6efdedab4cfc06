//! `transfer`: a whole zone to a Knot secondary, from one primary after another in each run. The time is the secondary's own, from its
//! request to the last message; each primary has a secondary of its own, which stores nothing.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::compare::{Housed, house};
use crate::data::Data;
use crate::process::{Process, find, pin, run};
use crate::servers::{Purpose, Server, Setting};
use crate::table::{Cell, Table, least, median, most};
use crate::zones::Set;
use crate::{Error, Result};

const COLUMNS: &[&str] =
    &["primary", "seconds", "least", "most", "CPU s of the primary", "messages", "MiB", "memory MiB"];
/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(2);
/// Secondaries answer at ports so much higher than their primaries.
const HIGHER: u16 = 100;

/// A primary, its secondary, and what was measured.
struct Pair {
    primary: Housed,
    secondary: Secondary,
    seconds: Vec<f64>,
    cpu: Vec<f64>,
}

/// Measures the first zone of a set.
pub fn transfer(setting: &Setting, servers: &[Server], set: Set, runs: usize) -> Result<Table> {
    if find("knotd").is_none() || find("knotc").is_none() {
        return Err(Error::new("the secondary is Knot, which is not installed"));
    }
    let data = Data::ready(&setting.data, set)?;
    pin(setting.cores.1)?;
    let mut pairs = Vec::new();
    let primaries = servers.iter().filter(|server| server.is_checked() && **server != Server::Pdns);
    for (server, port) in primaries.zip(setting.port..) {
        let primary = house(setting, &data, server, port, Purpose::Transferring)?;
        let secondary = Secondary::start(setting, &set.zone(0), port)?;
        pairs.push(Pair { primary, secondary, seconds: Vec::new(), cpu: Vec::new() });
    }
    for _ in 0..runs {
        for pair in &mut pairs {
            let process = &pair.primary.running.process;
            let before = process.cpu();
            pair.seconds.push(pair.secondary.retransfer()?.seconds);
            pair.cpu.push((process.cpu() - before).as_secs_f64());
        }
    }
    let mut table =
        Table::new(format!("AXFR of {} to Knot; medians of {runs}, one after another", set.zone(0)), COLUMNS);
    for pair in pairs {
        let taken = pair.secondary.taken()?.pop().ok_or_else(|| Error::new("nothing was taken"))?;
        table.row(vec![
            Cell::Text(pair.primary.running.server.label()),
            Cell::Number(median(pair.seconds.clone()), 2),
            Cell::Number(least(&pair.seconds), 2),
            Cell::Number(most(&pair.seconds), 2),
            Cell::Number(median(pair.cpu), 2),
            Cell::Number(taken.messages, 0),
            Cell::Number(taken.octets / f64::from(1 << 20), 1),
            Cell::Number(pair.primary.running.process.memory(), 1),
        ]);
    }
    Ok(table)
}

/// A Knot that takes one zone.
struct Secondary {
    zone: String,
    folder: TempDir,
    process: Process,
}

/// A transfer as Knot logs it.
struct Taken {
    seconds: f64,
    messages: f64,
    octets: f64,
}

impl Secondary {
    /// Starts it on the clients' core; it has the zone when this returns.
    fn start(setting: &Setting, zone: &str, primary: u16) -> Result<Secondary> {
        let made = tempfile::Builder::new().prefix("bench-secondary-").tempdir()?;
        let (folder, port, core) = (made.path().display(), primary + HIGHER, setting.cores.1);
        let config = format!(
            "server:\n    rundir: \"{folder}\"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
             background-workers: 1\ndatabase:\n    storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\nremote:\n  \
             - id: primary\n    address: 127.0.0.1@{primary}\ntemplate:\n  - id: default\n    storage: \"{folder}\"\n    \
             master: primary\n    zonefile-sync: -1\n    journal-content: none\nzone:\n  - domain: {zone}\n"
        );
        fs::write(made.path().join("knot.conf"), config)?;
        let mut command = Command::new(find("knotd").unwrap_or_else(|| "knotd".into()));
        command.arg("-c").arg(made.path().join("knot.conf"));
        let process = Process::start(&mut command, made.path(), (core, core))?;
        let mut secondary = Secondary { zone: zone.to_owned(), folder: made, process };
        secondary.wait_for(1)?;
        Ok(secondary)
    }

    /// Takes the zone again, whole.
    fn retransfer(&mut self) -> Result<Taken> {
        let before = self.taken()?.len();
        let mut order = Command::new(find("knotc").unwrap_or_else(|| "knotc".into()));
        order.arg("-c").arg(self.folder.path().join("knot.conf"));
        run(order.args(["zone-retransfer", &self.zone]))?;
        self.wait_for(before + 1)
    }

    fn wait_for(&mut self, count: usize) -> Result<Taken> {
        let begun = Instant::now();
        loop {
            let mut taken = self.taken()?;
            if taken.len() >= count
                && let Some(last) = taken.pop()
            {
                // What it does with the zone is not the next primary's.
                crate::compare::rest(&self.process)?;
                return Ok(last);
            }
            self.process.check()?;
            if begun.elapsed() > PATIENCE {
                return Err(Error::new(format!("{} is never taken: {}", self.zone, self.process.output.display())));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Every transfer until now.
    fn taken(&self) -> Result<Vec<Taken>> {
        let log = fs::read_to_string(&self.process.output)?;
        let lines = log.lines().filter(|line| line.contains("AXFR, incoming") && line.contains("finished"));
        let number =
            |line: &str, unit: &str| -> Option<f64> { line.split(unit).next()?.rsplit(' ').next()?.parse().ok() };
        let taken = |line: &str| {
            Some(Taken {
                seconds: number(line, " seconds")?,
                messages: number(line, " messages")?,
                octets: number(line, " bytes")?,
            })
        };
        Ok(lines.filter_map(taken).collect())
    }
}
