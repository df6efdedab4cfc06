//! Every command: what it prints, its exit code, and whether others believe it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{run, succeed};
use crate::house::{BINARY, CONFIG, HOST, House, TLSA, ZONE, good_zone, record_of, wait_until};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn ends(output: &Output, code: i32, said: &str) {
    let text = format!("{}{}", out(output), err(output));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(said), "`{said}` is not in:\n{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn exit_codes_tell_arguments_from_findings() {
    let house = House::good();
    for arguments in [
        &["unheard-of"][..],
        &[],
        &["explain"],
        &["explain", "a..b"],
        &["tlsa", "x", "--usage", "9"],
        &["init", ZONE],
        &["init", "localhost", "--address", "192.0.2.1"],
        &["check", "none.example"],
        &["serve", "--listen", "nowhere"],
    ] {
        let output = house.danelaw(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
    // To a monitoring system 2 is critical, and 3 is unknown.
    for arguments in [
        &["check", "--online", "--strict", ZONE][..],
        &["check", "--online", "--port", "smtp", ZONE],
        &["check", ZONE, "--online", "--unheard-of"],
        &["check", "--online", "a..b"],
    ] {
        let output = house.danelaw(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
    for arguments in
        [&["check", "--unheard-of"][..], &["status", "--online"], &["check", "--unheard-of", "--", "--online"]]
    {
        ends(&house.danelaw(arguments), 2, "Usage: ");
    }
    ends(&house.danelaw(&["check", "--online", "--help"]), 0, "--selector");
    house.put("bad.toml", "colour = 1\n");
    ends(&house.danelaw_by("bad.toml", &["check", "--online", ZONE]), 3, "unknown key `colour`");
    for arguments in [&["status"][..], &["check"], &["serve"], &["keys", "list"], &["ds", ZONE]] {
        ends(&house.danelaw_by("bad.toml", arguments), 2, "bad.toml:1:1: error: unknown key `colour`");
    }
    for arguments in [&["status"][..], &["explain", HOST], &["withdraw", HOST], &["restore", HOST], &["reload"]] {
        ends(&house.danelaw(arguments), 1, "danelaw is not running");
    }
    ends(&house.danelaw(&["--version"]), 0, env!("CARGO_PKG_VERSION"));
    ends(&house.danelaw(&["--help"]), 0, "2  wrong arguments or configuration");
}

#[test]
fn status_and_explain_say_the_same_to_people_and_to_programs() {
    let house = House::good();
    let daemon = house.start();
    let output = house.danelaw(&["status"]);
    ends(&output, 0, "no problems");
    for word in [&format!("answering on {}", daemon.address), "example.org.", "certs/mail.pem", "served", TLSA] {
        assert!(out(&output).contains(word), "{word}:\n{}", out(&output));
    }
    let status = daemon.status();
    assert_eq!(status["zones"][0]["serial"], daemon.serial());
    assert_eq!(status["listening"][0], daemon.address.to_string());
    let output = house.danelaw(&["explain", HOST]);
    ends(&output, 0, "TLSA: served: every prerequisite holds");
    for word in ["mail service: held", "DKIM: held", "MX: held", "DNSSEC: held", "deployed/mail.example.org (current)"]
    {
        assert!(out(&output).contains(word), "{word}:\n{}", out(&output));
    }
    // Times are for reading: none is a number of seconds.
    let seconds = status["now"].as_u64().unwrap().to_string();
    assert!(!out(&output).contains(&seconds[..6]), "{}", out(&output));
    ends(&house.danelaw(&["explain", "nobody.example.org"]), 1, "`danelaw status` lists what is known");
    house.put_zone("nonsense\n");
    wait_until("a problem", || !daemon.problems().is_empty());
    ends(&house.danelaw(&["status"]), 1, "last good version");
    ends(&house.danelaw(&["status", "--json"]), 1, "\"problems\"");
    house.put_zone(&good_zone().replace("s1._domainkey", "s1._elsewhere"));
    daemon.await_verdict("withheld lost");
    let text = out(&house.danelaw(&["explain", HOST]));
    assert!(text.contains("DKIM: missing") && text.contains("to do: add the TXT"), "{text}");
}

#[test]
fn tlsa_prints_what_openssl_computes() {
    let house = House::good();
    house.certificate_with("rsa", &[HOST, "mx2.example.org"], &["-newkey", "rsa:2048"]);
    house.certificate_with("ed", &[HOST], &["-newkey", "ed25519"]);
    for name in ["mail", "rsa", "ed"] {
        let path = house.path(&format!("certs/{name}.pem"));
        let output = house.danelaw(&["tlsa", path.to_str().unwrap()]);
        ends(&output, 0, "_25._tcp.mail.example.org. 3600 IN TLSA 3 1 1 ");
        let wanted = record_of(&path).replace(' ', "").to_lowercase();
        assert!(out(&output).replace(' ', "").to_lowercase().contains(&wanted), "{}", out(&output));
        assert_eq!(out(&output).lines().count(), if name == "rsa" { 2 } else { 1 });
    }
    let path = house.path("certs/mail.pem");
    let path = path.to_str().unwrap();
    let other = ["--usage", "3", "--selector", "0", "--matching", "2", "--port", "443", "--host", "www.example.org"];
    let output = house.danelaw(&[&["tlsa", path][..], &other].concat());
    let sum = succeed("sh", &["-c", &format!("openssl x509 -in '{path}' -outform der | sha512sum")]);
    let sum = sum.split_whitespace().next().unwrap();
    ends(&output, 0, "_443._tcp.www.example.org. 3600 IN TLSA 3 0 2 ");
    assert!(out(&output).replace(' ', "").to_lowercase().contains(sum), "{}", out(&output));
    ends(&house.danelaw(&["tlsa", "nothing.pem"]), 1, "nothing.pem: ");
    ends(&house.danelaw(&["tlsa", house.path("certs/mail.key").to_str().unwrap()]), 1, "a private key only");
}

#[test]
fn ds_is_what_others_make_of_the_served_dnskey() {
    let house = House::good();
    ends(&house.danelaw(&["ds", ZONE]), 1, "no key of example.org");
    let daemon = house.start();
    let output = house.danelaw(&["ds", ZONE]);
    ends(&output, 0, "example.org. 3600 IN DS ");
    let mine = out(&output).split_whitespace().skip(4).collect::<Vec<_>>().join(" ").to_lowercase();
    let dnskey = daemon.dig(&["+noall", "+answer", ZONE, "DNSKEY"]);
    house.put("dnskey", &dnskey);
    let path = house.path("dnskey");
    let theirs = succeed("dnssec-dsfromkey", &["-2", "-f", path.to_str().unwrap(), ZONE]);
    let theirs = theirs.split_whitespace().skip(3).collect::<Vec<_>>().join(" ").to_lowercase();
    assert_eq!(mine.replacen(' ', "", 3).replace(' ', ""), theirs.replacen(' ', "", 3).replace(' ', ""));
    let ldns = succeed("ldns-key2ds", &["-n", "-2", path.to_str().unwrap()]);
    let ldns = ldns.split_once("DS").unwrap().1.split(';').next().unwrap().to_lowercase();
    assert_eq!(mine.replace(' ', ""), ldns.split_whitespace().collect::<String>());
    assert_eq!(daemon.records(ZONE, "CDS")[0].replace(' ', "").to_lowercase(), mine.replace(' ', ""));

    ends(&house.danelaw(&["keys", "list"]), 0, "example.org+013+");
    let list: Value = serde_json::from_slice(&house.danelaw(&["keys", "list", "--json"]).stdout).unwrap();
    assert_eq!(list[0]["algorithm"], 13);
    ends(&house.danelaw(&["keys", "generate", ZONE]), 1, "has a key already");
    ends(&house.danelaw(&["keys", "generate", "example.net"]), 0, "example.net+013+");
    // The zone that comes later is signed with it.
    let wanted = out(&house.danelaw(&["ds", "example.net"]));
    house.put("zones/example.net.zone", crate::house::HEAD);
    wait_until("it is served", || daemon.records("example.net", "CDS").len() == 1);
    let digest = wanted.split_whitespace().last().unwrap().to_lowercase();
    assert!(daemon.records("example.net", "CDS")[0].replace(' ', "").to_lowercase().ends_with(&digest));
}

#[test]
fn check_finds_mistakes_and_its_exit_code_tells() {
    let house = House::good();
    ends(&house.danelaw(&["check"]), 0, "1 zone, 0 errors, 0 warnings");
    house.put("zones/example.net.zone", [crate::house::HEAD, "@ MX 10 mail.example.net\n"].concat());
    ends(&house.danelaw(&["check"]), 0, "warning: ");
    ends(&house.danelaw(&["check", "--strict"]), 1, "warning: ");
    ends(&house.danelaw(&["check", "--strict", ZONE]), 0, "1 zone, 0 errors");
    house.put("zones/example.net.zone", [crate::house::HEAD, "a A 192.0.2.256\nb MX mail\n"].concat());
    let output = house.danelaw(&["check"]);
    ends(&output, 1, "2 zones, 2 errors");
    assert!(out(&output).contains("example.net.zone:8:5: error: "), "{}", out(&output));
    let found: Value = serde_json::from_slice(&house.danelaw(&["check", "--json"]).stdout).unwrap();
    assert_eq!((found[0]["line"].as_u64(), found[0]["severity"].as_str()), (Some(8), Some("error")));
    let file = house.path("zones/example.net.zone");
    ends(&house.danelaw(&["check", file.to_str().unwrap()]), 1, "1 zone, 2 errors");
    // What the daemon would not serve, check does not pass.
    house.put("zones/example.net.zone", crate::house::HEAD);
    house.put("zones/a..b.zone", crate::house::HEAD);
    ends(&house.danelaw(&["check"]), 1, "a zone file is called <origin>.zone");
}

#[test]
fn a_dump_is_a_zone_that_others_verify() {
    let house = House::good();
    let verify = |text: &str| {
        house.put("dump", text);
        succeed("ldns-verify-zone", &[house.path("dump").to_str().unwrap()]);
    };
    let output = house.danelaw_by("danelaw.toml", &["zone", "dump", ZONE]);
    ends(&output, 0, "no daemon runs here");
    verify(&out(&output));
    let daemon = house.start();
    let output = house.danelaw(&["zone", "dump", ZONE]);
    ends(&output, 0, "_25._tcp.mail.example.org.");
    assert_eq!(err(&output), "");
    verify(&out(&output));
    assert!(out(&output).contains(daemon.signature(HOST, "A").rsplit(' ').next().unwrap()));
    ends(&house.danelaw(&["zone", "dump", "example.com"]), 1, "is not a zone served here");
}

#[test]
fn what_init_writes_is_served() {
    let house = House::empty();
    let folder = house.path("new");
    let dkim = house.path("mail.txt");
    house.put("rsa.pem", succeed("openssl", &["genpkey", "-quiet", "-algorithm", "RSA"]));
    let public = format!("openssl pkey -in '{}' -pubout -outform der | base64 -w0", house.path("rsa.pem").display());
    let public = succeed("sh", &["-c", &public]);
    let (first, second) = public.split_at(200);
    let record =
        format!("mail._domainkey\tIN\tTXT\t( \"v=DKIM1; h=sha256; k=rsa; \"\n\t  \"p={first}\"\n\t  \"{second}\" )\n");
    fs::write(&dkim, record).unwrap();
    let arguments = ["init", ZONE, "--address", "192.0.2.25,2001:db8::25", "--dkim", dkim.to_str().unwrap()];
    let to = ["--folder", folder.to_str().unwrap()];
    ends(&house.danelaw(&[&arguments[..], &to].concat()), 0, "danelaw explain mail.example.org");
    ends(&house.danelaw(&[&arguments[..], &to].concat()), 2, "overwrites nothing");
    ends(&house.danelaw_by("new/danelaw.toml", &["check", "--strict"]), 0, "0 errors, 0 warnings");

    house.certificate("mail", &[HOST]);
    fs::rename(house.path("certs"), house.path("new/certs")).unwrap();
    let text = String::from_utf8(house.read("new/danelaw.toml")).unwrap();
    // Nothing is asked of the world from here.
    let text = text.replace("#resolver = []", "resolver = [\"127.0.0.1:9\"]");
    assert!(text.contains("resolver = [\"127.0.0.1:9\"]"));
    // The daemon of the house, on what init wrote.
    fs::remove_dir(house.path("zones")).unwrap();
    fs::rename(house.path("new/zones"), house.path("zones")).unwrap();
    fs::rename(house.path("new/certs"), house.path("certs")).unwrap();
    house.put("danelaw.toml", &text);
    let daemon = house.start_with(&["--listen", "127.0.0.1:0"]);
    assert_eq!(daemon.verdict(), "withheld not-yet");
    assert_eq!((daemon.finding("mx"), daemon.finding("dkim")), ("held".to_owned(), "held".to_owned()));
    assert_eq!(daemon.finding("dnssec"), "unknown");
    assert!(out(&house.danelaw(&["explain", HOST])).contains("not checked"));
    assert!(daemon.tlsa().is_empty());
    assert_eq!(daemon.problems(), "");
    let weak = text.replace("#dnssec = \"parent\"", "dnssec = \"zone\"");
    let weak = weak.replace("#mail-service = \"probed\"", "mail-service = \"declared\"");
    assert_ne!(weak, text);
    house.put("danelaw.toml", weak);
    daemon.await_verdict("served all-held");
    assert_eq!(daemon.tlsa(), [record_of(&house.path("certs/mail.pem"))]);
}

#[test]
fn one_daemon_for_one_state_and_its_socket_is_private() {
    let house = House::good();
    let daemon = house.start();
    let mode = |name: &str| fs::metadata(house.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("state/control/danelaw.sock"), 0o600);
    assert_eq!(mode("state/control"), 0o700);
    assert_eq!(mode("state/danelaw.db"), 0o600);
    ends(&house.danelaw_by("danelaw.toml", &["serve"]), 1, "another danelaw");
    let taken = daemon.address.to_string();
    let other = House::good();
    let output = other.danelaw_by("danelaw.toml", &["serve", "--listen", &taken]);
    ends(&output, 1, &taken);
    assert!(err(&output).contains("in use"), "{}", err(&output));
    assert_eq!(daemon.records(HOST, "A"), ["192.0.2.25"]);
    daemon.stop();
    assert!(!house.path("state/control/danelaw.sock").exists());
    // After a crash the socket's file is in nobody's way.
    house.start().kill();
    assert!(house.path("state/control/danelaw.sock").exists());
    assert_eq!(house.start().verdict(), "served all-held");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let house = House::good();
    let _daemon = house.start();
    let config = house.path("client.toml");
    let line = format!("'{BINARY}' --config '{}' zone dump {ZONE} | head -n 1", config.display());
    let output = run("sh", &["-c", &line]);
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_examples_are_ready_soon_and_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    let begun = std::time::Instant::now();
    let mut child = Command::new(BINARY)
        .current_dir(crate::common::repository())
        .args(["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--ready-file", ready.to_str().unwrap()])
        .stderr(fs::File::create(folder.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    wait_until("ready", || ready.exists());
    println!("the example zones answer {} ms after the start (a debug build)", begun.elapsed().as_millis());
    child.kill().unwrap();
    child.wait().unwrap();
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("answering on 127.0.0.1:"), "{log}");
    assert_eq!(fs::read_to_string(ready).unwrap().lines().count(), 1);
    assert!(CONFIG.contains("127.0.0.1:0"));
}

#[test]
fn check_warns_of_denials_that_last_where_proofs_come_and_refuses_a_hold_that_does_not_fit() {
    let house = House::good();
    let acme =
        "[acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"mail.example.org\"\nprofile = \"shortlived\"\n";
    let configured = |more: &str| house.put("danelaw.toml", [CONFIG, acme, more].concat());
    let check = || house.danelaw_by("danelaw.toml", &["check"]);
    configured("");
    ends(&check(), 0, "1 zone, 0 errors, 0 warnings");
    let long = good_zone().replace("2w 5m", "2w 2h").replace("$TTL 1h", "$TTL 2h");
    house.put_zone(&long);
    let output = check();
    ends(&output, 0, "1 zone, 0 errors, 1 warning");
    assert!(out(&output).contains("example.org.zone:2:33: warning: a resolver of the CA"), "{}", out(&output));
    house.put_zone(&format!("{long}_acme-challenge.mail CNAME proofs.example.net.\n"));
    ends(&check(), 0, "1 zone, 0 errors, 0 warnings");
    configured("[zone.\"example.org\".dane]\nparameters = [\"2 1 1\"]\nconfirmation-interval = \"3d\"\n");
    ends(&check(), 2, "[[certificate]] of mail.example.org by the profile \"shortlived\": a renewed certificate waits");
    ends(&house.danelaw_by("danelaw.toml", &["serve"]), 2, "a renewed certificate waits 3.0 days");
}

#[test]
fn a_hold_that_does_not_fit_is_refused_at_a_reload_and_the_configuration_before_stays() {
    let house = House::good();
    let daemon = house.start();
    let acme =
        "[acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"mail.example.org\"\nprofile = \"shortlived\"\n";
    let holds = "[zone.\"example.org\".dane]\nparameters = [\"2 1 1\"]\nconfirmation-interval = \"3d\"\n";
    house.put("danelaw.toml", [CONFIG, acme, holds].concat());
    ends(&house.danelaw(&["reload"]), 1, "a renewed certificate waits 3.0 days");
    ends(&house.danelaw(&["status"]), 1, "the configuration before stays in force");
    assert!(!daemon.records("example.org", "SOA").is_empty());
}
