//! Where a certificate of ours lies, as any other client's would: key and chain, and the key of the next one.
//!
//! ```text
//! <state>/certificates/mail.example.org/        fullchain.pem privkey.pem   the certificate
//!                                               privkey.roll.pem            the next one's key
//!                                               privkey.order.pem           the first one's, while it is ordered
//! <state>/certificates/mail.example.org_rsa/    the same with an RSA key
//! ```
//!
//! At every instant a whole pair is on the disk: the chain is written before the key gets its name, and gets its own last. A key that
//! is not its chain's is a renewal half written; whoever comes next finishes it. For one certificate there is one call at a time.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;

use crate::act::install::files::sync_folder;
use crate::dane::Chain;
use crate::dane::certificate::{Certificate, KeyType};
use crate::dane::deployed::host_name;
use crate::dns::Name;

use super::files::{self, FileError};
use super::keys::{self, Key, KeyError};
use crate::acme::{Held, Id};
use crate::crash;

/// The folder of all certificates within the state's.
pub const CERTIFICATES: &str = "certificates";
/// The chain, leaf first.
const CHAIN: &str = "fullchain.pem";
/// The chain that it has replaced.
const BEFORE: &str = "fullchain.before.pem";
/// Its key.
const KEY: &str = "privkey.pem";
/// The key of the next certificate.
const NEXT_KEY: &str = "privkey.roll.pem";
/// The key of the first certificate, while it is ordered.
const ORDER_KEY: &str = "privkey.order.pem";

/// Why it was not done. The last good pair is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The host's name is no file name. Configure another one.
    #[error("`{0}` can't be the name of a folder: a mail host has letters, digits, hyphens and dots")]
    Host(Name),
    /// What the CA sent is no chain. Retry.
    #[error("what the CA sent is no certificate chain: {0}")]
    Chain(#[from] crate::dane::Error),
    /// What the CA sent is not what was ordered. Order anew.
    #[error("the certificate that the CA sent does not cover {0}")]
    Names(String),
    /// The key is gone, or was never this one. Order anew.
    #[error("the certificate that the CA sent is for a key that does not lie in {}", .0.display())]
    OtherKey(PathBuf),
    /// A certificate that is to be revoked. Revoke it by other means.
    #[error("certificate {0} does not lie here any more, so it can't be revoked from here")]
    NotAtHand(String),
    /// A key can't be made or read.
    #[error("{}: {error}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why.
        error: KeyError,
    },
    /// A key can't be written. Retry.
    #[error("{}: can't write the key: {error}", path.display())]
    Write {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

impl FolderError {
    /// Whether no chain of this order will ever do.
    pub fn is_of_order(&self) -> bool {
        matches!(self, FolderError::Names(_) | FolderError::OtherKey(_))
    }
}

/// The folder of one certificate.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    key_type: KeyType,
}

impl Folder {
    /// That of a certificate, below the state's folder.
    pub fn of(state: &Path, id: &Id) -> Result<Folder, FolderError> {
        let host = host_name(&id.host).ok_or_else(|| FolderError::Host(id.host.clone()))?;
        let name = if id.key_type == KeyType::Rsa { format!("{host}_rsa") } else { host };
        Ok(Folder { path: state.join(CERTIFICATES).join(name), key_type: id.key_type })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, where it is not there.
    pub fn make(&self) -> Result<(), FolderError> {
        Ok(self.make_folders()?)
    }

    /// The certificate with this fingerprint in DER: the one that lies here, or the one that it has replaced.
    pub fn certificate(&self, fingerprint: &str) -> Result<Vec<u8>, FolderError> {
        for name in [CHAIN, BEFORE] {
            let Some(Ok(chain)) = files::read_public(&self.path.join(name))?.map(|octets| Chain::parse(&octets)) else {
                continue;
            };
            if chain.leaf().fingerprint() == fingerprint {
                return Ok(chain.leaf().der().to_vec());
            }
        }
        Err(FolderError::NotAtHand(fingerprint.to_owned()))
    }

    /// What lies here, when it is whole.
    pub fn held(&self) -> Result<Option<Held>, FolderError> {
        self.finish()?;
        let Some(chain) = files::read_public(&self.path.join(CHAIN))? else { return Ok(None) };
        let Ok(chain) = Chain::parse(&chain) else { return Ok(None) };
        Ok(self.is_key_of(KEY, chain.leaf())?.then(|| held(chain.leaf())))
    }

    /// The key that the certificate is asked for with: the next one, or a new one where there is none. With reuse, that of the
    /// certificate that is there.
    pub fn key_of_order(&self, reuse: bool) -> Result<Key, FolderError> {
        let candidates: &[&str] = if reuse { &[KEY, NEXT_KEY, ORDER_KEY] } else { &[NEXT_KEY, ORDER_KEY] };
        for name in candidates {
            if let Some(key) = self.key(name)? {
                return Ok(key);
            }
        }
        self.make_key(ORDER_KEY)
    }

    /// Lays a chain down with its key. Broken off at any instruction, it is done by doing it again.
    pub fn store(&self, chain_pem: &str, names: &BTreeSet<Name>) -> Result<Held, FolderError> {
        self.make_folders()?;
        let chain = Chain::parse(chain_pem.as_bytes())?;
        let leaf = chain.leaf();
        let had: BTreeSet<&str> = leaf.dns_names.iter().map(String::as_str).collect();
        let wanted = names.iter().map(|name| name.to_lowercase().to_host());
        let missing: Vec<String> = wanted.filter(|name| !had.contains(name.as_str())).collect();
        if !missing.is_empty() {
            return Err(FolderError::Names(missing.join(", ")));
        }
        let mut of_chain = None;
        for name in [NEXT_KEY, ORDER_KEY, KEY] {
            if of_chain.is_none() && self.is_key_of(name, leaf)? {
                of_chain = Some(name);
            }
        }
        let name = of_chain.ok_or_else(|| FolderError::OtherKey(self.path.clone()))?;
        let [chain_path, key_path] = [CHAIN, KEY].map(|name| self.path.join(name));
        files::check_replaceable(&chain_path)?;
        files::check_replaceable(&key_path)?;
        let new = files::write_beside(&chain_path, chain_pem.as_bytes())?;
        self.set_aside(&chain_path, &chain)?;
        if name != KEY {
            // The chain's name is on the disk before the key that it replaces is gone.
            sync_folder(&self.path).map_err(FileError::from)?;
            files::rename(&self.path.join(name), &key_path)?;
        }
        files::rename(&new, &chain_path)?;
        if name != ORDER_KEY {
            files::remove(&self.path.join(ORDER_KEY))?;
        }
        Ok(held(leaf))
    }

    /// What a chain replaces stays at hand, in case that it is to be revoked.
    fn set_aside(&self, path: &Path, by: &Chain) -> Result<(), FolderError> {
        let Some(octets) = files::read_public(path)? else { return Ok(()) };
        if Chain::parse(&octets).is_ok_and(|chain| chain.leaf() == by.leaf()) {
            return Ok(());
        }
        let aside = self.path.join(BEFORE);
        files::check_replaceable(&aside)?;
        let new = files::write_beside(&aside, &octets)?;
        Ok(files::rename(&new, &aside)?)
    }

    /// Makes the key of the next certificate, unless it is there.
    pub fn make_next_key(&self) -> Result<(), FolderError> {
        match self.key(NEXT_KEY)? {
            Some(_) => Ok(()),
            None => self.make_key(NEXT_KEY).map(drop),
        }
    }

    /// Gives the chain its name where only that was left to do: its key has its own already, so the chain was whole before.
    fn finish(&self) -> Result<(), FolderError> {
        let path = self.path.join(CHAIN);
        let new = files::unfinished(&path);
        let of_key = |octets: Option<Vec<u8>>| match octets.map(|octets| Chain::parse(&octets)) {
            Some(Ok(chain)) => self.is_key_of(KEY, chain.leaf()),
            _ => Ok(false),
        };
        if of_key(files::read_public(&new)?)? && !of_key(files::read_public(&path)?)? {
            files::rename(&new, &path)?;
        }
        Ok(())
    }

    fn is_key_of(&self, name: &str, leaf: &Certificate) -> Result<bool, FolderError> {
        Ok(self.key(name)?.is_some_and(|key| key.is_of(leaf.spki())))
    }

    fn key(&self, name: &str) -> Result<Option<Key>, FolderError> {
        let path = self.path.join(name);
        let Some(pem) = files::read_private(&path)? else { return Ok(None) };
        Key::read(&pem).map(Some).map_err(|error| FolderError::Key { path, error })
    }

    fn make_key(&self, name: &str) -> Result<Key, FolderError> {
        self.make_folders()?;
        let path = self.path.join(name);
        let unusable = |error| FolderError::Key { path: path.clone(), error };
        let pem = keys::make(self.key_type).map_err(unusable)?;
        let key = Key::read(pem.as_bytes()).map_err(unusable)?;
        crash::point("acme: before a key is written");
        crate::act::keys::write(&self.path, name, &pem).map_err(|error| FolderError::Write { path, error })?;
        crash::point("acme: a key is written");
        Ok(key)
    }

    /// Makes the folders, or sees that nobody else may write to them.
    fn make_folders(&self) -> Result<(), FileError> {
        self.path.parent().map_or(Ok(()), files::make_folder)?;
        files::make_folder(&self.path)
    }
}

fn held(leaf: &Certificate) -> Held {
    let names = leaf.dns_names.iter().filter_map(|name| Name::parse(name, Some(&Name::root())).ok());
    let der = CertificateDer::from(leaf.der());
    Held {
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        names: names.collect(),
        fingerprint: leaf.fingerprint(),
        ari_id: CertificateIdentifier::try_from(&der).ok().map(|id| id.to_string()),
    }
}
