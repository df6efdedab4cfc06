//! The client's side of a handshake: any certificate is taken whose key is proven, of the key type that is asked for.

use std::io::Error;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use super::{NotPresented, Stage};
use crate::dane::certificate::KeyType;

/// TLS as mail servers speak it (RFC 7672 section 8.2 asks for 1.2 at least), always with a full handshake.
pub(super) fn client(key_type: Option<KeyType>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut schemes = algorithms.supported_schemes();
    schemes.retain(|scheme| key_type.is_none_or(|key_type| signs(*scheme, key_type)));
    let verifier = Arc::new(AnyCertificate { algorithms, schemes });
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// Why a handshake failed.
pub(super) fn failed(error: &Error) -> NotPresented {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => NotPresented::Alert(format!("{alert:?}")),
        Some(other) => NotPresented::Handshake(other.to_string()),
        None => NotPresented::Broken(Stage::Handshake, error.kind()),
    }
}

/// Whether a signature of this scheme is made with a key of that type: what is offered decides which certificate is presented
/// (RFC 8446 section 4.2.3, RFC 5246 section 7.4.1.4.1).
fn signs(scheme: SignatureScheme, key_type: KeyType) -> bool {
    use SignatureScheme as Of;
    match scheme {
        Of::RSA_PKCS1_SHA256 | Of::RSA_PKCS1_SHA384 | Of::RSA_PKCS1_SHA512 => key_type == KeyType::Rsa,
        Of::RSA_PSS_SHA256 | Of::RSA_PSS_SHA384 | Of::RSA_PSS_SHA512 => key_type == KeyType::Rsa,
        Of::ECDSA_NISTP256_SHA256 | Of::ECDSA_NISTP384_SHA384 | Of::ECDSA_NISTP521_SHA512 => key_type == KeyType::Ecdsa,
        Of::ED25519 => key_type == KeyType::Ed25519,
        _ => false,
    }
}

/// Takes any certificate whose key is proven by one of these schemes.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
