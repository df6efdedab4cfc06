//! From a zone's contents, its TLSA records and its keys to what is served; signing fails closed.

use std::cmp::Ordering;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::zone::{Keys, Zone};
use super::{Keeper, Synthesised};
use crate::act;
use crate::config::{SigningConfig, SigningMode, ZoneConfig};
use crate::dns::dnssec::{Algorithm, Signer};
use crate::dns::{Name, RRset, Rdata, Rtype, Timestamp};
use crate::keys::{self, KeyChoice, KnownKey, ZoneKey};
use crate::observe;
use crate::store::{self, State, Store};
use crate::zone::sign::{Policy, Signatures};
use crate::zone::{Contents, Draft, Published, Snapshot, ZoneSnapshot, serial};

/// The kind under which the store keeps what was served last of a zone: its serial and a digest of the rest.
const SERVED: &str = "zone-served";

/// What was served last.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct ServedLast {
    serial: u32,
    digest: String,
}

impl Keeper {
    /// Gives each zone its keys: those at hand, new ones for a zone never seen signed, or a refusal.
    pub(super) fn look_at_keys(&mut self, now: Timestamp) {
        let origins: Vec<Name> = self.zones.keys().cloned().collect();
        let mut folder = match observe::zone_keys::scan(&self.config.keys) {
            Ok(folder) => folder,
            Err(error) => return self.keep_keys(&format!("{}: {error}", self.config.keys.display())),
        };
        self.key_problems = std::mem::take(&mut folder.problems);
        for origin in origins {
            let config = self.config.zone(&origin);
            let at_hand = folder.keys.remove(&origin).unwrap_or_default();
            let keys = match config.signing.mode {
                SigningMode::None | SigningMode::Presigned => Keys::Unsigned,
                SigningMode::Csk => match self.keys_for(&origin, &config.signing, at_hand, now) {
                    Ok(keys) => Keys::Held(keys),
                    Err(why) => {
                        self.problems.insert(format!("{origin}: {why}"));
                        Keys::Refused(why)
                    }
                },
            };
            let Some(zone) = self.zones.get_mut(&origin) else { continue };
            zone.changed |= !zone.keys.is_same(&keys);
            zone.keys = keys;
        }
        for problem in &self.key_problems {
            let text = format!("{}: {}", problem.path.display(), problem.message);
            // Where it keeps a zone from being signed, the zone's problem has said it.
            if !self.problems.iter().any(|said| said.contains(&text)) {
                self.problems.insert(text);
            }
        }
    }

    /// Not to see the keys is not to have none: those that were read before stay, and a zone without any is not signed.
    fn keep_keys(&mut self, why: &str) {
        self.problems.insert(why.to_owned());
        for (origin, zone) in &mut self.zones {
            if self.config.zone(origin).signing.mode == SigningMode::Csk && zone.keys.held().is_empty() {
                zone.keys = Keys::Refused(why.to_owned());
            }
        }
    }

    fn keys_for(
        &mut self,
        origin: &Name,
        signing: &SigningConfig,
        at_hand: Vec<ZoneKey>,
        now: Timestamp,
    ) -> Result<Vec<ZoneKey>, String> {
        if self.ephemeral {
            let zone = self.zones.get_mut(origin);
            return match zone.map(|zone| std::mem::replace(&mut zone.keys, Keys::Unseen)) {
                Some(Keys::Held(keys)) => Ok(keys),
                _ => generate(signing.algorithm).map(|(key, _)| vec![key]),
            };
        }
        // A key that is there and can't be used is not a key that never was.
        if let Some(problem) = self.key_problems.iter().find(|problem| problem.zone.as_ref() == Some(origin)) {
            return Err(format!("{}: {}", problem.path.display(), problem.message));
        }
        let known = |key: &ZoneKey| KnownKey { algorithm: key.algorithm(), key_tag: key.key_tag() };
        let remembered = self.store.known_keys(origin).map_err(|error| error.to_string())?;
        let remembered: Vec<KnownKey> =
            remembered.iter().map(|key| KnownKey { algorithm: key.algorithm, key_tag: key.tag }).collect();
        let hand: Vec<KnownKey> = at_hand.iter().map(known).collect();
        let keys = match keys::choose(&remembered, &hand, signing.algorithm).map_err(|refusal| refusal.to_string())? {
            KeyChoice::Use(_) => {
                if let Some(zone) = self.zones.get_mut(origin) {
                    zone.is_known |= remembered.is_empty();
                }
                at_hand
            }
            KeyChoice::Generate(algorithm) => {
                let (key, pem) = generate(algorithm)?;
                let name = keys::file_name(origin, key.algorithm(), key.key_tag());
                let path = act::keys::write(&self.config.keys, &name, &pem).map_err(|error| {
                    format!("a new key can't be written to {}: {error}", self.config.keys.display())
                })?;
                info!(
                    "{origin}: a new key, {}; `danelaw ds {}` prints the DS for its parent",
                    path.display(),
                    origin.to_host()
                );
                self.event(now, "key-generated", &origin.to_string(), &name);
                vec![key]
            }
        };
        for key in keys.iter().filter(|key| !remembered.contains(&known(key))) {
            let (algorithm, tag) = (key.algorithm(), key.key_tag());
            let file = keys::file_name(origin, algorithm, tag);
            let known = store::KnownKey { zone: origin.clone(), algorithm, tag, file, first_seen: now };
            self.store.remember_key(&known).map_err(|error| error.to_string())?;
        }
        Ok(keys)
    }

    /// Publishes every zone that changed or whose signatures are due; gives the time of the next refresh.
    pub(super) fn publish_zones(&mut self, tlsa: &Synthesised, now: Timestamp) -> Option<Timestamp> {
        let mut events = Vec::new();
        for (origin, zone) in &mut self.zones {
            let config = self.config.zone(origin);
            let synthesised = tlsa.get(origin).cloned().unwrap_or_default();
            let due = zone.published.as_ref().is_some_and(|published| published.is_due(now));
            let otherwise = zone.signing.as_ref().is_some_and(|before| *before != config.signing);
            if !(zone.changed || otherwise || due || zone.failure.is_some() || synthesised != zone.synthesised) {
                continue;
            }
            match publish(zone, &config, &synthesised, &mut self.store, self.ephemeral, now) {
                Ok(said) => {
                    self.dirty = true;
                    zone.changed = false;
                    zone.signing = Some(config.signing);
                    zone.failure = None;
                    zone.synthesised = synthesised;
                    events.extend(said.map(|text| (origin.to_string(), text)));
                }
                Err(None) => {}
                Err(Some(why)) => {
                    let text = format!("{origin}: not published: {why}; {}", meanwhile(zone));
                    if zone.failure.as_ref() != Some(&why) {
                        error!("{text}");
                    }
                    self.problems.insert(text);
                    zone.failure = Some(why);
                }
            }
        }
        for (origin, text) in events {
            info!("{origin} {text}");
            self.event(now, "zone-published", &origin, &text);
        }
        let served: Vec<Arc<ZoneSnapshot>> = self.zones.values().filter_map(|zone| zone.snapshot.clone()).collect();
        let broken = self.zones.values().filter(|zone| zone.snapshot.is_none()).map(|zone| zone.origin.clone());
        if std::mem::take(&mut self.dirty) {
            self.published.store(Arc::new(Snapshot::new(served, broken)));
        }
        self.say_expiry(now);
        // A zone that could not be published is tried again soon.
        let retry = self.zones.values().any(|zone| zone.failure.is_some()).then_some(now + 30);
        self.zones.values().filter_map(|zone| zone.published.as_ref()?.refresh_at).chain(retry).min()
    }

    /// Signatures that are about to expire unrefreshed mean that signing has been failing for days, here or elsewhere.
    fn say_expiry(&mut self, now: Timestamp) {
        for (origin, zone) in &self.zones {
            let Some(expires) = zone.published.as_ref().and_then(|published| published.expires_at) else { continue };
            let elsewhere = zone.keys.held().is_empty();
            let notice = if elsewhere { 3 } else { 2 } * 86_400;
            let todo = if elsewhere { "; it is signed elsewhere: sign it again there" } else { "" };
            if expires <= now {
                self.problems.insert(format!("{origin}: a signature has expired and the zone is bogus{todo}"));
            } else if expires - now < notice {
                let hours = (expires - now) / 3600;
                self.problems.insert(format!(
                    "{origin}: the first signature expires in {hours} h; the zone goes bogus then{todo}"
                ));
            }
        }
    }
}

fn meanwhile(zone: &Zone) -> &'static str {
    match zone.snapshot {
        Some(_) => "its last good version stays in service",
        None => "its names are answered SERVFAIL",
    }
}

fn generate(algorithm: Algorithm) -> Result<(ZoneKey, String), String> {
    ZoneKey::generate(algorithm).map_err(|error| error.to_string())
}

/// Publishes one zone. `Ok` says what changed, if anything did; `Err(None)`: there is nothing to publish it from.
fn publish(
    zone: &mut Zone,
    config: &ZoneConfig,
    synthesised: &[(Name, RRset)],
    store: &mut Store,
    ephemeral: bool,
    now: Timestamp,
) -> Result<Option<String>, Option<String>> {
    let text = |error: &dyn std::fmt::Display| Some(error.to_string());
    let contents = zone.contents.as_ref().ok_or(None)?;
    let keys = match &zone.keys {
        Keys::Held(keys) => keys.as_slice(),
        Keys::Unsigned => &[],
        // The reason is among the problems already; the last good version stays.
        Keys::Refused(_) | Keys::Unseen => return Err(None),
    };
    let kept = zone.kept.take().unwrap_or_else(|| super::zone::kept(&zone.origin, store));
    let kept = &*zone.kept.insert(kept);
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    let merged;
    let draft = if signers.is_empty() {
        Draft::unsigned(contents)
    } else {
        merged = merge(contents, synthesised, &signers, &config.signing, ephemeral);
        Draft::signed(&merged, &signers, kept, policy(&config.signing), now)
    };
    let draft = draft.map_err(|error| text(&error))?;
    let numbered = number(draft, &zone.origin, store, zone.is_known, now).map_err(Some)?;
    let (mut published, last, said) = numbered;
    if signers.is_empty() {
        // What a file has of signatures expires, and is not renewed here.
        published.expires_at = published.window(now).map(|(_, expires)| expires);
    }
    let kept = match config.signing.mode {
        SigningMode::Presigned => kept.clone(),
        SigningMode::Csk | SigningMode::None => Signatures::of(&published, &signers),
    };
    // Laid out before anything is written down: what can't be served costs no serial.
    let snapshot = ZoneSnapshot::build(&published).map_err(|error| text(&error));
    if let Some(last) = last.filter(|_| snapshot.is_ok()) {
        if !ephemeral && let Err(error) = store.store_image(&zone.origin, &kept.to_image()) {
            warn!("{}: its signatures can't be kept over a restart, which then signs again: {error}", zone.origin);
        }
        let states: Vec<State> = std::iter::once(last).chain(zone.to_store().filter(|_| !ephemeral)).collect();
        store.save_all(&states, &[]).map_err(|error| text(&error))?;
    }
    zone.kept = Some(kept);
    let snapshot = snapshot?;
    zone.published = Some(published);
    zone.snapshot = Some(Arc::new(snapshot));
    Ok(said)
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
        let mut all = merged.rrset(origin, rrset.rtype).cloned().unwrap_or(RRset { rdatas: Vec::new(), ..rrset });
        all.ttl = rrset.ttl;
        for rdata in rrset.rdatas {
            all.insert(rdata);
        }
        merged.replace(origin, all);
    }
    merged
}

/// A zone with its serial, what to store before it is served, and what to say; neither where nothing changed.
type Numbered = (Published, Option<State>, Option<String>);

/// Gives a zone its serial: a new one if anything changed since what was served last, in this process or before. `is_known`: the
/// zone was served before and what it was served with is lost, so that its serial has to start ahead of anything likely.
fn number(
    draft: Draft<'_>,
    origin: &Name,
    store: &mut Store,
    is_known: bool,
    now: Timestamp,
) -> Result<Numbered, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let key = origin.to_string();
    let last: Option<ServedLast> = match store.load(SERVED, &key).map_err(|error| text(&error))? {
        Some((_, json)) => serde_json::from_str(&json).map_err(|error| text(&error))?,
        None => None,
    };
    let digest = data_encoding::HEXLOWER.encode(&draft.digest());
    let file_serial = draft.file_serial();
    let unchanged = last.as_ref().filter(|last| {
        let ahead = serial::compare(file_serial, last.serial) == Some(Ordering::Greater);
        let kept = if draft.is_sealed() { last.serial == file_serial } else { draft.soa_is_kept(last.serial) };
        last.digest == digest && !ahead && kept
    });
    if let Some(last) = unchanged {
        let serial = last.serial;
        return Ok((draft.finish(serial).map_err(|error| text(&error))?, None, None));
    }
    if draft.is_sealed() {
        let published = draft.finish(file_serial).map_err(|error| text(&error))?;
        let state = served_last(key, file_serial, digest)?;
        return Ok((published, Some(state), Some(format!("is served with serial {file_serial}, its file's"))));
    }
    let at_least = match &last {
        None if is_known && serial::compare(now as u32, file_serial) == Some(Ordering::Greater) => {
            warn!("{origin}: the state of this zone is lost, so its serial goes on from the time, {now}");
            now as u32
        }
        last => serial::next(last.as_ref().map(|last| last.serial), file_serial),
    };
    let serial = store.lease(origin, at_least).map_err(|error| text(&error))?;
    let published = draft.finish(serial).map_err(|error| text(&error))?;
    let state = served_last(key, serial, digest)?;
    Ok((published, Some(state), Some(format!("is served with serial {serial}"))))
}

fn served_last(key: String, serial: u32, digest: String) -> Result<State, String> {
    let json = serde_json::to_string(&ServedLast { serial, digest }).map_err(|error| error.to_string())?;
    Ok(State { kind: SERVED.to_owned(), key, version: 1, json })
}
