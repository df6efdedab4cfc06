//! What is promised of messages: nothing is lost, nothing comes twice once it was taken, floods are bounded, and a clock that
//! steps does no harm.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = 1_800_000_000;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

fn notice(kind: Kind, text: &str) -> Notice {
    Notice::new(NOW, kind, "mail.example.org", text)
}

/// A machine with a store, and all that it sent.
struct Run {
    state: State,
    now: Timestamp,
    sent: Vec<(Timestamp, Send)>,
}

impl Run {
    fn new(channels: &[&str]) -> Run {
        let mut run = Run { state: State::default(), now: NOW, sent: Vec::new() };
        run.configure(channels);
        run
    }

    fn configure(&mut self, channels: &[&str]) {
        let channels = channels.iter().map(|&name| name.to_owned()).collect();
        self.take(Event::Configured(channels, Timing::default()));
    }

    fn take(&mut self, event: Event) -> Vec<Send> {
        let (state, sends) = step(std::mem::take(&mut self.state), event, self.now);
        self.state = state;
        self.sent.extend(sends.iter().map(|send| (self.now, send.clone())));
        sends
    }

    fn tell(&mut self, kind: Kind, text: &str) {
        self.take(Event::Happened(vec![notice(kind, text)]));
    }

    fn answer(&mut self, send: &Send, taken: bool) {
        let (channel, id) = (send.channel.clone(), send.message.id.clone());
        let why = "451 later".to_owned();
        self.take(if taken { Event::Sent { channel, id } } else { Event::Failed { channel, id, why } });
    }

    /// Ticks now and when the state asks for it, until a time; `taken` says which try is taken.
    fn until(&mut self, end: Timestamp, mut taken: impl FnMut(&Send) -> Option<bool>) {
        for send in self.take(Event::Tick) {
            if let Some(taken) = taken(&send) {
                self.answer(&send, taken);
            }
        }
        while let Some(next) = self.state.next().map(|next| next.max(self.now)).filter(|next| *next <= end) {
            self.now = next;
            for send in self.take(Event::Tick) {
                if let Some(taken) = taken(&send) {
                    self.answer(&send, taken);
                }
            }
        }
        self.now = end;
    }

    /// What comes back from the disk.
    fn restart(&mut self) {
        let timing = self.state.timing;
        self.state = serde_json::from_str(&serde_json::to_string(&self.state).unwrap()).unwrap();
        self.state.timing = timing;
    }

    fn times(&self) -> Vec<u64> {
        self.sent.iter().map(|(at, _)| at - NOW).collect()
    }
}

#[test]
fn what_comes_together_goes_out_together_and_the_next_message_keeps_its_distance() {
    let mut run = Run::new(&["mail"]);
    run.tell(Kind::RolloverBegun, "a");
    run.now += 30;
    run.tell(Kind::RolloverBegun, "b");
    run.until(NOW + 60, |_| Some(true));
    run.now += 5;
    run.tell(Kind::RolloverBegun, "c");
    run.until(NOW + HOUR, |_| Some(true));
    assert_eq!(run.times(), [60, 660]);
    assert_eq!(run.sent.iter().map(|(_, send)| send.message.notices.len()).collect::<Vec<_>>(), [2, 1]);
    assert_ne!(run.sent[0].1.message.id, run.sent[1].1.message.id);

    run.sent.clear();
    run.tell(Kind::RolloverFinished, "d");
    run.tell(Kind::Alarm, "e");
    run.until(NOW + HOUR + 10, |_| Some(true));
    run.tell(Kind::Alarm, "f");
    run.until(NOW + 2 * HOUR, |_| Some(true));
    assert_eq!(run.times(), [HOUR + 10, HOUR + 70], "an urgent one takes the others along");
}

#[test]
fn the_same_is_not_told_again_within_a_day_unless_it_was_over_in_between() {
    let mut run = Run::new(&["mail"]);
    let alarms = |run: &Run| {
        run.sent.iter().flat_map(|(_, send)| &send.message.notices).filter(|notice| notice.kind == Kind::Alarm).count()
    };
    for _ in 0..3 {
        run.tell(Kind::Alarm, "a");
        run.until(run.now + HOUR, |_| Some(true));
    }
    assert_eq!(alarms(&run), 1);
    run.tell(Kind::AlarmCleared, "b");
    run.tell(Kind::Alarm, "a");
    run.until(run.now + HOUR, |_| Some(true));
    assert_eq!(alarms(&run), 1, "another alarm's end is not its");
    run.tell(Kind::AlarmCleared, "a");
    run.tell(Kind::Alarm, "a");
    run.until(run.now + HOUR, |_| Some(true));
    assert_eq!(alarms(&run), 2);
    run.restart();
    run.tell(Kind::Alarm, "a");
    run.until(run.now + DAY, |_| Some(true));
    assert_eq!(alarms(&run), 2);
    run.tell(Kind::Alarm, "a");
    run.until(run.now + HOUR, |_| Some(true));
    assert_eq!(alarms(&run), 3, "after a day it is told again");
}

#[test]
fn a_message_is_tried_with_its_id_until_it_is_taken_and_given_up_after_three_days_of_tries() {
    let mut run = Run::new(&["mail", "webhook"]);
    run.tell(Kind::Alarm, "a");
    run.until(NOW + 5 * DAY, |send| Some(send.channel == "webhook"));
    let ids = |run: &Run, channel: &str| -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        run.sent
            .iter()
            .filter(|(_, send)| send.channel == channel)
            .for_each(|(_, send)| *ids.entry(send.message.id.clone()).or_default() += 1);
        ids
    };
    assert_eq!(ids(&run, "webhook").into_values().collect::<Vec<_>>(), [1], "each channel goes on alone");
    let tries: Vec<u64> = run.sent.iter().filter(|(_, s)| s.channel == "mail").map(|(at, _)| at - NOW).collect();
    assert_eq!(tries[..8], [10, 70, 190, 430, 910, 1870, 3790, 7390]);
    assert!(tries.last().is_some_and(|last| (3 * DAY - HOUR..=3 * DAY + HOUR).contains(last)), "{tries:?}");
    assert_eq!(ids(&run, "mail").len(), 1);
    let mail = &run.state.channels["mail"];
    assert!(mail.given_up.is_some() && mail.last_failure.is_some() && mail.undelivered() == 1 && mail.unsent() == 0);
    run.tell(Kind::Alarm, "b");
    run.until(run.now + HOUR, |_| Some(true));
    let last = run.sent.iter().rfind(|(_, send)| send.channel == "mail").unwrap();
    assert_eq!(last.1.message.undelivered, 1, "the next message tells");
    let mail = &run.state.channels["mail"];
    assert_eq!((mail.undelivered(), mail.given_up, mail.last_failure.as_ref()), (0, None, None));
}

#[test]
fn a_clock_that_leaps_gives_up_nothing_and_one_that_steps_back_delays_no_longer_than_a_wait() {
    let mut run = Run::new(&["mail"]);
    run.tell(Kind::Alarm, "a");
    run.until(NOW + 60, |_| Some(false));
    run.now += 400 * DAY;
    run.until(run.now + 10, |_| Some(false));
    assert_eq!(run.state.channels["mail"].undelivered(), 0);
    run.now = NOW - 400 * DAY;
    run.take(Event::Tick);
    run.sent.clear();
    run.until(run.now + HOUR, |_| Some(true));
    assert_eq!(run.sent.len(), 1);
    run.tell(Kind::RolloverBegun, "b");
    run.now -= 100 * DAY;
    run.until(run.now + HOUR, |_| Some(true));
    assert_eq!(run.sent.len(), 2);
}

#[test]
fn who_never_answers_has_failed_and_who_answers_too_late_is_not_heard() {
    let mut run = Run::new(&["mail"]);
    run.tell(Kind::Alarm, "a");
    run.until(NOW + 10, |_| None);
    let first = run.sent[0].1.clone();
    run.until(NOW + 320, |_| None);
    assert!(run.state.channels["mail"].last_failure.as_ref().unwrap().1.contains("no answer"));
    run.until(NOW + 400, |_| Some(true));
    assert_eq!(run.sent.len(), 2);
    run.answer(&first, false);
    assert_eq!(run.state.channels["mail"].last_failure, None);
}

#[test]
fn a_flood_becomes_one_message_with_the_urgent_ones_in_it() {
    let mut run = Run::new(&["mail"]);
    for number in 0..5000 {
        run.tell(if number % 100 == 99 { Kind::Alarm } else { Kind::RolloverBegun }, &number.to_string());
    }
    run.until(NOW + HOUR, |_| Some(true));
    assert_eq!(run.sent.len(), 1);
    let message = &run.sent[0].1.message;
    let urgent = message.notices.iter().filter(|notice| notice.urgent).count();
    assert_eq!((message.notices.len(), message.more, urgent), (TOGETHER, 4900, 50));
    assert!(message.body("ns1").contains("and 4900 more: danelaw log"));
    assert!(message.subject("ns1").starts_with("danelaw ns1: 5000 notices: mail.example.org: ALARM: "));
    assert!(run.state.said.len() <= SAID_MAX);
}

#[test]
fn conditions_are_told_when_they_begin_and_when_they_end_and_what_is_unknown_changes_nothing() {
    let mut run = Run::new(&["mail"]);
    let kinds: BTreeSet<Kind> = [Kind::PrerequisiteLost, Kind::Problem].into();
    let see = |run: &mut Run, stands: Option<Stands>, problem: bool| {
        let lost = stands.map(|stands| Condition { notice: notice(Kind::PrerequisiteLost, "MX"), stands });
        let problem =
            problem.then(|| Condition { notice: Notice::new(NOW, Kind::Problem, "", "p"), stands: Stands::Yes });
        let conditions = lost.into_iter().chain(problem).collect();
        if let Some((state, notices)) = look(&run.state, &kinds, conditions, run.now) {
            run.state = state;
            run.take(Event::Happened(notices));
        }
        run.until(run.now + HOUR, |_| Some(true));
        let told: Vec<Kind> =
            run.sent.drain(..).flat_map(|(_, s)| s.message.notices).map(|notice| notice.kind).collect();
        run.restart();
        told
    };
    assert_eq!(see(&mut run, Some(Stands::Unknown), false), []);
    assert_eq!(see(&mut run, Some(Stands::Yes), true), [Kind::PrerequisiteLost, Kind::Problem]);
    assert_eq!(see(&mut run, Some(Stands::Unknown), true), []);
    assert_eq!(see(&mut run, Some(Stands::Yes), true), []);
    assert_eq!(see(&mut run, Some(Stands::No), false), [Kind::PrerequisiteRegained, Kind::ProblemSolved]);
    assert_eq!(see(&mut run, Some(Stands::Yes), false), [Kind::PrerequisiteLost]);
    assert_eq!(see(&mut run, None, false), [], "nothing says that it holds");
    assert_eq!(see(&mut run, Some(Stands::No), false), []);
}

#[test]
fn a_channel_that_leaves_takes_its_messages_along_and_a_new_one_begins_empty() {
    let mut run = Run::new(&["a"]);
    run.tell(Kind::Alarm, "x");
    run.configure(&["a", "b"]);
    run.until(NOW + HOUR, |_| Some(false));
    run.configure(&["b"]);
    run.tell(Kind::Alarm, "y");
    run.sent.clear();
    run.until(run.now + HOUR, |_| Some(true));
    assert_eq!(run.sent.iter().map(|(_, send)| send.channel.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_state_of_a_newer_danelaw_is_refused() {
    let json = serde_json::to_string(&State::default()).unwrap();
    assert!(serde_json::from_str::<State>(&json).is_ok());
    let error = serde_json::from_str::<State>(&json.replace("\"version\":1", "\"version\":2")).unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn a_mail_says_what_happened_since_when_and_what_to_do() {
    let lost = notice(Kind::PrerequisiteLost, "MX of example.org").with("the MX leads\nto elsewhere\u{7}.example");
    let begun = notice(Kind::RolloverBegun, "to 0123\nSubject: forged");
    let message =
        Message { version: 1, id: "1.1".into(), at: NOW, notices: vec![begun, lost], more: 0, undelivered: 2 };
    assert_eq!(
        message.subject("ns1"),
        "danelaw ns1: 2 notices: mail.example.org: prerequisite lost: MX of example.org"
    );
    let body = message.body("ns1");
    let parts = [
        "mail.example.org: prerequisite lost: MX of example.org\n  since 2027-01-15T08:00:00Z\n  the MX leads\n",
        "To do: mend it",
        "rollover begun: to 0123 Subject: forged\n",
        "2 notices before these",
        "`danelaw status` on ns1",
    ];
    for part in parts {
        assert!(body.contains(part), "{part}\n{body}");
    }
    let one = Message { notices: message.notices[1..].to_vec(), ..message };
    assert_eq!(one.subject("ns1"), "danelaw ns1: mail.example.org: prerequisite lost: MX of example.org");
}

#[test]
fn an_alarm_of_an_order_says_what_follows_for_an_order() {
    let alarm = notice(Kind::CertificateAlarm, "the certificate has expired").with("It expired.");
    let message = Message { version: 1, id: "1.1".into(), at: NOW, notices: vec![alarm], more: 0, undelivered: 0 };
    assert_eq!(message.subject("ns1"), "danelaw ns1: mail.example.org: ALARM: the certificate has expired");
    let body = message.body("ns1");
    assert!(
        body.contains("  It expired.\n  The certificate and the TLSA record that are in use stay in use."),
        "{body}"
    );
    assert!(body.contains("`danelaw certificate list`"), "{body}");
    assert!(!body.contains("removes no record") && !body.contains("may be delayed"), "{body}");
}

#[derive(Clone, Debug)]
enum Happening {
    Tell(u8, bool),
    Wait(u64),
    Leap(i64),
    Restart,
    Answers(Vec<Option<bool>>),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (any::<u8>(), any::<bool>()).prop_map(|(text, urgent)| Happening::Tell(text, urgent)),
        4 => (0..4000u64).prop_map(Happening::Wait),
        1 => (-100_000..100_000i64).prop_map(Happening::Leap),
        1 => Just(Happening::Restart),
        2 => proptest::collection::vec(proptest::option::of(any::<bool>()), 1..6).prop_map(Happening::Answers),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice_once_it_was_taken(happenings in proptest::collection::vec(happening(), 1..120)) {
        let mut run = Run::new(&["a", "b"]);
        let mut told = 0;
        let mut taken: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut answers: Vec<Option<bool>> = vec![Some(true)];
        let mut turn = 0;
        let settle = |run: &mut Run, end: Timestamp, taken: &mut BTreeMap<_, usize>, answer: &mut dyn FnMut() -> Option<bool>| {
            run.until(end, |send| {
                let answer = answer();
                if answer == Some(true) {
                    let key = (send.channel.clone(), send.message.id.clone());
                    assert!(taken.insert(key, send.message.count()).is_none(), "twice");
                }
                answer
            });
        };
        for (index, happening) in happenings.into_iter().enumerate() {
            match happening {
                Happening::Tell(text, urgent) => {
                    // Each is another one, so that each counts.
                    let mut one = notice(Kind::RolloverBegun, &format!("{index} {text}"));
                    one.urgent = urgent;
                    run.take(Event::Happened(vec![one]));
                    told += 1;
                }
                Happening::Wait(seconds) => {
                    let end = run.now + seconds;
                    settle(&mut run, end, &mut taken, &mut || { turn += 1; answers[turn % answers.len()] });
                }
                Happening::Leap(seconds) => run.now = run.now.saturating_add_signed(seconds),
                Happening::Restart => run.restart(),
                Happening::Answers(new) => answers = new,
            }
        }
        let end = run.now + 2 * DAY;
        settle(&mut run, end, &mut taken, &mut || Some(true));
        for channel in ["a", "b"] {
            let arrived: usize = taken.iter().filter(|((name, _), _)| name == channel).map(|(_, count)| count).sum();
            prop_assert_eq!(arrived + run.state.channels[channel].undelivered(), told);
            prop_assert_eq!(run.state.channels[channel].unsent(), 0);
        }
        prop_assert!(run.sent.iter().all(|(_, send)| send.message.notices.len() <= TOGETHER));
    }
}
