//! What follows from what is known: which records are to be out, whether the next version may be installed, what is retired,
//! and what is asked for now.

use std::collections::BTreeSet;

use crate::dane::tlsa::{Parameters, Tlsa};

use super::Machine;
use super::clock::Age;
use super::facts::{Action, Alarm, Notice, Version};
use super::guard::Guard;
use super::state::{Retry, State};

/// What an address presented counts as known for so many seconds.
const FRESH: u64 = 600;
/// A server that does not show the new set is told of after so many seconds.
const GRACE: u64 = 600;
/// An answer is waited for so many seconds.
const PATIENCE: u64 = 30;

/// When each thing is asked for next; none: it isn't needed.
#[derive(Default)]
struct Due {
    publish: Option<Age>,
    servers: Option<Age>,
    probe: Option<Age>,
    install: Option<Age>,
    hook: Option<Age>,
}

impl Machine<'_> {
    pub(super) fn decide(&mut self) {
        self.settle();
        self.begin();
        self.want();
        if self.may_install() {
            self.install();
        }
        if self.retire() {
            self.begin();
            self.want();
        }
        self.alarm();
        self.ask();
    }

    fn settle(&mut self) {
        self.state.sets.settle(&self.state.settings, &self.state.clock, self.guards);
    }

    fn want(&mut self) {
        let Some(records) = self.wanted() else { return };
        if self.state.sets.want(records, self.state.settings.ttl) {
            self.state.wanted_since = self.age;
            self.state.tries.publish = Retry::default();
            self.state.tries.ask = Retry::default();
        }
    }

    /// The records of every version that may be presented or will be, under each of the parameters that a record can be made
    /// with for all of them. While it is not known what is live, what is out stays; none: it is not known what is out.
    fn wanted(&self) -> Option<Vec<Tlsa>> {
        let state = &*self.state;
        let served = state.sets.served();
        let published = if self.guards.on(Guard::Told) { served? } else { served.unwrap_or_default() };
        if !state.public || state.live.is_none() && state.next.is_none() {
            return Some(if state.public { published.to_vec() } else { Vec::new() });
        }
        let is_next = |version: &Version| state.next.as_ref().is_some_and(|next| next.version.id == version.id);
        let chains = || {
            let versions = state.versions().filter(|version| self.guards.on(Guard::Union) || !is_next(version));
            versions.flat_map(|version| &version.chains)
        };
        let mut parameters: BTreeSet<Parameters> = state.settings.parameters.clone();
        parameters.retain(|parameters| chains().all(|chain| chain.can_make(*parameters)));
        if parameters.is_empty() {
            parameters.insert(Parameters::DEFAULT);
        }
        let before = state.sets.wanted().unwrap_or_default();
        let next: Vec<_> = state.next.iter().flat_map(|next| &next.version.chains).collect();
        let mut records: Vec<Tlsa> = Vec::new();
        for chain in chains().chain(&state.next_keys) {
            for record in chain.records.iter().filter(|record| parameters.contains(&record.parameters)) {
                // RFC 7671 section 8.4: new parameters begin with the current key.
                let is_old = before.iter().any(|other| other.parameters == record.parameters);
                if self.guards.on(Guard::SameKey) || is_old || next.is_empty() || next.contains(&chain) {
                    records.push(record.clone());
                }
            }
        }
        records.sort_unstable();
        records.dedup();
        Some(records)
    }

    fn may_install(&self) -> bool {
        let state = &*self.state;
        let Some(next) = state.next.as_ref().filter(|next| !next.installing) else { return false };
        let matches = state.sets.satisfy(&next.version) || !self.guards.on(Guard::Cached);
        let known = state.is_live_known(self.age) || !self.guards.on(Guard::LiveKnown);
        let fresh = state.sets.are_fresh(self.age, FRESH) || !self.guards.on(Guard::Fresh);
        // Where nothing was deployed nobody reads it yet, and nobody has to be asked.
        let first = state.live.is_none() && state.old.is_empty();
        !state.held && state.after.is_none() && matches && (first || fresh && (known || !state.sets.is_out()))
    }

    fn install(&mut self) {
        if let Some(next) = &mut self.state.next {
            next.installing = true;
            let notice = Notice::Installing(next.version.id.clone());
            self.state.tries.install = Retry::default();
            self.tell(notice);
        }
    }

    /// Retires what nothing presents, and ends the rollover. Whether that changed anything.
    fn retire(&mut self) -> bool {
        let before = (self.state.old.len(), self.state.public, self.state.after.is_some());
        let served = self.is_served();
        let drain = if self.guards.on(Guard::Drain) { self.state.drain() } else { 0 };
        let (age, mark, presented) = (self.age, self.state.clock.mark(), self.guards.on(Guard::Presented));
        self.publish_first(served);
        for leaving in &mut self.state.old {
            if served {
                leaving.unseen.get_or_insert(mark);
            } else if presented {
                leaving.unseen = None;
            }
        }
        let fresh = self.state.are_fresh(age) || !self.guards.on(Guard::Unasked);
        if !self.state.held && fresh && (served || !presented) {
            let clock = self.state.clock.clone();
            let is_over = |unseen: Option<Age>| unseen.is_some_and(|unseen| clock.elapsed(unseen) >= drain);
            for leaving in self.state.old.extract_if(.., |leaving| is_over(leaving.unseen)) {
                self.actions.push(Action::Retire { version: leaving.version.id });
            }
        }
        if served && self.state.public && self.state.old.is_empty() && self.state.after.take().is_some() {
            self.state.swapped = None;
            let id = self.state.live().unwrap_or_default().to_owned();
            self.tell(Notice::Finished(id));
        }
        before != (self.state.old.len(), self.state.public, self.state.after.is_some())
    }

    /// The first records go out when every address presents what they are of; where it presented another chain before, when
    /// the mail server's old processes are gone too.
    fn publish_first(&mut self, served: bool) {
        let drain = self.state.first_drain();
        let Some(after) = &mut self.state.after else { return };
        after.served = if served { after.served.or(Some(self.state.clock.mark())) } else { None };
        self.state.public |= after.served.is_some_and(|since| self.state.clock.elapsed(since) >= drain);
    }

    fn is_served(&self) -> bool {
        let (hook, every, unasked) =
            (self.guards.on(Guard::Hook), self.guards.on(Guard::EveryAddress), self.guards.on(Guard::Unasked));
        if hook && every && unasked {
            return self.state.is_served();
        }
        let Some(live) = &self.state.live else { return false };
        let hooked = self.state.after.as_ref().is_none_or(|after| after.hooked.is_some());
        let mut served = self.state.addresses.values().map(|address| {
            (address.unasked && !unasked) || address.presents.as_ref().is_some_and(|chain| live.has(chain))
        });
        (hooked || !hook) && if every { served.all(|served| served) } else { served.any(|served| served) }
    }

    fn alarm(&mut self) {
        let alarms = self.state.standing(self.age);
        for alarm in alarms.difference(&self.state.alarms) {
            self.actions.push(Action::Alarm(alarm.clone()));
        }
        for alarm in self.state.alarms.difference(&alarms) {
            self.actions.push(Action::Cleared(alarm.clone()));
        }
        self.state.alarms = alarms;
    }

    fn ask(&mut self) {
        let due = self.state.due(self.age);
        let age = self.age;
        let is_due = |due: Option<Age>| due.is_some_and(|due| due <= age);
        let State { tries, sets, .. } = &mut *self.state;
        if is_due(due.publish)
            && let Some(records) = sets.wanted()
        {
            tries.publish.ask(age);
            self.actions.push(Action::Publish { records: records.to_vec(), ttl: self.state.settings.ttl });
        }
        let by = self.state.clock.wall_at(age + PATIENCE);
        if is_due(due.servers) {
            self.state.tries.ask.ask(age);
            let servers = self.state.sets.servers().cloned().collect();
            self.actions.push(Action::AskServers { servers, by });
        }
        if is_due(due.probe) {
            self.state.tries.probe.ask(age);
            let addresses = self.state.addresses.keys().cloned().collect();
            self.actions.push(Action::Probe { addresses, by });
        }
        if is_due(due.install)
            && let Some(next) = &self.state.next
        {
            self.state.tries.install.ask(age);
            self.actions.push(Action::Install { version: next.version.id.clone() });
        }
        if is_due(due.hook)
            && let Some(live) = &self.state.live
        {
            self.state.tries.hook.ask(age);
            self.actions.push(Action::RunHook { version: live.id.clone() });
        }
    }
}

impl State {
    /// Whether every address presents the live version, since the mail server was told of it.
    pub(super) fn is_served(&self) -> bool {
        let Some(live) = &self.live else { return false };
        let is_told = self.after.as_ref().is_none_or(|after| after.hooked.is_some());
        let serves = |chain: &String| live.has(chain);
        is_told
            && !self.addresses.is_empty()
            && self
                .addresses
                .values()
                .all(|address| !address.unasked && address.counts && address.presents.as_ref().is_some_and(serves))
    }

    /// Whether each address was asked lately.
    fn are_fresh(&self, age: Age) -> bool {
        let is_fresh = |at: Option<Age>| at.is_some_and(|at| age <= at + FRESH);
        self.addresses.values().all(|address| !address.unasked && is_fresh(address.fresh))
    }

    /// Whether it is known what each address presents, and that its records are out.
    fn is_live_known(&self, age: Age) -> bool {
        let is_known = |chain: &String| self.versions().any(|version| version.has(chain));
        !self.addresses.is_empty()
            && self.are_fresh(age)
            && self.addresses.values().all(|address| address.presents.as_ref().is_some_and(is_known))
    }

    /// How long an old record stays after nothing presents its certificate any more, in seconds.
    fn drain(&self) -> u64 {
        2 * u64::from(self.sets.ttl().max(self.settings.ttl))
    }

    /// When it is asked again what has been seen once, in seconds.
    fn slow(&self) -> u64 {
        u64::from(self.settings.ttl / 2).clamp(60, 3600)
    }

    fn due(&self, age: Age) -> Due {
        let mut due = Due::default();
        let Due { publish, servers, probe, install, hook } = &mut due;
        let is_published = self.sets.is_published();
        if !is_published && !self.sets.is_withheld() {
            *publish = Some(self.tries.publish.due(10, 600));
        }
        let slow = self.slow();
        let soon = |retry: &Retry| retry.due(5, slow);
        let later = |retry: &Retry| retry.last.map_or(0, |last| last + slow);
        let ready = self.next.as_ref().filter(|next| !next.installing && self.after.is_none() && !self.held);
        let ready = ready.is_some_and(|next| self.sets.satisfy(&next.version));
        if self.sets.servers().next().is_some() {
            *servers = match (self.sets.is_settled() && !self.sets.is_shown(), self.sets.is_waiting()) {
                _ if ready && !self.sets.are_fresh(age, FRESH) => {
                    Some(self.tries.ask.last.map_or(0, |last| last + PATIENCE))
                }
                (true, _) => Some(soon(&self.tries.ask)),
                (false, true) => Some(later(&self.tries.ask)),
                (false, false) => None,
            };
        }
        let drained = |unseen: Option<Age>| unseen.is_some_and(|unseen| self.clock.elapsed(unseen) >= self.drain());
        let drained = self.old.iter().any(|leaving| drained(leaving.unseen)) && !self.are_fresh(age) && !self.held;
        let is_busy = self.next.is_some() || self.after.is_some() || !self.old.is_empty();
        if is_busy && !self.addresses.is_empty() {
            *probe = match self.after.is_some() && !self.is_served() {
                _ if drained || ready && !self.is_live_known(age) => Some(self.tries.probe.due(PATIENCE, 300)),
                true => Some(soon(&self.tries.probe)),
                false => Some(later(&self.tries.probe)),
            };
        }
        if !self.held && self.next.as_ref().is_some_and(|next| next.installing) {
            *install = Some(self.tries.install.due(30, 600));
        }
        // What was swapped in is live on the disk: telling the mail server of it waits as an installation does.
        let is_to_reload = self.after.as_ref().is_some_and(|after| after.hooked.is_none());
        if is_to_reload && self.live.as_ref().is_some_and(|live| self.sets.satisfy(live)) {
            *hook = Some(self.tries.hook.due(60, 600));
        }
        due
    }

    /// When the last old record goes; none while a mail server may present its certificate.
    pub(super) fn drained(&self) -> Option<Age> {
        let ends: Option<Vec<Age>> =
            self.old.iter().map(|leaving| Some(self.clock.end(leaving.unseen?, self.drain()))).collect();
        ends?.into_iter().max()
    }

    /// When the first records go out; none where some have, or the mail server does not present what they are of.
    pub(super) fn first_publication(&self) -> Option<Age> {
        let since = self.after.as_ref().filter(|_| !self.public)?.served?;
        Some(self.clock.end(since, self.first_drain()))
    }

    /// How long every address has to present what the first records are of, in seconds.
    fn first_drain(&self) -> u64 {
        if self.strange && !self.settings.vouched { self.drain() } else { 0 }
    }

    pub(super) fn next_age(&self) -> Option<Age> {
        let age = self.clock.age();
        let Due { publish, servers, probe, install, hook } = self.due(age);
        let drained = self.old.iter().filter_map(|leaving| Some(self.clock.end(leaving.unseen?, self.drain())));
        let is_patient = self.sets.behind().next().is_some() || self.may_be_new(age);
        let grace = Some(self.wanted_since + GRACE).filter(|_| is_patient);
        let times = [publish, servers, probe, install, hook].into_iter().flatten().map(|due| due.max(age + 1));
        let moments = drained
            .chain(self.first_publication())
            .chain(grace)
            .chain(self.sets.next(&self.settings, &self.clock))
            .filter(|at| *at > age);
        times.chain(moments).min()
    }

    /// Whether a mail server may still be without the first certificate, and so without TLS: nothing is out that it could fail.
    fn may_be_new(&self, age: Age) -> bool {
        !self.public && age < self.wanted_since + GRACE
    }

    /// What is wrong now.
    fn standing(&self, age: Age) -> BTreeSet<Alarm> {
        let mut alarms = BTreeSet::new();
        alarms.extend(self.swapped.clone().map(Alarm::Swapped));
        let busy = self.next.is_some() || self.after.is_some() || !self.old.is_empty();
        for (name, address) in &self.addresses {
            let is_known = |chain: &String| self.versions().any(|version| version.has(chain));
            if address.presents.as_ref().is_some_and(|chain| !is_known(chain)) {
                alarms.insert(Alarm::Mismatch(name.clone()));
            }
            if busy && address.unasked && !self.may_be_new(age) {
                alarms.insert(Alarm::Unasked(name.clone()));
            }
        }
        for (name, server) in self.sets.behind() {
            if server.passed_over {
                alarms.insert(Alarm::PassedOver(name.clone()));
            } else if age >= self.wanted_since + GRACE {
                let of = if server.dead { Alarm::Unreachable } else { Alarm::Behind };
                alarms.insert(of(name.clone()));
            }
        }
        if self.tries.install.failed {
            alarms.insert(Alarm::InstallFailed);
        }
        if self.tries.hook.failed {
            alarms.insert(Alarm::HookFailed);
        }
        alarms
    }
}
