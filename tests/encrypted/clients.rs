//! Clients of each transport, of rustls, h2 and quinn, that trust one certificate and no other.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Whom the certificate is of.
pub const HOST: &str = "ns1.example.org";

pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn config(trusted: &[CertificateDer<'static>], protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|certificate| roots.add(certificate.clone()).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// A connection over which DNS messages go, after its handshake.
pub type Dot = StreamOwned<ClientConnection, TcpStream>;

pub fn dot(server: SocketAddr, config: ClientConfig) -> std::io::Result<Dot> {
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(HOST).unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

pub fn read_frame(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub async fn doh(server: SocketAddr, config: ClientConfig) -> std::io::Result<h2::client::SendRequest<Bytes>> {
    let stream = tokio::net::TcpStream::connect(server).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from(HOST).unwrap(), stream).await?;
    let (send, connection) = h2::client::handshake(stream).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(send)
}

pub type Said = (StatusCode, http::HeaderMap, Vec<u8>);

/// A request and what came back.
pub async fn request(
    client: &h2::client::SendRequest<Bytes>,
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Said, h2::Error> {
    let mut request = Request::builder().method(method).uri(format!("https://{HOST}{path}"));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let mut client = client.clone().ready().await?;
    let (response, mut send) = client.send_request(request.body(()).unwrap(), body.is_none())?;
    if let Some(body) = body {
        // The server may have refused it before it came.
        let _ = send.send_data(Bytes::copy_from_slice(body), true);
    }
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part?;
        stream.flow_control().release_capacity(part.len())?;
        body.extend_from_slice(&part);
    }
    Ok((head.status, head.headers, body))
}

pub const MEDIA_TYPE: &str = "application/dns-message";

pub fn get(query: &[u8]) -> String {
    format!("/dns-query?dns={}", data_encoding::BASE64URL_NOPAD.encode(query))
}

pub async fn doq(server: SocketAddr, config: ClientConfig) -> Result<quinn::Connection, quinn::ConnectionError> {
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    endpoint.connect(server, HOST).unwrap().await
}

/// Sends octets on a stream of their own and gives the octets that come back.
pub async fn doq_octets(connection: &quinn::Connection, octets: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(octets).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(4 << 20).await.ok()
}
