//! Keys that no zone uses any more are kept in a folder of their own, and come back with their zone. None is ever deleted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::publish::MANY;
use super::{Keeper, VANISHED};
use crate::act;
use crate::dns::{Name, Timestamp};
use crate::observe::zone_keys::{self, KeyProblem, REMOVED, zone_of};
use crate::store::StoreError;

/// Which files are whose.
struct Users {
    /// The zones that the store knows to be signed with a file.
    known: HashMap<String, Vec<Name>>,
    /// The files that the configuration names.
    named: HashSet<String>,
}

impl Users {
    fn of(keeper: &Keeper) -> Result<Users, StoreError> {
        let mut known: HashMap<String, Vec<Name>> = HashMap::new();
        for (zone, file) in keeper.store.key_files()? {
            known.entry(file).or_default().push(zone);
        }
        let named = keeper.config.named_keys().into_iter().map(|(_, file)| file).collect();
        Ok(Users { known, named })
    }

    /// Whose a file is: zones that it is called after or that the store knows it of.
    fn zones(&self, file: &str) -> impl Iterator<Item = Name> {
        let known = self.known.get(file).into_iter().flatten().cloned();
        known.chain(zone_of(Path::new(file)))
    }

    fn is_used(&self, file: &str, is_ours: impl Fn(&Name) -> bool) -> bool {
        self.named.contains(file) || self.zones(file).any(|zone| is_ours(&zone))
    }
}

impl Keeper {
    /// Takes keys aside of which no zone is left. `there` are the zones that are ours though they may not be read; a start waits as long
    /// as a file that vanishes is waited for.
    pub(super) fn set_keys_aside(&mut self, there: &HashSet<Name>, now: Timestamp) {
        // No zone at all is a volume that is not mounted, more likely than a farewell.
        if self.ephemeral || self.zones.is_empty() || now < self.started + VANISHED {
            return;
        }
        let is_ours = |zone: &Name| self.zones.contains_key(zone) || there.contains(zone);
        // A key that was made for a zone to come is none that the store knows.
        let unused = |users: &Users, file: &String| users.known.contains_key(file) && !users.is_used(file, is_ours);
        let moved = self.move_keys(&self.config.keys, &self.removed_keys(), unused);
        self.aside_problems = moved.problems;
        self.tell_moved("keys-set-aside", "no zone uses it: it is kept in", &self.removed_keys(), moved.files, now);
    }

    /// Brings keys back that zones use again.
    pub(super) fn bring_keys_back(&mut self, now: Timestamp) {
        if self.ephemeral {
            return;
        }
        let is_there = |file: &String| self.config.keys.join(file).exists();
        let used =
            |users: &Users, file: &String| !is_there(file) && users.is_used(file, |zone| self.zones.contains_key(zone));
        let moved = self.move_keys(&self.removed_keys(), &self.config.keys, used);
        self.key_problems.extend(moved.problems);
        let keys = self.config.keys.clone();
        self.tell_moved("keys-brought-back", "a zone uses it again: it is back in", &keys, moved.files, now);
    }

    fn removed_keys(&self) -> PathBuf {
        self.config.keys.join(REMOVED)
    }

    /// Moves the files of a folder that are meant.
    fn move_keys(&self, from: &Path, to: &Path, is_meant: impl Fn(&Users, &String) -> bool) -> Moved {
        let whole = |path: &Path, message: String| Moved {
            problems: vec![KeyProblem { path: path.to_owned(), zone: None, message }],
            ..Moved::default()
        };
        let mut files = match zone_keys::names(from) {
            Ok(files) if files.is_empty() => return Moved::default(),
            Ok(files) => files,
            Err(error) => return whole(from, error.to_string()),
        };
        let users = match Users::of(self) {
            Ok(users) => users,
            Err(error) => return whole(from, error.to_string()),
        };
        files.retain(|file| is_meant(&users, file));
        let mut moved = Moved::default();
        for (file, done) in files.iter().zip(act::keys::move_all(from, to, &files)) {
            match done {
                Ok(()) => drop(moved.files.insert(file.clone(), users.zones(file).collect())),
                Err(error) => {
                    let message = format!("it can't be moved to {}: {error}", to.display());
                    moved.problems.push(KeyProblem { path: from.join(file), zone: None, message });
                }
            }
        }
        moved
    }

    fn tell_moved(&mut self, kind: &str, what: &str, to: &Path, files: BTreeMap<String, Vec<Name>>, now: Timestamp) {
        let mut events = Vec::new();
        if files.len() > MANY {
            let text = format!("{} keys: {} {}", files.len(), what.replace(" it ", " each "), to.display());
            warn!("{text}");
            events.push((kind, String::new(), text));
        } else {
            for (file, mut zones) in files {
                let text = format!("{file}: {what} {}", to.display());
                info!("{text}");
                zones.sort();
                zones.dedup();
                events.extend(zones.into_iter().map(|zone| (kind, zone.to_string(), text.clone())));
            }
        }
        self.events(now, events);
    }
}

/// What became of files that were to be moved.
#[derive(Default)]
struct Moved {
    /// Those that were, and whose they are.
    files: BTreeMap<String, Vec<Name>>,
    problems: Vec<KeyProblem>,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;
    use crate::dns::dnssec::Signer;
    use crate::keeper::Finished;
    use crate::store::Store;

    const NOW: Timestamp = 1_800_000_000;
    const ZONE: &str = "$TTL 300\n@ SOA ns h 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.1\n";
    const SHARED: &str = "[zone.\"a.test\"]\nkey = \"shared.pem\"\n[zone.\"b.test\"]\nkey = \"shared.pem\"\n";

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(zones: &[&str]) -> Place {
            let place = Place(tempfile::tempdir().unwrap());
            ["zones", "certs"].iter().for_each(|folder| fs::create_dir(place.path(folder)).unwrap());
            zones.iter().for_each(|zone| place.zone(zone));
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn zone(&self, zone: &str) {
            fs::write(self.path(&format!("zones/{zone}.zone")), ZONE).unwrap();
        }

        fn remove(&self, zone: &str) {
            fs::remove_file(self.path(&format!("zones/{zone}.zone"))).unwrap();
        }

        fn config(&self, text: &str) -> Config {
            Config::parse(text, "danelaw.toml", self.0.path()).unwrap()
        }

        fn keeper(&self, text: &str, now: Timestamp) -> Keeper {
            let store = Store::open(&self.path("state")).unwrap();
            let mut keeper = Keeper::new(self.config(text), store, false, now).unwrap();
            keeper.cycle(&Finished::All, now);
            keeper
        }

        fn keys(&self, folder: &str) -> Vec<String> {
            zone_keys::names(&self.path(folder)).unwrap()
        }
    }

    fn tag(keeper: &Keeper, zone: &str) -> Option<u16> {
        keeper.zones.get(&zone.parse::<Name>().unwrap())?.keys.held().first().map(|key| key.key_tag())
    }

    fn events(keeper: &Keeper) -> Vec<String> {
        let events = keeper.store.events(100, None).unwrap().into_iter();
        events.filter(|event| event.kind.starts_with("keys-")).map(|event| event.kind + " " + &event.subject).collect()
    }

    #[test]
    fn a_removed_zones_key_is_kept_aside_and_comes_back_with_the_zone() {
        let place = Place::new(&["a.test", "b.test"]);
        let mut keeper = place.keeper("", NOW);
        let (before, keys) = (tag(&keeper, "a.test"), place.keys("keys"));
        place.remove("a.test");
        keeper.cycle(&Finished::All, NOW + 1);
        assert_eq!(place.keys("keys"), keys, "not at once");
        keeper.cycle(&Finished::All, NOW + 11);
        assert_eq!((tag(&keeper, "a.test"), place.keys("keys/removed")), (None, keys[..1].to_vec()));
        assert_eq!(
            (place.keys("keys"), events(&keeper)),
            (keys[1..].to_vec(), vec!["keys-set-aside a.test.".to_owned()])
        );
        assert!(keeper.forget_key(&"a.test.".parse().unwrap(), &keys[0][7..16], NOW).unwrap_err().contains("not lost"));
        place.zone("a.test");
        keeper.cycle(&Finished::All, NOW + 20);
        assert_eq!((tag(&keeper, "a.test"), place.keys("keys/removed")), (before, vec![]));
        assert_eq!((place.keys("keys"), events(&keeper)[0].as_str()), (keys, "keys-brought-back a.test."));
        assert!(keeper.problems.is_empty(), "{:?}", keeper.problems);
    }

    #[test]
    fn what_went_while_nothing_ran_is_kept_aside_after_a_while_and_comes_back_at_a_start_without_a_store() {
        let place = Place::new(&["a.test", "b.test"]);
        let before = tag(&place.keeper("", NOW), "a.test");
        place.remove("a.test");
        // Made for a zone to come: none that was ever used.
        let own = place.keys("keys").pop().unwrap();
        fs::copy(place.path("keys").join(&own), place.path("keys/c.test+013+00001.pem")).unwrap();
        let mut keeper = place.keeper("", NOW + 100);
        assert_eq!(place.keys("keys").len(), 3);
        keeper.cycle(&Finished::All, NOW + 110);
        assert_eq!((place.keys("keys").len(), place.keys("keys/removed").len()), (2, 1));
        drop(keeper);
        fs::remove_dir_all(place.path("state")).unwrap();
        place.zone("a.test");
        assert_eq!(tag(&place.keeper("", NOW + 200), "a.test"), before, "no new key where an old one is known");
    }

    #[test]
    fn a_key_goes_with_the_last_zone_that_uses_it() {
        let place = Place::new(&["a.test", "b.test", "c.test"]);
        let (_, pem) = crate::keys::ZoneKey::generate(crate::dns::dnssec::Algorithm::Ed25519).unwrap();
        act::keys::write(&place.path("keys"), "shared.pem", &pem).unwrap();
        let mut keeper = place.keeper(SHARED, NOW);
        let before = tag(&keeper, "a.test");
        assert!(before.is_some() && tag(&keeper, "b.test") == before);
        let step = |keeper: &mut Keeper, now: Timestamp| {
            keeper.cycle(&Finished::All, now);
            keeper.cycle(&Finished::All, now + 10);
            place.keys("keys/removed")
        };
        place.remove("a.test");
        assert_eq!(step(&mut keeper, NOW + 20), [""; 0], "b.test uses it");
        place.remove("b.test");
        assert_eq!(step(&mut keeper, NOW + 40), [""; 0], "the configuration names it");
        keeper.configure(place.config(""));
        assert_eq!(step(&mut keeper, NOW + 60), ["shared.pem"]);
        assert_eq!(events(&keeper), ["keys-set-aside b.test.", "keys-set-aside a.test."]);
        keeper.configure(place.config(SHARED));
        place.zone("a.test");
        assert_eq!(step(&mut keeper, NOW + 80), [""; 0]);
        assert_eq!(tag(&keeper, "a.test"), before);
    }

    #[test]
    fn what_can_not_be_moved_is_a_problem_and_stays() {
        let place = Place::new(&["a.test", "b.test"]);
        let mut keeper = place.keeper("", NOW);
        let key = place.keys("keys").remove(0);
        act::keys::write(&place.path("keys/removed"), &key, "another").unwrap();
        place.remove("a.test");
        keeper.cycle(&Finished::All, NOW + 1);
        keeper.cycle(&Finished::All, NOW + 11);
        assert!(place.keys("keys").contains(&key));
        assert!(keeper.problems.iter().any(|problem| problem.contains(&key)), "{:?}", keeper.problems);
        assert_eq!(fs::read_to_string(place.path("keys/removed").join(&key)).unwrap(), "another");
        place.zone("a.test");
        keeper.cycle(&Finished::All, NOW + 20);
        assert!(keeper.problems.is_empty() && tag(&keeper, "a.test").is_some());
    }

    #[test]
    fn a_file_that_the_configuration_names_and_that_is_gone_is_no_farewell() {
        let place = Place::new(&["b.test"]);
        fs::write(place.path("named"), ZONE).unwrap();
        let mut keeper = place.keeper("[zone.\"a.test\"]\nfile = \"named\"\n", NOW);
        assert!(tag(&keeper, "a.test").is_some());
        fs::remove_file(place.path("named")).unwrap();
        for later in 1..40 {
            keeper.cycle(&Finished::All, NOW + later);
        }
        assert!(tag(&keeper, "a.test").is_some() && place.keys("keys/removed").is_empty());
        assert!(keeper.problems.iter().any(|problem| problem.contains("stays in service")), "{:?}", keeper.problems);
        keeper.configure(place.config(""));
        keeper.cycle(&Finished::All, NOW + 50);
        keeper.cycle(&Finished::All, NOW + 60);
        assert_eq!((tag(&keeper, "a.test"), place.keys("keys/removed").len()), (None, 1));
        let removed = keeper.store.events(100, Some("a.test.")).unwrap();
        assert!(removed.iter().any(|event| event.text.contains("no longer in the configuration")));
    }
}
