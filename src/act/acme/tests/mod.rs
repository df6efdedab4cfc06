//! What is promised of the folder: a whole pair at every instant, whatever is killed or full, and nothing of others overwritten.

mod crashes;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::folder::{CERTIFICATES, Folder, FolderError};
use super::*;
use crate::dane::certificate::KeyType;
use crate::dns::Name;

const HOST: &str = "mail.example.test";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn id(key_type: KeyType) -> Id {
    Id { host: name(HOST), key_type }
}

fn folder(state: &Path) -> Folder {
    Folder::of(state, &id(KeyType::Ecdsa)).unwrap()
}

fn place(state: &Path) -> PathBuf {
    state.join(CERTIFICATES).join(HOST)
}

/// A chain for the key in a file.
fn issued(key: &Path, names: &[&str]) -> String {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let above = params.self_signed(&authority).unwrap();
    let issuer = Issuer::new(params, authority);
    let key = KeyPair::from_pem(&fs::read_to_string(key).unwrap()).unwrap();
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.signed_by(&key, &issuer).unwrap().pem() + &above.pem()
}

/// A first certificate, and the next key; gives the chain of the certificate that comes next.
fn first_and_next(state: &Path) -> String {
    let folder = folder(state);
    folder.key_of_order(false).unwrap();
    let first = issued(&place(state).join("privkey.order.pem"), &[HOST]);
    folder.store(&first, &[name(HOST)].into()).unwrap();
    folder.make_next_key().unwrap();
    issued(&place(state).join("privkey.roll.pem"), &[HOST])
}

/// What lies in a folder after a renewal.
const ALL: [&str; 4] = ["fullchain.before.pem", "fullchain.pem", "privkey.pem", "privkey.roll.pem"];

fn listed(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn contents(path: &Path) -> Vec<(String, String)> {
    listed(path).into_iter().map(|name| (name.clone(), fs::read_to_string(path.join(name)).unwrap())).collect()
}

#[test]
fn a_renewal_takes_the_next_key_and_reuse_keeps_the_key() {
    let state = tempfile::tempdir().unwrap();
    let (folder, place) = (folder(state.path()), place(state.path()));
    assert_eq!(folder.held().unwrap(), None);
    let second = first_and_next(state.path());
    let next = fs::read(place.join("privkey.roll.pem")).unwrap();
    folder.make_next_key().unwrap();
    assert_eq!(fs::read(place.join("privkey.roll.pem")).unwrap(), next, "it is made once");
    let held = folder.store(&second, &[name(HOST)].into()).unwrap();
    assert_eq!(folder.store(&second, &[name(HOST)].into()).unwrap(), held, "once more");
    assert_eq!(folder.held().unwrap(), Some(held.clone()));
    assert_eq!((held.names, held.ari_id.is_some()), ([name(HOST)].into(), true));
    assert_eq!(fs::read(place.join("privkey.pem")).unwrap(), next);
    assert_eq!(listed(&place), ["fullchain.before.pem", "fullchain.pem", "privkey.pem"]);
    for file in listed(&place) {
        assert_eq!(fs::metadata(place.join(file)).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    for path in [&place, place.parent().unwrap()] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o700);
    }
    folder.make_next_key().unwrap();
    let third = issued(&place.join("privkey.pem"), &[HOST]);
    assert!(
        folder.key_of_order(true).unwrap().is_of(crate::dane::Chain::parse(third.as_bytes()).unwrap().leaf().spki())
    );
    folder.store(&third, &[name(HOST)].into()).unwrap();
    assert_eq!(fs::read(place.join("privkey.pem")).unwrap(), next);
    assert_eq!(listed(&place), ALL);
}

#[test]
fn what_is_no_chain_for_these_names_and_keys_is_not_laid_down() {
    let state = tempfile::tempdir().unwrap();
    let (folder, place) = (folder(state.path()), place(state.path()));
    let second = first_and_next(state.path());
    let before = contents(&place);
    let stranger = state.path().join("stranger.pem");
    fs::write(&stranger, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let refused = |chain: &str, names: &BTreeSet<Name>| folder.store(chain, names).unwrap_err();
    assert!(matches!(refused("<html>", &[name(HOST)].into()), FolderError::Chain(_)));
    assert!(matches!(refused(&second[..second.len() - 40], &[name(HOST)].into()), FolderError::Chain(_)));
    assert!(matches!(refused(&issued(&stranger, &[HOST]), &[name(HOST)].into()), FolderError::OtherKey(_)));
    let names: BTreeSet<Name> = [name(HOST), name("*.example.test")].into();
    assert!(refused(&second, &names).to_string().contains("does not cover *.example.test"));
    assert_eq!(contents(&place), before);
}

#[test]
fn what_danelaw_did_not_make_is_left_alone() {
    let state = tempfile::tempdir().unwrap();
    let (folder, place) = (folder(state.path()), place(state.path()));
    let second = first_and_next(state.path());
    let elsewhere = state.path().join("elsewhere");
    for file in ["fullchain.pem", "privkey.pem"] {
        let path = place.join(file);
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let before = contents(&place);
        let error = folder.store(&second, &[name(HOST)].into()).unwrap_err().to_string();
        assert!(error.contains("a symlink, which danelaw did not make"), "{error}");
        assert_eq!(contents(&place), before);
        fs::rename(&elsewhere, &path).unwrap();
    }
    fs::set_permissions(place.join("privkey.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(folder.held().unwrap_err().to_string().contains("chmod 0600"));
    fs::set_permissions(place.join("privkey.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(folder.store(&second, &[name(HOST)].into()).unwrap_err().to_string().contains("chmod 0700"));
    fs::remove_file(place.join("privkey.roll.pem")).unwrap();
    assert!(folder.make_next_key().unwrap_err().to_string().contains("chmod 0700"));
    let wild = Folder::of(state.path(), &Id { host: name("*.example.test"), key_type: KeyType::Ecdsa });
    assert!(matches!(wild, Err(FolderError::Host(_))));
}

#[test]
fn a_full_disk_leaves_the_last_good_pair() {
    if let Some(state) = std::env::var_os("DANELAW_TEST_FULL") {
        let state = Path::new(&state);
        let chain = fs::read_to_string(state.join("chain")).unwrap();
        let failed = [
            folder(state).store(&chain, &[name(HOST)].into()).err().map(|error| error.to_string()),
            fs::remove_file(place(state).join("privkey.roll.pem")).err().map(|error| error.to_string()),
            folder(state).make_next_key().err().map(|error| error.to_string()),
        ];
        assert!(failed[0].as_ref().unwrap().contains("fullchain.pem.new: can't write the file"), "{failed:?}");
        assert!(failed[2].as_ref().unwrap().contains("can't write the key"), "{failed:?}");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let place = place(state.path());
    let second = first_and_next(state.path());
    fs::write(state.path().join("chain"), &second).unwrap();
    let next = fs::read(place.join("privkey.roll.pem")).unwrap();
    let before = contents(&place);
    // What is ignored stays ignored in the program that takes the shell's place: it sees an error, as of a full disk.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "act::acme::tests::a_full_disk_leaves_the_last_good_pair"])
        .env("DANELAW_TEST_FULL", state.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    fs::write(place.join("privkey.roll.pem"), &next).unwrap();
    fs::set_permissions(place.join("privkey.roll.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let after: Vec<_> = contents(&place).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
    assert_eq!(after, before);
    folder(state.path()).store(&second, &[name(HOST)].into()).unwrap();
    folder(state.path()).make_next_key().unwrap();
    assert_eq!(listed(&place), ALL);
}

#[test]
fn the_key_of_an_account_is_in_nothing_that_is_shown() {
    let secret = "c2VjcmV0LW9mLXRoZS1hY2NvdW50";
    let external = External { key_id: "kid".to_owned(), key: crate::act::messages::Secret(secret.to_owned()) };
    let settings = Settings {
        directory: "https://ca.test/dir".to_owned(),
        contacts: Vec::new(),
        external: Some(external),
        ca_file: None,
        state: PathBuf::from("/nonexistent"),
    };
    assert!(!format!("{settings:?}").contains(secret));
    assert_ne!(settings.path(), Settings { directory: "https://ca.test/other".to_owned(), ..settings }.path());
}
