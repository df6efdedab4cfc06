//! `signing`: from an unsigned zone file to a signed one, one core, one ECDSAP256SHA256 key, NSEC. Reading and printing count.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::data::Data;
use crate::process::{find, pin, run};
use crate::servers::Setting;
use crate::system::cpu_time_of_children;
use crate::table::{Cell, Table, median};
use crate::zones::Set;
use crate::{Error, Result};

const COLUMNS: &[&str] = &["signer", "CPU s", "wall s", "signatures", "signatures per CPU s"];

/// A signer.
enum Signer<'a> {
    /// `danelaw zone dump`, which signs with a key of its own.
    Danelaw(&'a Path),
    /// ldns-signzone.
    Ldns,
    /// dnssec-signzone, which does not verify what it signed (-P), as the others don't.
    Bind,
    /// kzonesign.
    Knot,
}

impl Signer<'_> {
    fn name(&self) -> &'static str {
        match self {
            Signer::Danelaw(_) => "danelaw zone dump",
            Signer::Ldns => "ldns-signzone",
            Signer::Bind => "dnssec-signzone",
            Signer::Knot => "kzonesign",
        }
    }

    /// What has to be there, and the command; it prints the zone or writes it to the path.
    fn prepare(&self, data: &Data, zone: &str, folder: &Path) -> Result<(Command, Option<PathBuf>)> {
        let program = |name: &str| Command::new(find(name).unwrap_or_else(|| name.into()));
        let (unsigned, out) = (data.unsigned(zone), folder.join("out"));
        let mut command = match self {
            Signer::Danelaw(path) => {
                fs::write(
                    folder.join("danelaw.toml"),
                    format!("zones = \"{}\"\n[signing]\ncds = false\n", data.unsigned_folder().display()),
                )?;
                let mut command = Command::new(path);
                command.arg("--config").arg(folder.join("danelaw.toml")).args(["zone", "dump", zone]);
                return Ok((command, None));
            }
            Signer::Ldns => {
                let mut command = program("ldns-signzone");
                command.args(["-o", zone, "-f"]).arg(&out).arg(&unsigned).arg(data.write_bind_key(folder, zone)?);
                command
            }
            Signer::Bind => {
                let key = data.write_bind_key(folder, zone)?;
                let with_key = fs::read_to_string(&unsigned)? + &fs::read_to_string(format!("{}.key", key.display()))?;
                fs::write(folder.join("in"), with_key)?;
                let mut command = program("dnssec-signzone");
                command
                    .args(["-q", "-P", "-z", "-n", "1", "-j", "0", "-o", zone, "-d"])
                    .arg(folder)
                    .arg("-f")
                    .arg(&out);
                command.arg(folder.join("in")).arg(key);
                command
            }
            Signer::Knot => {
                let at = folder.display();
                let config = format!(
                    "server:\n    rundir: \"{at}\"\n    background-workers: 1\ndatabase:\n    storage: \"{at}\"\npolicy:\n  - id: p\n    \
                     algorithm: ecdsap256sha256\n    single-type-signing: on\n    signing-threads: 1\nzone:\n  - domain: {zone}\n    \
                     storage: \"{at}\"\n    file: \"{}\"\n    dnssec-signing: on\n    dnssec-policy: p\n",
                    unsigned.display()
                );
                fs::write(folder.join("knot.conf"), config)?;
                fs::create_dir(folder.join("signed"))?;
                let mut key = program("keymgr");
                key.arg("-c").arg(folder.join("knot.conf")).args([
                    zone,
                    "generate",
                    "algorithm=ecdsap256sha256",
                    "ksk=yes",
                    "zsk=yes",
                ]);
                run(&mut key)?;
                let mut command = program("kzonesign");
                command.arg("-c").arg(folder.join("knot.conf")).arg("-o").arg(folder.join("signed")).arg(zone);
                return Ok((command, Some(folder.join("signed").join(format!("{zone}.zone")))));
            }
        };
        command.current_dir(folder);
        Ok((command, Some(out)))
    }
}

/// Measures the first zone of a set.
pub fn signing(setting: &Setting, danelaw: &Path, set: Set, runs: usize) -> Result<Table> {
    let data = Data::ready(&setting.data, set)?;
    pin(setting.cores.0)?;
    let mut table = Table::new(format!("signing {}; medians of {runs}", set.zone(0)), COLUMNS);
    for signer in [Signer::Danelaw(danelaw), Signer::Ldns, Signer::Bind, Signer::Knot] {
        if !matches!(signer, Signer::Danelaw(_)) && find(signer.name()).is_none() {
            table.note(format!("{} is not installed.", signer.name()));
            continue;
        }
        let (mut cpu, mut wall, mut signatures) = (Vec::new(), Vec::new(), 0);
        for _ in 0..runs {
            let folder = tempfile::tempdir()?;
            let (mut command, out) = signer.prepare(&data, &set.zone(0), folder.path())?;
            let (before, begun) = (cpu_time_of_children()?, Instant::now());
            let printed = run(&mut command)?;
            wall.push(begun.elapsed().as_secs_f64());
            cpu.push(cpu_time_of_children()?.saturating_sub(before).as_secs_f64());
            let text = match &out {
                Some(path) => fs::read_to_string(path).or_else(|_| only_file(path))?,
                None => printed,
            };
            let count = |wanted: &str| text.split_whitespace().filter(|word| *word == wanted).count();
            // A bit map names RRSIG once; NSEC stands as a type, in its bit map and in its signature.
            signatures = count("RRSIG") - count("NSEC") / 3;
        }
        let cpu = median(cpu);
        if signatures == 0 {
            return Err(Error::new(format!("{} signed nothing", signer.name())));
        }
        table.row(vec![
            Cell::Text(signer.name().to_owned()),
            Cell::Number(cpu, 2),
            Cell::Number(median(wall), 2),
            Cell::Number(signatures as f64, 0),
            Cell::Number(signatures as f64 / cpu, 0),
        ]);
    }
    Ok(table)
}

/// What stands beside a path, whatever its name.
fn only_file(path: &Path) -> std::io::Result<String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let first = fs::read_dir(folder)?.next().ok_or(std::io::ErrorKind::NotFound)??;
    fs::read_to_string(first.path())
}
