//! The single steps of an installation: each says what it was when it fails, and is a place to crash at before and after it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid, fchmod, fchown};

use crate::crash;
use crate::dane::deployed::of_first;

use super::{InstallError, NotKept};

/// Does a step.
pub(in crate::act) fn at<T>(
    doing: &'static str,
    path: &Path,
    step: impl FnOnce() -> io::Result<T>,
) -> Result<T, InstallError> {
    crash::point(doing);
    let done = step().map_err(|error| InstallError::Io { path: path.to_owned(), doing, error });
    crash::point(doing);
    done
}

/// Refuses a folder that group or others can write to. One that is not there is not refused.
pub(super) fn check_folder(path: &Path) -> Result<(), InstallError> {
    match fs::metadata(path).map(|found| found.mode() & 0o7777) {
        Ok(mode) if mode & 0o022 != 0 => Err(InstallError::Writable { path: path.to_owned(), mode }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(InstallError::Io { path: path.to_owned(), doing: "look at it", error }),
    }
}

/// Makes a folder that everybody may read, whatever the umask, unless it is there.
pub(super) fn make_folder(path: &Path) -> Result<(), InstallError> {
    if path.is_dir() {
        return Ok(());
    }
    at("make the folder", path, || {
        DirBuilder::new().mode(0o755).create(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o755))
    })?;
    // Of a path without a folder in front that is the empty one.
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}

pub(in crate::act) fn sync_folder(path: &Path) -> Result<(), InstallError> {
    at("sync the folder", path, || File::open(path)?.sync_all())
}

/// Makes a file of this mode, whatever the umask.
pub(in crate::act) fn create(path: &Path, mode: u32) -> Result<File, InstallError> {
    at("make the file", path, || {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(file)
    })
}

/// Writes a file that was just made.
pub(in crate::act) fn fill(path: &Path, mut file: File, parts: &[&[u8]]) -> Result<(), InstallError> {
    at("write the file", path, || parts.iter().try_for_each(|part| file.write_all(part)))?;
    at("sync the file", path, || file.sync_all())
}

/// Removes a folder and what is in it, or a link.
pub(super) fn remove_folder(path: &Path) -> Result<(), InstallError> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return at("remove the file", path, || fs::remove_file(path));
    }
    for entry in at("read the folder", path, || fs::read_dir(path))? {
        let inner = at("read the folder", path, || entry)?.path();
        // Somebody else's may be deeper.
        remove_folder(&inner)?;
    }
    at("remove the folder", path, || fs::remove_dir(path))
}

/// Whether a file holds just these octets. Of one that may not be read any more, since its owner was changed, the length is compared.
pub(super) fn same_content(path: &Path, parts: &[&[u8]]) -> bool {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    if !found.is_file() || found.len() != length as u64 {
        return false;
    }
    match fs::read(path) {
        Ok(octets) => {
            let mut rest = octets.as_slice();
            parts.iter().all(|part| rest.strip_prefix(*part).inspect(|after| rest = after).is_some())
        }
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// Gives every file of a version owner, group and mode as they are in the installed one now.
pub(super) fn keep_all(version: &Path, live: &Path) -> Result<Vec<NotKept>, InstallError> {
    let mut lost = Vec::new();
    for entry in at("read the folder", version, || fs::read_dir(version))? {
        let entry = at("read the folder", version, || entry)?;
        let (path, Ok(name)) = (entry.path(), entry.file_name().into_string()) else { continue };
        let Some((like, wanted)) = like(live, &name) else { continue };
        if entry.metadata().is_ok_and(|now| !now.is_file() || is_kept(&now, &wanted)) {
            continue;
        }
        let kept = File::open(&path).and_then(|file| keep(&file, &wanted).and_then(|()| file.sync_all()));
        lost.extend(kept.err().map(|error| not_kept(&like, &wanted, &error)));
    }
    Ok(lost)
}

/// Gives a new file owner, group and mode of the file of its name in the installed version; a file of a further key type that has none
/// takes after that of the first.
pub(super) fn keep_like(file: &File, live: &Path, name: &str) -> Option<NotKept> {
    let (like, wanted) = like(live, name)?;
    keep(file, &wanted).err().map(|error| not_kept(&like, &wanted, &error))
}

fn like(live: &Path, name: &str) -> Option<(std::path::PathBuf, Metadata)> {
    [name, &of_first(name)].into_iter().find_map(|name| {
        let path = live.join(name);
        fs::metadata(&path).ok().filter(Metadata::is_file).map(|found| (path, found))
    })
}

fn not_kept(path: &Path, wanted: &Metadata, error: &io::Error) -> NotKept {
    let (owner, group, mode) = (wanted.uid(), wanted.gid(), wanted.mode() & 0o7777);
    NotKept { path: path.to_owned(), owner, group, mode, why: error.to_string() }
}

/// The mode that is taken over: nobody but its owner ever writes to it.
fn mode_like(wanted: &Metadata) -> u32 {
    wanted.mode() & 0o755
}

fn is_kept(now: &Metadata, wanted: &Metadata) -> bool {
    (now.uid(), now.gid(), now.mode() & 0o7777) == (wanted.uid(), wanted.gid(), mode_like(wanted))
}

/// At no moment anybody may read it who may not in the end. The owner comes last: who gives a file away can't change its mode any more.
fn keep(file: &File, wanted: &Metadata) -> io::Result<()> {
    let now = file.metadata()?;
    if is_kept(&now, wanted) {
        return Ok(());
    }
    crash::point("keep owner and mode");
    fchmod(file, Mode::from_raw_mode(0o600))?;
    let same_group = now.gid() == wanted.gid();
    let group = if same_group { Ok(()) } else { fchown(file, None, Some(Gid::from_raw(wanted.gid()))) };
    let mode = match (mode_like(wanted), group) {
        (mode, Ok(())) => mode,
        // Another group than was meant gets what everybody gets.
        (mode, Err(_)) => mode & !0o070 | mode & ((mode & 0o007) << 3),
    };
    fchmod(file, Mode::from_raw_mode(mode))?;
    crash::point("keep owner and mode");
    let same_owner = now.uid() == wanted.uid();
    let owner = if same_owner { Ok(()) } else { fchown(file, Some(Uid::from_raw(wanted.uid())), None) };
    Ok(group.and(owner)?)
}
