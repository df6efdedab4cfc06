//! Secondaries are told of new versions, and what they have is known: `transfer::notify` decides, `act::notify` sends.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::nameservers::{Nameservers, Ours};
use super::{Keeper, Policy};
use crate::act::notify::{News, Order};
use crate::config::{Config, Secondary};
use crate::dns::{Name, Timestamp};
use crate::serve::transfers::Taken;
use crate::transfer::notify::{Copy, Notifier, Send, State, TOGETHER, Told};

/// What the keeper knows of its secondaries, and where its orders go.
#[derive(Default)]
pub(super) struct Notices {
    notifier: Notifier,
    nameservers: Nameservers,
    orders: Option<mpsc::Sender<Order>>,
    lookups: Option<mpsc::Sender<Name>>,
}

/// One secondary's copy of one zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyReport {
    /// The secondary's name in the configuration, or a nameserver's.
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
    /// Where orders to tell secondaries come out from now on, and the nameservers whose addresses are wanted.
    pub fn orders(&mut self) -> (mpsc::Receiver<Order>, mpsc::Receiver<Name>) {
        let (sender, orders) = mpsc::channel(TOGETHER);
        let (lookups, hosts) = mpsc::channel(TOGETHER);
        (self.notices.orders, self.notices.lookups) = (Some(sender), Some(lookups));
        (orders, hosts)
    }

    /// Secondaries will be told of these versions.
    pub(super) fn note_versions(&mut self, served: &[(Name, u32)], now: Timestamp) {
        let Keeper { notices, zones, config, .. } = self;
        let ours = Ours { config, zones };
        for (zone, serial) in served {
            notices.serve(&ours, zone, *serial, now);
        }
    }

    /// The same of all zones: those that the start found, and all of them for a secondary that is new.
    pub(super) fn note_all_versions(&mut self, now: Timestamp) {
        let Keeper { notices, zones, catalogs, config, .. } = self;
        notices.notifier.retain(|zone| zones.contains_key(zone) || catalogs.get(zone).is_some());
        let ours = Ours { config, zones };
        notices.nameservers.retain(&ours, zones.keys().filter(|zone| config.tells_nameservers(zone)));
        let any_told = config.secondaries.iter().any(|secondary| secondary.notify)
            || config.notify_nameservers
            || config.overrides.values().any(|zone| zone.notify_nameservers);
        if any_told || notices.notifier.copies().next().is_some() {
            for (origin, zone) in zones.iter() {
                if let Some(published) = zone.published() {
                    notices.serve(&ours, origin, published.serial, now);
                }
            }
            for (origin, serial) in catalogs.serials() {
                notices.serve(&ours, origin, serial, now);
            }
        }
        self.tell_who_is_told();
    }

    /// Lets refused transfers say so where a nameserver is told of changes and may not take them.
    fn tell_who_is_told(&self) {
        let ours = Ours { config: &self.config, zones: &self.zones };
        let mut told: HashMap<IpAddr, Name> = HashMap::new();
        for (copy, _) in self.notices.notifier.copies().filter(|(copy, _)| holder(&self.config, copy).is_none()) {
            let address = copy.secondary.ip();
            if !told.contains_key(&address)
                && let Some(host) = self.notices.nameservers.name_of(&ours, &copy.zone, address)
            {
                told.insert(address, host);
            }
        }
        let policy = self.policy.load_full();
        if *policy.told != told {
            self.policy.store(Arc::new(Policy { told: Arc::new(told), ..Policy::clone(&policy) }));
        }
    }

    /// Sends what is due; gives when more will be.
    pub fn send_notices(&mut self, now: Timestamp) -> Option<Timestamp> {
        let keys = self.policy.load().keys.clone();
        let Notices { notifier, nameservers, orders, lookups } = &mut self.notices;
        let (orders, lookups) = (orders.as_ref()?, lookups.as_ref()?);
        // What finds no room is sent again as if it had not been answered.
        for send in notifier.due(now) {
            let (Send::Notify(copy, _) | Send::Soa(copy)) = &send;
            let secondary = holder(&self.config, copy);
            let key = secondary.and_then(|secondary| keys.get(secondary.key.as_ref()?).cloned());
            // The task ends with the process only.
            let _ = orders.try_send(Order { send, key });
        }
        let due = nameservers.due(now).into_iter().chain(self.rollovers.lookups(now));
        due.for_each(|host| drop(lookups.try_send(host)));
        notifier.next().into_iter().chain(nameservers.next()).chain(self.rollovers.next_lookup()).min()
    }

    /// A secondary has said something, or the system's resolver.
    pub fn hear(&mut self, news: &News, now: Timestamp) {
        match news {
            News::Answered(copy, serial, rcode) => self.notices.notifier.answered(copy, *serial, *rcode, now),
            News::Shows(copy, serial) => self.notices.notifier.shows(copy, *serial, now),
            News::Resolved(host, found) => {
                self.rollovers.resolved(host, found, now);
                if self.notices.nameservers.resolved(host, found, now) {
                    self.note_all_versions(now);
                }
            }
        }
    }

    /// A secondary has taken a version. Of several at one address nobody knows which; their SOAs tell.
    pub(super) fn note_taken(&mut self, taken: &Taken, now: Timestamp) {
        let notifier = &mut self.notices.notifier;
        let is_theirs = |copy: &&Copy| copy.secondary.ip().to_canonical() == taken.peer;
        let copies: Vec<Copy> = notifier.of(&taken.zone).map(|(copy, _)| copy).filter(is_theirs).cloned().collect();
        if let [copy] = &copies[..] {
            notifier.took(copy, taken.serial, now);
        }
    }

    /// Every copy.
    pub(super) fn copy_reports(&self) -> Vec<CopyReport> {
        let report = |(copy, told): (&Copy, &Told)| CopyReport {
            secondary: self.name_of(copy),
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
                State::Refusing { .. } => CopyState::Refusing,
            },
        };
        self.notices.notifier.copies().map(report).collect()
    }

    /// What whoever has a copy is called.
    fn name_of(&self, copy: &Copy) -> String {
        let ours = Ours { config: &self.config, zones: &self.zones };
        let nameserver = || self.notices.nameservers.name_of(&ours, &copy.zone, copy.secondary.ip());
        let secondary = holder(&self.config, copy).map(|secondary| secondary.name.clone());
        secondary.or_else(|| Some(nameserver()?.to_host())).unwrap_or_default()
    }

    /// Secondaries that fall behind, one line for each and each reason, however many zones it is about.
    pub(super) fn notice_problems(&self) -> Vec<String> {
        let mut behind: BTreeMap<(SocketAddr, Option<u8>), (&Copy, usize)> = BTreeMap::new();
        for (copy, told) in self.notices.notifier.copies() {
            let rcode = match told.state {
                State::Silent => None,
                State::Refusing { rcode, .. } => Some(rcode),
                State::Waiting { .. } | State::Transferring { .. } | State::Current => continue,
            };
            behind.entry((copy.secondary, rcode)).or_insert((copy, 0)).1 += 1;
        }
        let problem = |((address, rcode), (copy, count)): ((SocketAddr, Option<u8>), (&Copy, usize))| {
            let name = match holder(&self.config, copy) {
                Some(secondary) => format!("secondary {}", secondary.name),
                None => format!("nameserver {}", self.name_of(copy)),
            };
            let zones = zones(&copy.zone, count);
            match rcode {
                None => format!(
                    "{name}, {address}: does not take over the new version of {zones}: is it running, may it transfer, \
                     and is its clock right?"
                ),
                Some(rcode) => format!(
                    "{name}, {address}: answers NOTIFY of {zones} with response code {rcode}: does it have the zone, and \
                     may this server notify it?"
                ),
            }
        };
        behind.into_iter().map(problem).chain(self.notices.nameservers.problems()).collect()
    }
}

impl Notices {
    /// A zone's version is served: its secondaries and those of its nameservers that are none of them are told.
    fn serve(&mut self, ours: &Ours<'_>, zone: &Name, serial: u32, now: Timestamp) {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let secondaries = || ours.config.secondaries.iter().filter(|secondary| secondary.takes(zone));
        for address in secondaries().filter(|secondary| secondary.notify).flat_map(|secondary| &secondary.addresses) {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        // What a secondary's table says of an address counts, that it is not told too.
        let is_secondary = |told: &SocketAddr| {
            secondaries().flat_map(|secondary| &secondary.addresses).any(|address| address.ip() == told.ip())
        };
        addresses.extend(self.nameservers.told(ours, zone).into_iter().filter(|told| !is_secondary(told)));
        self.notifier.served(zone, serial, &addresses, now);
    }
}

fn zones(first: &Name, count: usize) -> String {
    match count {
        1 => first.to_string(),
        more => format!("{more} zones, {first} among them"),
    }
}

/// The secondary whose copy it is; none of one that is told for being a nameserver.
fn holder<'a>(config: &'a Config, copy: &Copy) -> Option<&'a Secondary> {
    let is_it = |secondary: &&Secondary| {
        secondary.notify && secondary.takes(&copy.zone) && secondary.addresses.contains(&copy.secondary)
    };
    config.secondaries.iter().find(is_it)
}
