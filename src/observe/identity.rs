//! Reads a certificate with its private key, for a listener of this process to present. Only here a key is taken along,
//! only when asked for, and it never gets into a message.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{CertificateFolder, CertificateMode};
use crate::dane::{Chain, Error};

use super::certificates::{self, Found};
use super::files::{self, FileError};
use super::keys::{self, KeyMatch};

/// Why there is no certificate with its key. Keep presenting the last good one.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file can't be read.
    #[error("{}: {error} ({})", path.display(), error.help())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: FileError,
    },
    /// There is no certificate in it.
    #[error("{}: {error}", path.display())]
    Chain {
        /// The file.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// Its key is not beside it.
    #[error("{}: no private key belongs to it by its name; name both files in [tls]", .0.display())]
    NoKeyFile(PathBuf),
    /// The folder's keys are never opened.
    #[error(
        "{}: its folder is observed, and no key in it is opened; name `certificate` and `key` in [tls] instead of `host`",
        .0.display()
    )]
    Observed(PathBuf),
    /// What should be the key is none, another's, or of a kind that can't be read.
    #[error("{}: not a private key that belongs to {}", key.display(), certificate.display())]
    NotItsKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
}

/// The chain of a file that the configuration names, wherever its symlinks lead.
pub fn chain(path: &Path) -> Result<Chain, IdentityError> {
    let octets = read_named(path)?;
    Chain::parse(&octets).map_err(|error| IdentityError::Chain { path: path.to_owned(), error })
}

/// The private key of a chain in a file that the configuration names.
pub fn key(chain: &Chain, certificate: &Path, path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    checked(&read_named(path)?, chain, certificate, path)
}

/// The private key of a certificate that was found in a staged folder.
pub fn key_of_found(folder: &CertificateFolder, found: &Found) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let (octets, path) = octets_of_found(folder, found)?;
    checked(&octets, &found.chain, &found.path, path)
}

/// The file that holds it, which was seen to belong to the certificate.
pub fn key_file_of_found(folder: &CertificateFolder, found: &Found) -> Result<Vec<u8>, IdentityError> {
    let (octets, path) = octets_of_found(folder, found)?;
    checked(&octets, &found.chain, &found.path, path)?;
    Ok(octets)
}

fn octets_of_found<'a>(folder: &CertificateFolder, found: &'a Found) -> Result<(Vec<u8>, &'a Path), IdentityError> {
    if folder.mode == CertificateMode::Observed {
        return Err(IdentityError::Observed(found.path.clone()));
    }
    let path = found.key.as_ref().ok_or_else(|| IdentityError::NoKeyFile(found.path.clone()))?;
    let octets =
        certificates::roots(folder).read(path).map_err(|error| IdentityError::File { path: path.clone(), error })?;
    Ok((octets, path))
}

/// A chain as TLS sends it.
pub fn presented(chain: &Chain) -> Vec<CertificateDer<'static>> {
    chain.certificates().iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect()
}

fn read_named(path: &Path) -> Result<Vec<u8>, IdentityError> {
    files::read_named(path).map_err(|error| IdentityError::File { path: path.to_owned(), error })
}

fn checked(
    octets: &[u8],
    chain: &Chain,
    certificate: &Path,
    path: &Path,
) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let not_its_key = || IdentityError::NotItsKey { key: path.to_owned(), certificate: certificate.to_owned() };
    if keys::compare(octets, chain.leaf()) != KeyMatch::Matches {
        return Err(not_its_key());
    }
    PrivateKeyDer::from_pem_slice(octets)
        .or_else(|_| PrivateKeyDer::try_from(octets.to_vec()))
        .map_err(|_| not_its_key())
}
