//! The rollover of a host's certificate: what is published, installed and retired, and when. A machine without a clock,
//! a socket or a file: facts go in, actions come out, and the state is stored in between.
//!
//! ```text
//!            a certificate in the source                       newer one, not shown everywhere yet: replaces it
//!   Idle ───────────────────────────────▶ Publishing ◀──────┐  newer one later: queued
//!    ▲                                    current + next     │
//!    │                    every server    │         ▲        │ a server shows old data again
//!    │                    shows both      ▼         └────────┘
//!    │                                   Holding    until every set that a cache may hold matches the next one:
//!    │                                    │         max(2 x TTL, interval) from the last server that showed it,
//!    │                                    │         a dead one EXPIRE + 2 x TTL from when it could last have fetched
//!    │            each address known      ▼         (matches at once: same key, or a key long published)
//!    │                                   Installing ── fails: tried again, both records stay
//!    │                                    │
//!    │                                    ▼
//!    │  swapped by somebody else ──────▶ Reloading ─── hook fails: tried again, both records stay
//!    │  (union at once, nothing removed,  │            (after a swap it waits for the caches as an installation does)
//!    │   alarm)                           ▼
//!    │                                   Confirming    until every address presents the next one
//!    │                                    │        ▲
//!    │                                    ▼        │   an address presents the old one, or can't be asked
//!    └───────────────────────────────── Draining ──┘   2 x TTL; then the old one is retired
//! ```
//!
//! What resolvers may hold is in [`sets`], and one rule follows from it: a version is installed when each of those sets
//! matches it. Everything is decided anew in every step from what is known, so a fact that comes twice, late or after a
//! crash does no harm, and an action that was lost comes again. Only what can't be undone is a state of its own: that the
//! installer was called, and that the hook has run.
//!
//! Whether the records really go out is for [`super::publication`]: what it withholds and what our zone serves come back as
//! facts, and where nothing is out nothing has to be waited for.

pub mod clock;
mod decide;
pub mod facts;
#[doc(hidden)]
pub mod guard;
pub mod report;
pub mod sets;
pub mod state;
pub mod timeline;

pub use clock::{Age, Reading};
pub use facts::{Action, Alarm, Chain, Event, Notice, Settings, Version};
pub use state::{Phase, State};

use guard::{Guard, Guards};
use state::{After, Leaving, Next, Retry, Tries};

/// One step. Total: every state takes every event at any time. The state must be stored before the actions are taken.
pub fn step(state: State, event: Event, now: Reading) -> (State, Vec<Action>) {
    step_with(state, event, now, Guards::default())
}

/// A step of a machine that may lack a guard: for the test that shows what each is for.
#[doc(hidden)]
pub fn step_with(mut state: State, event: Event, now: Reading, guards: Guards) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    if let Some(jump) = state.clock.read(now, guards) {
        actions.push(Action::Tell(Notice::ClockJumped(jump)));
    }
    let mut machine = Machine { age: state.clock.age(), state: &mut state, guards, actions: &mut actions };
    machine.take(event);
    machine.decide();
    (state, actions)
}

struct Machine<'a> {
    state: &'a mut State,
    age: Age,
    guards: Guards,
    actions: &'a mut Vec<Action>,
}

impl Machine<'_> {
    fn tell(&mut self, notice: Notice) {
        self.actions.push(Action::Tell(notice));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started => self.started(),
            Event::Tick => {}
            Event::Settings(settings) => {
                if settings.vouched != self.state.settings.vouched {
                    self.state.tries.probe = Retry::default();
                }
                self.state.settings = settings;
            }
            Event::Servers(names) => self.state.sets.name_servers(&names, self.state.clock.mark(), self.guards),
            Event::Addresses(names) => {
                self.state.addresses.retain(|name, _| names.contains(name));
                for name in names {
                    self.state.addresses.entry(name).or_default();
                }
            }
            Event::Source(version) => self.source(version),
            Event::NextKeys(keys) => self.state.next_keys = keys,
            Event::Deployed(version) => self.deployed(version),
            Event::Also(version) => self.leave(version),
            Event::Withheld(withheld) => self.state.sets.withhold(withheld, self.guards),
            Event::Published { serial, records, ttl } => {
                self.state.public |= !records.is_empty();
                self.state.sets.published(serial, records, ttl);
            }
            Event::Shows { server, serial, records, ttl } => {
                self.state.sets.shown(&server, serial, (records, ttl), self.age, self.guards);
            }
            Event::Unreachable { server } => self.state.sets.unreachable(&server, self.age),
            Event::Presents { address, chain } => self.presents(&address, chain),
            Event::Unasked { address } => {
                if let Some(address) = self.state.addresses.get_mut(&address) {
                    address.unasked = true;
                }
            }
            Event::Installed { version } => self.installed(&version),
            Event::InstallFailed { version } => {
                let is_it = self.state.next.as_ref().is_some_and(|next| next.installing && next.version.id == version);
                self.state.tries.install.failed |= is_it;
            }
            Event::Lost { version } => self.lost(&version),
            Event::HookDone { version } => self.hooked(&version),
            Event::HookFailed { version } => {
                self.state.tries.hook.failed |= self.is_to_reload(&version);
            }
            Event::Start => self.start(),
            Event::Hold => self.state.held = true,
            Event::Resume => self.state.held = false,
            Event::Abort => self.abort(),
        }
    }

    /// Whatever was asked for may be lost: it is asked for again, and the alarms are told again. What the world was seen to be
    /// like before may have changed meanwhile.
    fn started(&mut self) {
        self.state.tries = Tries::default();
        self.state.alarms.clear();
        self.state.sets.stale();
        self.state.addresses.values_mut().for_each(|address| address.fresh = None);
    }

    fn source(&mut self, version: Version) {
        let is = |other: &Version| other.id == version.id;
        if self.state.given_up.as_ref().is_some_and(is) {
            return;
        }
        self.state.given_up = None;
        let installing = self.state.next.as_ref().is_some_and(|next| next.installing);
        if self.state.next.as_ref().is_some_and(|next| is(&next.version)) {
            self.state.queued = None;
        } else if self.state.live.as_ref().is_some_and(is) && !installing {
            // The source says that what is live is right: nothing else comes.
            self.state.queued = None;
            self.give_up_next();
        } else if self.state.queued.as_ref().is_none_or(|queued| !is(queued)) {
            // Nothing is gained yet by a version that not every server shows.
            if !installing && !self.state.sets.is_shown() {
                self.give_up_next();
            }
            if self.state.next.is_some() || self.state.after.is_some() {
                self.tell(Notice::Queued(version.id.clone()));
            }
            self.state.queued = Some(version);
        }
    }

    /// A version that was not installed leaves as every other does: nobody but the probes knows who presents it.
    fn give_up_next(&mut self) {
        if let Some(next) = self.state.next.take() {
            self.tell(Notice::GivenUp(next.version.id.clone()));
            self.leave(next.version);
        }
    }

    fn leave(&mut self, version: Version) {
        if self.state.versions().all(|other| other.id != version.id) {
            self.state.old.push(Leaving { version, unseen: None });
        }
    }

    /// What stands on the disk. Where neither the machine put it there nor it was there, somebody else did.
    fn deployed(&mut self, version: Version) {
        let installing = self.state.next.as_ref().filter(|next| next.installing);
        if installing.is_some_and(|next| next.version.id == version.id) {
            self.installed(&version.id);
        } else if self.state.live.is_none() {
            self.state.old.retain(|leaving| leaving.version.id != version.id);
            self.state.next.take_if(|next| next.version.id == version.id);
            self.state.queued.take_if(|queued| queued.id == version.id);
            self.state.live = Some(version);
            self.state.after = Some(After { hooked: Some(self.age), served: None });
            // Mail servers that present something else were never told.
            if self.state.versions().count() > 1 {
                self.reload();
            }
        } else if self.state.live.as_ref().is_some_and(|live| live.id != version.id) {
            self.swapped(version);
        }
    }

    /// RFC 7671 section 8.1 can't be kept any more: the union at once makes the damage as short as the caches allow.
    fn swapped(&mut self, version: Version) {
        if !self.guards.on(Guard::SwapUnion) {
            return;
        }
        self.state.swapped = Some(version.id.clone());
        if self.state.next.as_ref().is_some_and(|next| next.installing) {
            self.leave(version);
            return;
        }
        self.state.queued.take_if(|queued| queued.id == version.id);
        if let Some(next) = self.state.next.take_if(|next| next.version.id != version.id) {
            self.leave(next.version.clone());
            self.state.queued.get_or_insert(next.version);
        }
        self.state.next = None;
        let before = self.state.live.replace(version);
        let live = self.state.live.as_ref().map(|live| live.id.clone());
        self.state.old.retain(|leaving| Some(&leaving.version.id) != live.as_ref());
        if let Some(before) = before.filter(|_| self.guards.on(Guard::SwapKeeps)) {
            self.leave(before);
        }
        self.reload();
    }

    /// The mail server has to be told of what is live.
    fn reload(&mut self) {
        let hooked = (!self.state.settings.hook).then_some(self.age);
        self.state.after = Some(After { hooked, served: None });
        self.told();
    }

    /// What was presented until now was so before the mail server was told.
    fn told(&mut self) {
        self.state.addresses.values_mut().for_each(|address| address.counts = false);
        self.state.tries.hook = Retry::default();
        self.state.tries.probe = Retry::default();
    }

    fn presents(&mut self, name: &str, chain: String) {
        let Some(address) = self.state.addresses.get_mut(name) else { return };
        address.presents = Some(chain.clone());
        address.counts = true;
        address.fresh = Some(self.age);
        address.unasked = false;
        // What is presented already and known from the source is ours: somebody put it there. Any other chain may be an
        // attacker's between the probe and the server, and is not published.
        let known = self.state.versions().any(|version| version.has(&chain));
        if let Some(queued) = self.state.queued.take_if(|queued| !known && queued.has(&chain)) {
            self.swapped(queued);
        } else if !known && !self.state.public && !self.state.strange && self.state.after.is_some() {
            // Nothing is out yet, and the mail server was not told of what is deployed.
            self.state.strange = true;
            self.reload();
        }
    }

    fn installed(&mut self, id: &str) {
        let Some(next) = self.state.next.take_if(|next| next.installing && next.version.id == id) else { return };
        let before = self.state.live.replace(next.version);
        self.state.strange |= before.is_none();
        self.state.tries.install = Retry::default();
        if let Some(before) = before {
            self.leave(before);
        }
        self.reload();
        self.tell(Notice::Installed(id.to_owned()));
    }

    fn is_to_reload(&self, id: &str) -> bool {
        let is_waited_for = self.state.after.as_ref().is_some_and(|after| after.hooked.is_none());
        is_waited_for && self.state.live() == Some(id)
    }

    fn hooked(&mut self, id: &str) {
        if self.is_to_reload(id) {
            self.state.after = Some(After { hooked: Some(self.age), served: None });
            self.told();
        }
    }

    fn start(&mut self) {
        match (self.state.given_up.take(), self.state.coming()) {
            (Some(version), _) => self.source(version),
            (None, (None, None)) => {
                let why = "what is installed is the newest that was found: there is nothing to start";
                self.tell(Notice::Refused(why.to_owned()));
            }
            (None, _) if self.state.held => {
                self.tell(Notice::Refused(
                    "it was started, and is held: `danelaw rollover resume` lets it go on".to_owned(),
                ));
            }
            (None, _) => self.tell(Notice::Refused("it was started already".to_owned())),
        }
    }

    fn abort(&mut self) {
        if self.state.next.as_ref().is_some_and(|next| next.installing) {
            let held = if self.state.held { ", and is held: `danelaw rollover resume` first" } else { "" };
            self.tell(Notice::Refused(format!("it is being installed{held}")));
        } else if let Some(next) = self.state.next.take() {
            self.state.given_up = Some(self.state.queued.take().unwrap_or_else(|| next.version.clone()));
            self.tell(Notice::GivenUp(next.version.id.clone()));
            self.leave(next.version);
        } else if let Some(queued) = self.state.queued.take() {
            self.tell(Notice::GivenUp(queued.id.clone()));
            self.state.given_up = Some(queued);
        } else {
            self.tell(Notice::Refused("there is nothing to give up".to_owned()));
        }
    }

    /// It can't be installed, now or ever. It was not presented by what we did; who knows by what else.
    fn lost(&mut self, id: &str) {
        if self.state.next.as_ref().is_some_and(|next| next.version.id == id) {
            self.state.tries.install = Retry::default();
            self.give_up_next();
        }
    }

    /// Begins what is queued, when nothing is under way.
    fn begin(&mut self) {
        if self.state.next.is_none()
            && self.state.after.is_none()
            && let Some(version) = self.state.queued.take()
        {
            self.state.old.retain(|leaving| leaving.version.id != version.id);
            self.tell(Notice::Begun(version.id.clone()));
            self.state.next = Some(Next { version, installing: false });
            self.state.tries.probe = Retry::default();
        }
    }
}
