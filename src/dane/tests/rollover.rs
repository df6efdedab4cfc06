//! The rollover, rule by rule.

mod timeline;
mod zone;

use std::collections::BTreeSet;

use super::{chain, pem};
use crate::dane::rollover::{Action, Alarm, Chain, Event, Notice, Phase, Reading, Settings, State, Version, step};
use crate::dane::tlsa::{Parameters, Tlsa};

const TTL: u32 = 3600;
const EXPIRE: u32 = 604_800;
const DELEGATION: u32 = 172_800;
const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;

/// A host with its machine, driven by hand.
struct Host {
    state: State,
    now: Reading,
    settings: Settings,
    serial: u32,
    actions: Vec<Action>,
}

fn version(id: &str, pem: &str) -> Version {
    Version { id: id.to_owned(), chains: vec![Chain::of(&chain(pem))] }
}

fn old() -> Version {
    version("old", pem!("p256"))
}

fn new() -> Version {
    version("new", pem!("p256-next"))
}

fn record(version: &Version) -> Tlsa {
    version.chains[0].records.iter().find(|record| record.parameters == Parameters::DEFAULT).cloned().expect("3 1 1")
}

fn union(versions: &[Version]) -> Vec<Tlsa> {
    versions.iter().map(record).collect::<BTreeSet<_>>().into_iter().collect()
}

impl Host {
    /// Two servers and two addresses, and nothing else is known.
    fn new() -> Host {
        let settings = Settings {
            parameters: BTreeSet::from([Parameters::DEFAULT]),
            ttl: TTL,
            interval: DAY,
            expire: EXPIRE,
            delegation: DELEGATION,
            hook: true,
            vouched: false,
        };
        let now = Reading { wall: START, boot: 1000, boot_id: 1, synchronised: true };
        let mut host =
            Host { state: State::default(), now, settings: settings.clone(), serial: 1, actions: Vec::new() };
        let names = |names: [&str; 2]| names.map(str::to_owned).into();
        for event in [
            Event::Started,
            Event::Settings(settings),
            Event::Servers(names(["ns1", "ns2"])),
            Event::Addresses(names(["a1", "a2"])),
        ] {
            host.tell(event);
        }
        host
    }

    /// The old version is deployed, and nothing is out.
    fn begun() -> Host {
        let mut host = Host::new();
        host.tell(Event::Published { serial: 1, records: Vec::new(), ttl: TTL });
        host.tell(Event::Deployed(old()));
        host.tell(Event::Source(old()));
        host
    }

    /// Published and served.
    fn settled() -> Host {
        let mut host = Host::begun();
        host.present(&old());
        host.publish();
        host.show("ns1");
        host.show("ns2");
        assert_eq!(host.state.phase(), Phase::Idle);
        assert_eq!(host.wanted(), union(&[old()]));
        host
    }

    fn tell(&mut self, event: Event) {
        // Whatever is remembered goes through the store.
        let stored = serde_json::to_string(&self.state).expect("serialises");
        let state = serde_json::from_str(&stored).expect("reads back");
        let (state, actions) = step(state, event, self.now);
        self.state = state;
        self.actions.extend(actions);
    }

    fn pass(&mut self, seconds: u64) {
        self.now.wall += seconds;
        self.now.boot += seconds;
        self.tell(Event::Tick);
    }

    fn wanted(&self) -> Vec<Tlsa> {
        let published = self.actions.iter().rev().find_map(|action| match action {
            Action::Publish { records, .. } => Some(records.clone()),
            _ => None,
        });
        published.expect("something was published")
    }

    fn publish(&mut self) {
        self.serial += 1;
        self.tell(Event::Published { serial: self.serial, records: self.wanted(), ttl: TTL });
    }

    fn show(&mut self, server: &str) {
        let (server, records) = (server.to_owned(), self.wanted());
        self.tell(Event::Shows { server, serial: self.serial, records, ttl: TTL });
    }

    fn show_old(&mut self, server: &str) {
        self.tell(Event::Shows { server: server.to_owned(), serial: 2, records: union(&[old()]), ttl: TTL });
    }

    fn present(&mut self, version: &Version) {
        for address in ["a1", "a2"] {
            self.present_at(address, version);
        }
    }

    fn present_at(&mut self, address: &str, version: &Version) {
        let chain = version.chains[0].fingerprint.clone();
        self.tell(Event::Presents { address: address.to_owned(), chain });
    }

    /// Answers whatever is asked now, as everything stands.
    fn answer(&mut self) {
        self.show("ns1");
        self.show("ns2");
        self.present(&old());
    }

    fn installs(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, Action::Install { .. }))
    }

    /// Publishes both and shows them everywhere.
    fn rolling() -> Host {
        let mut host = Host::settled();
        host.tell(Event::Source(new()));
        assert_eq!(host.wanted(), union(&[old(), new()]));
        host.publish();
        host.show("ns1");
        assert_eq!(host.state.phase(), Phase::Publishing);
        host.show("ns2");
        assert_eq!(host.state.phase(), Phase::Holding);
        host
    }

    /// Installed, and the hook has run.
    fn reloaded() -> Host {
        let mut host = Host::rolling();
        host.pass(DAY);
        host.answer();
        assert!(host.installs());
        host.tell(Event::Installed { version: "new".to_owned() });
        host.tell(Event::HookDone { version: "new".to_owned() });
        host
    }
}

#[test]
fn a_rollover_goes_from_the_source_to_the_retirement_of_the_old_one() {
    let mut host = Host::rolling();
    host.pass(DAY - 1);
    host.answer();
    assert!(!host.installs());
    host.pass(1);
    host.answer();
    assert!(host.installs());
    host.tell(Event::Installed { version: "new".to_owned() });
    assert_eq!(host.state.phase(), Phase::Reloading);
    assert!(host.actions.contains(&Action::RunHook { version: "new".to_owned() }));
    host.present(&new());
    assert_eq!(host.state.phase(), Phase::Reloading);
    host.tell(Event::HookDone { version: "new".to_owned() });
    host.present_at("a1", &new());
    assert_eq!(host.state.phase(), Phase::Confirming);
    host.present_at("a2", &new());
    assert_eq!(host.state.phase(), Phase::Draining);
    host.pass(2 * u64::from(TTL) - 1);
    host.present(&new());
    assert_eq!(host.wanted(), union(&[old(), new()]));
    host.pass(1);
    assert_eq!(host.wanted(), union(&[new()]));
    assert!(host.actions.contains(&Action::Retire { version: "old".to_owned() }));
    assert!(host.actions.contains(&Action::Tell(Notice::Finished("new".to_owned()))));
    assert_eq!(host.state.phase(), Phase::Idle);
}

#[test]
fn the_hold_runs_from_the_last_server_and_old_data_starts_it_again() {
    let mut host = Host::settled();
    host.tell(Event::Source(new()));
    host.publish();
    host.show("ns1");
    host.pass(DAY);
    host.show_old("ns2");
    host.pass(10);
    host.show("ns2");
    host.pass(DAY - 20);
    host.show_old("ns1");
    host.answer();
    host.pass(DAY - 1);
    host.answer();
    assert!(!host.installs());
    host.pass(1);
    host.answer();
    assert!(host.installs());
}

#[test]
fn a_dead_server_blocks_until_its_zone_has_expired_and_the_caches_are_empty() {
    let mut host = Host::settled();
    host.tell(Event::Source(new()));
    host.publish();
    host.show("ns1");
    let dead = |host: &mut Host| host.tell(Event::Unreachable { server: "ns2".to_owned() });
    dead(&mut host);
    host.pass(u64::from(EXPIRE + 2 * TTL) - 1);
    assert!(host.state.alarms().contains(&Alarm::Unreachable("ns2".to_owned())));
    host.show("ns1");
    dead(&mut host);
    host.present(&old());
    assert!(!host.installs());
    host.pass(1);
    assert!(host.installs());
    assert!(host.state.alarms().contains(&Alarm::PassedOver("ns2".to_owned())));
}

#[test]
fn the_same_key_waits_for_nothing_under_3_1_1_and_holds_under_3_0_1() {
    let mut renewed = old();
    renewed.id = "renewed".to_owned();
    renewed.chains[0].fingerprint = "renewed".to_owned();
    for record in renewed.chains[0].records.iter_mut().filter(|record| record.parameters.to_string().starts_with("3 0"))
    {
        record.data = vec![0; 32];
    }
    let mut host = Host::settled();
    host.tell(Event::Source(renewed.clone()));
    host.answer();
    assert!(host.installs());

    let mut host = Host::settled();
    host.settings.parameters = BTreeSet::from(["3 0 1".parse().expect("parameters")]);
    host.tell(Event::Settings(host.settings.clone()));
    host.publish();
    host.tell(Event::Source(renewed));
    host.publish();
    host.answer();
    assert!(!host.installs());
    host.pass(DAY);
    host.answer();
    assert!(host.installs());
}

#[test]
fn a_key_long_published_waits_for_nothing() {
    let mut host = Host::settled();
    let mut key = Chain::of(&chain(pem!("p256-next")));
    key.records.retain(|record| record.parameters == Parameters::DEFAULT);
    host.tell(Event::NextKeys(vec![key]));
    assert_eq!(host.wanted(), union(&[old(), new()]));
    host.publish();
    host.answer();
    host.pass(DAY);
    host.tell(Event::Source(new()));
    host.answer();
    assert!(host.installs());
}

#[test]
fn new_parameters_begin_with_the_current_key() {
    let mut host = Host::rolling();
    host.settings.parameters = BTreeSet::from(["3 0 1".parse().expect("parameters")]);
    host.tell(Event::Settings(host.settings.clone()));
    let wanted = host.wanted();
    assert!(old().satisfies(&wanted) && new().satisfies(&wanted) && wanted.len() == 2);
}

#[test]
fn a_swap_by_somebody_else_is_published_at_once_and_removes_nothing() {
    let mut host = Host::settled();
    host.tell(Event::Deployed(new()));
    assert_eq!(host.wanted(), union(&[old(), new()]));
    assert!(host.state.alarms().contains(&Alarm::Swapped("new".to_owned())));
    // The mail server is not told while caches hold the old record alone.
    assert!(!host.actions.iter().any(|action| matches!(action, Action::RunHook { .. })));
    host.publish();
    host.answer();
    host.pass(DAY);
    assert!(host.actions.contains(&Action::RunHook { version: "new".to_owned() }));
}

#[test]
fn a_chain_that_only_a_probe_saw_is_told_of_and_never_published() {
    let mut host = Host::rolling();
    host.pass(DAY);
    host.show("ns1");
    host.show("ns2");
    host.tell(Event::Presents { address: "a1".to_owned(), chain: "an attacker's".to_owned() });
    host.present_at("a2", &old());
    assert!(host.state.alarms().contains(&Alarm::Mismatch("a1".to_owned())));
    assert_eq!(host.wanted(), union(&[old(), new()]));
    assert!(!host.installs());
}

#[test]
fn nothing_is_installed_or_removed_while_an_address_is_silent() {
    let silent = Event::Unasked { address: "a2".to_owned() };
    let mut host = Host::rolling();
    host.pass(DAY);
    host.tell(silent.clone());
    host.show("ns1");
    host.show("ns2");
    host.present_at("a1", &old());
    assert!(!host.installs());
    let mut host = Host::reloaded();
    host.present(&new());
    host.pass(u64::from(TTL));
    host.tell(silent);
    host.pass(DAY);
    host.present_at("a1", &new());
    assert_eq!(host.wanted(), union(&[old(), new()]));
}

#[test]
fn a_mail_server_that_may_have_no_certificate_yet_has_time_before_its_silence_is_told_of() {
    let silent = Event::Unasked { address: "a1".to_owned() };
    let of_silence = Alarm::Unasked("a1".to_owned());
    let mut host = Host::begun();
    host.tell(silent.clone());
    host.pass(300);
    assert!(!host.state.alarms().contains(&of_silence));
    assert!(host.state.next().is_some_and(|next| next <= START + 600));
    host.pass(300);
    assert!(host.state.alarms().contains(&of_silence));

    let mut host = Host::settled();
    host.tell(Event::Source(new()));
    host.tell(silent);
    assert!(host.state.alarms().contains(&of_silence), "records are out");
}

#[test]
fn a_hook_that_fails_is_tried_again_and_both_records_stay() {
    let mut host = Host::rolling();
    host.pass(DAY);
    host.answer();
    host.tell(Event::Installed { version: "new".to_owned() });
    host.tell(Event::HookFailed { version: "new".to_owned() });
    assert!(host.state.alarms().contains(&Alarm::HookFailed));
    host.present(&new());
    host.actions.retain(|action| matches!(action, Action::Publish { .. }));
    host.pass(DAY);
    assert!(host.actions.contains(&Action::RunHook { version: "new".to_owned() }));
    assert_eq!(host.wanted(), union(&[old(), new()]));
    host.tell(Event::HookDone { version: "new".to_owned() });
    assert!(!host.state.alarms().contains(&Alarm::HookFailed));
}

#[test]
fn what_was_asked_for_is_asked_for_again_after_a_start() {
    let mut host = Host::rolling();
    host.pass(DAY);
    host.answer();
    host.actions.clear();
    host.tell(Event::Started);
    assert!(host.installs());
    host.tell(Event::Installed { version: "new".to_owned() });
    let before = host.state.clone();
    host.tell(Event::Installed { version: "new".to_owned() });
    assert_eq!(host.state, before);
}

#[test]
fn a_newer_one_replaces_what_no_hold_has_begun_for_and_waits_behind_the_rest() {
    let newest = version("newest", pem!("rsa"));
    let mut host = Host::settled();
    host.tell(Event::Source(new()));
    host.tell(Event::Source(newest.clone()));
    assert_eq!(host.state.coming(), (Some("newest"), None));
    let mut host = Host::rolling();
    host.tell(Event::Source(newest));
    assert_eq!(host.state.coming(), (Some("new"), Some("newest")));
}

#[test]
fn the_operator_holds_gives_up_and_begins_again() {
    let mut host = Host::rolling();
    host.tell(Event::Hold);
    host.pass(2 * DAY);
    host.answer();
    assert!(!host.installs());
    host.tell(Event::Abort);
    assert_eq!(host.state.coming(), (None, None));
    host.tell(Event::Source(new()));
    assert_eq!(host.state.coming(), (None, None));
    host.tell(Event::Start);
    host.tell(Event::Resume);
    host.answer();
    assert!(host.installs());
    host.tell(Event::Abort);
    assert!(host.actions.iter().any(|action| matches!(action, Action::Tell(Notice::Refused(_)))));
}

#[test]
fn a_clock_that_leaps_ends_no_hold_and_one_that_is_set_back_repeats_none() {
    let mut host = Host::rolling();
    host.now.wall += 30 * DAY;
    host.pass(60);
    host.answer();
    assert!(!host.installs());
    assert!(host.actions.iter().any(|action| matches!(action, Action::Tell(Notice::ClockJumped(_)))));
    host.now.wall -= 60 * DAY;
    host.tell(Event::Tick);
    host.pass(DAY - 60);
    host.answer();
    assert!(host.installs());
}

#[test]
fn across_a_boot_the_wall_clock_counts_once_it_is_synchronised() {
    let mut host = Host::rolling();
    host.pass(3600);
    host.now = Reading { wall: START + 2 * DAY, boot: 10, boot_id: 2, synchronised: false };
    host.tell(Event::Started);
    host.answer();
    assert!(!host.installs());
    host.now.synchronised = true;
    host.tell(Event::Tick);
    host.answer();
    assert!(host.installs());
}

#[test]
fn another_version_of_the_stored_form_is_refused() {
    let stored = serde_json::to_string(&State::default()).expect("serialises");
    assert!(serde_json::from_str::<State>(&stored.replacen("\"version\":1", "\"version\":2", 1)).is_err());
}
