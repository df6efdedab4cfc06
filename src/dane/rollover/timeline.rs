//! What the machine is going to do if the world is well: a copy of its state is stepped through the time to come, in a world in
//! which nameservers take over what is published, hooks work, and mail servers present what is installed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::dane::tlsa::{Tlsa, Usage};
use crate::dns::Timestamp;

use super::facts::{Action, Alarm, Chain, Event, Notice, Version};
use super::report::Standing;
use super::state::{Phase, State};
use super::{Reading, step};

/// More steps than any rollover takes.
const STEPS: usize = 20_000;
/// What the version is called that does not exist yet.
pub const HYPOTHETICAL: &str = "the next certificate";

/// What is taken for granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assumptions {
    /// How long it takes a nameserver to show what was published, in seconds.
    pub lag: u64,
    /// The nameservers that can't be reached, and won't be.
    pub dead: BTreeSet<String>,
    /// How long a hook takes, in seconds.
    pub hook: u64,
}

/// One moment of what is to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// Seconds since 1970.
    pub at: Timestamp,
    /// What happens.
    pub what: String,
    /// Why then.
    pub why: String,
    /// Until when what it begins lasts; none where that is not known, or it begins nothing.
    pub until: Option<Timestamp>,
    /// What resolvers may hold from then on: of each RRset, the versions that it has records of.
    pub cached: Vec<Vec<String>>,
}

/// What happens from now on, in order. Where nothing is under way, what would with a certificate that has another key.
pub fn plan(state: &State, now: Reading, assumptions: &Assumptions) -> Vec<Moment> {
    let is_idle = state.phase() == Phase::Idle && state.coming() == (None, None);
    match &state.live {
        _ if !is_idle => after(state, Event::Tick, now, assumptions),
        Some(live) => after(state, Event::Source(hypothetical(live)), now, assumptions),
        None => Vec::new(),
    }
}

/// What happens after an event.
pub fn after(state: &State, event: Event, now: Reading, assumptions: &Assumptions) -> Vec<Moment> {
    let mut world = World::new(state, now, assumptions);
    world.tell(event);
    world.run();
    world.moments
}

/// A version with other keys, and of the same issuers.
pub fn hypothetical(live: &Version) -> Version {
    let other = |record: &Tlsa| match record.parameters.usage {
        Usage::PkixEe | Usage::DaneEe => {
            Tlsa { data: record.data.iter().map(|octet| !octet).collect(), ..record.clone() }
        }
        Usage::PkixTa | Usage::DaneTa => record.clone(),
    };
    let chain = |chain: &Chain| Chain {
        fingerprint: format!("{HYPOTHETICAL} {}", chain.fingerprint),
        records: chain.records.iter().map(other).collect(),
        also: chain.also.clone(),
    };
    Version { id: HYPOTHETICAL.to_owned(), chains: live.chains.iter().map(chain).collect() }
}

/// A version's id in a sentence.
fn called(id: &str) -> String {
    if id.starts_with("the ") { id.to_owned() } else { format!("certificate {id}") }
}

/// What a zone has: serial, records, TTL.
type Zone = (u32, Vec<Tlsa>, u32);

struct World<'a> {
    state: State,
    now: Reading,
    assumptions: &'a Assumptions,
    /// What is to be told, and when.
    later: BTreeMap<(Timestamp, u64), Event>,
    number: u64,
    zone: Zone,
    /// The versions of the zone, by when each came out.
    zones: Vec<(Timestamp, Zone)>,
    /// The fingerprint that addresses present.
    presented: Option<String>,
    dead: BTreeSet<String>,
    phase: Phase,
    /// Which version each record is of.
    owners: BTreeMap<Tlsa, String>,
    moments: Vec<Moment>,
    is_over: bool,
}

impl<'a> World<'a> {
    fn new(state: &State, now: Reading, assumptions: &'a Assumptions) -> World<'a> {
        let unreachable =
            state.nameservers().filter(|(_, standing)| !matches!(standing, Standing::Current | Standing::Behind));
        let dead = unreachable.map(|(name, _)| name.to_owned()).chain(assumptions.dead.iter().cloned()).collect();
        let zone = state.published().unwrap_or_default();
        World {
            state: state.clone(),
            now,
            assumptions,
            later: BTreeMap::new(),
            number: 0,
            zones: vec![(now.wall.saturating_sub(assumptions.lag), zone.clone())],
            zone,
            presented: state.vouched().map(|chain| chain.fingerprint.clone()),
            dead,
            phase: state.phase(),
            owners: BTreeMap::new(),
            moments: Vec::new(),
            is_over: false,
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            if self.is_over || self.next().is_none() {
                return;
            }
            self.go_on();
        }
    }

    /// When anything happens next.
    fn next(&self) -> Option<Timestamp> {
        let fact = self.later.first_key_value().map(|((at, _), _)| *at);
        self.state.next().into_iter().chain(fact).min()
    }

    /// Lets it happen.
    fn go_on(&mut self) {
        let Some(next) = self.next() else { return };
        let seconds = next.saturating_sub(self.now.wall);
        self.now.wall += seconds;
        self.now.boot += seconds;
        let is_due = self.later.first_key_value().is_some_and(|((at, _), _)| *at <= next);
        let event = if is_due { self.later.pop_first().map(|(_, event)| event) } else { None };
        self.tell(event.unwrap_or(Event::Tick));
    }

    fn after(&mut self, seconds: u64, event: Event) {
        self.number += 1;
        self.later.insert((self.now.wall + seconds, self.number), event);
    }

    fn tell(&mut self, event: Event) {
        let (state, actions) = step(std::mem::take(&mut self.state), event, self.now);
        self.state = state;
        self.learn();
        self.note_phase();
        for action in actions {
            self.act(action);
        }
    }

    /// Which records are whose.
    fn learn(&mut self) {
        for version in self.state.versions() {
            for record in version.chains.iter().flat_map(|chain| &chain.records) {
                if !self.owners.contains_key(record) {
                    self.owners.insert(record.clone(), version.id.clone());
                }
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Publish { records, ttl } if (&records, ttl) != (&self.zone.1, self.zone.2) => {
                self.zone = (self.zone.0.wrapping_add(1), records, ttl);
                self.zones.push((self.now.wall, self.zone.clone()));
                let (serial, records, ttl) = self.zone.clone();
                self.after(0, Event::Published { serial, records, ttl });
            }
            Action::AskServers { servers, .. } => servers.into_iter().for_each(|server| self.show(server)),
            Action::Probe { addresses, .. } => {
                for address in addresses {
                    if let Some(chain) = self.presented.clone() {
                        self.after(0, Event::Presents { address, chain });
                    }
                }
            }
            Action::Install { version } => {
                if !self.state.settings.hook {
                    self.present(&version);
                }
                self.after(0, Event::Installed { version });
            }
            Action::RunHook { version } => {
                self.present(&version);
                self.after(self.assumptions.hook, Event::HookDone { version });
            }
            Action::Tell(Notice::Finished(id)) if self.state.coming() == (None, None) => {
                self.moment(
                    format!("{} is all that is published", called(&id)),
                    "nothing needs the old record any more",
                );
                self.is_over = true;
            }
            Action::Alarm(Alarm::PassedOver(server)) => {
                let why = "it could not be reached for so long that its zone has expired and caches are empty";
                self.moment(format!("nameserver {server} is waited for no longer"), why);
            }
            _ => {}
        }
    }

    fn show(&mut self, server: String) {
        if self.dead.contains(&server) {
            return self.after(0, Event::Unreachable { server });
        }
        let by = self.now.wall.saturating_sub(self.assumptions.lag);
        let shown = self.zones.iter().rev().find(|(at, _)| *at <= by).or(self.zones.first());
        if let Some((serial, records, ttl)) = shown.map(|(_, zone)| zone.clone()) {
            self.after(0, Event::Shows { server, serial, records, ttl });
        }
    }

    fn present(&mut self, version: &str) {
        let of = self.state.versions().find(|other| other.id == version);
        self.presented = of.and_then(|version| version.chains.first()).map(|chain| chain.fingerprint.clone());
    }

    fn moment(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let whose = |set: &[Tlsa]| -> Vec<String> {
            let ids: BTreeSet<&String> = set.iter().filter_map(|record| self.owners.get(record)).collect();
            ids.into_iter().cloned().collect()
        };
        let cached = self.state.cached().map(whose).collect::<BTreeSet<_>>().into_iter().collect();
        let (at, until) = (self.now.wall, self.state.goes_on());
        self.moments.push(Moment { at, what: what.into(), why: why.into(), until, cached });
    }

    fn note_phase(&mut self) {
        let phase = self.state.phase();
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        let next = self.state.coming().0.unwrap_or_default().to_owned();
        let (is_first, next) = (next.is_empty(), called(&next));
        let live = called(self.state.live().unwrap_or_default());
        let matches = self.state.next.as_ref().is_some_and(|next| self.state.sets.satisfy(&next.version));
        match phase {
            Phase::Publishing if is_first => {}
            // Nothing is waited for.
            Phase::Holding if matches => {}
            Phase::Publishing => self.moment(
                format!("the records of {live} and of {next} are published together"),
                "resolvers have to know the next key before it is presented",
            ),
            Phase::Holding => self.moment(
                "every nameserver that can be reached shows both: the wait begins",
                "a resolver may hold the set without the next key",
            ),
            Phase::Installing => self.moment(
                format!("{next} is installed"),
                "whatever set a resolver may hold has a record that it matches",
            ),
            Phase::Reloading => self.moment("the hook is run", "the mail server has to read what was installed"),
            Phase::Confirming => {
                self.moment("every address is asked which certificate it presents", "both records stay until then")
            }
            Phase::Draining => self.moment(
                format!("every address presents {live}"),
                "the old record stays: old processes and caches may need it",
            ),
            Phase::Idle => {}
        }
    }
}

/// A state in which a version is deployed, presented at one address, and all that is published and cached.
pub fn settled(settings: super::Settings, servers: &BTreeSet<String>, live: Version, now: Reading) -> State {
    let fingerprint = live.chains.first().map(|chain| chain.fingerprint.clone()).unwrap_or_default();
    let address = "the mail server".to_owned();
    let facts = [
        Event::Started,
        Event::Settings(settings),
        Event::Servers(servers.clone()),
        Event::Addresses(BTreeSet::from([address.clone()])),
        Event::Published { serial: 1, records: Vec::new(), ttl: 0 },
        Event::Deployed(live.clone()),
        Event::Source(live),
        Event::Presents { address, chain: fingerprint },
    ];
    let state = facts.into_iter().fold(State::default(), |state, fact| step(state, fact, now).0);
    let wait = state.settings.interval + 3 * u64::from(state.settings.ttl);
    later(&state, Event::Tick, now, wait).0
}

/// What a state becomes by an event and some seconds in which the world is well.
pub fn later(state: &State, event: Event, now: Reading, seconds: u64) -> (State, Reading) {
    let assumptions = Assumptions::default();
    let mut world = World::new(state, now, &assumptions);
    world.tell(event);
    let until = now.wall + seconds;
    while world.next().is_some_and(|next| next <= until) {
        world.go_on();
    }
    let passed = until.saturating_sub(world.now.wall);
    world.now.wall += passed;
    world.now.boot += passed;
    world.tell(Event::Tick);
    (world.state, world.now)
}
