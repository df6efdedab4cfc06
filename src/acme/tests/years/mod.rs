//! Years of renewals: the order's machine and the rollover's, one after the other as they stand in the daemon, between a CA, a
//! folder, a zone with secondaries and a mail server with two addresses. All of it goes wrong, and a judge knows the truth.
//!
//! `DANELAW_SEED=7 cargo test --lib acme::tests::years` runs that one alone and prints what happens in it, `DANELAW_YEARS=100`
//! that many of each.

mod ca;
#[path = "../../../../tests/simulation/chance.rs"]
mod chance;
mod daemon;
mod judge;
mod world;
mod zone;

use super::{DAY, HOUR};
use judge::Judge;
use world::{Cert, Plan, World};

const YEAR: u64 = 365 * DAY;

/// What a year of one kind of certificates came to.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    years: u64,
    /// Orders at the CA, certificates that it made, and those that were installed.
    orders: u64,
    certificates: u64,
    installed: u64,
    /// Of these at once, without a hold.
    at_once: u64,
    kills: u64,
    outages: u64,
    /// The most orders within a day.
    day: u64,
    /// How long a certificate was valid still when the last address presented the next one, in seconds: the least.
    margin: u64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.years += other.years;
        self.orders += other.orders;
        self.certificates += other.certificates;
        self.installed += other.installed;
        self.at_once += other.at_once;
        self.kills += other.kills;
        self.outages += other.outages;
        self.day = self.day.max(other.day);
        self.margin = self.margin.min(other.margin);
    }

    fn print(&self, plan: Plan) {
        let hours = |seconds: u64| seconds as f64 / HOUR as f64;
        let line = format!(
            "{:2}-day certificates{}{}: {} years, {} orders (at most {} a day), {} certificates, {} installed, {} of them \
             within the hour, {} kills, {} outages; smallest margin {:.1} h\n",
            plan.lifetime / DAY,
            if plan.issuer { ", 2 1 1 too" } else { "" },
            if plan.calm { ", calm" } else { "" },
            self.years,
            self.orders,
            self.day,
            self.certificates,
            self.installed,
            self.at_once,
            self.kills,
            self.outages,
            hours(self.margin),
        );
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).expect("stderr");
    }
}

/// A year from a seed.
fn year(plan: Plan, seed: u64) -> World {
    let mut world = World::new(plan, seed);
    world.run(YEAR);
    world
}

/// Nothing goes wrong in any of so many years. None: other years were asked for.
fn years(plan: Plan, seeds: u64) -> Option<Sum> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let (only, more) = (number("DANELAW_SEED"), number("DANELAW_YEARS"));
    let mut sum = Sum { margin: u64::MAX, ..Sum::default() };
    for seed in only.map_or(0..more.unwrap_or(seeds), |seed| seed..seed + 1) {
        let world = year(plan, seed);
        assert!(world.judge.wrong.is_empty(), "seed {seed}, {plan:?}: {}", world.judge.wrong.join("\n"));
        sum.add(world.sum());
    }
    sum.print(plan);
    (only, more).eq(&(None, None)).then_some(sum)
}

fn plan(days: u64) -> Plan {
    Plan { lifetime: days * DAY, issuer: false, calm: false, away: 3 }
}

#[test]
fn a_year_of_90_day_certificates() {
    for issuer in [false, true] {
        let Some(sum) = years(Plan { issuer, ..plan(90) }, 8) else { continue };
        assert!(issuer || sum.at_once * 10 >= sum.installed * 9, "next keys need no hold: {sum:?}");
        assert!(sum.installed >= 8 * 5 && sum.outages > 8 && sum.margin > 5 * DAY, "{sum:?}");
    }
}

#[test]
fn a_year_of_45_day_certificates() {
    for issuer in [false, true] {
        let Some(sum) = years(Plan { issuer, ..plan(45) }, 6) else { continue };
        assert!(issuer || sum.at_once * 10 >= sum.installed * 9, "next keys need no hold: {sum:?}");
        assert!(sum.installed >= 6 * 11 && sum.outages > 12 && sum.margin > 2 * DAY, "{sum:?}");
    }
}

#[test]
fn a_year_of_6_day_certificates() {
    for issuer in [false, true] {
        let Some(sum) = years(Plan { issuer, ..plan(6) }, 3) else { continue };
        assert!(issuer || sum.at_once * 10 >= sum.installed * 9, "next keys need no hold: {sum:?}");
        assert!(sum.installed >= 3 * 75 && sum.outages > 60 && sum.margin > 4 * HOUR, "{sum:?}");
    }
}

/// Where nothing goes wrong each renewal takes one order, and the next key makes that it is installed at once.
#[test]
fn a_calm_year_takes_an_order_a_certificate_and_no_hold() {
    for (days, renewals) in [(90, 6..=7), (45, 12..=13), (6, 85..=95)] {
        let Some(sum) = years(Plan { calm: true, ..plan(days) }, 1) else { continue };
        assert_eq!((sum.orders, sum.at_once), (sum.certificates, sum.installed), "{sum:?}");
        assert!(renewals.contains(&sum.installed), "{days}: {sum:?}");
        assert!(sum.margin >= days * DAY / 3 - HOUR || days == 90 && sum.margin >= 30 * DAY - HOUR, "{sum:?}");
    }
}

#[test]
fn when_the_ca_is_away_for_longer_certificates_expire_and_the_judge_says_so() {
    let plan = Plan { away: 1, ..plan(6) };
    let wrong: Vec<String> = (0..4).flat_map(|seed| year(plan, seed).judge.wrong).collect();
    assert!(wrong.iter().any(|wrong| wrong.contains("expires")), "{wrong:?}");
}

#[test]
fn the_judge_sees_a_key_whose_record_is_not_out_and_a_certificate_that_has_expired() {
    let cert = |number: u16| Cert { number, key: number, issuer: 1, not_before: 0, not_after: 1000 * DAY };
    let mut judge = Judge::new();
    judge.serves(&[vec![(3, 1, 1)], vec![(3, 1, 1)]], 0);
    judge.presents(0, cert(1), 10);
    judge.serves(&[vec![(3, 1, 1), (3, 1, 2)], vec![(3, 1, 1)]], 20);
    assert!(judge.wrong.is_empty());
    judge.installs(Some(cert(1)), cert(2), 0, 30);
    assert_eq!(std::mem::take(&mut judge.wrong).len(), 1, "one server does not have it");
    judge.presents(0, cert(2), 40);
    assert!(!std::mem::take(&mut judge.wrong).is_empty());
    judge.presents(0, cert(1), 1001 * DAY);
    assert!(!judge.wrong.is_empty());
}
