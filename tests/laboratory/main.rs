//! A delegated laboratory: a DNS of danelaw daemons from the root down, before validators that others wrote.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod namespace;
mod universe;

#[test]
fn up() {
    let u = universe::Universe::new();
    for q in [
        ["@45.33.1.53", "org", "NS"],
        ["@46.4.5.25", "_25._tcp.mail.example.org", "TLSA"],
        ["@88.198.6.53", "nowhere.presigned.example", "A"],
        ["@46.4.5.25", "mail.spoilt.example", "A"],
    ] {
        eprintln!("{}", u.namespace.ask("dig", &[q[0], "+dnssec", q[1], q[2]]));
    }
    if std::env::var("STAY").is_ok() {
        eprintln!("{} {:?}", u.namespace.first, u.folder);
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1))
        }
    }
}
