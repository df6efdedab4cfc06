//! The one table of record types: for each type its fields, in the order of its RDATA.
//!
//! Reading and printing presentation form, checking wire form, canonical form and compression all walk this table.
//! A type that is not in it is opaque (RFC 3597).

use std::fmt;

/// A record type by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rtype(pub u16);

/// One field of an RDATA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A domain name; `compress` where a sender may compress it (RFC 3597 section 4: the types of RFC 1035 only),
    /// `lower` where canonical form folds its case (RFC 4034 section 6.2 as RFC 6840 section 5.1 amends it).
    Name {
        /// May be compressed in a message.
        compress: bool,
        /// Is lower case in canonical form.
        lower: bool,
    },
    /// One octet, a decimal number.
    U8,
    /// Two octets, a decimal number.
    U16,
    /// Four octets, a decimal number.
    U32,
    /// Four octets, a time span in seconds; units (`1h30m`) are read, a number is printed.
    Seconds,
    /// Four octets, `YYYYMMDDHHmmSS` (RFC 4034 section 3.2) or a decimal number.
    Time,
    /// Two octets, a record type's mnemonic.
    Type,
    /// One octet, a DNSSEC algorithm number or mnemonic.
    Algorithm,
    /// Two octets, a certificate type of CERT (RFC 4398 section 2.1).
    CertType,
    /// Four octets, an IPv4 address.
    Ipv4,
    /// Sixteen octets, an IPv6 address.
    Ipv6,
    /// A length octet and as many octets: a quoted or bare string.
    String,
    /// One or more strings up to the end.
    Strings,
    /// All that is left, as one quoted string without a length octet (CAA, URI).
    Text,
    /// A length octet and a string of letters and digits that is never quoted (CAA's tag).
    Tag,
    /// All that is left, in hexadecimal; white space may stand in it.
    Hex,
    /// All that is left, in base64; white space may stand in it.
    Base64,
    /// A length octet and as many octets in hexadecimal, `-` for none (NSEC3's salt).
    Salt,
    /// A length octet and as many octets in base32hex without padding (NSEC3's next hashed owner).
    Base32Hex,
    /// The type bit map of NSEC, NSEC3 and CSYNC (RFC 4034 section 4.1.2).
    Bitmap,
    /// Six octets, `00-00-5e-00-53-2a` (RFC 7043).
    Eui48,
    /// Eight octets, likewise.
    Eui64,
    /// The whole RDATA of LOC (RFC 1876).
    Loc,
    /// Address prefixes up to the end (RFC 3123).
    Apl,
    /// Precedence, gateway type, algorithm, gateway and key (RFC 4025).
    Ipseckey,
    /// HIT, algorithm, public key and rendezvous servers (RFC 8005).
    Hip,
    /// SvcParams up to the end (RFC 9460 section 2.1).
    SvcParams,
}

/// A row of the table.
#[derive(Debug)]
pub struct TypeInfo {
    /// Its number.
    pub rtype: Rtype,
    /// Its mnemonic, upper case.
    pub mnemonic: &'static str,
    /// The fields of its RDATA in order.
    pub fields: &'static [Field],
}

const NAME_1035: Field = Field::Name { compress: true, lower: true };
const NAME_LOWER: Field = Field::Name { compress: false, lower: true };
const NAME_PLAIN: Field = Field::Name { compress: false, lower: false };

macro_rules! types {
    ($($mnemonic:ident = $number:literal: [$($field:expr),* $(,)?];)*) => {
        impl Rtype {
            $(#[doc = concat!("Type ", stringify!($number), ".")] pub const $mnemonic: Rtype = Rtype($number);)*
        }
        /// Every type whose RDATA danelaw knows, by number.
        pub static TYPES: &[TypeInfo] = &[
            $(TypeInfo { rtype: Rtype($number), mnemonic: stringify!($mnemonic), fields: &[$($field),*] },)*
        ];
    };
}

types! {
    A = 1: [Field::Ipv4];
    NS = 2: [NAME_1035];
    CNAME = 5: [NAME_1035];
    SOA = 6: [NAME_1035, NAME_1035, Field::U32, Field::Seconds, Field::Seconds, Field::Seconds, Field::Seconds];
    MB = 7: [NAME_1035];
    MG = 8: [NAME_1035];
    MR = 9: [NAME_1035];
    PTR = 12: [NAME_1035];
    HINFO = 13: [Field::String, Field::String];
    MINFO = 14: [NAME_1035, NAME_1035];
    MX = 15: [Field::U16, NAME_1035];
    TXT = 16: [Field::Strings];
    RP = 17: [NAME_LOWER, NAME_LOWER];
    AFSDB = 18: [Field::U16, NAME_LOWER];
    RT = 21: [Field::U16, NAME_LOWER];
    PX = 26: [Field::U16, NAME_LOWER, NAME_LOWER];
    AAAA = 28: [Field::Ipv6];
    LOC = 29: [Field::Loc];
    SRV = 33: [Field::U16, Field::U16, Field::U16, NAME_LOWER];
    NAPTR = 35: [Field::U16, Field::U16, Field::String, Field::String, Field::String, NAME_LOWER];
    KX = 36: [Field::U16, NAME_LOWER];
    CERT = 37: [Field::CertType, Field::U16, Field::Algorithm, Field::Base64];
    DNAME = 39: [NAME_LOWER];
    APL = 42: [Field::Apl];
    DS = 43: [Field::U16, Field::Algorithm, Field::U8, Field::Hex];
    SSHFP = 44: [Field::U8, Field::U8, Field::Hex];
    IPSECKEY = 45: [Field::Ipseckey];
    RRSIG = 46: [
        Field::Type, Field::Algorithm, Field::U8, Field::U32, Field::Time, Field::Time, Field::U16, NAME_LOWER,
        Field::Base64,
    ];
    NSEC = 47: [NAME_PLAIN, Field::Bitmap];
    DNSKEY = 48: [Field::U16, Field::U8, Field::Algorithm, Field::Base64];
    DHCID = 49: [Field::Base64];
    NSEC3 = 50: [Field::U8, Field::U8, Field::U16, Field::Salt, Field::Base32Hex, Field::Bitmap];
    NSEC3PARAM = 51: [Field::U8, Field::U8, Field::U16, Field::Salt];
    TLSA = 52: [Field::U8, Field::U8, Field::U8, Field::Hex];
    SMIMEA = 53: [Field::U8, Field::U8, Field::U8, Field::Hex];
    HIP = 55: [Field::Hip];
    CDS = 59: [Field::U16, Field::Algorithm, Field::U8, Field::Hex];
    CDNSKEY = 60: [Field::U16, Field::U8, Field::Algorithm, Field::Base64];
    OPENPGPKEY = 61: [Field::Base64];
    CSYNC = 62: [Field::U32, Field::U16, Field::Bitmap];
    ZONEMD = 63: [Field::U32, Field::U8, Field::U8, Field::Hex];
    SVCB = 64: [Field::U16, NAME_PLAIN, Field::SvcParams];
    HTTPS = 65: [Field::U16, NAME_PLAIN, Field::SvcParams];
    SPF = 99: [Field::Strings];
    EUI48 = 108: [Field::Eui48];
    EUI64 = 109: [Field::Eui64];
    URI = 256: [Field::U16, Field::U16, Field::Text];
    CAA = 257: [Field::U8, Field::Tag, Field::Text];
}

/// No row of the table.
const NONE: u8 = u8::MAX;

/// The rows of the table by number.
static ROWS: [u8; 258] = {
    let mut rows = [NONE; 258];
    let mut row = 0;
    while row < TYPES.len() {
        rows[TYPES[row].rtype.0 as usize] = row as u8;
        row += 1;
    }
    rows
};

/// The rows of the table by mnemonic: each in its slot or, where that is taken, in the next free one.
static MNEMONICS: [u8; 256] = {
    let mut rows = [NONE; 256];
    let mut row = 0;
    while row < TYPES.len() {
        let mut slot = slot_of(TYPES[row].mnemonic.as_bytes());
        while rows[slot] != NONE {
            slot = (slot + 1) % rows.len();
        }
        rows[slot] = row as u8;
        row += 1;
    }
    rows
};

/// Where the search for a mnemonic begins: case doesn't count.
const fn slot_of(mnemonic: &[u8]) -> usize {
    let word = match (mnemonic.first_chunk(), mnemonic.last_chunk()) {
        (Some(head), Some(tail)) => (u32::from_le_bytes(*head) as u64) << 32 | u32::from_le_bytes(*tail) as u64,
        _ if mnemonic.is_empty() => 0,
        _ => u32::from_le_bytes([mnemonic[0], mnemonic[mnemonic.len() / 2], mnemonic[mnemonic.len() - 1], 0]) as u64,
    };
    let folded = (word | 0x2020_2020_2020_2020) ^ mnemonic.len() as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

impl Rtype {
    /// EDNS's pseudo-record (RFC 6891).
    pub const OPT: Rtype = Rtype(41);
    /// A message's signature (RFC 8945).
    pub const TSIG: Rtype = Rtype(250);
    /// Incremental transfer.
    pub const IXFR: Rtype = Rtype(251);
    /// Full transfer.
    pub const AXFR: Rtype = Rtype(252);
    /// `*`: all types.
    pub const ANY: Rtype = Rtype(255);

    /// The type's row; none for a type that is opaque here.
    pub fn info(self) -> Option<&'static TypeInfo> {
        TYPES.get(usize::from(*ROWS.get(usize::from(self.0))?))
    }

    /// Reads a mnemonic in any case, or `TYPEnnn` (RFC 3597 section 5).
    pub fn parse(text: &str) -> Option<Rtype> {
        Rtype::parse_bytes(text.as_bytes())
    }

    /// [`Rtype::parse`] for text that need not be UTF-8.
    pub fn parse_bytes(text: &[u8]) -> Option<Rtype> {
        let mut slot = slot_of(text);
        while let Some(info) = TYPES.get(usize::from(MNEMONICS[slot])) {
            let mnemonic = info.mnemonic.as_bytes();
            if mnemonic == text || mnemonic.eq_ignore_ascii_case(text) {
                return Some(info.rtype);
            }
            slot = (slot + 1) % MNEMONICS.len();
        }
        let (head, number) = text.split_at_checked(4)?;
        if !head.eq_ignore_ascii_case(b"TYPE") || !number.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(number).ok()?.parse().ok().map(Rtype)
    }

    /// Query and meta types: never in a zone (RFC 6895 section 3.1: 0, OPT, and 128 to 255, TKEY to ANY).
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }
}

impl fmt::Display for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.info() {
            Some(info) => f.pad(info.mnemonic),
            None => f.pad(&format!("TYPE{}", self.0)),
        }
    }
}

impl fmt::Debug for Rtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Rtype {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_so_that_it_can_be_searched() {
        assert!(TYPES.windows(2).all(|pair| pair[0].rtype < pair[1].rtype));
    }

    #[test]
    fn mnemonics_and_numbers_read_back() {
        for info in TYPES {
            assert_eq!(Rtype::parse(info.mnemonic), Some(info.rtype));
            assert_eq!(Rtype::parse(&info.mnemonic.to_lowercase()), Some(info.rtype));
        }
        assert_eq!(Rtype::parse("TYPE65280"), Some(Rtype(65280)));
        assert_eq!(Rtype::parse("type1"), Some(Rtype::A));
        assert_eq!(Rtype::parse("TYPE65536"), None);
        assert_eq!(Rtype::parse("TYPE+1"), None);
        assert_eq!(Rtype::parse("TYPE"), None);
        assert_eq!(Rtype(0).info().map(|info| info.mnemonic), None);
        assert_eq!(Rtype(u16::MAX).info().map(|info| info.mnemonic), None);
    }
}
