//! The machine, rule by rule.

use super::{
    Action, DAY, Event, HOUR, Machine, Phase, Reading, START, Settings, Status, Step, Task, held, is_order, names,
    problem, proofs, prove, settings,
};
use crate::acme::{Alarm, Notice, State, Why};

#[test]
fn an_order_goes_from_caa_to_the_folder() {
    let mut machine = Machine::with(settings(), None);
    machine.tell(Event::NextKey);
    assert_eq!(machine.state.phase(), Phase::Checking);
    assert!(machine.take().contains(&Action::AskCaa { names: settings().names }));
    machine.tell(Event::MayIssue(Ok(())));
    assert_eq!(machine.take(), [Action::Do(Task::Order { names: settings().names, replaces: None, profile: None })]);
    machine.tell(Event::Ordered { url: "order 1".to_owned(), proofs: proofs() });
    assert_eq!(machine.take(), [prove(proofs()), Action::AskNameservers { proofs: proofs() }]);
    machine.tell(Event::Shown { proofs: proofs() });
    assert_eq!(machine.take(), [Action::Do(Task::SayReady { url: "order 1".to_owned() })]);
    machine.status(Status::Pending);
    assert_eq!(machine.take(), []);
    assert_eq!(machine.sleep(DAY), 2);
    assert_eq!(machine.take(), [Action::Do(Task::AskStatus { url: "order 1".to_owned() })]);
    machine.status(Status::Ready);
    let names = settings().names;
    assert_eq!(
        machine.take(),
        [prove(vec![]), Action::Do(Task::Finalize { url: "order 1".to_owned(), names, reuse: false })]
    );
    machine.status(Status::Processing);
    machine.sleep(DAY);
    machine.status(Status::Valid);
    assert_eq!(machine.take()[1..], [Action::Do(Task::Store { url: "order 1".to_owned(), names: settings().names })]);
    machine.tell(Event::Stored(held(1, START - HOUR, 90 * DAY)));
    let stored = Action::Tell(Notice::Stored { why: Why::First, not_after: START - HOUR + 90 * DAY });
    let ari = Action::Do(Task::AskWindow { ari_id: "ari 1".to_owned() });
    assert_eq!(machine.take(), [stored, ari, Action::Do(Task::MakeNextKey)]);
    assert_eq!(machine.state.phase(), Phase::Resting);
}

#[test]
fn nothing_is_asked_for_before_settings_and_folder_are_known() {
    let mut machine = Machine::at(Phase::Proving);
    machine.take();
    machine.tell(Event::Started);
    let look = Action::Do(Task::Look);
    assert_eq!(machine.take(), [prove(proofs()), look.clone()], "the proofs stand in the zones all the same");
    machine.tell(Event::Settings(settings()));
    assert_eq!(
        machine.until(|action| *action == look),
        660,
        "what is not answered is asked for again, later and later"
    );
    machine.fail(Step::Look, "");
    assert_eq!(machine.until(|action| *action == look), 120);
    machine.tell(Event::Held(None));
    assert!(machine.take().contains(&Action::AskNameservers { proofs: proofs() }));
}

#[test]
fn an_order_is_resumed_after_a_restart_in_each_phase_and_not_repeated() {
    let url = || "order 1".to_owned();
    for (phase, action) in [
        (Phase::Proving, Action::AskNameservers { proofs: proofs() }),
        (Phase::Validating, Action::Do(Task::AskStatus { url: url() })),
        (Phase::Finalizing, Action::Do(Task::AskStatus { url: url() })),
        (Phase::Storing, Action::Do(Task::Store { url: url(), names: settings().names })),
    ] {
        let mut machine = Machine::at(phase);
        machine.take();
        machine.restart();
        assert!(machine.take().contains(&action), "{phase:?}");
        machine.go_on_to(Phase::Resting);
        assert_eq!(machine.count(is_order), 0, "{phase:?}");
    }
}

#[test]
fn after_a_restart_the_nameservers_are_asked_again_before_the_ca_is_told() {
    let mut machine = Machine::at(Phase::Validating);
    machine.restart();
    machine.take();
    machine.status(Status::Pending);
    assert_eq!(machine.state.phase(), Phase::Proving);
    assert_eq!(machine.take(), [Action::AskNameservers { proofs: proofs() }]);
}

#[test]
fn a_finalisation_that_was_lost_is_asked_for_again() {
    let mut machine = Machine::at(Phase::Finalizing);
    machine.restart();
    machine.take();
    machine.status(Status::Ready);
    let finalize = Action::Do(Task::Finalize { url: "order 1".to_owned(), names: settings().names, reuse: false });
    assert_eq!(machine.take(), std::slice::from_ref(&finalize));
    machine.fail(Step::Finalize, "");
    machine.sleep(DAY);
    assert_eq!(
        machine.take(),
        [Action::Do(Task::AskStatus { url: "order 1".to_owned() })],
        "who knows whether it came"
    );
    machine.status(Status::Ready);
    assert_eq!(machine.take(), [finalize]);
}

#[test]
fn proofs_are_taken_away_when_the_order_is_lost_or_ready() {
    for status in [Status::Invalid(problem("dns")), Status::Ready, Status::Valid] {
        let mut machine = Machine::at(Phase::Validating);
        machine.take();
        machine.status(status);
        assert_eq!(machine.count(|action| *action == prove(vec![])), 1);
    }
}

#[test]
fn the_answer_to_another_order_is_not_taken() {
    let mut machine = Machine::at(Phase::Proving);
    machine.tell(Event::Shown { proofs: vec![] });
    assert_eq!(machine.state.phase(), Phase::Proving);
    machine.go_on_to(Phase::Validating);
    machine.tell(Event::Status { url: "order 0".to_owned(), status: Status::Invalid(problem("dns")) });
    assert_eq!(machine.state.phase(), Phase::Validating);
}

#[test]
fn a_renewal_says_what_it_replaces_where_the_ca_gives_windows() {
    let certificate = held(1, START - 10 * DAY, 90 * DAY);
    let replaces = |machine: &Machine| match machine.actions.iter().rev().find(|action| is_order(action)) {
        Some(Action::Do(Task::Order { replaces, .. })) => replaces.clone(),
        other => panic!("{other:?}"),
    };
    let mut machine = Machine::with(settings(), Some(certificate.clone()));
    machine.go_on_to(Phase::Proving);
    assert_eq!(replaces(&machine), None);
    let mut machine = Machine::with(settings(), Some(certificate));
    let (start, end) = (START + 40 * DAY, START + 41 * DAY);
    machine.tell(Event::Window { ari_id: "ari 1".to_owned(), start, end, again: START + HOUR, explanation: None });
    machine.go_on_to(Phase::Ordering);
    assert_eq!(replaces(&machine), Some("ari 1".to_owned()));
    machine.fail(Step::Order, "alreadyReplaced");
    assert_eq!(replaces(&machine), None, "at once, without");
    assert_eq!(machine.count(is_order), 2);
}

#[test]
fn a_window_moves_the_renewal_and_only_the_held_certificate_s() {
    let mut machine = Machine::with(settings(), Some(held(2, START - DAY, 90 * DAY)));
    machine.tell(Event::NextKey);
    let before = machine.state.renewal();
    let window = |machine: &mut Machine, of: &str, start: u64, end: u64| {
        let again = machine.now.wall + 6 * HOUR;
        let explanation = Some("https://ca.example/why".to_owned());
        machine.tell(Event::Window { ari_id: of.to_owned(), start, end, again, explanation });
    };
    window(&mut machine, "ari 1", START, START + 1);
    window(&mut machine, "ari 2", START + 1, START + 1);
    assert_eq!(machine.state.renewal(), before);
    machine.take();
    window(&mut machine, "ari 2", START + 10 * DAY, START + 11 * DAY);
    assert_eq!(machine.take(), [Action::Tell(Notice::Sooner(Some("https://ca.example/why".to_owned())))]);
    assert_eq!(machine.until(|action| matches!(action, Action::Do(Task::AskWindow { .. }))), 6 * HOUR);
    // It was revoked, and is to be replaced now.
    window(&mut machine, "ari 2", START - 2 * DAY, START - DAY);
    assert_eq!((machine.state.phase(), machine.state.why()), (Phase::Checking, Some(Why::Due)));
}

#[test]
fn other_names_and_another_ca_are_ordered_at_once_and_the_order_under_way_is_given_up() {
    let other_names = Settings { names: names(&["mail.example.org"]), ..settings() };
    let other_ca = Settings { directory: "https://other.example/".to_owned(), ..settings() };
    for (other, why) in [(other_names, Why::Names), (other_ca, Why::Directory)] {
        let mut machine = Machine::at(Phase::Resting);
        machine.go_on_to(Phase::Storing);
        machine.go_on_to(Phase::Resting);
        assert_eq!(machine.state.why(), None);
        machine.tell(Event::Settings(other.clone()));
        assert_eq!((machine.state.phase(), machine.state.why()), (Phase::Checking, Some(why)));
        machine.go_on_to(Phase::Proving);
        machine.take();
        machine.tell(Event::Settings(Settings { names: Default::default(), ..other }));
        assert_eq!(machine.take(), [prove(vec![])], "no certificate is wanted any more");
        assert_eq!(machine.state.phase(), Phase::Resting);
    }
}

#[test]
fn it_gets_late_and_expires_and_both_are_over_when_another_one_is_there() {
    let mut machine = Machine::with(settings(), Some(held(1, START - 80 * DAY, 90 * DAY)));
    machine.go_on_to(Phase::Storing);
    let alarms = |machine: &Machine| [Alarm::Late, Alarm::Expired].map(|alarm| machine.state.alarms().contains(&alarm));
    assert_eq!(alarms(&machine), [false, false]);
    machine.fail(Step::Store, "");
    machine.pass(9 * DAY + 1);
    assert_eq!(alarms(&machine), [true, false]);
    machine.pass(DAY);
    assert_eq!(alarms(&machine), [false, true]);
    machine.go_on_to(Phase::Storing);
    machine.tell(Event::Stored(held(2, machine.now.wall, 90 * DAY)));
    assert_eq!(alarms(&machine), [false, false]);
}

#[test]
fn the_key_stays_where_that_is_configured_and_not_when_it_is_rotated() {
    let reuse = Settings { reuse: true, ..settings() };
    let certificate = held(1, START - HOUR, 90 * DAY);
    let mut machine = Machine::with(reuse, Some(certificate));
    assert_eq!(machine.count(|action| *action == Action::Do(Task::MakeNextKey)), 0);
    let finalizes = |machine: &mut Machine| {
        machine.go_on_to(Phase::Finalizing);
        machine.actions.iter().rev().find_map(|action| match action {
            Action::Do(Task::Finalize { reuse, .. }) => Some(*reuse),
            _ => None,
        })
    };
    assert_eq!(finalizes(&mut machine), Some(true));
    machine.tell(Event::Rotate { reason: Some(1) });
    assert_eq!((machine.state.phase(), machine.state.url()), (Phase::Checking, None), "not with that key");
    assert_eq!(finalizes(&mut machine), Some(false));
    machine.go_on_to(Phase::Storing);
    machine.take();
    machine.tell(Event::Stored(held(2, START, 90 * DAY)));
    let revoke = Action::Do(Task::Revoke { fingerprint: "certificate 1".to_owned(), reason: 1 });
    assert!(machine.take().contains(&revoke));
    let fingerprint = || "certificate 1".to_owned();
    machine.tell(Event::NotRevoked { fingerprint: fingerprint(), problem: problem("serverInternal") });
    machine.until(|action| *action == revoke);
    machine.tell(Event::Revoked { fingerprint: fingerprint() });
    assert!(machine.take().contains(&Action::Tell(Notice::Revoked("certificate 1".to_owned()))));
    machine.pass(DAY);
    assert_eq!(machine.count(|action| *action == revoke), 0);
}

#[test]
fn what_is_replaced_is_revoked_when_the_hold_is_over() {
    let hold = 26 * HOUR;
    let mut machine = Machine::with(Settings { hold, ..settings() }, Some(held(1, START - HOUR, 90 * DAY)));
    machine.tell(Event::NextKey);
    machine.tell(Event::Rotate { reason: Some(4) });
    machine.go_on_to(Phase::Storing);
    machine.tell(Event::Stored(held(2, START, 90 * DAY)));
    assert_eq!(machine.until(|action| matches!(action, Action::Do(Task::Revoke { .. }))), hold);
}

#[test]
fn a_rotation_after_a_revocation_that_is_under_way_keeps_the_revocation() {
    let mut machine = Machine::with(settings(), Some(held(1, START - DAY, 90 * DAY)));
    machine.tell(Event::NextKey);
    machine.tell(Event::Rotate { reason: Some(1) });
    machine.tell(Event::MayIssue(Ok(())));
    machine.fail(Step::Order, "serverInternal");
    machine.tell(Event::Rotate { reason: None });
    machine.go_on_to(Phase::Storing);
    machine.take();
    machine.tell(Event::Stored(held(2, START, 90 * DAY)));
    let revoke = Action::Do(Task::Revoke { fingerprint: "certificate 1".to_owned(), reason: 1 });
    assert!(machine.take().contains(&revoke));
}

#[test]
fn a_revocation_that_is_refused_keeps_no_other_one_waiting() {
    let mut machine = Machine::with(settings(), Some(held(1, START - HOUR, 90 * DAY)));
    machine.tell(Event::NextKey);
    for number in 2..=3 {
        machine.take();
        machine.tell(Event::Rotate { reason: Some(1) });
        machine.go_on_to(Phase::Storing);
        machine.tell(Event::Stored(held(number, machine.now.wall, 90 * DAY)));
        machine.tell(Event::NextKey);
        let fingerprint = format!("certificate {}", number - 1);
        let revoke = Action::Do(Task::Revoke { fingerprint: fingerprint.clone(), reason: 1 });
        assert!(machine.take().contains(&revoke));
        machine.tell(Event::NotRevoked { fingerprint, problem: problem("unauthorized") });
    }
    machine.tell(Event::NotRevoked { fingerprint: "certificate 2".to_owned(), problem: problem("alreadyRevoked") });
    assert!(machine.take().contains(&Action::Tell(Notice::Revoked("certificate 2".to_owned()))));
    machine.until(
        |action| matches!(action, Action::Do(Task::Revoke { fingerprint, .. }) if fingerprint == "certificate 1"),
    );
}

#[test]
fn what_the_operator_gives_up_is_not_begun_again_the_same_day() {
    let mut machine = Machine::at(Phase::Proving);
    machine.take();
    machine.tell(Event::Cancel);
    assert_eq!(machine.take(), [Action::Tell(Notice::GivenUp), prove(vec![])]);
    assert_eq!(machine.until(|action| matches!(action, Action::AskCaa { .. })), DAY);
    machine.tell(Event::Cancel);
    machine.take();
    machine.tell(Event::Cancel);
    assert!(matches!(machine.take()[..], [Action::Tell(Notice::Refused(_))]));
    machine.tell(Event::Order);
    assert_eq!(machine.state.phase(), Phase::Checking);
}

#[test]
fn the_next_key_is_asked_for_until_it_is_there() {
    let mut machine = Machine::with(settings(), Some(held(1, START - HOUR, 90 * DAY)));
    assert_eq!(machine.count(|action| *action == Action::Do(Task::MakeNextKey)), 1);
    machine.fail(Step::NextKey, "");
    machine.until(|action| *action == Action::Do(Task::MakeNextKey));
    machine.tell(Event::NextKey);
    assert_eq!(machine.state.failure(), None);
    machine.take();
    machine.pass(30 * DAY);
    assert_eq!(machine.count(|action| *action == Action::Do(Task::MakeNextKey)), 0);
}

#[test]
fn a_state_of_another_version_is_refused() {
    let text = serde_json::to_string(&State::new(super::id())).expect("serialises");
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    let error = serde_json::from_str::<State>(&newer).expect_err("it is newer");
    assert!(error.to_string().contains("newer one"), "{error}");
}

#[test]
fn a_restart_with_another_boot_id_goes_on_where_it_was() {
    let mut machine = Machine::at(Phase::Proving);
    machine.now = Reading { wall: machine.now.wall + HOUR, boot: 5, boot_id: 2, synchronised: true };
    machine.restart();
    assert_eq!(machine.state.url(), Some("order 1"));
}

#[test]
fn a_name_that_the_ca_adds_is_no_reason_to_order_again_and_one_that_is_taken_out_is() {
    let mut machine = Machine::with(settings(), None);
    machine.tell(Event::NextKey);
    machine.go_on_to(Phase::Storing);
    let mut with_more = held(1, START, 90 * DAY);
    with_more.names.extend(names(&["www.mail.example.org"]));
    machine.tell(Event::Stored(with_more));
    machine.tell(Event::NextKey);
    machine.take();
    machine.pass(40 * DAY);
    assert_eq!((machine.state.phase(), machine.state.alarms().len()), (Phase::Resting, 0));
    machine.tell(Event::Settings(Settings { names: names(&["mail.example.org"]), ..settings() }));
    assert_eq!((machine.state.phase(), machine.state.why()), (Phase::Checking, Some(Why::Names)));
}
