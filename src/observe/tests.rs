//! Real directories: every layout as its client leaves it, and everything that may be wrong in one. Certificates and
//! keys are made by the openssl command, which must be installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificates::{CertificateScanner, Scan, Severity, scan, sightings};
use super::layouts::Layout;
use crate::config::{CertificateFolder, CertificateMode};
use crate::dane::certificate::KeyType;

/// A temporary folder that only its owner can write to, and a place for material made once a test.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a folder"));
        place.folder("watched");
        place
    }

    fn folder(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(&path).expect("folder");
        for folder in path.ancestors().take_while(|folder| *folder != self.0.path()) {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("mode");
        }
        path
    }

    fn watched(&self, path: &str) -> PathBuf {
        self.0.path().join("watched").join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.watched(path);
        let folder = path.parent().and_then(|folder| folder.strip_prefix(self.0.path()).ok()).expect("below");
        self.folder(folder.to_str().expect("text"));
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("mode");
        path
    }

    fn scan(&self) -> Scan {
        self.scan_as("", CertificateMode::Staged)
    }

    fn scan_as(&self, path: &str, mode: CertificateMode) -> Scan {
        scan(&CertificateFolder { path: self.watched(path), mode, roots: Vec::new() })
    }
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("the openssl command is installed");
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// A key by the arguments of genpkey, and a self-signed certificate for a host, both PEM.
fn made(algorithm: &[&str], host: &str) -> (String, String) {
    let key = openssl(&[&["genpkey"], algorithm].concat());
    (certificate(&key, host), key)
}

fn certificate(key: &str, host: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    fs::write(&path, key).expect("written");
    let san = format!("subjectAltName=DNS:{host}");
    let subject = format!("/CN={host}");
    let path = path.to_str().expect("text");
    openssl(&["req", "-x509", "-new", "-key", path, "-subj", &subject, "-days", "90", "-addext", &san])
}

fn convert(arguments: &[&str], input: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("in"), folder.path().join("out"));
    fs::write(&from, input).expect("written");
    let (from, to) = (from.to_str().expect("text").to_owned(), to.to_str().expect("text").to_owned());
    openssl(&[arguments, &["-in", &from, "-out", &to]].concat());
    fs::read(to).expect("converted")
}

const P256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

fn ec(host: &str) -> (String, String) {
    made(&P256, host)
}

/// Layout, path below the watched folder, whether the key was checked.
fn rows(place: &Place, scan: &Scan) -> Vec<(Layout, String, bool)> {
    let below = |path: &Path| path.strip_prefix(place.watched("")).expect("below").display().to_string();
    scan.certificates.iter().map(|found| (found.layout, below(&found.path), found.key_checked)).collect()
}

fn clean(place: &Place) -> Vec<(Layout, String, bool)> {
    let scan = place.scan();
    assert_eq!(scan.problems, []);
    rows(place, &scan)
}

/// The only problem: its severity, file name and message.
fn problem(scan: &Scan) -> (Severity, String, String) {
    let [problem] = &scan.problems[..] else { panic!("one problem: {:?}", scan.problems) };
    assert!(!problem.help.is_empty());
    let name = problem.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (problem.severity, name, problem.message.clone())
}

/// certbot's folders with a first certificate.
fn certbot(place: &Place, (certificate, key): &(String, String)) {
    for (name, text) in [("cert", certificate), ("fullchain", certificate), ("privkey", key), ("chain", &String::new())]
    {
        place.write(&format!("archive/m/{name}1.pem"), text);
    }
    place.folder("watched/live/m");
    for name in ["cert", "chain", "fullchain", "privkey"] {
        symlink(format!("../../archive/m/{name}1.pem"), place.watched(&format!("live/m/{name}.pem"))).expect("link");
    }
}

#[test]
fn certbot_is_read_through_its_live_links_and_never_from_its_archive() {
    let place = Place::new();
    certbot(&place, &ec("mail.example.org"));
    let expected = [(Layout::Certbot, "live/m/fullchain.pem".to_owned(), true)];
    assert_eq!(clean(&place), expected);
    // `live` alone may be named; its sibling `archive` is a root by itself.
    let scan = place.scan_as("live", CertificateMode::Staged);
    assert_eq!((rows(&place, &scan), scan.problems), (expected.to_vec(), vec![]));
    // The lineage's folder alone has no way into the archive unless a root says so.
    let lineage = place.scan_as("live/m", CertificateMode::Staged);
    assert!(problem(&lineage).2.contains("outside the configured roots"), "{lineage:?}");
    let directory = CertificateFolder {
        path: place.watched("live/m"),
        mode: CertificateMode::Staged,
        roots: vec![place.watched("archive")],
    };
    assert_eq!(rows(&place, &scan_of(&directory)), expected);
}

/// The half of the test below that runs as a user who may read the certificate and not the key.
fn scan_as_somebody_else(path: PathBuf) {
    let scan = scan(&CertificateFolder { path, ..CertificateFolder::default() });
    assert_eq!((scan.certificates.len(), scan.certificates[0].key_checked), (1, false));
    let (severity, name, message) = problem(&scan);
    assert_eq!((severity, name.as_str()), (Severity::Note, "m.key"));
    assert!(message.contains("no permission"), "{message}");
}

#[test]
fn a_key_that_may_not_be_read_is_a_note() {
    use std::os::unix::process::CommandExt;
    if let Some(path) = std::env::var_os("DANELAW_TEST_SCAN") {
        return scan_as_somebody_else(path.into());
    }
    let place = Place::new();
    let (certificate, key) = ec("mail.example.org");
    place.write("m.pem", &certificate);
    let key = place.write("m.key", &key);
    fs::set_permissions(&key, Permissions::from_mode(0o000)).expect("mode");
    fs::set_permissions(place.0.path(), Permissions::from_mode(0o755)).expect("mode");
    let program = place.0.path().join("test");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("copied");
    let mut other = Command::new(program);
    other.args(["--exact", "observe::tests::a_key_that_may_not_be_read_is_a_note"]);
    other.env("DANELAW_TEST_SCAN", place.watched("")).current_dir("/");
    // Root may read everything, so root becomes nobody.
    if rustix::process::geteuid().is_root() {
        other.uid(65534).gid(65534);
    }
    let output = other.output().expect("runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn scan_of(directory: &CertificateFolder) -> Scan {
    scan(directory)
}

#[test]
fn the_other_clients_layouts_are_recognised_in_one_tree() {
    let place = Place::new();
    let (certificate, key) = ec("m.example");
    for (path, text) in [
        ("acme/m.example_ecc/m.example.cer", &certificate),
        ("acme/m.example_ecc/fullchain.cer", &certificate),
        ("acme/m.example_ecc/ca.cer", &String::new()),
        ("acme/m.example_ecc/m.example.key", &key),
        ("acme/m.example_ecc/m.example.key.next", &key),
        ("lego/certificates/m.example.crt", &certificate),
        ("lego/certificates/m.example.issuer.crt", &String::new()),
        ("lego/certificates/m.example.key", &key),
        ("lego/certificates/m.example.json", &"{}".to_owned()),
        ("dehydrated/certs/m.example/cert-1700000000.pem", &certificate),
        ("dehydrated/certs/m.example/fullchain-1700000000.pem", &certificate),
        ("dehydrated/certs/m.example/fullchain-1600000000.pem", &"old".to_owned()),
        ("dehydrated/certs/m.example/privkey-1700000000.pem", &key),
        ("dehydrated/certs/m.example/privkey.roll.pem", &key),
        ("caddy/certificates/acme-v02/m.example/m.example.crt", &certificate),
        ("caddy/certificates/acme-v02/m.example/m.example.key", &key),
        ("caddy/certificates/acme-v02/m.example/m.example.json", &"{}".to_owned()),
    ] {
        place.write(path, text);
    }
    for name in ["cert", "fullchain", "privkey"] {
        let link = place.watched(&format!("dehydrated/certs/m.example/{name}.pem"));
        symlink(format!("{name}-1700000000.pem"), link).expect("link");
    }
    let expected = [
        (Layout::AcmeSh, "acme/m.example_ecc/fullchain.cer"),
        (Layout::Caddy, "caddy/certificates/acme-v02/m.example/m.example.crt"),
        (Layout::Dehydrated, "dehydrated/certs/m.example/fullchain.pem"),
        (Layout::Lego, "lego/certificates/m.example.crt"),
    ];
    assert_eq!(clean(&place), expected.map(|(layout, path)| (layout, path.to_owned(), true)));
}

#[test]
fn in_a_plain_folder_the_newest_of_each_key_type_and_names_counts() {
    let place = Place::new();
    let golden = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/certificates").join(name);
        fs::read_to_string(path).expect("golden")
    };
    for name in ["p256.pem", "p256-next.pem", "rsa.pem", "wildcard.pem", "root.pem"] {
        place.write(name, &golden(name));
    }
    // The same leaf with its chain counts once, with the chain.
    place.write("leaf.crt", &golden("leaf.pem"));
    place.write("full.pem", &[golden("leaf.pem"), golden("intermediate.pem")].concat());
    place.write("dhparam.pem", "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n");
    let der = convert(&["x509", "-outform", "DER"], &golden("ed25519.pem"));
    fs::write(place.watched("ed.der"), der).expect("written");
    let scan = place.scan();
    let paths: Vec<String> = rows(&place, &scan).into_iter().map(|row| row.1).collect();
    assert_eq!(paths, ["ed.der", "full.pem", "p256-next.pem", "wildcard.pem"]);
    assert!(scan.problems.iter().all(|problem| problem.severity == Severity::Note), "{:?}", scan.problems);
    assert_eq!(scan.problems.len(), 2);
    // They are waited for, and since no chain ever came from them that changes nothing.
    assert_eq!(sightings(&[scan]).waiting.len(), 2);
}

#[test]
fn every_key_type_and_encoding_is_compared_and_hashes_as_openssl_says() {
    let place = Place::new();
    let algorithms: [(&str, &[&str], KeyType, bool); 7] = [
        ("rsa", &RSA, KeyType::Rsa, true),
        ("rsa4096", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"], KeyType::Rsa, true),
        ("p256", &P256, KeyType::Ecdsa, true),
        ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], KeyType::Ecdsa, true),
        ("ed25519", &["-algorithm", "ED25519"], KeyType::Ed25519, true),
        ("p521", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"], KeyType::Ecdsa, false),
        ("ed448", &["-algorithm", "ED448"], KeyType::Ed448, false),
    ];
    for (name, algorithm, key_type, readable) in algorithms {
        let (certificate, key) = made(algorithm, &format!("{name}.example"));
        let path = place.write(&format!("{name}.crt"), &certificate);
        place.write(&format!("{name}.key"), &key);
        // PKCS#1 and SEC1, in PEM and in DER.
        let mut keys = vec![key.clone().into_bytes()];
        if matches!(key_type, KeyType::Rsa | KeyType::Ecdsa) {
            keys.push(convert(&["pkey", "-traditional"], &key));
            keys.push(convert(&["pkey", "-traditional", "-outform", "DER"], &key));
        }
        keys.push(convert(&["pkey", "-outform", "DER"], &key));
        let script = format!(
            "openssl x509 -in {} -pubkey -noout | openssl pkey -pubin -outform der | sha256sum",
            path.display()
        );
        let hash = Command::new("sh").arg("-c").arg(script).output().expect("a shell").stdout;
        for key in keys {
            fs::write(place.watched(&format!("{name}.key")), key).expect("written");
            let scan = place.scan();
            let found = scan.certificates.iter().find(|found| found.path == path).expect("found");
            assert_eq!((found.chain.leaf().key_type, found.key_checked), (key_type, readable), "{name}");
            assert_eq!(found.chain.leaf().spki_sha256().as_bytes(), &hash[..64], "{name}");
        }
    }
}

#[test]
fn what_did_not_change_is_not_read_again_and_the_result_is_the_same() {
    let place = Place::new();
    certbot(&place, &ec("mail.example.org"));
    for name in ["a", "b", "c", "bad"] {
        let (certificate, key) = ec(&format!("{name}.example.org"));
        place.write(&format!("plain/{name}.pem"), &certificate);
        place.write(&format!("plain/{name}.key"), if name == "bad" { "not a key" } else { &key });
    }
    let folder = |path: &str, mode| CertificateFolder { path: place.watched(path), mode, roots: Vec::new() };
    let folders = [folder("", CertificateMode::Staged), folder("plain", CertificateMode::Observed)];
    let mut scanner = CertificateScanner::default();
    // So many of each folder need not be read the next time.
    let mut look = |folders: &[CertificateFolder], kept: [usize; 2], what: &str| {
        assert_eq!(scanner.scan(folders), folders.iter().map(scan).collect::<Vec<_>>(), "{what}");
        let known: Vec<usize> = scanner.known.iter().map(std::collections::HashMap::len).collect();
        assert_eq!(known, kept, "{what}");
    };
    look(&folders, [0, 0], "they may change again in this very moment");
    std::thread::sleep(std::time::Duration::from_secs(5));
    look(&folders, [4, 4], "but for the one that something is wrong with");
    look(&folders, [4, 4], "nothing changed");

    place.write("plain/a.pem", &ec("a.example.org").0);
    place.write("plain/b.key", &ec("b.example.org").1);
    fs::remove_file(place.watched("plain/c.key")).expect("removed");
    fs::write(place.watched("archive/m/cert1.pem"), "half").expect("written");
    look(
        &folders,
        [1, 2],
        "but for what changed just now; c has no key any more, and bad is not compared where it is observed",
    );
    fs::set_permissions(place.watched("plain"), Permissions::from_mode(0o777)).expect("mode");
    look(&folders, [0, 0], "anybody may write there");
    fs::set_permissions(place.watched("plain"), Permissions::from_mode(0o755)).expect("mode");
    look(&[folder("", CertificateMode::Observed), folders[0].clone()], [2, 1], "other folders are others");
}

#[test]
fn a_key_of_another_certificate_is_a_half_finished_write() {
    let place = Place::new();
    let (certificate, key) = ec("mail.example.org");
    for other in [ec("mail.example.org").1, made(&RSA, "mail.example.org").1, made(&["-algorithm", "ED448"], "a").1] {
        place.write("m.pem", &certificate);
        place.write("m.key", &other);
        let scan = place.scan();
        assert_eq!(scan.certificates, []);
        let (severity, name, message) = problem(&scan);
        assert_eq!((severity, name.as_str()), (Severity::Waiting, "m.pem"));
        assert!(message.contains("is not this certificate's") && !message.contains("PRIVATE"), "{message}");
        assert_eq!(sightings(&[scan]).waiting.len(), 1);
        // Observed: the key is nobody's business.
        assert_eq!(place.scan_as("", CertificateMode::Observed).certificates.len(), 1);
    }
    for half in [&key[..key.len() / 2], ""] {
        place.write("m.key", half);
        assert_eq!(problem(&place.scan()).0, Severity::Waiting);
    }
    place.write("m.key", &key);
    assert_eq!(clean(&place), [(Layout::Plain, "m.pem".to_owned(), true)]);
    // One file with both.
    fs::remove_file(place.watched("m.key")).expect("removed");
    place.write("m.pem", &format!("{key}{certificate}"));
    assert_eq!(clean(&place), [(Layout::Plain, "m.pem".to_owned(), true)]);
    place.write("m.pem", &format!("{}{certificate}", ec("x").1));
    assert_eq!(problem(&place.scan()).0, Severity::Waiting);
}

#[test]
fn a_renewal_half_written_waits_in_every_order() {
    let place = Place::new();
    let old = ec("mail.example.org");
    certbot(&place, &old);
    let new = ec("mail.example.org");
    place.write("archive/m/cert1.pem", &new.0);
    let scan = place.scan();
    assert!(problem(&scan).2.contains("a renewal half written"), "{scan:?}");
    place.write("archive/m/fullchain1.pem", &new.0);
    assert_eq!(problem(&place.scan()).0, Severity::Waiting);
    place.write("archive/m/privkey1.pem", &new.1);
    assert_eq!(clean(&place).len(), 1);
    place.write("archive/m/fullchain1.pem", &new.0[..200]);
    assert!(problem(&place.scan()).2.contains("truncated PEM"));
    place.write("archive/m/fullchain1.pem", "");
    assert_eq!(problem(&place.scan()).0, Severity::Waiting);
    place.write("archive/m/fullchain1.pem", &new.0.replacen("MII", "!!!", 1));
    let (severity, name, message) = problem(&place.scan());
    assert_eq!((severity, name.as_str()), (Severity::Error, "fullchain.pem"));
    assert!(message.contains("bad base64 in line 2"), "{message}");
    fs::remove_file(place.watched("archive/m/fullchain1.pem")).expect("removed");
    assert!(problem(&place.scan()).2.contains("does not exist"));
}

#[test]
fn fifos_sockets_devices_and_big_files_are_refused_without_blocking() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.watched("fifo.pem")).status().expect("mkfifo").success());
    let scan = place.scan();
    assert!(problem(&scan).2.contains("not a regular file"));
    fs::remove_file(place.watched("fifo.pem")).expect("removed");
    let _socket = std::os::unix::net::UnixListener::bind(place.watched("socket.pem")).expect("a socket");
    assert!(problem(&place.scan()).2.contains("not a regular file"));
    fs::remove_file(place.watched("socket.pem")).expect("removed");
    place.write("big.pem", &"x".repeat((1 << 20) + 1));
    assert!(problem(&place.scan()).2.contains("1048577 octets"));
    // A key that is a FIFO does not block either.
    fs::remove_file(place.watched("big.pem")).expect("removed");
    place.write("m.pem", &ec("mail.example.org").0);
    assert!(Command::new("mkfifo").arg(place.watched("m.key")).status().expect("mkfifo").success());
    assert!(problem(&place.scan()).2.contains("not a regular file"));
}

#[test]
fn symlinks_lead_nowhere_outside_the_roots() {
    let place = Place::new();
    let outside = place.folder("outside");
    let (certificate, _) = ec("mail.example.org");
    fs::write(outside.join("c.pem"), certificate).expect("written");
    symlink(outside.join("c.pem"), place.watched("m.pem")).expect("link");
    let scan = place.scan();
    assert_eq!(scan.certificates, []);
    let (severity, _, message) = problem(&scan);
    assert!(severity == Severity::Error && message.contains("outside the configured roots"), "{message}");
    let directory =
        CertificateFolder { path: place.watched(""), mode: CertificateMode::Staged, roots: vec![outside.clone()] };
    assert_eq!(scan_of(&directory).certificates.len(), 1);
    // A folder that is a symlink is not descended into, and a loop ends.
    fs::remove_file(place.watched("m.pem")).expect("removed");
    symlink(&outside, place.watched("sub")).expect("link");
    symlink("loop.pem", place.watched("loop.pem")).expect("link");
    let scan = place.scan();
    assert_eq!((scan.certificates.len(), scan.problems.len()), (0, 1), "{scan:?}");
}

#[test]
fn folders_and_files_that_others_can_write_are_refused() {
    let place = Place::new();
    let path = place.write("sub/m.pem", &ec("mail.example.org").0);
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).expect("mode");
    for bits in [0o775, 0o757, 0o1777] {
        mode(&place.watched("sub"), bits);
        let scan = place.scan();
        assert_eq!(scan.certificates, []);
        assert!(problem(&scan).2.contains("can be written by group or others"), "{scan:?}");
    }
    mode(&place.watched("sub"), 0o755);
    mode(&path, 0o646);
    assert!(problem(&place.scan()).2.contains("can be written by group or others"));
    mode(&path, 0o644);
    assert_eq!(clean(&place).len(), 1);
    mode(&place.watched(""), 0o777);
    assert_eq!(problem(&place.scan()).0, Severity::Error);
    mode(&place.watched(""), 0o755);
    // The folder that a symlink leads to counts as well.
    certbot(&place, &ec("mail.example.org"));
    mode(&place.watched("archive/m"), 0o777);
    let scan = place.scan();
    assert_eq!(rows(&place, &scan).len(), 1);
    assert!(scan.problems.iter().any(|problem| problem.message.contains("archive/m")));
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let place = Place::new();
    let scan = place.scan_as("nowhere", CertificateMode::Staged);
    assert_eq!(problem(&scan).0, Severity::Error);
    assert!(problem(&scan).2.contains("does not exist"));
}
