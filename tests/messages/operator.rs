//! What the operator sets up and sees.

use std::os::unix::fs::PermissionsExt;

use crate::common::free_port;
use crate::config;
use crate::house::{CONFIG, House, wait_until};

/// A program in the house that keeps the mails that it is given, one file each.
fn sendmail(house: &House) {
    std::fs::create_dir(house.path("mails")).unwrap();
    let script = format!("#!/bin/sh\ncat >{}/$(date +%s%N)-$$\n", house.path("mails").display());
    house.put("sendmail", script);
    std::fs::set_permissions(house.path("sendmail"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn mails(house: &House) -> Vec<String> {
    let files = std::fs::read_dir(house.path("mails")).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

fn with(house: &House, messages: &str) {
    house.put("danelaw.toml", config(&format!("sendmail = \"sendmail\"\n{messages}")));
}

#[test]
fn a_test_asks_every_channel_and_says_what_each_answered() {
    let house = House::good();
    sendmail(&house);
    with(&house, "to = [\"a@elsewhere.example\", \"b@elsewhere.example\"]\non = [\"alarm\"]");
    let daemon = house.start();
    let test = house.danelaw(&["messages", "test"]);
    let said = String::from_utf8_lossy(&test.stdout).into_owned();
    assert_eq!(test.status.code(), Some(0), "{test:?}");
    assert!(said.contains("a@elsewhere.example: taken") && said.contains("b@elsewhere.example: taken"), "{said}");
    let mails = mails(&house);
    assert_eq!(mails.len(), 2, "each recipient has a message of his own, and nothing else was to be told");
    assert!(mails.iter().all(|mail| mail.contains("test message") && mail.contains("Message-ID: <danelaw.")));

    let url = format!("http://127.0.0.1:{}/x", free_port());
    with(&house, &format!("to = [\"a@elsewhere.example\"]\nwebhook = \"{url}\""));
    wait_until("the webhook is known", || daemon.status()["messages"].as_array().unwrap().len() == 2);
    let test = house.danelaw(&["messages", "test", "--json"]);
    assert_eq!(test.status.code(), Some(1), "{test:?}");
    let said: serde_json::Value = serde_json::from_slice(&test.stdout).unwrap();
    let error_of = |channel: &str| {
        let found = said.as_array().unwrap().iter().find(|one| one["channel"].as_str().unwrap().starts_with(channel));
        found.unwrap()["error"].clone()
    };
    assert!(error_of("a@").is_null() && error_of("webhook").as_str().unwrap().contains("refused"), "{said}");

    house.put("danelaw.toml", CONFIG);
    wait_until("nobody is told", || daemon.status()["messages"].as_array().unwrap().is_empty());
    let test = house.danelaw(&["messages", "test"]);
    assert_eq!(test.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&test.stderr).contains("nobody is told anything"), "{test:?}");
}

#[test]
fn a_recipient_in_a_zone_served_here_is_warned_of_and_a_problem_when_there_is_no_other() {
    let house = House::good();
    sendmail(&house);
    with(&house, "to = [\"me@example.org\", \"me@elsewhere.example\"]");
    let check = String::from_utf8_lossy(&house.danelaw_by("danelaw.toml", &["check"]).stdout).into_owned();
    assert!(check.contains("warning: messages: me@example.org is in a zone served here"), "{check}");
    assert!(!check.contains("me@elsewhere.example"), "{check}");
    let daemon = house.start();
    let warned = |daemon: &crate::house::Daemon<'_>| {
        let status = daemon.status();
        let channels = status["messages"].as_array().unwrap().clone();
        channels
            .into_iter()
            .filter(|one| one["warning"].is_string())
            .map(|one| one["channel"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(warned(&daemon), ["me@example.org"]);
    assert!(!daemon.problems().contains("messages"));
    with(&house, "to = [\"me@example.org\"]");
    wait_until("it is a problem", || daemon.problems().contains("every recipient is in a zone served here"));
}
