//! PEM as certificate files have it (RFC 7468): text around the blocks, CRLF, keys and certificates mixed.
//!
//! Blocks other than certificates are skipped without being decoded: a private key never gets into a value here.

use super::error::Error;

/// What a PEM text holds.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The DER of each certificate block, in order.
    pub certificates: Vec<Vec<u8>>,
    /// A private key block was skipped.
    pub private_key: bool,
}

/// Whether the octets look like PEM.
pub(super) fn is_pem(octets: &[u8]) -> bool {
    octets.windows(BEGIN.len()).any(|window| window == BEGIN)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const LABELS: [&[u8]; 2] = [b"CERTIFICATE", b"X509 CERTIFICATE"];

/// Reads every certificate block.
pub(super) fn parse(octets: &[u8]) -> Result<Blocks, Error> {
    let mut blocks = Blocks::default();
    let mut lines = octets.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii).enumerate();
    while let Some((begin, line)) = lines.next() {
        // A byte order mark may stand in front of the first line.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(b"-----")) else { continue };
        let wanted = LABELS.contains(&label);
        blocks.private_key |= label.ends_with(b"PRIVATE KEY");
        let mut base64 = Vec::new();
        loop {
            let Some((number, line)) = lines.next() else { return Err(Error::TruncatedPem { line: begin + 1 }) };
            if line.strip_prefix(b"-----END ").and_then(|rest| rest.strip_suffix(b"-----")) == Some(label) {
                if wanted {
                    let der = data_encoding::BASE64.decode(&base64);
                    blocks.certificates.push(der.map_err(|_| Error::BadBase64 { line: number + 1 })?);
                }
                break;
            }
            if line.starts_with(b"-----") {
                return Err(Error::TruncatedPem { line: begin + 1 });
            }
            if wanted {
                if !line.iter().all(|octet| octet.is_ascii_alphanumeric() || b"+/=".contains(octet)) {
                    return Err(Error::BadBase64 { line: number + 1 });
                }
                base64.extend_from_slice(line);
            }
        }
    }
    Ok(blocks)
}
