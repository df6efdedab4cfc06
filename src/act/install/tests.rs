//! What an installation promises: a matching pair at every instant, wherever it is broken off; owners and modes that last.

#[cfg(debug_assertions)]
mod crashes;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::fs::{Mode, OFlags, openat};

use super::*;
use crate::dane::Chain;

const HOST: &str = "mail.example.org";
const FILES: [&str; 5] = ["cert.pem", "chain.pem", "combined.pem", "fullchain.pem", "privkey.pem"];

fn host() -> Name {
    HOST.parse().unwrap()
}

/// A key and its chain of two, both PEM.
fn made() -> (String, String) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let mut leaf = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, HOST);
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&authority, &authority_key)).unwrap();
    (key.serialize_pem(), leaf.pem() + &authority_certificate.pem())
}

fn material_of(pairs: &[&(String, String)]) -> Material {
    let chain = |text: &str| Chain::parse(text.as_bytes()).unwrap();
    Material::new(pairs.iter().map(|(key, text)| (key.clone().into_bytes(), chain(text)))).unwrap()
}

/// A folder of the system's, and `deployed` in it. In memory where that can be: what waits for a disk is waited for hundreds of times.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let deployed = folder.path().join("deployed");
    (folder, deployed)
}

fn put(deployed: &Path, id: &str, pair: &(String, String)) {
    assert_eq!(stage(deployed, &host(), id, &material_of(&[pair])).unwrap(), []);
    assert_eq!(install(deployed, &host(), id).unwrap(), []);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn ids(deployed: &Path) -> Vec<String> {
    staged(deployed, &host()).unwrap().into_iter().collect()
}

#[test]
fn a_staged_version_is_installed_by_its_link_and_retired_when_another_is() {
    let (_folder, deployed) = place();
    let (one, two) = (made(), made());
    put(&deployed, "one", &one);
    let live = deployed.join(HOST);
    assert_eq!(fs::read_link(&live).unwrap(), Path::new(".versions/mail.example.org/one"));
    assert_eq!(names(&live), FILES);
    let text = |name: &str| fs::read_to_string(live.join(name)).unwrap();
    assert_eq!(text("privkey.pem"), one.0);
    assert_eq!(text("fullchain.pem").replace('\r', ""), one.1.replace('\r', ""));
    assert_eq!(text("combined.pem"), text("privkey.pem") + &text("fullchain.pem"));
    assert_eq!(text("cert.pem") + &text("chain.pem"), text("fullchain.pem"));
    for (name, expected) in FILES.into_iter().zip([0o644, 0o644, 0o600, 0o644, 0o600]) {
        assert_eq!(mode(&live.join(name)), expected, "{name}");
    }
    for folder in [&deployed, &deployed.join(".versions"), &deployed.join(".versions").join(HOST), &live] {
        assert_eq!(mode(folder), 0o755, "{}", folder.display());
    }

    stage(&deployed, &host(), "two", &material_of(&[&two])).unwrap();
    assert_eq!(text("privkey.pem"), one.0, "staged is not installed");
    assert_eq!(ids(&deployed), ["one", "two"]);
    assert!(matches!(retire(&deployed, &host(), "one"), Err(InstallError::Live(_))));
    assert!(matches!(install(&deployed, &host(), "three"), Err(InstallError::Missing { .. })));
    for _ in 0..2 {
        put(&deployed, "two", &two);
        assert_eq!(text("privkey.pem"), two.0);
    }
    for _ in 0..2 {
        retire(&deployed, &host(), "one").unwrap();
        assert_eq!(ids(&deployed), ["two"]);
    }
    assert_eq!(names(&deployed), [".installed", ".versions", HOST]);
    assert_eq!(names(&deployed.join(".versions").join(HOST)), ["two"]);
}

#[test]
fn a_second_key_type_has_files_of_its_own_and_combined_holds_both() {
    let (folder, deployed) = place();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made_by_openssl = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=m", "-addext"])
        .args(["subjectAltName=DNS:mail.example.org", "-keyout", &path("key"), "-out", &path("certificate")])
        .output()
        .unwrap();
    assert!(made_by_openssl.status.success());
    let rsa = (fs::read_to_string(path("key")).unwrap(), fs::read_to_string(path("certificate")).unwrap());
    let ecdsa = made();
    let material = material_of(&[&ecdsa, &rsa]);
    assert_eq!(format!("{material:?}"), "[Ecdsa, Rsa]");
    stage(&deployed, &host(), "both", &material).unwrap();
    install(&deployed, &host(), "both").unwrap();
    let text = |name: &str| fs::read_to_string(deployed.join(HOST).join(name)).unwrap();
    assert_eq!(text("privkey-rsa.pem"), rsa.0);
    assert_eq!(text("fullchain-rsa.pem"), rsa.1, "as openssl writes it");
    assert_eq!((text("cert-rsa.pem"), text("chain-rsa.pem")), (rsa.1.clone(), String::new()));
    let pairs = ["privkey.pem", "fullchain.pem", "privkey-rsa.pem", "fullchain-rsa.pem"].map(text);
    assert_eq!(text("combined.pem"), pairs.concat());
    let twice = Material::new(
        [&rsa, &rsa].map(|(key, text)| (key.clone().into_bytes(), Chain::parse(text.as_bytes()).unwrap())),
    );
    assert!(matches!(twice, Err(MaterialError::TwoOfAType(_))));
    assert!(matches!(Material::new([]), Err(MaterialError::Nothing)));
}

#[test]
fn a_reader_gets_a_matching_pair_while_versions_are_swapped() {
    let (_folder, deployed) = place();
    let made: Vec<(String, String)> = (0..8).map(|_| made()).collect();
    let mut chains = BTreeMap::new();
    for (number, pair) in made.iter().enumerate() {
        put(&deployed, &number.to_string(), pair);
        let text = |name: &str| fs::read_to_string(deployed.join(HOST).join(name)).unwrap();
        chains.insert(text("privkey.pem"), text("fullchain.pem"));
    }
    assert_eq!(chains.len(), 8);
    let is_over = AtomicBool::new(false);
    let read = || {
        let (mut count, mut seen) = (0, BTreeSet::new());
        while !is_over.load(Ordering::Relaxed) || count == 0 {
            let combined = fs::read_to_string(deployed.join(HOST).join("combined.pem")).unwrap();
            assert!(chains.iter().any(|(key, chain)| combined == format!("{key}{chain}")));
            let folder = fs::File::open(deployed.join(HOST)).unwrap();
            let [key, chain] = ["privkey.pem", "fullchain.pem"].map(|name| {
                let file = openat(&folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
                io::read_to_string(fs::File::from(file)).unwrap()
            });
            assert_eq!(chains.get(&key), Some(&chain));
            seen.insert(key);
            count += 1;
        }
        seen.len()
    };
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(read);
        for number in 0..200 {
            install(&deployed, &host(), &(number % 8).to_string()).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(seen > 1, "the reader saw one version only");
}

#[test]
fn what_the_operator_gave_to_a_file_lasts() {
    let (_folder, deployed) = place();
    let (one, two, three) = (made(), made(), made());
    put(&deployed, "one", &one);
    // Root may give any group, others one of theirs.
    let group = match rustix::process::geteuid().is_root() {
        true => 4321,
        false => rustix::process::getgroups().unwrap().last().copied().unwrap_or(rustix::process::getegid()).as_raw(),
    };
    let live = |name: &str| deployed.join(HOST).join(name);
    let give = |name: &str, mode| {
        std::os::unix::fs::chown(live(name), None, Some(group)).unwrap();
        fs::set_permissions(live(name), Permissions::from_mode(mode)).unwrap();
    };
    let owner = |name: &str| (fs::metadata(live(name)).unwrap().gid(), mode(&live(name)));
    give("privkey.pem", 0o640);
    put(&deployed, "two", &two);
    assert_eq!(owner("privkey.pem"), (group, 0o640));
    assert_eq!(owner("combined.pem").1, 0o600);

    // After the next one was staged, before it is installed; and what anybody could write to is not handed on.
    stage(&deployed, &host(), "three", &material_of(&[&three])).unwrap();
    give("combined.pem", 0o660);
    give("privkey.pem", 0o600);
    install(&deployed, &host(), "three").unwrap();
    assert_eq!(owner("combined.pem"), (group, 0o640));
    assert_eq!(owner("privkey.pem"), (group, 0o600));
    assert_eq!(fs::read_to_string(live("privkey.pem")).unwrap(), three.0);
}

/// The half of the test below that may not give files away.
fn install_as_somebody_else(deployed: &Path) {
    let lost = stage(deployed, &host(), "two", &material_of(&[&made()])).unwrap();
    let again = install(deployed, &host(), "two").unwrap();
    for lost in [lost, again] {
        let names: Vec<_> = lost.iter().map(|lost| lost.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["privkey.pem"]);
        assert_eq!((lost[0].owner, lost[0].mode), (0, 0o640), "{}", lost[0]);
    }
}

#[test]
fn where_a_file_may_not_be_given_away_it_is_installed_all_the_same() {
    let name = "act::install::tests::where_a_file_may_not_be_given_away_it_is_installed_all_the_same";
    if let Some(deployed) = std::env::var_os("DANELAW_TEST_INSTALL") {
        return install_as_somebody_else(Path::new(&deployed));
    }
    let (_folder, deployed) = place();
    put(&deployed, "one", &made());
    // A file of root's and another group's in place of the key: what the next one has to be like.
    let key = deployed.join(HOST).join("privkey.pem");
    fs::remove_file(&key).unwrap();
    symlink("/etc/shadow", &key).unwrap();
    // Nobody may not look into the folder that this program is in.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("test");
    // Copied by another process: a child of another test's can't hold it open for writing while it is run.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap();
    assert!(copied.success());
    let mut other = Command::new(program);
    other.args(["--exact", name]).env("DANELAW_TEST_INSTALL", &deployed).current_dir("/");
    // Root may do everything, so root becomes nobody.
    if rustix::process::geteuid().is_root() {
        let owned = Command::new("chown").args(["-Rh", "65534:65534"]).arg(&deployed).status().unwrap();
        assert!(owned.success());
        other.uid(65534).gid(65534);
    }
    let output = other.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(fs::read_link(deployed.join(HOST)).unwrap(), Path::new(".versions/mail.example.org/two"));
    assert_eq!(mode(&key), 0o600, "not for a group that was not meant");
}

#[test]
fn what_stands_in_the_place_of_the_link_is_left_alone() {
    let (_folder, deployed) = place();
    let material = material_of(&[&made()]);
    fs::create_dir(&deployed).unwrap();
    let link = deployed.join(HOST);
    let refused = |what: &str| {
        let all = [
            stage(&deployed, &host(), "one", &material).unwrap_err(),
            install(&deployed, &host(), "one").unwrap_err(),
            retire(&deployed, &host(), "one").unwrap_err(),
        ];
        for error in all.map(|error| error.to_string()) {
            assert!(error.contains(what) && error.contains("move it away (mv "), "{error}");
        }
    };
    fs::create_dir(&link).unwrap();
    fs::write(link.join("fullchain.pem"), "theirs").unwrap();
    refused("is a folder");
    assert_eq!(names(&deployed), [HOST], "nothing was made");
    assert_eq!(fs::read_to_string(link.join("fullchain.pem")).unwrap(), "theirs");

    fs::remove_dir_all(&link).unwrap();
    fs::write(&link, "a file").unwrap();
    refused("is a file");
    fs::remove_file(&link).unwrap();
    for target in ["/etc/letsencrypt/live/mail.example.org", ".versions/mail.example.org/one/"] {
        symlink(target, &link).unwrap();
        refused(&format!("is a link to {target}"));
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        fs::remove_file(&link).unwrap();
    }
    stage(&deployed, &host(), "one", &material).unwrap();
    install(&deployed, &host(), "one").unwrap();
}

#[test]
fn folders_that_others_can_write_to_and_names_that_lead_elsewhere_are_refused() {
    let (_folder, deployed) = place();
    let pair = made();
    put(&deployed, "one", &pair);
    for folder in [&deployed, &deployed.join(".versions"), &deployed.join(".versions").join(HOST)] {
        for bits in [0o775, 0o757] {
            fs::set_permissions(folder, Permissions::from_mode(bits)).unwrap();
            let error = stage(&deployed, &host(), "two", &material_of(&[&pair])).unwrap_err().to_string();
            assert!(error.contains(&format!("chmod go-w {}", folder.display())), "{error}");
            assert!(matches!(install(&deployed, &host(), "one"), Err(InstallError::Writable { .. })));
            assert!(matches!(retire(&deployed, &host(), "two"), Err(InstallError::Writable { .. })));
        }
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    }
    for id in ["", "..", "a/b", ".hidden", "a.1"] {
        assert!(matches!(stage(&deployed, &host(), id, &material_of(&[&pair])), Err(InstallError::Id(_))), "{id}");
    }
    for name in [".", "*.example.org.", r"\.\..org.", r"a\/b.org."] {
        let name = Name::parse(name, None).unwrap();
        assert!(matches!(install(&deployed, &name, "one"), Err(InstallError::Host(_))), "{name}");
    }
    assert_eq!(ids(&deployed), ["one"]);
}

#[test]
fn what_was_changed_by_hand_is_written_anew_and_never_while_it_is_read() {
    let (_folder, deployed) = place();
    let pair = made();
    let material = material_of(&[&pair]);
    put(&deployed, "one", &pair);
    let live = deployed.join(HOST);
    let whole = fs::read_to_string(live.join("fullchain.pem")).unwrap();
    let changed = whole.replacen('A', "B", 1);
    for again in ["one.1", "one.2"] {
        fs::write(live.join("fullchain.pem"), &changed).unwrap();
        stage(&deployed, &host(), "one", &material).unwrap();
        assert_eq!(fs::read_to_string(live.join("fullchain.pem")).unwrap(), changed, "staging changes nothing live");
        install(&deployed, &host(), "one").unwrap();
        assert_eq!(fs::read_to_string(live.join("fullchain.pem")).unwrap(), whole);
        assert_eq!(fs::read_link(&live).unwrap(), Path::new(".versions/mail.example.org").join(again));
    }
    assert_eq!(ids(&deployed), ["one"]);

    let other = made();
    stage(&deployed, &host(), "two", &material_of(&[&other])).unwrap();
    let staged = deployed.join(".versions").join(HOST).join("two");
    fs::remove_file(staged.join("chain.pem")).unwrap();
    assert!(matches!(install(&deployed, &host(), "two"), Err(InstallError::Incomplete(_))));
    put(&deployed, "two", &other);
    retire(&deployed, &host(), "one").unwrap();
    assert_eq!(names(&deployed.join(".versions").join(HOST)), ["two"]);
}
