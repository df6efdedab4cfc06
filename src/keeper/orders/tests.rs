//! What the keeper does for orders: proofs in the right zones beside others', nameservers asked, CAA looked at, words.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::acme::{Event, Proof, Status};
use crate::act::acme::directory::Authority;
use crate::dns::{Rdata, Rtype};
use crate::keeper::Finished;
use crate::keeper::tests::{CONFIG, NOW, Place, ZONE, has_problem, name};
use crate::observe::nameservers::NotShown;
use crate::observe::outside::elsewhere::{self as names, Found, Question};

pub(super) const HOST: &str = "mail.example.test";
const SECOND: &str = "192.0.2.54:5300";

/// A keeper that wants a certificate, and what it asks for.
pub(super) struct Run {
    pub(super) place: Place,
    pub(super) keeper: Keeper,
    pub(super) orders: OrderOrders,
    pub(super) now: Timestamp,
    /// What the CA says of itself.
    authority: Authority,
    /// What the resolver finds; of anything else nothing.
    resolver: BTreeMap<Question, Result<Found, String>>,
    /// What it was asked.
    questions: Vec<Question>,
}

impl Run {
    pub(super) fn new(zone: &str, more: &str) -> Run {
        Run::with(zone, "*.example.test", more)
    }

    /// With another name besides the host's.
    fn with(zone: &str, other: &str, more: &str) -> Run {
        let place = Place::new();
        place.zone("example.test", zone);
        let config = format!(
            "listen = [\"192.0.2.53:53\"]\n{CONFIG}[zone.\"example.test\"]\nnameservers = [\"192.0.2.53:53\", \"{SECOND}\"]\n\
             [acme]\nagree-to-terms = true\n[[certificate]]\nhost = \"{HOST}\"\nnames = [\"{other}\"]\n{more}"
        );
        let mut keeper = place.keeper(&config, NOW);
        let orders = keeper.order_orders();
        let mut run = Run::of(place, keeper, orders, NOW);
        run.cycle();
        assert_eq!(run.asked(), [], "before it is known what lies in the folder");
        run
    }

    fn of(place: Place, keeper: Keeper, orders: OrderOrders, now: Timestamp) -> Run {
        let (authority, resolver) = (Authority::default(), BTreeMap::new());
        Run { place, keeper, orders, now, authority, resolver, questions: Vec::new() }
    }

    pub(super) fn cycle(&mut self) {
        self.now += 1;
        self.keeper.cycle(&Finished::All, self.now);
        self.answer();
    }

    /// The CA and the resolver answer what they are asked.
    fn answer(&mut self) {
        loop {
            let mut news = Vec::new();
            while let Ok(settings) = self.orders.directories.try_recv() {
                let (directory, said) = (settings.directory.clone(), Ok(self.authority.clone()));
                news.push(OrderNews::Directory(ca::directory::News { directory, said }));
            }
            while let Ok(names::Order { question, .. }) = self.orders.elsewhere.try_recv() {
                let said = self.resolver.get(&question).cloned().unwrap_or(found(&[]));
                self.questions.push(question.clone());
                news.push(OrderNews::Elsewhere(names::News { question, said }));
            }
            if news.is_empty() {
                return;
            }
            if self.keeper.hear_orders(news, self.now) {
                self.now += 1;
                self.keeper.cycle(&Finished::All, self.now);
            }
        }
    }

    /// The operator's word.
    fn order(&mut self) {
        self.keeper.say_to_orders(&name(HOST), OrderWord::Order, self.now).unwrap();
        self.cycle();
    }

    fn tick(&mut self, seconds: u64) {
        self.now += seconds;
        self.keeper.tick_orders(self.now);
        self.cycle();
    }

    /// What the CA is asked for.
    pub(super) fn asked(&mut self) -> Vec<Task> {
        let all = std::iter::from_fn(|| self.orders.ca.try_recv().ok()).map(|order| order.task);
        all.filter(|task| !matches!(task, Task::Look | Task::MakeNextKey)).collect()
    }

    /// The nameservers that are asked, and for what.
    fn servers(&mut self) -> Vec<texts::Order> {
        std::iter::from_fn(|| self.orders.texts.try_recv().ok()).collect()
    }

    pub(super) fn hear(&mut self, event: Event) {
        let id = Id { host: name(HOST), key_type: KeyType::Ecdsa };
        self.now += 1;
        self.keeper.hear_orders(vec![OrderNews::Ca(ca::News { id, event })], self.now);
        self.cycle();
    }

    fn ordered(&mut self) -> Vec<Proof> {
        self.ordered_of("example.test")
    }

    fn ordered_of(&mut self, other: &str) -> Vec<Proof> {
        let proof = |at: &str, value: &str| Proof { name: name(at), value: value.to_owned() };
        let proofs = vec![proof(other, "wild"), proof(HOST, "host")];
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

fn found(records: &[Rdata]) -> Result<Found, String> {
    Ok(Found { records: records.to_vec(), alias: None })
}

fn alias(to: &str) -> Result<Found, String> {
    found(&[name(to).as_wire().into()])
}

fn caa(tag: &str, value: &str) -> Rdata {
    [&[0, tag.len() as u8], tag.as_bytes(), value.as_bytes()].concat().into()
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
    let mut run = Run::of(place, keeper, orders, now);
    run.cycle();
    run.cycle();
    assert_eq!(run.texts("example.test", host), set(&["host"]));
    run.hear(Event::Held(None));
    let asked = run.asked();
    assert!(!asked.iter().any(|action| matches!(action, Task::Order { .. })), "{asked:?}");
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
    run.order();
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

#[test]
fn caa_above_the_zones_here_is_asked_for_and_what_can_t_be_told_forbids_nothing() {
    let mut run = Run::new(ZONE, "");
    run.resolver.insert(Question::Caa(name("test")), found(&[caa("issue", "other.example")]));
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), []);
    assert_eq!(run.questions, [Question::Caa(name("test"))], "what is here is not asked for, and the root has none");
    run.cycle();
    let line = "add test. CAA 0 issue \"letsencrypt.org\" in its zone, which is served elsewhere";
    assert!(has_problem(&run.keeper, line), "{:?}", run.keeper.problems);
    run.resolver.insert(Question::Caa(name("test")), Err("SERVFAIL".to_owned()));
    run.order();
    assert_eq!(run.asked(), [], "what was found before counts on");
    run.resolver.insert(Question::Caa(name("test")), found(&[]));
    run.order();
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
    let mut run = Run::new(ZONE, "");
    run.resolver.insert(Question::Caa(name("test")), Err("SERVFAIL".to_owned()));
    run.hear(Event::Held(None));
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
}

#[test]
fn caa_goes_by_the_names_that_the_ca_says_and_by_the_account() {
    let zone = |value: &str| format!("{ZONE}@ CAA 0 issue \"{value}\"\n");
    let mut run = Run::new(&zone("letsencrypt.org"), "");
    run.authority.identities = vec!["ca.example".to_owned(), "ca.test".to_owned()];
    run.authority.account = Some("https://ca.example/acct/1".to_owned());
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), [], "the CA says another name of itself");
    run.cycle();
    assert!(has_problem(&run.keeper, "add example.test. CAA 0 issue \"ca.example\""), "{:?}", run.keeper.problems);
    for (value, is_allowed) in [
        ("ca.test; accounturi=https://ca.example/acct/2", false),
        ("ca.test; validationmethods=http-01", false),
        ("ca.test; validationmethods=dns-01; accounturi=https://ca.example/acct/1", true),
    ] {
        run.place.zone("example.test", &zone(value));
        run.cycle();
        run.order();
        assert_eq!(!run.asked().is_empty(), is_allowed, "{value}");
    }
}

#[test]
fn a_name_whose_zone_is_elsewhere_is_proven_by_an_alias_into_a_zone_here() {
    const SHOP: &str = "shop.elsewhere.example";
    let owner = Question::Alias(name("_acme-challenge.shop.elsewhere.example"));
    let mut run = Run::with(ZONE, SHOP, "");
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), [], "nothing is asked of the CA");
    run.cycle();
    let record = "_acme-challenge.shop.elsewhere.example. CNAME shop.elsewhere.example._acme-challenge.example.test.";
    assert!(has_problem(&run.keeper, record), "{:?}", run.keeper.problems);
    // An alias that leads on to somebody else's.
    run.resolver.insert(owner.clone(), alias("proofs.another.example"));
    run.tick(301);
    run.cycle();
    let on = "leads to proofs.another.example, whose zone is not served here: add proofs.another.example. CNAME";
    assert!(has_problem(&run.keeper, on), "{:?}", run.keeper.problems);
    run.resolver.insert(Question::Alias(name("proofs.another.example")), alias("shop.proofs.example.test"));
    run.order();
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
    run.ordered_of(SHOP);
    assert_eq!(run.texts("example.test", "shop.proofs.example.test"), set(&["wild"]));
    assert_eq!(run.texts("example.test", "_acme-challenge.mail.example.test"), set(&["host"]));
    let host = name("_acme-challenge.mail.example.test");
    let asked = run.servers();
    assert_eq!((asked.len(), &asked[0].owners[..]), (1, &[host.clone(), name("shop.proofs.example.test")][..]));
    // As long as a nameserver lacks it the alias is asked for again, and the proof goes where it leads by then.
    let lacks = texts::News { host: name(HOST), label: asked[0].label.clone(), shown: Ok(BTreeMap::new()) };
    run.resolver.insert(owner, alias("other.proofs.example.test"));
    run.keeper.hear_orders(vec![OrderNews::Texts(lacks)], run.now);
    run.tick(120);
    assert_eq!(run.texts("example.test", "other.proofs.example.test"), set(&["wild"]));
    assert_eq!(run.texts("example.test", "shop.proofs.example.test"), set(&[]));
    let asked = run.servers();
    assert_eq!((asked.len(), &asked[0].owners[..]), (1, &[host, name("other.proofs.example.test")][..]));
}

#[test]
fn a_long_negative_ttl_of_a_zone_with_proofs_is_told() {
    const PART: &str =
        "zone example.test.: a resolver of the CA that asks for a proof before it is there holds for 7200 s";
    let zone = |ttl: u32, minimum: u32| {
        ZONE.replace("$TTL 300", &format!("$TTL {ttl}")).replace("1209600 300", &format!("1209600 {minimum}"))
    };
    let mut run = Run::new(&zone(7200, 86_400), "");
    assert!(has_problem(&run.keeper, PART), "{:?}", run.keeper.problems);
    for (ttl, minimum) in [(86_400, 3600), (3600, 86_400)] {
        run.place.zone("example.test", &zone(ttl, minimum));
        run.cycle();
        assert!(!has_problem(&run.keeper, "that there is none"), "{:?}", run.keeper.problems);
    }
}

#[test]
fn an_alias_that_can_t_be_looked_up_is_asked_for_again_soon_and_one_that_was_seen_counts_on() {
    let owner = Question::Alias(name("_acme-challenge.shop.elsewhere.example"));
    let mut run = Run::with(ZONE, "shop.elsewhere.example", "");
    run.resolver.insert(owner, alias("proofs.another.example"));
    let owner = Question::Alias(name("proofs.another.example"));
    run.resolver.insert(owner.clone(), Err("no answer in time".to_owned()));
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), []);
    run.cycle();
    assert!(has_problem(&run.keeper, "whether an alias is there can't be told: no answer in time"));
    assert!(!has_problem(&run.keeper, "needs the operator"), "{:?}", run.keeper.problems);
    run.resolver.insert(owner.clone(), alias("proofs.example.test"));
    run.tick(120);
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
    run.ordered_of("shop.elsewhere.example");
    run.resolver.insert(owner, Err("no answer in time".to_owned()));
    run.tick(120);
    assert_eq!(run.texts("example.test", "proofs.example.test"), set(&["wild"]));
}

#[test]
fn what_is_delegated_from_a_zone_here_is_elsewhere() {
    let zone = format!("{ZONE}sub NS ns.elsewhere.example.\n_acme-challenge.sub TXT \"nobody sees it\"\n");
    let mut run = Run::with(&zone, "sub.example.test", "");
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), []);
    run.cycle();
    let record = "add _acme-challenge.sub.example.test. CNAME sub.example.test._acme-challenge.example.test. there";
    assert!(has_problem(&run.keeper, record), "{:?}", run.keeper.problems);
    let target = alias("sub.example.test._acme-challenge.example.test");
    run.resolver.insert(Question::Alias(name("_acme-challenge.sub.example.test")), target);
    run.order();
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]));
    let asked = |run: &Run, question| run.questions.contains(&question);
    assert!(asked(&run, Question::Caa(name("sub.example.test"))) && !asked(&run, Question::Caa(name("example.test"))));
}

#[test]
fn the_caa_of_an_alias_are_those_of_its_target_and_else_those_above_the_alias() {
    let zone = format!(
        "{ZONE}www CNAME target.example.test.\nalias CNAME www.elsewhere.example.\n@ CAA 0 issue \"letsencrypt.org\"\n"
    );
    let target = "target A 192.0.2.80\ntarget CAA 0 issue \";\"\n";
    let mut run = Run::with(&format!("{zone}{target}"), "www.example.test", "");
    run.hear(Event::Held(None));
    assert_eq!(run.asked(), []);
    run.cycle();
    assert!(
        has_problem(&run.keeper, "add target.example.test. CAA 0 issue \"letsencrypt.org\""),
        "{:?}",
        run.keeper.problems
    );
    let mut run = Run::with(&zone, "alias.example.test", "");
    let question = Question::Caa(name("www.elsewhere.example"));
    run.resolver.insert(question.clone(), found(&[caa("issue", ";")]));
    run.hear(Event::Held(None));
    assert_eq!((run.asked(), &run.questions[..]), (vec![], &[question.clone()][..]));
    run.resolver.insert(question, found(&[]));
    run.order();
    assert!(matches!(&run.asked()[..], [Task::Order { .. }]), "what is above the alias counts, not above its target");
}
