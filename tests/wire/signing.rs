//! What is signed, when, and for how long.

use danelaw::dns::dnssec::{Algorithm, RrsigFields, Signer};
use danelaw::dns::{Name, Rtype};
use danelaw::keys::ZoneKey;
use danelaw::zone::Published;
use danelaw::zone::image::Image;
use danelaw::zone::sign::{Policy, SignedSet};

use super::common::{name, sign_with, zone};

const TEXT: &str = "$TTL 300\n@ SOA ns h 1 2 3 4 60\n NS ns\nns A 192.0.2.1\nmail A 192.0.2.2\n\
                    cut NS ns.cut\nns.cut A 192.0.2.3\nds NS ns\n DS 1 13 2 \
                    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
                    tree DNAME elsewhere.test.\n";
const NOW: u64 = 1_800_000_000;

fn key() -> ZoneKey {
    ZoneKey::generate(Algorithm::EcdsaP256Sha256).unwrap().0
}

fn signed(text: &str, key: &ZoneKey, before: Option<&Published>, now: u64) -> Published {
    sign_with(&zone("example.test", text), &[key as &dyn Signer], before, now, 1)
}

fn rrsigs(published: &Published) -> Vec<(String, Rtype, Vec<u8>)> {
    let rrsigs = |(owner, set): (Name, SignedSet)| -> Vec<_> {
        set.rrsigs.iter().map(|rrsig| (owner.to_string(), set.rrset.rtype, rrsig.to_vec())).collect()
    };
    published.sets().flat_map(rrsigs).collect()
}

#[test]
fn glue_delegations_and_what_a_dname_hides_are_not_signed() {
    let published = signed(&format!("{TEXT}x.tree A 192.0.2.9\n"), &key(), None, NOW);
    let set = |owner: &str, rtype| published.set(&name(owner), rtype);
    assert!(set("cut.example.test", Rtype::NS).unwrap().rrsigs.is_empty());
    assert!(set("ns.cut.example.test", Rtype::A).unwrap().rrsigs.is_empty());
    assert!(set("ns.cut.example.test", Rtype::NSEC).is_none());
    assert!(set("x.tree.example.test", Rtype::A).is_none());
    assert_eq!(set("ds.example.test", Rtype::DS).unwrap().rrsigs.len(), 1);
    assert_eq!(set("ds.example.test", Rtype::NSEC).unwrap().rrsigs.len(), 1);
    // RFC 9077 section 3.1: the lesser of MINIMUM, 60 here, and the SOA's TTL.
    assert_eq!(set("example.test", Rtype::NSEC).unwrap().rrset.ttl, 60);
}

#[test]
fn windows_are_backdated_an_hour_last_two_weeks_and_are_spread() {
    let policy = Policy::default();
    let published = signed(TEXT, &key(), None, NOW);
    let mut expirations = std::collections::BTreeSet::new();
    for (owner, rtype, rrsig) in rrsigs(&published) {
        let fields = RrsigFields::parse(&rrsig).unwrap();
        assert_eq!(u64::from(fields.inception), NOW - 3600, "{owner} {rtype}");
        let left = u64::from(fields.expiration) - NOW;
        assert!(left <= 14 * 86_400 && left > 14 * 86_400 - policy.jitter, "{owner} {rtype}: {left}");
        expirations.insert(left);
    }
    assert!(expirations.len() > 5, "jitter spreads them: {expirations:?}");
    assert_eq!(published.expires_at, expirations.first().map(|left| NOW + left));
    assert_eq!(published.refresh_at, published.expires_at.map(|at| at - policy.refresh));
}

#[test]
fn a_signature_is_kept_while_rrset_key_and_window_stay() {
    let (key, other) = (key(), key());
    let first = signed(TEXT, &key, None, NOW);
    let contents = zone("example.test", TEXT);
    let image = Image { source: None, verified: false, contents, published: first.clone(), marks: None };
    let kept = Image::from_bytes(&image.to_bytes()).unwrap().published;
    assert_eq!(kept.refresh_at, first.refresh_at);
    let kept = Some(&kept);

    let same = signed(TEXT, &key, kept, NOW + 86_400);
    assert_eq!(rrsigs(&first), rrsigs(&same));

    let changed = signed(&TEXT.replace("192.0.2.2", "192.0.2.22"), &key, kept, NOW + 86_400);
    let differs: Vec<_> = rrsigs(&changed).into_iter().filter(|one| !rrsigs(&first).contains(one)).collect();
    assert_eq!(differs.len(), 1, "{differs:?}");
    assert_eq!((differs[0].0.as_str(), differs[0].1), ("mail.example.test.", Rtype::A));

    let rekeyed = signed(TEXT, &other, kept, NOW + 86_400);
    assert!(rrsigs(&rekeyed).iter().all(|one| !rrsigs(&first).contains(one)));

    let due = signed(TEXT, &key, kept, first.refresh_at.unwrap() + 1);
    let renewed = rrsigs(&due).iter().filter(|one| !rrsigs(&first).contains(one)).count();
    assert!(renewed >= 1 && renewed < rrsigs(&first).len(), "{renewed}: only what is due");

    let clock_behind = signed(TEXT, &key, kept, NOW - 7200);
    assert!(rrsigs(&clock_behind).iter().all(|one| !rrsigs(&first).contains(one)), "not valid yet: made anew");
}

#[test]
fn a_damaged_image_is_no_image() {
    let key = key();
    let published = signed(TEXT, &key, None, NOW);
    let image =
        Image { source: Some([7; 32]), verified: true, contents: zone("example.test", TEXT), published, marks: None };
    let bytes = image.to_bytes();
    let again = Image::from_bytes(&bytes).unwrap();
    assert_eq!((again.source, again.verified, &again.contents), (Some([7; 32]), true, &image.contents));
    assert_eq!(again.published.tree, image.published.tree);
    for len in 0..bytes.len() {
        assert!(Image::from_bytes(&bytes[..len]).is_none(), "{len}");
    }
}
