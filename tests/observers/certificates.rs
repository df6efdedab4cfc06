//! Certificates for a test: made by rcgen, their RSA keys by openssl.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::common::succeed;

pub const HOST: &str = "mail.example.org";

/// A chain, leaf first, and the leaf's key.
pub struct Made {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
}

/// A leaf of its own making.
pub fn ec() -> Made {
    of(KeyPair::generate().unwrap())
}

/// The same with an RSA key.
pub fn rsa() -> Made {
    of(KeyPair::from_pem(&succeed("openssl", &["genpkey", "-quiet", "-algorithm", "RSA"])).unwrap())
}

fn of(key: KeyPair) -> Made {
    let leaf = CertificateParams::new([HOST.to_owned()]).unwrap().self_signed(&key).unwrap();
    Made { chain: vec![leaf.into()], key }
}

/// A leaf and its CA's certificate.
pub fn issued() -> Made {
    let mut authority = CertificateParams::new([]).unwrap();
    // What has the name of its issuer would be taken for its own issuer.
    authority.distinguished_name.push(DnType::CommonName, "an authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (key, authority_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let above = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let leaf = CertificateParams::new([HOST.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    Made { chain: vec![leaf.into(), above.into()], key }
}

impl Made {
    /// Key and chain in one file, as Postfix and openssl read it.
    pub fn write(&self, path: &Path) {
        let text = [self.key.serialize_pem(), pem(&self.chain)].concat();
        std::fs::write(path, text).unwrap();
    }

    /// TLS that presents it, of one version.
    pub fn tls(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<ServerConfig> {
        tls_of(Some((self.chain.clone(), &self.key)), version)
    }
}

/// Certificates as files have them.
pub fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let block = |certificate: &CertificateDer<'_>| {
        let text = data_encoding::BASE64_MIME.encode(certificate);
        format!("-----BEGIN CERTIFICATE-----\r\n{text}-----END CERTIFICATE-----\r\n")
    };
    certificates.iter().map(block).collect()
}

/// TLS that presents a chain with whatever key; without one it ends every handshake.
pub fn tls_of(
    identity: Option<(Vec<CertificateDer<'static>>, &KeyPair)>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let certified = identity.map(|(chain, key)| {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::new(chain, any_supported_type(&key).unwrap()))
    });
    let server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(certified)));
    Arc::new(server)
}

/// Presents the same to everybody, and does not look whether the key belongs to it.
#[derive(Debug)]
struct Always(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}
