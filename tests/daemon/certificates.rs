//! Certificates come and go: a new key is added at once and an old one stays.

use std::fs;
use std::os::unix::fs::symlink;

use crate::house::{CONFIG, DKIM, HEAD, House, MX, TLSA, good_zone, record_of, wait_until};

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}

#[test]
fn a_new_key_is_added_at_once_and_the_old_one_stays() {
    let house = House::good();
    house.put("danelaw.toml", format!("{CONFIG}mode = \"observed\"\n"));
    let daemon = house.start();
    let first = record_of(&house.path("certs/mail.pem"));
    assert_eq!(daemon.tlsa(), std::slice::from_ref(&first));
    house.certificate("mail", &["mail.example.org"]);
    let second = record_of(&house.path("certs/mail.pem"));
    assert_ne!(first, second);
    let both = sorted(vec![first, second.clone()]);
    wait_until("both records", || daemon.tlsa() == both);
    let explanation = daemon.explain();
    let text = explanation["records"].to_string();
    assert!(text.contains("\"certificate\":\"old\"") && text.contains("\"certificate\":\"current\""), "{text}");
    daemon.kill();
    let daemon = house.start();
    assert_eq!(daemon.tlsa(), both);

    // A renewal with the same key adds nothing.
    let key = house.path("certs/mail.key");
    house.certificate_with("mail", &["mail.example.org"], &["-key", key.to_str().unwrap()]);
    let spki = |daemon: &crate::house::Daemon<'_>| daemon.status()["certificates"][0]["not-after"].clone();
    wait_until("it is seen", || daemon.explain()["records"].to_string().matches("\"file\"").count() >= 2);
    assert!(spki(&daemon).is_u64());
    assert_eq!(record_of(&house.path("certs/mail.pem")), second);
    assert_eq!(daemon.tlsa(), both);
    assert_eq!(daemon.restarted().tlsa(), both);
}

#[test]
fn rsa_and_ecdsa_side_by_side() {
    let house = House::good();
    house.certificate_with("rsa", &["mail.example.org"], &["-newkey", "rsa:2048"]);
    house.certificate_with("ed", &["mail.example.org"], &["-newkey", "ed25519"]);
    house.certificate("other", &["other.example.org"]);
    let daemon = house.start();
    let three = ["mail", "rsa", "ed"].map(|name| record_of(&house.path(&format!("certs/{name}.pem"))));
    assert_eq!(daemon.tlsa(), sorted(three.to_vec()));
    assert_eq!(daemon.status()["certificates"].as_array().unwrap().len(), 4);
}

#[test]
fn certbots_symlinks_are_followed_and_its_archive_is_not_read() {
    let house = House::good();
    house.put("danelaw.toml", CONFIG.replace("\"certs\"", "\"le/live\""));
    let (live, archive) = (house.path("le/live/mail.example.org"), house.path("le/archive/mail.example.org"));
    fs::create_dir_all(&live).unwrap();
    fs::create_dir_all(&archive).unwrap();
    let place = |number: u32| {
        house.certificate("mail", &["mail.example.org"]);
        for (from, to) in [("mail.pem", "cert"), ("mail.pem", "fullchain"), ("mail.key", "privkey")] {
            fs::copy(house.path("certs").join(from), archive.join(format!("{to}{number}.pem"))).unwrap();
        }
        record_of(&archive.join(format!("cert{number}.pem")))
    };
    let point = |number: u32| {
        for name in ["cert", "fullchain", "privkey"] {
            let link = live.join(format!("{name}.pem"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/mail.example.org/{name}{number}.pem"), link).unwrap();
        }
    };
    let first = place(1);
    point(1);
    let daemon = house.start();
    assert_eq!(daemon.tlsa(), std::slice::from_ref(&first), "{}", daemon.problems());
    // Before certbot points to it, the next one is nobody's.
    let second = place(2);
    house.danelaw(&["reload"]);
    assert_eq!(daemon.tlsa(), std::slice::from_ref(&first));
    point(2);
    wait_until("both records", || daemon.tlsa() == sorted(vec![first.clone(), second.clone()]));
    wait_until("no problems", || daemon.problems().is_empty());
}

#[test]
fn an_observed_folder_needs_no_key() {
    let house = House::good();
    house.remove("certs/mail.key");
    house.put("danelaw.toml", format!("{CONFIG}mode = \"observed\"\n"));
    let daemon = house.start();
    assert_eq!(daemon.tlsa(), [record_of(&house.path("certs/mail.pem"))]);
    assert_eq!(daemon.status()["certificates"][0]["key-checked"], false);
}

#[test]
fn what_the_operator_withdrew_stays_withdrawn() {
    let house = House::good();
    let daemon = house.start();
    daemon.await_verdict("served all-held");
    let record = daemon.tlsa();
    let output = house.danelaw(&["withdraw", "mail.example.org"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().contains("withdrawn by the operator"));
    assert!(daemon.tlsa().is_empty(), "it counts at once");
    daemon.kill();
    let daemon = house.start();
    daemon.await_verdict("withheld withdrawn-by-operator");
    let daemon = daemon.restarted();
    daemon.await_verdict("withheld withdrawn-by-operator");
    assert_eq!(house.danelaw(&["restore", "mail.example.org"]).status.code(), Some(0));
    assert_eq!(daemon.tlsa(), record);
    assert_eq!(daemon.restarted().tlsa(), record);
    assert_eq!(house.danelaw(&["withdraw", "nobody.example.org"]).status.code(), Some(1));
}

#[test]
fn a_hand_written_record_is_served_as_it_stands_and_a_conflict_names_both() {
    let house = House::good();
    let record = record_of(&house.path("certs/mail.pem"));
    let foreign = format!("3 1 1 {} {}", "A".repeat(56), "B".repeat(8));
    house.put_zone(&format!("{}_25._tcp.mail 600 TLSA {record}\n", good_zone()));
    let daemon = house.start();
    assert_eq!(daemon.verdict(), "hand-written");
    assert_eq!(daemon.tlsa(), std::slice::from_ref(&record));
    assert!(daemon.signature(TLSA, "TLSA").contains("TLSA 13 5 600 "));
    assert_eq!(daemon.problems(), "");
    house.put_zone(&format!("{}_25._tcp.mail 600 TLSA {foreign}\n", good_zone()));
    wait_until("the conflict", || daemon.problems().contains("conflict at _25._tcp.mail.example.org."));
    let problems = daemon.problems();
    let (ours, theirs) = (record.replace(' ', "").to_lowercase(), foreign.replace(' ', "").to_lowercase());
    let flat = problems.replace(' ', "").to_lowercase();
    assert!(
        flat.contains(&ours) && flat.contains(&theirs) && problems.contains("deployed/mail.example.org"),
        "{problems}"
    );
    wait_until("it is served", || daemon.tlsa() == [foreign.clone()]);
    house.put_zone(&[HEAD, MX, DKIM].concat());
    daemon.await_verdict("served all-held");
    assert_eq!(daemon.tlsa(), [record]);
}
