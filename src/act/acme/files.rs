//! Private files: mode 0600 from the first octet, whole or not at all, and never in the place of what is not ours.

use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::act::install::InstallError;
use crate::act::install::files::{at, create, fill, sync_folder};

/// The most octets that are read of a file.
const MAX_SIZE: u64 = 1 << 20;

/// Why a file was not read or written. What was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Something else stands there. Move it away.
    #[error("{} is {what}, which danelaw did not make: move it away (mv {0} {0}.before)", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// Others may read or write it. Change its mode.
    #[error("{} has mode {mode:04o}: chmod {wanted:04o} {0}", path.display())]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// Its mode's low bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// No file of ours is so large. Move it away.
    #[error("{} has more than {MAX_SIZE} octets", .0.display())]
    TooLarge(PathBuf),
    /// The system said no. Retry.
    #[error(transparent)]
    System(#[from] InstallError),
}

/// Makes a folder for its owner alone, and those above it. One that is there has to be ours, and nobody else's to write to.
pub(super) fn make_folder(path: &Path) -> Result<(), FileError> {
    match at("look at the folder", path, || found(path))? {
        Some(found) if !found.is_dir() => Err(foreign(path, &found)),
        Some(found) => check_owner(path, &found, 0o022, 0o700),
        None => {
            at("make the folder", path, || DirBuilder::new().recursive(true).mode(0o700).create(path))?;
            Ok(path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)?)
        }
    }
}

/// Reads a file that only we may read; none where there is none.
pub(super) fn read_private(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read(path, 0o077, 0o600)
}

/// Reads a file that only we may write; none where there is none.
pub(super) fn read_public(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read(path, 0o022, 0o644)
}

fn read(path: &Path, never: u32, wanted: u32) -> Result<Option<Vec<u8>>, FileError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    if at("look at the file", path, || found(path))?.is_none() {
        return Ok(None);
    }
    let opened = at("open the file", path, || Ok(rustix::fs::open(path, flags, Mode::empty())?))?;
    let file = fs::File::from(opened);
    let metadata = at("look at the file", path, || file.metadata())?;
    check(path, &metadata)?;
    check_owner(path, &metadata, never, wanted)?;
    let mut octets = Vec::new();
    at("read the file", path, || file.take(MAX_SIZE + 1).read_to_end(&mut octets))?;
    if octets.len() as u64 > MAX_SIZE { Err(FileError::TooLarge(path.to_owned())) } else { Ok(Some(octets)) }
}

/// The name that a file has until it is whole.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Writes a file beside the one that it is to replace, onto the disk. On failure nothing of it stays.
pub(super) fn write_beside(path: &Path, octets: &[u8]) -> Result<PathBuf, FileError> {
    let new = unfinished(path);
    remove(&new)?;
    let written = create(&new, 0o600).and_then(|file| fill(&new, file, &[octets]));
    if let Err(error) = written {
        // A full disk needs the room.
        let _ = fs::remove_file(&new);
        return Err(error.into());
    }
    Ok(new)
}

/// Gives a file its name, in the place of one that has to be ours.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    check_replaceable(to)?;
    at("rename the file", to, || fs::rename(from, to))?;
    Ok(to.parent().map_or(Ok(()), sync_folder)?)
}

/// Removes a file that has to be ours, where there is one.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    check_replaceable(path)?;
    match at("remove the file", path, || fs::remove_file(path)) {
        Err(InstallError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => Ok(removed?),
    }
}

/// Refuses to put a file where anything but a file of ours stands.
pub(super) fn check_replaceable(path: &Path) -> Result<(), FileError> {
    at("look at the file", path, || found(path))?.map_or(Ok(()), |found| check(path, &found))
}

fn check(path: &Path, found: &Metadata) -> Result<(), FileError> {
    if found.is_file() && is_ours(found) { Ok(()) } else { Err(foreign(path, found)) }
}

fn check_owner(path: &Path, found: &Metadata, never: u32, wanted: u32) -> Result<(), FileError> {
    let mode = found.mode() & 0o7777;
    match () {
        () if !is_ours(found) => Err(foreign(path, found)),
        () if mode & never != 0 => Err(FileError::Mode { path: path.to_owned(), mode, wanted }),
        () => Ok(()),
    }
}

fn is_ours(found: &Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

fn foreign(path: &Path, found: &Metadata) -> FileError {
    let what = match found.file_type() {
        kind if kind.is_symlink() => "a symlink".to_owned(),
        kind if kind.is_dir() && is_ours(found) => "a folder".to_owned(),
        kind if kind.is_file() || kind.is_dir() => format!("user {}'s", found.uid()),
        _ => "no regular file".to_owned(),
    };
    FileError::Foreign { path: path.to_owned(), what }
}

fn found(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
