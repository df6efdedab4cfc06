//! The keeper over real files and a time that the tests say.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::dane::explain::Status;
use crate::dns::Rtype;
use crate::dns::dnssec::{RrsigFields, Signer};

pub(super) const NOW: Timestamp = 1_800_000_000;
pub(super) const DAY: u64 = 86_400;
pub(super) const ZONE: &str = "$TTL 300\n@ SOA ns hostmaster 100 7200 3600 1209600 300\n NS ns\n MX 10 mail\n TXT \"v=spf1 mx -all\"\n\
                    ns A 192.0.2.25\nmail A 192.0.2.25\n_dmarc TXT \"v=DMARC1; p=reject\"\n\
                    s1._domainkey TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";
pub(super) const CONFIG: &str =
    "addresses = [\"192.0.2.25\"]\n[dane]\ndnssec = \"zone\"\nmail-service = \"declared\"\nttl = \"1h\"\n";

pub(super) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        for folder in ["zones", "certs"] {
            fs::create_dir(place.path(folder)).unwrap();
        }
        place.zone("example.test", ZONE);
        place.certificate("mail.pem");
        place
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn zone(&self, origin: &str, text: &str) {
        fs::write(self.path(&format!("zones/{origin}.zone")), text).unwrap();
    }

    pub(super) fn certificate(&self, file: &str) {
        let made = rcgen::generate_simple_self_signed(["mail.example.test".to_owned()]).unwrap();
        fs::write(self.path("certs").join(file), made.cert.pem()).unwrap();
    }

    /// A certificate with a key that there is, which lies beside it then.
    pub(super) fn renew(&self, stem: &str, key: &rcgen::KeyPair) {
        let params = rcgen::CertificateParams::new(vec!["mail.example.test".to_owned()]).unwrap();
        let made = params.self_signed(key).unwrap();
        let _ = fs::remove_file(self.path("certs").join(format!("{stem}.key.next")));
        fs::write(self.path("certs").join(format!("{stem}.key")), key.serialize_pem()).unwrap();
        fs::write(self.path("certs").join(format!("{stem}.pem")), made.pem()).unwrap();
    }

    /// A certificate with its key beside it.
    pub(super) fn pair(&self, stem: &str) {
        let made = rcgen::generate_simple_self_signed(["mail.example.test".to_owned()]).unwrap();
        fs::write(self.path("certs").join(format!("{stem}.key")), made.signing_key.serialize_pem()).unwrap();
        fs::write(self.path("certs").join(format!("{stem}.pem")), made.cert.pem()).unwrap();
    }

    pub(super) fn keeper(&self, config: &str, now: Timestamp) -> Keeper {
        let config = Config::parse(config, "danelaw.toml", self.folder.path()).unwrap();
        let store = Store::open(&self.path("state")).unwrap();
        let mut keeper = Keeper::new(config, store, false, now).unwrap();
        keeper.cycle(&Finished::All, now);
        // The next look knows that what was decided is served.
        keeper.cycle(&Finished::All, now);
        keeper
    }
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn tlsa(keeper: &Keeper) -> usize {
    let zone = &keeper.zones[&name("example.test")];
    let published = zone.published().unwrap();
    published.set(&name("_25._tcp.mail.example.test"), Rtype::TLSA).map_or(0, |set| set.rrset.rdatas.len())
}

fn serial(keeper: &Keeper) -> u32 {
    keeper.zones[&name("example.test")].published().unwrap().serial
}

fn rrsigs(keeper: &Keeper) -> Vec<Vec<u8>> {
    let published = keeper.zones[&name("example.test")].published().unwrap();
    published.sets().flat_map(|(_, set)| set.rrsigs).map(Vec::from).collect()
}

/// What a client hears: the response code, and how many answers.
fn ask(keeper: &Keeper, owner: &str, rtype: Rtype) -> (u8, u16) {
    let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(name(owner).as_wire());
    query.extend_from_slice(&rtype.0.to_be_bytes());
    query.extend_from_slice(&[0, 1]);
    let mut out = vec![0; 65_535];
    let context = crate::answer::Context::new([192, 0, 2, 1].into(), crate::answer::Transport::Tcp, NOW);
    crate::answer::answer(&keeper.published.load(), &context, &query, &mut out).unwrap();
    (out[3] & 15, u16::from_be_bytes([out[6], out[7]]))
}

pub(super) fn has_problem(keeper: &Keeper, part: &str) -> bool {
    keeper.problems.iter().any(|problem| problem.contains(part))
}

#[test]
fn keys_that_can_not_be_looked_at_are_not_keys_that_are_gone() {
    let place = Place::new();
    drop(place.keeper(CONFIG, NOW));
    fs::rename(place.path("keys"), place.path("keys.away")).unwrap();
    fs::write(place.path("keys"), "not a folder").unwrap();
    let mut keeper = place.keeper(CONFIG, NOW + 60);
    assert_eq!(ask(&keeper, "example.test", Rtype::SOA).0, 2, "never unsigned");
    assert!(has_problem(&keeper, "keys"));
    assert!(
        keeper.dane.hosts[&name("mail.example.test")].publications[&name("_25._tcp.mail.example.test")].loss.is_none(),
        "unknown is not missing"
    );
    fs::remove_file(place.path("keys")).unwrap();
    fs::rename(place.path("keys.away"), place.path("keys")).unwrap();
    keeper.cycle(&Finished::none(), NOW + 120);
    assert_eq!((ask(&keeper, "example.test", Rtype::SOA).0, tlsa(&keeper)), (0, 1));
}

#[test]
fn a_clock_that_was_ahead_leaves_no_signature_of_the_future() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW + 400 * DAY);
    keeper.cycle(&Finished::none(), NOW);
    for rrsig in rrsigs(&keeper) {
        let fields = RrsigFields::parse(&rrsig).unwrap();
        assert!(u64::from(fields.inception) <= NOW && u64::from(fields.expiration) > NOW + DAY);
    }
}

#[test]
fn a_clock_of_1970_signs_nothing_and_keeps_what_is_signed() {
    let place = Place::new();
    let before = rrsigs(&place.keeper(CONFIG, NOW));
    let mut keeper = place.keeper(CONFIG, 100_000);
    assert_eq!(rrsigs(&keeper), before);
    place.zone("example.test", &ZONE.replace("100 7200", "101 7200"));
    keeper.cycle(&Finished::All, 100_060);
    assert_eq!((rrsigs(&keeper), serial(&keeper)), (before, 100), "the last good version stays");
    assert!(has_problem(&keeper, "the clock says 1970"));
    keeper.cycle(&Finished::All, NOW + 60);
    assert!(serial(&keeper) > 100);
}

#[test]
fn an_old_record_is_not_counted_down_while_the_new_one_is_not_served() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    fs::rename(place.path("keys"), place.path("keys.away")).unwrap();
    fs::create_dir(place.path("keys")).unwrap();
    place.certificate("mail.pem");
    let mut now = NOW;
    while now < NOW + 2 * DAY {
        now += 300;
        keeper.cycle(&Finished::All, now);
    }
    assert_eq!(tlsa(&keeper), 1, "the zone can't be signed");
    fs::remove_dir(place.path("keys")).unwrap();
    fs::rename(place.path("keys.away"), place.path("keys")).unwrap();
    keeper.cycle(&Finished::All, now + 300);
    assert_eq!(tlsa(&keeper), 2, "both, and from now on for a day");
    for step in 0..=2 * DAY / 300 {
        keeper.cycle(&Finished::All, now + 600 + step * 300);
    }
    assert_eq!(tlsa(&keeper), 1);
}

#[test]
fn a_zone_file_counts_when_its_write_is_finished() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    place.zone("example.test", &ZONE[..80]);
    let cycle = keeper.cycle(&Finished::none(), NOW + 10);
    assert_eq!((serial(&keeper), cycle.next), (100, NOW + 12), "under way: looked at again soon");
    place.zone("example.test", &ZONE.replace("100 7200", "200 7200"));
    keeper.cycle(&Finished::none(), NOW + 12);
    assert_eq!(serial(&keeper), 100, "it changed once more");
    keeper.cycle(&Finished::none(), NOW + 14);
    assert_eq!(serial(&keeper), 200, "nothing moved for two seconds");
    place.zone("example.test", &ZONE.replace("100 7200", "300 7200"));
    let path = Finished::key(&place.path("zones/example.test.zone")).unwrap();
    keeper.cycle(&Finished::Only(BTreeSet::from([path])), NOW + 20);
    assert_eq!(serial(&keeper), 300, "the watcher saw it closed");
}

#[test]
fn a_served_parent_has_to_vouch_for_a_served_child() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    assert_eq!(tlsa(&keeper), 1);
    let child = "$TTL 300\n@ SOA ns.example.test. h 1 2 3 4 5\n NS ns.example.test.\n A 192.0.2.25\n";
    place.zone("mail.example.test", child);
    keeper.cycle(&Finished::All, NOW + 5);
    let status = |keeper: &Keeper| keeper.explain(&name("mail.example.test"), 0)[0].clone();
    assert!(status(&keeper).to_string().contains("does not delegate it"), "{}", status(&keeper));
    let ds = crate::dns::dnssec::ds(
        &name("mail.example.test"),
        keeper.zones[&name("mail.example.test")].keys.held()[0].dnskey(),
    );
    let ds = crate::dns::text::print_rdata(Rtype::DS, &ds);
    let parent = ZONE.replace("mail A 192.0.2.25\n", &format!("mail NS ns\n DS {ds}\n"));
    place.zone("example.test", &parent);
    keeper.cycle(&Finished::All, NOW + 10);
    assert!(matches!(status(&keeper).status, Status::Served(_)), "{}", status(&keeper));
}

#[test]
fn a_lost_state_does_not_send_the_serial_back() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    for number in 1..4 {
        place.zone("example.test", &format!("{ZONE}x{number} A 192.0.2.1\n"));
        keeper.cycle(&Finished::All, NOW + number);
    }
    assert_eq!(serial(&keeper), 103);
    drop(keeper);
    fs::remove_dir_all(place.path("state")).unwrap();
    assert_eq!(serial(&place.keeper(CONFIG, NOW + 60)), (NOW + 60) as u32);
}

#[test]
fn an_empty_zones_folder_is_no_farewell_and_a_removed_file_is_one() {
    let place = Place::new();
    place.zone("other.test", &ZONE.replace(" MX 10 mail\n", ""));
    place.zone("broken.test", "nonsense");
    let mut keeper = place.keeper(CONFIG, NOW);
    assert_eq!(ask(&keeper, "broken.test", Rtype::SOA).0, 2);
    for gone in ["other", "broken"] {
        fs::remove_file(place.path(&format!("zones/{gone}.test.zone"))).unwrap();
    }
    keeper.cycle(&Finished::All, NOW + 1);
    assert_eq!(ask(&keeper, "other.test", Rtype::SOA), (0, 1), "for a moment");
    keeper.cycle(&Finished::All, NOW + 20);
    assert_eq!((ask(&keeper, "other.test", Rtype::SOA).0, ask(&keeper, "broken.test", Rtype::SOA).0), (5, 5));

    fs::rename(place.path("zones"), place.path("zones.away")).unwrap();
    fs::create_dir(place.path("zones")).unwrap();
    keeper.cycle(&Finished::All, NOW + 100);
    keeper.cycle(&Finished::All, NOW + 200);
    assert_eq!((ask(&keeper, "example.test", Rtype::SOA), tlsa(&keeper)), ((0, 1), 1));
    drop(keeper);
    let keeper = place.keeper(CONFIG, NOW + 300);
    assert_eq!((ask(&keeper, "example.test", Rtype::SOA), tlsa(&keeper)), ((0, 1), 1), "over a restart too");
    assert!(has_problem(&keeper, "no zone file at all"));
    assert_eq!(ask(&keeper, "other.test", Rtype::SOA).0, 5);
}

#[test]
fn what_was_kept_of_many_zones_goes_behind_them_but_not_of_those_that_are_back() {
    let place = Place::new();
    let origin = |number: usize| format!("z{number}.test");
    (0..450).for_each(|number| place.zone(&origin(number), &ZONE.replace(" MX 10 mail\n", "")));
    let images = || fs::read_dir(place.path("state/images")).unwrap().count();
    let config = format!("{CONFIG}[signing]\nalgorithm = \"ed25519\"\n");
    let mut keeper = place.keeper(&config, NOW);
    keeper.cycle(&Finished::All, NOW + 2);
    assert_eq!(images(), 451);
    (0..450).for_each(|number| fs::remove_file(place.path(&format!("zones/{}.zone", origin(number)))).unwrap());
    keeper.cycle(&Finished::All, NOW + 10);
    let next = keeper.cycle(&Finished::All, NOW + 20).next;
    assert_eq!((keeper.zones.len(), images(), next), (1, 251, NOW + 21));
    place.zone(&origin(0), &ZONE.replace(" MX 10 mail\n", ""));
    keeper.cycle(&Finished::All, NOW + 21);
    keeper.cycle(&Finished::All, NOW + 22);
    assert_eq!((keeper.zones.len(), images()), (2, 2));
}

#[test]
fn what_is_lost_for_good_is_forgotten_on_the_operators_word() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    let host = name("mail.example.test");
    let fingerprint = keeper.dane.hosts[&host].keyset.known[0].chain.leaf().fingerprint();
    assert!(keeper.forget_certificate(&host, &fingerprint[..12], NOW).is_err(), "its file is there");
    fs::remove_file(place.path("certs/mail.pem")).unwrap();
    keeper.cycle(&Finished::All, NOW + 5);
    assert_eq!(tlsa(&keeper), 1, "a file that is gone changes nothing");
    keeper.forget_certificate(&host, &fingerprint[..12], NOW + 6).unwrap();
    keeper.cycle(&Finished::All, NOW + 6);
    assert_eq!(tlsa(&keeper), 0);

    let known = keeper.store.known_keys(&name("example.test")).unwrap();
    let key = format!("{:03}+{:05}", known[0].algorithm, known[0].tag);
    assert!(keeper.forget_key(&name("example.test"), &key, NOW).is_err(), "it is not lost");
    fs::remove_file(place.path("keys").join(&known[0].file)).unwrap();
    keeper.cycle(&Finished::All, NOW + 10);
    assert!(has_problem(&keeper, "danelaw keys forget"));
    keeper.forget_key(&name("example.test"), &key, NOW + 11).unwrap();
    keeper.cycle(&Finished::All, NOW + 11);
    assert!(!has_problem(&keeper, "gone from the key folder"));
    assert_ne!(keeper.store.known_keys(&name("example.test")).unwrap()[0].tag, known[0].tag);
}

#[test]
fn a_zone_that_is_signed_no_longer_does_not_send_its_serial_back() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    place.zone("example.test", &format!("{ZONE}x A 192.0.2.1\n"));
    keeper.cycle(&Finished::All, NOW + 1);
    assert_eq!(serial(&keeper), 101);
    let unsigned = format!("{CONFIG}[zone.\"example.test\"]\nsigning = \"none\"\n");
    keeper.configure(Config::parse(&unsigned, "danelaw.toml", place.folder.path()).unwrap());
    keeper.cycle(&Finished::All, NOW + 2);
    assert_eq!((serial(&keeper), rrsigs(&keeper).len()), (102, 0));
    place.zone("example.test", &format!("{ZONE}y A 192.0.2.1\n"));
    keeper.cycle(&Finished::All, NOW + 3);
    assert_eq!(serial(&keeper), 103);
}

#[test]
fn an_rrset_that_no_message_carries_costs_no_serial() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    let large: String = (0..300).map(|number| format!("large TXT \"{number} {}\"\n", "x".repeat(240))).collect();
    place.zone("example.test", &format!("{ZONE}{large}"));
    for step in 1..20 {
        keeper.cycle(&Finished::All, NOW + step);
    }
    assert!(has_problem(&keeper, "64 KiB"));
    assert_eq!(serial(&keeper), 100);
    place.zone("example.test", &format!("{ZONE}x A 192.0.2.1\n"));
    keeper.cycle(&Finished::All, NOW + 60);
    assert!(serial(&keeper) < 100 + 64, "{}", serial(&keeper));
}

#[test]
fn a_zone_that_was_gone_comes_back() {
    let place = Place::new();
    place.zone("other.test", &ZONE.replace(" MX 10 mail\n", ""));
    let mut keeper = place.keeper(CONFIG, NOW);
    fs::remove_file(place.path("zones/other.test.zone")).unwrap();
    keeper.cycle(&Finished::All, NOW + 1);
    keeper.cycle(&Finished::All, NOW + 20);
    assert_eq!(ask(&keeper, "other.test", Rtype::SOA).0, 5);
    place.zone("other.test", &ZONE.replace(" MX 10 mail\n", ""));
    let paths = BTreeSet::from([place.path("zones/other.test.zone")]);
    keeper.cycle_after(&Changed { paths, rescan: false }, NOW + 30);
    assert_eq!(ask(&keeper, "other.test", Rtype::SOA).0, 0);
}

#[test]
fn a_zone_whose_file_is_broken_is_known_to_be_stale_until_it_is_mended() {
    let place = Place::new();
    let mut keeper = place.keeper(CONFIG, NOW);
    assert!(keeper.published.load().stale().is_empty());
    place.zone("example.test", "nonsense");
    keeper.cycle(&Finished::All, NOW + 60);
    assert_eq!(keeper.published.load().stale(), [name("example.test")]);
    assert_eq!(ask(&keeper, "example.test", Rtype::SOA).0, 0, "the last good version is served");
    place.zone("example.test", ZONE);
    keeper.cycle(&Finished::All, NOW + 120);
    assert!(keeper.published.load().stale().is_empty());
}

#[test]
fn mail_domains_of_a_large_file_follow_its_mx_records() {
    let place = Place::new();
    let many: String = (0..9000).map(|n| format!("host-of-many-{n:05} A 192.0.2.1\n")).collect();
    let large = format!("{ZONE}{many}");
    place.zone("example.test", &large);
    let mut keeper = place.keeper(CONFIG, NOW);
    let mut domains = |more: &str| -> Vec<String> {
        place.zone("example.test", &format!("{large}{more}"));
        keeper.cycle(&Finished::All, NOW + 60);
        keeper.explained(NOW).iter().map(|one| one.assessments.len().to_string() + " " + &one.host.to_host()).collect()
    };
    let one = ["1 mail.example.test"];
    assert_eq!(domains(""), one);
    assert_eq!(domains("sub MX 10 mail\n"), ["2 mail.example.test"]);
    assert_eq!(domains("sub MX 10 ns\nsub MX 20 mail\n"), ["2 mail.example.test", "1 ns.example.test"]);
    assert_eq!(domains("sub NS ns\nsub MX 10 mail\n"), one, "a delegated name is nobody's domain here");
    assert_eq!(domains("sub MX 10 mail\n"), ["2 mail.example.test"]);
    assert_eq!(domains(""), one);
}

#[test]
fn a_state_in_one_document_is_taken_over_into_one_for_each_host() {
    let place = Place::new();
    let host = name("mail.example.test");
    let owner = name("_25._tcp.mail.example.test");
    let mut keeper = place.keeper(CONFIG, NOW);
    keeper.command(&host, true, NOW).unwrap();
    let state = keeper.dane.hosts[&host].clone();
    assert!(state.publications[&owner].withdrawn_by_operator);
    let document = serde_json::json!({
        "version": 1,
        "keysets": { host.to_string(): state.keyset },
        "publications": state.publications,
        "verdicts": state.verdicts,
    });
    drop(keeper);
    let mut store = Store::open(&place.path("state")).unwrap();
    assert!(store.remove("dane-host", &host.to_string()).unwrap());
    let document =
        crate::store::State { kind: "dane".to_owned(), key: "all".to_owned(), version: 1, json: document.to_string() };
    store.save(&document).unwrap();
    drop(store);
    for _ in 0..2 {
        let config = Config::parse(CONFIG, "danelaw.toml", place.folder.path()).unwrap();
        let keeper = Keeper::new(config, Store::open(&place.path("state")).unwrap(), false, NOW).unwrap();
        assert_eq!(keeper.dane.hosts[&host], state);
        assert_eq!(keeper.store.load("dane", "all").unwrap(), None);
    }
}

#[test]
fn what_is_served_knows_when_signatures_from_elsewhere_expire() {
    let place = Place::new();
    let rrsig = "@ 300 RRSIG SOA 13 2 300 20270116000000 20270101000000 1 @ AAAA\n";
    place.zone("example.test", &format!("{ZONE}{rrsig}"));
    let keeper = place.keeper(&format!("{CONFIG}[zone.\"example.test\"]\nsigning = \"none\"\n"), NOW);
    let snapshot = keeper.published.load();
    let zone = snapshot.zones().next().unwrap();
    assert!(!zone.has_expired(NOW) && zone.has_expired(NOW + DAY));
}
