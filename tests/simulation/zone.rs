//! The zone and its servers: they lag, have it from one another, can't be reached, expire, and go back to what they had.

use rooms::dane::rollover::Phase;

use crate::oracle::delivers;
use crate::world::{Happening, Server, World, Zone};

impl World {
    /// Whether resolvers ask it.
    fn is_asked(&self, server: usize) -> bool {
        self.servers[server].delegated && !self.servers[server].expired
    }

    /// A server has another version from now on.
    fn turn(&mut self, server: usize, zone: usize) {
        let before = self.zones[self.servers[server].zone];
        if self.is_asked(server) {
            self.serves_no_more(before);
        }
        self.servers[server].expired = false;
        self.servers[server].restored = false;
        self.servers[server].zone = zone;
        if self.is_asked(server) {
            self.serves(self.zones[zone]);
        }
    }

    fn serves(&mut self, zone: Zone) {
        zone.sets.into_iter().for_each(|set| self.oracle.serves(set, self.now));
    }

    fn serves_no_more(&mut self, zone: Zone) {
        zone.sets.into_iter().for_each(|set| self.oracle.serves_no_more(set, zone.ttl, self.now));
    }

    /// The zone names a server more or less. Whoever leaves may go on for a while, or not.
    pub fn named(&mut self) {
        let server = self.chance.within(1, self.servers.len() as u64 - 1) as usize;
        if !self.servers[server].named {
            (self.servers[server].named, self.servers[server].known) = (true, false);
            (self.servers[server].reachable, self.servers[server].fetching) = (true, true);
            if !self.servers[server].delegated {
                // Nobody could repair what a stale one answers where the mail server has gone on already, or nobody looks.
                if !self.up || !self.is_harmless(self.servers[server].zone) {
                    self.turn(server, self.zones.len() - 1);
                }
                self.servers[server].delegated = true;
                if !self.servers[server].expired {
                    let zone = self.servers[server].zone;
                    self.servers[server].restored = zone + 1 < self.zones.len();
                    self.serves(self.zones[zone]);
                }
            }
            return self.outage_ends(server);
        }
        // Of what nobody saw nobody can know how long it is asked.
        if !self.servers[server].known || self.servers.iter().filter(|server| server.named).count() < 2 {
            return;
        }
        (self.servers[server].named, self.servers[server].unnamed) = (false, self.now);
        self.later(self.delegation.into(), Happening::Forgotten { server, unnamed: self.now });
        if self.chance.one_in(2) {
            self.outage(server);
        }
        if self.chance.one_in(2) {
            self.within(self.delegation.into(), Happening::Named);
        }
    }

    pub fn forgotten(&mut self, server: usize, unnamed: u64) {
        let Server { named, unnamed: last, zone, .. } = self.servers[server];
        if named || last != unnamed {
            return;
        }
        if self.is_asked(server) {
            self.serves_no_more(self.zones[zone]);
        }
        self.servers[server].delegated = false;
    }

    /// The zone has another set, TTL or signature: our own server serves it at once, the others fetch it.
    pub fn publish(&mut self, sets: [usize; 2], ttl: u32) {
        let serial = self.zone().serial.wrapping_add(1);
        self.zones.push(Zone { serial, sets, ttl });
        self.turn(0, self.zones.len() - 1);
        for server in 1..self.servers.len() {
            let lag = if self.healthy { 20 } else { self.servers[server].lag };
            self.within(lag + 1, Happening::Fetch { server });
        }
    }

    pub fn fetch(&mut self, server: usize) {
        let newest = self.zones.len() - 1;
        let Server { zone, fetching, restored, feeder, lag, delegated, expired, .. } = self.servers[server];
        if !fetching || restored || zone == newest && !expired {
            return;
        }
        // Whoever can't reach us had it confirmed by this one until now; not by one that nobody has heard of.
        for other in (1..self.servers.len()).filter(|_| delegated && !expired) {
            let Server { zone: its, fetching, feeder, expired, .. } = self.servers[other];
            if !fetching && feeder == server && its == zone && !expired {
                self.confirmed(other);
            }
        }
        // It may have it from another one, which lags itself.
        let Server { zone: its, delegated, expired, .. } = self.servers[feeder];
        let is_fed = !self.healthy && delegated && !expired && its > zone && its < newest;
        let through = is_fed && !self.chance.one_in(3);
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
        if self.servers[server].restored || !self.servers[server].reachable {
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
                self.serves_no_more(zone);
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

    /// Whether all that is presented, or will be at once, matches a version of the zone.
    fn is_harmless(&self, zone: usize) -> bool {
        let presented = self.oracle.presented.iter().flatten().map(|(cert, _)| *cert);
        let mut certs = presented.chain(self.disk.into_iter().flat_map(|disk| self.chains(disk)));
        let sets = self.zones[zone].sets.map(|set| self.oracle.records(set));
        self.state.phase() != Phase::Installing && certs.all(|cert| sets.iter().all(|set| delivers(cert, set)))
    }

    /// A server goes back to what it had. Nobody could repair it where the mail server has gone on already.
    pub fn restore(&mut self, server: usize) -> bool {
        let Server { restores, zone, expired, reachable, .. } = self.servers[server];
        if restores == 0 || !reachable || zone < 2 || expired || self.healthy || self.swaps > 0 {
            return false;
        }
        let back = zone - 1 - self.chance.below(2.min(zone as u64 - 1)) as usize;
        if !self.is_harmless(back) {
            return false;
        }
        self.servers[server].restores = 0;
        self.servers[server].turn += 1;
        self.turn(server, back);
        self.servers[server].restored = true;
        true
    }
}
