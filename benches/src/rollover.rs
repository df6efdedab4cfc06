//! `rollover`: what hosts cost whose certificates danelaw installs, while nothing happens: CPU time, switches and memory of a daemon without
//! certificates, with one for each host, and with a second one for each that waits out its hold; and how long a start takes.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use danelaw::dns::Rtype;
use danelaw::dns::dnssec::Algorithm;
use danelaw::keys::ZoneKey;

use crate::compare::{PATIENCE, rest};
use crate::probe::{Probe, name};
use crate::process::{Process, pin, run};
use crate::servers::Setting;
use crate::table::{Cell, Table};
use crate::{Error, Result};

const COLUMNS: &[&str] = &[
    "daemon",
    "first answer s",
    "all as they were s",
    "CPU s until then",
    "CPU ms a minute",
    "switches a minute",
    "memory MiB",
];
/// Between two looks at how far rollovers are: looking costs the daemon something.
const PAUSE: Duration = Duration::from_secs(1);

/// A mail zone for each host, all under one key.
struct Hosts<'a> {
    setting: &'a Setting,
    danelaw: &'a Path,
    folder: &'a Path,
    count: usize,
}

/// A daemon over them.
struct Daemon {
    process: Process,
    /// Seconds to the first answer and to all, and CPU seconds until then.
    start: [f64; 3],
}

/// Measures so many hosts, each time for so long.
pub fn rollover(setting: &Setting, danelaw: &Path, count: usize, time: Duration) -> Result<Table> {
    let made = tempfile::Builder::new().prefix("bench-rollover-").tempdir()?;
    let (folder, _made) = if setting.keep { (made.keep(), None) } else { (made.path().to_owned(), Some(made)) };
    let hosts = Hosts { setting, danelaw, folder: &folder, count };
    pin(setting.cores.1)?;
    hosts.write()?;
    let mut table =
        Table::new(format!("{count} zones with a mail host each, at rest for {} s", time.as_secs_f64()), COLUMNS);

    let daemon = hosts.start(false, 0)?;
    table.row(at_rest("no certificates", daemon, time)?);

    hosts.give_certificates()?;
    let daemon = hosts.start(true, 0)?;
    let first = daemon.start[1];
    hosts.wait_for("idle", &daemon)?;
    table.row(at_rest("a certificate each", daemon, time)?);

    let mut daemon = hosts.start(true, 1)?;
    rest(&daemon.process)?;
    let (begun, cpu) = (Instant::now(), daemon.process.cpu());
    hosts.give_certificates()?;
    hosts.wait_for("holding", &daemon)?;
    let (taken, cpu) = (begun.elapsed(), daemon.process.cpu().saturating_sub(cpu));
    daemon.process.check()?;
    table.row(at_rest("a second one each, in hold", daemon, time)?);

    let daemon = hosts.start(true, 2)?;
    hosts.wait_for("holding", &daemon)?;
    table.row(at_rest("the same, started again", daemon, time)?);
    table.note(format!("From the first start with certificates to {count} first records: {first:.1} s."));
    table.note(format!(
        "From the second certificates, given one by one, to {count} holds: {:.1} s, of which {:.1} s CPU time.",
        taken.as_secs_f64(),
        cpu.as_secs_f64()
    ));
    Ok(table)
}

/// Lets it rest, and looks at what it does then.
fn at_rest(what: &str, daemon: Daemon, time: Duration) -> Result<Vec<Cell>> {
    let Daemon { mut process, start: [first, all, cpu] } = daemon;
    rest(&process)?;
    let (before, switches, begun) = (process.cpu(), process.switches(), Instant::now());
    std::thread::sleep(time);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let used = process.cpu().saturating_sub(before).as_secs_f64() * 1000.0 / minutes;
    let switched = process.switches().saturating_sub(switches) as f64 / minutes;
    process.check()?;
    Ok(vec![
        Cell::Text(what.to_owned()),
        Cell::Number(first, 3),
        Cell::Number(all, 2),
        Cell::Number(cpu, 2),
        Cell::Number(used, 1),
        Cell::Number(switched, 0),
        Cell::Number(process.memory(), 1),
    ])
}

impl Hosts<'_> {
    fn zone(number: usize) -> String {
        format!("h{number:05}.test")
    }

    fn zones(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(Self::zone)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self) -> Result<()> {
        for folder in ["zones", "certs", "keys", "making"] {
            fs::create_dir(self.file(folder))?;
        }
        let (_, pem) = ZoneKey::generate(Algorithm::EcdsaP256Sha256).map_err(|error| Error::new(error.to_string()))?;
        crate::data::write_secret(&self.file("keys/csk.pem"), &pem)?;
        for zone in self.zones() {
            fs::write(
                self.file(&format!("zones/{zone}.zone")),
                "$TTL 1h\n@ SOA ns1 hostmaster 1 4h 1h 2w 5m\n@ NS ns1\nns1 A 192.0.2.53\nmail A 192.0.2.25\n@ MX 10 mail\n\
                 @ TXT \"v=spf1 mx -all\"\n_dmarc TXT \"v=DMARC1; p=reject\"\n\
                 s1._domainkey TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n",
            )?;
        }
        Ok(())
    }

    fn configure(&self, certificates: bool) -> Result<()> {
        let here = format!("127.0.0.1:{}", self.setting.port);
        let mut text = format!(
            "listen = [\"{here}\"]\naddresses = [\"192.0.2.25\"]\n[dane]\ndnssec = \"zone\"\nmail-service = \"declared\"\n"
        );
        if certificates {
            text += "[[certificates]]\npath = \"certs\"\n";
        }
        for zone in self.zones() {
            // A String takes everything.
            let _ = writeln!(text, "[zone.\"{zone}\"]\nkey = \"csk.pem\"\nnameservers = [\"{here}\"]");
        }
        Ok(fs::write(self.file("danelaw.toml"), text)?)
    }

    /// A new certificate for each host, in a folder of its own as certbot has it. The key comes first.
    fn give_certificates(&self) -> Result<()> {
        for zone in self.zones() {
            let (making, certs) = (self.file("making"), self.file(&format!("certs/{zone}")));
            let host = format!("mail.{zone}");
            danelaw::act::example::write(&making, &name(&host)?)?;
            fs::create_dir_all(&certs)?;
            for (from, to) in [("key", "privkey.pem"), ("pem", "fullchain.pem")] {
                fs::rename(making.join(format!("{host}.{from}")), certs.join(to))?;
            }
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.danelaw);
        command.arg("--config").arg(self.file("danelaw.toml")).env("DANELAW_LOG", "warn");
        command
    }

    /// Starts a daemon and waits until it answers for its last zone, and has so many records at least for every host.
    fn start(&self, certificates: bool, records: usize) -> Result<Daemon> {
        self.configure(certificates)?;
        let mut probe = Probe::new(self.setting.port)?;
        let begun = Instant::now();
        let mut command = self.command();
        let mut process = Process::start(command.arg("serve"), self.folder, self.setting.cores)?;
        let records = if certificates { records.max(1) } else { 0 };
        let mut wait = |owner: &str, rtype, count: usize| -> Result<()> {
            while probe
                .records(owner, rtype)
                .is_none_or(|(all, signed)| all.len() < count || signed.is_empty() && count > 0)
            {
                process.check()?;
                if begun.elapsed() > PATIENCE {
                    return Err(Error::new(format!("never served: {owner} {rtype}")));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        wait(&Self::zone(self.count - 1), Rtype::SOA, 1)?;
        let first = begun.elapsed().as_secs_f64();
        for zone in self.zones() {
            wait(&zone, Rtype::SOA, 1)?;
            wait(&format!("_25._tcp.mail.{zone}"), Rtype::TLSA, records)?;
        }
        let start = [first, begun.elapsed().as_secs_f64(), process.cpu().as_secs_f64()];
        Ok(Daemon { process, start })
    }

    /// Waits until every rollover stands there.
    fn wait_for(&self, phase: &str, daemon: &Daemon) -> Result<()> {
        let begun = Instant::now();
        loop {
            rest(&daemon.process)?;
            let text = run(self.command().args(["rollover", "status", "--json"]))?;
            let reports: serde_json::Value =
                serde_json::from_str(&text).map_err(|error| Error::new(error.to_string()))?;
            let reports = reports.as_array().map(Vec::as_slice).unwrap_or_default();
            let there = reports.iter().filter(|report| report["phase"] == phase).count();
            if there == self.count {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Error::new(format!("{there} of {} rollovers came to `{phase}`", self.count)));
            }
            std::thread::sleep(PAUSE);
        }
    }
}
