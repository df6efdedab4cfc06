//! From zones' contents, their TLSA records and their keys to what is served; signing fails closed.
//!
//! Zones go through in batches: drafts are signed on all cores, serials of the whole batch are stored in one transaction, then
//! the batch is served. Nothing is served whose serial is not on the disk.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use tracing::{error, info};

use super::history::Past;
use super::images::{LARGE, image_due};
use super::spread::{Cores, spread};
use super::zone::{Keys, Zone};
use super::{Keeper, Synthesised};
use crate::config::{SigningConfig, SigningMode};
use crate::dns::dnssec::Signer;
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::keys;
use crate::store::{JournalWrite, State, Store, StoreError};
use crate::zone::sign::{Policy, SigningError, digest_of_sealed};
use crate::zone::{Contents, Draft, Snapshot, ZoneSnapshot, presigned, serial};

/// The kind under which the store keeps what was served last of a zone: its serial and a digest of the rest.
pub const SERVED: &str = "zone-served";
/// A batch ends at so many zones or records.
const BATCH_ZONES: usize = 512;
const BATCH_RECORDS: usize = 50_000;
/// Of more zones than this at a time, the log and the event list tell the number only.
pub(super) const MANY: usize = 100;
/// What was served last.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct ServedLast {
    serial: u32,
    digest: String,
}

/// What is to be stored of zones that are served already, since their files say which serial they have.
#[derive(Debug, Default)]
pub(super) struct Sealed(pub(super) Vec<(Name, u32)>);

/// A zone that has to be published.
pub(super) struct Due<'a> {
    zone: &'a mut Zone,
    signing: &'a SigningConfig,
    synthesised: Vec<(Name, RRset)>,
    records: usize,
    past: Past,
}

/// What became of one zone. `Ok`: its new serial, if it has one.
type Outcome = Result<Option<u32>, String>;

impl Keeper {
    /// Publishes every zone that changed or whose signatures are due; gives the time of the next refresh.
    pub(super) fn publish_zones(&mut self, tlsa: &Synthesised, now: Timestamp) -> Option<Timestamp> {
        let Keeper { zones, config, store, ephemeral, published, said, sealed, .. } = self;
        let mut due = Vec::new();
        for (origin, zone) in zones.iter_mut() {
            let synthesised = tlsa.get(origin).map(Vec::as_slice).unwrap_or_default();
            let signing = config.signing(origin);
            let refresh = zone.published().is_some_and(|published| published.is_due(now));
            let otherwise = zone.signing.as_ref().is_some_and(|before| before != signing);
            // A zone without contents or without its key has nothing to be published from: that is among the problems already.
            let can = zone.contents.is_some() && !zone.expired && matches!(zone.keys, Keys::Held(_) | Keys::Unsigned);
            // What was signed here until now goes on so until it comes signed.
            let is_unproven = signing.mode == SigningMode::Presigned && !zone.verified;
            let can = can && !is_unproven;
            if can
                && (zone.changed || otherwise || refresh || zone.failure.is_some() || synthesised != zone.synthesised)
            {
                let past = Past::of(zone, config.is_remembered(origin), store);
                due.push(Due::new(zone, signing, synthesised, past));
            }
        }
        // A large zone does not keep small ones waiting.
        due.sort_by_key(|due| due.records);
        while !due.is_empty() {
            let batch = next_batch(&mut due);
            sealed.0.extend(publish_batch(batch, store, *ephemeral, published, said, now).0);
        }
        self.store_sealed(now);
        let said = std::mem::take(&mut self.said);
        let many = said.len() > MANY;
        self.note_versions(&said, now);
        self.say_published(said, now);
        // Those of many zones are written when the rest of this cycle is done.
        if !many {
            self.write_images(false, now);
        }
        // A zone that could not be published is tried again soon.
        let retry = self.zones.values().any(|zone| zone.failure.is_some()).then_some(now + 30);
        let images = self.zones.values().filter_map(|zone| image_due(zone)).min();
        let refresh = self.zones.values().filter_map(|zone| zone.published()?.refresh_at).min();
        [retry, images, refresh].into_iter().flatten().min()
    }

    /// Stores what was served of zones that were signed elsewhere, as far as it is new.
    fn store_sealed(&mut self, now: Timestamp) {
        let Keeper { zones, store, said, sealed, .. } = self;
        if sealed.0.is_empty() {
            return;
        }
        let stored = match &sealed.0[..] {
            [(origin, _)] => store
                .load(SERVED, &origin.to_string())
                .map(|found| found.map(|(_, json)| (origin.to_string(), json)).into_iter().collect()),
            _ => store.load_all(SERVED).map(|all| all.into_iter().map(|state| (state.key, state.json)).collect()),
        };
        let stored: HashMap<String, String> = match stored {
            Ok(stored) => stored,
            Err(error) => return error!("what is served can't be compared with what was: {error}"),
        };
        let taken = std::mem::take(&mut sealed.0);
        let mut states = Vec::new();
        let mut new = Vec::new();
        for (origin, serial) in taken {
            let Some(zone) = zones.get(&origin).and_then(|zone| zone.published()) else { continue };
            match state(origin.to_string(), serial, digest_of_sealed(zone)) {
                Ok(state) if stored.get(&state.key) == Some(&state.json) => {}
                Ok(state) => {
                    states.push(state);
                    new.push((origin, serial));
                }
                Err(error) => error!("{origin}: what is served can't be stored: {error}"),
            }
        }
        if let Err(error) = store.save_all(&states, &[]) {
            error!("what is served can't be stored: {error}");
            sealed.0 = new;
            return;
        }
        for (origin, serial) in new {
            if let Some(zone) = zones.get_mut(&origin) {
                zone.unsaved.get_or_insert(now);
            }
            said.push((origin, serial));
        }
    }

    pub(super) fn say_published(&mut self, said: Vec<(Name, u32)>, now: Timestamp) {
        let mut events = Vec::new();
        if said.len() > MANY {
            let text = format!("{} zones are served with new serials", said.len());
            info!("{text}");
            events.push(("zones-published", String::new(), text));
        } else {
            for (origin, serial) in said {
                info!("{origin} is served with serial {serial}");
                events.push(("zone-published", origin.to_string(), format!("is served with serial {serial}")));
            }
        }
        self.events(now, events);
    }

    /// Signatures that are about to expire unrefreshed mean that signing has been failing for days, here or elsewhere.
    pub(super) fn expiring(&self, now: Timestamp) -> Vec<String> {
        let mut found = Vec::new();
        for (origin, zone) in &self.zones {
            let Some(expires) = zone.snapshot.as_ref().and_then(|snapshot| snapshot.expires_at()) else { continue };
            let elsewhere = zone.keys.held().is_empty();
            let notice = if elsewhere { presigned::NOTICE } else { 2 * 86_400 };
            let todo = if elsewhere { "; it is signed elsewhere: sign it again there" } else { "" };
            if expires <= now {
                found.push(format!("{origin}: a signature has expired and the zone is bogus{todo}"));
            } else if expires - now < notice {
                let hours = (expires - now) / 3600;
                found.push(format!(
                    "{origin}: the first signature expires in {hours} h; the zone goes bogus then{todo}"
                ));
            }
        }
        found
    }
}

/// Takes the first zones off, as many as go through together.
fn next_batch<'a>(due: &mut Vec<Due<'a>>) -> Vec<Due<'a>> {
    let mut records = 0;
    let fitting = due.iter().take(BATCH_ZONES).take_while(|due| {
        records += due.records;
        records <= BATCH_RECORDS
    });
    let rest = due.split_off(fitting.count().max(1).min(due.len()));
    std::mem::replace(due, rest)
}

/// A zone that is signed but for its SOA.
struct Prepared<'a> {
    draft: Draft<'a>,
    /// What it is signed from.
    signed_from: Option<Contents>,
    /// Of all but the serial; none where its file says that.
    digest: Option<u128>,
}

impl<'a> Prepared<'a> {
    fn new(draft: Result<Draft<'a>, SigningError>, signed_from: Option<Contents>) -> Result<Prepared<'a>, String> {
        let draft = draft.map_err(|error| error.to_string())?;
        let digest = (!draft.is_sealed()).then(|| draft.digest());
        Ok(Prepared { draft, signed_from, digest })
    }
}

struct Finished {
    signed_from: Option<Contents>,
    snapshot: Arc<ZoneSnapshot>,
    /// Whether its serial is a new one.
    is_new: bool,
    /// What to store before it is served.
    last: Option<State>,
    /// What led to it, to be stored with it.
    journal: Option<JournalWrite>,
    /// What is stored of it is stored behind that.
    is_sealed: bool,
}

/// Publishes these zones together. What has a new serial of ours is added to `said`; what is to be stored of others is returned.
pub(super) fn publish_batch(
    mut batch: Vec<Due<'_>>,
    store: &mut Store,
    ephemeral: bool,
    served: &arc_swap::ArcSwap<Snapshot>,
    said: &mut Vec<(Name, u32)>,
    now: Timestamp,
) -> Sealed {
    let images = store.images().cloned();
    spread(batch.iter_mut().collect(), |due: &mut Due<'_>| {
        due.zone.load_image(images.as_ref());
        due.catch_up(now);
    });
    let signers: Vec<Vec<&dyn Signer>> = batch.iter().map(|due| due.signers()).collect();
    let work = batch.iter().zip(&signers).collect();
    let drafts = spread(work, |(due, signers): (&Due<'_>, &Vec<&dyn Signer>)| due.draft(signers, ephemeral, now));
    let numbered = store.together(|store| {
        let mut numbered = Vec::with_capacity(batch.len());
        for (due, draft) in batch.iter().zip(drafts) {
            numbered.push(match draft {
                Ok(prepared) => number(due.zone, prepared, store, now)?,
                Err(why) => Err(why),
            });
        }
        Ok(numbered)
    });
    // Laid out before anything is written down: what can't be served costs no serial.
    let mut finished: Vec<Result<Finished, String>> = match numbered {
        Ok(numbered) => {
            let work = numbered.into_iter().zip(&batch).collect();
            spread(work, |(numbered, due): (Result<Numbered<'_>, String>, &Due<'_>)| finish(numbered?, due))
        }
        Err(error) => batch.iter().map(|_| Err(error.to_string())).collect(),
    };
    let last: Vec<State> = finished.iter_mut().flatten().filter_map(|finished| finished.last.take()).collect();
    let journal: Vec<JournalWrite> =
        finished.iter_mut().flatten().filter_map(|finished| finished.journal.take()).collect();
    if let Err(error) = store.save_with_journal(&last, &journal) {
        finished.iter_mut().for_each(|finished| *finished = Err(error.to_string()));
    }
    drop(signers);
    let mut fresh = Vec::new();
    let mut sealed = Sealed::default();
    for (due, finished) in batch.iter_mut().zip(finished) {
        let in_file = finished.as_ref().ok().filter(|finished| finished.is_sealed).map(|one| one.snapshot.serial());
        match due.settle(finished, now) {
            Ok(serial) => {
                said.extend(serial.map(|serial| (due.zone.origin.clone(), serial)));
                sealed.0.extend(in_file.map(|serial| (due.zone.origin.clone(), serial)));
                fresh.extend(due.zone.snapshot.clone());
            }
            Err(why) => due.fail(why),
        }
    }
    if !fresh.is_empty() {
        served.store(Arc::new(served.load().with_all(fresh)));
    }
    // Nobody waits for an answer while this is looked for.
    spread(batch.iter_mut().collect(), |due: &mut Due<'_>| due.look_at_expiration(now));
    sealed
}

impl<'a> Due<'a> {
    pub(super) fn new(
        zone: &'a mut Zone,
        signing: &'a SigningConfig,
        synthesised: &[(Name, RRset)],
        past: Past,
    ) -> Due<'a> {
        let records = zone.contents.as_ref().map_or(0, Contents::record_count);
        Due { zone, signing, synthesised: synthesised.to_vec(), records, past }
    }

    fn catch_up(&mut self, now: Timestamp) {
        if let Some(Some(image)) = &mut self.zone.image
            && let Some(later) = self.past.catch_up(&image.published, now)
        {
            image.published = later;
        }
    }

    fn signers(&self) -> Vec<&dyn Signer> {
        self.zone.keys.held().iter().map(|key| key.as_ref() as &dyn Signer).collect()
    }

    fn draft<'b>(
        &'b self,
        signers: &'b [&'b dyn Signer],
        ephemeral: bool,
        now: Timestamp,
    ) -> Result<Prepared<'b>, String> {
        let contents = self.zone.contents.as_ref().ok_or("it has no good version")?;
        if signers.is_empty() {
            return Prepared::new(Draft::unsigned(contents), None);
        }
        let contents = merge(contents, &self.synthesised, signers, self.signing, ephemeral);
        let (policy, before) = (policy(self.signing), self.zone.before());
        let is_due = before.is_some_and(|before| before.is_due(now));
        // Where only the contents changed, only what changed is signed.
        let same_way = self.zone.signing.as_ref() == Some(self.signing) && !is_due;
        if let (Some(before), Some(old), true) = (before, &self.zone.signed_from, same_way) {
            match Draft::changed((old, &contents), signers, before, policy.clone(), now) {
                Ok(Some(draft)) => return Prepared::new(Ok(draft), Some(contents)),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let draft = Draft::signed_by(&Cores, &contents, signers, before, policy, now);
        Prepared::new(draft, Some(contents))
    }

    fn settle(&mut self, finished: Result<Finished, String>, now: Timestamp) -> Outcome {
        let Finished { snapshot, is_new, signed_from, .. } = finished?;
        let serial = is_new.then_some(snapshot.serial());
        let zone = &mut *self.zone;
        // After a restart with nothing changed a large image is not written again.
        if serial.is_some() || zone.snapshot.is_some() || self.records <= LARGE {
            zone.unsaved.get_or_insert(now);
        }
        zone.signed_from = signed_from.filter(|contents| contents.tree().pages().len() > 1).map(Box::new);
        zone.image = None;
        zone.snapshot = Some(snapshot);
        zone.changed = false;
        zone.failure = None;
        zone.signing = Some(self.signing.clone());
        zone.synthesised = std::mem::take(&mut self.synthesised);
        Ok(serial)
    }

    /// What a file has of signatures expires, and is not renewed here.
    fn look_at_expiration(&mut self, now: Timestamp) {
        if self.zone.keys.held().is_empty()
            && let Some(snapshot) = self.zone.snapshot.as_ref().filter(|snapshot| snapshot.expires_at().is_none())
            && let Some((_, expires)) = snapshot.published().window(now)
        {
            snapshot.note_expiration(expires);
        }
    }

    fn fail(&mut self, why: String) {
        if self.zone.failure.as_ref() != Some(&why) {
            error!("{}", not_published(self.zone, &why));
        }
        self.zone.failure = Some(why);
    }
}

fn policy(signing: &SigningConfig) -> Policy {
    Policy {
        validity: signing.validity,
        refresh: signing.refresh,
        jitter: signing.jitter,
        denial: signing.denial.clone(),
        ..Policy::default()
    }
}

/// Why a zone is not published, and what is served meanwhile.
pub fn not_published(zone: &Zone, why: &str) -> String {
    let meanwhile = match zone.snapshot {
        Some(_) => "its last good version stays in service",
        None => "its names are answered SERVFAIL",
    };
    format!("{}: not published: {why}; {meanwhile}", zone.origin)
}

/// A draft with the serial that it will have, and what to store before it is served where that is a new one.
type Numbered<'a> = (Draft<'a>, Option<Contents>, u32, Option<State>);

/// What is stored of a version before it is served, or behind that where its file says the serial. The digest is of all but the serial.
fn state(key: String, serial: u32, digest: u128) -> Result<State, String> {
    let json = serde_json::to_string(&ServedLast { serial, digest: format!("{digest:032x}") })
        .map_err(|error| error.to_string())?;
    Ok(State { kind: SERVED.to_owned(), key, version: 1, json })
}

/// The serial that a zone was served with last, in this process or before.
pub(super) fn served_last(store: &Store, origin: &Name) -> Result<Option<u32>, String> {
    let stored = store.load(SERVED, &origin.to_string()).map_err(|error| error.to_string())?;
    let last = stored.map(|(_, json)| serde_json::from_str::<ServedLast>(&json)).transpose();
    Ok(last.map_err(|error| format!("{origin}: {error}"))?.map(|last| last.serial))
}

/// Gives a new serial if anything changed since what was served last, in this process or before. The outer error is the store's, the
/// inner one this zone's own.
fn number<'a>(
    zone: &Zone,
    prepared: Prepared<'a>,
    store: &mut Store,
    now: Timestamp,
) -> Result<Result<Numbered<'a>, String>, StoreError> {
    let Prepared { draft, signed_from, digest } = prepared;
    let origin = &zone.origin;
    let key = origin.to_string();
    let file_serial = draft.file_serial();
    let Some(digest) = digest else { return Ok(Ok((draft, signed_from, file_serial, None))) };
    let last: Option<ServedLast> = match store.load(SERVED, &key)?.map(|(_, json)| serde_json::from_str(&json)) {
        Some(Err(error)) => return Ok(Err(error.to_string())),
        Some(Ok(last)) => Some(last),
        None => None,
    };
    let unchanged = last.as_ref().filter(|last| {
        let ahead = serial::compare(file_serial, last.serial) == Some(Ordering::Greater);
        last.digest == format!("{digest:032x}") && !ahead && draft.soa_is_kept(last.serial)
    });
    if let Some(last) = unchanged {
        return Ok(Ok((draft, signed_from, last.serial, None)));
    }
    let at_least = match &last {
        None if zone.is_known && serial::compare(now as u32, file_serial) == Some(Ordering::Greater) => {
            info!(
                "{origin}: its key was there before this server remembered anything of it, so its serial goes on from the time, {now}: \
                 secondaries that have it never see it go back"
            );
            now as u32
        }
        last => serial::next(last.as_ref().map(|last| last.serial), file_serial),
    };
    let serial = match store.lease(origin, at_least) {
        Ok(serial) => serial,
        Err(error @ StoreError::Serial { .. }) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error),
    };
    Ok(state(key, serial, digest).map(|state| (draft, signed_from, serial, Some(state))))
}

fn finish((draft, signed_from, serial, last): Numbered<'_>, due: &Due<'_>) -> Result<Finished, String> {
    let before = due.zone.snapshot.as_deref();
    let is_sealed = draft.is_sealed();
    let published = draft.finish(serial).map_err(|error| error.to_string())?;
    let snapshot = ZoneSnapshot::after(before, &published).map_err(|error| error.to_string())?;
    let (history, journal) = due.past.lead_to(due.zone, &published, snapshot.octets(), is_sealed);
    let snapshot = Arc::new(snapshot.with_history(history));
    Ok(Finished { signed_from, snapshot, is_new: last.is_some(), last, journal, is_sealed })
}

/// The file's records, the synthesised ones, the keys' own.
fn merge(
    contents: &Contents,
    synthesised: &[(Name, RRset)],
    signers: &[&dyn Signer],
    signing: &SigningConfig,
    ephemeral: bool,
) -> Contents {
    let mut merged = contents.clone();
    for (owner, rrset) in synthesised {
        merged.replace(owner, rrset.clone());
    }
    let origin = contents.origin();
    for rrset in keys::apex_rrsets(origin, signers, signing.dnskey_ttl, signing.cds && !ephemeral) {
        // The delete form stands alone (RFC 8078 section 4): the operator's way out of DNSSEC.
        let is_delete = |rdata: &Rdata| match rrset.rtype {
            Rtype::CDS | Rtype::CDNSKEY => rdata.get(if rrset.rtype == Rtype::CDS { 2 } else { 3 }) == Some(&0),
            _ => false,
        };
        if merged.rrset(origin, rrset.rtype).is_some_and(|own| own.rdatas.iter().any(is_delete)) {
            continue;
        }
        // Another signer's keys in the file stay beside ours (RFC 8901).
        let mut all = merged.rrset(origin, rrset.rtype).unwrap_or(RRset { rdatas: Vec::new(), ..rrset });
        all.ttl = rrset.ttl;
        for rdata in rrset.rdatas {
            all.insert(rdata);
        }
        merged.replace(origin, all);
    }
    merged
}
