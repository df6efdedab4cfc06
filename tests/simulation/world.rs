//! The world: a zone and its secondaries, a mail server with several addresses, certificates that arrive, clocks, people.
//! Discrete events; nothing happens between them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rooms::dane::rollover::{Reading, State};

use crate::chance::Chance;
use crate::oracle::{Cert, Oracle, Record};

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
    /// The zone names another set of servers.
    Named,
    /// The machine is told of it.
    NamedAnew,
    /// No cache has the delegation any more that named a server.
    Forgotten {
        server: usize,
        unnamed: u64,
    },
    /// The publication of an owner is withheld, or no longer.
    Gate {
        owner: usize,
    },
    /// What came back before is not told after what came back later.
    Shown {
        life: u64,
        server: usize,
        turn: u64,
        zone: Option<usize>,
    },
    Presented {
        life: u64,
        address: usize,
        turn: u64,
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
    /// Of each owner.
    pub sets: [usize; 2],
    pub ttl: u32,
}

/// A TLSA owner of the host: a port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner {
    /// Its prerequisites hold.
    pub open: bool,
    /// The daemon acts upon that.
    pub publishes: bool,
    /// It has records of usage 3 alone, where there are any.
    pub ee_only: bool,
}

/// An authoritative server.
#[derive(Clone, Debug)]
pub struct Server {
    pub zone: usize,
    pub fetched: u64,
    pub reachable: bool,
    pub fetching: bool,
    pub expired: bool,
    /// The zone names it.
    pub named: bool,
    /// The machine was told of it.
    pub known: bool,
    /// When it was named no more, last; resolvers ask it until then and the delegation's TTL.
    pub unnamed: u64,
    /// A resolver may have it from the delegation.
    pub delegated: bool,
    /// The most seconds that it lags.
    pub lag: u64,
    /// Whom it asks besides while the primary can't be reached.
    pub feeder: usize,
    /// How often it may go back to what it had.
    pub restores: u64,
    /// How often it did.
    pub turn: u64,
    /// It did, and the machine has not heard of it. It stays so until then: what nobody saw nobody can wait for.
    pub restored: bool,
}

/// What is installed together: one certificate, or one of each key type.
#[derive(Clone, Copy, Debug)]
pub struct Chains {
    pub main: Cert,
    pub second: Option<Cert>,
}

/// The number of a second certificate is so much higher than that of the first.
pub const SECOND: u16 = 500;

/// Everything.
pub struct World {
    pub chance: Chance,
    pub now: u64,
    pub queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    pub order: u64,
    pub oracle: Oracle,
    pub healthy: bool,
    /// Who was there before the machine: the certificates that may be presented besides, with records of theirs.
    pub also: Vec<u16>,
    /// Nobody is asked what an address presents: it is what the mail server was told of last.
    pub declared: bool,
    pub told_of: Option<u16>,
    pub hook: bool,
    pub owners: [Owner; 2],
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
    pub expire: u32,
    pub ttl: u32,
    pub longest_ttl: u32,
    pub interval: u64,
    pub delegation: u32,
    pub parameters: u8,
    // Certificates and the mail server.
    pub certs: Vec<Chains>,
    pub source: u16,
    pub disk: Option<u16>,
    pub disk_by_outsider: bool,
    /// Since when the machine knows of it.
    pub disk_told: u64,
    pub swaps: u64,
    pub down: Vec<bool>,
    pub reloads: Vec<u64>,
    /// The certificates of old processes that are on their way out.
    pub leaving: Vec<Vec<u16>>,
    /// Whether an address may go back to the certificate before, once; and whether it did.
    pub relapses: Vec<bool>,
    pub turns: Vec<u64>,
    pub hooks_fail: u64,
    pub next_key: Option<u16>,
}

/// The parameter sets that are configured at times: usage and selector of each.
pub const PARAMETERS: [&[(u8, u8)]; 5] = [&[(3, 1)], &[(3, 1), (2, 1)], &[(3, 0)], &[(3, 1), (3, 0)], &[(2, 1)]];

impl World {
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

    /// The certificates of a version: an address presents either.
    pub fn chains(&self, number: u16) -> impl Iterator<Item = Cert> + use<> {
        let Chains { main, second } = self.certs[usize::from(number)];
        std::iter::once(main).chain(second)
    }

    /// A version that comes after the last one in the source.
    pub fn renew(&mut self) {
        let Chains { main, second } = self.certs[usize::from(self.source)];
        let number = self.certs.len() as u16;
        let mut main = Cert { number, ..main };
        if !self.chance.one_in(4) {
            main.key = self.next_key.take().unwrap_or(number);
        }
        if self.chance.one_in(3) {
            main.issuer = number;
        }
        if self.chance.one_in(4) {
            main.whole = !main.whole;
        }
        let mut second = second.map(|second| Cert { number: SECOND + number, issuer: main.issuer, ..second });
        if self.chance.one_in(6) {
            second = second.is_none().then(|| Cert { number: SECOND + number, key: SECOND + number, ..main });
        } else if let Some(second) = second.as_mut().filter(|_| !self.chance.one_in(3)) {
            second.key = SECOND + number;
        }
        self.certs.push(Chains { main, second });
    }

    pub fn zone(&self) -> Zone {
        self.zones[self.zones.len() - 1]
    }

    /// What our zone has of what the machine wants: each owner's part, while its gate is open.
    pub fn publication(&mut self, wanted: usize) -> [usize; 2] {
        let records = self.oracle.records(wanted).to_vec();
        self.owners.map(|owner| {
            let mut records = if owner.publishes { records.clone() } else { Vec::new() };
            if owner.ee_only && records.iter().any(|record| record.0 == 3) {
                records.retain(|record| record.0 == 3);
            }
            self.oracle.set(records)
        })
    }

    /// The records that a version alone would have.
    pub fn records_of(&self, number: u16) -> Vec<Record> {
        let makes = |&&(usage, _): &&(u8, u8)| usage == 3 || self.chains(number).all(|cert| cert.whole);
        let sets = PARAMETERS[usize::from(self.parameters)];
        let made: Vec<(u8, u8)> = sets.iter().filter(makes).copied().collect();
        let made = if made.is_empty() { vec![(3, 1)] } else { made };
        let data = |cert: Cert, (usage, selector)| match (usage, selector) {
            (3, 1) => cert.key,
            (3, 0) => cert.number,
            _ => cert.issuer,
        };
        let of = |cert| made.iter().map(move |&(usage, selector)| (usage, selector, data(cert, (usage, selector))));
        let mut records: Vec<Record> = self.chains(number).flat_map(of).collect();
        records.sort_unstable();
        records.dedup();
        records
    }
}
