//! `bench`: arguments become one measurement, printed as a table. Exit code 1 where it could not be made.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use danelaw_benches::args::{Answering, Args, Command, Look, Profile, Which};
use danelaw_benches::ceiling::{Echo, Responder, serve_tcp, serve_udp, table};
use danelaw_benches::change::change;
use danelaw_benches::compare::{Plan, QUESTIONS, compare};
use danelaw_benches::data::now;
use danelaw_benches::fixture::{Asking, bench_answers, snapshot};
use danelaw_benches::rollover::rollover;
use danelaw_benches::servers::{Server, Setting};
use danelaw_benches::signing::signing;
use danelaw_benches::startup::startup;
use danelaw_benches::table::Table;
use danelaw_benches::transfer::transfer;
use danelaw_benches::{Error, Result, profile};

fn main() -> ExitCode {
    let args = Args::parse();
    let made = run(&args).and_then(|table| print(table, args.json));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn tell(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

fn print(table: Option<Table>, json: bool) -> Result<()> {
    let Some(table) = table else { return Ok(()) };
    let text = if json { format!("{:#}", table.json()) } else { table.markdown() };
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn run(args: &Args) -> Result<Option<Table>> {
    let beside = |name: &str| -> Result<PathBuf> { Ok(std::env::current_exe()?.with_file_name(name)) };
    let danelaw = args.danelaw.clone().map_or_else(|| beside("danelaw"), Ok)?;
    let setting = Setting {
        data: args.data.clone().map_or_else(|| beside("bench-data"), Ok)?,
        cores: (args.server_core, args.client_core),
        port: args.port,
        keep: args.keep,
    };
    let servers = || installed(&args.servers, &danelaw);
    let first = || servers()?.into_iter().next().ok_or_else(|| Error::new("no server to look at"));
    Ok(Some(match &args.command {
        Command::Udp(how) => compare(&setting, &servers()?, &plan(how, false))?,
        Command::Tcp(how) => compare(&setting, &servers()?, &plan(how, true))?,
        Command::Startup(how) => startup(&setting, &servers()?, how.set, how.runs)?,
        Command::Signing(how) => signing(&setting, &danelaw, how.set, how.runs)?,
        Command::Change(how) => change(&setting, &servers()?, how.set, how.runs)?,
        Command::Transfer(how) => transfer(&setting, &servers()?, how.set, how.runs)?,
        Command::Rollover { hosts, seconds } => rollover(&setting, &danelaw, *hosts, *seconds)?,
        Command::Profile(Profile::Instructions { set }) => profile::instructions(*set)?,
        Command::Profile(Profile::SystemCalls(how)) => profile::system_calls(&setting, &first()?, &look(how))?,
        Command::Profile(Profile::Functions { look: how, top, folded }) => {
            profile::functions(&setting, &first()?, &look(how), folded, *top)?
        }
        Command::Ceiling { which, port, set, workload, signed, tcp } => {
            match which {
                Which::Lookup => serve(&table(*set, *workload, QUESTIONS, signed, now())?, *port, *tcp)?,
                _ => serve(&Echo, *port, *tcp)?,
            }
            return Ok(None);
        }
        Command::Answers { kind, form, count, set } => {
            let mut asking = Asking::new(&Arc::new(snapshot(*set, &form.denial())?), *set, *kind, *form)?;
            bench_answers(&mut asking, *count);
            return Ok(None);
        }
    }))
}

fn plan(how: &Answering, tcp: bool) -> Plan {
    let (sockets, window) = if tcp { (50, 400) } else { (8, 256) };
    Plan {
        set: how.set,
        workload: how.workload,
        tcp,
        rounds: how.rounds,
        time: how.seconds,
        warm: how.warm,
        sockets: how.sockets.unwrap_or(sockets),
        window: how.window.unwrap_or(window),
    }
}

fn look(how: &Look) -> profile::Look {
    let (sockets, window) = if how.tcp { (50, 400) } else { (8, 256) };
    profile::Look { set: how.set, tcp: how.tcp, time: how.seconds, sockets, window }
}

/// Those that are here; of the others it is said what is missing.
fn installed(which: &[Which], danelaw: &std::path::Path) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for which in which {
        let server = match which {
            Which::Danelaw => Server::Danelaw(danelaw.to_owned()),
            Which::DanelawPresigned => Server::Presigned(danelaw.to_owned()),
            Which::Nsd => Server::Nsd,
            Which::Knot => Server::Knot,
            Which::Bind => Server::Bind,
            Which::Pdns => Server::Pdns,
            Which::Lookup => Server::Lookup,
            Which::Echo => Server::Echo,
        };
        match server.missing().join(", ") {
            missing if missing.is_empty() => servers.push(server),
            missing => tell(&format!("{} is left out, missing: {missing}", server.label())),
        }
    }
    if servers.is_empty() { Err(Error::new("no server is left to measure")) } else { Ok(servers) }
}

fn serve<R: Responder>(responder: &R, port: u16, tcp: bool) -> Result<()> {
    writeln!(std::io::stderr(), "ready")?;
    if tcp { serve_tcp(responder, port) } else { serve_udp(responder, port) }
}
