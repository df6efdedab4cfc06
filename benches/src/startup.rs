//! `startup`: from the start of the program to its first right answer and to right answers all over its zones, and what that took.

use std::time::Instant;

use crate::Result;
use crate::compare::{PATIENCE, folder, rest};
use crate::data::Data;
use crate::probe::Probe;
use crate::process::{Process, pin};
use crate::servers::{Purpose, Server, Setting, Start};
use crate::table::{Cell, Table, median};
use crate::zones::{Set, Workload};

const COLUMNS: &[&str] = &["server", "first answer s", "all right s", "CPU s", "memory MiB"];

/// Measures; a danelaw that signs is started again over what it has stored.
pub fn startup(setting: &Setting, servers: &[Server], set: Set, runs: usize) -> Result<Table> {
    let data = Data::ready(&setting.data, set)?;
    pin(setting.cores.1)?;
    let mut table = Table::new(format!("start-up, {}; medians of {runs}", set.label()), COLUMNS);
    for server in servers.iter().filter(|server| server.is_checked()) {
        let again = matches!(server, Server::Danelaw(_));
        let mut starts = vec![Vec::new(); if again { 2 } else { 1 }];
        for _ in 0..runs {
            let (path, _made) = folder(setting, server)?;
            for times in &mut starts {
                times.push(once(setting, &data, server, &path)?);
            }
        }
        for (number, times) in starts.into_iter().enumerate() {
            let suffix = if number > 0 { ", from its store" } else { "" };
            let mut row = vec![Cell::Text(server.label() + suffix)];
            for (at, decimals) in [(0, 3), (1, 3), (2, 2), (3, 1)] {
                row.push(Cell::Number(median(times.iter().map(|run: &[f64; 4]| run[at]).collect()), decimals));
            }
            table.row(row);
        }
    }
    Ok(table)
}

/// Seconds to the first and to all, CPU seconds, MiB.
fn once(setting: &Setting, data: &Data, server: &Server, folder: &std::path::Path) -> Result<[f64; 4]> {
    let purpose = Purpose::Answering { tcp: false, workload: Workload::Mix };
    let mut command = Start { setting, data, port: setting.port, folder, purpose }.prepare(server)?;
    let mut probe = Probe::new(setting.port)?;
    let begun = Instant::now();
    let mut process = Process::start(&mut command, folder, setting.cores)?;
    let (first, all) = probe.ready(data.set, PATIENCE, || process.check())?;
    let measured =
        [(first - begun).as_secs_f64(), (all - begun).as_secs_f64(), process.cpu().as_secs_f64(), process.memory()];
    // What it stores for its next start may come after its first answers.
    rest(&process)?;
    Ok(measured)
}
