//! Zones that come from other servers: `transfer::refresh` decides when to look, `act::transfer` looks, and what came is taken over here.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::{error, info};

use super::look::Scope;
use super::zone::{Finished, Source, Zone};
use super::{Cycle, Keeper};
use crate::act::transfer::{News, Order, Said};
use crate::config::{Config, Primaries, SigningMode};
use crate::dns::tsig::Key;
use crate::dns::{Name, Timestamp};
use crate::serve::Notified;
use crate::store::State as Stored;
use crate::transfer::refresh::{AT_ONCE, Check, Held, Kept, Refresh, Refreshes, Shown, State, Timers};
use crate::zone::{Contents, presigned, serial};

/// The kind under which the store keeps when zones were confirmed.
const CONFIRMED: &str = "zone-confirmed";

/// What the keeper knows of the zones that come from other servers, and where its orders go.
pub(super) struct Transferred {
    refreshes: Refreshes,
    orders: Option<mpsc::Sender<Order>>,
    /// Primaries begin to fail, or do no longer, and that was not told; when it was, last.
    untold: bool,
    told_at: Timestamp,
    /// Whether what is left of zones that had primaries before the start was looked for.
    tidied: bool,
}

impl Transferred {
    pub(super) fn new(now: Timestamp) -> Transferred {
        Transferred { refreshes: Refreshes::new(now), orders: None, untold: false, told_at: 0, tidied: false }
    }
}

/// What is known of a zone's primaries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PrimaryReport {
    /// The one that is asked, or is asked next.
    pub address: SocketAddr,
    /// The serial that a primary showed last.
    pub serial: Option<u32>,
    /// When a check ended last.
    pub checked_at: Option<Timestamp>,
    /// When the next one is due.
    pub next_check: Option<Timestamp>,
    /// When one of them confirmed the version that is served last.
    pub confirmed_at: Option<Timestamp>,
    /// When that expires, unless it is confirmed again.
    pub expires_at: Option<Timestamp>,
    /// What is done about it.
    pub state: PrimaryState,
    /// Why the last check did not help.
    pub problem: Option<String>,
}

/// What is done about a zone that comes from other servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrimaryState {
    /// Nothing: it is the newest, as far as is known.
    Current,
    /// Nothing for a while, though the last check did not help.
    Failing,
    /// A primary is asked for its serial.
    Checking,
    /// It comes in.
    Transferring,
    /// Nobody has confirmed it for too long, and it is not served.
    Expired,
}

impl std::fmt::Display for PrimaryState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PrimaryState::Current => "current",
            PrimaryState::Failing => "failing",
            PrimaryState::Checking => "checking",
            PrimaryState::Transferring => "transferring",
            PrimaryState::Expired => "expired",
        })
    }
}

impl Keeper {
    /// Where orders to look at primaries come out from now on.
    pub fn transfer_orders(&mut self) -> mpsc::Receiver<Order> {
        let (sender, orders) = mpsc::channel(AT_ONCE);
        self.primaries.orders = Some(sender);
        orders
    }

    /// Takes up the zones that the configuration has primaries for, as they were before the start, and lets go of those that it has none for
    /// any more. Gives whether some are new.
    pub(super) fn find_transferred(&mut self, now: Timestamp) -> bool {
        self.forget_primaries();
        let all = self.config.transferred().map(|(origin, primaries)| (origin, Source::Primaries(named(primaries))));
        let other: Vec<(Name, Source)> = all
            .filter(|(origin, source)| self.zones.get(*origin).is_none_or(|zone| zone.source != *source))
            .map(|(origin, source)| (origin.clone(), source))
            .collect();
        self.look_at_modes(now);
        let mut come = false;
        for (origin, source) in other {
            let kept = kept(self.store.load(CONFIRMED, &origin.to_string()), &origin);
            if !self.zones.contains_key(&origin) {
                come = true;
                let mut zone = Zone::of(origin.clone(), source.clone());
                if let Some(images) = self.store.images() {
                    zone.recall(self.config.signing(&origin).mode, images);
                }
                self.adopt(zone);
            }
            let Keeper { zones, config, primaries: Transferred { refreshes, .. }, .. } = self;
            let (Some(zone), Some(primaries)) = (zones.get_mut(&origin), config.primaries(&origin)) else { continue };
            zone.source = source;
            // What came from a file is not a version of the primary's.
            let held = kept.and(zone.said.as_ref()).and_then(held);
            refreshes.end(&origin);
            let addresses = primaries.addresses.iter().map(|address| address.ip()).collect();
            refreshes.begin(&origin, addresses, held, kept, now);
            zone.expired = refreshes.of(&origin).is_some_and(|refresh| refresh.is_expired(now));
        }
        come
    }

    /// Zones that are to be signed elsewhere from now on, or here, are looked at as they came.
    fn look_at_modes(&mut self, now: Timestamp) {
        let Keeper { zones, config, .. } = self;
        for (origin, _) in config.transferred() {
            let mode = config.signing(origin).mode;
            let Some(zone) =
                zones.get_mut(origin).filter(|zone| zone.is_presigned() != (mode == SigningMode::Presigned))
            else {
                continue;
            };
            let Some(said) = zone.said.clone() else { continue };
            match fault(zone, &said, mode, now) {
                None => zone.take(said, mode),
                Some(why) => zone.failure = Some(why),
            }
        }
    }

    /// Forgets zones that have no primary any more, those of before the start too.
    fn forget_primaries(&mut self) {
        let Keeper { config, store, primaries: Transferred { refreshes, tidied, .. }, .. } = self;
        let has_left = |zone: &Name| config.primaries(zone).is_none();
        let mut left: Vec<Name> =
            refreshes.zones().map(|(zone, _)| zone.clone()).filter(|zone| has_left(zone)).collect();
        if !*tidied {
            match store.load_all(CONFIRMED) {
                Ok(stored) => left.extend(stored.iter().filter_map(|state| state.key.parse().ok()).filter(has_left)),
                Err(error) => error!("zones that had primaries before the start can't be looked for: {error}"),
            }
            *tidied = true;
        }
        for origin in left {
            refreshes.end(&origin);
            let image = store.images().map_or(Ok(()), |images| images.remove(&origin));
            let removed = store.remove(CONFIRMED, &origin.to_string());
            let failed = image.err().map(|error| error.to_string()).or(removed.err().map(|error| error.to_string()));
            if let Some(error) = failed {
                error!("{origin}: what came from its primary stays in the state folder: {error}");
            }
        }
    }

    /// Something came of a check, or nothing: that somebody begins to fail is told. Gives whether it was awaited.
    fn heard(&mut self, zone: &Name, number: u64, shown: Shown, now: Timestamp) -> bool {
        let Transferred { refreshes, untold, .. } = &mut self.primaries;
        let failing = |refreshes: &Refreshes| refreshes.of(zone).and_then(|refresh| refresh.failing.clone());
        let before = failing(refreshes);
        let heard = refreshes.heard(zone, number, shown, now);
        *untold |= failing(refreshes) != before;
        heard
    }

    /// Has primaries looked at that are due; gives when more will be.
    pub fn send_checks(&mut self, now: Timestamp) -> Option<Timestamp> {
        let next = self.send_due_checks(now);
        if self.primaries.untold && now > self.primaries.told_at {
            (self.primaries.untold, self.primaries.told_at) = (false, now);
            self.tell_problems(now);
        }
        let again = self.primaries.untold.then_some(now + 1);
        [next, again].into_iter().flatten().min()
    }

    fn send_due_checks(&mut self, now: Timestamp) -> Option<Timestamp> {
        let keys = self.policy.load().keys.clone();
        let orders = self.primaries.orders.clone()?;
        loop {
            let checks = self.primaries.refreshes.due(now);
            if checks.is_empty() {
                return self.primaries.refreshes.next();
            }
            for check in checks {
                let said = |refresh: &Refresh| refresh.held.and(self.zones.get(&check.zone)?.said.clone());
                let ours = self.primaries.refreshes.of(&check.zone).and_then(said);
                let (zone, number) = (check.zone.clone(), check.number);
                let key_of = |name: &Name| keys.get(name).cloned();
                let sent = order(&self.config, check, ours, key_of)
                    .and_then(|order| orders.try_send(order).map_err(|_| "it is put off: too much to do".to_owned()));
                if let Err(why) = sent {
                    self.heard(&zone, number, Shown::Nothing(why), now);
                }
            }
        }
    }

    /// Primaries have said that there is something new.
    pub fn hear_notified(&mut self, notified: &Notified, now: Timestamp) {
        for (zone, told) in notified.take() {
            self.primaries.refreshes.notified(&zone, told.primary, told.serial, now);
        }
    }

    /// Something came from a primary. Gives the cycle that was run for it, where something else is served since.
    pub fn hear_primary(&mut self, news: News, now: Timestamp) -> Option<Cycle> {
        let is_changed = self.take_over(news, now);
        is_changed.then(|| self.run_cycle(&Scope::nothing(), &Finished::none(), now))
    }

    /// Gives whether something else is to be served since.
    fn take_over(&mut self, news: News, now: Timestamp) -> bool {
        let News { check: Check { zone: origin, number, .. }, said } = news;
        let mode = self.config.signing(&origin).mode;
        let Some(zone) = self.zones.get(&origin) else { return false };
        let (shown, new) = match said {
            Said::Newer(serial) => (Shown::Newer(serial), None),
            Said::Nothing(why) => (Shown::Nothing(why), None),
            Said::Same => (zone.said.as_ref().and_then(held).map_or_else(no_soa, Shown::Current), None),
            Said::New { contents, whole, octets } => match (fault(zone, &contents, mode, now), held(&contents)) {
                (Some(why), _) => (Shown::Nothing(why), None),
                (None, None) => (no_soa(), None),
                (None, Some(held)) => (Shown::Current(held), Some((contents, whole, octets, held.serial))),
            },
        };
        let is_current = matches!(shown, Shown::Current(_));
        let is_first = self.primaries.refreshes.of(&origin).is_some_and(|refresh| refresh.held.is_none());
        if !self.heard(&origin, number, shown, now) || !is_current {
            return false;
        }
        let Keeper { zones, store, .. } = self;
        let Some(zone) = zones.get_mut(&origin) else { return false };
        if is_first && let Some(Err(error)) = store.images().map(|images| images.remove(&origin)) {
            // What is kept from before is not the primary's: it must not be taken for that.
            error!("{origin}: what was served before stays in the state folder: {error}");
        }
        let confirmed = Stored {
            kind: CONFIRMED.to_owned(),
            key: origin.to_string(),
            version: 1,
            json: serde_json::to_string(&Kept { confirmed: now }).unwrap_or_default(),
        };
        if let Err(error) = store.save(&confirmed) {
            error!("{origin}: that a primary has confirmed it can't be stored: {error}");
        }
        let is_new = new.is_some();
        if let Some((contents, whole, octets, serial)) = new {
            let (records, how) = (contents.record_count(), if whole { "whole" } else { "differences" });
            info!("{origin}: serial {serial} came from {}: {how}, {octets} octets; {records} records", zone.source);
            zone.take(contents, mode);
        }
        is_new || zone.expired
    }

    /// Lets zones expire that nobody has confirmed for too long, and come back that somebody has. Gives when the next one expires.
    pub(super) fn look_at_expiry(&mut self, now: Timestamp) -> Option<Timestamp> {
        let Keeper { zones, primaries: Transferred { refreshes, .. }, .. } = self;
        let mut turned = Vec::new();
        for (origin, refresh) in refreshes.zones() {
            let Some(zone) = zones.get_mut(origin) else { continue };
            let expired = refresh.is_expired(now) && zone.said.is_some();
            if expired != zone.expired {
                zone.expired = expired;
                turned.push((origin.clone(), expired));
            }
        }
        let all = refreshes.zones().filter_map(|(_, refresh)| refresh.expires_at());
        let next = all.filter(|at| *at > now).min();
        if !turned.is_empty() {
            self.publish_membership();
            let event = |(origin, expired): &(Name, bool)| match expired {
                true => ("zone-expired", origin.to_string(), "no primary has confirmed it for too long".to_owned()),
                false => {
                    ("zone-confirmed", origin.to_string(), "is served again: a primary has confirmed it".to_owned())
                }
            };
            self.events(now, turned.iter().map(event).collect());
        }
        next
    }

    /// What is known of a zone's primaries; none where it has none.
    pub(super) fn primary_report(&self, origin: &Name) -> Option<PrimaryReport> {
        let refresh = self.primaries.refreshes.of(origin)?;
        let problem = refresh.checked.as_ref().and_then(|(.., why)| why.clone());
        let (next_check, state) = match refresh.state {
            State::Waiting(at) if self.zones.get(origin).is_some_and(|zone| zone.expired) => {
                (Some(at), PrimaryState::Expired)
            }
            State::Waiting(at) if problem.is_some() => (Some(at), PrimaryState::Failing),
            State::Waiting(at) => (Some(at), PrimaryState::Current),
            State::Checking(_) => (None, PrimaryState::Checking),
            State::Transferring(_) => (None, PrimaryState::Transferring),
        };
        Some(PrimaryReport {
            address: *self.config.primaries(origin)?.addresses.get(refresh.primary())?,
            serial: refresh.shown,
            checked_at: refresh.checked.as_ref().map(|(at, ..)| *at),
            next_check,
            confirmed_at: refresh.confirmed,
            expires_at: refresh.expires_at(),
            state,
            problem,
        })
    }

    /// Zones whose primaries do not help: which one said what, and what is served meanwhile.
    pub(super) fn primary_problems(&self, now: Timestamp) -> Vec<String> {
        let problem = |(origin, refresh): (&Name, &Refresh)| {
            let (place, why) = refresh.failing.as_ref()?;
            let address = self.config.primaries(origin)?.addresses.get(*place)?;
            let meanwhile = match (refresh.expires_at(), refresh.confirmed) {
                (Some(expires), _) if expires <= now => {
                    "it has expired; its names are answered SERVFAIL until a primary confirms it".to_owned()
                }
                (Some(expires), Some(confirmed)) => {
                    let (confirmed, expires) = (print(confirmed), print(expires));
                    format!("what is served was confirmed at {confirmed}, and expires at {expires}")
                }
                _ => "there is nothing of it from a primary".to_owned(),
            };
            Some(format!("{origin}: primary {address}: {why}; {meanwhile}"))
        };
        self.primaries.refreshes.zones().filter_map(problem).collect()
    }
}

fn print(time: Timestamp) -> String {
    crate::dns::text::print_moment(time)
}

/// The primaries of a zone, for people.
fn named(primaries: &Primaries) -> String {
    let addresses: Vec<String> = primaries.addresses.iter().map(ToString::to_string).collect();
    let key = primaries.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
    format!("primary {}{key}", addresses.join(" "))
}

fn kept(loaded: Result<Option<(u32, String)>, crate::store::StoreError>, origin: &Name) -> Option<Kept> {
    match loaded.map(|found| found.map(|(_, json)| serde_json::from_str(&json))) {
        Ok(None) => None,
        Ok(Some(Ok(kept))) => Some(kept),
        Ok(Some(Err(error))) => {
            error!("{origin}: when a primary confirmed it can't be read: {error}");
            None
        }
        Err(error) => {
            error!("{origin}: when a primary confirmed it can't be read: {error}");
            None
        }
    }
}

/// What a version's SOA says.
fn held(contents: &Contents) -> Option<Held> {
    let soa = contents.soa()?.rdatas.into_iter().next()?;
    Some(Held { serial: serial::of_soa(&soa)?, timers: Timers::of_soa(&soa)? })
}

fn no_soa() -> Shown {
    Shown::Nothing("there is no SOA in what it sends".to_owned())
}

/// What is ordered of a check; or why it can't be made.
fn order(
    config: &Config,
    check: Check,
    ours: Option<Contents>,
    key_of: impl Fn(&Name) -> Option<Arc<Key>>,
) -> Result<Order, String> {
    let primaries = config.primaries(&check.zone).ok_or("there is no primary")?;
    let primary = *primaries.addresses.get(check.primary).ok_or("there is no such primary")?;
    let key = match &primaries.key {
        None => None,
        Some(name) => Some(key_of(name).ok_or_else(|| format!("the key {name} is not known here"))?),
    };
    Ok(Order { check, primary, key, ours })
}

/// Why a zone that came can't be served: its own signatures have to hold where it is signed elsewhere.
fn fault(zone: &Zone, contents: &Contents, mode: SigningMode, now: Timestamp) -> Option<String> {
    if mode != SigningMode::Presigned {
        return None;
    }
    let findings = presigned::findings(contents, zone.said.as_ref().filter(|_| zone.verified), Some(now));
    let first = findings.found.iter().find(|finding| finding.severity == crate::zone::Severity::Error)?;
    Some(format!("what it sends is not well signed: {}; {}", first.message, first.help))
}
