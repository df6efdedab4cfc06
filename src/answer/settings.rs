//! What the server says of itself, and the secrets of its cookies: values that are the same for every answer.

use super::cookie::Secrets;

/// The longest NSID, octets: beside it a question, a cookie and the smallest limit still leave room.
pub const NSID_MAX: usize = 128;
/// The longest text of a TXT record's string, octets.
pub const TEXT_MAX: usize = 255;

/// What answers go by besides zones and query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The NSID option's content (RFC 5001), up to [`NSID_MAX`] octets; empty for none.
    pub nsid: Vec<u8>,
    /// What `version.bind` and `version.server` of class CH say, up to [`TEXT_MAX`] octets; REFUSED where empty.
    pub version: Vec<u8>,
    /// What `id.server` and `hostname.bind` of class CH say (RFC 4892), likewise.
    pub identity: Vec<u8>,
    /// Of DNS cookies (RFC 7873); without any the COOKIE option is one that we don't know.
    pub cookies: Secrets,
    /// How long a TCP or TLS connection may be idle, in units of 100 ms (RFC 7828 section 3.1); none: the option is left out.
    pub keepalive: Option<u16>,
}

impl Settings {
    /// Says nothing and has no secret.
    pub const NONE: &'static Settings = &Settings {
        nsid: Vec::new(),
        version: Vec::new(),
        identity: Vec::new(),
        cookies: Secrets::NONE,
        keepalive: None,
    };
}
