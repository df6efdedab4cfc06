//! The mail server, and what is done to it. Processes show a new certificate before any reload, some of them; a reload comes
//! late, and the old processes stay for a while after it.

use danelaw::dane::rollover::guard::Guards;
use danelaw::dane::rollover::{Event, Phase};

use crate::oracle::{By, Cert};
use crate::world::{Happening, World};

impl World {
    /// A certificate comes into the source.
    pub fn arrives(&mut self, guards: Guards) {
        let last = self.cert(self.source);
        let number = self.certs.len() as u16;
        let mut cert = Cert { number, ..last };
        if !self.chance.one_in(4) {
            cert.key = self.next_key.take().unwrap_or(number);
        }
        if self.chance.one_in(3) {
            cert.issuer = number;
        }
        if self.chance.one_in(4) {
            cert.whole = !cert.whole;
        }
        self.certs.push(cert);
        self.source = number;
        self.tell_source(guards);
        self.tell_key(guards);
    }

    pub fn next_key(&mut self, guards: Guards) {
        self.next_key = Some(1000 + self.certs.len() as u16);
        self.tell_key(guards);
    }

    pub fn install(&mut self, number: u16, guards: Guards) {
        let version = number.to_string();
        if self.hooks_fail == 3 && !self.healthy && self.chance.one_in(2) {
            return self.tell(Event::InstallFailed { version }, guards);
        }
        if self.disk != number || self.disk_by_outsider {
            self.disk = number;
            self.disk_by_outsider = false;
            for address in 0..self.oracle.presented.len() {
                if self.chance.one_in(3) {
                    self.oracle.presents(address, self.cert(number), By::Machine, self.now);
                }
            }
        }
        self.tell(Event::Installed { version }, guards);
    }

    pub fn hook(&mut self, number: u16, guards: Guards) {
        let version = number.to_string();
        if self.hooks_fail > 0 && !self.healthy && !self.chance.one_in(1 + 4 * self.hooks_fail) {
            return self.tell(Event::HookFailed { version }, guards);
        }
        for address in 0..self.oracle.presented.len() {
            let is_mixed = self.oracle.presented[address].len() > 1;
            let most = match self.healthy || is_mixed {
                true => u64::from(self.ttl) / 3,
                false => 4 * u64::from(self.ttl),
            };
            let most = if self.chance.one_in(2) { 2 } else { most };
            self.within(most, Happening::Reload { address });
        }
        self.tell(Event::HookDone { version }, guards);
    }

    pub fn reload(&mut self, address: usize) {
        self.reloads[address] += 1;
        let gone =
            self.oracle.presented[address].iter().map(|(cert, _)| cert.number).filter(|other| *other != self.disk);
        let gone = gone.collect();
        let by = if self.disk_by_outsider { By::Outsider { told: self.now } } else { By::Machine };
        self.oracle.presents(address, self.cert(self.disk), by, self.now);
        let most = u64::from(self.ttl.min(self.zone().ttl));
        self.within(most, Happening::Linger { address, reload: self.reloads[address], gone });
    }

    /// An address goes back to the certificate before, as when another machine takes it over; the probe that sees it is heard.
    pub fn relapse(&mut self, address: usize) -> Option<u16> {
        if !self.relapses[address] || self.healthy || self.swaps > 0 || self.state.phase() != Phase::Draining {
            return None;
        }
        let before = self.state.leaving().next()?.parse().ok()?;
        let cert = self.cert(before);
        if !self.oracle.is_fine(cert, self.now) || !self.chance.one_in(3) {
            return None;
        }
        self.relapses[address] = false;
        self.oracle.presented[address].clear();
        self.oracle.presents(address, cert, By::Machine, self.now);
        self.reloads[address] += 1;
        let most = 5 * u64::from(self.ttl);
        self.within(most, Happening::Reload { address });
        Some(before)
    }

    /// The processes from before a reload are gone.
    pub fn linger(&mut self, address: usize, reload: u64, gone: &[u16]) {
        if self.reloads[address] == reload {
            self.oracle.presented[address].retain(|(cert, _)| !gone.contains(&cert.number));
        }
    }

    /// Somebody else puts a certificate where the mail server reads, and tells some of its addresses.
    pub fn swap(&mut self) {
        // Before anything is out nothing can be wrong.
        if self.commanded.is_none_or(|set| self.oracle.records(set).is_empty()) {
            return;
        }
        self.swaps += 1;
        let number = match self.chance.below(3) {
            0 => self.source,
            1 => self.chance.below(self.certs.len() as u64) as u16,
            _ => {
                let number = self.certs.len() as u16;
                let whole = !self.chance.one_in(4);
                self.certs.push(Cert { number, key: number, issuer: number, whole });
                number
            }
        };
        if number == self.disk {
            return;
        }
        self.disk = number;
        self.disk_by_outsider = true;
        for address in 0..self.oracle.presented.len() {
            if self.chance.one_in(2) {
                let cert = self.cert(number);
                self.oracle.presents(address, cert, By::Outsider { told: u64::MAX }, self.now);
                if self.chance.one_in(2) {
                    self.oracle.presented[address].retain(|(other, _)| *other == cert);
                    self.reloads[address] += 1;
                }
            }
        }
        let after = self.chance.within(1, 20);
        self.later(after, Happening::Noticed);
    }
}
