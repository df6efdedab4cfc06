//! The daemon around the machine: it stores the state, then acts, and may die before, between and after.

use std::collections::BTreeSet;

use rooms::dane::rollover::guard::Guards;
use rooms::dane::rollover::{Action, Chain, Event, Phase, Settings, Version, step_with};
use rooms::dane::tlsa::{Matching, Parameters, Selector, Tlsa, Usage};

use crate::oracle::{By, Cert, Record, delivers};
use crate::world::{Happening, PARAMETERS, World, Zone};

fn tlsa((usage, selector, data): Record) -> Tlsa {
    let usage = if usage == 3 { Usage::DaneEe } else { Usage::DaneTa };
    let selector = if selector == 1 { Selector::Spki } else { Selector::Cert };
    let parameters = Parameters { usage, selector, matching: Matching::Sha256 };
    Tlsa { parameters, data: data.to_be_bytes().to_vec() }
}

fn record(tlsa: &Tlsa) -> Record {
    let Parameters { usage, selector, .. } = tlsa.parameters;
    (usage as u8, selector as u8, u16::from_be_bytes([tlsa.data[0], tlsa.data[1]]))
}

fn chain(cert: Cert) -> Chain {
    let mut records = vec![tlsa((3, 0, cert.number)), tlsa((3, 1, cert.key))];
    if cert.whole {
        records.push(tlsa((2, 1, cert.issuer)));
    }
    Chain { fingerprint: cert.number.to_string(), records, also: Vec::new() }
}

fn server_name(server: usize) -> String {
    server.to_string()
}

impl World {
    fn version(&self, number: u16) -> Version {
        Version { id: number.to_string(), chains: self.chains(number).map(chain).collect() }
    }

    /// Gives the machine a fact, stores what it says, and does what it wants; or dies on the way.
    pub fn tell(&mut self, event: Event, guards: Guards) {
        let dies = !self.healthy && self.crashes > 0 && self.chance.one_in(self.crashes);
        if dies && self.chance.one_in(3) {
            self.crash();
            return;
        }
        self.surely(event, dies, guards);
    }

    pub fn surely(&mut self, event: Event, dies: bool, guards: Guards) {
        if !self.up {
            return;
        }
        let (state, actions) = step_with(std::mem::take(&mut self.state), event, self.reading(), guards);
        self.state = state;
        let done = if dies { self.chance.below(actions.len() as u64 + 1) as usize } else { actions.len() };
        for action in actions.into_iter().take(done) {
            self.act(action);
        }
        if dies {
            self.crash();
        } else if self.up {
            self.plan_tick();
        }
    }

    fn plan_tick(&mut self) {
        let Some(next) = self.state.next() else { return };
        let seconds = next.saturating_sub(self.reading().wall).max(1);
        if self.planned != self.now + seconds {
            self.planned = self.now + seconds;
            self.later(seconds, Happening::Tick { planned: self.planned });
        }
    }

    pub fn crash(&mut self) {
        if !self.up {
            return;
        }
        self.up = false;
        self.life += 1;
        let most = if self.chance.one_in(3) { 5 * u64::from(self.ttl) } else { 30 };
        let after = self.chance.within(1, most);
        if self.chance.one_in(3) {
            self.boot_id += 1;
            self.boot = self.now + after;
            self.unsynchronise();
        }
        self.later(after, Happening::Restart);
    }

    /// The wall clock shows anything, until it is set right.
    pub fn unsynchronise(&mut self) {
        let most = [100, 10_000, 9_000_000][self.chance.below(3) as usize];
        self.offset = self.chance.within(0, 2 * most) as i64 - most as i64;
        self.synchronised = false;
        self.within(6 * u64::from(self.ttl), Happening::Synchronised);
    }

    pub fn restart(&mut self, guards: Guards) {
        if self.up {
            return;
        }
        self.up = true;
        self.asleep = false;
        self.planned = 0;
        self.boot = self.boot.min(self.now);
        if self.chance.one_in(10) {
            let stored = serde_json::to_string(&self.state).unwrap();
            self.state = serde_json::from_str(&stored).unwrap();
        }
        if self.servers.len() > 1 {
            let server = self.chance.within(1, self.servers.len() as u64 - 1) as usize;
            if self.chance.one_in(2) {
                self.restore(server);
            }
        }
        self.tell(Event::Started, guards);
        self.tell_all(guards);
    }

    /// Acts upon the prerequisites of the owners: the machine knows before anything comes out.
    pub fn withhold(&mut self, guards: Guards) {
        let life = self.life;
        if self.state.wanted().is_none() {
            // What is out from before is told before anything is changed.
            self.tell_published(guards);
        }
        if self.up && self.life == life {
            self.tell(Event::Withheld(self.owners.iter().all(|owner| !owner.open)), guards);
        }
        if self.up && self.life == life && self.state.wanted().is_some() {
            self.owners.iter_mut().for_each(|owner| owner.publishes = owner.open);
            let wanted = self.wanted();
            self.republish(wanted, self.zone().ttl);
            self.tell_published(guards);
        }
    }

    /// What the stored state says.
    fn wanted(&mut self) -> Option<usize> {
        let records = self.state.wanted()?.iter().map(record).collect();
        Some(self.oracle.set(records))
    }

    /// Our zone has what is wanted and may be out; what stands there stays as long as nothing was asked for.
    pub fn republish(&mut self, wanted: Option<usize>, ttl: u32) {
        let zone = self.zone();
        let none = self.oracle.set(Vec::new());
        let sets = match wanted {
            Some(wanted) => self.publication(wanted),
            None => [0, 1].map(|owner| if self.owners[owner].publishes { zone.sets[owner] } else { none }),
        };
        if zone.sets != sets || zone.ttl != ttl {
            self.publish(sets, ttl);
        }
    }

    /// Everything that is so now.
    pub fn tell_all(&mut self, guards: Guards) {
        let addresses = (0..self.down.len()).map(|address| address.to_string()).collect();
        let settings = self.settings();
        self.tell(Event::Settings(settings), guards);
        self.tell_servers(guards);
        self.tell(Event::Addresses(addresses), guards);
        self.withhold(guards);
        if self.state.live().is_none() {
            for number in self.also.clone() {
                self.surely(Event::Also(self.version(number)), false, guards);
            }
        }
        self.tell_deployed(guards);
        self.tell_source(guards);
        self.tell_key(guards);
    }

    pub fn tell_servers(&mut self, guards: Guards) {
        let named = (0..self.servers.len()).filter(|server| self.servers[*server].named);
        let event = Event::Servers(named.map(server_name).collect());
        let life = self.life;
        self.tell(event, guards);
        for server in self.servers.iter_mut().filter(|_| self.up && self.life == life) {
            server.known |= server.named;
        }
    }

    pub fn settings(&self) -> Settings {
        let parameters = PARAMETERS[usize::from(self.parameters)].iter();
        Settings {
            parameters: parameters.map(|&(usage, selector)| tlsa((usage, selector, 0)).parameters).collect(),
            ttl: self.ttl,
            interval: self.interval,
            expire: self.expire,
            delegation: self.delegation,
            hook: self.hook,
            vouched: self.declared,
        }
    }

    /// Those of all owners.
    fn records(&self, zone: Zone) -> Vec<Tlsa> {
        let records = zone.sets.into_iter().flat_map(|set| self.oracle.records(set));
        let records: BTreeSet<Tlsa> = records.copied().map(tlsa).collect();
        records.into_iter().collect()
    }

    pub fn tell_published(&mut self, guards: Guards) {
        let zone = self.zone();
        let records = self.records(zone);
        self.tell(Event::Published { serial: zone.serial, records, ttl: zone.ttl }, guards);
    }

    pub fn tell_key(&mut self, guards: Guards) {
        let chain =
            |key| Chain { fingerprint: format!("key {key}"), records: vec![tlsa((3, 1, key))], also: Vec::new() };
        self.tell(Event::NextKeys(self.next_key.map(chain).into_iter().collect()), guards);
    }

    pub fn tell_source(&mut self, guards: Guards) {
        self.tell(Event::Source(self.version(self.source)), guards);
    }

    /// What stands on the disk; if somebody else put it there, the union has to be asked for in this very step.
    pub fn tell_deployed(&mut self, guards: Guards) {
        let Some(disk) = self.disk else { return };
        let before = self.life;
        self.surely(Event::Deployed(self.version(disk)), false, guards);
        if !self.up || before != self.life {
            return;
        }
        self.disk_told = self.disk_told.min(self.now);
        if !self.hook {
            self.told_of = Some(disk);
        }
        self.chains(disk).for_each(|cert| self.oracle.told(cert, self.now));
        let Some(set) = self.wanted().filter(|_| self.disk_by_outsider) else { return };
        let records = self.oracle.records(set);
        let known = |by: By| by == By::Machine || matches!(by, By::Outsider { told } if told < u64::MAX);
        let presented = self.oracle.presented.iter().flatten().filter(|(_, by)| known(*by)).map(|(cert, _)| *cert);
        let wrong = presented.chain(self.chains(disk)).find(|cert| !delivers(*cert, records));
        if let Some(wrong) = wrong {
            let text = format!("{}: after a swap {records:?} is asked for, not {wrong:?}", self.now);
            self.oracle.violations.push(text);
        }
    }

    fn act(&mut self, action: Action) {
        let life = self.life;
        let delay = self.chance.below(4);
        match action {
            Action::Publish { records, ttl } => {
                let set = self.oracle.set(records.iter().map(record).collect());
                if self.commanded != Some(set) {
                    self.oracle.decided(set, self.now);
                }
                self.commanded = Some(set);
                self.commands += 1;
                self.later(delay, Happening::Publish { life, order: self.commands, set, ttl });
            }
            Action::AskServers { servers, .. } => {
                for server in servers {
                    let server = server.parse().unwrap();
                    let (zone, turn) = (self.answer(server), self.servers[server].turn);
                    let delay = self.chance.below(5);
                    self.later(delay, Happening::Shown { life, server, turn, zone });
                }
            }
            Action::Probe { .. } if self.declared && self.state.phase() == Phase::Reloading => {}
            Action::Probe { .. } if self.declared => {
                for address in 0..self.down.len() {
                    if let Some(cert) = self.told_of {
                        let turn = self.turns[address];
                        self.later(delay, Happening::Presented { life, address, turn, cert: Some(cert) });
                    }
                }
            }
            Action::Probe { addresses, .. } => {
                for address in addresses {
                    let address: usize = address.parse().unwrap();
                    let shown = &self.oracle.presented[address];
                    let cert = shown[self.chance.below(shown.len() as u64) as usize].0.number;
                    let cert = (!self.down[address]).then_some(cert);
                    let turn = self.turns[address];
                    self.later(delay, Happening::Presented { life, address, turn, cert });
                }
            }
            Action::Install { version } => {
                let number = version.parse().unwrap();
                // Where nothing is deployed nobody reads it yet.
                let out = self.oracle.is_out(self.now) && self.disk.is_some();
                if self.installing.as_ref() != Some(&version) && out && self.asked.contains(&Some(false)) {
                    let text = format!("{}: installed though an address could not be asked", self.now);
                    self.oracle.violations.push(text);
                }
                self.installing = Some(version);
                self.later(delay, Happening::Install { life, number });
            }
            Action::RunHook { version } => {
                self.later(delay, Happening::Hook { life, number: version.parse().unwrap() });
            }
            Action::Retire { version } => {
                if self.disk.is_some_and(|disk| disk.to_string() == version) && !self.disk_by_outsider {
                    self.oracle.violations.push(format!("{}: what is deployed is retired", self.now));
                }
            }
            Action::Alarm(_) | Action::Cleared(_) | Action::Tell(_) => {}
        }
    }

    pub fn shown(&mut self, server: usize, zone: Option<usize>, guards: Guards) {
        let name = server_name(server);
        let Some(mut zone) = zone else {
            return self.tell(Event::Unreachable { server: name }, guards);
        };
        // It may go back to what it had, and says so at once.
        let restores = self.servers[server].restores;
        if restores > 0 && self.chance.one_in(restores) && self.restore(server) {
            zone = self.servers[server].zone;
        }
        let zone = self.zones[zone];
        let records = self.records(zone);
        self.surely(Event::Shows { server: name, serial: zone.serial, records, ttl: zone.ttl }, false, guards);
        self.heard(server);
    }

    pub fn presented(&mut self, address: usize, cert: Option<u16>, guards: Guards) {
        self.asked[address] = Some(cert.is_some());
        if let Some(before) = cert.and_then(|_| self.relapse(address)) {
            let event = Event::Presents { address: address.to_string(), chain: before.to_string() };
            return self.surely(event, false, guards);
        }
        let name = address.to_string();
        let event = match cert {
            Some(cert) => Event::Presents { address: name, chain: cert.to_string() },
            None => Event::Unasked { address: name },
        };
        self.tell(event, guards);
    }
}
