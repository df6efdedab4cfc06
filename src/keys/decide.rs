//! Which keys a zone is signed with: the known ones, a new one for a zone never seen signed, or a loud refusal.

use crate::dns::dnssec::Algorithm;

/// A key as it is known by algorithm number and tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct KnownKey {
    /// DNSSEC algorithm number.
    pub algorithm: u8,
    /// Key tag.
    pub key_tag: u16,
}

/// What to sign a zone with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChoice {
    /// These keys, which are at hand.
    Use(Vec<KnownKey>),
    /// The zone was never seen signed and has no key: make one.
    Generate(Algorithm),
}

/// Why a zone can't be signed. Its last good version stays in service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The zone was signed before, and none or not all of its keys are at hand: a new key would make it bogus.
    #[error(
        "key {} of this zone is gone from the key folder; a new one would break every resolver that trusts it, so the \
         zone is not signed again. Put the file back (is the volume mounted?); if it is lost for good, take its DS out of the parent, wait until no cache has \
         it, and say `danelaw keys forget ZONE KEY`",
        names(.0)
    )]
    Vanished(Vec<KnownKey>),
}

fn names(keys: &[KnownKey]) -> String {
    let names: Vec<String> = keys.iter().map(|key| format!("{:03}+{:05}", key.algorithm, key.key_tag)).collect();
    names.join(", ")
}

/// Decides by what the store remembers of the zone and what the key folder holds for it.
pub fn choose(remembered: &[KnownKey], at_hand: &[KnownKey], wanted: Algorithm) -> Result<KeyChoice, KeyRefusal> {
    let vanished: Vec<KnownKey> = remembered.iter().filter(|key| !at_hand.contains(key)).copied().collect();
    if !vanished.is_empty() {
        return Err(KeyRefusal::Vanished(vanished));
    }
    if at_hand.is_empty() {
        return Ok(KeyChoice::Generate(wanted));
    }
    let mut keys = at_hand.to_vec();
    keys.sort_unstable();
    keys.dedup();
    Ok(KeyChoice::Use(keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KnownKey = KnownKey { algorithm: 13, key_tag: 1 };
    const OTHER: KnownKey = KnownKey { algorithm: 15, key_tag: 2 };

    #[test]
    fn a_key_is_made_only_for_a_zone_never_seen_signed() {
        let choose = |remembered: &[_], at_hand: &[_]| choose(remembered, at_hand, Algorithm::Ed25519);
        assert_eq!(choose(&[], &[]), Ok(KeyChoice::Generate(Algorithm::Ed25519)));
        assert_eq!(choose(&[], &[KEY]), Ok(KeyChoice::Use(vec![KEY])));
        assert_eq!(choose(&[KEY], &[OTHER, KEY]), Ok(KeyChoice::Use(vec![KEY, OTHER])));
        assert_eq!(choose(&[KEY], &[]), Err(KeyRefusal::Vanished(vec![KEY])));
        assert_eq!(choose(&[KEY, OTHER], &[OTHER]), Err(KeyRefusal::Vanished(vec![KEY])));
    }
}
