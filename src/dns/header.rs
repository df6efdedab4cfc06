//! The message header's opcodes, response codes and flags (RFC 1035 section 4.1.1, RFC 6895), and EDNS's numbers.

/// Response codes, as they stand in the header's low four bits; the upper bits of BADVERS and BADCOOKIE stand in the OPT record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Rcode {
    /// No error.
    NoError = 0,
    /// The query can't be read.
    FormErr = 1,
    /// The server failed.
    ServFail = 2,
    /// The name does not exist.
    NxDomain = 3,
    /// The opcode is not served.
    NotImp = 4,
    /// Not ours to answer.
    Refused = 5,
    /// A name that should not exist does (RFC 2136 section 2.2); or a DNAME expands to more than 255 octets (RFC 6672 section 2.2).
    YxDomain = 6,
    /// An RRset that should not exist does (RFC 2136 section 2.2).
    YxRrset = 7,
    /// An RRset that should exist does not, or is another (RFC 2136 section 2.2).
    NxRrset = 8,
    /// Not authoritative for the zone.
    NotAuth = 9,
    /// A name that is not in the zone of an update (RFC 2136 section 2.2).
    NotZone = 10,
    /// An EDNS version above 0 (RFC 6891 section 6.1.3).
    BadVers = 16,
    /// A server's cookie that is missing or not ours (RFC 7873 section 8).
    BadCookie = 23,
}

/// Why, in a number (RFC 8914 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ExtendedError {
    /// The data are not the newest: the zone's present version can't be had.
    StaleAnswer = 3,
    /// The zone's signatures have expired.
    SignatureExpired = 7,
    /// Not for this client, or not for any.
    Prohibited = 18,
    /// No zone of ours.
    NotAuthoritative = 20,
    /// An operation that is not offered.
    NotSupported = 21,
    /// A zone of ours without data to answer from.
    InvalidData = 24,
}

/// The last offset that a compressed name's pointer reaches (RFC 1035 section 4.1.4).
pub const POINTER_MAX: usize = 0x3fff;
/// The header's length in octets.
pub const HEADER: usize = 12;
/// QR in the third octet.
pub const QR: u8 = 0x80;
/// AA in the third octet.
pub const AA: u8 = 0x04;
/// TC in the third octet.
pub const TC: u8 = 0x02;
/// RD in the third octet.
pub const RD: u8 = 0x01;
/// CD in the fourth octet.
pub const CD: u8 = 0x10;
/// Authentic data: the fourth octet's third bit (RFC 4035 section 3.2.3).
pub const AD: u8 = 0x20;
/// The opcode's bits in the third octet.
pub const OPCODE: u8 = 0x78;
/// The opcode NOTIFY (RFC 1996), where it stands in the third octet.
pub const NOTIFY: u8 = 4 << 3;
/// The opcode UPDATE (RFC 2136), where it stands in the third octet.
pub const UPDATE: u8 = 5 << 3;
/// DO in the upper octet of OPT's flags.
pub const DO: u8 = 0x80;

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class CH.
pub const CLASS_CH: u16 = 3;
/// Class ANY, in questions only.
pub const CLASS_ANY: u16 = 255;
