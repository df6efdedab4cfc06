//! `keys import`: keys that dnssec-keygen, ldns-keygen, keymgr and openssl made become ours, with the tag that they said.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::common::succeed;

const ZONE: &str = "example.org";

/// A folder with a configuration, and one for other programs' keys.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.path("theirs")).unwrap();
        std::fs::write(place.path("danelaw.toml"), "listen = [\"127.0.0.1:0\"]\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn theirs(&self) -> String {
        self.path("theirs").display().to_string()
    }

    fn danelaw(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_danelaw")).args(arguments).current_dir(self.0.path()).output().unwrap()
    }

    #[track_caller]
    fn import(&self, arguments: &[&str]) -> String {
        let output = self.danelaw(&[&["keys", "import"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is said of an import that is refused: nothing may be written.
    #[track_caller]
    fn refuse(&self, arguments: &[&str]) -> String {
        let before = self.keys();
        let output = self.danelaw(&[&["keys", "import"], arguments].concat());
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(self.keys(), before);
        String::from_utf8(output.stderr).unwrap()
    }

    fn keys(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("keys")) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The DS records that the zone's parent needs.
    fn ds(&self) -> String {
        String::from_utf8(self.danelaw(&["ds", ZONE]).stdout).unwrap()
    }
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap().trim().to_owned()
}

/// `K<zone>.+<algorithm>+<tag>`: the algorithm and the tag.
fn parts(name: &str) -> (String, String) {
    let mut parts = name.rsplit('+');
    let tag = parts.next().unwrap().to_owned();
    (parts.next().unwrap().to_owned(), tag)
}

/// A DS by another program, in our form: algorithm 2 digests in one piece.
fn digest(ds: &str) -> String {
    let line = ds.lines().find(|line| line.contains(" 2 ") || line.contains("\t2\t")).unwrap_or(ds);
    line.split_whitespace().skip_while(|word| *word != "2").skip(1).collect::<String>().to_lowercase()
}

#[track_caller]
fn imported(place: &Place, name: &str, ds: &str) {
    let (algorithm, tag) = parts(name);
    let file = format!("{ZONE}+{algorithm}+{tag}.pem");
    assert_eq!(place.keys(), std::slice::from_ref(&file));
    let mode = std::fs::metadata(place.path("keys").join(&file)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let ours = place.ds();
    assert!(ours.contains(&format!(" DS {} ", tag.trim_start_matches('0'))), "{ours}");
    assert!(ours.to_lowercase().contains(&digest(ds)), "{ours} {ds}");
    // OpenSSL reads what we wrote.
    succeed("openssl", &["pkey", "-in", &place.path("keys").join(&file).display().to_string(), "-noout"]);
}

#[test]
fn keys_of_dnssec_keygen_and_ldns_keygen() {
    for algorithm in ["ECDSAP256SHA256", "ED25519"] {
        let place = Place::new();
        let theirs = place.theirs();
        let name = last_line(&succeed("dnssec-keygen", &["-q", "-K", &theirs, "-a", algorithm, "-f", "KSK", ZONE]));
        let path = |extension: &str| format!("{theirs}/{name}.{extension}");
        assert!(place.import(&[&path("private")]).ends_with(".pem\n"));
        imported(&place, &name, &succeed("dnssec-dsfromkey", &["-2", &path("key")]));
        assert!(place.import(&[&path("key")]).contains("there already"), "by its other file, a second time");

        let place = Place::new();
        let made = Command::new("ldns-keygen")
            .args(["-a", algorithm, "-k", "-r", "/dev/urandom", ZONE])
            .current_dir(place.path("theirs"))
            .output()
            .unwrap();
        let name = last_line(&String::from_utf8(made.stdout).unwrap());
        let key = place.path("theirs").join(format!("{name}.key")).display().to_string();
        place.import(&[&key.replace(".key", ".private")]);
        imported(&place, &name, &succeed("ldns-key2ds", &["-n", "-2", &key]));
    }
}

#[test]
fn keys_of_knot_and_openssl() {
    for algorithm in ["13", "15"] {
        let place = Place::new();
        let folder = place.theirs();
        succeed("keymgr", &["-D", &folder, ZONE, "generate", &format!("algorithm={algorithm}"), "ksk=yes", "zsk=yes"]);
        let ds = succeed("keymgr", &["-D", &folder, ZONE, "ds"]);
        let tag = ds.split_whitespace().nth(2).unwrap().to_owned();
        let pem = only_pem(&place.path("theirs/keys"));
        assert!(place.refuse(&[&pem]).contains("--zone"));
        let wrong = if tag == "1" { "2" } else { "1" };
        assert!(place.refuse(&[&pem, "--zone", ZONE, "--tag", wrong]).contains("key tag"));
        place.import(&[&pem, "--zone", ZONE, "--tag", &tag]);
        imported(&place, &format!("K+{:0>3}+{tag:0>5}", algorithm), &ds);
    }
    for (file, arguments) in [
        ("sec1.pem", &["ecparam", "-name", "prime256v1", "-genkey"][..]),
        ("ec.pem", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        ("ed.pem", &["genpkey", "-algorithm", "ed25519"]),
    ] {
        let place = Place::new();
        let path = place.path(&format!("theirs/{file}")).display().to_string();
        succeed("openssl", &[arguments, &["-out", &path]].concat());
        place.import(&[&path, "--zone", ZONE]);
        // The public half is still the same.
        let public = |path: &str| succeed("openssl", &["pkey", "-in", path, "-pubout"]);
        let ours = place.path("keys").join(&place.keys()[0]).display().to_string();
        assert_eq!(public(&ours), public(&path), "{file}");
    }
}

fn only_pem(folder: &Path) -> String {
    let pem = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    pem.into_iter().find(|path| path.extension().is_some_and(|end| end == "pem")).unwrap().display().to_string()
}

#[test]
fn what_would_break_a_chain_of_trust_is_refused_by_reason() {
    let place = Place::new();
    let theirs = place.theirs();
    let make = |arguments: &[&str]| -> String {
        let name = last_line(&succeed("dnssec-keygen", &[&["-q", "-K", &theirs], arguments].concat()));
        format!("{theirs}/{name}.private")
    };
    let rsa = make(&["-a", "RSASHA256", "-b", "2048", ZONE]);
    let said = place.refuse(&[&rsa]);
    assert!(said.contains("algorithm 8 (RSASHA256)") && said.contains("13") && said.contains("15"), "{said}");

    let zsk = make(&["-a", "ED25519", ZONE]);
    let said = place.refuse(&[&zsk]);
    assert!(said.contains("zone-signing key") && said.contains("DNSKEY 256 3 15"), "{said}");
    let without = place.path("theirs").join("alone").display().to_string();
    std::fs::create_dir(&without).unwrap();
    let alone = format!("{without}/{}", Path::new(&zsk).file_name().unwrap().to_str().unwrap());
    std::fs::copy(&zsk, &alone).unwrap();
    assert!(place.refuse(&[&alone]).contains("zone-signing key"), "the name's tag tells it without the .key");

    let ksk = make(&["-a", "ECDSAP256SHA256", "-f", "KSK", ZONE]);
    let other = make(&["-a", "ECDSAP256SHA256", "-f", "KSK", ZONE]);
    let key = |path: &str| path.replace(".private", ".key");
    let kept = std::fs::read(key(&ksk)).unwrap();
    std::fs::copy(key(&other), key(&ksk)).unwrap();
    assert!(place.refuse(&[&ksk]).contains("belong together"));
    std::fs::write(key(&ksk), kept).unwrap();
    assert!(place.refuse(&[&ksk, "--zone", "example.net"]).contains("not of example.net"));

    // One that is refused lets none of them in; then the first one goes in, and another beside it does not.
    assert!(place.refuse(&[&ksk, &rsa]).contains("nothing was imported"));
    place.import(&[&ksk]);
    assert!(place.refuse(&[&other]).contains("of it already"));

    let secret = std::fs::read_to_string(&other).unwrap();
    let secret = secret.lines().find_map(|line| line.strip_prefix("PrivateKey: ")).unwrap().to_owned();
    for arguments in [&[other.as_str()][..], &[&other, "--zone", "example.net"], &[&other, &rsa]] {
        assert!(!place.refuse(arguments).contains(&secret), "private keys are never told");
    }
}
