//! The mail server, and what is done to it. Processes show a new certificate before any reload, some of them; a reload comes
//! late, and the old processes stay for a while after it.

use rooms::dane::rollover::guard::Guards;
use rooms::dane::rollover::{Event, Phase};

use crate::oracle::{By, Cert};
use crate::world::{Chains, Happening, World};

impl World {
    /// A certificate comes into the source.
    pub fn arrives(&mut self, guards: Guards) {
        let number = self.certs.len() as u16;
        self.renew();
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
        // A newer one is in the source, and nobody has kept this one.
        if number != self.source && self.disk != Some(number) && !self.healthy && self.chance.one_in(6) {
            return self.tell(Event::Lost { version }, guards);
        }
        if self.disk != Some(number) || self.disk_by_outsider {
            self.disk = Some(number);
            self.disk_by_outsider = false;
            for address in 0..self.oracle.presented.len() {
                if self.chance.one_in(3) {
                    self.presents(address, By::Machine);
                }
            }
            if !self.hook {
                self.reload_all();
                self.told_of = Some(number);
            }
        }
        self.tell(Event::Installed { version }, guards);
    }

    pub fn hook(&mut self, number: u16, guards: Guards) {
        let version = number.to_string();
        if self.hooks_fail > 0 && !self.healthy && !self.chance.one_in(1 + 4 * self.hooks_fail) {
            return self.tell(Event::HookFailed { version }, guards);
        }
        self.reload_all();
        self.told_of = self.disk;
        self.tell(Event::HookDone { version }, guards);
    }

    /// An address has a process that shows what is deployed.
    fn presents(&mut self, address: usize, by: By) {
        let Some(disk) = self.disk else { return };
        for cert in self.chains(disk) {
            self.oracle.presents(address, cert, by, self.now);
        }
    }

    fn reload_all(&mut self) {
        for address in 0..self.oracle.presented.len() {
            let is_mixed = self.oracle.presented[address].len() > 1;
            let most = match self.healthy || is_mixed || self.declared {
                true => u64::from(self.ttl) / 3,
                false => 4 * u64::from(self.ttl),
            };
            let most = if self.chance.one_in(2) { 2 } else { most };
            self.within(most, Happening::Reload { address });
        }
    }

    pub fn reload(&mut self, address: usize) {
        let by = if self.disk_by_outsider { By::Outsider { told: self.disk_told } } else { By::Machine };
        self.presents(address, by);
        let shown = self.oracle.presented[address].iter().map(|(cert, _)| cert.number);
        let stays = |number: &u16| self.disk.is_none_or(|disk| self.chains(disk).any(|cert| cert.number == *number));
        let gone: Vec<u16> = shown.filter(|number| !stays(number)).collect();
        // The old processes leave since the reload before.
        if gone.iter().all(|number| self.leaving[address].contains(number)) {
            return;
        }
        self.reloads[address] += 1;
        self.leaving[address].clone_from(&gone);
        let most = u64::from(self.ttl.min(self.zone().ttl));
        self.within(most, Happening::Linger { address, reload: self.reloads[address], gone });
    }

    /// An address goes back to the certificate before, as when another machine takes it over; the probe that sees it is heard.
    pub fn relapse(&mut self, address: usize) -> Option<u16> {
        if !self.relapses[address] || self.healthy || self.swaps > 0 || self.state.phase() != Phase::Draining {
            return None;
        }
        let before = self.state.leaving().next()?.parse().ok()?;
        let is_fine = self.chains(before).all(|cert| self.oracle.is_fine(cert, self.now));
        if self.declared || !is_fine || !self.chance.one_in(3) {
            return None;
        }
        self.relapses[address] = false;
        self.turns[address] += 1;
        self.leaving[address].clear();
        self.oracle.presented[address].clear();
        for cert in self.chains(before) {
            self.oracle.presents(address, cert, By::Machine, self.now);
        }
        self.reloads[address] += 1;
        let most = 5 * u64::from(self.ttl);
        self.within(most, Happening::Reload { address });
        Some(before)
    }

    /// The processes from before a reload are gone.
    pub fn linger(&mut self, address: usize, reload: u64, gone: &[u16]) {
        if self.reloads[address] == reload {
            self.leaving[address].clear();
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
                self.certs.push(Chains { main: Cert { number, key: number, issuer: number, whole }, second: None });
                number
            }
        };
        if Some(number) == self.disk {
            return;
        }
        self.disk = Some(number);
        (self.disk_by_outsider, self.disk_told) = (true, u64::MAX);
        for address in 0..self.oracle.presented.len() {
            if self.chance.one_in(2) {
                self.presents(address, By::Outsider { told: u64::MAX });
                if self.chance.one_in(2) {
                    let stays: Vec<Cert> = self.chains(number).collect();
                    self.oracle.presented[address].retain(|(other, _)| stays.contains(other));
                    self.reloads[address] += 1;
                    self.leaving[address].clear();
                }
            }
        }
        if !self.hook {
            self.reload_all();
        }
        let after = self.chance.within(1, 20);
        self.later(after, Happening::Noticed);
    }
}
