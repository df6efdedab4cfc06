//! What mail reads from TXT records: DKIM keys (RFC 6376, RFC 8463), SPF (RFC 7208), DMARC (RFC 7489). Zone lint and
//! the prerequisites of a publication both judge by this. No look-ups, no policy.

/// RSA keys shorter than this are not accepted (RFC 8301 section 3.2: verifiers must not consider them).
const MIN_RSA_BITS: usize = 1024;

/// The text of a TXT RDATA: its strings joined without anything between (RFC 6376 section 3.6.2.2, RFC 7208 section 3.3).
pub fn txt_value(rdata: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(rdata.len());
    let mut rest = rdata;
    while let Some((&len, after)) = rest.split_first() {
        let (string, left) = after.split_at(usize::from(len).min(after.len()));
        out.extend_from_slice(string);
        rest = left;
    }
    out
}

/// A DKIM key record (RFC 6376 section 3.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// The public key; none when it is revoked (`p=` is empty).
    pub key: Option<DkimKey>,
    /// The hash algorithms of `h=`; empty where all are allowed.
    pub hashes: Vec<String>,
    /// The service types of `s=`; empty where all are allowed.
    pub services: Vec<String>,
    /// Whether `t=y` says that the domain only tests DKIM.
    pub testing: bool,
    /// Whether `t=s` says that the signing identity must be of the domain itself.
    pub strict: bool,
}

/// A public key of DKIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DkimKey {
    /// RSA, with the length of its modulus in bits.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Ed25519 (RFC 8463).
    Ed25519,
}

/// Why a text is not a DKIM key that verifiers accept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    /// A tag without `=`, with a bad name, or given twice.
    #[error("`{0}` is not a tag: expected name=value, each name once, with `;` between")]
    BadTag(String),
    /// `v=` is not `DKIM1`, or does not stand first.
    #[error("v= must stand first and be DKIM1")]
    BadVersion,
    /// There is no `p=`.
    #[error("the public key is missing: p=")]
    NoKey,
    /// `k=` names an unknown algorithm.
    #[error("k={0} is not known: rsa and ed25519 are")]
    UnknownAlgorithm(String),
    /// `p=` is not base64.
    #[error("p= is not base64: is a part of the key missing?")]
    BadBase64,
    /// The DER within `p=` is no RSA public key.
    #[error("p= does not hold an RSA public key: is a part of it missing?")]
    BadRsa,
    /// The RSA key is too short.
    #[error("the RSA key has {0} bits: below 1024 it is ignored (RFC 8301), 2048 is usual")]
    WeakRsa(usize),
    /// The Ed25519 key has not 32 octets.
    #[error("an ed25519 key has 32 octets, this one has {0}")]
    BadEd25519(usize),
}

impl Dkim {
    /// Reads a key record's text. Unknown tags are ignored (RFC 6376 section 3.2).
    pub fn parse(text: &[u8]) -> Result<Dkim, DkimError> {
        let tags = tags(text)?;
        let find = |name: &str| tags.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str());
        if find("v").is_some_and(|version| version != "DKIM1" || tags[0].0 != "v") {
            return Err(DkimError::BadVersion);
        }
        let list = |name: &str| -> Vec<String> {
            let items = find(name).unwrap_or_default().split(':').map(|item| item.trim().to_owned());
            items.filter(|item| !item.is_empty() && item != "*").collect()
        };
        let algorithm = find("k").unwrap_or("rsa");
        let octets: String =
            find("p").ok_or(DkimError::NoKey)?.chars().filter(|octet| !octet.is_whitespace()).collect();
        let key = match algorithm {
            "rsa" | "ed25519" if octets.is_empty() => None,
            "rsa" => Some(rsa(&decode(&octets)?)?),
            "ed25519" => Some(ed25519(&decode(&octets)?)?),
            other => return Err(DkimError::UnknownAlgorithm(super::text::show(other.as_bytes()))),
        };
        let flags = list("t");
        let flag = |name: &str| flags.iter().any(|flag| flag == name);
        Ok(Dkim { key, hashes: list("h"), services: list("s"), testing: flag("y"), strict: flag("s") })
    }

    /// Whether the key is withdrawn (RFC 6376 section 3.6.1: an empty `p=`).
    pub fn is_revoked(&self) -> bool {
        self.key.is_none()
    }
}

/// The tag list of RFC 6376 section 3.2, white space around names and values taken off.
fn tags(text: &[u8]) -> Result<Vec<(String, String)>, DkimError> {
    let text = String::from_utf8_lossy(text);
    let mut tags: Vec<(String, String)> = Vec::new();
    let mut items = text.split(';').peekable();
    while let Some(item) = items.next() {
        if item.trim().is_empty() && items.peek().is_none() {
            break;
        }
        let bad = || DkimError::BadTag(super::text::show(item.trim().as_bytes()));
        let (name, value) = item.split_once('=').ok_or_else(bad)?;
        let (name, value) = (name.trim(), value.trim());
        let word = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
        if !word
            || !name.starts_with(|first: char| first.is_ascii_alphabetic())
            || tags.iter().any(|(tag, _)| tag == name)
        {
            return Err(bad());
        }
        tags.push((name.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

fn decode(text: &str) -> Result<Vec<u8>, DkimError> {
    super::text::decode_base64(text.as_bytes()).ok_or(DkimError::BadBase64)
}

fn ed25519(octets: &[u8]) -> Result<DkimKey, DkimError> {
    if octets.len() == 32 { Ok(DkimKey::Ed25519) } else { Err(DkimError::BadEd25519(octets.len())) }
}

/// An RSAPublicKey (RFC 8017 appendix A.1.1), bare as RFC 6376 has it, or within a SubjectPublicKeyInfo as all write it.
fn rsa(der: &[u8]) -> Result<DkimKey, DkimError> {
    let bits = spki(der).or_else(|| rsa_public_key(der)).ok_or(DkimError::BadRsa)?;
    if bits < MIN_RSA_BITS { Err(DkimError::WeakRsa(bits)) } else { Ok(DkimKey::Rsa { bits }) }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// rsaEncryption, 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

fn spki(der: &[u8]) -> Option<usize> {
    let (body, rest) = element(der, SEQUENCE)?;
    let (algorithm, body) = element(body, SEQUENCE)?;
    let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    let (bits, end) = element(body, BIT_STRING)?;
    let (unused, key) = bits.split_first()?;
    let whole = rest.is_empty() && end.is_empty() && *unused == 0 && identifier == RSA_ENCRYPTION;
    if whole { rsa_public_key(key) } else { None }
}

/// The bits of the modulus.
fn rsa_public_key(der: &[u8]) -> Option<usize> {
    let (body, rest) = element(der, SEQUENCE)?;
    let (modulus, body) = element(body, INTEGER)?;
    let (exponent, end) = element(body, INTEGER)?;
    let positive = |number: &[u8]| number.first().is_some_and(|first| first & 0x80 == 0);
    let zero = |number: &[u8]| number.iter().all(|&octet| octet == 0);
    if !rest.is_empty()
        || !end.is_empty()
        || !positive(modulus)
        || !positive(exponent)
        || zero(modulus)
        || zero(exponent)
    {
        return None;
    }
    let first = modulus.iter().position(|&octet| octet != 0)?;
    Some((modulus.len() - first) * 8 - modulus[first].leading_zeros() as usize)
}

/// The contents of the DER element at the head of `der`, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (octets, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (octets.iter().fold(0, |length, &octet| length << 8 | usize::from(octet)), rest)
        }
        _ => return None,
    };
    (found == tag).then_some(rest.split_at_checked(length)?)
}

/// Whether a TXT's text is an SPF record (RFC 7208 section 4.5).
pub fn is_spf(text: &[u8]) -> bool {
    let head = b"v=spf1";
    text.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head))
        && matches!(text.get(head.len()), None | Some(b' '))
}

/// Whether a TXT's text is a DMARC record (RFC 7489 section 6.3: `v=DMARC1` stands first).
pub fn is_dmarc(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(tag, value)| tag.trim() == "v" && value.trim() == "DMARC1")
}

/// Whether a DMARC record has a policy: `p=` with none, quarantine or reject (RFC 7489 section 6.3).
pub fn has_dmarc_policy(text: &[u8]) -> bool {
    ["none", "quarantine", "reject"].iter().any(|policy| has_tag(text, "p", policy))
}

/// Whether a DMARC record has a tag with a value.
pub fn has_tag(text: &[u8], tag: &str, value: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    let mut tags = text.split(';').filter_map(|tag| tag.split_once('='));
    tags.any(|(name, is)| name.trim() == tag && is.trim().eq_ignore_ascii_case(value))
}

/// Looks an SPF record over by the grammar of RFC 7208 section 4.6.1: the first term that is neither a mechanism nor
/// a modifier comes back. Macros and addresses within the terms are not looked at closely.
pub fn check_spf(text: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(text);
    let mut modifiers: Vec<String> = Vec::new();
    for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
        if let Some((name, value)) = term.split_once('=').filter(|(name, _)| !name.contains([':', '/'])) {
            let name = name.to_ascii_lowercase();
            let word = name.starts_with(|first: char| first.is_ascii_alphabetic());
            // redirect and exp at most once each (RFC 7208 section 6).
            let known = matches!(name.as_str(), "redirect" | "exp");
            if !word || (known && (value.is_empty() || modifiers.contains(&name))) {
                return Err(super::text::show(term.as_bytes()));
            }
            modifiers.push(name);
        } else if !is_mechanism(term) {
            return Err(super::text::show(term.as_bytes()));
        }
    }
    Ok(())
}

fn is_mechanism(term: &str) -> bool {
    let body = term.strip_prefix(['+', '-', '~', '?']).unwrap_or(term);
    let end = body.find([':', '/']).unwrap_or(body.len());
    let (name, rest) = body.split_at(end);
    let argument = rest.strip_prefix(':');
    match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty(),
        "a" | "mx" => rest.is_empty() || rest.starts_with('/') || argument.is_some_and(|argument| !argument.is_empty()),
        "ptr" => rest.is_empty() || argument.is_some_and(|argument| !argument.is_empty()),
        "include" | "exists" => argument.is_some_and(|argument| !argument.is_empty()),
        "ip4" => argument.is_some_and(|argument| is_network::<std::net::Ipv4Addr>(argument, 32)),
        "ip6" => argument.is_some_and(|argument| is_network::<std::net::Ipv6Addr>(argument, 128)),
        _ => false,
    }
}

fn is_network<A: std::str::FromStr>(text: &str, bits: u8) -> bool {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    address.parse::<A>().is_ok() && length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= bits))
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;

    use super::*;

    fn key(bits: usize) -> String {
        // SEQUENCE { INTEGER modulus, INTEGER 65537 }
        let mut modulus = vec![0u8; 1];
        modulus.extend(vec![0xc3; bits / 8]);
        let integer = |octets: &[u8]| {
            [vec![INTEGER, 0x82], (octets.len() as u16).to_be_bytes().to_vec(), octets.to_vec()].concat()
        };
        let body = [integer(&modulus), vec![INTEGER, 3, 1, 0, 1]].concat();
        BASE64.encode(&[vec![SEQUENCE, 0x82], (body.len() as u16).to_be_bytes().to_vec(), body].concat())
    }

    fn parse(text: &str) -> Result<Dkim, DkimError> {
        Dkim::parse(text.as_bytes())
    }

    #[test]
    fn the_keys_of_rfc_8463_appendix_a_read() {
        let ed = parse("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=").map(|dkim| dkim.key);
        assert_eq!(ed, Ok(Some(DkimKey::Ed25519)));
        let rsa = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";
        assert_eq!(parse(rsa).map(|dkim| dkim.key), Ok(Some(DkimKey::Rsa { bits: 1024 })));
    }

    #[test]
    fn tags_say_what_the_key_is_for() {
        let dkim =
            parse(&format!("h=sha256 : sha1;s=email;t=y:s;n=a note; x=ignored; p={};", key(2048))).expect("a key");
        assert_eq!(dkim.key, Some(DkimKey::Rsa { bits: 2048 }));
        assert_eq!(
            (dkim.hashes, dkim.services),
            (vec!["sha256".to_owned(), "sha1".to_owned()], vec!["email".to_owned()])
        );
        assert!(dkim.testing && dkim.strict);
        assert!(parse("v=DKIM1; p=").expect("revoked").is_revoked());
    }

    #[test]
    fn what_verifiers_ignore_is_an_error() {
        let good = key(2048);
        assert_eq!(parse("v=DKIM1; k=rsa"), Err(DkimError::NoKey));
        assert_eq!(parse(&format!("v=DKIM2; p={good}")), Err(DkimError::BadVersion));
        assert_eq!(parse(&format!("p={good}; v=DKIM1")), Err(DkimError::BadVersion));
        assert_eq!(parse(&format!("v=DKIM1; k=dsa; p={good}")), Err(DkimError::UnknownAlgorithm("dsa".to_owned())));
        assert_eq!(parse(&format!("v=DKIM1; p={}", &good[..good.len() - 3])), Err(DkimError::BadBase64));
        assert_eq!(parse(&format!("v=DKIM1; p={}", &good[..good.len() - 4])), Err(DkimError::BadRsa));
        assert_eq!(parse(&format!("v=DKIM1; p={}", key(512))), Err(DkimError::WeakRsa(512)));
        assert_eq!(parse("v=DKIM1; k=ed25519; p=AQID"), Err(DkimError::BadEd25519(3)));
        assert!(matches!(parse("v=DKIM1; p"), Err(DkimError::BadTag(_))));
        assert!(matches!(parse("v=DKIM1; p=; p="), Err(DkimError::BadTag(_))));
    }

    #[test]
    fn spf_and_dmarc_are_known_by_their_head() {
        assert!(is_spf(b"v=spf1") && is_spf(b"V=SPF1 -all"));
        assert!(!is_spf(b"v=spf10 -all") && !is_spf(b"spf2.0/pra"));
        assert!(is_dmarc(b"v=DMARC1; p=none") && is_dmarc(b"v = DMARC1;p=none") && !is_dmarc(b"p=none; v=DMARC1"));
        let spf =
            "v=spf1 +mx a/24 a:b.example//64 ip4:192.0.2.0/24 ip6:2001:db8::/32 include:x.example exists:%{i}.x ~all";
        assert_eq!(check_spf(spf.as_bytes()), Ok(()));
        assert_eq!(check_spf(b"v=spf1 redirect=_spf.example.org"), Ok(()));
        for bad in [
            "v=spf1 ipv4:192.0.2.1",
            "v=spf1 ip4:192.0.2",
            "v=spf1 -al",
            "v=spf1 include:",
            "v=spf1 redirect=a redirect=b",
        ] {
            assert!(check_spf(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_join_without_a_space() {
        assert_eq!(txt_value(b"\x03abc\x00\x02de"), b"abcde");
        assert_eq!(txt_value(b"\x09abc"), b"abc");
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_reading_panic(octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = Dkim::parse(&octets);
            let _ = rsa(&octets);
            let _ = (check_spf(&octets), is_dmarc(&octets), is_spf(&octets), txt_value(&octets));
        }
    }
}
