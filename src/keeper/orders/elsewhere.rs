//! What orders rest on that is not in the zones here: aliases and CAA records elsewhere, and what the CA says of itself. What was asked for
//! and answered stands here until it is asked for anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::proofs::Unplaced;
use super::{Event, Events, Id};
use crate::act::acme as ca;
use crate::act::acme::directory::{self, Authority};
use crate::config::Outside;
use crate::dns::{Name, Timestamp};
use crate::keeper::Keeper;
use crate::observe::outside::elsewhere::{Found, News, Order, Question as Asked};

/// What is not answered for so many seconds is asked again.
const PATIENCE: u64 = 120;
/// While nameservers are asked for proofs, what is older than so many seconds is asked again.
pub(super) const FRESH: u64 = 60;
/// Where a proof can stand nowhere it is looked so often whether that is still so, in seconds.
const AGAIN: u64 = 300;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// Of the resolver.
    Resolver(Asked),
    /// Of the CA with this directory: what it says of itself.
    Authority(String),
}

/// Which answers count.
#[derive(Clone, Copy)]
pub(super) enum Since {
    /// All.
    Ever,
    /// Those that came by then, or later.
    Moment(Timestamp),
    /// Those to questions with this number, or a later one.
    Question(u64),
}

/// What is known.
#[derive(Default)]
pub(super) struct Elsewhere {
    pub(super) resolver: Option<mpsc::Sender<Order>>,
    pub(super) directories: Option<mpsc::Sender<Arc<ca::Settings>>>,
    found: BTreeMap<Asked, Known<Found>>,
    authorities: BTreeMap<String, Known<Authority>>,
    /// So many questions were asked.
    count: u64,
}

/// The answer to a question.
struct Known<T> {
    /// It is being asked since, and is this question.
    asked: Option<(Timestamp, u64)>,
    /// When it was answered last, and which question that was.
    answered: Option<(Timestamp, u64)>,
    /// What was found last.
    found: Option<T>,
    /// Why that could not be told when it was asked last.
    failure: Option<String>,
}

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known { asked: None, answered: None, found: None, failure: None }
    }
}

impl<T> Known<T> {
    /// What was found; an error: why it isn't known. None: that is not answered since.
    fn since(&self, since: Since) -> Option<Result<&T, &str>> {
        self.answered.filter(|(at, number)| match since {
            Since::Ever => true,
            Since::Moment(moment) => *at >= moment,
            Since::Question(first) => *number >= first,
        })?;
        Some(self.found.as_ref().ok_or_else(|| self.failure.as_deref().unwrap_or_default()))
    }

    /// Whether it is to be asked; then it is.
    fn begin(&mut self, count: &mut u64, now: Timestamp) -> bool {
        let is_new = self.asked.is_none_or(|(asked, _)| asked + PATIENCE <= now);
        if is_new {
            self.asked = Some((now, *count));
            *count += 1;
        }
        is_new
    }

    /// What was found before counts on where nothing can be told now.
    fn answer(&mut self, said: Result<T, String>, now: Timestamp) {
        let Some((_, number)) = self.asked.take() else { return };
        self.answered = Some((now, number));
        match said {
            Ok(found) => (self.found, self.failure) = (Some(found), None),
            Err(why) => self.failure = Some(why),
        }
    }
}

impl Elsewhere {
    /// What is known of a question to the resolver, where it was answered since then.
    pub(super) fn found(&self, question: &Asked, since: Since) -> Option<Result<&Found, &str>> {
        self.found.get(question)?.since(since)
    }

    /// What is known of a CA.
    pub(super) fn authority(&self, directory: &str, since: Since) -> Option<Result<&Authority, &str>> {
        self.authorities.get(directory)?.since(since)
    }

    fn ask(&mut self, question: Asked, outside: Arc<Outside>, now: Timestamp) {
        let known = self.found.entry(question.clone()).or_default();
        if known.begin(&mut self.count, now)
            && self.resolver.as_ref().is_none_or(|asked| asked.try_send(Order { question, outside }).is_err())
        {
            known.answer(Err("too much is being asked".to_owned()), now);
        }
    }

    fn ask_authority(&mut self, directory: String, account: Result<Arc<ca::Settings>, String>, now: Timestamp) {
        let known = self.authorities.entry(directory).or_default();
        if !known.begin(&mut self.count, now) {
            return;
        }
        let asked = account.and_then(|settings| {
            let asked = self.directories.as_ref().and_then(|asked| asked.try_send(settings).ok());
            asked.ok_or_else(|| "too much is being asked".to_owned())
        });
        if let Err(why) = asked {
            known.answer(Err(why), now);
        }
    }
}

/// A certificate of which it is looked whether it may be ordered, and can be proven.
#[derive(Clone)]
pub(super) struct Checking {
    names: BTreeSet<Name>,
    /// What was asked before does not count.
    since: Since,
}

impl Elsewhere {
    /// It is looked now, and what is known already does not count.
    pub(super) fn check(&self, names: BTreeSet<Name>) -> Checking {
        Checking { names, since: Since::Question(self.count) }
    }
}

impl Keeper {
    /// Asks what nobody is asking yet.
    pub(super) fn ask_elsewhere(&mut self, questions: BTreeSet<Question>, now: Timestamp) {
        if self.orders.elsewhere.resolver.is_none() {
            return;
        }
        let outside = Arc::new(self.config.outside.clone());
        for question in questions {
            match question {
                Question::Resolver(question) => {
                    self.orders.elsewhere.ask(question, Arc::clone(&outside), now);
                }
                Question::Authority(directory) => {
                    let account = self.orders.account.clone().unwrap_or_else(|| Err("there is no [acme]".to_owned()));
                    self.orders.elsewhere.ask_authority(directory, account, now);
                }
            }
        }
    }

    /// The resolver has answered.
    pub(super) fn found_elsewhere(&mut self, News { question, said }: News, now: Timestamp) {
        if let Some(known) = self.orders.elsewhere.found.get_mut(&question) {
            known.answer(said, now);
        }
    }

    /// The CA has answered.
    pub(super) fn found_authority(&mut self, directory::News { directory, said }: directory::News, now: Timestamp) {
        if let Some(known) = self.orders.elsewhere.authorities.get_mut(&directory) {
            known.answer(said.map_err(|problem| problem.to_string()), now);
        }
    }

    /// What has come of looking at certificates, as far as all is answered; the rest is asked.
    pub(super) fn checked(&mut self, now: Timestamp) -> Events {
        let ids: Vec<Id> = self.orders.each.keys().cloned().collect();
        let ended = ids.into_iter().filter_map(|id| Some((id.clone(), self.checked_one(&id, now)?)));
        ended.collect()
    }

    /// The same of one; none: something is not answered yet.
    pub(super) fn checked_one(&mut self, id: &Id, now: Timestamp) -> Option<Event> {
        let Checking { names, since } = self.orders.each.get(id)?.checking.clone()?;
        let (mut asked, mut unprovable) = (BTreeSet::new(), None);
        for name in &names {
            match self.cannot_prove(name, since) {
                None => {}
                Some(Unplaced::Asked(question)) => drop(asked.insert(Question::Resolver(question))),
                Some(Unplaced::Unknown(why)) => {
                    unprovable = unprovable.or(Some(Event::Unprovable { why, passes: true }))
                }
                // What needs the operator is told first.
                Some(Unplaced::Never(why)) => unprovable = Some(Event::Unprovable { why, passes: false }),
            }
        }
        let event = match (self.may_issue(&names, since), unprovable) {
            (_, Some(unprovable)) if asked.is_empty() => Some(unprovable),
            (Ok(answer), _) => Some(Event::MayIssue(answer)),
            (Err(questions), _) => {
                asked.extend(questions);
                None
            }
        };
        let event = event.filter(|_| asked.is_empty());
        if event.is_some() {
            self.orders.each.get_mut(id)?.checking = None;
        }
        self.ask_elsewhere(asked, now);
        event
    }

    /// Asks for what was never asked of the names that are wanted, and again where a name can't be proven.
    pub(super) fn look_elsewhere(&mut self, now: Timestamp) {
        let names = self.orders.each.values().filter_map(|driven| driven.settings.as_ref());
        let names: BTreeSet<Name> = names.flat_map(|settings| settings.names.iter().cloned()).collect();
        let mut asked = BTreeSet::new();
        for name in names {
            let question = match self.cannot_prove(&name, Since::Ever) {
                Some(Unplaced::Never(_) | Unplaced::Unknown(_)) => {
                    self.cannot_prove(&name, Since::Moment(now.saturating_sub(AGAIN)))
                }
                other => other,
            };
            if let Some(Unplaced::Asked(question)) = question {
                asked.insert(Question::Resolver(question));
            }
        }
        self.ask_elsewhere(asked, now);
    }
}
