//! What can be wrong with a certificate, with TLSA parameters or with a service, and what to do about it.

use crate::dns::Name;

use super::tlsa::{Parameters, Usage};

/// Why there is no chain or no record. None of these takes a published record away: the last good chain stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file has neither a PEM block of a certificate nor DER. Look whether the right file is named.
    #[error("no certificate in it{}", if *.private_key { ": it holds a private key only; name the certificate's file" } else { "; expected PEM (`-----BEGIN CERTIFICATE-----`) or DER" })]
    NoCertificate {
        /// A private key block was seen (and skipped).
        private_key: bool,
    },
    /// A block without its END line. Probably a write under way: read again when it is finished.
    #[error(
        "truncated PEM: the block that begins in line {line} has no END line; if it is being written, wait, otherwise copy the file again"
    )]
    TruncatedPem {
        /// The line of its BEGIN, from 1.
        line: usize,
    },
    /// A character that is not base64, or a wrong length. Copy the file again.
    #[error("bad base64 in line {line}: the file is damaged; copy it again")]
    BadBase64 {
        /// The line, from 1; of a wrong length the END line.
        line: usize,
    },
    /// The octets are not an X.509 certificate.
    #[error("certificate {number} of the file is not X.509: {what}")]
    NotX509 {
        /// Its place in the file, from 1.
        number: usize,
        /// What the parser says.
        what: String,
    },
    /// Octets follow the certificate in a DER file. Write one certificate alone, or PEM.
    #[error(
        "{octets} octets follow the certificate in the DER; a DER file holds one certificate and nothing else, use PEM for a chain"
    )]
    TrailingDer {
        /// How many.
        octets: usize,
    },
    /// Every certificate in the file is a CA's. Name the file with the leaf (fullchain), not the one with the chain alone.
    #[error(
        "only CA certificates in it ({subject}): name the file that begins with the server's own certificate; a self-signed one needs the host as a dNSName in its subjectAltName"
    )]
    OnlyAuthorities {
        /// The subject of the first one.
        subject: String,
    },
    /// Several certificates that issued none of the others. Put each chain into a file of its own.
    #[error("{count} leaf certificates in one file ({first}, {second}): put each chain into a file of its own")]
    SeveralLeaves {
        /// How many.
        count: usize,
        /// The subject of the first.
        first: String,
        /// The subject of the second.
        second: String,
    },
    /// Usage 2 or 0 needs the issuer's certificate in the chain that the server presents (RFC 7671 section 5.2.1).
    #[error("{parameters}: the issuer's certificate ({issuer}) is not in the file; usage {} needs it in the chain that the mail server presents: name the full chain", parameters.usage as u8)]
    NoIssuer {
        /// The parameters that need it.
        parameters: Parameters,
        /// Whom the leaf names as its issuer.
        issuer: String,
    },
    /// Usages 0 and 1 on port 25 (RFC 7672 section 3.1.3). Configure `3 1 1`.
    #[error("usage {} is not for SMTP (RFC 7672 section 3.1.3): mail servers ignore it or refuse the mail; configure `3 1 1`", *.0 as u8)]
    UsageForSmtp(Usage),
    /// The text is not three numbers or words.
    #[error("`{0}` is not TLSA parameters: write usage, selector and matching type, like `3 1 1`")]
    BadParameters(String),
    /// The text is not tcp, udp or sctp.
    #[error("`{0}` is not a protocol: write tcp, udp or sctp")]
    BadProtocol(String),
    /// `_port._proto.` in front of the host makes more than 255 octets. The host can't have a TLSA.
    #[error("{0} is too long a name to have a TLSA in front of it")]
    LongOwner(Name),
    /// A stored state of a version that this danelaw does not know. Run the newer danelaw, or restore the older store.
    #[error("stored state has version {0}, which this danelaw does not know: run the version that wrote it")]
    StateVersion(u32),
}
