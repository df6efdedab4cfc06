//! Dynamic updates: decided one after the other, written down together, served, and then answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tracing::{error, info};

use super::look::Scope;
use super::zone::{Finished, Keys, Zone};
use super::{Cycle, Keeper};
use crate::dns::header::Rcode;
use crate::dns::{Name, Rtype, Timestamp};
use crate::serve::updates::{Decision, Update};
use crate::store::{Decided, Event, State, StoreError};
use crate::update;
use crate::zone::{Layer, Touched};

/// The kind under which the store keeps which zones take no updates.
const FROZEN: &str = "zone-frozen";
/// So many are done together: one wait for the disk, and one new serial for each zone.
pub(super) const TOGETHER: usize = 512;
/// Of more zones than this at a time, the event list tells the number only.
const MANY: usize = 100;

/// What was changed by updates that are not written down yet, with what each zone's layer said before.
#[derive(Default)]
struct Batch {
    before: BTreeMap<(Name, Name, Rtype), Touched>,
    decided: Vec<Decided>,
    synthesised: HashMap<Name, BTreeSet<Name>>,
    /// By zone and key, how many were done.
    done: BTreeMap<(Name, Name), usize>,
}

impl Batch {
    /// What it has done, for people.
    fn events(&self, now: Timestamp) -> Vec<Event> {
        let event =
            |kind: &str, subject: String, text| Event { id: 0, time: now, kind: kind.to_owned(), subject, text };
        if self.done.len() > MANY {
            let count: usize = self.done.values().sum();
            return vec![event(
                "zones-updated",
                String::new(),
                format!("{count} updates of {} zones", self.done.len()),
            )];
        }
        let of_zone = |((zone, key), count): (&(Name, Name), &usize)| {
            let updates = if *count == 1 { "an update".to_owned() } else { format!("{count} updates") };
            event("zone-updated", zone.to_string(), format!("{updates} by {key}"))
        };
        self.done.iter().map(of_zone).collect()
    }
}

impl Keeper {
    /// Takes what came by update before the start.
    pub(super) fn load_layers(&mut self) -> Result<(), StoreError> {
        self.layers = self.store.layers()?.into_iter().collect();
        let frozen = self.store.load_all(FROZEN)?;
        self.frozen = frozen.into_iter().filter_map(|state| state.key.parse().ok()).collect();
        Ok(())
    }

    /// A zone that is new here, with what came by update to it before.
    pub(super) fn adopt(&mut self, mut zone: Zone) {
        if let Some(layer) = self.layers.remove(&zone.origin) {
            zone.take_layer(layer);
        }
        self.zones.insert(zone.origin.clone(), Box::new(zone));
    }

    /// Lets a zone go. What came by update to it is kept for its return.
    pub(super) fn let_go(&mut self, origin: &Name) {
        if let Some(zone) = self.zones.remove(origin).filter(|zone| !zone.layer.is_empty()) {
            self.layers.insert(zone.origin.clone(), zone.layer);
        }
    }

    /// Does what is allowed of these updates, all together, and answers each once that is on the disk and served. Gives the cycle that
    /// was run for it.
    pub fn update(&mut self, updates: Vec<Update>, now: Timestamp) -> Option<Cycle> {
        let mut batch = Batch::default();
        let mut decisions: Vec<Decision> =
            updates.iter().map(|update| self.decide_update(update, &mut batch)).collect();
        if let Err(error) = self.write_updates(&batch, now) {
            error!("updates can't be stored, so none of them is done: {error}");
            self.take_back(&batch);
            decisions.iter_mut().for_each(|decision| *decision = Decision::Not(Rcode::ServFail));
            batch = Batch::default();
        }
        let cycle = (!batch.before.is_empty()).then(|| self.run_cycle(&Scope::nothing(), &Finished::none(), now));
        for (update, mut decision) in updates.into_iter().zip(decisions) {
            // What was done now or before, or is so already, and can't be served.
            let is_well = matches!(decision, Decision::Done | Decision::Unchanged | Decision::Repeated(0));
            if is_well && self.zones.get(&update.request.zone).is_none_or(|zone| zone.changed) {
                decision = Decision::Not(Rcode::ServFail);
            }
            update.answer(decision);
        }
        cycle
    }

    fn decide_update(&mut self, update: &Update, batch: &mut Batch) -> Decision {
        match self.repeated(update, batch) {
            Ok(None) => {}
            Ok(Some(decided)) if decided.peer == update.peer.to_string() => return Decision::Repeated(decided.rcode),
            Ok(Some(_)) => return Decision::Replayed,
            Err(error) => {
                error!("whether an update was done before can't be known, so it is not done: {error}");
                return Decision::Not(Rcode::ServFail);
            }
        }
        let decision = self.apply(update, batch).unwrap_or_else(Decision::Not);
        let rcode = match decision {
            // The same may be asked for again.
            Decision::Not(Rcode::ServFail) => return decision,
            Decision::Not(rcode) => rcode as u8,
            _ => Rcode::NoError as u8,
        };
        let (mac, until, peer) = (update.mark, update.good_until, update.peer.to_string());
        batch.decided.push(Decided { mac, until, peer, rcode });
        decision
    }

    fn repeated(&self, update: &Update, batch: &Batch) -> Result<Option<Decided>, StoreError> {
        match batch.decided.iter().find(|decided| decided.mac == update.mark) {
            Some(decided) => Ok(Some(decided.clone())),
            None => self.store.decided(&update.mark),
        }
    }

    fn apply(&mut self, update: &Update, batch: &mut Batch) -> Result<Decision, Rcode> {
        let Keeper { zones, config, plans, frozen, .. } = self;
        let origin = &update.request.zone;
        let zone = zones.get_mut(origin).ok_or(Rcode::NotAuth)?;
        if frozen.contains(origin) || !zone.takes_updates() {
            return Err(Rcode::Refused);
        }
        // What can't be signed now would be on the disk, and served some day.
        if matches!(zone.keys, Keys::Unseen | Keys::Refused(_)) {
            return Err(Rcode::ServFail);
        }
        let contents = zone.contents.as_ref().ok_or(Rcode::ServFail)?;
        let with_its_serial = if update.request.asks_for_soa() { zone.with_its_serial() } else { None };
        let contents = with_its_serial.as_ref().unwrap_or(contents);
        let synthesised = batch.synthesised.entry(origin.clone()).or_insert_with(|| {
            let here = plans.owners().filter(|planned| planned.zone.as_ref() == Some(origin));
            here.map(|planned| planned.owner.clone()).collect()
        });
        let grants = config.grants(origin, update.peer.ip(), update.key());
        // What would hide it changes it, too.
        let is_synthesised = |owner: &Name, rtype| match rtype {
            Rtype::NS | Rtype::DNAME => synthesised.iter().any(|other| other.is_at_or_below(owner)),
            _ => synthesised.contains(owner),
        };
        let wanted = update::decide(&update.request, contents, &grants, &is_synthesised)?;
        if wanted.is_empty() {
            return Ok(Decision::Unchanged);
        }
        // Names are not told apart by case, and the store keeps none.
        let mut wanted: Vec<_> = wanted.into_iter().map(|(owner, rrset)| (owner.to_lowercase(), rrset)).collect();
        wanted.extend(zone.displaced(&wanted));
        for (owner, rrset) in &wanted {
            let place = (origin.clone(), owner.clone(), rrset.rtype);
            batch.before.entry(place).or_insert_with(|| zone.layer.of(owner, rrset.rtype).cloned().unwrap_or_default());
        }
        zone.update(&wanted);
        info!("{origin}: {} RRsets are changed by {} at {}", wanted.len(), update.key(), update.peer);
        *batch.done.entry((origin.clone(), update.key().clone())).or_default() += 1;
        Ok(Decision::Done)
    }

    fn write_updates(&mut self, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
        let events = batch.events(now);
        let Keeper { zones, store, .. } = self;
        let layer_of = |zone: &Name| zones.get(zone).map(|zone| &zone.layer);
        let layers: Vec<_> = batch
            .before
            .keys()
            .map(|(zone, owner, rtype)| {
                let touched = layer_of(zone).and_then(|layer| layer.of(owner, *rtype)).cloned();
                (zone, owner, *rtype, touched.unwrap_or_default())
            })
            .collect();
        match layers.is_empty() && batch.decided.is_empty() {
            true => Ok(()),
            false => store.save_updates(&layers, &batch.decided, &events, now),
        }
    }

    /// Makes the layers what they were.
    fn take_back(&mut self, batch: &Batch) {
        let mut layers: BTreeMap<&Name, Layer> = BTreeMap::new();
        for ((origin, owner, rtype), touched) in &batch.before {
            let layer = || self.zones.get(origin).map(|zone| zone.layer.clone()).unwrap_or_default();
            layers.entry(origin).or_insert_with(layer).put(owner, *rtype, touched.clone());
        }
        for (origin, layer) in layers {
            if let Some(zone) = self.zones.get_mut(origin) {
                zone.take_layer(layer);
            }
        }
    }

    /// Forgets what zones' sources have taken over of what came by update.
    pub(super) fn settle_layers(&mut self, read: &[Name], now: Timestamp) {
        let Keeper { zones, store, .. } = self;
        for origin in read {
            let Some(zone) = zones.get_mut(origin).filter(|zone| !zone.layer.is_empty() && zone.stale().is_none())
            else {
                continue;
            };
            let settled = zone.settle_layer();
            let layers: Vec<_> = settled
                .iter()
                .map(|(owner, rtype)| {
                    (origin, owner, *rtype, zone.layer.of(owner, *rtype).cloned().unwrap_or_default())
                })
                .collect();
            if layers.is_empty() {
                continue;
            }
            info!("{origin}: {} RRsets that came by update are in its file now", layers.len());
            // What can't be written is the same again when the zone is read after a start.
            if let Err(error) = store.save_updates(&layers, &[], &[], now) {
                error!("{origin}: what its file has taken over can't be stored: {error}");
            }
        }
    }

    /// The operator's `zone freeze` or `zone thaw`: whether a zone takes updates. Remembered over a restart.
    pub fn freeze(&mut self, zone: &Name, is_frozen: bool, now: Timestamp) -> Result<(), String> {
        if !self.zones.contains_key(zone) {
            return Err(format!("{} is not a zone served here", zone.to_host()));
        }
        let key = zone.to_lowercase().to_string();
        let stored = match is_frozen {
            true => {
                let json = "{}".to_owned();
                self.store.save(&State { kind: FROZEN.to_owned(), key, version: 1, json })
            }
            false => self.store.remove(FROZEN, &key).map(drop),
        };
        stored.map_err(|error| error.to_string())?;
        let (kind, text) = match is_frozen {
            true => ("zone-frozen", "takes no updates, by the operator"),
            false => ("zone-thawed", "takes updates again, by the operator"),
        };
        let is_other = if is_frozen { self.frozen.insert(zone.clone()) } else { self.frozen.remove(zone) };
        if is_other {
            info!("{zone}: {text}");
            self.events(now, vec![(kind, zone.to_string(), text.to_owned())]);
        }
        Ok(())
    }

    /// What can't stand beside what the zones' sources say.
    pub(super) fn update_problems(&self) -> Vec<String> {
        let problem = |zone: &Zone| {
            let (owner, rtype) = zone.aside.first()?;
            if !zone.takes_updates() {
                let why =
                    if zone.is_presigned() { "is signed elsewhere" } else { "does not come from a file any more" };
                return Some(format!(
                    "{}: {} RRsets came by update and are set aside, since the zone {why}",
                    zone.origin,
                    zone.aside.len()
                ));
            }
            let more = match zone.aside.len() - 1 {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Some(format!(
                "{}: {owner} {rtype}{more} came by update and can't stand beside what {} says: it is set aside until one of them goes",
                zone.origin, zone.source
            ))
        };
        self.zones.values().filter_map(|zone| problem(zone)).collect()
    }
}
