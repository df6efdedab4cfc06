//! Writes new zone keys: mode 0600, whole or not at all, never over another.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// From so many files on, one call that syncs the file system costs less than one for each file.
const MANY: usize = 8;

/// Writes the PEM of a key under `name` in `folder`, which is made (0700) when it is missing. An existing file is never replaced.
pub fn write(folder: &Path, name: &str, pem: &str) -> io::Result<PathBuf> {
    let written = write_all(folder, &[(name.to_owned(), pem)]).pop();
    written.unwrap_or_else(|| Err(io::Error::other("nothing was written")))
}

/// Writes many keys: name and PEM. What is written is on the disk when this returns.
pub fn write_all(folder: &Path, files: &[(String, &str)]) -> Vec<io::Result<PathBuf>> {
    if files.is_empty() {
        return Vec::new();
    }
    let fail = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        return files.iter().map(|_| Err(fail(&error))).collect();
    }
    let each = files.len() < MANY;
    let mut written: Vec<io::Result<PathBuf>> =
        files.iter().map(|(name, pem)| write_unfinished(folder, name, pem, each)).collect();
    let synced = if each { Ok(()) } else { sync_file_system(folder) };
    for ((name, _), written) in files.iter().zip(&mut written) {
        if let Ok(unfinished) = written {
            let path = folder.join(name);
            // A link does not replace what is there, as a rename would.
            let linked = synced.as_ref().map_err(fail).and_then(|()| fs::hard_link(&*unfinished, &path));
            let linked = linked.and(fs::remove_file(&*unfinished));
            *written = linked.map(|()| path);
        }
    }
    if let Err(error) = fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        return files.iter().map(|_| Err(fail(&error))).collect();
    }
    written
}

fn write_unfinished(folder: &Path, name: &str, pem: &str, sync: bool) -> io::Result<PathBuf> {
    let path = folder.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(pem.as_bytes())?;
    if sync {
        file.sync_all()?;
    }
    Ok(path)
}

/// Reports errors since Linux 5.8.
fn sync_file_system(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(folder)?)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_written_for_its_owner_alone_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let path = write(&keys, "k.pem", "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write(&keys, "k.pem", "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
    }

    #[test]
    fn many_keys_are_written_and_one_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "7.pem", "old").unwrap();
        let files: Vec<(String, &str)> = (0..20).map(|number| (format!("{number}.pem"), "new")).collect();
        let written = write_all(folder.path(), &files);
        let failed: Vec<usize> = (0..20).filter(|&index| written[index].is_err()).collect();
        assert_eq!(failed, [7]);
        assert_eq!(fs::read_to_string(folder.path().join("7.pem")).unwrap(), "old");
        assert_eq!(fs::read_to_string(folder.path().join("8.pem")).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 20);
    }
}
