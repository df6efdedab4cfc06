//! `zone ...`: a zone as the daemon serves it, as its file and updates have it, and whether it takes updates.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::args::{ZoneDump, ZoneExport};
use super::output::{Output, warn};
use super::{CliError, Outcome};
use crate::config::Config;
use crate::dns::Name;
use crate::keeper::{Exported, Finished, Keeper, Stamp, now, stamp};
use crate::serve::control::{ControlError, Request, call};
use crate::store::Store;

/// Prints the signed zone; signed here with a throw-away key when no daemon runs.
pub fn dump(config: &Config, ZoneDump { zone, origin }: &ZoneDump, out: &mut Output) -> Result<Outcome, CliError> {
    let text = match call(&config.control_socket, &Request::Dump { zone: zone.clone(), origin: *origin }) {
        Ok(Value::String(text)) => text,
        Ok(other) => return Err(CliError::Failed(format!("the daemon sent {other}"))),
        Err(ControlError::NotRunning(_)) => {
            warn(
                "no daemon runs here, so this is signed with a throw-away key, without updates and without TLSA history",
            );
            let mut keeper = Keeper::new(config.clone(), Store::ephemeral()?, true, now())?;
            keeper.cycle(&Finished::All, now());
            keeper.dump(zone, *origin).map_err(CliError::Failed)?
        }
        Err(error) => return Err(error.into()),
    };
    out.line(text.trim_end())?;
    Ok(Outcome::Done)
}

/// Prints what the zone's file says and what came by update, or writes it into that file.
pub fn export(config: &Config, ZoneExport { zone, write }: &ZoneExport, out: &mut Output) -> Result<Outcome, CliError> {
    let exported = exported(config, zone)?;
    if !write {
        out.line(exported.text.trim_end())?;
        return Ok(Outcome::Done);
    }
    let file = exported.file.ok_or_else(|| CliError::Usage(format!("{} is not read from a file", zone.to_host())))?;
    if exported.updated == 0 {
        out.line(format!("{}: nothing came by update that is not in it", file.display()))?;
        return Ok(Outcome::Done);
    }
    // What came between the text and the new file would be taken back by that.
    let meanwhile = !exported.frozen;
    if meanwhile {
        call(&config.control_socket, &Request::Freeze { zone: zone.clone() })?;
    }
    let written = write_back(config, zone);
    if meanwhile {
        call(&config.control_socket, &Request::Thaw { zone: zone.clone() })?;
    }
    out.line(written?)?;
    Ok(Outcome::Done)
}

fn exported(config: &Config, zone: &Name) -> Result<Exported, CliError> {
    let answer = call(&config.control_socket, &Request::Export { zone: zone.clone() })?;
    serde_json::from_value(answer)
        .map_err(|error| CliError::Failed(format!("the daemon's answer is not understood: {error}")))
}

/// Puts what a zone has into its file and has that read; gives what to say of it.
fn write_back(config: &Config, zone: &Name) -> Result<String, CliError> {
    let Exported { text, file, stamp, problem, updated, .. } = exported(config, zone)?;
    let file = file.ok_or_else(|| CliError::Usage(format!("{} is not read from a file", zone.to_host())))?;
    if let Some(problem) = problem {
        return Err(CliError::File(format!("{problem}\nnothing is written: mend the file first")));
    }
    let kept = replace(&file, stamp, &text).map_err(|error| CliError::File(format!("{}: {error}", file.display())))?;
    // What is wrong with the configuration keeps no zone from being read.
    let _ = call(&config.control_socket, &Request::Reload);
    if let Some(problem) = exported(config, zone)?.problem {
        return Err(CliError::File(format!("{problem}\nwhat the file was before is {}", kept.display())));
    }
    let (file, kept) = (file.display(), kept.display());
    Ok(format!("{file}: {updated} RRsets that came by update are in it now; what it was before is {kept}"))
}

/// Replaces a file that still looks so by rename, its owner and mode kept; gives where what was there is.
fn replace(file: &Path, read: Option<Stamp>, text: &str) -> io::Result<PathBuf> {
    // A symlink stays one.
    let file = &file.canonicalize()?;
    let before = fs::metadata(file)?;
    let beside = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (new, kept) = (beside(".new"), beside("~"));
    let mut written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    written.write_all(text.as_bytes())?;
    written.set_permissions(fs::Permissions::from_mode(before.permissions().mode()))?;
    let now = written.metadata()?;
    if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
        chown(&new, Some(before.uid()), Some(before.gid()))?;
    }
    written.sync_all()?;
    if stamp(file) != read {
        fs::remove_file(&new)?;
        return Err(io::Error::other(
            "it has changed since it was read: nothing is written; try again when it is served",
        ));
    }
    let _ = fs::remove_file(&kept);
    fs::hard_link(file, &kept)?;
    fs::rename(&new, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(kept)
}

/// Has the daemon take no updates of a zone, or take them again.
pub fn freeze(config: &Config, zone: &Name, is_frozen: bool, out: &mut Output) -> Result<Outcome, CliError> {
    let (zone, host) = (zone.clone(), zone.to_host());
    let (request, text) = match is_frozen {
        true => (
            Request::Freeze { zone },
            format!(
                "{host}: takes no updates now. `danelaw zone export --write {host}` puts those that came into its file, and \
                 `danelaw zone thaw {host}` has it take updates again"
            ),
        ),
        false => (Request::Thaw { zone }, format!("{host}: takes updates again")),
    };
    call(&config.control_socket, &request)?;
    out.line(text)?;
    Ok(Outcome::Done)
}
