//! What a version is made of: private keys with their chains. A key is shown by nothing here, and wiped when it is dropped.

use std::collections::BTreeSet;
use std::fmt;

use rustls::pki_types::PrivateKeyDer;

use crate::dane::Chain;
use crate::dane::certificate::{Certificate, KeyType};
use crate::dane::deployed::{CHAIN, COMBINED, FULL_CHAIN, KEY, LEAF, file_name};

/// Why something can't be installed. Keep what is installed; correct the source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// No pair at all.
    #[error("there is no certificate with its private key")]
    Nothing,
    /// Two pairs would have the same file names.
    #[error("two certificates with {0} keys: take one of them out of the source")]
    TwoOfAType(KeyType),
    /// No private key, or a part of one.
    #[error("no whole private key is in the file of the key: if it is being written, wait, otherwise copy it again")]
    NoKey,
    /// It needs a passphrase, which a mail server that starts unattended can't ask for.
    #[error("the private key is encrypted, and the mail server could not read it: store it without a passphrase")]
    Encrypted,
}

/// A private key as PEM.
struct Key(Vec<u8>);

impl Drop for Key {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(octets: &mut [u8]) {
    octets.fill(0);
    // Whoever may look at them afterwards: the compiler has to write the zeros.
    std::hint::black_box(octets);
}

/// A key, and its chain as PEM.
struct Pair {
    key: Key,
    key_type: KeyType,
    leaf: String,
    above: String,
}

/// Private keys with their chains, in the order in which the mail server is to read them.
pub struct Material(Vec<Pair>);

/// A file of a version.
pub(super) struct File<'a> {
    pub name: String,
    /// What it holds, one behind the other.
    pub parts: Vec<&'a [u8]>,
    /// Whether a private key is in it.
    pub is_secret: bool,
}

impl Material {
    /// Of each key file's octets, PEM or DER, with the chain that belongs to the key: that they belong together was looked at
    /// before. Of a PEM only the block of the key is kept, exactly as it stands there.
    pub fn new(pairs: impl IntoIterator<Item = (Vec<u8>, Chain)>) -> Result<Material, MaterialError> {
        let mut found = Vec::new();
        let mut types = BTreeSet::new();
        for (mut octets, chain) in pairs {
            let key = key_of(&octets);
            wipe(&mut octets);
            let (leaf, above) = (chain.leaf(), chain.certificates().get(1..).unwrap_or_default());
            if !types.insert(leaf.key_type) {
                return Err(MaterialError::TwoOfAType(leaf.key_type));
            }
            let above = above.iter().map(certificate).collect();
            found.push(Pair { key: key?, key_type: leaf.key_type, leaf: certificate(leaf), above });
        }
        if found.is_empty() { Err(MaterialError::Nothing) } else { Ok(Material(found)) }
    }

    /// The files of a version, in order of writing.
    pub(super) fn files(&self) -> Vec<File<'_>> {
        let mut files = Vec::new();
        let mut combined: Vec<&[u8]> = Vec::new();
        for (index, pair) in self.0.iter().enumerate() {
            let further = (index > 0).then_some(pair.key_type);
            let (key, leaf, above) = (pair.key.0.as_slice(), pair.leaf.as_bytes(), pair.above.as_bytes());
            combined.extend([key, leaf, above]);
            for (stem, parts) in
                [(KEY, vec![key]), (LEAF, vec![leaf]), (CHAIN, vec![above]), (FULL_CHAIN, vec![leaf, above])]
            {
                files.push(File { name: file_name(stem, further), parts, is_secret: stem == KEY });
            }
        }
        files.push(File { name: COMBINED.to_owned(), parts: combined, is_secret: true });
        files
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|pair| pair.key_type)).finish()
    }
}

fn certificate(certificate: &Certificate) -> String {
    pem("CERTIFICATE", certificate.der())
}

/// RFC 7468 section 2: 64 characters a line.
fn pem(label: &str, der: &[u8]) -> String {
    const LINE: usize = 48;
    let mut text = String::with_capacity(der.len().div_ceil(LINE) * 65 + 2 * label.len() + 32);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in der.chunks(LINE) {
        data_encoding::BASE64.encode_append(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn key_of(octets: &[u8]) -> Result<Key, MaterialError> {
    if octets.windows(11).any(|window| window == b"-----BEGIN ") {
        return block(octets);
    }
    let key = PrivateKeyDer::try_from(octets).map_err(|_| MaterialError::NoKey)?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Ok(Key(pem(label, key.secret_der()).into_bytes()))
}

/// The first block of a private key, from its BEGIN to the end of its END line. It is the one that was compared with the
/// certificate; a second one would stand between the key and its chain, where Postfix refuses it.
fn block(octets: &[u8]) -> Result<Key, MaterialError> {
    const LABELS: [&[u8]; 3] = [b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"];
    let mut begun: Option<(usize, &[u8])> = None;
    let mut at = 0;
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let start = at + line.len() - line.trim_ascii_start().len();
        let text = line.trim_ascii();
        at += line.len();
        let label = |keyword: &[u8]| text.strip_prefix(keyword)?.strip_suffix(b"-----");
        match begun {
            None => {
                // A byte order mark may stand in front of the first line.
                let mark = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
                let opened =
                    text.get(mark..).and_then(|text| text.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----"));
                if opened == Some(b"ENCRYPTED PRIVATE KEY") {
                    return Err(MaterialError::Encrypted);
                }
                begun = opened.filter(|label| LABELS.contains(label)).map(|label| (start + mark, label));
            }
            Some((from, opened)) if label(b"-----END ") == Some(opened) => {
                let mut key = Key(octets.get(from..at).unwrap_or_default().to_vec());
                if !key.0.ends_with(b"\n") {
                    key.0.push(b'\n');
                }
                return Ok(key);
            }
            // RFC 1421 section 4.6.1.1: how OpenSSL wrote encrypted keys before PKCS#8.
            Some(_) if text.starts_with(b"Proc-Type:") => return Err(MaterialError::Encrypted),
            Some(_) if text.starts_with(b"-----") => return Err(MaterialError::NoKey),
            Some(_) => {}
        }
    }
    Err(MaterialError::NoKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\nBBBB\n-----END PRIVATE KEY-----\n";

    fn text(octets: &str) -> Result<String, MaterialError> {
        key_of(octets.as_bytes()).map(|key| String::from_utf8(key.0.clone()).unwrap())
    }

    #[test]
    fn of_a_key_file_the_block_of_the_key_is_kept_as_it_stands_there() {
        let certificate = "-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n";
        let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        for around in [
            KEY.to_owned(),
            format!("{certificate}{KEY}"),
            format!("{KEY}{certificate}"),
            format!("a comment\n{parameters}{KEY}{KEY}"),
            format!("\u{feff}{KEY}"),
            KEY.trim_end().to_owned(),
        ] {
            assert_eq!(text(&around).unwrap(), KEY, "{around}");
        }
        let crlf = KEY.replace('\n', "\r\n");
        assert_eq!(text(&format!("{certificate}{crlf}")).unwrap(), crlf);
    }

    #[test]
    fn what_is_no_key_that_can_be_used_says_so() {
        let encrypted = KEY.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let old = KEY.replace("PRIVATE KEY", "RSA PRIVATE KEY").replace("AAAA", "Proc-Type: 4,ENCRYPTED");
        assert_eq!(text(&encrypted), Err(MaterialError::Encrypted));
        assert_eq!(text(&old), Err(MaterialError::Encrypted));
        let half = &KEY[..40];
        for wrong in ["", "nothing", half, &format!("{half}\n{KEY}"), &KEY.replace("END PRIVATE", "END RSA PRIVATE")] {
            assert_eq!(text(wrong), Err(MaterialError::NoKey), "{wrong}");
        }
    }

    #[test]
    fn a_key_in_der_becomes_pem_that_openssl_would_write() {
        let made = rcgen::KeyPair::generate().unwrap();
        let key = key_of(made.serialized_der()).unwrap();
        let theirs = made.serialize_pem().replace("\r\n", "\n");
        assert_eq!(String::from_utf8(key.0.clone()).unwrap(), theirs);
    }
}
