//! The judge: what resolvers may hold against what the mail server presents, and whether that has expired. It reads records
//! and certificates by itself, and shares nothing with the machines.

use std::collections::BTreeMap;

use super::world::{Cert, INTERVAL, Record, TTL};

#[derive(Default)]
pub struct Judge {
    /// Each set with how many servers serve it and until when caches hold it.
    sets: BTreeMap<Vec<Record>, (u32, u64)>,
    /// Of each address.
    presented: [Option<Cert>; 2],
    /// Since when every server has a record.
    since: BTreeMap<Record, u64>,
    pub wrong: Vec<String>,
    pub installed: u64,
    pub at_once: u64,
    pub margin: u64,
}

fn matches(cert: Cert, record: Record) -> bool {
    match record {
        (3, 1, key) => cert.key == key,
        (2, 1, issuer) => cert.issuer == issuer,
        _ => false,
    }
}

/// RFC 7671 section 8.
fn delivers(cert: Cert, records: &[Record]) -> bool {
    let has = |usage: u8| records.iter().any(|record| record.0 == usage && matches(cert, *record));
    records.iter().all(|(usage, ..)| has(*usage))
}

impl Judge {
    pub fn new() -> Judge {
        Judge { margin: u64::MAX, ..Judge::default() }
    }

    /// What each server serves now.
    pub fn serves(&mut self, served: &[Vec<Record>], now: u64) {
        for (set, (servers, until)) in &mut self.sets {
            let count = served.iter().filter(|other| *other == set).count() as u32;
            if count < *servers {
                *until = now + 2 * u64::from(TTL);
            }
            *servers = count;
        }
        for set in served {
            let count = served.iter().filter(|other| *other == set).count() as u32;
            self.sets.entry(set.clone()).or_insert((count, 0)).0 = count;
        }
        let everywhere = |record: &Record| served.iter().all(|set| set.contains(record));
        self.since.retain(|record, _| everywhere(record));
        for record in served.iter().flatten().filter(|record| everywhere(record)) {
            self.since.entry(*record).or_insert(now);
        }
        self.look(now);
    }

    pub fn presents(&mut self, address: usize, cert: Cert, now: u64) {
        let before = self.presented[address].replace(cert);
        if let Some(before) = before.filter(|before| before.number != cert.number) {
            match before.not_after.checked_sub(now) {
                Some(left) => self.margin = self.margin.min(left),
                None => self.wrong.push(format!("{now}: {before:?} had expired before {cert:?} was presented")),
            }
        }
        self.look(now);
    }

    /// A certificate is put where the mail server reads, in the place of another one: its key's record was out for the hold.
    pub fn installs(&mut self, before: Option<Cert>, cert: Cert, stored: u64, now: u64) {
        self.installed += 1;
        self.at_once += u64::from(now < stored + 3600);
        let Some(before) = before.filter(|before| before.key != cert.key) else { return };
        let out = self.since.get(&(3, 1, cert.key)).map_or(0, |since| now - since);
        if out < INTERVAL {
            self.wrong.push(format!("{now}: {cert:?} after {before:?}, whose record was out for {out} s"));
        }
    }

    pub fn look(&mut self, now: u64) {
        for cert in self.presented.iter().flatten() {
            for (set, (servers, until)) in &self.sets {
                if (*servers > 0 || *until > now) && !delivers(*cert, set) {
                    self.wrong.push(format!("{now}: {cert:?} against {set:?}"));
                }
            }
            if cert.not_after < now {
                self.wrong.push(format!("{now}: {cert:?} has expired"));
            }
        }
    }

    /// What an address presents.
    pub fn presented(&self, address: usize) -> Option<Cert> {
        self.presented[address]
    }

    /// Until when what is presented is valid, everywhere.
    pub fn valid_until(&self) -> Option<u64> {
        self.presented.iter().flatten().map(|cert| cert.not_after).min()
    }
}
