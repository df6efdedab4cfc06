//! Packets with a TSIG record: as they come, and signed here by one who has a key.

use std::sync::{Arc, LazyLock};

use danelaw::answer::{Context, MESSAGE_MAX, PROVEN_UDP_MAX, Signature, Transport, UDP_MAX};
use danelaw::dns::tsig::{Algorithm, Checked, Key, Keyring, Standing, is_signed, sign_request, verify};
use danelaw::dns::{Name, Rtype, walk};
use danelaw::serve::authentic::respond;
use danelaw::zone::Snapshot;

use super::exchange::answer;
use super::wire::{Response, decode};

/// NSID, a cookie, the server's time, and a whole MAC in the place of a short one: what a response may have and its query not.
const MORE: usize = 132 + 28 + 6 + 32;

static KEYS: LazyLock<[Arc<Key>; 3]> = LazyLock::new(|| {
    let long = format!("{0}.{0}.{0}.{1}.", "k".repeat(63), "k".repeat(61));
    let key = |name: &str, algorithm| {
        let key = Key::new(&Name::parse(name, None).unwrap(), algorithm, b"fuzz").unwrap();
        Arc::new(key.taking(algorithm.mac_least() + 4).unwrap())
    };
    [
        key("k.example.", Algorithm::HmacSha256),
        key("corners.example.", Algorithm::HmacSha384),
        key(&long, Algorithm::HmacSha512),
    ]
});
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::new(KEYS.iter().cloned()));

/// Answers a packet as a server with keys does. `unsigned` is its answer without.
pub fn check(snapshot: &Snapshot, context: &Context<'_>, query: &[u8], unsigned: Option<&Response>) {
    let Some((response, signature)) = ask(snapshot, context, query) else {
        return assert!(unsigned.is_none());
    };
    match (verify(query, &KEYRING, context.now), signature) {
        (Checked::Unsigned, Signature::None) => assert_eq!(Some(&decode(&response)), unsigned),
        (Checked::Bad(_), Signature::None) => assert!(!is_signed(query)),
        (Checked::Good(_), Signature::Verified) => assert!(is_signed(&response)),
        (_, Signature::Refused(_)) => says_no_more(&response),
        (checked, signature) => panic!("{checked:?}, {signature:?}"),
    }
}

/// Signs a packet that can be walked, and has the answer checked by who signed it.
pub fn check_client(snapshot: &Snapshot, context: &Context<'_>, query: &[u8], unsigned: &Response) {
    if !matches!(verify(query, &KEYRING, context.now), Checked::Unsigned) {
        return;
    }
    for key in KEYS.iter() {
        let mut signed = query.to_vec();
        signed.resize(query.len() + 400, 0);
        let Some((length, mut responses)) = sign_request(key, &mut signed, query.len(), context.now) else { continue };
        signed.truncate(length);
        let (response, signature) = ask(snapshot, context, &signed).unwrap();
        assert_eq!(signature, Signature::Verified);
        let mut fresh = responses.clone();
        assert_eq!(responses.verify(&response, context.now), Ok(Standing::Proven));
        let decoded = decode(&response);
        if !decoded.tc && !unsigned.tc {
            let parts = |response: &Response| (response.rcode, response.answer.clone(), response.authority.clone());
            assert_eq!(parts(&decoded), parts(unsigned));
        }
        let mut forged = response;
        let at = 2 + forged.len() / 2;
        forged[at] ^= 1;
        assert!(fresh.verify(&forged, context.now).is_err());
    }
}

fn ask(snapshot: &Snapshot, context: &Context<'_>, query: &[u8]) -> Option<(Vec<u8>, Signature)> {
    let is_udp = context.transport == Transport::Udp;
    let mut out = vec![0xee; if is_udp { PROVEN_UDP_MAX } else { MESSAGE_MAX }];
    let (length, seen) = respond(snapshot, context, &KEYRING, query, &mut out)?;
    out.truncate(length);
    if is_udp {
        let offered = walk::records(query).any(|record| record.rtype == Rtype::OPT);
        let limit = if offered { PROVEN_UDP_MAX } else { 512 };
        assert!(length <= limit || length <= query.len() + MORE, "{length} octets to {}", query.len());
        let refused = matches!(seen.signature, Signature::Refused(_));
        assert!(!refused || length <= query.len() + MORE, "{length} octets to {}", query.len());
        let proven = seen.signature == Signature::Verified || seen.cookie == danelaw::answer::Cookie::Valid;
        assert!(proven || length <= UDP_MAX.max(query.len() + MORE));
    }
    // Nothing that a signature does changes what is answered without keys.
    assert_eq!(answer(snapshot, context, query).is_some(), query[2] & 0x80 == 0);
    Some((out, seen.signature))
}

fn says_no_more(response: &[u8]) {
    let decoded = decode(response);
    assert!(decoded.answer.is_empty() && decoded.authority.is_empty() && matches!(decoded.rcode, 1 | 9), "{decoded:?}");
}
