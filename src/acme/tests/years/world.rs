//! The world: the true time, what will happen, the clocks, the folder, and how a year goes by.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::{DAY, HOUR, START, id};
use super::Sum;
use super::ca::Ca;
use super::chance::Chance;
use super::judge::Judge;
use super::zone::Zone;
use crate::acme::{self, Action, Event};
use crate::dane::rollover::{self, Reading};

/// The TTL of TLSA in seconds.
pub const TTL: u32 = 3600;
/// `confirmation-interval` in seconds.
pub const INTERVAL: u64 = DAY;

/// A record: usage, selector, and what it is the hash of.
pub type Record = (u8, u8, u16);

/// A certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cert {
    pub number: u16,
    pub key: u16,
    pub issuer: u16,
    pub not_before: u64,
    pub not_after: u64,
}

/// What kind of year it is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long certificates live, in seconds.
    pub lifetime: u64,
    /// `2 1 1` is published too: a new issuer is held for.
    pub issuer: bool,
    /// Nothing goes wrong.
    pub calm: bool,
    /// The CA is away for at most this part of what is left of the certificate's life.
    pub away: u64,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// A machine wants to be stepped: the order's, or the rollover's.
    Tick {
        of_order: bool,
        planned: u64,
    },
    /// What a machine asked for is done, by number in a life of the daemon.
    Does {
        life: u64,
        number: usize,
    },
    /// It is told what came of it.
    Hears {
        life: u64,
        number: usize,
    },
    Restart,
    ClockStep,
    Synchronised,
    /// A secondary fetches the zone.
    Fetch {
        server: usize,
    },
    /// An address presents what the mail server was told of.
    Reload {
        address: usize,
    },
}

/// What is under way between the daemon and the world.
#[derive(Clone, Debug)]
pub enum Job {
    Order(Action),
    Rollover(rollover::Action),
    /// The answer.
    OrderHears(Event),
}

/// The folder that certificates are laid down in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folder {
    pub cert: Option<Cert>,
    pub roll: Option<u16>,
    pub stored: u64,
}

pub struct World {
    pub plan: Plan,
    pub chance: Chance,
    pub now: u64,
    pub queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    sequence: u64,
    pub jobs: Vec<Job>,
    pub judge: Judge,
    pub ca: Ca,
    pub zone: Zone,
    pub folder: Folder,
    pub keys: u16,
    /// What stands where the mail server reads, and what it was told of.
    pub disk: Option<Cert>,
    pub told_of: Option<Cert>,
    // The daemon.
    pub order: acme::State,
    pub rollover: rollover::State,
    pub up: bool,
    pub life: u64,
    pub kills: u64,
    pub planned: [u64; 2],
    // The clocks.
    offset: i64,
    booted: u64,
    boot_id: u64,
    synchronised: bool,
    pub verbose: bool,
}

impl World {
    pub fn new(plan: Plan, seed: u64) -> World {
        let mut world = World {
            plan,
            chance: Chance::new(seed),
            now: START,
            queue: BinaryHeap::new(),
            sequence: 0,
            jobs: Vec::new(),
            judge: Judge::new(),
            ca: Ca::new(plan),
            zone: Zone::new(),
            folder: Folder::default(),
            keys: 0,
            disk: None,
            told_of: None,
            order: acme::State::new(id()),
            rollover: rollover::State::default(),
            up: false,
            life: 0,
            kills: 0,
            planned: [0; 2],
            offset: 0,
            booted: START - DAY,
            boot_id: 1,
            synchronised: true,
            verbose: std::env::var_os("DANELAW_SEED").is_some(),
        };
        world.later(0, Happening::Restart);
        if !plan.calm {
            world.within(20 * DAY, Happening::ClockStep);
        }
        world
    }

    pub fn later(&mut self, seconds: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + seconds, self.sequence, happening)));
    }

    pub fn within(&mut self, seconds: u64, happening: Happening) {
        let after = self.chance.below(seconds.max(1));
        self.later(after, happening);
    }

    /// A job begins soon, in this life of the daemon.
    pub fn job(&mut self, seconds: u64, job: Job) {
        let (life, number) = (self.life, self.jobs.len());
        let hears = matches!(job, Job::OrderHears(_));
        self.jobs.push(job);
        let happening = if hears { Happening::Hears { life, number } } else { Happening::Does { life, number } };
        self.within(seconds, happening);
    }

    pub fn wall(&self) -> u64 {
        self.now.saturating_add_signed(self.offset)
    }

    /// What a true moment is by the clock here.
    pub fn by_clock(&self, moment: u64) -> u64 {
        moment.saturating_add_signed(self.offset)
    }

    pub fn reading(&self) -> Reading {
        let (boot, boot_id) = (self.now - self.booted, self.boot_id);
        Reading { wall: self.wall(), boot, boot_id, synchronised: self.synchronised }
    }

    pub fn run(&mut self, seconds: u64) {
        let end = self.now + seconds;
        while let Some(Reverse((at, _, happening))) = self.queue.pop() {
            // Between two happenings what is presented may expire.
            if self.judge.valid_until().is_some_and(|until| until < at.min(end)) {
                self.judge.wrong.push(format!("{}: what is presented expires: {:?}", self.now, self.order));
            }
            if at > end || !self.judge.wrong.is_empty() {
                break;
            }
            self.now = at;
            self.happens(happening);
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Tick { of_order: true, planned } if planned == self.planned[0] => {
                self.planned[0] = 0;
                self.tell_order(Event::Tick);
            }
            Happening::Tick { of_order: false, planned } if planned == self.planned[1] => {
                self.planned[1] = 0;
                self.tell_rollover(rollover::Event::Tick);
            }
            Happening::Tick { .. } => {}
            Happening::Does { life, number } => self.does(life == self.life && self.up, self.jobs[number].clone()),
            Happening::Hears { life, number } if life == self.life && self.up => {
                if let Job::OrderHears(event) = self.jobs[number].clone() {
                    self.tell_order(event);
                }
            }
            Happening::Hears { .. } => {}
            Happening::Restart => self.restart(),
            Happening::ClockStep => {
                self.step_clock();
                self.tell_order(Event::Tick);
                self.tell_rollover(rollover::Event::Tick);
                self.within(40 * DAY, Happening::ClockStep);
            }
            Happening::Synchronised => {
                (self.offset, self.synchronised) = (0, true);
                self.tell_order(Event::Tick);
                self.tell_rollover(rollover::Event::Tick);
            }
            Happening::Fetch { server } => {
                self.zone.fetch(server);
                self.judge.serves(&self.zone.served(), self.now);
            }
            Happening::Reload { address } => {
                if let Some(cert) = self.told_of {
                    self.judge.presents(address, cert, self.now);
                }
            }
        }
    }

    /// The wall clock shows anything, until it is set right.
    fn step_clock(&mut self) {
        let most = [100, 3 * DAY, 200 * DAY][self.chance.below(3) as usize];
        self.offset = self.chance.below(2 * most) as i64 - most as i64;
        self.synchronised = false;
        self.within(6 * HOUR, Happening::Synchronised);
    }

    /// The daemon is killed, or the machine boots.
    pub fn kill(&mut self) {
        self.kills += 1;
        self.up = false;
        self.life += 1;
        let most = if self.chance.one_in(20) { 3 * HOUR } else { 30 };
        let after = self.chance.within(1, most);
        if self.chance.one_in(10) {
            self.boot_id += 1;
            self.booted = self.now + after;
            self.step_clock();
        }
        self.later(after, Happening::Restart);
    }

    /// After a restart the clock since boot shows no less than nothing.
    pub fn is_booted(&self) -> bool {
        self.booted <= self.now
    }

    pub fn sum(&self) -> Sum {
        let day = |at: &u64| self.ca.times.iter().filter(|other| (*at..*at + DAY).contains(*other)).count();
        Sum {
            years: 1,
            orders: self.ca.times.len() as u64,
            certificates: self.ca.certs.len() as u64,
            installed: self.judge.installed,
            at_once: self.judge.at_once,
            kills: self.kills,
            outages: self.ca.outages,
            day: self.ca.times.iter().map(day).max().unwrap_or(0) as u64,
            margin: self.judge.margin,
        }
    }
}
