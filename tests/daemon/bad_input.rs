//! Bad input for a running daemon: each slip is said clearly, what was served is served on, and the good input is taken
//! again when it is back.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::succeed;
use crate::house::{CONFIG, Daemon, HEAD, HOST, House, TLSA, ZONE, good_zone, wait_until, within_patience};

/// What is served, as it must not change: the serial, an answer, the TLSA, each with its signature.
fn state(daemon: &Daemon<'_>) -> String {
    let text = daemon.dig(&["+noall", "+answer", "+dnssec", ZONE, "SOA", HOST, "A", TLSA, "TLSA"]);
    assert_eq!(text.matches("RRSIG").count(), 3, "{text}");
    text
}

/// A slip: what it is, how it is made, a part of what is said about it, how it is mended.
struct Case {
    what: String,
    make: Box<dyn Fn(&House)>,
    said: String,
    mend: Box<dyn Fn(&House)>,
}

/// Goes through the cases with one daemon.
fn go_through(house: &House, cases: &[Case]) {
    let daemon = house.start();
    daemon.await_verdict("served all-held");
    assert_eq!(daemon.problems(), "");
    let good = state(&daemon);
    for case in cases {
        let logged = daemon.log().len();
        (case.make)(house);
        let mut problems = String::new();
        let is_said = within_patience(|| {
            problems = daemon.problems();
            problems.contains(&case.said)
        });
        assert!(is_said, "{}: `{}` is not said in:\n{problems}", case.what, case.said);
        let log = daemon.log()[logged..].to_owned();
        assert!(log.contains(&case.said), "{}: `{}` is not in the log:\n{log}", case.what, case.said);
        assert_eq!(state(&daemon), good, "{}", case.what);
        (case.mend)(house);
        wait_until(&format!("{}: mended", case.what), || daemon.problems().is_empty());
        assert_eq!(state(&daemon), good, "{}, mended", case.what);
    }
    let daemon = daemon.restarted();
    assert_eq!(state(&daemon), good, "after a restart");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A FIFO in the place of a file.
fn fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    succeed("mkfifo", &["-m", "600", path.to_str().unwrap()]);
}

/// A file's worth, put in by a rename.
fn replace(house: &House, name: &str, octets: &[u8]) {
    // Where a folder or FIFO stands, a rename alone does not put a file.
    let path = house.path(name);
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(&path).unwrap();
    }
    house.put(name, octets);
}

// --- zone files

const FILE: &str = "zones/example.org.zone";

/// Lines behind a good zone, and what is said.
const LINES: &[(&str, &str)] = &[
    ("a TXT \"open\n", "quotation mark has no partner"),
    ("a TXT ( x\nb A 192.0.2.1\n", "never closed"),
    ("a TXT x )\n", "never opened"),
    ("$FOO bar\n", "unknown directive $FOO"),
    ("$TTL soon\n", "`soon` is not a TTL"),
    ("$ORIGIN a..b.\n", "two dots"),
    ("$INCLUDE none.zone\n", "no such file in the zone file's folder"),
    ("$INCLUDE ../danelaw.toml\n", "it leads out of the zone file's folder"),
    ("$INCLUDE /etc/hosts\n", "an absolute path"),
    ("$INCLUDE example.org.zone\n", "includes itself"),
    ("elsewhere.net. A 192.0.2.1\n", "outside the zone example.org."),
    ("a\\256 A 192.0.2.1\n", "bad escape"),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa A 192.0.2.1\n", "longer than 63 octets"),
    ("a CH A 192.0.2.1\n", "class CH is not served"),
    ("a 4294967296 A 192.0.2.1\n", "at most 2147483647"),
    ("a FOO bar\n", "unknown record type `FOO`"),
    ("a TYPE255 \\# 0\n", "for messages only"),
    ("a A 192.0.2.256\n", "an IPv4 address"),
    ("a AAAA 2001:db8:::1\n", "an IPv6 address"),
    ("a MX mail\n", "from 0 to 65535"),
    ("a TLSA 3 1 1 xyz\n", "expected hexadecimal"),
    ("a A \\# 3 C00002\n", "not the wire form of A"),
    ("a CNAME b\na A 192.0.2.1\n", "has a CNAME and a A record"),
    ("@ SOA ns1 hostmaster 2 7200 3600 1209600 900\n", "a second SOA"),
    ("_25._tcp.mail CNAME b\n_25._tcp.mail CNAME c\n", "a second CNAME"),
];

fn zone_cases() -> Vec<Case> {
    let case = |what: &str, said: &str, make: Box<dyn Fn(&House)>| Case {
        what: format!("zone file, {what}"),
        make,
        said: said.to_owned(),
        mend: Box::new(|house| replace(house, FILE, good_zone().as_bytes())),
    };
    let text = |what: &str, said: &str, text: Vec<u8>| {
        case(what, said, Box::new(move |house: &House| replace(house, FILE, &text)))
    };
    let lines = LINES.iter().map(|(line, said)| text(line, said, [&good_zone(), *line].concat().into_bytes()));
    let mut cases: Vec<Case> = lines.collect();
    cases.extend([
        text("empty", "has no SOA", Vec::new()),
        text("cut short", "never closed", good_zone().replacen("SOA ns1", "SOA ( ns1", 1).into_bytes()),
        text("without NS", "has no NS", good_zone().replace("@ NS ns1\n", "").into_bytes()),
        text("a binary", "error", vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0xff, 0xfe]),
        text("a TTL is missing", "no TTL", b"@ NS ns1\n@ 1 SOA . . 1 2 3 4 5\n".to_vec()),
        case("a FIFO", "not a regular file", Box::new(|house| fifo(&house.path(FILE)))),
        case(
            "a folder",
            "not a regular file",
            Box::new(|house| {
                house.remove(FILE);
                fs::create_dir(house.path(FILE)).unwrap();
            }),
        ),
        case(
            "a symlink that leads out",
            "it leads out of the zone file's folder",
            Box::new(|house| {
                house.remove(FILE);
                symlink("../danelaw.toml", house.path(FILE)).unwrap();
            }),
        ),
        case("writable by everybody", "chmod o-w", Box::new(|house| chmod(&house.path(FILE), 0o666))),
        case(
            "sparse and huge",
            "more than the",
            Box::new(|house| {
                fs::File::options().write(true).open(house.path(FILE)).unwrap().set_len(600 << 20).unwrap();
            }),
        ),
        Case {
            what: "another file of the same zone".to_owned(),
            make: Box::new(|house| house.put("zones/Example.org.zone", HEAD)),
            said: "remove one of them".to_owned(),
            mend: Box::new(|house| house.remove("zones/Example.org.zone")),
        },
        Case {
            what: "a name that no zone has".to_owned(),
            make: Box::new(|house| house.put("zones/a..b.zone", HEAD)),
            said: "a zone file is called <origin>.zone".to_owned(),
            mend: Box::new(|house| house.remove("zones/a..b.zone")),
        },
        Case {
            what: "a folder that everybody can write to".to_owned(),
            make: Box::new(|house| chmod(&house.path("zones"), 0o777)),
            said: "chmod o-w".to_owned(),
            mend: Box::new(|house| chmod(&house.path("zones"), 0o755)),
        },
        Case {
            what: "the zones folder is gone".to_owned(),
            make: Box::new(|house| fs::rename(house.path("zones"), house.path("z")).unwrap()),
            said: "zones: ".to_owned(),
            mend: Box::new(|house| fs::rename(house.path("z"), house.path("zones")).unwrap()),
        },
    ]);
    cases
}

#[test]
fn zone_files() {
    let cases = zone_cases();
    assert!(cases.len() >= 25);
    go_through(&House::good(), &cases);
}

// --- certificates

const CERT: &str = "certs/mail.pem";
const KEY: &str = "certs/mail.key";

/// Octets in the place of the certificate.
fn certificate_cases(house: &House, outside: &House) -> Vec<Case> {
    let (good, key) = (house.read(CERT), house.read(KEY));
    let pem = String::from_utf8(good.clone()).unwrap();
    let lines: Vec<&str> = pem.lines().collect();
    let der_path = house.path("der");
    succeed(
        "openssl",
        &["x509", "-in", path(house, CERT).as_str(), "-outform", "der", "-out", der_path.to_str().unwrap()],
    );
    let der = fs::read(&der_path).unwrap();
    outside.certificate("other", &["other.example.org"]);
    let (other, other_key) = (outside.read("certs/other.pem"), outside.read("certs/other.key"));
    let foreign = outside.path("certs/other.pem");

    let mend = {
        let (good, key) = (good.clone(), key.clone());
        move |house: &House| {
            chmod(&house.path("certs"), 0o755);
            replace(house, KEY, &key);
            replace(house, CERT, &good);
        }
    };
    let case = |what: &str, said: &str, make: Box<dyn Fn(&House)>| Case {
        what: format!("certificate, {what}"),
        make,
        said: said.to_owned(),
        mend: Box::new(mend.clone()),
    };
    let octets = |what: &str, said: &str, octets: Vec<u8>| {
        case(what, said, Box::new(move |house: &House| replace(house, CERT, &octets)))
    };
    let key_octets = |what: &str, said: &str, octets: Vec<u8>| {
        case(what, said, Box::new(move |house: &House| replace(house, KEY, &octets)))
    };
    let mut damaged = der.clone();
    damaged[6] ^= 0x55;
    let swapped = pem.replacen(lines[2], &format!("!{}", &lines[2][1..]), 1);
    vec![
        octets("cut in its base64", "truncated PEM", pem.as_bytes()[..pem.len() / 2].to_vec()),
        octets("without its last line", "truncated PEM", lines[..lines.len() - 1].join("\n").into_bytes()),
        octets("a line of base64 damaged", "bad base64 in line 3", swapped.into_bytes()),
        octets("a line of base64 lost", "is not X.509", [&lines[..3], &lines[4..]].concat().join("\n").into_bytes()),
        octets("empty", "no certificate in it", Vec::new()),
        octets("a text", "no certificate in it", b"hello, this is no certificate\n".to_vec()),
        octets("octets of no kind", "mail.pem", vec![0xff; 4096]),
        octets("DER cut short", "mail.pem", der[..der.len() - 20].to_vec()),
        octets("DER damaged", "mail.pem", damaged),
        octets("DER with something behind", "follow the certificate in the DER", [&der[..], b"more"].concat()),
        octets("its private key in its place", "it holds a private key only", key.clone()),
        octets("another leaf beside it", "leaf certificates in one file", [&good[..], &other[..]].concat()),
        octets("too large", "more than 1048576 is no certificate", vec![b'x'; 2 << 20]),
        octets("another's, with a key that is not its own", "is not this certificate's", other.clone()),
        key_octets("another's key", "is not this certificate's", other_key),
        key_octets("a key that is cut", "is not this certificate's", key[..key.len() / 2].to_vec()),
        key_octets("an empty key", "is not this certificate's", Vec::new()),
        case("a FIFO", "it is not a regular file", Box::new(|house| fifo(&house.path(CERT)))),
        case("its key a FIFO", "it is not a regular file", Box::new(|house| fifo(&house.path(KEY)))),
        case(
            "a symlink that leads out",
            "outside the configured roots",
            Box::new(move |house| {
                house.remove(CERT);
                symlink(&foreign, house.path(CERT)).unwrap();
            }),
        ),
        case(
            "a symlink to nothing",
            "mail.pem: it does not exist",
            Box::new(|house| {
                house.remove(CERT);
                symlink("nothing.pem", house.path(CERT)).unwrap();
            }),
        ),
        case("writable by all", "can be written by group or others", Box::new(|house| chmod(&house.path(CERT), 0o666))),
        case(
            "in a folder that all can write to",
            "so anybody could put a certificate there",
            Box::new(|house| chmod(&house.path("certs"), 0o777)),
        ),
        Case {
            what: "the certificate folder is gone".to_owned(),
            make: Box::new(|house| fs::rename(house.path("certs"), house.path("c")).unwrap()),
            said: "certs: it does not exist".to_owned(),
            mend: Box::new(|house| fs::rename(house.path("c"), house.path("certs")).unwrap()),
        },
    ]
}

fn path(house: &House, name: &str) -> String {
    house.path(name).to_str().unwrap().to_owned()
}

#[test]
fn certificates() {
    let (house, outside) = (House::good(), House::empty());
    let cases = certificate_cases(&house, &outside);
    assert!(cases.len() >= 15);
    go_through(&house, &cases);
}

// --- keys

/// The zone's key file, below `keys/`.
fn key_file(house: &House) -> PathBuf {
    let mut files = fs::read_dir(house.path("keys")).unwrap().map(|entry| entry.unwrap().path());
    let found = files.next().expect("a key");
    assert_eq!(files.next(), None);
    found
}

fn key_cases(house: &House) -> Vec<Case> {
    let file = key_file(house);
    let name = format!("keys/{}", file.file_name().unwrap().to_str().unwrap());
    let good = fs::read(&file).unwrap();
    let made = |arguments: &[&str]| succeed("openssl", arguments).into_bytes();
    let rsa = made(&["genpkey", "-quiet", "-algorithm", "RSA"]);
    let p384 = made(&["genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let another = made(&["genpkey", "-quiet", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let encrypted = made(&["genpkey", "-quiet", "-algorithm", "ED25519", "-aes256", "-pass", "pass:x"]);
    let sec1 = made(&["ecparam", "-genkey", "-noout", "-name", "prime256v1"]);
    let write = |house: &House, name: &str, octets: &[u8], mode: u32| {
        replace(house, name, octets);
        chmod(&house.path(name), mode);
    };
    let mend = {
        let (name, good) = (name.clone(), good.clone());
        move |house: &House| {
            // At no moment for others to read.
            let path = house.path(&name);
            let fresh = house.path("fresh");
            fs::write(&fresh, &good).unwrap();
            chmod(&fresh, 0o600);
            fs::rename(&fresh, &path).unwrap();
        }
    };
    let case = |what: &str, said: &str, make: Box<dyn Fn(&House)>| Case {
        what: format!("key, {what}"),
        make,
        said: said.to_owned(),
        mend: Box::new(mend.clone()),
    };
    let octets = |what: &str, said: &str, octets: Vec<u8>| {
        let name = name.clone();
        case(what, said, Box::new(move |house: &House| write(house, &name, &octets, 0o600)))
    };
    let at = |make: fn(&Path)| {
        let name = name.clone();
        Box::new(move |house: &House| make(&house.path(&name))) as Box<dyn Fn(&House)>
    };
    let half = good[..good.len() / 2].to_vec();
    vec![
        case("readable by all", "chmod 600", at(|path| chmod(path, 0o644))),
        case("readable by its group", "chmod 600", at(|path| chmod(path, 0o640))),
        case("vanished", "is gone from the key folder", at(|path| fs::remove_file(path).unwrap())),
        case("a FIFO", "not a regular file", at(fifo)),
        octets("garbage", "no PKCS#8 block", b"garbage".to_vec()),
        octets("empty", "no PKCS#8 block", Vec::new()),
        octets("cut", "cut short or not base64", half),
        octets("encrypted", "the key is encrypted", encrypted),
        octets("RSA", "not an ECDSA P-256 or Ed25519 private key", rsa),
        octets("P-384", "not an ECDSA P-256 or Ed25519 private key", p384),
        octets("SEC1", "no PKCS#8 block", sec1),
        octets("another key under this name", "another algorithm or tag than its name says", another.clone()),
        Case {
            what: "a key with another tag in its name".to_owned(),
            make: Box::new(move |house| write(house, "keys/example.org+013+00001.pem", &another, 0o600)),
            said: "another algorithm or tag than its name says".to_owned(),
            mend: Box::new(|house| house.remove("keys/example.org+013+00001.pem")),
        },
        Case {
            what: "a key whose name says no zone".to_owned(),
            make: Box::new(move |house| write(house, "keys/mine.pem", &good, 0o600)),
            said: "the name of a key file is".to_owned(),
            mend: Box::new(|house| house.remove("keys/mine.pem")),
        },
        Case {
            what: "the key folder is gone".to_owned(),
            make: Box::new(|house| fs::rename(house.path("keys"), house.path("k")).unwrap()),
            said: "is gone from the key folder".to_owned(),
            mend: Box::new(|house| fs::rename(house.path("k"), house.path("keys")).unwrap()),
        },
    ]
}

#[test]
fn keys() {
    let house = House::good();
    // The key is made by the first start.
    house.start().stop();
    let cases = key_cases(&house);
    assert!(cases.len() >= 8);
    go_through(&house, &cases);
}

// --- configurations

/// What is put behind the good configuration, or in the place of a part of it, and what is said.
const CONFIGURATIONS: &[(&str, &str, &str)] = &[
    ("", "[dane\n", "TOML"),
    ("", "colour = \"red\"\n", "unknown key `colour`"),
    ("hold = ", "hodl = ", "did you mean `hold`?"),
    ("127.0.0.1:0", "127.0.0.1", "is not an address with a port"),
    ("127.0.0.1:0", "localhost:53", "is not an address with a port"),
    ("[\"127.0.0.1:0\"]", "[]", "`listen` is empty"),
    ("[\"127.0.0.1:0\"]", "\"127.0.0.1:0\"", "must be a list"),
    ("192.0.2.25", "192.0.2.256", "is not an IP address"),
    ("192.0.2.25", "0.0.0.0", "is no host's address"),
    ("\"2s\"", "\"soon\"", "`hold`: not a time"),
    ("\"2s\"", "true", "must be a time"),
    ("\"2s\"", "\"9999d\"", "out of bounds"),
    ("dnssec = \"zone\"", "dnssec = \"none\"", "`dnssec`: \"none\" is not known"),
    ("[dane]", "[dane]\nenabled = \"no\"", "must be true or false"),
    ("[dane]", "[dane]\nenabled = true\nenabled = true", "duplicate key"),
    ("[dane]", "[dane]\nparameters = [\"1 1 1\"]", "usage 1 is not for SMTP"),
    ("[[certificates]]", "[certificates]", "must be a list of tables"),
    ("path = \"certs\"", "mode = \"staged\"", "[[certificates]] without `path`"),
    ("", "[[service]]\nhost = \"www.example.org\"\n", "[[service]] without `port`"),
    ("", "[zone.\"a..b\"]\nsigning = \"none\"\n", "is not a zone's name"),
    ("", "[signing]\nvalidity = \"1d\"\nrefresh = \"2d\"\n", "together reach `validity`"),
    ("", "[example]\ncertificates = [\"mail.danelaw.de\"]\n", "not a reserved name"),
];

#[test]
fn configurations() {
    let house = House::good();
    let case = |what: &str, said: &str, make: Box<dyn Fn(&House)>| Case {
        what: format!("configuration, {what}"),
        make,
        said: said.to_owned(),
        mend: Box::new(|house| replace(house, "danelaw.toml", CONFIG.as_bytes())),
    };
    let mut cases: Vec<Case> = Vec::new();
    for (part, instead, said) in CONFIGURATIONS {
        let text = match *part {
            "" => [CONFIG, instead].concat(),
            part => CONFIG.replacen(part, instead, 1),
        };
        assert_ne!(text, CONFIG);
        cases.push(case(instead, said, Box::new(move |house| replace(house, "danelaw.toml", text.as_bytes()))));
    }
    cases.extend([
        case("not UTF-8", "not UTF-8 at byte 0", Box::new(|house| replace(house, "danelaw.toml", &[0xff, 0xfe]))),
        case(
            "a folder",
            "not a regular file",
            Box::new(|house| {
                house.remove("danelaw.toml");
                fs::create_dir(house.path("danelaw.toml")).unwrap();
            }),
        ),
        case("a FIFO", "not a regular file", Box::new(|house| fifo(&house.path("danelaw.toml")))),
        case("gone", "No such file", Box::new(|house| house.remove("danelaw.toml"))),
        case("too large", "larger than", Box::new(|house| replace(house, "danelaw.toml", &vec![b'#'; 17 << 20]))),
    ]);
    assert!(cases.len() >= 12);
    go_through(&house, &cases);
}

// --- what may not be read

#[test]
fn unreadable_files() {
    let house = House::unprivileged();
    house.start().stop();
    let key = format!("keys/{}", key_file(&house).file_name().unwrap().to_str().unwrap());
    let closed = |name: &str, mode: u32, said: &str| {
        let (path, at) = (house.path(name), house.path(name));
        Case {
            what: format!("{name} may not be read"),
            make: Box::new(move |_| chmod(&path, 0)),
            said: said.to_owned(),
            mend: Box::new(move |_| chmod(&at, mode)),
        }
    };
    let cases = [
        closed(FILE, 0o644, "not readable for the user that danelaw runs as"),
        closed("zones", 0o755, "zones: Permission denied"),
        closed(CERT, 0o644, "no permission to read it (let the user that danelaw runs as read it)"),
        closed("certs", 0o755, "no permission to read it"),
        closed(&key, 0o600, "Permission denied"),
        closed("keys", 0o700, "keys: Permission denied"),
        closed("danelaw.toml", 0o644, "danelaw.toml: Permission denied"),
    ];
    go_through(&house, &cases);

    // The key of what is installed isn't needed any more.
    chmod(&house.path(KEY), 0);
    let daemon = house.start();
    assert_eq!((daemon.verdict().as_str(), daemon.problems().as_str()), ("served all-held", ""));
}
