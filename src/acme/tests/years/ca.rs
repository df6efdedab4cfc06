//! The CA: orders, the validation that looks at the server that lags most, limits, outages, windows.

use std::collections::BTreeMap;

use super::super::{DAY, HOUR};
use super::chance::Chance;
use super::world::{Cert, Plan};
use crate::acme::{Problem, Proof, Status};

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    pub proofs: Vec<Proof>,
    state: Made,
    cert: Option<u16>,
}

/// How far it is, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Pending,
    Ready(u64),
    Issued(u64),
    Invalid(u64),
}

pub struct Ca {
    plan: Plan,
    pub orders: BTreeMap<String, Order>,
    /// When orders were made.
    pub times: Vec<u64>,
    pub certs: Vec<Cert>,
    down_until: u64,
    pub outages: u64,
    limited_until: u64,
    limits: u64,
    issuer: u16,
}

fn problem(kind: Option<&str>, detail: &str) -> Problem {
    Problem { kind: kind.map(str::to_owned), detail: detail.to_owned(), ..Problem::default() }
}

impl Ca {
    pub fn new(plan: Plan) -> Ca {
        let (orders, times, certs) = Default::default();
        let (down_until, outages, limited_until, limits) = Default::default();
        Ca { plan, orders, times, certs, down_until, outages, limited_until, limits, issuer: 1 }
    }

    /// The trouble that comes with a renewal: it is away for a part of what is left, and has another limit.
    pub fn trouble(&mut self, chance: &mut Chance, left: u64, now: u64) {
        self.limits = chance.below(2);
        if !self.plan.calm && left > 0 && !chance.one_in(3) {
            self.outages += 1;
            self.down_until = now + chance.below(left / self.plan.away + 1);
        }
    }

    /// A request that may come to nothing.
    pub fn hears(&mut self, chance: &mut Chance, now: u64) -> Result<(), Problem> {
        if now < self.down_until {
            return Err(problem(None, "connection refused"));
        }
        if self.plan.calm {
            return Ok(());
        }
        match chance.below(100) {
            0..40 => Err(problem(Some("badNonce"), "another one")),
            40..43 => Err(problem(Some("serverInternal"), "trouble")),
            43..45 => Err(problem(None, "what came is no JSON")),
            _ => Ok(()),
        }
    }

    pub fn order(&mut self, chance: &mut Chance, left: u64, now: u64) -> Result<(String, Vec<Proof>), Problem> {
        self.hears(chance, now)?;
        if self.limits > 0 && !self.plan.calm && left > 0 {
            self.limits -= 1;
            self.limited_until = now + chance.below(left / 8 + 1);
        }
        if now < self.limited_until {
            // The clock here may be any: the edge turns it into a moment of ours.
            return Err(Problem { retry_after: Some(self.limited_until), ..problem(Some("rateLimited"), "too many") });
        }
        self.times.push(now);
        let number = self.times.len();
        let proof = |name: &str| Proof { name: name.parse().expect(name), value: format!("{number} of {name}") };
        let proofs = vec![proof("example.org"), proof("mail.example.org")];
        let url = format!("order {number}");
        self.orders.insert(url.clone(), Order { proofs: proofs.clone(), state: Made::Pending, cert: None });
        Ok((url, proofs))
    }

    /// Looks at what a server shows.
    pub fn ready(&mut self, chance: &mut Chance, url: &str, shown: &[Proof], now: u64) -> Result<bool, Problem> {
        self.hears(chance, now)?;
        let fails = !self.plan.calm && chance.one_in(20);
        let Some(order) = self.orders.get_mut(url) else { return Err(problem(Some("malformed"), "no such order")) };
        if order.state != Made::Pending {
            return Ok(true);
        }
        let proven = order.proofs.iter().all(|proof| shown.contains(proof));
        let at = now + chance.below(90);
        order.state = if proven && !fails { Made::Ready(at) } else { Made::Invalid(at) };
        Ok(proven)
    }

    pub fn status(&mut self, chance: &mut Chance, url: &str, now: u64) -> Result<Status, Problem> {
        self.hears(chance, now)?;
        if !self.plan.calm && chance.one_in(60) {
            self.orders.remove(url);
        }
        let Some(order) = self.orders.get(url) else { return Err(problem(Some("malformed"), "no such order")) };
        Ok(match order.state {
            Made::Ready(at) if now >= at => Status::Ready,
            Made::Pending | Made::Ready(_) => Status::Pending,
            Made::Issued(at) if now >= at => Status::Valid,
            Made::Issued(_) => Status::Processing,
            Made::Invalid(at) if now >= at => Status::Invalid(problem(Some("dns"), "SERVFAIL")),
            Made::Invalid(_) => Status::Pending,
        })
    }

    pub fn finalize(&mut self, chance: &mut Chance, url: &str, key: u16, now: u64) -> Result<Status, Problem> {
        self.hears(chance, now)?;
        let Some(order) = self.orders.get_mut(url) else { return Err(problem(Some("malformed"), "no such order")) };
        if !matches!(order.state, Made::Ready(at) if now >= at) {
            return Err(problem(Some("orderNotReady"), "not yet, or no more"));
        }
        if chance.one_in(4) {
            self.issuer += 1;
        }
        let (number, not_before) = (self.certs.len() as u16, now - HOUR);
        let not_after = not_before + self.plan.lifetime;
        self.certs.push(Cert { number, key, issuer: self.issuer, not_before, not_after });
        order.cert = Some(number);
        order.state = Made::Issued(now + chance.below(60));
        Ok(Status::Processing)
    }

    pub fn certificate(&mut self, chance: &mut Chance, url: &str, now: u64) -> Result<Cert, Problem> {
        self.hears(chance, now)?;
        let number = self.orders.get(url).and_then(|order| order.cert);
        number.map(|number| self.certs[usize::from(number)]).ok_or_else(|| problem(Some("malformed"), "no such order"))
    }

    /// When it wants a certificate to be replaced: about two thirds into its life, or now.
    pub fn window(&self, chance: &mut Chance, cert: Cert, now: u64) -> Option<(u64, u64)> {
        let start = cert.not_before + self.plan.lifetime * 2 / 3;
        let revokes = !self.plan.calm && cert.number % 7 == 3 && chance.one_in(20);
        (matches!(cert.number % 3, 1 | 2) && !self.plan.calm).then_some(match revokes {
            true => (now.saturating_sub(DAY), now),
            false => (start, start + self.plan.lifetime / 30),
        })
    }
}
