//! `change`: from the moment at which a change is there until its record is served with a signature that was not there before.
//!
//! danelaw is given a zone file or a certificate by rename. The others take the change in the quickest way that they have: NSD the whole
//! zone signed by ldns-signzone and a reload, Knot a control transaction, BIND a dynamic update.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use danelaw::dns::Rtype;

use crate::compare::house;
use crate::data::{Data, now};
use crate::probe::{Probe, name};
use crate::process::{find, pin, run};
use crate::servers::{Purpose, Running, Server, Setting};
use crate::table::{Cell, Table, least, median, most};
use crate::zones::{Random, Set};
use crate::{Error, Result};

const COLUMNS: &[&str] = &["server", "what changes", "served after ms", "least", "most"];
/// What takes longer than this never happens.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between changes, so that each finds a server at rest.
const REST: Duration = Duration::from_millis(1500);

/// Measures so many changes of each.
pub fn change(setting: &Setting, servers: &[Server], set: Set, changes: usize) -> Result<Table> {
    let data = Data::ready(&setting.data, set)?;
    pin(setting.cores.1)?;
    let mut table = Table::new(format!("a change, {}; medians of {changes}", set.zone(0)), COLUMNS);
    for server in servers {
        let what: &[&str] = match server {
            Server::Danelaw(_) => &["zone file", "certificate"],
            Server::Nsd | Server::Knot | Server::Bind => &["a record"],
            // What can't sign, or has no way that is quicker than a new start.
            Server::Pdns | Server::Presigned(_) | Server::Lookup | Server::Echo => continue,
        };
        let mut housed = house(setting, &data, server, setting.port, Purpose::Changing)?;
        std::thread::sleep(REST);
        for what in what {
            let mut times = Vec::new();
            for number in 0..changes {
                let time = once(setting, &data, &housed.running, what, number)?;
                times.push(time.as_secs_f64() * 1000.0);
                std::thread::sleep(REST);
                housed.running.process.check()?;
            }
            table.row(vec![
                Cell::Text(server.label()),
                Cell::Text((*what).to_owned()),
                Cell::Number(median(times.clone()), 2),
                Cell::Number(least(&times), 2),
                Cell::Number(most(&times), 2),
            ]);
        }
    }
    Ok(table)
}

fn once(setting: &Setting, data: &Data, running: &Running, what: &str, number: usize) -> Result<Duration> {
    let (zone, host) = data.set.changing();
    let hex = Random::new(now() * 1000 + number as u64).hex(32);
    // Serials only ever rise.
    let serial = now() + number as u64;
    let port = if what == "certificate" { 993 } else { 25 };
    let mut probe = Probe::new(running.port)?;
    let owner = format!("_{port}._tcp.{host}");
    let (records, signatures) = probe.records(&owner, Rtype::TLSA).unwrap_or_default();
    let change = prepare(data, running, what, (&zone, &host), (&hex, serial))?;
    std::thread::scope(|scope| {
        let server_core = setting.cores.0;
        let begun = Instant::now();
        let changing = scope.spawn(move || pin(server_core).and_then(|()| change()));
        while begun.elapsed() < PATIENCE {
            if let Some((now, signed)) = probe.records(&owner, Rtype::TLSA)
                && !now.is_subset(&records)
                && !signed.is_empty()
                && signed.is_disjoint(&signatures)
            {
                let time = begun.elapsed();
                changing.join().map_err(|_| Error::new("the change panicked"))??;
                return Ok(time);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        changing.join().map_err(|_| Error::new("the change panicked"))??;
        Err(Error::new(format!("{}: the change was never served", running.server.label())))
    })
}

type Change = Box<dyn FnOnce() -> Result<()> + Send>;

/// Everything that comes before the clock starts.
fn prepare(data: &Data, running: &Running, what: &str, of: (&str, &str), to: (&str, u64)) -> Result<Change> {
    let ((zone, host), (hex, serial), folder) = (of, to, running.folder.clone());
    let owner = name(&format!("_25._tcp.{host}"))?;
    let program = |name: &str| Command::new(find(name).unwrap_or_else(|| name.into()));
    match running.server {
        Server::Danelaw(_) if what == "certificate" => certificate(&folder, host),
        Server::Danelaw(_) => {
            let (new, file) = (folder.join("new"), folder.join(format!("zones/{zone}.zone")));
            fs::write(&new, data.changed(zone, host, hex, serial)?)?;
            Ok(Box::new(move || Ok(fs::rename(new, file)?)))
        }
        Server::Nsd => {
            let key = data.write_bind_key(&folder, zone)?;
            fs::write(folder.join("unsigned"), data.changed(zone, host, hex, serial)?)?;
            let mut sign = program("ldns-signzone");
            sign.args(["-o", zone, "-f"]).arg(folder.join("new")).arg(folder.join("unsigned")).arg(key);
            let mut reload = program("nsd-control");
            reload.arg("-c").arg(folder.join("nsd.conf")).args(["reload", zone]);
            let file = folder.join(format!("{zone}.zone"));
            Ok(Box::new(move || {
                run(&mut sign)?;
                fs::rename(folder.join("new"), file)?;
                run(&mut reload).map(drop)
            }))
        }
        Server::Knot => {
            let calls = [
                format!("zone-begin {zone}"),
                format!("zone-unset {zone} {owner} TLSA"),
                format!("zone-set {zone} {owner} 3600 TLSA 3 1 1 {hex}"),
                format!("zone-commit {zone}"),
            ];
            let knotc = find("knotc").unwrap_or_else(|| "knotc".into());
            Ok(Box::new(move || {
                let call = |words: &String| {
                    run(Command::new(&knotc).arg("-c").arg(folder.join("knot.conf")).args(words.split(' ')))
                };
                calls.iter().try_for_each(|words| call(words).map(drop))
            }))
        }
        Server::Bind => {
            let text = format!(
                "server 127.0.0.1 {}\nzone {zone}\nupdate delete {owner} TLSA\nupdate add {owner} 3600 TLSA 3 1 1 {hex}\nsend\n",
                running.port
            );
            fs::write(folder.join("update"), text)?;
            let mut update = program("nsupdate");
            update.arg(folder.join("update"));
            Ok(Box::new(move || run(&mut update).map(drop)))
        }
        _ => Err(Error::new("no way to change this server's zones")),
    }
}

/// A new key and its certificate for the same host; the key comes first, so the certificate's rename makes the change.
fn certificate(folder: &Path, host: &str) -> Result<Change> {
    let scratch = tempfile::tempdir_in(folder)?;
    danelaw::act::example::write(scratch.path(), &name(host)?)?;
    let certs = folder.join("certs");
    let host = host.to_owned();
    Ok(Box::new(move || {
        for extension in ["key", "pem"] {
            let file = format!("{host}.{extension}");
            fs::rename(scratch.path().join(&file), certs.join(&file))?;
        }
        Ok(())
    }))
}
