//! How the world sees the zones: `observe::parent` looks, `outside::chain` says what it means, `outside::watched` when to look
//! again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Keeper;
use super::served::dnskeys;
use crate::dane::config::DnssecStrength;
use crate::dane::prerequisites::{Fact, Verdict};
use crate::dns::{Name, Rdata, Timestamp};
use crate::observe::parent::{News, Order};
use crate::outside::watched::Watched;

/// Looks that wait for an answer at a time.
const ORDERS: usize = 64;

/// What is known of the zones from outside, and where questions go.
#[derive(Default)]
pub(super) struct Outside {
    watched: Watched,
    orders: Option<mpsc::Sender<Order>>,
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

impl Outside {
    /// What the parent says of a zone.
    pub(super) fn parent(&self, apex: &Name) -> Fact {
        let unseen =
            || Fact::unknown("not checked: it is being looked at from outside", "wait a minute, and ask again");
        self.watched.fact(apex).map_or_else(unseen, |(fact, _)| fact.clone())
    }

    pub(super) fn report(&self, apex: &Name) -> Option<OutsideReport> {
        let (Fact { verdict, evidence, help }, at) = self.watched.fact(apex)?;
        Some(OutsideReport { verdict: *verdict, evidence: evidence.clone(), help: help.clone(), at })
    }

    /// All zones are asked about at once.
    pub(super) fn hurry(&mut self) {
        self.watched.hurry();
    }

    /// What somebody has to do for a zone, a line each.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.watched
            .facts()
            .filter(|(_, fact)| fact.verdict != Verdict::Unknown && !fact.help.is_empty())
            .map(|(apex, Fact { evidence, help, .. })| format!("{apex}: {evidence}; {help}"))
    }
}

impl Keeper {
    /// From now on zones are looked at from outside, by whoever takes these orders.
    pub fn outside_orders(&mut self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(ORDERS);
        self.outside.orders = Some(sender);
        orders
    }

    /// The zones whose place in the chain of trust decides on TLSA, with their keys: those of hosts with certificates, and of the
    /// domains that name them.
    pub(super) fn watch_from_outside(&mut self) {
        let mut wanted: BTreeMap<Name, Vec<Rdata>> = BTreeMap::new();
        for planned in self.plans.owners().filter(|planned| !planned.explanation.records.is_empty()) {
            let domains = planned.explanation.assessments.iter().filter_map(|assessment| assessment.domain.as_ref());
            let zones = domains.filter_map(|domain| self.zone_above(domain)).chain(&planned.zone);
            for apex in zones {
                if !wanted.contains_key(apex)
                    && self.dane_config.zone(apex).dnssec == DnssecStrength::Parent
                    && let Some(zone) = self.zones.get(apex)
                {
                    wanted.insert(apex.clone(), dnskeys(zone));
                }
            }
        }
        wanted.retain(|_, keys| !keys.is_empty());
        self.outside.watched.want(wanted);
    }

    fn zone_above(&self, name: &Name) -> Option<&Name> {
        let mut above = std::iter::once(name.clone()).chain(name.ancestors());
        above.find_map(|apex| self.zones.get_key_value(&apex)).map(|(apex, _)| apex)
    }

    /// Asks what is due; gives when more will be.
    pub fn send_outside(&mut self, now: Timestamp) -> Option<Timestamp> {
        let orders = self.outside.orders.as_ref()?;
        let outside = Arc::new(self.config.outside.clone());
        for zone in self.outside.watched.due(now, orders.capacity()) {
            // There is room, and nobody else sends.
            drop(orders.try_send(Order { zone, outside: Arc::clone(&outside) }));
        }
        self.outside.watched.next().map(|next| next.max(now + 1))
    }

    /// Zones were looked at. Whether any is seen otherwise than before. What others were asked than are asked now does not count.
    pub fn hear_outside(&mut self, news: &[News], now: Timestamp) -> bool {
        let of_now = news.iter().filter(|news| *news.outside == self.config.outside);
        of_now.fold(false, |is_other, News { zone, seen, .. }| self.outside.watched.seen(zone, seen, now) | is_other)
    }
}
