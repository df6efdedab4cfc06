//! What the keeper does for orders: proofs in the right zones beside others', nameservers asked, CAA looked at, words.

use std::collections::BTreeSet;

use super::*;
use crate::acme::{Event, Proof};
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
    fn asked(&mut self) -> Vec<Task> {
        let all = std::iter::from_fn(|| self.orders.ca.try_recv().ok()).map(|order| order.task);
        all.filter(|task| !matches!(task, Task::Look | Task::MakeNextKey)).collect()
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
    assert!(matches!(&run.asked()[..], [Task::Order { names, .. }] if names.len() == 2));
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
    assert!(matches!(&run.asked()[..], [Task::SayReady { .. }]));
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
    assert!(!asked.iter().any(|action| matches!(action, Task::Order { .. })), "{asked:?}");
    // The CA has looked.
    run.hear(Event::Status { url: "https://ca.test/1".to_owned(), status: crate::acme::Status::Ready });
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
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]), "nobody has to say another word");
    assert!(!has_problem(&run.keeper, "CAA forbids"), "{:?}", run.keeper.problems);
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

#[test]
fn a_clock_that_is_put_back_keeps_nobody_waiting() {
    let mut run = Run::new(ZONE, "");
    run.hear(Event::Held(None));
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
    assert!(run.keeper.orders_due(run.now).unwrap() > run.now);
    let before = run.now - 365 * 86_400;
    assert_eq!(run.keeper.orders_due(before), Some(before));
    run.keeper.tick_orders(before);
    let due = run.keeper.orders_due(before).unwrap();
    assert!((before + 1..=before + CLOCKS).contains(&due), "{due} is not soon after {before}");
    assert_eq!(run.asked(), []);
}
