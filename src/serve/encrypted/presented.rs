//! The certificate that clients are shown: swapped live, and never for one that can't be used.
//!
//! No private key gets into a message or a log line.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tracing::warn;

use crate::serve::Occasionally;

/// Why a certificate is not shown. The one before stays.
#[derive(Debug, thiserror::Error)]
pub enum PresentedError {
    /// The certificate or its key can't be read, or they don't belong together.
    #[error("the certificate can't be presented: {0}")]
    Unusable(#[source] rustls::Error),
}

/// The certificate in force, shared by all listeners. At first there is none, and every handshake fails.
#[derive(Clone, Default)]
pub struct Presented(Arc<ArcSwapOption<CertifiedKey>>);

impl Presented {
    /// Shows this chain, leaf first, from the next handshake on; connections that are there keep theirs. On an error the
    /// one before stays in force.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), PresentedError> {
        let certified = CertifiedKey::from_der(chain, key, &default_provider()).map_err(PresentedError::Unusable)?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }

    /// The chain in force, if there is one.
    pub fn chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.0.load().as_ref().map(|certified| certified.cert.clone())
    }

    /// TLS for one protocol (ALPN, RFC 7301). A client that names none is taken, one that names others only is not.
    pub(super) fn server(&self, protocol: &[u8]) -> Result<rustls::ServerConfig, rustls::Error> {
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        server.alpn_protocols = vec![protocol.to_vec()];
        Ok(server)
    }

    pub(super) fn acceptor(&self, protocol: &[u8]) -> Result<TlsAcceptor, rustls::Error> {
        Ok(TlsAcceptor::from(Arc::new(self.server(protocol)?)))
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.load().is_some() { "Presented(a certificate)" } else { "Presented(none)" })
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certified = self.0.load_full();
        if certified.is_none() {
            static NONE: Occasionally = Occasionally::new();
            NONE.run(|before| warn!("no certificate for TLS yet, a client was turned away ({before} before it)"));
        }
        certified
    }
}
