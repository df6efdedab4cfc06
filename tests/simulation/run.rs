//! One schedule, from its seed to its end: when everything is well for long enough, nothing may be left to do.

use std::cmp::Reverse;

use rooms::dane::rollover::guard::Guards;
use rooms::dane::rollover::{Event, Phase};

use crate::oracle::Cert;
use crate::world::{Happening, World};

/// How it went.
pub struct Outcome {
    /// What the machine did wrong.
    pub problem: Option<String>,
    /// Pairs of a set and a certificate that somebody else brought together.
    pub by_outsiders: u64,
}

pub fn run(seed: u64, with_interval: bool, guards: Guards) -> Outcome {
    let mut world = World::new(seed, with_interval);
    let mut end = u64::MAX;
    let mut events = 0;
    let verbose = std::env::var_os("DANELAW_SEED").is_some();
    while let Some(Reverse((at, _, happening))) = world.queue.pop() {
        if at > end {
            break;
        }
        events += 1;
        world.now = at;
        if verbose {
            let line = format!(
                "{at} {happening:?} {:?} {}\n",
                world.state.phase(),
                serde_json::to_string(&world.state).unwrap()
            );
            std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
        }
        if happening == Happening::Healthy {
            world.heal(guards);
            end = at + world.bound();
        }
        world.happens(happening, guards);
        if !world.oracle.violations.is_empty() {
            break;
        }
        if events > 200_000 {
            world.oracle.violations.push(format!("{at}: it never rests"));
        }
        let busy = world.queue.iter().any(|Reverse((_, _, happening))| !matches!(happening, Happening::Tick { .. }));
        if world.healthy && world.up && !busy && world.state.next().is_none() {
            break;
        }
    }
    let by_outsiders = world.oracle.by_outsiders;
    let problem = world.oracle.violations.first().cloned().or_else(|| world.unfinished());
    Outcome { problem, by_outsiders }
}

impl World {
    fn happens(&mut self, happening: Happening, guards: Guards) {
        match happening {
            Happening::Tick { planned } if planned == self.planned => {
                self.planned = 0;
                self.tell(Event::Tick, guards);
            }
            Happening::Restart if !self.asleep => self.restart(guards),
            Happening::Wake if self.asleep => {
                (self.up, self.asleep) = (true, false);
                self.tell_all(guards);
            }
            Happening::Synchronised => {
                (self.offset, self.synchronised) = (0, true);
                self.tell(Event::Tick, guards);
            }
            Happening::ClockStep => {
                self.unsynchronise();
                self.tell(Event::Tick, guards);
            }
            Happening::Sleep if self.up => {
                (self.up, self.asleep) = (false, true);
                self.life += 1;
                let seconds = 4 * u64::from(self.ttl);
                self.within(seconds, Happening::Wake);
            }
            Happening::Crash => self.crash(),
            Happening::Publish { life, order, set, ttl } if life == self.life && order == self.commands => {
                self.republish(Some(set), ttl);
                self.tell_published(guards);
            }
            Happening::Refresh => {
                let zone = self.zone();
                self.publish(zone.sets, zone.ttl);
                self.tell_published(guards);
            }
            Happening::Fetch { server } => self.fetch(server),
            Happening::Expire { server, fetched } => self.expires(server, fetched),
            Happening::Outage { server } if !self.healthy => self.outage(server),
            Happening::OutageEnds { server } => self.outage_ends(server),
            Happening::Named if !self.healthy => {
                self.named();
                self.later(1, Happening::NamedAnew);
            }
            Happening::NamedAnew => self.tell_servers(guards),
            Happening::Forgotten { server, unnamed } => self.forgotten(server, unnamed),
            Happening::Gate { owner } if !self.healthy => {
                self.owners[owner].open = !self.owners[owner].open;
                self.withhold(guards);
            }
            Happening::Shown { life, server, turn, zone } if (life, turn) == (self.life, self.servers[server].turn) => {
                self.shown(server, zone, guards);
            }
            Happening::Presented { life, address, turn, cert } if (life, turn) == (self.life, self.turns[address]) => {
                self.presented(address, cert, guards);
            }
            Happening::AddressDown { address } if !self.healthy => {
                self.down[address] = true;
                let seconds = 6 * u64::from(self.ttl);
                self.within(seconds, Happening::AddressUp { address });
            }
            Happening::AddressUp { address } => self.down[address] = false,
            Happening::Install { life, number } if life == self.life => self.install(number, guards),
            Happening::Hook { life, number } if life == self.life => self.hook(number, guards),
            Happening::Reload { address } => self.reload(address),
            Happening::Linger { address, reload, gone } => self.linger(address, reload, &gone),
            Happening::Arrives => self.arrives(guards),
            Happening::NextKey => self.next_key(guards),
            Happening::Swap if !self.healthy => self.swap(),
            Happening::Noticed => self.tell_deployed(guards),
            Happening::Parameters => self.configure(guards),
            Happening::Back { parameters, ttl } => {
                (self.parameters, self.ttl) = (parameters, ttl);
                let settings = self.settings();
                self.tell(Event::Settings(settings), guards);
            }
            Happening::Word => {
                let words = [Event::Start, Event::Hold, Event::Hold, Event::Resume, Event::Abort];
                let word = words[self.chance.below(5) as usize].clone();
                self.tell(word, guards);
            }
            _ => {}
        }
    }

    fn configure(&mut self, guards: Guards) {
        if self.chance.one_in(2) {
            let seconds = u64::from(self.ttl);
            self.within(seconds, Happening::Back { parameters: self.parameters, ttl: self.ttl });
        }
        self.parameters = self.chance.below(5) as u8;
        if self.chance.one_in(3) {
            self.ttl = self.chance.within(2, 12) as u32 * 300;
            self.longest_ttl = self.longest_ttl.max(self.ttl);
        }
        let settings = self.settings();
        self.tell(Event::Settings(settings), guards);
    }

    /// From now on everything works.
    fn heal(&mut self, guards: Guards) {
        self.healthy = true;
        (self.offset, self.synchronised) = (0, true);
        self.down.fill(false);
        for server in 1..self.servers.len() {
            // Who is named no more may stay away.
            if self.servers[server].named || self.chance.one_in(2) {
                self.outage_ends(server);
            }
        }
        self.asleep = false;
        self.restart(guards);
        self.tell(Event::Tick, guards);
        self.tell_deployed(guards);
        self.tell(Event::Resume, guards);
        self.tell(Event::Start, guards);
        self.tell_source(guards);
        self.tell_key(guards);
    }

    /// How long everything may take: what is under way, what waits behind it, and what is swapped in, each with its hold and its drain.
    fn bound(&self) -> u64 {
        let ttl = u64::from(self.longest_ttl);
        let unnamed = self.servers.iter().any(|server| server.unnamed > 0);
        let gone = if unnamed { u64::from(self.delegation) + 2 * ttl } else { 0 };
        4 * (self.interval.max(2 * ttl) + 2 * ttl + 4 * 600 + ttl) + gone
    }

    /// What is left to do where nothing may be.
    fn unfinished(&mut self) -> Option<String> {
        let Some(disk) = self.disk else { return Some(format!("{}: nothing is installed", self.now)) };
        let right = self.state.phase() == Phase::Idle
            && self.state.live() == Some(&disk.to_string()[..])
            && (self.swaps > 0 || disk == self.source);
        let mut records = self.records_of(disk);
        records.extend(
            self.next_key
                .map(|key| (3, 1, key))
                .filter(|_| records.iter().any(|record| record.1 == 1 && record.0 == 3)),
        );
        records.sort_unstable();
        let wanted = self.oracle.set(records.clone());
        let wanted = self.publication(wanted);
        let served = self.zone().sets;
        let live = |cert: &Cert| self.chains(disk).any(|live| live == *cert);
        let presented = self.oracle.presented.iter().all(|shown| shown.iter().all(|(cert, _)| live(cert)));
        if right && presented && served == wanted {
            return None;
        }
        let state = serde_json::to_string(&self.state).unwrap();
        Some(format!(
            "{}: it does not end: {disk}, source {}, {:?} for {records:?}: {state}",
            self.now,
            self.source,
            served.map(|set| self.oracle.records(set))
        ))
    }
}
