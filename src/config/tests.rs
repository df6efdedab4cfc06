//! What a configuration means, and what is said of one that can't be.

use std::path::Path;

use super::values::{parse_duration, show_duration};
use super::*;
use crate::dane::Protocol;
use crate::dane::config::{DnssecStrength, MailServiceStrength};
use crate::dns::Name;
use crate::zone::Denial;
use crate::zone::denial::nsec3::Parameters;

pub(super) fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "danelaw.toml", Path::new("/etc/danelaw"))
}

pub(super) fn name(text: &str) -> Name {
    text.parse().expect(text)
}

#[test]
fn an_empty_file_is_the_defaults_and_they_are_the_strong_ones() {
    let config = parse("").unwrap();
    assert_eq!(config, Config::default_in(Path::new("/etc/danelaw")));
    assert_eq!(config.zones, Path::new("/etc/danelaw/zones"));
    assert_eq!(config.control_socket, Path::new("/etc/danelaw/state/control/danelaw.sock"));
    assert_eq!(config.listen, ["0.0.0.0:53".parse().unwrap(), "[::]:53".parse().unwrap()]);
    assert_eq!((config.dane.dnssec, config.dane.mail_service), (DnssecStrength::Parent, MailServiceStrength::Probed));
    assert_eq!(config.dane.confirmation_interval, 86_400);
    assert_eq!(config.certificates[0].mode, CertificateMode::Staged);
    assert!(config.signing.cds);
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
        zones = "z"
        keys = "/srv/keys"
        state = "s"
        listen = ["127.0.0.1:5300", "[::1]:5300"]
        addresses = ["192.0.2.25", "2001:db8::25"]
        [control]
        socket = "run/sock"
        [dane]
        enabled = true
        ttl = "30m"
        confirmation-interval = "1d12h"
        hold = 600
        dnssec = "zone"
        mail-service = "declared"
        dkim = "optional"
        dkim-selectors = ["mail", "2026._x"]
        parameters = ["3 1 1", "2 1 1"]
        [signing]
        algorithm = "ed25519"
        cds = false
        validity = "28d"
        refresh = "10d"
        jitter = "2d"
        dnskey-ttl = "2h"
        [[certificates]]
        path = "certs"
        mode = "observed"
        roots = ["/opt/acme"]
        [[certificates]]
        path = "/etc/letsencrypt/live"
        [[service]]
        host = "www.example.org"
        port = 443
        protocol = "udp"
        parameters = ["1 1 1", "3 1 1"]
        ttl = "10m"
        [zone."Example.ORG"]
        file = "elsewhere/example"
        algorithm = "ecdsap256sha256"
        cds = true
        dane.ttl = "5m"
        dane.mail-service = "off"
        [zone."plain.example."]
        signing = "none"
        [example]
        certificates = ["mail.example.org"]
        "#,
    )
    .unwrap();
    assert_eq!(config.keys, Path::new("/srv/keys"));
    assert_eq!(config.control_socket, Path::new("/etc/danelaw/run/sock"));
    assert_eq!((config.dane.ttl, config.dane.confirmation_interval, config.dane.hold), (1800, 129_600, 600));
    assert_eq!(config.dane.parameters[1], "2 1 1".parse().unwrap());
    assert_eq!(config.certificates[0].roots, [Path::new("/opt/acme")]);
    assert_eq!(config.services[0].protocol, Protocol::Udp);
    assert_eq!(config.example_certificates, [name("mail.example.org")]);
    let zone = config.zone(&name("example.org"));
    assert_eq!(zone.file.as_deref(), Some(Path::new("/etc/danelaw/elsewhere/example")));
    assert_eq!((zone.signing.algorithm, zone.signing.cds), (Algorithm::EcdsaP256Sha256, true));
    assert_eq!((zone.dane.ttl, zone.dane.hold, zone.dane.declared), (300, 600, false));
    let plain = config.zone(&name("plain.example"));
    assert_eq!((plain.signing.mode, plain.dane.enabled), (SigningMode::None, false));
    let other = config.zone(&name("other.example"));
    assert_eq!((other.signing.algorithm, &other.dane), (Algorithm::Ed25519, &config.dane));
}

/// Text, line, column, and what the message and its help together say.
const MALFORMED: &[(&str, u32, u32, &[&str])] = &[
    ("zone = 1", 1, 8, &["`zone` must be a table", "[zone]"]),
    ("zonez = \"z\"", 1, 1, &["unknown key `zonez`", "did you mean `zones`?", "known here: acme, addresses"]),
    ("[dane]\n\nconfirmation_interval = \"1d\"", 3, 1, &["did you mean `confirmation-interval`?", "[dane]"]),
    ("listen = [\"127.0.0.1\"]", 1, 11, &["\"127.0.0.1\" is not an address with a port", "127.0.0.1:5300"]),
    ("listen = \"127.0.0.1:53\"", 1, 10, &["`listen` must be a list, and this is a string", "listen = ["]),
    ("listen = []", 1, 10, &["`listen` is empty", "0.0.0.0:53"]),
    ("listen = [53]", 1, 11, &["each item of `listen` must be a text, and this is an integer"]),
    ("listen = [\"[::1]:53\", \"[::1]:53\"]", 1, 23, &["stands here twice"]),
    ("listen = [\"127.0.0.1:53\", \"[::]:53\", \"0.0.0.0:53\"]", 1, 38, &["one of them is every address"]),
    ("addresses = [\"192.0.2.256\"]", 1, 14, &["\"192.0.2.256\" is not an IP address"]),
    ("addresses = [\"0.0.0.0\"]", 1, 14, &["0.0.0.0 is no host's address"]),
    ("keys = \"\"", 1, 8, &["`keys`: empty", "starts from this file's folder"]),
    ("keys = true", 1, 8, &["`keys` must be a text, and this is a boolean"]),
    ("[control]\nsocket = 3", 2, 10, &["`socket` must be a text"]),
    ("[dane]\nttl = \"1 hour\"", 2, 7, &["`ttl`: not a time", "1h30m"]),
    ("[dane]\nttl = \"1y\"", 2, 7, &["`ttl`: not a time"]),
    ("[dane]\nttl = \"30d\"", 2, 7, &["4w2d is out of bounds", "from 1s to 1w"]),
    ("[dane]\nttl = -5", 2, 7, &["`ttl`: not a time"]),
    ("[dane]\nenabled = \"yes\"", 2, 11, &["`enabled` must be true or false", "without quotes"]),
    ("[dane]\ndnssec = \"parents\"", 2, 10, &["\"parents\" is not known: did you mean `parent`?", "\"zone\""]),
    ("[dane]\nmail-service = \"yes\"", 2, 16, &["one of \"probed\", \"declared\", \"off\""]),
    ("[dane]\ndkim-selectors = [\"mail._domainkey\"]", 2, 19, &["more than a selector"]),
    ("[dane]\nparameters = [\"3 1\"]", 2, 15, &["`3 1` is not TLSA parameters"]),
    ("[dane]\nparameters = [\"4 1 1\"]", 2, 15, &["`4 1 1` is not TLSA parameters"]),
    ("[dane]\nparameters = [\"3 2 1\"]", 2, 15, &["`3 2 1` is not TLSA parameters"]),
    ("[dane]\nparameters = [\"3 1 3\"]", 2, 15, &["`3 1 3` is not TLSA parameters"]),
    ("[dane]\nparameters = [\"1 1 1\"]", 2, 15, &["usage 1 is not for SMTP", "RFC 7672 section 3.1.3"]),
    ("[dane]\nparameters = [\"3 1 1\", \"3 1 1\"]", 2, 24, &["\"3 1 1\" stands here twice"]),
    ("[dane]\nparameters = []", 2, 14, &["`parameters` is empty"]),
    ("[signing]\nalgorithm = \"rsa\"", 2, 13, &["\"rsa\" is not known", "\"ed25519\""]),
    ("[signing]\nvalidity = \"10d\"\nrefresh = \"10d\"", 3, 11, &["every signature would be due at once"]),
    ("[[certificates]]\nmode = \"staged\"", 1, 1, &["[[certificates]] without `path`"]),
    ("[certificates]\npath = \"c\"", 1, 1, &["must be a list of tables", "[[certificates]]"]),
    ("[[certificates]]\npath = \"c\"\nmode = \"stage\"", 3, 8, &["\"stage\" is not known", "\"staged\""]),
    ("[[certificates]]\npath = \"c\"\nmode = \"stage\"", 3, 8, &["did you mean `staged`?"]),
    ("[[service]]\nport = 443", 1, 1, &["[[service]] without `host`"]),
    ("[[service]]\nhost = \"www.example.org\"", 1, 1, &["[[service]] without `port`"]),
    ("[[service]]\nhost = \"a..b\"\nport = 443", 2, 8, &["\"a..b\": empty label"]),
    ("[[service]]\nhost = \"bücher.example\"\nport = 443", 2, 8, &["not a host name", "xn--"]),
    ("[[service]]\nhost = \"a.b\"\nport = 65536", 3, 8, &["out of bounds", "from 1 to 65535"]),
    ("[[service]]\nhost = \"a.b\"\nport = 25\nparameters = [\"0 0 1\"]", 4, 15, &["RFC 7672 section 3.1.3"]),
    ("[[service]]\nhost = \"a.b\"\nport = 1\nprotocol = \"tls\"", 4, 12, &["one of \"tcp\", \"udp\", \"sctp\""]),
    (
        "[[service]]\nhost = \"a.b\"\nport = 1\n[[service]]\nhost = \"A.B.\"\nport = 1",
        4,
        1,
        &["port 1/tcp stands here twice", "put all parameter sets into one"],
    ),
    ("[zone.\"a..b\"]", 1, 7, &["\"a..b\" is not a zone's name"]),
    ("[zone.\"example.org\"]\nttl = 1", 2, 1, &["unknown key `ttl` in [zone.\"example.org\"]"]),
    ("[zone.a]\nkey = \"../shared.pem\"", 2, 7, &["is a path"]),
    ("[zone.a]\nkey = \"shared.key\"", 2, 7, &["is not called *.pem"]),
    ("[zone.b]\n[zone.\"B.\"]", 2, 7, &["stands here twice"]),
    ("[zone.\"a\"]\nsigning = \"none\"\ndane.enabled = true", 3, 16, &["TLSA without DNSSEC means nothing"]),
    ("[example]\ncertificates = [\"mail.example.org\"]", 1, 1, &["served on loopback only"]),
    (
        "listen = [\"127.0.0.1:1\"]\n[example]\ncertificates = [\"mail.example.de\"]",
        3,
        17,
        &["mail.example.de could be somebody's", "example.com"],
    ),
    (
        "certificates = []\nlisten = [\"127.0.0.1:1\"]\n[example]\ncertificates = [\"a.test\"]",
        3,
        1,
        &["without a [[certificates]] folder"],
    ),
    ("zones = \"a\nkeys = \"b\"", 1, 11, &["TOML"]),
    ("zones = \"a\"\nzones = \"b\"", 2, 1, &["duplicate key"]),
    ("[dane\nttl = 1", 1, 6, &["TOML"]),
    ("# ümläut\n[dane]\nttl = \"ü\" # x", 3, 7, &["`ttl`: not a time"]),
];

#[test]
fn each_malformed_configuration_gets_its_place_and_what_was_expected() {
    let mut wrong = Vec::new();
    for (text, line, column, words) in MALFORMED {
        let errors = match parse(text) {
            Err(errors) => errors,
            Ok(_) => {
                wrong.push(format!("accepted: {text}"));
                continue;
            }
        };
        let found = errors.diagnostics().first().expect("a place");
        let said = format!("{} {}", found.message, found.help.as_deref().unwrap_or(""));
        if (found.line, found.column) != (*line, *column) || !words.iter().all(|word| said.contains(word)) {
            wrong.push(format!("expected {line}:{column} {words:?}\n{errors}"));
        }
        assert_eq!(found.source, text.lines().nth(found.line as usize - 1).unwrap_or(""));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let errors =
        parse("listen = [\"x\", 5]\nzonse = 1\n[dane]\nttl = \"no\"\nhodl = 1\n[zone.\"a\".dane]\ndkim = \"no\"");
    let errors = errors.unwrap_err();
    let lines: Vec<u32> = errors.diagnostics().iter().map(|found| found.line).collect();
    assert_eq!(lines, [1, 1, 2, 4, 5, 7]);
    let shown = errors.to_string();
    assert!(
        shown.contains("danelaw.toml:2:1: error: unknown key `zonse` in the file: did you mean `zones`?"),
        "{shown}"
    );
    assert!(shown.contains("  2 | zonse = 1\n    | ^^^^^\n"), "{shown}");
}

#[test]
fn the_file_is_found_and_what_is_no_file_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Config::load_in(folder.path()).unwrap().file, None);
    let path = folder.path().join(FILE_NAME);
    std::fs::write(&path, "keys = \"k\"").unwrap();
    let config = Config::load_in(folder.path()).unwrap();
    assert_eq!((config.file.as_deref(), config.keys), (Some(path.as_path()), folder.path().join("k")));
    std::fs::write(&path, b"keys = \"\xff\"").unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("not UTF-8 at byte 8"));
    assert!(Config::load(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    assert!(Config::load(&folder.path().join("none")).unwrap_err().to_string().contains("No such file"));
}

#[test]
fn the_command_line_wins_but_never_brings_an_example_into_the_open() {
    let text = "listen = [\"127.0.0.1:1\"]\n[example]\ncertificates = [\"mail.example.org\"]";
    let listen = |address: &str| Overrides { listen: vec![address.parse().unwrap()], zones: Some("z".into()) };
    let config = parse(text).unwrap().with(&listen("[::1]:0")).unwrap();
    assert_eq!((config.listen[0].port(), config.zones.as_path()), (0, Path::new("z")));
    let message = parse(text).unwrap().with(&listen("192.0.2.1:53")).unwrap_err().to_string();
    assert!(message.contains("served on loopback only"), "{message}");
    parse("").unwrap().with(&listen("192.0.2.1:53")).unwrap();
    let twice = Overrides { listen: vec!["[::1]:1".parse().unwrap(); 2], zones: None };
    assert!(parse("").unwrap().with(&twice).unwrap_err().to_string().contains("--listen: [::1]:1 stands here twice"));
}

#[test]
fn times_are_read_as_they_are_shown() {
    for (text, seconds) in [("90", 90), ("90s", 90), ("1h30m", 5400), ("2w", 1_209_600), ("1d12h", 129_600)] {
        assert_eq!(parse_duration(text), Some(seconds));
    }
    for seconds in [0, 1, 59, 60, 3600, 86_399, 1_209_600, 31_536_000] {
        assert_eq!(parse_duration(&show_duration(seconds)), Some(seconds));
    }
    for text in ["", "h", "1", "1x", "-1s", "1h 30m", "1.5h", "99999999999999999999s", "1hü", "ü"] {
        assert_eq!(parse_duration(text), (text == "1").then_some(1), "{text}");
    }
}

#[test]
fn broken_toml_is_told_once_and_not_blamed_on_what_follows_from_it() {
    for text in ["zones = \"a\nkeys = \"b\"", "[dane\nttl = 1", "listen = [\"[::1]:53\"\n[dane]\nttl = \"1h\"", "a b"] {
        let errors = parse(text).unwrap_err();
        assert!(
            errors.diagnostics().iter().all(|found| found.help.as_deref().is_some_and(|h| h.contains("TOML"))),
            "{errors}"
        );
    }
}

#[test]
fn nsec3_is_chosen_for_all_zones_or_one_and_what_rfc_9276_advises_against_is_warned_of() {
    let config = parse(
        r#"
        [signing]
        denial = "nsec3"
        [zone."a.test"]
        nsec3-iterations = 200
        nsec3-salt = "AAbb"
        nsec3-opt-out = true
        [zone."b.test"]
        denial = "nsec"
        [zone."c.test"]
        signing = "presigned"
        "#,
    )
    .unwrap();
    let denial = |zone: &str| config.zone(&name(zone)).signing.denial;
    assert_eq!(denial("other.test"), Denial::Nsec3(Parameters::default()));
    assert_eq!(
        denial("a.test"),
        Denial::Nsec3(Parameters { iterations: 200, salt: [0xaa, 0xbb].into(), opt_out: true })
    );
    assert_eq!(denial("b.test"), Denial::Nsec);
    let presigned = config.zone(&name("c.test"));
    assert_eq!((presigned.signing.mode, presigned.dane.enabled), (SigningMode::Presigned, true));
    let warnings = config.warnings().join("\n");
    for word in ["zone a.test.: nsec3-iterations = 200", "for unsigned", "nsec3-salt hides", "nsec3-opt-out leaves"] {
        assert!(warnings.contains(word), "{warnings}");
    }
    let plain = parse("[signing]\ndenial = \"nsec3\"").unwrap().warnings();
    assert_eq!(plain, parse("").unwrap().warnings());
}

#[test]
fn nsec3_parameters_that_mean_nothing_or_too_much_are_refused() {
    for (text, word) in [
        ("[signing]\nnsec3-iterations = 1", "`nsec3-iterations` without NSEC3"),
        ("[zone.\"a.test\"]\nnsec3-opt-out = true", "`nsec3-opt-out` without NSEC3"),
        ("[signing]\ndenial = \"nsec3\"\nnsec3-iterations = 501", "out of bounds"),
        ("[signing]\ndenial = \"nsec3\"\nnsec3-salt = \"abc\"", "not hexadecimal"),
        ("[signing]\ndenial = \"nsec5\"", "not known"),
    ] {
        let errors = parse(text).unwrap_err().to_string();
        assert!(errors.contains(word), "{text}\n{errors}");
    }
}

#[test]
fn many_zones_are_read_each_with_its_own_settings() {
    let table = |number: u32| format!("[zone.\"z{number}.test\"]\nfile = \"f{number}\"\nkey = \"shared.pem\"\n");
    let config = parse(&(0..2000).map(table).collect::<String>()).unwrap();
    assert_eq!((config.named_files().len(), config.named_keys().len()), (2000, 2000));
    assert_eq!(config.zone(&name("Z7.test.")).file.as_deref(), Some(Path::new("/etc/danelaw/f7")));
    assert_eq!(config.zone(&name("z7.test.")).key.as_deref(), Some("shared.pem"));
    assert_eq!(config.zone(&name("other.test.")).key, None);
}
