//! The key folder: which zone keys it holds. A key that others can read is refused, not used.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use super::files::check_folder;
use crate::dns::Name;
use crate::dns::dnssec::Signer;
use crate::keys::{ZoneKey, file_name};

/// A PKCS#8 PEM of the algorithms used here takes some 240 octets, and a file of secrets as many as there are servers.
const MAX_OCTETS: u64 = 256 * 1024;

/// What a look at the key folder found.
#[derive(Debug, Default)]
pub struct KeyFolder {
    /// The usable keys of each zone: those called after it, then the one that the configuration names.
    pub keys: BTreeMap<Name, Vec<HeldKey>>,
    /// What can't be used.
    pub problems: Vec<KeyProblem>,
}

/// A key and its file.
#[derive(Clone, Debug)]
pub struct HeldKey {
    /// The key.
    pub key: Arc<ZoneKey>,
    /// The file's name within the keys folder.
    pub file: String,
}

/// A file in the key folder that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyProblem {
    /// The file.
    pub path: PathBuf,
    /// The zone that its name gives, or that the configuration names it for.
    pub zone: Option<Name>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Looks at a key folder again and again: a file that did not change is not read a second time.
#[derive(Debug, Default)]
pub struct KeyScanner {
    seen: HashMap<PathBuf, Seen>,
}

/// A file as it was.
#[derive(Debug)]
struct Seen {
    /// Device, inode, length, mode, and when any of it changed last.
    stamp: [u64; 6],
    key: Result<Arc<ZoneKey>, String>,
}

/// Where the keys of removed zones are kept, within the keys folder.
pub const REMOVED: &str = "removed";

/// The names of the key files in a folder, `*.pem`, without a look into them. A folder that does not exist has none.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    Ok(pem_files(folder)?.into_iter().filter_map(name).collect())
}

/// Looks once.
pub fn scan(folder: &Path, named: &[(Name, String)]) -> io::Result<KeyFolder> {
    KeyScanner::default().scan(folder, named)
}

impl KeyScanner {
    /// Reads the key files, `*.pem`, of a folder. `named` are zones with a file that may have any name. A folder that does not exist
    /// holds no keys; one that can't be read is an error, since "no key" and "can't look" are different answers.
    pub fn scan(&mut self, folder: &Path, named: &[(Name, String)]) -> io::Result<KeyFolder> {
        let mut found = KeyFolder::default();
        let mut shared: BTreeMap<&str, Vec<&Name>> = BTreeMap::new();
        for (zone, file) in named {
            shared.entry(file).or_default().push(zone);
        }
        let before = std::mem::take(&mut self.seen);
        for path in pem_files(folder)? {
            let seen = look(&path, &before);
            let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let users = shared.remove(file.as_str());
            let own = zone_of(&path).filter(|_| users.is_none() || file.contains('+'));
            if own.is_some() || users.is_none() {
                found.take_own(&path, own.clone(), &file, &seen.key);
            }
            for zone in users.into_iter().flatten().filter(|zone| own.as_ref() != Some(*zone)) {
                found.take(&path, zone, &file, seen.key.clone());
            }
            self.seen.insert(path, seen);
        }
        for (file, zones) in shared {
            let missing = || Err("the configuration names it, and it is not there".to_owned());
            zones.into_iter().for_each(|zone| found.take(&folder.join(file), zone, file, missing()));
        }
        Ok(found)
    }
}

impl KeyFolder {
    fn take(&mut self, path: &Path, zone: &Name, file: &str, key: Result<Arc<ZoneKey>, String>) {
        match key {
            Ok(key) => self.keys.entry(zone.clone()).or_default().push(HeldKey { key, file: file.to_owned() }),
            Err(message) => {
                self.problems.push(KeyProblem { path: path.to_owned(), zone: Some(zone.clone()), message });
            }
        }
    }

    /// A file that is called after its zone has to hold what its name says.
    fn take_own(&mut self, path: &Path, zone: Option<Name>, file: &str, key: &Result<Arc<ZoneKey>, String>) {
        let Some(zone) = zone else {
            let message =
                "the name of a key file is <zone>+<algorithm>+<key tag>.pem, example.org+013+55648.pem; any other \
                           is named in [zone.\"...\"] key"
                    .to_owned();
            self.problems.push(KeyProblem { path: path.to_owned(), zone: None, message });
            return;
        };
        let key = key.clone().and_then(|key| {
            let expected = file_name(&zone, key.algorithm(), key.key_tag());
            if file == expected {
                return Ok(key);
            }
            Err(format!(
                "it holds a key of another algorithm or tag than its name says; the name of this one is {expected}"
            ))
        });
        self.take(path, &zone, file, key);
    }
}

fn pem_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    // Who can put a key here signs our zones.
    check_folder(folder).map_err(|error| io::Error::other(error.to_string()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
    paths.sort();
    Ok(paths)
}

/// The file as it is now; read only where it is not as it was.
fn look(path: &Path, before: &HashMap<PathBuf, Seen>) -> Seen {
    let stamp = std::fs::symlink_metadata(path).map_or([0; 6], |found| {
        let changed = [found.ctime().cast_unsigned(), found.ctime_nsec().cast_unsigned()];
        [found.dev(), found.ino(), found.len(), u64::from(found.mode()), changed[0], changed[1]]
    });
    match before.get(path) {
        Some(seen) if seen.stamp == stamp && stamp != [0; 6] => Seen { stamp, key: seen.key.clone() },
        _ => Seen { stamp, key: read(path).map(Arc::new) },
    }
}

/// The zone that a key file is called after.
pub fn zone_of(path: &Path) -> Option<Name> {
    let (zone, _) = path.file_stem()?.to_str()?.rsplitn(3, '+').nth(2).map(|zone| (zone, ()))?;
    Name::parse(if zone.is_empty() { "." } else { zone }, None).ok()
}

/// A secret's text, from a file that nobody but its owner, this process or root, can use.
pub(super) fn read_private(path: &Path) -> Result<String, String> {
    // NONBLOCK, so that a FIFO does not hold us; NOFOLLOW, so that the mode that is checked is that of the file itself.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let stat = fstat(&file).map_err(|error| error.to_string())?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("not a regular file".to_owned());
    }
    let ours = [0, rustix::process::geteuid().as_raw()];
    if !ours.contains(&stat.st_uid) {
        return Err(format!(
            "it belongs to user {}, who could be anybody: chown it to the user that danelaw runs as",
            stat.st_uid
        ));
    }
    if stat.st_mode & 0o077 != 0 {
        let mode = stat.st_mode & 0o777;
        return Err(format!("others than its owner can use this secret (mode {mode:04o}): chmod 600 it"));
    }
    let mut text = String::new();
    let read = File::from(file).take(MAX_OCTETS + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > MAX_OCTETS { Err(format!("larger than {MAX_OCTETS} bytes")) } else { Ok(text) }
}

fn read(path: &Path) -> Result<ZoneKey, String> {
    ZoneKey::from_pem(&read_private(path)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::dns::dnssec::Algorithm;

    fn put(folder: &Path, name: &str, text: &str, mode: u32) {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn keys_are_found_by_zone_and_what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let zone: Name = "example.org.".parse().unwrap();
        let (key, pem) = ZoneKey::generate(Algorithm::Ed25519).unwrap();
        let good = file_name(&zone, 15, key.key_tag());
        put(folder.path(), &good, &pem, 0o600);
        put(folder.path(), "example.org+015+00000.pem", &pem, 0o600);
        put(folder.path(), "other.test+015+00001.pem", &pem, 0o640);
        put(folder.path(), "third.test+013+00001.pem", "not a key", 0o600);
        put(folder.path(), "nonsense.pem", &pem, 0o600);
        put(folder.path(), "README.md", "no key at all", 0o644);
        std::fs::create_dir(folder.path().join("folder+013+00001.pem")).unwrap();

        let found = scan(folder.path(), &[]).unwrap();
        assert_eq!(found.keys.len(), 1);
        assert_eq!(found.keys[&zone][0].key.key_tag(), key.key_tag());
        let said: Vec<&str> = found.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(said.len(), 5);
        for part in ["chmod 600", "PKCS#8", "another algorithm or tag", "<zone>+<algorithm>", "not a regular file"] {
            assert!(said.iter().any(|message| message.contains(part)), "{part}: {said:?}");
        }
        assert!(scan(&folder.path().join("missing"), &[]).unwrap().keys.is_empty());
    }

    #[test]
    fn one_file_is_the_key_of_every_zone_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let name = |text: &str| -> Name { text.parse().unwrap() };
        let (key, pem) = ZoneKey::generate(Algorithm::EcdsaP256Sha256).unwrap();
        put(folder.path(), "shared.pem", &pem, 0o600);
        let own = file_name(&name("c.test."), 13, key.key_tag());
        put(folder.path(), &own, &pem, 0o600);
        let named =
            [("a.test.", "shared.pem"), ("b.test.", "shared.pem"), ("c.test.", own.as_str()), ("d.test.", "gone.pem")];
        let named = named.map(|(zone, file)| (name(zone), file.to_owned()));

        let mut scanner = KeyScanner::default();
        let found = scanner.scan(folder.path(), &named).unwrap();
        let files: Vec<_> =
            found.keys.iter().map(|(zone, keys)| (zone.to_string(), keys.len(), &keys[0].file)).collect();
        let shared = "shared.pem".to_owned();
        assert_eq!(
            files,
            [("a.test.".to_owned(), 1, &shared), ("b.test.".to_owned(), 1, &shared), ("c.test.".to_owned(), 1, &own)]
        );
        assert_eq!(found.problems.len(), 1);
        assert_eq!(found.problems[0].zone, Some(name("d.test.")));

        let again = scanner.scan(folder.path(), &named).unwrap();
        assert!(
            Arc::ptr_eq(&again.keys[&name("a.test.")][0].key, &found.keys[&name("a.test.")][0].key),
            "not read twice"
        );
        put(folder.path(), "shared.pem", &pem, 0o644);
        let changed = scanner.scan(folder.path(), &named).unwrap();
        assert!(!changed.keys.contains_key(&name("a.test.")), "a chmod is a change");
        assert_eq!(changed.problems.len(), 3);
    }
}
