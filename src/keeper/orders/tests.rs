//! What the keeper does for orders: proofs in the right zones beside others', nameservers asked, CAA looked at, words.

use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::acme::{Event, Held, Problem, Proof, Status, Step};
use crate::act::messages;
use crate::dns::Rtype;
use crate::keeper::Finished;
use crate::keeper::tests::{CONFIG, NOW, Place, ZONE, has_problem, name};
use crate::observe::nameservers::NotShown;

const HOST: &str = "mail.example.test";
const SECOND: &str = "192.0.2.54:5300";

/// A keeper that wants a certificate, and what it asks for.
struct Run {
    place: Place,
    keeper: Keeper,
    orders: OrderOrders,
    now: Timestamp,
}

impl Run {
    fn new(zone: &str, more: &str) -> Run {
        let place = Place::new();
        place.zone("example.test", zone);
        let config = format!(
            "listen = [\"192.0.2.53:53\"]\n{CONFIG}[zone.\"example.test\"]\nnameservers = [\"192.0.2.53:53\", \"{SECOND}\"]\n\
             [acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"{HOST}\"\nnames = [\"*.example.test\"]\n{more}"
        );
        let mut keeper = place.keeper(&config, NOW);
        let orders = keeper.order_orders();
        let mut run = Run { place, keeper, orders, now: NOW };
        run.cycle();
        assert_eq!(run.asked(), [], "before it is known what lies in the folder");
        run
    }

    fn cycle(&mut self) {
        self.now += 1;
        self.keeper.cycle(&Finished::All, self.now);
    }

    /// What the CA is asked for.
    fn asked(&mut self) -> Vec<ca::Action> {
        let all = std::iter::from_fn(|| self.orders.ca.try_recv().ok()).map(|order| order.action);
        all.filter(|action| !matches!(action, ca::Action::Look | ca::Action::MakeNextKey)).collect()
    }

    /// The nameservers that are asked, and for what.
    fn servers(&mut self) -> Vec<texts::Order> {
        std::iter::from_fn(|| self.orders.texts.try_recv().ok()).collect()
    }

    fn hear(&mut self, event: Event) {
        let id = Id { host: name(HOST), key_type: KeyType::Ecdsa };
        self.now += 1;
        self.keeper.hear_orders(vec![OrderNews::Ca(ca::News { id, event })], self.now);
        self.cycle();
    }

    fn ordered(&mut self) -> Vec<Proof> {
        let proof = |at: &str, value: &str| Proof { name: name(at), value: value.to_owned() };
        let proofs = vec![proof("example.test", "wild"), proof(HOST, "host")];
        self.hear(Event::Ordered { url: "https://ca.test/1".to_owned(), proofs: proofs.clone() });
        proofs
    }

    fn texts(&self, zone: &str, owner: &str) -> BTreeSet<String> {
        let published = self.keeper.zones[&name(zone)].published().unwrap();
        let set = published.set(&name(owner), Rtype::TXT);
        let rdatas = set.into_iter().flat_map(|set| set.rrset.rdatas);
        rdatas.map(|rdata| String::from_utf8(crate::dns::mailtext::txt_value(&rdata)).unwrap()).collect()
    }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn proofs_stand_beside_others_until_every_nameserver_has_shown_them_and_the_ca_has_looked() {
    let mut run = Run::new(&format!("{ZONE}_acme-challenge TXT \"another client's\"\n"), "");
    run.hear(Event::Held(None));
    assert!(matches!(&run.asked()[..], [ca::Action::Order { names, .. }] if names.len() == 2));
    run.ordered();
    let (apex, host) = ("_acme-challenge.example.test", "_acme-challenge.mail.example.test");
    assert_eq!(run.texts("example.test", apex), set(&["another client's", "wild"]));
    assert_eq!(run.texts("example.test", host), set(&["host"]));
    let asked = run.servers();
    assert_eq!(asked.len(), 1, "this server is seen from here: {asked:?}");
    assert_eq!((asked[0].server.to_string().as_str(), asked[0].owners.len()), (SECOND, 2));
    // One proof is lacking there.
    let news = |order: &texts::Order, shown| {
        vec![OrderNews::Texts(texts::News { host: order.host.clone(), label: order.label.clone(), shown })]
    };
    let shows = |values: &[(&str, &str)]| -> Result<texts::Texts, NotShown> {
        Ok(values.iter().map(|(owner, value)| (name(owner), [value.as_bytes().to_vec()].into())).collect())
    };
    run.keeper.hear_orders(news(&asked[0], shows(&[(apex, "wild"), (host, "an older one")])), run.now);
    assert_eq!(run.asked(), []);
    run.now += 120;
    assert!(!run.keeper.tick_orders(run.now), "nothing is published otherwise");
    let again = run.servers();
    assert_eq!(again.len(), 1);
    run.keeper.hear_orders(news(&again[0], shows(&[(apex, "wild"), (host, "host")])), run.now);
    assert!(matches!(&run.asked()[..], [ca::Action::SayReady { .. }]));
    // A restart goes on with the same order.
    let Run { place, keeper, now, .. } = run;
    let config = keeper.config.clone();
    drop(keeper);
    let store = Store::open(&place.path("state")).unwrap();
    let mut keeper = Keeper::new(config, store, false, now).unwrap();
    let orders = keeper.order_orders();
    let mut run = Run { place, keeper, orders, now };
    run.cycle();
    run.cycle();
    assert_eq!(run.texts("example.test", host), set(&["host"]));
    run.hear(Event::Held(None));
    let asked = run.asked();
    assert!(!asked.iter().any(|action| matches!(action, ca::Action::Order { .. })), "{asked:?}");
    // The CA has looked.
    run.hear(Event::Status { url: "https://ca.test/1".to_owned(), status: Status::Ready });
    assert_eq!(run.texts("example.test", apex), set(&["another client's"]));
    assert_eq!(run.texts("example.test", host), set(&[]));
}

#[test]
fn caa_that_forbids_is_told_with_the_record_and_nothing_is_ordered() {
    let mut run =
        Run::new(&format!("{ZONE}@ CAA 0 issue \"other.example\"\n@ CAA 0 issuewild \"letsencrypt.org\"\n"), "");
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), [], "of the host `issue` counts");
    run.cycle();
    assert!(has_problem(&run.keeper, "example.test. CAA 0 issue \"letsencrypt.org\""), "{:?}", run.keeper.problems);
    run.place.zone("example.test", &format!("{ZONE}@ CAA 0 issue \"letsencrypt.org\"\n@ CAA 0 issuewild \";\"\n"));
    run.cycle();
    run.keeper.say_to_orders(&name(HOST), OrderWord::Order, run.now).unwrap();
    run.cycle();
    assert_eq!(run.asked(), [], "of the wildcard `issuewild` does");
    run.place.zone("example.test", &format!("{ZONE}@ CAA 0 issue \"LetsEncrypt.org; x=1\"\n"));
    run.cycle();
    run.keeper.say_to_orders(&name(HOST), OrderWord::Order, run.now).unwrap();
    run.cycle();
    assert!(matches!(&run.asked()[..], [ca::Action::Order { .. }]));
}

#[test]
fn an_alias_is_followed_into_another_zone_and_what_can_t_be_proven_is_told() {
    let zone = format!("{ZONE}_acme-challenge CNAME proofs.other.test.\n");
    let mut run = Run::new(&zone, "[[certificate]]\nhost = \"mail.elsewhere.test\"\n");
    run.place.zone("other.test", &ZONE.replace("mail A 192.0.2.25\n", "")[..]);
    run.cycle();
    run.hear(Event::Held(None));
    run.ordered();
    assert_eq!(run.texts("other.test", "proofs.other.test"), set(&["wild"]));
    assert_eq!(run.texts("example.test", "_acme-challenge.mail.example.test"), set(&["host"]));
    assert!(has_problem(&run.keeper, "the zone of _acme-challenge.mail.elsewhere.test is not served here"));
    let word = run.keeper.say_to_orders(&name("nobody.test"), OrderWord::Order, run.now).unwrap_err();
    assert!(word.contains("no [[certificate]]"), "{word}");
}

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
    assert_eq!(run.mails(&mut orders).len(), 1, "of what is published");
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
