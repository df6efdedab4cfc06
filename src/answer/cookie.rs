//! DNS cookies (RFC 7873) as every server makes them (RFC 9018): who has a valid one receives at the address that it asks from.

use std::net::IpAddr;

use super::Cookie;
use crate::dns::Timestamp;

/// A client's cookie and the server's after it, octets.
pub const COOKIE: usize = CLIENT + SERVER;
/// A client's cookie, octets.
pub const CLIENT: usize = 8;
/// A server's cookie, octets (RFC 9018 section 4).
const SERVER: usize = 16;
/// A server's cookie without its hash: version, three reserved octets, time.
const BEFORE_HASH: usize = 8;
/// The version that RFC 9018 describes.
const VERSION: u8 = 1;
/// A cookie is valid for so long, seconds (RFC 9018 section 4.3).
const LIFETIME: i32 = 3600;
/// From this age on another one is given, seconds.
const RENEWAL: i32 = 1800;
/// Clocks of servers that share a secret may differ by so much, seconds.
const FUTURE: i32 = 300;

/// A secret, octets.
pub const SECRET: usize = 16;

/// What cookies are made with, and what they were made with before.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<[u8; SECRET]>);

/// What a client's COOKIE option has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The client's cookie and the server's: what the response says.
    pub reply: [u8; COOKIE],
    /// Whether the query had a server's cookie at all.
    pub had_server: bool,
    /// Whether that one is ours, of this client and not too old.
    pub valid: bool,
}

impl Shown {
    /// In a word.
    pub fn cookie(&self) -> Cookie {
        match (self.had_server, self.valid) {
            (false, _) => Cookie::New,
            (true, true) => Cookie::Valid,
            (true, false) => Cookie::Bad,
        }
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

impl Secrets {
    /// No secret: cookies are not spoken.
    pub const NONE: Secrets = Secrets(Vec::new());

    /// New cookies are made with the first; the others are still accepted (RFC 9018 section 5).
    pub fn new(secrets: impl IntoIterator<Item = [u8; SECRET]>) -> Secrets {
        Secrets(secrets.into_iter().collect())
    }

    /// Looks at the content of a COOKIE option: eight octets of the client, and perhaps a server's cookie after them. None without a
    /// secret.
    pub fn look(&self, option: &[u8], peer: IpAddr, now: Timestamp) -> Option<Shown> {
        let active = self.0.first()?;
        let (client, server) = option.split_first_chunk::<CLIENT>()?;
        // Seconds modulo 2^32, compared as serial numbers (RFC 9018 section 4.3, RFC 1982).
        let now = now as u32;
        let age = self.age(client, server, peer, now);
        let mut reply = [0; COOKIE];
        reply[..CLIENT].copy_from_slice(client);
        match age {
            // RFC 9018 section 4.3: kept while it is fresh, and made with the secret in force.
            Some((age, true)) if age < RENEWAL => reply[CLIENT..].copy_from_slice(server),
            _ => {
                reply[CLIENT] = VERSION;
                reply[CLIENT + 4..CLIENT + BEFORE_HASH].copy_from_slice(&now.to_be_bytes());
                let hash = hash(active, &reply[..CLIENT + BEFORE_HASH], peer);
                reply[CLIENT + BEFORE_HASH..].copy_from_slice(&hash);
            }
        }
        Some(Shown { reply, had_server: !server.is_empty(), valid: age.is_some() })
    }

    /// The age of a valid cookie in seconds, and whether it is as we would make it now.
    fn age(&self, client: &[u8; CLIENT], server: &[u8], peer: IpAddr, now: u32) -> Option<(i32, bool)> {
        let server: &[u8; SERVER] = server.try_into().ok()?;
        let time = u32::from_be_bytes([server[4], server[5], server[6], server[7]]);
        let age = now.wrapping_sub(time) as i32;
        if server[0] != VERSION || !(-FUTURE..=LIFETIME).contains(&age) {
            return None;
        }
        let mut input = [0; CLIENT + BEFORE_HASH];
        input[..CLIENT].copy_from_slice(client);
        input[CLIENT..].copy_from_slice(&server[..BEFORE_HASH]);
        let matches = |secret: &[u8; SECRET]| equal(&hash(secret, &input, peer), &server[BEFORE_HASH..]);
        let which = self.0.iter().position(matches)?;
        Some((age, which == 0 && server[1..4] == [0; 3]))
    }
}

/// The time that this takes does not tell where they differ.
fn equal(left: &[u8; 8], right: &[u8]) -> bool {
    left.iter().zip(right).fold(0, |differ, (left, right)| differ | (left ^ right)) == 0
}

/// RFC 9018 section 4.4: over client cookie, version, reserved, time and the client's address.
fn hash(secret: &[u8; SECRET], before: &[u8], peer: IpAddr) -> [u8; 8] {
    let mut input = [0; CLIENT + BEFORE_HASH + 16];
    input[..before.len()].copy_from_slice(before);
    let len = match peer {
        IpAddr::V4(address) => {
            input[before.len()..before.len() + 4].copy_from_slice(&address.octets());
            before.len() + 4
        }
        IpAddr::V6(address) => {
            input[before.len()..].copy_from_slice(&address.octets());
            before.len() + 16
        }
    };
    siphash(secret, &input[..len]).to_le_bytes()
}

/// SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash that is fast on short input.
pub fn siphash(key: &[u8; SECRET], input: &[u8]) -> u64 {
    let word = |octets: &[u8]| {
        let mut word = [0; 8];
        word[..octets.len()].copy_from_slice(octets);
        u64::from_le_bytes(word)
    };
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut absorb = |word: u64| {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    };
    let words = input.chunks_exact(8);
    let rest = words.remainder();
    words.for_each(|octets| absorb(word(octets)));
    absorb(word(rest) | (input.len() as u64) << 56);
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn secret(hex: &str) -> [u8; SECRET] {
        HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
    }

    /// RFC 9018 appendix A: secrets, the client, the time, the option of the query and that of the response.
    const VECTORS: &[(&[&str], &str, Timestamp, &str, &str)] = &[
        (
            &["e5e973e5a6b2a43f48e7dc849e37bfcf"],
            "198.51.100.100",
            1_559_731_985,
            "2464c4abcf10c957",
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
        ),
        (
            &["e5e973e5a6b2a43f48e7dc849e37bfcf"],
            "198.51.100.100",
            1_559_734_385,
            "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
            "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
        ),
        (
            &["445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715"],
            "2001:db8:220:1:59de:d0f4:8769:82b8",
            1_559_741_961,
            "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
            "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
        ),
    ];

    #[test]
    fn cookies_are_those_of_rfc_9018_appendix_a() {
        for (secrets, peer, now, query, response) in VECTORS {
            let secrets = Secrets::new(secrets.iter().map(|hex| secret(hex)));
            let query = HEXLOWER.decode(query.as_bytes()).unwrap();
            let shown = secrets.look(&query, peer.parse().unwrap(), *now).unwrap();
            assert_eq!(HEXLOWER.encode(&shown.reply), *response);
            assert_eq!((shown.had_server, shown.valid), (query.len() > 8, query.len() > 8));
        }
    }

    /// Appendix A.3's query has reserved octets, and at the time of its response it is 6715 s old: so it is looked at when it is fresh.
    #[test]
    fn reserved_octets_are_hashed_and_come_back_as_zero() {
        let secrets = Secrets::new([secret("e5e973e5a6b2a43f48e7dc849e37bfcf")]);
        let peer = "203.0.113.203".parse().unwrap();
        let query = HEXLOWER.decode(b"fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5").unwrap();
        let fresh = secrets.look(&query, peer, 1_559_727_985).unwrap();
        assert!(fresh.valid);
        assert_eq!(fresh.reply[9..12], [0; 3]);
        let late = secrets.look(&query, peer, 1_559_734_700).unwrap();
        assert!(!late.valid);
        assert_eq!(HEXLOWER.encode(&late.reply), "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e");
    }

    #[test]
    fn a_cookie_is_valid_for_its_client_its_time_and_its_secret() {
        let secrets = Secrets::new([[7; SECRET]]);
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let now = 1_800_000_000;
        let given = secrets.look(&[9; 8], peer, now).unwrap().reply;
        let valid = |cookie: &[u8], peer: IpAddr, now| secrets.look(cookie, peer, now).unwrap().valid;
        assert!(!valid(&[9; 8], peer, now), "a client's cookie alone proves nothing");
        for (age, holds) in [(0, true), (3600, true), (3601, false), (-300, true), (-301, false)] {
            assert_eq!(valid(&given, peer, now.wrapping_add_signed(age)), holds, "{age} s old");
        }
        assert!(!valid(&given, "192.0.2.2".parse().unwrap(), now));
        for at in 0..COOKIE {
            let mut forged = given;
            forged[at] ^= 1;
            assert!(!valid(&forged, peer, now), "octet {at}");
        }
        assert!(!valid(&given[..23], peer, now) && !valid(&[&given[..], &[0]].concat(), peer, now));
        assert_eq!(secrets.look(&given, peer, now + 1799).unwrap().reply, given, "kept for half an hour");
        assert_ne!(secrets.look(&given, peer, now + 1800).unwrap().reply, given);
        let rolled = Secrets::new([[8; SECRET], [7; SECRET]]).look(&given, peer, now).unwrap();
        assert!(rolled.valid && rolled.reply != given, "the one before still counts, and is replaced");
        assert!(!Secrets::new([[8; SECRET]]).look(&given, peer, now).unwrap().valid);
        assert_eq!(Secrets::NONE.look(&given, peer, now), None);
    }

    #[test]
    fn time_goes_on_where_32_bits_end() {
        let secrets = Secrets::new([[7; SECRET]]);
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let given = secrets.look(&[9; 8], peer, 0xffff_ff00).unwrap().reply;
        assert!(secrets.look(&given, peer, 0x1_0000_0100).unwrap().valid);
    }

    proptest! {
        #[test]
        fn siphash_is_what_the_standard_library_had(key: [u8; SECRET], input in prop::collection::vec(any::<u8>(), 0..80)) {
            use std::hash::Hasher;
            let half = |at: usize| u64::from_le_bytes(key[at..at + 8].try_into().unwrap());
            #[expect(deprecated, reason = "a second SipHash-2-4 to compare with")]
            let mut theirs = std::hash::SipHasher::new_with_keys(half(0), half(8));
            theirs.write(&input);
            prop_assert_eq!(siphash(&key, &input), theirs.finish());
        }
    }
}
