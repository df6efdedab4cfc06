//! How a world begins: with nothing, with what somebody else has published, with a rollover half-way; and what will go on in it.

use std::collections::BinaryHeap;

use rooms::dane::rollover::State;

use crate::chance::Chance;
use crate::oracle::{Cert, Oracle, Record, delivers};
use crate::world::{Chains, Happening, Owner, SECOND, Server, World, Zone};

impl World {
    pub fn new(seed: u64, with_interval: bool) -> World {
        let mut chance = Chance::new(seed);
        let ttl = chance.within(2, 12) as u32 * 300;
        let interval = if with_interval && chance.one_in(2) { chance.below(4 * u64::from(ttl)) } else { 0 };
        let expire = ttl * chance.within(1, 12) as u32;
        let secondaries = chance.within(u64::from(!with_interval), 3) as usize;
        let hidden = secondaries > 0 && chance.one_in(2);
        let server = |chance: &mut Chance, all: u64| Server {
            zone: 0,
            fetched: 0,
            reachable: true,
            fetching: true,
            expired: false,
            named: true,
            known: false,
            unnamed: 0,
            delegated: true,
            lag: if chance.one_in(3) { u64::from(expire.min(6 * ttl)) } else { 20 },
            feeder: chance.below(all) as usize,
            restores: if chance.one_in(if with_interval { 4 } else { 2 }) { 6 } else { 0 },
            turn: 0,
            restored: false,
        };
        let mut servers: Vec<Server> = (0..=secondaries).map(|_| server(&mut chance, secondaries as u64 + 1)).collect();
        servers[0] = Server { lag: 0, restores: 0, named: !hidden, delegated: !hidden, ..servers[0].clone() };
        let addresses = chance.within(1, 3) as usize;
        let mut oracle = Oracle::default();
        let none = oracle.set(Vec::new());
        let mut world = World {
            now: 10_000_000,
            queue: BinaryHeap::new(),
            order: 0,
            oracle,
            healthy: false,
            also: Vec::new(),
            declared: chance.one_in(6),
            told_of: None,
            hook: !chance.one_in(4),
            owners: [Owner::default(); 2],
            state: State::default(),
            up: false,
            asleep: false,
            life: 0,
            planned: 0,
            crashes: if chance.one_in(3) { 0 } else { chance.within(15, if with_interval { 300 } else { 100 }) },
            commanded: None,
            commands: 0,
            installing: None,
            asked: vec![None; addresses],
            offset: 0,
            boot: 9_000_000,
            boot_id: 1,
            synchronised: true,
            zones: vec![Zone { serial: 4_294_967_290u32.wrapping_add(chance.below(9) as u32), sets: [none; 2], ttl }],
            servers,
            expire,
            ttl,
            longest_ttl: ttl,
            interval,
            delegation: ttl * chance.within(1, 12) as u32,
            parameters: chance.below(5) as u8,
            certs: Vec::new(),
            source: 0,
            disk: Some(0),
            disk_by_outsider: false,
            disk_told: 0,
            swaps: 0,
            down: vec![false; addresses],
            reloads: vec![0; addresses],
            leaving: vec![Vec::new(); addresses],
            turns: vec![0; addresses],
            relapses: (0..addresses).map(|_| chance.one_in(5)).collect(),
            hooks_fail: if chance.one_in(3) { chance.within(1, 3) } else { 0 },
            next_key: None,
            chance,
        };
        world.oracle.presented = vec![Vec::new(); addresses];
        world.before();
        world.plan();
        world
    }

    /// How everything stands when the daemon is started for the first time.
    fn before(&mut self) {
        let main = Cert { number: 0, key: 0, issuer: 0, whole: !self.chance.one_in(4) };
        let second = self.chance.one_in(4).then_some(Cert { number: SECOND, key: SECOND, ..main });
        self.certs.push(Chains { main, second });
        if self.chance.one_in(3) {
            self.owners[1] = Owner { open: self.chance.one_in(2), ee_only: self.chance.one_in(2), publishes: false };
        }
        self.owners[0].open = !self.chance.one_in(6);
        self.owners.iter_mut().for_each(|owner| owner.publishes = owner.open);
        let mut presented = vec![0; self.oracle.presented.len()];
        match self.chance.below(8) {
            // Nothing is deployed, and the mail server has a certificate that is not known here.
            0 | 1 => {
                let foreign = Cert { number: 1, key: 1, issuer: 1, whole: true };
                self.certs.push(Chains { main: foreign, second: None });
                (self.disk, presented) = (None, vec![1; self.down.len()]);
                self.down.fill(self.chance.one_in(3));
            }
            // Somebody has published records, and a renewal may be half-way.
            2 | 3 => self.taken_over(&mut presented),
            _ => {}
        }
        self.told_of = self.disk.or(self.also.first().copied());
        if let Some(number) = self.told_of.filter(|_| self.declared) {
            presented.fill(number);
        }
        for (address, number) in presented.into_iter().enumerate() {
            // Who vouches for mail servers has none yet that present anything else than what is deployed.
            let is_there = !self.declared || self.told_of.is_some();
            self.oracle.is_presented(address, self.chains(number).filter(|_| is_there));
        }
        for server in 0..self.servers.len() {
            if server > 1 && self.chance.one_in(6) {
                // It comes later.
                let at = &mut self.servers[server];
                (at.named, at.delegated) = (false, false);
            }
            if self.servers[server].delegated {
                let sets = self.zones[0].sets;
                sets.into_iter().for_each(|set| self.oracle.serves(set, self.now));
            }
        }
    }

    /// Records of one or two certificates are out; addresses may present either.
    fn taken_over(&mut self, presented: &mut [u16]) {
        self.also.push(0);
        if self.chance.one_in(2) {
            self.renew();
            self.also.push(1);
            presented.iter_mut().for_each(|number| *number = self.chance.below(2) as u16);
        }
        self.source = self.chance.below(self.certs.len() as u64) as u16;
        if self.chance.one_in(2) {
            self.disk = None;
        }
        let also = self.also.clone();
        let mut records: Vec<Record> = also.into_iter().flat_map(|number| self.records_of(number)).collect();
        records.sort_unstable();
        records.dedup();
        // Whoever published them did it for what is presented.
        let satisfies = |number: &u16| self.chains(*number).all(|cert| delivers(cert, &records));
        if !self.also.iter().all(satisfies) {
            records = self.also.iter().flat_map(|number| self.chains(*number)).map(|cert| (3, 1, cert.key)).collect();
            records.sort_unstable();
            records.dedup();
        }
        let wanted = self.oracle.set(records);
        self.zones[0].sets = self.publication(wanted);
    }

    /// What will go on until everything is well.
    fn plan(&mut self) {
        let end = u64::from(self.ttl) * self.chance.within(5, 14);
        self.later(0, Happening::Restart);
        self.later(end, Happening::Healthy);
        for _ in 0..self.chance.within(1, 3) {
            self.within(end, Happening::Arrives);
        }
        for (often, happening) in [
            (2, Happening::Parameters),
            (3, Happening::Parameters),
            (3, Happening::NextKey),
            (3, Happening::Swap),
            (3, Happening::ClockStep),
            (3, Happening::ClockStep),
            (4, Happening::Sleep),
            (3, Happening::Crash),
            (3, Happening::Word),
            (4, Happening::Word),
            (2, Happening::Refresh),
            (4, Happening::Gate { owner: 0 }),
            (8, Happening::Gate { owner: 0 }),
            (4, Happening::Gate { owner: 1 }),
        ] {
            if self.chance.one_in(often) {
                self.within(end, happening);
            }
        }
        for server in 1..self.servers.len() {
            if self.chance.one_in(2) {
                self.within(end, Happening::Outage { server });
            }
            if self.chance.one_in(3) {
                self.within(end, Happening::Named);
            }
        }
        for address in 0..self.down.len() {
            if self.chance.one_in(3) || self.down[address] {
                self.within(end, Happening::AddressDown { address });
            }
            if !self.hook {
                self.within(end, Happening::Reload { address });
            }
        }
    }
}
