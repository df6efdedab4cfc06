//! Which keys each zone is signed with: those at hand, new ones for a zone never seen signed, or a refusal.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::info;

use super::Keeper;
use super::zone::{Keys, Zone};
use crate::act;
use crate::config::{SigningConfig, SigningMode};
use crate::dns::dnssec::{Algorithm, Signer};
use crate::dns::{Name, Timestamp};
use crate::keys::{self, KeyChoice, KnownKey, ZoneKey};
use crate::observe::zone_keys::HeldKey;
use crate::store;

/// What a look at one zone's keys came to.
enum Found {
    /// It stays as it is.
    Same,
    /// These; the ones that the store did not know are to be remembered.
    Keys(Keys, Vec<store::KnownKey>),
    /// A new key, to be written before it is used.
    New(Box<ZoneKey>, String),
}

impl Keeper {
    /// Looks at the keys folder and gives each zone its keys. What is new is on the disk before it is used.
    pub(super) fn look_at_keys(&mut self, now: Timestamp) {
        self.key_problems.clear();
        self.bring_keys_back(now);
        let mut folder = match self.key_scanner.scan(&self.config.keys, &self.config.named_keys()) {
            Ok(folder) => folder,
            Err(error) => {
                // Not to see the keys is not to have none: those that were read before stay, and a zone without any is not signed.
                let why = format!("{}: {error}", self.config.keys.display());
                for (origin, zone) in &mut self.zones {
                    if self.config.signing(origin).mode == SigningMode::Csk && zone.keys.held().is_empty() {
                        zone.keys = Keys::Refused(why.clone());
                    }
                }
                self.key_folder_problem = Some(why);
                return;
            }
        };
        self.key_folder_problem = None;
        self.key_problems.append(&mut folder.problems);
        let broken: BTreeMap<Name, String> = self
            .key_problems
            .iter()
            .filter_map(|problem| {
                Some((problem.zone.clone()?, format!("{}: {}", problem.path.display(), problem.message)))
            })
            .collect();
        let mut made = Vec::new();
        let mut remember = Vec::new();
        for (origin, zone) in &mut self.zones {
            let signing = self.config.signing(origin);
            let at_hand = folder.keys.remove(origin).unwrap_or_default();
            let found = match signing.mode {
                SigningMode::None | SigningMode::Presigned => Found::Keys(Keys::Unsigned, Vec::new()),
                SigningMode::Csk if self.ephemeral => ephemeral(zone, signing),
                SigningMode::Csk => zone_keys(zone, signing, at_hand, broken.get(origin), &self.store, now),
            };
            match found {
                Found::Same => {}
                Found::Keys(keys, new) if new.is_empty() => zone.take_keys(keys),
                Found::Keys(keys, new) => remember.push((origin.clone(), keys, new)),
                Found::New(key, pem) => made.push((origin.clone(), *key, pem)),
            }
        }
        remember.extend(self.write_keys(made, now));
        self.remember_keys(remember, now);
    }

    /// Writes new keys, each for its owner alone. A zone whose key can't be written stays without.
    fn write_keys(
        &mut self,
        made: Vec<(Name, ZoneKey, String)>,
        now: Timestamp,
    ) -> Vec<(Name, Keys, Vec<store::KnownKey>)> {
        let named = |origin: &Name, key: &ZoneKey| keys::file_name(origin, key.algorithm(), key.key_tag());
        let files: Vec<(String, &str)> =
            made.iter().map(|(origin, key, pem)| (named(origin, key), pem.as_str())).collect();
        let written = act::keys::write_all(&self.config.keys, &files);
        let mut remember = Vec::new();
        for ((origin, key, _), written) in made.into_iter().zip(written) {
            let keys = match written {
                Ok(path) => {
                    info!("{origin}: a new key, {}; `danelaw ds {}` prints its DS", path.display(), origin.to_host());
                    let file = named(&origin, &key);
                    remember.push((origin, known(&key, file, now), key));
                    continue;
                }
                Err(error) => {
                    format!("a new key can't be written to {}: {error}", self.config.keys.display())
                }
            };
            if let Some(zone) = self.zones.get_mut(&origin) {
                zone.take_keys(Keys::Refused(keys));
            }
        }
        let remember = remember.into_iter().map(|(origin, mut known, key)| {
            known.zone = origin.clone();
            (origin, Keys::Held(vec![Arc::new(key)]), vec![known])
        });
        remember.collect()
    }

    /// The store knows the keys before anything is signed with them: all in one transaction.
    fn remember_keys(&mut self, remember: Vec<(Name, Keys, Vec<store::KnownKey>)>, now: Timestamp) {
        if remember.is_empty() {
            return;
        }
        let stored = self.store.together(|store| {
            for (origin, _, new) in &remember {
                for key in new {
                    store.remember_key(key)?;
                    store.log(now, "key-first-seen", &origin.to_string(), &key.file)?;
                }
            }
            Ok(())
        });
        let why = stored.err().map(|error| error.to_string());
        for (origin, keys, new) in remember {
            let Some(zone) = self.zones.get_mut(&origin) else { continue };
            match &why {
                Some(why) => zone.take_keys(Keys::Refused(why.clone())),
                None => {
                    let new = new.iter().map(|key| KnownKey { algorithm: key.algorithm, key_tag: key.tag });
                    zone.remembered.get_or_insert_default().extend(new);
                    zone.take_keys(keys);
                }
            }
        }
    }
}

fn known(key: &ZoneKey, file: String, now: Timestamp) -> store::KnownKey {
    store::KnownKey { zone: Name::root(), algorithm: key.algorithm(), tag: key.key_tag(), file, first_seen: now }
}

fn generate(algorithm: Algorithm) -> Result<(ZoneKey, String), String> {
    ZoneKey::generate(algorithm).map_err(|error| error.to_string())
}

fn ephemeral(zone: &Zone, signing: &SigningConfig) -> Found {
    if !zone.keys.held().is_empty() {
        return Found::Same;
    }
    let keys = match generate(signing.algorithm) {
        Ok((key, _)) => Keys::Held(vec![Arc::new(key)]),
        Err(why) => Keys::Refused(why),
    };
    Found::Keys(keys, Vec::new())
}

fn zone_keys(
    zone: &mut Zone,
    signing: &SigningConfig,
    at_hand: Vec<HeldKey>,
    broken: Option<&String>,
    store: &store::Store,
    now: Timestamp,
) -> Found {
    let refused = |why: String| Found::Keys(Keys::Refused(why), Vec::new());
    // A key that is there and can't be used is not a key that never was.
    if let Some(problem) = broken {
        return refused(problem.clone());
    }
    let origin = zone.origin.clone();
    let remembered = match zone.remembered(store) {
        Ok(remembered) => remembered,
        Err(error) => return refused(error.to_string()),
    };
    let short = |key: &ZoneKey| KnownKey { algorithm: key.algorithm(), key_tag: key.key_tag() };
    let hand: Vec<KnownKey> = at_hand.iter().map(|held| short(&held.key)).collect();
    match keys::choose(remembered, &hand, signing.algorithm) {
        Err(refusal) => refused(refusal.to_string()),
        Ok(KeyChoice::Generate(algorithm)) => match generate(algorithm) {
            Ok((key, pem)) => Found::New(Box::new(key), pem),
            Err(why) => refused(why),
        },
        Ok(KeyChoice::Use(_)) => {
            let is_known = remembered.is_empty();
            let new = at_hand.iter().filter(|held| !remembered.contains(&short(&held.key)));
            let new =
                new.map(|held| store::KnownKey { zone: origin.clone(), ..known(&held.key, held.file.clone(), now) });
            let new = new.collect();
            // One key may be at hand twice: in a file of its own, and in one that the configuration names.
            let mut keys: Vec<Arc<ZoneKey>> = Vec::with_capacity(at_hand.len());
            for held in at_hand {
                if !keys.iter().any(|key| key.dnskey() == held.key.dnskey()) {
                    keys.push(held.key);
                }
            }
            zone.is_known |= is_known;
            Found::Keys(Keys::Held(keys), new)
        }
    }
}
