//! certbot and lego get certificates from pebble by challenges that they put into a zone here.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::common::succeed;
use super::house::Daemon;
use super::pebble::{Options, Pebble};
use super::served::{ACME, house, secret};

fn secret_text() -> String {
    data_encoding::BASE64.encode(&secret(ACME))
}

/// Runs to its end, well.
fn run(command: &mut Command) {
    let said = command.stdin(Stdio::null()).output().unwrap();
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(said.status.success(), "{command:?}\n{}\n{}", text(&said.stdout), text(&said.stderr));
}

/// The certificate is for these names, and the challenges are gone.
fn has(daemon: &Daemon<'_>, certificate: &Path, names: &[&str]) {
    let text = succeed("openssl", &["x509", "-noout", "-ext", "subjectAltName", "-in", certificate.to_str().unwrap()]);
    for name in names {
        assert!(text.contains(&format!("DNS:{name}")), "{name}: {text}");
    }
    assert_eq!(daemon.rcode("_acme-challenge.mail.example.org", "TXT"), "NXDOMAIN");
    assert_eq!(daemon.status()["zones"][0]["updated"], 0);
}

#[test]
fn certbot_gets_a_certificate_by_a_challenge_in_a_zone_here() {
    let house = house();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let work = tempfile::tempdir().unwrap();
    let path = |name: &str| work.path().join(name).display().to_string();
    let credentials = format!(
        "dns_rfc2136_server = {}\ndns_rfc2136_port = {}\ndns_rfc2136_name = {ACME}.\ndns_rfc2136_secret = {}\n\
         dns_rfc2136_algorithm = HMAC-SHA256\n",
        daemon.address.ip(),
        daemon.address.port(),
        secret_text()
    );
    fs::write(path("credentials.ini"), credentials).unwrap();
    succeed("chmod", &["600", &path("credentials.ini")]);
    let folders =
        ["--config-dir", &path("etc"), "--work-dir", &path("work"), "--logs-dir", &path("log")].map(str::to_owned);
    run(Command::new("certbot")
        .args([
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "-m",
            "hostmaster@example.org",
            "--server",
            &pebble.directory(),
        ])
        .args(["--dns-rfc2136", "--dns-rfc2136-credentials", &path("credentials.ini")])
        .args(["--dns-rfc2136-propagation-seconds", "1", "-d", "mail.example.org", "-d", "*.example.org"])
        .args(folders)
        .env("REQUESTS_CA_BUNDLE", pebble.trusted()));
    has(&daemon, &work.path().join("etc/live/mail.example.org/cert.pem"), &["mail.example.org", "*.example.org"]);
    assert!(daemon.log().contains("are changed by acme.test."), "{}", daemon.log());
}

#[test]
fn lego_gets_a_certificate_by_a_challenge_in_a_zone_here() {
    let house = house();
    let daemon = house.start();
    let pebble = Pebble::start(daemon.address, &Options::default());
    let work = tempfile::tempdir().unwrap();
    run(Command::new("lego")
        .args(["--server", &pebble.directory(), "--email", "hostmaster@example.org", "--accept-tos", "--path"])
        .arg(work.path())
        .args(["--dns", "rfc2136", "--dns.disable-cp", "--dns.resolvers", &daemon.address.to_string()])
        .args(["--domains", "mail.example.org", "--domains", "*.example.org", "run"])
        .env("LEGO_CA_CERTIFICATES", pebble.trusted())
        .env("RFC2136_NAMESERVER", daemon.address.to_string())
        .env("RFC2136_TSIG_KEY", format!("{ACME}."))
        .env("RFC2136_TSIG_ALGORITHM", "hmac-sha256.")
        .env("RFC2136_TSIG_SECRET", secret_text())
        .env("RFC2136_SEQUENCE_INTERVAL", "1")
        .env("RFC2136_POLLING_INTERVAL", "1"));
    let certificate = work.path().join("certificates/mail.example.org.crt");
    has(&daemon, &certificate, &["mail.example.org", "*.example.org"]);
}
