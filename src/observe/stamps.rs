//! How files looked before they were read. What was read from files that look the same need not be read again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::files::check_folder;

/// Device, inode, length, and when any of it was changed last, its mode included.
pub type Stamp = [u64; 5];

/// A change is told from the one before by its time, of which a file system has some hundred a second, and some have one in two. A file
/// that was changed in the last so many seconds is read again.
const SETTLED: u64 = 3;

/// A file's stamp: another one tells that it is to be read again. None where there is no file.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    let changed = [found.ctime().cast_unsigned(), found.ctime_nsec().cast_unsigned()];
    Some([found.dev(), found.ino(), found.len(), changed[0], changed[1]])
}

/// Of what was read together.
#[derive(Debug)]
pub struct Stamps {
    files: Vec<(PathBuf, Stamp)>,
    folders: Vec<PathBuf>,
}

impl Stamps {
    /// Of files, or folders of which the names were read, before that; and of the folders that nobody else may write to. None where
    /// something is missing or was changed just now.
    pub fn of(paths: &[PathBuf], folders: Vec<PathBuf>) -> Option<Stamps> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
        let settled = |stamp: &Stamp| stamp[3].saturating_add(SETTLED) < now;
        let look = |path: &PathBuf| Some((path.clone(), stamp(path).filter(settled)?));
        let files: Option<Vec<(PathBuf, Stamp)>> = paths.iter().map(look).collect();
        Some(Stamps { files: files?, folders })
    }

    /// Whether all of it looks so still.
    pub fn are_same(&self) -> bool {
        self.files.iter().all(|(path, before)| stamp(path).as_ref() == Some(before))
            && self.folders.iter().all(|folder| check_folder(folder).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_changed_just_now_is_read_again_and_so_is_what_is_changed_later() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let put = |name: &str, text: &str| fs::write(at(name), text).unwrap();
        for folder in ["one", "two"] {
            fs::create_dir(at(folder)).unwrap();
            fs::set_permissions(at(folder), Permissions::from_mode(0o755)).unwrap();
            for name in ["content", "mode", "renamed", "gone"] {
                put(&format!("{folder}/{name}"), "text");
            }
        }
        symlink("one", at("live")).unwrap();
        let files: Vec<PathBuf> = ["content", "mode", "renamed", "gone"].map(|name| at("live").join(name)).into();
        let look = |files: &[PathBuf]| Stamps::of(files, vec![at("one")]);
        assert!(look(&files).is_none(), "they may change again in this very moment");
        std::thread::sleep(Duration::from_secs(SETTLED + 2));
        let each: Vec<Stamps> = files.iter().map(|file| look(std::slice::from_ref(file)).unwrap()).collect();
        let all = look(&files).unwrap();
        assert!(all.are_same() && each.iter().all(Stamps::are_same));
        assert!(look(&[at("nothing")]).is_none());

        fs::set_permissions(at("one"), Permissions::from_mode(0o777)).unwrap();
        assert!(!all.are_same(), "anybody may write there");
        fs::set_permissions(at("one"), Permissions::from_mode(0o755)).unwrap();
        assert!(all.are_same());

        fs::remove_file(at("live")).unwrap();
        symlink("two", at("live")).unwrap();
        assert!(!all.are_same() && !each.iter().any(Stamps::are_same), "others stand there");
        fs::remove_file(at("live")).unwrap();
        symlink("one", at("live")).unwrap();
        assert!(all.are_same());

        put("one/content", "TEXT");
        fs::set_permissions(at("one/mode"), Permissions::from_mode(0o600)).unwrap();
        put("one/new", "text");
        fs::rename(at("one/new"), at("one/renamed")).unwrap();
        fs::remove_file(at("one/gone")).unwrap();
        assert!(!each.iter().any(Stamps::are_same), "{each:?}");
        assert!(look(&files[..1]).is_none());
    }
}
