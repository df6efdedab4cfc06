//! What goes wrong, and what the machine does then.

use super::{
    Action, DAY, Event, HOUR, Machine, Phase, Problem, START, Status, Step, Task, held, is_order, problem, proofs,
    prove, settings,
};
use crate::acme::{Alarm, Notice};
use crate::dns::text::print_moment;

#[test]
fn what_fails_is_tried_again_later_and_later_and_the_order_stays() {
    let mut machine = Machine::at(Phase::Storing);
    let mut waits = Vec::new();
    for _ in 0..12 {
        machine.fail(Step::Store, "");
        waits.push(
            machine.until(|action| matches!(action, Action::Do(Task::Store { .. }) | Action::Do(Task::Order { .. }))),
        );
        if machine.count(is_order) > 0 || machine.state.url().is_none() {
            break;
        }
    }
    assert!((54..=66).contains(&waits[0]), "{waits:?}");
    assert!(waits.windows(2).take(8).all(|pair| pair[1] * 10 > pair[0] * 15), "{waits:?}");
    assert!(waits.len() > 9 && waits.iter().sum::<u64>() >= DAY, "it is given up after a day: {waits:?}");
}

#[test]
fn orders_that_come_to_nothing_are_made_later_and_later() {
    let mut machine = Machine::at(Phase::Validating);
    machine.status(Status::Invalid(problem("unauthorized")));
    let mut waits = Vec::new();
    for _ in 0..10 {
        waits.push(machine.until(|action| matches!(action, Action::AskCaa { .. })));
        machine.go_on_to(Phase::Validating);
        machine.status(Status::Invalid(problem("unauthorized")));
    }
    assert!((864..=1056).contains(&waits[0]), "an order costs more than a request: {waits:?}");
    assert!(waits[..3].iter().sum::<u64>() > 3600, "three validations in the first hour: {waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 7 * HOUR), "{waits:?}");
    assert!(machine.state.alarms().iter().any(|alarm| matches!(alarm, Alarm::Failing(_))));
}

#[test]
fn there_are_so_many_orders_a_day_whatever_the_operator_says() {
    let mut machine = Machine::at(Phase::Ordering);
    let (mut orders, begun) = (0, machine.now.boot);
    while machine.now.boot < begun + DAY - HOUR {
        machine.fail(Step::Order, "serverInternal");
        machine.tell(Event::Order);
        machine.tell(Event::MayIssue(Ok(())));
        orders += machine.take().iter().filter(|action| is_order(action)).count();
        machine.pass(60);
    }
    assert_eq!(orders, 12);
    machine.pass(2 * HOUR);
    machine.tell(Event::MayIssue(Ok(())));
    machine.tell(Event::Order);
    machine.tell(Event::MayIssue(Ok(())));
    assert_eq!(machine.count(is_order), 1);
}

#[test]
fn retry_after_is_respected_but_not_until_the_certificate_expires() {
    let mut machine = Machine::with(settings(), Some(held(1, START - 61 * DAY, 90 * DAY)));
    machine.tell(Event::NextKey);
    machine.go_on_to(Phase::Ordering);
    let limited = |machine: &mut Machine, seconds: Option<u64>| {
        let retry_after = seconds.map(|seconds| machine.now.wall.saturating_add(seconds));
        let problem = Problem { retry_after, ..problem("rateLimited") };
        machine.tell(Event::Failed { step: Step::Order, problem });
        let wait = machine.until(|action| matches!(action, Action::AskCaa { .. }));
        machine.go_on_to(Phase::Ordering);
        wait
    };
    assert_eq!(limited(&mut machine, Some(3 * DAY)), 3 * DAY);
    assert_eq!(limited(&mut machine, None), HOUR);
    assert_eq!(limited(&mut machine, Some(u64::MAX)), 7 * DAY, "no CA means more than a week");
    let left = machine.state.held().expect("one").not_after - machine.now.wall;
    assert_eq!(limited(&mut machine, Some(30 * DAY)), 7 * DAY.min(left / 2));
    while machine.state.held().expect("one").not_after > machine.now.wall + 4 * DAY {
        machine.pass(DAY);
    }
    machine.go_on_to(Phase::Ordering);
    let left = machine.state.held().expect("one").not_after - machine.now.wall;
    assert_eq!(limited(&mut machine, Some(6 * DAY)), left / 2, "half of what is left");
}

#[test]
fn a_nonce_that_is_refused_is_followed_by_another_try_at_once_a_few_times() {
    let mut machine = Machine::at(Phase::Ordering);
    machine.take();
    for _ in 0..5 {
        machine.fail(Step::Order, "badNonce");
    }
    assert_eq!(machine.count(is_order), 5);
    machine.fail(Step::Order, "badNonce");
    assert_eq!((machine.count(is_order), machine.state.phase()), (5, Phase::Resting));
    let mut machine = Machine::at(Phase::Validating);
    machine.take();
    machine.fail(Step::Ready, "badNonce");
    assert_eq!(machine.take(), [Action::Do(Task::SayReady { url: "order 1".to_owned() })]);
}

#[test]
fn an_order_that_the_ca_does_not_know_any_more_is_begun_anew() {
    let mut machine = Machine::at(Phase::Proving);
    machine.go_on_to(Phase::Validating);
    machine.fail(Step::Status, "malformed");
    assert_eq!((machine.state.phase(), machine.state.url()), (Phase::Resting, None));
    assert!(machine.until(|action| matches!(action, Action::AskCaa { .. })) > 800);
}

#[test]
fn what_only_the_operator_can_mend_is_told_at_once_and_tried_again_all_the_same() {
    for kind in ["userActionRequired", "accountDoesNotExist", "rejectedIdentifier", "externalAccountRequired"] {
        let mut machine = Machine::at(Phase::Ordering);
        machine.take();
        machine.fail(Step::Order, kind);
        let alarm = Alarm::Needed(problem(kind).plain());
        assert!(machine.actions.contains(&Action::Alarm(alarm.clone())), "{kind}");
        assert_eq!(machine.until(|action| matches!(action, Action::AskCaa { .. })), HOUR, "{kind}");
        machine.go_on_to(Phase::Storing);
        machine.go_on_to(Phase::Resting);
        assert!(machine.actions.contains(&Action::Cleared(alarm)), "{kind}");
    }
}

#[test]
fn what_failed_before_an_answer_does_not_count_after_it() {
    let mut machine = Machine::at(Phase::Ordering);
    for _ in 0..8 {
        machine.fail(Step::Order, "");
        machine.until(|action| matches!(action, Action::AskCaa { .. }));
        machine.go_on_to(Phase::Ordering);
    }
    machine.go_on_to(Phase::Validating);
    machine.fail(Step::Ready, "");
    assert!(machine.until(|action| matches!(action, Action::Do(Task::AskStatus { .. }))) <= 66);
}

#[test]
fn the_shorter_the_time_the_shorter_the_waits_but_for_long_lives_an_hour_at_least() {
    let after = |left: u64, life: u64| {
        let mut machine = Machine::with(settings(), Some(held(1, START + left - life, life)));
        machine.tell(Event::NextKey);
        machine.go_on_to(Phase::Ordering);
        for _ in 0..10 {
            machine.fail(Step::Order, "");
            machine.tell(Event::Order);
            machine.go_on_to(Phase::Ordering);
        }
        machine.fail(Step::Order, "");
        machine.until(|action| matches!(action, Action::AskCaa { .. }))
    };
    assert!(after(30 * DAY, 90 * DAY) > 5 * HOUR);
    assert_eq!(after(2 * DAY, 6 * DAY), 3 * HOUR);
    assert_eq!(after(3 * HOUR, 90 * DAY), HOUR);
    assert_eq!(after(0, 90 * DAY), HOUR);
    assert_eq!(after(300, 1200), 50, "unless its whole life is a matter of minutes");
}

#[test]
fn caa_that_forbids_is_an_alarm_with_the_record_and_no_order() {
    let mut machine = Machine::at(Phase::Checking);
    machine.take();
    let line = "example.org. CAA 0 issue \"ca.example\"".to_owned();
    machine.tell(Event::MayIssue(Err(line.clone())));
    let alarm = Alarm::Caa(line);
    assert!(machine.actions.contains(&Action::Alarm(alarm.clone())));
    assert!(machine.until(|action| matches!(action, Action::AskCaa { .. })) >= HOUR);
    machine.tell(Event::MayIssue(Ok(())));
    assert!(machine.take().contains(&Action::Cleared(alarm)));
    let mut machine = Machine::at(Phase::Checking);
    machine.fail(Step::Caa, "");
    assert_eq!(machine.state.phase(), Phase::Ordering, "the CA looks itself");
}

#[test]
fn what_can_not_be_proven_needs_the_operator_and_no_order_is_made() {
    let mut machine = Machine::at(Phase::Checking);
    machine.take();
    machine.tell(Event::Unprovable { why: "add a CNAME".to_owned(), passes: false });
    let needed = |machine: &Machine| {
        machine.state.alarms().iter().any(|alarm| matches!(alarm, Alarm::Needed(why) if why.contains("add a CNAME")))
    };
    assert!(needed(&machine) && machine.state.phase() == Phase::Resting);
    assert!(!machine.take().iter().any(|action| matches!(action, Action::Do(Task::Order { .. }))));
    assert!(machine.until(|action| matches!(action, Action::AskCaa { .. })) >= HOUR);
    machine.tell(Event::MayIssue(Ok(())));
    machine.go_on_to(Phase::Proving);
    machine.tell(Event::Unprovable { why: "late".to_owned(), passes: false });
    assert_eq!(machine.state.phase(), Phase::Proving, "there is an order");
    let mut machine = Machine::at(Phase::Checking);
    machine.tell(Event::Unprovable { why: "SERVFAIL".to_owned(), passes: true });
    assert_eq!(machine.state.alarms().len(), 0);
    assert!(machine.until(|action| matches!(action, Action::AskCaa { .. })) <= 2 * 60, "a resolver may be back soon");
}

#[test]
fn nameservers_that_lag_are_asked_again_and_told_of_after_ten_minutes() {
    let mut machine = Machine::at(Phase::Proving);
    let (mut looks, begun) = (0, machine.now.boot);
    while machine.state.phase() == Phase::Proving {
        let why = format!("ns{looks} shows nothing");
        machine.tell(Event::NotShown { why });
        let is_told = machine.state.alarms().iter().any(|alarm| matches!(alarm, Alarm::NotShown(_)));
        assert_eq!(is_told, machine.now.boot >= begun + 600, "{}", machine.now.boot - begun);
        machine.sleep(DAY);
        looks += 1;
    }
    assert_eq!(machine.now.boot - begun, DAY, "then another order is made");
    assert!((300..500).contains(&looks), "{looks}");
    assert_eq!(
        machine.count(|action| matches!(action, Action::Alarm(Alarm::NotShown(_)))),
        1,
        "one alarm, not one a look"
    );
    assert_eq!(machine.count(|action| matches!(action, Action::Do(Task::SayReady { .. }))), 0);
}

#[test]
fn a_proof_that_could_not_be_put_is_put_again_later() {
    let mut machine = Machine::at(Phase::Proving);
    machine.take();
    machine.fail(Step::Prove, "");
    assert_eq!(machine.take(), []);
    let wait = machine.until(|action| *action == prove(proofs()));
    assert!((54..=66).contains(&wait));
}

#[test]
fn a_fresh_certificate_that_is_due_by_our_clock_is_an_alarm_and_no_storm() {
    let mut machine = Machine::with(settings(), None);
    machine.tell(Event::NextKey);
    // The clock is two years ahead; each certificate is expired when it comes.
    let mut waits = Vec::new();
    for number in 1..6 {
        machine.go_on_to(Phase::Storing);
        machine.tell(Event::Stored(held(number, machine.now.wall - 700 * DAY, 90 * DAY)));
        assert!(machine.state.alarms().contains(&Alarm::FreshIsDue));
        waits.push(machine.until(|action| matches!(action, Action::AskCaa { .. })) / DAY);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16]);
}

#[test]
fn a_folder_that_is_emptied_again_and_again_is_no_storm_either() {
    let mut machine = Machine::with(settings(), None);
    let mut waits = Vec::new();
    for number in 1..5 {
        machine.go_on_to(Phase::Storing);
        machine.tell(Event::Stored(held(number, machine.now.wall - HOUR, 90 * DAY)));
        machine.tell(Event::Held(None));
        waits.push(machine.until(|action| matches!(action, Action::AskCaa { .. })) / HOUR);
    }
    assert_eq!(waits, [1, 2, 4, 8]);
}

#[test]
fn a_clock_that_leaps_ends_no_wait() {
    let mut machine = Machine::at(Phase::Ordering);
    for _ in 0..12 {
        machine.fail(Step::Order, "");
        machine.tell(Event::Order);
        machine.go_on_to(Phase::Ordering);
        if machine.state.crowded(None).is_some() {
            break;
        }
    }
    machine.fail(Step::Order, "");
    machine.take();
    for leap in [400 * DAY, 3 * DAY, 900 * DAY] {
        machine.now.wall = START + leap;
        machine.pass(60);
        machine.tell(Event::MayIssue(Ok(())));
    }
    assert_eq!(machine.count(is_order), 0);
}

#[test]
fn the_ca_s_clock_tells_that_ours_is_wrong() {
    let mut machine = Machine::at(Phase::Ordering);
    let ca_time = Some(START + 30 * DAY);
    machine.tell(Event::Failed { step: Step::Order, problem: Problem { ca_time, ..problem("malformed") } });
    assert!(machine.state.alarms().contains(&Alarm::Clock(30 * 86_400)));
    let ca_time = Some(START + 5);
    machine.tell(Event::Failed { step: Step::Order, problem: Problem { ca_time, ..problem("") } });
    assert!(!machine.state.alarms().contains(&Alarm::Clock(30 * 86_400)));
    // Ours is put right, and nobody has to ask the CA again to know it.
    let ca_time = Some(machine.now.wall + 30 * DAY);
    machine.tell(Event::Failed { step: Step::Order, problem: Problem { ca_time, ..problem("") } });
    assert!(machine.state.alarms().contains(&Alarm::Clock(30 * 86_400)));
    machine.now.wall += 30 * DAY;
    machine.tell(Event::Tick);
    assert!(
        !machine.state.alarms().iter().any(|alarm| matches!(alarm, Alarm::Clock(_))),
        "{:?}",
        machine.state.alarms()
    );
}

#[test]
fn an_answer_that_never_comes_is_a_failure() {
    let mut machine = Machine::at(Phase::Ordering);
    machine.pass(600);
    assert_eq!(machine.state.phase(), Phase::Resting);
    assert!(machine.until(|action| matches!(action, Action::AskCaa { .. })) <= 66);
}

#[test]
fn a_folder_that_can_not_be_looked_at_after_a_start_is_an_alarm_and_so_is_what_expires_meanwhile() {
    let mut machine = Machine::with(settings(), Some(held(1, START - HOUR, 90 * DAY)));
    machine.tell(Event::NextKey);
    machine.tell(Event::Started);
    machine.tell(Event::Settings(settings()));
    let look = Action::Do(Task::Look);
    let has = |machine: &Machine, is: fn(&Alarm) -> bool| machine.state.alarms().iter().any(is);
    for _ in 0..3 {
        assert!(machine.state.alarms().is_empty());
        machine.fail(Step::Look, "");
        assert_eq!(machine.state.next_try(), machine.state.next());
        machine.until(|action| *action == look);
    }
    machine.fail(Step::Look, "");
    assert!(has(&machine, |alarm| matches!(alarm, Alarm::Failing(_))));
    machine.take();
    machine.tell(Event::Order);
    assert!(machine.take().contains(&look), "at once");
    // Nobody answers at all.
    machine.pass(89 * DAY);
    assert!(has(&machine, |alarm| *alarm == Alarm::Late));
    machine.pass(DAY);
    assert!(has(&machine, |alarm| *alarm == Alarm::Expired));
    machine.tell(Event::Held(Some(held(2, machine.now.wall, 90 * DAY))));
    assert!(machine.state.alarms().is_empty(), "{:?}", machine.state.alarms());
}

#[test]
fn the_next_key_that_can_not_be_made_is_tried_when_it_is_said_and_at_once_by_the_operator_s_word() {
    let mut machine = Machine::with(settings(), Some(held(1, START - HOUR, 90 * DAY)));
    machine.fail(Step::NextKey, "");
    assert_eq!(machine.state.next_try(), Some(machine.now.wall + 60));
    machine.take();
    machine.tell(Event::Order);
    assert!(machine.take().contains(&Action::Do(Task::MakeNextKey)));
}

#[test]
fn another_key_is_ordered_though_the_day_s_orders_are_used_up_and_what_can_not_be_is_refused_with_the_time() {
    let mut machine = Machine::with(settings(), Some(held(1, START - HOUR, 90 * DAY)));
    let order = |machine: &mut Machine, word: Event| {
        machine.tell(Event::NextKey);
        machine.take();
        machine.tell(word);
        if let [Action::Tell(Notice::Refused(why))] = &machine.take()[..] {
            return Some(why.clone());
        }
        machine.go_on_to(Phase::Storing);
        machine.go_on_to(Phase::Resting);
        None
    };
    for _ in 0..12 {
        assert_eq!(order(&mut machine, Event::Order), None);
    }
    let until = print_moment(START + DAY);
    let refused = format!("there were too many orders within a day, and there may be another one at {until}");
    assert_eq!(order(&mut machine, Event::Order).as_ref(), Some(&refused));
    for _ in 0..3 {
        assert_eq!(order(&mut machine, Event::Rotate { reason: Some(1) }), None);
    }
    assert_eq!(order(&mut machine, Event::Rotate { reason: Some(1) }), Some(refused));
    machine.pass(DAY);
    assert_eq!(order(&mut machine, Event::Order), None);
}
