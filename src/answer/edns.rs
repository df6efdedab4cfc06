//! EDNS options: which of them a query has, and those of its response.

use super::cookie;
use crate::dns::header::ExtendedError;

/// Option codes (IANA's registry of EDNS0 options).
const NSID: u16 = 3;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;
const PADDING: u16 = 12;
const EXTENDED_ERROR: u16 = 15;
/// Code and length before an option's content.
const HEAD: usize = 4;
/// Responses are padded to a multiple of so many octets (RFC 8467 section 4.1).
const BLOCK: usize = 468;

/// The options of a query that a response depends on. Others are passed over (RFC 6891 section 6.1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// COOKIE: eight octets of the client, and 8 to 32 of a server or none.
    pub cookie: Option<&'a [u8]>,
    /// NSID.
    pub nsid: bool,
    /// edns-tcp-keepalive.
    pub keepalive: bool,
    /// Padding.
    pub padding: bool,
}

impl<'a> Asked<'a> {
    /// Reads an OPT record's RDATA. None where it can't be read: FORMERR.
    pub fn read(mut options: &'a [u8]) -> Option<Asked<'a>> {
        let mut asked = Asked::default();
        while !options.is_empty() {
            let head = options.first_chunk::<HEAD>()?;
            let end = HEAD + usize::from(u16::from_be_bytes([head[2], head[3]]));
            let content = options.get(HEAD..end)?;
            options = &options[end..];
            match u16::from_be_bytes([head[0], head[1]]) {
                // RFC 5001 section 2.1: whatever stands in it is ignored.
                NSID => asked.nsid = true,
                // RFC 7873 section 5.2: of several the first counts; 5.2.2: other lengths are FORMERR.
                COOKIE if asked.cookie.is_none() => match content.len() {
                    cookie::CLIENT | 16..=40 => asked.cookie = Some(content),
                    _ => return None,
                },
                // RFC 7828 section 3.2.1: a client gives no time.
                KEEPALIVE if !content.is_empty() => return None,
                KEEPALIVE => asked.keepalive = true,
                PADDING => asked.padding = true,
                _ => {}
            }
        }
        Some(asked)
    }
}

/// The options of a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// NSID's content; empty for none.
    pub nsid: &'a [u8],
    /// The client's cookie and ours.
    pub cookie: Option<[u8; cookie::COOKIE]>,
    /// edns-tcp-keepalive, in units of 100 ms.
    pub keepalive: Option<u16>,
    /// Extended DNS error (RFC 8914).
    pub error: Option<ExtendedError>,
    /// Whether the message is padded (RFC 7830).
    pub padded: bool,
    /// The octets of what is put behind the message later, which is padded with them.
    pub behind: usize,
}

impl Given<'_> {
    /// An extended error's octets, without text: the codes say enough.
    pub const ERROR: usize = HEAD + 2;

    /// The octets that these options take. Padding counts as the empty one that it is at least.
    pub fn len(&self) -> usize {
        let content = |given: bool, len: usize| if given { HEAD + len } else { 0 };
        content(!self.nsid.is_empty(), self.nsid.len())
            + content(self.cookie.is_some(), cookie::COOKIE)
            + content(self.keepalive.is_some(), 2)
            + content(self.error.is_some(), 2)
            + content(self.padded, 0)
    }

    /// Writes them behind the `before` octets of a message that may have `limit` octets; gives how many it wrote.
    pub fn write(&self, out: &mut [u8], before: usize, limit: usize) -> usize {
        let mut len = 0;
        let mut put = |code: u16, content: &[u8]| {
            out[len..len + 2].copy_from_slice(&code.to_be_bytes());
            out[len + 2..len + HEAD].copy_from_slice(&(content.len() as u16).to_be_bytes());
            out[len + HEAD..len + HEAD + content.len()].copy_from_slice(content);
            len += HEAD + content.len();
        };
        if !self.nsid.is_empty() {
            put(NSID, self.nsid);
        }
        if let Some(cookie) = &self.cookie {
            put(COOKIE, cookie);
        }
        if let Some(timeout) = self.keepalive {
            put(KEEPALIVE, &timeout.to_be_bytes());
        }
        if let Some(error) = self.error {
            put(EXTENDED_ERROR, &(error as u16).to_be_bytes());
        }
        if self.padded {
            let unpadded = before + len + HEAD + self.behind;
            let padding = unpadded.next_multiple_of(BLOCK).min(limit + self.behind) - unpadded;
            out[len..len + 2].copy_from_slice(&PADDING.to_be_bytes());
            out[len + 2..len + HEAD].copy_from_slice(&(padding as u16).to_be_bytes());
            // RFC 7830 section 3: octets of zero.
            out[len + HEAD..len + HEAD + padding].fill(0);
            len += HEAD + padding;
        }
        len
    }
}
