//! Opens files in watched directories without being led astray: folders that others can write are refused, symlinks
//! resolve only inside the roots, nothing but a regular file of sane size is read, and nothing blocks.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The most octets of a certificate or key file.
pub const MAX_SIZE: u64 = 1 << 20;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there. Keep what is known.
    #[error("it does not exist")]
    Missing,
    /// This process may not read it.
    #[error("no permission to read it")]
    Denied,
    /// A symlink leads out of the roots.
    #[error("its symlink leads to {0}, outside the configured roots")]
    Escapes(PathBuf),
    /// Group or others can write to the folder.
    #[error("{} can be written by group or others (mode {mode:04o}), so anybody could put a certificate there", .path.display())]
    Writable {
        /// The folder or file.
        path: PathBuf,
        /// Its mode's low bits.
        mode: u32,
    },
    /// A FIFO, device, socket or folder.
    #[error("it is not a regular file")]
    NotRegular,
    /// More than [`MAX_SIZE`] octets.
    #[error("it has {0} octets; more than {MAX_SIZE} is no certificate")]
    TooLarge(u64),
    /// Anything else. Retry.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl FileError {
    /// What the system says, in words of ours where it is common.
    pub(super) fn from_io(error: std::io::Error) -> FileError {
        io_error(error)
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            FileError::Missing => "put it there, or correct the configuration".to_owned(),
            FileError::Denied => "let the user that danelaw runs as read it".to_owned(),
            FileError::Escapes(target) => match target.parent() {
                Some(folder) => format!("add {} to `roots` if that is meant", folder.display()),
                None => "name a file".to_owned(),
            },
            FileError::Writable { path, .. } => format!("chmod go-w {}", path.display()),
            FileError::NotRegular | FileError::TooLarge(_) => "take it out of the directory".to_owned(),
            FileError::Io(_) => "it is tried again at the next scan".to_owned(),
        }
    }
}

fn io_error(error: std::io::Error) -> FileError {
    match error.kind() {
        std::io::ErrorKind::NotFound => FileError::Missing,
        std::io::ErrorKind::PermissionDenied => FileError::Denied,
        _ => FileError::Io(error),
    }
}

/// Refuses a folder that group or others can write to.
pub fn check_folder(path: &Path) -> Result<(), FileError> {
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    check_mode(path, &metadata)
}

fn check_mode(path: &Path, metadata: &std::fs::Metadata) -> Result<(), FileError> {
    match metadata.mode() & 0o7777 {
        mode if mode & 0o022 != 0 => Err(FileError::Writable { path: path.to_owned(), mode }),
        _ => Ok(()),
    }
}

/// Where symlinks may lead: canonical folders.
#[derive(Clone, Debug, Default)]
pub struct Roots(Vec<PathBuf>);

impl Roots {
    /// Those of the folders that exist.
    pub fn new<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Roots {
        Roots(folders.into_iter().filter_map(|folder| folder.canonicalize().ok()).collect())
    }

    /// Reads a file. Its symlinks are resolved first; the result must lie in a root, and every folder from the root
    /// down to it must not be writable by others. It is then opened from the root, with no symlink followed any more.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        let target = path.canonicalize().map_err(io_error)?;
        let (root, below) = self.place(&target).ok_or_else(|| FileError::Escapes(target.clone()))?;
        for folder in folders_between(&target, below) {
            check_folder(folder)?;
        }
        let file = open_below(root, below, &target)?;
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Err(FileError::NotRegular);
        }
        check_mode(&target, &metadata)?;
        if metadata.len() > MAX_SIZE {
            return Err(FileError::TooLarge(metadata.len()));
        }
        let mut octets = Vec::new();
        file.take(MAX_SIZE + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > MAX_SIZE {
            return Err(FileError::TooLarge(octets.len() as u64));
        }
        Ok(octets)
    }
}

impl Roots {
    /// The root that a canonical path is in, and where in it.
    fn place<'a>(&self, target: &'a Path) -> Option<(&PathBuf, &'a Path)> {
        self.0.iter().find_map(|root| Some((root, target.strip_prefix(root).ok()?)))
    }

    /// The folders that are checked when files are read.
    pub(super) fn folders_of(&self, files: &[PathBuf]) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for target in files.iter().filter_map(|path| path.canonicalize().ok()) {
            let Some((_, below)) = self.place(&target) else { continue };
            folders.extend(folders_between(&target, below).map(Path::to_owned));
        }
        folders.sort();
        folders.dedup();
        folders
    }
}

/// From the folder of a file up to the root that it lies in.
fn folders_between<'a>(target: &'a Path, below: &Path) -> impl Iterator<Item = &'a Path> {
    target.ancestors().skip(1).take(below.components().count())
}

/// Reads a file that is named itself, wherever its symlinks lead; the folder that it is in at last must not be writable by others.
pub(super) fn read_named(path: &Path) -> Result<Vec<u8>, FileError> {
    let target = path.canonicalize().map_err(io_error)?;
    Roots::new(target.parent()).read(&target)
}

/// Opens without blocking on a FIFO, without becoming a terminal's owner, without following a symlink put in since.
fn open_below(root: &Path, below: &Path, target: &Path) -> Result<std::fs::File, FileError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let folder = folder.map_err(|errno| io_error(errno.into()))?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match rustix::fs::openat2(&folder, below, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS) => rustix::fs::open(target, flags, Mode::empty()),
        opened => opened,
    };
    match opened {
        Ok(file) => Ok(file.into()),
        // A socket can't be opened at all.
        Err(Errno::NXIO) => Err(FileError::NotRegular),
        Err(errno) => Err(io_error(errno.into())),
    }
}
