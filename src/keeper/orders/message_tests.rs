//! What the operator is told of orders, and what isn't worth a word.

use std::fs;

use super::tests::{HOST, Run};
use super::*;
use crate::acme::{Event, Held, Problem, Status, Step};
use crate::act::messages;
use crate::keeper::tests::{CONFIG, NOW, Place, ZONE, has_problem, name};

const DAY: Timestamp = 86_400;
const URL: &str = "https://ca.test/1";

impl Run {
    /// The CA issues what was asked for, and it is laid down.
    fn issue(&mut self, fingerprint: &str, not_after: Timestamp) {
        self.until_stored();
        self.hear(Event::Stored(held(fingerprint, not_after)));
    }

    /// The chain is to be laid down.
    fn until_stored(&mut self) {
        self.hear(Event::Ordered { url: URL.to_owned(), proofs: Vec::new() });
        for status in [Status::Ready, Status::Valid] {
            self.hear(Event::Status { url: URL.to_owned(), status });
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.keeper.tick_orders(self.now);
        self.cycle();
    }

    /// The mails that have come together by now, each its subject and its text.
    fn mails(&mut self, orders: &mut mpsc::Receiver<messages::Order>) -> Vec<String> {
        self.now += 3600;
        self.keeper.send_messages(self.now);
        let mut mails = Vec::new();
        while let Ok(messages::Order { channel, message, .. }) = orders.try_recv() {
            mails.push(format!("{}\n{}", message.subject("ns1"), message.body("ns1")));
            self.keeper.hear_message(&messages::News { channel, id: message.id, result: Ok(()) }, self.now);
        }
        mails
    }
}

fn held(fingerprint: &str, not_after: Timestamp) -> Held {
    let names = [name(HOST), name("*.example.test")].into();
    Held { not_before: not_after - 90 * DAY, not_after, names, fingerprint: fingerprint.to_owned(), ari_id: None }
}

#[test]
fn the_operator_is_told_what_is_issued_what_fails_what_expires_and_what_is_renewed() {
    let mut run = Run::new(ZONE, "[messages]\nto = [\"operator@elsewhere.example\"]\n");
    let mut orders = run.keeper.message_orders();
    run.hear(Event::Held(None));
    let end = NOW + 90 * DAY;
    run.issue("0123", end);
    let mails = run.mails(&mut orders);
    let parts = [
        "danelaw ns1: mail.example.test: certificate: issued, valid until 2027-04-15T",
        "\n  for *.example.test, mail.example.test\n  SHA-256 fingerprint 0123\n  It was ordered because there was none.\n",
        "installs it when no cache can lack its record",
        "Nothing to do.",
    ];
    assert!(mails.len() == 1 && parts.iter().all(|part| mails[0].contains(part)), "{mails:#?}");

    run.now = end - 29 * DAY;
    for _ in 0..3 {
        run.pass(6 * 3600);
        let problem = Problem { detail: "connection refused".to_owned(), ..Problem::default() };
        run.hear(Event::Failed { step: Step::Order, problem });
    }
    let mails = run.mails(&mut orders);
    let parts = [
        "danelaw ns1: mail.example.test: ALARM: the order of the certificate fails again and again\n",
        "\n  connection refused. It is tried again.\n  The certificate and the TLSA record that are in use stay in use.",
    ];
    assert!(mails.len() == 1 && parts.iter().all(|part| mails[0].contains(part)), "{mails:#?}");
    assert!(!mails[0].contains("removes no record"), "{mails:#?}");

    run.now = end - 2 * DAY;
    run.pass(1);
    let mails = run.mails(&mut orders);
    let parts = [
        "danelaw ns1: mail.example.test: ALARM: the certificate expires so soon that a renewed one may come too late\n",
        "\n  It expires on 2027-04-15T08:00:00Z, and danelaw goes on trying. To do: see why the order fails.\n",
        "stay in use",
    ];
    assert!(mails.len() == 1 && parts.iter().all(|part| mails[0].contains(part)), "{mails:#?}");

    run.now = end;
    run.pass(1);
    let mails = run.mails(&mut orders);
    let parts =
        ["ALARM: the certificate has expired\n", "It expired on 2027-04-15T08:00:00Z", "DANE-EE records ignore expiry"];
    assert!(mails.len() == 1 && parts.iter().all(|part| mails[0].contains(part)), "{mails:#?}");

    run.pass(DAY);
    run.issue("4567", end + 90 * DAY);
    let mails = run.mails(&mut orders).concat();
    let parts = [
        "mail.example.test: certificate: renewed, valid until 2027-07-14T08:00:00Z\n",
        "It was ordered because it was time to replace the one before.\n",
        "mail.example.test: alarm over: the certificate has expired\n",
        "mail.example.test: alarm over: the order of the certificate fails again and again\n",
    ];
    assert!(parts.iter().all(|part| mails.contains(part)), "{mails}");
}

#[test]
fn the_first_certificate_is_issued_and_not_renewed_though_the_operator_said_so() {
    let mut run = Run::new(ZONE, "[messages]\nto = [\"operator@elsewhere.example\"]\n");
    let mut orders = run.keeper.message_orders();
    run.hear(Event::Held(None));
    let problem = Problem { detail: "connection refused".to_owned(), ..Problem::default() };
    run.hear(Event::Failed { step: Step::Order, problem });
    run.hear(Event::Order);
    run.issue("0123", NOW + 90 * DAY);
    let mails = run.mails(&mut orders).concat();
    let parts = ["mail.example.test: certificate: issued, valid until", "because the operator said so"];
    assert!(parts.iter().all(|part| mails.contains(part)) && !mails.contains("renewed, valid"), "{mails}");
    run.hear(Event::Order);
    run.issue("4567", NOW + 91 * DAY);
    let mails = run.mails(&mut orders).concat();
    assert!(mails.contains("mail.example.test: certificate: renewed, valid until"), "{mails}");
}

#[test]
fn a_key_that_waits_for_its_chain_while_both_are_laid_down_is_no_problem() {
    let mut run = Run::new(ZONE, "");
    run.hear(Event::Held(None));
    run.until_stored();
    let folder = run.place.path("state/certificates").join(HOST);
    run.place.pair("mail");
    fs::copy(run.place.path("certs/mail.pem"), folder.join("fullchain.pem")).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.join("privkey.pem"), other.serialize_pem()).unwrap();
    run.cycle();
    assert!(!has_problem(&run.keeper, "half written"), "{:?}", run.keeper.problems);
    run.hear(Event::Stored(held("0123", NOW + 90 * DAY)));
    assert!(has_problem(&run.keeper, "half written"), "{:?}", run.keeper.problems);
    fs::copy(run.place.path("certs/mail.key"), folder.join("privkey.pem")).unwrap();
    run.cycle();
    assert!(!has_problem(&run.keeper, "next key"), "danelaw makes it: {:?}", run.keeper.problems);
}

#[test]
fn an_account_that_could_not_be_read_for_a_while_stops_nothing_for_good() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    place.zone("example.test", ZONE);
    let file = place.path("eab");
    fs::write(&file, "c2VjcmV0").unwrap();
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let config = format!(
        "{CONFIG}[acme]\nagree-to-terms = true\neab-key-id = \"k\"\neab-key-file = \"eab\"\n[[certificate]]\nhost = \"{HOST}\"\n"
    );
    let mut keeper = place.keeper(&config, NOW);
    let orders = keeper.order_orders();
    let mut run = Run::of(place, keeper, orders, NOW);
    run.cycle();
    mode(0o644);
    run.cycle();
    assert!(has_problem(&run.keeper, "no certificate is ordered: eab-key-file"), "{:?}", run.keeper.problems);
    mode(0o600);
    run.cycle();
    for event in [Event::Held(None), Event::NextKey] {
        run.hear(event);
    }
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
}

/// A certificate that lies in the folder is replaced, and to be revoked.
fn revoking(run: &mut Run, fingerprint: &str) {
    run.hear(Event::Held(Some(held(fingerprint, NOW + 90 * DAY))));
    run.keeper.say_to_orders(&name(HOST), OrderWord::Rotate { reason: Some(1) }, run.now).unwrap();
    run.cycle();
    run.until_stored();
    run.hear(Event::Stored(held("0123", NOW + 90 * DAY)));
}

fn revocations(run: &mut Run) -> Vec<Task> {
    run.asked().into_iter().filter(|task| matches!(task, Task::Revoke { .. })).collect()
}

#[test]
fn what_is_to_be_revoked_is_not_forgotten_when_it_is_not_configured_any_more() {
    let mut run = Run::new(ZONE, "");
    let fingerprint = "4567".to_owned();
    revoking(&mut run, &fingerprint);
    let mut config = run.keeper.config.clone();
    config.ordered.clear();
    run.keeper.configure(config);
    run.pass(DAY);
    assert_eq!(revocations(&mut run), [Task::Revoke { fingerprint: fingerprint.clone(), reason: 1 }]);
    assert_eq!(run.keeper.order_reports(None).len(), 1);
    run.hear(Event::Revoked { fingerprint });
    assert_eq!(run.keeper.order_reports(None), []);
}

#[test]
fn the_other_key_s_order_waits_for_its_turn_and_that_is_no_failure() {
    let mut run = Run::new(ZONE, "keys = [\"ecdsa\", \"rsa\"]\n");
    for key_type in [KeyType::Ecdsa, KeyType::Rsa] {
        let id = Id { host: name(HOST), key_type };
        for event in [Event::Held(None), Event::NextKey] {
            run.keeper.hear_orders(vec![OrderNews::Ca(ca::News { id: id.clone(), event })], run.now);
        }
        run.cycle();
    }
    let is_order = |task: &Task| matches!(task, Task::Order { .. });
    let orders = |run: &mut Run| run.asked().iter().filter(|task| is_order(task)).count();
    assert_eq!(orders(&mut run), 1, "one of both");
    let proofs = vec![crate::acme::Proof { name: name(HOST), value: "host".to_owned() }];
    run.hear(Event::Ordered { url: URL.to_owned(), proofs: proofs.clone() });
    for _ in 0..120 {
        run.pass(60);
        let reports = run.keeper.order_reports(None);
        let rsa = reports.iter().find(|report| report.key == "RSA").unwrap();
        assert_eq!((rsa.phase, &rsa.failure), (Phase::Checking, &None));
        assert_eq!(rsa.waits_for.as_deref(), Some("the order of the host's ECDSA key is under way"));
    }
    assert_eq!(orders(&mut run), 0);
    run.hear(Event::Shown { proofs });
    for status in [Status::Ready, Status::Valid] {
        run.hear(Event::Status { url: URL.to_owned(), status });
    }
    run.hear(Event::Stored(held("0123", NOW + 90 * DAY)));
    run.pass(60);
    assert_eq!(orders(&mut run), 1);
    assert!(run.keeper.order_reports(None).iter().all(|report| report.waits_for.is_none()));
}
