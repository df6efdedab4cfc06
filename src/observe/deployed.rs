//! Reads back what stands where the mail server reads, whoever put it there. Opens no private key, and not the file that holds
//! keys and chains together.

use std::path::{Path, PathBuf};

use crate::dane::deployed::{FULL_CHAIN, Folder, file_name, host_name};
use crate::dane::{Chain, Error};
use crate::dns::Name;

use super::files::{self, FileError, check_folder};
use super::stamps::Stamps;

/// What the mail server reads for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its chains, one for each key type; that of `fullchain.pem` first.
    pub chains: Vec<Chain>,
    /// The id of the version that the link names; none where the link is not ours. The chains tell whether it is still that version.
    pub id: Option<String>,
}

impl Deployed {
    /// Whether the link is one that danelaw made. What is behind it may have been changed all the same.
    pub fn is_ours(&self) -> bool {
        self.id.is_some()
    }
}

/// Why it is not known what the mail server reads. Change nothing; look again.
#[derive(Debug, thiserror::Error)]
pub enum DeployedError {
    /// The host's name is no file name. Configure another one.
    #[error("`{0}` can't be the name of a folder: a mail host has letters, digits, hyphens and dots")]
    Host(Name),
    /// A file or folder can't be read.
    #[error("{}: {error} ({})", path.display(), error.help())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// There is no chain in it, or a part of one.
    #[error("{}: {error}", path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// No file in it is one that danelaw would write.
    #[error("{} holds no fullchain.pem, so it is not known what the mail server presents: put it there", .0.display())]
    NoChain(PathBuf),
}

/// Reads what the mail server would read; none where nothing stands. A change while it is read is an error, or what was there before.
pub fn read(deployed: &Path, host: &Name) -> Result<Option<Deployed>, DeployedError> {
    let name = host_name(host).ok_or_else(|| DeployedError::Host(host.clone()))?;
    let link = deployed.join(&name);
    let failed = |error: std::io::Error| DeployedError::File { path: link.clone(), error: FileError::from_io(error) };
    match std::fs::symlink_metadata(&link) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(failed)?,
    };
    let at = |path: &Path, error| DeployedError::File { path: path.to_owned(), error };
    check_folder(deployed).map_err(|error| at(deployed, error))?;
    let target = std::fs::read_link(&link).ok();
    let version = target.and_then(|target| Folder::of_link(&name, &target));
    // The link is followed once: its id and all of the files are of one version, even if it changes now.
    let folder = match &version {
        Some(version) => deployed.join(version.link(&name)),
        None => link.canonicalize().map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok().filter(|name| is_chain(name)));
    }
    if names.is_empty() {
        return Err(DeployedError::NoChain(folder));
    }
    names.sort_by_key(|name| (*name != file_name(FULL_CHAIN, None), name.clone()));
    let mut chains = Vec::new();
    for name in names {
        let path = folder.join(name);
        let octets = files::read_named(&path).map_err(|error| at(&path, error))?;
        chains.push(Chain::parse(&octets).map_err(|error| DeployedError::Chain { path, error })?);
    }
    Ok(Some(Deployed { chains, id: version.map(|version| version.id) }))
}

/// How it looks, to be asked before it is read; none where that tells nothing.
pub fn stamps(deployed: &Path, host: &Name) -> Option<Stamps> {
    let link = deployed.join(host_name(host)?);
    let names = std::fs::read_dir(&link).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let files: Vec<PathBuf> = names.filter(|name| is_chain(name)).map(|name| link.join(name)).collect();
    let folder = |file: &PathBuf| Some(file.canonicalize().ok()?.parent()?.to_owned());
    let folders = files.iter().filter_map(folder).chain([deployed.to_owned()]).collect();
    // Behind the link is another folder after an installation.
    let all: Vec<PathBuf> = files.into_iter().chain([link]).collect();
    Stamps::of(&all, folders)
}

/// `fullchain.pem`, and `fullchain-rsa.pem` of a further key type.
fn is_chain(name: &str) -> bool {
    let middle = name.strip_prefix(FULL_CHAIN).and_then(|rest| rest.strip_suffix(".pem"));
    middle.is_some_and(|middle| middle.is_empty() || middle.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::act::install::{Material, install, stage};

    fn host() -> Name {
        "mail.example.org.".parse().unwrap()
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["mail.example.org".to_owned()]).unwrap();
        (made.signing_key.serialize_pem(), made.cert.pem())
    }

    fn put(deployed: &Path, id: &str, (key, text): &(String, String)) {
        let chain = Chain::parse(text.as_bytes()).unwrap();
        let material = Material::new([(key.clone().into_bytes(), chain)]).unwrap();
        stage(deployed, &host(), id, &material).unwrap();
        install(deployed, &host(), id).unwrap();
    }

    fn fingerprints(found: &Deployed) -> Vec<String> {
        found.chains.iter().map(|chain| chain.leaf().fingerprint()).collect()
    }

    fn of(pairs: &[&(String, String)]) -> Vec<String> {
        pairs.iter().map(|(_, text)| Chain::parse(text.as_bytes()).unwrap().leaf().fingerprint()).collect()
    }

    #[test]
    fn what_was_installed_is_read_back_and_so_is_what_was_put_there_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let deployed = folder.path().join("deployed");
        assert_eq!(read(&deployed, &host()).unwrap(), None);
        let (one, two, three) = (made(), made(), made());
        put(&deployed, "one", &one);
        put(&deployed, "two", &two);
        // What holds keys isn't needed, since it isn't opened.
        let live = deployed.join("mail.example.org");
        for name in ["privkey.pem", "combined.pem"] {
            fs::remove_file(live.join(name)).unwrap();
        }
        let found = read(&deployed, &host()).unwrap().unwrap();
        assert_eq!((found.id.as_deref(), found.is_ours()), (Some("two"), true));
        assert_eq!(fingerprints(&found), of(&[&two]));

        fs::write(live.join("fullchain.pem"), &three.1).unwrap();
        fs::write(live.join("fullchain-rsa.pem"), &one.1).unwrap();
        fs::write(live.join("fullchained.pem"), "another's").unwrap();
        let found = read(&deployed, &host()).unwrap().unwrap();
        assert_eq!(found.id.as_deref(), Some("two"));
        assert_eq!(fingerprints(&found), of(&[&three, &one]), "as it stands there");
    }

    #[test]
    fn another_folder_or_link_is_read_and_said_not_to_be_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (deployed, live) = (folder.path().join("deployed"), folder.path().join("live/mail.example.org"));
        let archive = folder.path().join("archive");
        let pair = made();
        for folder in [&deployed, &live, &archive] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(archive.join("fullchain1.pem"), &pair.1).unwrap();
        symlink("../../archive/fullchain1.pem", live.join("fullchain.pem")).unwrap();
        let link = deployed.join("mail.example.org");
        symlink(&live, &link).unwrap();
        let found = read(&deployed, &host()).unwrap().unwrap();
        assert_eq!((found.id.as_deref(), found.is_ours()), (None, false));
        assert_eq!(fingerprints(&found), of(&[&pair]));

        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert!(matches!(read(&deployed, &host()), Err(DeployedError::NoChain(_))));
        fs::write(link.join("fullchain.pem"), &pair.1).unwrap();
        assert!(!read(&deployed, &host()).unwrap().unwrap().is_ours());
    }

    #[test]
    fn what_can_t_be_known_is_an_error_and_never_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let deployed = folder.path().join("deployed");
        let pair = made();
        put(&deployed, "one", &pair);
        let file = deployed.join("mail.example.org/fullchain.pem");
        let said = || read(&deployed, &host()).unwrap_err().to_string();

        fs::write(&file, &pair.1[..200]).unwrap();
        assert!(said().contains("no END line"), "{}", said());
        fs::set_permissions(&deployed, Permissions::from_mode(0o777)).unwrap();
        assert!(said().contains("chmod go-w"), "{}", said());
        fs::set_permissions(&deployed, Permissions::from_mode(0o755)).unwrap();
        fs::remove_dir_all(deployed.join(".versions")).unwrap();
        assert!(said().contains("it does not exist"), "{}", said());
        assert!(matches!(read(&deployed, &Name::root()), Err(DeployedError::Host(_))));
    }
}
