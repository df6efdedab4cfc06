//! Writes new zone keys: mode 0600, whole or not at all, never over another. Moves those that nobody uses aside, and back.

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

/// Moves files of these names from one folder into another, which is made (0700) when it is missing. None is ever replaced, and each is
/// in one of the folders, or both, at any moment: what was broken off is done by doing it again.
pub fn move_all(from: &Path, to: &Path, names: &[String]) -> Vec<io::Result<()>> {
    if names.is_empty() {
        return Vec::new();
    }
    let all = |error: io::Error| names.iter().map(|_| Err(io::Error::new(error.kind(), error.to_string()))).collect();
    let sync = |folder: &Path| fs::File::open(folder).and_then(|folder| folder.sync_all());
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(to) {
        return all(error);
    }
    let mut moved: Vec<io::Result<()>> = names.iter().map(|name| link(&from.join(name), &to.join(name))).collect();
    // There before it goes here, whatever happens in between; the folder itself may be a new one.
    if let Err(error) = sync(to).and_then(|()| to.parent().map_or(Ok(()), sync)) {
        return all(error);
    }
    for (name, moved) in names.iter().zip(&mut moved).filter(|(_, moved)| moved.is_ok()) {
        *moved = fs::remove_file(from.join(name));
    }
    match sync(from) {
        Ok(()) => moved,
        Err(error) => all(error),
    }
}

/// Gives a file a second name. One that is there has to hold the same.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_regular = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
            let is_same = is_regular(from) && is_regular(to) && fs::read(from)? == fs::read(to)?;
            if is_same { Ok(()) } else { Err(io::Error::new(error.kind(), "another file of this name is there")) }
        }
        linked => linked,
    }
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
    fn keys_are_moved_and_what_was_broken_off_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("keys"), folder.path().join("keys/removed"));
        let names = ["a", "b", "c", "d", "gone"].map(|name| format!("{name}.pem"));
        names[..4].iter().for_each(|name| drop(write(&here, name, name).unwrap()));
        write(&there, "b.pem", "another").unwrap();
        // Broken off after the first step, and put back by hand.
        fs::hard_link(here.join("c.pem"), there.join("c.pem")).unwrap();
        write(&there, "d.pem", "d.pem").unwrap();
        let moved = move_all(&here, &there, &names);
        let failed: Vec<_> = moved.iter().map(|moved| moved.as_ref().err().map(io::Error::kind)).collect();
        let (exists, missing) = (Some(io::ErrorKind::AlreadyExists), Some(io::ErrorKind::NotFound));
        assert_eq!(failed, [None, exists, None, None, missing]);
        assert_eq!(fs::metadata(&there).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_to_string(here.join("b.pem")).unwrap(), "b.pem");
        assert_eq!(fs::read_to_string(there.join("b.pem")).unwrap(), "another");
        for name in ["a.pem", "c.pem", "d.pem"] {
            assert_eq!(fs::read_to_string(there.join(name)).unwrap(), name);
            assert!(!here.join(name).exists());
        }
        assert!(move_all(&there, &here, &names[..1]).iter().all(Result::is_ok) && here.join("a.pem").exists());
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
