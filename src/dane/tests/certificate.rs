//! Chains: every key type hashes as openssl says, order is found, bad files say what is wrong, hosts match by SAN.

use super::{chain, name, pem};
use crate::dane::certificate::KeyType;
use crate::dane::tlsa::zone_line;
use crate::dane::{Chain, Error, Parameters, Service, Tlsa};

fn parameters(text: &str) -> Parameters {
    text.parse().expect(text)
}

#[test]
fn the_hash_of_3_1_1_is_openssls_for_every_key_type() {
    let expected = include_str!("../../../tests/golden/certificates/spki-sha256");
    let rows = [
        ("rsa", pem!("rsa"), KeyType::Rsa),
        ("p256", pem!("p256"), KeyType::Ecdsa),
        ("p384", pem!("p384"), KeyType::Ecdsa),
        ("p521", pem!("p521"), KeyType::Ecdsa),
        ("ed25519", pem!("ed25519"), KeyType::Ed25519),
        ("ed448", pem!("ed448"), KeyType::Ed448),
        ("leaf", pem!("leaf"), KeyType::Rsa),
    ];
    assert_eq!(expected.lines().count(), rows.len());
    for ((file, text, key_type), line) in rows.into_iter().zip(expected.lines()) {
        let chain = chain(text);
        assert_eq!(chain.leaf().key_type, key_type, "{file}");
        assert_eq!(format!("{file} {}", chain.leaf().spki_sha256()), line);
        let tlsa = Tlsa::from_chain(&chain, Parameters::DEFAULT).expect("usage 3 needs the leaf only");
        assert_eq!(tlsa.to_string(), format!("3 1 1 {}", chain.leaf().spki_sha256()));
        assert_eq!(Tlsa::from_rdata(&tlsa.rdata()), Some(tlsa.clone()));
        assert!(tlsa.matches(&chain));
    }
}

#[test]
fn every_parameter_set_selects_what_rfc_6698_says() {
    let full = chain(&[pem!("leaf"), pem!("intermediate"), pem!("root")].concat());
    let data = |text: &str| Tlsa::from_chain(&full, parameters(text)).expect(text).data;
    assert_eq!(data("3 0 0"), full.leaf().der());
    assert_eq!(data("3 1 0"), full.leaf().spki());
    assert_eq!(data("2 0 0"), full.certificates()[1].der());
    assert_eq!(data("1 0 0"), full.leaf().der());
    assert_eq!(data("0 1 0"), full.certificates()[1].spki());
    assert_eq!((data("3 1 1").len(), data("3 1 2").len()), (32, 64));
    // Any CA certificate of the chain may be the anchor, the leaf may not.
    let root = Tlsa { parameters: parameters("2 0 0"), data: full.certificates()[2].der().to_vec() };
    assert!(root.matches(&full));
    assert!(!Tlsa { parameters: parameters("2 0 0"), data: data("3 0 0") }.matches(&full));
}

#[test]
fn of_what_a_server_presents_the_first_is_its_own() {
    let ders = |texts: &[&str]| crate::dane::pem::parse(texts.concat().as_bytes()).unwrap().certificates;
    let [leaf, intermediate, root] = [pem!("leaf"), pem!("intermediate"), pem!("root")];
    let presented = Chain::presented(&ders(&[leaf, root, intermediate])).unwrap();
    assert_eq!(presented.leaf().der(), chain(leaf).leaf().der());
    assert_eq!(presented.certificates().len(), 3, "linked in any order");
    // A CA's own certificate, or one before that it issued: the key that was proven is the first one's.
    for texts in [&[root][..], &[intermediate, leaf]] {
        assert_eq!(Chain::presented(&ders(texts)).unwrap().leaf().der(), ders(texts)[0]);
    }
    assert!(Chain::presented::<Vec<u8>>(&[]).is_err());
}

#[test]
fn usage_2_needs_the_issuer_in_the_file() {
    let missing = Tlsa::from_chain(&chain(pem!("leaf")), parameters("2 1 1"));
    assert!(matches!(&missing, Err(Error::NoIssuer { issuer, .. }) if issuer.contains("Intermediate")), "{missing:?}");
    // The root did not issue the leaf.
    let skipped = chain(&[pem!("leaf"), pem!("root")].concat());
    assert!(Tlsa::from_chain(&skipped, parameters("2 1 1")).is_err());
    assert_eq!(skipped.warnings(0), ["1 certificates in it don't belong to the leaf's chain"]);
}

#[test]
fn a_chain_out_of_order_is_put_into_order_and_said() {
    let ordered = chain(&[pem!("leaf"), pem!("intermediate"), pem!("root")].concat());
    assert_eq!(ordered.warnings(0), [""; 0]);
    for shuffled in [
        [pem!("root"), pem!("intermediate"), pem!("leaf")],
        [pem!("leaf"), pem!("root"), pem!("intermediate")],
        [pem!("intermediate"), pem!("leaf"), pem!("root")],
    ] {
        let chain = chain(&shuffled.concat());
        assert_eq!(chain.certificates(), ordered.certificates());
        assert!(chain.warnings(0)[0].contains("out of order"));
    }
}

#[test]
fn pem_may_have_garbage_crlf_doubles_and_keys_around_it() {
    let key = "-----BEGIN PRIVATE KEY-----\nnot even base64 !!\n-----END PRIVATE KEY-----\n";
    let text = format!("\u{feff}Bag Attributes\n  x: y\n{key}{}subject=x\n{0}", pem!("p256"));
    let plain = chain(pem!("p256"));
    assert_eq!(chain(&text), plain);
    assert_eq!(chain(&text.replace('\n', "\r\n")), plain);
    assert_eq!(chain(text.trim_end()), plain);
    assert_eq!(Chain::parse(plain.leaf().der()), Ok(plain.clone()));
    assert!(!format!("{plain:?}").contains("PRIVATE"));
    // What is stored reads back.
    let stored = serde_json::to_string(&plain).expect("serialises");
    assert_eq!(serde_json::from_str::<Chain>(&stored).expect("reads back"), plain);
}

#[test]
fn bad_files_say_what_is_wrong_and_where() {
    let good = pem!("p256");
    let der = chain(good).leaf().der().to_vec();
    let error = |octets: &[u8]| Chain::parse(octets).expect_err("bad");
    assert_eq!(error(b""), Error::NoCertificate { private_key: false });
    assert_eq!(error(b"hello"), Error::NoCertificate { private_key: false });
    let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
    assert_eq!(error(key.as_bytes()), Error::NoCertificate { private_key: true });
    assert_eq!(error(&good.as_bytes()[..good.len() / 2]), Error::TruncatedPem { line: 1 });
    assert_eq!(
        error(format!("{good}{}", &good[..100]).as_bytes()),
        Error::TruncatedPem { line: good.lines().count() + 1 }
    );
    let mut lines: Vec<&str> = good.lines().collect();
    lines[3] = "MIIB*";
    assert_eq!(error(lines.join("\n").as_bytes()), Error::BadBase64 { line: 4 });
    lines.remove(3);
    assert!(matches!(error(lines.join("\n").as_bytes()), Error::NotX509 { number: 1, .. }));
    let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(error(format!("{good}{text}").as_bytes()), Error::NotX509 { number: 2, .. }));
    assert!(matches!(error(&der[..der.len() - 1]), Error::NotX509 { number: 1, .. }));
    assert_eq!(error(&[&der[..], b"xy"].concat()), Error::TrailingDer { octets: 2 });
    assert!(matches!(error(pem!("root").as_bytes()), Error::OnlyAuthorities { .. }));
    let authorities = [pem!("intermediate"), pem!("root")].concat();
    assert!(matches!(error(authorities.as_bytes()), Error::OnlyAuthorities { .. }));
    let two = [pem!("p256"), pem!("rsa")].concat();
    assert!(matches!(error(two.as_bytes()), Error::SeveralLeaves { count: 2, .. }));
    assert!(error(&good.as_bytes()[..good.len() / 2]).to_string().contains("line 1"));
}

#[test]
fn a_certificate_belongs_to_a_host_by_its_dns_names_alone() {
    assert!(chain(pem!("p256")).covers(&name("MAIL.example.org.")));
    assert!(!chain(pem!("p256")).covers(&name("example.org")));
    let nameless = chain(pem!("cn-only"));
    assert!(!nameless.covers(&name("mail.example.org")));
    assert!(nameless.warnings(0)[0].contains("a common name does not count"));
    // RFC 6125 section 6.4.3: one whole label.
    let wildcard = chain(pem!("wildcard"));
    assert!(wildcard.covers(&name("mail.example.org")));
    assert!(!wildcard.covers(&name("example.org")));
    assert!(!wildcard.covers(&name("a.mail.example.org")));
    assert!(!wildcard.covers(&name("mail.example.net")));
}

#[test]
fn the_line_for_a_zone_file_is_ready_to_be_pasted() {
    let chain = chain(pem!("p256"));
    let (line, warnings) =
        zone_line(&chain, Parameters::DEFAULT, &Service::smtp(name("mail.example.org")), 3600).expect("a line");
    assert_eq!(line, format!("_25._tcp.mail.example.org. 3600 IN TLSA 3 1 1 {}", chain.leaf().spki_sha256()));
    assert!(warnings.is_empty());
    let (_, warnings) =
        zone_line(&chain, Parameters::DEFAULT, &Service::smtp(name("x.example")), 3600).expect("a line");
    assert!(warnings[0].contains("is for mail.example.org, not for x.example"));
}

proptest::proptest! {
    #[test]
    fn no_octets_make_the_parser_panic(octets in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = Chain::parse(&octets);
        let _ = Chain::parse(&[b"\x30\x82", &octets[..]].concat());
        let _ = Chain::parse(&[b"-----BEGIN CERTIFICATE-----\n", &octets[..]].concat());
    }

    #[test]
    fn a_damaged_certificate_is_an_error_or_another_certificate(at in 0usize..400, octet in proptest::num::u8::ANY) {
        let mut der = chain(pem!("p256")).leaf().der().to_vec();
        let at = at % der.len();
        der[at] = octet;
        if let Ok(damaged) = Chain::parse(&der) {
            proptest::prop_assert_eq!(damaged.leaf().der(), &der[..]);
            proptest::prop_assert!(!damaged.leaf().spki().is_empty());
        }
    }
}
