//! What a zone wants to find again after a restart, in a file: versioned, checksummed, replaced by rename. A damaged one is as good as
//! none.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tracing::warn;

use crate::dns::Name;

/// What an image begins with: its kind and its version.
const MAGIC: &[u8; 8] = b"DLSIG\0\0\x06";
const CHECKSUM: usize = 32;
/// From so many files on, one call that syncs the file system costs less than one for each file.
const MANY: usize = 8;
/// The biggest image that is read, bytes.
const MAX_IMAGE: u64 = 4 << 30;

/// A folder of images, a file for each zone. Several threads may read and write them, each its own zones.
#[derive(Clone, Debug)]
pub struct Images {
    folder: PathBuf,
}

impl Images {
    pub(super) fn new(folder: PathBuf) -> Images {
        Images { folder }
    }

    /// A zone's image, whole and undamaged, or none: then everything is signed again.
    pub fn load(&self, zone: &Name) -> Option<Vec<u8>> {
        let path = self.path(zone);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!("{}: {error}; signing everything again", path.display());
                return None;
            }
        };
        match read(file) {
            Ok(image) => Some(image),
            Err(why) => {
                warn!("{}: {why}; signing everything again", path.display());
                None
            }
        }
    }

    /// Replaces zones' images. They are on the disk when this returns.
    pub fn store(&self, images: &[(Name, Vec<u8>)]) -> io::Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let each = images.len() < MANY;
        let paths: Vec<PathBuf> = images.iter().map(|(zone, _)| self.path(zone)).collect();
        for (path, (_, image)) in paths.iter().zip(images) {
            let file = write(&fresh(path), image)?;
            if each {
                file.sync_all()?;
            }
        }
        let folder = File::open(&self.folder)?;
        if !each {
            rustix::fs::syncfs(&folder)?;
        }
        for path in &paths {
            std::fs::rename(fresh(path), path)?;
        }
        // The renames themselves are durable once the folder is.
        folder.sync_all()
    }

    /// Whether a zone has an image, good or not.
    pub fn exists(&self, zone: &Name) -> bool {
        self.path(zone).exists()
    }

    /// Takes a zone's image away.
    pub fn remove(&self, zone: &Name) -> io::Result<()> {
        match std::fs::remove_file(self.path(zone)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, zone: &Name) -> PathBuf {
        // A name's presentation form holds no zero byte, and a slash is the only other octet a file name can't have.
        let text = zone.to_lowercase().to_string().replace('/', "\\047");
        let text = text.strip_suffix('.').filter(|text| !text.is_empty()).unwrap_or("root");
        if text.len() <= 240 && !text.starts_with('.') {
            return self.folder.join(format!("{text}.sig"));
        }
        let digest = Sha256::digest(text.as_bytes());
        self.folder.join(format!("{}.sig", data_encoding::HEXLOWER.encode(&digest)))
    }
}

fn fresh(path: &Path) -> PathBuf {
    path.with_extension("sig.new")
}

fn write(path: &Path, image: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(image))?;
    file.write_all(image)?;
    Ok(file)
}

fn read(file: File) -> Result<Vec<u8>, String> {
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > MAX_IMAGE {
        return Err(format!("{size} bytes are too many"));
    }
    let mut file = file.take(MAX_IMAGE);
    let mut head = Vec::new();
    file.by_ref().take((MAGIC.len() + CHECKSUM) as u64).read_to_end(&mut head).map_err(|error| error.to_string())?;
    let Some(checksum) = head.strip_prefix(MAGIC) else {
        return Err("not a signature image of this version".to_owned());
    };
    if checksum.len() < CHECKSUM {
        return Err("cut off".to_owned());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if Sha256::digest(&bytes)[..] != *checksum {
        return Err("damaged: its checksum differs".to_owned());
    }
    Ok(bytes)
}
