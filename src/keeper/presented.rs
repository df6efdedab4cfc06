//! The certificate that DoT, DoH and DoQ show: the newest good one, and the last good one while there is no better.

use std::path::PathBuf;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing::info;

use super::Keeper;
use crate::config::TlsCertificate;
use crate::dane::Chain;
use crate::dns::{Name, Timestamp};
use crate::observe::certificates::Found;
use crate::observe::identity;
use crate::serve::encrypted::Presented;

impl Keeper {
    /// What encrypted listeners show; from the first cycle on it holds a certificate, if there is one.
    pub fn presented(&self) -> Presented {
        self.presented.clone()
    }

    /// Reads a private key only when another chain than the one in force is to be shown.
    pub(super) fn look_at_presented(&mut self, now: Timestamp) {
        self.presented_problem = None;
        let Some(wanted) = self.config.encrypted.certificate.clone() else { return };
        let looked = match &wanted {
            TlsCertificate::OfHost(host) => self.present_of_host(host, now),
            TlsCertificate::Files { certificate, key } => identity::chain(certificate)
                .and_then(|chain| match self.is_presented(&chain) {
                    true => Ok(None),
                    false => Ok(Some((identity::key(&chain, certificate, key)?, chain))),
                })
                .map_err(|error| error.to_string())
                .and_then(|new| match new {
                    None => Ok(()),
                    Some((key, chain)) => self.present(certificate.clone(), &chain, key, now),
                }),
        };
        if let Err(why) = looked {
            let meanwhile = match self.presented.chain() {
                Some(_) => "the last good certificate stays in force",
                None => "no client gets through its handshake",
            };
            self.presented_problem = Some(format!("[tls]: {why}; {meanwhile}"));
        }
    }

    fn present_of_host(&mut self, host: &Name, now: Timestamp) -> Result<(), String> {
        // What has a record is what is deployed, and a newer one has to wait for its own.
        if let Some((chain, certificate, key)) = self.deployed_files(host) {
            if self.is_presented(&chain) {
                return Ok(());
            }
            let key = identity::key(&chain, &certificate, &key).map_err(|error| error.to_string())?;
            return self.present(certificate, &chain, key, now);
        }
        // Its file is being written, or broken: an older certificate elsewhere is no successor.
        if let Some(why) = self.presented_from.as_ref().and_then(|path| self.broken(path)) {
            return Err(why);
        }
        let own = self.covering.of(host, &self.scans).into_iter();
        let own = own.filter_map(|(folder, found)| Some((self.config.certificates.get(folder)?, found)));
        let newest = own.max_by_key(|(_, found)| rank(found, now));
        let Some((folder, found)) = newest else {
            return Err(format!("no certificate in the certificate folders names {}", host.to_host()));
        };
        if self.is_presented(&found.chain) {
            return Ok(());
        }
        let key = identity::key_of_found(folder, found).map_err(|error| error.to_string())?;
        let Found { path, chain, .. } = found.clone();
        self.present(path, &chain, key, now)
    }

    /// What is wrong with a file that has no certificate to use any more.
    fn broken(&self, path: &PathBuf) -> Option<String> {
        if self.scans.iter().flat_map(|scan| &scan.certificates).any(|found| found.path == *path) {
            return None;
        }
        let problem = self.scans.iter().flat_map(|scan| &scan.problems).find(|problem| problem.path == *path)?;
        Some(format!("{}: {}", path.display(), problem.message))
    }

    fn is_presented(&self, chain: &Chain) -> bool {
        self.presented.chain().is_some_and(|presented| presented == identity::presented(chain))
    }

    fn present(
        &mut self,
        path: PathBuf,
        chain: &Chain,
        key: PrivateKeyDer<'static>,
        now: Timestamp,
    ) -> Result<(), String> {
        let certificates: Vec<CertificateDer<'static>> = identity::presented(chain);
        self.presented.replace(certificates, key).map_err(|error| error.to_string())?;
        let fingerprint = chain.leaf().fingerprint();
        info!("TLS, HTTPS and QUIC show certificate {} of {}", &fingerprint[..16], path.display());
        self.events(now, vec![("certificate-presented", path.display().to_string(), fingerprint)]);
        self.presented_from = Some(path);
        Ok(())
    }
}

/// What is valid goes before what is not, newer before older; the path decides between equals.
fn rank(found: &Found, now: Timestamp) -> (bool, Timestamp, &PathBuf) {
    let leaf = found.chain.leaf();
    (leaf.not_before <= now && now < leaf.not_after, leaf.not_before, &found.path)
}
