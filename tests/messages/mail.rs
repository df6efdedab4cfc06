//! Mail over a smarthost.

use std::time::Duration;

use crate::authority::Authority;
use crate::config;
use crate::house::{Daemon, HEAD, House, MX, good_zone, wait_until};
use crate::smtp::{Encryption, Offer, PASSWORD, Smtp, USER};

const TO: &str = "postmaster@elsewhere.example";

/// A house whose operator is told over a smarthost, with short times.
fn house(authority: &Authority, smtp: &Smtp, more: &str) -> House {
    let house = House::good().begun_after(&format!("{}\nexport DANELAW_LOG=trace", authority.trusted()));
    house.put("danelaw.toml", config(&messages(smtp, more)));
    password(&house, PASSWORD);
    house
}

fn messages(smtp: &Smtp, more: &str) -> String {
    format!(
        "to = [\"{TO}\"]\nfrom = \"danelaw@provider.example\"\nsmarthost = \"localhost:{}\"\n\
         user = \"{USER}\"\npassword-file = \"password\"\nretry = \"1s\"\n{more}\n",
        smtp.address.port()
    )
}

fn password(house: &House, text: &str) {
    house.put("password", text);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(house.path("password"), mode).unwrap();
}

fn subjects(offers: &[Offer]) -> Vec<String> {
    // The host's name is the machine's.
    let subject = |offer: &Offer| offer.header("Subject").split_once(": ").unwrap().1.to_owned();
    offers.iter().map(subject).collect()
}

/// What could have been said of a secret.
fn assert_no_secret(daemon: &Daemon<'_>, secrets: &[&str]) {
    let said = format!("{}\n{}", daemon.log(), daemon.status());
    for secret in secrets {
        for form in [secret.to_string(), data_encoding::BASE64.encode(format!("\0{USER}\0{secret}").as_bytes())] {
            assert!(!said.contains(&form), "{form} in\n{said}");
        }
    }
}

#[test]
fn a_message_arrives_once_though_two_tries_fail_and_the_daemon_is_killed_in_between() {
    let authority = Authority::new();
    let smtp = Smtp::start(&authority.config, Encryption::Starttls);
    smtp.answer(&["451 4.3.0 not now", "451 4.3.0 not yet"]);
    let house = house(&authority, &smtp, "gather = \"1s\"\npause = \"1s\"");
    let daemon = house.start();
    wait_until("the first try", || smtp.offers().len() == 1);
    daemon.kill();
    let daemon = house.start();
    wait_until("it is taken", || !smtp.taken().is_empty());
    // Long enough for whatever would come again.
    std::thread::sleep(Duration::from_secs(5));
    let (offers, taken) = (smtp.offers(), smtp.taken());
    assert_eq!((offers.len(), taken.len()), (3, 1));
    let same = |name: &str| offers.iter().all(|offer| offer.header(name) == offers[0].header(name));
    assert!(same("Message-ID") && same("Date") && same("Subject"), "{offers:#?}");
    assert!(offers.iter().all(|offer| offer.encrypted && offer.authenticated));
    let mail = &taken[0];
    assert_eq!(subjects(&taken), ["mail.example.org: TLSA published: _25._tcp.mail.example.org"]);
    assert_eq!(
        mail.envelope.lines().map(|line| line.split(" BODY").next().unwrap()).collect::<Vec<_>>(),
        ["MAIL FROM:<danelaw@provider.example>".to_owned(), format!("RCPT TO:<{TO}>")]
    );
    assert_eq!((mail.header("To"), mail.header("Auto-Submitted")), (TO.to_owned(), "auto-generated".to_owned()));
    wait_until("status has no problem", || daemon.problems().is_empty());
    let status = daemon.status();
    let channel = &status["messages"][0];
    assert_eq!((&channel["channel"], &channel["waiting"]), (&TO.into(), &0.into()));
    assert!(channel["last-success"].is_u64() && channel["failure"].is_null(), "{channel}");
    assert_no_secret(&daemon, &[PASSWORD]);
    let daemon = daemon.restarted();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(smtp.offers().len(), 3, "a restart repeats nothing");
    drop(daemon);
}

#[test]
fn what_happens_together_is_one_message_and_what_happens_soon_after_waits_for_the_next() {
    let authority = Authority::new();
    let smtp = Smtp::start(&authority.config, Encryption::Implicit);
    let house = house(&authority, &smtp, "tls = \"implicit\"\ngather = \"2s\"\npause = \"30s\"");
    let second = good_zone();
    house.put("zones/example.net.zone", &second);
    house.certificate("net", &["mail.example.net"]);
    let daemon = house.start();
    wait_until("the first message", || smtp.taken().len() == 1);
    let first = smtp.taken();
    assert!(subjects(&first)[0].starts_with("2 notices: mail.example."), "{:?}", subjects(&first));
    for host in ["mail.example.org", "mail.example.net"] {
        assert!(first[0].text.contains(&format!("{host}: TLSA published: _25._tcp.{host}")), "{}", first[0].text);
    }
    // Urgent: a tenth of the pause after the first one.
    house.put_zone(&[HEAD, MX].concat());
    wait_until("the loss of the DKIM key", || smtp.taken().len() == 2);
    let lost = &smtp.taken()[1];
    for part in ["mail.example.org: prerequisite lost: DKIM of example.org", "since 2", "To do: "] {
        assert!(lost.text.contains(part), "{part}\n{}", lost.text);
    }
    house.put_zone(&good_zone());
    wait_until("it is held again", || daemon.finding("dkim") == "held");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(smtp.taken().len(), 2, "nothing urgent waits for the pause");
}

#[test]
fn a_wrong_password_is_told_in_status_and_never_shown() {
    let authority = Authority::new();
    let smtp = Smtp::start(&authority.config, Encryption::Starttls);
    let house = house(&authority, &smtp, "gather = \"0s\"\npause = \"1s\"");
    let wrong = "battery staple";
    password(&house, wrong);
    let daemon = house.start();
    wait_until("status tells", || daemon.problems().contains(&format!("{TO} could not be told")));
    assert!(
        daemon.problems().contains("535") && daemon.problems().contains("authentication failed: ..."),
        "{}",
        daemon.problems()
    );
    assert!(smtp.refused() > 0 && smtp.offers().is_empty());
    assert_eq!(house.danelaw(&["status"]).status.code(), Some(1));
    assert!(String::from_utf8_lossy(&house.danelaw(&["status"]).stdout).contains("535"));
    let channel = daemon.status()["messages"][0].clone();
    assert!(channel["waiting"] == 1 && channel["next-try"].is_u64(), "{channel}");

    let test = house.danelaw(&["messages", "test"]);
    assert_eq!(test.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&test.stdout).contains(&format!("{TO}: failed: localhost")), "{test:?}");

    password(&house, PASSWORD);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(house.path("password"), mode).unwrap();
    let test = house.danelaw(&["messages", "test"]);
    assert!(String::from_utf8_lossy(&test.stdout).contains("chmod 600"), "{test:?}");
    password(&house, PASSWORD);
    wait_until("it arrives", || smtp.taken().len() == 1);
    wait_until("the problem is gone", || daemon.problems().is_empty());
    let test = house.danelaw(&["messages", "test"]);
    assert_eq!((test.status.code(), String::from_utf8_lossy(&test.stdout).trim()), (Some(0), &*format!("{TO}: taken")));
    assert_eq!(subjects(&smtp.taken()[1..]), ["test message"]);
    assert_no_secret(&daemon, &[PASSWORD, wrong]);
}

#[test]
fn nothing_goes_to_a_server_that_can_not_be_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (encryption, config, expected) in
        [(Encryption::Starttls, &stranger.config, "certificate"), (Encryption::Never, &authority.config, "STARTTLS")]
    {
        let smtp = Smtp::start(config, encryption);
        let house = house(&authority, &smtp, "gather = \"0s\"");
        let daemon = house.start();
        wait_until("status tells", || daemon.problems().contains("could not be told"));
        let problems = daemon.problems();
        assert!(problems.to_lowercase().contains(&expected.to_lowercase()), "{problems}");
        assert!(smtp.offers().is_empty() && smtp.refused() == 0, "no login and no mail");
    }
}
