//! The world: a zone and its secondaries, a mail server with several addresses, certificates that arrive, clocks, people.
//! Discrete events; nothing happens between them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use danelaw::dane::rollover::{Reading, State};

use crate::chance::Chance;
use crate::oracle::{By, Cert, Oracle, Record};

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    Tick {
        planned: u64,
    },
    Restart,
    /// A sleeping machine goes on where it was.
    Wake,
    Synchronised,
    ClockStep,
    Sleep,
    Crash,
    Publish {
        life: u64,
        order: u64,
        set: usize,
        ttl: u32,
    },
    /// The zone changes otherwise: a refreshed signature.
    Refresh,
    Fetch {
        server: usize,
    },
    Expire {
        server: usize,
        fetched: u64,
    },
    Outage {
        server: usize,
    },
    OutageEnds {
        server: usize,
    },
    Shown {
        life: u64,
        server: usize,
        zone: Option<usize>,
    },
    Presented {
        life: u64,
        address: usize,
        cert: Option<u16>,
    },
    AddressDown {
        address: usize,
    },
    AddressUp {
        address: usize,
    },
    Install {
        life: u64,
        number: u16,
    },
    Hook {
        life: u64,
        number: u16,
    },
    Reload {
        address: usize,
    },
    Linger {
        address: usize,
        reload: u64,
        gone: Vec<u16>,
    },
    Arrives,
    NextKey,
    Swap,
    Noticed,
    Parameters,
    /// The parameters and the TTL are as before again.
    Back {
        parameters: u8,
        ttl: u32,
    },
    Word,
    Healthy,
}

/// A version of the zone.
#[derive(Clone, Copy, Debug)]
pub struct Zone {
    pub serial: u32,
    pub set: usize,
    pub ttl: u32,
}

/// An authoritative server.
#[derive(Clone, Debug)]
pub struct Server {
    pub zone: usize,
    pub fetched: u64,
    pub reachable: bool,
    pub fetching: bool,
    pub expired: bool,
    /// The most seconds that it lags.
    pub lag: u64,
    /// Whom it asks besides while the primary can't be reached.
    pub feeder: usize,
    /// How often it may go back to what it had.
    pub restores: u64,
    /// It did, and the machine has not heard of it. It stays so until then: what nobody saw nobody can wait for.
    pub restored: bool,
}

/// Everything.
pub struct World {
    pub chance: Chance,
    pub now: u64,
    pub queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    pub order: u64,
    pub oracle: Oracle,
    pub healthy: bool,
    // What the daemon is.
    pub state: State,
    pub up: bool,
    pub asleep: bool,
    pub life: u64,
    pub planned: u64,
    pub crashes: u64,
    pub commanded: Option<usize>,
    pub commands: u64,
    pub installing: Option<String>,
    pub asked: Vec<Option<bool>>,
    // The clocks.
    pub offset: i64,
    pub boot: u64,
    pub boot_id: u64,
    pub synchronised: bool,
    // The zone.
    pub zones: Vec<Zone>,
    pub servers: Vec<Server>,
    pub hidden: bool,
    pub expire: u32,
    pub ttl: u32,
    pub longest_ttl: u32,
    pub interval: u64,
    pub parameters: u8,
    // Certificates and the mail server.
    pub certs: Vec<Cert>,
    pub source: u16,
    pub disk: u16,
    pub disk_by_outsider: bool,
    pub swaps: u64,
    pub down: Vec<bool>,
    pub reloads: Vec<u64>,
    /// Whether an address may go back to the certificate before, once.
    pub relapses: Vec<bool>,
    pub hooks_fail: u64,
    pub next_key: Option<u16>,
}

/// The parameter sets that are configured at times: usage and selector of each.
pub const PARAMETERS: [&[(u8, u8)]; 5] = [&[(3, 1)], &[(3, 1), (2, 1)], &[(3, 0)], &[(3, 1), (3, 0)], &[(2, 1)]];

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
            lag: if chance.one_in(3) { u64::from(expire.min(6 * ttl)) } else { 20 },
            feeder: chance.below(all) as usize,
            restores: if chance.one_in(if with_interval { 4 } else { 2 }) { 6 } else { 0 },
            restored: false,
        };
        let mut servers: Vec<Server> = (0..=secondaries).map(|_| server(&mut chance, secondaries as u64 + 1)).collect();
        servers[0] = Server { lag: 0, restores: 0, ..servers[0].clone() };
        let addresses = chance.within(1, 3) as usize;
        let mut oracle = Oracle::default();
        let none = oracle.set(Vec::new());
        let cert = Cert { number: 0, key: 0, issuer: 0, whole: !chance.one_in(4) };
        oracle.presented = vec![vec![(cert, By::Machine)]; addresses];
        let mut world = World {
            now: 10_000_000,
            queue: BinaryHeap::new(),
            order: 0,
            oracle,
            healthy: false,
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
            zones: vec![Zone { serial: 4_294_967_290u32.wrapping_add(chance.below(9) as u32), set: none, ttl }],
            servers,
            hidden,
            expire,
            ttl,
            longest_ttl: ttl,
            interval,
            parameters: chance.below(5) as u8,
            certs: vec![cert],
            source: 0,
            disk: 0,
            disk_by_outsider: false,
            swaps: 0,
            down: vec![false; addresses],
            reloads: vec![0; addresses],
            relapses: (0..addresses).map(|_| chance.one_in(5)).collect(),
            hooks_fail: if chance.one_in(3) { chance.within(1, 3) } else { 0 },
            next_key: None,
            chance,
        };
        for server in 0..world.servers.len() {
            if server > 0 || !hidden {
                world.oracle.serves(none, world.now);
            }
        }
        world.plan();
        world
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
        ] {
            if self.chance.one_in(often) {
                self.within(end, happening);
            }
        }
        for server in 1..self.servers.len() {
            if self.chance.one_in(2) {
                self.within(end, Happening::Outage { server });
            }
        }
        for address in 0..self.down.len() {
            if self.chance.one_in(3) {
                self.within(end, Happening::AddressDown { address });
            }
        }
    }

    pub fn later(&mut self, seconds: u64, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((self.now + seconds, self.order, happening)));
    }

    pub fn within(&mut self, seconds: u64, happening: Happening) {
        let after = self.chance.below(seconds.max(1));
        self.later(after, happening);
    }

    pub fn reading(&self) -> Reading {
        Reading {
            wall: self.now.saturating_add_signed(self.offset),
            boot: self.now - self.boot,
            boot_id: self.boot_id,
            synchronised: self.synchronised,
        }
    }

    pub fn cert(&self, number: u16) -> Cert {
        self.certs[usize::from(number)]
    }

    pub fn zone(&self) -> Zone {
        self.zones[self.zones.len() - 1]
    }

    /// The records that a certificate alone would have.
    pub fn records_of(&self, cert: Cert) -> Vec<Record> {
        let makes = |&&(usage, _): &&(u8, u8)| usage == 3 || cert.whole;
        let sets = PARAMETERS[usize::from(self.parameters)];
        let made: Vec<(u8, u8)> = sets.iter().filter(makes).copied().collect();
        let made = if made.is_empty() { vec![(3, 1)] } else { made };
        let data = |usage, selector| match (usage, selector) {
            (3, 1) => cert.key,
            (3, 0) => cert.number,
            _ => cert.issuer,
        };
        let mut records: Vec<Record> =
            made.into_iter().map(|(usage, selector)| (usage, selector, data(usage, selector))).collect();
        records.sort_unstable();
        records
    }
}
