//! What is lost and what becomes of the TLSA records: never published, published, with a restart in between.

use crate::house::{CONFIG, DKIM, Daemon, HEAD, HOST, House, MX, good_zone, wait_until, within_patience};

/// Something that is taken away, and how it comes back.
struct Loss {
    what: &'static str,
    take: fn(&House),
    give: fn(&House),
    /// What `explain` says when there never was a publication.
    never: &'static str,
    /// What it says once a publication was made before the loss, and the hold has passed.
    after: &'static str,
    /// The prerequisite that tells it, and its verdict.
    finding: (&'static str, &'static str),
}

const STRONG_DNSSEC: (&str, &str) = ("dnssec = \"zone\"", "dnssec = \"parent\"");
const STRONG_MAIL: (&str, &str) = ("mail-service = \"declared\"", "mail-service = \"probed\"");

fn configure(house: &House, change: (&str, &str)) {
    let text = CONFIG.replace(change.0, change.1);
    assert_ne!(text, CONFIG);
    house.put("danelaw.toml", text);
}

fn good_config(house: &House) {
    house.put("danelaw.toml", CONFIG);
}

const LOSSES: &[Loss] = &[
    Loss {
        what: "the certificate's files",
        take: |house| {
            // A published record's certificate is put back as it was.
            std::fs::rename(house.path("certs/mail.pem"), house.path("mail.pem")).unwrap();
            std::fs::rename(house.path("certs/mail.key"), house.path("mail.key")).unwrap();
        },
        give: |house| {
            std::fs::rename(house.path("mail.key"), house.path("certs/mail.key")).unwrap();
            std::fs::rename(house.path("mail.pem"), house.path("certs/mail.pem")).unwrap();
        },
        never: "withheld no-certificate",
        after: "served all-held",
        finding: ("mx", "held"),
    },
    Loss {
        what: "the MX",
        take: |house| house.put_zone(&[HEAD, "@ MX 10 elsewhere\nelsewhere A 192.0.2.26\n", DKIM].concat()),
        give: |house| house.put_zone(&good_zone()),
        never: "none",
        after: "withheld lost",
        finding: ("none", "none"),
    },
    Loss {
        what: "the MX host's address",
        take: |house| house.put_zone(&good_zone().replace("mail A 192.0.2.25", "mail A 192.0.2.99")),
        give: |house| house.put_zone(&good_zone()),
        never: "withheld not-yet",
        after: "withheld lost",
        finding: ("mx", "missing"),
    },
    Loss {
        what: "the DKIM key",
        take: |house| house.put_zone(&[HEAD, MX].concat()),
        give: |house| house.put_zone(&good_zone()),
        never: "withheld not-yet",
        after: "withheld lost",
        finding: ("dkim", "missing"),
    },
    Loss {
        what: "the DKIM key, revoked",
        take: |house| house.put_zone(&[HEAD, MX, "s1._domainkey TXT \"v=DKIM1; p=\"\n"].concat()),
        give: |house| house.put_zone(&good_zone()),
        never: "withheld not-yet",
        after: "withheld lost",
        finding: ("dkim", "missing"),
    },
    Loss {
        what: "the server's flag",
        take: |house| configure(house, ("[dane]", "[dane]\nenabled = false")),
        give: good_config,
        never: "withheld disabled",
        after: "withheld disabled",
        finding: ("mx", "held"),
    },
    Loss {
        what: "the zone's flag",
        take: |house| house.put("danelaw.toml", format!("{CONFIG}\n[zone.\"example.org\".dane]\nenabled = false\n")),
        give: good_config,
        never: "withheld disabled",
        after: "withheld disabled",
        finding: ("mx", "held"),
    },
    Loss {
        what: "the check of the parent's DS",
        take: |house| configure(house, STRONG_DNSSEC),
        give: good_config,
        never: "withheld not-yet",
        after: "served kept",
        finding: ("dnssec", "unknown"),
    },
    Loss {
        what: "the check of the mail service",
        take: |house| configure(house, STRONG_MAIL),
        give: good_config,
        never: "withheld not-yet",
        after: "served kept",
        finding: ("mail-service", "unknown"),
    },
    Loss {
        what: "the declaration of a mail service",
        take: |house| configure(house, ("mail-service = \"declared\"", "mail-service = \"off\"")),
        give: good_config,
        never: "withheld not-yet",
        after: "withheld lost",
        finding: ("mail-service", "missing"),
    },
    Loss {
        what: "the addresses of this server",
        take: |house| configure(house, ("addresses = [\"192.0.2.25\"]", "addresses = []")),
        give: good_config,
        never: "withheld not-yet",
        after: "served kept",
        finding: ("mx", "unknown"),
    },
    Loss {
        what: "the signatures, by configuration",
        take: |house| house.put("danelaw.toml", format!("{CONFIG}\n[zone.\"example.org\"]\nsigning = \"none\"\n")),
        give: good_config,
        never: "withheld disabled",
        after: "withheld disabled",
        finding: ("dnssec", "missing"),
    },
];

/// The verdict, or `none` where nothing is known of the host.
fn verdict(daemon: &Daemon<'_>) -> String {
    let output = daemon.house.danelaw(&["explain", HOST, "--json"]);
    if output.status.success() { daemon.verdict() } else { "none".to_owned() }
}

#[track_caller]
fn settled(daemon: &Daemon<'_>, loss: &Loss, wanted: &str) {
    let (mut seen, mut finding) = (String::new(), String::new());
    let reached = within_patience(|| {
        seen = verdict(daemon);
        finding = if loss.finding.0 == "none" { "none".to_owned() } else { daemon.finding(loss.finding.0) };
        seen == wanted && finding == loss.finding.1
    });
    let wants = (wanted, loss.finding);
    assert!(reached, "{}: explain says `{seen}` and {finding}, never {wants:?}", loss.what);
    wait_until(&format!("{}: dig agrees", loss.what), || daemon.tlsa().is_empty() != wanted.starts_with("served"));
}

fn never_published(loss: &Loss) {
    let house = House::good();
    (loss.take)(&house);
    let daemon = house.start();
    settled(&daemon, loss, loss.never);
    let daemon = daemon.restarted();
    settled(&daemon, loss, loss.never);
    (loss.give)(&house);
    daemon.await_verdict("served all-held");
}

fn published(loss: &Loss, restart: bool) {
    let house = House::good();
    let mut daemon = house.start();
    daemon.await_verdict("served all-held");
    let record = daemon.tlsa();
    (loss.take)(&house);
    if restart {
        // Cut off at any moment of the hold, it goes on where it was.
        daemon.kill();
        daemon = house.start();
    }
    settled(&daemon, loss, loss.after);
    if loss.after.starts_with("served") {
        assert_eq!(daemon.tlsa(), record, "{}", loss.what);
        daemon = daemon.restarted();
        settled(&daemon, loss, loss.after);
    }
    (loss.give)(&house);
    daemon.await_verdict("served all-held");
    assert_eq!(daemon.tlsa(), record, "{}", loss.what);
}

fn in_halves(run: impl Fn(&Loss) + Sync) {
    let (left, right) = LOSSES.split_at(LOSSES.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| left.iter().for_each(&run));
        right.iter().for_each(&run);
    });
}

#[test]
fn what_was_never_published_is_withheld_until_everything_holds() {
    in_halves(never_published);
}

#[test]
fn what_is_published_is_kept_unless_a_loss_is_proven_and_lasts() {
    in_halves(|loss| published(loss, false));
}

#[test]
fn a_restart_changes_no_verdict() {
    in_halves(|loss| published(loss, true));
}
