//! The zone and its servers: they lag, have it from one another, can't be reached, expire, and go back to what they had.

use danelaw::dane::rollover::Phase;

use crate::oracle::delivers;
use crate::world::{Happening, Server, World, Zone};

impl World {
    /// Whether resolvers ask it.
    fn is_asked(&self, server: usize) -> bool {
        (server > 0 || !self.hidden) && !self.servers[server].expired
    }

    /// A server has another version from now on.
    fn turn(&mut self, server: usize, zone: usize) {
        let before = self.zones[self.servers[server].zone];
        if self.is_asked(server) {
            self.oracle.serves_no_more(before.set, before.ttl, self.now);
        }
        self.servers[server].expired = false;
        self.servers[server].restored = false;
        self.servers[server].zone = zone;
        if self.is_asked(server) {
            self.oracle.serves(self.zones[zone].set, self.now);
        }
    }

    /// The zone has another set, TTL or signature: our own server serves it at once, the others fetch it.
    pub fn publish(&mut self, set: usize, ttl: u32) {
        let serial = self.zone().serial.wrapping_add(1);
        self.zones.push(Zone { serial, set, ttl });
        self.turn(0, self.zones.len() - 1);
        for server in 1..self.servers.len() {
            let lag = if self.healthy { 20 } else { self.servers[server].lag };
            self.within(lag + 1, Happening::Fetch { server });
        }
    }

    pub fn fetch(&mut self, server: usize) {
        let newest = self.zones.len() - 1;
        let Server { zone, fetching, restored, feeder, lag, .. } = self.servers[server];
        if !fetching || restored || zone == newest && !self.servers[server].expired {
            return;
        }
        // Whoever can't reach us had it confirmed by this one until now.
        for other in 1..self.servers.len() {
            let Server { zone: its, fetching, feeder, expired, .. } = self.servers[other];
            if !fetching && feeder == server && its == zone && !expired {
                self.confirmed(other);
            }
        }
        // It may have it from another one, which lags itself.
        let its = self.servers[feeder].zone;
        let through = !self.healthy && its > zone && its < newest && !self.chance.one_in(3);
        self.turn(server, if through { its } else { newest });
        if through {
            self.within(lag + 1, Happening::Fetch { server });
        }
    }

    fn confirmed(&mut self, server: usize) {
        self.servers[server].fetched = self.now;
        self.later(self.expire.into(), Happening::Expire { server, fetched: self.now });
    }

    /// Nobody can reach it from here; it can't reach us, or only its operator can.
    pub fn outage(&mut self, server: usize) {
        if self.servers[server].restored {
            return;
        }
        self.servers[server].reachable = false;
        if !self.chance.one_in(4) {
            self.servers[server].fetching = false;
            self.confirmed(server);
        }
        let length = 3 * u64::from(self.expire) + 6 * u64::from(self.ttl);
        self.within(length, Happening::OutageEnds { server });
    }

    pub fn outage_ends(&mut self, server: usize) {
        self.servers[server].reachable = true;
        let Server { lag, fetching, fetched, .. } = self.servers[server];
        self.servers[server].fetching = true;
        // What it has is good until EXPIRE after it was confirmed, and it doesn't sleep over that.
        let good = if fetching { lag } else { (fetched + u64::from(self.expire)).saturating_sub(self.now) };
        let lag = if self.healthy { 20 } else { lag };
        self.within(lag.min(good) + 1, Happening::Fetch { server });
    }

    pub fn expires(&mut self, server: usize, fetched: u64) {
        let at = &self.servers[server];
        if !at.fetching && at.fetched == fetched && !at.expired {
            let zone = self.zones[at.zone];
            if self.is_asked(server) {
                self.oracle.serves_no_more(zone.set, zone.ttl, self.now);
            }
            self.servers[server].expired = true;
        }
    }

    /// What a server answers when it is asked now.
    pub fn answer(&self, server: usize) -> Option<usize> {
        let Server { reachable, expired, .. } = self.servers[server];
        if !reachable || expired {
            return None;
        }
        Some(self.servers[server].zone)
    }

    /// The machine has heard what a server has.
    pub fn heard(&mut self, server: usize) {
        if std::mem::take(&mut self.servers[server].restored) {
            let lag = (self.servers[server].lag + 4 * u64::from(self.ttl)).min(self.expire.into());
            let lag = if self.healthy { 20 } else { lag };
            self.within(lag, Happening::Fetch { server });
        }
    }

    /// A server goes back to what it had. Nobody could repair it where the mail server has gone on already.
    pub fn restore(&mut self, server: usize) -> bool {
        let Server { restores, zone, expired, reachable, .. } = self.servers[server];
        if restores == 0 || !reachable || zone < 2 || expired || self.healthy || self.swaps > 0 {
            return false;
        }
        let back = zone - 1 - self.chance.below(2.min(zone as u64 - 1)) as usize;
        let records = self.oracle.records(self.zones[back].set);
        let presented = self.oracle.presented.iter().flatten().map(|(cert, _)| *cert);
        if self.state.phase() == Phase::Installing
            || !presented.chain([self.cert(self.disk)]).all(|cert| delivers(cert, records))
        {
            return false;
        }
        self.servers[server].restores = 0;
        self.turn(server, back);
        self.servers[server].restored = true;
        true
    }
}
