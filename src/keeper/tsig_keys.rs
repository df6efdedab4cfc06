//! The TSIG keys that are known: those of the configured files, and the last good ones of a file that can't be used.

use std::sync::Arc;

use tracing::info;

use super::{Keeper, Policy};
use crate::dns::tsig::{Key, Keyring};
use crate::observe::tsig_keys;

impl Keeper {
    /// Reads the key files, and lets what changed hold from the next query on.
    pub(super) fn look_at_tsig_keys(&mut self) {
        let before = std::mem::take(&mut self.tsig_keys);
        self.tsig_problems.clear();
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for path in &self.config.tsig_keys {
            let read = tsig_keys::read(path).unwrap_or_else(|why| {
                let kept = before.get(path).cloned().unwrap_or_default();
                let meanwhile =
                    if kept.is_empty() { "it has no key in force" } else { "its last good keys stay in force" };
                self.tsig_problems.push(format!("TSIG: {why}; {meanwhile}"));
                kept
            });
            for key in &read {
                if keys.iter().any(|other| other.name() == key.name()) {
                    let text = format!("TSIG: {}: the key {} is in a file before this one", path.display(), key.name());
                    self.tsig_problems.push(format!("{text}, and that one counts: give one of them another name"));
                } else {
                    keys.push(Arc::clone(key));
                }
            }
            self.tsig_keys.insert(path.clone(), read);
        }
        let keyring = Keyring::new(keys);
        for secondary in &self.config.secondaries {
            if let Some(key) = secondary.key.as_ref().filter(|key| keyring.get(key).is_none()) {
                let text = format!("secondary {}: its key {key} is in none of the files of tsig-keys", secondary.name);
                self.tsig_problems.push(format!("{text}: it can't have any zone"));
            }
        }
        for updater in self.config.updates.iter().filter(|updater| keyring.get(&updater.key).is_none()) {
            let text = format!("update {}: its key {} is in none of the files of tsig-keys", updater.name, updater.key);
            self.tsig_problems.push(format!("{text}: it can't change any zone"));
        }
        let used = self.config.transferred().filter_map(|(zone, primaries)| Some((zone, primaries.key.as_ref()?)));
        for (zone, key) in used.filter(|(_, key)| keyring.get(key).is_none()) {
            let text = format!("{zone}: its primary-key {key} is in none of the files of tsig-keys");
            self.tsig_problems.push(format!("{text}: no primary is asked"));
        }
        let policy = self.policy.load_full();
        if *policy.keys != keyring {
            let names: Vec<String> = keyring.keys().map(|key| key.name().to_string()).collect();
            info!("TSIG keys: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
            self.policy.store(Arc::new(Policy { keys: Arc::new(keyring), ..Policy::clone(&policy) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use crate::config::Config;
    use crate::dns::Name;
    use crate::keeper::{Finished, Keeper};
    use crate::store::Store;

    const NOW: u64 = 1_800_000_000;

    fn put(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn text(name: &str, secret: &str) -> String {
        format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n")
    }

    #[test]
    fn a_broken_file_leaves_its_last_good_keys_in_force_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.key"), folder.path().join("two.key"));
        put(&one, &text("one", "c2VjcmV0"));
        let config = |text: &str| Config::parse(text, "danelaw.toml", folder.path()).unwrap();
        let both = "tsig-keys = [\"one.key\", \"two.key\"]";
        let store = Store::open(&folder.path().join("state")).unwrap();
        let mut keeper = Keeper::new(config(both), store, false, NOW).unwrap();
        let key = |keeper: &Keeper, name: &str| {
            keeper.policy().load().keys.get(&name.parse::<Name>().unwrap()).map(|key| (**key).clone())
        };
        let first = key(&keeper, "ONE.");
        assert!(
            first.is_some() && key(&keeper, "two.").is_none(),
            "before the first cycle: nobody is told that his key is unknown"
        );
        keeper.cycle(&Finished::All, NOW);
        let says = |keeper: &Keeper, part: &str| keeper.problems.iter().any(|problem| problem.contains(part));
        assert!(says(&keeper, "two.key") && says(&keeper, "it has no key in force") && !says(&keeper, "one.key"));

        put(&two, &(text("two", "c2VjcmV0") + &text("one", "b3RoZXI=")));
        put(&one, &text("one", "broken"));
        keeper.cycle(&Finished::none(), NOW + 60);
        assert_eq!(key(&keeper, "one."), first);
        assert!(key(&keeper, "two.").is_some());
        assert!(says(&keeper, "one.key:1:43: expected a secret") && says(&keeper, "its last good keys stay in force"));
        assert!(says(&keeper, "two.key: the key one. is in a file before"));
        assert!(!keeper.problems.iter().any(|problem| problem.contains("broken")));

        put(&one, &text("one", "YW5vdGhlcg=="));
        keeper.cycle(&Finished::none(), NOW + 120);
        assert!(key(&keeper, "one.") != first && !says(&keeper, "one.key:"));
        keeper.configure(config("tsig-keys = [\"two.key\"]"));
        keeper.cycle(&Finished::none(), NOW + 180);
        assert!(!says(&keeper, "TSIG") && key(&keeper, "one.").is_some() && key(&keeper, "one.") != first);
        keeper.configure(config("tsig-keys = [\"two.key\"]\n[update.a]\nkey = \"two\"\n[update.b]\nkey = \"six\""));
        keeper.cycle(&Finished::none(), NOW + 240);
        assert!(says(&keeper, "update b: its key six. is in none of the files") && !says(&keeper, "update a"));
        keeper.configure(config(""));
        keeper.cycle(&Finished::none(), NOW + 300);
        assert_eq!((key(&keeper, "one."), key(&keeper, "two.")), (None, None));
    }
}
