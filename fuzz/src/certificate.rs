//! Any octets as a file in a certificate folder: a chain, a key, or nothing that can be used.

use std::sync::LazyLock;

use danelaw::dane::Chain;
use danelaw::dane::tlsa::Service;
use danelaw::dane::tlsa::{Matching, Parameters, Selector, Tlsa, Usage, zone_line};
use danelaw::dns::dnssec::Signer;
use danelaw::dns::{Name, Rtype, rdata};
use danelaw::keys::{ZoneKey, import};
use danelaw::observe::keys::compare;

use super::signing::{KEY, NOW};

static CERTIFICATE: LazyLock<Chain> =
    LazyLock::new(|| Chain::parse(include_bytes!("../../tests/golden/certificates/p256.pem")).unwrap());

/// Reads it as everything that it may be.
pub fn check(input: &[u8]) {
    compare(input, CERTIFICATE.leaf());
    match Chain::parse(input) {
        Ok(chain) => chained(&chain),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    keyed(&String::from_utf8_lossy(input));
}

fn chained(chain: &Chain) {
    let host: Name = Name::parse("mail.example.org.", None).unwrap();
    chain.warnings(NOW);
    compare(chain.leaf().der(), chain.leaf());
    for certificate in chain.certificates() {
        assert!(!certificate.spki().is_empty() && certificate.fingerprint().len() == 64);
        for name in &certificate.dns_names {
            // What it says for itself, a wildcard aside, is what it covers.
            let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.');
            if name.bytes().all(is_plain)
                && let Ok(host) = Name::parse(name, Some(&Name::root()))
            {
                assert!(certificate.covers(&host), "{name}");
            }
        }
    }
    let stored = serde_json::to_string(chain).unwrap();
    let again: Chain = serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{error}: {chain:?}"));
    assert!(again == *chain && serde_json::to_string(&again).unwrap() == stored);
    for usage in [Usage::PkixTa, Usage::PkixEe, Usage::DaneTa, Usage::DaneEe] {
        for selector in [Selector::Cert, Selector::Spki] {
            for matching in [Matching::Full, Matching::Sha256, Matching::Sha512] {
                let parameters = Parameters { usage, selector, matching };
                let _ = zone_line(chain, parameters, &Service::smtp(host.clone()), 3600);
                let Ok(tlsa) = Tlsa::from_chain(chain, parameters) else { continue };
                assert!(tlsa.matches(chain), "{parameters}");
                assert!(rdata::is_well_formed(Rtype::TLSA, &tlsa.rdata()) || tlsa.rdata().len() > 65_535);
                assert_eq!(Tlsa::from_rdata(&tlsa.rdata()), Some(tlsa));
            }
        }
    }
}

/// Whatever form a key is imported from, it is kept in one that reads back.
fn keyed(text: &str) {
    let _ = ZoneKey::from_pem(text);
    for dnskey in [None, Some(KEY.dnskey())] {
        for imported in [import::from_private(text, dnskey), import::from_pem(text, dnskey)].into_iter().flatten() {
            let again = ZoneKey::from_pem(&imported.pem.0).unwrap();
            assert_eq!(again.dnskey(), imported.key.dnskey());
            assert!(again.sign(b"data").is_ok());
            assert!(dnskey.is_none_or(|dnskey| dnskey[3..] == again.dnskey()[3..]));
        }
    }
}
