//! The judge: what resolvers may hold against what the mail server may present, at every instant. It knows the world as it
//! is and shares no code with the machine: it reads records and certificates by itself.
//!
//! A resolver is as bad as it can be: whatever any server serves, somebody fetches in that second, and somebody else has it
//! from that cache when its TTL is nearly over. So a set is held until 2 x TTL after the last server stopped serving it.

/// A certificate of this world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cert {
    pub number: u16,
    pub key: u16,
    pub issuer: u16,
    /// Whether its issuer's certificate is in the chain.
    pub whole: bool,
}

/// A record: usage, selector, and what it is the hash of.
pub type Record = (u8, u8, u16);

fn matches(cert: Cert, record: Record) -> bool {
    match record {
        (3, 1, key) => cert.key == key,
        (3, 0, number) => cert.number == number,
        (2, 1, issuer) => cert.whole && cert.issuer == issuer,
        _ => false,
    }
}

/// Whether mail is delivered: each usage and selector has a record that matches.
pub fn delivers(cert: Cert, records: &[Record]) -> bool {
    records.iter().all(|&(usage, selector, _)| {
        records.iter().any(|&record| record.0 == usage && record.1 == selector && matches(cert, record))
    })
}

/// Who brought it about that a certificate is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Machine,
    /// Somebody else; since when the machine knows.
    Outsider {
        told: u64,
    },
}

#[derive(Debug)]
struct Held {
    records: Vec<Record>,
    /// When it was last decided on.
    decided: u64,
    /// How many servers serve it.
    servers: u32,
    /// Until when caches hold what was served.
    until: u64,
}

/// What is held and presented.
#[derive(Debug, Default)]
pub struct Oracle {
    sets: Vec<Held>,
    /// By address.
    pub presented: Vec<Vec<(Cert, By)>>,
    /// What the machine did wrong.
    pub violations: Vec<String>,
    /// What somebody else did wrong: pairs of a set and a certificate.
    pub by_outsiders: u64,
}

impl Oracle {
    pub fn set(&mut self, records: Vec<Record>) -> usize {
        let found = self.sets.iter().position(|set| set.records == records);
        found.unwrap_or_else(|| {
            self.sets.push(Held { records, decided: 0, servers: 0, until: 0 });
            self.sets.len() - 1
        })
    }

    pub fn decided(&mut self, set: usize, now: u64) {
        self.sets[set].decided = now;
    }

    pub fn records(&self, set: usize) -> &[Record] {
        &self.sets[set].records
    }

    pub fn serves(&mut self, set: usize, now: u64) {
        self.sets[set].servers += 1;
        for address in 0..self.presented.len() {
            for index in 0..self.presented[address].len() {
                let (cert, by) = self.presented[address][index];
                self.judge(set, cert, by, now);
            }
        }
    }

    pub fn serves_no_more(&mut self, set: usize, ttl: u32, now: u64) {
        let set = &mut self.sets[set];
        set.servers -= 1;
        set.until = set.until.max(now + 2 * u64::from(ttl));
    }

    /// It was presented before anything was judged.
    pub fn is_presented(&mut self, address: usize, chains: impl Iterator<Item = Cert>) {
        self.presented[address] = chains.map(|cert| (cert, By::Machine)).collect();
    }

    /// Whether a resolver may hold a record.
    pub fn is_out(&self, now: u64) -> bool {
        self.sets.iter().any(|set| !set.records.is_empty() && (set.servers > 0 || set.until > now))
    }

    pub fn presents(&mut self, address: usize, cert: Cert, by: By, now: u64) {
        match self.presented[address].iter_mut().find(|(other, _)| *other == cert) {
            Some(entry) if entry.1 == by || by != By::Machine => return,
            Some(entry) => entry.1 = by,
            None => self.presented[address].push((cert, by)),
        }
        for set in 0..self.sets.len() {
            if self.sets[set].servers > 0 || self.sets[set].until > now {
                self.judge(set, cert, by, now);
            }
        }
    }

    /// Whether nothing goes wrong if a certificate is presented now.
    pub fn is_fine(&self, cert: Cert, now: u64) -> bool {
        self.sets.iter().filter(|set| set.servers > 0 || set.until > now).all(|set| delivers(cert, &set.records))
    }

    /// The machine knows of what somebody else put there.
    pub fn told(&mut self, cert: Cert, now: u64) {
        for (other, by) in self.presented.iter_mut().flatten() {
            if let By::Outsider { told } = by
                && *other == cert
            {
                *told = (*told).min(now);
            }
        }
    }

    fn judge(&mut self, set: usize, cert: Cert, by: By, now: u64) {
        let held = &self.sets[set];
        if delivers(cert, &held.records) {
            return;
        }
        match by {
            By::Outsider { told } if held.decided <= told => self.by_outsiders += 1,
            _ => self.violations.push(format!("{now}: {cert:?} ({by:?}) against {held:?}")),
        }
    }
}
