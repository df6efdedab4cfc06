//! RFC 8945 rule by rule, by values; the MACs are made here a second time, from the sections' words.

use std::sync::Arc;

use proptest::prelude::*;
use ring::hmac;

use super::*;
use crate::dns::Name;
use crate::dns::header::Rcode;

const NOW: u64 = 1_800_000_000;
/// A query for x/A with OPT.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\x01\x01x\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";
const RESPONSE: &[u8] = b"\x12\x34\x84\0\0\x01\0\0\0\0\0\0\x01x\0\0\x01\0\x01";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key_of(algorithm: Algorithm) -> Arc<Key> {
    Arc::new(Key::new(&name("Key.Example."), algorithm, b"a secret").unwrap())
}

fn key() -> Arc<Key> {
    key_of(Algorithm::HmacSha256)
}

fn ring(key: &Arc<Key>) -> Keyring {
    Keyring::new([Arc::clone(key)])
}

fn buffer(message: &[u8]) -> Vec<u8> {
    let mut out = message.to_vec();
    out.resize(message.len() + 400, 0xee);
    out
}

fn request(key: &Arc<Key>, message: &[u8], now: u64) -> (Vec<u8>, Responses) {
    let mut out = buffer(message);
    let (length, responses) = sign_request(key, &mut out, message.len(), now).unwrap();
    out.truncate(length);
    (out, responses)
}

fn signed(signer: &mut Signer, message: &[u8], now: u64) -> Vec<u8> {
    let mut out = buffer(message);
    let length = signer.sign(&mut out, message.len(), now).unwrap();
    assert_eq!(length, message.len() + signer.added(), "as many octets as were promised");
    out.truncate(length);
    out
}

fn rejected(rejection: Rejection, now: u64) -> (Rcode, Vec<u8>) {
    let (rcode, added) = (rejection.rcode(), rejection.added());
    let mut out = buffer(RESPONSE);
    let length = rejection.finish(&mut out, RESPONSE.len(), now).unwrap();
    assert_eq!(length, RESPONSE.len() + added);
    out.truncate(length);
    (rcode, out)
}

fn good(message: &[u8], keyring: &Keyring, now: u64) -> Signer {
    match verify(message, keyring, now) {
        Checked::Good(signer) => signer,
        other => panic!("{other:?}"),
    }
}

fn fault(message: &[u8], keyring: &Keyring, now: u64) -> Option<Fault> {
    match verify(message, keyring, now) {
        Checked::Bad(rejection) => Some(rejection.fault()),
        _ => None,
    }
}

/// A TSIG record, octet by octet.
fn record(owner: &[u8], algorithm: &[u8], signed: u64, mac: &[u8], id: [u8; 2], error: u16, other: &[u8]) -> Vec<u8> {
    let length = |octets: &[u8]| (octets.len() as u16).to_be_bytes();
    let rdata = [
        algorithm,
        &signed.to_be_bytes()[2..],
        &300u16.to_be_bytes(),
        &length(mac),
        mac,
        &id,
        &error.to_be_bytes(),
        &length(other),
        other,
    ]
    .concat();
    [owner, &[0, 250, 0, 255, 0, 0, 0, 0], &length(&rdata), &rdata].concat()
}

/// Section 4.3.3: the variables of a first message.
fn variables(algorithm: &[u8], signed: u64, error: u16, other: &[u8]) -> Vec<u8> {
    let time = &signed.to_be_bytes()[2..];
    let other_length = (other.len() as u16).to_be_bytes();
    [b"\x03key\x07example\0\0\xff\0\0\0\0", algorithm, time, &[1, 44], &error.to_be_bytes(), &other_length, other]
        .concat()
}

fn hmac_sha256(parts: &[&[u8]]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"a secret"), &parts.concat()).as_ref().to_vec()
}

fn with_additional(message: &[u8], record: &[u8]) -> Vec<u8> {
    let mut out = [message, record].concat();
    out[11] += 1;
    out
}

const SHA256: &[u8] = b"\x0bhmac-sha256\0";
const OWNER: &[u8] = b"\x03key\x07example\0";

#[test]
fn a_request_has_the_mac_of_section_4_3_2_and_the_response_that_of_5_3() {
    let (request, _) = request(&key(), QUERY, NOW);
    let mac = hmac_sha256(&[QUERY, &variables(SHA256, NOW, 0, &[])]);
    assert_eq!(request, with_additional(QUERY, &record(OWNER, SHA256, NOW, &mac, [0x12, 0x34], 0, &[])));
    let mut signer = good(&request, &ring(&key()), NOW + 5);
    assert_eq!(signer.key().name(), &name("key.example."));
    let first = signed(&mut signer, RESPONSE, NOW + 5);
    let first_mac = hmac_sha256(&[&[0, 32], &mac, RESPONSE, &variables(SHA256, NOW + 5, 0, &[])]);
    assert_eq!(first, with_additional(RESPONSE, &record(OWNER, SHA256, NOW + 5, &first_mac, [0x12, 0x34], 0, &[])));
    // Section 5.3.1: the prior MAC, the message, the timers.
    let second = signed(&mut signer, RESPONSE, NOW + 6);
    let timers = [&(NOW + 6).to_be_bytes()[2..], &[1, 44]].concat();
    let mac = hmac_sha256(&[&[0, 32], &first_mac, RESPONSE, &timers]);
    assert_eq!(second, with_additional(RESPONSE, &record(OWNER, SHA256, NOW + 6, &mac, [0x12, 0x34], 0, &[])));
}

#[test]
fn names_are_digested_in_lower_case_and_may_be_compressed() {
    let mac = hmac_sha256(&[QUERY, &variables(SHA256, NOW, 0, &[])]);
    let shouted = record(b"\x03KEY\x07eXample\0", b"\x0bHMAC-sha256\0", NOW, &mac, [0x12, 0x34], 0, &[]);
    good(&with_additional(QUERY, &shouted), &ring(&key()), NOW);
    // The question is key.example, and the owner a pointer to it.
    let query = [&QUERY[..12], OWNER, &[0, 1, 0, 1]].concat();
    let query = [&query[..11], &[0], &query[12..]].concat();
    let mac = hmac_sha256(&[&query, &variables(SHA256, NOW, 0, &[])]);
    let pointing = |pointer: &[u8]| with_additional(&query, &record(pointer, SHA256, NOW, &mac, [0x12, 0x34], 0, &[]));
    good(&pointing(&[0xc0, 12]), &ring(&key()), NOW);
    for pointer in
        [&[0xc0, query.len() as u8][..], &[0xc0, 0xff], &[0xc0, 0], &[0xff, 0xff], &[1, b'x', 0xc0, query.len() as u8]]
    {
        assert_eq!(fault(&pointing(pointer), &ring(&key()), NOW), Some(Fault::Malformed), "{pointer:?}");
    }
}

#[test]
fn the_original_id_counts_whatever_a_forwarder_made_of_the_header() {
    let (mut request, _) = request(&key(), QUERY, NOW);
    request[..2].copy_from_slice(&[0xab, 0xcd]);
    good(&request, &ring(&key()), NOW);
    let original_id = request.len() - 6;
    request[original_id] ^= 1;
    assert_eq!(fault(&request, &ring(&key()), NOW), Some(Fault::BadSig));
}

#[test]
fn a_record_elsewhere_twice_of_another_class_or_with_a_ttl_is_formerr() {
    let keyring = ring(&key());
    let (request, _) = request(&key(), QUERY, NOW);
    let tsig = &request[QUERY.len()..];
    let opt = &QUERY[19..];
    let malformed = |message: &[u8], why: &str| {
        let Checked::Bad(rejection) = verify(message, &keyring, NOW) else { panic!("{why}") };
        assert_eq!(rejection.fault(), Fault::Malformed, "{why}");
        let (rcode, response) = rejected(rejection, NOW);
        assert_eq!((rcode, &response[..]), (Rcode::FormErr, RESPONSE), "{why}: without TSIG");
    };
    malformed(&with_additional(&request, tsig), "two");
    malformed(&with_additional(&with_additional(&QUERY[..19], tsig), opt)[..], "not the last");
    let mut authority = [&QUERY[..19], tsig].concat();
    authority[9..12].copy_from_slice(&[1, 0, 0]);
    malformed(&authority, "in the authority section");
    let edit = |at: usize, octet: u8| {
        let mut message = request.clone();
        message[QUERY.len() + OWNER.len() + at] = octet;
        message
    };
    malformed(&edit(3, 1), "class");
    malformed(&edit(7, 1), "TTL");
    malformed(&edit(9, request[QUERY.len() + OWNER.len() + 9] - 1), "RDLENGTH");
    malformed(&[&request[..], &[0]].concat(), "an octet behind it");
    for length in 12..request.len() {
        assert_eq!(fault(&request[..length], &keyring, NOW), Some(Fault::Malformed), "cut to {length} octets");
    }
    assert!(matches!(verify(QUERY, &keyring, NOW), Checked::Unsigned));
    assert!(is_signed(&request) && is_signed(&authority) && !is_signed(QUERY));
}

#[test]
fn an_unknown_name_or_algorithm_is_badkey_and_the_answer_is_not_signed() {
    let stranger = Arc::new(Key::new(&name("other.example."), Algorithm::HmacSha256, b"a secret").unwrap());
    let other_algorithm = key_of(Algorithm::HmacSha512);
    for key_used in [stranger, other_algorithm] {
        let (request, mut responses) = request(&key_used, QUERY, NOW);
        let Checked::Bad(rejection) = verify(&request, &ring(&key()), NOW) else { panic!("{key_used:?}") };
        assert_eq!((rejection.fault(), rejection.key_name()), (Fault::BadKey, Some(key_used.name())));
        let (rcode, response) = rejected(rejection, NOW);
        assert_eq!(rcode, Rcode::NotAuth);
        let (owner, algorithm) = (key_used.name().as_wire(), key_used.algorithm().as_wire());
        let expected = record(owner, algorithm, NOW, &[], [0x12, 0x34], 17, &[]);
        assert_eq!(response, with_additional(RESPONSE, &expected));
        assert_eq!(responses.verify(&response, NOW), Err(Untrusted::Refused(Fault::BadKey)));
        assert!(!responses.is_proven());
    }
    // MD5 and SHA-1 are never known.
    for algorithm in [&b"\x08hmac-md5\x07sig-alg\x03reg\x03int\0"[..], b"\x09hmac-sha1\0", b"\0"] {
        let message = with_additional(QUERY, &record(OWNER, algorithm, NOW, &[0; 16], [0x12, 0x34], 0, &[]));
        assert_eq!(fault(&message, &ring(&key()), NOW), Some(Fault::BadKey));
    }
}

#[test]
fn another_secret_is_badsig_and_the_answer_is_not_signed() {
    let wrong = Arc::new(Key::new(&name("key.example."), Algorithm::HmacSha256, b"another secret").unwrap());
    let (request, mut responses) = request(&wrong, QUERY, NOW);
    let Checked::Bad(rejection) = verify(&request, &ring(&key()), NOW) else { panic!() };
    assert_eq!(rejection.fault(), Fault::BadSig);
    let (rcode, response) = rejected(rejection, NOW);
    assert_eq!(rcode, Rcode::NotAuth);
    assert_eq!(response, with_additional(RESPONSE, &record(OWNER, SHA256, NOW, &[], [0x12, 0x34], 16, &[])));
    assert_eq!(responses.verify(&response, NOW), Err(Untrusted::Refused(Fault::BadSig)));
}

#[test]
fn a_message_holds_within_its_fudge_and_badtime_is_signed_at_the_clients_time() {
    for algorithm in Algorithm::ALL {
        let key = key_of(algorithm);
        let (request, mut responses) = request(&key, QUERY, NOW);
        for (now, holds) in [(NOW - 301, false), (NOW - 300, true), (NOW + 300, true), (NOW + 301, false)] {
            let expected = (!holds).then_some(Fault::BadTime);
            assert_eq!(fault(&request, &ring(&key), now), expected, "{} s", now as i64 - NOW as i64);
        }
        let late = NOW + 100_000;
        let Checked::Bad(rejection) = verify(&request, &ring(&key), late) else { panic!() };
        let (rcode, response) = rejected(rejection, late);
        assert_eq!(rcode, Rcode::NotAuth);
        // Section 5.2.3: the client's time, BADTIME, the server's time.
        assert_eq!(response[response.len() - 10..], [&[0, 18, 0, 6], &late.to_be_bytes()[2..]].concat());
        assert_eq!(responses.verify(&response, NOW), Err(Untrusted::Declined(Fault::BadTime, Some(late))));
        let mut forged = response.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(responses.verify(&forged, NOW), Err(Untrusted::BadMac), "the server's time is signed too");
    }
    // The MAC goes before the time: who has not the key learns nothing of the clock.
    let wrong = Arc::new(Key::new(&name("key.example."), Algorithm::HmacSha256, b"another secret").unwrap());
    assert_eq!(fault(&request(&wrong, QUERY, NOW).0, &ring(&key()), NOW + 1000), Some(Fault::BadSig));
}

/// A request whose MAC is cut to so many octets.
fn shortened(octets: usize) -> Vec<u8> {
    let mac = hmac_sha256(&[QUERY, &variables(SHA256, NOW, 0, &[])]);
    let mac: Vec<u8> = mac.into_iter().chain([0; 8]).take(octets).collect();
    with_additional(QUERY, &record(OWNER, SHA256, NOW, &mac, [0x12, 0x34], 0, &[]))
}

#[test]
fn a_shortened_mac_is_formerr_below_half_and_badtrunc_below_what_the_key_takes() {
    for octets in (0..16).chain(33..40) {
        assert_eq!(fault(&shortened(octets), &ring(&key()), NOW), Some(Fault::Malformed), "{octets} octets");
    }
    for octets in 16..32 {
        let Checked::Bad(rejection) = verify(&shortened(octets), &ring(&key()), NOW) else { panic!("{octets}") };
        assert_eq!(rejection.fault(), Fault::BadTrunc, "{octets} octets");
        let (_, response) = rejected(rejection, NOW);
        let mac = &shortened(octets)[QUERY.len() + OWNER.len() + 10 + SHA256.len() + 10..][..octets];
        let mac = hmac_sha256(&[&[0, octets as u8], mac, RESPONSE, &variables(SHA256, NOW, 22, &[])]);
        assert_eq!(
            response,
            with_additional(RESPONSE, &record(OWNER, SHA256, NOW, &mac, [0x12, 0x34], 22, &[])),
            "signed"
        );
    }
    let lenient = Arc::new(Key::clone(&key()).taking(20).unwrap());
    for octets in 16..=32 {
        assert_eq!(
            fault(&shortened(octets), &ring(&lenient), NOW),
            (octets < 20).then_some(Fault::BadTrunc),
            "{octets} octets"
        );
    }
    let mut wrong = shortened(20);
    let last = wrong.len() - 7;
    wrong[last] ^= 1;
    assert_eq!(fault(&wrong, &ring(&lenient), NOW), Some(Fault::BadSig));
    assert!(Key::clone(&key()).taking(15).is_none() && Key::clone(&key()).taking(33).is_none());
    assert_eq!((Algorithm::HmacSha384.mac_least(), Algorithm::HmacSha512.mac_least()), (24, 32));
}

#[test]
fn a_stream_is_proven_with_unsigned_messages_between_and_not_without_its_last_signature() {
    let key = key();
    let (request, fresh) = request(&key, QUERY, NOW);
    let mut signer = good(&request, &ring(&key), NOW);
    let first = signed(&mut signer, RESPONSE, NOW);
    let second = signed(&mut signer, RESPONSE, NOW + 1);
    let third = signed(&mut signer, RESPONSE, NOW + 2);
    let mut responses = fresh.clone();
    for (number, message) in [&first, &second, &third].into_iter().enumerate() {
        assert_eq!(responses.verify(message, NOW + 3), Ok(Standing::Proven), "message {number}");
    }
    assert!(responses.is_proven());
    let mut lost = fresh.clone();
    lost.verify(&first, NOW).unwrap();
    assert_eq!(lost.verify(&third, NOW), Err(Untrusted::BadMac), "one is missing");
    assert_eq!(lost.verify(&second, NOW), Ok(Standing::Proven), "what is not believed has not come");
    assert_eq!(fresh.clone().verify(RESPONSE, NOW), Err(Untrusted::Unsigned), "the first one has to be signed");
    assert_eq!(fresh.clone().verify(&second, NOW), Err(Untrusted::BadMac));

    // Messages without TSIG, vouched for by the one after them (section 5.3.1).
    let plain = |number: u8| [&[0x12, 0x34, 0x84, number], &RESPONSE[4..]].concat();
    let mac = &first[first.len() - 38..][..32];
    let timers = [&(NOW + 9).to_be_bytes()[2..], &[1, 44]].concat();
    let mut digested = vec![0, 32];
    digested.extend_from_slice(mac);
    (0..99).for_each(|number| digested.extend(plain(number)));
    let mac = hmac_sha256(&[&digested, RESPONSE, &timers]);
    let last = with_additional(RESPONSE, &record(OWNER, SHA256, NOW + 9, &mac, [0x12, 0x34], 0, &[]));
    for (changed, dropped) in [(None, None), (Some(50), None), (None, Some(98))] {
        let mut responses = fresh.clone();
        responses.verify(&first, NOW).unwrap();
        for number in (0..99).filter(|number| Some(*number) != dropped) {
            let message = plain(if Some(number) == changed { 100 } else { number });
            assert_eq!(responses.verify(&message, NOW), Ok(Standing::Pending));
            assert!(!responses.is_proven());
        }
        let whole = changed.is_none() && dropped.is_none();
        if whole {
            assert_eq!(responses.clone().verify(&plain(99), NOW), Err(Untrusted::TooManyUnsigned));
        }
        assert_eq!(responses.verify(&last, NOW + 9).is_ok(), whole, "{changed:?} {dropped:?}");
        assert_eq!(responses.is_proven(), whole);
    }
}

#[test]
fn a_client_believes_its_key_its_time_and_nothing_else() {
    let key = key();
    let (request, fresh) = request(&key, QUERY, NOW);
    let keyring = ring(&key);
    let response = signed(&mut good(&request, &keyring, NOW), RESPONSE, NOW);
    let said = |message: &[u8], now: u64| fresh.clone().verify(message, now);
    assert_eq!(said(&response, NOW + 300), Ok(Standing::Proven));
    assert_eq!(said(&response, NOW + 301), Err(Untrusted::Time));
    assert_eq!(said(&[&response[..], &[0]].concat(), NOW), Err(Untrusted::Malformed));
    let stranger = Arc::new(Key::new(&name("other.example."), Algorithm::HmacSha256, b"a secret").unwrap());
    let (asked, _) = self::request(&stranger, QUERY, NOW);
    let other = signed(&mut good(&asked, &ring(&stranger), NOW), RESPONSE, NOW);
    assert_eq!(said(&other, NOW), Err(Untrusted::OtherKey));
    // The response to another request.
    let (asked, _) = self::request(&key, QUERY, NOW + 1);
    let other = signed(&mut good(&asked, &keyring, NOW), RESPONSE, NOW);
    assert_eq!(said(&other, NOW), Err(Untrusted::BadMac));
    // A shortened MAC, where whole ones are taken.
    let mut digested = vec![0, 32];
    digested.extend_from_slice(&request[request.len() - 38..][..32]);
    let mac = hmac_sha256(&[&digested, RESPONSE, &variables(SHA256, NOW, 0, &[])]);
    let short = with_additional(RESPONSE, &record(OWNER, SHA256, NOW, &mac[..16], [0x12, 0x34], 0, &[]));
    assert_eq!(said(&short, NOW), Err(Untrusted::Truncated));
}

#[test]
fn what_has_no_room_is_left_as_it_is() {
    let (key, length) = (key(), QUERY.len());
    let whole = request(&key, QUERY, NOW).0.len();
    for room in length..whole {
        let mut out = [QUERY, &vec![0xee; room - length][..]].concat();
        let before = out.clone();
        assert!(sign_request(&key, &mut out, length, NOW).is_none());
        assert_eq!(out, before);
    }
    let mut full = buffer(QUERY);
    full[10..12].fill(0xff);
    assert!(sign_request(&key, &mut full, length, NOW).is_none(), "65535 records already");
    assert!(sign_request(&key, &mut full, 1000, NOW).is_none());
}

#[test]
fn a_keyring_finds_names_in_any_case_and_no_secret_is_ever_shown() {
    let keys = ["b.example.", "a.example.", "c.", "A.EXAMPLE."]
        .map(|text| Arc::new(Key::new(&name(text), Algorithm::HmacSha384, text.as_bytes()).unwrap()));
    let keyring = Keyring::new(keys.clone());
    assert_eq!(keyring.keys().count(), 3);
    assert!(Arc::ptr_eq(keyring.get(&name("A.example.")).unwrap(), &keys[1]), "the first one counts");
    assert!(keyring.get(&name("d.")).is_none() && Keyring::default().get(&name("c.")).is_none());
    assert_ne!(*keys[1], *keys[3], "another secret");
    let (message, responses) = request(&key(), QUERY, NOW);
    let signer = good(&message, &ring(&key()), NOW);
    for shown in [format!("{keyring:?}"), format!("{signer:?}"), format!("{responses:?}"), format!("{:?}", key())] {
        assert!(!shown.contains("secret") && !shown.contains("97, 32"), "{shown}");
    }
    assert!(Key::new(&name("a."), Algorithm::HmacSha256, b"").is_none());
}

proptest! {
    #[test]
    fn what_is_signed_is_good_and_with_any_bit_changed_it_is_not(
        algorithm in 0usize..3, at in any::<prop::sample::Index>(), bit in 0u8..8, secret in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let key = Arc::new(Key::new(&name("key.example."), Algorithm::ALL[algorithm], &secret).unwrap());
        let keyring = ring(&key);
        let (message, mut responses) = request(&key, QUERY, NOW);
        let mut signer = good(&message, &keyring, NOW);
        let response = signed(&mut signer, RESPONSE, NOW);
        let flip = |message: &[u8]| {
            let mut changed = message.to_vec();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            // The ID may be changed on the way, and names be written in any case.
            let is_letter = message[at].is_ascii_alphabetic() && bit == 5;
            (at >= 2 && !is_letter).then_some(changed)
        };
        if let Some(changed) = flip(&message) {
            let still_good = matches!(verify(&changed, &keyring, NOW), Checked::Good(_));
            prop_assert!(!still_good);
        }
        if let Some(changed) = flip(&response) {
            prop_assert!(responses.verify(&changed, NOW) != Ok(Standing::Proven));
        }
        prop_assert_eq!(responses.verify(&response, NOW), Ok(Standing::Proven));
    }

    #[test]
    fn any_octets_are_checked_and_none_are_believed(octets in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..120) {
        let (request, mut responses) = request(&key(), QUERY, NOW);
        let kept = &request[..cut.min(request.len() - 1)];
        for message in [&octets[..], &[kept, &octets].concat()] {
            let believed = matches!(verify(message, &ring(&key()), NOW), Checked::Good(_));
            prop_assert!(!believed);
            prop_assert!(responses.verify(message, NOW).is_err());
        }
    }
}
