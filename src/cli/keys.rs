//! `ds`, `keys list` and `keys generate`: the key folder, looked at without the daemon. Keys of removed zones are listed too.

use super::args::KeysList;
use super::output::Output;
use super::{CliError, Outcome};
use crate::act;
use crate::config::Config;
use crate::dns::dnssec::{self, Signer};
use crate::dns::text::print_rdata;
use crate::dns::{Name, Rtype};
use crate::keys::{KEY_TTL, ZoneKey, file_name};
use crate::observe::zone_keys::{self, HeldKey, KeyFolder, KeyProblem, REMOVED};

/// A row of `keys list`.
#[derive(serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    zone: Name,
    algorithm: u8,
    key_tag: u16,
    file: String,
}

/// Prints the DS records for the parent.
pub fn ds(config: &Config, zone: &Name, out: &mut Output) -> Result<Outcome, CliError> {
    let folder = scan(config)?;
    let Some(keys) = folder.keys.get(zone) else {
        let problem = folder.problems.iter().find(|problem| problem.zone.as_ref() == Some(zone));
        return Err(CliError::Failed(match problem {
            Some(problem) => format!("{}: {}", problem.path.display(), problem.message),
            None => format!(
                "{}: no key of {} (`danelaw serve` makes one for a zone that it signs for the first time)",
                config.keys.display(),
                zone.to_host()
            ),
        }));
    };
    for held in keys {
        let ds = dnssec::ds(zone, held.key.dnskey());
        out.line(format!("{zone} {KEY_TTL} IN DS {}", print_rdata(Rtype::DS, &ds)))?;
    }
    Ok(Outcome::Done)
}

/// Lists the keys.
pub fn list(config: &Config, args: &KeysList, out: &mut Output) -> Result<Outcome, CliError> {
    let folder = scan(config)?;
    let wanted = |zone: &Name| args.zone.as_ref().is_none_or(|wanted| wanted == zone);
    let of = |folder: &KeyFolder, aside: &str| -> Vec<Row> {
        let keys = folder.keys.iter().filter(|(zone, _)| wanted(zone));
        keys.flat_map(|(zone, keys)| keys.iter().map(move |key| row(zone, key, aside))).collect()
    };
    let mut rows = of(&folder, "");
    rows.extend(of(&removed(config)?, &format!("{REMOVED}/")));
    if args.json {
        out.json(&rows)?;
    } else if rows.is_empty() {
        out.line(format!("no keys in {}", config.keys.display()))?;
    } else {
        let head = ["zone", "algorithm", "tag", "file"].map(str::to_owned).to_vec();
        let cells = |row: &Row| {
            vec![row.zone.to_string(), row.algorithm.to_string(), row.key_tag.to_string(), row.file.clone()]
        };
        out.table(&std::iter::once(head).chain(rows.iter().map(cells)).collect::<Vec<_>>())?;
    }
    for problem in &folder.problems {
        super::output::complain(&format!("{}: {}", problem.path.display(), problem.message));
    }
    Ok(if folder.problems.is_empty() { Outcome::Done } else { Outcome::Findings })
}

/// Makes a key for a zone that has none in the folder.
pub fn generate(config: &Config, zone: &Name, out: &mut Output) -> Result<Outcome, CliError> {
    let folder = scan(config)?;
    // A file that the configuration names and that is not there yet is the one to make.
    let broken = |problem: &KeyProblem| problem.zone.as_ref() == Some(zone) && problem.path.exists();
    if folder.keys.contains_key(zone) || folder.problems.iter().any(broken) {
        return Err(CliError::Failed(format!(
            "{} has a key already (`danelaw keys list`); a second one is made by a rollover, not by this command",
            zone.to_host()
        )));
    }
    if let Some([aside, ..]) = removed(config)?.keys.get(zone).map(Vec::as_slice) {
        return Err(CliError::Failed(format!(
            "{} had a key before, {REMOVED}/{}, which comes back with the zone; move that file away if it is to have another",
            zone.to_host(),
            aside.file
        )));
    }
    let (key, pem) =
        ZoneKey::generate(config.zone(zone).signing.algorithm).map_err(|error| CliError::Failed(error.to_string()))?;
    let name = config.zone(zone).key.unwrap_or_else(|| file_name(zone, key.algorithm(), key.key_tag()));
    let path = act::keys::write(&config.keys, &name, &pem)
        .map_err(|error| CliError::File(format!("{}: {error}", config.keys.display())))?;
    out.line(path.display().to_string())?;
    Ok(Outcome::Done)
}

pub(super) fn scan(config: &Config) -> Result<KeyFolder, CliError> {
    zone_keys::scan(&config.keys, &config.named_keys())
        .map_err(|error| CliError::File(format!("{}: {error}", config.keys.display())))
}

/// The keys of removed zones.
fn removed(config: &Config) -> Result<KeyFolder, CliError> {
    let folder = config.keys.join(REMOVED);
    zone_keys::scan(&folder, &[]).map_err(|error| CliError::File(format!("{}: {error}", folder.display())))
}

fn row(zone: &Name, held: &HeldKey, folder: &str) -> Row {
    let HeldKey { key, file } = held;
    Row { zone: zone.clone(), algorithm: key.algorithm(), key_tag: key.key_tag(), file: format!("{folder}{file}") }
}
