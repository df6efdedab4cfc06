//! Secondaries are told of new versions, and what they have is known: `transfer::notify` decides, `act::notify` sends.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Keeper;
use crate::act::notify::{News, Order};
use crate::config::{Config, Secondary};
use crate::dns::{Name, Timestamp};
use crate::transfer::notify::{Copy, Notifier, Send, State, TOGETHER, Told};

/// What the keeper knows of its secondaries, and where its orders go.
#[derive(Default)]
pub(super) struct Notices {
    notifier: Notifier,
    orders: Option<mpsc::Sender<Order>>,
}

/// One secondary's copy of one zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyReport {
    /// The secondary's name in the configuration.
    pub secondary: String,
    /// Where it is told.
    pub address: SocketAddr,
    /// The zone.
    pub zone: Name,
    /// The serial that is served here, and that it is told of.
    pub serial: u32,
    /// When it was told last.
    pub told_at: Option<Timestamp>,
    /// The serial that it was seen to have last.
    pub seen: Option<u32>,
    /// When that was.
    pub seen_at: Option<Timestamp>,
    /// How far it is.
    pub state: CopyState,
}

/// How far a secondary is with the version that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyState {
    /// It has it.
    Current,
    /// It is told of it.
    Waiting,
    /// It was told of it, and does not have it yet.
    Transferring,
    /// It does not answer, or does not take it over.
    Silent,
    /// It does not take NOTIFY from here.
    Refusing,
}

impl std::fmt::Display for CopyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CopyState::Current => "current",
            CopyState::Waiting => "waiting",
            CopyState::Transferring => "transferring",
            CopyState::Silent => "silent",
            CopyState::Refusing => "refusing",
        })
    }
}

impl Keeper {
    /// Where orders to tell secondaries come out from now on.
    pub fn orders(&mut self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(TOGETHER);
        self.notices.orders = Some(sender);
        orders
    }

    /// Secondaries will be told of these versions.
    pub(super) fn note_versions(&mut self, served: &[(Name, u32)], now: Timestamp) {
        for (zone, serial) in served {
            self.notices.notifier.served(zone, *serial, &told(&self.config, zone), now);
        }
    }

    /// The same of all zones: those that the start found, and all of them for a secondary that is new.
    pub(super) fn note_all_versions(&mut self, now: Timestamp) {
        let Keeper { notices, zones, config, .. } = self;
        notices.notifier.retain(|zone| zones.contains_key(zone));
        if !config.secondaries.iter().any(|secondary| secondary.notify) && notices.notifier.copies().next().is_none() {
            return;
        }
        for (origin, zone) in zones.iter() {
            if let Some(published) = zone.published() {
                notices.notifier.served(origin, published.serial, &told(config, origin), now);
            }
        }
    }

    /// Sends what is due; gives when more will be.
    pub fn send_notices(&mut self, now: Timestamp) -> Option<Timestamp> {
        let keys = self.policy.load().keys.clone();
        let Notices { notifier, orders } = &mut self.notices;
        let orders = orders.as_ref()?;
        // What finds no room is sent again as if it had not been answered.
        for send in notifier.due(now) {
            let (Send::Notify(copy, _) | Send::Soa(copy)) = &send;
            let secondary = holder(&self.config, copy);
            let key = secondary.and_then(|secondary| keys.get(secondary.key.as_ref()?).cloned());
            // The task ends with the process only.
            let _ = orders.try_send(Order { send, key });
        }
        notifier.next()
    }

    /// A secondary has said something.
    pub fn hear(&mut self, news: &News, now: Timestamp) {
        match news {
            News::Answered(copy, rcode) => self.notices.notifier.answered(copy, *rcode, now),
            News::Shows(copy, serial) => self.notices.notifier.shows(copy, *serial, now),
        }
    }

    /// Every copy.
    pub(super) fn copy_reports(&self) -> Vec<CopyReport> {
        let report = |(copy, told): (&Copy, &Told)| CopyReport {
            secondary: holder(&self.config, copy).map(|secondary| secondary.name.clone()).unwrap_or_default(),
            address: copy.secondary,
            zone: copy.zone.clone(),
            serial: told.serial,
            told_at: told.told_at,
            seen: told.seen.map(|(serial, _)| serial),
            seen_at: told.seen.map(|(_, at)| at),
            state: match told.state {
                State::Waiting { .. } => CopyState::Waiting,
                State::Transferring { .. } => CopyState::Transferring,
                State::Current => CopyState::Current,
                State::Silent => CopyState::Silent,
                State::Refusing(_) => CopyState::Refusing,
            },
        };
        self.notices.notifier.copies().map(report).collect()
    }

    /// Secondaries that fall behind, one line for each and each reason, however many zones it is about.
    pub(super) fn notice_problems(&self) -> Vec<String> {
        let mut behind: BTreeMap<(SocketAddr, Option<u8>), (&Copy, usize)> = BTreeMap::new();
        for (copy, told) in self.notices.notifier.copies() {
            let rcode = match told.state {
                State::Silent => None,
                State::Refusing(rcode) => Some(rcode),
                State::Waiting { .. } | State::Transferring { .. } | State::Current => continue,
            };
            behind.entry((copy.secondary, rcode)).or_insert((copy, 0)).1 += 1;
        }
        let problem = |((address, rcode), (copy, count)): ((SocketAddr, Option<u8>), (&Copy, usize))| {
            let name = holder(&self.config, copy).map(|secondary| secondary.name.as_str()).unwrap_or_default();
            let zones = zones(&copy.zone, count);
            match rcode {
                None => format!(
                    "secondary {name}, {address}: does not take over the new version of {zones}: is it running, may it transfer, \
                     and is its clock right?"
                ),
                Some(rcode) => format!(
                    "secondary {name}, {address}: answers NOTIFY of {zones} with response code {rcode}: does it have the zone, and \
                     may this server notify it?"
                ),
            }
        };
        behind.into_iter().map(problem).collect()
    }
}

fn zones(first: &Name, count: usize) -> String {
    match count {
        1 => first.to_string(),
        more => format!("{more} zones, {first} among them"),
    }
}

/// Who is told of a zone.
fn told(config: &Config, zone: &Name) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for secondary in config.secondaries.iter().filter(|secondary| secondary.notify && secondary.takes(zone)) {
        for address in &secondary.addresses {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
    }
    addresses
}

/// Whose copy it is.
fn holder<'a>(config: &'a Config, copy: &Copy) -> Option<&'a Secondary> {
    let is_it = |secondary: &&Secondary| {
        secondary.notify && secondary.takes(&copy.zone) && secondary.addresses.contains(&copy.secondary)
    };
    config.secondaries.iter().find(is_it)
}
