//! Certificates of danelaw's own: each one's machine is told facts, what it has become is stored, and what it asks for is done.
//!
//! What comes of it lies in a folder as any other client's does: a rollover takes it from there.

mod caa;
mod edges;
mod elsewhere;
#[cfg(test)]
mod message_tests;
mod proofs;
mod report;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tracing::error;

use super::Keeper;
use crate::acme::state::VERSION;
use crate::acme::{Action, Alarm, Event, Id, Phase, Problem, Settings, State, Step, Task, step};
use crate::act::acme as ca;
use crate::act::messages::Secret;
use crate::config::CertificateConfig;
use crate::dane::certificate::KeyType;
use crate::dane::rollover::Reading;
use crate::dns::{Name, Timestamp};
use crate::observe::proofs as texts;
use crate::observe::secrets;
use crate::serve::control::OrderWord;
use crate::store::{self, Store, StoreError};

pub use edges::{OrderNews, OrderOrders};
pub use report::OrderReport;

use elsewhere::{Checking, Elsewhere, Since};
use proofs::Asking;

/// The kind of the machines' states in the store, one for each certificate.
const KIND: &str = "acme";
/// Every machine sees the clocks after so many seconds at the latest.
const CLOCKS: u64 = 60;
/// What was seen of the clocks alone is stored after so many seconds.
const STORED: u64 = 3600;
/// So many times what was done is told at once.
const ROUNDS: usize = 16;
/// Before a renewed certificate would come too late somebody is told, in seconds; of one with a short life sooner.
const MARGIN: u64 = 3 * 86_400;

/// All of them.
#[derive(Default)]
pub(super) struct Orders {
    each: BTreeMap<Id, Driven>,
    ca: Option<mpsc::Sender<ca::Order>>,
    texts: Option<mpsc::Sender<texts::Order>>,
    /// With whom, as whom; why that can't be told.
    account: Option<Result<Arc<ca::Settings>, String>>,
    /// What is asked of others than that.
    elsewhere: Elsewhere,
    /// Why folders can't be made.
    problems: Vec<String>,
    /// Why states can't be stored.
    store_problem: Option<String>,
}

/// One certificate.
struct Driven {
    state: State,
    /// It was told since the start.
    is_started: bool,
    settings: Option<Settings>,
    /// It is looked whether it may be ordered.
    checking: Option<Checking>,
    /// Nameservers are asked for proofs.
    asking: Option<Asking>,
    /// When it is to step, by the wall clock.
    due: Timestamp,
    /// When it was stored, by the clock of the boot.
    stored: u64,
    /// Why the operator's word can't be followed.
    refused: Option<String>,
}

impl Driven {
    fn new(state: State) -> Driven {
        Driven {
            state,
            is_started: false,
            settings: None,
            checking: None,
            asking: None,
            due: 0,
            stored: 0,
            refused: None,
        }
    }

    /// Whether it is to step: it is time, or the clock was put back.
    fn is_due(&self, now: Timestamp) -> bool {
        self.due <= now || self.due > now + CLOCKS
    }
}

/// Events for certificates, in their order.
type Events = Vec<(Id, Event)>;

impl Orders {
    /// What is stored of them.
    pub(super) fn load(store: &Store) -> Result<Orders, StoreError> {
        let mut orders = Orders::default();
        for store::State { key, json, .. } in store.load_all(KIND)? {
            let unusable = |why: String| StoreError::State { kind: KIND.to_owned(), why: format!("{key}: {why}") };
            let state: State = serde_json::from_str(&json).map_err(|error| unusable(error.to_string()))?;
            orders.each.insert(state.id().clone(), Driven::new(state));
        }
        Ok(orders)
    }
}

impl Keeper {
    /// When a machine is to step though nothing happens.
    pub fn orders_due(&self, now: Timestamp) -> Option<Timestamp> {
        let driven = self.orders.each.values().filter(|driven| driven.is_started);
        driven.map(|driven| if driven.is_due(now) { now } else { driven.due }).min()
    }

    /// Time has gone by. Whether anything has to be published or shown otherwise.
    pub fn tick_orders(&mut self, now: Timestamp) -> bool {
        let before = self.alarms();
        let due = self.orders.each.iter().filter(|(_, driven)| driven.is_started && driven.is_due(now));
        let mut events: Events = due.map(|(id, _)| (id.clone(), Event::Tick)).collect();
        self.look_elsewhere(now);
        events.extend(self.checked(now));
        // What stands in the zones already can be asked for at once.
        self.step_orders(events, now) || self.look_for_proofs(now) || before != self.alarms()
    }

    /// The edges have said something. Whether anything has to be published or shown otherwise.
    pub fn hear_orders(&mut self, news: Vec<OrderNews>, now: Timestamp) -> bool {
        let before = (self.proofs(), self.alarms());
        let mut events = Events::new();
        for news in news {
            match news {
                OrderNews::Ca(ca::News { id, event }) => events.push((id, event)),
                OrderNews::Texts(news) => events.extend(self.proofs_shown(news)),
                OrderNews::Elsewhere(news) => self.found_elsewhere(news, now),
                OrderNews::Directory(news) => self.found_authority(news, now),
            }
        }
        self.look_elsewhere(now);
        events.extend(self.checked(now));
        // Where they stand may be known by now: what is published already can be asked for at once.
        let changed = self.step_orders(events, now) || before.0 != self.proofs();
        changed || self.look_for_proofs(now) || before.1 != self.alarms()
    }

    /// What is wrong with each.
    fn alarms(&self) -> BTreeMap<Id, BTreeSet<Alarm>> {
        let has_any = self.orders.each.iter().filter(|(_, driven)| !driven.state.alarms().is_empty());
        has_any.map(|(id, driven)| (id.clone(), driven.state.alarms().clone())).collect()
    }

    /// The configuration may be another. Whether anything has to be published otherwise.
    pub(super) fn look_at_orders(&mut self, now: Timestamp) -> bool {
        if self.ephemeral || (self.config.ordered.is_empty() && self.orders.each.is_empty()) {
            return false;
        }
        let could_ask = matches!(self.orders.account, Some(Ok(_)));
        self.orders.account = self.config.acme.as_ref().map(|acme| self.account(acme));
        let is_lost = !could_ask && matches!(self.orders.account, Some(Ok(_)));
        let wanted: BTreeMap<Id, Settings> = self.config.ordered.iter().flat_map(|one| self.wanted_of(one)).collect();
        self.orders.problems.clear();
        for id in wanted.keys() {
            // Certificates are looked for there at once.
            if let Err(error) = ca::Folder::of(&self.config.state, id).and_then(|folder| folder.make()) {
                self.orders.problems.push(error.to_string());
            }
            self.orders.each.entry(id.clone()).or_insert_with(|| Driven::new(State::new(id.clone())));
        }
        let mut events = Events::new();
        for (id, driven) in &mut self.orders.each {
            // What was asked for without an account was never heard.
            if (!driven.is_started || is_lost) && self.orders.ca.is_some() {
                (driven.is_started, driven.settings) = (true, None);
                events.push((id.clone(), Event::Started));
            }
            let settings = wanted.get(id).cloned().unwrap_or_default();
            if driven.is_started && driven.settings.as_ref() != Some(&settings) {
                driven.settings = Some(settings.clone());
                events.push((id.clone(), Event::Settings(settings)));
            }
        }
        events.extend(self.allowed_by_now());
        let changed = self.step_orders(events, now);
        self.look_elsewhere(now);
        changed
    }

    /// Those that CAA forbade, and does not forbid any more.
    fn allowed_by_now(&self) -> Events {
        let was_forbidden = |driven: &Driven| {
            driven.state.phase() == Phase::Resting
                && driven.state.failure().is_some_and(|failure| failure.step == Step::Caa)
        };
        let is_allowed = |driven: &Driven| {
            let names = driven.settings.as_ref().map(|settings| &settings.names);
            names.is_some_and(|names| matches!(self.may_issue(names, Since::Ever), Ok(Ok(()))))
        };
        let allowed = self.orders.each.iter().filter(|(_, driven)| was_forbidden(driven) && is_allowed(driven));
        allowed.map(|(id, _)| (id.clone(), Event::MayIssue(Ok(())))).collect()
    }

    /// With whom, as whom.
    fn account(&self, acme: &crate::config::Acme) -> Result<Arc<ca::Settings>, String> {
        let external = acme.external.as_ref().map(|(key_id, file)| {
            let key = secrets::read(file).map_err(|error| format!("eab-key-file: {error}"))?;
            Ok::<_, String>(ca::External { key_id: key_id.clone(), key: Secret(key) })
        });
        Ok(Arc::new(ca::Settings {
            directory: acme.directory.clone(),
            contacts: acme.contacts.clone(),
            external: external.transpose()?,
            ca_file: acme.roots.clone(),
            state: self.config.state.clone(),
        }))
    }

    /// What is wanted of a certificate: one of each key type.
    fn wanted_of(&self, certificate: &CertificateConfig) -> Vec<(Id, Settings)> {
        let Some(acme) = &self.config.acme else { return Vec::new() };
        let CertificateConfig { host, names, key_types, reuse, profile } = certificate;
        let settings = Settings {
            names: names.clone(),
            reuse: *reuse,
            hold: self.config.hold(host, self.authority(host).map(|zone| &zone.origin)),
            margin: MARGIN,
            profile: profile.clone().or_else(|| acme.profile.clone()),
            directory: acme.directory.clone(),
        };
        let id = |key_type: &KeyType| Id { host: host.clone(), key_type: *key_type };
        key_types.iter().map(|key_type| (id(key_type), settings.clone())).collect()
    }

    /// The operator's word.
    pub(super) fn say_to_orders(&mut self, host: &Name, word: OrderWord, now: Timestamp) -> Result<(), String> {
        let event = match word {
            OrderWord::Order => Event::Order,
            OrderWord::Cancel => Event::Cancel,
            OrderWord::Rotate { reason } => Event::Rotate { reason },
        };
        let ids: Vec<Id> = self.orders.each.keys().filter(|id| id.host == *host).cloned().collect();
        if ids.is_empty() {
            return Err(report::not_ordered(host));
        }
        if self.orders.ca.is_none() {
            return Err("certificates are not ordered with --ephemeral".to_owned());
        }
        // What could not be stored before is told again first: after the word it would undo it.
        self.look_at_orders(now);
        self.step_orders(ids.iter().map(|id| (id.clone(), event.clone())).collect(), now);
        let refused = ids.iter().filter_map(|id| self.orders.each.get_mut(id)?.refused.take()).next();
        match (&self.orders.store_problem, refused) {
            (Some(problem), _) => Err(problem.clone()),
            (None, Some(why)) => Err(format!("{}: {why}", host.to_host())),
            (None, None) => Ok(()),
        }
    }

    /// Tells machines, stores what they have become, and does what they ask for, until nothing comes of it. Whether other proofs are to
    /// stand in the zones.
    fn step_orders(&mut self, events: Events, now: Timestamp) -> bool {
        if events.is_empty() {
            return false;
        }
        let before = self.proofs();
        let reading = self.rollovers.reading(now);
        let mut events = events;
        for _ in 0..ROUNDS {
            let mut states = BTreeMap::new();
            let mut actions: Vec<(Id, Action)> = Vec::new();
            for (id, event) in std::mem::take(&mut events) {
                let Some(driven) = self.orders.each.get_mut(&id) else { continue };
                states.entry(id.clone()).or_insert_with(|| driven.state.clone());
                let (state, asked) = step(driven.state.clone(), event, reading);
                driven.state = state;
                let asked = self.in_turn(&id, asked, reading);
                actions.extend(asked.into_iter().map(|action| (id.clone(), action)));
            }
            if !self.store_orders(&states, reading) {
                break;
            }
            self.say_orders(&actions, &states, now);
            for (id, action) in actions {
                events.extend(self.do_order(&id, action, now).map(|event| (id, event)));
            }
            for id in states.keys() {
                let Some(driven) = self.orders.each.get_mut(id) else { continue };
                driven.due = driven.state.next().unwrap_or(now + CLOCKS).clamp(now + 1, now + CLOCKS);
            }
            if events.is_empty() {
                break;
            }
        }
        self.forget_orders();
        before != self.proofs()
    }

    /// Of what is wanted no more nothing is left when nothing stands in the zones.
    fn forget_orders(&mut self) {
        let is_gone = |driven: &Driven| {
            driven.settings.as_ref().is_some_and(|settings| settings.names.is_empty())
                && driven.state.phase() == Phase::Resting
                && !driven.state.is_to_revoke()
        };
        let gone: Vec<Id> =
            self.orders.each.iter().filter(|(_, driven)| is_gone(driven)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            // What can't be removed now is tried with the next start.
            drop(self.store.remove(KIND, &key(&id)));
            self.orders.each.remove(&id);
        }
    }

    /// Stores the states that are others than before. Whether that was done: otherwise they are as before, and nothing follows.
    fn store_orders(&mut self, before: &BTreeMap<Id, State>, reading: Reading) -> bool {
        let mut states = Vec::new();
        for (id, before) in before {
            let Some(driven) = self.orders.each.get_mut(id) else { continue };
            let is_same = driven.state.is_same_but_for_clock(before);
            if is_same && reading.boot.abs_diff(driven.stored) < STORED {
                continue;
            }
            driven.stored = reading.boot;
            let Ok(json) = serde_json::to_string(&driven.state) else { continue };
            states.push(store::State { kind: KIND.to_owned(), key: key(id), version: VERSION, json });
        }
        if states.is_empty() {
            return true;
        }
        crate::crash::point("acme: before its state is stored");
        if let Err(error) = self.store.together(|store| store.save_all(&states, &[])) {
            error!("what orders of certificates have come to can't be stored, so nothing of it is done: {error}");
            self.orders.store_problem =
                Some(format!("store: {error}: nothing is ordered until it can be written again"));
            for (id, state) in before {
                let Some(driven) = self.orders.each.get_mut(id) else { continue };
                driven.state = state.clone();
                // What it was told is told again.
                (driven.is_started, driven.settings, driven.stored) = (false, None, 0);
            }
            return false;
        }
        self.orders.store_problem = None;
        crate::crash::point("acme: after its state is stored");
        true
    }

    /// Does it; gives what came of it at once.
    fn do_order(&mut self, id: &Id, action: Action, now: Timestamp) -> Option<Event> {
        match action {
            Action::AskCaa { names } => {
                let checking = self.orders.elsewhere.check(names);
                if let Some(driven) = self.orders.each.get_mut(id) {
                    driven.checking = Some(checking);
                }
                return self.checked_one(id, now);
            }
            Action::AskNameservers { proofs } => {
                if let Some(driven) = self.orders.each.get_mut(id) {
                    driven.asking = Some(Asking::new(proofs));
                }
            }
            // What is to stand in the zones is read where they are published.
            Action::Prove { .. } | Action::Alarm(_) | Action::Cleared(_) | Action::Tell(_) => {}
            Action::Do(Task::Revoke { fingerprint, reason }) => match self.presents(&fingerprint) {
                Some(detail) => {
                    return Some(Event::NotRevoked { fingerprint, problem: Problem { detail, ..Problem::default() } });
                }
                None => self.ask_ca(id.clone(), Task::Revoke { fingerprint, reason }),
            },
            Action::Do(task) => self.ask_ca(id.clone(), task),
        }
        None
    }

    /// What is asked for, without an order where one of the host's other key types is open: a CA may take both for the same one.
    fn in_turn(&mut self, id: &Id, asked: Vec<Action>, reading: Reading) -> Vec<Action> {
        let is_order = |action: &Action| matches!(action, Action::Do(Task::Order { .. }));
        let is_open = |driven: &Driven| !matches!(driven.state.phase(), Phase::Resting | Phase::Checking);
        let mut others = self.orders.each.iter().filter(|(other, _)| other.host == id.host && *other != id);
        let open = others.find(|(_, driven)| is_open(driven)).map(|(other, _)| other.key_type);
        let (Some(open), Some(driven)) = (open, self.orders.each.get_mut(id)) else { return asked };
        if !asked.iter().any(is_order) {
            return asked;
        }
        let why = format!("the order of the host's {open} key is under way");
        let (state, more) = step(driven.state.clone(), Event::Waits { why }, reading);
        driven.state = state;
        asked.into_iter().filter(|action| !is_order(action)).chain(more).collect()
    }

    /// What finds no room, or no account, is asked for again.
    fn ask_ca(&self, id: Id, task: Task) {
        let (Some(orders), Some(Ok(settings))) = (&self.orders.ca, &self.orders.account) else { return };
        drop(orders.try_send(ca::Order { id, task, settings: Arc::clone(settings) }));
    }
}

/// What the store knows a certificate by.
fn key(id: &Id) -> String {
    format!("{} {}", id.host.to_lowercase(), id.key_type)
}
