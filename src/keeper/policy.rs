//! What answers go by besides zones: NSID, class CH, cookie secrets, rate limits, TSIG keys. Made anew when the configuration or a secret changes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::info;

use super::Keeper;
use crate::answer::Settings;
use crate::answer::cookie::{SECRET, Secrets};
use crate::config::{Cookies, Secondary, Updater};
use crate::dns::tsig::Keyring;
use crate::dns::{Name, Timestamp};
use crate::observe::cookie_secrets;
use crate::serve::TcpLimits;
use crate::serve::notified::AllPrimaries;
use crate::serve::rate::RateLimiter;
use crate::store::State;
use crate::zone::Snapshot;

/// Of the answers that are given at one moment.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What the answer function goes by.
    pub settings: Settings,
    /// What UDP's responses are counted with, if they are.
    pub limiter: Option<Arc<RateLimiter>>,
    /// Whose signatures are known.
    pub keys: Arc<Keyring>,
    /// Who may have zones.
    pub secondaries: Arc<[Secondary]>,
    /// Who may change what.
    pub updaters: Arc<[Updater]>,
    /// Nameservers that are told of changes and are none of them, by their addresses.
    pub told: Arc<HashMap<IpAddr, Name>>,
    /// The catalog zones, which only they get.
    pub catalogs: Arc<Snapshot>,
    /// Who may say that there is a new version of a zone.
    pub primaries: Arc<AllPrimaries>,
}

/// Kind and key of danelaw's own cookie secrets in the store.
const STORED: (&str, &str) = ("cookie-secrets", "server");
/// So long a secret is in force, seconds: RFC 7873 section 7.1 allows no more than 36 days, and recommends 26.
const IN_FORCE: u64 = 26 * 86_400;

/// Secrets as they are stored, in hexadecimal digits.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    since: Timestamp,
    secrets: Vec<String>,
}

impl Keeper {
    /// What answers go by; from the first cycle on it is the configuration's.
    pub fn policy(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.policy)
    }

    /// Looks whether another policy is due, and lets it hold from the next answer on.
    pub(super) fn look_at_policy(&mut self, now: Timestamp) {
        let before = self.policy.load_full();
        self.policy_problem = None;
        let cookies = self.cookie_secrets(now).unwrap_or_else(|why| {
            let meanwhile = match before.settings.cookies == Secrets::NONE {
                true => "no cookies are given",
                false => "the secrets before stay in force",
            };
            self.policy_problem = Some(format!("DNS cookies: {why}; {meanwhile}"));
            before.settings.cookies.clone()
        });
        let server = &self.config.server;
        let version = concat!("danelaw ", env!("CARGO_PKG_VERSION"));
        let settings = Settings {
            nsid: server.nsid.clone(),
            version: server.version.clone().unwrap_or_else(|| version.to_owned()).into_bytes(),
            identity: server.identity.clone().map_or_else(host_name, String::into_bytes),
            cookies,
            keepalive: u16::try_from(TcpLimits::default().idle.as_millis() / 100).ok(),
        };
        let rules = &self.config.rate_limit;
        let same_rules = match &before.limiter {
            Some(limiter) => limiter.rules() == rules,
            None => rules.responses_per_second == 0,
        };
        let (secondaries, updaters) = (&self.config.secondaries, &self.config.updates);
        let transferred = self.config.transferred().map(|(zone, primaries)| (zone.clone(), primaries.clone()));
        let primaries: AllPrimaries = transferred.collect();
        let same_peers = before.secondaries[..] == secondaries[..]
            && before.updaters[..] == updaters[..]
            && *before.primaries == primaries;
        if same_rules && settings == before.settings && same_peers {
            return;
        }
        // A limiter that stays remembers whom it has limited.
        let limiter = match same_rules {
            true => before.limiter.clone(),
            false => random().ok().and_then(|key| RateLimiter::new(rules, key)).map(Arc::new),
        };
        let (secondaries, updaters) = (secondaries.as_slice().into(), updaters.as_slice().into());
        let primaries = Arc::new(primaries);
        self.policy.store(Arc::new(Policy {
            settings,
            limiter,
            secondaries,
            updaters,
            primaries,
            ..Policy::clone(&before)
        }));
    }

    fn cookie_secrets(&mut self, now: Timestamp) -> Result<Secrets, String> {
        match &self.config.server.cookies {
            Cookies::Off => Ok(Secrets::NONE),
            Cookies::File(path) => {
                let read = cookie_secrets::read(path).map_err(|why| format!("{}: {why}", path.display()))?;
                Ok(Secrets::new(read))
            }
            Cookies::Own => self.own_secrets(now),
        }
    }

    /// The stored secrets; new ones where there are none, or where the one in force has been so for long.
    fn own_secrets(&mut self, now: Timestamp) -> Result<Secrets, String> {
        let stored = self.store.load(STORED.0, STORED.1).map_err(|error| error.to_string())?;
        let mut secrets: Stored = match stored {
            Some((_, json)) => serde_json::from_str(&json).map_err(|error| format!("in the store: {error}"))?,
            None => Stored { since: 0, secrets: Vec::new() },
        };
        // A clock that was set far ahead must not keep one in force for years.
        if secrets.secrets.is_empty() || now.abs_diff(secrets.since) >= IN_FORCE {
            // A cookie lives for an hour: one secret before is enough.
            secrets.secrets.truncate(1);
            secrets.secrets.insert(0, data_encoding::HEXLOWER.encode(&random()?));
            secrets.since = now;
            let json = serde_json::to_string(&secrets).map_err(|error| error.to_string())?;
            let state = State { kind: STORED.0.to_owned(), key: STORED.1.to_owned(), version: 1, json };
            self.store.save(&state).map_err(|error| error.to_string())?;
            info!("DNS cookies: a new secret");
        }
        let decoded = secrets.secrets.iter().map(|hex| {
            let octets = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok();
            octets
                .and_then(|octets| octets.try_into().ok())
                .ok_or_else(|| "a secret in the store is damaged".to_owned())
        });
        Ok(Secrets::new(decoded.collect::<Result<Vec<[u8; SECRET]>, String>>()?))
    }
}

fn random() -> Result<[u8; SECRET], String> {
    let mut octets = [0; SECRET];
    SystemRandom::new().fill(&mut octets).map_err(|_| "the system gives no randomness".to_owned())?;
    Ok(octets)
}

fn host_name() -> Vec<u8> {
    let mut name = rustix::system::uname().nodename().to_bytes().to_vec();
    name.truncate(crate::answer::TEXT_MAX);
    name
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::keeper::Finished;
    use crate::store::Store;

    const NOW: Timestamp = 1_800_000_000;

    fn keeper(folder: &Path, text: &str, now: Timestamp) -> Keeper {
        let config = Config::parse(text, "danelaw.toml", folder).unwrap();
        let mut keeper = Keeper::new(config, Store::open(&folder.join("state")).unwrap(), false, now).unwrap();
        keeper.cycle(&Finished::All, now);
        keeper
    }

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn says(keeper: &Keeper, part: &str) -> bool {
        keeper.problems.iter().any(|problem| problem.contains(part))
    }

    #[test]
    fn own_secrets_outlive_a_restart_and_roll() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = |keeper: &Keeper| keeper.policy.load().settings.cookies.clone();
        let first = secrets(&keeper(folder.path(), "", NOW));
        assert_ne!(first, Secrets::NONE);
        assert_eq!(secrets(&keeper(folder.path(), "", NOW + IN_FORCE - 1)), first);
        let peer = [192, 0, 2, 1].into();
        let given = first.look(&[1; 8], peer, NOW + IN_FORCE - 60).unwrap().reply;
        let mut later = keeper(folder.path(), "", NOW + IN_FORCE);
        assert_ne!(secrets(&later), first);
        assert!(secrets(&later).look(&given, peer, NOW + IN_FORCE).unwrap().valid, "the one before still counts");
        later.cycle(&Finished::none(), NOW + 2 * IN_FORCE);
        assert!(!secrets(&later).look(&given, peer, NOW + IN_FORCE).unwrap().valid, "and then no more");
        let fresh = tempfile::tempdir().unwrap();
        assert_ne!(secrets(&keeper(fresh.path(), "", 100)), Secrets::NONE, "in 1970, too");
    }

    #[test]
    fn a_secret_file_counts_when_it_is_private_and_the_last_good_one_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets");
        let (old, new) = ("e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962");
        put(&file, old, 0o644);
        let mut keeper = keeper(folder.path(), "[server]\ncookie-secret-file = \"secrets\"", NOW);
        assert!(says(&keeper, "chmod 600") && says(&keeper, "no cookies are given"));
        assert_eq!(keeper.policy.load().settings.cookies, Secrets::NONE);
        put(&file, old, 0o600);
        keeper.cycle(&Finished::none(), NOW + 60);
        let in_force = keeper.policy.load().settings.cookies.clone();
        assert!(in_force != Secrets::NONE && !says(&keeper, "cookies"));
        put(&file, "nonsense", 0o600);
        keeper.cycle(&Finished::none(), NOW + 120);
        assert!(says(&keeper, "line 1") && says(&keeper, "before stay in force"));
        assert_eq!(keeper.policy.load().settings.cookies, in_force);
        put(&file, &format!("{new}\n{old}"), 0o600);
        keeper.cycle(&Finished::none(), NOW + 180);
        assert_ne!(keeper.policy.load().settings.cookies, in_force);
    }

    #[test]
    fn the_configuration_says_what_the_server_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(folder.path(), "", NOW);
        let policy = keeper.policy.load_full();
        assert!(policy.settings.version.starts_with(b"danelaw ") && !policy.settings.identity.is_empty());
        assert!(policy.settings.nsid.is_empty() && policy.limiter.is_none());
        assert_eq!(policy.settings.keepalive, Some(300));
        let configure = |text: &str, keeper: &mut Keeper| {
            keeper.configure(Config::parse(text, "danelaw.toml", folder.path()).unwrap());
            keeper.cycle(&Finished::none(), NOW + 60);
            keeper.policy.load_full()
        };
        let text = "[server]\nnsid = \"ns1\"\nversion = \"\"\nidentity = \"ns1\"\ncookies = false\n\
                    [rate-limit]\nresponses-per-second = 5\n";
        let policy = configure(text, &mut keeper);
        assert_eq!((&policy.settings.nsid[..], &policy.settings.identity[..]), (&b"ns1"[..], &b"ns1"[..]));
        assert!(policy.settings.version.is_empty() && policy.settings.cookies == Secrets::NONE);
        let other = configure(&text.replace("version = \"\"", "version = \"x\""), &mut keeper);
        assert_eq!(other.settings.version, b"x");
        let kept = other.limiter.as_ref().zip(policy.limiter.as_ref()).is_some_and(|(one, two)| Arc::ptr_eq(one, two));
        assert!(kept, "a limiter forgets nobody while its rules stay");
        assert!(configure("", &mut keeper).limiter.is_none());
    }
}
