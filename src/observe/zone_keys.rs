//! The key folder: which zone keys it holds. A key that others can read is refused, not used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use super::files::check_folder;
use crate::dns::Name;
use crate::dns::dnssec::Signer;
use crate::keys::{ZoneKey, file_name};

/// A PKCS#8 PEM of the algorithms used here takes some 240 octets.
const MAX_OCTETS: u64 = 16 * 1024;

/// What a look at the key folder found.
#[derive(Debug, Default)]
pub struct KeyFolder {
    /// The usable keys of each zone.
    pub keys: BTreeMap<Name, Vec<ZoneKey>>,
    /// What can't be used.
    pub problems: Vec<KeyProblem>,
}

/// A file in the key folder that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct KeyProblem {
    /// The file.
    pub path: PathBuf,
    /// The zone that its name gives, if it gives one.
    pub zone: Option<Name>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Reads the key files, `*.pem`, of a folder. A folder that does not exist holds no keys; one that can't be read is an error, since
/// "no key" and "can't look" are different answers.
pub fn scan(folder: &Path) -> io::Result<KeyFolder> {
    let mut found = KeyFolder::default();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    // Who can put a key here signs our zones.
    check_folder(folder).map_err(|error| io::Error::other(error.to_string()))?;
    let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
    paths.sort();
    for path in paths {
        let zone = zone_of(&path);
        match zone.clone().map_or_else(|| Err(misnamed()), |zone| read(&path, &zone).map(|key| (zone, key))) {
            Ok((zone, key)) => found.keys.entry(zone).or_default().push(key),
            Err(message) => found.problems.push(KeyProblem { path, zone, message }),
        }
    }
    Ok(found)
}

fn misnamed() -> String {
    "the name of a key file is <zone>+<algorithm>+<key tag>.pem, example.org+013+55648.pem".to_owned()
}

fn zone_of(path: &Path) -> Option<Name> {
    let (zone, _) = path.file_stem()?.to_str()?.rsplitn(3, '+').nth(2).map(|zone| (zone, ()))?;
    Name::parse(if zone.is_empty() { "." } else { zone }, None).ok()
}

fn read(path: &Path, zone: &Name) -> Result<ZoneKey, String> {
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
        return Err(format!("others than its owner can use this private key (mode {mode:04o}): chmod 600 it"));
    }
    let mut text = String::new();
    File::from(file).take(MAX_OCTETS).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let key = ZoneKey::from_pem(&text).map_err(|error| error.to_string())?;
    let expected = file_name(zone, key.algorithm(), key.key_tag());
    if path.file_name().is_some_and(|name| *name == *expected) {
        Ok(key)
    } else {
        Err(format!(
            "it holds a key of another algorithm or tag than its name says; the name of this one is {expected}"
        ))
    }
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

        let found = scan(folder.path()).unwrap();
        assert_eq!(found.keys.len(), 1);
        assert_eq!(found.keys[&zone][0].key_tag(), key.key_tag());
        let said: Vec<&str> = found.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(said.len(), 5);
        for part in ["chmod 600", "PKCS#8", "another algorithm or tag", "<zone>+<algorithm>", "not a regular file"] {
            assert!(said.iter().any(|message| message.contains(part)), "{part}: {said:?}");
        }
        assert!(scan(&folder.path().join("missing")).unwrap().keys.is_empty());
    }
}
