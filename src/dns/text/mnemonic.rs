//! Mnemonics that stand for numbers in RDATA: DNSSEC algorithms and CERT's certificate types.

/// The DNSSEC algorithms by mnemonic (RFC 4034 appendix A.1 and IANA's registry).
const ALGORITHMS: &[(u8, &str)] = &[
    (1, "RSAMD5"),
    (2, "DH"),
    (3, "DSA"),
    (5, "RSASHA1"),
    (6, "NSEC3DSA"),
    (6, "DSA-NSEC3-SHA1"),
    (7, "NSEC3RSASHA1"),
    (7, "RSASHA1-NSEC3-SHA1"),
    (8, "RSASHA256"),
    (10, "RSASHA512"),
    (12, "ECCGOST"),
    (12, "ECC-GOST"),
    (13, "ECDSAP256SHA256"),
    (13, "ECDSA256"),
    (14, "ECDSAP384SHA384"),
    (14, "ECDSA384"),
    (15, "ED25519"),
    (16, "ED448"),
    (252, "INDIRECT"),
    (253, "PRIVATEDNS"),
    (254, "PRIVATEOID"),
];

/// The certificate types (RFC 4398 section 2.1).
const CERT_TYPES: &[(u16, &str)] = &[
    (1, "PKIX"),
    (2, "SPKI"),
    (3, "PGP"),
    (4, "IPKIX"),
    (5, "ISPKI"),
    (6, "IPGP"),
    (7, "ACPKIX"),
    (8, "IACPKIX"),
    (253, "URI"),
    (254, "OID"),
];

/// The algorithm of a number or a mnemonic.
pub fn algorithm(text: &str) -> Option<u8> {
    number_or(ALGORITHMS, text)
}

/// The certificate type of a number or a mnemonic.
pub fn cert_type(text: &str) -> Option<u16> {
    number_or(CERT_TYPES, text)
}

/// The certificate type as it is printed: its mnemonic, else the number.
pub fn print_cert_type(number: u16) -> String {
    let known = CERT_TYPES.iter().find(|(other, _)| *other == number);
    known.map_or_else(|| number.to_string(), |(_, text)| (*text).to_owned())
}

/// No mnemonic begins with a digit.
fn number_or<T: Copy + std::str::FromStr>(table: &[(T, &str)], text: &str) -> Option<T> {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return text.parse().ok();
    }
    let known = table.iter().find(|(_, mnemonic)| mnemonic.eq_ignore_ascii_case(text));
    known.map(|(number, _)| *number).or_else(|| text.parse().ok())
}
