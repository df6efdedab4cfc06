//! How the world sees zones, mail domains and mail servers: the edge looks, `outside` says what it means, and when to look again.

mod gather;
mod presenting;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Keeper;
use crate::config;
use crate::dane::prerequisites::{Fact, Resolved, Verdict};
use crate::dane::state::State as DaneState;
use crate::dane::tlsa::Service;
use crate::dns::{Name, Timestamp};
use crate::observe::outside::{News, Order};
use crate::observe::way::is_local;
use crate::outside::watched::{Found, Watched};
use crate::outside::{Area, Check, Level, Seen, Subject, Wanted, domain, host, worst};
use crate::store::{Store, StoreError};
use crate::tell::{Condition, Kind, Notice, Stands};
use crate::zone::Snapshot;

use presenting::Presenting;

/// Looks that wait for an answer at a time.
const ORDERS: usize = 64;
/// Seconds until what is to be looked at is gathered again, though nothing was configured or restarted.
const GATHER: u64 = 5;

/// What is known of the zones from outside, and where questions go.
#[derive(Default)]
pub(super) struct Outside {
    pub(super) watched: Watched,
    orders: Option<mpsc::Sender<Order>>,
    /// When it was gathered what is to be looked at.
    gathered: Option<Timestamp>,
    /// What was published then.
    gathered_from: Weak<Snapshot>,
    /// Something was planned otherwise since.
    is_planned: bool,
    /// Something is to be gathered, and it was too soon for that.
    waits: bool,
    /// The hosts and mail domains that are seen otherwise than when they were planned last.
    probed: BTreeSet<Name>,
    presenting: Presenting,
    /// The certificates that the operator has let go, by their fingerprints: presenting them brings none back.
    pub(super) forgotten: BTreeSet<String>,
}

/// How a zone is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutsideReport {
    /// Whether resolvers trust it.
    pub verdict: Verdict,
    /// What that rests on.
    pub evidence: String,
    /// What the operator has to do; empty when nothing.
    pub help: String,
    /// When it was looked last.
    pub at: Timestamp,
}

/// Everything that was found of a zone, a mail domain or a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FoundReport {
    /// What was looked at.
    #[serde(flatten)]
    pub subject: Subject,
    /// When.
    pub at: Timestamp,
    /// The worst of it.
    pub level: Level,
    /// So many checks found nothing wrong.
    pub ok: usize,
    /// What the others found.
    pub checks: Vec<Check>,
}

impl Outside {
    /// What hosts presented before the start they present until they were looked at.
    pub(super) fn load(store: &Store, dane: &DaneState, config: &config::Outside) -> Result<Outside, StoreError> {
        let mut outside = Outside { presenting: Presenting::load(store, dane)?, ..Outside::default() };
        outside.watched.configure(config.hysteresis);
        Ok(outside)
    }

    /// What the parent says of a zone.
    pub(super) fn parent(&self, apex: &Name) -> Fact {
        let unseen =
            || Fact::unknown("not checked: it is being looked at from outside", "wait a minute, and ask again");
        self.watched.fact(apex).map_or_else(unseen, |(fact, _)| fact.clone())
    }

    /// What a mail server presents. `own`: the addresses that the zones here give it; a loss is proven at one of them alone, and only
    /// if it is this machine's: whoever stands before a resolver can name others.
    pub(super) fn probed(&self, host: &Name, own: &[IpAddr]) -> Fact {
        let unseen =
            || Fact::unknown("not checked: it is being asked what it presents", "wait a minute, and ask again");
        let found = self.watched.found(&Subject::Host(host.clone()));
        match found.map(|found| (found, found.seen.as_ref())) {
            // What was seen before nothing could be seen any more is not what is seen now.
            Some((found, Some((Seen::Host(seen), at)))) if *at == found.at => {
                host::service(&Service::smtp(host.clone()), seen, |ip| own.contains(&ip) && is_local(ip))
            }
            Some((found, _)) => {
                let why = found.checks.first().map_or_else(String::new, |check| check.evidence.clone());
                Fact::unknown(format!("it can't be looked at: {why}"), "see that a resolver is reached from here")
            }
            None => unseen(),
        }
    }

    /// A mail domain as resolvers see it.
    pub(super) fn resolved(&self, domain: &Name) -> Resolved {
        let found = self.watched.found(&Subject::Domain(domain.clone()));
        match found.map(|found| (found, found.seen.as_ref())) {
            Some((found, Some((Seen::Domain(seen), at)))) if *at == found.at => domain::resolved(domain, seen),
            Some((found, _)) => {
                let why = found.checks.first().map_or_else(String::new, |check| check.evidence.clone());
                Resolved::unseen(&why)
            }
            None => Resolved::unseen("it is being looked at from outside"),
        }
    }

    pub(super) fn report(&self, apex: &Name) -> Option<OutsideReport> {
        let (Fact { verdict, evidence, help }, at) = self.watched.fact(apex)?;
        Some(OutsideReport { verdict: *verdict, evidence: evidence.clone(), help: help.clone(), at })
    }

    /// Everything that was found.
    pub(super) fn reports(&self) -> Vec<FoundReport> {
        let report = |(subject, found): (&Subject, &Found)| FoundReport {
            subject: subject.clone(),
            at: found.at,
            level: worst(&found.checks),
            ok: found.checks.iter().filter(|check| check.level == Level::Ok).count(),
            checks: found.checks.iter().filter(|check| check.level != Level::Ok).cloned().collect(),
        };
        self.watched.all().map(report).collect()
    }

    /// What was found of a host, of the zone that it is in, and of the domains that name it.
    pub(super) fn about(&self, host: &Name, zone: Option<&Name>, domains: &[&Name]) -> Vec<Check> {
        let subjects = std::iter::once(Subject::Host(host.clone()))
            .chain(zone.map(|zone| Subject::Zone(zone.clone())))
            .chain(domains.iter().map(|domain| Subject::Domain((*domain).clone())));
        let found = subjects.filter_map(|subject| self.watched.found(&subject));
        found.flat_map(|found| found.checks.iter().cloned()).collect()
    }

    /// It is configured otherwise: all are looked at at once.
    pub(super) fn configure(&mut self, config: &config::Outside) {
        self.watched.configure(config.hysteresis);
        self.gathered = None;
        self.watched.hurry();
    }

    /// Whether everything was looked at since the start, so that what is not among the conditions is over.
    pub(super) fn is_settled(&self) -> bool {
        self.watched.is_settled()
    }

    /// What loses mail or its protection, a line each: of what stands.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let critical = self.watched.standing().filter(|(_, check, _)| check.level == Level::Critical);
        critical.map(|(_, check, _)| line(check))
    }

    /// The same as conditions, each told once until it is over.
    pub(super) fn conditions(&self) -> impl Iterator<Item = Condition> {
        let critical = self.watched.standing().filter(|(_, check, _)| check.level == Level::Critical);
        critical.map(|(_, check, since)| {
            let text = check.fault.map_or_else(String::new, |fault| format!("seen from outside: {fault}"));
            let todo = if check.help.is_empty() { String::new() } else { format!("\nTo do: {}.", check.help) };
            let notice = Notice::new(since, Kind::Alarm, &check.subject, &text);
            Condition { notice: notice.with(format!("Found: {}.{todo}", check.evidence)), stands: Stands::Yes }
        })
    }

    /// Whether something stands that is wrong with a zone or a host; none of what nobody looks at.
    pub(super) fn is_wrong(&self, subject: &Subject, area: Area) -> Option<bool> {
        self.watched.is_wrong(subject, area)
    }

    /// The hosts and mail domains that are seen otherwise than when they were planned last.
    pub(super) fn newly_probed(&self) -> impl Iterator<Item = Name> {
        self.probed.iter().cloned()
    }

    /// They are planned. `is_other`: some owner otherwise than before.
    pub(super) fn planned(&mut self, is_other: bool) {
        self.probed.clear();
        self.is_planned |= is_other;
    }
}

fn line(check: &Check) -> String {
    let todo = if check.help.is_empty() { String::new() } else { format!("; {}", check.help) };
    format!("{}: {}{todo}", check.subject, check.evidence)
}

impl Keeper {
    /// From now on zones are looked at from outside, by whoever takes these orders.
    pub fn outside_orders(&mut self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        self.outside.orders = Some(sender);
        orders
    }

    /// Asks what is due; gives when more will be.
    pub fn send_outside(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.outside.waits {
            self.watch_from_outside(now);
        }
        let orders = self.outside.orders.as_ref()?;
        let outside = Arc::new(self.config.outside.clone());
        for wanted in self.outside.watched.due(now, orders.capacity()) {
            // There is room, and nobody else sends.
            drop(orders.try_send(Order { wanted, outside: Arc::clone(&outside) }));
        }
        let gathers = self.outside.gathered.filter(|_| self.outside.waits).map(|at| at + GATHER);
        self.outside.watched.next().into_iter().chain(gathers).min().map(|next| next.max(now + 1))
    }

    /// Something was looked at. Whether any is seen otherwise than before. What others were asked than are asked now does not count.
    pub fn hear_outside(&mut self, news: Vec<News>, now: Timestamp) -> bool {
        let mut is_other = false;
        for News { order, seen } in news {
            if *order.outside != self.config.outside {
                self.outside.watched.unasked(&order.wanted.subject());
                continue;
            }
            if let (Wanted::Host { host, .. }, Ok(Seen::Host(seen))) = (&*order.wanted, &seen)
                && self.outside.watched.wanted(&order.wanted.subject()).is_some()
            {
                self.note_presented(host, seen);
            }
            let is_news = self.outside.watched.seen(&order.wanted, seen, now);
            is_other |= is_news;
            if let Subject::Host(name) | Subject::Domain(name) = order.wanted.subject()
                && is_news
            {
                self.outside.probed.insert(name);
            }
        }
        self.outside.presenting.save(&mut self.store);
        is_other
    }
}
